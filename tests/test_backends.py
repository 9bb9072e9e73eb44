import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from qiskit import ClassicalRegister, QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.circuit.library import qaoa_ansatz
from qiskit.primitives import BackendSamplerV2
from qiskit.providers import BackendV2, JobStatus
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import CouplingMap, generate_preset_pass_manager
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel

from qiskit_metainit.backends import (
    active_simulator,
    embed,
    fake_backend,
    noisy_simulator,
    restricted_backend,
    strip,
)

no_relaxation = pytest.mark.filterwarnings("ignore:.*has no QubitProperties:UserWarning")  # of GenericBackendV2.run


@pytest.fixture(scope="module")
def fez() -> BackendV2:
    return fake_backend("fake_fez")


def variation(counts: Mapping[str, int], others: Mapping[str, int]) -> float:
    shots, more = sum(counts.values()), sum(others.values())
    return sum(abs(counts.get(key, 0) / shots - others.get(key, 0) / more) for key in {*counts, *others}) / 2


# Regions and backends


@pytest.mark.parametrize("num_qubits", [1, 4, 7, 13])
def test_restricted_backend_is_connected_and_keeps_the_calibration(fez: BackendV2, num_qubits: int) -> None:
    small = restricted_backend(fez, num_qubits)
    noise = NoiseModel.from_backend(small)
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


# Used qubits


def scattered() -> QuantumCircuit:
    """A circuit on qubits 1, 4 and 6 of 9, with two registers, a parameter and barriers over everything."""
    theta = ParameterVector("theta", 1)
    circuit = QuantumCircuit(9, metadata={"label": 1}, global_phase=0.3)
    circuit.add_register(ClassicalRegister(2, "first"), ClassicalRegister(2, "second"))
    circuit.delay(10, 7)
    circuit.rx(2 * theta[0], 6)
    circuit.barrier()
    circuit.cx(6, 1)
    circuit.x(4)
    circuit.barrier(2, 3)
    circuit.measure([6, 1, 4], [2, 0, 3])
    return circuit


def test_stripping_keeps_what_is_used_and_embedding_undoes_it() -> None:
    circuit = scattered()
    small, qubits = strip(circuit)
    assert qubits == (1, 4, 6)
    assert small.num_qubits == 3
    assert [register.name for register in small.cregs] == ["first", "second"]
    assert small.parameters == circuit.parameters
    assert (small.metadata, small.global_phase) == (circuit.metadata, circuit.global_phase)
    assert dict(small.count_ops()) == {"rx": 1, "barrier": 1, "cx": 1, "x": 1, "measure": 3}
    whole = embed(small, qubits, 9)
    again, same = strip(whole)
    assert same == qubits
    assert again == small
    counts = [
        AerSimulator().run(ran.assign_parameters([0.4]), shots=500, seed_simulator=1).result().get_counts()
        for ran in (circuit, small, whole)
    ]
    assert variation(counts[0], counts[1]) < 0.1
    assert variation(counts[0], counts[2]) < 0.1
    assert set(counts[0]) == {"10 00", "11 01"}
    assert circuit.num_qubits == 9  # untouched


def test_stripping_control_flow_and_nothing() -> None:
    circuit = QuantumCircuit(5, 1)
    circuit.measure(3, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(2)
    small, qubits = strip(circuit)
    assert qubits == (2, 3)
    assert AerSimulator().run(small, shots=5).result().get_counts() == {"0": 5}
    empty, nothing = strip(QuantumCircuit(3, 2))
    assert (empty.num_qubits, empty.num_clbits, nothing) == (0, 2, ())


def laid_out(backend: BackendV2, num_qubits: int) -> QuantumCircuit:
    """A QAOA circuit transpiled for the whole backend, by Qiskit alone."""
    cost = SparsePauliOp.from_sparse_list(
        [("ZZ", pair, 0.5 + 0.1 * sum(pair)) for pair in itertools.combinations(range(num_qubits), 2)], num_qubits
    )
    circuit = qaoa_ansatz(cost, reps=2)
    circuit.measure_all()
    manager = generate_preset_pass_manager(1, backend=backend, seed_transpiler=3)
    return manager.run(circuit.assign_parameters([0.4, 0.3, -0.5, -0.8]))


def test_used_qubits_give_the_whole_devices_distribution() -> None:
    """On 27 qubits; two samples of one distribution of 32 outcomes differ by 0.010 on average at 100,000 shots."""
    device = fake_backend("fake_cairo")
    circuit = laid_out(device, 5)
    shots = 100_000
    whole = AerSimulator.from_backend(device, max_parallel_threads=1)
    full = whole.run(circuit, shots=shots, seed_simulator=1).result().get_counts()
    active = active_simulator(device).run(circuit, shots=shots, seed_simulator=2).result().get_counts()
    ideal = AerSimulator().run(circuit, shots=shots, seed_simulator=3).result().get_counts()
    assert variation(full, active) < 0.012
    assert variation(full, ideal) > 0.05  # the noise is there


def test_noise_of_the_used_qubits_is_the_whole_devices(fez: BackendV2) -> None:
    small, qubits = strip(laid_out(fez, 5))
    mine = NoiseModel.from_backend(active_simulator(fez).on(qubits))
    theirs = NoiseModel.from_backend(fez)
    for index, qubit in enumerate(qubits):
        assert mine._local_readout_errors[(index,)] == theirs._local_readout_errors[(qubit,)]
    used = {(item.name, tuple(small.find_bit(bit).index for bit in item.qubits)) for item in small if item.name != "rz"}
    checked = 0
    for name, place in used - {("barrier", tuple(range(len(qubits))))}:
        if name in mine._local_quantum_errors:
            original = tuple(qubits[index] for index in place)
            assert mine._local_quantum_errors[name][place] == theirs._local_quantum_errors[name][original]
            checked += 1
    assert checked > 10


@pytest.mark.benchmark
def test_an_evaluation_on_8_of_156_qubits(benchmark: BenchmarkFixture, fez: BackendV2) -> None:
    cost = SparsePauliOp.from_sparse_list([("ZZ", (i, (i + 1) % 8), 0.5) for i in range(8)], 8)
    circuit = qaoa_ansatz(cost, reps=1)
    circuit.measure_all()
    region = restricted_backend(fez, 8)
    ran = generate_preset_pass_manager(3, target=region.target, seed_transpiler=1).run(circuit)
    ran = embed(ran.assign_parameters([0.3, -0.4]), region.qubits, 156)
    backend = active_simulator(fez)
    backend.run(ran, shots=1000).result()  # the simulator is built once
    taken = benchmark(lambda: backend.run(ran, shots=1000).result())
    assert sum(taken.get_counts().values()) == 1000


@no_relaxation
def test_active_simulators_go_wherever_a_backend_goes() -> None:
    device = GenericBackendV2(6, coupling_map=CouplingMap.from_line(6), noise_info=False)
    backend = active_simulator(device)
    assert backend.target is device.target
    left, right = QuantumCircuit(6), QuantumCircuit(6)
    left.x(1)
    right.x(4)
    right.cx(4, 5)
    pubs = [circuit.measure_all(inplace=False) for circuit in (left, right, left)]
    found = BackendSamplerV2(backend=backend, options={"seed_simulator": 3}).run(pubs, shots=10).result()
    assert [result.data.meas.get_counts() for result in found] == [{"000010": 10}, {"110000": 10}, {"000010": 10}]
    job = backend.run(pubs, shots=4, memory=True, seed_simulator=7)
    assert job.status() is JobStatus.DONE
    assert job.result().get_memory(1) == ["110000"] * 4


def test_seeds_repeat_the_noise_and_groups_have_their_own() -> None:
    device = fake_backend("fake_manila")
    circuits = []
    for qubit in range(3):
        circuit = QuantumCircuit(5, 1)
        circuit.sx(qubit)
        circuit.measure(qubit, 0)
        circuits.append(circuit)

    def memory(seed: int) -> list[Any]:
        result = active_simulator(device).run(circuits, shots=200, memory=True, seed_simulator=seed).result()
        return [tuple(result.get_memory(place)) for place in range(3)]

    assert memory(1) == memory(1) != memory(2)
    assert len(set(memory(1))) == 3


def test_faulty_parts_stay_as_noisy_as_they_are() -> None:
    device = GenericBackendV2(3, basis_gates=["cz", "sx", "rz", "x"], coupling_map=CouplingMap.from_line(3), seed=3)
    properties = device.target["cz"][(0, 1)]
    properties.error = 1.0
    device.target.update_instruction_properties("cz", (0, 1), properties)
    small = active_simulator(device).on((0, 1))
    assert (0, 1) in small.options.noise_model._local_quantum_errors["cz"]
