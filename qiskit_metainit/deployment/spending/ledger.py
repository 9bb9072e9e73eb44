"""A ledger of runs in one SQLite file: what was asked for, what was sent, and everything that came back.

Rows are committed before what they announce is done (``synchronous=FULL``), so that a process may be killed at any
point: a job is written down with its tag before it is sent, and its outcomes before they are used. Tokens and accounts
are never written.
"""

from __future__ import annotations

import io
import json
import secrets
import sqlite3
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, final

import numpy as np
from filelock import FileLock, Timeout
from qiskit import QuantumCircuit, qpy

from qiskit_metainit.budget import ShotBudget
from qiskit_metainit.deployment.channels.channel import Answer
from qiskit_metainit.deployment.spending.records import Job, RunRecord, Spent, pack_answer, unpack_answer, unpack_points

VERSION = 1
"""Of the tables; a ledger of a later one is refused."""
OPEN = ("posting", "submitted", "doubtful")
"""States of jobs whose shots are reserved: what they cost is not settled."""

_COLUMNS = ", ".join(field.name for field in fields(Job))  # all but the arrays
_TRIES = 200
_APPLICATION = 0x4D455441  # "META", in the file's header
_HEADER = ("application_id", "user_version")
_TABLES = """
CREATE TABLE runs (
    id TEXT PRIMARY KEY, created REAL NOT NULL, changed REAL NOT NULL, state TEXT NOT NULL, backend TEXT NOT NULL,
    settings TEXT NOT NULL, notes TEXT NOT NULL DEFAULT '{}', result TEXT
) STRICT;
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY, run TEXT NOT NULL REFERENCES runs(id), sequence INTEGER NOT NULL, tag TEXT NOT NULL,
    digest TEXT NOT NULL, stage TEXT NOT NULL, state TEXT NOT NULL, evaluations INTEGER NOT NULL,
    shots INTEGER NOT NULL, spent INTEGER NOT NULL, seconds REAL NOT NULL, sent REAL NOT NULL, ended REAL,
    job_id TEXT, note TEXT, asked BLOB, answer BLOB
) STRICT;
CREATE INDEX by_run ON jobs(run, sequence);
CREATE TABLE templates (
    run TEXT NOT NULL REFERENCES runs(id), digest TEXT NOT NULL, circuit BLOB NOT NULL, PRIMARY KEY (run, digest)
) STRICT;
"""


class LedgerError(ValueError):
    """A ledger that cannot be used: not ours, of a later version, or in use by another process."""


@final
class Ledger:
    """Runs and their jobs.

    Args:
        path: of the SQLite file, made if need be; None for one in memory, which ends with the process.

    Raises:
        LedgerError: if the file is another application's, of a later version, or cannot be written.

    >>> with Ledger(None) as ledger:
    ...     run = ledger.begin("aer_simulator", {"reps": 1})
    ...     ledger.spent(run)
    Spent(shots=0, jobs=0, qpu_seconds=0.0)
    """

    def __init__(self, path: Path | str | None) -> None:
        self.path = None if path is None else Path(path)
        try:
            if self.path is not None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            # Transactions are ours (isolation_level=None); another process's write is waited for.
            # What is left to the garbage collector may be closed by whatever thread it runs in.
            self._db = sqlite3.connect(
                self.path or ":memory:", timeout=30.0, isolation_level=None, check_same_thread=False
            )
            weakref.finalize(self, self._db.close)
            self._db.row_factory = sqlite3.Row
            self._prepare()
        except (sqlite3.Error, OSError) as error:
            raise LedgerError(
                f"A ledger that can be written is needed, but {self.path} gives: {error}. Nothing was submitted. "
                "Choose another file with ledger=."
            ) from error

    def _prepare(self) -> None:
        with self._transaction("DEFERRED"):  # of one moment, as another process may be making it
            self._ours()  # before anything is written: not even the journal of another's file is touched
        for tries in range(_TRIES):
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError as error:  # SQLite does not wait where two processes do this at once
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or tries == _TRIES - 1:
                    raise
                time.sleep(0.05)
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")
        with self._transaction():
            if not self._ours():
                for statement in filter(str.strip, _TABLES.split(";")):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA application_id = {_APPLICATION}")
                self._db.execute(f"PRAGMA user_version = {VERSION}")

    def _ours(self) -> bool:
        """Return whether the file is a ledger, False if it is new and empty; raise for anything else."""
        application, version = (self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in _HEADER)
        if application == 0 and not self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return False
        if application != _APPLICATION:
            raise LedgerError(f"A ledger of qiskit_metainit is needed, but {self.path} is another SQLite file.")
        if version > VERSION:
            raise LedgerError(
                f"The ledger {self.path} has version {version}, but this qiskit_metainit reads up to {VERSION}. "
                "Update qiskit_metainit, or choose another file."
            )
        return True

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def _transaction(self, kind: str = "IMMEDIATE") -> Iterator[None]:
        try:
            self._db.execute(f"BEGIN {kind}")
            yield
            self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:  # an interrupt can come between any two statements
                self._db.execute("ROLLBACK")

    @contextmanager
    def held(self, run: str) -> Iterator[None]:
        """Keep other processes from carrying on the same run; the hold ends with the process, however it ends.

        Raises:
            LedgerError: if another process holds it.
        """
        if self.path is None:
            yield
            return
        lock = FileLock(f"{self.path}.{run}.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise LedgerError(
                f"The run {run} is being carried on by another process. Wait for it, or end it."
            ) from error
        try:
            yield
        finally:
            lock.release()

    # Runs

    def begin(self, backend: str, settings: Mapping[str, Any]) -> str:
        """Write down a new run and return its id."""
        run = secrets.token_hex(4)
        now = time.time()
        self._db.execute(
            "INSERT INTO runs (id, created, changed, state, backend, settings) VALUES (?, ?, ?, 'running', ?, ?)",
            (run, now, now, backend, json.dumps(settings)),
        )
        return run

    def record(self, run: str) -> RunRecord:
        """Return a run; the first characters of its id will do.

        Raises:
            LedgerError: if there is none, or several.
        """
        rows = self._db.execute("SELECT * FROM runs WHERE id LIKE ? || '%' ORDER BY created", (run,)).fetchall()
        if len(rows) != 1:
            known = ", ".join(record.id for record in self.runs()[-5:]) or "none"
            raise LedgerError(
                f"The id of one run in {self.path} is needed, but {run!r} fits {len(rows)}. The latest are: {known}."
            )
        return RunRecord.of(rows[0])

    def runs(self) -> list[RunRecord]:
        """Return all runs, the oldest first."""
        return [RunRecord.of(row) for row in self._db.execute("SELECT * FROM runs ORDER BY created, rowid")]

    def note(self, run: str, **notes: Any) -> None:
        """Add to what a replay needs of the first time."""
        with self._transaction():
            known = dict(self.record(run).notes) | notes
            self._db.execute(
                "UPDATE runs SET notes = ?, changed = ? WHERE id = ?", (json.dumps(known), time.time(), run)
            )

    def finish(self, run: str, state: str, result: Mapping[str, Any]) -> None:
        """Write down a run's result."""
        self._db.execute(
            "UPDATE runs SET state = ?, result = ?, changed = ? WHERE id = ?",
            (state, json.dumps(result), time.time(), run),
        )
        if self.path is not None:
            Path(f"{self.path}.{run}.lock").unlink(missing_ok=True)  # whoever holds it from now on, only reads

    # Jobs

    def spent(self, run: str) -> Spent:
        """Return what a run has spent or reserved."""
        found = self._db.execute(
            "SELECT coalesce(sum(spent), 0), coalesce(sum(state != 'released'), 0), coalesce(sum(seconds), 0.0) "
            "FROM jobs WHERE run = ?",
            (run,),
        ).fetchone()
        return Spent(*found)

    def by_stage(self, run: str) -> dict[str, int]:
        """Return the shots spent or reserved by stage."""
        rows = self._db.execute("SELECT stage, sum(spent) FROM jobs WHERE run = ? GROUP BY stage", (run,))
        return dict(map(tuple, rows))

    def reserve(
        self,
        run: str,
        sequence: int,
        *,
        digest: str,
        stage: str,
        evaluations: int,
        shots: int,
        cost: int,
        seconds: float,
        asked: bytes,
        budget: ShotBudget,
    ) -> Job | None:
        """Write down a job that is about to be sent, in the state "posting", if the budget pays for it.

        Args:
            run: id.
            sequence: place in the run.
            digest: of what is asked for.
            stage: proposal, optimisation or final.
            evaluations: circuits.
            shots: of each.
            cost: shots it may take at most.
            seconds: QPU seconds it may take at most.
            asked: its points, as ``pack_points`` makes them.
            budget: checked in the same transaction, so that it holds whatever else writes into the ledger.

        Returns:
            The job, or None if it would go beyond the budget.
        """
        with self._transaction():
            spent = self.spent(run)
            wanted = (
                (budget.shots, spent.shots + cost),
                (budget.jobs, spent.jobs + 1),
                (budget.qpu_seconds, spent.qpu_seconds + seconds - 1e-9),
            )
            if any(limit is not None and total > limit for limit, total in wanted):
                return None
            attempt = (
                1
                + self._db.execute(
                    "SELECT count(*) FROM jobs WHERE run = ? AND sequence = ?", (run, sequence)
                ).fetchone()[0]
            )
            tag = f"metainit-{run}-{sequence}-{attempt}-{secrets.token_hex(3)}"
            number = self._db.execute(
                "INSERT INTO jobs (run, sequence, tag, digest, stage, state, evaluations, shots, spent, seconds, sent, "
                "asked) VALUES (?, ?, ?, ?, ?, 'posting', ?, ?, ?, ?, ?, ?)",
                (run, sequence, tag, digest, stage, evaluations, shots, cost, seconds, time.time(), asked),
            ).lastrowid
        return self.job(int(number or 0))

    def job(self, number: int) -> Job:
        """Return a job by the number of its row."""
        return Job.of(self._db.execute(f"SELECT {_COLUMNS} FROM jobs WHERE number = ?", (number,)).fetchone())

    def jobs(self, run: str, sequence: int | None = None, *, states: Sequence[str] = ()) -> list[Job]:
        """Return a run's jobs, of one place or all, in the order they were sent."""
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM jobs WHERE run = ? AND sequence = coalesce(?, sequence) ORDER BY number",
            (run, sequence),
        )
        return [job for job in map(Job.of, rows) if not states or job.state in states]

    def settle(
        self,
        job: Job,
        state: str,
        *,
        spent: int | None = None,
        seconds: float | None = None,
        job_id: str | None = None,
        note: str | None = None,
    ) -> None:
        """Change a job's state; what is not given stays as it is."""
        self._db.execute(
            "UPDATE jobs SET state = ?, spent = coalesce(?, spent), seconds = coalesce(?, seconds), "
            "job_id = coalesce(?, job_id), note = coalesce(?, note), ended = ? WHERE number = ?",
            (state, spent, seconds, job_id, note, None if state in OPEN else time.time(), job.number),
        )

    def store(self, job: Job, answer: Answer, *, spent: int, seconds: float | None = None) -> None:
        """Store a job's outcomes and book what they cost, in one transaction; it is "answered" then.

        Args:
            job: that answered.
            answer: its outcomes.
            spent: shots.
            seconds: QPU seconds, by default as the answer has them.
        """
        booked = seconds if answer.seconds is None else answer.seconds
        with self._transaction():
            self.settle(job, "answered", spent=spent, seconds=booked or 0.0)
            self._db.execute("UPDATE jobs SET answer = ? WHERE number = ?", (pack_answer(answer), job.number))

    def duplicate(self, job: Job, job_id: str, *, spent: int, seconds: float = 0.0, note: str) -> None:
        """Book another submission with a job's tag, once."""
        with self._transaction():
            known = self._db.execute("SELECT count(*) FROM jobs WHERE job_id = ?", (job_id,)).fetchone()[0]
            if not known:
                self._db.execute(
                    "INSERT INTO jobs (run, sequence, tag, digest, stage, state, evaluations, shots, spent, seconds, "
                    "sent, ended, job_id, note) SELECT run, sequence, tag, digest, stage, 'duplicate', evaluations, "
                    "shots, ?, ?, sent, ?, ?, ? FROM jobs WHERE number = ?",
                    (spent, seconds, time.time(), job_id, note, job.number),
                )

    def answer(self, job: Job) -> Answer:
        """Return the stored outcomes of a job that has answered.

        Raises:
            LedgerError: if they are damaged.
        """
        stored = self._db.execute("SELECT answer, seconds FROM jobs WHERE number = ?", (job.number,)).fetchone()
        try:
            return unpack_answer(stored["answer"], stored["seconds"])
        except Exception as error:  # whatever zip, numpy and Qiskit find wrong
            raise LedgerError(
                f"The outcomes of the job {job.tag} are needed, but what {self.path} has of them is damaged: {error}. "
                "Restore the file from a copy, or begin another run."
            ) from error

    def answers(self, run: str, stage: str | None = None) -> Iterator[tuple[Job, Answer]]:
        """Yield a run's jobs that have answered, in order, with what came of them, to be analysed again.

        Args:
            run: id.
            stage: calibration, proposal, optimisation or final; None for all.

        Raises:
            LedgerError: if some are damaged.
        """
        for job in self.jobs(self.record(run).id, states=("done",)):
            if stage in (None, job.stage):
                yield job, self.answer(job)

    def asked(self, job: Job) -> list[np.ndarray]:
        """Return the (K, P) points of each PUB of a job."""
        stored = self._db.execute("SELECT asked FROM jobs WHERE number = ?", (job.number,)).fetchone()["asked"]
        return unpack_points(stored)

    # Templates

    def template(self, run: str, digest: str) -> QuantumCircuit | None:
        """Return a transpiled circuit of a run, or None if it was never stored."""
        row = self._db.execute("SELECT circuit FROM templates WHERE run = ? AND digest = ?", (run, digest)).fetchone()
        return None if row is None else qpy.load(io.BytesIO(row["circuit"]))[0]

    def keep_template(self, run: str, digest: str, circuit: QuantumCircuit) -> None:
        """Store a transpiled circuit, so that a run that is resumed sends the same."""
        buffer = io.BytesIO()
        qpy.dump(circuit, buffer)
        self._db.execute("INSERT OR IGNORE INTO templates VALUES (?, ?, ?)", (run, digest, buffer.getvalue()))
