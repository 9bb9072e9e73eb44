"""Spending a budget through a channel: jobs are in the ledger before they are sent, none is paid twice."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from qiskit import QuantumCircuit
from qiskit.primitives.containers.observables_array import ObservablesArray

from qiskit_metainit.budget import ShotBudget
from qiskit_metainit.deployment.channels.channel import (
    Answer,
    Busy,
    Channel,
    JobFailed,
    Refused,
    Request,
    Unclear,
    Unreachable,
)
from qiskit_metainit.deployment.channels.digests import Digests, digest_of
from qiskit_metainit.deployment.channels.estimates import observable_terms
from qiskit_metainit.deployment.spending.ledger import Ledger, LedgerError
from qiskit_metainit.deployment.spending.records import Job, pack_points

_ATTEMPTS = 4  # of a job that fails on the service, or whose submissions stay unconfirmed
LEAST = 4
"""A job is shrunk to a fourth of its shots at most: with fewer its noise would mislead more than it tells."""
DOUBT = 2.0  # times the estimate a job may take, as ``Timing.interval`` has it


class BudgetSpent(Exception):  # noqa: N818 it ends a run as planned
    """The budget does not pay for the next job; the message names the limit."""


class RunInterruptedError(RuntimeError):
    """A run that cannot go on now. Everything it was given is stored; the message says how to resume it."""


@dataclass(frozen=True)
class Reserve:
    """What a stage leaves for those after it."""

    shots: int = 0
    """Shots."""
    jobs: int = 0
    """Jobs."""
    qpu_seconds: float = 0.0
    """By estimate."""


@final
class Spender:
    """Runs each job of a run exactly once, from the channel or, if it has answered before, from the ledger.

    A job is written down with its tag before it is sent; what it may cost is reserved in the same transaction. After a
    crash or a lost answer the service is asked for the tag: the oldest job found is adopted, others are cancelled and
    booked if they ran. Where none is found the reservation stays until the budget is needed or the run ends, and the
    service has been asked again. Two things are beyond this: a job that the service lists only after that, and one that
    the service itself runs twice when nothing but the last reservation was left; the second is at least booked.

    Args:
        channel: runs the jobs.
        ledger: keeps them.
        run: id of the run.
        budget: hard.
        seed: of a simulator's shot noise; each job has its own from it.
        check: raises for circuits and (K, P) points that the backend would refuse; called before anything is sent.
        seconds: QPU seconds that (jobs, shots) may take; needed if the budget limits them.
        patience: seconds an outage may last before ``RunInterruptedError``.
        grace: seconds a service's list of jobs may lag behind its submissions.

    Attributes:
        sequence: jobs asked for so far, which is the next one's place in the run.
        shots: of the jobs that have answered so far.
    """

    def __init__(
        self,
        channel: Channel,
        ledger: Ledger,
        run: str,
        budget: ShotBudget,
        *,
        seed: int,
        check: Callable[[QuantumCircuit, np.ndarray], None] = lambda circuit, points: None,
        seconds: Callable[[int, int], float] = lambda jobs, shots: 0.0,
        patience: float = 600.0,
        grace: float = 20.0,
    ) -> None:
        self.channel = channel
        self.ledger = ledger
        self.run_id = run
        self.budget = budget
        self._seed = seed
        self.seconds = seconds
        self._check = check
        self._patience = patience
        self._grace = grace
        self._stage, self._reserved = "proposal", Reserve()
        self.sequence = self.shots = 0
        self._digests = Digests()

    def ask(
        self,
        pubs: Sequence[tuple[QuantumCircuit, np.ndarray]],
        shots: int,
        observables: Sequence[ObservablesArray] | None = None,
    ) -> Answer:
        """Run a job and wait for it.

        Args:
            pubs: as ``Request`` has them.
            shots: of every circuit evaluation.
            observables: as ``Request`` has them, or None for outcomes.

        Raises:
            BudgetSpent: if the budget does not pay for it, nor for a fourth of its shots.
            RunInterruptedError: if the service is out of reach beyond the patience, or fails the job repeatedly.
            ChannelError: if the service refuses the job.
            LedgerError: if the run is a replay and asks for something else than the first time.
        """
        request = Request(
            pubs=tuple(pubs),
            shots=shots,
            seed=int.from_bytes(digest_of([self._seed, self.sequence])[:4]) >> 1,
            observables=None if observables is None else tuple(observables),
        )
        answer = self._answer(request)
        self.sequence += 1
        return answer

    def most_seconds(self, shots: int) -> float:
        """Return the QPU seconds that a job of so many shots may take, from above."""
        return DOUBT * self.seconds(1, shots)

    def enter(self, stage: str, reserve: Reserve) -> None:
        """Begin a stage ("proposal", "optimisation", "final"), under which jobs are booked, and what it must leave."""
        self._stage, self._reserved = stage, reserve

    def skip(self, jobs: int) -> None:
        """Go on after jobs whose answers are not needed again."""
        done = self.ledger.jobs(self.run_id, states=("done",))
        self.shots += sum(job.spent for job in done if self.sequence <= job.sequence < jobs)
        self.sequence = max(self.sequence, jobs)

    def reconcile(self) -> None:
        """Ask the service again for jobs whose submission was never confirmed; book what ran, release the rest.

        Raises:
            RunInterruptedError: if the service is out of reach.
        """
        for job in self.ledger.jobs(self.run_id, states=("doubtful",)):
            while not (found := self._find(job)) and time.time() < job.sent + self._grace:
                time.sleep(min(0.5, self._grace / 10))
            self._dispose(job, found, "found after the job had been sent anew")
            self.ledger.settle(job, "released", spent=0, seconds=0.0)

    def _answer(self, request: Request) -> Answer:
        digest = self._digest(request)
        if (reason := self._stops().get(str(self.sequence))) is not None:
            raise self._spent(reason)  # where the budget ended it the first time it ends it again
        known = self.ledger.jobs(self.run_id, self.sequence)
        if any(job.digest != digest for job in known):
            raise LedgerError(
                f"Job {self.sequence} of the run {self.run_id} must be what it was, but the replay asks for another. "
                "Resume with the same versions, initializer and optimiser as at first; its results stay readable."
            )
        for job in known:
            if job.state in ("answered", "done"):
                return self._checked(job)
        failures = sum(job.state == "lost" for job in known)
        unconfirmed = 0
        sent = next((job for job in known if job.state in ("posting", "submitted")), None)
        waited, pause = 0.0, 0.5
        while True:
            try:
                sent = sent or self._late()
                if sent is None:
                    job = self._reserve(request, digest)
                    job_id = self._submit(job, replace(request, shots=job.shots, max_seconds=int(job.seconds) or None))
                else:
                    job, sent = sent, None
                    job_id = job.job_id if job.job_id and self.channel.durable else self._adopt(job)
                return self._collect(job, job_id)
            except Busy as error:
                if waited + pause > self._patience:
                    raise self._interrupted(error) from error
                time.sleep(pause)
                waited, pause = waited + pause, min(2 * pause, 30.0)
            except _Anew as error:
                unconfirmed += 1
                if unconfirmed >= _ATTEMPTS:
                    raise self._interrupted(error) from error
            except JobFailed as error:
                failures += 1
                if error.cancelled or failures >= _ATTEMPTS:
                    raise self._interrupted(error) from error

    def _reserve(self, request: Request, digest: str) -> Job:
        """Write the job down as it will be sent, with fewer shots if the budget ends."""
        for circuit, points in request.pubs:
            self._check(circuit, points.reshape(math.prod(points.shape[:-1]), points.shape[-1]))
        spent = self.ledger.spent(self.run_id)
        limited = self.budget.shots is not None
        room = (self.budget.shots or 0) - spent.shots - self._reserved.shots
        if limited and self.channel.cost(request) > room:
            if self._released():
                return self._reserve(request, digest)
            shots = most(lambda shots: self.channel.cost(replace(request, shots=shots)), room, request.shots)
            if shots * LEAST < request.shots:
                raise self._spent(f"the budget of {self.budget.shots} shots")
            request = replace(request, shots=shots)
        if self.budget.jobs is not None and spent.jobs + 1 + self._reserved.jobs > self.budget.jobs:
            if self._released():
                return self._reserve(request, digest)
            raise self._spent(f"the budget of {self.budget.jobs} jobs")
        seconds = 0.0
        if self.budget.qpu_seconds is not None and not self.channel.free:
            left = self.budget.qpu_seconds - spent.qpu_seconds - self._reserved.qpu_seconds
            if max(self.most_seconds(self.channel.cost(request)), 1.0) > left:  # or it may be ended, and paid for
                if self._released():
                    return self._reserve(request, digest)
                raise self._spent(f"the budget of {self.budget.qpu_seconds:g} QPU seconds")
            seconds = float(int(left))  # the service ends the job there, so it is what it may cost
        job = self.ledger.reserve(
            self.run_id,
            self.sequence,
            digest=digest,
            stage=self._stage,
            evaluations=request.evaluations,
            shots=request.shots,
            cost=self.channel.cost(request),
            seconds=seconds,
            asked=pack_points([points for _, points in request.pubs]),
            budget=self.budget,
        )
        if job is None:  # something else has written into the run meanwhile
            raise self._spent("its budget")
        return job

    def _submit(self, job: Job, request: Request) -> str:
        try:
            job_id = self.channel.submit(request, job.tag)
        except (Busy, Refused) as error:
            self.ledger.settle(job, "released", spent=0, seconds=0.0, note=str(error))
            raise
        except Unclear:
            return self._adopt(job)
        self.ledger.settle(job, "submitted", job_id=job_id)
        return job_id

    def _collect(self, job: Job, job_id: str) -> Answer:
        try:
            answer = self.channel.collect(job_id)
        except Unreachable as error:
            raise self._interrupted(error) from error
        except JobFailed as error:
            self._sweep(job, job_id)
            # The shots reserved are booked if it ran; if not, it was accepted all the same, and counts as a job.
            spent, seconds = (None, error.seconds) if error.ran else (0, error.seconds or 0.0)
            self.ledger.settle(job, "lost", spent=spent, seconds=seconds, note=str(error))
            raise
        taken = job.spent if answer.estimates else answer.outcomes  # what estimates took is what they were to cost
        self.ledger.store(job, answer, spent=taken, seconds=self._charge(job) if answer.seconds is None else None)
        return self._checked(self.ledger.job(job.number))

    def _checked(self, job: Job) -> Answer:
        """Return a stored answer, after the service has been asked for other jobs with its tag."""
        if job.state == "answered":
            self._sweep(job, job.job_id)
            self.ledger.settle(job, "done")
        self.shots += job.spent
        return self.ledger.answer(job)

    def _adopt(self, job: Job) -> str:
        """Return the id of a job that may have been sent, or settle that it cannot be found and raise ``_Anew``."""
        if not self.channel.durable:
            if self.channel.free:
                self.ledger.settle(job, "released", spent=0, seconds=0.0, note="ended with its process")
            else:
                self.ledger.settle(job, "lost", note="ended with its process; its shots are booked")
            raise _Anew("A job ended with its process.")
        end = max(time.time(), job.sent) + self._grace
        while not (found := self._find(job)):
            if time.time() >= end:
                self.ledger.settle(job, "doubtful", note="its submission was not confirmed")
                raise _Anew("The service does not confirm what it is sent.")
            time.sleep(min(0.5, self._grace / 10))
        self.ledger.settle(job, "submitted", job_id=found[0])
        self._dispose(job, found[1:], "the service has it twice")
        return found[0]

    def _late(self) -> Job | None:
        """Return a submission of the next job that had not been found and is now."""
        doubtful = self.ledger.jobs(self.run_id, self.sequence, states=("doubtful",))
        return next((job for job in doubtful if self._find(job)), None)

    def _sweep(self, job: Job, job_id: str | None) -> None:
        """Dispose of what else the service has with a job's tag."""
        if self.channel.durable:
            self._dispose(job, [other for other in self._find(job) if other != job_id], "the service has it twice")

    def _dispose(self, job: Job, job_ids: list[str], note: str) -> None:
        for job_id in job_ids:
            try:
                unpaid = self.channel.cancel(job_id)
            except Unreachable as error:
                raise self._interrupted(error) from error
            if not unpaid:
                self.ledger.duplicate(job, job_id, spent=job.spent, seconds=self._charge(job), note=note)

    def _charge(self, job: Job) -> float:
        """Return the QPU seconds to book where the service does not tell: of its copy, or from above by the model."""
        if job.state in ("answered", "done"):
            return job.seconds
        return min(job.seconds, self.most_seconds(job.spent))

    def _find(self, job: Job) -> list[str]:
        try:
            return list(self.channel.find(job.tag))
        except Unreachable as error:
            raise self._interrupted(error) from error

    def _released(self) -> bool:
        """Return whether asking again has released anything."""
        before = self.ledger.spent(self.run_id)
        self.reconcile()
        return self.ledger.spent(self.run_id) != before

    def _spent(self, reason: str) -> BudgetSpent:
        stops, place = self._stops(), str(self.sequence)
        if place not in stops:
            self.ledger.note(self.run_id, stops={**stops, place: reason})
        self.sequence += 1  # what is asked for instead is another job
        return BudgetSpent(reason)

    def _stops(self) -> dict[str, str]:
        """Return where in the run the budget did not pay for a job, and why."""
        return dict(self.ledger.record(self.run_id).notes.get("stops", {}))

    def _interrupted(self, error: Exception) -> RunInterruptedError:
        return RunInterruptedError(
            f"The run {self.run_id} cannot go on now: {error} All that was received is stored; go on with "
            f"`metainit resume {self.run_id}` or Deployment.resume({self.run_id!r})."
        )

    def _digest(self, request: Request) -> str:
        parts: list[object] = []
        for circuit, points in request.pubs:
            parts += [self._digests(circuit), points.tobytes()]
        for found in request.observables or ():
            parts += [found.shape, list(observable_terms(found))]
        return digest_of([self.run_id, self.sequence, request.shots, *parts]).hex()


class _Anew(Exception):  # noqa: N818 the job is to be written down and sent again
    pass


def most(cost: Callable[[int], int], room: int, limit: int) -> int:
    """Return the most shots up to a limit, of a circuit evaluation each, whose cost there is room for; 0 for none."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if cost(middle) <= room else (low, middle - 1)
    return low
