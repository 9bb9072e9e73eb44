"""Ansatz recipes of one-qubit rotations and CNOTs in layers, for any Hamiltonian.

Qiskit's own ``qiskit.circuit.library.efficient_su2(num_qubits, entanglement="linear")`` is of this kind as well (RY and
RZ, then CNOTs), and needs no recipe here.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any

from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector


def strongly_entangling_layers(num_qubits: int, layers: int) -> QuantumCircuit:
    """Return the circuit-centric layers of Schuld et al. 2020 (arXiv:1804.00633, Fig. 4), as PennyLane arranges them.

    A layer is ``Rot(phi, theta, omega) = RZ(omega) RY(theta) RZ(phi)`` on every qubit, then a CNOT from each qubit q in
    turn to q + r modulo n; the range r grows with the layers: 1, 2, .., n - 1, 1, ... (``StronglyEntanglingLayers``).
    One qubit has no CNOTs.

    Args:
        num_qubits: n.
        layers: L.

    Returns:
        A circuit of P = 3 n L parameters: layer by layer and qubit by qubit phi, theta, omega, the order of PennyLane's
        weights of shape (L, n, 3).

    Raises:
        ValueError: if there is no qubit or no layer.

    >>> strongly_entangling_layers(10, 7).num_parameters
    210
    """
    _check(num_qubits, layers)
    circuit = QuantumCircuit(num_qubits)
    theta = iter(ParameterVector("theta", 3 * num_qubits * layers))
    for layer in range(layers):
        for qubit in range(num_qubits):
            circuit.rz(next(theta), qubit)
            circuit.ry(next(theta), qubit)
            circuit.rz(next(theta), qubit)
        if num_qubits > 1:
            reach = layer % (num_qubits - 1) + 1
            for qubit in range(num_qubits):
                circuit.cx(qubit, (qubit + reach) % num_qubits)
    return circuit


def ry_chain(num_qubits: int, layers: int) -> QuantumCircuit:
    """Return RY on every qubit, then L times a chain of CNOTs and RY on every qubit: real amplitudes.

    The same circuit as Qiskit's ``real_amplitudes(num_qubits, entanglement="linear", reps=layers)``.

    Args:
        num_qubits: n.
        layers: L.

    Returns:
        A circuit of P = n (L + 1) parameters, layer by layer and qubit by qubit.

    Raises:
        ValueError: if there is no qubit or no layer.

    >>> dict(ry_chain(5, 4).count_ops())
    {'ry': 25, 'cx': 16}
    """
    _check(num_qubits, layers)
    circuit = QuantumCircuit(num_qubits)
    theta = iter(ParameterVector("theta", num_qubits * (layers + 1)))
    for layer in range(layers + 1):
        if layer:
            for qubit in range(num_qubits - 1):
                circuit.cx(qubit, qubit + 1)
        for qubit in range(num_qubits):
            circuit.ry(next(theta), qubit)
    return circuit


def _check(num_qubits: Any, layers: Any) -> None:
    for value, name in ((num_qubits, "qubit"), (layers, "layer")):
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
            raise ValueError(f"At least one {name} is needed, as an integer, but {value!r} came.")
