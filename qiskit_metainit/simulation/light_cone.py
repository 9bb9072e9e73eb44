"""The Pauli strings of an observable carried backwards through a circuit, with the rotations that they meet.

Clifford gates are drawn out of the circuit first, to its end: every rotation becomes one about a longer string, and the
observable's terms change accordingly. How a circuit was compiled or routed makes no difference then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit

from qiskit_metainit.rotations import Rotation, split

_MOST_STEPS = 2048  # of single strings through single operations, a term, before its strings are merged
_WIDEST = 3  # fixed gates on more qubits are taken to mix everything on them

String = tuple[int, int]
"""A Pauli string without its sign: bit q of x and z tells the letter of qubit q."""
Factors = tuple[int, int]
"""The largest even and the largest odd number of factors of one slope, -1 for none."""
Counts = Mapping[int, Factors]
"""Slope -> factors met on the way; (0, -1) where absent."""
_NONE_MET: Factors = (0, -1)


@dataclass(frozen=True, eq=False)
class _Op:
    """A rotation, or a fixed gate that is not Clifford."""

    strings: tuple[String, ...]
    """What may multiply a string that does not commute with all of them."""
    slopes: tuple[int, ...] = ()
    """Of a rotation, one a parameter of its angle."""
    number: int = -1
    """Of a parameterised rotation."""
    rows: tuple[String, ...] = ()
    """X and Z of each qubit of a fixed gate."""
    matrix: bytes = b""
    """Of a fixed gate, unless it is too wide."""

    @property
    def is_rotation(self) -> bool:
        return not self.rows


@dataclass(frozen=True, eq=False)
class LightCones:
    """A circuit ready for backward walks from the terms of an observable."""

    slopes: tuple[tuple[int, float], ...]
    """The different (parameter, positive slope) pairs of the circuit's angles; their numbers stand for them."""
    rotations: tuple[int, ...]
    """A parameter: how many rotations it drives."""
    seen: tuple[set[int], ...]
    """A parameter: its rotations that some walk met, numbered among the parameterised rotations. Walks add to it."""
    _ops: tuple[_Op, ...]
    _rows: tuple[String, ...]  # X and Z of each qubit at the end of the circuit, before all Clifford gates

    @classmethod
    def of(cls, circuit: QuantumCircuit) -> LightCones:
        """Take a circuit apart.

        Raises:
            ValueError: as ``rotations.split``.
        """
        slopes: list[tuple[int, float]] = []
        driven: list[int] = []
        rows = [string for qubit in range(circuit.num_qubits) for string in ((1 << qubit, 0), (0, 1 << qubit))]
        ops: list[_Op] = []
        number = 0
        for op in split(circuit):
            places = [2 * qubit + kind for qubit in op.qubits for kind in (0, 1)]
            own = tuple(rows[place] for place in places)
            if isinstance(op, Rotation):
                local = [letter in kind for letter in op.letters for kind in ("XY", "YZ")]
                string = _product(row for row, present in zip(own, local, strict=True) if present)
                if op.angle.slopes:
                    found = tuple(_place(index, abs(slope), slopes) for index, slope in op.angle.slopes)
                    driven += [index for index, _ in op.angle.slopes]
                    ops.append(_Op((string,), found, number))
                    number += 1
                elif (quarters := _quarters(op.angle.constant)) is None:
                    ops.append(_Op((string,)))
                elif quarters % 2:
                    for place, row in zip(places, own, strict=True):
                        if anticommute(row, string):
                            rows[place] = _product((row, string))
                continue
            matrix = op.matrix.tobytes() if len(op.qubits) <= _WIDEST else b""
            images = [_images(matrix, _bits(1 << place)) if matrix else () for place in range(len(own))]
            if all(len(image) == 1 for image in images):
                for place, (image,) in zip(places, images, strict=True):
                    rows[place] = _combined(own, image)
            else:
                factors = tuple(_combined(own, local) for local in _factors(matrix)) if matrix else own
                ops.append(_Op(factors, rows=own, matrix=matrix))
        seen: tuple[set[int], ...] = tuple(set() for _ in range(circuit.num_parameters))
        rotations = tuple(driven.count(index) for index in range(circuit.num_parameters))
        return cls(tuple(slopes), rotations, seen, tuple(ops), tuple(rows))

    def at_start(self, term: String) -> String:
        """Return what a term of the observable is before all Clifford gates."""
        letters = (self._rows[2 * qubit + kind] for kind in (0, 1) for qubit in _ones(term[kind]))
        return _product(letters)

    def paths(self, term: String) -> Iterator[Counts]:
        """Yield what the strings met that come from a term, given ``at_start``, and do not vanish in |0..0>."""
        strings: dict[String, Counts] = {term: {}}
        span: _Span | None = None
        active = term[0] | term[1]
        steps = 0
        for op in reversed(self._ops):
            if not any((x | z) & active for x, z in op.strings):
                continue
            steps += len(strings)
            if span is None and (steps > _MOST_STEPS or not (op.is_rotation or op.matrix)):
                span = _Span.of(strings)
            if span is not None:
                changed = span.through(op)
            else:
                strings, changed = _through(op, strings)
            if changed:
                for x, z in op.strings:
                    active |= x | z
                for place in op.slopes:
                    self.seen[self.slopes[place][0]].add(op.number)
        if span is None:
            yield from (counts for (x, _), counts in strings.items() if not x)
        elif span.is_visible:
            yield span.counts

    def half_turn(self, slopes: Iterable[int]) -> String | None:
        """Return the string that comes before the observable when all rotations of some slopes turn by pi more.

        A rotation by pi more is a Pauli more. None if those Paulis do not pass all later operations.
        """
        turning = set(slopes)
        string = (0, 0)
        for op in self._ops:
            if any(anticommute(string, other) for other in op.strings):
                return None
            if sum(place in turning for place in op.slopes) % 2:
                string = _product((string, *op.strings))
        return string


@dataclass
class _Span:
    """Many strings as one of them times all products of some others."""

    counts: Counts
    strings: list[String] = field(default_factory=list)  # the first, then the factors
    columns: tuple[dict[int, int], dict[int, int]] = field(default_factory=lambda: ({}, {}))
    """Qubit -> bits that tell which of the strings have an x there, and which a z."""

    @classmethod
    def of(cls, strings: Mapping[String, Counts]) -> _Span:
        first, *others = strings
        counts, *rest = strings.values()
        for other in rest:
            counts = _merged(counts, other)
        span = cls(counts)
        span.add(first)
        width = max(x.bit_length() for x, _ in strings)
        basis = _basis(((x ^ first[0]) | (z ^ first[1]) << width for x, z in others), {})
        for bits in basis.values():
            span.add((bits & (1 << width) - 1, bits >> width))
        return span

    def add(self, string: String) -> None:
        """Add a factor."""
        for column, bits in zip(self.columns, string, strict=True):
            for qubit in _ones(bits):
                column[qubit] = column.get(qubit, 0) | 1 << len(self.strings)
        self.strings.append(string)

    def through(self, op: _Op) -> bool:
        """Carry all strings backwards through one operation; return whether any of them saw it."""
        odd = [self.against(string) for string in op.strings]
        if not any(odd):
            return False
        turned = _turned(self.counts, op.slopes)
        certain = op.is_rotation and odd == [1]  # all factors commute with it, and the first string does not
        self.counts = turned if certain else _merged(self.counts, turned)
        for string in op.strings:
            self.add(string)
        return True

    def against(self, string: String) -> int:
        """Return bits that tell which of the first string and the factors anticommute with a string."""
        result = 0
        for column, bits in zip(self.columns, reversed(string), strict=True):
            for qubit in _ones(bits):
                result ^= column.get(qubit, 0)
        return result

    @property
    def is_visible(self) -> bool:
        """Whether any of the strings has letters I and Z only, so that it does not vanish in |0..0>."""
        first, *others = (x for x, _ in self.strings)
        return not _reduced(first, _basis(others, {}))


def anticommute(one: String, other: String) -> bool:
    """Return whether two strings anticommute; they commute otherwise."""
    return bool(((one[0] & other[1]).bit_count() + (one[1] & other[0]).bit_count()) % 2)


def same(one: float, other: float) -> bool:
    """Return whether two positive slopes or frequencies are equal up to rounding."""
    return abs(one - other) <= 1e-11 * max(one, other)


def _place(index: int, slope: float, slopes: list[tuple[int, float]]) -> int:
    """Return the number of a slope of a parameter, adding it if it is new."""
    for place, (owner, other) in enumerate(slopes):
        if owner == index and same(slope, other):
            return place
    slopes.append((index, slope))
    return len(slopes) - 1


def _quarters(angle: float) -> int | None:
    """Return an angle in quarter turns, None if it is no multiple of them."""
    turns = angle / (np.pi / 2)
    return round(turns) if abs(turns - round(turns)) < 1e-11 else None


def _through(op: _Op, strings: Mapping[String, Counts]) -> tuple[dict[String, Counts], bool]:
    """Return what strings become before an operation, and whether any of them saw it."""
    result: dict[String, Counts] = {}
    changed = False
    for string, counts in strings.items():
        images: Iterable[String] = (string,)
        after = counts
        if any(anticommute(string, other) for other in op.strings):
            changed = True
            after = _turned(counts, op.slopes)
            if op.is_rotation:
                images = (string, _product((string, *op.strings)))
            else:
                # A string has an x on a qubit where it does not commute with Z, and a z where it does not with X.
                local = sum(anticommute(string, row) << (place ^ 1) for place, row in enumerate(op.rows))
                x, z = _bits(local)
                changes = ((x ^ other[0], z ^ other[1]) for other in _images(op.matrix, (x, z)))
                images = (_product((string, _combined(op.rows, change))) for change in changes)
        for image in images:
            result[image] = _merged(result[image], after) if image in result else after
    return result, changed


def _turned(counts: Counts, slopes: Iterable[int]) -> Counts:
    """Return the counts after one more factor of each slope."""
    turned = dict(counts)
    for place in slopes:
        even, odd = turned.get(place, _NONE_MET)
        turned[place] = (odd + 1 if odd >= 0 else -1, even + 1 if even >= 0 else -1)
    return turned


def _merged(one: Counts, other: Counts) -> Counts:
    if one is other:
        return one
    pairs = ((place, one.get(place, _NONE_MET), other.get(place, _NONE_MET)) for place in {*one, *other})
    return {place: (max(a[0], b[0]), max(a[1], b[1])) for place, a, b in pairs}


def _ones(bits: int) -> Iterator[int]:
    """Yield the places of the ones."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


def _product(strings: Iterable[String]) -> String:
    x = z = 0
    for other_x, other_z in strings:
        x, z = x ^ other_x, z ^ other_z
    return x, z


def _bits(places: int) -> String:
    """Return the string of some rows, numbered X_0, Z_0, X_1, Z_1 .."""
    x, z = (sum(1 << place // 2 for place in _ones(places) if place % 2 == kind) for kind in (0, 1))
    return x, z


def _combined(rows: Sequence[String], local: String) -> String:
    """Return the product of the rows X_0, Z_0, X_1, Z_1 .. that a string on those qubits has."""
    return _product(rows[2 * qubit + kind] for kind in (0, 1) for qubit in _ones(local[kind]))


def _reduced(bits: int, basis: Mapping[int, int]) -> int:
    while bits and bits.bit_length() in basis:
        bits ^= basis[bits.bit_length()]
    return bits


def _basis(vectors: Iterable[int], basis: dict[int, int]) -> dict[int, int]:
    """Return independent vectors over GF(2) with the same span, by their highest bits."""
    for vector in vectors:
        rest = _reduced(vector, basis)
        if rest:
            basis[rest.bit_length()] = rest
    return basis


@cache
def _paulis(size: int) -> tuple[list[String], NDArray[np.complex128]]:
    """Return all strings on a few qubits with their (4^k, 2^k, 2^k) matrices, little-endian."""
    single = {(0, 0): np.eye(2), (1, 0): np.array([[0, 1], [1, 0]]), (0, 1): np.diag([1, -1])}
    single[1, 1] = np.array([[0, -1j], [1j, 0]])
    strings = [(x, z) for x in range(1 << size) for z in range(1 << size)]
    matrices = []
    for x, z in strings:
        matrix = np.eye(1, dtype=np.complex128)
        for qubit in range(size):
            matrix = np.kron(single[x >> qubit & 1, z >> qubit & 1], matrix)
        matrices.append(matrix)
    return strings, np.array(matrices)


def _expanded(matrix: NDArray[np.complex128]) -> tuple[String, ...]:
    """Return the strings in a matrix."""
    strings, matrices = _paulis(len(matrix).bit_length() - 1)
    parts = np.abs(np.einsum("aij,ji->a", matrices, matrix)) / len(matrix)
    return tuple(strings[place] for place in np.flatnonzero(parts > 1e-11))


def _unitary(matrix: bytes) -> NDArray[np.complex128]:
    entries = np.frombuffer(matrix, dtype=np.complex128)
    return entries.reshape(1 << (entries.size.bit_length() // 2), -1)


@lru_cache(maxsize=100_000)
def _images(matrix: bytes, string: String) -> tuple[String, ...]:
    """Return the strings in ``U^dagger P U``."""
    unitary = _unitary(matrix)
    strings, matrices = _paulis(len(unitary).bit_length() - 1)
    return _expanded(unitary.conj().T @ matrices[strings.index(string)] @ unitary)


@lru_cache(maxsize=10_000)
def _factors(matrix: bytes) -> tuple[String, ...]:
    """Return what may multiply a string on its way through U: ``U^dagger P U = P (P U^dagger P) U``.

    A string that commutes with all of them commutes with U up to a sign.
    """
    first, *others = _expanded(_unitary(matrix))
    return tuple(_product((first, other)) for other in others)
