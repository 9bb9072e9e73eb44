"""The Channel to IBM Quantum: the only module that runs jobs with the qiskit-ibm-runtime client.

Every submission is one request. The client repeats those that end with a status of 5xx, and if the first one had been
carried out, two jobs are paid for; so its own repeats are off while a job is sent, and what became of the request is
seen here rather than guessed from the client's exceptions.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, TypeVar, final

from qiskit.providers import BackendV2

from qiskit_metainit.deployment.channels import estimates, outcomes
from qiskit_metainit.deployment.channels.channel import (
    Answer,
    Busy,
    Channel,
    ChannelError,
    JobFailed,
    Refused,
    Request,
    Unclear,
    Unreachable,
)
from qiskit_metainit.deployment.channels.client import (
    Post,
    from_service,
    lasting,
    named,
    never_connected,
    one_post,
    status_of,
    text,
    usage_of,
)

Mode: TypeAlias = Literal["job", "batch", "session"]
_T = TypeVar("_T")

TAG = "qiskit-metainit"
"""On every job, beside its own tag."""
_FIND = 100
"""Jobs of one tag looked up at most: far more than can exist, as each is sent once an attempt."""


@final
class RuntimeChannel(Channel):
    """Jobs of one backend of IBM Quantum, in job, batch or session mode.

    Attributes:
        durable: True. Jobs outlive this process and are found by their tags.
        free: False. Shots are paid for.
        patience: seconds of an outage that ``find``, ``collect`` and ``cancel`` wait through.
        opened: called with the id of a batch or session that was opened, before a job is sent in it.

    Args:
        backend: one of ``QiskitRuntimeService().backend(...)``.
        mode: "job": every job queues by itself. "batch": in one batch. "session": in one dedicated session, which the
            Open plan does not have and which is charged by the wall clock.
        options: the client's own ``SamplerOptions`` (twirling, dynamical decoupling, tags) or a dict of them, such as
            ``record`` gives; shots come from the requests. With ``environment.private`` outcomes can be read once.
        estimator: the client's own ``EstimatorOptions`` or a dict of them, such as ``{"resilience_level": 1}``: a run's
            energies are then expectation values by its Estimator, with its mitigation of errors, whose circuits are
            part of what a job costs. By default they are averages of outcomes.
        session_id: of a batch or session to go on with; where it has ended, a new one opens.
        patience: see above.

    Raises:
        ValueError: if the backend is not one of the service, the mode is unknown, or the options are none.
    """

    durable = True
    free = False

    def __init__(
        self,
        backend: BackendV2,
        *,
        mode: Mode = "job",
        options: Any = None,
        estimator: Any = None,
        session_id: str | None = None,
        patience: float = 600.0,
    ) -> None:
        from qiskit_ibm_runtime import IBMBackend

        if not isinstance(backend, IBMBackend):
            raise ValueError(
                f"A backend of IBM Quantum is needed, but {type(backend).__name__} came. "
                "Take it from QiskitRuntimeService().backend(...), or use LocalChannel."
            )
        if mode not in ("job", "batch", "session"):
            raise ValueError(f"A mode of 'job', 'batch' or 'session' is needed, but {mode!r} came.")
        if session_id is not None and mode == "job":
            raise ValueError("A session_id goes with mode='batch' or 'session', but mode='job' came.")
        self.patience = patience
        self.opened: Callable[[str], object] = lambda session_id: None
        self._backend: Any = backend
        self._service: Any = backend.service
        self._mode = mode
        self._session: Any = None
        self._session_id = session_id
        self._options = outcomes.sampler(backend, options).options
        self._mitigation = None if estimator is None else estimates.Mitigation(estimator, backend)
        self.estimates = self._mitigation is not None

    @property
    def session_id(self) -> str | None:
        """Id of the batch or session, None before the first job and in job mode."""
        return self._session_id

    def rejoin(self, session_id: str) -> None:
        """Go on with a batch or session of an earlier process; where it has ended, a new one opens."""
        if self._mode != "job" and self._session_id is None:
            self._session_id = session_id

    def record(self) -> dict[str, Any]:
        """Return what a run's record says of this channel, as JSON; nothing of the account is in it."""
        from qiskit_ibm_runtime import __version__

        options, chosen = outcomes.recorded(self._options)
        found = {"backend": self._backend.name, "mode": self._mode, "session_id": self._session_id, "chosen": chosen}
        found |= {"options": options, "client": f"qiskit-ibm-runtime {__version__}"}
        return found if self._mitigation is None else found | {"estimator": self._mitigation.record()}

    def cost(self, request: Request) -> int:
        """Return how many shots a request really takes.

        Twirling takes as many in each of its randomizations, so it may round up: outcomes then have more shots than
        the request. Without twirling and mitigation it is ``request.total_shots``.
        """
        if request.observables is not None:
            return self._needs_estimator().cost(request)
        return request.evaluations * outcomes.shots_of(self._options.twirling, request.shots)

    def submit(self, request: Request, tag: str) -> str:
        """Send a job in one request and return its id.

        Raises:
            Refused: certainly not accepted, and never will be as it is.
            Busy: certainly not accepted; later it may be.
            Unclear: it may have been accepted or not; ``find`` tells.
        """
        with one_post(self._backend) as post:
            try:
                primitive = self._primitive(request)
                environment = primitive.options.environment
                own = environment.job_tags if isinstance(environment.job_tags, list) else []
                environment.job_tags = [*own, tag, TAG]
                if request.max_seconds is not None:
                    own_limit = primitive.options.max_execution_time
                    limits = [request.max_seconds, *([own_limit] if isinstance(own_limit, int) else [])]
                    primitive.options.max_execution_time = min(limits)
                if request.observables is not None:
                    return str(primitive.run(estimates.pubs(request)).job_id())
                return str(primitive.run(outcomes.pubs(request), shots=request.shots).job_id())
            except Exception as error:
                if post.job_id is not None:  # it was accepted, whatever failed afterwards
                    return post.job_id
                failure = error if isinstance(error, ChannelError) else self._why(error, post)
                if failure is None:
                    raise
                raise failure from error

    def find(self, tag: str) -> Sequence[str]:
        """Return the ids of the jobs with a tag, the oldest first. The service may list a job some time after it came.

        Raises:
            Unreachable: if the service does not answer.
        """
        instance = getattr(self._backend, "_instance", None)
        jobs = self._patiently(
            lambda: self._service.jobs(limit=_FIND, job_tags=[tag], instance=instance, descending=False)
        )
        return [str(job.job_id()) for job in jobs]

    def collect(self, job_id: str) -> Answer:
        """Wait for a job, however long it queues, and return its outcomes.

        ``Answer.seconds`` is None if the service did not tell.

        Raises:
            JobFailed: if it ended without any.
            Unreachable: if the service does not answer; the job may be collected later.
        """
        from qiskit_ibm_runtime.exceptions import (
            RuntimeInvalidStateError,
            RuntimeJobFailureError,
            RuntimeJobMaxTimeoutError,
        )

        job = self._patiently(lambda: self._service.job(job_id))
        wait = 0.1
        while not self._patiently(job.in_final_state):
            time.sleep(wait)
            wait = min(1.2 * wait, 5.0)
        try:
            with estimates.quiet():
                result = self._patiently(job.result)
        except (RuntimeJobFailureError, RuntimeJobMaxTimeoutError, RuntimeInvalidStateError) as error:
            seconds, started = usage_of(job)
            ran = True if started is None else started or bool(seconds)
            raise JobFailed(
                f"Job {job_id} gave no outcomes: {text(error)}",
                seconds=seconds,
                ran=ran,
                cancelled=isinstance(error, RuntimeInvalidStateError),
            ) from error
        estimated = estimates.estimates(result) if hasattr(result[0].data, "evs") else ()
        return Answer(() if estimated else outcomes.bits(result), usage_of(job)[0], estimated)

    def cancel(self, job_id: str) -> bool:
        """Cancel a job; return whether it ended without having run, so that nothing is charged.

        Raises:
            Unreachable: if the service does not answer.
        """
        from qiskit_ibm_runtime.exceptions import RuntimeInvalidStateError

        job = self._patiently(lambda: self._service.job(job_id))
        with contextlib.suppress(RuntimeInvalidStateError):  # it had ended
            self._patiently(job.cancel)
        job = self._patiently(lambda: self._service.job(job_id))  # the old one says "cancelled" without asking
        until, wait = time.monotonic() + self.patience, 0.1
        while not self._patiently(job.in_final_state) and time.monotonic() < until:
            time.sleep(wait)
            wait = min(1.2 * wait, 5.0)
        if not self._patiently(job.cancelled):
            return False
        seconds, started = usage_of(job)
        return started is False and not seconds

    def close(self) -> None:
        """Close the batch or session, if one is open: its jobs run to their end, and no more are taken."""
        if self._session is None and self._session_id is not None:
            self._session = self._patiently(self._earlier)
        if self._session is not None:
            self._patiently(self._session.close)
        self._session = None

    def _primitive(self, request: Request) -> Any:
        if request.observables is None:
            return outcomes.sampler(self._target(), self._options)
        return self._needs_estimator().estimator(self._target(), request.shots)

    def _needs_estimator(self) -> estimates.Mitigation:
        if self._mitigation is None:
            raise Refused("The client's Estimator is needed for expectation values: RuntimeChannel(..., estimator={}).")
        return self._mitigation

    def _kind(self) -> Any:
        from qiskit_ibm_runtime import Batch, Session

        return Batch if self._mode == "batch" else Session

    def _earlier(self) -> Any:
        """Return the batch or session of the id, which may have ended."""
        fractional = bool(getattr(self._backend.options, "use_fractional_gates", False))
        return self._kind().from_id(self._session_id, self._service, use_fractional_gates=fractional)

    def _target(self) -> Any:
        """Return what a sampler runs on: the backend, or a batch or session on it, opened where there is none."""
        if self._mode == "job":
            return self._backend
        if self._session is None and self._session_id is not None:
            old = self._earlier()
            self._session = old if _accepts(old) else None
        if self._session is None:
            try:
                self._session = self._kind()(backend=self._backend)
            except Exception as error:
                if self._mode == "session" and status_of(error) in (400, 403):
                    raise Refused(
                        f"A plan with sessions is needed, but the service answered: {text(error)} "
                        "Use mode='batch' or mode='job': the Open plan has no sessions."
                    ) from error
                raise
            self._session_id = str(self._session.session_id)
            self.opened(self._session_id)
        return self._session

    def _why(self, error: Exception, post: Post) -> ChannelError | None:
        """Return what an exception of a submission means, None if it is nothing of the service's."""
        if post.watched and not post.sent:
            return self._unsent(error)
        if post.watched and never_connected(post.error):
            return Busy(f"The service could not be reached: {text(error)}")
        status = post.status if post.watched else status_of(error)
        if status == 429:
            return Busy(f"The service takes no more jobs for now: {text(error)}")
        if lasting(status):
            return self._refused(error, status)
        if post.watched or status is not None or from_service(error) or named(error, "QiskitBackendNotFoundError"):
            return Unclear(f"Whether the job was accepted is not known: {text(error)}")
        return _client_side(error)

    def _unsent(self, error: Exception) -> ChannelError | None:
        status = status_of(error)
        if named(error, "QiskitBackendNotFoundError") and status is None:  # what the client makes of any outage
            try:
                self._backend.status()
            except Exception as other:
                error, status = other, status_of(other)
            else:
                return Busy(f"The service did not list {self._backend.name}: {text(error)}")
        if lasting(status):
            return self._refused(error, status)
        if status is not None or from_service(error):
            return Busy(f"The service could not be reached: {text(error)}")
        return _client_side(error)

    def _refused(self, error: Exception, status: int | None) -> ChannelError:
        if self._session is not None and _ended(self._session):
            self._session = self._session_id = None
            return Busy(f"The {self._mode} has ended; the next attempt opens a new one. {text(error)}")
        advice = {
            400: "Check the circuits, the options and the shots against the backend's limits.",
            401: "Save a valid API key with QiskitRuntimeService.save_account(..., overwrite=True).",
            403: "Use an instance that may run on this backend.",
            404: "Check that the backend and the instance still exist.",
        }.get(status or 0, "Check the job against the service's limits.")
        return Refused(f"A job that the service takes is needed, but it answered {status}: {text(error)} {advice}")

    def _patiently(self, call: Callable[[], _T]) -> _T:
        """Return the answer of a call that may be repeated, waiting through outages."""
        since, wait = time.monotonic(), 0.2
        while True:
            try:
                return call()
            except Exception as error:
                status = status_of(error)
                if status == 409 or not (from_service(error) or status is not None):  # 409: the job has ended
                    raise
                if lasting(status) or named(error, "RuntimeJobNotFound") or time.monotonic() - since >= self.patience:
                    raise Unreachable(
                        f"An answer of the service is needed, but this came: {text(error)} "
                        "Nothing is lost: resume later, with the account and instance that the jobs were sent with."
                    ) from error
            time.sleep(min(wait, max(0.0, since + self.patience - time.monotonic())))
            wait = min(2 * wait, 30.0)


def _client_side(error: Exception) -> ChannelError | None:
    if isinstance(error, ValueError) or named(error, "QiskitError"):
        return Refused(f"The client did not take the job: {text(error)}")
    return None


def _ended(session: Any) -> bool:
    try:
        return not _accepts(session)
    except Exception:  # not known, so what was refused is taken to be the job
        return False


def _accepts(session: Any) -> bool:
    details = session.details() or {}
    return details.get("state") != "closed" and details.get("accepting_jobs") is not False
