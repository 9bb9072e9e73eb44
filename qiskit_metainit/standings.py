"""Starting points of VQE on the same instances: how far above the lowest energy they lie, and the statistics of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from qiskit_metainit.provenance import command, versions
from qiskit_metainit.rating import Array

OPTIMIZERS = ("adam", "l_bfgs_b", "cobyla")
"""What may take over from a start: Adam at each start's own best learning rate, and those of ``arrival``."""


@dataclass(frozen=True)
class Contest:
    """How starting points are compared."""

    optimizers: tuple[str, ...] = ()
    """Which of ``OPTIMIZERS`` run from every start."""
    rates: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03, 0.1)
    """Learning rates that Adam tries from every start: the best for most instances counts."""
    steps: int = 200
    """Most steps of Adam, of one energy and one gradient each."""
    cap: int = 100_000
    """Most circuit evaluations of a run of another optimiser."""
    searches: int = 1
    """From how many of the starts, best first, each instance's local optimum is searched for."""
    resamples: int = 10000
    """Bootstrap resamples over instances."""
    seed: int = 0
    """Of the bootstrap."""

    def __post_init__(self) -> None:
        for name in ("optimizers", "rates"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in self.optimizers:
            if name not in OPTIMIZERS:
                raise ValueError(f"Each of optimizers must be one of {', '.join(OPTIMIZERS)}, but {name!r} came.")
        if not self.rates or min(self.rates) <= 0:
            raise ValueError(f"Learning rates above zero are needed, but {self.rates!r} came.")


@dataclass(frozen=True, eq=False)
class Course:
    """What an optimiser did from one start on I instances."""

    spent: Array
    """(I,) circuit evaluations until the target, gradients charged what the two-term parameter-shift rule would spend;
    not a number where it was never reached."""
    best: Array
    """(I,) least excess visited."""
    last: Array
    """(I,) excess where it ended."""
    rate: float | None = None
    """Adam's learning rate."""


@dataclass(frozen=True, eq=False)
class Standing:
    """One model on I instances."""

    queries: int
    """Circuit evaluations before the answer."""
    excess: Array
    """(I,) of the answer's exact energy over the lowest one, in the family's unit (``problem.Levels``)."""
    courses: Mapping[str, Course] = field(default_factory=dict)
    """By optimiser."""


@dataclass(frozen=True, eq=False)
class Standings:
    """Models on the same instances."""

    contest: Contest
    """How they were compared."""
    measure: str
    """What an excess is."""
    target: float
    """Excess that counts as reached."""
    results: Mapping[str, Standing]
    """By name."""
    optimum: Array
    """(I,) excess of the best point of the ansatz that was found."""
    qubits: tuple[int, ...]
    """Of the instances."""
    parameters: tuple[int, ...]
    """Of the instances' circuits."""

    @property
    def ranked(self) -> list[tuple[str, Standing]]:
        """Names and results, the least mean excess first."""
        return sorted(self.results.items(), key=lambda item: float(item[1].excess.mean()))

    def strongest(self, names: Iterable[str]) -> str | None:
        """Return the model of least mean excess without queries among some, None if there is none."""
        there = [name for name in names if name in self.results and not self.results[name].queries]
        return min(there, key=lambda name: float(self.results[name].excess.mean()), default=None)

    def interval(self, values: Array) -> tuple[float, float, float]:
        """Return mean and 95% bootstrap interval over instances."""
        low, high = np.quantile(values[self._draws(len(values))].mean(axis=1), [0.025, 0.975])
        return float(values.mean()), float(low), float(high)

    def factor(self, name: str, baseline: str) -> tuple[float, float, float]:
        """Return by how much a baseline's mean excess is larger, with its paired 95% interval."""
        ours, theirs = self.results[name].excess, self.results[baseline].excess
        draws = self._draws(len(ours))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = theirs[draws].mean(axis=1) / ours[draws].mean(axis=1)
            ratio = float(theirs.mean() / ours.mean())
        low, high = np.nanquantile(ratios, [0.025, 0.975])
        return ratio, float(low), float(high)

    def _draws(self, count: int) -> NDArray[np.int64]:
        return np.random.default_rng(self.contest.seed).integers(count, size=(self.contest.resamples, count))

    def content(self) -> dict[str, Any]:
        """Return everything but its provenance, as JSON values."""
        results = {
            name: {
                "queries": result.queries,
                "excess": _plain(result.excess),
                "courses": {
                    key: {part: _plain(getattr(course, part)) for part in ("spent", "best", "last")}
                    | {"rate": course.rate}
                    for key, course in result.courses.items()
                },
            }
            for name, result in self.results.items()
        }
        return {
            "contest": asdict(self.contest),
            "measure": self.measure,
            "target": self.target,
            "qubits": list(self.qubits),
            "parameters": list(self.parameters),
            "optimum": _plain(self.optimum),
            "results": results,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Return the standings that ``content`` gave."""
        results = {}
        for name, row in content["results"].items():
            courses = {
                key: Course(_array(each["spent"]), _array(each["best"]), _array(each["last"]), each["rate"])
                for key, each in row["courses"].items()
            }
            results[name] = Standing(row["queries"], _array(row["excess"]), courses)
        sizes = (tuple(content[key]) for key in ("qubits", "parameters"))
        contest = Contest(**content["contest"])
        return cls(contest, content["measure"], content["target"], results, _array(content["optimum"]), *sizes)


def write(path: Path, title: str, standings: Standings, **origin: Any) -> None:
    """Write a JSON file that ``read`` reads, with its command, versions and what makes the instances again."""
    content = {"title": title, **origin, "command": command(), "versions": versions(), **standings.content()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read(content: Mapping[str, Any]) -> tuple[str, str, Standings]:
    """Return title, command and standings of what ``write`` wrote.

    Raises:
        KeyError: if it is something else.
    """
    return content["title"], content["command"], Standings.from_json(content)


# tables


def table(standings: Standings) -> list[list[str]]:
    """Return header and rows, best start first: excesses, and what each optimiser spends to the target."""
    optimizers = standings.contest.optimizers
    rows = [["start", "mean", "95%", "median", "largest", "reached", "asks"]]
    for name in optimizers:
        rows[0] += [name, "reach", "last"] + (["rate"] if name == "adam" else [])
    for name, result in standings.ranked:
        excess = result.excess
        mean, low, high = standings.interval(excess)
        rows.append([name, _short(mean), f"{_short(low)} {_short(high)}", _short(float(np.median(excess)))])
        rows[-1] += [_short(float(excess.max())), f"{(excess <= standings.target).mean():.0%}", str(result.queries)]
        for optimizer in optimizers:
            rows[-1] += _course(result.courses[optimizer])
    optimum = standings.optimum
    best = ["best found", _short(float(optimum.mean())), "", _short(float(np.median(optimum)))]
    best += [_short(float(optimum.max())), f"{(optimum <= standings.target).mean():.0%}"]
    rows.append(best + [""] * (len(rows[0]) - len(best)))
    return rows


def duels(standings: Standings, baseline: str) -> list[list[str]]:
    """Return header and rows, best start first: each against a baseline, instance by instance."""
    rows = [["start", f"{baseline} / it", "95%", "wins", "losses", "worst"]]
    theirs = standings.results[baseline].excess
    for name, result in standings.ranked:
        if name != baseline:
            ratio, low, high = standings.factor(name, baseline)
            gain = theirs - result.excess
            rows.append([name, f"{ratio:.3g}", f"{low:.3g} {high:.3g}"])
            rows[-1] += [str(int((gain > 0).sum())), str(int((gain < 0).sum())), _short(float(gain.min()))]
    return rows


def legend(standings: Standings) -> str:
    """Return what the tables say."""
    told = [
        f"Excess: {standings.measure}; reached: the share of instances at {standings.target:g} or below. 95%: "
        "bootstrap intervals over instances. Asks: costs asked for first. Best found: the lowest of all points and of "
        "the local optima below the best of them."
    ]
    if standings.contest.optimizers:
        told.append(
            "Then, for each optimiser, the median of circuit evaluations to the target (a gradient is charged what the "
            "two-term parameter-shift rule would spend), the share of runs that get there, and the mean excess where "
            "they end."
        )
    if "adam" in standings.contest.optimizers:
        rates = ", ".join(f"{rate:g}" for rate in standings.contest.rates)
        told.append(f"Adam runs {standings.contest.steps} steps at each start's own best rate of {rates}.")
    return "\n".join(told)


def _course(course: Course) -> list[str]:
    reached = ~np.isnan(course.spent)
    # A run that never gets there counts as more than any: the median is known as long as half of them do.
    median = float(np.median(np.where(reached, course.spent, np.inf)))
    told = [f"{median:.0f}" if np.isfinite(median) else "never", f"{reached.mean():.0%}"]
    return [*told, _short(float(course.last.mean())), *([f"{course.rate:g}"] if course.rate else [])]


def _short(value: float) -> str:
    """Return two digits that count, without an exponent where that is short."""
    return f"{value:.5f}".rstrip("0").rstrip(".") if 1e-3 <= abs(value) < 100 else f"{value:.1e}" if value else "0"


def _plain(values: Array) -> list[float | None]:
    return [None if np.isnan(value) else float(f"{value:.6g}") for value in values]


def _array(values: Iterable[float | None]) -> Array:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
