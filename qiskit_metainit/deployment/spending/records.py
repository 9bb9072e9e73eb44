"""What a ledger holds: runs, their jobs, what they spent, and the arrays of points and outcomes."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from qiskit.primitives import BitArray

from qiskit_metainit.deployment.channels.channel import Answer, Estimate


@dataclass(frozen=True)
class Spent:
    """What a run has spent, reservations of jobs not yet settled included."""

    shots: int
    """Of jobs that answered, of those that were charged without an answer, and of duplicates."""
    jobs: int
    """Submissions that were accepted, or may have been."""
    qpu_seconds: float
    """As charged, or as reserved."""


@dataclass(frozen=True, eq=False)
class Job:
    """One submission."""

    number: int
    """Of the row."""
    sequence: int
    """Place in the run: the how manieth request of the program."""
    tag: str
    """By which the service knows it."""
    digest: str
    """Of the circuits, points and shots asked for: a replay must ask for the same."""
    stage: str
    """proposal, optimisation or final."""
    state: str
    """posting, submitted, doubtful, answered (not yet looked up for copies), done, released, lost or duplicate."""
    evaluations: int
    """Circuit evaluations."""
    shots: int
    """Of each evaluation; fewer than asked for if the budget ended."""
    spent: int
    """Shots booked, or reserved while the state is open."""
    seconds: float
    """QPU seconds booked, or reserved while the state is open."""
    sent: float
    """Unix time."""
    job_id: str | None
    """Of the service."""
    note: str | None
    """Why it has no answer."""

    @classmethod
    def of(cls, row: sqlite3.Row) -> Job:
        """Return what a row holds, but for its arrays."""
        return cls(**{field.name: row[field.name] for field in fields(cls)})


@dataclass(frozen=True, eq=False)
class RunRecord:
    """One run as it is stored."""

    id: str
    """As ``metainit runs`` lists it."""
    created: float
    """Unix time."""
    changed: float
    """Unix time."""
    state: str
    """running, finished or stopped (by its budget, with a result)."""
    backend: str
    """Name."""
    settings: Mapping[str, Any]
    """Everything that makes the run what it is."""
    notes: Mapping[str, Any]
    """What a replay needs of the first time: the proposal, the sessions."""
    result: Mapping[str, Any] | None
    """Of a run that ended."""

    @classmethod
    def of(cls, row: sqlite3.Row) -> RunRecord:
        """Return what a row holds."""
        given = dict(row)
        for name in ("settings", "notes", "result"):
            given[name] = None if given[name] is None else json.loads(given[name])
        return cls(**given)


def pack_points(points: Sequence[np.ndarray]) -> bytes:
    """Return the points of each PUB as the bytes of an npz file."""
    return _npz({f"points{index}": array for index, array in enumerate(points)})


def unpack_points(stored: bytes) -> list[np.ndarray]:
    """Return what ``pack_points`` was given."""
    with np.load(io.BytesIO(stored), allow_pickle=False) as arrays:
        return [arrays[f"points{index}"] for index in range(len(arrays.files))]


def pack_answer(answer: Answer) -> bytes:
    """Return outcomes or estimates as the bytes of an npz file."""
    arrays = {f"bits{index}": bits.array for index, bits in enumerate(answer.bits)}
    for index, found in enumerate(answer.estimates):
        arrays |= {f"values{index}": found.values, f"errors{index}": found.errors}
    return _npz({"widths": np.array([bits.num_bits for bits in answer.bits], dtype=np.int64), **arrays})


def unpack_answer(stored: bytes, seconds: float | None) -> Answer:
    """Return what ``pack_answer`` was given."""
    with np.load(io.BytesIO(stored), allow_pickle=False) as arrays:
        bits = tuple(BitArray(arrays[f"bits{i}"], int(width)) for i, width in enumerate(arrays["widths"]))
        count = sum(name.startswith("values") for name in arrays.files)
        return Answer(bits, seconds, tuple(Estimate(arrays[f"values{i}"], arrays[f"errors{i}"]) for i in range(count)))


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
