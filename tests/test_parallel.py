from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from qiskit_metainit.parallel import run_jobs

Report = Callable[[int, int], None]


def square(number: int, report: Report) -> tuple[int, int]:
    report(1, 1)
    return number**2, os.getpid()


def fail(report: Report) -> None:
    raise RuntimeError("planted")


def endless(file: Path, report: Report) -> None:
    """Work until told to end, and leave a note of that."""
    file.write_text("began")
    try:
        while True:
            report(0, 1)
            time.sleep(0.02)
    except KeyboardInterrupt:
        file.write_text("ended")
        raise


def fail_later(file: Path, report: Report) -> None:
    while not file.exists():
        time.sleep(0.02)
    fail(report)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_is_done_and_told(workers: int) -> None:
    told: list[tuple[str, int, int]] = []
    results = dict(run_jobs({str(n): partial(square, n) for n in range(3)}, workers, lambda *step: told.append(step)))
    assert {name: value for name, (value, _) in results.items()} == {"0": 0, "1": 1, "2": 4}
    assert sorted(set(told)) == [(str(n), 1, 1) for n in range(3)]
    assert (os.getpid() in {process for _, process in results.values()}) == (workers == 1)


def test_a_failure_is_raised_and_the_others_are_told_to_end(tmp_path: Path) -> None:
    note = tmp_path / "note"
    with pytest.raises(RuntimeError, match="planted"):
        list(run_jobs({"a": partial(endless, note), "b": partial(fail_later, note)}, 2, lambda *_: None))
    assert note.read_text() == "ended"


def test_an_interruption_here_ends_the_jobs_there(tmp_path: Path) -> None:
    def interrupt(*step: object) -> None:
        raise KeyboardInterrupt

    notes = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(KeyboardInterrupt):
        list(run_jobs({note.name: partial(endless, note) for note in notes}, 2, interrupt))
    assert all(note.read_text() == "ended" for note in notes if note.exists())
    assert any(note.exists() for note in notes)


def test_at_least_one_worker_is_needed() -> None:
    with pytest.raises(ValueError, match="0 came"):
        list(run_jobs({}, 0, lambda *_: None))
