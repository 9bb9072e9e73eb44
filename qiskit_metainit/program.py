"""A circuit and its Hamiltonian compiled to a short program of a few op kinds, without any torch in it.

The kinds: a diagonal phase, a product of one-qubit rotations, a Pauli rotation, a monomial (a permutation with phases)
and a fixed unitary. Rotations that commute are moved together, and diagonal ones through permutations, so a layer of
QAOA becomes two ops, and the CNOT ladders around a many-body Z rotation vanish. N = 2^Q amplitudes, qubit 0 the least
significant bit; a parameter is an index into ``circuit.parameters``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit.problem import masks, walsh
from qiskit_metainit.rotations import Angle, Fixed, Rotation, in_layers, split

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]


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
class Product:
    """One rotation on each of m distinct qubits."""

    letters: str
    """X, Y or Z a qubit."""
    qubits: tuple[int, ...]
    """The m qubits."""
    parameters: tuple[int, ...]
    """J parameters."""
    slopes: Real
    """(m, J): angle_q = sum_j slopes[q, j] theta_j + constant[q]."""
    constant: Real
    """(m,) radians."""


@dataclass(frozen=True, eq=False)
class PauliRotation:
    """``exp(-i angle/2 P)``; ``(P psi)_i = phases_i psi_(i ^ flip)``."""

    flip: int
    """Mask of the bits P flips."""
    phases: Complex
    """(N,)."""
    parameters: tuple[int, ...]
    """J parameters."""
    slopes: Real
    """(1, J)."""
    constant: Real
    """(1,) radians."""


@dataclass(frozen=True, eq=False)
class Monomial:
    """``(U psi)_i = phases_i psi_(source_i)``: CNOT, CZ, SWAP, X, S and any chain of them."""

    source: NDArray[np.int64]
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


Op = Diagonal | Product | PauliRotation | Monomial | Unitary


@dataclass(frozen=True, eq=False)
class Observable:
    """``(H psi)_i = sum_k diagonals[k, i] psi_(i ^ flips[k])``."""

    flips: tuple[int, ...]
    """Distinct masks of flipped bits, ascending."""
    diagonals: Complex | Real
    """(number of flips, N); real if there is no flip."""


@dataclass(frozen=True, eq=False)
class Program:
    """``|0..0>``, then ops in order, then an observable."""

    num_qubits: int
    """Q."""
    ops: tuple[Op, ...]
    """In order of application."""
    observable: Observable
    """The Hamiltonian."""


def compile_program(circuit: QuantumCircuit, hamiltonian: SparsePauliOp) -> Program:
    """Return the program of a circuit and a Hamiltonian on the same qubits.

    Raises:
        ValueError: if the circuit is not unitary or has angles that are not affine (see ``rotations.split``).
    """
    runs: list[_Run] = []
    for operation in in_layers(split(circuit)):
        _add(runs, operation, int(circuit.num_qubits))
    ops = tuple(op for run in runs for op in run.ops(int(circuit.num_qubits)))
    return Program(int(circuit.num_qubits), ops, compile_observable(hamiltonian))


def compile_observable(operator: SparsePauliOp) -> Observable:
    """Return a Pauli sum as one diagonal a flip mask."""
    flip, phase = masks(operator.paulis.x), masks(operator.paulis.z)
    ys = (operator.paulis.x & operator.paulis.z).sum(axis=1)
    coefficients = operator.coeffs * 1j**ys
    index = np.arange(1 << int(operator.num_qubits))
    flips = sorted({int(mask) for mask in flip})
    diagonals = np.zeros((len(flips), index.size), dtype=np.complex128)
    for row, mask in enumerate(flips):
        chosen = flip == mask
        np.add.at(diagonals[row], phase[chosen], coefficients[chosen])
        diagonals[row] = walsh(diagonals[row])[index ^ mask]
    return Observable(tuple(flips), diagonals.real.copy() if flips == [0] else diagonals)


@dataclass
class _Run:
    """Operations that commute among themselves, while the circuit is read."""

    kind: str
    support: set[int] = field(default_factory=set)
    rotations: list[Rotation] = field(default_factory=list)
    dressed: list[tuple[Real, Angle]] = field(default_factory=list)  # diagonal generators moved through a permutation
    fixed: Op | None = None

    def ops(self, size: int) -> list[Op]:
        if self.fixed is not None:
            return [self.fixed]
        if self.kind == "product":
            return [_product(self.rotations)]
        if self.kind == "pauli":
            return [_pauli(self.rotations[0], size)]
        return _diagonal(self.rotations, self.dressed, size)


def _add(runs: list[_Run], operation: Rotation | Fixed, size: int) -> None:
    """Merge an operation into the latest run that it reaches by commuting, or open a new run."""
    qubits = set(operation.qubits)
    if isinstance(operation, Fixed):
        monomial = _as_monomial(operation, size)
        if monomial is None:
            runs.append(_Run("unitary", qubits, fixed=Unitary(operation.qubits, operation.matrix)))
        elif (run := _reach(runs, "monomial", qubits)) is not None and isinstance(run.fixed, Monomial):
            run.fixed = Monomial(run.fixed.source[monomial.source], monomial.phases * run.fixed.phases[monomial.source])
            run.support |= qubits
            if _is_identity(run.fixed):
                runs.remove(run)
        else:
            runs.append(_Run("monomial", qubits, fixed=monomial))
        return
    if set(operation.letters) == {"Z"}:
        _add_diagonal(runs, operation, size)
        return
    kind = "product" if len(operation.letters) == 1 else "pauli"
    run = _reach(runs, "product", qubits) if kind == "product" else None
    if run is not None and not run.support & qubits:
        run.rotations.append(operation)
        run.support |= qubits
    else:
        runs.append(_Run(kind, qubits, [operation]))


def _reach(runs: list[_Run], kind: str, qubits: set[int]) -> _Run | None:
    """Return the latest run of a kind that is not behind a run on the same qubits."""
    for run in reversed(runs):
        if run.kind == kind:
            return run
        if run.support & qubits:
            return None
    return None


def _add_diagonal(runs: list[_Run], rotation: Rotation, size: int) -> None:
    """Merge a Z rotation into a diagonal run, moving it in front of permutations on the way."""
    vector: Real | None = None
    place = len(runs)
    for position in range(len(runs) - 1, -1, -1):
        run = runs[position]
        touches = vector is not None or bool(run.support & set(rotation.qubits))
        if run.kind == "diagonal":
            if vector is None:
                run.rotations.append(rotation)
                run.support |= set(rotation.qubits)
            else:
                run.dressed.append((vector, rotation.angle))
                run.support |= set(range(size))
            return
        if touches and isinstance(run.fixed, Monomial):
            # D M = M (M^-1 D M): in front of the permutation the generator has its entries moved.
            moved = np.empty(1 << size)
            moved[run.fixed.source] = _signs(rotation.qubits, size) if vector is None else vector
            vector, place = moved, position
        elif touches:
            break
    if vector is None:
        runs.append(_Run("diagonal", set(rotation.qubits), [rotation]))
    else:
        runs.insert(place, _Run("diagonal", set(range(size)), dressed=[(vector, rotation.angle)]))


def _signs(qubits: Sequence[int], size: int) -> Real:
    """Return the diagonal of a Z product, (N,)."""
    coefficients = np.zeros(1 << size)
    coefficients[sum(1 << q for q in qubits)] = 1.0
    return walsh(coefficients)


def _affine(angles: Sequence[Angle]) -> tuple[tuple[int, ...], Real, Real]:
    parameters = tuple(sorted({index for angle in angles for index, _ in angle.slopes}))
    slopes = np.zeros((len(angles), len(parameters)))
    for row, angle in enumerate(angles):
        for index, slope in angle.slopes:
            slopes[row, parameters.index(index)] = slope
    return parameters, slopes, np.array([angle.constant for angle in angles])


def _product(rotations: Sequence[Rotation]) -> Product:
    rotations = sorted(rotations, key=lambda rotation: rotation.qubits)
    letters = "".join(rotation.letters for rotation in rotations)
    qubits = tuple(rotation.qubits[0] for rotation in rotations)
    return Product(letters, qubits, *_affine([rotation.angle for rotation in rotations]))


def _pauli(rotation: Rotation, size: int) -> PauliRotation:
    letters = ["I"] * size
    for letter, qubit in zip(rotation.letters, rotation.qubits, strict=True):
        letters[size - 1 - qubit] = letter
    observable = compile_observable(SparsePauliOp("".join(letters)))
    return PauliRotation(observable.flips[0], observable.diagonals[0] + 0j, *_affine([rotation.angle]))


def _diagonal(rotations: Sequence[Rotation], dressed: Sequence[tuple[Real, Angle]], size: int) -> list[Op]:
    """Return a run of Z rotations as one-qubit rotations where a parameter drives nothing else, and one phase."""
    many = {i for r in rotations if len(r.qubits) > 1 for i, _ in r.angle.slopes}
    many |= {i for _, angle in dressed for i, _ in angle.slopes}
    lone: dict[int, Rotation] = {}
    rest: list[Rotation] = []
    for rotation in rotations:
        is_lone = len(rotation.qubits) == 1 and not many & {i for i, _ in rotation.angle.slopes}
        if is_lone and rotation.qubits[0] not in lone:
            lone[rotation.qubits[0]] = rotation
        else:
            rest.append(rotation)
    ops: list[Op] = [_product(list(lone.values()))] if lone else []
    if not rest and not dressed:
        return ops
    parameters, _, _ = _affine([r.angle for r in rest] + [angle for _, angle in dressed])
    coefficients = np.zeros((len(parameters) + 1, 1 << size))  # in the Walsh basis; the last row is the constant
    for rotation in rest:
        mask = sum(1 << qubit for qubit in rotation.qubits)
        for index, slope in rotation.angle.slopes:
            coefficients[parameters.index(index), mask] += 0.5 * slope
        coefficients[-1, mask] += 0.5 * rotation.angle.constant
    generators = np.stack([walsh(row) for row in coefficients])
    for vector, angle in dressed:
        for index, slope in angle.slopes:
            generators[parameters.index(index)] += 0.5 * slope * vector
        generators[-1] += 0.5 * angle.constant * vector
    constant = generators[-1] if generators[-1].any() else None
    return [*ops, Diagonal(parameters, generators[:-1], constant)]


def _as_monomial(gate: Fixed, size: int) -> Monomial | None:
    present = np.abs(gate.matrix) > 1e-12
    if not (present.sum(axis=0) == 1).all():
        return None
    row_source = present.argmax(axis=1)
    index = np.arange(1 << size)
    local = sum(((index >> qubit) & 1) << place for place, qubit in enumerate(gate.qubits))
    cleared = index & ~sum(1 << qubit for qubit in gate.qubits)
    moved = row_source[local]
    source = cleared | sum(((moved >> place) & 1) << qubit for place, qubit in enumerate(gate.qubits))
    return Monomial(np.asarray(source), gate.matrix[local, moved])


def _is_identity(op: Monomial) -> bool:
    return bool((op.source == np.arange(op.source.size)).all() and np.allclose(op.phases, op.phases[0]))
