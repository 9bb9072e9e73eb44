"""Operations that commute, merged into runs, of which each becomes an op or two of a program.

Rotations move to the latest run of their kind that they reach by commuting, so a layer of QAOA becomes two diagonals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from qiskit.synthesis import OneQubitEulerDecomposer

from qiskit_metainit.problem import Number, walsh
from qiskit_metainit.rotations import ZERO, Angle, Fixed
from qiskit_metainit.simulation.program import (
    Complex,
    Diagonal,
    Flip,
    Hadamard,
    Index,
    Monomial,
    Op,
    Product,
    Real,
    Unitary,
)
from qiskit_metainit.symmetry import Pauli

_MANY = 3  # Paulis of one letter that a parameter must drive for a diagonal op to be the cheaper one
_Kind = Literal["diagonal", "x", "flip", "product", "monomial", "unitary"]
_EULER = OneQubitEulerDecomposer("ZYZ")


@dataclass(frozen=True, eq=False)
class Space:
    """The basis states of a program."""

    num_qubits: int
    index: Index | None  # (N,) ascending basis states of a sector; None for the whole register
    phases: dict[bytes, Diagonal] = field(default_factory=dict)
    flips: dict[object, tuple[Index | None, Complex]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """N."""
        return 1 << self.num_qubits if self.index is None else self.index.size

    def diagonal(self, z: Index, coefficients: NDArray[Number]) -> NDArray[Number]:
        """Return (N,) ``sum_k coefficients_k (-1)^|z_k & i|``."""
        if self.index is None:
            vector = np.zeros(1 << self.num_qubits, dtype=coefficients.dtype)
            np.add.at(vector, z, coefficients)
            return walsh(vector)
        result = np.zeros(self.index.size, dtype=coefficients.dtype)
        for mask, coefficient in zip(z, coefficients, strict=True):
            result += coefficient * (1.0 - 2.0 * (np.bitwise_count(self.index & mask) & 1))
        return result

    def weights(self, flip: int, z: Index, coefficients: Complex) -> Complex:
        """Return (N,) w with ``(sum_k coefficients_k X^flip Z^z_k psi)_i = w_i psi_(i ^ flip)``."""
        # (-1)^|z & (i ^ flip)| = (-1)^|z & i| (-1)^|z & flip|
        return self.diagonal(z, coefficients * (1.0 - 2.0 * (np.bitwise_count(z & flip) & 1)))

    def partner(self, flip: int) -> tuple[Index | None, NDArray[np.bool_]]:
        """Return (N,) places of i ^ flip, and whether there is one; None for a register, where there always is."""
        if self.index is None:
            return None, np.ones(1, dtype=bool)
        place = np.searchsorted(self.index, self.index ^ flip).clip(max=self.index.size - 1)
        found = self.index[place] == self.index ^ flip
        return np.where(found, place, np.arange(self.index.size)), found


@dataclass(eq=False)
class Run:
    """Operations that commute among themselves (or, in a product, follow each other), while the circuit is read."""

    kind: _Kind
    support: int
    paulis: list[tuple[Pauli, Angle]] = field(default_factory=list)
    sequences: dict[int, list[tuple[str, Angle]]] = field(default_factory=dict)
    fixed: Monomial | Unitary | None = None

    def blocks(self, pauli: Pauli) -> bool:
        """Return whether a rotation cannot be moved to before this run."""
        if not self.support & pauli.support:
            return False
        if self.fixed is not None or self.sequences:
            return True
        return not all(pauli.commutes(other) for other, _ in self.paulis)

    def driven_by(self, angle: Angle) -> bool:
        """Return whether a parameter of this angle is in the run already.

        What belongs to a later layer could often join an earlier one (a qubit without a term commutes with all of its
        layer), but then circuits of one form would become programs of many.
        """
        own = {index for _, other in self.paulis for index, _ in other.slopes}
        return not own.isdisjoint(index for index, _ in angle.slopes)

    def ops(self, space: Space) -> list[Op]:
        """Return the run's ops, in order."""
        if self.fixed is None:
            build = {"diagonal": self._diagonal, "x": self._x, "flip": self._flip, "product": self._product}
            return build[self.kind](space)
        if space.index is not None and isinstance(self.fixed, Monomial):
            source = np.searchsorted(space.index, self.fixed.source[space.index])
            return [Monomial(source, self.fixed.phases[space.index])]
        return [self.fixed]

    def _diagonal(self, space: Space) -> list[Op]:
        """Return one-qubit rotations where a parameter drives nothing else, and one phase."""
        lone: dict[int, Angle] = {}
        rest: list[tuple[Pauli, Angle]] = []
        driven = Counter(index for _, angle in self.paulis for index, _ in angle.slopes)
        for pauli, angle in self.paulis:
            qubit = pauli.z.bit_length() - 1
            is_lone = pauli.z.bit_count() == 1 and all(driven[index] == 1 for index, _ in angle.slopes)
            if is_lone and qubit not in lone and space.index is None:
                lone[qubit] = angle
            else:
                rest.append((pauli, angle))
        ops: list[Op] = [_product({q: [("Z", angle)] for q, angle in lone.items()})] if lone else []
        if rest:
            ops += _phase(space, [(pauli.z, angle) for pauli, angle in rest])
        return ops

    def _x(self, space: Space) -> list[Op]:
        """Return a phase between Hadamards: what is diagonal in X."""
        mask = self.support
        phase = _phase(space, [(pauli.x, angle) for pauli, angle in self.paulis])
        return [Hadamard(mask), *phase, Hadamard(mask)]

    @property
    def generator(self) -> tuple[tuple[Pauli, float], ...]:
        """A flip run's Paulis, each with its angle in units of the first one's."""
        unit = self.paulis[0][1]
        return tuple((pauli, _ratio(angle, unit) or 0.0) for pauli, angle in self.paulis)

    def weights(self, space: Space) -> Complex:
        """Return (N,) of a flip run's generator: it takes amplitude i ^ flip times that to i."""
        paulis, ratios = zip(*self.generator, strict=True)
        z = np.array([pauli.z for pauli in paulis])
        weights = space.weights(paulis[0].x, z, np.array(ratios) * 1j ** np.array([pauli.ys for pauli in paulis]))
        return np.where(np.abs(weights) > ZERO, weights, 0.0)

    def takes(self, pauli: Pauli, angle: Angle) -> bool:
        """Return whether a flip run's generator stays one multiple of one angle with another rotation in it."""
        if self.kind != "flip" or self.paulis[0][0].x != pauli.x or self.blocks(pauli):
            return False
        return _ratio(angle, self.paulis[0][1]) is not None

    def _flip(self, space: Space) -> list[Op]:
        first, unit = self.paulis[0]
        parameters, slopes, constant = _affine([unit])
        key = self.generator
        if key not in space.flips:  # layers share these too
            partner, found = space.partner(first.x)
            space.flips[key] = partner, np.where(found, self.weights(space), 0.0)
        return [Flip(first.x, *space.flips[key], parameters, slopes[0], float(constant[0]))]

    def _product(self, _: Space) -> list[Op]:
        return [_product(self.sequences)]


def merged(operations: Sequence[tuple[Pauli, Angle] | Fixed], size: int) -> list[Run]:
    """Return the runs of a circuit on ``size`` qubits, in order."""
    driven: dict[str, Counter[int]] = {"x": Counter(), "z": Counter()}
    for item in operations:
        if not isinstance(item, Fixed) and not (item[0].x and item[0].z):
            driven["x" if item[0].x else "z"].update(index for index, _ in item[1].slopes)
    runs: list[Run] = []
    for item in operations:
        if isinstance(item, Fixed):
            _add_fixed(runs, item, size)
        elif not item[0].x:
            _add_diagonal(runs, *item, driven["z"])
        else:
            _add_rotation(runs, *item, driven["x"])
    return runs


def _add_rotation(runs: list[Run], pauli: Pauli, angle: Angle, driven: Counter[int]) -> None:
    """Merge a rotation that flips bits into the latest run that it reaches by commuting, or open a new run."""
    if not pauli.z and angle.slopes and all(driven[index] >= _MANY for index, _ in angle.slopes):
        run = _find(runs, pauli, lambda run: run.kind == "x" and (run is runs[-1] or run.driven_by(angle)))
        run = run or _opened(runs, "x")
        run.paulis.append((pauli, angle))
    elif pauli.support.bit_count() == 1:
        run = _find(runs, pauli, lambda run: run.kind == "product") or _opened(runs, "product")
        _extend(run, pauli.support.bit_length() - 1, [("Y" if pauli.z else "X", angle)])
    else:
        run = _find(runs, pauli, lambda run: run.takes(pauli, angle)) or _opened(runs, "flip")
        run.paulis.append((pauli, angle))
    run.support |= pauli.support


def _add_diagonal(runs: list[Run], pauli: Pauli, angle: Angle, driven: Counter[int]) -> None:
    """Merge a Z rotation into a phase, or into a product if its parameter drives nothing else."""
    lone = pauli.z.bit_count() == 1 and all(driven[index] == 1 for index, _ in angle.slopes)
    shared = any(driven[index] >= _MANY for index, _ in angle.slopes)

    def fits(run: Run) -> bool:
        if run.kind == "diagonal":
            return not shared or run is runs[-1] or run.driven_by(angle)
        return lone and run.kind == "product" and run.blocks(pauli)

    run = _find(runs, pauli, fits) or _opened(runs, "diagonal")
    if run.kind == "product":
        _extend(run, pauli.z.bit_length() - 1, [("Z", angle)])
    else:
        run.paulis.append((pauli, angle))
    run.support |= pauli.support


def _add_fixed(runs: list[Run], gate: Fixed, size: int) -> None:
    """Merge a gate without parameters: one-qubit gates into products, permutations into each other."""
    support = sum(1 << qubit for qubit in gate.qubits)
    monomial = _as_monomial(gate, size)
    near = next((run for run in reversed(runs) if run.support & support), None)
    if len(gate.qubits) == 1 and (monomial is None or (near is not None and near.kind == "product")):
        run = near if monomial is not None else _reach(runs, support, "product")
        run = run or _opened(runs, "product")
        run.support |= support
        theta, phi, lam = (float(angle) for angle in _EULER.angles(gate.matrix))
        sequence = [("Z", lam), ("Y", theta), ("Z", phi)]
        _extend(run, gate.qubits[0], [(letter, Angle(constant=angle)) for letter, angle in sequence])
    elif monomial is None:
        runs.append(Run("unitary", support, fixed=Unitary(gate.qubits, gate.matrix)))
    elif (before := _reach(runs, support, "monomial")) is not None and isinstance(before.fixed, Monomial):
        source = before.fixed.source[monomial.source]
        before.fixed = Monomial(source, monomial.phases * before.fixed.phases[monomial.source])
        before.support |= support
        if _is_identity(before.fixed):
            runs.remove(before)
    else:
        runs.append(Run("monomial", support, fixed=monomial))


def _find(runs: Sequence[Run], pauli: Pauli, fits: Callable[[Run], bool]) -> Run | None:
    """Return the latest run that fits and that the rotation reaches by commuting."""
    for run in reversed(runs):
        if fits(run):
            return run
        if run.blocks(pauli):
            return None
    return None


def _opened(runs: list[Run], kind: _Kind) -> Run:
    runs.append(Run(kind, 0))
    return runs[-1]


def _reach(runs: Sequence[Run], support: int, kind: _Kind) -> Run | None:
    """Return the latest run of a kind that is not behind another on the same qubits."""
    for run in reversed(runs):
        if run.kind == kind:
            return run
        if run.support & support:
            return None
    return None


def _extend(run: Run, qubit: int, rotations: Sequence[tuple[str, Angle]]) -> None:
    """Append rotations to a qubit's sequence, those about one axis merged."""
    sequence = run.sequences.setdefault(qubit, [])
    for letter, angle in rotations:
        if sequence and sequence[-1][0] == letter:
            sequence[-1] = (letter, sequence[-1][1].plus(angle))
        else:
            sequence.append((letter, angle))


def _ratio(angle: Angle, unit: Angle) -> float | None:
    """Return r with angle = r unit, or None."""
    (index, slope), *_ = (*unit.slopes, (-1, unit.constant))
    other = dict((*angle.slopes, (-1, angle.constant))).get(index, 0.0)
    ratio = other / slope if slope else 1.0
    same = unit.times(ratio)
    if [i for i, _ in same.slopes] != [i for i, _ in angle.slopes]:
        return None
    close = np.allclose([s for _, s in same.slopes], [s for _, s in angle.slopes], rtol=1e-12, atol=0.0)
    return ratio if close and np.isclose(same.constant, angle.constant, rtol=1e-12, atol=0.0) else None


# ops


def _affine(angles: Sequence[Angle]) -> tuple[tuple[int, ...], Real, Real]:
    """Return the J parameters, (number of angles, J) slopes and (number of angles,) constants."""
    parameters = tuple(sorted({index for angle in angles for index, _ in angle.slopes}))
    slopes = np.zeros((len(angles), len(parameters)))
    for row, angle in enumerate(angles):
        for index, slope in angle.slopes:
            slopes[row, parameters.index(index)] = slope
    return parameters, slopes, np.array([angle.constant for angle in angles])


def _product(sequences: Mapping[int, Sequence[tuple[str, Angle]]]) -> Product:
    qubits = tuple(sorted(sequences))
    length = max(len(sequence) for sequence in sequences.values())
    padded = [[*sequences[qubit], *[("I", Angle())] * (length - len(sequences[qubit]))] for qubit in qubits]
    columns = list(zip(*padded, strict=True))  # T of m
    parameters, slopes, constant = _affine([angle for column in columns for _, angle in column])
    letters = tuple("".join(letter for letter, _ in column) for column in columns)
    shape = (length, len(qubits))
    return Product(letters, qubits, parameters, slopes.reshape(*shape, -1), constant.reshape(shape))


def _phase(space: Space, terms: Sequence[tuple[int, Angle]]) -> list[Op]:
    """Return the diagonal of rotations about Z products, given by their masks."""
    parameters, slopes, constant = _affine([angle for _, angle in terms])
    weights = np.column_stack([slopes, constant]).T / 2  # (J + 1, number of rotations)
    masks = np.array([mask for mask, _ in terms], dtype=np.int64)
    order = np.lexsort([*weights, masks])  # transpilers list the terms of a layer in any order
    masks, weights = masks[order], weights[:, order]
    # Layers that differ in their parameters only share their generators, in memory too.
    key = masks.tobytes() + weights.tobytes()
    if key not in space.phases:
        generators = (
            np.stack([space.diagonal(masks, row) for row in weights[:-1]]) if parameters else np.zeros((0, space.size))
        )
        fixed = space.diagonal(masks, weights[-1]) if weights[-1].any() else None
        space.phases[key] = Diagonal(parameters, generators, fixed)
    op = space.phases[key]
    return [replace(op, parameters=parameters)] if parameters or op.constant is not None else []


def _as_monomial(gate: Fixed, size: int) -> Monomial | None:
    if not gate.is_monomial:
        return None
    row_source = (np.abs(gate.matrix) > ZERO).argmax(axis=1)
    index = np.arange(1 << size)
    local = sum(((index >> qubit) & 1) << place for place, qubit in enumerate(gate.qubits))
    cleared = index & ~sum(1 << qubit for qubit in gate.qubits)
    moved = row_source[local]
    source = cleared | sum(((moved >> place) & 1) << qubit for place, qubit in enumerate(gate.qubits))
    return Monomial(np.asarray(source), gate.matrix[local, moved])


def _is_identity(op: Monomial) -> bool:
    return bool((op.source == np.arange(op.source.size)).all() and np.allclose(op.phases, op.phases[0]))
