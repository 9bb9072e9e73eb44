"""Formulas that ask for the cost of a few candidate points and answer with the cheapest."""

from __future__ import annotations

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from qiskit_metainit.features import FeatureBatch
from qiskit_metainit.model import Model, State

_EQUAL = 1e-9  # costs lie within [-1, 1]; what differs by rounding only must not change the answer


class Candidates(Model):
    """K points a task, whose K = ``queries`` costs are asked one after the other; the first of equals wins."""

    @abstractmethod
    def candidates(self, features: FeatureBatch) -> Float[Tensor, "B K P"]:
        """Return the points, natural units, in the order in which they are preferred."""

    def begin(self, features: FeatureBatch) -> tuple[Float[Tensor, "B P"], State]:
        """See Model."""
        points = self.candidates(features)
        return points[:, 0], (points, points.new_zeros(len(features), 0))

    def refine(
        self, points: Float[Tensor, "B P"], costs: Float[Tensor, " B"], state: State
    ) -> tuple[Float[Tensor, "B P"], State]:
        """See Model."""
        candidates, known = state
        known = torch.cat([known, costs[:, None]], dim=1)
        asked = known.shape[1]
        if asked < self.queries:
            return candidates[:, asked], (candidates, known)
        good = known <= known.min(dim=1, keepdim=True).values + _EQUAL
        first = good.to(known.dtype).argmax(dim=1)
        return candidates[torch.arange(len(candidates)), first], (candidates, known)
