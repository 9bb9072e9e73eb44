from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from qiskit_metainit.deployment import Ledger

pytestmark = [
    # Of qiskit-algorithms 0.4, as the program's user does not see it.
    pytest.mark.filterwarnings("ignore:scipy.optimize. The `disp` and `iprint` options:DeprecationWarning"),
]

Program = Callable[..., tuple[int, str, str]]
QUICK = ("--reps", 1, "--evaluations", 6, "--shots-per-eval", 64, "--no-compare")


def flat(text: str) -> str:
    return " ".join("".join(" " if c in "│╭╮╰╯─━┃|" else c for c in text).split())


def asked(metainit: Program, *arguments: object) -> Any:
    code, out, err = metainit(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "runs.sqlite"


@pytest.mark.parametrize("backend", ["aer", "fake_fez"])
def test_a_plan_is_kept_by_the_run(backend: str, graph: Path, metainit: Program) -> None:
    limits = ("--reps", 1, "--shots", 700, "--shots-per-eval", 128, "--backend", backend)
    planned = asked(metainit, "plan", graph, *limits)
    found = asked(metainit, "solve", graph, *limits, "--no-compare")
    assert planned["total_shots"] == 700
    assert found["shots_spent"] <= planned["total_shots"]
    assert found["jobs"] == planned["jobs"] == 6  # four whole evaluations, one of the 60 shots left, the final sampling
    assert found["shots_spent"] == 5 * 128 + 60
    assert found["shots_by_stage"] == {"optimisation": 4 * 128 + 60, "final": 128}
    assert (planned["qpu_seconds"] is None) is (backend == "aer")
    assert found["qpu_seconds"] == 0
    assert len(planned["qubits"]) == 4
    assert (planned["gate_fidelity"] < 1) is (backend == "fake_fez")


def test_a_plan_submits_nothing_and_is_readable(graph: Path, metainit: Program) -> None:
    code, out, err = metainit("plan", graph, "--backend", "fake_sherbrooke", "--shots", 20_000, "--optimizer", "spsa")
    assert code == 0, err
    assert "Nothing was submitted." in out
    for told in ("two-qubit gates", "at most 20000", "product of 1 - error", "final 1024"):
        assert told in flat(out)
    assert not Path(os.environ["METAINIT_LEDGER"]).exists()


def test_a_plan_warns_of_a_circuit_beyond_coherence(tmp_path: Path, metainit: Program) -> None:
    path = tmp_path / "complete.edgelist"
    path.write_text("".join(f"{a} {b}\n" for a in range(8) for b in range(a)))
    code, out, err = metainit("plan", path, "--reps", 8, "--backend", "fake_sherbrooke")
    assert code == 0, err
    assert "coherence time" in flat(out)
    assert "mostly noise" in flat(out)


def test_solving_keeps_every_run(graph: Path, ledger: Path, metainit: Program) -> None:
    first, second = (
        asked(metainit, "solve", graph, *QUICK, "--ledger", ledger, "--seed", seed)["run"] for seed in (1, 2)
    )
    kept = asked(metainit, "runs", "--ledger", ledger)
    assert [run["run"] for run in kept] == [first, second]
    assert {run["state"] for run in kept} == {"finished"}
    assert [run["shots_spent"] for run in kept] == [7 * 64] * 2
    code, out, _ = metainit("runs", "--ledger", ledger)
    assert code == 0
    assert first in out
    assert second in out


def test_there_may_be_no_runs(ledger: Path, metainit: Program) -> None:
    code, out, _ = metainit("runs", "--ledger", ledger)
    assert code == 0
    assert "There are no runs" in out
    assert not ledger.exists()


def test_a_finished_run_is_read_again_without_a_shot(graph: Path, ledger: Path, metainit: Program) -> None:
    found = asked(metainit, "solve", graph, *QUICK, "--ledger", ledger)
    with closing(sqlite3.connect(ledger)) as kept:
        before = kept.execute("SELECT count(*) FROM jobs").fetchone()
    again = asked(metainit, "resume", found["run"][:6], "--ledger", ledger)
    with closing(sqlite3.connect(ledger)) as kept:
        assert kept.execute("SELECT count(*) FROM jobs").fetchone() == before
    for name in ("value", "bitstring", "point", "shots_spent", "jobs", "expected_value_final", "partition"):
        assert again[name] == found[name]


def test_a_killed_run_is_resumed_to_the_end_it_would_have_had(graph: Path, ledger: Path, metainit: Program) -> None:
    options = ["--reps", "1", "--evaluations", "25", "--shots-per-eval", "64", "--no-compare", "--backend", "fake_fez"]
    whole = asked(metainit, "solve", graph, *options)
    program = str(Path(sys.executable).with_name("metainit"))
    process = subprocess.Popen(
        [program, "solve", str(graph), *options, "--ledger", str(ledger)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < until:
        if ledger.exists() and _done(ledger) >= 3:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.01)
    process.wait()
    with Ledger(ledger) as kept:
        (record,) = kept.runs()
        assert record.state == "running", "the process was killed in the middle"
        assert 3 <= kept.spent(record.id).jobs < 26
    code, out, _ = metainit("runs", "--ledger", ledger)
    assert code == 0
    assert "metainit resume RUN" in out
    found = asked(metainit, "resume", record.id, "--ledger", ledger)
    for name in ("value", "bitstring", "point", "shots_spent", "expected_value_final", "evaluations"):
        assert found[name] == whole[name]


def _done(ledger: Path) -> int:
    try:
        with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as kept:
            return int(kept.execute("SELECT count(*) FROM jobs WHERE state = 'done'").fetchone()[0])
    except sqlite3.Error:  # not yet made
        return 0


def test_a_job_budget_is_kept(graph: Path, metainit: Program) -> None:
    found = asked(metainit, "solve", graph, *QUICK, "--jobs", 4)
    assert found["jobs"] == 4
    assert found["stopped"] == "the budget of 4 jobs"


def test_shots_may_grow(graph: Path, metainit: Program) -> None:
    options = ("--reps", 1, "--evaluations", 6, "--shots-per-eval", 320, "--first-shots", 10, "--no-compare")
    found = asked(metainit, "solve", graph, *options)
    assert found["shots_by_stage"] == {"optimisation": 10 + 20 + 40 + 80 + 160 + 320, "final": 320}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--shots", 100), "At least 2048 shots are needed"),
        (("--jobs", 1), "At least 2 jobs are needed"),
        (("--backend", "fake_nowhere"), "The name of a fake backend is needed"),
        (("--backend", "ibm_fez"), "QiskitRuntimeService.save_account"),
        (("--backend", "fake_manila", "--noise", "fake_fez"), "One backend is needed"),
        (("--first-shots", 5000), "first=5000, last=1024"),
    ],
)
def test_what_cannot_be_is_said_before_anything_runs(
    arguments: tuple[object, ...],
    told: str,
    graph: Path,
    ledger: Path,
    metainit: Program,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where an account would be saved
    monkeypatch.delenv("QISKIT_IBM_TOKEN", raising=False)
    code, _, err = metainit("solve", graph, *arguments, "--ledger", ledger)
    assert code == 2
    assert told in flat(err)
    if ledger.exists():
        with Ledger(ledger) as kept:
            assert kept.runs() == []


def test_a_graph_larger_than_the_backend_is_refused(tmp_path: Path, metainit: Program) -> None:
    path = tmp_path / "path.edgelist"
    path.write_text("".join(f"{a} {a + 1}\n" for a in range(6)))
    code, _, err = metainit("solve", path, "--backend", "fake_manila")
    assert code == 2
    assert "A backend of 7 qubits is needed, but fake_manila has 5" in flat(err)


def test_an_unknown_run_is_refused(graph: Path, ledger: Path, metainit: Program) -> None:
    asked(metainit, "solve", graph, *QUICK, "--ledger", ledger)
    code, _, err = metainit("resume", "ffffffffff", "--ledger", ledger)
    assert code == 2
    assert "fits 0" in flat(err)


def test_a_file_that_is_no_ledger_is_refused(graph: Path, tmp_path: Path, metainit: Program) -> None:
    path = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE mine (x)")
    code, _, err = metainit("solve", graph, *QUICK, "--ledger", path)
    assert code == 2
    assert "another SQLite file" in flat(err)


@pytest.mark.parametrize(("initializer", "queries"), [("qaoa", 0), ("lstm", 9)])
def test_without_an_optimizer_the_whole_budget_samples_the_start(
    initializer: str, queries: int, graph: Path, ledger: Path, metainit: Program
) -> None:
    limits = ("--reps", 2, "--shots", 5000, "--shots-per-eval", 100)
    limits = (*limits, "--optimizer", "none", "--initializer", initializer)
    planned = asked(metainit, "plan", graph, *limits)
    found = asked(metainit, "solve", graph, *limits, "--no-compare", "--ledger", ledger)
    assert found["shots_spent"] == planned["total_shots"] == 5000
    assert found["shots_by_stage"]["final"] == 5000 - 100 * queries
    assert found["jobs"] == planned["jobs"] == queries + 1
    assert found["evaluations"] == 0
    assert found["expected_value_first"] is None
    assert found["point"] == found["start"]["point"]
    assert asked(metainit, "resume", found["run"], "--ledger", ledger)["bitstring"] == found["bitstring"]


def test_no_runs_are_an_empty_list(tmp_path: Path, metainit: Program) -> None:
    assert asked(metainit, "runs", "--ledger", tmp_path / "none.sqlite") == []
    code, _, err = metainit("resume", "abc", "--ledger", tmp_path / "none.sqlite")
    assert code != 0
    assert "A ledger with the run abc is needed, but there is none at" in flat(err)
    assert not (tmp_path / "none.sqlite").exists()


def test_aer_is_its_own_simulation(graph: Path, metainit: Program) -> None:
    plain, simulated = (asked(metainit, "solve", graph, *QUICK, *more) for more in ((), ("--simulate",)))
    assert simulated["expected_value_final"] == plain["expected_value_final"]


@pytest.mark.parametrize("place", ["begun", "ended", "resumed", "before"])
def test_an_interruption_names_its_own_run(
    graph: Path, ledger: Path, metainit: Program, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    options = (graph, *QUICK[:-1], "--ledger", ledger)

    def interrupt(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:  # another run that waits
        patch.setattr("qiskit_metainit.deployment.program.Meter.sample", interrupt)
        metainit("solve", *options)
    with Ledger(ledger) as kept:
        [other] = kept.runs()
    with monkeypatch.context() as patch:
        if place == "before":
            patch.setattr(Ledger, "begin", interrupt)
        elif place == "ended":
            patch.setattr("qiskit_metainit.solve.solution", interrupt)
        else:
            patch.setattr("qiskit_metainit.deployment.program.Meter.sample", interrupt)
        code, _, err = metainit("solve", *options)
        if place == "resumed":
            code, _, err = metainit("resume", other.id, "--ledger", ledger)
    assert code == 130
    with Ledger(ledger) as kept:
        found = {record.id: record.state for record in kept.runs()}
    if place == "before":
        assert "Nothing was sent yet" in flat(err)
    elif place == "resumed":
        assert f"metainit resume {other.id}` goes on" in flat(err)
    else:
        [own] = found.keys() - {other.id}
        assert f"metainit resume {own}` {'shows its end' if place == 'ended' else 'goes on'}" in flat(err)
