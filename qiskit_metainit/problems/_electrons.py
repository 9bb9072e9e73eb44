"""From integrals to qubit operators, many times: the mapping of each integral is computed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import PauliList, SparsePauliOp
from scipy import sparse

from qiskit_metainit.chemistry import Integrals
from qiskit_metainit.circuits.uccsd import uccsd_ansatz

MAPPINGS = ("jordan_wigner", "parity", "bravyi_kitaev")
"""Names; the parity mapping takes two qubits away."""
_SMALL = 1e-12  # Hartree, of a coefficient that is left out


def qubit_operator(integrals: Integrals, mapping: str) -> SparsePauliOp:
    """Return the Hamiltonian that the mapper of qiskit-nature gives, without the shift."""
    count, pairs = len(integrals.one), integrals.pairs
    paulis, matrix = _images(count, pairs, mapping)
    values = [tensor[index] for tensor, index in _unique(integrals.one, integrals.two)]
    coefficients = matrix @ np.array(values)
    kept = np.abs(coefficients) > _SMALL
    return SparsePauliOp(paulis[kept], coefficients[kept])


@lru_cache(maxsize=64)
def ansatz(count: int, pairs: int, mapping: str) -> QuantumCircuit:
    """Return UCCSD of a closed shell."""
    return uccsd_ansatz(count, (pairs, pairs), _mapper(pairs, mapping))


def _mapper(pairs: int, mapping: str) -> Any:
    from qiskit_nature.second_q import mappers

    if mapping == "parity":
        return mappers.ParityMapper(num_particles=(pairs, pairs))
    return mappers.JordanWignerMapper() if mapping == "jordan_wigner" else mappers.BravyiKitaevMapper()


Tensors = tuple[NDArray[np.float64], tuple[int, ...]]


def _unique(one: NDArray[np.float64], two: NDArray[np.float64]) -> Iterator[Tensors]:
    """Yield one of each set of integrals that are equal for real orbitals, as (tensor, index)."""
    pairs = [(p, q) for p in range(len(one)) for q in range(p + 1)]
    yield from ((one, pair) for pair in pairs)
    yield from ((two, (*left, *right)) for place, left in enumerate(pairs) for right in pairs[: place + 1])


@lru_cache(maxsize=16)
def _images(count: int, pairs: int, mapping: str) -> tuple[PauliList, sparse.csr_array]:
    """Return K Paulis, and the (K, I) coefficients of each in the image of every unique integral.

    With E_pq = sum_spin a+_p a_q the Hamiltonian is ``sum h_pq E_pq + 1/2 sum (pq|rs) (E_pq E_rs - delta_qr E_ps)``
    (Helgaker, Jorgensen and Olsen 2000, eq. 2.2.18).
    """
    moves = _moves(count, _mapper(pairs, mapping))
    images = []
    for _, index in _unique(np.zeros((count,) * 2), np.zeros((count,) * 4)):
        if len(index) == 2:
            images.append(_sum([moves[each] for each in {index, index[::-1]}]))
            continue
        p, q, r, s = index
        left, right = (_sum([moves[each] for each in {pair, pair[::-1]}]) for pair in ((p, q), (r, s)))
        parts = [left @ right] if (p, q) == (r, s) else [left @ right, right @ left]
        parts += [-moves[a, d] for a, b, c, d in set(_equal(p, q, r, s)) if b == c]
        images.append(0.5 * _sum(parts))
    places: dict[str, int] = {}
    rows, columns, values = [], [], []
    for column, image in enumerate(images):
        for label, value in zip(image.paulis.to_labels(), image.coeffs.real.tolist(), strict=True):
            rows.append(places.setdefault(label, len(places)))
            columns.append(column)
            values.append(value)
    matrix = sparse.csr_array((values, (rows, columns)), shape=(len(places), len(images)))
    return PauliList(list(places)), matrix


def _moves(count: int, mapper: Any) -> dict[tuple[int, int], SparsePauliOp]:
    """Return the image of every E_pq."""
    from qiskit_nature.second_q.operators import FermionicOp

    keys = [(p, q) for p in range(count) for q in range(count)]
    terms = [{f"+_{p + spin} -_{q + spin}": 1.0 for spin in (0, count)} for p, q in keys]
    images = mapper.map([FermionicOp(each, num_spin_orbitals=2 * count) for each in terms])
    return dict(zip(keys, images, strict=True))


def _sum(parts: Sequence[SparsePauliOp]) -> SparsePauliOp:
    return SparsePauliOp.sum(list(parts)).simplify()


def _equal(p: int, q: int, r: int, s: int) -> Iterator[tuple[int, int, int, int]]:
    for a, b, c, d in ((p, q, r, s), (r, s, p, q)):
        yield from ((a, b, c, d), (b, a, c, d), (a, b, d, c), (b, a, d, c))
