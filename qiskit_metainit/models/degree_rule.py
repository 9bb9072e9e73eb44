"""The degree rule: the best point of one layer on regular graphs without triangles, by the mean degree."""

from __future__ import annotations

import math
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from qiskit_metainit.ansatz import from_literature
from qiskit_metainit.features import FeatureBatch, Features
from qiskit_metainit.model import Model, State, needs_qaoa


@final
class DegreeRule(Model):
    """beta = pi/8 and gamma_C = arctan(1/sqrt(d - 1)) / rms(w) for p = 1.

    The optimum of MaxCut on d-regular graphs without triangles (Wang et al. 2018, arXiv:1706.02998). For other problems
    d is the mean number of terms a touched qubit, a field counting as an edge to an ancilla, and gamma_C is pi/2 at
    d <= 1; weights enter by rms(w) (Sureshbabu et al. 2024, arXiv:2305.15201). ``SkInfinity`` is the same at p = 1.
    """

    def unsupported(self, features: Features) -> str | None:
        """See Model."""
        if (reason := needs_qaoa(self, features)) is not None:
            return reason
        return None if features.reps == 1 else f"DegreeRule is known for reps=1 only, but reps={features.reps} came"

    def begin(self, features: FeatureBatch) -> tuple[Float[Tensor, "B P"], State]:
        """See Model."""
        gammas = features.named("degree_angle")[:, None]
        return from_literature(torch.full_like(gammas, math.pi / 8), gammas), None
