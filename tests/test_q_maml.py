from __future__ import annotations

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit.circuits.layered import ry_chain, strongly_entangling_layers
from qiskit_metainit.circuits.spin_chain import bell_pair_ansatz, block_ansatz
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.features import stack
from qiskit_metainit.models._task_vectors import fingerprint, task_vector
from qiskit_metainit.models.q_maml import QMaml
from qiskit_metainit.problems.distribution import Distribution, target_probabilities
from qiskit_metainit.problems.heisenberg import Heisenberg
from qiskit_metainit.rating import answers, energies
from qiskit_metainit.task import Task
from qiskit_metainit.testing import check_model
from qiskit_metainit.training import Schedule, train


def seeded(**settings: object) -> QMaml:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return QMaml(**settings).eval()  # type: ignore[arg-type]


def chain(couplings: list[float], size: int = 4, layers: int = 2) -> Task:
    return Task.of(Heisenberg.from_couplings(size, couplings, layers=layers, ansatz="blocks", exact=False))


# the task vector


def test_the_couplings_are_read_in_the_order_and_sign_of_the_paper() -> None:
    assert task_vector(chain([0.7, -2.9, 0.1]).features, "couplings")[:3] == pytest.approx([0.7, -2.9, 0.1])
    assert task_vector(chain([0.0, 0.0, -1.3]).features, "couplings")[:3] == pytest.approx([0, 0, -1.3])
    field = Heisenberg.from_couplings(4, [1.0, 2.0, 3.0], field=0.5, ansatz="blocks", layers=1, exact=False)
    vector = task_vector(Task.of(field).features, "couplings")
    assert vector == pytest.approx([1, 2, 3, 0, 0, 0.5])


@pytest.mark.parametrize(
    ("terms", "told"),
    [
        ([("XX", [0, 1], 1.0), ("XX", [1, 2], 2.0)], "the same coupling on every bond"),
        ([("ZZ", [0, 1], 1.0)], "the same coupling on every bond"),
        ([("ZZ", [0, 1], 1.0), ("ZZ", [1, 2], 1.0), ("ZZ", [0, 2], 1.0)], "other terms came"),
        ([("XY", [0, 1], 1.0), ("XY", [1, 2], 1.0)], "other terms came"),
    ],
)
def test_what_is_no_uniform_chain_has_no_couplings(terms: list[tuple[str, list[int], float]], told: str) -> None:
    features = Task.from_circuit(ry_chain(3, 1), SparsePauliOp.from_sparse_list(terms, 3)).features
    assert told in str(task_vector(features, "couplings"))
    assert told in str(seeded().unsupported(features))


def test_the_coefficients_come_in_one_order_without_the_identity(rng: np.random.Generator) -> None:
    labels = ["IZ", "XX", "YY", "ZI", "ZZ"]
    values = dict(zip(labels, rng.normal(size=5), strict=True))
    # By the mask of X, then of Z; XX flips both qubits, as YY does.
    expected = [values[label] for label in ("IZ", "ZI", "ZZ", "XX", "YY")]
    for order in (labels, labels[::-1]):
        operator = SparsePauliOp([*order, "II"], [*(values[label] for label in order), 9.0])
        features = Task.from_circuit(ry_chain(2, 1), operator).features
        np.testing.assert_allclose(task_vector(features, "coefficients"), expected, rtol=1e-12)


def test_the_target_is_read_from_the_hamiltonian_alone(rng: np.random.Generator) -> None:
    for problem in (
        Distribution(sizes=[5]).sample(rng),
        Distribution.from_probabilities(rng.dirichlet(np.ones(8))),
        Distribution.from_probabilities([0.5, 0.0, 0.0, 0.5]),
    ):
        expected = target_probabilities(problem.operator) * (1 << problem.num_qubits)
        shifted = 2.5 * problem.operator + SparsePauliOp("I" * problem.num_qubits, 4.0)
        for operator in (problem.operator, shifted):
            features = Task.from_circuit(ry_chain(problem.num_qubits, 1), operator).features
            np.testing.assert_allclose(task_vector(features, "target"), expected, atol=1e-9)


def test_what_is_no_projector_has_no_target(rng: np.random.Generator) -> None:
    vector = np.sqrt([0.1, 0.2, 0.3, 0.4]) * [1, -1, 1, 1]
    signed = SparsePauliOp.from_operator(np.eye(4) - np.outer(vector, vector))  # a state with a sign
    two = Distribution.from_probabilities([0.1, 0.2, 0.3, 0.4]).operator
    for operator in (signed, two + SparsePauliOp("XX", 0.01), SparsePauliOp(["ZZ", "XI"], [1.0, 0.3]), -1.0 * two):
        features = Task.from_circuit(ry_chain(2, 1), operator).features
        assert "a Hamiltonian 1 - |t><t|" in str(task_vector(features, "target"))


# the circuits


def test_a_circuit_is_the_same_however_it_is_compiled() -> None:
    for circuit in (block_ansatz(4, 2), strongly_entangling_layers(4, 2), ry_chain(4, 2), bell_pair_ansatz(4, 2)):
        ring = [[i, (i + 1) % 5] for i in range(5)]
        basis = ["rz", "sx", "x", "cx"]
        placed = transpile(
            circuit, basis_gates=basis, coupling_map=ring, initial_layout=[3, 1, 4, 2], seed_transpiler=0,
            optimization_level=1,
        )  # fmt: skip
        assert fingerprint(placed) == fingerprint(circuit)


def test_other_circuits_are_other_ones() -> None:
    circuits = [
        block_ansatz(4, 2),
        block_ansatz(4, 2, periodic=True),
        block_ansatz(4, 2, shared=True),
        strongly_entangling_layers(4, 2),
        ry_chain(4, 2),
        ry_chain(4, 3),
    ]
    flipped = QuantumCircuit(4)
    flipped.x(0)
    circuits.append(flipped.compose(block_ansatz(4, 2)))
    turned = QuantumCircuit(1)
    turned.t(0)
    turned.rx(ParameterVector("t", 1)[0], 0)
    assert len({fingerprint(circuit) for circuit in circuits}) == len(circuits)
    assert fingerprint(turned) is None


def test_it_answers_for_the_circuits_of_its_training_only() -> None:
    model = seeded(num_parameters=18)
    train(
        model,
        Heisenberg(sizes=[4], ansatz="blocks", layers=[2]),
        Statevector(),
        steps=1,
        batch=2,
        rng=np.random.default_rng(0),
        schedule=Schedule(instances=3),
    )
    assert model.unsupported(chain([1.0, 2.0, 3.0]).features) is None
    operator = chain([1.0, 2.0, 3.0]).hamiltonian
    for circuit in (ry_chain(4, 3), bell_pair_ansatz(4, 2), block_ansatz(4, 1)):
        told = str(model.unsupported(Task.from_circuit(circuit, operator).features))
        assert "one of the 1 circuits that it was trained on" in told
    placed = transpile(block_ansatz(4, 2), basis_gates=["rz", "sx", "cx"], initial_layout=[2, 0, 1, 3])
    laid_out = Task.from_circuit(placed, operator)
    assert model.unsupported(laid_out.features) is None
    both = [answers(model, [task], Statevector()) for task in (laid_out, chain([1.0, 2.0, 3.0]))]
    np.testing.assert_allclose(*both)
    check_model(model)  # its own probes are served as before
    rebuilt = QMaml(**model.settings)
    rebuilt.load_state_dict(model.state_dict())
    assert rebuilt.unsupported(Task.from_circuit(ry_chain(4, 3), operator).features) is not None


def test_reasons_are_told() -> None:
    model = seeded(inputs=4, num_parameters=6, vector="target")
    problem = Distribution.from_probabilities(np.full(8, 1 / 8), layers=1)
    assert "answers 6 parameters, but the task has 9" in str(
        seeded(num_parameters=6).unsupported(Task.from_circuit(ry_chain(3, 2), SparsePauliOp("ZZZ")).features)
    )
    assert "reads 4 numbers of a Hamiltonian, but this one has 4 more" in str(
        model.unsupported(Task.of(problem).features)
    )
    assert "a QAOA circuit came" in str(model.unsupported(Task.qaoa(SparsePauliOp("ZZ"), reps=1).features))
    mixture = QuantumCircuit(1)
    mixture.t(0)
    mixture.rx(ParameterVector("t", 1)[0], 0)
    task = Task.from_circuit(mixture, SparsePauliOp("Z"))
    with pytest.raises(ValueError, match="and 1 tasks of another kind came"):
        seeded(inputs=1, vector="coefficients").prepare(lambda _: stack([task.features]))


@pytest.mark.parametrize(
    "settings",
    [
        {"inputs": 2},
        {"inputs": 3, "vector": "target"},
        {"num_parameters": 0},
        {"vector": "bits"},
        {"activation": "sin"},
    ],
)
def test_settings_are_checked(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"inputs|vector must be|activation must be"):
        seeded(**settings)


@pytest.mark.parametrize(
    "settings",
    [{"vector": "target", "inputs": 8, "num_parameters": 3}, {"vector": "coefficients", "inputs": 2}, {"inputs": 6}],
)
def test_every_vector_conforms(settings: dict[str, object]) -> None:
    check_model(seeded(**settings))


# the network


def test_the_network_is_that_of_the_paper(rng: np.random.Generator) -> None:
    model = seeded(num_parameters=18)
    assert [tuple(w.shape) for w in model.parameters()] == [(256, 3), (256,), (256, 256), (256,), (18, 256), (18,)]
    task = chain([1.5, -0.4, 2.0])
    weights = [w.detach().numpy() for w in model.parameters()]
    inner = np.array([1.5, -0.4, 2.0])
    for matrix, shift in zip(weights[:4:2], weights[1:4:2], strict=True):
        inner = np.maximum(matrix @ inner + shift, 0.0)
    np.testing.assert_allclose(answers(model, [task], Statevector())[0], weights[4] @ inner + weights[5], atol=1e-12)


def test_a_smaller_circuit_takes_the_first_angles() -> None:
    model = seeded(vector="target", inputs=16, num_parameters=8)
    small, large = (Task.of(Distribution.from_probabilities(np.full(n, 1 / n), layers=1)) for n in (4, 16))
    both = answers(model, [small, large], Statevector())
    assert both.shape == (2, 8)
    assert not both[0, 4:].any()
    np.testing.assert_allclose(both[0, :4], answers(model, [small], Statevector())[0], atol=1e-14)


@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_training_lowers_the_infidelity_of_unseen_targets(activation: str) -> None:
    family, engine = Distribution(sizes=[3], layers=2), Statevector()
    model = seeded(vector="target", inputs=8, num_parameters=9, width=64, activation=activation)
    rng = np.random.default_rng(10**6)
    unseen = [Task.of(family.sample(rng)) for _ in range(20)]
    before = energies(engine, unseen, answers(model, unseen, engine))
    report = train(
        model, family, engine, steps=200, batch=16, rng=np.random.default_rng(0),
        schedule=Schedule(learning_rate=1e-2, instances=100),
    )  # fmt: skip
    after = energies(engine, unseen, answers(model, unseen, engine))
    assert np.mean(after) < 0.04 < 0.2 < np.mean(before)
    assert report.losses[-1] < 0.04


def test_several_networks_answer_a_circuit_each(rng: np.random.Generator) -> None:
    family = Distribution(sizes=[2, 3], layers=1)
    problems = [family.sample(rng) for _ in range(12)]
    tasks = [Task.of(problem) for problem in problems]
    shape = {"inputs": 8, "num_parameters": 6, "vector": "target", "width": 8}
    model = seeded(**shape, networks=2)
    model.prepare(lambda count: stack([task.features for task in tasks[:count]]))
    before = answers(model, tasks, Statevector())
    with torch.no_grad():
        for weight in model.others[0].parameters():
            weight.add_(0.5)
    after = answers(model, tasks, Statevector())
    moved = np.abs(after - before).max(axis=1) > 1e-3
    sizes = np.array([task.num_parameters for task in tasks])
    assert {bool(moved[sizes == size].all()) for size in (4, 6)} == {True, False}
    assert {bool(moved[sizes == size].any()) for size in (4, 6)} == {True, False}
    check_model(model)


def test_more_circuits_than_networks_are_refused(rng: np.random.Generator) -> None:
    tasks = [Task.of(Distribution(sizes=[size], layers=1).sample(rng)) for size in (2, 3, 4)]
    model = seeded(inputs=16, num_parameters=8, vector="target", networks=2)
    with pytest.raises(ValueError, match="each of the 3 circuits is needed, but networks=2"):
        model.prepare(lambda _: stack([task.features for task in tasks]))
