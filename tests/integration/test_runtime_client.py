"""The real qiskit-ibm-runtime client over HTTP: what the channel builds on, and jobs that outlive processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from integration.loopback import CRN, TOKEN, Loopback, LoopbackProcess
from numpy.typing import NDArray
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import ParameterVector
from qiskit.primitives import BitArray
from qiskit.quantum_info import Statevector
from urllib3.util import Retry

from qiskit_metainit.deployment.channels.account import account, service_backend
from qiskit_metainit.deployment.channels.channel import Busy, Request, Unclear
from qiskit_metainit.deployment.channels.runtime import RuntimeChannel

DEVICES = ("lagos", "montreal", "fez")


@pytest.fixture
def tag(request: pytest.FixtureRequest) -> str:
    return re.sub(r"\W", "-", request.node.name)


def ansatz(rng: np.random.Generator, num_qubits: int, points: int) -> tuple[QuantumCircuit, NDArray[np.float64]]:
    """A logical circuit with angles that share gates, as QAOA's do, and points for them."""
    angles = ParameterVector("angle", 4)
    circuit = QuantumCircuit(num_qubits)
    for layer in (0, 2):
        for left in range(num_qubits - 1):
            circuit.rzz(angles[layer] * (1 + left / 3), left, left + 1)
        for qubit in range(num_qubits):
            circuit.rx(2 * angles[layer + 1], qubit)
            circuit.ry(0.3 * qubit, qubit)
    return circuit, rng.uniform(-np.pi, np.pi, (points, 4))


def template(circuit: QuantumCircuit, backend: Any) -> QuantumCircuit:
    measured = circuit.copy()
    measured.measure_all()
    return transpile(measured, backend, seed_transpiler=7)


def small(outcome: int, backend: Any, shots: int = 25) -> Request:
    circuit = QuantumCircuit(backend.num_qubits, 1)
    if outcome:
        circuit.x(0)
    circuit.measure(0, 0)
    return Request(((circuit, np.zeros((1, 0))),), shots, seed=0)


def same(left: BitArray, right: BitArray) -> bool:
    return left.shape == right.shape and bool(np.array_equal(left.array, right.array))


# Outcomes


@pytest.mark.parametrize(
    "options",
    [None, {"twirling": {"enable_gates": True, "enable_measure": True}, "dynamical_decoupling": {"enable": True}}],
)
def test_outcomes_have_the_probabilities_of_the_logical_circuit(
    server: Loopback, backend: Any, tag: str, rng: np.random.Generator, options: dict[str, Any] | None
) -> None:
    pubs = [ansatz(rng, 4, 3), ansatz(rng, 3, 2)]
    request = Request(tuple((template(circuit, backend), points) for circuit, points in pubs), 2048, seed=0)
    channel = RuntimeChannel(backend, options=options)
    answer = channel.collect(channel.submit(request, tag))
    for (circuit, points), bits in zip(pubs, answer.bits, strict=True):
        assert bits.shape == (len(points),)
        for index, point in enumerate(points):
            expected = Statevector(circuit.assign_parameters(point)).probabilities()
            counts = np.zeros(len(expected))
            for outcome, count in bits[index].get_int_counts().items():
                counts[outcome] = count
            deviation = np.sqrt(expected * (1 - expected) / bits.num_shots)
            assert np.all(np.abs(counts / bits.num_shots - expected) <= 5 * deviation + 1 / bits.num_shots)


def test_noise_of_the_device_is_there_when_asked_for(server: Loopback, backend: Any, tag: str) -> None:
    channel = RuntimeChannel(backend)
    ideal = channel.collect(channel.submit(small(1, backend, shots=4000), tag))
    server.configure(noisy=True)
    noisy = channel.collect(channel.submit(small(1, backend, shots=4001), tag))
    assert ideal.bits[0].get_int_counts() == {1: 4000}
    error = backend.properties().qubit_property(0)["prob_meas0_prep1"][0]
    assert abs(noisy.bits[0].get_int_counts()[0] / 4001 - error) < 0.03  # 5 deviations


def test_a_device_of_27_qubits_runs_circuits_on_some_of_them(server: Loopback, service: Any, tag: str) -> None:
    backend = service.backend("montreal")
    circuit = QuantumCircuit(27, 2)
    circuit.x(20)
    circuit.measure([20, 5], [0, 1])
    channel = RuntimeChannel(backend)
    answer = channel.collect(channel.submit(Request(((circuit, np.zeros((1, 0))),), 10, seed=0), tag))
    assert answer.bits[0].get_int_counts() == {1: 10}


def test_a_job_sent_again_has_the_outcomes_it_had(
    server: Loopback, backend: Any, tag: str, rng: np.random.Generator
) -> None:
    circuit, points = ansatz(rng, 3, 2)
    channel = RuntimeChannel(backend)
    answers = []
    for copy in (circuit, circuit.copy(), circuit):
        if len(answers) == 2:
            points = points + 0.1
        request = Request(((template(copy, backend), points),), 300, seed=len(answers))
        answers.append(channel.collect(channel.submit(request, f"{tag}-{len(answers)}")).bits[0])
    assert same(answers[0], answers[1])
    assert not same(answers[0], answers[2])


# Processes


def test_another_process_finds_and_collects_what_this_one_sent(
    server: Loopback, backend: Any, tag: str, rng: np.random.Generator, tmp_path: Path
) -> None:
    circuit, points = ansatz(rng, 3, 2)
    channel = RuntimeChannel(backend, mode="batch")
    job_id = channel.submit(Request(((template(circuit, backend), points),), 200, seed=0), tag)
    code = f"""
import sys, numpy as np
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from qiskit_ibm_runtime import QiskitRuntimeService
from qiskit_metainit.deployment.channels.runtime import RuntimeChannel
service = QiskitRuntimeService(channel="ibm_quantum_platform", token={TOKEN!r}, instance={CRN!r},
                               url_resolver=lambda *_: "http://127.0.0.1:{server.port}/api/v1")
channel = RuntimeChannel(service.backend("lagos"), mode="batch", session_id={channel.session_id!r})
[job_id] = channel.find({tag!r})
np.save({str(tmp_path / "bits.npy")!r}, channel.collect(job_id).bits[0].array)
channel.close()
print(job_id)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | server.environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == job_id
    assert np.array_equal(np.load(tmp_path / "bits.npy"), channel.collect(job_id).bits[0].array)
    with pytest.raises(Busy, match="batch has ended"):
        channel.submit(small(0, backend), tag)


def test_a_service_that_is_killed_and_started_again_has_its_jobs(
    tmp_path: Path, tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LoopbackProcess(tmp_path) as server:
        backend = server.backend()
        channel = RuntimeChannel(backend, patience=60.0)
        done = channel.submit(small(1, backend), tag)
        before = channel.collect(done)
        server.fault("POST /jobs", status=None, after=True)
        with pytest.raises(Unclear):
            channel.submit(small(0, backend), f"{tag}-lost")
        server.next_job(takes=30.0)
        runs = channel.submit(small(1, backend, shots=30), tag)
        while channel._service.job(runs).status() != "RUNNING":
            pass
        server.kill()
        timer = threading.Timer(1.0, server.start)
        timer.start()
        after = channel.collect(done)  # waits until it is back
        timer.join()
        assert same(before.bits[0], after.bits[0])
        assert before.seconds == after.seconds
        assert list(channel.find(tag)) == [done, runs]
        [lost] = channel.find(f"{tag}-lost")
        assert channel.collect(lost).bits[0].get_int_counts() == {0: 25}
        assert channel.cancel(runs) is False
        assert server.shots_paid() == 25 + 25 + 30
        server.configure(fault_rate=1.0)  # takes faults over HTTP, too
        with pytest.raises((Busy, Unclear)):
            channel.submit(small(0, backend), f"{tag}-more")


def test_every_job_is_accounted_for_under_faults_by_chance(
    server: Loopback, backend: Any, tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Retry, "sleep", lambda *_: None)  # the client's own repeats
    channel = RuntimeChannel(backend, patience=20.0)
    before = server.shots_paid()
    outcomes = []
    server.configure(fault_rate=0.4, fault_seed=5)
    for number in range(12):
        name = f"{tag}-{number}"
        request, jobs = small(number % 2, backend, shots=number + 1), []
        while not jobs:
            try:
                jobs = [channel.submit(request, name)]
            except Busy:
                continue
            except Unclear:
                jobs = list(channel.find(name))  # without lag, what it does not list is not there
        outcomes.append(channel.collect(jobs[0]).bits[0].get_int_counts())
    assert outcomes == [{number % 2: number + 1} for number in range(12)]
    assert server.shots_paid() - before == sum(range(1, 13))
    assert sum(request == "POST /jobs" for request in server.requests()) > 12  # faults there were


# Plans


def test_a_plan_of_a_large_device_needs_no_simulation(server: Loopback, service: Any) -> None:
    server.configure(plan="Open", limit_seconds=600.0, faulty_qubits=(3,), faulty_gates=((0, 1), (1, 0)))
    backend = service.backend("fez")
    assert backend.num_qubits == 156
    assert account(backend).remaining_seconds <= 600.0
    backend.refresh()
    assert backend.properties().faulty_qubits() == [3]
    assert {tuple(gate.qubits) for gate in backend.properties().faulty_gates()} & {(0, 1), (1, 0)}
    assert server.shots_paid() == sum(job.paid for job in server.jobs())


def test_a_plan_is_read_from_the_account(tmp_path: Path) -> None:
    with Loopback(tmp_path, plan="Open", limit_seconds=600.0) as server:
        found = account(server.backend())
    assert (found.plan, found.consumed_seconds, found.remaining_seconds) == ("open", 0, 600.0)


def test_without_a_saved_account_the_user_is_told_how_to_save_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qiskit_ibm_runtime.accounts import management

    file = str(tmp_path / "accounts.json")
    monkeypatch.setattr(management, "_DEFAULT_ACCOUNT_CONFIG_JSON_FILE", file)
    for name in ("QISKIT_IBM_TOKEN", "QISKIT_IBM_CHANNEL", "QISKIT_IBM_INSTANCE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match=r"none on this machine.*save_account\(token=..., instance=...\)"):
        service_backend("lagos")


def test_a_saved_account_gives_its_backends(server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from qiskit_ibm_runtime import QiskitRuntimeService
    from qiskit_ibm_runtime.accounts import management
    from qiskit_ibm_runtime.api import client_parameters

    file = str(tmp_path / "accounts.json")
    monkeypatch.setattr(management, "_DEFAULT_ACCOUNT_CONFIG_JSON_FILE", file)
    url = f"http://127.0.0.1:{server.port}/api/v1"
    monkeypatch.setattr(client_parameters, "default_runtime_url_resolver", lambda *_: url)
    QiskitRuntimeService.save_account(token=TOKEN, instance=CRN)
    with server.here():
        assert service_backend("lagos").num_qubits == 7
        with pytest.raises(ValueError, match="'nowhere' of the saved account"):
            service_backend("nowhere")


# What the client does by itself: if this changes, the channel may do less


@pytest.mark.parametrize(
    ("fault", "raised", "accepted"),
    [
        ({"status": 500, "times": 2}, None, 1),
        ({"status": 500, "times": 2, "after": True}, None, 3),
        ({"status": None}, "IBMRuntimeError", 0),
        ({"status": None, "after": True}, "IBMRuntimeError", 1),
        ({"status": 429, "retry_after": 0}, "IBMRuntimeError", 0),
        ({"status": 400}, "IBMRuntimeError", 0),
        ({"status": 401}, "IBMNotAuthorizedError", 0),
    ],
)
def test_the_client_repeats_some_submissions_and_hides_the_status_of_others(
    server: Loopback,
    backend: Any,
    tag: str,
    fault: dict[str, Any],
    raised: str | None,
    accepted: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from qiskit_ibm_runtime import exceptions
    from qiskit_ibm_runtime.executor_sampler import Sampler

    monkeypatch.setattr(Retry, "sleep", lambda *_: None)
    server.fault("POST /jobs", **fault)
    sampler = Sampler(backend)
    sampler.options.environment.job_tags = [tag]
    [(circuit, _)] = small(1, backend).pubs
    if raised is None:
        assert sampler.run([circuit], shots=25).result()[0].data.c.get_int_counts() == {1: 25}
    else:
        with pytest.raises(getattr(exceptions, raised)) as error:
            sampler.run([circuit], shots=25)
        status = getattr(error.value.__context__, "status_code", None)
        assert status in (fault["status"], -1, None)
    assert sum(tag in job.tags for job in server.jobs()) == accepted


def test_the_client_loses_sight_of_its_backend_in_an_outage(server: Loopback, backend: Any) -> None:
    from qiskit.providers.exceptions import QiskitBackendNotFoundError
    from qiskit_ibm_runtime.executor_sampler import Sampler

    server.fault("GET /backends", status=429)
    [(circuit, _)] = small(1, backend).pubs
    with pytest.raises(QiskitBackendNotFoundError):
        Sampler(backend).run([circuit], shots=25)
