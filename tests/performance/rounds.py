"""One workload, many simulators: verified against each other, then timed in turns."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from floor import copy_bandwidth, state_bytes, traffic
from session import Machine, Session, SimulatorError
from simulator import Entry
from workloads import Workload

TOLERANCE = {"double": 1e-9, "single": 1e-4}
"""Of values and gradients, as a share of the sum of the Hamiltonian's absolute coefficients."""


class DisagreementError(AssertionError):
    """A simulator's numbers are not those of the reference: nothing is stored."""


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    turn: float = 0.4
    """Seconds of a simulator's turn, at least one call."""
    share: float = 2.0
    """Seconds that a turn of a simulator without batches may take, if a part of the batch fits; else one instance."""
    rounds: tuple[int, int] = (3, 7)
    """Fewest and most rounds."""
    budget: float = 30.0
    """Seconds of a workload's rounds, after which no further one starts."""
    patience: float = 5.0
    """A turn longer than this is taken twice only."""


@dataclass(eq=False)
class _Runner:
    session: Session
    entry: Entry
    count: int
    build: float
    agreement: dict[str, float]
    turns: list[float] = field(default_factory=list)  # seconds an instance
    longest: float = 0.0

    def turn(self, effort: Effort) -> None:
        start = time.perf_counter()
        self.turns.append(self.session.ask("measure", seconds=effort.turn)["seconds"] / self.count)
        self.longest = max(self.longest, time.perf_counter() - start)


def compare(
    workload: Workload, entries: dict[str, Entry], machine: Machine, effort: Effort, folder: Path, *, gradient: bool
) -> dict[str, Any]:
    """Return the results of all simulators as plain data.

    A round is a turn of each simulator, this package's first; a peer's ratio in a round is to the mean of this
    package's turns right before and after.

    Raises:
        DisagreementError: if a simulator's values or gradients are not those of this package in double precision.
    """
    path = folder / "workload.json"
    workload.write(path)
    bandwidth = copy_bandwidth(state_bytes(workload, "single"), device=machine.device)
    with ExitStack() as stack:
        runners, missing, reference = _started(workload, entries, machine, effort, folder, stack, gradient=gradient)
        mine = [runner for runner in runners.values() if runner.entry.ours]
        begin, done = time.perf_counter(), 0
        while done < effort.rounds[0] or (
            done < effort.rounds[1] and time.perf_counter() - begin < effort.budget * (1 - 1 / (done + 1))
        ):
            for runner in runners.values():
                if runner.entry.ours or done < 2 or runner.longest < effort.patience:
                    runner.turn(effort)
            done += 1
        for runner in mine:
            runner.turn(effort)
    results = {name: _result(name, runner, mine) for name, runner in runners.items()}
    for name, runner in runners.items():
        if runner.entry.ours:
            ideal = traffic(workload, runner.entry.precision, gradient=gradient) / bandwidth / len(workload.instances)
            results[name]["times_floor"] = results[name]["seconds"]["median"] / ideal
            results[name]["floor_seconds"] = ideal
    return {
        "name": workload.name + ("" if gradient else ", value only"),
        "kind": workload.kind,
        "qubits": workload.qubits,
        "parameters": workload.parameters,
        "batch": len(workload.instances),
        "gradient": gradient,
        "copy_bandwidth": bandwidth,
        "reference": reference,
        "rounds": done,
        "results": results,
        "missing": missing,
    }


def _started(
    workload: Workload,
    entries: dict[str, Entry],
    machine: Machine,
    effort: Effort,
    folder: Path,
    stack: ExitStack,
    *,
    gradient: bool,
) -> tuple[dict[str, _Runner], dict[str, str], str]:
    """Build and verify; return the runners, why others are missing, and the reference's name."""
    path = str(folder / "workload.json")
    reference = next(name for name, entry in entries.items() if entry.ours and entry.precision == "double")
    order = [reference, *(name for name in entries if name != reference)]
    scales = np.array([sum(abs(term[0]) for term in instance.hamiltonian) for instance in workload.instances])
    runners: dict[str, _Runner] = {}
    missing: dict[str, str] = {}
    truth: dict[str, Any] = {}
    for name in order:
        entry = entries[name]
        session = stack.enter_context(Session(name, machine, entry.ours, folder / f"{name}.log"))
        try:
            count = _count(session, path, len(workload.instances), entry, effort, gradient=gradient)
            built = session.ask("build", path=path, count=count, gradient=gradient)
        except SimulatorError as error:
            if entry.ours:
                raise
            missing[name] = str(error)[:300]
            continue
        truth = truth or built
        agreement = _checked(name, entry, built, truth, scales[:count])
        runners[name] = _Runner(session, entry, count, built["seconds"], agreement)
    return {name: runners[name] for name in entries if name in runners}, missing, reference


def _count(session: Session, path: str, batch: int, entry: Entry, effort: Effort, *, gradient: bool) -> int:
    """Return how many instances a turn takes: all, or of a slow simulator without batches as many as fit."""
    if batch == 1 or not entry.loops:
        return batch
    session.ask("build", path=path, count=1, gradient=gradient)
    one = session.ask("measure", seconds=0.0)["seconds"]
    return max(1, min(batch, int(effort.share / one)))


def _checked(name: str, entry: Entry, built: dict[str, Any], truth: dict[str, Any], scales: Any) -> dict[str, float]:
    errors = {}
    for key in ("values", "gradients"):
        if built[key] is not None:
            known = np.array(truth[key][: len(scales)])
            error = np.abs(np.array(built[key]) - known).reshape(len(scales), -1).max(axis=1) / scales
            errors[key] = float(error.max())
            if not errors[key] <= TOLERANCE[entry.precision]:
                raise DisagreementError(
                    f"{name}'s {key} differ by {errors[key]:.1e} of the Hamiltonian's scale, more than "
                    f"{TOLERANCE[entry.precision]:.0e}: it does not compute the same thing, so no time is stored."
                )
    return errors


def _result(name: str, runner: _Runner, mine: Sequence[_Runner]) -> dict[str, Any]:
    entry = runner.entry
    result = {
        "package": entry.package,
        "precision": entry.precision,
        "ours": entry.ours,
        "instances": runner.count,
        "build_seconds": runner.build,
        "agreement": runner.agreement,
        "seconds": summary(runner.turns),
        "turns": runner.turns,
    }
    if not entry.ours:
        result["ratio"] = {
            own.entry.precision: summary(
                [
                    2 * turn / (before + after)
                    for turn, before, after in zip(runner.turns, own.turns, own.turns[1:], strict=False)
                ]
            )
            for own in mine
        }
    return result


def summary(numbers: Sequence[float]) -> dict[str, float]:
    """Return median, smallest and largest."""
    return {"median": median(numbers), "low": min(numbers), "high": max(numbers)}
