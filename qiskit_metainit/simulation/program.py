"""The short program that a circuit and its Hamiltonian are compiled to: a few op kinds on N amplitudes, without torch.

The amplitudes are those of a register (N = 2^Q, qubit 0 the least significant bit) or of a sector of it (N basis states
that no op leaves; Q = 0). A parameter is an index into ``circuit.parameters``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]
Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Diagonal:
    """``exp(-i (sum_j theta_j g_j + g))`` with diagonal generators."""

    parameters: tuple[int, ...]
    """J parameters."""
    generators: Real
    """(J, N) g_j."""
    constant: Real | None
    """(N,) g, or None."""


@dataclass(frozen=True, eq=False)
class Hadamard:
    """A Hadamard gate on each of some qubits: what lies between two of them is diagonal in X."""

    mask: int
    """Bits of the qubits."""


@dataclass(frozen=True, eq=False)
class Product:
    """A sequence of at most T rotations on each of m distinct qubits."""

    letters: tuple[str, ...]
    """T words of m letters X, Y, Z or I, the first word applied first."""
    qubits: tuple[int, ...]
    """The m qubits, ascending."""
    parameters: tuple[int, ...]
    """J parameters."""
    slopes: Real
    """(T, m, J): angle_tq = sum_j slopes[t, q, j] theta_j + constant[t, q]."""
    constant: Real
    """(T, m) radians."""


@dataclass(frozen=True, eq=False)
class Flip:
    """``exp(-i angle/2 G)``, ``(G psi)_i = weights_i psi_(i ^ flip)``: a sum of commuting Paulis that flip alike."""

    flip: int
    """Mask of the bits G flips, not 0."""
    partner: Index | None
    """(N,) the place of i ^ flip in a sector, i itself where there is none; None in a register."""
    weights: Complex
    """(N,), conj(weights_i) = weights_(i ^ flip)."""
    parameters: tuple[int, ...]
    """J parameters."""
    slopes: Real
    """(J,)."""
    constant: float
    """Radians."""


@dataclass(frozen=True, eq=False)
class Monomial:
    """``(U psi)_i = phases_i psi_(source_i)``: CNOT, CZ, SWAP, X, S and any chain of them."""

    source: Index
    """(N,) a permutation."""
    phases: Complex
    """(N,)."""


@dataclass(frozen=True, eq=False)
class Unitary:
    """A fixed gate on few qubits."""

    qubits: tuple[int, ...]
    """k qubits, the first the least significant bit of the matrix."""
    matrix: Complex
    """(2^k, 2^k)."""


Op = Diagonal | Hadamard | Product | Flip | Monomial | Unitary


@dataclass(frozen=True, eq=False)
class Observable:
    """``(H psi)_i = sum_k diagonals[k, i] psi_(i ^ flips[k])``."""

    flips: tuple[int, ...]
    """F distinct masks of flipped bits, ascending."""
    partners: Index | None
    """(F, N) the places of i ^ flips[k] in a sector (any, with a zero in the diagonal, where there is none)."""
    diagonals: Complex | Real
    """(F, N); real if there is no flip."""


@dataclass(frozen=True, eq=False)
class Program:
    """An initial state, then ops in order, then an observable."""

    num_qubits: int
    """Q of the register, 0 for a sector."""
    initial: Complex | Real
    """(N,) normalised."""
    ops: tuple[Op, ...]
    """In order of application."""
    observable: Observable
    """The Hamiltonian, or what of it the states can see."""
