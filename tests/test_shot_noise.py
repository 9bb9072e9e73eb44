"""Tests of estimators with real shot noise: its variance, its freshness, and frozen or made-up ones being caught."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.primitives import BackendEstimatorV2, BaseEstimatorV2
from qiskit.providers import BackendV2, JobStatus
from qiskit.quantum_info import DensityMatrix, Operator, SparsePauliOp, SuperOp
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, depolarizing_error
from qiskit_aer.primitives import EstimatorV2 as AerEstimator
from scipy import stats

from qiskit_metainit.backends import fake_backend, noisy_simulator
from qiskit_metainit.engines.parameter_shift import ParameterShift
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.shot_noise import ShotEstimator, device_estimator, shot_estimator
from qiskit_metainit.task import Task

DIAGONAL = SparsePauliOp(["IZZ", "ZZI", "ZIZ", "IIZ", "III"], [1.8, -2.6, 1.4, 1.0, 2.0])
MIXED = SparsePauliOp(["IXX", "XXI", "IZZ", "ZZI", "IIY"], [0.5, 0.6, 0.9, -1.0, 0.8])
POINT = [0.4, -0.7, 1.1]
SHOTS, CALLS, ALARM = 100, 200, 1e-9  # one false alarm in 1e9 runs of a right estimator
PRECISION = (1 + 1e-12) / math.sqrt(SHOTS)
FLIP = depolarizing_error(0.08, 2)


def small_circuit() -> QuantumCircuit:
    angles = ParameterVector("a", 3)
    circuit = QuantumCircuit(3)
    for qubit, angle in enumerate(angles):
        circuit.ry(angle, qubit)
    for qubit in (0, 1, 0):
        circuit.cx(qubit, qubit + 1)
        circuit.rx(angles[qubit], qubit + 1)
    return circuit


CIRCUIT = small_circuit()


def depolarised() -> AerSimulator:
    noise = NoiseModel(basis_gates=["ry", "rx", "cx"])
    noise.add_all_qubit_quantum_error(FLIP, ["cx"])
    return AerSimulator(noise_model=noise, method="density_matrix", max_parallel_threads=1)


def state(noisy: bool) -> np.ndarray:
    """The density matrix, gate by gate, with the channel after every cx."""
    rho, channel = DensityMatrix.from_label("000"), SuperOp(FLIP)
    for instruction in CIRCUIT.assign_parameters(POINT).data:
        qubits = [CIRCUIT.find_bit(qubit).index for qubit in instruction.qubits]
        rho = rho.evolve(Operator(instruction.operation), qubits)
        rho = rho.evolve(channel, qubits) if noisy and instruction.name == "cx" else rho
    return np.asarray(rho.data)


def moments(operator: SparsePauliOp, noisy: bool) -> tuple[float, float]:
    """Mean of the operator and variance of one shot of each basis: they are measured apart, so variances add."""
    rho, variance = state(noisy), 0.0
    for group in operator.group_commuting(qubit_wise=True):
        matrix = group.to_matrix()
        variance += float(np.trace(rho @ matrix @ matrix).real - np.trace(rho @ matrix).real ** 2)
    return float(np.trace(rho @ operator.to_matrix()).real), variance


def over_calls(estimator: BaseEstimatorV2, operator: SparsePauliOp) -> np.ndarray:
    runs = (estimator.run([(CIRCUIT, operator, POINT)], precision=PRECISION) for _ in range(CALLS))
    return np.array([float(job.result()[0].data.evs) for job in runs])


def over_rows(estimator: BaseEstimatorV2, operator: SparsePauliOp) -> np.ndarray:
    points = np.tile(POINT, (CALLS, 1))
    return np.asarray(estimator.run([(CIRCUIT, operator, points)], precision=PRECISION).result()[0].data.evs)


def assert_sampled(values: np.ndarray, operator: SparsePauliOp, noisy: bool) -> None:
    """The variance lies in its chi-square interval and the mean in its normal one."""
    mean, variance = moments(operator, noisy)
    expected = variance / SHOTS
    low, high = stats.chi2.ppf([ALARM / 2, 1 - ALARM / 2], values.size - 1) / (values.size - 1)
    seen = values.var(ddof=1) / expected
    assert low < seen < high, f"the variance is {seen:.3f} of that of {SHOTS} sampled shots"
    error = abs(values.mean() - mean) / math.sqrt(expected / values.size)
    assert error < stats.norm.isf(ALARM / 2), f"the mean is {error:.1f} standard errors off"


@pytest.mark.parametrize("sample", [over_calls, over_rows])
@pytest.mark.parametrize("operator", [DIAGONAL, MIXED], ids=["one basis", "three bases"])
@pytest.mark.parametrize("noisy", [False, True], ids=["noiseless", "depolarised"])
def test_sampled_values_have_the_variance_of_counts(
    noisy: bool, operator: SparsePauliOp, sample: Callable[..., np.ndarray]
) -> None:
    estimator = shot_estimator(depolarised() if noisy else None, 7)
    assert_sampled(sample(estimator, operator), operator, noisy)


def test_depolarising_changes_both_moments_so_the_test_above_can_tell() -> None:
    quiet, noisy = moments(DIAGONAL, False), moments(DIAGONAL, True)
    assert abs(quiet[0] - noisy[0]) > 0.1
    with pytest.raises(AssertionError, match="standard errors off"):
        assert_sampled(over_calls(shot_estimator(None, 7), DIAGONAL), DIAGONAL, noisy=True)


def test_a_gaussian_on_the_expectation_is_caught() -> None:
    # Aer's estimator adds one normal number of the asked precision to <H>, whatever the variance of the state.
    rng = np.random.default_rng(3)

    class Fresh(AerEstimator):
        def run(self, pubs, *, precision=None):  # type: ignore[no-untyped-def]
            self.options.run_options = {"seed_simulator": int(rng.integers(2**31))}
            return super().run(pubs, precision=precision)

    assert moments(DIAGONAL, False)[1] > 2.5
    with pytest.raises(AssertionError, match=r"variance is 0\.[0-5]"):
        assert_sampled(over_calls(Fresh(), DIAGONAL), DIAGONAL, noisy=False)


def test_a_frozen_seed_is_caught() -> None:
    frozen = BackendEstimatorV2(backend=AerSimulator(max_parallel_threads=1), options={"seed_simulator": 5})
    with pytest.raises(AssertionError, match=r"variance is 0\.000"):
        assert_sampled(over_calls(frozen, DIAGONAL), DIAGONAL, noisy=False)


def test_fewer_shots_than_asked_are_caught() -> None:
    estimator = shot_estimator(None, 7)
    runs = (estimator.run([(CIRCUIT, DIAGONAL, POINT)], precision=PRECISION * 2) for _ in range(CALLS))
    values = np.array([float(job.result()[0].data.evs) for job in runs])
    with pytest.raises(AssertionError, match=r"variance is [345]\."):
        assert_sampled(values, DIAGONAL, noisy=False)


@pytest.mark.parametrize("noisy", [False, True], ids=["noiseless", "device"])
def test_noise_is_fresh_at_each_call_and_the_same_from_the_same_seed(noisy: bool) -> None:
    def sequence(seed: int) -> list[float]:
        estimator = device_estimator(fake_backend("fake_fez"), seed) if noisy else shot_estimator(None, seed)
        engine = ParameterShift(estimator, shots=2000, pass_manager=estimator.pass_manager)
        task = Task.qaoa(DIAGONAL, reps=1)
        point = torch.tensor([[0.3, 0.5], [0.3, 0.5]], dtype=torch.float64)
        return [value for _ in range(3) for value in engine.expectation([task, task], point).tolist()]

    first = sequence(1)
    assert len(set(first)) == 6
    assert sequence(1) == first
    assert not set(sequence(2)) & set(first)


def test_the_generator_tells_which_noise_comes_next() -> None:
    estimator = shot_estimator(None, 1)
    state_before = estimator.rng.bit_generator.state
    first = over_rows(estimator, DIAGONAL)
    assert (over_rows(estimator, DIAGONAL) != first).any()
    estimator.rng.bit_generator.state = state_before
    assert (over_rows(estimator, DIAGONAL) == first).all()


@pytest.fixture(scope="module")
def fez() -> BackendV2:
    return fake_backend("fake_fez")


def test_tasks_of_several_sizes_share_a_call_each_on_the_best_qubits_for_it(
    fez: BackendV2, rng: np.random.Generator
) -> None:
    tasks = [Task.qaoa(MaxCut(sizes=[size]).sample(rng).operator, reps=1) for size in (6, 4, 5, 4)]
    tasks.append(tasks[0])
    points = torch.as_tensor(rng.uniform(-0.5, 0.5, (5, 2)))
    estimator = device_estimator(fez, 1)
    engine = ParameterShift(estimator, shots=20_000, pass_manager=estimator.pass_manager)
    values, exact = engine.expectation(tasks, points), Statevector().expectation(tasks, points)
    scales = torch.tensor([task.scale for task in tasks])
    assert ((values - exact).abs() / scales).max() < 0.1  # nobody got another one's value
    assert (engine.budget.jobs, engine.budget.pubs, engine.budget.circuits) == (1, 4, 5)
    assert engine.budget.shots == 5 * 20_000
    for task in tasks:
        assert estimator.pass_manager.run(task.circuit).num_qubits == task.circuit.num_qubits


def test_device_noise_pulls_energies_towards_the_middle(fez: BackendV2) -> None:
    task = Task.qaoa(MaxCut.from_edges([(i, (i + 1) % 6) for i in range(6)]).operator, reps=1)
    best = torch.tensor([[-math.pi / 8, math.pi / 4]], dtype=torch.float64) * torch.tensor([1.0, 1.0])
    engine = Statevector()
    if engine.expectation([task], best).item() > task.offset:
        best = best * torch.tensor([-1.0, 1.0])
    exact = engine.expectation([task], best).item()
    estimator = device_estimator(fez, 1)
    noisy = ParameterShift(estimator, shots=100_000, pass_manager=estimator.pass_manager).expectation([task], best)
    assert exact < noisy.item() - 0.02 * task.scale
    assert noisy.item() < task.offset - 0.2 * task.scale


def test_a_layout_of_the_simulator_is_undone(rng: np.random.Generator) -> None:
    # A chain without noise: far pairs need routing, so the observable must follow the qubits.
    chain = AerSimulator(coupling_map=[[0, 1], [1, 2], [2, 3]], basis_gates=["cz", "sx", "rz", "x"])
    estimator = shot_estimator(chain, 3)
    task = Task.qaoa(SparsePauliOp(["IIZZ", "ZIIZ", "IZIZ", "IIIZ", "ZZII"], [1.0, 0.5, -0.7, 0.3, 0.9]), reps=2)
    points = torch.as_tensor(rng.uniform(-1, 1, (3, 4)))
    engine = ParameterShift(estimator, shots=100_000, pass_manager=estimator.pass_manager)
    values = engine.expectation([task] * 3, points)
    assert torch.allclose(values, Statevector().expectation([task] * 3, points), atol=0.05)


def test_the_whole_is_one_job_that_is_done_when_all_are() -> None:
    pair, triple = QuantumCircuit(2), QuantumCircuit(3)
    pair.h(0)
    pubs = [(triple, "ZZZ"), (pair, "IX"), (triple, "IIZ")]
    estimator = device_estimator(fake_backend("fake_fez"), 1)
    job = estimator.run([(estimator.pass_manager.run(c), SparsePauliOp(label)) for c, label in pubs], precision=0.1)
    result = job.result()
    assert [pub.metadata["shots"] for pub in result] == [100] * 3
    assert job.done()
    assert job.in_final_state()
    assert not job.running()
    assert not job.cancelled()
    assert job.status() is JobStatus.DONE
    job.cancel()  # too late, and no harm


def test_the_noise_has_a_name_for_the_record(fez: BackendV2) -> None:
    assert shot_estimator(None, 0).noise is None
    assert device_estimator(fez, 0).noise == "fake_fez"
    assert shot_estimator(noisy_simulator(fez, 3), 0).noise is not None
    assert isinstance(shot_estimator(None, 0), ShotEstimator)
