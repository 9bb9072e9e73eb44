"""A service that runs jobs and keeps its own account of shots, and a channel to it that fails where it is told to."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from qiskit.primitives import BitArray, StatevectorEstimator, StatevectorSampler

from qiskit_metainit.deployment.channels.channel import (
    Answer,
    Busy,
    Estimate,
    JobFailed,
    Refused,
    Request,
    Unclear,
    Unreachable,
)
from qiskit_metainit.deployment.channels.digests import circuit_digest
from qiskit_metainit.deployment.spending import ledger as ledger_module
from qiskit_metainit.deployment.spending import spender
from qiskit_metainit.deployment.spending.ledger import Ledger

GRACE = 20.0
"""Seconds a list of jobs may lag, as runs assume."""
OVERHEAD = 3
"""Times the shots asked for, what expectation values take: their mitigation measures more circuits."""
SUBMIT = {
    "busy": (),
    "refused": (),
    "unclear, not accepted": (),
    "unclear, accepted": (),
    "unclear, listed late": (),
    "unclear, listed too late": ("late",),
    "accepted twice": ("twice",),
    "unclear, accepted twice": ("twice",),
    "death before": (),
    "death after": (),
    "death after, listed late": (),
    "fails after shots": (),
    "fails before shots": (),
    "cancelled by an operator": (),
}
"""Faults of a submission, and what they need to be allowed."""


class Death(BaseException):
    """The process ends here."""


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1.7e9

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass(eq=False)
class BankJob:
    id: str
    tag: str
    request: Request
    fate: str
    listed: float
    starts: float
    copy: bool
    state: str = "queued"

    @property
    def sequence(self) -> int:
        return int(self.tag.split("-")[2])

    @property
    def shots(self) -> int:
        return price(self.request)

    @property
    def ran(self) -> bool:
        return self.state == "ran" and self.fate != "fails before shots"


@dataclass(eq=False)
class Bank:
    """The service: it outlives the processes that use it."""

    clock: Clock = field(default_factory=Clock)
    jobs: list[BankJob] = field(default_factory=list)

    def accept(self, tag: str, request: Request, *, fate: str, lag: float, delay: float, copy: bool = False) -> str:
        now = self.clock.now
        name = f"bank-{len(self.jobs)}"
        self.jobs.append(BankJob(name, tag, request, fate, now + lag, now + delay, copy))
        return name

    def job(self, job_id: str) -> BankJob:
        (job,) = [job for job in self.jobs if job.id == job_id]
        return job

    def turn(self, *, until: float | None = None) -> None:
        """Run what is due."""
        for job in self.jobs:
            if job.state == "queued" and job.starts <= (self.clock.now if until is None else until):
                job.state = "cancelled" if job.fate == "cancelled by an operator" else "ran"

    def taken(self, *, copies: bool = True) -> int:
        self.turn()
        return sum(job.shots for job in self.jobs if job.ran and (copies or not job.copy))


class Faults:
    """A plan of what goes wrong: at most ``count`` things, each place of ``fixed`` first, then at random."""

    def __init__(
        self,
        rng: np.random.Generator | None = None,
        *,
        count: int = 0,
        rate: float = 0.2,
        allowed: tuple[str, ...] = (),
        fixed: dict[tuple[str, int], str] | None = None,
    ) -> None:
        self.rng, self.left, self.rate = rng, count, rate
        self.submit = [name for name, needs in SUBMIT.items() if set(needs) <= set(allowed)]
        self.fixed = fixed or {}
        self.seen: Counter[str] = Counter()
        self.happened: list[str] = []

    def draw(self, place: str, kinds: list[str]) -> str:
        number = self.seen[place]
        self.seen[place] += 1
        found = self.fixed.get((place, number), "")
        if not found and self.left > 0 and self.rng is not None and self.rng.random() < self.rate:
            self.left -= 1
            found = str(self.rng.choice(kinds))
        if found:
            self.happened.append(f"{place} {number}: {found}")
        return found

    def seconds(self, most: float) -> float:
        return 0.0 if self.rng is None else float(self.rng.choice([0.0, 0.2, 1.0])) * most


class FaultyChannel:
    """The way to the bank."""

    estimates = False

    def __init__(
        self, bank: Bank, faults: Faults | None = None, *, durable: bool = True, free: bool = False, rate: float = 0.0
    ) -> None:
        self.bank, self.faults = bank, faults or Faults()
        self.durable, self.free = durable, free
        self.rate = rate  # QPU seconds a shot

    def cost(self, request: Request) -> int:
        return price(request)

    def submit(self, request: Request, tag: str) -> str:
        fault = self.faults.draw("submit", self.faults.submit)
        if fault == "busy":
            raise Busy("429")
        if fault == "refused":
            raise Refused("400")
        if fault == "unclear, not accepted":
            raise Unclear("dropped")
        if fault == "death before":
            raise Death
        lag = {"late": 0.8 * GRACE, "too late": 3 * GRACE}.get(fault.rpartition("listed ")[2], 0.0)
        fate = fault if fault.startswith(("fails", "cancelled")) else "good"
        delay = self.faults.seconds(5.0)
        found = self.bank.accept(tag, request, fate=fate, lag=lag, delay=delay)
        if "twice" in fault:
            self.bank.accept(tag, request, fate=fate, lag=lag, delay=delay + self.faults.seconds(5.0), copy=True)
        if fault.startswith("unclear"):
            raise Unclear("dropped")
        if fault.startswith("death"):
            raise Death
        return found

    def find(self, tag: str) -> list[str]:
        self._talk("find")
        self.bank.turn()
        return [job.id for job in self.bank.jobs if job.tag == tag and job.listed <= self.bank.clock.now]

    def collect(self, job_id: str) -> Answer:
        job = self.bank.job(job_id)
        self._talk("collect")
        self.bank.clock.now = max(self.bank.clock.now, job.starts)
        self.bank.turn()
        seconds = self.rate * job.shots if self.rate else None
        if seconds is not None and job.request.max_seconds is not None and seconds > job.request.max_seconds:
            raise JobFailed("1305", seconds=float(job.request.max_seconds), ran=True)
        if job.state == "cancelled":
            raise JobFailed("cancelled", seconds=0.0, ran=False, cancelled=True)
        if job.fate != "good":
            raise JobFailed(job.fate, seconds=seconds if job.ran else 0.0, ran=job.ran)
        answer = answer_to(job.request, seconds)
        if self.faults.draw("collected", ["death"]):
            raise Death
        return answer

    def cancel(self, job_id: str) -> bool:
        self._talk("cancel")
        self.bank.turn()
        job = self.bank.job(job_id)
        if job.state == "queued":
            job.state = "cancelled"
        if self.faults.draw("cancelled", ["death"]):
            raise Death
        return job.state == "cancelled"

    def record(self) -> dict[str, Any]:
        return {"mode": "bank"}

    def close(self) -> None:
        self.bank.turn()

    def _talk(self, place: str) -> None:
        fault = self.faults.draw(place, ["unreachable", "death"])
        if fault == "unreachable":
            raise Unreachable("down")
        if fault:
            raise Death


def price(request: Request) -> int:
    return request.total_shots * (1 if request.observables is None else OVERHEAD)


def answer_to(request: Request, seconds: float | None) -> Answer:
    if request.observables is None:
        return Answer(simulate(request), seconds)
    estimator = StatevectorEstimator(seed=request.seed)
    pubs = [
        (circuit, found, points) for (circuit, points), found in zip(request.pubs, request.observables, strict=True)
    ]
    results = estimator.run(pubs, precision=request.shots**-0.5).result()
    return Answer((), seconds, tuple(Estimate(found.data.evs, found.data.stds) for found in results))


def simulate(request: Request) -> tuple[BitArray, ...]:
    """Return the outcomes of a job: the same for the same job."""
    key = tuple((circuit_digest(circuit), points.shape, points.tobytes()) for circuit, points in request.pubs)
    return _simulate(_Keyed((request.seed, request.shots, key), request))


class _Keyed:
    def __init__(self, key: Any, request: Request) -> None:
        self.key, self.request = key, request

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Keyed) and self.key == other.key


@functools.lru_cache(maxsize=4096)
def _simulate(keyed: _Keyed) -> tuple[BitArray, ...]:
    request = keyed.request
    sampler = StatevectorSampler(seed=np.random.default_rng(request.seed))
    pubs = [(circuit, points) if points.shape[1] else (circuit,) for circuit, points in request.pubs]
    found = [next(iter(pub.data.values())) for pub in sampler.run(pubs, shots=request.shots).result()]
    return tuple(bits.reshape(bits.size) for bits in found)


@contextmanager
def deadly(faults: Faults, clock: Clock) -> Iterator[None]:
    """Die before or after writes of the ledger, and let time pass by the clock."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spender, "time", clock)
        patch.setattr(ledger_module, "time", clock)
        for name in ("reserve", "settle", "store", "duplicate", "note", "keep_template", "finish"):
            patch.setattr(Ledger, name, _deadly(getattr(Ledger, name), faults, name))
        yield


def _deadly(method: Any, faults: Faults, name: str) -> Any:
    inside: list[str] = []  # a write that is part of another's transaction is no place to die at

    @functools.wraps(method)
    def write(self: Ledger, *args: Any, **kwargs: Any) -> Any:
        if self._db.in_transaction or inside:
            return method(self, *args, **kwargs)
        if faults.draw(f"before {name}", ["death"]):
            raise Death
        inside.append(name)
        try:
            found = method(self, *args, **kwargs)
        finally:
            inside.pop()
        if faults.draw(f"after {name}", ["death"]):
            raise Death
        return found

    return write
