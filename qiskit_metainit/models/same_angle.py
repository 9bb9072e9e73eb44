"""The same angle for every parameter: zero and pi are the usual ones."""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from qiskit_metainit.features import FeatureBatch
from qiskit_metainit.model import Model, State


@final
class SameAngle(Model):
    """Every parameter the same number of natural units, radians for a circuit that is not QAOA's.

    Zero and pi are baselines of Lee, Cho and Kim 2025 (arXiv:2501.05906, section 4). From a state that the circuit
    leaves alone at zero, such as Hartree-Fock under UCCSD, zero is the classical start; elsewhere both are often
    exact stationary points, from which no gradient leads away, so they are weak comparators.

    Args:
        value: of every parameter.
    """

    def __init__(self, *, value: float = 0.0) -> None:
        super().__init__()
        self.value = float(value)

    def begin(self, features: FeatureBatch) -> tuple[Float[Tensor, "B P"], State]:
        """See Model."""
        return torch.where(features.mask, self.value, torch.zeros_like(features.unit)), None
