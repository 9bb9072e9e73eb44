"""Tests of how a circuit is taken apart, against Qiskit's own simulator."""

import numpy as np
import pytest
from oracles import ANGLED, COUNTS, FIXED, assert_same_state, random_circuit, state_slow
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import AnnotatedOperation, ClassicalRegister, Gate, InverseModifier, Parameter, ParameterVector
from qiskit.circuit.library import (
    DiagonalGate,
    HGate,
    PauliEvolutionGate,
    QFTGate,
    RXGate,
    StatePreparation,
    SXGate,
    efficient_su2,
    n_local,
    qaoa_ansatz,
)
from qiskit.quantum_info import Clifford, Operator, SparseObservable, SparsePauliOp

from qiskit_metainit.rotations import Angle, Fixed, Rotation, split

PAULIS = {"X": np.array([[0, 1], [1, 0]]), "Y": np.array([[0, -1j], [1j, 0]]), "Z": np.diag([1, -1])}


def embed(matrix, qubits, size):
    """Place a little-endian matrix of some qubits among all of them, entry by entry."""
    result = np.zeros((2**size, 2**size), dtype=complex)
    for column in range(2**size):
        rest = column & ~sum(1 << q for q in qubits)
        inner = sum((column >> q & 1) << place for place, q in enumerate(qubits))
        for row in range(len(matrix)):
            result[rest | sum((row >> place & 1) << q for place, q in enumerate(qubits)), column] = matrix[row, inner]
    return result


def state_of(operations, size, point):
    """Apply split operations one by one as dense matrices."""
    state = np.eye(2**size, dtype=complex)[0]
    for operation in operations:
        if isinstance(operation, Fixed):
            state = embed(operation.matrix, operation.qubits, size) @ state
            continue
        angle = operation.angle.constant + sum(slope * point[index] for index, slope in operation.angle.slopes)
        moved = state
        for letter, qubit in zip(operation.letters, operation.qubits, strict=True):
            moved = embed(PAULIS[letter], [qubit], size) @ moved
        state = np.cos(angle / 2) * state - 1j * np.sin(angle / 2) * moved
    return state


def check(circuit, rng):
    point = rng.uniform(-3, 3, circuit.num_parameters)
    operations = split(circuit)
    assert_same_state(state_of(operations, circuit.num_qubits, point), state_slow(circuit, point))
    return operations


def scrambled(size):
    """Return a circuit with a generic state, so that a wrong gate shows."""
    circuit = QuantumCircuit(size)
    for qubit in range(size):
        circuit.u(0.3 + qubit, 0.7 * qubit + 0.2, 1.1, qubit)
    for qubit in range(size - 1):
        circuit.cx(qubit, qubit + 1)
        circuit.ry(0.4, qubit + 1)
    return circuit


@pytest.mark.parametrize("gate", FIXED, ids=lambda gate: gate.__name__)
def test_a_fixed_gate_is_what_qiskit_applies(gate, rng):
    circuit = scrambled(3)
    gate = gate()
    circuit.append(gate, rng.choice(3, gate.num_qubits, replace=False).tolist())
    check(circuit, rng)


@pytest.mark.parametrize("gate", ANGLED, ids=lambda gate: gate.__name__)
def test_a_parameterised_gate_is_what_qiskit_applies(gate, rng):
    parameters = ParameterVector("t", 4)
    circuit = scrambled(3)
    count = COUNTS.get(gate, 1)
    for qubits in ([0, 2], [2, 1]):
        circuit.append(gate(*parameters[:count]), qubits[: gate(*range(count)).num_qubits])
    operations = check(circuit, rng)
    assert all(isinstance(operation, Rotation | Fixed) for operation in operations)


@pytest.mark.parametrize("trial", range(12))
def test_random_circuits_keep_their_state(trial, rng):
    check(random_circuit(rng, qubits=4, gates=12), rng)


@pytest.mark.parametrize(
    "build",
    [
        lambda: efficient_su2(3, reps=2),
        lambda: n_local(3, ["rx", "u"], "crz", reps=1),
        lambda: qaoa_ansatz(SparsePauliOp(["ZZI", "IZZ", "ZII"], [1.0, -0.5, 0.3]), reps=2),
        lambda: qaoa_ansatz(SparsePauliOp(["ZZI", "IXZ", "YII"], [1.0, -0.5, 0.3]), reps=2),
        lambda: qaoa_ansatz(SparsePauliOp(["ZZI", "IZZ"]), reps=1, flatten=True),
    ],
    ids=["efficient_su2", "n_local", "qaoa", "qaoa of a non-diagonal operator", "flat qaoa"],
)
def test_circuits_of_the_library_keep_their_state(build, rng):
    check(build(), rng)


# angles


def test_parameters_are_numbered_as_the_circuit_orders_them_beyond_ten(rng):
    parameters = ParameterVector("t", 12)
    circuit = QuantumCircuit(12)
    for index in reversed(range(12)):
        circuit.rx(parameters[index], index)
    assert [op.angle.slopes for op in split(circuit)] == [((index, 1.0),) for index in reversed(range(12))]


def test_parameters_are_numbered_by_name_not_by_appearance():
    circuit = QuantumCircuit(1)
    for name in ("z", "a", "M"):
        circuit.rx(Parameter(name), 0)
    numbers = {parameter.name: index for index, parameter in enumerate(circuit.parameters)}
    assert [op.angle.slopes[0][0] for op in split(circuit)] == [numbers[name] for name in ("z", "a", "M")]


def test_affine_angles_by_hand():
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(1)
    for angle in (a, 2 * a, -a / 4 + 0.5, 3 * b - a + 1, (a + b) * 2 - 2 * a, a - a + 0.25, 0 * a, 7):
        circuit.rz(angle, 0)
    angles = [operation.angle for operation in split(circuit)]
    assert angles == [
        Angle(((0, 1.0),)),
        Angle(((0, 2.0),)),
        Angle(((0, -0.25),), 0.5),
        Angle(((0, -1.0), (1, 3.0)), 1.0),
        Angle(((1, 2.0),)),
        Angle((), 0.25),
        Angle(),
        Angle((), 7.0),
    ]


def test_slopes_are_ordered_by_index():
    parameters = ParameterVector("t", 8)
    circuit = QuantumCircuit(1)
    circuit.rz(sum((8 - i) * parameters[i] for i in reversed(range(8))), 0)
    assert split(circuit)[0].angle.slopes == tuple((i, 8.0 - i) for i in range(8))


def test_an_angle_times_a_number():
    assert Angle(((0, 1.0), (3, -2.0)), 0.5).times(-2) == Angle(((0, -2.0), (3, 4.0)), -1.0)


def test_a_bound_parameter_is_a_number():
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(1)
    circuit.rx(a + b, 0)
    (operation,) = split(circuit.assign_parameters({a: 0.5}))
    assert operation.angle == Angle(((0, 1.0),), 0.5)


@pytest.mark.parametrize(
    "angle",
    [
        lambda a, b: a * b,
        lambda a, b: a * a,
        lambda a, b: a.sin(),
        lambda a, b: (a + b).exp(),
        lambda a, b: 1 / (a + 2),
        lambda a, b: a + b**2,
    ],
    ids=["product", "square", "sine", "exponential", "reciprocal", "power"],
)
def test_angles_that_are_not_affine_are_refused(angle):
    circuit = QuantumCircuit(1)
    circuit.rx(angle(Parameter("a"), Parameter("b")), 0)
    with pytest.raises(ValueError, match=r"affine.*parameter of its own"):
        split(circuit)


def test_an_evolution_time_that_is_not_affine_is_refused():
    circuit = QuantumCircuit(2)
    circuit.append(PauliEvolutionGate(SparsePauliOp("ZZ"), Parameter("a") ** 2), [0, 1])
    with pytest.raises(ValueError, match="affine"):
        split(circuit)


# evolutions


def test_an_evolution_under_z_products_is_one_rotation_a_term_by_hand():
    operator = SparsePauliOp(["IZZI", "ZZIZ", "IIII", "IIIZ"], [0.5, -2.0, 7.0, 1.0])
    circuit = QuantumCircuit(5)
    circuit.append(PauliEvolutionGate(operator, 3 * Parameter("t") + 0.5), [4, 1, 0, 2])
    assert split(circuit) == [
        Rotation("ZZ", (1, 0), Angle(((0, 3.0),), 0.5)),
        Rotation("ZZZ", (4, 0, 2), Angle(((0, -12.0),), -2.0)),
        Rotation("Z", (4,), Angle(((0, 6.0),), 1.0)),
    ]


@pytest.mark.parametrize(
    "operator",
    [
        SparsePauliOp(["ZZ", "IZ"], [0.3, 0.7]),
        [SparsePauliOp(["ZZ"], [0.3]), SparsePauliOp(["IZ", "ZI"], [0.7, 0.1])],
        SparseObservable.from_list([("ZZ", 0.3), ("ZI", 0.4)]),
        SparsePauliOp(["XX", "ZI", "YZ"], [0.3, 0.7, -0.2]),
        [SparsePauliOp(["XX"], [0.3]), SparsePauliOp(["IZ", "ZI"], [0.7, 0.1])],
    ],
    ids=["diagonal", "diagonal list", "observable", "not commuting", "mixed list"],
)
@pytest.mark.parametrize("time", [Parameter("t"), 0.9], ids=["parameter", "number"])
def test_an_evolution_is_what_its_definition_runs(operator, time, rng):
    circuit = scrambled(2)
    circuit.append(PauliEvolutionGate(operator, time), [1, 0])
    circuit.rx(Parameter("u"), 0)
    check(circuit, rng)


def test_a_fixed_evolution_is_the_product_formula_that_runs_and_not_the_exact_exponential():
    gate = PauliEvolutionGate(SparsePauliOp(["XX", "ZI"]), 0.7)
    circuit = QuantumCircuit(2)
    circuit.append(gate, [0, 1])
    formula = np.array([state_of(split(circuit), 2, [])])
    assert_same_state(formula[0], Operator(gate.definition).data[:, 0])


# what is taken apart and what is not


@pytest.mark.parametrize("turn", ["to_gate", "to_instruction"])
@pytest.mark.parametrize("name", ["nested", "p", "rx", "u", "id", "barrier"])
def test_a_nested_circuit_is_taken_apart_whatever_its_name(turn, name, rng):
    inner = QuantumCircuit(2, name=name)
    inner.h(0)
    inner.cx(0, 1)
    a = Parameter("a")
    middle = QuantumCircuit(3, name="nested")
    middle.append(getattr(inner, turn)(), [2, 0])
    middle.crx(2 * a, 0, 1)
    circuit = scrambled(4)
    circuit.append(getattr(middle, turn)(), [3, 1, 0])
    circuit.rz(a, 1)
    flat = scrambled(4)
    flat.h(0)
    flat.cx(0, 3)
    flat.crx(2 * a, 3, 1)
    flat.rz(a, 1)
    assert_same_state(state_of(split(circuit), 4, [0.7]), state_slow(flat, [0.7]))


def test_a_nested_circuit_with_one_parameter_is_not_taken_for_the_gate_of_its_name():
    a = Parameter("a")
    inner = QuantumCircuit(1, name="rz")
    inner.ry(a, 0)
    circuit = QuantumCircuit(1)
    circuit.append(inner.to_gate(), [0])
    assert split(circuit) == [Rotation("Y", (0,), Angle(((0, 1.0),)))]


@pytest.mark.parametrize(
    "gate",
    [
        QFTGate(2),
        QFTGate(4),
        DiagonalGate([1, -1, 1j, 1]),
        StatePreparation([0.6, 0, 0, 0.8]),
        RXGate(0.4).control(2, annotated=False),
        RXGate(0.4).control(1, ctrl_state=0, annotated=False),
    ],
    ids=["small QFT", "QFT", "diagonal", "state preparation", "ccrx", "control 0"],
)
def test_gates_that_only_have_a_definition_keep_their_state(gate, rng):
    circuit = QuantumCircuit(4) if isinstance(gate, StatePreparation) else scrambled(4)
    circuit.append(gate, range(gate.num_qubits))
    check(circuit, rng)


def test_no_large_matrix_is_built_for_a_wide_gate():
    circuit = QuantumCircuit(14)
    circuit.mcx(list(range(13)), 13)
    circuit.append(QFTGate(14), range(14))
    assert max(len(operation.qubits) for operation in split(circuit)) <= 3


def test_barriers_identities_delays_and_global_phases_are_dropped(rng):
    a = Parameter("a")
    circuit = QuantumCircuit(2, global_phase=0.3)
    circuit.id(0)
    circuit.barrier()
    circuit.delay(100, 0)
    circuit.rx(a, 1)
    assert split(circuit) == [Rotation("X", (1,), Angle(((0, 1.0),)))]


def test_fixed_gates_keep_the_gate_and_its_matrix_little_endian():
    circuit = QuantumCircuit(3)
    circuit.cx(2, 0)
    (operation,) = split(circuit)
    assert operation.qubits == (2, 0)
    assert operation.gate.name == "cx"
    # Control on the least significant bit: 01 <-> 11.
    assert operation.matrix.real.tolist() == [[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0]]


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (lambda circuit: circuit.measure_all(), "measure"),
        (lambda circuit: circuit.reset(0), "reset"),
        (lambda circuit: circuit.initialize([1, 0], 0), "reset"),
        (lambda circuit: circuit.append(measuring(), [0], [0]), "measuring"),
    ],
    ids=["measurement", "reset", "initialize", "inside a nested circuit"],
)
def test_circuits_that_are_not_unitary_are_refused(spoil, name):
    circuit = QuantumCircuit(1, 1)
    circuit.rx(Parameter("a"), 0)
    spoil(circuit)
    with pytest.raises(ValueError, match=rf"unitary.*'{name}'.*remove_final_measurements"):
        split(circuit)


def test_resets_of_fresh_qubits_are_left_out():
    inner = QuantumCircuit(2)
    inner.initialize([0, 1, 0, 0])
    circuit = QuantumCircuit(2)
    circuit.barrier()
    circuit.reset(0)
    circuit.append(inner.to_instruction(), [0, 1])
    circuit.rx(Parameter("a"), 0)
    assert all(isinstance(operation, Rotation | Fixed) for operation in split(circuit))
    circuit.initialize([1, 0], 1)
    with pytest.raises(ValueError, match="reset"):
        split(circuit)


def test_an_angle_without_a_derivative_is_refused():
    circuit = QuantumCircuit(1)
    circuit.rx(Parameter("a").sign(), 0)
    with pytest.raises(ValueError, match="affine"):
        split(circuit)


def measuring():
    inner = QuantumCircuit(1, 1, name="measuring")
    inner.measure(0, 0)
    return inner.to_instruction()


def test_control_flow_is_refused():
    circuit = QuantumCircuit(1)
    circuit.add_register(ClassicalRegister(1))
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(0)
    with pytest.raises(ValueError, match=r"unitary.*'if_else'.*control flow"):
        split(circuit)


@pytest.mark.parametrize("parameters", [[Parameter("a")], []], ids=["with a parameter", "without"])
def test_gates_without_definition_or_matrix_are_refused(parameters):
    circuit = QuantumCircuit(1)
    circuit.append(Gate("mystery", 1, parameters), [0])
    with pytest.raises(ValueError, match=r"'mystery' has no definition.*rx, ry, rz, rzz"):
        split(circuit)


@pytest.mark.parametrize(
    "operation", [Clifford(HGate()), AnnotatedOperation(SXGate(), InverseModifier())], ids=["Clifford", "annotated"]
)
def test_operations_that_are_no_instructions_are_refused_with_advice(operation):
    circuit = QuantumCircuit(1)
    circuit.append(operation, [0])
    circuit.rx(Parameter("a"), 0)
    with pytest.raises(ValueError, match=r"no definition.*transpile the circuit to a basis"):
        split(circuit)
    split(transpile(circuit, basis_gates=["rx", "rz", "cx"]))
