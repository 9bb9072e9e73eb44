"""The Channel contract: where a run's jobs go, a simulator in this process or a service that keeps them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.primitives import BitArray
from qiskit.primitives.containers.observables_array import ObservablesArray


@dataclass(frozen=True, eq=False)
class Request:
    """One job: circuits as the backend runs them, with all their points, and one number of shots for all."""

    pubs: tuple[tuple[QuantumCircuit, NDArray[np.float64]], ...]
    """Transpiled, measured circuits with (K, P) radians each, ordered as ``circuit.parameters``; P may be 0."""
    shots: int
    """Of every circuit evaluation; of expectation values, in every basis before what their mitigation adds."""
    seed: int
    """Of a simulator's shot noise: the same job draws the same outcomes, whenever and wherever it runs."""
    max_seconds: int | None = None
    """QPU seconds after which the service ends the job, or None for its own limit."""
    observables: tuple[ObservablesArray, ...] | None = None
    """One array a PUB, on the backend's qubits: their expectation values are asked for instead of outcomes. The
    circuits have no measurements then, and points are of any shape (..., P) whose first axes broadcast with it."""

    @property
    def evaluations(self) -> int:
        """Circuit evaluations: a bound circuit each."""
        return sum(math.prod(points.shape[:-1]) for _, points in self.pubs)

    @property
    def total_shots(self) -> int:
        """What outcomes cost."""
        return self.evaluations * self.shots


@dataclass(frozen=True, eq=False)
class Answer:
    """A finished job's outcomes, or its expectation values."""

    bits: tuple[BitArray, ...]
    """One a PUB, of shape (K,): bit i is the i-th classical bit of the circuit's only register."""
    seconds: float | None
    """QPU seconds that were charged, or None where nothing is."""
    estimates: tuple[Estimate, ...] = ()
    """One a PUB, if expectation values were asked for; there are no bits then."""

    @property
    def outcomes(self) -> int:
        """Shots that the outcomes are of."""
        return sum(bits.num_shots * bits.size for bits in self.bits)


@dataclass(frozen=True, eq=False)
class Estimate:
    """The expectation values of one PUB, of the shape that points and observables broadcast to."""

    values: NDArray[np.float64]
    """In the observables' units."""
    errors: NDArray[np.float64]
    """Standard errors, as the estimator states them."""


class Channel(Protocol):
    """What a run needs of a backend, whoever runs it. Jobs are known by a tag that the ledger has stored before."""

    durable: bool
    """Whether jobs outlive this process, so that ``find`` can tell after a crash what was sent."""
    free: bool
    """Whether shots cost nothing (a simulator): those of a job that was lost are not booked."""
    estimates: bool
    """Whether expectation values are to be asked for, because an estimator mitigates their errors."""

    def cost(self, request: Request) -> int:
        """Return the shots a job takes: as asked for, or more where twirling rounds them up and mitigation adds some.

        Raises:
            Refused: if the job is none that could be run.
        """
        ...

    def submit(self, request: Request, tag: str) -> str:
        """Send a job, once and without any retry, and return its id.

        Raises:
            Refused: certainly not accepted, and never will be as it is.
            Busy: certainly not accepted; later it may be.
            Unclear: it may have been accepted or not; ``find`` tells.
        """
        ...

    def find(self, tag: str) -> Sequence[str]:
        """Return the ids of the jobs with a tag, the oldest first.

        Raises:
            Unreachable: if the service does not answer.
        """
        ...

    def collect(self, job_id: str) -> Answer:
        """Wait for a job and return its outcomes.

        Raises:
            JobFailed: if it ended without any.
            Unreachable: if the service does not answer; the job may be collected later.
        """
        ...

    def cancel(self, job_id: str) -> bool:
        """Cancel a job; return whether it ended without having run, so that nothing is charged."""
        ...

    def record(self) -> dict[str, Any]:
        """Return what a run's record says of how its jobs were run, as JSON; no token and no account."""
        ...

    def close(self) -> None:
        """End what is charged while it is open; a later job opens it anew."""
        ...


class ChannelError(RuntimeError):
    """Why a channel has no answer; the message is for the user."""


class Refused(ChannelError):  # noqa: N818 what happened, as the field's HTTP terms say it
    """The job was not accepted and will not be: not transpiled for the backend, no rights, an unknown instance."""


class Busy(ChannelError):  # noqa: N818
    """The job was not accepted now: too many requests, or the service was not reached at all."""


class Unclear(ChannelError):  # noqa: N818
    """The answer to a submission was lost: the job may exist."""


class Unreachable(ChannelError):  # noqa: N818
    """The service does not answer; what it has is not lost."""


class JobFailed(ChannelError):  # noqa: N818
    """A job ended without outcomes.

    Attributes:
        seconds: QPU seconds charged all the same, or None if unknown.
        ran: whether shots may have been taken.
        cancelled: whether somebody cancelled it, so that it is not sent again unasked.
    """

    def __init__(self, message: str, *, seconds: float | None, ran: bool, cancelled: bool = False) -> None:
        super().__init__(message)
        self.cancelled = cancelled
        self.seconds = seconds
        self.ran = ran
