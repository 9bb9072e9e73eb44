import itertools
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import ParameterVector
from qiskit.circuit.library import qaoa_ansatz
from qiskit.primitives import BackendSamplerV2, BasePrimitiveJob, BaseSamplerV2, StatevectorSampler
from qiskit.providers import BackendV2
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit.transpiler import CouplingMap, PassManager, generate_preset_pass_manager
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel
from qiskit_aer.primitives import SamplerV2 as AerSampler

from qiskit_metainit.backends import fake_backend, noisy_simulator, restricted_backend
from qiskit_metainit.deployment import LayoutSafeSampler, layout_safe, shot_sampler

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


# Regions and backends


@pytest.mark.parametrize("num_qubits", [1, 4, 7, 13])
def test_restricted_backend_is_connected_and_keeps_the_calibration(fez: BackendV2, num_qubits: int) -> None:
    start = time.perf_counter()
    small = restricted_backend(fez, num_qubits)
    noise = NoiseModel.from_backend(small)
    print(f"restricting to {num_qubits} qubits and its noise model: {time.perf_counter() - start:.3f} s")
    assert small.num_qubits == num_qubits
    assert num_qubits == 1 or small.coupling_map.is_connected()
    assert set(noise.noise_qubits) == set(range(num_qubits))
    for name in ("cz", "sx", "measure"):
        for place, properties in small.target[name].items() if name in small.target else ():
            original = tuple(small.qubits[qubit] for qubit in place)
            assert properties == fez.target[name][original]
            assert properties.error < 1
    for qubit, properties in zip(small.qubits, small.target.qubit_properties, strict=True):
        assert (properties.t1, properties.t2) == (
            fez.target.qubit_properties[qubit].t1,
            fez.target.qubit_properties[qubit].t2,
        )
    assert not {"if_else", "for_loop", "switch_case"} & set(small.target.operation_names)
    assert restricted_backend(fez, num_qubits).qubits == small.qubits


def test_region_is_the_best_of_all_connected_ones(fez: BackendV2) -> None:
    target = fez.target
    cz = {place: properties.error for place, properties in target["cz"].items() if properties.error < 1}
    readout = {place[0]: properties.error for place, properties in target["measure"].items()}
    trees: dict[frozenset[int], float] = {frozenset({qubit}): error for qubit, error in readout.items()}
    for _ in range(3):  # every connected set grows from a smaller one
        larger: dict[frozenset[int], float] = {}
        for region, cost in trees.items():
            for (a, b), error in cz.items():
                if a in region and b not in region:
                    grown = region | {b}
                    larger[grown] = min(larger.get(grown, np.inf), cost + error + readout[b])
        trees = larger
    assert frozenset(restricted_backend(fez, 4).qubits) == min(trees, key=trees.__getitem__)


def test_faulty_couplings_and_qubits_are_left_out() -> None:
    device = GenericBackendV2(6, basis_gates=["cz", "sx", "rz", "x"], coupling_map=CouplingMap.from_line(6), seed=3)
    for place in ((2, 3), (3, 2)):
        properties = device.target["cz"][place]
        properties.error = 1.0
        device.target.update_instruction_properties("cz", place, properties)
    device.target.update_instruction_properties("measure", (0,), None)  # unknown is not faulty
    properties = device.target["sx"][(5,)]
    properties.error = 1.0
    device.target.update_instruction_properties("sx", (5,), properties)
    assert restricted_backend(device, 3).qubits == (0, 1, 2)
    with pytest.raises(ValueError, match=r"4 connected working qubits .* from 1 to 3\. Take"):
        restricted_backend(device, 4)


@pytest.mark.parametrize("num_qubits", [0, 157])
def test_impossible_sizes_are_refused(fez: BackendV2, num_qubits: int) -> None:
    with pytest.raises(ValueError, match=f"{num_qubits} connected working qubits are needed"):
        restricted_backend(fez, num_qubits)


@no_relaxation
def test_restricted_backend_runs_on_its_qubits_of_the_whole() -> None:
    whole = GenericBackendV2(6, coupling_map=CouplingMap.from_line(6), noise_info=False)
    small = restricted_backend(whole, 3)
    circuit = QuantumCircuit(3)
    circuit.x(2)
    circuit.measure_all()
    for pubs in ([circuit], [circuit, circuit]):
        for result in BackendSamplerV2(backend=small).run(pubs, shots=10).result():
            assert result.data.meas.get_counts() == {"100": 10}
    assert small.run(circuit, shots=5).result().get_counts() == {"100": 5}
    assert small.max_circuits == whole.max_circuits


def test_noisy_simulator_is_small_noisy_and_seeded(fez: BackendV2) -> None:
    simulator = noisy_simulator(fez, 4, seed=5)
    assert simulator.num_qubits == 4
    assert simulator.options.method == "density_matrix"
    assert not simulator.options.noise_model.is_ideal()
    assert simulator.options.seed_simulator == noisy_simulator(fez, 4, seed=5).options.seed_simulator
    assert noisy_simulator(fez, 4).options.seed_simulator is None
    assert noisy_simulator(fez, 11).options.method == "statevector"


def test_fake_backends_come_by_name(fez: BackendV2) -> None:
    assert fez.name == "fake_fez"
    assert fake_backend("fake_manila").num_qubits == 5
    with pytest.raises(ValueError, match=r"'fake_fess' came. Try one of .*fake_fez"):
        fake_backend("fake_fess")
    with pytest.raises(ValueError, match="Try one of fake_aachen, "):
        fake_backend("?")


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
