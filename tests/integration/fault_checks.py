"""What must hold of a run, whatever went wrong: the service's books against the ledger, and its result."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeAlias

from integration.fault_attempts import FINAL, Case
from integration.loopback_service import Job as Sent

from qiskit_metainit.budget import ShotBudget
from qiskit_metainit.deployment.spending.ledger import OPEN
from qiskit_metainit.deployment.spending.records import Job

FIELDS = ("points", "energies", "shots", "point", "energy", "bitstring", "stopped", "readout")
Reference: TypeAlias = Callable[[Case], dict[str, Any] | None]
"""Gives the result of a case that nothing happens to, None if its budget does not pay for it."""


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


def books(outcome: Outcome, jobs: list[Sent], rows: list[Job]) -> Iterator[str]:
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


def result(
    outcome: Outcome, found: dict[str, Any], rows: list[Job], jobs: list[Sent], reference: Reference
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
        yield from different(found, rest, fields)
    else:
        whole = reference(case) or found
        outcome.compared = "as far as it goes"
        for name in ("points", "energies", "shots"):
            length = max(len(found[name]) - 2 * (name != "points"), 0)  # the last job may have been shrunk
            if found[name][:length] != whole[name][:length]:
                yield f"{name} are not those of the undisturbed run, as far as they go"


def _overdrew(early: list[Job], rows: list[Job], case: Case) -> bool:
    """Return whether a loss took what was set aside for the final sampling, or came after the last evaluation.

    A copy that the service made can take it, and a failed job whose charge is not told, which is booked as all it might
    cost. A copy of the last evaluation is found when that one has been made: with that much less from the start, it
    might not have been.
    """
    total = [row for row in rows if row.stage != "final" and row.state != "released"]
    last = max((row.sequence for row in total), default=-1)
    if any(row.state == "duplicate" and row.sequence == last for row in early):
        return True
    used = {
        "shots": sum(row.spent for row in total),
        "jobs": len(total),
        "qpu_seconds": sum(row.seconds for row in total),
    }
    aside = {"shots": FINAL, "jobs": 1, "qpu_seconds": 6.0}
    limits = asdict(case.budget)
    return bool(early) and any(limits[name] is not None and used[name] > limits[name] - aside[name] for name in used)


def different(found: dict[str, Any], expected: dict[str, Any] | None, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        values = [
            re.sub(r"[0-9.]+", "N", str(one[name])) if name == "stopped" else one[name]
            for one in (found, expected or found)
        ]
        if expected is None or values[0] != values[1]:
            yield f"{name} is {values[0]}, undisturbed {values[1] if expected else 'nothing'}"
