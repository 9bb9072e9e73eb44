"""UCCSD: the Hartree-Fock state, then a rotation a single or double excitation, as a plain circuit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.circuit.library import PauliEvolutionGate
from qiskit.quantum_info import SparsePauliOp

if TYPE_CHECKING:
    from qiskit_nature.second_q.mappers import QubitMapper

Excitation = tuple[tuple[int, ...], tuple[int, ...]]
"""Occupied and virtual spin orbitals: the m-th electron goes from the m-th to the m-th. Those of spin up come first."""


def uccsd_ansatz(num_spatial_orbitals: int, num_particles: tuple[int, int], mapper: QubitMapper) -> QuantumCircuit:
    """Return the first-order Trotter step of unitary coupled cluster with singles and doubles.

    ``prod_k exp(theta_k (a+_i a_a - h.c.))`` and ``exp(theta_k (a+_i a+_j a_a a_b - h.c.))`` (Peruzzo et al. 2014,
    arXiv:1304.3061; in this order Barkoutsos et al. 2018, arXiv:1805.04340), the excitations, their order and their
    signs as in qiskit-nature's ``UCCSD`` with ``HartreeFock`` as initial state. So a single's angle is minus the
    coupled-cluster amplitude, a double's is the amplitude.

    Args:
        num_spatial_orbitals: M; spin orbital p is the spatial orbital p mod M, spin up first.
        num_particles: electrons of spin up and of spin down.
        mapper: of qiskit-nature, from fermions to qubits; excitations that break a symmetry which it tapers off are
            left out.

    Returns:
        A circuit with parameters ``t[0], t[1], ..``: singles, then doubles, each one ``PauliEvolutionGate``. For
        Qiskit's own simulators take them apart first (``circuit.decompose(reps=2)``, or any transpilation): they would
        build each gate's matrix.

    Raises:
        ValueError: if there is nothing to excite, or there are more electrons than orbitals.

    >>> from qiskit_nature.second_q.mappers import JordanWignerMapper
    >>> uccsd_ansatz(2, (1, 1), JordanWignerMapper()).num_parameters
    3
    """
    found = excitations(num_spatial_orbitals, num_particles)
    generators = [generator for generator in mapped(found, num_spatial_orbitals, mapper) if generator is not None]
    if not generators:
        raise ValueError(
            f"UCCSD needs an electron that can be excited, but {tuple(num_particles)} electrons in "
            f"{num_spatial_orbitals} orbitals leave none. Take more orbitals into the active space."
        )
    circuit = QuantumCircuit(generators[0].num_qubits, name="UCCSD")
    for qubit in hartree_fock(num_spatial_orbitals, num_particles, mapper):
        circuit.x(qubit)
    for generator, angle in zip(generators, ParameterVector("t", len(generators)), strict=True):
        circuit.append(PauliEvolutionGate(generator, angle), circuit.qubits)
    return circuit


def excitations(num_spatial_orbitals: int, num_particles: tuple[int, int]) -> tuple[Excitation, ...]:
    """Return the single, then the double excitations that conserve spin, in the order of qiskit-nature.

    Raises:
        ValueError: if there are not between 0 and M electrons of each spin.

    >>> excitations(2, (1, 1))
    (((0,), (1,)), ((2,), (3,)), ((0, 2), (1, 3)))
    """
    if len(num_particles) != 2 or not all(0 <= count <= num_spatial_orbitals for count in num_particles):
        raise ValueError(
            f"0 to {num_spatial_orbitals} electrons of each spin are needed, as many as there are orbitals, but "
            f"{num_particles!r} came."
        )
    singles = [pair for spin in range(2) for pair in _singles(num_spatial_orbitals, num_particles[spin], spin)]
    return (*(((i,), (a,)) for i, a in singles), *_doubles(singles))


def mapped(
    excitations: Sequence[Excitation], num_spatial_orbitals: int, mapper: QubitMapper
) -> list[SparsePauliOp | None]:
    """Return each excitation's Hermitian generator G, of ``exp(-i theta G)``; None where tapering leaves none."""
    from qiskit_nature.second_q.mappers import TaperedQubitMapper
    from qiskit_nature.second_q.operators import FermionicOp

    generators = []
    for occupied, virtual in excitations:
        label = " ".join([*(f"+_{i}" for i in occupied), *(f"-_{a}" for a in virtual)])
        there = FermionicOp({label: 1.0}, num_spin_orbitals=2 * num_spatial_orbitals)
        generators.append(1j * (there - there.adjoint()))
    if isinstance(mapper, TaperedQubitMapper):
        tapered: Any = mapper.taper_clifford(mapper.map_clifford(generators), suppress_none=False)
        return list(tapered)
    return [generator.simplify() for generator in mapper.map(generators)]


def hartree_fock(num_spatial_orbitals: int, num_particles: tuple[int, int], mapper: QubitMapper) -> list[int]:
    """Return the qubits that are 1 in the determinant of the lowest spin orbitals."""
    from qiskit_nature.second_q.circuit.library.initial_states.hartree_fock import hartree_fock_bitstring_mapped

    bits = hartree_fock_bitstring_mapped(num_spatial_orbitals, num_particles, mapper)
    return [qubit for qubit, bit in enumerate(bits) if bit]


def _singles(size: int, count: int, spin: int) -> Iterator[tuple[int, int]]:
    first = spin * size
    return product(range(first, first + count), range(first + count, first + size))


def _doubles(singles: Sequence[tuple[int, int]]) -> Iterator[Excitation]:
    """Yield pairs of singles; of the two that make one double of equal spins, the first."""
    seen = set()
    for (i, a), (j, b) in combinations(singles, 2):
        orbitals = frozenset((i, a, j, b))
        if len(orbitals) == 4 and orbitals not in seen:
            seen.add(orbitals)
            yield (i, j), (a, b)
