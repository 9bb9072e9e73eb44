"""Randomised fault runs: deployments against a loopback service, both ends killed, everything in between broken.

``PYTHONPATH=tests python tests/integration/fault_runs.py --runs 200 --seed 0 --json FILE``

A run is begun and resumed until it ends, each attempt in a process of its own; then the service's books are compared
with the ledger, and the result with that of an undisturbed run with the same seeds and the budget less what was lost.
Draws come from the seed, but processes and clocks take part, so a run is not repeated exactly. The client is
unmodified but for the length of its pauses before it repeats a request.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import re
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import requests.adapters
import urllib3.util
from integration.fault_service import KINDS, LAG, TWICE, UNTOLD, ForkedService, fork
from integration.loopback import TOKEN
from integration.loopback_service import Job as Sent
from qiskit_algorithms.optimizers import COBYLA, SPSA

from qiskit_metainit.budget import ShotBudget
from qiskit_metainit.deployment import (
    BudgetError,
    ChannelError,
    Deployment,
    Ledger,
    Run,
    RunInterruptedError,
    RuntimeChannel,
    ShotSchedule,
)
from qiskit_metainit.deployment.ledger import OPEN
from qiskit_metainit.deployment.records import Job
from qiskit_metainit.deployment.stored import run_as_json
from qiskit_metainit.initializer import MetaInitializer
from qiskit_metainit.models.constant import Constant
from qiskit_metainit.problem import Problem
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.provenance import command, versions

STEP, SUBMISSION, CLOCK, OUTAGE = "killed at a step", "killed at a submission", "killed by the clock", "service killed"
CLASSES = (*KINDS, STEP, SUBMISSION, CLOCK, OUTAGE)
"""Everything that goes wrong."""
GRAPHS = {
    "path": [(0, 1), (1, 2, 0.7)],
    "triangle": [(0, 1), (1, 2, 2.0), (2, 0)],
    "tail": [(0, 1), (1, 2, 0.5), (2, 0, 1.5), (2, 3)],
    "square": [(0, 1), (1, 2), (2, 3), (3, 0, 0.4)],
}
QUIET_AFTER = 12
"""Attempts after which nothing goes wrong any more, so that every run ends."""
PATIENCE, GRACE = 2.0, 0.8
FINAL = 250
FIELDS = ("points", "energies", "shots", "point", "energy", "bitstring", "stopped", "readout")


@dataclass(frozen=True)
class Case:
    """What one run does; the same case undisturbed is what it is compared with."""

    graph: str
    optimizer: str
    growing: bool
    mode: str
    twirling: bool
    readout_shots: int
    budget: ShotBudget

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Case:
        """Draw one: budgets that stop the optimiser early as well as some that do not."""
        budget = [
            ShotBudget(shots=4000),
            ShotBudget(shots=int(rng.choice([1050, 1330, 1700]))),
            ShotBudget(shots=4000, jobs=int(rng.choice([6, 8]))),
            ShotBudget(shots=4000, qpu_seconds=float(rng.choice([12, 15, 40]))),
        ][rng.integers(4)]
        return cls(
            graph=str(rng.choice(list(GRAPHS))),
            optimizer=str(rng.choice(["cobyla", "spsa"])),
            growing=bool(rng.random() < 0.3),
            mode=str(rng.choice(["job", "batch", "session"], p=[0.6, 0.25, 0.15])),
            twirling=bool(rng.random() < 0.15),
            readout_shots=int(rng.choice([0, 50], p=[0.8, 0.2])),
            budget=budget,
        )

    @property
    def problem(self) -> Problem:
        return MaxCut.from_edges(GRAPHS[self.graph])

    def deployment(self, service: ForkedService, ledger: Path) -> Deployment:
        backend = service.backend()
        options = {"twirling": {"enable_measure": True, "num_randomizations": 4}} if self.twirling else None
        channel = RuntimeChannel(backend, mode=self.mode, options=options, patience=PATIENCE)
        return Deployment(backend, self.budget, ledger=ledger, channel=channel, seed=7, patience=PATIENCE, grace=GRACE)

    def run(self, deployment: Deployment) -> Run:
        spsa = SPSA(maxiter=4, learning_rate=0.1, perturbation=0.1)
        return deployment.run(
            self.problem,
            reps=1,
            initializer=initializer(),
            optimizer=spsa if self.optimizer == "spsa" else COBYLA(maxiter=8, rhobeg=0.3),
            shots_per_evaluation=ShotSchedule(100, 300, over=6) if self.growing else 200,
            final_shots=FINAL,
            readout_shots=self.readout_shots,
        )


def initializer() -> MetaInitializer:
    return MetaInitializer(Constant(point=[0.3, -0.2]))


@dataclass
class Outcome:
    """What became of one run."""

    index: int
    case: Case
    attempts: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    places: Counter[str] = field(default_factory=Counter)
    """Where its process was killed."""
    ended: str = ""
    lost: dict[str, float] = field(default_factory=dict)
    """Booked without being of use: shots, jobs, QPU seconds."""
    paid: int = 0
    """Shots, by the service's books."""
    booked: int = 0
    """Shots, by the ledger's."""
    copies: int = 0
    """Shots of jobs that the service made twice."""
    overdrawn: bool = False
    """By such copies."""
    compared: str = "books only"
    """What the result was compared with."""
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0


# Attempts: a process each


def attempt(case: Case, service: ForkedService, folder: Path, kill: tuple[str, int] | None) -> None:
    """Begin the run or go on with it, and write down how that ended; in a process of its own."""
    warnings.simplefilter("ignore")
    pause = urllib3.util.Retry.get_backoff_time
    urllib3.util.Retry.get_backoff_time = lambda retry: min(pause(retry), 0.02)
    _die(kill, folder)
    told: dict[str, Any]
    try:
        deployment = case.deployment(service, folder / "ledger.sqlite")
    except Exception as error:  # of the client, before the run: nothing of ours has begun
        told = {"ended": "no service", "why": repr(error)}
    else:
        try:
            known = deployment.runs()
            run = deployment.resume(known[0].id, initializer=initializer()) if known else case.run(deployment)
            told = {"ended": run.stopped or "finished", "run": run.id, "result": run_as_json(run)}
        except (RunInterruptedError, ChannelError, BudgetError) as error:
            told = {"ended": type(error).__name__, "why": str(error)}
        except Exception as error:
            import traceback

            told = {"ended": "error", "why": repr(error), "traceback": traceback.format_exc()}
    (folder / "told.json").write_text(json.dumps(told))


def _die(kill: tuple[str, int] | None, folder: Path) -> None:
    """End this process with signal 9 at a step: a statement of the database, or just before or after a request."""
    if kill is None:
        return
    kind, left = kill

    def step(what: str) -> None:
        nonlocal left
        if kind == STEP or what.endswith("POST /jobs"):
            left -= 1
            if left == 0:
                with (folder / "kills.log").open("a") as log:
                    log.write(f"{kind}\t{what}\n")
                os.kill(os.getpid(), signal.SIGKILL)

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.set_trace_callback(lambda statement: step(f"at {' '.join(statement.split()[:2])}"))
        return connection

    def send(adapter: Any, request: Any, **options: Any) -> Any:
        path = re.sub(r"/[0-9a-z]{16,}", "/*", request.url.split("?")[0].partition("/v1")[2])
        step(f"before {request.method} {path}")
        found = sending(adapter, request, **options)
        step(f"after {request.method} {path}")
        return found

    connect, sqlite3.connect = sqlite3.connect, traced
    sending, requests.adapters.HTTPAdapter.send = requests.adapters.HTTPAdapter.send, send


# Runs


def disturbed(index: int, seed: int, folder: Path, reference: Reference) -> Outcome:
    """Carry one run out while things go wrong, and check it."""
    rng = np.random.default_rng([seed, index])
    outcome = Outcome(index, Case.drawn(rng))
    began = time.monotonic()
    sure = CLASSES[index % len(CLASSES)]
    chosen = {kind for kind in CLASSES if rng.random() < 0.25} | {sure}
    if {TWICE, LAG} <= chosen:  # a copy that is listed only later is beyond what can be known
        chosen.remove(TWICE if sure == LAG else LAG)
    if UNTOLD in chosen and outcome.case.budget.qpu_seconds is not None:  # what is booked for it then ends the run
        outcome.case = replace(outcome.case, budget=ShotBudget(shots=4000))
    service = ForkedService(
        folder / "service",
        fault_seed=int(rng.integers(2**31)),
        rates={kind: float(rng.uniform(0.05, 0.2)) for kind in KINDS if kind in chosen},
        surely=(sure, int(rng.integers(1, 6))) if sure in KINDS else None,
        tag_lag=0.6 * GRACE * (LAG in chosen),
        limit_seconds=None,
    )
    service.start()
    try:
        told = _attempts(outcome, service, folder, rng, chosen)
        outcome.faults += service.happened()
        outcome.faults[LAG] += LAG in chosen
        check(outcome, told, service, folder, reference)
    finally:
        service.kill()
    outcome.seconds = time.monotonic() - began
    return outcome


def _attempts(
    outcome: Outcome, service: ForkedService, folder: Path, rng: np.random.Generator, chosen: set[str]
) -> dict[str, Any]:
    """Begin and resume until the run has ended; return what its last process told."""
    while outcome.attempts < 2 * QUIET_AFTER:
        if outcome.attempts == QUIET_AFTER:
            service.change(rates={}, surely=None)
            chosen = set()
        outcome.attempts += 1
        kill = None
        if STEP in chosen and rng.random() < 0.6:
            kill = STEP, int(rng.integers(1, 400))
        elif SUBMISSION in chosen and rng.random() < 0.7:
            kill = SUBMISSION, int(rng.integers(1, 10))
        events: list[tuple[float, str]] = []
        if OUTAGE in chosen and rng.random() < 0.6:
            at, lasts = rng.uniform(0.0, 1.5), rng.choice([0.1, 0.6, 3.0], p=[0.5, 0.3, 0.2])
            events += [(at, OUTAGE), (at + lasts, "service started")]
        if CLOCK in chosen and rng.random() < 0.7:
            events.append((rng.uniform(0.05, 1.8), CLOCK))
        if not _watch(
            functools.partial(attempt, outcome.case, service, folder, kill), sorted(events), service, outcome
        ):
            told = json.loads((folder / "told.json").read_text())
            if told["ended"] not in ("RunInterruptedError", "Unreachable", "no service"):
                return dict(told)
            outcome.faults["interrupted, to be resumed"] += 1
    return {"ended": "error", "why": f"no end after {outcome.attempts} attempts"}


def _watch(work: Callable[[], None], events: list[tuple[float, str]], service: ForkedService, outcome: Outcome) -> bool:
    """Do some work in a process while things happen; return whether it was killed."""
    began, pid = time.monotonic(), fork(work)
    ended, status = 0, 0
    while not ended or any(kind == "service started" for _, kind in events):
        if not ended:
            ended, status = os.waitpid(pid, os.WNOHANG)
        if events and (events[0][0] <= time.monotonic() - began or ended):
            kind = events.pop(0)[1]
            if kind == CLOCK and not ended:
                os.kill(pid, signal.SIGKILL)
                outcome.faults[CLOCK] += 1
            elif kind == OUTAGE and not ended:
                service.kill()
                outcome.faults[OUTAGE] += 1
            elif kind == "service started" and service.pid is None:
                service.start()
        time.sleep(0.003)
    return os.WIFSIGNALED(status)


# What must hold


def check(outcome: Outcome, told: dict[str, Any], service: ForkedService, folder: Path, reference: Reference) -> None:
    """Compare the service's books with the ledger's, and the result with that of an undisturbed run."""
    if (folder / "kills.log").exists():
        for line in (folder / "kills.log").read_text().splitlines():
            kind, place = line.split("\t")
            outcome.faults[kind] += 1
            outcome.places[place] += 1
    jobs = service.jobs()
    with Ledger(folder / "ledger.sqlite") as ledger:
        records = ledger.runs()
        if len(records) != 1:
            outcome.violations.append(f"{len(records)} runs instead of one")
            return
        rows, spent = ledger.jobs(records[0].id), ledger.spent(records[0].id)
    outcome.ended = re.sub(r"[0-9.]+ ", "", told["ended"])
    outcome.paid, outcome.booked = sum(job.paid for job in jobs), spent.shots
    if told["ended"] in ("error", "JobFailed", "Refused", "Busy", "Unclear"):
        outcome.violations.append(f"{told['ended']}: {told['why']} {told.get('traceback', '')}")
    outcome.violations += list(_books(outcome, jobs, rows))
    if TOKEN.encode() in b"".join(file.read_bytes() for file in folder.glob("ledger.sqlite*")):
        outcome.violations.append("the token is in the ledger")
    if "result" in told:
        outcome.violations += list(_result(outcome, told["result"], rows, jobs, reference))
        outcome.violations += list(_read_again(outcome, told["result"], service, folder))


def _books(outcome: Outcome, jobs: list[Sent], rows: list[Job]) -> Iterator[str]:
    """Yield what is wrong with the money."""
    budget = outcome.case.budget
    tags = {row.tag for row in rows}
    known = {row.job_id: row for row in rows if row.job_id is not None}
    originals: dict[str, Sent] = {}
    for job in jobs:
        [tag] = tags.intersection(job.tags) or [None]
        if tag is None:
            yield f"job {job.id} has none of the tags of the ledger"
            continue
        copy = originals.setdefault(tag, job) is not job
        row = known.get(job.id)
        outcome.copies += copy and job.paid
        if job.paid and row is None:
            yield f"{job.paid} shots of job {job.id}{' (a copy)' * copy} are not booked"
        elif row is not None:
            exact = row.state == "done" or (row.state == "duplicate" and job.paid)
            if row.spent < job.paid or (exact and row.spent != job.paid):
                yield f"{job.paid} shots were paid for job {job.id}, but {row.spent} are booked as {row.state}"
            if budget.qpu_seconds is not None and row.seconds < job.seconds - 1e-9:
                yield f"{job.seconds} s were charged for job {job.id}, but {row.seconds} are booked as {row.state}"
    for row in rows:
        if row.state in OPEN or row.state == "answered":
            yield f"job {row.tag} is still {row.state}"
        if row.state == "done" and sum(other.state == "done" for other in rows if other.sequence == row.sequence) > 1:
            yield f"place {row.sequence} has two answers"
    charged = {
        "shots": sum(job.paid for job in originals.values()),
        "jobs": sum(job.started is not None for job in originals.values()),
        "qpu_seconds": sum(job.seconds for job in originals.values()) - 1e-9,
    }
    booked = {
        "shots": sum(row.spent for row in rows),
        "jobs": sum(row.state != "released" for row in rows),
        "qpu_seconds": sum(row.seconds for row in rows) - 1e-9,
    }
    copied = any(
        row.state == "duplicate" for row in rows
    )  # by the service itself: booked, but nobody could refuse them
    for name, limit in asdict(budget).items():
        if limit is not None and charged[name] > limit:
            yield f"{charged[name]} {name} were charged within a budget of {limit}"
        if limit is not None and booked[name] > limit:
            outcome.overdrawn = True
            if not copied:
                yield f"{booked[name]} {name} are booked within a budget of {limit}"


def _result(
    outcome: Outcome, result: dict[str, Any], rows: list[Job], jobs: list[Sent], reference: Reference
) -> Iterator[str]:
    """Yield what is wrong with the result."""
    case, budget = outcome.case, outcome.case.budget
    charged = {job.id: job.seconds for job in jobs}
    useless = [row for row in rows if row.state not in ("done", "released")]
    late = [row for row in useless if row.stage == "final"]
    early = [row for row in useless if row.stage != "final"]
    more = 0.0
    if budget.qpu_seconds is not None:
        more = sum(row.seconds - charged[row.job_id or ""] for row in rows if row.state == "done")
    outcome.lost = {
        "shots": sum(row.spent for row in useless),
        "jobs": len(useless),
        "qpu_seconds": sum(row.seconds for row in useless) + more,
    }
    less = {"shots": sum(row.spent for row in early), "jobs": len(early)}
    less["qpu_seconds"] = sum(row.seconds for row in early) + more
    left = {name: limit and limit - less[name] for name, limit in asdict(budget).items()}
    rest: dict[str, Any] | None = None
    if all(limit is None or limit > 0 for limit in left.values()):
        rest = reference(replace(case, budget=ShotBudget(**left)))
    if rest is not None and not _overdrew(early, rows, case):
        outcome.compared = "undisturbed" if left == asdict(budget) else "undisturbed with the rest of the budget"
        fields = FIELDS
        if late:  # what the final sampling lost cannot be taken from evaluations that were made before it
            outcome.compared += ", up to the final sampling"
            full = any(row.state == "done" and row.stage == "final" and row.shots >= FINAL for row in rows)
            fields = ("points", "energies", "shots", "point", *(["energy"] if full else []))
        yield from _different(result, rest, fields)
    else:
        whole = reference(case) or result
        outcome.compared = "as far as it goes"
        for name in ("points", "energies", "shots"):
            length = max(len(result[name]) - 2 * (name != "points"), 0)  # the last job may have been shrunk
            if result[name][:length] != whole[name][:length]:
                yield f"{name} are not those of the undisturbed run, as far as they go"


def _overdrew(early: list[Job], rows: list[Job], case: Case) -> bool:
    """Return whether a loss took what was set aside for the final sampling.

    A copy that the service made can, and a failed job whose charge is not told, which is booked as all it might cost.
    """
    total = [row for row in rows if row.stage != "final" and row.state != "released"]
    used = {
        "shots": sum(row.spent for row in total),
        "jobs": len(total),
        "qpu_seconds": sum(row.seconds for row in total),
    }
    aside = {"shots": FINAL + 2 * case.twirling, "jobs": 1, "qpu_seconds": 3.0}  # 250 shots twirled in 4 ways are 252
    limits = asdict(case.budget)
    return bool(early) and any(limits[name] is not None and used[name] > limits[name] - aside[name] for name in used)


def _different(found: dict[str, Any], expected: dict[str, Any] | None, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        values = [
            re.sub(r"[0-9.]+", "N", str(one[name])) if name == "stopped" else one[name]
            for one in (found, expected or found)
        ]
        if expected is None or values[0] != values[1]:
            yield f"{name} is {values[0]}, undisturbed {values[1] if expected else 'nothing'}"


def _read_again(outcome: Outcome, result: dict[str, Any], service: ForkedService, folder: Path) -> Iterator[str]:
    """Yield what is wrong when an ended run is read again, from a service that would not run anything."""
    if outcome.index % 4:
        return
    before = len(service.jobs())
    service.change(rates={}, surely=None, paused=True)
    _watch(functools.partial(attempt, outcome.case, service, folder, None), [], service, outcome)
    told = json.loads((folder / "told.json").read_text())
    if "result" not in told:
        yield f"read again, the run gives {told}"
    else:
        yield from _different(told["result"], result, (*FIELDS, "spent", "shots_by_stage"))
    if len(service.jobs()) != before:
        yield "an ended run has sent jobs"


# Undisturbed runs


@dataclass
class Reference:
    """Results of undisturbed runs, each made once."""

    folder: Path
    known: dict[Case, dict[str, Any] | None] = field(default_factory=dict)

    def __call__(self, case: Case) -> dict[str, Any] | None:
        """Return the result, or None if the budget does not pay for a run."""
        if case not in self.known:
            place = self.folder / str(len(self.known))
            place.mkdir(parents=True)
            service = ForkedService(place / "service", limit_seconds=None)
            service.start()
            try:
                os.waitpid(fork(functools.partial(attempt, case, service, place, None)), 0)
            finally:
                service.kill()
            told = json.loads((place / "told.json").read_text())
            if "result" not in told and told["ended"] != "BudgetError":
                raise RuntimeError(f"The undisturbed run of {case} gives {told}.")
            self.known[case] = told.get("result")
        return self.known[case]


def carry_out(runs: int, seed: int, folder: Path, *, first: int = 0) -> dict[str, Any]:
    """Return the record of some runs, as JSON values."""
    began, reference = time.monotonic(), Reference(folder / "undisturbed")
    outcomes = []
    for index in range(first, first + runs):
        place = folder / f"run{index}"
        place.mkdir(parents=True)
        outcome = disturbed(index, seed, place, reference)
        outcomes.append(outcome)
        if not outcome.violations:
            shutil.rmtree(place)
        print(
            f"{index}: {outcome.attempts} attempts, {sum(outcome.faults.values())} faults, {outcome.ended}, "
            f"lost {outcome.lost.get('shots', 0)}, {outcome.seconds:.1f} s {outcome.violations}",
            file=sys.stderr,
            flush=True,
        )
    return record(outcomes, seed, time.monotonic() - began, len(reference.known))


def record(outcomes: list[Outcome], seed: int, seconds: float, references: int) -> dict[str, Any]:
    """Return what is published of some runs."""
    happened: Counter[str] = sum((outcome.faults for outcome in outcomes), Counter())
    return {
        "command": command(),
        "versions": versions() | {"qiskit-ibm-runtime": metadata.version("qiskit-ibm-runtime")},
        "seed": seed,
        "runs": len(outcomes),
        "violations": {outcome.index: outcome.violations for outcome in outcomes if outcome.violations},
        "attempts": sum(outcome.attempts for outcome in outcomes),
        "faults": {
            kind: {"runs": sum(outcome.faults[kind] > 0 for outcome in outcomes), "times": happened[kind]}
            for kind in sorted(happened)
        },
        "killed": dict(sum((outcome.places for outcome in outcomes), Counter()).most_common()),
        "ended": dict(Counter(outcome.ended for outcome in outcomes).most_common()),
        "compared": dict(Counter(outcome.compared for outcome in outcomes).most_common()),
        "modes": dict(Counter(outcome.case.mode for outcome in outcomes).most_common()),
        "limits": dict(Counter(limits(outcome.case.budget) for outcome in outcomes).most_common()),
        "shots_paid": sum(outcome.paid for outcome in outcomes),
        "shots_booked": sum(outcome.booked for outcome in outcomes),
        "shots_of_copies_the_service_made": sum(outcome.copies for outcome in outcomes),
        "runs_with_losses": sum(bool(outcome.lost.get("shots")) for outcome in outcomes),
        "overdrawn_by_copies": sum(outcome.overdrawn for outcome in outcomes),
        "undisturbed_runs": references,
        "seconds": round(seconds, 1),
        "each": [
            {
                "index": outcome.index,
                "case": asdict(outcome.case),
                "attempts": outcome.attempts,
                "faults": dict(outcome.faults),
                "ended": outcome.ended,
                "compared": outcome.compared,
                "paid": outcome.paid,
                "booked": outcome.booked,
                "lost": outcome.lost,
                "seconds": round(outcome.seconds, 2),
            }
            for outcome in outcomes
        ],
    }


def limits(budget: ShotBudget) -> str:
    return " and ".join(name for name, limit in asdict(budget).items() if limit is not None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path, help="Kept for runs that went wrong.")
    given = parser.parse_args()
    made = contextlib.nullcontext(given.folder) if given.folder else tempfile.TemporaryDirectory()
    with made as folder:
        found = carry_out(given.runs, given.seed, Path(folder), first=given.first)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps({name: value for name, value in found.items() if name != "each"}, indent=1))
    sys.exit(bool(found["violations"]))


if __name__ == "__main__":
    main()
