"""What exciting an electron costs in orbital energies, read from the diagonal of a qubit Hamiltonian.

The gap between two determinants differs from that by the attraction of electron and hole, which only the occupation of
single orbitals tells apart: each needs a product of Z of its own in the operator, as in the Jordan-Wigner, parity and
Bravyi-Kitaev mappings. Where symmetries took qubits away there is none, and nothing in the Hamiltonian of a fixed
number of electrons determines orbital energies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from qiskit_metainit.determinants import Determinants

Real = NDArray[np.float64]


def orbital_gaps(known: Determinants) -> Real | None:
    """Return (P,) energies of the virtual less those of the occupied orbitals of each excitation.

    The orbital energies are the diagonal of the Fock matrix of the reference. None if the operator does not tell.
    """
    singles = np.flatnonzero(known.single).tolist()
    ends = _ends(known, singles)
    if ends is None:
        return None
    masks = sorted({mask for pair in ends.values() for mask in pair})
    energies = _energies(known, masks)
    gaps = np.zeros(len(known.places))
    for k, (occupied, virtual) in ends.items():
        gaps[k] = energies[virtual] - energies[occupied]
    left, which, source, _ = known.products
    for double, j, k in zip(left.tolist(), which.tolist(), source.tolist(), strict=True):
        gaps[double] = gaps[j] + gaps[k]
    return gaps


def _ends(known: Determinants, singles: list[int]) -> dict[int, tuple[int, int]] | None:
    """Return the Z masks of each single's occupied and virtual orbital."""
    form = known.form
    reference = int(known.states[0])
    diagonal = {int(mask) for mask in form.operator.z[form.operator.x == 0]} - {0}
    flips = np.array([form.driven[k][0][1].x for k in singles], dtype=np.int64)
    free = {(j, k) for _, j, k, _ in zip(*(part.tolist() for part in known.products), strict=True)}
    touch = {k: {j for j in singles if (j, k) not in free} for k in singles}  # they share an orbital
    moved = {
        mask: {k for k, odd in zip(singles, (np.bitwise_count(flips & mask) & 1).tolist(), strict=True) if odd}
        for mask in diagonal
    }
    pairs: dict[int, list[tuple[int, int]]] = {}
    for k in singles:
        both = {pauli.z for _, pauli, _ in form.driven[k]}
        if len(both) != 2:
            return None
        parity = both.pop() ^ both.pop()
        pairs[k] = [
            (mask, mask ^ parity)
            for mask in diagonal
            if mask ^ parity in diagonal
            and (mask & reference).bit_count() % 2
            and not ((mask ^ parity) & reference).bit_count() % 2
            and moved[mask] & moved[mask ^ parity] == {k}
            and (moved[mask] | moved[mask ^ parity]) <= touch[k]
        ]
    blocks = _blocks(touch)
    options = [
        [found for first in pairs[block[0]] if (found := _grown(block, first, pairs, touch))] for block in blocks
    ]
    # An orbital's Z times that of another fixed one looks the same up to here, but then not all of the diagonal is
    # made of the orbitals' Z and products of two.
    for parts in product(*options):
        ends = {k: pair for part in parts for k, pair in part.items()}
        masks = {mask for pair in ends.values() for mask in pair}
        if len(masks) == form.num_qubits and diagonal <= masks | {p ^ q for p, q in combinations(masks, 2)}:
            return ends
    return None


def _blocks(touch: Mapping[int, set[int]]) -> list[list[int]]:
    """Return the singles of each spin: those that share orbitals, directly or by others; each after one it touches."""
    blocks: list[list[int]] = []
    left = list(touch)
    while left:
        block = [left[0]]
        for k in block:
            block += [j for j in sorted(touch[k]) if j not in block]
        blocks.append(block)
        left = [k for k in left if k not in block]
    return blocks


def _grown(
    block: Sequence[int],
    first: tuple[int, int],
    pairs: Mapping[int, Sequence[tuple[int, int]]],
    touch: Mapping[int, set[int]],
) -> dict[int, tuple[int, int]]:
    """Return the orbitals of all singles of a block that fit those of its first one; none if there are none."""
    found = {block[0]: first}
    for k in block[1:]:
        known = [found[j] for j in touch[k] if j in found and j != k]
        fitting = [pair for pair in pairs[k] if all((pair[0] == other[0]) != (pair[1] == other[1]) for other in known)]
        if not fitting:
            return {}
        found[k] = fitting[0]
    return found


def _energies(known: Determinants, masks: list[int]) -> dict[int, float]:
    """Return ``<n_p> dE/dn_p`` of each orbital: the cost of flipping its Z with all others as in the reference."""
    operator, reference = known.form.operator, int(known.states[0])
    lookup = {
        int(z): float(value.real)
        for x, z, value in zip(operator.x, operator.z, operator.coefficients, strict=True)
        if not x
    }
    sign = {mask: -1.0 if (mask & reference).bit_count() % 2 else 1.0 for mask in masks}
    # n = (1 - Z)/2: with w_p Z_p + w_pq Z_p Z_q, E(n_p = 1) - E(n_p = 0) = -2 w_p - 2 sum_q w_pq Z_q
    return {
        p: -2.0 * lookup.get(p, 0.0) - 2.0 * sum(lookup.get(p ^ q, 0.0) * sign[q] for q in masks if q != p)
        for p in masks
    }
