"""The experiment of Verdon et al. 2019: an LSTM trained on small problems hands larger ones to optimisers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import numpy as np
import torch

from qiskit_metainit.descent import best_constant
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.features import stack
from qiskit_metainit.handover import OPTIMIZERS, Trace, hand_over
from qiskit_metainit.model import Model
from qiskit_metainit.models.constant import Constant
from qiskit_metainit.models.lstm import Lstm
from qiskit_metainit.models.same_angle import SameAngle
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.problem import Family, Problem
from qiskit_metainit.problems.hubbard import Hubbard
from qiskit_metainit.problems.ising import Ising
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.rating import Array, energies, random_points
from qiskit_metainit.reproduction import Progress, Reproduction, Stages, weights_of, with_weights
from qiskit_metainit.reproductions import _verdon2019_page as page
from qiskit_metainit.reproductions._verdon2019_field import TARGETS, Field, Start, trajectory
from qiskit_metainit.task import Task
from qiskit_metainit.training import Schedule, observed_improvement, train

_TRAINED: Mapping[str, Sequence[Any]] = {"maxcut": (6, 7, 8, 9), "ising": (6, 7, 8, 9), "hubbard": ([4, 1],)}
_TESTED: Mapping[str, Sequence[Any]] = {"maxcut": (10, 11, 12), "ising": (10, 11, 12), "hubbard": ([6, 1],)}
"""Numbers of qubits, of Hubbard lattices: from four sites on a chain has hops of every kind, and so its parameters."""
_INTERACTIONS = (0.5, 8.0)  # U / t
_RANDOM_POINTS = 20  # whose mean is where "99% of the way" begins
_LEAST_IMPROVEMENT = 0.01  # of an untrained network that training can start from


@final
@dataclass(frozen=True, kw_only=True)
class Verdon2019:
    """MaxCut and Sherrington-Kirkpatrick QAOA and Hubbard VQE of Verdon et al. 2019 (arXiv:1907.05415).

    The recurrence is theirs: ``(h, theta)_(t+1) = LSTM(h_t, theta_t, y_t)`` with theta = h, costs normalised by the
    Pauli coefficients, T = 10 proposals trained by the observed improvement through the circuit. Our choices where the
    text gives none: p = 2 layers, Adam and its schedule, the sizes and numbers of the test problems, and for Hubbard
    chains at half filling with U/t up to 8 whose ansatz starts from free fermions.
    """

    quick: bool = False
    """Fewer seeds, steps and test problems."""
    seed: int = 0
    """Of everything: problems, weights, batches, random starts and the directions of SPSA."""
    seeds: int = 5
    """Networks trained for a problem class, at most two if quick."""
    reps: int = 2
    """Layers p."""

    def run(self, stages: Stages, progress: Progress) -> Reproduction:
        """See Experiment."""
        classes = {key: _Class(self, key).run(stages, progress) for key in _TRAINED}
        settings: dict[str, Any] = {"seeds": self.networks, "reps": self.reps, "steps": self.steps, "quick": self.quick}
        settings |= {"training_problems": self.instances, "cap": dict(self.cap), "targets": list(TARGETS)}
        record = {"seed": self.seed, "settings": settings, "classes": classes}
        return page.reproduction(record)

    @property
    def networks(self) -> int:
        """Trained networks a problem class."""
        return min(2, self.seeds) if self.quick else self.seeds

    @property
    def steps(self) -> int:
        """Gradient steps, of 64 problems each."""
        return 60 if self.quick else 300

    @property
    def instances(self) -> int:
        """Training problems of a network."""
        return 200 if self.quick else 1008

    @property
    def tested(self) -> int:
        """Test problems of a size."""
        return 4 if self.quick else 34

    @property
    def random_runs(self) -> int:
        """Random points of a test problem that optimisers start from."""
        return 1 if self.quick else 3

    @property
    def cap(self) -> Mapping[str, int]:
        """Most evaluations of a run."""
        most = 200 if self.quick else 300
        return {"Nelder-Mead": most, "SPSA": most, "L-BFGS-B": 20_000}


class _Class:
    """The experiment on one problem class."""

    def __init__(self, experiment: Verdon2019, key: str) -> None:
        self.experiment = experiment
        self.key = key
        self.label = page.LABELS[key]
        self.stream = [experiment.seed, list(_TRAINED).index(key)]

    def run(self, stages: Stages, progress: Progress) -> dict[str, Any]:
        """Return everything measured, as JSON values."""
        experiment = self.experiment
        trained = [
            stages.get(f"{self.key}-training-{k}", partial(self._train, k, stages, progress))
            for k in range(experiment.networks)
        ]
        constant = stages.get(f"{self.key}-constant", self._constant)
        problems = self._test_problems()
        tasks = [self._task(problem) for problem in problems]
        starts, random = self._starts(
            tasks, [with_weights(self._network(), piece["weights"]) for piece in trained], constant
        )

        def optimise(optimizer: str, names: Iterable[str], targets: Array | None) -> dict[str, list[list[Trace]]]:
            return self._optimise(optimizer, {name: starts[name] for name in names}, tasks, targets, stages, progress)

        runs = {"L-BFGS-B": optimise("L-BFGS-B", starts, None)}
        optima = np.min(
            [[trace.energies[-1] for trace in row] for rows in runs["L-BFGS-B"].values() for row in rows], 0
        )
        field = Field(problems, tasks, random, optima, page.REFERENCES[self.key])
        target = field.target(max(TARGETS))
        runs["Nelder-Mead"] = optimise("Nelder-Mead", starts, target)
        # Its every run goes to the cap, and the others tell how much worse the last proposal is.
        runs["SPSA"] = optimise("SPSA", [name for name in starts if name != "lstm_last"], target)
        optimizers = {
            optimizer: {
                name: field.summary(starts[name], rows, experiment.cap[optimizer])
                for name, rows in runs[optimizer].items()
            }
            for optimizer in OPTIMIZERS
        }
        return {
            "qubits": [problem.num_qubits for problem in problems],
            "training": [{key: value for key, value in piece.items() if key != "weights"} for piece in trained],
            "constant": constant,
            "starts": field.ratings(starts),
            "optimizers": optimizers,
            "paired": field.paired(optimizers),
            "repetitions": field.repetitions(starts["lstm"].queries, optimizers),
        }

    @property
    def instances(self) -> int:
        """Training problems of a network: chains that differ in U only are soon told."""
        return min(128, self.experiment.instances) if self.key == "hubbard" else self.experiment.instances

    def _train(self, number: int, stages: Stages, progress: Progress) -> dict[str, Any]:
        """Train one network, from the first initial weights that a gradient can improve.

        A network whose every proposal costs more than nothing has no observed improvement and no gradient of it, since
        improvements count from y_0 = 0: such weights are drawn again.
        """
        experiment = self.experiment
        tasks = self._training_tasks(number, 64)
        draws = np.random.default_rng([*self.stream, number, 1])
        redrawn = -1
        improvement = 0.0
        while improvement > -_LEAST_IMPROVEMENT:
            redrawn += 1
            with torch.random.fork_rng(devices=[]):  # torch draws initial weights from its global state only
                torch.manual_seed(int(draws.integers(2**62)))
                model = self._network()
            improvement = observed_improvement(trajectory(model, tasks, measure_answer=True).costs).item()
        of = experiment.networks * experiment.steps
        report = train(
            model,
            self._family(),
            Statevector(precision="single"),
            reps=() if self.key == "hubbard" else [experiment.reps],
            loss=observed_improvement,
            steps=experiment.steps,
            batch=64,
            rng=np.random.default_rng([*self.stream, number]),
            schedule=Schedule(learning_rate=0.03, instances=self.instances, checkpoint_every=50),
            checkpoint=stages.checkpoint(f"{self.key}-training-{number}"),
            progress=lambda step, _: progress(f"{self.label}: training", number * experiment.steps + step + 1, of),
        )
        losses = np.array(report.losses).reshape(-1, 10).mean(axis=1)
        return {
            "weights": weights_of(model),
            "untrained": round(improvement, 5),
            "losses": losses.round(5).tolist(),  # means of ten steps
            "redrawn": redrawn,
            "seconds": round(report.seconds, 1),
        }

    def _network(self) -> Lstm:
        return Lstm(num_parameters=self._training_tasks(0, 1)[0].num_parameters)

    def _constant(self) -> list[float]:
        """Return the (2p,) natural-unit point of least mean cost over the first network's training problems."""
        tasks = self._training_tasks(0, self.instances)
        start = self._formula().begin(stack([task.features for task in tasks]))[0].mean(dim=0).numpy()
        return [float(angle) for angle in best_constant(Statevector(), tasks, start)]

    def _formula(self) -> Model:
        """Return the start without a query or training that every class has: page.REFERENCES tells its name."""
        return SameAngle() if self.key == "hubbard" else SkInfinity()

    def _task(self, problem: Problem) -> Task:
        return Task.of(problem, reps=None if self.key == "hubbard" else self.experiment.reps)

    def _family(self, sizes: Sequence[Any] | None = None) -> Family:
        sizes = _TRAINED[self.key] if sizes is None else sizes
        if self.key == "hubbard":
            return Hubbard(lattices=sizes, interactions=_INTERACTIONS, layers=[self.experiment.reps])
        return MaxCut(sizes=sizes) if self.key == "maxcut" else Ising(sizes=sizes)

    def _training_tasks(self, number: int, count: int) -> list[Task]:
        """Return the first of a network's training problems, drawn as its training draws them."""
        rng, family = np.random.default_rng([*self.stream, number]), self._family()
        return [self._task(family.sample(rng)) for _ in range(count)]

    def _test_problems(self) -> list[Problem]:
        rng = np.random.default_rng([*self.stream, 0, 2])
        families = [self._family([size]) for size in _TESTED[self.key]]
        return [family.sample(rng) for family in families for _ in range(self.experiment.tested)]

    def _starts(
        self, tasks: Sequence[Task], networks: Sequence[Model], constant: Sequence[float]
    ) -> tuple[dict[str, Start], Array]:
        """Return the starts, and (I,) mean energies of random points."""
        paths = [trajectory(network, tasks) for network in networks]
        scales, offsets = (np.array([getattr(task, name) for task in tasks]) for name in ("scale", "offset"))
        seen = np.stack([path.costs.numpy().T for path in paths]) * scales[:, None] + offsets[:, None]
        best = seen.argmin(axis=2)
        visited = np.stack([path.points.numpy() for path in paths])
        which, row = np.arange(len(paths))[:, None], np.arange(len(tasks))
        queries = seen.shape[2]
        first = 1_000_000 * (self.experiment.seed + 1) + 1000 * self.stream[1]
        randoms = np.stack([random_points(task, _RANDOM_POINTS, first + i) for i, task in enumerate(tasks)], axis=1)
        energy = np.stack([energies(Statevector(), tasks, points) for points in randoms])
        formulas = {"constant": Constant(point=constant), page.REFERENCES[self.key]: self._formula()}
        return {
            "lstm": Start(visited[which, best, row], queries, seen),
            "lstm_last": Start(visited[:, -1], queries, seen),
            **{name: Start(trajectory(model, tasks).points.numpy()) for name, model in formulas.items()},
            "random": Start(randoms[: self.experiment.random_runs]),
        }, energy.mean(axis=0)

    def _optimise(
        self,
        optimizer: str,
        starts: Mapping[str, Start],
        tasks: Sequence[Task],
        targets: Array | None,
        stages: Stages,
        progress: Progress,
    ) -> dict[str, list[list[Trace]]]:
        """Return the runs of an optimiser from each start: R lists of I traces."""
        engine = Statevector()
        done, of = 0, sum(len(start.points) for start in starts.values()) * len(tasks)

        def run(points: Array, number: int) -> list[Any]:
            found = []
            for row, task in enumerate(tasks):
                trace = hand_over(
                    optimizer,
                    engine,
                    task,
                    points[row],
                    cap=self.experiment.cap[optimizer],
                    target=-np.inf if targets is None else targets[row],
                    rng=np.random.default_rng([*self.stream, number, 3, row]),
                )
                found.append([list(trace.evaluations), [round(energy, 9) for energy in trace.energies]])
                progress(f"{self.label}: {optimizer}", done + row + 1, of)
            return found

        runs: dict[str, list[list[Trace]]] = {}
        for name, start in starts.items():
            runs[name] = []
            for number, points in enumerate(start.points):
                piece = stages.get(f"{self.key}-{optimizer}-{name}-{number}", partial(run, points, number))
                runs[name].append([Trace(tuple(counts), tuple(values)) for counts, values in piece])
                done += len(tasks)
                progress(f"{self.label}: {optimizer}", done, of)
        return runs
