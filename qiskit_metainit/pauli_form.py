"""A circuit as Pauli rotations that come after one Clifford, however it was compiled.

Every gate without parameters that is a Clifford is moved to the front, past the rotations that it conjugates, so a
rotation is seen on the qubits and in the basis in which the operator is measured: the ladders, basis changes and swaps
that a transpiler makes of ``exp(-i theta/2 P)`` give P back (as Litinski 2019, arXiv:1808.02892, who moves them to the
end). Qiskit's optimization levels 2 and 3 synthesise blocks of two qubits anew, of gates that are no Cliffords one by
one: what they are is not seen then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import PauliList, SparsePauliOp

from qiskit_metainit.rotations import ZERO, Angle, Fixed, Rotation, split
from qiskit_metainit.symmetry import Pauli, PauliSum

_QUARTER = np.pi / 2
_LARGEST = 62  # qubits that a mask has room for
_MATRICES = {
    "I": np.eye(2, dtype=np.complex128),
    "X": np.array([[0, 1], [1, 0]], dtype=np.complex128),
    "Y": np.array([[0, -1j], [1j, 0]], dtype=np.complex128),
    "Z": np.array([[1, 0], [0, -1]], dtype=np.complex128),
}
_Images = dict[tuple[int, int], tuple[int, int, int]]


@dataclass(frozen=True, eq=False)
class PauliForm:
    """``exp(-i angle_R/2 P_R) .. exp(-i angle_1/2 P_1) C |0>`` on the qubits that circuit or operator act on."""

    num_qubits: int
    """Q of those qubits."""
    qubits: tuple[int, ...]
    """Each one's number in the circuit, ascending."""
    rotations: tuple[tuple[Pauli, Angle], ...]
    """(P, angle) in order, signs in the angles; those without parameters included."""
    stabilizers: tuple[tuple[Pauli, int], ...]
    """Q generators of the stabilizer group of C|0>, with their signs."""
    operator: PauliSum
    """On these qubits, the identity included."""
    num_parameters: int
    """P of the circuit."""

    @cached_property
    def start(self) -> int | None:
        """The basis state C|0> as a bit mask, or None if it is not a basis state."""
        if any(pauli.x for pauli, _ in self.stabilizers):
            return None
        reduced: dict[int, tuple[int, int]] = {}  # Gauss-Jordan elimination over GF(2): pivot bit -> (mask, bit value)
        for pauli, sign in self.stabilizers:
            mask, value = pauli.z, int(sign < 0)
            for pivot, (other, bit) in reduced.items():
                if mask >> pivot & 1:
                    mask, value = mask ^ other, value ^ bit
            pivot = mask.bit_length() - 1
            for key, (other, bit) in reduced.items():
                if other >> pivot & 1:
                    reduced[key] = (other ^ mask, bit ^ value)
            reduced[pivot] = (mask, value)
        return sum(1 << pivot for pivot, (_, value) in reduced.items() if value)

    @cached_property
    def driven(self) -> tuple[tuple[tuple[int, Pauli, float], ...], ...]:
        """What each of the P parameters drives: (place among the rotations, Pauli, slope) of every rotation."""
        found: list[list[tuple[int, Pauli, float]]] = [[] for _ in range(self.num_parameters)]
        for place, (pauli, angle) in enumerate(self.rotations):
            for index, slope in angle.slopes:
                found[index].append((place, pauli, slope))
        return tuple(map(tuple, found))


def pauli_form(circuit: QuantumCircuit, operator: SparsePauliOp) -> PauliForm | None:
    """Return a circuit's form, or None if it has a gate that is neither a Clifford nor a rotation.

    Args:
        circuit: unitary, with angles that are affine in its parameters.
        operator: on the circuit's qubits.

    Raises:
        ValueError: as ``rotations.split``.

    >>> from qiskit.circuit import Parameter
    >>> circuit = QuantumCircuit(2, name="ladder")
    >>> for gate in (circuit.x, circuit.h):
    ...     _ = gate(1)
    >>> _ = circuit.cx(0, 1), circuit.rz(Parameter("a"), 1), circuit.cx(0, 1), circuit.h(1)
    >>> form = pauli_form(circuit, SparsePauliOp("ZI"))
    >>> form.start, form.rotations[0][0] == Pauli.of("ZX", (0, 1))
    (2, True)
    """
    operations = split(circuit)
    support = np.flatnonzero(np.asarray(operator.paulis.x | operator.paulis.z).any(axis=0))
    used = {qubit for operation in operations for qubit in operation.qubits} | set(support.tolist())
    qubits = tuple(sorted(int(qubit) for qubit in used))
    if len(qubits) > _LARGEST:
        return None
    place = {qubit: index for index, qubit in enumerate(qubits)}
    kept = list(qubits)
    reduced = SparsePauliOp(
        PauliList.from_symplectic(operator.paulis.z[:, kept], operator.paulis.x[:, kept]), operator.coeffs
    )
    frame = _Frame(len(qubits))
    for operation in operations:
        if not frame.add(operation, [place[qubit] for qubit in operation.qubits]):
            return None
    rotations, stabilizers = frame.result()
    return PauliForm(len(qubits), qubits, rotations, stabilizers, PauliSum.of(reduced), int(circuit.num_parameters))


class _Frame:
    """Paulis seen so far, conjugated by every Clifford that comes after them; the first Q are those of the start."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.count = size
        room = max(64, 2 * size)
        self.x = np.zeros(room, dtype=np.int64)
        self.z = np.zeros(room, dtype=np.int64)
        self.sign = np.ones(room, dtype=np.int64)
        self.z[:size] = np.int64(1) << np.arange(size)
        self.angles: list[Angle] = []
        self.known: dict[object, _Images | None] = {}

    def add(self, operation: Rotation | Fixed, qubits: Sequence[int]) -> bool:
        """Take up the next operation; return whether it fits the form."""
        if isinstance(operation, Rotation):
            angle = operation.angle
            quarters = round(angle.constant / _QUARTER)
            exact = abs(angle.constant - quarters * _QUARTER) < ZERO * max(1, abs(quarters))
            pauli = Pauli.of(operation.letters, qubits)
            if angle.slopes or not exact:
                self._append(pauli, Angle(angle.slopes, 0.0 if exact else angle.constant))
            if exact:
                self._turn(pauli, quarters % 4)
            return True
        key = operation.matrix.round(9).tobytes()
        if key not in self.known:
            self.known[key] = _images(operation.matrix)
        images = self.known[key]
        if images is None:
            return False
        self._conjugate(images, qubits)
        return True

    def result(self) -> tuple[tuple[tuple[Pauli, Angle], ...], tuple[tuple[Pauli, int], ...]]:
        """Return the rotations and the stabilizers."""
        rows = zip(
            self.x[: self.count].tolist(), self.z[: self.count].tolist(), self.sign[: self.count].tolist(), strict=True
        )
        paulis = [(Pauli(x, z), sign) for x, z, sign in rows]
        rotations = zip(paulis[self.size :], self.angles, strict=True)
        return tuple((pauli, angle.times(sign)) for (pauli, sign), angle in rotations), tuple(paulis[: self.size])

    def _append(self, pauli: Pauli, angle: Angle) -> None:
        if self.count == len(self.x):
            self.x, self.z, self.sign = (np.resize(rows, 2 * self.count) for rows in (self.x, self.z, self.sign))
        self.x[self.count], self.z[self.count], self.sign[self.count] = pauli.x, pauli.z, 1
        self.count += 1
        self.angles.append(angle)

    def _turn(self, pauli: Pauli, quarters: int) -> None:
        """Conjugate by ``exp(-i quarters pi/4 P)``: what anticommutes with P, Q, becomes -Q or ``-+ i P Q``."""
        if not quarters:
            return
        # The last one appended is the rotation itself, which commutes.
        x, z, sign = self.x[: self.count], self.z[: self.count], self.sign[: self.count]
        anti = (np.bitwise_count(x & pauli.z) + np.bitwise_count(z & pauli.x)) % 2 == 1
        if quarters == 2:
            sign[anti] *= -1
            return
        # -i P Q for one quarter: i^|x&z| X^x Z^z are multiplied, which leaves a power of i.
        ys = pauli.ys + np.bitwise_count(x[anti] & z[anti]).astype(np.int64)
        swaps = np.bitwise_count(pauli.z & x[anti]).astype(np.int64)  # Z^z X^x' = (-1)^|z & x'| X^x' Z^z
        x[anti] ^= pauli.x
        z[anti] ^= pauli.z
        power = ys + 2 * swaps - np.bitwise_count(x[anti] & z[anti]).astype(np.int64) + (3 if quarters == 1 else 1)
        sign[anti] *= 1 - power % 4

    def _conjugate(self, images: _Images, qubits: Sequence[int]) -> None:
        x, z, sign = self.x[: self.count], self.z[: self.count], self.sign[: self.count]
        lx, lz = np.zeros_like(x), np.zeros_like(z)
        for k, qubit in enumerate(qubits):
            lx |= ((x >> qubit) & 1) << k
            lz |= ((z >> qubit) & 1) << k
        clear = ~sum(1 << qubit for qubit in qubits)
        new_x, new_z = x & clear, z & clear
        for (ix, iz), (ox, oz, flip) in images.items():
            rows = (lx == ix) & (lz == iz)
            if rows.any():
                new_x[rows] |= _spread(ox, qubits)
                new_z[rows] |= _spread(oz, qubits)
                sign[rows] *= flip
        x[:], z[:] = new_x, new_z


def _spread(mask: int, qubits: Iterable[int]) -> int:
    return sum(1 << qubit for k, qubit in enumerate(qubits) if mask >> k & 1)


def _images(matrix: NDArray[np.complex128]) -> _Images | None:
    """Return U P U^-1 of every Pauli P but the identity, as (x, z) -> (x, z, sign); None if U is no Clifford."""
    size = matrix.shape[0].bit_length() - 1
    paulis: dict[tuple[int, int], NDArray[np.complex128]] = {}
    for letters in product("IXYZ", repeat=size):  # letters[0] acts on the first qubit, the least significant
        whole: NDArray[np.complex128] = np.eye(1, dtype=np.complex128)
        for letter in letters:
            whole = np.asarray(np.kron(_MATRICES[letter], whole), dtype=np.complex128)
        x = sum(1 << k for k, letter in enumerate(letters) if letter in "XY")
        z = sum(1 << k for k, letter in enumerate(letters) if letter in "YZ")
        paulis[x, z] = whole
    images: _Images = {}
    for key, pauli in paulis.items():
        image = matrix @ pauli @ matrix.conj().T
        for other, target in paulis.items():
            overlap = np.vdot(target, image) / len(matrix)
            if abs(abs(overlap) - 1) < 1e-9:
                images[key] = (*other, round(overlap.real))
                break
        else:
            return None
    del images[0, 0]
    return images
