"""Paired comparison of models on held-out instances, every circuit evaluation counted."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from qiskit.quantum_info import SparsePauliOp
from scipy.optimize import minimize
from scipy.sparse.linalg import eigsh

from qiskit_metainit.descent import descend
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.model import Model
from qiskit_metainit.models.random_point import RandomPoint
from qiskit_metainit.problem import Problem, diagonal_values, is_diagonal
from qiskit_metainit.provenance import command, versions
from qiskit_metainit.reaction import Reaction, react
from qiskit_metainit.rollout import normalised_cost, rollout
from qiskit_metainit.task import Task

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Protocol:
    """How models are compared."""

    reps: int
    """QAOA layers p."""
    random_starts: int = 20
    """Random points an instance, for r_rand, for the random start's evaluations and among the searches for r_opt."""
    target: float = 0.99
    """Share of the way from r_rand to r_opt that counts as arrived."""
    cap: int = 1000
    """Most circuit evaluations of one run; a run that never arrives counts as this many."""
    rhobeg: float = 1.0
    """COBYLA's first trust radius, natural units: 1.0 is what scipy and qiskit-algorithms take."""
    rhoend: float = 1e-3
    """COBYLA's last trust radius, natural units: where a run counts as converged."""
    resamples: int = 10000
    """Bootstrap resamples over instances."""
    seed: int = 0
    """Of the bootstrap."""


@dataclass(frozen=True, eq=False)
class Result:
    """One model on I instances."""

    queries: int
    """Circuit evaluations before the answer."""
    ratio: Array
    """(I,) r = (E_max - E) / (E_max - E_min) of the answer's exact expectation."""
    evaluations: Array
    """(I,) circuit evaluations until the target, the model's own queries included; for several starts their median."""
    arrived: float
    """Share of runs that reached the target."""
    reaction: Reaction | None = None
    """How the answers vary across the instances; None for several starts an instance."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Models on the same instances."""

    protocol: Protocol
    """How they were compared."""
    results: Mapping[str, Result]
    """By name; "random" is always there."""
    optimum: Array
    """(I,) r_opt: the best local optimum found at this depth, a lower bound of the landscape's."""

    def mean_interval(self, values: Array) -> tuple[float, float, float]:
        """Return mean and 95% bootstrap interval over instances."""
        low, high = np.quantile(self._resample(values).mean(axis=1), [0.025, 0.975])
        return float(values.mean()), float(low), float(high)

    def median_interval(self, values: Array) -> tuple[float, float, float]:
        """Return median and 95% bootstrap interval over instances."""
        low, high = np.quantile(np.median(self._resample(values), axis=1), [0.025, 0.975])
        return float(np.median(values)), float(low), float(high)

    def difference(self, name: str, baseline: str) -> tuple[float, float, float]:
        """Return the mean paired difference of r and its 95% interval."""
        return self.mean_interval(self.results[name].ratio - self.results[baseline].ratio)

    def headroom(self, name: str, baseline: str) -> tuple[float, float, float] | None:
        """Return the headroom closed over a baseline, a ratio of means, with its 95% interval; None below .005."""
        ours, base = self.results[name].ratio, self.results[baseline].ratio
        if (self.optimum - base).mean() < 0.005:
            return None
        draws = self._draws()
        with np.errstate(divide="ignore", invalid="ignore"):  # a draw of instances without headroom has no ratio
            ratios = (ours - base)[draws].mean(axis=1) / (self.optimum - base)[draws].mean(axis=1)
        low, high = np.nanquantile(ratios, [0.025, 0.975])
        return float((ours - base).mean() / (self.optimum - base).mean()), float(low), float(high)

    def strongest(self, names: Sequence[str]) -> str:
        """Return the model of the largest mean r without queries among some."""
        free = [name for name in names if name in self.results and not self.results[name].queries]
        return max(free, key=lambda name: float(self.results[name].ratio.mean()))

    def as_json(self) -> dict[str, Any]:
        """Return everything with provenance, as JSON values."""
        return {
            "command": command(),
            "versions": versions(),
            "protocol": vars(self.protocol),
            "optimum": _rounded(self.optimum),
            "results": {
                name: {
                    "queries": result.queries,
                    "ratio": _rounded(result.ratio),
                    "evaluations": _rounded(result.evaluations),
                    "arrived": round(result.arrived, 4),
                    **({"reaction": result.reaction.as_json()} if result.reaction else {}),
                }
                for name, result in self.results.items()
            },
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Comparison:
        """Return the comparison that ``as_json`` gave."""
        results = {
            name: Result(
                row["queries"],
                np.array(row["ratio"]),
                np.array(row["evaluations"], float),
                row["arrived"],
                Reaction.from_json(row["reaction"]) if "reaction" in row else None,
            )
            for name, row in content["results"].items()
        }
        return cls(Protocol(**content["protocol"]), results, np.array(content["optimum"]))

    def write(self, path: Path, **extra: Any) -> None:
        """Write the JSON, with further entries."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**extra, **self.as_json()}, indent=1) + "\n", encoding="utf-8")

    def _draws(self) -> NDArray[np.int64]:
        rng = np.random.default_rng(self.protocol.seed)
        count = len(self.optimum)
        return rng.integers(count, size=(self.protocol.resamples, count))

    def _resample(self, values: Array) -> Array:
        return np.asarray(values[self._draws()])


def compare(
    models: Mapping[str, Model],
    problems: Sequence[Problem],
    protocol: Protocol,
    *,
    evaluations: bool = True,
    progress: Callable[[str, int, int], None] | None = None,
) -> Comparison:
    """Compare models on QAOA instances with exact expectation values.

    Args:
        models: by name; each must serve every instance.
        problems: held-out instances.
        protocol: how.
        evaluations: whether to run COBYLA from every start (most of the time), or only to rate the answers.
        progress: called with (stage, done, of).

    Raises:
        ValueError: if there is no instance, or a model does not serve one.
    """
    if not problems:
        raise ValueError("At least one instance is needed to compare models on, but none came.")
    report = progress or (lambda stage, done, total: None)
    engine = Statevector()
    tasks = [Task.qaoa(problem.operator, reps=protocol.reps) for problem in problems]
    limits = np.array([spectrum(problem.operator) for problem in problems])
    for name, model in models.items():
        reasons = [reason for task in tasks if (reason := model.unsupported(task.features)) is not None]
        if reasons:
            raise ValueError(f"{name} cannot be compared at reps={protocol.reps}: {reasons[0]}. Leave it out.")
    starts = {name: answers(model, tasks, engine) for name, model in models.items()}
    randoms = np.stack([random_points(task, protocol.random_starts, row) for row, task in enumerate(tasks)], axis=1)
    ratios = {name: ratio(energies(engine, tasks, points), limits) for name, points in starts.items()}
    random_ratios = np.stack([ratio(energies(engine, tasks, points), limits) for points in randoms])
    candidates = [*starts.values(), *randoms]
    optimum = np.zeros(len(tasks))
    for row, task in enumerate(tasks):
        best = min(local_optimum(engine, task, points[row]) for points in candidates)
        optimum[row] = float(ratio(np.array([best]), limits[row : row + 1])[0])
        report("local optima", row + 1, len(tasks))
    reactions: dict[str, Reaction] = {}
    for name, points in starts.items():
        reactions[name] = react(engine, tasks, points)
        report("reactions to the instance", len(reactions), len(starts))
    threshold = random_ratios.mean(axis=0) + protocol.target * (optimum - random_ratios.mean(axis=0))
    # As an energy, to compare with while the optimiser runs.
    targets = limits[:, 1] - threshold * (limits[:, 1] - limits[:, 0])
    counts: dict[str, Array] = {}
    for name, points in {**starts, "random": randoms}.items():
        queries = models[name].queries if name in models else 0
        runs = points if points.ndim == 3 else points[None]
        counts[name] = np.full((len(runs), len(tasks)), np.nan)
        if evaluations:
            for row, task in enumerate(tasks):
                for k, point in enumerate(runs[:, row]):
                    counts[name][k, row] = queries + evaluations_until(
                        engine, task, point, targets[row], protocol=protocol
                    )
                report(f"optimising from {name}", row + 1, len(tasks))
    results = {
        name: _result(models[name].queries, ratios[name], counts[name], protocol, reactions[name]) for name in starts
    }
    results["random"] = _result(0, random_ratios.mean(axis=0), counts["random"], protocol)
    return Comparison(protocol, results, optimum)


def spectrum(operator: SparsePauliOp) -> tuple[float, float]:
    """Return the smallest and the largest eigenvalue."""
    if is_diagonal(operator):
        values = diagonal_values(operator)
        return float(values.min()), float(values.max())
    matrix = operator.to_matrix(sparse=True)
    if matrix.shape[0] <= 16:  # too small for Lanczos
        values = np.linalg.eigvalsh(matrix.toarray())
        return float(values[0]), float(values[-1])
    low, high = (eigsh(matrix, k=1, which=which, return_eigenvectors=False)[0] for which in ("SA", "LA"))
    return float(low), float(high)


def random_points(task: Task, count: int, stream: int) -> Array:
    """Return (count, P) random points, radians: other draws for every stream, so that instances are independent."""
    engine = Statevector()
    return np.concatenate([answers(RandomPoint(seed=stream * count + k), [task], engine) for k in range(count)])


def ratio(values: Array, limits: Array) -> Array:
    """Return r = (E_max - E) / (E_max - E_min) of (I,) energies under (I, 2) spectra."""
    return np.asarray((limits[:, 1] - values) / (limits[:, 1] - limits[:, 0]))


def answers(model: Model, tasks: Sequence[Task], engine: Statevector) -> Array:
    """Return (I, P) radians: the model's answers, its queries answered by the engine."""
    with torch.no_grad():
        known = [task.features for task in tasks]
        return rollout(model, known, normalised_cost(engine, tasks), measure_answer=False).answer.numpy()


def energies(engine: Statevector, tasks: Sequence[Task], points: Array) -> Array:
    """Return (I,) exact energies at (I, P) points."""
    with torch.no_grad():
        return engine.expectation(tasks, torch.as_tensor(points)).numpy()


def local_optimum(engine: Statevector, task: Task, point: Array) -> float:
    """Return the energy that ``descend`` reaches from a point (radians)."""
    return descend(engine, task, point)[0]


class _Arrived(Exception):  # noqa: N818 it is no error: it ends a run that has arrived
    pass


def evaluations_until(engine: Statevector, task: Task, point: Array, target: float, *, protocol: Protocol) -> int:
    """Return how many evaluations COBYLA takes to visit a point at or below the target energy, at most the cap.

    It searches natural units, so the trust radius means the same at any weights.
    """
    unit = task.features.unit.numpy()
    count = 0

    def energy(natural: Array) -> float:
        nonlocal count
        count += 1
        value = float(energies(engine, [task], (natural * unit)[None])[0])
        if value <= target:
            raise _Arrived
        return value / task.scale

    try:
        minimize(
            energy,
            point[: task.num_parameters] / unit,
            method="COBYLA",
            tol=protocol.rhoend,
            options={"rhobeg": protocol.rhobeg, "maxiter": protocol.cap},
        )
    except _Arrived:
        return count
    return protocol.cap


def _result(queries: int, ratios: Array, counts: Array, protocol: Protocol, reaction: Reaction | None = None) -> Result:
    arrived = float((counts < queries + protocol.cap).mean())
    return Result(queries, ratios, np.median(counts, axis=0), arrived, reaction)


def _rounded(values: Array) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 6) for value in values]
