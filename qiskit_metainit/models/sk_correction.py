"""A learned correction to the SK-infinity schedule, one token a parameter."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from qiskit_metainit.features import SUMMARY, TOKENS, FeatureBatch, Features
from qiskit_metainit.invariants import INVARIANTS
from qiskit_metainit.model import Model, State, needs_qaoa
from qiskit_metainit.models.sk_infinity import SkInfinity

_SAMPLE = 1024  # tasks that the inputs are centred on
_FARTHEST = 4.0  # standard deviations an input may lie from there: what is beyond is cut off
_RETREAT = 4.0  # how fast the correction fades where inputs lie beyond, as it was never trained there


@final
class SkCorrection(Model):
    """The SK-infinity point plus what a small network, shared by all parameters, adds to each angle.

    The network sees the task's global features, the parameter's token and the formula's angle, so one set of weights
    serves any depth; its last layer starts at zero, so training starts at the formula. No query.

    Args:
        width: neurons a layer.
        layers: hidden layers.
        invariants: whether the network also sees ``invariants`` (spectra, walks and strengths of the couplings), all
            global features centred on the training's, and how far the ends of the schedule are. The correction fades
            where a problem is unlike any of the training's.
    """

    center: Tensor
    spread: Tensor

    def __init__(self, *, width: int = 128, layers: int = 3, invariants: bool = False) -> None:
        super().__init__()
        self.width = width
        self.layers = layers
        self.invariants = invariants
        self.base = SkInfinity()
        inputs = len(SUMMARY) + len(TOKENS) + 1
        if invariants:
            context = len(SUMMARY) + len(INVARIANTS)
            inputs = context + len(TOKENS) + 6
            self.register_buffer("center", torch.zeros(context, dtype=torch.float64))
            self.register_buffer("spread", torch.ones(context, dtype=torch.float64))
        sizes = [inputs] + [width] * layers
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

    def prepare(self, sample: Callable[[int], FeatureBatch]) -> None:
        """See Model."""
        if self.invariants:
            context = _context(sample(_SAMPLE))
            self.center.copy_(context.mean(dim=0))
            self.spread.copy_(context.std(dim=0, correction=0) + 1e-3)

    def begin(self, features: FeatureBatch) -> tuple[Float[Tensor, "B P"], State]:
        """See Model."""
        points, state = self.base.begin(features)
        context, tokens, trust = features.summary, [features.tokens], torch.ones(len(features), dtype=torch.float64)
        if self.invariants:
            centred = (_context(features) - self.center) / self.spread
            context = centred.clamp(-_FARTHEST, _FARTHEST)
            trust = 1 / (1 + _RETREAT * (centred - context).abs().mean(dim=1))
            tokens.append(_ends(features))
        inputs = [context[:, None].expand(-1, points.shape[1], -1), *tokens, points[..., None]]
        correction = trust[:, None] * self.network(torch.cat(inputs, dim=2))[..., 0]
        return points + torch.where(features.mask, correction, 0.0), state


def _context(features: FeatureBatch) -> Float[Tensor, "B C"]:
    return torch.cat([features.summary, features.invariants], dim=1)


def _ends(features: FeatureBatch) -> Float[Tensor, "B P 5"]:
    """Return waves along the schedule and exp(-k), k layers from its first and from its last one."""
    stage = features.tokens[..., TOKENS.index("stage")]
    depth = features.tokens[..., TOKENS.index("log_depth")].exp()
    waves = [torch.cos(k * torch.pi * stage) for k in (1, 2, 3)]
    return torch.stack([*waves, torch.exp(0.5 - stage * depth), torch.exp(0.5 - (1 - stage) * depth)], dim=-1)
