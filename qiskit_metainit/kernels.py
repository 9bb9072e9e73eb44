"""The op kinds of a program as torch kernels on a batch of states.

Shapes: B tasks, N = 2^Q amplitudes, m rotations, J parameters of an op. States are (S, B, N): S = 1 on the way forward,
S = 2 on the way back, where the state and its adjoint travel together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import pairwise
from typing import Self

import numpy as np
import torch
from torch import Tensor

from qiskit_metainit import program

BLOCK = 5  # qubits a Kronecker block: 32 x 32 matrices keep the arithmetic ahead of the memory traffic

_PAULI = {
    "X": np.array([[0, 1], [1, 0]], dtype=np.complex128),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.array([[1, 0], [0, -1]], dtype=np.complex128),
}


@dataclass(frozen=True, eq=False)
class Kernel(ABC):
    """One op of B tasks. Tensors carry a leading B; every other field is the same for all of them."""

    @property
    def key(self) -> Hashable:
        """What two tasks must share to be stacked."""
        return (type(self).__name__, *(_static(getattr(self, field.name)) for field in fields(self)))

    @classmethod
    def stack(cls, kernels: Sequence[Self]) -> Self:
        """Return one kernel of all the tasks."""
        columns = {field.name: [getattr(kernel, field.name) for kernel in kernels] for field in fields(cls)}
        return cls(**{name: torch.cat(c) if isinstance(c[0], Tensor) else c[0] for name, c in columns.items()})

    @abstractmethod
    def apply(self, states: Tensor, points: Tensor, *, inverse: bool = False) -> Tensor:
        """Return U states, or U^-1 states; states (S, B, N), points (B, P)."""

    def add_gradient(self, states: Tensor, points: Tensor, out: Tensor) -> None:  # noqa: B027 a fixed op has none
        """Add the derivative of ``<H>`` by this op's parameters to out (B, P).

        Args:
            states: (2, B, N), the state after this op and H applied to the final state, carried back to here.
            points: (B, P).
            out: (B, P).
        """


@dataclass(frozen=True, eq=False)
class DiagonalKernel(Kernel):
    """``exp(-i (sum_j theta_j g_j + g))``."""

    parameters: tuple[int, ...]
    generators: Tensor  # (B, J, N)
    constant: Tensor  # (B, N), or (B, 0) for none

    def apply(self, states: Tensor, points: Tensor, *, inverse: bool = False) -> Tensor:
        """See Kernel."""
        if len(self.parameters) == 1:
            phase = self.generators[:, 0] * points[:, self.parameters[0], None]
        else:
            phase = torch.einsum("bjn,bj->bn", self.generators, points[:, list(self.parameters)])
        if self.constant.shape[1]:
            phase = phase + self.constant
        return states * torch.polar(torch.ones_like(phase), phase if inverse else -phase)

    def add_gradient(self, states: Tensor, points: Tensor, out: Tensor) -> None:
        """See Kernel."""
        overlap = (states[1].conj() * states[0]).imag
        out[:, list(self.parameters)] += 2.0 * torch.einsum("bjn,bn->bj", self.generators, overlap)


@dataclass(frozen=True, eq=False)
class _Rotating(Kernel):
    parameters: tuple[int, ...]
    slopes: Tensor  # (B, m, J)
    constant: Tensor  # (B, m)

    def angles(self, points: Tensor) -> Tensor:
        """Return (B, m) radians."""
        if len(self.parameters) == 1:
            return self.slopes[:, :, 0] * points[:, self.parameters[0], None] + self.constant
        return torch.einsum("bmj,bj->bm", self.slopes, points[:, list(self.parameters)]) + self.constant

    def chain(self, by_angle: Tensor, out: Tensor) -> None:
        """Add (B, m) derivatives by angle to out (B, P)."""
        out[:, list(self.parameters)] += torch.einsum("bm,bmj->bj", by_angle, self.slopes)


@dataclass(frozen=True, eq=False)
class ProductKernel(_Rotating):
    """One rotation on each of m qubits, applied as Kronecker blocks of up to ``BLOCK`` qubits."""

    letters: str
    qubits: tuple[int, ...]
    num_qubits: int

    def apply(self, states: Tensor, points: Tensor, *, inverse: bool = False) -> Tensor:
        """See Kernel."""
        angles = self.angles(points)
        half = 0.5 * (-angles if inverse else angles)[:, :, None, None]
        eye, letters = _one_qubit(self.letters, states.dtype, states.device)
        factors = torch.cos(half) * eye - 1j * torch.sin(half) * letters  # (B, m, 2, 2)
        for low, high, members in _blocks(self.qubits, self.num_qubits):
            matrix = torch.ones(len(points), 1, 1, dtype=states.dtype, device=states.device)
            for qubit in range(high - 1, low - 1, -1):
                one = factors[:, members[qubit]] if qubit in members else eye.expand(len(points), 2, 2)
                size = 2 * matrix.shape[1]
                # A Kronecker product; einsum would take several times as long on matrices this small.
                matrix = (matrix[:, :, None, :, None] * one[:, None, :, None, :]).reshape(-1, size, size)
            states = _apply_block(states, matrix, low, high)
        return states

    def add_gradient(self, states: Tensor, points: Tensor, out: Tensor) -> None:
        """See Kernel."""
        by_angle = torch.zeros_like(self.constant)
        for low, high, members in _blocks(self.qubits, self.num_qubits):
            shape = (states.shape[1], -1, 1 << (high - low), 1 << low)
            after, adjoint = states[0].reshape(shape), states[1].reshape(shape)
            cross = torch.einsum("blir,bljr->bij", adjoint.conj(), after).flatten(1)
            letters = "".join(self.letters[members[qubit]] for qubit in members)
            embedded = _embedded(letters, tuple(q - low for q in members), high - low, states.dtype, states.device)
            by_angle[:, list(members.values())] = (cross @ embedded.T).imag
        self.chain(by_angle, out)


@dataclass(frozen=True, eq=False)
class PauliKernel(_Rotating):
    """``exp(-i angle/2 P)`` of a product of Paulis."""

    flip: int
    phases: Tensor  # (B, N)

    def apply(self, states: Tensor, points: Tensor, *, inverse: bool = False) -> Tensor:
        """See Kernel."""
        half = 0.5 * self.angles(points)
        sine = torch.sin(half) if not inverse else -torch.sin(half)
        return torch.cos(half) * states - 1j * sine * self._pauli(states)

    def add_gradient(self, states: Tensor, points: Tensor, out: Tensor) -> None:
        """See Kernel."""
        self.chain((states[1].conj() * self._pauli(states[:1])[0]).sum(dim=1, keepdim=True).imag, out)

    def _pauli(self, states: Tensor) -> Tensor:
        return self.phases * flipped(states, self.flip)


@dataclass(frozen=True, eq=False)
class MonomialKernel(Kernel):
    """A permutation of amplitudes with phases."""

    source: Tensor  # (B, N)
    phases: Tensor  # (B, N)

    def apply(self, states: Tensor, points: Tensor, *, inverse: bool = False) -> Tensor:
        """See Kernel."""
        index = self.source.expand(states.shape)
        if inverse:
            return torch.empty_like(states).scatter_(2, index, self.phases.conj() * states)
        return self.phases * torch.gather(states, 2, index)


@dataclass(frozen=True, eq=False)
class UnitaryKernel(Kernel):
    """A fixed gate on few qubits."""

    qubits: tuple[int, ...]
    matrix: Tensor  # (B, 2^k, 2^k)

    def apply(self, states: Tensor, points: Tensor, *, inverse: bool = False) -> Tensor:
        """See Kernel."""
        matrix = self.matrix.mH if inverse else self.matrix
        size = states.shape[-1].bit_length() - 1
        axes = [2 + size - 1 - qubit for qubit in reversed(self.qubits)]
        tensor = states.reshape(*states.shape[:2], *(2,) * size).movedim(axes, list(range(2, 2 + len(axes))))
        moved = (matrix @ tensor.reshape(*states.shape[:2], matrix.shape[-1], -1)).reshape(tensor.shape)
        return moved.movedim(list(range(2, 2 + len(axes))), axes).reshape(states.shape)


def kernel(op: program.Op, num_qubits: int, dtype: torch.dtype, device: str) -> Kernel:
    """Return the kernel of one task's op (B = 1)."""
    real = torch.float64 if dtype == torch.complex128 else torch.float32

    def number(array: np.ndarray) -> Tensor:
        kind = dtype if np.iscomplexobj(array) else real
        return torch.as_tensor(np.array(array), device=device).to(kind)[None]

    match op:
        case program.Diagonal():
            constant = number(op.constant if op.constant is not None else np.zeros(0))
            return DiagonalKernel(op.parameters, number(op.generators), constant)
        case program.Product():
            angle = (op.parameters, number(op.slopes), number(op.constant))
            return ProductKernel(*angle, op.letters, op.qubits, num_qubits)
        case program.PauliRotation():
            angle = (op.parameters, number(op.slopes), number(op.constant))
            return PauliKernel(*angle, op.flip, number(op.phases))
        case program.Monomial():
            return MonomialKernel(torch.as_tensor(op.source, device=device)[None], number(op.phases))
        case program.Unitary():
            return UnitaryKernel(op.qubits, number(op.matrix))


def flipped(states: Tensor, mask: int) -> Tensor:
    """Return states[..., i ^ mask]."""
    if not mask:
        return states
    size = states.shape[-1].bit_length() - 1
    axes = [states.ndim - 1 + size - 1 - qubit for qubit in range(size) if mask >> qubit & 1]
    return states.reshape(*states.shape[:-1], *(2,) * size).flip(axes).reshape(states.shape)


def _apply_block(states: Tensor, matrix: Tensor, low: int, high: int) -> Tensor:
    """Apply (B, K, K) to qubits low..high-1 of (S, B, N)."""
    view = states.reshape(*states.shape[:2], -1, 1 << (high - low), 1 << low)
    if low == 0:
        result = view[..., 0] @ matrix.mT
    elif view.shape[2] == 1:
        result = matrix @ view[:, :, 0]
    else:
        result = torch.einsum("bij,sbljr->sblir", matrix, view)
    return result.reshape(states.shape)


@lru_cache(maxsize=256)
def _blocks(qubits: tuple[int, ...], size: int) -> list[tuple[int, int, dict[int, int]]]:
    """Return (low, high, {qubit: place in the op}) of blocks of near equal width that cover every rotated qubit."""
    count = -(-size // BLOCK)
    edges = [size * i // count for i in range(count + 1)]
    spans = []
    for low, high in pairwise(edges):
        members = {qubit: place for place, qubit in enumerate(qubits) if low <= qubit < high}
        if members:
            spans.append((low, high, members))
    return spans


@lru_cache(maxsize=256)
def _one_qubit(letters: str, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the (2, 2) identity and the (m, 2, 2) Paulis."""
    paulis = np.stack([_PAULI[letter] for letter in letters])
    return torch.eye(2, dtype=dtype, device=device), torch.as_tensor(paulis, device=device).to(dtype)


@lru_cache(maxsize=256)
def _embedded(letters: str, places: tuple[int, ...], width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return (m, 4^width): each Pauli on its place of a block, flattened."""
    rows = [
        np.kron(np.kron(np.eye(1 << (width - 1 - place)), _PAULI[letter]), np.eye(1 << place))
        for letter, place in zip(letters, places, strict=True)
    ]
    return torch.as_tensor(np.stack(rows).reshape(len(rows), -1), device=device).to(dtype)


def _static(value: object) -> Hashable:
    return tuple(value.shape[1:]) if isinstance(value, Tensor) else value
