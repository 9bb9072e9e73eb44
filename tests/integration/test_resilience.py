"""Energies by the client's Estimator: what they cost, over HTTP and simulated here, and runs that are made of them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from integration.loopback import CRN, TOKEN, Loopback
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.primitives import StatevectorEstimator
from qiskit.primitives.containers.observables_array import ObservablesArray
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer import AerSimulator
from qiskit_algorithms.optimizers import COBYLA, SPSA

from qiskit_metainit.backends import active_simulator, fake_backend
from qiskit_metainit.budget import ShotBudget
from qiskit_metainit.deployment import (
    BudgetError,
    Deployment,
    Ledger,
    LedgerError,
    LocalChannel,
    Run,
    RuntimeChannel,
    ShotSchedule,
    layout_safe,
)
from qiskit_metainit.deployment.channels.channel import Refused, Request
from qiskit_metainit.deployment.channels.estimates import Mitigation, estimates, pubs
from qiskit_metainit.deployment.spending.primitives import LedgeredEstimator
from qiskit_metainit.deployment.stored import run_as_json
from qiskit_metainit.initializer import MetaInitializer
from qiskit_metainit.models.constant import Constant
from qiskit_metainit.problem import Problem
from qiskit_metainit.problems.maxcut import MaxCut

pytestmark = [
    # Of qiskit-algorithms 0.4.
    pytest.mark.filterwarnings("ignore:scipy.optimize. The `disp` and `iprint` options:DeprecationWarning"),
    # Of the client, about Aer.
    pytest.mark.filterwarnings("ignore:.*simulator.*:UserWarning"),
]

DEVICES = ("lagos", "fez")
PROBLEM = MaxCut.from_edges([("a", "b", 1.0), ("b", "c", 2.0), ("c", "a", 0.7), ("c", "d", 0.5)])
START = [0.3, -0.2]
SHOTS = 128
Program = Callable[..., tuple[int, str, str]]
LEVELS = [{"resilience_level": level} for level in (0, 1, 2)]
OPTIONS = [
    *LEVELS,
    {"resilience_level": 0, "twirling": {"enable_gates": True}},
    {"resilience_level": 0, "twirling": {"enable_gates": True, "num_randomizations": 5}},
    {"resilience_level": 1, "twirling": {"num_randomizations": 3, "shots_per_randomization": 50}},
    {"resilience_level": 1, "twirling": {"shots_per_randomization": 20}},
    {"resilience_level": 1, "resilience": {"measure_noise_learning": {"num_randomizations": 7}}},
    {"resilience_level": 2, "resilience": {"zne": {"noise_factors": [1, 1.5, 3, 5]}}},
    {"resilience_level": 2, "resilience": {"measure_mitigation": False, "zne": {"noise_factors": [1, 3]}}},
]


def two_bases() -> tuple[QuantumCircuit, ObservablesArray, NDArray[np.float64]]:
    """Three points of a circuit whose observable has two bases."""
    angles = ParameterVector("angle", 2)
    circuit = QuantumCircuit(7)
    circuit.sx(1)
    circuit.rz(angles[0], 1)
    circuit.cx(1, 3)
    circuit.sx(3)
    circuit.rz(angles[1], 3)
    circuit.sx(3)
    terms = SparsePauliOp.from_sparse_list([("ZZ", [1, 3], 1.0), ("X", [3], 0.5), ("X", [1], -0.7)], 7)
    return circuit, ObservablesArray(terms), np.array([[0.1, 0.4], [1.0, -2.0], [2.5, 0.3]])


def one_basis(shape: tuple[int, ...] = ()) -> tuple[QuantumCircuit, ObservablesArray, NDArray[np.float64]]:
    """A circuit without parameters."""
    circuit = QuantumCircuit(7)
    circuit.x(0)
    circuit.cx(0, 1)
    terms = SparsePauliOp.from_sparse_list([("ZZ", [0, 1], 1.0), ("Z", [0], 2.0)], 7)
    return circuit, ObservablesArray(terms), np.zeros((*shape, 0))


def asked(*parts: Any, shots: int = SHOTS) -> Request:
    return Request(
        tuple((circuit, points) for circuit, _, points in parts),
        shots,
        seed=11,
        observables=tuple(observables for _, observables, _ in parts),
    )


def exact(circuit: QuantumCircuit, observables: ObservablesArray, points: NDArray[np.float64]) -> Any:
    pub = (circuit, observables, points) if points.shape[-1] else (circuit, observables)
    return StatevectorEstimator().run([pub]).result()[0].data.evs


# What it costs


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_what_a_job_is_said_to_cost_is_what_is_sent(options: dict[str, Any], server: Loopback, backend: Any) -> None:
    channel = RuntimeChannel(backend, estimator=options, patience=5.0)
    for shots in (1, 100, 4097):
        request = asked(two_bases(), one_basis(), shots=shots)
        told = channel.cost(request)
        channel.submit(request, f"cost-{shots}")
        assert server.jobs()[-1].shots == told


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_what_was_learned_of_one_job_prices_others(options: dict[str, Any], backend: Any) -> None:
    known = Mitigation(options, backend)
    for points in (1, 3):
        for shots in (1, 31, 64, 65, 1000, 2048, 2049, 10_000):
            circuit, observables, rows = two_bases()
            request = asked((circuit, observables, rows[:points]), shots=shots)
            alone = known._prepared(request, shots)
            assert known.cost(request) == alone.shots * sum(item.size() for item in alone.items)


def test_levels_cost_what_ibm_says_they_do(backend: Any) -> None:
    # A precision of .05 in two bases: figures read off the client's own log.
    circuit, observables, points = two_bases()
    request = asked((circuit, observables, points[:1]), shots=400)
    assert [Mitigation(options, backend).cost(request) for options in LEVELS] == [800, 1344, 3136]


# Channels


def test_expectation_values_come_back_in_shape_and_in_a_new_process_too(server: Loopback, backend: Any) -> None:
    channel = RuntimeChannel(backend, estimator={"resilience_level": 1}, patience=5.0)
    request = asked(two_bases(), one_basis(), shots=20_000)
    job = channel.submit(request, "shape")
    [first, second] = channel.collect(job).estimates
    np.testing.assert_allclose(first.values, exact(*two_bases()), atol=0.05)
    np.testing.assert_allclose(second.values, exact(*one_basis()), atol=0.05)
    assert first.values.shape == first.errors.shape == (3,)
    assert second.values.shape == ()
    assert np.all((first.errors > 0) & (first.errors < 0.05))
    again = RuntimeChannel(server.backend("lagos"), patience=5.0).collect(job)
    np.testing.assert_array_equal(again.estimates[0].values, first.values)
    assert again.bits == ()


@pytest.mark.parametrize("options", [None, {"resilience_level": 1}])
@pytest.mark.parametrize("make", [RuntimeChannel, LocalChannel])
def test_a_channel_estimates_if_it_is_told_how(make: Any, options: Any, backend: Any) -> None:
    channel = make(backend if make is RuntimeChannel else AerSimulator(), estimator=options)
    assert channel.estimates == (options is not None)
    if options is None:
        with pytest.raises(Refused, match="Estimator is needed"):
            channel.submit(asked(one_basis()), "none")


@pytest.mark.parametrize(
    ("make", "options", "reason"),
    [
        (lambda: AerSimulator(), {"resilience_level": 7}, "resilience_level"),
        (lambda: AerSimulator(), {"resilient": True}, "resilient"),
        (lambda: AerSimulator(), 1, "Options of the client's Estimator are needed"),
        (lambda: GenericBackendV2(3), {"resilience_level": 1}, "A noiseless AerSimulator, a fake device"),
        (lambda: AerSimulator.from_backend(fake_backend("fake_guadalupe")), {}, r"active_simulator\(device\)"),
    ],
)
def test_options_that_are_none_are_refused(make: Any, options: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        LocalChannel(make(), estimator=options)


def test_options_that_exclude_each_other_are_told_once(backend: Any, recwarn: pytest.WarningsRecorder) -> None:
    options = {"resilience_level": 1, "twirling": {"enable_measure": False}}
    with pytest.warns(UserWarning, match="measurement mitigation requires"):
        known = Mitigation(options, backend)
    known.cost(asked(two_bases()))
    assert [str(one.message) for one in recwarn if "mitigation" in str(one.message)] == []


def test_mitigation_that_lacks_what_it_needs_is_refused_before_anything_is_sent(server: Loopback, backend: Any) -> None:
    before = len(server.jobs())
    channel = RuntimeChannel(backend, estimator={"resilience": {"pec_mitigation": True}}, patience=5.0)
    with (
        Deployment(backend, ShotBudget(shots=9000), channel=channel) as deployment,
        pytest.raises(Refused, match="noise model"),
    ):
        carried(deployment)
    assert len(server.jobs()) == before


@pytest.mark.parametrize(
    "resilience",
    [
        {"pec_mitigation": True, "measure_mitigation": False},
        {"zne_mitigation": True, "zne": {"amplifier": "pea"}},
        {"zne_mitigation": True, "zne": {"amplifier": "pea", "noise_factors": [1, 2]}, "measure_mitigation": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("twirling", [{}, {"num_randomizations": 7}], ids=str)
def test_mitigation_by_a_noise_model_is_priced_as_it_is_sent(
    resilience: dict[str, Any], twirling: dict[str, Any], server: Loopback, backend: Any
) -> None:
    from qiskit.quantum_info import PauliLindbladMap
    from qiskit_ibm_runtime.executor_estimator import Estimator
    from qiskit_ibm_runtime.options_models.estimator import EstimatorOptions

    request = asked(two_bases(), shots=500)
    options = EstimatorOptions(resilience=resilience, twirling=twirling)
    layers = Estimator(backend, options).find_unique_layers(pubs(request))
    noise = [PauliLindbladMap.from_list([("Z" * len(layer.qubits), 0.01)]) for layer in layers]
    options.resilience.layer_noise_model = list(zip(layers, noise, strict=True))
    channel = RuntimeChannel(backend, estimator=options, patience=5.0)
    told = channel.cost(request)
    channel.submit(request, "model")
    assert server.jobs()[-1].shots == told > 6 * 500
    assert "layer_noise_model" not in json.dumps(channel.record())


def test_observables_of_other_shapes_have_prices_of_their_own(server: Loopback, backend: Any) -> None:
    channel = RuntimeChannel(backend, estimator={"resilience_level": 1}, patience=5.0)
    circuit, _, points = two_bases()
    terms = [SparsePauliOp.from_sparse_list([("Z", [place], 1.0)], 7) for place in (1, 3, 1)]
    for observables in (ObservablesArray(terms), ObservablesArray([[term] for term in terms])):
        request = asked((circuit, observables, points))
        told = channel.cost(request)
        channel.submit(request, "shape")
        assert server.jobs()[-1].shots == told


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_device_is_simulated_on_the_qubits_that_are_used(wrapped: bool) -> None:
    device = fake_backend("fake_fez")
    circuit = QuantumCircuit(156)
    angle = Parameter("angle")
    circuit.sx(10)
    circuit.rz(angle, 10)
    circuit.sx(10)
    circuit.cz(10, 11)
    circuit.x(140)
    terms = SparsePauliOp.from_sparse_list([("Z", [10], 1.0), ("ZZ", [10, 11], 0.5), ("Z", [141], 0.25)], 156)
    observables = ObservablesArray([terms, SparsePauliOp.from_sparse_list([("Z", [140], 1.0)], 156)])
    request = asked((circuit, observables, np.array([[[0.4]], [[1.3]], [[2.0]]])), shots=4000)
    channel = LocalChannel(active_simulator(device) if wrapped else device, estimator={"resilience_level": 1})
    [found] = channel.collect(channel.submit(request, "here")).estimates
    points = np.array([0.4, 1.3, 2.0])
    expected = np.array([-1.5 * np.cos(points) + 0.25, np.full(3, -1.0)]).T
    np.testing.assert_allclose(found.values, expected, atol=0.08)


def test_a_simulated_job_draws_the_same_again() -> None:
    channel = LocalChannel(fake_backend("fake_lagos"), estimator={"resilience_level": 1})
    one, two = (channel.collect(channel.submit(asked(two_bases()), "again")).estimates[0] for _ in range(2))
    np.testing.assert_array_equal(one.values, two.values)
    np.testing.assert_array_equal(one.errors, two.errors)


def test_what_is_mitigated_is_nearer_to_the_truth() -> None:
    """Readout errors of some percent, which level 1 takes out."""
    device = fake_backend("fake_lagos")
    parts = two_bases()
    truth = exact(*parts)
    errors = []
    for options in LEVELS[:2]:
        channel = LocalChannel(device, estimator=options)
        found = channel.collect(channel.submit(asked(parts, shots=20_000), "nearer")).estimates[0].values
        errors.append(float(np.abs(found - truth).max()))
    assert errors[1] < 0.6 * errors[0]


def test_circuits_the_client_cannot_lay_out_are_refused() -> None:
    circuit = QuantumCircuit(2)
    circuit.rzz(Parameter("angle"), 0, 1)
    request = asked((circuit, ObservablesArray(SparsePauliOp("ZZ")), np.array([[0.3]])))
    with pytest.raises(Refused, match="Estimator did not take the job"):
        LocalChannel(AerSimulator(), estimator={"resilience_level": 2}).cost(request)


@pytest.mark.parametrize(("own", "asked_for", "sent"), [(None, 40, 40), (30, 40, 30), (60, 40, 40)])
def test_the_shorter_limit_of_time_holds(
    own: int | None, asked_for: int, sent: int, server: Loopback, backend: Any
) -> None:
    channel = RuntimeChannel(backend, estimator={"max_execution_time": own}, patience=5.0)
    channel.submit(replace(asked(one_basis()), max_seconds=asked_for), "limit")
    assert server.jobs()[-1].limit == sent


# Runs


def made(
    backend: Any, level: int | None = 1, budget: ShotBudget | None = None, ledger: Path | None = None, **channel: Any
) -> Deployment:
    estimator = None if level is None else {"resilience_level": level}
    kind: Any = LocalChannel if isinstance(backend, AerSimulator) else RuntimeChannel
    settings = {"patience": 5.0} if kind is RuntimeChannel else {}
    own = kind(backend, estimator=estimator, **settings, **channel)
    return Deployment(backend, budget, ledger=ledger, channel=own, seed=3, patience=5.0, grace=0.3)


def carried(deployment: Deployment, **settings: Any) -> Run:
    given = {"optimizer": COBYLA(maxiter=5, rhobeg=0.3), "shots_per_evaluation": SHOTS} | settings
    initializer = MetaInitializer(Constant(point=START))
    return deployment.run(PROBLEM, reps=1, initializer=initializer, **given)


def result(run: Run) -> dict[str, Any]:
    return {name: value for name, value in run_as_json(run).items() if name not in ("seconds", "proposal")}


@pytest.mark.parametrize("level", [0, 1])
def test_a_run_books_what_mitigation_takes_and_samples_at_the_end(level: int, server: Loopback, backend: Any) -> None:
    before = len(server.jobs())
    run = carried(made(backend, level))
    sent = server.jobs()[before:]
    assert run.spent.shots == sum(job.paid for job in sent)
    assert run.spent.jobs == len(sent) == 6
    each = SHOTS * (level + 1)
    assert run.shots.tolist() == [each * count for count in range(1, 6)]
    assert run.shots_by_stage == {"optimisation": 5 * each, "final": SHOTS}
    assert run.bitstring
    assert run.energy == pytest.approx(run.energies.min(), abs=0.6)


def test_it_is_nearly_the_run_that_outcomes_make(server: Loopback, backend: Any) -> None:
    runs = [carried(made(backend, level), shots_per_evaluation=20_000) for level in (None, 0, 1)]
    for run in runs[1:]:
        np.testing.assert_allclose(run.energies[:2], runs[0].energies[:2], atol=0.06)


def test_every_level_runs_on_plain_aer() -> None:
    runs = [carried(made(AerSimulator(max_parallel_threads=1), level)) for level in (0, 2)]
    assert runs[1].spent.shots == 5 * 4 * SHOTS + SHOTS
    np.testing.assert_allclose(runs[0].energies[0], runs[1].energies[0], atol=1.0)


def test_a_plan_holds_where_points_share_a_job(backend: Any) -> None:
    settings: dict[str, Any] = {"optimizer": SPSA(maxiter=20, learning_rate=0.1, perturbation=0.1)}
    budget = ShotBudget(shots=3000)
    plan = made(backend, budget=budget).plan(PROBLEM, reps=1, shots_per_evaluation=SHOTS, **settings)
    run = carried(made(backend, budget=budget), **settings)
    assert plan.evaluations is not None
    assert plan.jobs is not None
    assert len(run.energies) <= plan.evaluations <= len(run.energies) + 2
    assert run.spent.jobs <= plan.jobs


def test_a_budget_is_kept_and_the_last_job_shrunk(server: Loopback, backend: Any) -> None:
    before = len(server.jobs())
    run = carried(made(backend, budget=ShotBudget(shots=1250)), optimizer=COBYLA(maxiter=50, rhobeg=0.3))
    assert run.stopped == "the budget of 1250 shots"
    # Four of 256, and one of 64 twice in what is left beside the final sampling: twirling takes 64 at least.
    assert [job.paid for job in server.jobs()[before:]] == [256] * 4 + [SHOTS]
    assert run.spent.shots == 1152


def test_jobs_of_several_points_share_their_calibration(server: Loopback, backend: Any) -> None:
    before = len(server.jobs())
    carried(made(backend), optimizer=SPSA(maxiter=1, learning_rate=0.1, perturbation=0.1))
    assert [job.paid for job in server.jobs()[before:]] == [3 * SHOTS, 2 * SHOTS, SHOTS]


def test_the_smallest_budget_is_told_and_works(backend: Any) -> None:
    with pytest.raises(BudgetError, match=r"At least 384 shots .* 256 with what twirling and mitigation add"):
        carried(made(backend, budget=ShotBudget(shots=383)))
    run = carried(made(backend, budget=ShotBudget(shots=384)))
    assert run.spent.shots == 384
    assert len(run.energies) == 1
    assert run.energy is not None


def test_a_plan_is_what_the_run_takes(server: Loopback, backend: Any) -> None:
    settings = {"reps": 1, "optimizer": COBYLA(maxiter=5, rhobeg=0.3), "shots_per_evaluation": SHOTS}
    plan = made(backend, 1).plan(PROBLEM, **settings)
    run = carried(made(backend, 1))
    assert plan.shots == {"calibration": 0, "proposal": 0} | run.shots_by_stage
    assert plan.jobs == plan.pubs == run.spent.jobs
    growing = settings | {"shots_per_evaluation": ShotSchedule(64, 640, over=5)}
    assert (
        made(backend, 1).plan(PROBLEM, **growing).shots
        == {"calibration": 0, "proposal": 0}
        | carried(made(backend, 1), shots_per_evaluation=ShotSchedule(64, 640, over=5)).shots_by_stage
    )


def test_the_final_sampling_is_set_aside_as_twirling_rounds_it_up(server: Loopback, backend: Any) -> None:
    options = {"twirling": {"enable_measure": True, "num_randomizations": 4}}
    deployment = made(backend, None, ShotBudget(shots=1000), options=options)
    run = carried(deployment, shots_per_evaluation=200, final_shots=250, optimizer=COBYLA(maxiter=50, rhobeg=0.3))
    assert run.shots_by_stage["final"] == 252
    assert deployment.ledger.jobs(run.id)[-1].shots == 250


def test_an_estimator_with_nothing_to_measure_is_refused(server: Loopback, backend: Any) -> None:
    before = len(server.jobs())
    with made(backend, budget=ShotBudget(shots=1000)) as deployment:
        for ask in (deployment.plan, deployment.run):
            with pytest.raises(ValueError, match="by outcomes: nothing would be mitigated"):
                ask(PROBLEM, reps=1, optimizer="none")
        assert deployment.runs() == []
    assert len(server.jobs()) == before


def test_a_vqe_is_measured_by_the_estimator_to_the_end(server: Loopback, backend: Any) -> None:
    before = len(server.jobs())
    operator = SparsePauliOp(["ZZ", "XX", "ZI"], [1.0, 0.5, 0.3])
    ansatz = QuantumCircuit(2)
    angles = ParameterVector("t", 2)
    ansatz.ry(angles[0], 0)
    ansatz.cx(0, 1)
    ansatz.ry(angles[1], 1)
    point = [0.4, 2.6]
    run = made(backend, budget=ShotBudget(shots=200_000)).run(
        Problem(operator, "operator", (0, 1)),
        ansatz=ansatz,
        initial_point=point,
        optimizer=COBYLA(maxiter=4, rhobeg=0.1),
        shots_per_evaluation=8192,
    )
    assert run.spent.shots == sum(job.paid for job in server.jobs()[before:]) > 4 * 3 * 8192
    expected = float(StatevectorEstimator().run([(ansatz, operator, point)]).result()[0].data.evs)
    assert run.energies[0] == pytest.approx(expected, abs=0.06)
    assert run.energy is not None
    assert run.bitstring == ""


def test_without_an_optimiser_a_vqe_takes_what_its_budget_holds(backend: Any) -> None:
    operator = SparsePauliOp(["ZZ", "XX"], [1.0, 0.5])
    ansatz = QuantumCircuit(2)
    ansatz.ry(Parameter("t"), 0)
    ansatz.cx(0, 1)
    deployment = made(backend, budget=ShotBudget(shots=10_000))
    run = deployment.run(operator, ansatz=ansatz, initial_point=[0.4], optimizer="none")
    assert run.energy is not None
    assert 9_000 < run.spent.shots <= 10_000


# Interruptions


class Killed(BaseException):
    """Ends a run as the end of its process would."""


def killed(deployment: Deployment) -> str:
    def progress(done: int, _: float) -> None:
        if done == 3:
            raise Killed

    with pytest.raises(Killed):
        carried(deployment, progress=progress)
    [record] = deployment.runs()
    deployment.close()
    return record.id


def test_a_killed_run_goes_on_as_it_began_whoever_resumes_it(server: Loopback, backend: Any, tmp_path: Path) -> None:
    expected = result(carried(made(backend)))
    run = killed(made(backend, ledger=tmp_path / "ledger"))
    before = len(server.jobs())
    with Deployment(backend, ledger=tmp_path / "ledger", seed=5, patience=5.0, grace=0.3) as deployment:
        found = deployment.resume(run)
        assert result(found) == expected
        # Read again, nothing is asked.
        assert result(deployment.resume(run)) == expected
        assert len(server.jobs()) == before + 3
        # Another run is as this deployment was made.
        assert carried(deployment).spent.shots == 6 * SHOTS


def test_an_ended_run_needs_no_channel_to_be_read(server: Loopback, backend: Any, tmp_path: Path) -> None:
    run = carried(made(backend, ledger=tmp_path / "ledger"))
    before = len(server.requests())
    with made(backend, None, ledger=tmp_path / "ledger") as deployment:
        assert result(deployment.resume(run.id)) == result(run)
    assert len(server.requests()) == before


def test_what_does_not_measure_may_differ(server: Loopback, backend: Any, tmp_path: Path) -> None:
    expected = result(carried(made(backend)))
    run = killed(made(backend, ledger=tmp_path / "ledger"))
    options = {"resilience_level": 1, "environment": {"log_level": "INFO"}, "max_execution_time": 300}
    channel = RuntimeChannel(backend, estimator=options, patience=5.0)
    with Deployment(backend, ledger=tmp_path / "ledger", channel=channel) as deployment:
        assert result(deployment.resume(run)) == expected


def test_options_of_another_client_are_told(server: Loopback, backend: Any, tmp_path: Path) -> None:
    run = killed(made(backend, ledger=tmp_path / "ledger"))
    with sqlite3.connect(tmp_path / "ledger") as other:
        other.execute("""UPDATE runs SET settings = replace(settings, '"resilience_level"', '"resistance_level"')""")
    other.close()
    with (
        Deployment(backend, ledger=tmp_path / "ledger") as deployment,
        pytest.raises(LedgerError, match=r"this client does not take them.*resistance_level"),
    ):
        deployment.resume(run)


@pytest.mark.parametrize("level", [None, 0])
def test_it_does_not_go_on_otherwise(level: int | None, server: Loopback, backend: Any, tmp_path: Path) -> None:
    run = killed(made(backend, ledger=tmp_path / "ledger"))
    before = len(server.jobs())
    with (
        made(backend, level, ledger=tmp_path / "ledger") as deployment,
        pytest.raises(LedgerError, match="estimator has the options that it began with"),
    ):
        deployment.resume(run)
    assert len(server.jobs()) == before


def test_an_answer_that_was_lost_is_not_paid_twice(server: Loopback, backend: Any, tmp_path: Path) -> None:
    expected = result(carried(made(backend)))
    before = server.shots_paid()
    server.fault("POST /jobs", status=None, after=True)
    found = carried(made(backend, ledger=tmp_path / "ledger"))
    assert result(found) == expected
    assert server.shots_paid() - before == found.spent.shots


def test_a_job_that_fails_is_booked_as_what_it_was_to_cost(server: Loopback, backend: Any, tmp_path: Path) -> None:
    server.next_job(state="FAILED", charged=True)
    before = server.shots_paid()
    run = carried(made(backend, ledger=tmp_path / "ledger"))
    assert run.spent.shots == server.shots_paid() - before == 6 * 2 * SHOTS + SHOTS
    with Ledger(tmp_path / "ledger") as ledger:
        lost = [job for job in ledger.jobs(run.id) if job.state == "lost"]
    assert [job.spent for job in lost] == [2 * SHOTS]


# Simulated here


@pytest.mark.parametrize("level", [0, 1])
def test_a_simulated_run_is_the_same_again_and_when_it_is_resumed(level: int, tmp_path: Path) -> None:
    backend = AerSimulator(max_parallel_threads=1)
    expected = result(carried(made(backend, level)))
    run = killed(made(backend, level, ledger=tmp_path / "ledger"))
    with Deployment(backend, ledger=tmp_path / "ledger") as deployment:
        assert result(deployment.resume(run)) == expected


def test_readout_is_not_calibrated_twice(backend: Any) -> None:
    with pytest.raises(ValueError, match="Either readout_shots or an estimator"):
        carried(made(backend), readout_shots=100)


def test_one_number_of_shots_a_job() -> None:
    estimator = layout_safe(LedgeredEstimator(None, 10), AerSimulator())  # type: ignore[arg-type]
    circuit, operator = QuantumCircuit(1), SparsePauliOp("Z")
    with pytest.raises(ValueError, match="One number of shots"):
        estimator.run([(circuit, operator, None, 0.1), (circuit, operator, None, 0.2)])


def test_the_results_of_the_client_are_read_as_they_are(backend: Any) -> None:
    result = StatevectorEstimator().run([(*two_bases()[:2], two_bases()[2])]).result()
    [found] = estimates(result)
    np.testing.assert_array_equal(found.values, result[0].data.evs)


# The command line


def test_solve_and_plan_on_the_command_line(
    server: Loopback, graph: Path, metainit: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QISKIT_IBM_TOKEN", TOKEN)
    monkeypatch.setenv("QISKIT_IBM_INSTANCE", CRN)
    for backend in ("fake_lagos", "aer"):
        limits = ("--backend", backend, "--reps", 1, "--shots", 1500, "--shots-per-eval", SHOTS, "--resilience", 1)
        code, out, err = metainit("plan", graph, *limits, "--json")
        assert code == 0, err
        planned = json.loads(out)
        code, out, err = metainit("solve", graph, *limits, "--json", "--no-compare")
        assert code == 0, err
        found = json.loads(out)
        assert found["shots_spent"] <= planned["total_shots"] <= 1500
        assert found["jobs"] == planned["jobs"]
        assert found["shots_by_stage"]["optimisation"] % (2 * SHOTS) == 0
        code, out, err = metainit("resume", found["run"], "--json")
        assert code == 0, err
        assert json.loads(out)["point"] == found["point"]
    code, _, err = metainit("solve", graph, *limits, "--readout-shots", 10)
    assert code != 0
    assert "Either readout_shots or an estimator" in err
