"""What several peers need of an instance: its rotations' angles, its diagonal, its terms by the bits they flip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from workloads import Instance

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Rotations:
    """Angles of an instance's rotations, and the chain rule back to its parameters."""

    parameters: NDArray[np.int64]
    slopes: Array
    count: int

    @classmethod
    def of(cls, instance: Instance, count: int) -> Rotations:
        """Return those of an instance with so many parameters."""
        rotations = [gate for gate in instance.gates if gate[0] == "rotation"]
        return cls(np.array([gate[3] for gate in rotations]), np.array([gate[4] for gate in rotations]), count)

    def angles(self, point: Array) -> Array:
        """Return (R,) angles at a (P,) point."""
        return self.slopes * point[self.parameters]

    def chain(self, gradient: Array) -> Array:
        """Return the (P,) gradient from the one by (R,) angles."""
        return np.bincount(self.parameters, self.slopes * gradient, minlength=self.count)


def diagonal(instance: Instance, qubits: int, *, reverse: bool) -> Array:
    """Return (2^n,) eigenvalues of a Hamiltonian of Z terms; reversed, qubit 0 is the most significant bit."""
    states = np.arange(1 << qubits)
    total = np.zeros(1 << qubits)
    for coefficient, sites, _ in instance.hamiltonian:
        parity = np.zeros(1 << qubits, dtype=np.int64)
        for site in sites:
            parity ^= states >> (qubits - 1 - site if reverse else site)
        total += coefficient * (1 - 2 * (parity & 1))
    return total


def flip_and_phase(sites: list[int], letters: str, qubits: int, *, reverse: bool) -> tuple[int, NDArray[np.complex128]]:
    """Return x and d with ``(P psi)[k] = d[k] psi[k ^ x]`` for a Pauli string P."""
    states = np.arange(1 << qubits)
    flip, phase = 0, np.ones(1 << qubits, dtype=np.complex128)
    for site, letter in zip(sites, letters, strict=True):
        place = qubits - 1 - site if reverse else site
        sign = 1 - 2 * ((states >> place) & 1)
        flip |= (letter in "XY") << place
        phase *= {"X": 1, "Y": -1j * sign, "Z": sign}[letter]
    return flip, phase


def by_flip(instance: Instance, qubits: int, *, reverse: bool) -> dict[int, NDArray[np.complex128]]:
    """Return x -> d_x with ``(H psi)[k] = sum_x d_x[k] psi[k ^ x]``: the terms added up by the bits they flip."""
    sums: dict[int, NDArray[np.complex128]] = {}
    for coefficient, sites, letters in instance.hamiltonian:
        flip, phase = flip_and_phase(sites, letters, qubits, reverse=reverse)
        sums[flip] = sums.get(flip, 0) + coefficient * phase
    return sums
