"""TQA: a Trotterised quantum annealing schedule."""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from qiskit_metainit.ansatz import from_literature, per_layer
from qiskit_metainit.features import FeatureBatch, Features
from qiskit_metainit.model import Model, State, needs_qaoa


@final
class Tqa(Model):
    """Trotterised quantum annealing (Sack and Serbyn 2021, arXiv:2101.05742), on H scaled to rms(w) = 1.

    For layers at s = (l - 1/2)/p, l = 1 .. p: beta = (1 - s) dt and gamma = s dt for ``sum J ZZ``, which is
    gamma_C = 2 s dt for weights w = 2J. The paper takes s = l/p; the midpoint keeps the last layer's mixer.

    Args:
        dt: time step, radians.
    """

    def __init__(self, *, dt: float = 0.75) -> None:
        super().__init__()
        self.dt = dt

    def unsupported(self, features: Features) -> str | None:
        """See Model."""
        return needs_qaoa(self, features)

    def begin(self, features: FeatureBatch) -> tuple[Float[Tensor, "B P"], State]:
        """See Model."""
        return per_layer([item.reps for item in features.items], self._schedule), None

    def _schedule(self, reps: int) -> Tensor:
        stage = (torch.arange(reps, dtype=torch.float64) + 0.5) / reps
        return from_literature((1 - stage) * self.dt, 2.0 * stage * self.dt)
