"""Jobs run in processes of their own, with their progress."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
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
        workers: processes, each with one thread for torch; with one the jobs run here, one after the other. With more,
            a script that calls this needs ``if __name__ == "__main__":``, because each process imports it again.
        progress: called with (name, done, of), in this process.

    Raises:
        Exception: what a job raises. The others are told to end: their next report raises a KeyboardInterrupt, as it
            does when this process is interrupted.
    """
    if workers < 1:
        raise ValueError(f"At least one worker is needed, but {workers} came.")
    if workers == 1 or len(jobs) < 2:
        for name, job in jobs.items():
            yield name, job(partial(progress, name))
        return
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    reports, ended = context.Queue(), context.Event()
    with ProcessPoolExecutor(
        min(workers, len(jobs)), mp_context=context, initializer=_start, initargs=(reports, ended)
    ) as pool:
        with _uninterrupted():  # Ctrl-C reaches the workers too, and must not while they start
            futures = {pool.submit(_run, name, job): name for name, job in jobs.items()}
        try:
            while futures:
                done, _ = wait(futures, timeout=_REPORT_SECONDS, return_when=FIRST_COMPLETED)
                _pass_on(reports, progress, set(futures.values()))
                for future in sorted(done, key=_failed):  # what is finished is passed on before an error is raised
                    name = futures.pop(future)
                    result, last = future.result()
                    if last is not None:  # it may still be on its way in the queue
                        progress(name, *last)
                    yield name, result
        finally:
            ended.set()
            pool.shutdown(wait=True, cancel_futures=True)


def _failed(future: Future[Any]) -> bool:
    return future.exception() is not None


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ignore Ctrl-C for a moment; processes that are started meanwhile ignore it for good."""
    if threading.current_thread() is not threading.main_thread():  # which alone may say so, and alone is interrupted
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _pass_on(reports: Any, progress: Callable[[str, int, int], None], running: set[str]) -> None:
    while True:
        try:
            name, *place = reports.get_nowait()
        except queue.Empty:
            return
        if name in running:  # what a finished job reported last was passed on with its result
            progress(name, *place)


_channel: Any = None  # of this worker process
_ended: Any = None


def _start(reports: Any, ended: Any) -> None:
    """Make this process a worker: it is ended by its parent, not by Ctrl-C, which reaches both."""
    import torch

    global _channel, _ended
    _channel, _ended = reports, ended
    reports.cancel_join_thread()  # what nobody reads any more must not keep this process alive
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)


def _end_with_parent() -> None:
    """End this process when its parent has gone: nobody else would, and a repeated command would write beside it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run(name: str, job: Job) -> tuple[Any, tuple[int, int] | None]:
    """Return a job's result, and its last report."""
    told = 0.0
    last: tuple[int, int] | None = None

    def report(done: int, of: int) -> None:
        nonlocal told, last
        if _ended.is_set():
            raise KeyboardInterrupt
        last = (done, of)
        if time.monotonic() - told > _REPORT_SECONDS:
            told = time.monotonic()
            _channel.put((name, done, of))

    return job(report), last
