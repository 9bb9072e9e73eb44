"""The variational Hamiltonian ansatz of the Fermi-Hubbard model on open chains and ladders, from free fermions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit.library import PauliEvolutionGate
from qiskit.quantum_info import SparsePauliOp

_EQUAL = 1e-8  # energies in units of t up to which orbitals count as degenerate
_Bonds = tuple[tuple[int, int], ...]
_Real = NDArray[np.float64]


@dataclass(frozen=True)
class OpenLattice:
    """Sites of an open rectangle, and its bonds; site x + columns * y is at (x, y), as in ``SquareLattice``.

    >>> OpenLattice(3, 2).groups
    (((0, 1), (3, 4)), ((1, 2), (4, 5)), ((0, 3), (1, 4), (2, 5)))
    """

    columns: int
    """Sites along x, at least 2."""
    rows: int = 1
    """Sites along y, at most as many as columns."""
    strengths: tuple[float, ...] = ()
    """The hopping of each bond in units of t, positive, in the order of ``groups``; all 1 by default."""

    def __post_init__(self) -> None:
        sizes = (self.columns, self.rows)
        if not all(isinstance(size, Integral) and not isinstance(size, bool) for size in sizes):
            raise TypeError(f"Whole numbers of columns and rows are needed, but {sizes!r} came.")
        if not 1 <= self.rows <= self.columns or self.columns < 2:
            raise ValueError(
                "An open lattice of at least 2 columns and at most as many rows as columns is needed, but "
                f"{self.columns} x {self.rows} came. Exchange the two, or add sites."
            )
        bonds = sum(map(len, self.groups))
        if self.strengths and (len(self.strengths) != bonds or not all(0 < s < np.inf for s in self.strengths)):
            raise ValueError(
                f"One positive strength for each of {bonds} bonds is needed, but {self.strengths!r} came. Give one a "
                "bond in the order of OpenLattice(columns, rows).groups, or none."
            )

    @property
    def sites(self) -> int:
        """Number of sites n."""
        return self.columns * self.rows

    @property
    def groups(self) -> tuple[_Bonds, ...]:
        """Bonds by what commutes: horizontal ones at even and odd x, vertical ones at even and odd y; none empty."""
        c, r = self.columns, self.rows
        across = [tuple((x + c * y, x + 1 + c * y) for y in range(r) for x in range(k, c - 1, 2)) for k in (0, 1)]
        up = [tuple((x + c * y, x + c * y + c) for y in range(k, r - 1, 2) for x in range(c)) for k in (0, 1)]
        return tuple(group for group in (*across, *up) if group)

    @property
    def weighted(self) -> Iterator[tuple[tuple[tuple[int, int], float], ...]]:
        """The groups again, each bond with its strength."""
        strengths = iter(self.strengths or (1.0,) * sum(map(len, self.groups)))
        for group in self.groups:
            yield tuple((bond, next(strengths)) for bond in group)

    def hopping(self, *, vertical_only: bool = False) -> _Real:
        """Return the (n, n) matrix of ``-sum_<ij> t_ij c_i^dag c_j + h.c.`` at t = 1."""
        matrix = np.zeros((self.sites, self.sites))
        for group in self.weighted:
            for (i, j), strength in group:
                if not vertical_only or j - i == self.columns:
                    matrix[i, j] = matrix[j, i] = -strength
        return matrix

    def orbitals(self, particles: int) -> _Real:
        """Return the (particles, n) orbitals that free fermions of one spin fill, lowest energy first.

        Where the highest filled level is degenerate with empty ones, those orbitals of it are filled whose horizontal
        bonds bind most, as with an infinitesimal excess of horizontal hopping. On 2 x 2 these are two horizontal
        dimers; on 5 x 2 the ansatz gets further from there than from the orbitals that bind vertically (94.9% of the
        correlation energy against 93.7% with 10 layers at U = 4t).

        Raises:
            ValueError: if the lattice cannot hold so many, or that rule does not settle which are filled (an open
                shell).

        >>> OpenLattice(2, 2).orbitals(2).round(3) + 0.0
        array([[ 0.5,  0.5,  0.5,  0.5],
               [ 0.5,  0.5, -0.5, -0.5]])
        """
        if not isinstance(particles, Integral) or not 0 < particles < self.sites:
            raise ValueError(
                f"Between 1 and {self.sites - 1} fermions of each spin are needed on {self.sites} sites, but "
                f"{particles!r} came."
            )
        energies, columns = np.linalg.eigh(self.hopping())
        orbitals: _Real = columns.T
        shell = np.flatnonzero(np.abs(energies - energies[particles - 1]) < _EQUAL)
        taken = particles - int(shell[0])
        if taken < len(shell):
            part = orbitals[shell]
            binding, mix = np.linalg.eigh(-part @ self.hopping(vertical_only=True) @ part.T)
            if binding[taken] - binding[taken - 1] < _EQUAL:
                raise ValueError(
                    f"A closed shell of free fermions is needed to start from, but with {particles} of each spin on "
                    f"{self.columns} x {self.rows} sites {len(shell)} orbitals of one energy would be filled by "
                    f"{taken}. Take another filling or lattice."
                )
            orbitals = orbitals.copy()
            orbitals[shell] = mix.T @ part
        found = orbitals[:particles]
        signs = np.sign(found[np.arange(particles), np.abs(found).round(6).argmax(axis=1)])
        return np.asarray(found * signs[:, None])


def hubbard_ansatz(lattice: OpenLattice, *, layers: int, particles: int | None = None) -> QuantumCircuit:
    """Return the variational Hamiltonian ansatz from the ground state of free fermions.

    Wecker, Hastings and Troyer 2015 (arXiv:1507.08969, section III): a Slater determinant, then layers of evolutions
    ``exp(-i theta H_k)`` under parts of the Hamiltonian whose terms commute, at U = t = 1: the interaction
    ``sum_i n_i,up n_i,down`` (up to terms that the numbers of particles fix), minus the hops along even and along odd
    bonds of the rows, minus the hops between rows. One parameter a part and layer. Qubits 2i and 2i + 1 are spin up and
    down of site i, as the ``JordanWignerMapper`` takes the orbitals of qiskit-nature's ``FermiHubbardModel``. Givens
    rotations between neighbours of a spin make the Slater determinant (Jiang et al. 2018, arXiv:1711.05395, section
    III).

    Args:
        lattice: of n sites.
        layers: L.
        particles: fermions of each spin; by default one for two sites (half filling).

    Returns:
        A circuit on 2 n qubits with P = L times the number of parts (1 + ``len(OpenLattice.groups)``), layer by layer.

    Raises:
        ValueError: if there is no layer, half filling is wanted of an odd number of sites, or no closed shell.

    >>> hubbard_ansatz(OpenLattice(3, 2), layers=2).num_parameters
    8
    >>> hubbard_ansatz(OpenLattice(3, 1), layers=2)
    Traceback (most recent call last):
    ...
    ValueError: Half filling with as many fermions of each spin needs an even number of sites, but 3 x 1 came. Give
    particles=.
    """
    if not isinstance(layers, Integral) or isinstance(layers, bool) or layers < 1:
        raise ValueError(f"At least one layer is needed, but layers={layers!r} came.")
    orbitals = lattice.orbitals(half_filling(lattice) if particles is None else particles)
    circuit = QuantumCircuit(2 * lattice.sites)
    circuit.x(range(2 * len(orbitals)))
    for spin in (0, 1):
        for site, angle in givens(orbitals):
            _evolve(circuit, ("XY", "YX"), (0.5, -0.5), (2 * site + spin, 2 * site + 2 + spin), angle)
    theta = iter(ParameterVector("theta", layers * (1 + len(lattice.groups))))
    for _ in range(layers):
        interaction = next(theta)
        for site in range(lattice.sites):
            circuit.rzz(0.5 * interaction, 2 * site, 2 * site + 1)  # n n = ZZ/4 and what the numbers of particles fix
        for group in lattice.weighted:
            angle = next(theta)
            for (i, j), strength in group:
                for spin in (0, 1):
                    half = -0.5 * strength
                    _evolve(circuit, ("XX", "YY"), (half, half), (2 * i + spin, 2 * j + spin), angle)
    return circuit


def half_filling(lattice: OpenLattice) -> int:
    """Return the number of fermions of each spin that is half the number of sites.

    Raises:
        ValueError: if that number is odd.
    """
    if lattice.sites % 2:
        raise ValueError(
            "Half filling with as many fermions of each spin needs an even number of sites, but "
            f"{lattice.columns} x {lattice.rows} came. Give particles=."
        )
    return lattice.sites // 2


def givens(orbitals: _Real) -> Iterator[tuple[int, float]]:
    """Yield (i, angle) of rotations of sites i and i + 1 that make orbitals of fermions on the first sites, in order.

    Each is ``exp(angle (c_(i+1)^dag c_i - h.c.))``; together they take the sites 0..N-1 to any N orthonormal
    combinations of the (N, n) orbitals.
    """
    matrix = orbitals.copy()
    count, sites = matrix.shape
    for j in range(sites - 1, sites - count, -1):  # rows mixed, until the upper right corner is empty: the same state
        for i in range(count - sites + j):
            matrix[[i + 1, i]] = _turned(matrix[[i + 1, i]], _angle(matrix[i + 1, j], matrix[i, j]))
    found: list[tuple[int, float]] = []
    for i in range(count):
        for j in range(sites - count + i, i, -1):
            angle = _angle(matrix[i, j - 1], matrix[i, j])
            matrix[:, [j - 1, j]] = _turned(matrix[:, [j - 1, j]].T, angle).T
            if angle:
                found.append((j - 1, angle))
    yield from reversed(found)


def _angle(kept: float, emptied: float) -> float:
    """Return the angle of the rotation that moves all of the second number into the first; 0 where it has none."""
    return float(np.arctan2(emptied, kept)) if abs(emptied) > 1e-13 else 0.0


def _turned(pair: _Real, angle: float) -> _Real:
    """Return two rows rotated by an angle."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.asarray(np.array([[cosine, sine], [-sine, cosine]]) @ pair)


def _evolve(
    circuit: QuantumCircuit,
    letters: Sequence[str],
    coefficients: Sequence[float],
    ends: tuple[int, int],
    angle: Parameter | float,
) -> None:
    """Append ``exp(-i angle sum_k coefficients_k P_k)``, P_k two letters with Z on every qubit between."""
    first, last = ends
    between = "Z" * (last - first - 1)
    operator = SparsePauliOp([end[1] + between + end[0] for end in letters], coefficients)
    circuit.append(PauliEvolutionGate(operator, angle), range(first, last + 1))
