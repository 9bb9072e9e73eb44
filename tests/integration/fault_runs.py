"""Randomised fault runs: deployments against a loopback service, both ends killed, everything in between broken.

``PYTHONPATH=tests python tests/integration/fault_runs.py --runs 200 --seed 0 --json FILE``

A run is begun and resumed until it ends, each attempt in a process of its own; then the service's books are compared
with the ledger, and the result with that of an undisturbed run with the same seeds and the budget less what was lost.
Draws come from the seed, but processes and clocks take part, so a run is not repeated exactly. The client is
unmodified but for its pauses before it repeats a request, which are short, and what ``loopback`` says.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from integration.fault_attempts import GRACE, STEP, SUBMISSION, Case, attempt
from integration.fault_checks import FIELDS, Outcome, books, different, result
from integration.fault_service import KINDS, LAG, TWICE, UNTOLD, ForkedService, fork
from integration.loopback import TOKEN

from qiskit_metainit.budget import ShotBudget
from qiskit_metainit.deployment import Ledger
from qiskit_metainit.provenance import versions

CLOCK, OUTAGE = "killed by the clock", "service killed"
CLASSES = (*KINDS, STEP, SUBMISSION, CLOCK, OUTAGE)
"""Everything that goes wrong."""
QUIET_AFTER = 12
"""Attempts after which nothing goes wrong any more, so that every run ends."""


# Runs


def disturbed(index: int, seed: int, kinds: Sequence[str], folder: Path, reference: Reference) -> Outcome:
    """Carry one run out while things go wrong, some kinds of them once if it lasts so long, and check it."""
    rng = np.random.default_rng([seed, index])
    outcome = Outcome(index, Case.drawn(rng))
    began = time.monotonic()
    chosen = {kind for kind in CLASSES if rng.random() < 0.25} | set(kinds)
    if {TWICE, LAG} <= chosen:  # a copy that is listed only later is beyond what can be known
        without = TWICE if LAG in kinds else LAG
        chosen.remove(without)
        kinds = [kind for kind in kinds if kind != without]
    if UNTOLD in chosen and outcome.case.budget.qpu_seconds is not None:  # what is booked for it then ends the run
        outcome.case = replace(outcome.case, budget=ShotBudget(shots=4000))
    service = ForkedService(
        folder / "service",
        fault_seed=int(rng.integers(2**31)),
        rates={kind: float(rng.uniform(0.05, 0.2)) for kind in KINDS if kind in chosen},
        surely=dict(zip(kinds, (1 + rng.permutation(max(len(kinds), 3))).tolist(), strict=False)),
        tag_lag=0.6 * GRACE * (LAG in chosen),
        limit_seconds=None,
    )
    service.start()
    try:
        told = _attempts(outcome, service, folder, rng, chosen, kinds)
        outcome.faults += service.happened()
        outcome.faults[LAG] += LAG in chosen
        check(outcome, told, service, folder, reference)
    finally:
        service.close()
    outcome.seconds = time.monotonic() - began
    return outcome


def _attempts(
    outcome: Outcome,
    service: ForkedService,
    folder: Path,
    rng: np.random.Generator,
    chosen: set[str],
    sure: Sequence[str],
) -> dict[str, Any]:
    """Begin and resume until the run has ended; return what its last process told."""
    while outcome.attempts < 2 * QUIET_AFTER:
        if outcome.attempts == QUIET_AFTER:
            service.change(rates={}, surely={})
            chosen, sure = set(), ()
        number = outcome.attempts
        outcome.attempts += 1
        only = sure[number] if number < len(sure) and sure[number] in (STEP, SUBMISSION, CLOCK, OUTAGE) else None

        def happens(kind: str, share: float, only: str | None = only, chosen: Set[str] = frozenset(chosen)) -> bool:
            return kind in chosen and (rng.random() < share if only is None else kind == only)

        kill = None
        if happens(STEP, 0.6):
            kill = STEP, int(rng.integers(1, 400 if only is None else 150))
        elif happens(SUBMISSION, 0.7):
            kill = SUBMISSION, int(rng.integers(1, 10 if only is None else 3))
        events: list[tuple[float, str]] = []
        if happens(OUTAGE, 0.6):
            at, lasts = rng.uniform(0.0, 1.5 if only is None else 0.8), rng.choice([0.1, 0.6, 3.0], p=[0.5, 0.3, 0.2])
            events += [(at, OUTAGE), (at + lasts, "service started")]
        if happens(CLOCK, 0.7):
            events.append((rng.uniform(0.05, 1.8 if only is None else 0.8), CLOCK))
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
        if told["ended"] == "BudgetError" and not records and not jobs:
            outcome.ended, outcome.compared = "BudgetError", "nothing begun"
            if reference(outcome.case) is not None:
                outcome.violations.append("a run whose budget pays for it was refused")
            return
        if len(records) != 1:
            outcome.violations.append(f"{len(records)} runs instead of one")
            return
        rows, spent = ledger.jobs(records[0].id), ledger.spent(records[0].id)
    outcome.ended = re.sub(r"[0-9.]+ ", "", told["ended"])
    outcome.paid, outcome.booked = sum(job.paid for job in jobs), spent.shots
    if told["ended"] in ("error", "JobFailed", "Refused", "Busy", "Unclear"):
        outcome.violations.append(f"{told['ended']}: {told['why']} {told.get('traceback', '')}")
    outcome.violations += list(books(outcome, jobs, rows))
    used = {job.session_id for job in jobs}
    for file in (folder / "service").glob("*.session.json"):
        session = json.loads(file.read_text())
        if session["id"] in used and session["state"] != "closed":
            outcome.violations.append(f"{session['mode']} {session['id']} is left open")
    if TOKEN.encode() in b"".join(file.read_bytes() for file in folder.glob("ledger.sqlite*")):
        outcome.violations.append("the token is in the ledger")
    if told["ended"] == "BudgetError":  # nothing is left for a start: nor would it be if the losses had come before all
        left = asdict(outcome.case.budget)
        for name, lost in asdict(spent).items():
            left[name] = left[name] and left[name] - lost
        positive = all(limit is None or limit > 0 for limit in left.values())
        if positive and reference(replace(outcome.case, budget=ShotBudget(**left))) is not None:
            outcome.violations.append("a run whose budget would have paid for a start was given up")
    if "result" in told:
        outcome.violations += list(result(outcome, told["result"], rows, jobs, reference))
        outcome.violations += list(_read_again(outcome, told["result"], service, folder))


def _read_again(outcome: Outcome, result: dict[str, Any], service: ForkedService, folder: Path) -> Iterator[str]:
    """Yield what is wrong when an ended run is read again, from a service that would not run anything."""
    if outcome.index % 4:
        return
    before = len(service.jobs())
    service.change(rates={}, surely={}, paused=True)
    _watch(functools.partial(attempt, outcome.case, service, folder, None), [], service, outcome)
    told = json.loads((folder / "told.json").read_text())
    if "result" not in told:
        yield f"read again, the run gives {told}"
    else:
        yield from different(told["result"], result, (*FIELDS, "spent", "shots_by_stage"))
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
                service.close()
            told = json.loads((place / "told.json").read_text())
            if "result" not in told and told["ended"] != "BudgetError":
                raise RuntimeError(f"The undisturbed run of {case} gives {told}.")
            self.known[case] = told.get("result")
        return self.known[case]


def carry_out(runs: int, seed: int, folder: Path, *, first: int = 0, sure: int = 1, more: int = 0) -> dict[str, Any]:
    """Return the record of some runs, and of up to ``more`` for kinds that have not happened, as JSON values."""
    began, reference = time.monotonic(), Reference(folder / "undisturbed")
    for name in (
        "qiskit_ibm_runtime.executor_sampler",
        "qiskit_ibm_runtime.executor_estimator.prepare",
        "qiskit_ibm_runtime.transpiler",
        "scipy._lib.pyprima",
    ):
        importlib.import_module(name)  # once, rather than in every process
    outcomes: list[Outcome] = []
    for index in range(first, first + runs + more):
        kinds = [CLASSES[(sure * index + number) % len(CLASSES)] for number in range(sure)]
        if index >= first + runs:  # a run may end before what was to happen to it
            kinds = [kind for kind in CLASSES if not any(outcome.faults[kind] for outcome in outcomes)][:sure]
            if not kinds:
                break
        place = folder / f"run{index}"
        place.mkdir(parents=True)
        outcome = disturbed(index, seed, kinds, place, reference)
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
        "command": f"fault_runs.py --runs {len(outcomes)} --seed {seed}",
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
        "resilience_levels": dict(Counter(str(outcome.case.resilience) for outcome in outcomes).most_common()),
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
    parser.add_argument("--sure", type=int, default=1, help="Kinds of faults, in turn, that each run has for sure.")
    parser.add_argument("--more", type=int, default=0, help="Runs at most, besides, for kinds that have not happened.")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path, help="Kept for runs that went wrong.")
    given = parser.parse_args()
    made = contextlib.nullcontext(given.folder) if given.folder else tempfile.TemporaryDirectory()
    with made as folder:
        found = carry_out(given.runs, given.seed, Path(folder), first=given.first, sure=given.sure, more=given.more)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps({name: value for name, value in found.items() if name != "each"}, indent=1))
    sys.exit(bool(found["violations"]))


if __name__ == "__main__":
    main()
