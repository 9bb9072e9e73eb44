"""What an account of IBM Quantum has: its plan and the time left, its backends and whether they run jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from qiskit.providers import BackendV2

from qiskit_metainit.deployment.channels.channel import Unreachable
from qiskit_metainit.deployment.channels.client import named, text


@dataclass(frozen=True)
class Account:
    """What an instance of the service has left."""

    plan: str
    """Its name in lower case, such as "open", or "unknown"."""
    consumed_seconds: float | None
    """QPU seconds used in the current period, None if the service does not tell."""
    remaining_seconds: float | None
    """QPU seconds left, None without a limit."""


@dataclass(frozen=True)
class Availability:
    """Whether a backend takes and runs jobs."""

    operational: bool
    message: str
    """The service's own word: "active", "internal", "maintenance"."""
    queue: int
    """Jobs waiting."""

    @property
    def active(self) -> bool:
        """Whether jobs sent now will run: a paused backend takes them and lets them wait."""
        return self.operational and self.message == "active"


def account(backend: BackendV2) -> Account:
    """Return what the instance of a backend of the service has left.

    Raises:
        Unreachable: if the service does not answer.
    """
    service = cast(Any, backend).service
    try:
        usage = service.usage()
        crn = getattr(backend, "_instance", None) or service.active_instance()
        plans = [found["plan"] for found in service.instances() if found["crn"] == crn]
    except Exception as error:
        raise Unreachable(f"The account's usage is needed, but this came: {text(error)} Try again later.") from error
    remaining, consumed = usage.get("usage_remaining_seconds"), usage.get("usage_consumed_seconds")
    return Account(plans[0] if plans else "unknown", consumed, remaining)


def availability(backend: BackendV2) -> Availability:
    """Return whether a backend of the service runs jobs, and how many wait.

    Raises:
        Unreachable: if the service does not answer.
    """
    try:
        status = cast(Any, backend).status()
    except Exception as error:
        raise Unreachable(f"The backend's status is needed, but this came: {text(error)} Try again later.") from error
    return Availability(bool(status.operational), str(status.status_msg), int(status.pending_jobs))


def seconds_left(backend: BackendV2, *, session: bool) -> float | None:
    """Return the QPU seconds that a run may take now as far as the account goes, None without a limit.

    Args:
        backend: of the service.
        session: whether the run opens a session.

    Raises:
        ValueError: if the backend is paused, the account has nothing left, or its plan no sessions.
        Unreachable: if the service does not answer.
    """
    state, known = availability(backend), account(backend)
    if not state.active:
        raise ValueError(
            f"A backend that runs jobs is needed, but {backend.name} is {state.message}. Nothing was submitted. "
            "Try again later, or take another one."
        )
    if session and known.plan == "open":
        raise ValueError("A plan with sessions is needed, but this is the Open plan. Take mode='batch' or 'job'.")
    if known.remaining_seconds is not None and known.remaining_seconds < 1:
        raise ValueError("QPU time is needed, but the account has none left in this period. Nothing was submitted.")
    return known.remaining_seconds


def outlook(backend: BackendV2, *, session: bool) -> tuple[float | None, tuple[str, ...]]:
    """Return the QPU seconds left on the account, None without a limit, and what to think about before a run.

    Args:
        backend: of the service.
        session: whether the run opens a session.

    Raises:
        Unreachable: if the service does not answer.
    """
    known, state = account(backend), availability(backend)
    told = []
    if not state.active:
        told.append(f"{backend.name} is {state.message} now: jobs would wait. {state.queue} are waiting.")
    if session and known.plan == "open":
        told.append("The Open plan has no sessions: take mode='job' or mode='batch'.")
    elif session:
        told.append("A session is charged by the wall clock, from its first job on until it is closed.")
    return known.remaining_seconds, tuple(told)


def service_backend(name: str) -> BackendV2:
    """Return a backend of the account that is saved on this machine.

    Raises:
        ValueError: if no account is saved, or it has no such backend.
    """
    from qiskit_ibm_runtime import QiskitRuntimeService

    try:
        return cast(BackendV2, QiskitRuntimeService().backend(name))
    except Exception as error:
        if named(error, "AccountNotFoundError"):
            raise ValueError(
                f"A saved account of IBM Quantum is needed for {name!r}, but there is none on this machine. Call "
                "QiskitRuntimeService.save_account(token=..., instance=...) of qiskit_ibm_runtime once in Python. "
                "Simulators are aer and snapshots of devices such as fake_fez."
            ) from error
        raise ValueError(
            f"The backend {name!r} of the saved account is needed, but this came: {text(error)} "
            "QiskitRuntimeService().backends() lists those it has."
        ) from error
