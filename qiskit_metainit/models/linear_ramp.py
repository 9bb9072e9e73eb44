"""LR-QAOA: beta falls and gamma rises linearly."""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from qiskit_metainit.ansatz import from_literature, per_layer
from qiskit_metainit.features import FeatureBatch, Features
from qiskit_metainit.model import Model, State, needs_qaoa


@final
class LinearRamp(Model):
    """Linear ramp (Montanez-Barrera and Michielsen 2024, arXiv:2405.09169), on H scaled to rms(w) = 1.

    For layers i = 0 .. p-1: beta_i = (1 - i/p) beta and gamma_C,i = (i + 1)/p gamma.

    Args:
        beta: its first value, radians.
        gamma: its last value, radians.
    """

    def __init__(self, *, beta: float = 0.3, gamma: float = 0.6) -> None:
        super().__init__()
        self.beta = beta
        self.gamma = gamma

    def unsupported(self, features: Features) -> str | None:
        """See Model."""
        return needs_qaoa(self, features)

    def begin(self, features: FeatureBatch) -> tuple[Float[Tensor, "B P"], State]:
        """See Model."""
        return per_layer([item.reps for item in features.items], self._schedule), None

    def _schedule(self, reps: int) -> Tensor:
        layer = torch.arange(reps, dtype=torch.float64)
        return from_literature((1 - layer / reps) * self.beta, (layer + 1) / reps * self.gamma)
