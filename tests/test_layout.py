import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import ParameterVector
from qiskit.circuit.library import qaoa_ansatz
from qiskit.primitives import (
    BackendEstimatorV2,
    BackendSamplerV2,
    BaseEstimatorV2,
    BasePrimitiveJob,
    BaseSamplerV2,
    StatevectorEstimator,
    StatevectorSampler,
)
from qiskit.providers import BackendV2
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit.transpiler import CouplingMap, PassManager, generate_preset_pass_manager
from qiskit_aer import AerSimulator
from qiskit_aer.primitives import EstimatorV2 as AerEstimator
from qiskit_aer.primitives import SamplerV2 as AerSampler

from qiskit_metainit.backends import active_simulator, fake_backend, noisy_simulator, restricted_backend
from qiskit_metainit.deployment.adapters.expectation import SampledEstimator
from qiskit_metainit.deployment.adapters.layout import LayoutSafeEstimator, LayoutSafeSampler, layout_safe, shot_sampler

MAXCUT = SparsePauliOp.from_list([("IIZZ", 0.5), ("IZZI", 0.8), ("ZZII", 0.3), ("ZIIZ", 0.9), ("IIII", -1.25)])
FIELD = SparsePauliOp.from_list([("IIZZ", 0.5), ("ZZII", 0.3), ("ZIIZ", 0.9), ("IIIZ", 0.7), ("IIZI", -0.4)])
ANGLES = [0.4, 0.3, -0.5, -0.8]
old_ansatz = pytest.mark.filterwarnings(r"ignore:The class ``qiskit\.circuit\.library\..*:DeprecationWarning")
no_relaxation = pytest.mark.filterwarnings("ignore:.*has no QubitProperties:UserWarning")  # of GenericBackendV2.run


@pytest.fixture(scope="module")
def fez() -> BackendV2:
    return fake_backend("fake_fez")


def noiseless_chain(num_qubits: int) -> AerSimulator:
    """A simulator without noise that still needs layout and routing."""
    device = GenericBackendV2(
        num_qubits, basis_gates=["cz", "sx", "rz", "x"], coupling_map=CouplingMap.from_line(num_qubits), seed=1
    )
    return AerSimulator.from_backend(device, noise_model=None)


def crooked(num_qubits: int = 4) -> QuantumCircuit:
    """A parametrised state without symmetry, whose far pairs need routing on a chain."""
    theta = ParameterVector("theta", num_qubits)
    circuit = QuantumCircuit(num_qubits)
    for qubit in range(num_qubits):
        circuit.ry((qubit + 1) * theta[qubit], qubit)
    for a, b in itertools.combinations(range(num_qubits), 2):
        circuit.crx(0.4 + a, a, b)
    return circuit


def variation(counts: Mapping[str, int], exact: Mapping[str, float]) -> float:
    shots = sum(counts.values())
    return sum(abs(counts.get(key, 0) / shots - exact.get(key, 0.0)) for key in {*counts, *exact}) / 2


class Recording(StatevectorSampler):
    """The real sampler, remembering what it was sent."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.sent: list[list[Any]] = []

    def run(self, pubs: Any, *, shots: int | None = None) -> BasePrimitiveJob[Any, Any]:
        self.sent.append(list(pubs))
        return super().run(self.sent[-1], shots=shots)


# Bits, layouts and distributions


@no_relaxation
@pytest.mark.parametrize("qubit", range(4))
def test_a_basis_state_survives_any_layout(fez: BackendV2, qubit: int) -> None:
    circuit = QuantumCircuit(4)
    circuit.x(qubit)
    for other in {0, 1, 2, 3} - {qubit}:
        circuit.rzz(0.3, qubit, other)
    circuit.measure_all()
    expected = "".join("1" if i == qubit else "0" for i in reversed(range(4)))
    for sampler in (
        shot_sampler(noiseless_chain(4), 1),
        shot_sampler(noiseless_chain(9), 1),
        shot_sampler(AerSimulator.from_backend(fez, noise_model=None), 1),
        shot_sampler(None, 1),
        layout_safe(StatevectorSampler(seed=1)),
        layout_safe(BackendSamplerV2(backend=GenericBackendV2(6, noise_info=False))),
        layout_safe(AerSampler.from_backend(noiseless_chain(5))),
        layout_safe(AerSampler(), AerSimulator(coupling_map=[[0, 1], [1, 2], [2, 3]])),
    ):
        assert sampler.run([circuit], shots=20).result()[0].data.meas.get_counts() == {expected: 20}


@pytest.mark.parametrize("sampler", [shot_sampler(noiseless_chain(6), 2), layout_safe(StatevectorSampler(seed=2))])
def test_distribution_through_a_layout_is_the_exact_one(sampler: LayoutSafeSampler) -> None:
    circuit = crooked()
    exact = Statevector(circuit.assign_parameters(ANGLES)).probabilities_dict()
    counts = (
        sampler.run([(circuit.measure_all(inplace=False), ANGLES)], shots=40_000).result()[0].data.meas.get_counts()
    )
    assert variation(counts, exact) < 0.02
    assert variation(counts, {key[::-1]: value for key, value in exact.items()}) > 0.2  # the test can fail


def test_adapted_and_plain_sampler_agree() -> None:
    circuit = qaoa_ansatz(FIELD, reps=2)
    circuit.measure_all()
    plain = StatevectorSampler(seed=7).run([(circuit, ANGLES)], shots=30_000).result()[0].data.meas
    adapted = shot_sampler(noiseless_chain(4), 7).run([(circuit, ANGLES)], shots=30_000).result()[0].data.meas
    exact = {key: value / plain.num_shots for key, value in plain.get_counts().items()}
    assert variation(adapted.get_counts(), exact) < 0.02
    assert adapted.expectation_values(FIELD) == pytest.approx(plain.expectation_values(FIELD), abs=0.05)


def test_registers_come_back_as_they_were_asked() -> None:
    qubits, first, second = QuantumRegister(3, "q"), ClassicalRegister(3, "first"), ClassicalRegister(10, "second")
    circuit = QuantumCircuit(qubits, first, second, metadata={"label": 3})
    circuit.x(0)
    circuit.h(1)
    circuit.measure([0, 1], [first[2], first[0]])  # first[1] is never written
    circuit.barrier()
    circuit.measure([1, 0, 1], [second[9], second[0], second[4]])  # each qubit again
    circuit.measure(2, second[0])  # the last one to write a bit wins
    result = shot_sampler(noiseless_chain(5), 3).run([circuit], shots=200).result()[0]
    assert list(result.data) == ["first", "second"]
    assert result.metadata["circuit_metadata"] == {"label": 3}
    one, two = result.data.first, result.data.second
    assert (one.num_bits, two.num_bits) == (3, 10)
    assert set(one.get_counts()) == {"100", "101"}
    assert set(two.get_counts()) == {"0000000000", "1000010000"}
    np.testing.assert_array_equal(one.slice_bits(0).array, two.slice_bits(9).array)  # the same shots, not new ones


# Batches, shots and counters


def test_shapes_shots_and_order_of_mixed_pubs() -> None:
    circuit = crooked().measure_all(inplace=False)
    other = QuantumCircuit(2)
    other.x(1)
    other.measure_all()
    points = np.random.default_rng(4).uniform(-1, 1, (2, 3, 4))
    wrapped = Recording(seed=3, default_shots=50)
    sampler = layout_safe(wrapped)
    pubs = [(circuit, points), (circuit, points[0, 0], 70), other, (circuit.assign_parameters(ANGLES), None, 70), other]
    results = sampler.run(pubs).result()
    assert [result.data.shape for result in results] == [(2, 3), (), (), (), ()]
    assert [result.data.meas.num_shots for result in results] == [50, 70, 50, 70, 50]
    assert results[2].data.meas.get_counts() == {"10": 50}
    # one PUB for the six points at default shots, one for the two at 70, two for the circuit without angles
    assert [np.shape(pub[1]) for pub in wrapped.sent[0]] == [(6, 4 + 6), (2, 4 + 6), (), ()]
    assert (len(wrapped.sent), sampler.jobs, sampler.circuits, sampler.transpilations) == (1, 1, 10, 2)
    assert sampler.shots == 6 * 50 + 2 * 70 + 2 * 50
    sampler.run([(circuit, ANGLES)], shots=5).result()
    assert (sampler.jobs, sampler.circuits, sampler.transpilations) == (2, 11, 2)
    assert sampler.shots == 540 + 5


def test_a_batch_gives_what_its_points_give_one_by_one() -> None:
    circuit = crooked(3).measure_all(inplace=False)
    points = np.random.default_rng(5).uniform(-1, 1, (2, 2, 3))
    counts = shot_sampler(noiseless_chain(5), 6).run([(circuit, points)], shots=20_000).result()[0].data.meas
    for index in np.ndindex(2, 2):
        exact = Statevector(crooked(3).assign_parameters(points[index])).probabilities_dict()
        assert variation(counts.get_counts(index), exact) < 0.02


def test_default_shots_count_once_and_jobs_tell_their_state() -> None:
    circuit = crooked(2).measure_all(inplace=False)
    sampler = layout_safe(StatevectorSampler(seed=1, default_shots=33))
    job = sampler.run([(circuit, [0.1, 0.2])])
    assert job.result() is job.result()
    assert sampler.shots == 33
    assert job.job_id() == job.job.job_id()
    assert job.status() == job.job.status()
    assert (job.done(), job.running(), job.cancelled(), job.in_final_state()) == (True, False, False, True)
    assert job.cancel() == job.job.cancel()


def test_equal_angles_and_zeros_make_no_new_template() -> None:
    circuit = qaoa_ansatz(MAXCUT, reps=2)
    circuit.measure_all()
    sampler = shot_sampler(noiseless_chain(4), 1)
    for point in (ANGLES, [0.0] * 4, [np.pi / 2] * 4):
        sampler.run([circuit.assign_parameters(point)], shots=10).result()
    assert sampler.transpilations == 1


def test_shot_noise_is_fresh_and_reproducible() -> None:
    circuit = crooked(3).measure_all(inplace=False)

    def calls(rng: np.random.Generator | int) -> list[list[int]]:
        sampler = shot_sampler(noiseless_chain(3), rng)
        found = [sampler.run([(circuit, [[0.3] * 3] * 2)], shots=300).result()[0].data.meas for _ in range(3)]
        return [meas.array[row, :, 0].tolist() for meas in found for row in range(2)]

    sequence = calls(8)
    assert calls(8) == calls(np.random.default_rng(8)) == sequence
    assert len({tuple(outcomes) for outcomes in sequence}) == 6  # also within a call
    assert calls(9) != sequence


def test_more_seeds_never_cost_two_qubit_gates(fez: BackendV2) -> None:
    device = restricted_backend(fez, 6)
    circuit = crooked(6).measure_all(inplace=False)
    gates = []
    for seeds in (1, 8):
        wrapped = Recording(seed=1)
        layout_safe(wrapped, device, seeds=seeds).run([(circuit, [0.1] * 6)], shots=1).result()
        gates.append(wrapped.sent[0][0][0].num_nonlocal_gates())
    assert gates[1] <= gates[0]


def test_templates_are_what_the_backend_runs() -> None:
    circuit = crooked(3).measure_all(inplace=False)
    fractional = fake_backend("fake_fractional")
    assert "rzz" in fractional.operation_names
    wrapped = Recording(seed=1)
    layout_safe(wrapped, restricted_backend(fractional, 3)).run([(circuit, [0.1] * 3)], shots=1).result()
    template = wrapped.sent[0][0][0]
    assert set(template.count_ops()) <= set(fractional.operation_names) - {"rzz"}
    manager = generate_preset_pass_manager(1, basis_gates=["u", "cx"])
    layout_safe(wrapped, pass_manager=manager).run([(circuit, [0.1] * 3)], shots=1).result()
    assert set(wrapped.sent[1][0][0].count_ops()) == {"u", "cx", "measure"}


@pytest.mark.filterwarnings("ignore:.*qiskit_ibm_runtime.*:DeprecationWarning")
def test_runtime_samplers_work_in_local_mode() -> None:
    from qiskit_ibm_runtime import SamplerV2

    sampler = layout_safe(SamplerV2(mode=fake_backend("fake_manila"), options={"simulator": {"seed_simulator": 3}}))
    circuit = QuantumCircuit(3)
    circuit.x(1)
    circuit.cx(0, 2)
    circuit.measure_all()
    counts = sampler.run([circuit], shots=400).result()[0].data.meas.get_counts()
    assert counts["010"] > 300


def test_noise_reaches_a_noisy_aer_sampler(fez: BackendV2) -> None:
    circuit = crooked().measure_all(inplace=False)
    sampler = layout_safe(AerSampler.from_backend(noisy_simulator(fez, 4), seed=1))
    counts = sampler.run([(circuit, [0.0] * 4)], shots=4000).result()[0].data.meas.get_counts()
    assert 0.5 < counts["0000"] / 4000 < 0.999


# Solvers


@old_ansatz
def test_qaoa_of_qiskit_algorithms_runs_under_noise(fez: BackendV2) -> None:
    from qiskit_algorithms import QAOA
    from qiskit_algorithms.optimizers import COBYLA

    sampler = shot_sampler(noisy_simulator(fez, 4), 11)
    solver = QAOA(sampler, COBYLA(maxiter=12), reps=2, initial_point=ANGLES)
    result = solver.compute_minimum_eigenvalue(MAXCUT)
    exact = float(np.linalg.eigvalsh(MAXCUT.to_matrix())[0])
    assert result.best_measurement["value"] == pytest.approx(exact)
    assert exact < result.eigenvalue < -1.25  # better than guessing
    calls = result.cost_function_evals + 1
    assert (sampler.jobs, sampler.circuits, sampler.shots) == (calls, calls, 1024 * calls)
    assert sampler.transpilations == 1


@old_ansatz
def test_qaoa_energies_through_a_layout_are_the_exact_ones() -> None:
    from qiskit_algorithms import QAOA
    from qiskit_algorithms.optimizers import SPSA

    energies: list[tuple[Any, float]] = []
    sampler = shot_sampler(noiseless_chain(7), 12)
    QAOA(
        sampler,
        SPSA(maxiter=2, learning_rate=0.05, perturbation=0.05),
        reps=2,
        initial_point=ANGLES,
        callback=lambda _, point, value, __: energies.append((point, value)),
    ).compute_minimum_eigenvalue(FIELD)
    assert len(energies) == 5
    assert sampler.transpilations == 1
    assert sampler.circuits == len(energies) + 1
    assert sampler.jobs < sampler.circuits  # SPSA asks for pairs, each a job
    for point, value in energies:
        state = Statevector(qaoa_ansatz(FIELD, reps=2).assign_parameters(point))
        assert value == pytest.approx(float(np.real(state.expectation_value(FIELD))), abs=5 * 1.5 / 32)


@old_ansatz
def test_qaoa_of_qiskit_optimization_runs_under_noise(fez: BackendV2) -> None:
    from qiskit_optimization.minimum_eigensolvers import QAOA
    from qiskit_optimization.optimizers import COBYLA

    sampler = shot_sampler(noisy_simulator(fez, 4), 13)
    # an empty pass manager only stops its warning about samplers that do not transpile
    solver = QAOA(sampler, COBYLA(maxiter=12), reps=2, initial_point=ANGLES, pass_manager=PassManager())
    result = solver.compute_minimum_eigenvalue(MAXCUT)
    exact = float(np.linalg.eigvalsh(MAXCUT.to_matrix())[0])
    assert result.best_measurement["value"] == pytest.approx(exact)
    assert exact < result.eigenvalue < -1.25
    calls = result.cost_function_evals + 1
    assert (sampler.jobs, sampler.circuits, sampler.shots) == (calls, calls, 1024 * calls)
    assert sampler.transpilations == 1


def test_sampling_vqe_runs_through_a_layout() -> None:
    from qiskit_algorithms import SamplingVQE
    from qiskit_algorithms.optimizers import COBYLA

    sampler = shot_sampler(noiseless_chain(6), 14)
    result = SamplingVQE(sampler, crooked(), COBYLA(maxiter=6), initial_point=ANGLES).compute_minimum_eigenvalue(FIELD)
    assert result.optimal_point.shape == (4,)
    assert sampler.transpilations == 1


# Estimators

TILTED = SparsePauliOp.from_list([("IIZZ", 0.5), ("XIIX", 0.3), ("ZYIY", 0.9), ("IIIZ", 0.7), ("IIXI", -0.4)])


def exact_value(circuit: QuantumCircuit, point: Any, observable: SparsePauliOp) -> float:
    return float(np.real(Statevector(circuit.assign_parameters(point)).expectation_value(observable)))


class Remembering(StatevectorEstimator):
    """The exact estimator, remembering what it was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[list[Any]] = []

    def run(self, pubs: Any, *, precision: float | None = None) -> BasePrimitiveJob[Any, Any]:
        self.sent.append(list(pubs))
        return super().run(self.sent[-1], precision=precision)


@pytest.mark.parametrize("size", [4, 7])
def test_observables_follow_their_circuits_through_a_layout(size: int) -> None:
    """Templates of a chain, simulated exactly: routing permutes the qubits, and every observable must notice."""
    device = noiseless_chain(size)
    wrapped = Remembering()
    estimator = layout_safe(wrapped, device)
    points = np.random.default_rng(3).uniform(-1, 1, (3, 1, 4))
    observables = [TILTED, FIELD, SparsePauliOp(["ZIII"]), SparsePauliOp(["IXII"])]
    result = estimator.run([(crooked(), observables, points), (crooked(3), "0+r", [0.1, 0.2, 0.3])]).result()
    exact = [[exact_value(crooked(), point[0], observable) for observable in observables] for point in points]
    np.testing.assert_allclose(result[0].data.evs, exact, atol=1e-9)
    zero, plus, right = np.array([[1, 0], [0, 0]]), np.full((2, 2), 0.5), np.array([[1, -1j], [1j, 1]]) / 2
    state = Statevector(crooked(3).assign_parameters([0.1, 0.2, 0.3])).data
    projected = np.vdot(state, np.kron(np.kron(zero, plus), right) @ state).real
    assert result[1].data.evs == pytest.approx(projected, abs=1e-9)
    assert (estimator.jobs, estimator.circuits, estimator.transpilations) == (1, 4, 2)
    template = wrapped.sent[0][0].circuit
    assert template.num_qubits == size
    assert set(template.count_ops()) <= {"cz", "sx", "rz", "x", "barrier"}
    places = estimator._templates.template(estimator._templates.parse(crooked()).structure).qubits
    assert places != tuple(range(4))  # the test can fail


def test_bound_circuits_share_a_template_and_parametric_ones_are_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    wrapped = Remembering()
    estimator = layout_safe(wrapped, noiseless_chain(5))
    circuit = crooked()
    for point in (ANGLES, [0.0] * 4):
        found = estimator.run([(circuit.assign_parameters(point), TILTED)]).result()[0].data.evs
        assert found == pytest.approx(exact_value(circuit, point, TILTED), abs=1e-9)
        estimator.run([(circuit, TILTED, point)]).result()
    assert estimator.transpilations == 1
    assert wrapped.sent[1][0].circuit is wrapped.sent[3][0].circuit
    monkeypatch.setattr(estimator._templates._flatten, "run", None)
    estimator.run([(circuit, TILTED, ANGLES)]).result()  # nothing is flattened again


def test_angles_that_are_no_weighted_sums_are_bound_one_by_one() -> None:
    a, b = ParameterVector("v", 2)
    circuit = QuantumCircuit(2)
    circuit.rx(a * b, 0)
    circuit.ry(2 * a - b + 0.3, 1)
    circuit.rz(b.sin(), 0)
    circuit.cx(0, 1)
    circuit.rx(0.7, 0)
    observable = SparsePauliOp(["ZY", "XZ"], [0.4, 0.7])
    points = np.random.default_rng(5).uniform(-2, 2, (2, 3, 2))
    found = layout_safe(StatevectorEstimator()).run([(circuit, observable, points)]).result()[0].data.evs
    exact = [[exact_value(circuit, point, observable) for point in row] for row in points]
    np.testing.assert_allclose(found, exact, atol=1e-9)


@no_relaxation
@pytest.mark.parametrize(
    ("estimator", "tolerance"),
    [
        (BackendEstimatorV2(backend=GenericBackendV2(6, noise_info=False), options={"seed_simulator": 1}), 0.05),
        (AerEstimator.from_backend(noiseless_chain(5)), 1e-6),
        (SampledEstimator(BackendSamplerV2(backend=noiseless_chain(5), options={"seed_simulator": 1}), 4000), 0.1),
        (StatevectorEstimator(), 1e-9),
    ],
    ids=["backend", "aer", "sampled", "statevector"],
)
def test_estimators_of_every_kind_are_adapted(estimator: BaseEstimatorV2, tolerance: float) -> None:
    adapted = layout_safe(estimator)
    assert isinstance(adapted, LayoutSafeEstimator)
    assert layout_safe(adapted) is adapted
    found = adapted.run([(crooked(), TILTED, ANGLES)]).result()[0].data.evs
    assert found == pytest.approx(exact_value(crooked(), ANGLES, TILTED), abs=tolerance)


@pytest.mark.filterwarnings("ignore:.*qiskit_ibm_runtime.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*local testing mode.*:UserWarning")
def test_vqe_runs_on_a_fake_backend_in_the_runtimes_local_mode() -> None:
    from qiskit_algorithms import VQE
    from qiskit_algorithms.optimizers import COBYLA
    from qiskit_ibm_runtime import EstimatorV2

    wrapped = EstimatorV2(mode=fake_backend("fake_manila"), options={"simulator": {"seed_simulator": 3}})
    estimator = layout_safe(wrapped)
    observable = SparsePauliOp(["ZZI", "IXX", "IIZ"], [0.5, 0.4, 0.3])
    ansatz = crooked(3)
    solver = VQE(estimator, ansatz, COBYLA(maxiter=8), initial_point=[0.1, 0.2, 0.3])
    result = solver.compute_minimum_eigenvalue(observable)
    assert estimator.transpilations == 1
    assert estimator.jobs == result.cost_function_evals
    noiseless = exact_value(ansatz, result.optimal_point, observable)
    assert result.eigenvalue == pytest.approx(noiseless, abs=0.25)  # the device's noise and 4096 shots


@old_ansatz
@pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning")  # of UCCSD's evolutions
@pytest.mark.parametrize("inside", [True, False], ids=["one template", "a template a basis"])
def test_vqe_of_uccsd_runs_on_counts_of_a_device(inside: bool, fez: BackendV2) -> None:
    """H2 in two electrons on four qubits under a device's noise, by counts alone."""
    from qiskit_algorithms import VQE
    from qiskit_algorithms.optimizers import COBYLA
    from qiskit_nature.second_q.circuit.library import UCCSD, HartreeFock
    from qiskit_nature.second_q.mappers import JordanWignerMapper

    mapper = JordanWignerMapper()
    ansatz = UCCSD(2, (1, 1), mapper, initial_state=HartreeFock(2, (1, 1), mapper))
    hydrogen = SparsePauliOp.from_list(
        [
            *[("IIII", -0.81), ("IIIZ", 0.17), ("IIZI", -0.22), ("IZII", 0.17), ("ZIII", -0.22), ("IIZZ", 0.12)],
            *[("IZIZ", 0.168), ("ZIIZ", 0.166), ("IZZI", 0.166), ("ZIZI", 0.174), ("ZZII", 0.12)],
            *[("YYYY", 0.045), ("XXYY", 0.045), ("YYXX", 0.045), ("XXXX", 0.045)],
        ]
    )
    sampler = BackendSamplerV2(backend=active_simulator(fez), options={"seed_simulator": 5})
    counted = SampledEstimator(sampler if inside else layout_safe(sampler), 2000)
    estimator = layout_safe(counted) if inside else counted
    point = np.array([0.0, 0.0, 0.1])
    result = VQE(estimator, ansatz, COBYLA(maxiter=6), initial_point=point).compute_minimum_eigenvalue(hydrogen)
    bases = 5
    evaluations = result.cost_function_evals
    assert counted.jobs == evaluations
    assert counted.shots_taken == evaluations * bases * 2000
    assert (estimator if inside else counted.sampler).transpilations == (1 if inside else bases)
    assert result.eigenvalue == pytest.approx(exact_value(ansatz, result.optimal_point, hydrogen), abs=0.15)


def test_estimators_refuse_measured_circuits_and_other_things_are_no_primitives() -> None:
    with pytest.raises(ValueError, match="without measurements is needed"):
        layout_safe(StatevectorEstimator()).run([(crooked().measure_all(inplace=False), TILTED, ANGLES)])
    with pytest.raises(TypeError, match="a GenericBackendV2 came"):
        layout_safe(GenericBackendV2(2))  # type: ignore[call-overload]


def test_results_name_the_backends_qubits() -> None:
    """A flipped qubit reads 1 on the backend's qubit that the metadata name."""
    device = noiseless_chain(6)
    wrapped = Recording(seed=1)
    circuit = QuantumCircuit(4, 3)
    circuit.x(2)
    circuit.cx(0, 3)
    circuit.measure([2, 0], [2, 0])
    result = layout_safe(wrapped, device).run([circuit], shots=3).result()[0]
    origins = result.metadata["qubits"]["c"]
    assert origins[1] == -1
    template = wrapped.sent[0][0][0]
    read = {template.find_bit(i.clbits[0]).index: template.find_bit(i.qubits[0]).index for i in template if i.clbits}
    assert (origins[0], origins[2]) == (read[0], read[1])
    assert result.data.c.get_counts() == {"100": 3}


# Errors


def broken_circuits() -> dict[str, QuantumCircuit]:
    middle, flow, nothing, slow = (QuantumCircuit(2, 2) for _ in range(4))
    middle.measure(0, 0)
    middle.x(0)
    middle.measure(0, 1)
    flow.measure(0, 0)
    with flow.if_test((flow.clbits[0], 1)):
        flow.x(1)
    flow.measure(1, 1)
    nothing.h(0)
    slow.delay(100, 0)
    slow.measure_all()
    return {"'x' on a measured qubit": middle, "'if_else'": flow, "measure_all": nothing, "'delay'": slow}


@pytest.mark.parametrize(("message", "circuit"), broken_circuits().items())
def test_circuits_that_a_template_cannot_hold_are_refused(message: str, circuit: QuantumCircuit) -> None:
    with pytest.raises(ValueError, match=message):
        layout_safe(StatevectorSampler()).run([circuit])


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="seeds=0 came"):
        layout_safe(StatevectorSampler(), seeds=0)
    sampler = layout_safe(StatevectorSampler())
    assert layout_safe(sampler) is sampler

    class Mute(BaseSamplerV2):
        def run(self, pubs: Any, *, shots: int | None = None) -> BasePrimitiveJob[Any, Any]:
            return StatevectorSampler().run(pubs, shots=shots)

    with pytest.raises(ValueError, match=r"a Mute does not tell its own\. Give it"):
        layout_safe(Mute())


def test_too_large_a_circuit_is_refused() -> None:
    circuit = QuantumCircuit(4)
    circuit.measure_all()
    with pytest.raises(ValueError, match="4 connected working qubits are needed"):
        shot_sampler(noiseless_chain(3), 1).run([circuit])
