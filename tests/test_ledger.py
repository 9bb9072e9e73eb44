from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.primitives import BitArray
from qiskit.quantum_info import Operator

from qiskit_metainit.budget import ShotBudget
from qiskit_metainit.deployment.channels.channel import Answer
from qiskit_metainit.deployment.channels.digests import circuit_digest
from qiskit_metainit.deployment.spending import ledger as ledger_module
from qiskit_metainit.deployment.spending.ledger import Ledger, LedgerError
from qiskit_metainit.deployment.spending.records import Job, Spent, pack_points

FREE = ShotBudget()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new folder" / "runs.sqlite"


def reserve(ledger: Ledger, run: str, sequence: int = 0, *, budget: ShotBudget = FREE, **changed: Any) -> Job | None:
    asked = {"digest": "d", "stage": "final", "evaluations": 2, "shots": 5, "cost": 10, "seconds": 3.0}
    return ledger.reserve(run, sequence, asked=pack_points([np.ones((2, 1))]), budget=budget, **{**asked, **changed})


def reserved(ledger: Ledger, run: str, sequence: int = 0, **changed: Any) -> Job:
    job = reserve(ledger, run, sequence, **changed)
    assert job is not None
    return job


def answer(rng: np.random.Generator, num_bits: int = 11) -> Answer:
    bits = [BitArray.from_bool_array(rng.random((2, 5, num_bits)) < 0.5) for _ in range(3)]
    return Answer(tuple(bits), 1.5)


# Files


def test_what_is_written_is_there_for_the_next_process(path: Path, rng: np.random.Generator) -> None:
    given = answer(rng)
    with Ledger(path) as ledger:
        run = ledger.begin("some backend", {"reps": 1, "weights": [0.1, 1 / 3]})
        ledger.note(run, proposal={"jobs": 2})
        ledger.note(run, stops={"4": "the budget"})
        job = reserved(ledger, run)
        ledger.settle(job, "submitted", job_id="abc")
        ledger.store(job, given, spent=30)
        ledger.settle(job, "done")
        ledger.finish(run, "finished", {"energy": -0.1 - 0.2})
    with Ledger(str(path)) as again:
        (record,) = again.runs()
        assert record.settings == {"reps": 1, "weights": [0.1, 1 / 3]}
        assert record.notes == {"proposal": {"jobs": 2}, "stops": {"4": "the budget"}}
        assert (record.id, record.state, record.backend, record.result) == (
            run,
            "finished",
            "some backend",
            {"energy": -0.1 - 0.2},
        )
        assert record.created <= record.changed
        (job,) = again.jobs(run)
        assert (job.state, job.job_id, job.shots, job.spent, job.seconds) == ("done", "abc", 5, 30, 1.5)
        found = again.answer(job)
        assert found.seconds == 1.5
        assert [bits.num_bits for bits in found.bits] == [11, 11, 11]
        for bits, expected in zip(found.bits, given.bits, strict=True):
            np.testing.assert_array_equal(bits.array, expected.array)
        np.testing.assert_array_equal(again.asked(job)[0], np.ones((2, 1)))


def test_a_commit_reaches_the_disk(path: Path) -> None:
    with Ledger(path) as ledger:
        assert ledger._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert ledger._db.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL


def test_without_a_file_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Ledger(None) as ledger:
        run = ledger.begin("b", {})
        with ledger.held(run), ledger.held(run):
            reserved(ledger, run)
        assert ledger.spent(run) == Spent(10, 1, 3.0)
    assert list(tmp_path.iterdir()) == []
    assert Ledger(None).runs() == []


def test_a_ledger_of_the_future_is_refused_and_left_as_it_is(path: Path) -> None:
    Ledger(path).close()
    with sqlite3.connect(path) as other:
        other.execute(f"PRAGMA user_version = {ledger_module.VERSION + 1}")
        other.execute("PRAGMA journal_mode = DELETE")
    other.close()
    before = path.read_bytes()
    with pytest.raises(LedgerError, match=r"has version 2, but .* reads up to 1\. Update"):
        Ledger(path)
    assert path.read_bytes() == before


def test_another_applications_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE runs (id TEXT)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="is another SQLite file"):
        Ledger(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["other.sqlite"]


@pytest.mark.parametrize("bad", ["text", "folder", "below a file", "damaged"])
def test_what_cannot_be_a_ledger_is_told(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "file"
    if bad == "folder":
        path.mkdir()
    elif bad == "damaged":
        Ledger(path).close()
        path.write_bytes(path.read_bytes()[:50] + bytes(4000))
    else:
        path.write_text("Dear diary, " * 100)
    if bad == "below a file":
        path = path / "ledger.sqlite"
    with pytest.raises(LedgerError, match=r"can be written is needed.*Choose another file"):
        Ledger(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_read_only_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(LedgerError, match="can be written is needed"):
        Ledger(tmp_path / "ledger.sqlite")


def test_a_ledger_that_is_forgotten_is_closed(path: Path) -> None:
    ledger = Ledger(path)
    db = ledger._db
    del ledger
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        db.execute("SELECT 1")


# Runs


def test_a_run_is_found_by_the_beginning_of_its_id(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = iter(["aab1", "aab2", "b_%1"])
    monkeypatch.setattr(ledger_module.secrets, "token_hex", lambda size: next(ids))
    with Ledger(path) as ledger:
        for backend in ("first", "second", "third"):
            ledger.begin(backend, {})
        assert ledger.record("aab2").backend == "second"
        assert ledger.record("b").backend == "third"
        for given, fits in (("aab", 2), ("c", 0), ("", 3), ("aab11", 0)):
            with pytest.raises(LedgerError, match=rf"'{given}' fits {fits}\. The latest are: aab1, aab2, b_%1"):
                ledger.record(given)
        assert [record.backend for record in ledger.runs()] == ["first", "second", "third"]
    with Ledger(None) as empty, pytest.raises(LedgerError, match="The latest are: none"):
        empty.record("a")


def test_runs_keep_separate_accounts(path: Path) -> None:
    with Ledger(path) as ledger, Ledger(path) as other:
        one, two = ledger.begin("b", {}), other.begin("b", {})
        budget = ShotBudget(shots=25)
        for sequence in range(2):
            reserved(ledger, one, sequence, budget=budget)
            reserved(other, two, sequence, budget=budget, stage="optimisation")
        assert reserve(ledger, one, 2, budget=budget) is None
        assert reserve(other, two, 2, budget=budget) is None
        assert ledger.spent(one) == other.spent(two) == Spent(20, 2, 6.0)
        assert ledger.by_stage(one) == {"final": 20}
        assert ledger.by_stage(two) == {"optimisation": 20}
        assert [job.sequence for job in ledger.jobs(one)] == [0, 1]


# Jobs


@pytest.mark.parametrize(
    ("budget", "fits"),
    [
        ({"shots": 30}, 3),
        ({"shots": 29}, 2),
        ({"jobs": 2}, 2),
        ({"qpu_seconds": 9.0}, 3),
        ({"qpu_seconds": 8.9}, 2),
        ({"shots": 30, "jobs": 1}, 1),
    ],
)
def test_nothing_is_reserved_beyond_the_budget(budget: dict[str, float], fits: int) -> None:
    with Ledger(None) as ledger:
        run = ledger.begin("b", {})
        found = [reserve(ledger, run, sequence, budget=ShotBudget(**budget)) for sequence in range(5)]
        assert [job is not None for job in found] == [True] * fits + [False] * (5 - fits)
        assert ledger.spent(run) == Spent(10 * fits, fits, 3.0 * fits)
        # What is released can be reserved again.
        ledger.settle(ledger.jobs(run)[0], "released", spent=0, seconds=0.0)
        assert reserve(ledger, run, 6, budget=ShotBudget(**budget)) is not None
        assert reserve(ledger, run, 7, budget=ShotBudget(**budget)) is None


def test_processes_that_reserve_at_the_same_time_do_not_go_beyond_the_budget(path: Path) -> None:
    ledger = Ledger(path)
    run = ledger.begin("b", {})
    count = []

    def work() -> None:
        with Ledger(path) as own:
            count.append(sum(reserve(own, run, n, budget=ShotBudget(shots=150)) is not None for n in range(10)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(count) == 15
    assert ledger.spent(run).shots == 150
    ledger.close()


def test_every_attempt_has_a_tag_of_its_own() -> None:
    with Ledger(None) as ledger:
        run = ledger.begin("b", {})
        tags = [reserved(ledger, run, sequence).tag for sequence in (0, 0, 3)]
        assert len(set(tags)) == 3
        assert [tag.rsplit("-", 1)[0] for tag in tags] == [f"metainit-{run}-{n}" for n in ("0-1", "0-2", "3-1")]
        assert max(map(len, tags)) <= 86  # the service's limit


def test_a_copy_is_booked_once() -> None:
    with Ledger(None) as ledger:
        run = ledger.begin("b", {})
        job = reserved(ledger, run)
        ledger.settle(job, "submitted", job_id="first")
        for job_id in ("second", "second", "first"):
            ledger.duplicate(job, job_id, spent=10, seconds=2.0, note="twice")
        assert [(job.state, job.job_id) for job in ledger.jobs(run)] == [
            ("submitted", "first"),
            ("duplicate", "second"),
        ]
        assert ledger.spent(run) == Spent(20, 2, 5.0)


def test_what_a_job_may_cost_is_replaced_by_what_it_cost(rng: np.random.Generator) -> None:
    with Ledger(None) as ledger:
        run = ledger.begin("b", {})
        ledger.store(reserved(ledger, run), answer(rng), spent=8)
        assert ledger.spent(run) == Spent(8, 1, 1.5)
        bits = answer(rng).bits
        ledger.store(reserved(ledger, run, 1), Answer(bits, None), spent=8)
        assert ledger.spent(run) == Spent(16, 2, 1.5)
        ledger.store(reserved(ledger, run, 2), Answer(bits, None), spent=8, seconds=2.5)
        assert ledger.spent(run) == Spent(24, 3, 4.0)


def test_outcomes_are_stored_with_their_booking_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    def full(answer: Answer) -> bytes:
        raise KeyboardInterrupt

    with Ledger(None) as ledger:
        run = ledger.begin("b", {})
        job = reserved(ledger, run)
        with monkeypatch.context() as patch:
            patch.setattr(ledger_module, "pack_answer", full)
            with pytest.raises(KeyboardInterrupt):
                ledger.store(job, answer(rng), spent=8)
        assert ledger.jobs(run)[0].state == "posting"
        assert ledger.spent(run) == Spent(10, 1, 3.0)
        ledger.store(job, answer(rng), spent=8)  # and the ledger is as good as before
        assert ledger.spent(run) == Spent(8, 1, 1.5)


@pytest.mark.parametrize("damage", ["NULL", "x'00'", "substr(answer, 1, 60)", f"x'504b0506{'00' * 18}'"])
def test_damaged_outcomes_are_told(damage: str, rng: np.random.Generator) -> None:
    with Ledger(None) as ledger:
        run = ledger.begin("b", {})
        job = reserved(ledger, run)
        ledger.store(job, answer(rng), spent=8)
        ledger._db.execute(f"UPDATE jobs SET answer = {damage}")
        with pytest.raises(LedgerError, match=rf"job {job.tag} .* is damaged"):
            ledger.answer(job)


# Templates


def test_templates_come_back_as_they_were_sent(path: Path) -> None:
    angles = ParameterVector("angle", 12)
    circuit = QuantumCircuit(3, 3)
    for index, angle in enumerate(angles):
        circuit.rz(2 * angle - 0.1 * index / 3 + np.pi / 7, index % 3)
        circuit.cx(index % 3, (index + 1) % 3)
    circuit.measure(range(3), range(3))
    circuit.metadata = {"places": [4, 2, 0]}
    with Ledger(path) as ledger:
        one, two = ledger.begin("b", {}), ledger.begin("b", {})
        ledger.keep_template(one, "d", circuit)
        ledger.keep_template(one, "d", QuantumCircuit(1))  # the first is what was sent
    with Ledger(path) as ledger:
        found = ledger.template(one, "d")
        assert found is not None
        assert ledger.template(two, "d") is None
        assert ledger.template(one, "e") is None
    assert found.metadata == {"places": [4, 2, 0]}
    assert [parameter.name for parameter in found.parameters] == [angle.name for angle in angles]
    # A replay recognises it, in this and in any other process.
    assert circuit_digest(found) == circuit_digest(circuit)
    values = np.linspace(-1, 1, 12)
    bound = [item.remove_final_measurements(inplace=False).assign_parameters(values) for item in (circuit, found)]
    assert Operator(bound[0]) == Operator(bound[1])


def test_digests_tell_circuits_apart() -> None:
    def made(angle: float, qubits: tuple[int, int], gate: str = "cx", num_qubits: int = 3) -> QuantumCircuit:
        circuit = QuantumCircuit(num_qubits, 2)
        circuit.rx(angle, 0)
        getattr(circuit, gate)(*qubits)
        circuit.measure(qubits, [0, 1])
        return circuit

    turned = made(0.1, (0, 1))
    turned.data[-1], turned.data[-2] = turned.data[-2], turned.data[-1]
    swapped = QuantumCircuit(3, 2)
    swapped.rx(0.1, 0)
    swapped.cx(0, 1)
    swapped.measure([0, 1], [1, 0])
    different = [
        *[made(0.1, (0, 1)), made(np.nextafter(0.1, 1), (0, 1)), made(0.1, (1, 0)), made(0.1, (0, 2))],
        *[made(0.1, (0, 1), "cz"), made(0.1, (0, 1), num_qubits=4), swapped],
    ]
    assert len({circuit_digest(circuit) for circuit in different}) == len(different)
    assert circuit_digest(made(0.1, (0, 1))) == circuit_digest(different[0])


# Other processes


def _hold(path: Path, run: str, ready: Any) -> None:
    with Ledger(path) as ledger, ledger.held(run):
        for sequence in range(1000):
            reserve(ledger, run, sequence)
            ready.set()


def test_a_run_is_carried_on_by_one_process_until_it_is_killed_and_read_by_any(path: Path) -> None:
    ledger = Ledger(path)
    run, other = ledger.begin("b", {}), ledger.begin("b", {})
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_hold, args=(path, run, ready))
    process.start()
    assert ready.wait(60)
    with pytest.raises(LedgerError, match=f"The run {run} is being carried on by another process"), ledger.held(run):
        pass
    with ledger.held(other):
        pass
    seen = ledger.spent(run).jobs
    for _ in range(200):  # read and written here while it is written there
        ledger.note(other, looked=True)
        spent = ledger.spent(run)
        assert spent.shots == 10 * spent.jobs
    assert seen <= ledger.spent(run).jobs
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with ledger.held(run), pytest.raises(LedgerError), Ledger(path) as second, second.held(run):
        pass
    assert ledger._db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    ledger.close()


def _make(path: Path, start: Any, made: Any) -> None:
    start.wait()
    for name in range(20):
        with Ledger(path / f"{name}.sqlite") as ledger:
            made.put(ledger.begin("b", {}))


def test_processes_may_make_a_ledger_at_the_same_time(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start, made = context.Barrier(2), context.Queue()
    processes = [context.Process(target=_make, args=(tmp_path, start, made)) for _ in range(2)]
    for process in processes:
        process.start()
    found = {made.get(timeout=60) for _ in range(40)}
    for process in processes:
        process.join()
        assert process.exitcode == 0
    known = set()
    for name in range(20):
        with Ledger(tmp_path / f"{name}.sqlite") as ledger:
            known |= {record.id for record in ledger.runs()}
    assert known == found
    assert len(found) == 40
