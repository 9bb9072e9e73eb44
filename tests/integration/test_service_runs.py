"""Whole runs on a backend of the service, over HTTP: modes, options, accounts, and the program itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from integration.loopback import CRN, TOKEN, Loopback
from integration.loopback_programs import decode
from qiskit_algorithms.optimizers import COBYLA
from urllib3.util import Retry

from qiskit_metainit.budget import ShotBudget
from qiskit_metainit.deployment import Deployment, Ledger, Run, RuntimeChannel
from qiskit_metainit.deployment.channels.channel import Unreachable
from qiskit_metainit.deployment.stored import run_as_json
from qiskit_metainit.initializer import MetaInitializer
from qiskit_metainit.models.constant import Constant
from qiskit_metainit.problems.maxcut import MaxCut

pytestmark = [
    # Of qiskit-algorithms 0.4.
    pytest.mark.filterwarnings("ignore:scipy.optimize. The `disp` and `iprint` options:DeprecationWarning"),
]

PROBLEM = MaxCut.from_edges([("a", "b", 1.0), ("b", "c", 2.0), ("c", "a", 0.7), ("c", "d", 0.5)])
DEVICES = ("lagos", "fez")
SHOTS = 100
EVALUATIONS = 5
Program = Callable[..., tuple[int, str, str]]


class Killed(BaseException):
    """Ends a run as the end of its process would: nothing of ours is told of it."""


@pytest.fixture(scope="module")
def expected(shared: tuple[Loopback, Any]) -> Run:
    """A run of single jobs that nothing happens to."""
    shared[0].clear()
    return carried(made(shared[1].backend("lagos")))


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def made(backend: Any, ledger: Path | None = None, budget: ShotBudget | None = None, **channel: Any) -> Deployment:
    return Deployment(
        backend,
        budget,
        ledger=ledger,
        channel=RuntimeChannel(backend, patience=5.0, **channel),
        seed=3,
        patience=5.0,
        grace=0.5,
    )


def carried(deployment: Deployment, **settings: Any) -> Run:
    return deployment.run(
        PROBLEM,
        reps=1,
        initializer=MetaInitializer(Constant(point=[0.3, -0.2])),
        optimizer=COBYLA(maxiter=EVALUATIONS, rhobeg=0.3),
        shots_per_evaluation=SHOTS,
        **settings,
    )


def after(evaluations: int) -> Callable[[int, float], None]:
    def progress(done: int, _: float) -> None:
        if done == evaluations:
            raise Killed

    return progress


def killed(deployment: Deployment, evaluations: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """Begin a run that is killed after some evaluations, and return its id."""
    monkeypatch.setattr(deployment.channel, "close", lambda: None)  # nobody closes anything after signal 9
    with pytest.raises(Killed):
        carried(deployment, progress=after(evaluations))
    [record] = deployment.runs()
    deployment.close()
    return record.id


def result(run: Run) -> dict[str, Any]:
    found = {name: value for name, value in run_as_json(run).items() if name not in ("seconds", "proposal")}
    return found | {"start": run.proposal.point.tolist()}


def mine(server: Loopback, before: int) -> list[Any]:
    return server.jobs()[before:]


# Modes


@pytest.mark.parametrize("mode", ["batch", "session"])
def test_a_run_in_a_batch_or_session_is_that_of_single_jobs_and_closes_it(
    mode: str, expected: Run, server: Loopback, backend: Any
) -> None:
    before = len(server.jobs())
    run = carried(made(backend, mode=mode))
    assert result(run) == result(expected)
    [session] = {job.session_id for job in mine(server, before)}
    known = server.core.sessions[session]
    assert known["mode"] == {"batch": "batch", "session": "dedicated"}[mode]
    assert known["state"] == "closed"


@pytest.mark.parametrize("mode", ["batch", "session"])
def test_a_killed_run_goes_on_in_its_session_and_closes_it(
    mode: str, expected: Run, server: Loopback, backend: Any, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, sessions = len(server.jobs()), set(server.core.sessions)
    run = killed(made(backend, ledger, mode=mode), 3, monkeypatch)
    [session] = set(server.core.sessions) - sessions
    assert server.core.sessions[session]["state"] == "open", "it would be charged until somebody closes it"
    with made(backend, ledger, mode=mode) as deployment:
        assert result(deployment.resume(run)) == result(expected)
    assert set(server.core.sessions) - sessions == {session}
    assert {job.session_id for job in mine(server, before)} == {session}
    assert server.core.sessions[session]["state"] == "closed"
    assert len(mine(server, before)) == EVALUATIONS + 1


def test_a_session_that_ended_meanwhile_is_replaced(
    expected: Run, server: Loopback, backend: Any, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = set(server.core.sessions)
    run = killed(made(backend, ledger, mode="batch"), 3, monkeypatch)
    [ended] = set(server.core.sessions) - sessions
    server.core.close_session(ended)
    with made(backend, ledger, mode="batch") as deployment:
        assert result(deployment.resume(run)) == result(expected)
    [other] = set(server.core.sessions) - sessions - {ended}
    assert server.core.sessions[other]["state"] == "closed"


def test_a_batch_that_cannot_be_closed_does_not_hide_why_a_run_ended(server: Loopback, backend: Any) -> None:
    def progress(done: int, _: float) -> None:
        server.fault("* /sessions*", status=404, times=50)
        raise Killed

    with pytest.raises(Killed):
        carried(made(backend, mode="batch"), progress=progress)


# Options


def test_twirling_and_decoupling_reach_the_service_and_are_counted_and_recorded(
    server: Loopback, backend: Any, ledger: Path
) -> None:
    before, paid = len(server.jobs()), server.shots_paid()
    options = {
        "twirling": {"enable_measure": True, "num_randomizations": 8},
        "dynamical_decoupling": {"enable": True, "sequence_type": "XY4"},
    }
    with made(backend, ledger, ShotBudget(shots=450), options=options) as deployment:
        run = carried(deployment)
        [record] = deployment.runs()
    each = 8 * 13  # 100 shots in 8 randomizations
    jobs = mine(server, before)
    assert {job.evaluations for job in jobs} == {8}
    assert [job.paid for job in jobs] == [each] * 3 + [8 * 4, each], "the last evaluation is shrunk to fit"
    assert run.spent.shots == server.shots_paid() - paid == 4 * each + 8 * 4
    assert run.stopped == "the budget of 450 shots"
    kept = record.settings["channel"]["options"]
    assert kept["twirling"]["num_randomizations"] == 8
    assert kept["dynamical_decoupling"]["sequence_type"] == "XY4"


def test_readout_is_calibrated_on_the_device(server: Loopback, backend: Any) -> None:
    server.configure(noisy=True)
    before, shots = len(server.jobs()), 4000
    run = carried(made(backend), readout_shots=shots)
    jobs = mine(server, before)
    assert jobs[0].paid == run.shots_by_stage["calibration"] == 2 * shots
    assert run.spent.shots == sum(job.paid for job in jobs)
    assert run.readout is not None
    assert set(run.readout.qubits) <= set(range(7))
    for qubit, one, zero in zip(run.readout.qubits, run.readout.false_ones, run.readout.false_zeros, strict=True):
        known = backend.properties().qubit_property(qubit)["readout_error"][0]  # of both kinds alike, in this noise
        for found in (one, zero):
            assert abs(found - known) < 5 * np.sqrt(known * (1 - known) / shots) + 3e-3  # gates have errors, too


# Backends and accounts


def refused(deployment: Deployment, server: Loopback, told: str) -> None:
    """Nothing is sent, and nothing is kept of it."""
    with pytest.raises(ValueError, match=told):
        carried(deployment)
    assert "POST /jobs" not in server.requests()
    assert "POST /sessions" not in server.requests()
    assert deployment.runs() == []


def test_a_paused_backend_gets_no_jobs(server: Loopback, backend: Any) -> None:
    server.configure(paused=True)
    refused(made(backend), server, "runs jobs is needed, but lagos is maintenance")


def test_an_account_without_time_sends_nothing(server: Loopback, backend: Any) -> None:
    server.configure(limit_seconds=server.core.consumed() + 0.5)
    refused(made(backend), server, "the account has none left")


def test_the_open_plan_has_no_sessions(server: Loopback) -> None:
    server.configure(plan="Open")
    refused(made(server.backend("lagos"), mode="session"), server, "Open plan. Take mode='batch' or 'job'")


def test_a_service_that_is_away_sends_nothing(server: Loopback, backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Retry, "sleep", lambda *_: None)
    server.fault("GET /instances/usage", status=500, times=50)
    deployment = made(backend)
    with pytest.raises(Unreachable, match="usage is needed"):
        carried(deployment)
    assert deployment.runs() == []


def test_what_the_account_has_left_stops_a_run_and_its_last_point_is_sampled(server: Loopback, backend: Any) -> None:
    before = server.core.consumed()
    server.configure(limit_seconds=before + 14.0)  # a job takes 1.1 s, and is thought to take 3 to 6
    run = carried(made(backend))
    assert run.stopped is not None
    assert "QPU seconds" in run.stopped
    assert 0 < len(run.energies) < EVALUATIONS
    assert run.energy is not None
    assert server.core.consumed() - before == pytest.approx(run.spent.qpu_seconds)
    assert run.spent.qpu_seconds <= 14.0


def test_what_a_run_has_used_itself_is_not_taken_from_it_again_when_it_is_resumed(
    expected: Run, server: Loopback, backend: Any, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = (EVALUATIONS - 1) * 1.1 + 2 * 6.1  # a job takes 1.1 s, and is thought to take up to 6
    server.configure(limit_seconds=server.core.consumed() + left)
    run = killed(made(backend, ledger), EVALUATIONS - 1, monkeypatch)
    with made(backend, ledger) as deployment:
        found = result(deployment.resume(run))
    assert found == {**result(expected), "spent": found["spent"]}
    assert found["spent"]["qpu_seconds"] == pytest.approx(expected.spent.qpu_seconds)


def test_a_run_that_ended_is_read_where_nothing_runs(server: Loopback, backend: Any, ledger: Path) -> None:
    with made(backend, ledger, mode="batch") as deployment:
        run = carried(deployment)
    server.configure(paused=True, limit_seconds=0.0)
    before = len(server.requests())
    with made(backend, ledger, mode="batch") as deployment:
        assert result(deployment.resume(run.id)) == result(run)
    assert not [asked for asked in server.requests()[before:] if "/jobs" in asked or "/sessions" in asked]


def test_faulty_qubits_are_left_out(server: Loopback, shared: tuple[Loopback, Any]) -> None:
    def used(service: Any) -> tuple[set[tuple[int, ...]], Run]:
        before = len(server.jobs())
        run = made(service.backend("fez")).run(
            MaxCut.from_edges([(0, 1), (1, 2)]),
            reps=1,
            initializer=MetaInitializer(Constant(point=[0.3, -0.2])),
            optimizer=COBYLA(maxiter=4),
            shots_per_evaluation=SHOTS,
        )
        places = set()
        for job in mine(server, before):
            assert job.state == "COMPLETED"
            params = json.loads((server.core.folder / f"{job.id}.params.json").read_text())
            [circuit] = decode(job.program, params).circuits
            places |= {tuple(circuit.find_bit(qubit).index for qubit in item.qubits) for item in circuit.data}
        return {place for place in places if len(place) < 3}, run  # without barriers

    healthy, _ = used(shared[1])
    broken = next(place for place in sorted(healthy) if len(place) == 2)
    server.configure(faulty_gates=(broken, broken[::-1]))
    places, _ = used(server.service())
    assert not {broken, broken[::-1]} & places
    qubit = next(iter(sorted(place for place in places if len(place) == 1)))[0]
    server.configure(faulty_qubits=(qubit,))
    places, run = used(server.service())
    assert places
    assert not any(qubit in place for place in places)
    assert run.bitstring in ("010", "101")


# Faults


def test_a_run_through_faults_goes_on_through_others(
    expected: Run, server: Loopback, backend: Any, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Retry, "sleep", lambda *_: None)
    paid = server.shots_paid()
    server.configure(fault_rate=0.1, fault_seed=4)
    run = killed(made(backend, ledger), 4, monkeypatch)
    server.configure(fault_rate=0.1, fault_seed=5)
    with made(backend, ledger) as deployment:
        found = result(deployment.resume(run))
    assert found == {**result(expected), "spent": found["spent"]}
    assert found["spent"]["shots"] == expected.spent.shots == server.shots_paid() - paid


# The program


@pytest.fixture
def saved(server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account of the service is saved on this machine."""
    from qiskit_ibm_runtime import QiskitRuntimeService
    from qiskit_ibm_runtime.accounts import management
    from qiskit_ibm_runtime.api import client_parameters

    url = f"http://127.0.0.1:{server.port}/api/v1"
    monkeypatch.setattr(management, "_DEFAULT_ACCOUNT_CONFIG_JSON_FILE", str(tmp_path / ".qiskit" / "qiskit-ibm.json"))
    monkeypatch.setattr(client_parameters, "default_runtime_url_resolver", lambda *_: url)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    QiskitRuntimeService.save_account(token=TOKEN, instance=CRN)


def asked(metainit: Program, *arguments: object) -> Any:
    code, out, err = metainit(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)


OPTIONS = ["--reps", "1", "--evaluations", "8", "--shots-per-eval", "64", "--no-compare", "--backend", "lagos"]
_PROGRAM = """
import sys
from qiskit_ibm_runtime.api import client_parameters
url = sys.argv.pop(1)
client_parameters.default_runtime_url_resolver = lambda *_: url
from qiskit_metainit.cli import main
main()
"""


@pytest.mark.usefixtures("saved")
def test_the_program_plans_solves_and_resumes_on_the_service(
    server: Loopback, graph: Path, ledger: Path, metainit: Program, tmp_path: Path
) -> None:
    planned = asked(metainit, "plan", graph, *[option for option in OPTIONS if option != "--no-compare"])
    assert "POST /jobs" not in server.requests()
    assert planned["jobs"] == 9
    assert planned["remaining_seconds"] == pytest.approx(36000.0 - server.core.consumed())
    whole = asked(metainit, "solve", graph, *OPTIONS, "--mode", "batch")
    assert whole["jobs"] == planned["jobs"]
    assert whole["shots_spent"] == planned["total_shots"] == 9 * 64
    low, high = planned["qpu_seconds"][1:]
    assert 0 < low < planned["qpu_seconds"][0] < high

    before, paid = len(server.jobs()), server.shots_paid()
    url = f"http://127.0.0.1:{server.port}/api/v1"
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            _PROGRAM,
            url,
            "solve",
            str(graph),
            *OPTIONS,
            "--mode",
            "batch",
            "--ledger",
            str(ledger),
        ],
        env=os.environ | {"HOME": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while len(server.jobs()) < before + 4 and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was killed in the middle"
    with Ledger(ledger) as kept:
        [record] = kept.runs()
    found = asked(metainit, "resume", record.id[:5], "--ledger", ledger)
    for name in ("value", "bitstring", "point", "shots_spent", "jobs", "expected_value_final", "evaluations"):
        assert found[name] == whole[name], name
    assert server.shots_paid() - paid == whole["shots_spent"]
    [session] = {job.session_id for job in mine(server, before)}
    assert server.core.sessions[session]["state"] == "closed"
    assert TOKEN.encode() not in ledger.read_bytes()


@pytest.mark.usefixtures("saved")
def test_the_program_tells_what_keeps_a_run_from_the_service(
    server: Loopback, graph: Path, ledger: Path, metainit: Program
) -> None:
    server.configure(plan="Open", limit_seconds=server.core.consumed() + 600.0)
    code, _, err = metainit("solve", graph, *OPTIONS, "--mode", "session", "--ledger", ledger)
    assert code == 2
    assert "Open plan" in err
    server.configure(paused=True)
    code, _, err = metainit("solve", graph, *OPTIONS, "--ledger", ledger)
    assert code == 2
    assert "maintenance" in err
    assert "POST /jobs" not in server.requests()
    with Ledger(ledger) as kept:
        assert kept.runs() == []
