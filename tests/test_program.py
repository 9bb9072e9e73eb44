"""Tests of the compiled program: the same state by a slow interpreter, and the few ops it must come down to."""

import itertools

import numpy as np
import pytest
from oracles import assert_same_state, expectation_slow, random_circuit, random_operator, state_slow
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit.library import PauliEvolutionGate, efficient_su2, qaoa_ansatz
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit.simulation.compiler import Plan, compile_observable
from qiskit_metainit.simulation.program import Diagonal, Flip, Hadamard, Monomial, Product, Unitary
from qiskit_metainit.simulation.runs import Space
from qiskit_metainit.symmetry import PauliSum

PAULIS = {"X": np.array([[0, 1], [1, 0]]), "Y": np.array([[0, -1j], [1j, 0]]), "Z": np.diag([1, -1]), "I": np.eye(2)}


def pauli(letters, qubits, size):
    matrix = np.eye(1)
    for qubit in reversed(range(size)):
        matrix = np.kron(matrix, PAULIS[letters[qubits.index(qubit)] if qubit in qubits else "I"])
    return matrix


def rotated(matrix, angle):
    return np.cos(angle / 2) * np.eye(len(matrix)) - 1j * np.sin(angle / 2) * matrix


def matrix_of(op, num_qubits, size, point):
    """The definition of each op, as its docstring gives it."""
    indices = np.arange(size)
    matrix = np.zeros((size, size), dtype=complex)
    match op:
        case Diagonal():
            phase = sum(point[j] * g for j, g in zip(op.parameters, op.generators, strict=True))
            phase = phase + (0 if op.constant is None else op.constant)
            return np.diag(np.exp(-1j * phase * np.ones(size)))
        case Hadamard():
            matrix = np.eye(1)
            for qubit in reversed(range(num_qubits)):
                matrix = np.kron(
                    matrix, (PAULIS["X"] + PAULIS["Z"]) / np.sqrt(2) if op.mask >> qubit & 1 else np.eye(2)
                )
            return matrix
        case Product():
            angles = op.slopes @ point[list(op.parameters)] + op.constant
            matrix = np.eye(size)
            for word, row in zip(op.letters, angles, strict=True):
                for letter, qubit, angle in zip(word, op.qubits, row, strict=True):
                    if letter != "I":
                        matrix = rotated(pauli(letter, (qubit,), num_qubits), angle) @ matrix
            return matrix
        case Flip():
            angle = op.slopes @ point[list(op.parameters)] + op.constant
            matrix[indices, indices ^ op.flip if op.partner is None else op.partner] = op.weights
            energies, vectors = np.linalg.eigh(matrix)
            return vectors @ np.diag(np.exp(-0.5j * angle * energies)) @ vectors.conj().T
        case Monomial():
            matrix[indices, op.source] = op.phases
            return matrix
        case Unitary():
            for column in indices:
                for row in range(len(op.matrix)):
                    rest = column & ~sum(1 << q for q in op.qubits)
                    inner = sum((column >> q & 1) << place for place, q in enumerate(op.qubits))
                    target = rest | sum((row >> place & 1) << q for place, q in enumerate(op.qubits))
                    matrix[target, column] += op.matrix[row, inner]
            return matrix


def state_of(program, point):
    state = program.initial
    for op in program.ops:
        state = matrix_of(op, program.num_qubits, state.size, np.asarray(point)) @ state
    return state


def expectation_of(program, point):
    state = state_of(program, point)
    indices = np.arange(state.size)
    total = np.zeros_like(state)
    observable = program.observable
    for row, flip in enumerate(observable.flips):
        moved = indices ^ flip if observable.partners is None else observable.partners[row]
        total += observable.diagonals[row] * state[moved]
    return float(np.vdot(state, total).real)


def compiled(circuit):
    """Return the program of the whole register."""
    plan = Plan.of(circuit, SparsePauliOp("Z" * circuit.num_qubits), taper=False)
    return plan.program(sector=False)


def check(circuit, rng):
    """Check the state in the whole register, and what a random Hamiltonian sees of the smallest program."""
    point = rng.uniform(-3, 3, circuit.num_parameters)
    program = compiled(circuit)
    assert_same_state(state_of(program, point), state_slow(circuit, point))
    operator = random_operator(rng, circuit.num_qubits, 12)
    smallest = Plan.of(circuit, operator).program()
    assert smallest.initial.size <= program.initial.size
    assert expectation_of(smallest, point) == pytest.approx(expectation_slow(circuit, operator, point), abs=1e-9)
    return program


def kinds(program):
    return [type(op) for op in program.ops]


# the same state


@pytest.mark.parametrize("trial", range(40))
def test_random_circuits_compile_to_the_same_state(trial, rng):
    check(random_circuit(rng, qubits=int(rng.integers(3, 6)), gates=14), rng)


@pytest.mark.parametrize("trial", range(40))
def test_rotations_among_permutations_compile_to_the_same_state(trial, rng):
    # Where merging and moving happens most: few kinds of gates, all of them permutations, diagonal or rotations.
    parameters = ParameterVector("t", 4)
    size = int(rng.integers(2, 5))
    circuit = QuantumCircuit(size)
    circuit.h(range(size))
    circuit.ry(0.3, range(size))
    for _ in range(25):
        a, b = rng.choice(size, 2, replace=False).tolist()
        angle = parameters[int(rng.integers(4))] * rng.normal() + rng.normal()
        name = rng.choice(["cx", "cx", "cx", "cz", "swap", "s", "y", "h", "rz", "rz", "rx", "rzz", "rxx"])
        angles = [angle] if name.startswith("r") else []
        getattr(circuit, name)(*angles, *([a, b] if name in {"cx", "cz", "swap", "rzz", "rxx"} else [a]))
    circuit.rx(parameters[0], 0)
    check(circuit, rng)


@pytest.mark.parametrize("trial", range(6))
def test_a_circuit_and_its_inverse_give_back_the_start(trial, rng):
    # Evolutions first go to their product formulas: Qiskit inverts the exponential, not the formula's order.
    circuit = random_circuit(rng, qubits=4, gates=10).decompose(["PauliEvolution", "nested*"], reps=4)
    there_and_back = circuit.compose(circuit.inverse())
    program = compiled(there_and_back)
    state = state_of(program, rng.uniform(-3, 3, circuit.num_parameters))
    assert abs(state[0]) == pytest.approx(1.0, abs=1e-10)


# observables


@pytest.mark.parametrize("letters", ["IXYZ", "IZ", "XY"])
def test_an_observable_is_the_operator(letters, rng):
    operator = random_operator(rng, qubits=4, terms=12, letters=letters)
    observable = compile_observable(PauliSum.of(operator), Space(4, None))
    indices = np.arange(16)
    matrix = np.zeros((16, 16), dtype=complex)
    for flip, diagonal in zip(observable.flips, observable.diagonals, strict=True):
        matrix[indices, indices ^ flip] += diagonal
    assert np.allclose(matrix, operator.to_matrix(), atol=1e-12)
    assert list(observable.flips) == sorted(set(observable.flips))


def test_a_diagonal_observable_is_one_real_diagonal():
    observable = compile_observable(PauliSum.of(SparsePauliOp(["ZZI", "IIZ", "III"], [1.0, 2.0, 3.0])), Space(3, None))
    assert observable.flips == (0,)
    assert observable.diagonals.dtype == np.float64
    assert observable.diagonals.tolist() == [[6.0, 2.0, 4.0, 0.0, 4.0, 0.0, 6.0, 2.0]]


# few ops


HIGH_ORDER = {
    "two-body": SparsePauliOp(["IIIZZ", "ZZIII", "IZIIZ"], [0.5, -1.0, 0.3]),
    "three-body": SparsePauliOp(["IIZZZ", "ZIZZI", "ZZIIZ"], [1.0, -0.5, 2.0]),
    "four-body": SparsePauliOp(["ZZZZI", "IZZZZ"], [1.0, 0.25]),
    "mixed": SparsePauliOp(["IIIIZ", "IIZZI", "ZZZII", "ZIZZZ", "ZZZZZ"], [0.1, 0.2, 0.3, 0.4, 0.5]),
}


def ladder_circuit(operator, reps):
    """QAOA layer by layer, with every many-body rotation between CNOT ladders."""
    betas, gammas = ParameterVector("beta", reps), ParameterVector("gamma", reps)
    circuit = QuantumCircuit(operator.num_qubits)
    circuit.h(range(operator.num_qubits))
    for beta, gamma in zip(betas, gammas, strict=True):
        for term, coefficient in zip(operator.paulis, operator.coeffs.real, strict=True):
            qubits = np.flatnonzero(term.z).tolist()
            ladder = list(itertools.pairwise(qubits))
            for pair in ladder:
                circuit.cx(*pair)
            circuit.rz(2 * coefficient * gamma, qubits[-1])
            for pair in reversed(ladder):
                circuit.cx(*pair)
        circuit.rx(2 * beta, range(operator.num_qubits))
    return circuit


@pytest.mark.parametrize("reps", [1, 2, 5])
@pytest.mark.parametrize("name", HIGH_ORDER)
def test_a_qaoa_layer_is_two_diagonals(name, reps, rng):
    program = check(qaoa_ansatz(HIGH_ORDER[name], reps=reps), rng)
    assert kinds(program) == [Diagonal, Hadamard, Diagonal, Hadamard] * reps


@pytest.mark.parametrize("reps", [1, 2, 5])
@pytest.mark.parametrize("name", HIGH_ORDER)
def test_cnot_ladders_vanish(name, reps, rng):
    # Also in the first layer, where there is no diagonal op yet to move the rotation into.
    program = check(ladder_circuit(HIGH_ORDER[name], reps), rng)
    assert kinds(program) == [Diagonal, Hadamard, Diagonal, Hadamard] * reps


@pytest.mark.parametrize("name", HIGH_ORDER)
def test_a_ladder_compiles_to_the_same_generator_as_the_rotation(name):
    operator = HIGH_ORDER[name]
    direct = compiled(qaoa_ansatz(operator, reps=1))
    ladders = compiled(ladder_circuit(operator, 1))
    one, other = direct.ops[0], ladders.ops[0]
    assert isinstance(one, Diagonal)
    assert isinstance(other, Diagonal)
    assert one.parameters == other.parameters == (1,)
    assert np.allclose(one.generators, other.generators, atol=1e-12)
    assert np.allclose(one.generators[0], np.diag(operator.to_matrix()).real, atol=1e-12)


def test_ladders_in_the_order_of_a_transpiler_keep_the_state(rng):
    # Mixed with the next layer's gates, so that fewer of them meet their partners.
    circuit = qaoa_ansatz(HIGH_ORDER["mixed"], reps=3)
    check(transpile(circuit, basis_gates=["rz", "sx", "x", "cx"], optimization_level=1), rng)
    check(circuit.decompose(["PauliEvolution", "rzz"], reps=3), rng)


def test_a_ladder_right_after_hadamards_leaves_no_permutation(rng):
    a = Parameter("a")
    circuit = QuantumCircuit(4)
    circuit.h(range(4))
    for qubit in range(3):
        circuit.cx(qubit, qubit + 1)
    circuit.rz(2 * a, 3)
    for qubit in reversed(range(3)):
        circuit.cx(qubit, qubit + 1)
    circuit.rx(a, range(4))
    program = check(circuit, rng)
    assert kinds(program) == [Diagonal, Hadamard, Diagonal, Hadamard]
    assert np.allclose(program.ops[0].generators[0], np.diag(SparsePauliOp("ZZZZ").to_matrix()).real)


def test_nothing_slips_past_a_ladder_that_is_gone(rng):
    # The rotation between the CNOTs joins the diagonal on qubit 0, which then acts on qubit 1 as well.
    circuit = QuantumCircuit(3)
    circuit.h(range(3))
    circuit.ry(Parameter("a"), 2)
    circuit.rz(Parameter("b"), 0)
    circuit.cx(1, 0)
    circuit.rz(Parameter("c"), 0)
    circuit.cx(1, 0)
    circuit.rx(Parameter("d"), 1)
    assert Monomial not in kinds(check(circuit, rng))


def test_a_ladder_that_is_not_undone_stays(rng):
    circuit = QuantumCircuit(2)
    circuit.h([0, 1])
    circuit.cx(0, 1)
    circuit.rz(Parameter("a"), 1)
    circuit.ry(0.3, 0)
    circuit.cx(0, 1)
    circuit.ry(0.4, 1)
    program = check(circuit, rng)
    assert kinds(program).count(Monomial) == 2


def test_fields_join_the_diagonal_of_their_layer(rng):
    operator = SparsePauliOp(["ZZII", "IIZZ", "ZIII", "IIIZ"], [1.0, 2.0, 0.3, -0.7])
    assert kinds(check(qaoa_ansatz(operator, reps=2), rng)) == [Diagonal, Hadamard, Diagonal, Hadamard] * 2


def test_z_rotations_that_share_nothing_are_a_product_and_take_no_diagonal(rng):
    program = check(efficient_su2(4, reps=3), rng)
    assert kinds(program) == [Product, Monomial] * 3 + [Product]
    assert program.ops[0].letters == ("YYYY", "ZZZZ")


def test_a_chain_of_permutations_is_one_op(rng):
    circuit = QuantumCircuit(4)
    circuit.ry(Parameter("a"), range(4))
    circuit.cx(0, 1)
    circuit.swap(1, 3)
    circuit.cz(0, 2)
    circuit.s(1)
    circuit.ccx(0, 1, 2)
    circuit.iswap(2, 3)
    circuit.ry(Parameter("b"), range(4))
    assert kinds(check(circuit, rng)) == [Product, Monomial, Product]


def test_rotations_of_one_layer_merge_in_any_order(rng):
    a = Parameter("a")
    circuit = QuantumCircuit(3)
    circuit.ry(0.5, range(3))
    for first, second in [(0, 1), (1, 2), (0, 2)]:
        circuit.rzz(a, first, second)
    circuit.rx(a, 2)
    circuit.rzz(a, 0, 1)  # commutes with the rotation of qubit 2, so it joins the diagonal in front of it
    circuit.p(a, 1)
    circuit.rx(a, [0, 1])
    assert kinds(check(circuit, rng)) == [Diagonal, Hadamard, Diagonal, Hadamard]


# smaller states


def smallest(circuit, operator):
    return Plan.of(circuit, operator).program()


@pytest.mark.parametrize(
    ("labels", "qubits"),
    [
        (["IIZZ", "IZZI", "ZZII"], 3),
        (["IIIIIIIIIIIZZ", "IIIIIIIIIIZZI", "ZZIIIIIIIIIII"], 3),  # every component, qubits without a term too
        (["IIZZ", "ZZII"], 3),  # a small one keeps the shape of a connected one
        (["IIZZ", "IIIZ", "ZZII"], 3),
        (["ZZZI", "IZZZ"], 2),
        (["ZZZI", "IIIZ", "IIZI", "IZII", "ZIII"], 4),
    ],
)
def test_every_flip_that_a_hamiltonian_does_not_see_takes_a_qubit_away(labels, qubits, rng):
    operator = SparsePauliOp(labels, rng.normal(size=len(labels)))
    circuit = qaoa_ansatz(operator, reps=2)
    program = smallest(circuit, operator)
    assert program.num_qubits == qubits
    assert program.initial.size == 2**qubits
    point = rng.uniform(-3, 3, 4)
    assert expectation_of(program, point) == pytest.approx(expectation_slow(circuit, operator, point), abs=1e-10)


def test_a_start_that_is_not_symmetric_keeps_its_qubits(rng):
    operator = SparsePauliOp(["IZZ", "ZZI"])
    circuit = QuantumCircuit(3)
    circuit.ry(0.3, 1)
    circuit.compose(qaoa_ansatz(operator, reps=1), inplace=True)
    assert smallest(circuit, operator).num_qubits == 3


def test_a_gate_in_between_keeps_all_qubits(rng):
    operator = SparsePauliOp(["IZZ", "ZZI"])
    circuit = qaoa_ansatz(operator, reps=1).decompose()
    circuit.s(0)
    circuit.rx(Parameter("z"), 0)
    program = smallest(circuit, operator)
    assert program.num_qubits == 3


def test_hops_of_one_particle_stay_among_its_places(rng):
    circuit = QuantumCircuit(5)
    circuit.x(2)
    for qubit in range(4):
        hop = SparsePauliOp.from_sparse_list([("XX", [qubit, qubit + 1], 0.5), ("YY", [qubit, qubit + 1], 0.5)], 5)
        circuit.append(PauliEvolutionGate(hop, time=Parameter(f"t{qubit}")), range(5))
        circuit.rz(Parameter(f"z{qubit}"), qubit)
    operator = random_operator(rng, 5, 30)
    program = smallest(circuit, operator)
    assert program.num_qubits == 0
    assert program.initial.size == 5
    assert set(kinds(program)) == {Diagonal, Flip}
    check(circuit, rng)


def test_rotations_of_one_flip_and_one_angle_are_one_op(rng):
    circuit = QuantumCircuit(2)
    circuit.ry(0.3, [0, 1])
    a = Parameter("a")
    circuit.rxx(a, 0, 1)
    circuit.ryy(2 * a, 0, 1)
    assert kinds(check(circuit, rng)) == [Flip]
    circuit.rxx(a + 0.1, 0, 1)  # not a multiple of the others' angle
    assert kinds(check(circuit, rng)) == [Flip] * 2


def test_rotations_on_the_same_qubit_are_not_merged_into_one_product(rng):
    circuit = QuantumCircuit(2)
    circuit.rx(Parameter("a"), 0)
    circuit.ry(Parameter("b"), 0)
    circuit.rx(Parameter("c"), 1)
    circuit.rx(Parameter("d"), 0)
    program = check(circuit, rng)
    assert all(len(set(op.qubits)) == len(op.qubits) for op in program.ops)


def test_many_body_rotations_with_x_and_y_are_flips(rng):
    circuit = QuantumCircuit(3)
    circuit.ry(0.3, range(3))
    circuit.rxx(Parameter("a"), 0, 2)
    circuit.ryy(Parameter("b"), 2, 1)
    circuit.rzx(Parameter("c"), 1, 0)
    assert kinds(check(circuit, rng)) == [Flip] * 3


def test_products_list_distinct_qubits_in_order(rng):
    circuit = QuantumCircuit(4)
    for qubit, name in [(3, "d"), (0, "a"), (2, "c"), (1, "b")]:
        circuit.rx(Parameter(name), qubit)
    (op,) = check(circuit, rng).ops
    assert op.qubits == (0, 1, 2, 3)
    assert op.parameters == (0, 1, 2, 3)
    assert np.array_equal(op.slopes, np.eye(4)[None])


def test_affine_and_shared_parameters_in_one_diagonal_by_hand():
    a, b = ParameterVector("t", 2)
    circuit = QuantumCircuit(2)
    circuit.rzz(2 * a - b + 0.5, 0, 1)
    circuit.rz(a, 0)
    (op,) = compiled(circuit).ops
    zz, z0 = np.array([1, -1, -1, 1]), np.array([1, -1, 1, -1])
    assert op.parameters == (0, 1)
    assert np.allclose(op.generators, [zz + z0 / 2, -zz / 2])
    assert np.allclose(op.constant, 0.25 * zz)


def test_circuits_that_are_not_affine_or_measure_are_refused():
    circuit = QuantumCircuit(1)
    circuit.rx(Parameter("a") ** 2, 0)
    with pytest.raises(ValueError, match="affine"):
        compiled(circuit)
    circuit = QuantumCircuit(1)
    circuit.rx(Parameter("a"), 0)
    circuit.measure_all()
    with pytest.raises(ValueError, match="unitary"):
        compiled(circuit)
