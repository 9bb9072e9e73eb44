"""A learned correction to the SK-infinity schedule, one token a parameter."""

from __future__ import annotations

from itertools import pairwise
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from qiskit_metainit.features import SUMMARY, TOKENS, FeatureBatch, Features
from qiskit_metainit.model import Model, State, needs_qaoa
from qiskit_metainit.models.sk_infinity import SkInfinity


@final
class SkCorrection(Model):
    """The SK-infinity point plus what a small network, shared by all parameters, adds to each angle.

    The network sees the task's global features, the parameter's token and the formula's angle, so one set of weights
    serves any depth; its last layer starts at zero, so training starts at the formula. No query.

    Args:
        width: neurons a layer.
        layers: hidden layers.
    """

    def __init__(self, *, width: int = 128, layers: int = 3) -> None:
        super().__init__()
        self.width = width
        self.layers = layers
        self.base = SkInfinity()
        sizes = [len(SUMMARY) + len(TOKENS) + 1] + [width] * layers
        stages: list[nn.Module] = []
        for inner, outer in pairwise(sizes):
            stages += [nn.Linear(inner, outer, dtype=torch.float64), nn.SiLU()]
        last = nn.Linear(width, 1, dtype=torch.float64)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.network = nn.Sequential(*stages, last)

    def unsupported(self, features: Features) -> str | None:
        """See Model."""
        return needs_qaoa(self, features)

    def begin(self, features: FeatureBatch) -> tuple[Float[Tensor, "B P"], State]:
        """See Model."""
        points, state = self.base.begin(features)
        context = features.summary[:, None].expand(-1, points.shape[1], -1)
        inputs = torch.cat([context, features.tokens, points[..., None]], dim=2)
        correction = self.network(inputs)[..., 0]
        return points + torch.where(features.mask, correction, 0.0), state
