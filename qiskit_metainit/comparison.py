"""Models on the same instances: how they were compared, what they reached, and the statistics of it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from qiskit_metainit.provenance import command, versions
from qiskit_metainit.rating import Array
from qiskit_metainit.reaction import Reaction

OPTIMIZERS = ("cobyla", "l_bfgs_b", "spsa")
"""What may take over from a start (``arrival``)."""

SEARCH = "search"
"""Among the arrivals of a search stands its own under this name, in place of any optimiser's."""

_TIE = 1e-6  # of r: what is stored of it


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
    """Of the bootstrap, of SPSA's directions and of the shots."""
    optimizers: tuple[str, ...] = ("cobyla",)
    """Which of ``OPTIMIZERS`` run from every start."""
    shots: int | None = None
    """Of every circuit evaluation that an optimiser or a model asks for; None for exact energies. Points are judged by
    their exact energy in any case."""
    repeats: int = 5
    """Runs from a model's answer where something is drawn, SPSA's directions or shots; their median counts."""
    random_searches: int | None = None
    """How many of the random starts are among the searches for r_opt; None for all."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "optimizers", tuple(self.optimizers))
        for name in self.optimizers:
            if name not in OPTIMIZERS:
                raise ValueError(f"Each of optimizers must be one of {', '.join(OPTIMIZERS)}, but {name!r} came.")
        if self.shots is not None and "l_bfgs_b" in self.optimizers:
            raise ValueError(f"l_bfgs_b needs exact energies, but shots={self.shots!r} came. Leave one of the two out.")
        for name, least in (("random_starts", 1), ("cap", 1), ("repeats", 1), ("shots", 1), ("random_searches", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be an integer >= {least}, but {value!r} came.")


@dataclass(frozen=True, eq=False)
class Arrival:
    """How one optimiser gets from the answers to the target."""

    evaluations: Array
    """(I,) circuit evaluations until the target, the model's own queries included; for several runs their median."""
    share: float
    """Of the runs that reached the target."""
    course: Array = field(default_factory=lambda: np.zeros(0))
    """(G,) median r of the best point so far after the evaluations of ``course_grid``, over instances and runs, each of
    which stays where it arrived; not a number while the model still asks. Empty if it was not kept."""


@dataclass(frozen=True, eq=False)
class Result:
    """One model, or one search (``layerwise``), on I instances."""

    queries: int
    """Circuit evaluations before the answer; of a search the median over instances."""
    ratio: Array
    """(I,) r = (E_max - E) / (E_max - E_min) of the answer's exact expectation; for several starts their mean."""
    arrivals: Mapping[str, Arrival] = field(default_factory=dict)
    """By optimiser, of a search only ``SEARCH``; empty if none ran."""
    reaction: Reaction | None = None
    """How the answers vary across the instances; None for several starts an instance, and for searches."""
    asked: Array | None = None
    """(I,) circuit evaluations that a search asked for until it ended; None for a model, which asks for as many
    everywhere."""

    def arrival(self, optimizer: str) -> Arrival:
        """Return how an optimiser gets from the answers to the target, or how the search itself got there."""
        return self.arrivals[optimizer if self.asked is None else SEARCH]

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        arrivals = {
            name: {
                "evaluations": _rounded(arrival.evaluations),
                "arrived": round(arrival.share, 4),
                "course": _rounded(arrival.course),
            }
            for name, arrival in self.arrivals.items()
        }
        content: dict[str, Any] = {"queries": self.queries}
        if self.asked is not None:
            content["asked"] = self.asked.astype(int).tolist()
        content |= {"ratio": _rounded(self.ratio), "arrivals": arrivals}
        return content if self.reaction is None else {**content, "reaction": self.reaction.as_json()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Return the result that ``as_json`` gave, or of a file from when there was COBYLA only."""
        arrivals = content.get("arrivals", {})
        if "evaluations" in content and None not in content["evaluations"]:
            arrivals = {"cobyla": {key: content[key] for key in ("evaluations", "arrived")}}
        known = {
            name: Arrival(np.array(row["evaluations"], float), row["arrived"], np.array(row.get("course", []), float))
            for name, row in arrivals.items()
        }
        reaction = Reaction.from_json(content["reaction"]) if "reaction" in content else None
        asked = np.array(content["asked"], float) if "asked" in content else None
        return cls(content["queries"], np.array(content["ratio"]), known, reaction, asked)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Models on the same instances."""

    protocol: Protocol
    """How they were compared."""
    results: Mapping[str, Result]
    """By name; "random" is always there."""
    optimum: Array
    """(I,) r_opt: the best local optimum found at this depth, a lower bound of the landscape's."""
    names: tuple[str, ...] = ()
    """Of the instances, if they have any."""
    qubits: tuple[int, ...] = ()
    """Of the instances; empty in files from before it was kept."""

    @property
    def optimizers(self) -> tuple[str, ...]:
        """Those that ran from every start."""
        return next((tuple(result.arrivals) for result in self.results.values() if result.asked is None), ())

    @property
    def searches(self) -> tuple[str, ...]:
        """Names of the results that are no model's but a search's."""
        return tuple(name for name, result in self.results.items() if result.asked is not None)

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
        return self.mean_interval(self.gains(name, baseline))

    def gains(self, name: str, baseline: str) -> Array:
        """Return the (I,) paired differences of r."""
        return np.asarray(self.results[name].ratio - self.results[baseline].ratio)

    def worst_decile(self, name: str, baseline: str) -> float:
        """Return the mean paired difference of r over the tenth of the instances (rounded up) where it is least."""
        gains = np.sort(self.gains(name, baseline))
        return float(gains[: math.ceil(len(gains) / 10)].mean())

    def duels(self, name: str, baseline: str) -> tuple[int, int, int]:
        """Return on how many instances r is larger than a baseline's, the same to six digits, and smaller."""
        gains = self.gains(name, baseline)
        wins, losses = int((gains > _TIE).sum()), int((gains < -_TIE).sum())
        return wins, len(gains) - wins - losses, losses

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

    def strongest(self, names: Iterable[str]) -> str:
        """Return the model of the largest mean r without queries among some; "random" if there is none."""
        there = [name for name in names if name in self.results and name not in self.searches]
        free = [name for name in there if not self.results[name].queries]
        return max(free or ["random"], key=lambda name: float(self.results[name].ratio.mean()))

    def as_json(self) -> dict[str, Any]:
        """Return everything with provenance, as JSON values."""
        return {"command": command(), "versions": versions(), **self.content()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Return the comparison that ``as_json`` gave."""
        results = {name: Result.from_json(row) for name, row in content["results"].items()}
        instances = (tuple(content.get(key, ())) for key in ("names", "qubits"))
        return cls(Protocol(**content["protocol"]), results, np.array(content["optimum"]), *instances)

    def write(self, path: Path, **extra: Any) -> None:
        """Write the JSON, with further entries."""
        _write(path, {**extra, **self.as_json()})

    def content(self) -> dict[str, Any]:
        """Return everything but its provenance, as JSON values."""
        instances = {"names": list(self.names), "qubits": list(self.qubits)}
        return {
            "protocol": vars(self.protocol),
            **{key: values for key, values in instances.items() if values},
            "optimum": _rounded(self.optimum),
            "results": {name: result.as_json() for name, result in self.results.items()},
            **({"per_instance": self._per_instance()} if self.names else {}),
        }

    def _per_instance(self) -> dict[str, dict[str, float | None]]:
        """Return r of every start by the instance's name, which reads better than columns."""
        columns = {**{name: result.ratio for name, result in self.results.items()}, "best found": self.optimum}
        rows = zip(*map(_rounded, columns.values()), strict=True)
        return {name: dict(zip(columns, row, strict=True)) for name, row in zip(self.names, rows, strict=True)}

    def _draws(self) -> NDArray[np.int64]:
        rng = np.random.default_rng(self.protocol.seed)
        count = len(self.optimum)
        return rng.integers(count, size=(self.protocol.resamples, count))

    def _resample(self, values: Array) -> Array:
        return np.asarray(values[self._draws()])


def course_grid(cap: int) -> NDArray[np.int64]:
    """Return the (G,) evaluations at which a run's best point so far is kept, from 1 to the cap.

    >>> course_grid(10)
    array([ 1,  2,  3,  4,  5,  6,  7,  8,  9, 10])
    """
    return np.unique(np.geomspace(1, cap, 40).round().astype(np.int64))


def write_cells(path: Path, cells: Mapping[str, Comparison], **extra: Any) -> None:
    """Write one JSON file of several comparisons by their titles, with further entries; ``read_cells`` reads it."""
    if len(cells) == 1:
        [(title, only)] = cells.items()
        only.write(path, title=title, **extra)
        return
    rows = [{"title": title, **comparison.content()} for title, comparison in cells.items()]
    _write(path, {**extra, "command": command(), "versions": versions(), "cells": rows})


def read_cells(content: Mapping[str, Any]) -> dict[str, tuple[str, Comparison]]:
    """Return command and comparison by title of what ``write_cells`` wrote.

    Raises:
        KeyError: if it is something else.
    """
    cells = content.get("cells", [content])
    return {cell["title"]: (content["command"], Comparison.from_json(cell)) for cell in cells}


def looks(path: Path, origin: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return every look at some instances that is known: those of a file about to be written over, then this command's.

    Whoever chooses among models by their results on a test set has used it up; this tells how often that could be.

    Args:
        path: of a file of ``write_cells``, which need not exist.
        origin: what makes the instances, as the file's entries say; of a file with other instances nothing is kept.

    Returns:
        Command and versions of each, the oldest first.
    """
    now = {"command": command(), "versions": versions()}
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none, or none of ours
        return [now]
    same = json.loads(json.dumps(dict(origin)))  # a tuple is a list there
    if not isinstance(before, dict) or any(key not in before or before[key] != same[key] for key in same):
        return [now]
    first = [{key: before.get(key) for key in now}]  # of a file from before looks were kept
    return [*before.get("looks", first), now]


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _rounded(values: Array) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 6) for value in values]
