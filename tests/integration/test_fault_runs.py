"""Runs on a service while processes are killed and requests go wrong: every kind of fault at least once."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from integration import fault_runs


@pytest.mark.timeout(600)  # some forty processes
def test_runs_with_every_kind_of_fault_end_as_they_should_within_their_budgets(tmp_path: Path) -> None:
    options = {"--runs": 7, "--sure": 3, "--more": 10, "--seed": 11, "--json": tmp_path / "found.json"}
    arguments = [fault_runs.__file__, *itertools.chain(*options.items())]
    done = subprocess.run(  # in a process that has no threads yet, as it is forked
        [sys.executable, "-W", "ignore", *map(str, arguments), "--folder", str(tmp_path / "runs")],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["violations"] == {}
    assert found["runs"] >= 7
    assert {kind for kind in fault_runs.CLASSES if found["faults"].get(kind, {}).get("times", 0) == 0} == set()
    assert set(found["limits"]) == {"shots", "shots and jobs", "shots and qpu_seconds"}
    assert set(found["modes"]) == {"job", "batch", "session"}
    assert any(kind.startswith("undisturbed") for kind in found["compared"])
    assert found["shots_booked"] >= found["shots_paid"] > 0
