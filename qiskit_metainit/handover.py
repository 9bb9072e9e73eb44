"""Classical optimisers taking over from a starting point, every circuit evaluation counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
from scipy.optimize import minimize

from qiskit_metainit.descent import with_gradient
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.rating import Array, energies
from qiskit_metainit.rotations import Rotation, split
from qiskit_metainit.task import Task

_NO_LIMIT = 10**9  # a run ends itself at its cap
_JUDGED_AT_ONCE = 25  # points looked at from outside, in one batch


@dataclass(frozen=True)
class Trace:
    """What one run visited: every point that was better than all before it."""

    evaluations: tuple[int, ...]
    """Circuit evaluations spent, the point's own included."""
    energies: tuple[float, ...]
    """Exact energies of the points, falling."""

    def arrival(self, target: float) -> int | None:
        """Return the evaluations until the first point at or below an energy, None if there was none."""
        visits = zip(self.evaluations, self.energies, strict=True)
        return next((count for count, energy in visits if energy <= target), None)

    def best(self, evaluations: int) -> float:
        """Return the least energy within some evaluations; that of the first point if there are too few for it."""
        return self.energies[max(int(np.searchsorted(self.evaluations, evaluations, side="right")) - 1, 0)]


def hand_over(
    optimizer: str,
    engine: Statevector,
    task: Task,
    point: Array,
    *,
    cap: int,
    target: float = -math.inf,
    rng: np.random.Generator | None = None,
) -> Trace:
    """Run an optimiser on exact energies from a point, until it visits the target energy, converges or is at the cap.

    It searches natural units and costs divided by the task's scale, so weights and units do not matter. Each
    implementation has its default settings: scipy's Nelder-Mead, scipy's L-BFGS-B with exact gradients, each of which
    is charged what the two-term parameter-shift rule would spend (``shift_evaluations``), and the SPSA of
    qiskit-algorithms with its calibration, whose iterates are judged beside the points it measures, at no charge.

    Args:
        optimizer: a name in ``OPTIMIZERS``.
        engine: answers.
        task: the landscape.
        point: (P,) where to start, radians.
        cap: most circuit evaluations.
        target: energy at which the run ends.
        rng: draws SPSA's directions; needed there only.

    Raises:
        ValueError: if there is no such optimiser, or nothing may be evaluated.

    >>> from qiskit.quantum_info import SparsePauliOp
    >>> task = Task.qaoa(SparsePauliOp("ZZ"), reps=1)
    >>> found = hand_over("L-BFGS-B", Statevector(), task, np.array([0.3, -0.3]), cap=1000)
    >>> print(round(found.energies[-1], 6))
    -1.0
    """
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, but {optimizer!r} came.")
    if cap < 1:
        raise ValueError(f"cap must be a positive number of circuit evaluations, but {cap} came.")
    run = _Run(engine, task, target, cap)
    start = point[: task.num_parameters] / run.unit
    with suppress(_Over):
        run.begin(start)
        OPTIMIZERS[optimizer](run, start, rng)
    return run.result()


def shift_evaluations(task: Task) -> int:
    """Return the circuit evaluations of a value and its gradient by the two-term rule: two for each rotation gate.

    Mitarai et al. 2018 (arXiv:1803.00745); Schuld et al. 2019 (arXiv:1811.11184).

    >>> from qiskit.quantum_info import SparsePauliOp
    >>> shift_evaluations(Task.qaoa(SparsePauliOp(["ZZI", "IZZ"]), reps=2))  # 2 layers of 2 + 3 rotations
    21
    """
    return 1 + 2 * sum(isinstance(operation, Rotation) for operation in split(task.circuit))


class _Over(Exception):  # noqa: N818 it is no error: it ends a run
    pass


class _Run:
    """The landscape as an optimiser sees it, and what it was asked for."""

    def __init__(self, engine: Statevector, task: Task, target: float, cap: int) -> None:
        self.unit: Array = task.features.unit.numpy()
        self._engine, self._task, self._target, self._cap = engine, task, target, cap
        self._spent = 0
        self._visits: list[tuple[int, float]] = []
        self._held: list[tuple[int, Array]] = []

    def begin(self, start: Array) -> None:
        """Look at the start, which counts as the first evaluation whether the optimiser measures it or not."""
        found = self._energies(start[None])
        self._visits.append((1, float(found[0])))
        self._end_if(found)

    def measure(self, points: Array) -> Array:
        """Return (K,) scaled energies of (K, P) points, charged one evaluation each."""
        found = self._energies(points)
        self._visits += [(self._spent + place, energy) for place, energy in enumerate(found.tolist(), start=1)]
        self._spent += len(found)
        self._end_if(found)
        return found / self._task.scale

    def measure_with_gradient(self, point: Array, price: int) -> tuple[float, Array]:
        """Return the scaled energy and its gradient, charged a price; the energy is known after one evaluation."""
        energy, slope = with_gradient(self._engine, self._task, point, self.unit)
        self._visits.append((self._spent + 1, energy))
        self._spent += price
        self._end_if(np.array(energy))
        return energy / self._task.scale, slope / self._task.scale

    def judge(self, point: Array) -> None:
        """Look at a point that the optimiser holds but does not measure, at no charge."""
        self._held.append((self._spent, point))
        if len(self._held) >= _JUDGED_AT_ONCE:
            self._end_if(self._judge_held())

    def shift_price(self) -> int:
        """Return what a value with its gradient costs."""
        return shift_evaluations(self._task)

    def result(self) -> Trace:
        """Return the run so far."""
        self._judge_held()
        kept: list[tuple[int, float]] = []
        for count, energy in sorted(self._visits, key=itemgetter(0)):  # what is judged comes late
            if count <= self._cap and (not kept or energy < kept[-1][1]):
                kept.append((count, energy))
            if kept[-1][1] <= self._target:
                break
        return Trace(tuple(count for count, _ in kept), tuple(energy for _, energy in kept))

    def _energies(self, points: Array) -> Array:
        return energies(self._engine, [self._task] * len(points), points * self.unit)

    def _judge_held(self) -> Array:
        if not self._held:
            return np.zeros(0)
        found = self._energies(np.stack([point for _, point in self._held]))
        self._visits += [(count, energy) for (count, _), energy in zip(self._held, found.tolist(), strict=True)]
        self._held = []
        return found

    def _end_if(self, found: Array) -> None:
        if self._spent >= self._cap or found.min(initial=math.inf) <= self._target:
            raise _Over


def _nelder_mead(run: _Run, start: Array, rng: np.random.Generator | None) -> None:
    def cost(point: Array) -> float:
        return float(run.measure(point[None])[0])

    minimize(cost, start, method="Nelder-Mead", options={"maxfev": _NO_LIMIT})


def _l_bfgs_b(run: _Run, start: Array, rng: np.random.Generator | None) -> None:
    price = run.shift_price()

    def cost(point: Array) -> tuple[float, Array]:
        return run.measure_with_gradient(point, price)

    minimize(cost, start, jac=True, method="L-BFGS-B")


def _spsa(run: _Run, start: Array, rng: np.random.Generator | None) -> None:
    from qiskit_algorithms.optimizers import SPSA

    if rng is None:
        raise ValueError("SPSA draws directions: give rng=np.random.default_rng(seed).")

    def checked(points: Array) -> Array:
        # Its first step is a target length over the mean slope seen: infinite where every pair of energies is equal.
        if not np.isfinite(points).all():
            raise _Over
        return points

    def judge(evaluations: int, point: Array, value: float, step: float, accepted: bool) -> bool:
        run.judge(checked(point))
        return False

    optimizer = SPSA(maxiter=_NO_LIMIT, termination_checker=judge)
    optimizer.set_max_evals_grouped(2)  # a pair in one call
    with _directions(rng), np.errstate(divide="ignore", invalid="ignore"):
        optimizer.minimize(lambda points: run.measure(checked(np.atleast_2d(points))).tolist(), start)


@contextmanager
def _directions(rng: np.random.Generator) -> Iterator[None]:
    """Let qiskit-algorithms, which draws from a generator of its own, draw what this one would."""
    from qiskit_algorithms.utils import algorithm_globals

    shared = algorithm_globals.random.bit_generator
    before = shared.state
    shared.state = np.random.default_rng(rng.integers(2**63)).bit_generator.state
    try:
        yield
    finally:
        shared.state = before


OPTIMIZERS: Mapping[str, Callable[[_Run, Array, np.random.Generator | None], None]] = {
    "Nelder-Mead": _nelder_mead,
    "L-BFGS-B": _l_bfgs_b,
    "SPSA": _spsa,
}
"""The optimisers by name."""
