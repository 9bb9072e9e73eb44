"""TensorCircuit-NG on JAX: jitted, and mapped over the batch, complex64.

In the standard form every pair of nodes is an RZZ gate and the edge weights are inputs, so that one compilation serves
all graphs of a size. In the fast form the costs of all bit strings are inputs and a layer's RZZ gates are one
element-wise phase, which compiles ten times faster and runs as fast or faster.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tensorcircuit as tc
from peers.rotations import by_flip, diagonal
from simulator import Array
from workloads import Workload

tc.set_backend("jax")
tc.set_dtype("complex64")

Energy = Callable[..., Any]


class Jitted:
    """An energy of (point, *inputs) as one compiled function of a batch."""

    def __init__(
        self, workload: Workload, energy: Energy, inputs: list[Array], *, gradient: bool, batching: str
    ) -> None:
        one = jax.value_and_grad(energy) if gradient else energy
        every = jax.vmap(one) if batching == "vmap" else lambda *rows: jax.lax.map(lambda row: one(*row), rows)
        points = np.array([instance.point for instance in workload.instances], dtype=np.float32)
        self._inputs = [jax.device_put(np.asarray(rows, dtype=np.float32)) for rows in inputs]
        self._gradient = gradient
        self._function = jax.jit(every).lower(points, *self._inputs).compile()
        jax.block_until_ready(self._function(points, *self._inputs))

    def __call__(self, points: Array) -> tuple[Array, Array | None]:
        """See Simulator."""
        result = jax.block_until_ready(self._function(points.astype(np.float32), *self._inputs))
        values, gradients = result if self._gradient else (result, None)
        return np.asarray(values, dtype=float), None if gradients is None else np.asarray(gradients, dtype=float)


def gates(workload: Workload, *, gradient: bool) -> Jitted:
    """Return the standard form, gate by gate."""
    if workload.kind == "W1":
        pairs = list(itertools.combinations(range(workload.qubits), 2))
        weights = np.zeros((len(workload.instances), len(pairs)))
        for row, instance in enumerate(workload.instances):
            for coefficient, edge, _ in instance.hamiltonian:
                weights[row, pairs.index(tuple(edge))] = 2 * coefficient
        energy = _weighted_qaoa(workload.qubits, workload.parameters // 2, pairs)
        return Jitted(workload, energy, [weights], gradient=gradient, batching="vmap")
    return Jitted(workload, _any_circuit(workload), [], gradient=gradient, batching="vmap")


def diagonal_phases(workload: Workload, *, gradient: bool, batching: str = "vmap") -> Jitted:
    """Return QAOA in the fast form."""
    qubits, reps = workload.qubits, workload.parameters // 2

    def energy(point: Any, costs: Any) -> Any:
        state = jnp.full(1 << qubits, 2 ** (-qubits / 2), dtype=tc.dtypestr)
        for layer in range(reps):
            circuit = tc.Circuit(qubits, inputs=state * jnp.exp(-1j * point[reps + layer] * costs))
            for qubit in range(qubits):
                circuit.rx(qubit, theta=2 * point[layer])
            state = circuit.state()
        return jnp.sum(jnp.abs(state) ** 2 * costs)

    costs = np.array([diagonal(instance, qubits, reverse=True) for instance in workload.instances])
    return Jitted(workload, energy, [costs], gradient=gradient, batching=batching)


def _weighted_qaoa(qubits: int, reps: int, pairs: list[tuple[int, int]]) -> Energy:
    states = np.arange(1 << qubits)
    signs = [1 - 2 * (((states >> (qubits - 1 - a)) ^ (states >> (qubits - 1 - b))) & 1) for a, b in pairs]
    matrix = np.stack(signs, axis=1).astype(np.float32)

    def energy(point: Any, weights: Any) -> Any:
        circuit = tc.Circuit(qubits)
        for qubit in range(qubits):
            circuit.h(qubit)
        for layer in range(reps):
            for index, (a, b) in enumerate(pairs):
                circuit.rzz(a, b, theta=point[reps + layer] * weights[index])
            for qubit in range(qubits):
                circuit.rx(qubit, theta=2 * point[layer])
        return jnp.abs(circuit.state()) ** 2 @ (0.5 * (jnp.asarray(matrix) @ weights))

    return energy


def _any_circuit(workload: Workload) -> Energy:
    qubits, instance = workload.qubits, workload.instances[0]
    states = np.arange(1 << qubits)
    # Faster here than TensorCircuit's own expectation values, of a sparse matrix or term by term.
    sums = {flip: phase.astype(np.complex64) for flip, phase in by_flip(instance, qubits, reverse=True).items()}

    def energy(point: Any) -> Any:
        circuit = tc.Circuit(qubits)
        for name, sites, *rest in instance.gates:
            if name != "rotation":
                getattr(circuit, name)(*sites)
            else:
                letters, parameter, slope = rest
                getattr(circuit, f"r{letters.lower()}")(*sites, theta=slope * point[parameter])
        state = circuit.state()
        return sum(jnp.real(jnp.vdot(state, phase * state[states ^ flip])) for flip, phase in sums.items())

    return energy
