"""A race: the same QAOA problem solved with shots from several starts, judged by exact energies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit.providers import BackendV2
from qiskit_aer import AerSimulator

from qiskit_metainit.backends import ONE_THREAD
from qiskit_metainit.deployment import Deployment, Run, make_optimizer
from qiskit_metainit.descent import descend_all
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.initializer import MetaInitializer
from qiskit_metainit.models.linear_ramp import LinearRamp
from qiskit_metainit.models.random_point import RandomPoint
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.models.tqa import Tqa
from qiskit_metainit.problem import Problem
from qiskit_metainit.rating import answers, energies, random_points, ratio, spectrum
from qiskit_metainit.task import Task

_BASELINE_DRAWS = 20  # random points whose mean is where "99% of the way" begins


@dataclass(frozen=True, eq=False)
class Yardstick:
    """What points of one problem at one depth are judged by: exact, noiseless energies."""

    engine: Statevector
    """Exact; it has the landscape compiled."""
    task: Task
    """The landscape."""
    limits: tuple[float, float]
    """Smallest and largest eigenvalue."""
    random: float
    """Mean r of random points."""
    best: float
    """r of the best local optimum found: L-BFGS-B from the given starts, the formulas and the random points."""

    @property
    def target(self) -> float:
        """99% of the way from the mean random point to the best known."""
        return self.random + 0.99 * (self.best - self.random)

    def ratios(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (E,) r of (E, P) points."""
        # One by one: a batch of E states of many qubits would not fit.
        values = np.array([energies(self.engine, [self.task], point[None])[0] for point in points])
        return ratio(values, np.array([self.limits] * len(points)))

    @classmethod
    def of(cls, problem: Problem, reps: int, starts: Sequence[NDArray[np.float64]]) -> Yardstick:
        """Return the yardstick of a problem at a depth; ``starts`` are (P,) points to search from."""
        task, engine = Task.qaoa(problem.operator, reps=reps), Statevector()
        limits = spectrum(problem.operator)
        draws = random_points(task, _BASELINE_DRAWS, 0)
        formulas = [answers(formula, [task], engine)[0] for formula in (SkInfinity(), Tqa(), LinearRamp())]
        values = energies(engine, [task] * len(draws), draws)
        searched = np.array([*starts, *formulas, *draws])
        found = descend_all(engine, [task] * len(searched), searched)[0].min()
        both = ratio(np.array([values.mean(), found]), np.array([limits, limits]))
        return cls(engine, task, limits, float(both[0]), float(both[1]))


@dataclass(frozen=True, eq=False)
class Entry:
    """One run of a race."""

    start: str
    """Random, formula or the initializer's name; runs of the same start differ by their seed."""
    run: Run
    """What it did."""
    ratios: NDArray[np.float64]
    """(E,) exact r of the points it visited."""
    final: float
    """Exact r of the point it ended with."""
    arrival: int | None
    """Index of the first evaluation at the target, or None."""

    @property
    def evaluations(self) -> int | None:
        """Circuit evaluations until the target, the start's queries included; None if it never got there."""
        return None if self.arrival is None else self.arrival + 1 + self.run.proposal.queries

    @property
    def shots(self) -> int | None:
        """Shots until the target, or None."""
        return None if self.arrival is None else int(self.run.shots[self.arrival])


def race(
    problem: Problem,
    reps: int,
    meta: MetaInitializer,
    backend: BackendV2 | None,
    *,
    seed: int,
    random_starts: int,
    evaluations: int,
    shots_per_evaluation: int,
    rhobeg: float,
    progress: Callable[[str, int, int], None],
    stage: str,
) -> tuple[Yardstick, list[Entry]]:
    """Solve a problem from random starts, the best formula and an initializer, all else being equal.

    Args:
        problem: diagonal, small enough for exact simulation.
        reps: layers p.
        meta: the initializer.
        backend: a simulator; None for a noiseless one. Every run has shot noise of its own.
        seed: of the random starts and the shot noise.
        random_starts: how many.
        evaluations: most evaluations of a run.
        shots_per_evaluation: of every circuit.
        rhobeg: COBYLA's first trust radius, radians.
        progress: called with (stage, evaluations done, of).
        stage: its name.

    Returns:
        The yardstick, and the runs, random ones first.
    """
    rng = np.random.default_rng(seed)
    contestants = [("random", _random(int(rng.integers(2**31)))) for _ in range(random_starts)]
    contestants += [("sk_infinity", MetaInitializer(SkInfinity())), (meta.name, meta)]
    total, done = evaluations * len(contestants), 0
    runs: list[tuple[str, Run]] = []
    for name, contestant in contestants:
        with Deployment(backend or AerSimulator(**ONE_THREAD), seed=int(rng.integers(2**31))) as deployment:
            run = deployment.run(
                problem,
                reps=reps,
                initializer=contestant,
                optimizer=make_optimizer("cobyla", maxiter=evaluations, rhobeg=rhobeg, problem=problem),
                shots_per_evaluation=shots_per_evaluation,
                progress=lambda count, _, before=done: progress(stage, before + count, total),  # type: ignore[misc]
            )
        runs.append((name, run))
        done += evaluations
        progress(stage, done, total)
    judging = f"{stage}, exact energies"
    progress(judging, 0, len(runs) + 1)
    yardstick = Yardstick.of(problem, reps, [run.proposal.point for _, run in runs] + [run.point for _, run in runs])
    entries: list[Entry] = []
    for name, run in runs:
        progress(judging, len(entries) + 1, len(runs) + 1)
        entries.append(_judged(yardstick, name, run))
    progress(judging, len(runs) + 1, len(runs) + 1)
    return yardstick, entries


def summary(problem: Problem, yardstick: Yardstick, entries: Sequence[Entry]) -> list[list[str]]:
    """Return header and rows, a row a start; several random runs are shown by their median."""
    rows = [["start", "first energy", "to 99%", "reached", "shots to 99%", "final r", "best cut"]]
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.start, []).append(entry)
    for start, group in groups.items():
        first = np.median([_energy(yardstick, entry.ratios[0]) for entry in group])
        best = np.median([problem.value(entry.run.bitstring) for entry in group])
        rows.append(
            [
                start if len(group) == 1 else f"{start}, median",
                f"{problem.value(float(first)):.2f}",
                _median([entry.evaluations for entry in group], [_spent(entry) for entry in group]),
                f"{sum(entry.arrival is not None for entry in group)} of {len(group)}",
                _median([entry.shots for entry in group], [int(entry.run.shots[-1]) for entry in group]),
                f"{np.median([entry.final for entry in group]):.3f}",
                f"{best:g}",
            ]
        )
    best_value = problem.value(_energy(yardstick, yardstick.best))
    rows.append(["best known", f"{best_value:.2f}", "", "", "", f"{yardstick.best:.3f}", ""])
    return rows


def as_json(problem: Problem, yardstick: Yardstick, entries: Sequence[Entry]) -> Mapping[str, Any]:
    """Return a race as JSON values."""
    return {
        "nodes": [str(node) for node in problem.nodes],
        "spectrum": yardstick.limits,
        "r_random": yardstick.random,
        "r_best": yardstick.best,
        "r_target": yardstick.target,
        "runs": [
            {
                "start": entry.start,
                "first_point": entry.run.proposal.point.tolist(),
                "queries": entry.run.proposal.queries,
                "fallback": entry.run.proposal.fallback,
                "measured_energies": entry.run.energies.tolist(),
                "ratios": entry.ratios.round(6).tolist(),
                "evaluations_to_target": entry.evaluations,
                "shots_to_target": entry.shots,
                "final_point": entry.run.point.tolist(),
                "final_ratio": entry.final,
                "shots_spent": entry.run.shots_spent,
                "bitstring": entry.run.bitstring,
                "best_value": problem.value(entry.run.bitstring),
                "seconds": round(entry.run.seconds, 2),
            }
            for entry in entries
        ],
    }


def draw(axes: Any, yardstick: Yardstick, entries: Sequence[Entry], title: str) -> None:
    """Draw the convergence of a race: the best exact r among the points visited so far."""
    colors = {"random": "#9aa5b1", "sk_infinity": "#d97706"}
    seen: set[str] = set()
    for entry in entries:
        color = colors.get(entry.start, "#1d4ed8")
        reached = np.maximum.accumulate(entry.ratios)
        steps = np.arange(1, len(reached) + 1) + entry.run.proposal.queries
        label = None if entry.start in seen else entry.start
        width = 1.0 if entry.start == "random" else 2.2
        axes.step(steps, reached, where="post", color=color, linewidth=width, label=label)
        axes.plot(steps[0], reached[0], "o", color=color, markersize=3 if entry.start == "random" else 6)
        seen.add(entry.start)
    axes.axhline(yardstick.target, color="#16a34a", linewidth=1, linestyle="--", label="99% of the way")
    axes.set_xscale("log")
    axes.set_xlabel("circuit evaluations")
    axes.set_ylabel("best exact r so far")
    axes.set_title(title, loc="left", fontsize=10)
    axes.legend(frameon=False, loc="lower right", fontsize=8)


def _random(seed: int) -> MetaInitializer:
    return MetaInitializer(RandomPoint(seed=seed))


def _judged(yardstick: Yardstick, name: str, run: Run) -> Entry:
    ratios = yardstick.ratios(run.points)
    arrived = np.flatnonzero(ratios >= yardstick.target)
    final = float(yardstick.ratios(run.point[None])[0])
    return Entry(name, run, ratios, final, int(arrived[0]) if arrived.size else None)


def _energy(yardstick: Yardstick, r: float) -> float:
    low, high = yardstick.limits
    return float(high - r * (high - low))


def _spent(entry: Entry) -> int:
    return len(entry.run.energies) + entry.run.proposal.queries


def _median(reached: Sequence[int | None], spent: Sequence[int]) -> str:
    """Return the median; a run that never arrived counts as more than any run spent."""
    most = max(spent)
    median = float(np.median([most + 1 if count is None else count for count in reached]))
    return f"over {most}" if median > most else f"{median:.0f}"
