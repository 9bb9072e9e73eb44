from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit.library import real_amplitudes
from qiskit.quantum_info import Operator, SparsePauliOp

from qiskit_metainit.circuits.layered import ry_chain, strongly_entangling_layers
from qiskit_metainit.pauli_form import pauli_form

Y, Z = np.array([[0, -1j], [1j, 0]]), np.diag([1.0, -1.0])


def turn(pauli: np.ndarray, angle: float) -> np.ndarray:
    return np.cos(angle / 2) * np.eye(2) - 1j * np.sin(angle / 2) * pauli


def cnot(control: int, target: int, size: int) -> np.ndarray:
    """Of little-endian basis states."""
    matrix = np.zeros((1 << size, 1 << size))
    for state in range(1 << size):
        matrix[state ^ ((state >> control & 1) << target), state] = 1
    return matrix


@pytest.mark.parametrize(("size", "layers"), [(1, 2), (2, 3), (3, 5), (4, 4)])
def test_strongly_entangling_layers_by_hand(size: int, layers: int, rng: np.random.Generator) -> None:
    weights = rng.uniform(-np.pi, np.pi, (layers, size, 3))
    expected = np.eye(1 << size, dtype=complex)
    for number, layer in enumerate(weights):
        rotations = [turn(Z, omega) @ turn(Y, theta) @ turn(Z, phi) for phi, theta, omega in layer]
        expected = reduce(np.kron, rotations[::-1]) @ expected
        reach = [1, 2, 3, 1, 2][number] if size == 4 else [1, 2, 1, 2, 1][number] if size == 3 else 1
        for qubit in range(size if size > 1 else 0):
            expected = cnot(qubit, (qubit + reach) % size, size) @ expected
    circuit = strongly_entangling_layers(size, layers)
    assert circuit.num_parameters == 3 * size * layers
    found = Operator(circuit.assign_parameters(weights.ravel())).data
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(("size", "layers"), [(1, 1), (3, 2), (5, 4)])
def test_the_chain_is_that_of_qiskit(size: int, layers: int, rng: np.random.Generator) -> None:
    circuit, other = ry_chain(size, layers), real_amplitudes(size, entanglement="linear", reps=layers)
    point = rng.uniform(-np.pi, np.pi, circuit.num_parameters)
    left, right = (Operator(each.assign_parameters(point)).data for each in (circuit, other))
    np.testing.assert_allclose(left, right, atol=1e-12)
    assert not Operator(circuit.assign_parameters(point)).data.imag.any()


@pytest.mark.parametrize("make", [strongly_entangling_layers, ry_chain])
def test_every_parameter_turns_one_pauli_after_a_clifford(make: Callable[[int, int], QuantumCircuit]) -> None:
    circuit = make(4, 3)
    form = pauli_form(circuit, SparsePauliOp("ZZZZ"))
    assert form is not None
    assert form.start == 0
    assert [len(places) for places in form.driven] == [1] * circuit.num_parameters


@pytest.mark.parametrize("make", [strongly_entangling_layers, ry_chain])
@pytest.mark.parametrize(
    ("size", "layers", "what"), [(0, 1, "qubit"), (2, 0, "layer"), (2.0, 1, "qubit"), (2, True, "layer")]
)
def test_what_is_no_circuit_is_refused(
    make: Callable[[int, int], QuantumCircuit], size: int, layers: int, what: str
) -> None:
    with pytest.raises(ValueError, match=f"At least one {what} is needed, as an integer, but"):
        make(size, layers)
