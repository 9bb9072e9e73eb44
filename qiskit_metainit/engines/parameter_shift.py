"""Expectation values and parameter-shift gradients through any estimator primitive."""

from __future__ import annotations

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
from qiskit_metainit.estimation import Estimation, Pub, Unrolled
from qiskit_metainit.task import Task


class ParameterShift:
    """Any ``BaseEstimatorV2``, differentiated gate by gate with two shifts of pi/2.

    A QAOA angle drives many gates, so the two-term rule holds for a *gate's* angle only: the circuit is unrolled to
    one parameter a rotation, every rotation is shifted (Mitarai et al. 2018, arXiv:1803.00745; Schuld et al.
    2019, arXiv:1811.11184) and the chain rule goes back to the circuit's parameters. One call is one job with one PUB
    a distinct task, all its points and shifts broadcast.

    Args:
        estimator: Aer's, ``StatevectorEstimator``, ``BackendEstimatorV2``, the runtime's. It draws its own noise: give
            it no integer seed, which would freeze the noise to the same values at every call.
        shots: of every circuit evaluation, passed on as precision 1/sqrt(shots); by default the estimator's own. Aer's
            ``EstimatorV2`` and ``StatevectorEstimator`` answer a precision with Gaussian noise of that width;
            ``shot_noise.shot_estimator`` and ``BackendEstimatorV2`` sample counts.
        pass_manager: transpiles each unrolled circuit once; needed by backends with a restricted gate set or layout.
    """

    order = 1

    def __init__(
        self, estimator: BaseEstimatorV2, *, shots: int | None = None, pass_manager: Transpiler | None = None
    ) -> None:
        self.budget = Budget()
        self._estimation = Estimation(estimator, shots=shots, pass_manager=pass_manager, budget=self.budget)
        self._rules: WeakKeyDictionary[Task, _GateByGate] = WeakKeyDictionary()

    def expectation(self, tasks: Sequence[Task], points: Float[Tensor, "B P"]) -> Float[Tensor, " B"]:
        """Return each task's ``<H>``; see ``Engine.expectation``."""
        return self._estimation.expectation(tasks, points, self._rule)

    def _rule(self, task: Task) -> _GateByGate:
        if task not in self._rules:
            self._rules[task] = _GateByGate(Unrolled.of(task, self._estimation))
        return self._rules[task]


@dataclass(frozen=True, eq=False)
class _GateByGate:
    """Two shifts of every rotation, and the chain rule."""

    unrolled: Unrolled

    def pubs(self, points: NDArray[np.float64], gradient: bool) -> list[Pub]:
        """Return one PUB of (rows, 1 + 2R or 1, R): the angles, then each of them shifted up and down."""
        base = self.unrolled.angles(points)[:, None]
        if gradient:
            shift = np.eye(base.shape[-1]) * (np.pi / 2)
            base = base + np.concatenate([np.zeros_like(shift[:1]), shift, -shift])
        return [(self.unrolled.prepared, base)]

    def values(self, energies: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        return energies[0][:, 0]

    def gradients(self, energies: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        up, down = np.split(energies[0][:, 1:], 2, axis=1)
        return np.asarray(0.5 * (up - down) @ self.unrolled.slopes, dtype=np.float64)
