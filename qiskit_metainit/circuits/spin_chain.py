"""Ansatz recipes for spin chains and rings with nearest-neighbour couplings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from numbers import Integral
from typing import Any

from qiskit import QuantumCircuit
from qiskit.circuit import ParameterExpression, ParameterVector

_Bonds = list[tuple[int, int]]


def bell_pair_ansatz(num_sites: int, layers: int, *, periodic: bool = False, field: bool = False) -> QuantumCircuit:
    """Return Bell pairs followed by layers of two-site rotations: one fixed circuit for all couplings.

    The pairs (0, 1), (2, 3), .. start as ``(|00> + |11>) / sqrt 2``; ``RX(a)`` and then ``RZ(b)`` on the first qubit of
    each choose among the four Bell states, whose (XX, YY, ZZ) are::

        a = 0,  b = 0:   + - +      a = pi, b = 0:   + + -
        a = 0,  b = pi:  - + +      a = pi, b = pi:  - - -

    A layer is RXX, RYY and RZZ on the odd bonds (1, 2), (3, 4), .. and then on the even bonds (0, 1), (2, 3), .. : odd
    ones first, for the pairs are eigenstates of what acts on their own bond. Angles are shared within half a layer, as
    in the Hamiltonian variational ansatz of the XXZ chain in Wiersema et al. 2020 (arXiv:2008.02941), which starts from
    singlets. Starting from ``|0..0>`` instead, no angle gets to the ground states of most couplings, as rotations leave
    the parities of Z..Z and X..X as they are.

    Args:
        num_sites: n, even and at least 4.
        layers: L.
        periodic: whether the sites form a ring; (n-1, 0) is then an odd bond.
        field: whether each layer ends with RZ on every site, for Hamiltonians with a field along Z.

    Returns:
        A circuit on n qubits of P = 2 + 6 L parameters (2 + 7 L with a field): a, b, and layer by layer XX, YY, ZZ on
        odd bonds, XX, YY, ZZ on even bonds(, Z).

    Raises:
        ValueError: if the number of sites is odd or below 4, or there is no layer.

    >>> bell_pair_ansatz(6, 2).num_parameters
    14
    >>> dict(bell_pair_ansatz(6, 1, periodic=True).count_ops())
    {'rxx': 6, 'ryy': 6, 'rzz': 6, 'h': 3, 'cx': 3, 'rx': 3, 'rz': 3}
    """
    check_pairs(num_sites)
    check_layers(layers)
    even, odd = ([*bonds(num_sites, periodic=periodic)][parity::2] for parity in (0, 1))
    circuit = QuantumCircuit(num_sites)
    theta = iter(ParameterVector("theta", 2 + layers * (7 if field else 6)))
    firsts = [first for first, _ in even]
    for first, second in even:
        circuit.h(first)
        circuit.cx(first, second)
    circuit.rx(next(theta), firsts)
    circuit.rz(next(theta), firsts)
    for _ in range(layers):
        _rotate(circuit, odd, theta)
        _rotate(circuit, even, theta)
        if field:
            circuit.rz(next(theta), range(num_sites))
    return circuit


def block_ansatz(num_sites: int, layers: int, *, periodic: bool = False, shared: bool = False) -> QuantumCircuit:
    """Return layers of RXX, RYY and RZZ on all neighbours from ``|0..0>``, as in Lee et al. 2025 (arXiv:2501.05906).

    The paper says "blocks that have IsingXX, IsingYY, and IsingZZ gates", at most 20 of them; which sites they couple,
    in what order, and whether angles are shared stands in a figure of its appendix that we have not seen. Here each
    gate has an angle of its own, as its counts of parameters suggest, and a layer goes from bond to bond.

    Args:
        num_sites: n, at least 2 (3 in a ring).
        layers: L.
        periodic: whether the sites form a ring.
        shared: whether a layer has one angle a letter instead of one a gate.

    Returns:
        A circuit on n qubits of P = 3 (n - 1) L parameters, 3 n L in a ring, 3 L shared: layer by layer and bond by
        bond XX, YY, ZZ.

    Raises:
        ValueError: if there are too few sites, or no layer.

    >>> block_ansatz(12, 20).num_parameters
    660
    """
    check_sites(num_sites, 3 if periodic else 2)
    check_layers(layers)
    pairs = bonds(num_sites, periodic=periodic)
    circuit = QuantumCircuit(num_sites)
    theta = iter(ParameterVector("theta", 3 * layers * (1 if shared else len(pairs))))
    for _ in range(layers):
        for part in [pairs] if shared else [[pair] for pair in pairs]:
            _rotate(circuit, part, theta)
    return circuit


def bonds(num_sites: int, *, periodic: bool = False) -> _Bonds:
    """Return the pairs of neighbours: bond i is (i, i + 1), in a ring the last one (n - 1, 0)."""
    return [(site, (site + 1) % num_sites) for site in range(num_sites if periodic else num_sites - 1)]


def check_pairs(num_sites: int) -> None:
    """Raise a ValueError if a number of sites is not even and at least 4."""
    check_sites(num_sites, 4)
    if num_sites % 2:
        raise ValueError(
            f"An even number of sites is needed, as they form pairs, but {num_sites} came. Add or remove one, or take "
            "another ansatz."
        )


def check_sites(num_sites: Any, least: int) -> None:
    """Raise a ValueError if a number of sites is no integer of at least so many."""
    if not isinstance(num_sites, Integral) or isinstance(num_sites, bool) or num_sites < least:
        raise ValueError(f"At least {least} sites are needed, as an integer, but {num_sites!r} came.")


def check_layers(layers: Any) -> int:
    """Return a number of layers, or raise a ValueError if it is no positive integer."""
    if not isinstance(layers, Integral) or isinstance(layers, bool) or layers < 1:
        raise ValueError(f"At least one layer is needed, as an integer, but {layers!r} came.")
    return int(layers)


def _rotate(circuit: QuantumCircuit, pairs: _Bonds, theta: Iterator[ParameterExpression]) -> None:
    """Append RXX, RYY and RZZ on pairs of sites, an angle a letter."""
    gates: tuple[Callable[[Any, int, int], Any], ...] = (circuit.rxx, circuit.ryy, circuit.rzz)
    for gate in gates:
        angle = next(theta)
        for first, second in pairs:
            gate(angle, first, second)
