"""PennyLane's default.qubit: back-propagation through JAX, jitted, the batch as parameter broadcasting, complex128."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import numpy as np
import pennylane as qml
from peers.lightning import circuit, hamiltonian
from peers.rotations import diagonal
from simulator import Array
from workloads import Workload

jax.config.update("jax_enable_x64", True)


class Backprop:
    """One QNode for the whole batch; as Hamiltonians do not broadcast, W1's costs are taken from its probabilities."""

    def __init__(self, workload: Workload, *, gradient: bool) -> None:
        device = qml.device("default.qubit", wires=workload.qubits)
        points = np.array([instance.point for instance in workload.instances])
        total = _weighted(workload, device) if workload.kind == "W1" else _plain(workload, device)

        def both(points: Any) -> tuple[Any, Any]:
            values, pull = jax.vjp(total, points)
            return values, pull(jax.numpy.ones_like(values))[0]  # row b of the points moves value b only

        self._gradient = gradient
        self._function = jax.jit(both if gradient else total).lower(points).compile()

    def __call__(self, points: Array) -> tuple[Array, Array | None]:
        """See Simulator."""
        result = jax.block_until_ready(self._function(points))
        values, gradients = result if self._gradient else (result, None)
        return np.asarray(values), None if gradients is None else np.asarray(gradients)


def _weighted(workload: Workload, device: Any) -> Any:
    qubits, reps = workload.qubits, workload.parameters // 2
    pairs = list(itertools.combinations(range(qubits), 2))
    weights = np.zeros((len(pairs), len(workload.instances)))
    for row, instance in enumerate(workload.instances):
        for coefficient, edge, _ in instance.hamiltonian:
            weights[pairs.index(tuple(edge)), row] = 2 * coefficient
    costs = np.array([diagonal(instance, qubits, reverse=True) for instance in workload.instances])

    @qml.qnode(device, diff_method="backprop", interface="jax")
    def probabilities(points: Any) -> Any:
        for qubit in range(qubits):
            qml.Hadamard(qubit)
        for layer in range(reps):
            for pair, weight in zip(pairs, weights, strict=True):
                qml.IsingZZ(points[:, reps + layer] * weight, pair)
            for qubit in range(qubits):
                qml.RX(2 * points[:, layer], qubit)
        return qml.probs(wires=range(qubits))

    return lambda points: (probabilities(points) * costs).sum(axis=1)


def _plain(workload: Workload, device: Any) -> Any:
    instance = workload.instances[0]

    @qml.qnode(device, diff_method="backprop", interface="jax")
    def value(points: Any) -> Any:
        circuit(instance, points.T, unfolded=False)
        return qml.expval(hamiltonian(workload, instance))

    return value
