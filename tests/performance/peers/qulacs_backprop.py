"""qulacs: ``ParametricQuantumCircuit.backprop`` for the gradient and one more forward run for the value."""

from __future__ import annotations

import numpy as np
import qulacs
from peers.rotations import Rotations
from simulator import Array
from workloads import Instance, Workload


class Backprop:
    """Instances one after the other; qulacs has no value from backprop."""

    def __init__(self, workload: Workload, *, gradient: bool) -> None:
        self._gradient = gradient
        self._state = qulacs.QuantumState(workload.qubits)
        self._circuits = [_circuit(workload.qubits, instance) for instance in workload.instances]
        self._operators = [_operator(workload.qubits, instance) for instance in workload.instances]
        self._rotations = [Rotations.of(instance, workload.parameters) for instance in workload.instances]

    def __call__(self, points: Array) -> tuple[Array, Array | None]:
        """See Simulator."""
        values, gradients = [], []
        everything = zip(self._circuits, self._operators, self._rotations, points, strict=True)
        for circuit, operator, rotations, point in everything:
            for index, angle in enumerate((-rotations.angles(point)).tolist()):  # qulacs rotates the other way
                circuit.set_parameter(index, angle)
            self._state.set_zero_state()
            circuit.update_quantum_state(self._state)
            values.append(operator.get_expectation_value(self._state).real)
            if self._gradient:
                gradients.append(rotations.chain(-np.array(circuit.backprop(operator))))
        return np.array(values), np.array(gradients) if self._gradient else None


def _circuit(qubits: int, instance: Instance) -> qulacs.ParametricQuantumCircuit:
    circuit = qulacs.ParametricQuantumCircuit(qubits)
    fixed = {"h": circuit.add_H_gate, "x": circuit.add_X_gate, "cx": circuit.add_CNOT_gate}
    single = {
        "X": circuit.add_parametric_RX_gate,
        "Y": circuit.add_parametric_RY_gate,
        "Z": circuit.add_parametric_RZ_gate,
    }
    for name, sites, *rest in instance.gates:
        if name in fixed:
            fixed[name](*sites)
        elif rest[0] in single:
            single[rest[0]](sites[0], 0.0)
        else:
            circuit.add_parametric_multi_Pauli_rotation_gate(sites, ["IXYZ".index(letter) for letter in rest[0]], 0.0)
    return circuit


def _operator(qubits: int, instance: Instance) -> qulacs.Observable:
    operator = qulacs.Observable(qubits)
    for coefficient, sites, letters in instance.hamiltonian:
        word = " ".join(f"{letter} {site}" for letter, site in zip(letters, sites, strict=True))
        operator.add_operator(coefficient, word)
    return operator
