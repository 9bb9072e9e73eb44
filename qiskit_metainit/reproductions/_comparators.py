"""Courses of optimisers on many landscapes: learned ones, gradient descents all at once, and Nelder-Mead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.model import Model
from qiskit_metainit.rollout import normalised_cost, rollout
from qiskit_metainit.task import Task

Array = NDArray[np.float64]

GRADIENT: Mapping[str, type[torch.optim.Optimizer]] = {
    "Adam": torch.optim.Adam,
    "SGD": torch.optim.SGD,
    "RMSProp": torch.optim.RMSprop,
    "Adagrad": torch.optim.Adagrad,
}
"""The gradient descents of Chen et al. 2025 (arXiv:2505.00561), torch's settings but for the learning rate."""

RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Learning rates that are tried, natural units a unit of normalised cost."""


@dataclass(frozen=True, eq=False)
class Course:
    """I runs of T iterations; iteration 0 is the start."""

    points: Array
    """(T + 1, I, P) radians: where each iteration led."""
    costs: Array
    """(T + 1, I) their normalised costs."""
    evaluations: Array
    """(T + 1, I) circuit evaluations spent up to there, those that measured these costs included."""
    measured: bool = True
    """Whether the start is measured too, so that it may be held."""

    def best(self, iteration: int) -> Array:
        """Return (I, P) radians: the best points measured up to an iteration >= 1, which is what an optimiser holds."""
        first = int(not self.measured)
        place = first + self.costs[first : iteration + 1].argmin(axis=0)
        return np.asarray(self.points[place, np.arange(self.points.shape[1])])

    @property
    def held(self) -> Array:
        """(T + 1, I) normalised costs of what is held, and before anything is measured of the start."""
        first = int(not self.measured)
        return np.concatenate([self.costs[:first], np.minimum.accumulate(self.costs[first:])])


def model_course(model: Model, tasks: Sequence[Task], engine: Statevector) -> Course:
    """Return a model's proposals as a course from theta = 0: iteration t is the t-th proposal, one evaluation each."""
    with torch.no_grad():
        known = [task.features for task in tasks]
        path = rollout(model, known, normalised_cost(engine, tasks), measure_answer=True)
    points = np.concatenate([np.zeros_like(path.points[:1]), path.points.numpy()])
    costs = np.concatenate([np.zeros((1, len(tasks))), path.costs.numpy()])  # uniform bitstrings: every <Z..Z> is 0
    spent = np.repeat(np.arange(float(len(points)))[:, None], len(tasks), axis=1)
    return Course(points, costs, spent, measured=False)


def gradient_evaluations(task: Task) -> int:
    """Return the circuit evaluations of a QAOA gradient by parameter shift: two a rotation gate, 2p (terms + qubits).

    (Mitarai et al. 2018, arXiv:1803.00745; an angle's gates are shifted one by one.)

    >>> from qiskit.quantum_info import SparsePauliOp
    >>> gradient_evaluations(Task.qaoa(SparsePauliOp(["ZZI", "IZZ"]), reps=2))
    20
    """
    return task.num_parameters * (len(task.features.terms.weights) + task.features.num_qubits)


def gradient_descent(
    name: str, rate: float, tasks: Sequence[Task], starts: Array, engine: Statevector, iterations: int
) -> Course:
    """Run one of ``GRADIENT`` on the normalised costs of I tasks of one P, in natural units.

    The rules act on each number by itself, so a batch goes as its tasks would one by one; natural units and normalised
    costs let one learning rate serve graphs of all sizes.

    Args:
        name: of the optimiser.
        rate: the learning rate.
        tasks: the landscapes.
        starts: (I, P) radians.
        engine: answers with costs and exact gradients.
        iterations: T.
    """
    units = torch.stack([task.features.unit for task in tasks])
    cost = normalised_cost(engine, tasks)
    natural = (torch.as_tensor(starts) / units).requires_grad_()
    settings: dict[str, Any] = {"lr": rate}  # of whichever class it is
    optimizer = GRADIENT[name]([natural], **settings)
    points, costs = [], []
    for _ in range(iterations):
        values = cost(natural * units)
        points.append((natural.detach() * units).numpy())
        costs.append(values.detach().numpy())
        optimizer.zero_grad()
        values.sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        points.append((natural * units).numpy())
        costs.append(cost(natural * units).numpy())
    each = np.array([gradient_evaluations(task) for task in tasks])
    counts = np.arange(iterations + 1.0)[:, None]
    return Course(np.stack(points), np.stack(costs), counts * each + counts + 1)


def tuned_rate(name: str, tasks: Sequence[Task], starts: Array, engine: Statevector, iterations: int) -> float:
    """Return the rate of ``RATES`` with the least cost on average over instances and iterations 1 .. T."""

    def mean(rate: float) -> float:
        return float(gradient_descent(name, rate, tasks, starts, engine, iterations).costs[1:].mean())

    return min(RATES, key=mean)


def nelder_mead(tasks: Sequence[Task], starts: Array, engine: Statevector, iterations: int) -> Course:
    """Run scipy's Nelder-Mead with its own first simplex, in natural units; what it holds is its best vertex.

    Args:
        tasks: I landscapes of one P.
        starts: (I, P) radians.
        engine: answers with costs.
        iterations: T; what has converged before stays where it is.
    """
    runs = [_simplex(task, start, engine, iterations) for task, start in zip(tasks, starts, strict=True)]
    points, costs, counts = (np.stack(column, axis=1) for column in zip(*runs, strict=True))
    return Course(points, costs, counts)


def _simplex(task: Task, start: Array, engine: Statevector, iterations: int) -> tuple[Array, Array, Array]:
    unit = task.features.unit.numpy()
    cost = normalised_cost(engine, [task])
    calls = 0.0

    def value(natural: Array) -> float:
        nonlocal calls
        calls += 1
        with torch.no_grad():
            return float(cost(torch.as_tensor((natural * unit)[None]))[0])

    natural = start / unit
    held = [(natural * unit, value(natural), calls)]
    calls = 0.0  # the simplex measures its start itself

    def note(intermediate_result: Any) -> None:  # by this very name scipy hands over the value too
        held.append((intermediate_result.x * unit, float(intermediate_result.fun), calls))

    minimize(
        value,
        natural,
        method="Nelder-Mead",
        callback=note,
        options={"maxiter": iterations, "xatol": 0.0, "fatol": 0.0},
    )
    held += [held[-1]] * (iterations + 1 - len(held))
    points, costs, counts = zip(*held, strict=True)
    return np.stack(points), np.array(costs), np.array(counts)
