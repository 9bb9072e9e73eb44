"""Jobs run in processes of their own, with their progress."""

from __future__ import annotations

import multiprocessing
import queue
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any

Job = Callable[[Callable[[int, int], None]], Any]
"""Called with a function to report (done, of) to; for another process it must be picklable, as its result."""

_REPORT_SECONDS = 0.2  # least time between two reports of a job


def run_jobs(
    jobs: Mapping[str, Job], workers: int, progress: Callable[[str, int, int], None]
) -> Iterator[tuple[str, Any]]:
    """Yield (name, result) of every job as it finishes.

    Args:
        jobs: by name.
        workers: processes, each with one thread for torch; with one the jobs run here, one after the other.
        progress: called with (name, done, of), in this process.

    Raises:
        Exception: what a job raises. The others are told to end: their next report raises a KeyboardInterrupt, as it
            does when this process is interrupted.
    """
    if workers < 1:
        raise ValueError(f"At least one worker is needed, but {workers} came.")
    if workers == 1 or len(jobs) < 2:
        for name, job in jobs.items():
            yield name, job(lambda done, of, name=name: progress(name, done, of))  # type: ignore[misc]
        return
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    reports, ended = context.Queue(), context.Event()
    with ProcessPoolExecutor(
        min(workers, len(jobs)), mp_context=context, initializer=_start, initargs=(reports, ended)
    ) as pool:
        futures = {pool.submit(_run, name, job): name for name, job in jobs.items()}
        try:
            while futures:
                done, _ = wait(futures, timeout=_REPORT_SECONDS, return_when=FIRST_COMPLETED)
                _pass_on(reports, progress)
                for future in done:
                    yield futures.pop(future), future.result()
        finally:
            ended.set()
            _cancel(futures)


def _cancel(futures: Mapping[Future[Any], str]) -> None:
    for future in futures:
        future.cancel()


def _pass_on(reports: Any, progress: Callable[[str, int, int], None]) -> None:
    while True:
        try:
            progress(*reports.get_nowait())
        except queue.Empty:
            return


_channel: Any = None  # of this worker process
_ended: Any = None


def _start(reports: Any, ended: Any) -> None:
    """Make this process a worker: it is ended by its parent, not by Ctrl-C, which reaches both."""
    import torch

    global _channel, _ended
    _channel, _ended = reports, ended
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)


def _run(name: str, job: Job) -> Any:
    last = 0.0

    def report(done: int, of: int) -> None:
        nonlocal last
        if _ended.is_set():
            raise KeyboardInterrupt
        if done >= of or time.monotonic() - last > _REPORT_SECONDS:
            last = time.monotonic()
            _channel.put((name, done, of))

    return job(report)
