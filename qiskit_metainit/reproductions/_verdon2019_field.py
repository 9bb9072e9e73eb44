"""What the optimisers of the Verdon et al. 2019 experiment start from, and what they are judged by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from qiskit_metainit.comparison import Comparison, Protocol, Result
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.handover import Trace
from qiskit_metainit.model import Model
from qiskit_metainit.problem import Problem
from qiskit_metainit.rating import Array, energies, ratio, spectrum
from qiskit_metainit.rollout import Trajectory, normalised_cost, rollout
from qiskit_metainit.task import Task

TARGETS = (0.99, 0.95)
"""Shares of the way from the mean random point to the best local optimum found."""
VARIANCE = 0.05
"""Of an estimated <H>, at most."""


@dataclass(frozen=True, eq=False)
class Start:
    """Where optimisers begin."""

    points: Array  # (R, I, P) radians: R networks or random draws
    queries: int = 0
    seen: Array | None = None  # (R, I, queries) energies of what was asked for on the way

    def path(self, run: int, problem: int, trace: Trace, counts: Sequence[int]) -> list[float]:
        """Return the least energy known after so many evaluations, the queries included."""
        asked = [] if self.seen is None else np.minimum.accumulate(self.seen[run, problem]).tolist()
        return [asked[n - 1] if n <= self.queries else trace.best(n - self.queries) for n in counts]


@dataclass(frozen=True, eq=False)
class Field:
    """I test problems and what points of them are judged by."""

    problems: Sequence[Problem]
    tasks: Sequence[Task]
    random: Array  # (I,) mean energies of random points
    optima: Array  # (I,) energies of the best local optima found
    reference: str = "sk_infinity"  # the start that others are compared with

    def target(self, share: float) -> Array:
        """Return the (I,) energies that are a share of the way from random points to the optimum."""
        return self.random + share * (self.optima - self.random)

    @cached_property
    def limits(self) -> Array:
        """(I, 2) spectra."""
        return np.array([spectrum(problem.operator) for problem in self.problems])

    def comparison(self, ratios: Mapping[str, Array]) -> Comparison:
        """Return (I,) ratios as a comparison, for its paired intervals."""
        results = {name: Result(0, values) for name, values in ratios.items()}
        return Comparison(Protocol(reps=self.tasks[0].features.reps or 1), results, ratio(self.optima, self.limits))

    def ratings(self, starts: Mapping[str, Start]) -> dict[str, Any]:
        """Return r of the points that are handed over."""
        engine = Statevector()
        rated = {
            name: ratio(np.stack([energies(engine, self.tasks, row) for row in start.points]), self.limits)
            for name, start in starts.items()
        }
        means = {name: rows.mean(axis=0) for name, rows in rated.items()} | {"random": ratio(self.random, self.limits)}
        comparison = self.comparison(means)
        ratings: dict[str, Any] = {
            name: {
                "queries": start.queries,
                "mean": _rounded(comparison.mean_interval(means[name])),
                "by_run": _rounded(rated[name].mean(axis=1)),
                "difference": _rounded(comparison.difference(name, self.reference)),
                "headroom": _rounded(comparison.headroom(name, self.reference)),
                "each": _rounded(means[name]),
            }
            for name, start in starts.items()
        }
        best = comparison.optimum
        return {**ratings, "optimum": {"mean": _rounded(comparison.mean_interval(best)), "each": _rounded(best)}}

    def summary(self, start: Start, rows: Sequence[Sequence[Trace]], cap: int) -> dict[str, Any]:
        """Return the evaluations to each target, the queries included, and the way gone after so many."""
        cap += start.queries
        comparison = self.comparison({})
        result: dict[str, Any] = {"cap": cap}
        for share in TARGETS:
            found = [[trace.arrival(goal) for trace, goal in zip(row, self.target(share), strict=True)] for row in rows]
            counts = np.array(found, dtype=float) + start.queries
            capped = np.where(np.isnan(counts), cap, counts)
            result[f"to_{share:g}"] = {
                "median": _rounded(comparison.median_interval(np.median(capped, axis=0))),
                "reach": round(float(np.isfinite(counts).mean()), 4),
                "by_run": np.median(capped, axis=1).tolist(),
                "reach_by_run": _rounded(np.isfinite(counts).mean(axis=1)),
                "each": np.median(capped, axis=0).tolist(),
            }
        grid = np.unique(np.geomspace(1, cap, 40).round().astype(int)).tolist()
        reached = np.array(
            [[start.path(i, j, trace, grid) for j, trace in enumerate(row)] for i, row in enumerate(rows)]
        )
        way = (self.random[:, None] - reached) / (self.random - self.optima)[:, None]
        result["way"] = {"evaluations": grid, "median": _rounded(np.median(way, axis=(0, 1)))}
        return result

    def paired(self, optimizers: Mapping[str, Any]) -> dict[str, Any]:
        """Return how many more evaluations to 99% the LSTM takes than other starts of the same problem, a median."""
        comparison = self.comparison({})
        each = {
            key: {name: np.array(row["to_0.99"]["each"]) for name, row in by.items()} for key, by in optimizers.items()
        }
        return {
            key: {name: _rounded(comparison.median_interval(by["lstm"] - by[name])) for name in by if name != "lstm"}
            for key, by in each.items()
        }

    def repetitions(self, queries: int, optimizers: Mapping[str, Any]) -> dict[str, Any]:
        """Return mean and standard deviation over problems of the repetitions that the LSTM's way takes."""
        once = np.array([task.scale**2 / VARIANCE for task in self.tasks])
        counts: dict[str, Any] = {"one": 1, "queries": queries}
        counts |= {name: np.array(summary["lstm"]["to_0.99"]["each"]) for name, summary in optimizers.items()}
        return {name: [float(f"{x:.4g}") for x in ((once * n).mean(), (once * n).std())] for name, n in counts.items()}


def trajectory(model: Model, tasks: Sequence[Task], *, measure_answer: bool = False) -> Trajectory:
    with torch.no_grad():
        features = [task.features for task in tasks]
        return rollout(model, features, normalised_cost(Statevector(), tasks), measure_answer=measure_answer)


def _rounded(values: Iterable[float] | None) -> list[float] | None:
    return None if values is None else [round(float(value), 5) for value in values]
