"""Expectation values and gradients along random directions through any estimator primitive."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from qiskit.primitives import BaseEstimatorV2
from torch import Tensor

from qiskit_metainit.budget import Budget
from qiskit_metainit.engine import Transpiler
from qiskit_metainit.estimation import Estimation, Prepared, Pub
from qiskit_metainit.task import Task


class Spsa:
    """Any ``BaseEstimatorV2``, differentiated along random directions: two circuits each, however many parameters.

    The simultaneous-perturbation estimate of Spall 1992 (IEEE Trans. Autom. Control 37, 332),
    ``g_i = (f(theta + c u d) - f(theta - c u d)) / (2 c u_i d_i)`` with independent signs d_i, averaged over
    ``directions`` draws. It departs from it in the unit u: the step is c natural units of each parameter (1 for a beta,
    1 over the rms weight for a gamma), not c radians, so that units of the Hamiltonian do not matter.

    A gradient is *random*, also on an exact estimator: right on average but for a bias of order c^2, with a spread as
    large as the gradient itself at one direction, and shot noise that grows as 1/c. The value is measured beside it,
    at the point itself. One call is one job with one PUB a distinct task, all its points and shifts broadcast.

    Args:
        estimator: as in ``ParameterShift``.
        shots: of every circuit evaluation, passed on as precision 1/sqrt(shots); by default the estimator's own.
        pass_manager: transpiles each circuit once; needed by backends with a restricted gate set or layout.
        step: c, in natural units. At 0.1 the bias is below 3% of any frequency of a beta.
        directions: averaged a point, 2 circuits each.
        rng: draws the directions, fresh ones for every point at every call.
    """

    order = 1

    def __init__(
        self,
        estimator: BaseEstimatorV2,
        *,
        shots: int | None = None,
        pass_manager: Transpiler | None = None,
        step: float = 0.1,
        directions: int = 1,
        rng: np.random.Generator | int | None = None,
    ) -> None:
        if not (math.isfinite(step) and step > 0):
            raise ValueError(f"step must be a positive number of natural units, but {step!r} came. Leave it at 0.1.")
        if directions < 1:
            raise ValueError(f"At least one direction is needed, but directions={directions!r} came.")
        self.step = float(step)
        self.directions = directions
        self.rng = np.random.default_rng(rng)
        self.budget = Budget()
        self._estimation = Estimation(estimator, shots=shots, pass_manager=pass_manager, budget=self.budget)
        self._prepared: WeakKeyDictionary[Task, Prepared] = WeakKeyDictionary()

    def expectation(self, tasks: Sequence[Task], points: Float[Tensor, "B P"]) -> Float[Tensor, " B"]:
        """Return each task's ``<H>``; see ``Engine.expectation``."""
        return self._estimation.expectation(tasks, points, self._rule)

    def _rule(self, task: Task) -> _Perturbed:
        if task not in self._prepared:
            self._prepared[task] = self._estimation.prepare(task.circuit, task.hamiltonian)
        return _Perturbed(self._prepared[task], self.step * task.features.unit.numpy(), self.directions, self.rng)


@dataclass(eq=False)
class _Perturbed:
    """One call's points of one task, and the directions they are shifted along."""

    prepared: Prepared
    steps: NDArray[np.float64]  # (P,) radians
    directions: int  # D
    rng: np.random.Generator
    shifts: NDArray[np.float64] | None = None  # (rows, D, P) radians, drawn with the PUBs

    def pubs(self, points: NDArray[np.float64], gradient: bool) -> list[Pub]:
        """Return one PUB of (rows, 1 + 2D or 1, P): the points, then shifted along every direction, forth and back."""
        if not gradient:
            return [(self.prepared, points[:, None])]
        signs = 2 * self.rng.integers(2, size=(len(points), self.directions, points.shape[1])) - 1
        self.shifts = signs * self.steps
        zero = np.zeros_like(self.shifts[:, :1])
        return [(self.prepared, points[:, None] + np.concatenate([zero, self.shifts, -self.shifts], axis=1))]

    def values(self, energies: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        return energies[0][:, 0]

    def gradients(self, energies: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        assert self.shifts is not None
        forth, back = np.split(energies[0][:, 1:], 2, axis=1)
        return np.asarray(((forth - back)[..., None] / (2 * self.shifts)).mean(axis=1), dtype=np.float64)
