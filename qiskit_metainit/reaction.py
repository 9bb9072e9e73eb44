"""Whether a model reacts to the instance: how its proposals vary across instances, beside how the optima do.

Learned optimisers for QAOA often turn out to be constants in disguise: graph-conditioned ones are reported to collapse
to near-identical paths (arXiv:2604.25275), which an average of energies does not show.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from qiskit_metainit.alignment import align, align_cloud
from qiskit_metainit.descent import descend
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.features import Features, stack
from qiskit_metainit.model import Model
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.problem import Problem
from qiskit_metainit.rollout import normalised_cost, rollout
from qiskit_metainit.task import Task

Array = NDArray[np.float64]
Interval = tuple[float, float, float] | tuple[float, None, None]
"""A value and its 95% bootstrap interval over instances; no interval for fewer than ``FEWEST``."""

FEWEST = 8
"""Instances that an interval needs. A bootstrap redraws those it has: of two instances every draw with any spread is
the two again, so that the interval would have no width, and of a few more it would be far too narrow."""

_STEP = 0.1  # first step of a search, natural units: short, so that it stays in the basin where it starts
_LOWER = 1e-6  # in units of the scale: by less, two energies are those of one optimum or of its equals
_ALIKE = 1e-3  # natural units: optima that spread by less are the same point, as far as a search finds them


@dataclass(frozen=True, eq=False)
class Reaction:
    """Proposals of one model on I instances, and where they should have been.

    All in natural units, each instance brought to the image (see ``align``) that is nearest to the others.
    """

    proposals: Array
    """(I, P) answers."""
    optima: Array
    """(I, P) local optima."""

    @property
    def spread(self) -> float:
        """Standard deviation of the proposals across instances, root mean square over parameters."""
        return _spread(self.proposals)

    @property
    def spread_of_optima(self) -> float:
        """Standard deviation of the optima across instances, root mean square over parameters."""
        return _spread(self.optima)

    def moves(self, *, resamples: int = 10000, seed: int = 0) -> Interval | None:
        """Return the proposals' spread over the optima's: 0 for a constant; None where the optima are alike.

        Fewer than ``FEWEST`` instances give no interval: (value, None, None).
        """
        shares = _draws(len(self.optima), resamples, seed)
        return self._interval(np.sqrt(self._per_variance(_variance(self.proposals, shares), shares)))

    def follows(self, *, resamples: int = 10000, seed: int = 0) -> Interval | None:
        """Return the share of the optima's variance that the proposals explain; None where the optima are alike.

        ``1 - sum |theta_i - opt_i|^2 / sum |opt_i - mean opt|^2``: 1 if every proposal is its instance's optimum, 0
        for the best constant, below for worse than that. Fewer than ``FEWEST`` instances give no interval: (value,
        None, None).
        """
        shares = _draws(len(self.optima), resamples, seed)
        missed = shares @ ((self.proposals - self.optima) ** 2).sum(axis=1)
        return self._interval(1.0 - self._per_variance(missed, shares))

    @property
    def explained(self) -> float:
        """``follows`` without its interval, whatever the optima's spread."""
        missed = ((self.proposals - self.optima) ** 2).sum()
        return float(1 - missed / ((self.optima - self.optima.mean(axis=0)) ** 2).sum())

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {name: np.round(points, 6).tolist() for name, points in vars(self).items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Reaction:
        """Return the reaction that ``as_json`` gave."""
        return cls(np.array(content["proposals"], float), np.array(content["optima"], float))

    def _per_variance(self, values: Array, shares: Array) -> Array:
        """Return values over the optima's variance; not a number in a draw of instances whose optima are alike."""
        variance = _variance(self.optima, shares)
        variance[variance < self.optima.shape[1] * _ALIKE**2] = np.nan
        return np.asarray(values / variance)

    def _interval(self, values: Array) -> Interval | None:
        if self.spread_of_optima < _ALIKE:
            return None
        if len(self.optima) < FEWEST:
            return float(values[0]), None, None
        low, high = np.nanquantile(values[1:], [0.025, 0.975])
        return float(values[0]), float(low), float(high)


def reaction(model: Model, problems: Sequence[Problem], reps: int) -> Reaction:
    """Return how a model's answers vary across QAOA instances of any sizes, queries answered exactly.

    Args:
        model: must serve every instance.
        problems: small enough for exact simulation.
        reps: layers p.

    Raises:
        ValueError: if there are fewer than two instances, or the model does not serve one.

    >>> from qiskit_metainit.models.constant import Constant
    >>> from qiskit_metainit.models.sk_infinity import SkInfinity
    >>> from qiskit_metainit.problems.maxcut import MaxCut
    >>> triangle, star = MaxCut.from_edges([(0, 1), (1, 2), (0, 2)]), MaxCut.from_edges([(0, 1), (0, 2), (0, 3)])
    >>> [round(reaction(model, [triangle, star], reps=1).moves()[0], 2) for model in (SkInfinity(), Constant())]
    [0.49, 0.0]
    """
    if len(problems) < 2:
        raise ValueError(f"At least two instances are needed to tell a reaction, but {len(problems)} came.")
    tasks = [Task.qaoa(problem.operator, reps=reps) for problem in problems]
    known = [task.features for task in tasks]
    reasons = [reason for features in known if (reason := model.unsupported(features)) is not None]
    if reasons:
        raise ValueError(f"{type(model).__name__} cannot answer at reps={reps}: {reasons[0]}.")
    engine = Statevector()
    with torch.no_grad():
        answers = rollout(model, known, normalised_cost(engine, tasks), measure_answer=False).answer.numpy()
    return react(engine, tasks, answers)


def react(engine: Statevector, tasks: Sequence[Task], answers: Array) -> Reaction:
    """Return the reaction that (I, P) answers, radians, of QAOA tasks of one depth show.

    An instance's optimum is the lowest that is reached from four starts: the mean proposal, the instance's own, the one
    for the next instance, and the best formula's point. Its own alone would not do: whoever proposes random points has
    a local optimum near each of them, and would seem to follow. The mean alone would not do: where two basins compete,
    it may lead to the worse one.
    """
    units = np.stack([task.features.unit.numpy() for task in tasks])
    known = [task.features for task in tasks]
    # A constant stays one to the last bit, whatever the units: then one search serves three of the starts.
    proposals = align(known, np.round(answers / units, 12))
    mean = proposals[0] + (proposals - proposals[0]).mean(axis=0)
    formulas = _formulas(known)
    optima = np.empty_like(proposals)
    for row, task in enumerate(tasks):
        lowest = math.inf
        starts = [mean, proposals[row], proposals[(row + 1) % len(tasks)], *formulas[row : row + 1]]
        for start in dict.fromkeys(map(tuple, starts)):
            energy, point = descend(engine, task, np.array(start) * units[row], step=_STEP)
            if energy < lowest - _LOWER * task.scale:
                lowest, optima[row] = energy, point / units[row]
    return Reaction(proposals, align_cloud(known, optima, mean))


def _formulas(features: Sequence[Features]) -> Array:
    """Return the (I, P) points of the best formula, natural units, or none where it does not serve every task."""
    formula = SkInfinity()
    if any(formula.unsupported(item) for item in features):
        return np.empty((0, 0))
    return np.asarray(formula.begin(stack(features))[0].numpy())


def _draws(count: int, resamples: int, seed: int) -> Array:
    """Return (1 + resamples, I) shares of the instances: all alike, then bootstrap draws."""
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    return np.concatenate([np.ones((1, count)), drawn]) / count


def _variance(points: Array, shares: Array) -> Array:
    """Return (R,) variances of (I, P) points under (R, I) shares, summed over parameters."""
    centred = points - points[0]  # exactly zero for a constant
    return np.asarray(np.maximum(shares @ centred**2 - (shares @ centred) ** 2, 0.0).sum(axis=1))


def _spread(points: Array) -> float:
    return math.sqrt(float(np.var(points - points[0], axis=0).mean()))
