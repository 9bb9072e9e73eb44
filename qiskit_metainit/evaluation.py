"""Paired comparison of models on held-out instances, every circuit evaluation counted."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from qiskit_metainit import plugins
from qiskit_metainit.arrival import run_until, sampled
from qiskit_metainit.comparison import Arrival, Comparison, Protocol, Result, course_grid
from qiskit_metainit.engine import Engine
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.features import Features, of_qaoa
from qiskit_metainit.landscapes import Landscapes
from qiskit_metainit.model import Model
from qiskit_metainit.problem import Problem
from qiskit_metainit.rating import Array, answers, energies, local_optimum, random_points, ratio, spectrum
from qiskit_metainit.reaction import react
from qiskit_metainit.rollout import rollout
from qiskit_metainit.task import Task

SEARCHED = ("sk_infinity", "tqa", "fixed_angles")
"""Formulas whose points are searched for r_opt whether they are compared or not, where they serve the instances."""

Progress = Callable[[str, int, int], None]
"""Told (stage, done, of)."""


def compare(
    models: Mapping[str, Model],
    problems: Sequence[Problem],
    protocol: Protocol,
    *,
    evaluations: bool = True,
    reactions: bool = True,
    names: Sequence[str] = (),
    progress: Progress | None = None,
) -> Comparison:
    """Compare models on QAOA instances, by exact expectation values.

    r_opt is the best that L-BFGS-B reaches from the models' answers, ``SEARCHED`` and random starts. Instances come one
    after the other, so that there may be any number of any size that the simulator takes.

    Args:
        models: by name; each must serve every instance.
        problems: held-out instances.
        protocol: how.
        evaluations: whether to run the protocol's optimisers from every start (most of the time), or only to rate the
            answers.
        reactions: whether to tell how the answers vary, which takes a few searches a model and instance.
        names: of the instances, if they have any.
        progress: called with (stage, done, of).

    Raises:
        ValueError: if there is no instance, or a model does not serve one.
    """
    if not problems:
        raise ValueError("At least one instance is needed to compare models on, but none came.")
    if names and len(names) != len(problems):
        raise ValueError(f"A name for each of the {len(problems)} instances is needed, but {len(names)} came.")
    report = progress or (lambda stage, done, total: None)
    known = [of_qaoa(problem.operator, protocol.reps) for problem in problems]
    for name, model in models.items():
        reasons = [reason for features in known if (reason := model.unsupported(features)) is not None]
        if reasons:
            raise ValueError(f"{name} cannot be compared at reps={protocol.reps}: {reasons[0]}. Leave it out.")
    engine, tasks = Statevector(), Landscapes(problems, protocol.reps)
    asked = engine if protocol.shots is None else sampled(protocol.shots, np.random.default_rng(protocol.seed))
    starts = {name: _answers(model, known, tasks, asked) for name, model in models.items()}
    searched = [*starts.values(), *_formulas(known)]
    queries = {**{name: model.queries for name, model in models.items()}, "random": 0}
    optimizers = protocol.optimizers if evaluations else ()
    runs: dict[tuple[str, str], list[list[_Course]]] = {key: [] for key in itertools.product(queries, optimizers)}
    ratios = np.zeros((len(queries), len(problems)))
    optimum = np.zeros(len(problems))
    for row, problem in enumerate(problems):
        scale = _Scale(engine, tasks[row], *spectrum(problem.operator))
        random = random_points(scale.task, protocol.random_starts, row)
        rated = scale.ratios(np.array([*(points[row] for points in starts.values()), *random]))
        ratios[:-1, row], ratios[-1, row] = rated[: len(starts)], rated[len(starts) :].mean()
        candidates = [*(points[row] for points in searched), *random[: protocol.random_searches]]
        optimum[row] = max(rated.max(), scale.best_from(candidates))
        report("local optima", row + 1, len(problems))
        target = ratios[-1, row] + protocol.target * (optimum[row] - ratios[-1, row])
        for done, ((name, optimizer), courses) in enumerate(runs.items(), start=row * len(runs) + 1):
            drawn = optimizer == "spsa" or protocol.shots is not None
            points = random if name == "random" else [starts[name][row]] * (protocol.repeats if drawn else 1)
            courses.append(
                [
                    scale.run(optimizer, point, target, queries[name], protocol, (row, place))
                    for place, point in enumerate(points)
                ]
            )
            report("optimising", done, len(problems) * len(runs))
    results = {}
    for place, (name, asks) in enumerate(queries.items()):
        arrivals = {optimizer: _arrival(runs[name, optimizer]) for optimizer in optimizers}
        reaction = react(engine, tasks, starts[name]) if name in starts and reactions else None
        results[name] = Result(asks, ratios[place], arrivals, reaction)
        if reaction is not None:
            report("reactions to the instance", place + 1, len(starts))
    qubits = tuple(problem.num_qubits for problem in problems)
    return Comparison(protocol, results, optimum, tuple(names), qubits)


def _answers(model: Model, known: Sequence[Features], tasks: Landscapes, engine: Engine) -> Array:
    """Return (I, P) answers, radians; without queries no landscape is built for them."""
    if model.queries:
        return np.concatenate([answers(model, tasks[rows], engine) for rows in tasks.parts()])
    with torch.no_grad():
        return np.asarray(rollout(model, known, None, measure_answer=False).answer.numpy())


def _formulas(known: Sequence[Features]) -> list[Array]:
    """Return the (I, P) answers of those of ``SEARCHED`` that there are and that serve all instances."""
    there = [plugins.load("models", name)() for name in SEARCHED if name in plugins.names("models")]
    serving = [model for model in there if all(model.unsupported(features) is None for features in known)]
    return [rollout(model, known, None, measure_answer=False).answer.numpy() for model in serving]


@dataclass(frozen=True, eq=False)
class _Course:
    """One run."""

    evaluations: int  # until the target, queries included
    arrived: bool
    best: Array  # (G,) r


@dataclass(frozen=True, eq=False)
class _Scale:
    """One instance's landscape, with r for energies."""

    engine: Statevector
    task: Task
    low: float
    high: float

    def ratios(self, points: Array) -> Array:
        found = energies(self.engine, [self.task] * len(points), points)
        return ratio(found, np.array([[self.low, self.high]]))

    def best_from(self, points: Sequence[Array]) -> float:
        """Return r of the best local optimum that is reached from some points."""
        different = dict.fromkeys(map(tuple, points))
        return max(
            (self._r(local_optimum(self.engine, self.task, np.array(point))) for point in different), default=0.0
        )

    def run(
        self, optimizer: str, point: Array, target: float, queries: int, protocol: Protocol, key: tuple[int, int]
    ) -> _Course:
        """Return how an optimiser goes from a point towards an r."""
        energy = self.high - target * (self.high - self.low)
        rng = np.random.default_rng([protocol.seed, *key])
        trace = run_until(optimizer, self.engine, self.task, point, energy, protocol=protocol, rng=rng)
        arrival = trace.arrival(energy)
        grid = (course_grid(protocol.cap) - queries).tolist()
        best = np.array([self._r(trace.best(count)) if count > 0 else np.nan for count in grid])
        return _Course(queries + (protocol.cap if arrival is None else arrival), arrival is not None, best)

    def _r(self, energy: float) -> float:
        return (self.high - energy) / (self.high - self.low)


def _arrival(courses: Sequence[Sequence[_Course]]) -> Arrival:
    """Return what the runs on every instance come to."""
    evaluations = np.array([[run.evaluations for run in runs] for runs in courses], float)
    arrived = np.mean([[run.arrived for run in runs] for runs in courses])
    best = np.array([[run.best for run in runs] for runs in courses])
    return Arrival(np.median(evaluations, axis=1), float(arrived), np.median(best, axis=(0, 1)))
