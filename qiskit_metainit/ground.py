"""The exact lowest energy of a Hamiltonian, among all states or in a sector of them."""

from __future__ import annotations

from typing import cast

import numpy as np
import psutil
from numpy.typing import NDArray
from qiskit.quantum_info import SparsePauliOp
from scipy.sparse.linalg import LinearOperator, eigsh

from qiskit_metainit.problem import as_pauli_sum
from qiskit_metainit.simulation.compiler import compile_observable
from qiskit_metainit.simulation.program import Index
from qiskit_metainit.simulation.runs import Space
from qiskit_metainit.symmetry import PauliSum

_DENSE = 64  # states up to which the whole spectrum is computed
_VECTORS = 24  # that Lanczos holds, besides a diagonal a flip


def ground_energy(operator: SparsePauliOp, sector: Index | None = None) -> float:
    """Return the lowest eigenvalue of an operator.

    Args:
        operator: Hermitian.
        sector: (N,) ascending basis states that the operator does not leave; all 2^Q by default.

    Raises:
        MemoryError: if there is not enough memory, before anything is built.

    >>> round(ground_energy(SparsePauliOp(["XX", "YY", "ZZ"])), 6)
    -3.0
    >>> ground_energy(SparsePauliOp(["XX", "YY", "ZZ"]), np.array([0]))
    1.0
    """
    operator = as_pauli_sum(operator)
    pauli_sum = PauliSum.of(operator)
    size = 1 << int(operator.num_qubits) if sector is None else sector.size
    needed = 16 * size * (_VECTORS + len(set(pauli_sum.x.tolist())))
    if needed > (free := psutil.virtual_memory().available):
        raise MemoryError(
            f"The ground state of {operator.num_qubits} qubits in {size:,} basis states needs about {needed:,} bytes, "
            f"but {free:,} are available. Take fewer qubits, or a sector."
        )
    seen = compile_observable(pauli_sum, Space(int(operator.num_qubits), sector))
    index = np.arange(size)

    def act(state: NDArray[np.complex128]) -> NDArray[np.complex128]:
        state = state.reshape(-1)
        result = np.zeros(size, dtype=np.complex128)
        for place, flip in enumerate(seen.flips):
            partner = index ^ flip if seen.partners is None else seen.partners[place]
            result += seen.diagonals[place] * state[partner]
        return result

    if size <= _DENSE:
        columns = np.stack([act(column) for column in np.eye(size, dtype=np.complex128)], axis=1)
        return float(np.linalg.eigvalsh(columns)[0])
    start = np.random.default_rng(0).normal(size=size).astype(np.complex128)
    found = eigsh(LinearOperator((size, size), matvec=act, dtype=np.complex128), k=1, which="SA", v0=start)[0]
    return float(cast("NDArray[np.float64]", found)[0])


def particle_sector(num_qubits: int, *groups: tuple[int, int]) -> Index:
    """Return the ascending basis states with a number of ones in each group of qubits.

    Args:
        num_qubits: Q.
        groups: (mask of the qubits, number of ones).

    >>> particle_sector(4, (0b0101, 1), (0b1010, 1)).tolist()
    [3, 6, 9, 12]
    """
    states: Index = np.zeros(1, dtype=np.int64)
    for mask, ones in groups:
        bits = [1 << qubit for qubit in range(num_qubits) if mask >> qubit & 1]
        chosen: Index = np.zeros(1, dtype=np.int64)
        for bit in bits:
            chosen = np.concatenate([chosen, chosen | bit])
            chosen = chosen[np.bitwise_count(chosen) <= ones]
        chosen = chosen[np.bitwise_count(chosen) == ones]

        states = (states[:, None] | chosen).ravel()
    return np.sort(states)
