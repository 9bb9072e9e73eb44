from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from integration.loopback import TOKEN, Loopback
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit_aer import AerSimulator
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from qiskit_metainit.deployment.channels import runtime
from qiskit_metainit.deployment.channels.account import account, availability
from qiskit_metainit.deployment.channels.channel import Busy, JobFailed, Refused, Request, Unclear, Unreachable
from qiskit_metainit.deployment.channels.client import Post
from qiskit_metainit.deployment.channels.runtime import TAG, RuntimeChannel

DEVICES = ("manila",)
SHOTS = 40


@pytest.fixture
def channel(server: Loopback, backend: Any) -> RuntimeChannel:
    return RuntimeChannel(backend, patience=3.0)


@pytest.fixture
def tag(request: pytest.FixtureRequest) -> str:
    return re.sub(r"\W", "-", request.node.name)


def turns(*angles: float) -> Request:
    """One qubit that answers 1 with probability sin^2(angle/2), by the device's own gates."""
    angle = Parameter("angle")
    circuit = QuantumCircuit(5, 1)
    circuit.sx(2)
    circuit.rz(angle, 2)
    circuit.sx(2)
    circuit.x(2)
    circuit.measure(2, 0)
    return Request(((circuit, np.array([[value] for value in angles])),), SHOTS, seed=0)


def fixed(*outcomes: int, each: int = 1, shots: int = SHOTS) -> Request:
    """A circuit without parameters an outcome, each evaluated that often."""
    pubs = []
    for outcome in outcomes:
        circuit = QuantumCircuit(5, 2)
        for place in (0, 1):
            if outcome >> place & 1:
                circuit.x(3 - place)
        circuit.measure([3, 2], [0, 1])
        pubs.append((circuit, np.zeros((each, 0))))
    return Request(tuple(pubs), shots, seed=0)


def found(server: Loopback, tag: str) -> list[Any]:
    return [job for job in server.jobs() if tag in job.tags]


# What a submission does


@pytest.mark.parametrize(
    ("fault", "raised", "accepted"),
    [
        ({"status": 500}, Unclear, 0),
        ({"status": 500, "after": True}, Unclear, 1),
        ({"status": 503}, Unclear, 0),
        ({"status": 408}, Unclear, 0),
        ({"status": None}, Unclear, 0),
        ({"status": None, "after": True}, Unclear, 1),
        ({"status": 429}, Busy, 0),
        ({"status": 429, "retry_after": 0}, Busy, 0),
        ({"status": 400}, Refused, 0),
        ({"status": 401}, Refused, 0),
        ({"status": 403}, Refused, 0),
        ({"status": 404}, Refused, 0),
        ({"status": 409}, Refused, 0),
    ],
)
def test_a_submission_is_one_request_whatever_becomes_of_it(
    server: Loopback, channel: RuntimeChannel, tag: str, fault: dict[str, Any], raised: type[Exception], accepted: int
) -> None:
    server.fault("POST /jobs", **fault)
    with pytest.raises(raised) as error:
        channel.submit(turns(0.3), tag)
    assert server.requests().count("POST /jobs") == 1
    jobs = found(server, tag)
    assert len(jobs) == accepted
    assert list(channel.find(tag)) == [job.id for job in jobs]
    assert TOKEN not in str(error.value)


def test_the_clients_own_repeats_are_back_after_a_submission(
    server: Loopback, channel: RuntimeChannel, tag: str
) -> None:
    job_id = channel.submit(turns(0.3), tag)
    http = channel._service._get_api_client()._session
    assert not [adapter for adapter in http.adapters.values() if isinstance(adapter, Post)]
    server.fault("GET /jobs/*", status=500)
    channel.collect(job_id)


@pytest.mark.parametrize(
    ("faults", "raised"),
    [
        ([("GET /instances/usage", 429)], Busy),
        ([("GET /instances/usage", 401)], Refused),
        ([("GET /backends/*/status", 429)], Busy),
        ([("GET /backends", 429)], Busy),  # the client says that there is no such backend
        ([("GET /backends", 429), ("GET /backends/*/status", 429)], Busy),
        ([("GET /backends", 404), ("GET /backends/*/status", 404)], Refused),
    ],
)
def test_a_submission_that_fails_before_its_request_leaves_no_doubt(
    server: Loopback, channel: RuntimeChannel, tag: str, faults: list[tuple[str, int]], raised: type[Exception]
) -> None:
    for route, status in faults:
        server.fault(route, status=status)
    with pytest.raises(raised):
        channel.submit(turns(0.3), tag)
    assert "POST /jobs" not in server.requests()
    assert channel.submit(turns(0.3), tag) in {job.id for job in found(server, tag)}


def test_a_service_that_is_away_is_busy_to_submit_to_and_unreachable_to_ask(
    tmp_path_factory: pytest.TempPathFactory, tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Retry, "sleep", lambda *_: None)  # the client's own repeats, 3 s a call
    with Loopback(tmp_path_factory.mktemp("away")) as server:
        backend = server.backend()
        channel = RuntimeChannel(backend, patience=0.1)
        job_id = channel.submit(turns(0.3), tag)
    with pytest.raises(Busy, match="could not be reached"):
        channel.submit(turns(0.3), tag)
    with pytest.raises(Unreachable, match="Nothing is lost"):
        channel.collect(job_id)
    with pytest.raises(Unreachable):
        channel.find(tag)
    with pytest.raises(Unreachable):
        account(backend)
    with pytest.raises(Unreachable):
        availability(backend)


def test_a_request_that_never_had_a_connection_was_not_sent(
    server: Loopback, channel: RuntimeChannel, tag: str
) -> None:
    class Elsewhere(HTTPAdapter):
        def send(self, request: Any, **options: Any) -> Any:
            if request.method == "POST":
                request.url = "http://127.0.0.1:9/nobody"
            return super().send(request, **options)

    http = channel._service._get_api_client()._session
    prefix = "http://127.0.0.1"
    http.mount(prefix, Elsewhere())
    try:
        with pytest.raises(Busy, match="could not be reached"):
            channel.submit(turns(0.3), tag)
    finally:
        http.adapters.pop(prefix)
    assert found(server, tag) == []


def test_what_the_client_does_after_a_job_was_accepted_does_not_lose_it(
    server: Loopback, channel: RuntimeChannel, tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no job object")

    monkeypatch.setattr("qiskit_ibm_runtime.qiskit_runtime_service.RuntimeJobV2", fail)
    assert channel.submit(turns(0.3), tag) == found(server, tag)[0].id


def test_without_the_clients_internals_repeats_are_found_by_their_tag(
    server: Loopback, channel: RuntimeChannel, tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "one_post", lambda backend: contextlib.nullcontext(Post(None)))
    server.fault("POST /jobs", status=500, after=True)
    job_id = channel.submit(turns(0.3), tag)
    jobs = [job.id for job in found(server, tag)]
    assert len(jobs) == 2
    assert job_id == jobs[1]
    assert list(channel.find(tag)) == jobs
    for status, raised in ((429, Busy), (400, Refused), (401, Refused)):
        server.fault("POST /jobs", status=status)
        with pytest.raises(raised):
            channel.submit(turns(0.3), tag)
    server.fault("POST /jobs", status=None)
    with pytest.raises(Unclear):
        channel.submit(turns(0.3), tag)


def test_jobs_sent_from_threads_at_once_do_not_mix(server: Loopback, backend: Any, tag: str) -> None:
    def send(number: int) -> str:
        try:
            return RuntimeChannel(backend).submit(fixed(1, shots=number + 1), f"{tag}-{number}")
        except Unclear:
            return ""

    server.fault("POST /jobs", status=500, times=3)
    with ThreadPoolExecutor(6) as pool:
        ids = list(pool.map(send, range(9)))
    sent = {number: [job.id for job in found(server, f"{tag}-{number}")] for number in range(9)}
    assert sorted(len(jobs) for jobs in sent.values()) == [0] * 3 + [1] * 6
    assert ids == ["".join(jobs) for jobs in sent.values()]


def test_what_another_thread_sends_meanwhile_is_left_to_the_client(
    server: Loopback, channel: RuntimeChannel, backend: Any, tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qiskit_ibm_runtime.executor_sampler import Sampler

    [(circuit, _)] = fixed(1).pubs
    others = []
    sampler = Sampler(backend, options={"environment": {"job_tags": [f"{tag}-other"]}})

    def target(self: RuntimeChannel) -> Any:
        with ThreadPoolExecutor(1) as pool:
            others.append(pool.submit(lambda: sampler.run([circuit], shots=5).job_id()).result())
        return backend

    monkeypatch.setattr(RuntimeChannel, "_target", target)
    server.fault("POST /jobs", status=500)
    assert [channel.submit(fixed(1), tag)] == [job.id for job in found(server, tag)]
    assert [job.id for job in found(server, f"{tag}-other")] == others
    assert server.requests().count("POST /jobs") == 3


def test_a_job_that_the_client_does_not_take_is_refused(server: Loopback, backend: Any, tag: str) -> None:
    channel = RuntimeChannel(backend, options={"dynamical_decoupling": {"enable": True}})
    circuit = QuantumCircuit(5, 1)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(0)
    circuit.measure(0, 0)
    with pytest.raises(Refused, match="did not take the job"):
        channel.submit(Request(((circuit, np.zeros((1, 0))),), 10, seed=0), tag)
    assert "POST /jobs" not in server.requests()


# What comes back


def test_outcomes_are_by_pub_and_point_and_the_jobs_tags_are_its_own_and_the_packages(
    server: Loopback, channel: RuntimeChannel, tag: str
) -> None:
    request = Request((*turns(0.0, np.pi, 0.0).pubs, *fixed(2, 1, each=2).pubs, *fixed(3).pubs), SHOTS, seed=0)
    job_id = channel.submit(request, tag)
    answer = channel.collect(job_id)
    assert [bits.shape for bits in answer.bits] == [(3,), (2,), (2,), (1,)]
    # sx rz(a) sx x: 0 at a = 0, 1 at a = pi
    assert [answer.bits[0][i].get_int_counts() for i in range(3)] == [{0: SHOTS}, {1: SHOTS}, {0: SHOTS}]
    assert [answer.bits[pub][i].get_int_counts() for pub in (1, 2) for i in (0, 1)] == [{2: SHOTS}] * 2 + [
        {1: SHOTS}
    ] * 2
    assert answer.bits[3].get_int_counts() == {3: SHOTS}
    [job] = found(server, tag)
    assert job.id == job_id
    assert job.tags == (tag, TAG)
    assert job.paid == request.total_shots == channel.cost(request)
    assert answer.seconds == pytest.approx(job.seconds)


def test_points_that_are_alike_draw_their_own_outcomes(channel: RuntimeChannel, tag: str) -> None:
    bits = channel.collect(channel.submit(turns(1.0, 1.0, 1.0), tag)).bits[0]
    assert len({bits[i].array.tobytes() for i in range(3)}) == 3


@pytest.mark.parametrize(
    ("twirling", "shots"),
    [
        ({"enable_measure": True}, 100),
        ({"enable_gates": True, "num_randomizations": 3}, 50),
        ({"enable_gates": True, "enable_measure": True, "shots_per_randomization": 16}, 50),
        ({"enable_measure": True, "num_randomizations": 4, "shots_per_randomization": 5}, 50),
        ({"enable_measure": True, "num_randomizations": 4}, 64),
        ({"num_randomizations": 3}, 50),  # switched off
    ],
)
def test_twirling_costs_what_the_service_takes_and_gives_all_its_shots(
    server: Loopback, backend: Any, tag: str, twirling: dict[str, Any], shots: int
) -> None:
    channel = RuntimeChannel(backend, options={"twirling": twirling})
    request = Request((*turns(0.0, np.pi).pubs, *fixed(1).pubs), shots, seed=0)
    answer = channel.collect(channel.submit(request, tag))
    taken = channel.cost(request)
    assert found(server, tag)[0].paid == taken >= (0 if "shots_per_randomization" in twirling else 3 * shots)
    assert [bits.shape for bits in answer.bits] == [(2,), (1,)]
    assert {bits.num_shots for bits in answer.bits} == {taken // 3}
    assert answer.bits[0][1].get_int_counts() == answer.bits[1].get_int_counts() == {1: taken // 3}


@pytest.mark.parametrize("route", ["GET /jobs/*", "GET /jobs/*/results"])
@pytest.mark.parametrize(
    "fault", [{"status": 429}, {"status": 429, "retry_after": 0}, {"status": None}, {"status": 500}]
)
def test_outcomes_are_collected_through_faults(
    server: Loopback, channel: RuntimeChannel, tag: str, route: str, fault: dict[str, Any]
) -> None:
    job_id = channel.submit(fixed(1), tag)
    server.fault(route, **fault)
    server.fault("GET /jobs/*/metrics", status=429)
    assert channel.collect(job_id).bits[0].get_int_counts() == {1: SHOTS}


def test_usage_that_is_not_told_does_not_cost_the_outcomes(server: Loopback, channel: RuntimeChannel, tag: str) -> None:
    job_id = channel.submit(fixed(1), tag)
    server.fault("GET /jobs/*/metrics", status=429, times=9)
    answer = channel.collect(job_id)
    assert answer.seconds is None
    assert answer.bits[0].get_int_counts() == {1: SHOTS}


@pytest.mark.parametrize(
    ("outcome", "ran", "charged", "cancelled"),
    [
        ({"state": "FAILED", "code": 9999, "reason": "it broke", "charged": True}, True, True, False),
        ({"state": "FAILED", "code": 9999, "reason": "it broke"}, True, False, False),
        ({"state": "FAILED", "code": 1305, "reason": "it broke", "charged": True}, True, True, False),
        ({"state": "CANCELLED", "charged": True}, True, True, True),
        ({"state": "CANCELLED"}, False, False, True),
        ({"state": "CANCELLED", "code": 1305, "reason": "it broke", "charged": True}, True, True, False),
    ],
)
def test_a_job_without_outcomes_tells_what_it_cost(
    server: Loopback,
    channel: RuntimeChannel,
    tag: str,
    outcome: dict[str, Any],
    ran: bool,
    charged: bool,
    cancelled: bool,
) -> None:
    server.next_job(**outcome)
    job_id = channel.submit(fixed(1), tag)
    with pytest.raises(JobFailed, match=outcome.get("reason", "cancelled")) as error:
        channel.collect(job_id)
    assert (error.value.ran, error.value.cancelled) == (ran, cancelled)
    assert error.value.seconds == pytest.approx(found(server, tag)[0].seconds)
    assert (error.value.seconds > 0) == charged


def test_a_job_that_failed_may_have_run_if_the_service_does_not_tell(
    server: Loopback, channel: RuntimeChannel, tag: str
) -> None:
    server.next_job(state="CANCELLED")
    job_id = channel.submit(fixed(1), tag)
    server.fault("GET /jobs/*/metrics", status=429, times=9)
    with pytest.raises(JobFailed) as error:
        channel.collect(job_id)
    assert error.value.ran
    assert error.value.seconds is None


def test_a_job_that_takes_too_long_ends_at_its_limit(server: Loopback, channel: RuntimeChannel, tag: str) -> None:
    server.configure(per_shot=1.0)
    one = fixed(1)
    job_id = channel.submit(Request(one.pubs, one.shots, one.seed, max_seconds=7), tag)
    with pytest.raises(JobFailed) as error:
        channel.collect(job_id)
    assert error.value.seconds == found(server, tag)[0].limit == 7
    assert error.value.ran


def test_a_circuit_that_the_device_does_not_have_fails_there(
    server: Loopback, channel: RuntimeChannel, tag: str
) -> None:
    circuit = QuantumCircuit(5, 1)
    circuit.h(0)
    circuit.measure(0, 0)
    job_id = channel.submit(Request(((circuit, np.zeros((1, 0))),), SHOTS, seed=0), tag)  # the client checks nothing
    with pytest.raises(JobFailed, match="instruction h on qubits"):
        channel.collect(job_id)
    assert found(server, tag)[0].paid == 0


def test_a_job_that_the_service_does_not_know_is_not_waited_for(channel: RuntimeChannel) -> None:
    with pytest.raises(Unreachable, match="the account and instance"):
        channel.collect("nothing")


# Cancelling and finding


def test_a_job_that_waits_is_cancelled_without_charge_and_one_that_ended_is_not(
    server: Loopback, channel: RuntimeChannel, tag: str
) -> None:
    server.next_job(queued=60.0)
    waits = channel.submit(fixed(1), tag)
    assert channel.cancel(waits) is True
    with pytest.raises(JobFailed) as error:
        channel.collect(waits)
    assert error.value.cancelled
    assert not error.value.ran
    ended = channel.submit(fixed(2), tag)
    channel.collect(ended)
    assert channel.cancel(ended) is False
    assert [job.paid for job in found(server, tag)] == [0, SHOTS]


def test_a_job_that_runs_is_cancelled_and_paid_for(server: Loopback, channel: RuntimeChannel, tag: str) -> None:
    server.next_job(takes=60.0)
    job_id = channel.submit(fixed(1), tag)
    while found(server, tag)[0].started is None:
        pass
    assert channel.cancel(job_id) is False
    assert found(server, tag)[0].state == "CANCELLED"


def test_jobs_are_found_the_oldest_first_once_the_service_lists_them(
    server: Loopback, channel: RuntimeChannel, tag: str
) -> None:
    jobs = [channel.submit(fixed(1), tag) for _ in range(3)]
    channel.submit(fixed(1), f"{tag}-other")
    assert list(channel.find(tag)) == jobs
    server.configure(tag_lag=60.0)
    assert list(channel.find(tag)) == []
    server.configure(tag_lag=0.0)
    server.fault("GET /jobs", status=429)
    assert list(channel.find(tag)) == jobs


# Modes


@pytest.mark.parametrize("mode", ["batch", "session"])
def test_a_batch_or_session_opens_at_the_first_job_and_goes_on_by_its_id(
    server: Loopback, backend: Any, tag: str, mode: Any
) -> None:
    first = RuntimeChannel(backend, mode=mode)
    assert first.session_id is None
    assert "POST /sessions" not in server.requests()
    first.collect(first.submit(fixed(1), tag))
    again = RuntimeChannel(backend, mode=mode, session_id=first.session_id)
    again.submit(fixed(1), tag)
    assert server.requests().count("POST /sessions") == 1
    again.close()
    assert first.session_id is not None
    with pytest.raises(Busy, match="has ended"):  # closed elsewhere
        first.submit(fixed(1), tag)
    first.submit(fixed(1), tag)
    later = RuntimeChannel(backend, mode=mode, session_id=again.session_id)
    later.submit(fixed(1), tag)
    sessions = [job.session_id for job in found(server, tag)]
    assert sessions[:2] == [again.session_id] * 2
    assert sessions[2] == first.session_id
    assert sessions[3] == later.session_id
    assert len(set(sessions)) == 3


def test_the_open_plan_has_no_sessions_but_batches(server: Loopback, backend: Any, tag: str) -> None:
    server.configure(plan="Open")
    with pytest.raises(Refused, match=r"mode='batch'.*Open plan has no sessions"):
        RuntimeChannel(backend, mode="session").submit(fixed(1), tag)
    assert "POST /jobs" not in server.requests()
    RuntimeChannel(backend, mode="batch").submit(fixed(1), tag)


def test_a_session_that_cannot_be_opened_now_is_not_a_refusal(server: Loopback, backend: Any, tag: str) -> None:
    channel = RuntimeChannel(backend, mode="session")
    server.fault("POST /sessions", status=429)
    with pytest.raises(Busy):
        channel.submit(fixed(1), tag)
    channel.submit(fixed(1), tag)
    assert len(found(server, tag)) == 1


def test_a_session_of_another_mode_is_refused(server: Loopback, backend: Any, tag: str) -> None:
    batch = RuntimeChannel(backend, mode="batch")
    batch.submit(fixed(1), tag)
    with pytest.raises(Refused, match="execution mode batch"):
        RuntimeChannel(backend, mode="session", session_id=batch.session_id).submit(fixed(1), tag)


# Options and accounts


def test_a_record_has_the_options_and_nothing_of_the_account(server: Loopback, backend: Any, tag: str) -> None:
    from qiskit_ibm_runtime.options_models import SamplerOptions

    options = SamplerOptions()
    options.dynamical_decoupling.enable = True
    options.environment.job_tags = ["mine"]
    options.max_execution_time = 77
    channel = RuntimeChannel(backend, options=options)
    options.environment.job_tags.append("later")  # the channel has its own
    record = json.loads(json.dumps(channel.record()))
    assert record["options"]["dynamical_decoupling"]["enable"] is True
    assert record["backend"] == "manila"
    assert record["mode"] == "job"
    assert TOKEN not in json.dumps(record)
    again = RuntimeChannel(backend, options=record["options"])
    assert again.record() == record
    again.collect(again.submit(fixed(1), tag))
    [job] = found(server, tag)
    assert job.tags == ("mine", tag, TAG)
    assert job.limit == 77
    assert again.record() == record


def test_an_older_client_runs_its_own_sampler_in_silence(
    server: Loopback, backend: Any, tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "qiskit_ibm_runtime.executor_sampler", None)
    channel = RuntimeChannel(backend, options={"twirling": {"num_randomizations": 3}})
    assert channel.record()["options"]["twirling"]["num_randomizations"] == 3
    request = Request((*turns(0.0, np.pi).pubs, *fixed(2, each=2).pubs), SHOTS, seed=0)
    answer = channel.collect(channel.submit(request, tag))
    [job] = found(server, tag)
    assert job.program == "sampler"
    assert job.tags == (tag, TAG)
    assert job.paid == channel.cost(request) == request.total_shots
    counts = [bits[i].get_int_counts() for bits in answer.bits for i in (0, 1)]
    assert counts == [{0: SHOTS}, {1: SHOTS}, {2: SHOTS}, {2: SHOTS}]


def test_an_account_tells_its_plan_and_what_is_left(server: Loopback, backend: Any, tag: str) -> None:
    channel = RuntimeChannel(backend)
    before = account(backend)
    channel.collect(channel.submit(fixed(1), tag))
    after = account(backend)
    assert after.plan == "premium"
    assert after.remaining_seconds == pytest.approx(before.remaining_seconds - found(server, tag)[0].seconds)
    assert after.consumed_seconds == pytest.approx(before.consumed_seconds + found(server, tag)[0].seconds)
    server.configure(limit_seconds=None)
    assert account(backend).remaining_seconds is None


def test_a_backend_that_is_paused_is_not_active(server: Loopback, backend: Any) -> None:
    assert availability(backend).active
    assert availability(backend).queue == 0
    server.configure(paused=True)
    found = availability(backend)
    assert not found.active
    assert found.message == "maintenance"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda backend: RuntimeChannel(AerSimulator()), "but AerSimulator came.*LocalChannel"),
        (lambda backend: RuntimeChannel(backend, mode="fast"), "'fast' came"),  # type: ignore[arg-type]
        (lambda backend: RuntimeChannel(backend, session_id="x"), "mode='job' came"),
    ],
)
def test_arguments_are_checked(backend: Any, make: Callable[[Any], RuntimeChannel], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(backend)


def test_the_client_is_imported_when_it_is_used() -> None:
    code = "import sys, qiskit_metainit.deployment.channels.runtime, qiskit_metainit.deployment.channels.account as a\n"
    code += "sys.exit('qiskit_ibm_runtime' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
