"""PennyLane's lightning.qubit with the adjoint method.

``IsingZZ`` is faster than ``MultiRZ`` on two qubits (7% to 15%). A Hamiltonian goes in as a sparse matrix where that is
faster (diagonal ones and molecules), else as a sum of Pauli words.
"""

from __future__ import annotations

import numpy as np
import pennylane as qml
import scipy.sparse
from peers.rotations import Rotations, diagonal
from pennylane import numpy as pnp
from simulator import Array
from workloads import Instance, Workload

_PAULIS = {"X": qml.PauliX, "Y": qml.PauliY, "Z": qml.PauliZ}
_ROTATIONS = {"X": qml.RX, "Y": qml.RY, "Z": qml.RZ, "ZZ": qml.IsingZZ}
_DTYPES = {"single": np.complex64, "double": np.complex128}


class QNodes:
    """The standard way: a QNode an instance, one after the other."""

    def __init__(self, workload: Workload, *, gradient: bool, precision: str) -> None:
        self._device = qml.device("lightning.qubit", wires=workload.qubits, c_dtype=_DTYPES[precision])
        nodes = [self._node(workload, instance) for instance in workload.instances]
        self._gradient = gradient
        self._functions = [qml.grad(node) if gradient else node for node in nodes]

    def _node(self, workload: Workload, instance: Instance) -> qml.QNode:
        operator = hamiltonian(workload, instance)

        @qml.qnode(self._device, diff_method="adjoint")
        def node(point: Array) -> qml.measurements.ExpectationMP:
            circuit(instance, point, unfolded=False)
            return qml.expval(operator)

        return node

    def __call__(self, points: Array) -> tuple[Array, Array | None]:
        """See Simulator."""
        if not self._gradient:
            pairs = zip(self._functions, points, strict=True)
            return np.array([float(function(pnp.array(point, requires_grad=False))) for function, point in pairs]), None
        values, gradients = [], []
        for function, point in zip(self._functions, points, strict=True):
            gradients.append(function(pnp.array(point, requires_grad=True)))
            values.append(function.forward)
        return np.array(values, dtype=float), np.array(gradients)


class Tapes:
    """The device's own interface on tapes made once: no QNode, no autograd, half the time on small circuits."""

    def __init__(self, workload: Workload, *, gradient: bool, precision: str) -> None:
        self._device = qml.device("lightning.qubit", wires=workload.qubits, c_dtype=_DTYPES[precision])
        method = "adjoint" if gradient else None
        config = qml.devices.ExecutionConfig(gradient_method=method, use_device_gradient=gradient)
        self._config = self._device.setup_execution_config(config)
        self._program = self._device.preprocess_transforms(self._config)
        self._gradient = gradient
        self._tapes, self._rotations = [], []
        for instance in workload.instances:
            operator = hamiltonian(workload, instance)
            with qml.queuing.AnnotatedQueue() as queue:
                circuit(instance, np.array(instance.point), unfolded=True)
                qml.expval(operator)
            self._tapes.append(qml.tape.QuantumScript.from_queue(queue))
            self._rotations.append(Rotations.of(instance, workload.parameters))

    def __call__(self, points: Array) -> tuple[Array, Array | None]:
        """See Simulator."""
        values, gradients = [], []
        for tape, rotations, point in zip(self._tapes, self._rotations, points, strict=True):
            angles = rotations.angles(point)
            bound = tape.bind_new_parameters(angles.tolist(), range(len(angles)))
            bound.trainable_params = list(range(len(angles)))
            (ready,), _ = self._program((bound,))
            if self._gradient:
                result, jacobian = self._device.execute_and_compute_derivatives((ready,), self._config)
                gradients.append(rotations.chain(np.array(jacobian[0]).ravel()))
            else:
                result = self._device.execute((ready,), self._config)
            values.append(float(result[0]))
        return np.array(values), np.array(gradients) if self._gradient else None


def circuit(instance: Instance, point: Array, *, unfolded: bool) -> None:
    """Queue the gates; unfolded, Pauli strings are written as MultiRZ between parameter-free gates."""
    for name, qubits, *rest in instance.gates:
        if name == "h":
            qml.Hadamard(qubits)
        elif name == "x":
            qml.PauliX(qubits)
        elif name == "cx":
            qml.CNOT(qubits)
        else:
            letters, parameter, slope = rest
            angle = slope * point[parameter]
            if letters in _ROTATIONS:
                _ROTATIONS[letters](angle, qubits)
            elif unfolded:
                _multi_rz(angle, qubits, letters)
            else:
                qml.PauliRot(angle, letters, qubits)


def _multi_rz(angle: float, qubits: list[int], letters: str) -> None:
    for qubit, letter in zip(qubits, letters, strict=True):
        if letter == "Y":
            qml.adjoint(qml.S(qubit))
        if letter != "Z":
            qml.Hadamard(qubit)
    qml.MultiRZ(angle, qubits)
    for qubit, letter in zip(qubits, letters, strict=True):
        if letter != "Z":
            qml.Hadamard(qubit)
        if letter == "Y":
            qml.S(qubit)


def hamiltonian(workload: Workload, instance: Instance) -> qml.operation.Operator:
    """Return the Hamiltonian in the form that runs fastest."""
    wires = range(workload.qubits)
    if workload.kind == "W1":  # wire 0 is the most significant bit
        costs = scipy.sparse.diags(diagonal(instance, workload.qubits, reverse=True)).tocsr()
        return qml.SparseHamiltonian(costs, wires)
    words = [
        qml.prod(*(_PAULIS[letter](q) for q, letter in zip(qubits, letters, strict=True))) if letters else qml.I(0)
        for _, qubits, letters in instance.hamiltonian
    ]
    operator = qml.Hamiltonian([term[0] for term in instance.hamiltonian], words)
    return operator if workload.kind == "W2" else qml.SparseHamiltonian(operator.sparse_matrix(wires), wires)
