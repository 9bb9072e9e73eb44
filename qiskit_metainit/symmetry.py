"""Pauli products as bit masks, and the qubits that a symmetry takes away."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit.problem import masks

_SMALL = 12
"""Up to here many circuits of one shape run as one batch, which saves more than a qubit: flipping all qubits is the
only symmetry used if there is it, so that a graph has the same shape whether connected or not."""
Mask = TypeVar("Mask", int, NDArray[np.int64])


@dataclass(frozen=True)
class Pauli:
    """``i^|x & z| X^x Z^z``: a Hermitian product of Paulis."""

    x: int
    """Mask of the bits it flips (X and Y)."""
    z: int
    """Mask of the bits whose sign it takes (Z and Y)."""

    @classmethod
    def of(cls, letters: Iterable[str], qubits: Iterable[int]) -> Pauli:
        """Return the product of a letter X, Y or Z on each qubit."""
        pairs = list(zip(letters, qubits, strict=True))
        return cls(
            sum(1 << qubit for letter, qubit in pairs if letter in "XY"),
            sum(1 << qubit for letter, qubit in pairs if letter in "YZ"),
        )

    @property
    def support(self) -> int:
        """Mask of the qubits it acts on."""
        return self.x | self.z

    @property
    def ys(self) -> int:
        """Number of Y."""
        return (self.x & self.z).bit_count()

    def commutes(self, other: Pauli) -> bool:
        """Return whether the two commute."""
        return ((self.x & other.z).bit_count() + (self.z & other.x).bit_count()) % 2 == 0


@dataclass(frozen=True, eq=False)
class PauliSum:
    """``sum_k coefficients_k X^x_k Z^z_k`` (the powers of i are in the coefficients)."""

    x: NDArray[np.int64]
    z: NDArray[np.int64]
    coefficients: NDArray[np.complex128]

    @classmethod
    def of(cls, operator: SparsePauliOp) -> PauliSum:
        """Return an operator's masks and coefficients."""
        ys = (operator.paulis.x & operator.paulis.z).sum(axis=1)
        return cls(masks(operator.paulis.x), masks(operator.paulis.z), operator.coeffs * 1j**ys)


@dataclass(frozen=True)
class Tapering:
    """Products of X that every rotation commutes with and the initial state is an eigenstate of (Z2 symmetries).

    Each takes one qubit away: amplitudes come in pairs that differ by a sign at most, of which one is kept, the one
    where the qubit is 0 (Bravyi et al. 2017, arXiv:1701.08213).
    """

    symmetries: tuple[tuple[int, int, int], ...]
    """(qubit taken away, mask of the product, eigenvalue +1 or -1)."""
    kept: tuple[int, ...]
    """The other qubits, ascending: qubit kept[k] becomes qubit k."""

    @classmethod
    def find(cls, rotations: Iterable[Pauli], eigenvalues: Sequence[int]) -> Tapering:
        """Return the symmetries of rotations and of a product state.

        Args:
            rotations: what must be commuted with.
            eigenvalues: of X on each qubit's initial state, 0 where it is no eigenstate.
        """
        size = len(eigenvalues)
        rows = {pauli.z for pauli in rotations} | {1 << q for q, value in enumerate(eigenvalues) if not value}
        found = _orthogonal(rows, size)
        if size <= _SMALL and not any(row.bit_count() % 2 for row in rows):
            found = [(size - 1, (1 << size) - 1)]
        symmetries = []
        for qubit, mask in found:
            value = int(np.prod([eigenvalues[q] for q in range(len(eigenvalues)) if mask >> q & 1]))
            symmetries.append((qubit, mask, value))
        gone = {qubit for qubit, _, _ in symmetries}
        return cls(tuple(symmetries), tuple(q for q in range(len(eigenvalues)) if q not in gone))

    def rotation(self, pauli: Pauli) -> tuple[Pauli, int]:
        """Return a commuting Pauli on the kept qubits and its sign."""
        x, sign = pauli.x, 1
        for qubit, mask, value in self.symmetries:
            if x >> qubit & 1:
                x, sign = x ^ mask, sign * value
        z = pauli.z & sum(1 << qubit for qubit in self.kept)
        quarter = (pauli.ys - (x & z).bit_count()) % 4  # a power of i that Hermiticity leaves real
        return Pauli(self._squeeze(x), self._squeeze(z)), sign * (1 - quarter)

    def observable(self, operator: PauliSum) -> PauliSum:
        """Return what of an operator the symmetric states see, on the kept qubits."""
        seen = np.ones(operator.x.size, dtype=bool)
        x, coefficients = operator.x.copy(), operator.coefficients.copy()
        for qubit, mask, value in self.symmetries:
            seen &= np.bitwise_count(operator.z & mask) % 2 == 0
            moved = (x >> qubit & 1).astype(bool)
            x[moved] ^= mask
            coefficients[moved] *= value
        return PauliSum(self._squeeze(x[seen]), self._squeeze(operator.z[seen]), coefficients[seen])

    def _squeeze(self, mask: Mask) -> Mask:
        result: Mask = mask * 0
        for place, qubit in enumerate(self.kept):
            result = result | ((mask >> qubit & 1) << place)
        return result


def _orthogonal(rows: Iterable[int], size: int) -> list[tuple[int, int]]:
    """Return a basis of the masks that share an even number of bits with every row, each with a bit of its own."""
    reduced: dict[int, int] = {}
    for row in rows:
        for pivot, other in reduced.items():
            if row >> pivot & 1:
                row ^= other
        if row:
            pivot = row.bit_length() - 1
            reduced = {bit: other ^ row if other >> pivot & 1 else other for bit, other in reduced.items()}
            reduced[pivot] = row
    free = [bit for bit in range(size) if bit not in reduced]
    return [(bit, 1 << bit | sum(1 << pivot for pivot, row in reduced.items() if row >> bit & 1)) for bit in free]
