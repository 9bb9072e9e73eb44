"""A job in front of another one, its result put into the form that was asked for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, final

from qiskit.primitives import BasePrimitiveJob, PrimitiveResult
from qiskit.providers import JobStatus


def _same(name: str) -> Callable[[AnsweredJob], Any]:
    return lambda job: getattr(job.job, name)()


@final
class AnsweredJob(BasePrimitiveJob):
    """The wrapped primitive's job; its state is that job's, its result what ``collect`` makes of it, once."""

    status, done, running, cancelled, in_final_state, cancel = map(
        _same, ["status", "done", "running", "cancelled", "in_final_state", "cancel"]
    )

    def __init__(self, job: BasePrimitiveJob, collect: Callable[[], PrimitiveResult]) -> None:
        super().__init__(job.job_id())
        self.job = job
        self._collect = functools.cache(collect)  # shots count once, however often the result is read

    def result(self) -> PrimitiveResult:
        """Wait for the job and return its result."""
        return self._collect()


@final
class DoneJob(BasePrimitiveJob):
    """A job that has ended, with its result."""

    def __init__(self, result: PrimitiveResult) -> None:
        super().__init__("")
        self._result = result

    def result(self) -> PrimitiveResult:
        """Return the result."""
        return self._result

    def status(self) -> JobStatus:
        """Return that it is done."""
        return JobStatus.DONE

    def done(self) -> bool:
        """Return True."""
        return True

    def running(self) -> bool:
        """Return False."""
        return False

    def cancelled(self) -> bool:
        """Return False."""
        return False

    def in_final_state(self) -> bool:
        """Return True."""
        return True

    def cancel(self) -> None:
        """Do nothing."""
