"""Paired comparison of models on held-out instances, every circuit evaluation counted."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from qiskit_metainit import plugins
from qiskit_metainit.arrival import run_until, sampled
from qiskit_metainit.comparison import SEARCH, Arrival, Comparison, Protocol, Result, course_grid
from qiskit_metainit.descent import descend_all
from qiskit_metainit.engine import Engine
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.features import Features, of_qaoa
from qiskit_metainit.handover import Trace
from qiskit_metainit.landscapes import Landscapes
from qiskit_metainit.layerwise import SEARCHES, Climb, climb
from qiskit_metainit.model import Model
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.problem import Problem
from qiskit_metainit.rating import Array, answers, energies, random_points, ratio, spectrum
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
    searches: Sequence[str] = (),
    names: Sequence[str] = (),
    progress: Progress | None = None,
) -> Comparison:
    """Compare models on QAOA instances, by exact expectation values.

    r_opt is the best local optimum found from the models' answers, ``SEARCHED``, random starts and where the searches
    ended. Instances come one after the other, so that there may be any number of any size that the simulator takes.

    Searches are no models: they optimise, from p = 1 up, with the protocol's trust radii and its cap at every depth. A
    search's r is that of the point where it ends, its ``queries`` are the median of the evaluations that took, and its
    arrival is its own: no optimiser runs from its end.

    Args:
        models: by name; each must serve every instance.
        problems: held-out instances.
        protocol: how.
        evaluations: whether to run the protocol's optimisers from every start (most of the time), or only to rate the
            answers.
        reactions: whether to tell how the answers vary, which takes a few searches a model and instance.
        searches: names in ``layerwise.SEARCHES``, a row each.
        names: of the instances, if they have any.
        progress: called with (stage, done, of).

    Raises:
        ValueError: if there is no instance, a model or a search does not serve one, there is no such search, or there
            are shots, which searches do not take.
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
    _check_searches(searches, models, known, protocol)
    engine, tasks = Statevector(), Landscapes(problems, protocol.reps)
    asked = engine if protocol.shots is None else sampled(protocol.shots, np.random.default_rng(protocol.seed))
    starts = {name: _answers(model, known, tasks, asked) for name, model in models.items()}
    searched = [*starts.values(), *_formulas(known)]
    queries = {**{name: model.queries for name, model in models.items()}, "random": 0}
    optimizers = protocol.optimizers if evaluations else ()
    runs: dict[tuple[str, str], list[list[_Course]]] = {key: [] for key in itertools.product(queries, optimizers)}
    climbs: dict[str, list[Climb]] = {name: [] for name in searches}
    climbed: dict[str, list[list[_Course]]] = {name: [] for name in searches}
    ratios = {name: np.zeros(len(problems)) for name in (*queries, *searches)}
    optimum = np.zeros(len(problems))
    for row, problem in enumerate(problems):
        scale = _Scale(engine, tasks[row], *spectrum(problem.operator))
        random = random_points(scale.task, protocol.random_starts, row)
        for done, (name, found) in enumerate(climbs.items(), start=row * len(climbs) + 1):
            found.append(scale.climb(name, protocol))
            report("searches", done, len(problems) * len(climbs))
        ends = [found[row].point for found in climbs.values()]
        rated = scale.ratios(np.array([*(points[row] for points in starts.values()), *ends, *random]))
        for name, r in zip((*starts, *climbs), rated, strict=False):  # the random points' are the last
            ratios[name][row] = r
        ratios["random"][row] = worth = rated[-len(random) :].mean()
        candidates = [*(points[row] for points in searched), *ends, *random[: protocol.random_searches]]
        optimum[row] = max(rated.max(), scale.best_from(candidates))
        report("local optima", row + 1, len(problems))
        target = worth + protocol.target * (optimum[row] - worth)
        for name, found in climbs.items():
            climbed[name].append([scale.way_of(found[row], target, protocol.cap)])
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
        results[name] = Result(asks, ratios[name], arrivals, reaction)
        if reaction is not None:
            report("reactions to the instance", place + 1, len(starts))
    for name, found in climbs.items():
        spent = np.array([each.evaluations for each in found], float)
        arrivals = {SEARCH: _arrival(climbed[name])} if optimizers else {}
        results[name] = Result(round(float(np.median(spent))), ratios[name], arrivals, asked=spent)
    qubits = tuple(problem.num_qubits for problem in problems)
    return Comparison(protocol, results, optimum, tuple(names), qubits)


def _check_searches(
    searches: Sequence[str], models: Mapping[str, Model], known: Sequence[Features], protocol: Protocol
) -> None:
    """Raise ValueError unless the searches are known, differ from all else, and can run."""
    for name in searches:
        if name not in SEARCHES:
            raise ValueError(f"Each of searches must be one of {', '.join(SEARCHES)}, but {name!r} came.")
        if name in models or searches.count(name) > 1:
            raise ValueError(f"Models and searches need different names, but {name!r} came twice.")
    if searches and protocol.shots is not None:
        raise ValueError(f"Searches need exact energies, but shots={protocol.shots!r} came. Leave one of the two out.")
    reasons = [reason for features in known if (reason := SkInfinity().unsupported(features)) is not None]
    if searches and reasons:
        raise ValueError(f"Searches start from SK-infinity's point, but {reasons[0]}. Leave them out.")


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
        if not different:
            return 0.0
        found, _ = descend_all(self.engine, [self.task] * len(different), np.array(list(different)))
        return self._r(found.min())

    def run(
        self, optimizer: str, point: Array, target: float, queries: int, protocol: Protocol, key: tuple[int, int]
    ) -> _Course:
        """Return how an optimiser goes from a point towards an r."""
        energy = self.high - target * (self.high - self.low)
        rng = np.random.default_rng([protocol.seed, *key])
        trace = run_until(optimizer, self.engine, self.task, point, energy, protocol=protocol, rng=rng)
        return self._course(trace, energy, queries, protocol.cap)

    def climb(self, name: str, protocol: Protocol) -> Climb:
        """Return how a search goes, to its end: it knows no target."""
        return climb(name, self.engine, self.task, rhobeg=protocol.rhobeg, rhoend=protocol.rhoend, cap=protocol.cap)

    def way_of(self, found: Climb, target: float, cap: int) -> _Course:
        """Return how a search went towards an r; what it spent on lesser depths counts, as evaluations without an r."""
        energy = self.high - target * (self.high - self.low)
        kept: list[tuple[int, float]] = []
        for count, reached in found.visits:
            if not kept or (reached < kept[-1][1] and kept[-1][1] > energy):  # as runs, it stays where it arrived
                kept.append((count, reached))
        return self._course(Trace(*zip(*kept, strict=True)), energy, 0, cap)

    def _course(self, trace: Trace, energy: float, queries: int, cap: int) -> _Course:
        arrival = trace.arrival(energy)
        arrived = arrival is not None and arrival <= cap
        grid = (course_grid(cap) - queries).tolist()
        first = trace.evaluations[0]
        best = np.array([self._r(trace.best(count)) if count >= first else np.nan for count in grid])
        return _Course(queries + (cap if arrival is None else min(arrival, cap)), arrived, best)

    def _r(self, energy: float) -> float:
        return (self.high - energy) / (self.high - self.low)


def _arrival(courses: Sequence[Sequence[_Course]]) -> Arrival:
    """Return what the runs on every instance come to."""
    evaluations = np.array([[run.evaluations for run in runs] for runs in courses], float)
    arrived = np.mean([[run.arrived for run in runs] for runs in courses])
    best = np.array([[run.best for run in runs] for runs in courses])
    return Arrival(np.median(evaluations, axis=1), float(arrived), np.median(best, axis=(0, 1)))
