"""Gradients through any estimator primitive by shifting the circuit's own parameters."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from qiskit.primitives import BaseEstimatorV2
from scipy.optimize import minimize
from torch import Tensor

from qiskit_metainit.budget import Budget
from qiskit_metainit.engine import Transpiler
from qiskit_metainit.estimation import Estimation, Prepared, Pub, Unrolled
from qiskit_metainit.simulation.spectrum import Frequencies, common_measure, frequencies
from qiskit_metainit.task import Task

_LOG = logging.getLogger(__name__)
_MOST_SOLVED = 8  # frequencies for which shifts are searched
_MOST_AMPLIFICATION = 4.0  # of an evaluation's error, relative to the equidistant rule at the same largest frequency


class GeneralShift:
    """Any ``BaseEstimatorV2``, differentiated by shifts of the parameters themselves.

    Along one parameter the cost is a sum of R frequencies, and 2R shifted evaluations of the circuit as it is give the
    derivative exactly (Wierichs et al. 2022, arXiv:2107.12390, Sec. 3). R is counted in the light cones of the
    observable's terms, whatever the number of gates: on graphs of bounded degree the evaluations of a QAOA gradient do
    not grow with the number of nodes. A parameter whose frequencies are too many or too uneven is differentiated gate
    by gate as ``ParameterShift`` does; ``explain`` says which rule each parameter got, and why. One call is one job
    with one PUB a distinct task, and one more for its gates if there are any to shift.

    The frequencies are those of the circuit without noise. Noise that is not a Pauli channel (relaxation, readout) adds
    weak ones: on simulated devices gradients were off by up to 0.4%, where ``ParameterShift`` has no bias.

    Args:
        estimator: Aer's, ``StatevectorEstimator``, ``BackendEstimatorV2``, the runtime's. It draws its own noise: give
            it no integer seed, which would freeze the noise to the same values at every call.
        shots: of every circuit evaluation, passed on as precision 1/sqrt(shots); by default the estimator's own.
        pass_manager: transpiles each circuit once; needed by backends with a restricted gate set or layout.

    >>> import torch
    >>> from qiskit.primitives import StatevectorEstimator
    >>> from qiskit.quantum_info import SparsePauliOp
    >>> ring = SparsePauliOp.from_sparse_list([("ZZ", [i, (i + 1) % 6], 0.5) for i in range(6)], num_qubits=6)
    >>> task = Task.qaoa(ring, reps=1)
    >>> point = torch.tensor([[0.3, -0.2]], dtype=torch.float64, requires_grad=True)
    >>> engine = GeneralShift(StatevectorEstimator())
    >>> engine.expectation([task], point).sum().backward()
    >>> [round(slope, 6) for slope in point.grad[0].tolist()], engine.budget.circuits
    ([-0.846653, 2.575395], 5)
    """

    order = 1

    def __init__(
        self,
        estimator: BaseEstimatorV2,
        *,
        shots: int | None = None,
        pass_manager: Transpiler | None = None,
    ) -> None:
        self.budget = Budget()
        self._estimation = Estimation(estimator, shots=shots, pass_manager=pass_manager, budget=self.budget)
        self._plans: WeakKeyDictionary[Task, _Plan] = WeakKeyDictionary()
        self._rules: WeakKeyDictionary[Task, _ParameterByParameter] = WeakKeyDictionary()

    def expectation(self, tasks: Sequence[Task], points: Float[Tensor, "B P"]) -> Float[Tensor, " B"]:
        """Return each task's ``<H>``; see ``Engine.expectation``."""
        return self._estimation.expectation(tasks, points, self._rule)

    def evaluations(self, task: Task) -> int:
        """Return the circuit evaluations of a value with its gradient, without running any."""
        plan = self._plan(task)
        return 1 + 2 * (len(plan.parameter) + len(plan.gates))

    def explain(self, task: Task) -> tuple[str, ...]:
        """Return which rule each parameter of a task gets, and why."""
        return tuple(rule.reason for rule in self._plan(task).rules)

    def _plan(self, task: Task) -> _Plan:
        if task not in self._plans:
            found = frequencies(task.circuit, task.hamiltonian)
            self._plans[task] = plan = _Plan(tuple(_rule_for(item) for item in found))
            for parameter, rule in zip(task.circuit.parameters, plan.rules, strict=True):
                if rule.gates:
                    _LOG.info("%s: %s", parameter.name, rule.reason)
        return self._plans[task]

    def _rule(self, task: Task) -> _ParameterByParameter:
        if task not in self._rules:
            plan = self._plan(task)
            prepared = self._estimation.prepare(task.circuit, task.hamiltonian)
            unrolled = Unrolled.of(task, self._estimation) if plan.gates else None
            self._rules[task] = _ParameterByParameter(plan, prepared, unrolled)
        return self._rules[task]


@dataclass(frozen=True)
class _Shifts:
    """``f'(0) = sum weight_m (f(shift_m) - f(-shift_m))``, or else the gates to shift instead."""

    reason: str
    shifts: tuple[float, ...] = ()  # radians
    weights: tuple[float, ...] = ()
    gates: tuple[int, ...] = ()  # numbers of rotations

    @classmethod
    def at(cls, reason: str, shifts: NDArray[np.float64], weights: NDArray[np.float64]) -> _Shifts:
        return cls(reason, tuple(shifts.tolist()), tuple(weights.tolist()))


def _rule_for(found: Frequencies) -> _Shifts:
    """Return the exact rule with the fewest evaluations for one parameter."""
    if found.values is not None:
        rule = _shift_rule(found.values)
        if rule is not None and len(rule.shifts) <= len(found.rotations):
            return rule
    gates = len(found.rotations)
    if found.values is None:
        why = f"the frequencies of its {gates} rotations are not equidistant, and more than {gates}"
    else:
        why = f"no rule for its {len(found.values)} frequencies is well conditioned with at most {2 * gates} shifts"
    return _Shifts(f"gate by gate, {2 * gates} evaluations: {why}", gates=found.rotations)


@lru_cache(maxsize=10_000)
def _shift_rule(values: tuple[float, ...]) -> _Shifts | None:
    """Return the rule of fewest shifts for ascending positive frequencies, None if none is well conditioned."""
    if not values:
        return _Shifts("no evaluations: no term of the observable depends on it")
    rules = []
    measure = common_measure(values)
    if measure is not None:
        largest = round(values[-1] / measure)
        told = f"{_listed(values)}, equidistant"
        rules.append(_Shifts.at(f"{2 * largest} evaluations: frequencies {told}", *_equidistant(largest, measure)))
        if all(round(value / measure) % 2 for value in values):
            size = (largest + 1) // 2
            rules.append(_Shifts.at(f"{2 * size} evaluations: odd frequencies {told}", *_odd(size, measure)))
    if len(values) <= _MOST_SOLVED and not any(len(rule.shifts) <= len(values) for rule in rules):
        solved = _solved(values)
        if solved is not None:
            told = f"frequencies {_listed(values)}, not equidistant, solved"
            rules.append(_Shifts.at(f"{2 * len(values)} evaluations: {told}", *solved))
    return min(rules, key=lambda rule: len(rule.shifts), default=None)


def _equidistant(size: int, measure: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (R,) shifts and weights for the frequencies 1 .. R times a measure (Wierichs et al. 2022, Sec. 3)."""
    shifts = (2 * np.arange(1, size + 1) - 1) * np.pi / (2 * size)
    signs = (-1.0) ** np.arange(size)
    return shifts / measure, measure * signs / (4 * size * np.sin(shifts / 2) ** 2)


def _odd(size: int, measure: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (R,) shifts and weights for the frequencies 1, 3 .. 2R - 1 times a measure.

    Odd sines are equal at x and pi - x, so that half the shifts of the equidistant rule do, with the weights added up.
    """
    shifts, weights = _equidistant(2 * size - 1, measure)
    weights[: size - 1] += weights[: size - 1 : -1]
    return shifts[:size], weights[:size]


def _solved(values: tuple[float, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return (R,) shifts and weights for any R frequencies, by solving for the weights; None if ill-conditioned."""
    size = len(values)
    largest = values[-1]
    spectrum = np.array(values) / largest

    def weights(shifts: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.linalg.lstsq(np.sin(np.outer(spectrum, shifts)), spectrum / 2, rcond=1e-10)[0])

    def amplification(shifts: NDArray[np.float64]) -> float:
        found = weights(shifts)
        missed = np.abs(np.sin(np.outer(spectrum, shifts)) @ found - spectrum / 2).max()
        return float(2 * np.abs(found).sum()) + (1e6 if missed > 1e-12 else 0.0)  # 1 at best: Bernstein's inequality

    grids = [(np.arange(1, size + 1) - offset) / size for offset in (0.5, 0.25, 0.0)]
    starts = [np.pi * stretch * grid for grid in grids for stretch in np.geomspace(0.5, 1 / spectrum[0], 60)]
    starts.sort(key=amplification)
    best = min((minimize(amplification, start, method="Nelder-Mead").x for start in starts[:3]), key=amplification)
    if amplification(best) > _MOST_AMPLIFICATION:
        return None
    return best / largest, weights(best) * largest


def _listed(values: tuple[float, ...]) -> str:
    texts = [f"{value:.4g}" for value in values]
    return ", ".join(texts if len(texts) <= 4 else [*texts[:2], "..", texts[-1]])


@dataclass(frozen=True)
class _Plan:
    """The rule of each parameter of a task."""

    rules: tuple[_Shifts, ...]

    @property
    def parameter(self) -> tuple[int, ...]:
        """The parameter that each of the S shifts belongs to."""
        return tuple(index for index, rule in enumerate(self.rules) for _ in rule.shifts)

    @property
    def gates(self) -> tuple[int, ...]:
        """The G rotations that are shifted themselves."""
        return tuple(sorted({gate for rule in self.rules for gate in rule.gates}))


@dataclass(frozen=True, eq=False)
class _ParameterByParameter:
    """Shifts of the parameters, and of the gates of those that have no shift rule."""

    plan: _Plan
    prepared: Prepared
    unrolled: Unrolled | None

    def pubs(self, points: NDArray[np.float64], gradient: bool) -> list[Pub]:
        """Return PUBs of (rows, 1 + 2S or 1, P) points of the circuit and (rows, 2G, R) angles of the unrolled one."""
        base = points[:, None]
        if not gradient:
            return [(self.prepared, base)]
        shift = np.zeros((len(self.plan.parameter), points.shape[1]))
        shift[np.arange(len(shift)), self.plan.parameter] = [s for rule in self.plan.rules for s in rule.shifts]
        pubs: list[Pub] = [(self.prepared, base + np.concatenate([np.zeros_like(base[0]), shift, -shift]))]
        if self.unrolled is not None:
            angles = self.unrolled.angles(points)[:, None]
            shift = np.eye(angles.shape[-1])[list(self.plan.gates)] * (np.pi / 2)
            pubs.append((self.unrolled.prepared, angles + np.concatenate([shift, -shift])))
        return pubs

    def values(self, energies: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        return energies[0][:, 0]

    def gradients(self, energies: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        up, down = np.split(energies[0][:, 1:], 2, axis=1)
        weights = np.zeros((up.shape[1], len(self.plan.rules)))
        weights[np.arange(len(weights)), self.plan.parameter] = [w for rule in self.plan.rules for w in rule.weights]
        result = (up - down) @ weights
        if self.unrolled is not None:
            by_gate = [bool(rule.gates) for rule in self.plan.rules]
            up, down = np.split(energies[1], 2, axis=1)
            result += 0.5 * (up - down) @ (self.unrolled.slopes[list(self.plan.gates)] * by_gate)
        return np.asarray(result, dtype=np.float64)
