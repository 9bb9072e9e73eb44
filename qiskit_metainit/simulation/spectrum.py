"""The frequencies of a cost along each of its parameters, from the light cones of the observable's terms.

Along one parameter the cost is a trigonometric polynomial. Its frequencies are read off the paths of Pauli strings. A
term of the observable is carried backwards through the circuit; a rotation about Q that commutes with a string P leaves
it, and one that does not turns it into ``cos(angle) P + i sin(angle) QP``: two strings with one more factor of that
angle. A path that met m rotations of slopes s_1 .. s_m has the frequencies ``|+-s_1 +- .. +-s_m|``. So rotations
outside the light cone, and those that commute with what arrives, add none; m rotations of one slope s add ``m s``,
``(m - 2) s`` and so on; and strings that vanish in the initial state |0..0> do not count. Where a term's strings become
too many they are merged into the products of one of them with some others, which can only add frequencies.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit.simulation.light_cone import Factors, LightCones, anticommute, same

_LARGEST_MULTIPLE = 4096  # of the common measure: beyond it no shift rule pays
_LARGEST_DENOMINATOR = 100

Signature = tuple[tuple[int, Factors], ...]
"""The factors that one path, or a block of paths, met of each slope of one parameter."""


@dataclass(frozen=True)
class Frequencies:
    """What the cost along one parameter is made of, besides a constant."""

    values: tuple[float, ...] | None
    """Ascending positive frequencies, a superset of those that occur; None if there are more than rotations."""
    rotations: tuple[int, ...]
    """The rotations of the parameter that some term sees, numbered among the circuit's parameterised rotations."""


def frequencies(circuit: QuantumCircuit, observable: SparsePauliOp) -> tuple[Frequencies, ...]:
    """Return the frequencies of ``<observable>`` along each of ``circuit.parameters``.

    Args:
        circuit: unitary with affine angles, started in |0..0>.
        observable: on the same qubits.

    Raises:
        ValueError: at an operation that ``rotations.split`` does not support.

    >>> from qiskit_metainit.ansatz import qaoa
    >>> ring = SparsePauliOp.from_sparse_list([("ZZ", [i, (i + 1) % 40], 0.5) for i in range(40)], num_qubits=40)
    >>> [found.values for found in frequencies(qaoa(ring, reps=1), ring)]  # beta and gamma
    [(4.0,), (2.0,)]
    """
    cones = LightCones.of(circuit)
    lines = [_Line(cones, index) for index in range(circuit.num_parameters)]
    terms = {
        cones.at_start((sum(1 << int(q) for q in np.flatnonzero(x)), sum(1 << int(q) for q in np.flatnonzero(z))))
        for x, z in zip(observable.paulis.x, observable.paulis.z, strict=True)
    }
    for term in sorted(terms - {(0, 0)}):
        met: dict[int, set[Signature]] = {}
        for counts in cones.paths(term):
            own: dict[int, list[tuple[int, Factors]]] = {}
            for place, factors in counts.items():
                own.setdefault(cones.slopes[place][0], []).append((place, factors))
            for index, items in own.items():
                met.setdefault(index, set()).add(tuple(sorted(items)))
        for index, signatures in met.items():
            turn = lines[index].turn
            odd = None if turn is None else anticommute(term, turn)
            for signature in signatures:
                lines[index].add(signature, odd)
    return tuple(line.result(cones.seen[index]) for index, line in enumerate(lines))


def common_measure(values: Iterable[float]) -> float | None:
    """Return the largest number of which all the positive values are integer multiples, None if there is none.

    >>> common_measure([1.5, 1.0]), common_measure([1.0, 2**0.5])
    (0.5, None)
    """
    values = list(values)
    if not values:
        return None
    least = min(values)
    ratios = [Fraction(value / least).limit_denominator(_LARGEST_DENOMINATOR) for value in values]
    denominator = math.lcm(*(ratio.denominator for ratio in ratios))
    numerators = [int(ratio * denominator) for ratio in ratios]
    if max(numerators) > _LARGEST_MULTIPLE:
        return None
    measure = least / denominator * math.gcd(*numerators)
    return measure if all(same(value, round(value / measure) * measure) for value in values) else None


class _Line:
    """The frequencies along one parameter, while the terms come in."""

    def __init__(self, cones: LightCones, index: int) -> None:
        own = {place: slope for place, (owner, slope) in enumerate(cones.slopes) if owner == index}
        measure = common_measure(own.values())
        self.unit = 1.0 if measure is None else measure
        self.exact = measure is not None
        self.slopes = {p: float(round(s / self.unit)) if self.exact else s for p, s in own.items()}  # in units
        self.most = cones.rotations[index]
        odd = [place for place, slope in self.slopes.items() if slope % 2]
        # All rotations turn by pi, or by an even multiple of it, when the parameter moves by pi over the measure. Where
        # the string this inserts commutes with a term, the term's share of the cost is unchanged, so that its
        # frequencies are even multiples of the measure; where it anticommutes the share changes sign: odd multiples.
        self.turn = cones.half_turn(odd) if self.exact else None
        self.found: set[float] | None = set()
        self.known: set[tuple[Signature, bool | None]] = set()

    def add(self, signature: Signature, odd: bool | None) -> None:
        """Add the frequencies of one signature, of a term whose multiples are known to be odd, even or neither."""
        if self.found is None or (signature, odd) in self.known:
            return
        self.known.add((signature, odd))
        reached = {0.0}
        for place, (even, most_odd) in signature:
            factors = [*range(0, even + 1, 2), *range(1, most_odd + 1, 2)]
            steps = {self.slopes[place] * factor * sign for factor in factors for sign in (1, -1)}
            reached = self._distinct(value + step for value in reached for step in steps)
            # Sums only become more, but every second one may still go: then they are an order too many.
            if len(reached) > 4 * self.most + 2:
                self.found = None
                return
        positive = (value for value in reached if value > 1e-9 * self.scale and (odd is None or value % 2 == odd))
        self.found = self._distinct([*self.found, *positive])
        if len(self.found) > self.most:
            self.found = None

    @property
    def scale(self) -> float:
        return max(self.slopes.values())

    def _distinct(self, values: Iterable[float]) -> set[float]:
        """Return one of each group of values that are equal up to rounding."""
        if self.exact:
            return set(values)
        kept: list[float] = []
        for value in sorted(values):
            if not kept or value - kept[-1] > 1e-9 * self.scale:
                kept.append(value)
        return set(kept)

    def result(self, seen: Iterable[int]) -> Frequencies:
        rotations = tuple(sorted(seen))
        if self.found is None or len(self.found) > len(rotations):
            return Frequencies(None, rotations)
        return Frequencies(tuple(value * self.unit for value in sorted(self.found)), rotations)
