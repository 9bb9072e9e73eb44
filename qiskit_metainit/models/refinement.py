"""A learned proposal that is refined with a few measured costs: learned directions, learned steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from qiskit_metainit.features import TOKENS, FeatureBatch, Features
from qiskit_metainit.model import Model, State, needs_qaoa
from qiskit_metainit.models.graph_correction import GraphCorrection, perceptron

_FIRST = 0.15  # radians: how far the first directions go before they are trained
_REACH = 0.25  # radians at unit weights that no single move gets beyond: without, training diverges sooner or later
_TIMID = 0.5  # scales what the network says: a step of training must not turn all directions at once
_GAIN = 20.0  # makes differences of normalised costs near an optimum numbers of order one


@final
class Refinement(Model):
    """``GraphCorrection``, then a step along each of several directions, as far as the cost measured there tells.

    With x_1 the proposal and y_0 its cost, measurement k = 1, 2 .. is at x_k + d_k, and
    ``x_(k+1) = x_k + (y_k - y_0) a_k``; the answer is the last x plus b. Where the landscape is quadratic along d_k
    with a known curvature, such a step leads to the minimum there. Directions d_k, steps a_k and b come from one
    network for each parameter, so that they fit any depth; before training they are waves over the schedule and zero.
    No move is longer than a quarter of a radian in any parameter. Cf. the learned update rules of Verdon et al. 2019
    (arXiv:1907.05415), which see the costs only.

    Training it leaves the proposer as it is, so x_1 is what the proposer's artifact proposes: begin with a trained one
    (``metainit train refinement --start-from qaoa``); untrained, it is the formula.

    Args:
        queries: costs it asks for, at least two: the proposal's, and one a direction.
        width: neurons a layer, of both networks.
        layers: their hidden layers.
        channels: as in ``GraphCorrection``.
        rounds: as in ``GraphCorrection``.
    """

    def __init__(
        self, *, queries: int = 10, width: int = 192, layers: int = 3, channels: int = 32, rounds: int = 2
    ) -> None:
        super().__init__()
        if queries < 2:
            raise ValueError(f"queries must be at least 2, but {queries} came. For none take graph_correction.")
        self.queries = queries
        self.width = width
        self.layers = layers
        self.channels = channels
        self.rounds = rounds
        self.proposer = GraphCorrection(width=width, layers=layers, channels=channels, rounds=rounds)
        self.response = perceptron(self.proposer.inputs, *[width] * layers, 2 * queries - 1, silent=True)

    def unsupported(self, features: Features) -> str | None:
        """See Model."""
        return needs_qaoa(self, features)

    def prepare(self, sample: Callable[[int], FeatureBatch]) -> None:
        """See Model."""
        self.proposer.prepare(sample)

    def begin(self, features: FeatureBatch) -> tuple[Float[Tensor, "B P"], State]:
        """See Model."""
        with torch.no_grad():
            points, inputs, trust = self.proposer.look(features)
            points = self.proposer.corrected(points, inputs, trust, features)
        learned = torch.where(
            features.mask[..., None], _TIMID * trust[:, None, None] * self.response(inputs).double(), 0.0
        )
        directions, steps = learned[..., : self.queries - 1] + self._waves(features), learned[..., self.queries - 1 :]
        return points, (points, _bent(directions), steps, points.new_zeros(len(points), 0))

    def refine(
        self, points: Float[Tensor, "B P"], costs: Float[Tensor, " B"], state: State
    ) -> tuple[Float[Tensor, "B P"], State]:
        """See Model."""
        here, directions, steps, known = state
        if known.shape[1]:
            place = known.shape[1] - 1
            here = here + _bent(_GAIN * (costs - known[:, 0])[:, None] * steps[..., place])
        known = torch.cat([known, costs[:, None]], dim=1)
        done = known.shape[1] == self.queries
        ahead = _bent(steps[..., -1]) if done else directions[..., known.shape[1] - 1]
        return here + ahead, (here, directions, steps, known)

    def _waves(self, features: FeatureBatch) -> Float[Tensor, "B P K"]:
        """Return the directions before training: low modes over the schedule, of gammas and betas in turn."""
        stage = features.tokens[..., TOKENS.index("stage")]
        kinds = [features.tokens[..., TOKENS.index(name)] for name in ("cost", "mixer")]
        modes = [kinds[k % 2] * torch.cos(k // 2 * torch.pi * stage) for k in range(self.queries - 1)]
        return _FIRST * torch.stack(modes, dim=-1)


def _bent(moves: Tensor) -> Tensor:
    return _REACH * torch.tanh(moves / _REACH)
