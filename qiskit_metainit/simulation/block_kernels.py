"""Kernels that act on every qubit at once, as Kronecker blocks of a few qubits.

T rotations one after the other, on m qubits; J parameters; K = 2^width amplitudes of a block.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from qiskit_metainit.simulation.kernel import Kernel, Prepared, Workspace, column_index

BLOCK = 4  # qubits a block: 16 x 16 matrices keep the arithmetic ahead of the memory traffic

_PAULI = {
    "I": np.zeros((2, 2), dtype=np.complex128),  # no rotation has no generator
    "X": np.array([[0, 1], [1, 0]], dtype=np.complex128),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.array([[1, 0], [0, -1]], dtype=np.complex128),
}


@dataclass(frozen=True, eq=False)
class HadamardKernel(Kernel):
    """A Hadamard gate on each of some qubits, in real blocks of up to ``BLOCK`` qubits."""

    mask: int
    num_qubits: int
    tasks: Tensor  # (B, 0)

    def apply(
        self, states: Tensor, prepared: Prepared, *, inverse: bool = False, work: Workspace | None = None
    ) -> Tensor:
        """See Kernel."""
        for shape, matrix in self._steps:
            target, out = states, None
            if work is None:
                view = torch.view_as_real(states).reshape(shape)
            else:
                target = work.other(states)
                view, out = work.real(states, shape), work.real(target, shape)
            if len(shape) == 2:
                result = torch.mm(view, matrix, out=out)
            else:
                result = torch.bmm(matrix.expand(view.shape[0], -1, -1), view, out=out)
            states = torch.view_as_complex(result.reshape(*states.shape, 2)) if out is None else target
        return states

    @cached_property
    def _steps(self) -> list[tuple[tuple[int, ...], Tensor]]:
        """The shape of the states, real and imaginary parts side by side, and the matrix, of each block."""
        steps: list[tuple[tuple[int, ...], Tensor]] = []
        low = 0
        for width in _widths(self.num_qubits):
            part = self.mask >> low & (1 << width) - 1
            matrix = _hadamards(part, width, low == 0, self.tasks.dtype, self.tasks.device)
            if part:
                steps.append(((-1, 2 << width) if low == 0 else (-1, 1 << width, 2 << low), matrix))
            low += width
        return steps


@dataclass(frozen=True, eq=False)
class ProductKernel(Kernel):
    """A sequence of rotations on each of m qubits, applied as Kronecker blocks of up to ``BLOCK`` qubits."""

    parameters: tuple[int, ...]
    letters: tuple[str, ...]
    qubits: tuple[int, ...]
    num_qubits: int
    slopes: Tensor  # (B, T, m, J)
    constant: Tensor  # (B, T, m)

    @property
    def kept(self) -> int:
        """See Kernel."""
        return 7 * len(self._spans)

    def prepare(self, points: Tensor, work: Workspace | None, slot: Hashable) -> Prepared:
        """Return each rotation (B, T, m, 2, 2), then each block (B, K, K)."""
        columns = points.index_select(1, column_index(self.parameters, points.device))
        angles = (self.slopes @ columns[:, None, :, None])[..., 0] + self.constant
        half = 0.5 * angles[..., None, None]
        eye, paulis = _one_qubit(self.letters, self._dtype, points.device)
        rotations = torch.cos(half) * eye - torch.sin(half) * paulis
        gates = rotations[:, 0]
        for step in range(1, len(self.letters)):
            gates = rotations[:, step] @ gates
        blocks = []
        for low, width in self._spans:
            ones = [
                gates[:, self.qubits.index(qubit)] if qubit in self.qubits else eye.expand(len(points), 2, 2)
                for qubit in range(low, low + width)
            ]
            matrix = ones.pop()
            while ones:  # Kronecker products; einsum would take several times as long on matrices this small
                size = 2 * matrix.shape[1]
                matrix = (matrix[:, :, None, :, None] * ones.pop()[:, None, :, None, :]).reshape(-1, size, size)
            blocks.append(matrix)
        return (rotations, *blocks)

    def apply(
        self, states: Tensor, prepared: Prepared, *, inverse: bool = False, work: Workspace | None = None
    ) -> Tensor:
        """See Kernel."""
        for (low, width), matrix in zip(self._spans, prepared[1:], strict=True):
            turned = matrix.mH if inverse else matrix
            if self._covers:
                states = _turn(states, turned.expand(len(states), *turned.shape), width, work)
            else:
                view = states.reshape(*states.shape[:2], -1, 1 << width, 1 << low)
                states = torch.einsum("bij,sbljr->sblir", turned, view).reshape(states.shape)
        return states

    def add_gradient(self, pair: Tensor, prepared: Prepared, out: Tensor, work: Workspace) -> Tensor | None:
        """See Kernel."""
        traces = []  # (B, qubits of a block, 2, 2): sums over all other qubits of adjoint* state
        if self._covers:
            pair[1].conj_physical_()  # here, so that no product below has to
        for (low, width), matrix in zip(self._spans, prepared[1:], strict=True):
            members = tuple(q - low for q in self.qubits if low <= q < low + width)
            if self._covers:
                view = pair.view(*pair.shape[:2], -1, 1 << width)
                cross = torch.bmm(view[1].mT, view[0])
                pair = _turn(pair, torch.stack([torch.conj_physical(matrix), matrix]).mT, width, work)
            else:
                after, adjoint = pair.reshape(2, pair.shape[1], -1, 1 << width, 1 << low)
                cross = torch.einsum("blir,bljr->bij", adjoint.conj(), after)
            traces.append(cross.flatten(1) @ _partial_trace(members, width, self._dtype, pair.device))
        if self._covers:
            pair[1].conj_physical_()
        traced = torch.cat(traces, dim=1).reshape(len(self.constant), -1, 2, 2)
        by_angle = torch.empty_like(self.constant)
        _, paulis = _one_qubit(self.letters, self._dtype, pair.device)
        for step in reversed(range(len(self.letters))):
            by_angle[:, step] = -(traced * paulis[step]).sum(dim=(-2, -1)).real
            if step:  # carry the adjoint and the state back to before this rotation
                one = prepared[0][:, step]
                traced = one.mT @ traced @ one.conj()
        gradient = by_angle.flatten(1)[:, None] @ self.slopes.flatten(1, 2)
        out.index_add_(1, column_index(self.parameters, out.device), gradient[:, 0])
        return pair if self._covers else None

    @property
    def _dtype(self) -> torch.dtype:
        return self.constant.dtype.to_complex()

    @property
    def _spans(self) -> list[tuple[int, int]]:
        return _spans(self.num_qubits, sum(1 << qubit for qubit in self.qubits))

    @property
    def _covers(self) -> bool:
        return sum(width for _, width in self._spans) == self.num_qubits


def _turn(states: Tensor, matrix: Tensor, width: int, work: Workspace | None) -> Tensor:
    """Apply (S, B, K, K) to the lowest qubits of (S, B, N), which become the highest.

    One large product a block; after blocks of all qubits every qubit is back in its place.
    """
    view = states.reshape(-1, states.shape[2] >> width, 1 << width).mT
    out = None if work is None else work.other(states).view(view.shape)
    return torch.bmm(matrix.reshape(-1, 1 << width, 1 << width), view, out=out).view(states.shape)


@lru_cache(maxsize=256)
def _spans(size: int, mask: int) -> list[tuple[int, int]]:
    """Return (lowest qubit, width) of blocks of near equal width that cover every qubit of the mask."""
    count = -(-size // BLOCK)
    edges = [size * i // count for i in range(count + 1)]
    return [(low, high - low) for low, high in pairwise(edges) if mask >> low & (1 << high - low) - 1]


def _widths(size: int) -> list[int]:
    """Return block widths, the lowest first, that were the fastest tried: four qubits, the lowest never more."""
    count, rest = divmod(size, BLOCK)
    if size <= 6:
        return [size] if size <= 3 else [size - size // 2, size // 2]
    if rest == 1 or (rest == 2 and count > 2):
        return [BLOCK, *[BLOCK + 1] * rest, *[BLOCK] * (count - 1 - rest)]
    return [BLOCK] * count + [rest] * bool(rest)


@lru_cache(maxsize=256)
def _hadamards(mask: int, width: int, lowest: bool, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the (K, K) matrix of Hadamard gates on a block, (2K, 2K) on the lowest: real and imaginary parts."""
    matrix = np.eye(2 if lowest else 1)
    for qubit in range(width):
        gate = np.array([[1, 1], [1, -1]]) / np.sqrt(2) if mask >> qubit & 1 else np.eye(2)
        matrix = np.kron(gate, matrix)
    return torch.as_tensor(matrix, device=device).to(dtype)


@lru_cache(maxsize=256)
def _one_qubit(letters: tuple[str, ...], dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the (2, 2) identity and the (T, m, 2, 2) Paulis times i."""
    paulis = 1j * np.array([[_PAULI[letter] for letter in word] for word in letters])
    return torch.eye(2, dtype=dtype, device=device), torch.as_tensor(paulis, device=device).to(dtype)


@lru_cache(maxsize=256)
def _partial_trace(places: tuple[int, ...], width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return (4^width, 4 m): what takes a block's (K, K) matrix to the (2, 2) matrix of each of its qubits."""
    columns = []
    for place in places:
        for unit in np.eye(4).reshape(4, 2, 2):
            columns.append(np.kron(np.kron(np.eye(1 << width - 1 - place), unit), np.eye(1 << place)).reshape(-1))
    return torch.as_tensor(np.column_stack(columns), device=device).to(dtype)
