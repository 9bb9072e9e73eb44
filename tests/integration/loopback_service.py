"""The loopback service without HTTP: its jobs, sessions, accounts and planned faults, kept in a folder."""

from __future__ import annotations

import fnmatch
import json
import secrets
import threading
import time
import traceback
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from integration.loopback_programs import BadProgram, decode, simulator


@dataclass(frozen=True)
class Fault:
    """What goes wrong with the next requests of a route."""

    route: str
    """A pattern: "POST /jobs", "GET /jobs/*", "GET /jobs/*/results", "GET *"."""
    status: int | None = None
    """Of the answer; None drops the connection instead."""
    after: bool = False
    """Whether the request was carried out before."""
    retry_after: int | None = None
    """Seconds in the Retry-After header."""
    times: int = 1


@dataclass(frozen=True)
class Outcome:
    """What becomes of the next job: where nothing is said, it runs."""

    state: str = "COMPLETED"
    """COMPLETED, FAILED or CANCELLED."""
    code: int | None = None
    reason: str = ""
    charged: bool = False
    """Whether a job without results took its shots all the same."""
    queued: float = 0.0
    """Seconds until it starts."""
    takes: float = 0.0
    """Seconds from start to end, on the wall."""


@dataclass(frozen=True)
class Settings:
    """What the service is like, at any time."""

    devices: tuple[str, ...] = ("manila",)
    plan: str = "Premium"
    limit_seconds: float | None = 36000.0
    noisy: bool = False
    paused: bool = False
    faulty_qubits: tuple[int, ...] = ()
    faulty_gates: tuple[tuple[int, int], ...] = ()
    tag_lag: float = 0.0
    """Seconds until a job is found by its tags."""
    overhead: float = 1.0
    """QPU seconds of a job without shots."""
    per_shot: float = 0.001
    """QPU seconds of a shot."""
    fault_rate: float = 0.0
    """Share of the requests about jobs that go wrong, by chance."""
    fault_seed: int = 0


@dataclass(frozen=True)
class Job:
    """A job that was accepted; times are seconds since the epoch."""

    id: str
    number: int
    program: str
    backend: str
    tags: tuple[str, ...]
    session_id: str | None
    shots: int
    evaluations: int
    limit: int | None
    created: float
    outcome: Outcome
    state: str = "QUEUED"
    reason: str = ""
    code: int | None = None
    started: float | None = None
    ended: float | None = None
    seconds: float = 0.0
    """QPU seconds charged."""
    paid: int = 0
    """Shots taken."""


class Answer(Exception):  # noqa: N818 what to say
    """An answer other than 200."""

    def __init__(self, status: int, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


class Service:
    """Jobs, sessions, faults: everything but HTTP. What it was told to keep is on disk before it answers."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings = folder, settings
        self.lock = threading.RLock()
        self.wake = threading.Condition(self.lock)
        self.faults: list[Fault] = []
        self.outcomes: list[Outcome] = []
        self.log: list[str] = []
        self.records: dict[str, Job] = {}
        self.sessions: dict[str, dict[str, Any]] = {}
        self.chance = np.random.default_rng(settings.fault_seed)
        self.closed = False
        folder.mkdir(parents=True, exist_ok=True)
        for file in folder.glob("*.job.json"):
            raw = json.loads(file.read_text())
            raw |= {"outcome": Outcome(**raw["outcome"]), "tags": tuple(raw["tags"])}
            if raw["state"] == "RUNNING":  # its process was killed: it runs again, and is charged once
                raw |= {"state": "QUEUED", "started": None}
            self.records[raw["id"]] = Job(**raw)
        for file in folder.glob("*.session.json"):
            self.sessions[file.name.split(".")[0]] = json.loads(file.read_text())
        self.worker = threading.Thread(target=self._work, daemon=True)
        self.worker.start()

    # What tests ask and plan

    def fault(self, route: str, **what: Any) -> None:
        with self.lock:
            self.faults.append(Fault(route, **what))

    def next_job(self, **what: Any) -> None:
        with self.lock:
            self.outcomes.append(Outcome(**what))

    def configure(self, **what: Any) -> None:
        with self.lock:
            self.settings = replace(self.settings, **what)
            if "fault_seed" in what or "fault_rate" in what:
                self.chance = np.random.default_rng(self.settings.fault_seed)

    def clear(self) -> None:
        """Forget planned faults and outcomes, cancel what has not ended, and be like new but for the jobs."""
        with self.lock:
            for job in self.jobs():
                if job.ended is None:
                    self.cancel(job.id)
            self.faults, self.outcomes, self.log = [], [], []
            self.settings = Settings(devices=self.settings.devices)

    def jobs(self) -> list[Job]:
        with self.lock:
            return sorted(self.records.values(), key=lambda job: job.number)

    def shots_paid(self) -> int:
        return sum(job.paid for job in self.jobs())

    def requests(self) -> list[str]:
        with self.lock:
            return list(self.log)

    # Jobs

    def submit(self, body: dict[str, Any]) -> dict[str, Any]:
        if body["backend"] not in self.settings.devices:
            raise Answer(404, f"no backend {body['backend']}", 1216)
        session = body.get("session_id")
        if session and not self.sessions.get(session, {}).get("accepting_jobs"):
            raise Answer(400, "the session is closed", 1217)
        try:
            work = decode(body["program_id"], body["params"])
            work.check(body["backend"])
            shots, evaluations, broken = work.shots, work.evaluations, None
        except BadProgram as error:
            shots = evaluations = 0
            broken = Outcome(state="FAILED", code=1517, reason=str(error))
        with self.lock:
            outcome = broken or (self.outcomes.pop(0) if self.outcomes else Outcome())
            job = Job(
                id=secrets.token_hex(10),
                number=len(self.records),
                program=body["program_id"],
                backend=body["backend"],
                tags=tuple(body.get("tags", ())),
                session_id=session,
                shots=shots,
                evaluations=evaluations,
                limit=body.get("cost"),
                created=time.time(),
                outcome=outcome,
            )
            self._write(f"{job.id}.params.json", body["params"])
            self._keep(job)
            self.wake.notify_all()
        return {"id": job.id, "backend": job.backend, "session_id": session, "private": bool(body.get("private"))}

    def cancel(self, job_id: str) -> None:
        with self.lock:
            job = self.job(job_id)
            if job.ended is not None:
                raise Answer(409, f"job {job_id} has ended", 1220)
            ran = {"seconds": self.seconds(job), "paid": job.shots} if job.started else {}
            self._keep(replace(job, state="CANCELLED", ended=time.time(), **ran))
            self.wake.notify_all()

    def job(self, job_id: str) -> Job:
        if job_id not in self.records:
            raise Answer(404, f"job {job_id} not found", 1291)
        return self.records[job_id]

    def result(self, job_id: str) -> str:
        """What a job left: its outcomes, or why it has none."""
        job = self.job(job_id)
        if job.ended is None:
            return ""
        return (self.folder / f"{job_id}.result.json").read_text() if job.state == "COMPLETED" else job.reason

    def seconds(self, job: Job) -> float:
        """QPU seconds of a job that runs to its end."""
        return self.settings.overhead + self.settings.per_shot * job.shots

    def consumed(self) -> float:
        return sum(job.seconds for job in self.jobs())

    def described(self, job: Job) -> dict[str, Any]:
        found: dict[str, Any] = {
            "id": job.id,
            "backend": job.backend,
            "state": {"status": job.state.capitalize()},
            "status": job.state.capitalize(),
            "program": {"id": job.program},
            "created": _stamp(job.created),
            "tags": list(job.tags),
            "estimated_running_time_seconds": self.seconds(job),
            "cost": job.limit,
            "private": False,
        }
        if job.reason:
            found["state"] |= {"reason": job.reason, "reason_code": job.code}
        return found | ({"session_id": job.session_id} if job.session_id else {})

    def metrics(self, job: Job) -> dict[str, Any]:
        times = {"created": job.created, "running": job.started, "finished": job.ended}
        usage = {"quantum_seconds": job.seconds, "seconds": job.seconds, "qpu_charge_time_seconds": job.seconds}
        return {
            "timestamps": {name: None if at is None else _stamp(at) for name, at in times.items()},
            "usage": usage | {"status": "pending" if job.ended is None else "complete"},
            "bss": {"seconds": job.seconds},
            "num_circuits": job.evaluations,
        }

    def listed(self, query: dict[str, list[str]]) -> dict[str, Any]:
        lag = time.time() - self.settings.tag_lag
        tags = set(query.get("tags", ()))
        found = [job for job in self.jobs() if tags <= set(job.tags) and (not tags or job.created <= lag)]
        for key, name in (("session_id", "session_id"), ("backend", "backend"), ("program", "program")):
            found = [job for job in found if getattr(job, name) == query[key][0]] if key in query else found
        if "pending" in query:
            found = [job for job in found if (job.ended is None) == (query["pending"] == ["true"])]
        found = found if query.get("sort") == ["ASC"] else found[::-1]
        offset, limit = int(query.get("offset", ["0"])[0]), int(query.get("limit", ["200"])[0])
        return {
            "jobs": [self.described(job) for job in found[offset : offset + limit]],
            "count": len(found),
            "limit": limit,
            "offset": offset,
        }

    def _work(self) -> None:
        while True:
            with self.lock:
                job = None
                while job is None:
                    if self.closed:
                        return
                    now = time.time()
                    waiting = [one for one in self.records.values() if one.state == "QUEUED"]
                    ready = [one for one in waiting if one.created + one.outcome.queued <= now]
                    job = min(ready, key=lambda one: one.number, default=None)
                    if job is None:
                        starts = [one.created + one.outcome.queued - now for one in waiting]
                        self.wake.wait(min(starts, default=None))
                job = replace(job, state="RUNNING", started=time.time())
                self._keep(job)
            ended = self._run(job)
            with self.lock:
                self.wake.wait_for(
                    lambda job=job: self.closed or self.records[job.id].ended is not None, timeout=job.outcome.takes
                )
                if self.records[job.id].ended is None and not self.closed:  # not cancelled meanwhile
                    self._keep(replace(ended, ended=time.time()))

    def _run(self, job: Job) -> Job:
        outcome, seconds = job.outcome, self.seconds(job)
        if job.limit is not None and seconds > job.limit:
            outcome, seconds = replace(outcome, state="FAILED", code=1305, charged=True), float(job.limit)
        paid = {"seconds": seconds, "paid": job.shots}
        if outcome.state != "COMPLETED":
            reason = outcome.reason or f"planned: {outcome.state.lower()}"
            started = job.started if outcome.charged or outcome.state != "CANCELLED" else None
            job = replace(job, state=outcome.state, reason=reason, code=outcome.code, started=started)
            return replace(job, **(paid if outcome.charged else {}))
        try:
            params = json.loads((self.folder / f"{job.id}.params.json").read_text())
            text = decode(job.program, params).run(simulator(job.backend, self.settings.noisy))
        except Exception:
            return replace(job, state="FAILED", reason=traceback.format_exc(), code=9999)
        (self.folder / f"{job.id}.result.json").write_text(text)
        return replace(job, state="COMPLETED", **paid)

    def _keep(self, job: Job) -> None:
        self.records[job.id] = job
        self._write(f"{job.id}.job.json", asdict(job))

    def _write(self, name: str, what: Any) -> None:
        half = self.folder / f"{name}.{threading.get_ident()}"
        half.write_text(json.dumps(what))
        half.replace(self.folder / name)  # a kill leaves the old file or the new one

    # Sessions

    def open_session(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.settings.plan == "Open" and body["mode"] == "dedicated":
            raise Answer(400, "You are not authorized to run a session when using the open plan.", 1352)
        found = {"id": secrets.token_hex(8), "backend_name": body["backend"], "mode": body["mode"], "state": "open"}
        found |= {"accepting_jobs": True, "max_ttl": body.get("max_ttl"), "elapsed_time": 0}
        self._session(found)
        return found

    def session(self, session_id: str) -> dict[str, Any]:
        if session_id not in self.sessions:
            raise Answer(404, f"session {session_id} not found", 1235)
        return self.sessions[session_id]

    def close_session(self, session_id: str) -> None:
        self._session(self.session(session_id) | {"state": "closed", "accepting_jobs": False})

    def _session(self, found: dict[str, Any]) -> None:
        self.sessions[found["id"]] = found
        self._write(f"{found['id']}.session.json", found)

    # Faults

    def planned(self, route: str) -> Fault | None:
        with self.lock:
            self.log.append(route)
            for index, fault in enumerate(self.faults):
                if fnmatch.fnmatchcase(route, fault.route):
                    left = replace(fault, times=fault.times - 1)
                    self.faults[index : index + 1] = [left] if left.times else []
                    return fault
            if "/jobs" in route and self.chance.random() < self.settings.fault_rate:
                kinds = [Fault(route, 500), Fault(route, 503), Fault(route, 429), Fault(route, 429, retry_after=0)]
                kinds += [Fault(route), Fault(route, after=True), Fault(route, 500, after=True)]
                return kinds[self.chance.integers(len(kinds))]
        return None


def _stamp(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1e6):06d}Z"
