"""This package's engine on the benchmark's workloads."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.circuit.library import PauliEvolutionGate, efficient_su2
from qiskit.quantum_info import SparsePauliOp
from simulator import Array
from workloads import Instance, Workload

from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.task import Task


class Engine:
    """``Statevector`` through its public face: one call a batch, gradients by torch's autograd."""

    def __init__(
        self, workload: Workload, *, gradient: bool, precision: Literal["single", "double"], device: str = "cpu"
    ) -> None:
        known: dict[int, Task] = {}
        for instance in workload.instances:  # W2's instances are one landscape
            if id(instance.gates) not in known:
                known[id(instance.gates)] = task(workload, instance)
        self._tasks = [known[id(instance.gates)] for instance in workload.instances]
        self._gradient = gradient
        self._engine = Statevector(precision=precision, device=device)
        self(np.array([instance.point for instance in workload.instances]))  # compiles

    def __call__(self, points: Array) -> tuple[Array, Array | None]:
        """See Simulator."""
        tensor = torch.from_numpy(points)
        if not self._gradient:
            return self._engine.expectation(self._tasks, tensor).numpy(), None
        tensor = tensor.clone().requires_grad_()
        values = self._engine.expectation(self._tasks, tensor)
        (gradients,) = torch.autograd.grad(values.sum(), tensor)
        return values.detach().numpy(), gradients.numpy()


def task(workload: Workload, instance: Instance) -> Task:
    """Return an instance as a user would write it."""
    operator = SparsePauliOp.from_sparse_list([(p, q, c) for c, q, p in instance.hamiltonian], workload.qubits)
    if workload.kind == "W1":
        return Task.qaoa(operator, reps=workload.parameters // 2)
    if workload.kind == "W2":
        reps = workload.parameters // (2 * workload.qubits) - 1
        return Task.from_circuit(efficient_su2(workload.qubits, reps=reps), operator)
    amplitudes = ParameterVector("t", workload.parameters)
    excitations: list[list[tuple[str, list[int], float]]] = [[] for _ in amplitudes]
    circuit = QuantumCircuit(workload.qubits)
    for gate in instance.gates:
        if gate[0] == "x":
            circuit.x(gate[1][0])
        else:
            _, qubits, letters, parameter, slope = gate
            excitations[parameter].append((letters, qubits, slope / 2))
    for amplitude, terms in zip(amplitudes, excitations, strict=True):
        generator = SparsePauliOp.from_sparse_list(terms, workload.qubits)
        circuit.append(PauliEvolutionGate(generator, time=amplitude), range(workload.qubits))
    return Task.from_circuit(circuit, operator)
