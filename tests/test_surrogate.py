import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from qiskit import ClassicalRegister, QuantumCircuit
from qiskit.circuit.library import qaoa_ansatz
from qiskit.primitives import BackendSamplerV2
from qiskit.providers import BackendV2, JobStatus
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import PTM, Operator, SparsePauliOp, Statevector, random_unitary
from qiskit.transpiler import CouplingMap, InstructionProperties
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, pauli_error

from qiskit_metainit.backends import active_simulator, fake_backend, strip
from qiskit_metainit.deployment.adapters.layout import layout_safe
from qiskit_metainit.surrogate import _added, _steps, surrogate_backend

RING = [(i, (i + 1) % 6) for i in range(6)] + [(0, 3), (1, 4)]
COST = SparsePauliOp.from_sparse_list([("ZZ", pair, 0.5) for pair in RING], 6)


def device(error: float = 0.0, readout: float = 0.0, num_qubits: int = 4) -> BackendV2:
    """A chain without relaxation, all couplings and all readouts alike."""
    backend = GenericBackendV2(
        num_qubits, basis_gates=["cz", "cx", "sx", "rz", "x"], coupling_map=CouplingMap.from_line(num_qubits), seed=1
    )
    target = backend.target
    for name in ("cz", "cx", "sx", "rz", "x", "measure", "id"):
        for place in target.get(name, ()):
            own = readout if name == "measure" else error if len(place) == 2 else 0.0
            target.update_instruction_properties(name, place, InstructionProperties(error=own))
    return backend


def variation(counts: Mapping[str, int], others: Mapping[str, float]) -> float:
    shots, more = sum(counts.values()), sum(others.values())
    return sum(abs(counts.get(key, 0) / shots - others.get(key, 0) / more) for key in {*counts, *others}) / 2


# Where it is exact


def test_without_errors_the_distribution_is_the_ideal_one() -> None:
    circuit = QuantumCircuit(4)
    for qubit in range(4):
        circuit.rz(0.4 + qubit, qubit)
        circuit.sx(qubit)
        circuit.rz(0.7, qubit)
        circuit.sx(qubit)
    circuit.cz(0, 1)
    circuit.sx(1)
    circuit.cx(1, 2)
    exact = Statevector(circuit).probabilities_dict()
    counts = (
        surrogate_backend(device()).run(circuit.measure_all(inplace=False), shots=40_000, seed_simulator=1).result()
    )
    assert variation(counts.get_counts(), exact) < 0.02


def test_readout_flips_each_bit_with_its_error() -> None:
    backend = device(readout=0.1)
    backend.target.update_instruction_properties("measure", (2,), InstructionProperties(error=0.3))
    circuit = QuantumCircuit(4)
    circuit.x([0, 2])
    circuit.measure_all()
    shots = 40_000
    memory = surrogate_backend(backend).run(circuit, shots=shots, seed_simulator=1, memory=True).result().get_memory()
    ones = np.mean([[int(letter) for letter in reversed(outcome)] for outcome in memory], axis=0)
    np.testing.assert_allclose(ones, [0.9, 0.1, 0.7, 0.1], atol=5 * 0.5 / np.sqrt(shots))


def test_clifford_circuits_are_exact(rng: np.random.Generator) -> None:
    """The same Pauli errors in Aer, gate by gate, in a circuit that ends where it began: distributions agree."""
    backend = device(error=0.06)
    circuit = QuantumCircuit(4)
    for _ in range(6):
        for qubit in range(4):
            circuit.rz(rng.integers(4) * np.pi / 2, qubit)
            if rng.random() < 0.6:
                circuit.sx(qubit)
        low = int(rng.integers(3))
        getattr(circuit, str(rng.choice(["cz", "cx"])))(*rng.permutation([low, low + 1]).tolist())
    circuit.compose(circuit.inverse(), inplace=True)
    circuit.measure_all()
    chance = 0.06 * 5 / 4  # of one of the 15 errors whose average error is 0.06
    letters = ["".join(pair) for pair in itertools.product("IXYZ", repeat=2)]
    noise = NoiseModel()
    noise.add_all_qubit_quantum_error(
        pauli_error([(letters[0], 1 - chance), *((word, chance / 15) for word in letters[1:])]), ["cz", "cx"]
    )
    shots = 100_000
    full = AerSimulator(noise_model=noise, max_parallel_threads=1).run(circuit, shots=shots, seed_simulator=1).result()
    ideal = AerSimulator().run(circuit, shots=shots, seed_simulator=1).result()
    mine = surrogate_backend(backend).run(circuit, shots=shots, seed_simulator=2).result().get_counts()
    assert variation(mine, full.get_counts()) < 0.012
    assert variation(mine, ideal.get_counts()) > 0.05


@pytest.mark.parametrize("name", ["fake_fez", "fake_manila"])
def test_what_gates_add_has_their_average_error_and_relaxation(name: str) -> None:
    """Against the process fidelities of the channels that Aer makes of the same target."""
    backend = fake_backend(name)
    noise = NoiseModel.from_backend(backend)
    checked = 0
    for gate, places in noise._local_quantum_errors.items():
        if gate not in {"cz", "cx", "sx"}:
            continue
        for place, error in itertools.islice(places.items(), 12):
            mine = _added(backend.target, gate, tuple(place))
            chosen = np.diag(PTM(error.to_quantumchannel()).data).real
            assert mine.sum() == pytest.approx(1.0)
            assert mine.min() >= 0
            # the diagonal of the transfer matrix is the Walsh-Hadamard transform of the twirled errors
            sign = np.array([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]])
            signs = sign if len(place) == 1 else np.kron(sign, sign)
            np.testing.assert_allclose(signs @ mine, chosen, atol=1e-6)
            checked += 1
    assert checked > 10


def test_blocks_of_gates_are_what_their_gates_are() -> None:
    """One step for a run of gates on two qubits in both orders, with the squares of their common transfer matrix."""
    circuit = QuantumCircuit(3)
    circuit.unitary(random_unitary(2, seed=1), 0)
    circuit.cx(0, 1)
    circuit.sx(1)
    circuit.rz(0.3, 0)
    circuit.cx(1, 0)
    circuit.unitary(random_unitary(4, seed=2), [1, 0])
    circuit.rz(0.4, 1)
    steps = _steps(circuit, (0, 1, 2), lambda name, place: np.eye(4 ** len(place))[0])
    assert [step.qubits for step in steps] == [(0, 1)]
    whole = QuantumCircuit(2)
    for item in circuit.data:
        whole.append(item.operation, [circuit.find_bit(bit).index for bit in item.qubits])
    squares = PTM(Operator(whole)).data.real.T ** 2
    np.testing.assert_allclose(np.diff(steps[0].table, axis=1, prepend=0), squares[:, :-1], atol=1e-9)


# How close it is


@pytest.mark.parametrize(("name", "least", "most"), [("fake_fez", 0.9, 1.03), ("fake_torino", 0.85, 1.03)])
def test_energies_agree_with_the_full_noise(name: str, least: float, most: float) -> None:
    backend = fake_backend(name)
    circuit = qaoa_ansatz(COST, reps=2)
    measured = circuit.measure_all(inplace=False)
    rng = np.random.default_rng(5)
    points = np.concatenate([rng.uniform(0, 0.7, (10, 2)), rng.uniform(-1.2, 0, (10, 2))], axis=1)

    def energies(simulator: BackendV2) -> Any:
        sampler = layout_safe(BackendSamplerV2(backend=simulator, options={"seed_simulator": 3}))
        return sampler.run([(measured, points)], shots=8000).result()[0].data.meas.expectation_values(COST)

    full, mine = energies(active_simulator(backend)), energies(surrogate_backend(backend))
    ideal = np.array([np.real(Statevector(circuit.assign_parameters(x)).expectation_value(COST)) for x in points])
    assert least < float(mine @ full / (full @ full)) < most
    assert np.corrcoef(mine, full)[0, 1] > 0.99
    assert np.abs(mine - full).mean() < 0.6 * np.abs(ideal - full).mean()


# As a backend


def test_registers_seeds_and_jobs_are_a_backends() -> None:
    backend = surrogate_backend(device(error=0.05, readout=0.05))
    circuit = QuantumCircuit(4, metadata={"label": 2})
    circuit.add_register(ClassicalRegister(2, "first"), ClassicalRegister(12, "second"))
    circuit.x(3)
    circuit.cx(2, 1)
    circuit.barrier()
    circuit.measure([3, 2, 3], [1, 13, 2])  # qubit 3 twice
    job = backend.run(circuit, shots=300, seed_simulator=5, memory=True)
    assert job.status() is JobStatus.DONE
    memory = job.result().get_memory()
    assert memory == backend.run(circuit, shots=300, seed_simulator=5, memory=True).result().get_memory()
    assert memory != backend.run(circuit, shots=300, seed_simulator=6, memory=True).result().get_memory()
    assert job.result().get_counts() == {key: memory.count(key) for key in set(memory)}
    assert max(set(memory), key=memory.count) == "000000000001 10"
    for outcome in memory:
        second, first = outcome.split()
        assert first[0] == second[-1]  # the same reading
        assert set(first[1]) | set(second[1:-1]) == {"0"}  # nothing is written there
    result = BackendSamplerV2(backend=backend, options={"seed_simulator": 1}).run([circuit, circuit], shots=50).result()
    assert [result[0].data.first.num_bits, result[0].data.second.num_bits] == [2, 12]
    assert (result[0].data.second.array != result[1].data.second.array).any()  # each circuit its own noise
    assert backend.run(circuit).result().results[0].shots == 1024
    assert backend.target is backend.backend.target


def test_circuits_it_cannot_take_are_refused() -> None:
    backend = surrogate_backend(device(), max_qubits=3)
    large, middle, back = QuantumCircuit(4, 4), QuantumCircuit(2, 2), QuantumCircuit(2, 1)
    large.x(range(4))
    large.measure(range(4), range(4))
    middle.measure(0, 0)
    middle.x(0)
    back.reset(0)
    back.measure(0, 0)
    for circuit, message in [(large, "at most 3 qubits"), (middle, "'x' after a measurement"), (back, "'reset'")]:
        with pytest.raises(ValueError, match=message):
            backend.run(circuit)


@pytest.mark.benchmark
def test_an_evaluation_on_14_of_156_qubits(benchmark: BenchmarkFixture) -> None:
    backend = fake_backend("fake_fez")
    circuit = qaoa_ansatz(
        SparsePauliOp.from_sparse_list([("ZZ", (i, (i + 1) % 14), 0.5) for i in range(14)], 14), reps=1
    )
    circuit.measure_all()
    surrogate = surrogate_backend(backend)
    sent: list[QuantumCircuit] = []
    run = surrogate.run

    def recording(circuits: Any, **options: Any) -> Any:
        sent.extend(circuits)
        return run(circuits, **options)

    surrogate.run = recording
    layout_safe(BackendSamplerV2(backend=surrogate), seeds=1).run([(circuit, [0.3, -0.4])], shots=1000).result()
    assert len(strip(sent[0])[1]) == 14
    taken = benchmark(lambda: run(sent, shots=1000).result())
    assert sum(taken.get_counts().values()) == 1000
