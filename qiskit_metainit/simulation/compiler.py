"""From a circuit and its Hamiltonian to a program.

CNOT ladders go (``ladders``), rotations that commute are merged (``runs``). Two things make the state smaller, whatever
the circuit is called: qubits that a symmetry takes away (``symmetry``), and, where every op only moves amplitudes among
few basis states, the sector of those (the particle numbers that UCCSD conserves, for one).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit.rotations import ZERO, Angle, Fixed, Rotation, in_layers, split
from qiskit_metainit.simulation.ladders import without_ladders
from qiskit_metainit.simulation.program import Complex, Index, Monomial, Observable, Program, Real
from qiskit_metainit.simulation.runs import Run, Space, merged
from qiskit_metainit.symmetry import Pauli, PauliSum, Tapering


@dataclass(frozen=True, eq=False)
class Plan:
    """A circuit read and reduced, before anything of the size of its state is built."""

    num_qubits: int
    """Of the register after tapering."""
    start: tuple[Complex, ...]
    """(2,) each qubit's initial state."""
    leading: tuple[tuple[Pauli, Angle] | Fixed, ...]
    """Operations without parameters that nothing with one comes before."""
    operations: tuple[tuple[Pauli, Angle] | Fixed, ...]
    """The others."""
    observable: PauliSum
    """The Hamiltonian on these qubits."""

    @classmethod
    def of(cls, circuit: QuantumCircuit, hamiltonian: SparsePauliOp, *, taper: bool = True) -> Plan:
        """Return the plan of a circuit and a Hamiltonian on the same qubits.

        Raises:
            ValueError: if the circuit is not unitary or has angles that are not affine (see ``rotations.split``).
        """
        size = int(circuit.num_qubits)
        start, leading, rest = _leading(without_ladders(in_layers(split(circuit))), size)
        operations = _as_paulis(rest)
        observable = PauliSum.of(hamiltonian)
        if not taper or leading or any(isinstance(item, Fixed) for item in operations):
            return cls(size, tuple(start), tuple(_as_paulis(leading)), tuple(operations), observable)
        rotations = cast("list[tuple[Pauli, Angle]]", operations)
        tapering = Tapering.find([pauli for pauli, _ in rotations], [_x_eigenvalue(state) for state in start])
        reduced = []
        for pauli, angle in rotations:
            smaller, sign = tapering.rotation(pauli)
            if smaller.support:  # else a global phase is left
                reduced.append((smaller, angle.times(sign)))
        kept = tuple(start[qubit] for qubit in tapering.kept)
        return cls(len(kept), kept, (), tuple(reduced), tapering.observable(observable))

    @cached_property
    def runs(self) -> list[Run]:
        """The operations merged; with gates without parameters this takes memory of the size of the state."""
        return [run for part in (self.leading, self.operations) for run in merged(part, self.num_qubits)]

    @property
    def held(self) -> int:
        """The least number of vectors of the state's size that a program holds besides those in flight.

        The initial state, the Hamiltonian and the flips, unless gates without parameters have to be looked at first, or
        a sector may be all there is.
        """
        held = 1 + max(1, len(set(self.observable.x.tolist())))
        if self.leading or any(isinstance(item, Fixed) for item in self.operations):
            return held
        kinds = {run.kind for run in self.runs}
        flips = {tuple(pauli for pauli, _ in run.paulis) for run in self.runs if run.kind == "flip"}
        return held + (len(flips) if kinds & {"x", "product"} else 0)

    def program(self, *, sector: bool = True) -> Program:
        """Return the program, of a sector if there is one and it is allowed."""
        runs = self.runs
        real = not any(one.imag.any() for one in self.start)  # as it mostly is: half the memory
        initial: Complex | Real = np.ones(1)
        for one in self.start:
            initial = np.asarray(np.kron(one.real if real else one, initial), dtype=float if real else complex)
        index = _sector(runs, np.flatnonzero(np.abs(initial) > ZERO), initial.size) if sector else None
        space = Space(self.num_qubits, index)
        ops = tuple(op for run in runs for op in run.ops(space))
        if index is None:
            return Program(self.num_qubits, initial, ops, compile_observable(self.observable, space))
        return Program(0, initial[index], ops, compile_observable(self.observable, space))


def compile_observable(operator: PauliSum, space: Space) -> Observable:
    """Return a Pauli sum as one diagonal a flip mask."""
    flips: list[int] = []
    partners: list[Index | None] = []
    diagonals: list[Complex | Real] = []
    for flip in sorted({int(mask) for mask in operator.x}):
        chosen = operator.x == flip
        coefficients = operator.coefficients[chosen] if flip else operator.coefficients[chosen].real
        partner, found = space.partner(flip)
        weights = space.weights(flip, operator.z[chosen], coefficients)
        if not found.all():
            weights = np.where(found, weights, 0.0)
        if weights.any():  # else nothing of the sector is left in it
            flips.append(flip)
            partners.append(partner)
            diagonals.append(weights)
    if not flips:
        flips, partners, diagonals = [0], [space.partner(0)[0]], [np.zeros(space.size)]
    places = None if space.index is None else np.stack([cast("Index", partner) for partner in partners])
    return Observable(tuple(flips), places, cast("Complex | Real", np.stack(diagonals)))


# the initial state


def _leading(
    items: Sequence[Rotation | Fixed], size: int
) -> tuple[list[Complex], list[Rotation | Fixed], list[Rotation | Fixed]]:
    """Return the product state that leading one-qubit gates make, other leading operations, and the rest."""
    start = [np.array([1.0, 0.0], dtype=np.complex128) for _ in range(size)]
    leading: list[Rotation | Fixed] = []
    rest: list[Rotation | Fixed] = []
    entangled, parameterised = 0, 0
    for item in items:
        mask = sum(1 << qubit for qubit in item.qubits)
        if parameterised & mask or (isinstance(item, Rotation) and item.angle.slopes):
            rest.append(item)
            parameterised |= mask
        elif entangled & mask or len(item.qubits) > 1:
            leading.append(item)
            entangled |= mask
        else:
            (qubit,) = item.qubits
            start[qubit] = _matrix(item) @ start[qubit]
    return start, leading, rest


def _as_paulis(items: Sequence[Rotation | Fixed]) -> list[tuple[Pauli, Angle] | Fixed]:
    return [(Pauli.of(item.letters, item.qubits), item.angle) if isinstance(item, Rotation) else item for item in items]


def _matrix(item: Rotation | Fixed) -> Complex:
    """Return the (2, 2) matrix of a gate without parameters on one qubit."""
    if isinstance(item, Fixed):
        return item.matrix
    half, pauli = 0.5 * item.angle.constant, SparsePauliOp(item.letters).to_matrix()
    return np.asarray(np.cos(half) * np.eye(2) - 1j * np.sin(half) * pauli, dtype=np.complex128)


def _x_eigenvalue(state: Complex) -> int:
    """Return +1 or -1 for an eigenstate of X, 0 for any other."""
    return next((sign for sign in (1, -1) if abs(state[1] - sign * state[0]) < ZERO), 0)


def _sector(runs: Sequence[Run], index: Index, size: int) -> Index | None:
    """Return the basis states that the circuit reaches from some, ascending; None if they are more than half."""
    if any(run.kind in {"x", "product", "unitary"} for run in runs):
        return None
    flips = {run.generator: run for run in runs if run.kind == "flip"}.values()  # layers share them
    sources = [run.fixed.source for run in runs if isinstance(run.fixed, Monomial)]
    sources += [np.argsort(source) for source in sources]
    reached = np.zeros(size, dtype=bool)
    reached[index] = True
    count = index.size
    while index.size:
        space = Space(size.bit_length() - 1, index)
        found = [source[index] for source in sources]
        found += [(index ^ run.paulis[0][0].x)[run.weights(space) != 0.0] for run in flips]
        far = np.concatenate([np.zeros(0, dtype=np.int64), *found])
        index = np.unique(far[~reached[far]])
        reached[index] = True
        count += index.size
        if 2 * count > size:
            return None
    return np.flatnonzero(reached)
