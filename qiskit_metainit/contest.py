"""The contest of starting points for VQE: rate them, and let optimisers go on from there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from qiskit_metainit.adaptation import adapt
from qiskit_metainit.arrival import run_until
from qiskit_metainit.comparison import Protocol
from qiskit_metainit.descent import descend
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.handover import shift_evaluations
from qiskit_metainit.model import Model
from qiskit_metainit.problem import Levels, Problem
from qiskit_metainit.rating import Array, answers, energies
from qiskit_metainit.standings import Contest, Course, Standing, Standings
from qiskit_metainit.task import Task

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, of)."""

_TRUST = 0.1  # COBYLA's first trust radius, radians: a good start is left at once by the usual radian


def hold(
    models: Mapping[str, Model], problems: Sequence[Problem], contest: Contest, progress: Progress | None = None
) -> Standings:
    """Compare models on problems that bring an ansatz and know the levels of their energies, by exact simulation.

    Args:
        models: by name; each supports every problem.
        problems: I instances.
        contest: which optimisers run, and how.
        progress: called with (stage, done, of).

    Raises:
        ValueError: if a problem has no ansatz or no levels, or a model does not support one.
    """
    note = progress or (lambda stage, done, of: None)
    levels = [_levels(problem) for problem in problems]
    engine, tasks = Statevector(), [Task.of(problem) for problem in problems]
    for name, model in models.items():
        for task in tasks:
            if (reason := model.unsupported(task.features)) is not None:
                raise ValueError(f"{name} cannot be compared on these instances: {reason}. Leave it out.")
    starts: dict[str, Array] = {}
    found: dict[str, Array] = {}
    for place, (name, model) in enumerate(models.items(), start=1):
        starts[name] = answers(model, tasks, engine)
        found[name] = _excess(energies(engine, tasks, starts[name]), levels)
        note("starting points", place, len(models))
    least = np.min(list(found.values()), axis=0)
    names = list(models)
    for row, task in enumerate(tasks):
        for name in sorted(names, key=lambda name: float(found[name][row]))[: contest.searches]:
            energy, _ = descend(engine, task, starts[name][row], step=_TRUST)
            least[row] = min(least[row], levels[row].excess(energy))
        note("optima", row + 1, len(tasks))
    results = {}
    for place, name in enumerate(names, start=1):
        courses = {
            optimizer: _adam(engine, tasks, starts[name], levels, contest)
            if optimizer == "adam"
            else _visited(optimizer, engine, tasks, starts[name], levels, contest)
            for optimizer in contest.optimizers
        }
        results[name] = Standing(models[name].queries, found[name], courses)
        note("optimisers", place, len(names))
    return Standings(
        contest=contest,
        measure=levels[0].name,
        target=levels[0].target,
        results=results,
        optimum=least,
        qubits=tuple(problem.num_qubits for problem in problems),
        parameters=tuple(task.num_parameters for task in tasks),
    )


def _levels(problem: Problem) -> Levels:
    if problem.ansatz is None or problem.levels is None:
        raise ValueError(
            "Problems with an ansatz and levels (a lowest energy and a unit) are needed, but one of the family "
            f"{problem.family!r} came without. Give them, or compare on QAOA with reps."
        )
    return problem.levels


def _excess(found: Array, levels: Sequence[Levels]) -> Array:
    """Return excesses for energies (I,) or (T, I)."""
    lowest = np.array([level.lowest for level in levels])
    return np.asarray((found - lowest) / np.array([level.unit for level in levels]))


def _adam(
    engine: Statevector, tasks: Sequence[Task], points: Array, levels: Sequence[Levels], contest: Contest
) -> Course:
    """Run Adam at every rate; take the one that gets most instances to the target, and those soonest."""
    prices = np.array([shift_evaluations(task) for task in tasks], dtype=np.float64)
    targets = np.array([level.lowest + level.target * level.unit for level in levels])
    courses = []
    for rate in contest.rates:
        run = adapt(engine, tasks, points, learning_rate=rate, steps=contest.steps)
        steps = run.arrivals(targets)
        there = steps <= contest.steps
        # The energy of a step is known after one evaluation; each step before it took a gradient too.
        spent = np.where(there, steps * prices + 1, np.nan)
        seen = _excess(run.energies, levels)
        order = (-int(there.sum()), float(np.median(np.where(there, spent, np.inf))), float(seen.min(axis=0).mean()))
        courses.append((order, Course(spent, seen.min(axis=0), seen[-1], rate)))
    return min(courses, key=lambda item: item[0])[1]


def _visited(
    optimizer: str,
    engine: Statevector,
    tasks: Sequence[Task],
    points: Array,
    levels: Sequence[Levels],
    contest: Contest,
) -> Course:
    protocol = Protocol(reps=1, cap=contest.cap, rhobeg=_TRUST, rhoend=_TRUST / 1000)
    spent, best = np.full(len(tasks), np.nan), np.zeros(len(tasks))
    for row, (task, level) in enumerate(zip(tasks, levels, strict=True)):
        target = level.lowest + level.target * level.unit
        trace = run_until(optimizer, engine, task, points[row], target, protocol=protocol)
        arrived = trace.arrival(target)
        spent[row] = np.nan if arrived is None else arrived
        best[row] = level.excess(trace.energies[-1])
    return Course(spent, best, best)  # these optimisers answer with the best point they have seen
