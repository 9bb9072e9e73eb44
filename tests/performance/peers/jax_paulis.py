"""Pauli rotations written by hand in JAX, for circuits of long Pauli strings, which TensorCircuit cannot do well.

A rotation is ``cos s - i sin d s[k ^ x]``, and a ``lax.scan`` goes over all of them, so that compiling takes a second;
complex64. No package's own work, but what an expert would write: in TensorCircuit, as ladders of CX around RZ, LiH on
10 qubits took 73 s to compile and 180 times as long to run.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from peers.rotations import Rotations, by_flip, flip_and_phase
from peers.tensorcircuit_jax import Jitted
from workloads import Workload


def scan(workload: Workload, *, gradient: bool) -> Jitted:
    """Return a circuit of X gates and then Pauli rotations."""
    (instance,), qubits = workload.instances, workload.qubits
    states = np.arange(1 << qubits)
    start = np.zeros(1 << qubits, dtype=np.complex64)
    start[sum(1 << gate[1][0] for gate in instance.gates if gate[0] == "x")] = 1.0
    strings = [
        flip_and_phase(gate[1], gate[2], qubits, reverse=False) for gate in instance.gates if gate[0] == "rotation"
    ]
    sources = jnp.asarray(np.array([states ^ flip for flip, _ in strings]))
    phases = jnp.asarray(np.array([phase for _, phase in strings]).astype(np.complex64))
    sums = by_flip(instance, qubits, reverse=False)
    images = jnp.asarray(np.array([states ^ flip for flip in sums]))
    diagonals = jnp.asarray(np.array(list(sums.values())).astype(np.complex64))
    rotations = Rotations.of(instance, workload.parameters)
    slopes = rotations.slopes.astype(np.float32)

    def rotate(state: Any, rotation: Any) -> tuple[Any, None]:
        angle, source, phase = rotation
        return jnp.cos(angle) * state - 1j * jnp.sin(angle) * phase * state[source], None

    def energy(point: Any) -> Any:
        angles = point[rotations.parameters] * slopes / 2
        state, _ = lax.scan(rotate, jnp.asarray(start), (angles, sources, phases))
        return jnp.real(jnp.sum(jnp.conj(state)[None] * diagonals * state[images]))

    return Jitted(workload, energy, [], gradient=gradient, batching="vmap")
