"""A circuit's Pauli form against its state vector, as written and as compiled for a device."""

import numpy as np
import pytest
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import ParameterVector
from qiskit.circuit.library import (
    CXGate,
    CZGate,
    ECRGate,
    HGate,
    RXGate,
    RYGate,
    RYYGate,
    RZGate,
    RZXGate,
    SGate,
    SwapGate,
    SXGate,
    TGate,
    XXMinusYYGate,
    XXPlusYYGate,
    efficient_su2,
)
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit_nature.second_q.circuit.library import UCCSD, HartreeFock
from qiskit_nature.second_q.mappers import JordanWignerMapper
from scipy.linalg import expm

from qiskit_metainit.pauli_form import PauliForm, pauli_form
from qiskit_metainit.symmetry import Pauli

OPERATOR = SparsePauliOp(["XYZI", "ZZII", "IIXX", "YIIY"], [0.3, -1.2, 0.7, 0.4])


def matrix(pauli: Pauli, size: int) -> np.ndarray:
    letters = {(0, 0): "I", (1, 0): "X", (1, 1): "Y", (0, 1): "Z"}
    label = "".join(letters[pauli.x >> q & 1, pauli.z >> q & 1] for q in reversed(range(size)))
    return SparsePauliOp(label).to_matrix()


def prepared(form: PauliForm, point: np.ndarray) -> np.ndarray:
    """Return the state that a form describes: the stabilizers' common eigenvector, then exponentials."""
    projector = np.eye(2**form.num_qubits)
    for pauli, sign in form.stabilizers:
        projector = projector @ (np.eye(len(projector)) + sign * matrix(pauli, form.num_qubits)) / 2
    state = np.linalg.eigh(projector)[1][:, -1]
    for pauli, angle in form.rotations:
        value = angle.constant + sum(slope * point[index] for index, slope in angle.slopes)
        state = expm(-0.5j * value * matrix(pauli, form.num_qubits)) @ state
    return state


def random_circuit(rng: np.random.Generator) -> QuantumCircuit:
    theta = ParameterVector("theta", 5)
    circuit = QuantumCircuit(4)
    for _ in range(40):
        a, b = (int(q) for q in rng.choice(4, 2, replace=False))
        t = theta[int(rng.integers(5))]
        gates = [
            (HGate(), [a]),
            (CXGate(), [a, b]),
            (SGate(), [a]),
            (SXGate(), [b]),
            (RZGate(t), [a]),
            (RXGate(2 * t + np.pi / 2), [a]),
            (RYYGate(t), [a, b]),
            (CZGate(), [a, b]),
            (RZGate(np.pi / 2 * rng.integers(5)), [a]),
            (ECRGate(), [a, b]),
            (SwapGate(), [a, b]),
            (RZXGate(np.pi - t), [a, b]),
            (RYGate(0.3), [a]),
            (XXPlusYYGate(t, 0.7), [a, b]),
            (XXMinusYYGate(0.4, t), [a, b]),
        ]
        circuit.append(*gates[int(rng.integers(len(gates)))])
    for t in theta:
        circuit.rx(t, 0)
    return circuit


@pytest.mark.parametrize("trial", range(8))
@pytest.mark.parametrize("compiled", [False, True])
def test_the_form_prepares_the_circuits_state(trial: int, compiled: bool, rng: np.random.Generator) -> None:
    circuit = random_circuit(rng)
    if compiled:
        circuit = transpile(circuit, basis_gates=["rz", "sx", "x", "cx"], optimization_level=1)
    form, point = pauli_form(circuit, OPERATOR), rng.normal(size=5)
    reference = Statevector(circuit.assign_parameters(point))
    state = prepared(form, point)
    assert abs(np.vdot(reference.data, state)) == pytest.approx(1.0, abs=1e-9)
    energy = np.vdot(state, OPERATOR.to_matrix() @ state).real
    assert energy == pytest.approx(reference.expectation_value(OPERATOR).real, abs=1e-9)


# qiskit-nature's UCCSD is of a class that Qiskit has deprecated.
@pytest.mark.filterwarnings("ignore:The class.*BlueprintCircuit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The class.*EvolvedOperatorAnsatz:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The class.*NLocal:DeprecationWarning")
def test_a_layout_and_a_compilation_leave_uccsd_as_it_was() -> None:
    mapper = JordanWignerMapper()
    ansatz = UCCSD(3, (1, 1), mapper, initial_state=HartreeFock(3, (1, 1), mapper))
    operator = SparsePauliOp(["ZZIIII", "IIIIXX"])
    ring = [[i, (i + 1) % 8] for i in range(8)]
    placed = transpile(
        ansatz, basis_gates=["rz", "sx", "x", "cx"], coupling_map=ring, seed_transpiler=3, optimization_level=1
    )
    form, other = pauli_form(ansatz, operator), pauli_form(placed, operator.apply_layout(placed.layout))
    assert form.start == 0b001001
    assert other.start.bit_count() == 2
    where = {q: other.qubits.index(p) for q, p in enumerate(placed.layout.final_index_layout())}

    def moved(mask: int) -> int:
        return sum(1 << where[q] for q in range(6) if mask >> q & 1)

    for mine, theirs in zip(form.driven, other.driven, strict=True):
        expected = {(Pauli(moved(pauli.x), moved(pauli.z)), round(slope, 9)) for _, pauli, slope in mine}
        assert {(pauli, round(slope, 9)) for _, pauli, slope in theirs} == expected


def test_what_a_parameter_drives_is_told_in_order_with_its_slopes() -> None:
    theta = ParameterVector("theta", 2)
    circuit = QuantumCircuit(2)
    circuit.rx(2 * theta[1], 0)
    circuit.rzz(theta[0] - theta[1], 0, 1)
    form = pauli_form(circuit, SparsePauliOp("ZZ"))
    x, zz = Pauli.of("X", [0]), Pauli.of("ZZ", [0, 1])
    assert form.driven == (((1, zz, 1.0),), ((0, x, 2.0), (1, zz, -1.0)))


def test_a_basis_state_is_recognised_through_its_cliffords() -> None:
    circuit = QuantumCircuit(3)
    circuit.x(0)
    circuit.cx(0, 2)
    circuit.h(1)
    circuit.z(1)
    circuit.h(1)
    circuit.rz(ParameterVector("t", 1)[0], 0)
    assert pauli_form(circuit, SparsePauliOp("ZZZ")).start == 0b111
    circuit.h(0)
    assert pauli_form(circuit, SparsePauliOp("ZZZ")).start is None


def test_a_gate_that_is_no_clifford_leaves_no_form() -> None:
    circuit = efficient_su2(2, reps=1)
    assert pauli_form(circuit, SparsePauliOp("ZZ")) is not None
    circuit.append(TGate().control(1), [0, 1])
    assert pauli_form(circuit, SparsePauliOp("ZZ")) is None


def test_idle_qubits_of_a_device_are_left_out() -> None:
    circuit = QuantumCircuit(100)
    circuit.rx(ParameterVector("t", 1)[0], 97)
    form = pauli_form(circuit, SparsePauliOp.from_sparse_list([("ZZ", [3, 97], 1.0)], 100))
    assert form.qubits == (3, 97)
    assert form.num_qubits == 2
