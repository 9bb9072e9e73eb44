"""The same point for every task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from qiskit_metainit.features import FeatureBatch, Features
from qiskit_metainit.model import Model, State


@final
class Constant(Model):
    """One point in natural units, so it is rescaled by the weights (transfer by rms(w), Sureshbabu et al. 2024).

    Args:
        point: P natural units, ordered as ``circuit.parameters``; the default is the best single p = 1 point of
            unweighted Erdos-Renyi graphs with 6 to 9 nodes.
    """

    def __init__(self, *, point: Sequence[float] = (0.295, -0.42)) -> None:
        super().__init__()
        self.point = [float(value) for value in point]

    def unsupported(self, features: Features) -> str | None:
        """See Model."""
        if features.num_parameters != len(self.point):
            return f"Constant holds {len(self.point)} parameters, but the task has {features.num_parameters}"
        return None

    def begin(self, features: FeatureBatch) -> tuple[Float[Tensor, "B P"], State]:
        """See Model."""
        return torch.tensor(self.point, dtype=torch.float64).repeat(len(features), 1), None
