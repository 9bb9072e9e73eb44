"""What measuring a QAOA state gives: the distribution of energies, and the best of several sampled bitstrings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qiskit_metainit.problem import Problem, diagonal_values
from qiskit_metainit.reproductions._comparators import Course
from qiskit_metainit.task import Task

Array = NDArray[np.float64]

RATIOS = ("expectation", "best_sample")
"""``<H> / E_min`` of the state, and of the best of several bitstrings: never one under the other's name."""

_BLOCK = 4  # qubits that are mixed by one matrix


@dataclass(frozen=True, eq=False)
class Outcomes:
    """The bitstrings of a diagonal problem by energy: L levels of 2^Q bitstrings."""

    levels: Array
    """(L,) energies, ascending."""
    level: NDArray[np.int64]
    """(2^Q,) level of each bitstring."""

    @classmethod
    def of(cls, problem: Problem) -> Outcomes:
        """Return those of a problem.

        Raises:
            ValueError: if its operator is not diagonal.
        """
        levels, level = np.unique(diagonal_values(problem.operator).round(9), return_inverse=True)
        return cls(levels, level)

    def probabilities(self, point: Array) -> Array:
        """Return the (L,) probabilities of the levels at a QAOA point (2p,), radians, to about 1e-6.

        >>> from qiskit_metainit.problems.maxcut import MaxCut
        >>> outcomes = Outcomes.of(MaxCut.from_edges([(0, 1)]))
        >>> outcomes.levels, outcomes.probabilities(np.array([np.pi / 8, -np.pi / 2])).round(4)
        (array([-1.,  0.]), array([1., 0.]))
        """
        qubits = self.level.size.bit_length() - 1
        state = np.full(self.level.size, 2.0 ** (-qubits / 2), dtype=np.complex64)
        for beta, gamma in point.reshape(2, -1).T:
            state *= np.exp(-1j * gamma * self.levels).astype(np.complex64)[self.level]
            for first in range(0, qubits, _BLOCK):
                mixer = _mixer(beta, min(_BLOCK, qubits - first))
                # The mixed qubits leave at one end and come back at the other, so that all have had their turn.
                state = (mixer @ state.reshape(len(mixer), -1)).T.reshape(-1)
        return np.bincount(self.level, np.abs(state.astype(np.complex128)) ** 2, len(self.levels)).astype(np.float64)

    def best_of(self, probabilities: Array, shots: int) -> float:
        """Return the expected least energy among independently sampled bitstrings, without sampling any.

        The least of S energies is at least e_k with probability ``P(E >= e_k)^S``, so its mean is
        ``e_0 + sum_(k>0) (e_k - e_(k-1)) P(E >= e_k)^S``.

        Args:
            probabilities: (L,) of the levels.
            shots: S.
        """
        tail = np.cumsum(probabilities[::-1])[::-1] / probabilities.sum()
        return float(self.levels[0] + np.diff(self.levels) @ tail[1:] ** shots)


@dataclass(frozen=True, eq=False)
class Judge:
    """What points of I diagonal problems at one depth are worth."""

    outcomes: Sequence[Outcomes]
    """Of each problem."""
    tasks: Sequence[Task]
    """Their landscapes."""
    shots: int
    """Bitstrings among which the best sample is the best."""

    @classmethod
    def of(cls, problems: Sequence[Problem], tasks: Sequence[Task], shots: int) -> Judge:
        """Return that of some problems and their landscapes."""
        return cls([Outcomes.of(problem) for problem in problems], tasks, shots)

    def points(self, points: Array) -> dict[str, list[float]]:
        """Return both ratios of (I, 2p) points, radians, by name."""
        ratios = np.empty((2, len(points)))
        for row, (outcomes, point) in enumerate(zip(self.outcomes, points, strict=True)):
            probabilities = outcomes.probabilities(point)
            best = outcomes.best_of(probabilities, self.shots)
            ratios[:, row] = np.array([outcomes.levels @ probabilities, best]) / outcomes.levels[0]
        return {name: row.round(5).tolist() for name, row in zip(RATIOS, ratios, strict=True)}

    def courses(self, courses: Sequence[Course], iterations: Sequence[int], labels: Sequence[int]) -> dict[str, Any]:
        """Return what one optimiser's courses, one a training seed, are worth, as means over the seeds.

        Args:
            courses: all of T iterations.
            iterations: at which both ratios of the best points are taken, if the courses get there.
            labels: a group of each problem; mean curves are given for each.

        Returns:
            "at", by iteration: both ratios and the evaluations of each problem, and the seeds' mean ratios; and by
            label the mean expectation ratios of where each iteration led ("course") and of the best so far ("best").
        """
        at: dict[str, Any] = {}
        for iteration in iterations:
            if iteration < len(courses[0].points):
                judged = [self.points(course.best(iteration)) for course in courses]
                ratios = {name: np.array([own[name] for own in judged]) for name in RATIOS}
                at[str(iteration)] = {
                    **{name: values.mean(axis=0).round(5).tolist() for name, values in ratios.items()},
                    "evaluations": courses[0].evaluations[iteration].tolist(),
                    "by_seed": [values.mean(axis=1).round(5).tolist() for values in ratios.values()],
                }
        visited = np.mean([self._expectations(course.costs) for course in courses], axis=0)
        held = np.mean([self._expectations(course.held) for course in courses], axis=0)
        return {"at": at, "course": _grouped(visited, labels), "best": _grouped(held, labels)}

    def _expectations(self, costs: Array) -> Array:
        """Return expectation ratios of (T, I) normalised costs."""
        ground = np.array([outcomes.levels[0] for outcomes in self.outcomes])
        scales, offsets = (np.array([getattr(task, name) for task in self.tasks]) for name in ("scale", "offset"))
        return np.asarray((costs * scales + offsets) / ground)


def _grouped(curves: Array, labels: Sequence[int]) -> dict[str, list[float]]:
    """Return by label the (T,) means of (T, I) curves."""
    groups = {str(label): np.equal(labels, label) for label in sorted(set(labels))}
    return {label: curves[:, rows].mean(axis=1).round(4).tolist() for label, rows in groups.items()}


def _mixer(beta: float, qubits: int) -> NDArray[np.complex64]:
    """Return exp(-i beta X) on each of some qubits."""
    single = np.array([[np.cos(beta), -1j * np.sin(beta)], [-1j * np.sin(beta), np.cos(beta)]], dtype=np.complex64)
    return np.asarray(reduce(np.kron, [single] * qubits))
