"""One family at one depth of the reproduction of Chen et al. 2025: training, comparators, tests."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from qiskit_metainit.descent import best_constant, descend
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.features import stack
from qiskit_metainit.model import Model
from qiskit_metainit.models.constant import Constant
from qiskit_metainit.models.lstm import Lstm
from qiskit_metainit.models.qlstm import Qlstm
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.parallel import Job
from qiskit_metainit.problem import Family, Problem
from qiskit_metainit.problems.ising import Ising
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.quantum_cell import QuantumLayer
from qiskit_metainit.rating import answers, random_points
from qiskit_metainit.reaction import react
from qiskit_metainit.reproduction import Stages, weights_of, with_weights
from qiskit_metainit.reproductions._chen2025_results import DENSE, ITERATIONS, MODELS
from qiskit_metainit.reproductions._comparators import (
    GRADIENT,
    Course,
    gradient_descent,
    model_course,
    nelder_mead,
    tuned_rate,
)
from qiskit_metainit.reproductions._outcomes import Judge, Outcomes
from qiskit_metainit.task import Task
from qiskit_metainit.training import Schedule, cumulative_improvement, train

Array = NDArray[np.float64]
Report = Callable[[int, int], None]
"""Called with (done, of)."""

FAMILIES = ("maxcut", "sk")
"""Problems of the paper."""

_TRAINED_ON = 7  # qubits
_CONNECTIVITIES = range(1, 7)  # k of the edge probabilities k/7
_TUNED_ON = 60  # training instances
_STREAM = 250500561  # keeps the generators apart from those of other experiments with the same seed
_UNROLLED = 10  # proposals in training, T
_MIDDLE = 12  # qubits where the reaction is measured

BATCH = 16
"""Problems a gradient step."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One family at one depth; the other settings are those of the experiment."""

    family: str
    """One of ``FAMILIES``."""
    reps: int
    """Layers p."""
    quick: bool
    """Whether only to see that it works."""
    seed: int
    """Of everything."""
    seeds: int
    """Training seeds, at most."""
    graphs: int
    """Test graphs for each size and edge probability."""
    glasses: int
    """Test spin glasses of each size."""
    iterations: int
    """Of every optimiser."""
    shots: int
    """Bitstrings among which the best sample is the best."""

    def trainings(self, stages: Stages) -> dict[str, Job]:
        """Return what comes first, each piece by its name: tuned rates, the fitted constant, and trained models."""
        jobs: dict[str, Job] = {f"{self._label}-rates": self._rates, f"{self._label}-constant": self._constant}
        for name, k in itertools.product(MODELS, range(self._training_seeds)):
            piece = f"{self._label}-{name}-{k}"
            jobs[piece] = partial(self._train, name, k, stages.checkpoint(piece))
        return jobs

    def tests(self, trained: Mapping[str, Any]) -> dict[str, Job]:
        """Return what comes then, each piece by its name, the longest first: tests, reactions, optima by depth."""
        jobs: dict[str, Job] = {
            f"{self._label}-n{size}": partial(self._test, size, trained) for size in reversed(self._sizes)
        }
        jobs[f"{self._label}-reaction"] = partial(self._reactions, trained)
        if self.reps == 1:
            jobs[f"{self.family}-depths"] = self._optimum_by_depth
        return jobs

    def record(self, trained: Mapping[str, Any], tested: Mapping[str, Any]) -> dict[str, Any]:
        """Return everything as JSON values."""
        models = {name: self._pieces(name, trained) for name in MODELS}
        return {
            "family": self.family,
            "reps": self.reps,
            "training": {"steps": self.steps, "batch": BATCH, "learning_rate": self.schedule.learning_rate},
            "rates": trained[f"{self._label}-rates"],
            "constant": trained[f"{self._label}-constant"],
            "losses": {name: [piece["losses"] for piece in pieces] for name, pieces in models.items()},
            "weights": {
                name: sum(weight.numel() for weight in self._model(name, queries=0).parameters()) for name in MODELS
            },
            "cells": [tested[f"{self._label}-n{size}"] for size in self._sizes],
            "reactions": tested[f"{self._label}-reaction"],
        }

    @property
    def schedule(self) -> Schedule:
        """How the models' optimiser goes."""
        return Schedule(learning_rate=0.05, instances=300)

    @property
    def steps(self) -> int:
        """Gradient steps of a training."""
        if self.quick:
            return 10
        return 200 if self.reps == 1 else 120

    def problems(self, size: int) -> tuple[list[Problem], list[int]]:
        """Return the test problems of a size, and k of each one's edge probability k/7 (0 for spin glasses)."""
        rng = np.random.default_rng([_STREAM, self.seed, FAMILIES.index(self.family), 0, size])  # 0: no depth is that
        if self.family == "sk":
            count = 8 if self.quick else self.glasses
            return [Ising(sizes=[size]).sample(rng) for _ in range(count)], [0] * count
        labels = np.repeat(_CONNECTIVITIES, 2 if self.quick else self.graphs).tolist()
        return [_erdos_renyi(size, k).sample(rng) for k in labels], labels

    @property
    def _label(self) -> str:
        return f"{self.family}-p{self.reps}"

    @property
    def _sizes(self) -> Sequence[int]:
        if self.quick:
            return (8, _MIDDLE)
        if self.reps > 1:
            return (8, _MIDDLE, 16)
        return range(8, 17, 1 if self.family == "maxcut" else 2)

    @property
    def _training_seeds(self) -> int:
        if self.quick:
            return min(self.seeds, 2)
        return min(self.seeds, 5 if self.reps == 1 else 3)

    @property
    def _horizon(self) -> int:
        """Iterations of the models: at p = 2 the simulation of the QLSTM's own circuits takes too long for more."""
        return self.iterations if self.reps == 1 else min(_UNROLLED, self.iterations)

    @property
    def _training_family(self) -> Family:
        return Ising(sizes=[_TRAINED_ON]) if self.family == "sk" else _Connectivities()

    def _rng(self, *key: int) -> np.random.Generator:
        return np.random.default_rng([_STREAM, self.seed, FAMILIES.index(self.family), self.reps, *key])

    def _training_tasks(self) -> list[Task]:
        rng = self._rng(0)
        problems = [self._training_family.sample(rng) for _ in range(12 if self.quick else _TUNED_ON)]
        return [Task.qaoa(problem.operator, reps=self.reps) for problem in problems]

    def _rates(self, report: Report) -> dict[str, float]:
        tasks, engine, found = self._training_tasks(), Statevector(), {}
        starts = _random_starts(tasks)
        iterations = min(self.iterations, 10) if self.quick else self.iterations
        for name in GRADIENT:
            found[name] = tuned_rate(name, tasks, starts, engine, iterations)
            report(len(found), len(GRADIENT))
        return found

    def _constant(self, report: Report) -> list[float]:
        """Return the (2p,) point, natural units, of the least mean cost over training problems."""
        tasks = self._training_tasks()
        start = SkInfinity().begin(stack([task.features for task in tasks]))[0].mean(dim=0).numpy()
        found = best_constant(Statevector(), tasks, start)
        report(1, 1)
        return [float(angle) for angle in found]

    def _train(self, name: str, k: int, checkpoint: Path, report: Report) -> dict[str, Any]:
        with torch.random.fork_rng(devices=[]):  # torch draws initial weights from its global state only
            torch.manual_seed(int(self._rng(2, k).integers(2**31)))
            model = self._model(name, queries=_UNROLLED - 1)
        done = train(
            model,
            self._training_family,
            Statevector(),
            reps=[self.reps],
            loss=cumulative_improvement,
            steps=self.steps,
            batch=BATCH,
            rng=self._rng(1, k),
            schedule=self.schedule,
            checkpoint=checkpoint,
            progress=lambda step, _: report(step + 1, self.steps),
        )
        return {"weights": weights_of(model), "losses": [round(loss, 5) for loss in done.losses]}

    def _model(self, name: str, *, queries: int) -> Model:
        if name == "lstm":
            return Lstm(num_parameters=2 * self.reps, queries=queries)
        model = Qlstm(cell="chen", num_parameters=2 * self.reps, queries=queries)
        for layer in model.modules():
            if isinstance(layer, QuantumLayer):  # an engine each, because one keeps only its last batch prepared
                layer.engine = Statevector(precision="single")  # errors of 1e-6, in half the time
        return model

    def _pieces(self, name: str, trained: Mapping[str, Any]) -> list[Any]:
        return [trained[f"{self._label}-{name}-{k}"] for k in range(self._training_seeds)]

    def _models(self, name: str, trained: Mapping[str, Any]) -> list[Model]:
        pieces = self._pieces(name, trained)
        return [with_weights(self._model(name, queries=self._horizon - 1), piece["weights"]) for piece in pieces]

    def _test(self, size: int, trained: Mapping[str, Any], report: Report) -> dict[str, Any]:
        """Run everything on the test problems of a size, and judge it."""
        problems, labels = self.problems(size)
        tasks = [Task.qaoa(problem.operator, reps=self.reps) for problem in problems]
        engine = Statevector(precision="single")
        starts = _random_starts(tasks)
        runs: dict[str, list[Callable[[], Course]]] = {
            name: [partial(gradient_descent, name, rate, tasks, starts, engine, self.iterations)]
            for name, rate in trained[f"{self._label}-rates"].items()
        }
        runs["Nelder-Mead"] = [partial(nelder_mead, tasks, starts, engine, self.iterations)]
        for name in MODELS:
            runs[name] = [partial(model_course, model, tasks, engine) for model in self._models(name, trained)]
        total = sum(map(len, runs.values())) + 2
        courses: dict[str, list[Course]] = {name: [] for name in runs}
        for name, several in runs.items():
            for run in several:
                report(sum(map(len, courses.values())), total)
                courses[name].append(run())
        points = {
            "uniform": np.zeros_like(starts),
            "constant": answers(Constant(point=trained[f"{self._label}-constant"]), tasks, engine),
            "sk_infinity": answers(SkInfinity(), tasks, engine),
        }
        report(total - 2, total)
        points["optimum"] = _best_optima(engine, tasks, points["sk_infinity"], courses)
        report(total - 1, total)
        judge = Judge.of(problems, tasks, self.shots)
        return {
            "size": size,
            "connectivity": labels,
            "optimisers": {name: judge.courses(several, ITERATIONS, labels) for name, several in courses.items()},
            "points": {name: judge.points(found) for name, found in points.items()},
        }

    def _reactions(self, trained: Mapping[str, Any], report: Report) -> dict[str, Any]:
        """Return how the first seed's tenth proposals vary across 12-qubit problems, beside the optima."""
        problems, _ = self.problems(_MIDDLE)
        tasks = [Task.qaoa(problem.operator, reps=self.reps) for problem in problems]
        engine, found = Statevector(), {}
        for name in MODELS:
            course = model_course(self._models(name, trained)[0], tasks, engine)
            seen = react(engine, tasks, course.points[min(_UNROLLED, self._horizon)])
            found[name] = {
                "spread": round(seen.spread, 6),
                "spread_of_optima": round(seen.spread_of_optima, 6),
                "moves": seen.moves(),
                "follows": seen.follows(),
            }
            report(len(found), len(MODELS))
        return found

    def _optimum_by_depth(self, report: Report) -> list[list[float]]:
        """Return for 8 and for 12 qubits the mean ratio of the local optimum below SK-infinity at p = 1, 2, .."""
        sizes, depths = ((8,), (1, 2)) if self.quick else ((8, _MIDDLE), range(1, 7))
        found: list[list[float]] = []
        for size in sizes:
            problems, labels = self.problems(size)
            chosen = [problem for problem, k in zip(problems, labels, strict=True) if k in (0, DENSE)][: self.graphs]
            ground = np.array([Outcomes.of(problem).levels[0] for problem in chosen])
            found.append([])
            for reps in depths:
                tasks = [Task.qaoa(problem.operator, reps=reps) for problem in chosen]
                engine = Statevector()
                starts = answers(SkInfinity(), tasks, engine)
                least = [descend(engine, task, start)[0] for task, start in zip(tasks, starts, strict=True)]
                found[-1].append(float((np.array(least) / ground).mean()))
                report(len(depths) * (len(found) - 1) + len(found[-1]), len(sizes) * len(depths))
        return found


@dataclass(frozen=True)
class _Connectivities:
    """Erdos-Renyi graphs of 7 nodes, the edge probability k/7 with k uniform in 1..6."""

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"size": _TRAINED_ON, "sevenths": list(_CONNECTIVITIES)}

    def sample(self, rng: np.random.Generator) -> Problem:
        return _erdos_renyi(_TRAINED_ON, int(rng.choice(_CONNECTIVITIES))).sample(rng)


def _erdos_renyi(size: int, sevenths: int) -> MaxCut:
    return MaxCut(sizes=[size], probability=sevenths / 7)


def _random_starts(tasks: Sequence[Task]) -> Array:
    return np.concatenate([random_points(task, 1, row) for row, task in enumerate(tasks)])


def _best_optima(
    engine: Statevector, tasks: Sequence[Task], starts: Array, courses: Mapping[str, Sequence[Course]]
) -> Array:
    """Return (I, 2p) points of the best local optima below (I, 2p) points and below the best that any course held."""
    every = [course for several in courses.values() for course in several]
    optima = []
    for row, task in enumerate(tasks):
        costs = [course.costs[:, row] for course in every]
        place = int(np.argmin([cost.min() for cost in costs]))
        held = every[place].points[costs[place].argmin(), row]
        found = [descend(engine, task, point) for point in (starts[row], held)]
        optima.append(min(found, key=lambda pair: pair[0])[1])
    return np.stack(optima)
