"""What the qiskit-ibm-runtime client does with a request, and what its exceptions mean."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

_USAGE_TRIES = 4
"""Times a finished job's usage is asked for, as it can be pending for a moment."""
_SENDING = threading.Lock()
"""One submission at a time in a process, as channels of one service share its HTTP session."""


class Post:
    """What became of the request that sent a job; in front of the client's HTTP adapter for the time of a submission.

    Attributes:
        watched: whether the client's requests go through here, as seen by one that did.
        sent: whether the request of a job was begun.
        status: of its answer, if there was one.
        job_id: of the job that was accepted.
        error: instead of an answer.
    """

    def __init__(self, adapter: Any) -> None:
        self._adapter = adapter
        self._thread = threading.get_ident()
        self.watched = False
        self.sent = False
        self.status: int | None = None
        self.job_id: str | None = None
        self.error: Exception | None = None

    def send(self, request: Any, **options: Any) -> Any:
        """Pass a request on; that of a job once, over a connection of its own, as one that was idle may be dead."""
        if threading.get_ident() != self._thread:  # somebody else's
            return self._adapter.send(request, **options)
        self.watched = True
        if request.method != "POST" or not urlsplit(request.url).path.endswith("/jobs"):
            return self._adapter.send(request, **options)
        self.sent = True
        adapter = type(self._adapter)(max_retries=0)
        try:
            response = adapter.send(request, **options)
            body = response.content
        except Exception as error:
            self.error = error
            raise
        finally:
            adapter.close()
        self.status = response.status_code
        if response.ok:
            try:
                self.job_id = str(json.loads(body)["id"])
            except (ValueError, KeyError, TypeError):
                self.job_id = None  # nothing that can be followed: the job is looked up by its tag
        return response

    def close(self) -> None:
        """Close nothing: the client closes its own adapters."""


@contextmanager
def one_post(backend: Any) -> Iterator[Post]:
    """Watch the requests of this thread, and send that of a job without the client's repeats.

    The client has no option for its repeats, so its HTTP session (a ``requests.Session``, which has public hooks) is
    reached through private attributes. Without them the repeats stay on, which a look-up by tag after each submission
    makes up for, and exceptions tell what they can.
    """
    with _SENDING:
        try:
            http = backend.service._get_api_client(backend._instance)._session  # noqa: SLF001 see above
            prefix = str(http.base_url)
            post = Post(http.get_adapter(prefix))
            http.mount(prefix, post)
        except (AttributeError, TypeError):
            yield Post(None)
            return
        try:
            yield post
        finally:
            http.adapters.pop(prefix, None)


def usage_of(job: Any) -> tuple[float | None, bool | None]:
    """Return the QPU seconds charged for a job that has ended, and whether it started; None where it is not told."""
    seconds, started = None, None
    for attempt in range(_USAGE_TRIES):
        time.sleep(0.3 * attempt)
        try:
            metrics = job.metrics()
        except Exception:  # the outcomes are worth more than what they cost
            continue
        usage = metrics.get("usage") or {}
        known = (usage.get(name) for name in ("qpu_charge_time_seconds", "quantum_seconds", "seconds"))
        seconds = next((float(found) for found in known if found is not None), None)
        started = (metrics.get("timestamps") or {}).get("running") is not None
        if usage.get("status") != "pending":
            break
    return seconds, started


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def status_of(error: Exception) -> int | None:
    """Return the HTTP status behind one of the client's exceptions, which it keeps in their context only."""
    for found in _chain(error):
        if named(found, "IBMNotAuthorizedError"):
            return 401
        status = getattr(found, "status_code", None)
        if isinstance(status, int) and status > 0:
            return status
    return None


def lasting(status: int | None) -> bool:
    """Whether an HTTP status will be the same the next time: the request is at fault, not the moment."""
    return status is not None and 400 <= status < 500 and status not in (408, 429)


def named(error: BaseException, name: str) -> bool:
    """Whether an exception is of a class of that name: the client's own are not imported until it is used."""
    return any(base.__name__ == name for base in type(error).__mro__)


def from_service(error: Exception) -> bool:
    """Whether the service, or the way to it, is behind an exception."""
    return any(named(found, name) for found in _chain(error) for name in ("ApiError", "RequestException"))


def never_connected(error: Exception | None) -> bool:
    """Whether a request ended before there was a connection that it could have been sent over."""
    reasons = [error, *(getattr(found, "reason", None) for found in getattr(error, "args", ()))]
    names = ("NewConnectionError", "ConnectTimeoutError", "ProxyError")
    return any(reason is not None and named(reason, name) for reason in reasons for name in names)


def text(error: BaseException) -> str:
    """Return an exception's message as one short sentence."""
    words = " ".join(str(getattr(error, "message", None) or error).split())
    return f"{words[:400].rstrip('.')}."
