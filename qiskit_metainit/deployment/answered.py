"""A job in front of another one, its result put into the form that was asked for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, final

from qiskit.primitives import BasePrimitiveJob, PrimitiveResult


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
