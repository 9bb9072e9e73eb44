import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit_aer import AerSimulator

from qiskit_metainit.backends import active_simulator, embed, fake_backend, low_error_region, restrict, strip
from qiskit_metainit.budget import ShotBudget
from qiskit_metainit.deployment import Deployment, LocalChannel
from qiskit_metainit.deployment.channels.channel import Refused, Request
from qiskit_metainit.deployment.channels.exact import ExactChannel, NoisyCircuit
from qiskit_metainit.problems.maxcut import MaxCut

DEVICES = ["fake_fez", "fake_washington", "fake_sherbrooke"]  # cz, cx and ecr


def random_circuit(backend, num_qubits, rng, *, read=None):
    """Return a circuit of the device's gates on a low-error region, its angles parameters, and (P,) values."""
    region = low_error_region(backend.target, num_qubits)
    target = restrict(backend.target, region)
    pairs = [(name, pair) for name in ("cz", "cx", "ecr") if name in target.operation_names for pair in target[name]]
    circuit = QuantumCircuit(num_qubits, num_qubits if read is None else len(read))
    for index in range(12):
        for qubit in range(num_qubits):
            circuit.sx(qubit)
            circuit.rz(2 * Parameter(f"t{index}_{qubit}") + 0.3, qubit)
        name, pair = pairs[int(rng.integers(len(pairs)))]
        getattr(circuit, name)(*pair)
        circuit.x(pair[0])
        circuit.barrier()
    circuit.measure(range(num_qubits) if read is None else read, range(circuit.num_clbits))
    return embed(circuit, region, backend.num_qubits), rng.uniform(-3, 3, circuit.num_parameters)


def by_aer(backend, circuit, point):
    """Return Aer's probabilities of the measured qubits before readout errors, classical bit 0 the lowest."""
    small, _ = strip(circuit.assign_parameters(point))
    wire = {bit: index for index, bit in enumerate(small.qubits)}
    bit = {clbit: index for index, clbit in enumerate(small.clbits)}
    read = {bit[item.clbits[0]]: wire[item.qubits[0]] for item in small.data if item.name == "measure"}
    bare = small.copy_empty_like()
    for item in small.data:
        if item.name != "measure":
            bare.append(item)
    bare.save_probabilities([read[place] for place in sorted(read)])
    simulator = active_simulator(backend).on(strip(circuit)[1])
    assert isinstance(simulator, AerSimulator)
    return simulator.run(bare).result().data()["probabilities"]


@pytest.mark.parametrize("name", DEVICES)
def test_probabilities_are_aers(name, rng):
    backend = fake_backend(name)
    circuit, point = random_circuit(backend, 4, rng)
    noisy = NoisyCircuit(circuit, backend.target)
    noisy._misread = [np.eye(2)] * 4  # tested apart: Aer has no exact probabilities with them
    np.testing.assert_allclose(noisy.probabilities(point[None])[0], by_aer(backend, circuit, point), atol=1e-7)


def test_bits_in_any_order_and_unread_qubits(rng):
    backend = fake_backend("fake_fez")
    circuit, point = random_circuit(backend, 4, rng, read=[2, 0, 3])
    noisy = NoisyCircuit(circuit, backend.target)
    noisy._misread = [np.eye(2)] * 3
    np.testing.assert_allclose(noisy.probabilities(point[None])[0], by_aer(backend, circuit, point), atol=1e-7)


def test_outcomes_have_the_frequencies_of_aers_shots(rng):
    backend = fake_backend("fake_cusco")  # 2% readout error
    circuit, point = random_circuit(backend, 3, rng)
    shots = 400_000
    request = Request(pubs=((circuit, point[None]),), shots=shots, seed=7)
    counted = []
    for channel in (ExactChannel(backend), LocalChannel(backend)):
        (bits,) = channel.collect(channel.submit(request, "tag")).bits
        assert bits.num_shots == shots
        assert bits.shape == (1,)
        counted.append(np.bincount([int(key) for key in bits[0].array[:, 0]], minlength=8))
    exact = NoisyCircuit(circuit, backend.target).probabilities(point[None])[0]
    for counts in counted:
        deviation = (counts - shots * exact) / np.sqrt(shots * exact)
        assert np.abs(deviation).max() < 5.0


def test_points_are_rows_and_seeds_are_kept(rng):
    backend = fake_backend("fake_fez")
    circuit, point = random_circuit(backend, 3, rng)
    points = np.array([point, point[::-1]])
    channel = ExactChannel(backend)
    noisy = channel.circuit(circuit)
    single = [noisy.probabilities(row[None])[0] for row in points]
    np.testing.assert_array_equal(noisy.probabilities(points), single)
    drawn = []
    for seed in (1, 1, 2):
        (bits,) = channel.collect(channel.submit(Request(((circuit, points),), 1000, seed), "tag")).bits
        assert bits.shape == (2,)
        drawn.append(bits.array)
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any()
    assert channel.circuit(circuit.copy()) is noisy


def test_more_than_eight_bits(rng):
    backend = fake_backend("fake_fez")
    region = low_error_region(backend.target, 9)
    circuit = QuantumCircuit(9, 9)
    circuit.x([0, 8])
    circuit.measure(range(9), range(9))
    channel = ExactChannel(backend)
    request = Request(((embed(circuit, region, backend.num_qubits), np.zeros((1, 0))),), 500, 3)
    (bits,) = channel.collect(channel.submit(request, "tag")).bits
    assert max(bits.get_counts(), key=bits.get_counts().get) == "100000001"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda circuit: circuit.rx(Parameter("a"), 1), "Parameters in rz only"),
        (lambda circuit: (circuit.measure(1, 0), circuit.x(1)), "after a measurement"),
        (lambda circuit: circuit.x(range(11)), "at most 10 used qubits"),
        (lambda circuit: circuit.measure([1, 1], [0, 1]), "written once"),
    ],
)
def test_what_it_does_not_take(spoil, message):
    backend = fake_backend("fake_fez")
    circuit = QuantumCircuit(backend.num_qubits, 2)
    circuit.x(1)
    spoil(circuit)
    with pytest.raises(ValueError, match=message):
        NoisyCircuit(circuit, backend.target)
    channel = ExactChannel(backend)
    with pytest.raises(Refused, match=message):
        channel.submit(Request(((circuit, np.zeros((1, circuit.num_parameters))),), 10, 0), "tag")


def test_a_deployment_spends_its_budget_to_the_shot():
    backend = fake_backend("fake_fez")
    problem = MaxCut.from_edges([(0, 1), (1, 2), (2, 0), (2, 3)])
    deployment = Deployment(backend, ShotBudget(shots=5000), channel=ExactChannel(backend))
    run = deployment.run(problem, reps=1, shots_per_evaluation=1000, final_shots=1000)
    assert run.shots_spent == 5000
    assert len(run.energies) == 4
    assert problem.value(run.bitstring) == 3.0
