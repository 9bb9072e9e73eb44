"""Tests of the compiled program: the same state by a slow interpreter, and the few ops it must come down to."""

import itertools

import numpy as np
import pytest
from oracles import assert_same_state, random_circuit, random_operator, state_slow
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit.library import efficient_su2, qaoa_ansatz
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit.program import (
    Diagonal,
    Monomial,
    PauliRotation,
    Product,
    Unitary,
    compile_observable,
    compile_program,
)

PAULIS = {"X": np.array([[0, 1], [1, 0]]), "Y": np.array([[0, -1j], [1j, 0]]), "Z": np.diag([1, -1]), "I": np.eye(2)}


def pauli(letters, qubits, size):
    matrix = np.eye(1)
    for qubit in reversed(range(size)):
        matrix = np.kron(matrix, PAULIS[letters[qubits.index(qubit)] if qubit in qubits else "I"])
    return matrix


def rotated(matrix, angle):
    return np.cos(angle / 2) * np.eye(len(matrix)) - 1j * np.sin(angle / 2) * matrix


def matrix_of(op, size, point):
    """The definition of each op, as its docstring gives it."""
    indices = np.arange(2**size)
    match op:
        case Diagonal():
            phase = sum(point[j] * g for j, g in zip(op.parameters, op.generators, strict=True))
            phase = phase + (0 if op.constant is None else op.constant)
            return np.diag(np.exp(-1j * phase * np.ones(2**size)))
        case Product():
            angles = op.slopes @ point[list(op.parameters)] + op.constant
            result = np.eye(2**size)
            for letter, qubit, angle in zip(op.letters, op.qubits, angles, strict=True):
                result = rotated(pauli(letter, (qubit,), size), angle) @ result
            return result
        case PauliRotation():
            (angle,) = op.slopes @ point[list(op.parameters)] + op.constant
            matrix = np.zeros((2**size, 2**size), dtype=complex)
            matrix[indices, indices ^ op.flip] = op.phases
            return rotated(matrix, angle)
        case Monomial():
            matrix = np.zeros((2**size, 2**size), dtype=complex)
            matrix[indices, op.source] = op.phases
            return matrix
        case Unitary():
            matrix = np.zeros((2**size, 2**size), dtype=complex)
            for column in indices:
                for row in range(len(op.matrix)):
                    rest = column & ~sum(1 << q for q in op.qubits)
                    inner = sum((column >> q & 1) << place for place, q in enumerate(op.qubits))
                    target = rest | sum((row >> place & 1) << q for place, q in enumerate(op.qubits))
                    matrix[target, column] += op.matrix[row, inner]
            return matrix


def state_of(program, point):
    state = np.eye(2**program.num_qubits, dtype=complex)[0]
    for op in program.ops:
        state = matrix_of(op, program.num_qubits, np.asarray(point)) @ state
    return state


def check(circuit, rng):
    point = rng.uniform(-3, 3, circuit.num_parameters)
    program = compile_program(circuit, SparsePauliOp("Z" * circuit.num_qubits))
    assert_same_state(state_of(program, point), state_slow(circuit, point))
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
    program = compile_program(there_and_back, SparsePauliOp("ZZZZ"))
    state = state_of(program, rng.uniform(-3, 3, circuit.num_parameters))
    assert abs(state[0]) == pytest.approx(1.0, abs=1e-10)


# observables


@pytest.mark.parametrize("letters", ["IXYZ", "IZ", "XY"])
def test_an_observable_is_the_operator(letters, rng):
    operator = random_operator(rng, qubits=4, terms=12, letters=letters)
    observable = compile_observable(operator)
    indices = np.arange(16)
    matrix = np.zeros((16, 16), dtype=complex)
    for flip, diagonal in zip(observable.flips, observable.diagonals, strict=True):
        matrix[indices, indices ^ flip] += diagonal
    assert np.allclose(matrix, operator.to_matrix(), atol=1e-12)
    assert list(observable.flips) == sorted(set(observable.flips))


def test_a_diagonal_observable_is_one_real_diagonal():
    observable = compile_observable(SparsePauliOp(["ZZI", "IIZ", "III"], [1.0, 2.0, 3.0]))
    assert observable.flips == (0,)
    assert observable.diagonals.dtype == np.float64
    assert observable.diagonals.tolist() == [[6.0, 2.0, 4.0, 0.0, 4.0, 0.0, 6.0, 2.0]]


# few ops


def ops_after_hadamards(program):
    """Drop the fixed start, which an engine runs once."""
    kept = list(program.ops)
    while isinstance(kept[0], Unitary | Monomial) or not kept[0].parameters:
        kept.pop(0)
    return [type(op) for op in kept]


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
def test_a_qaoa_layer_is_one_diagonal_and_one_product(name, reps, rng):
    program = check(qaoa_ansatz(HIGH_ORDER[name], reps=reps), rng)
    assert ops_after_hadamards(program) == [Diagonal, Product] * reps


@pytest.mark.parametrize("reps", [1, 2, 5])
@pytest.mark.parametrize("name", HIGH_ORDER)
def test_cnot_ladders_vanish(name, reps, rng):
    # Also in the first layer, where there is no diagonal op yet to move the rotation into.
    program = check(ladder_circuit(HIGH_ORDER[name], reps), rng)
    assert ops_after_hadamards(program) == [Diagonal, Product] * reps
    assert not {Monomial, PauliRotation} & set(kinds(program))


@pytest.mark.parametrize("name", HIGH_ORDER)
def test_a_ladder_compiles_to_the_same_generator_as_the_rotation(name):
    operator = HIGH_ORDER[name]
    direct = compile_program(qaoa_ansatz(operator, reps=1), operator)
    ladders = compile_program(ladder_circuit(operator, 1), operator)
    (one,), (other,) = ([op for op in program.ops if isinstance(op, Diagonal)] for program in (direct, ladders))
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
    assert kinds(program) == [Unitary] * 4 + [Diagonal, Product]
    assert np.allclose(program.ops[4].generators[0], np.diag(SparsePauliOp("ZZZZ").to_matrix()).real)


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
    assert ops_after_hadamards(check(qaoa_ansatz(operator, reps=2), rng)) == [Diagonal, Product] * 2


def test_z_rotations_that_share_nothing_are_a_product_and_take_no_diagonal(rng):
    program = check(efficient_su2(4, reps=3), rng)
    assert kinds(program) == [Product, Product, Monomial] * 3 + [Product, Product]
    assert program.ops[0].letters == "YYYY"
    assert program.ops[1].letters == "ZZZZ"


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
    assert kinds(check(circuit, rng)) == [Product, Diagonal, Product]


def test_rotations_on_the_same_qubit_are_not_merged_into_one_product(rng):
    circuit = QuantumCircuit(2)
    circuit.rx(Parameter("a"), 0)
    circuit.ry(Parameter("b"), 0)
    circuit.rx(Parameter("c"), 1)
    circuit.rx(Parameter("d"), 0)
    program = check(circuit, rng)
    assert all(len(set(op.qubits)) == len(op.qubits) for op in program.ops)


def test_many_body_rotations_with_x_and_y_are_pauli_rotations(rng):
    circuit = QuantumCircuit(3)
    circuit.ry(0.3, range(3))
    circuit.rxx(Parameter("a"), 0, 2)
    circuit.ryy(Parameter("b"), 2, 1)
    circuit.rzx(Parameter("c"), 1, 0)
    assert kinds(check(circuit, rng))[1:] == [PauliRotation] * 3


def test_products_list_distinct_qubits_in_order(rng):
    circuit = QuantumCircuit(4)
    for qubit, name in [(3, "d"), (0, "a"), (2, "c"), (1, "b")]:
        circuit.rx(Parameter(name), qubit)
    (op,) = check(circuit, rng).ops
    assert op.qubits == (0, 1, 2, 3)
    assert op.parameters == (0, 1, 2, 3)
    assert np.array_equal(op.slopes, np.eye(4))


def test_affine_and_shared_parameters_in_one_diagonal_by_hand():
    a, b = ParameterVector("t", 2)
    circuit = QuantumCircuit(2)
    circuit.rzz(2 * a - b + 0.5, 0, 1)
    circuit.rz(a, 0)
    program = compile_program(circuit, SparsePauliOp("ZZ"))
    (op,) = program.ops
    zz, z0 = np.array([1, -1, -1, 1]), np.array([1, -1, 1, -1])
    assert op.parameters == (0, 1)
    assert np.allclose(op.generators, [zz + z0 / 2, -zz / 2])
    assert np.allclose(op.constant, 0.25 * zz)


def test_circuits_that_are_not_affine_or_measure_are_refused():
    circuit = QuantumCircuit(1)
    circuit.rx(Parameter("a") ** 2, 0)
    with pytest.raises(ValueError, match="affine"):
        compile_program(circuit, SparsePauliOp("Z"))
    circuit = QuantumCircuit(1)
    circuit.rx(Parameter("a"), 0)
    circuit.measure_all()
    with pytest.raises(ValueError, match="unitary"):
        compile_program(circuit, SparsePauliOp("Z"))
