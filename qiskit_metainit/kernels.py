"""The kernels of a program's ops, but for those in blocks.

B tasks, N amplitudes, J parameters of an op, F flips of a Hamiltonian.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from qiskit_metainit import program
from qiskit_metainit.block_kernels import HadamardKernel, ProductKernel
from qiskit_metainit.kernel import Kernel, Prepared, Shared, Workspace, column_index, flipped, real_dot

Known = dict[int, tuple[Tensor, ...]]
"""Tensors that were made of an array, by the array's id."""


@dataclass(frozen=True, eq=False)
class DiagonalKernel(Kernel):
    """``exp(-i (sum_j theta_j g_j + g))``."""

    parameters: tuple[int, ...]
    generators: Tensor  # (B, J, N), -i g_j: complex, since a product of a real and a complex tensor is slow
    constant: Tensor  # (B, N), or (B, 0) for none

    @property
    def kept(self) -> int:
        """See Kernel."""
        return 12

    def prepare(self, points: Tensor, work: Workspace | None, slot: Hashable) -> Prepared:
        """Return the (B, N) phases."""
        shape = (self.generators.shape[0], self.generators.shape[2])
        phase, cosine = (None if work is None else work.tensor(name, shape, points) for name in ("phase", "cosine"))
        angle = -self.constant if self.constant.shape[1] else None
        for parameter, minus in zip(self.parameters, self._minus, strict=True):
            column = points.select(1, parameter)[:, None]
            if angle is None:
                angle = torch.mul(minus, column, out=phase)
            else:
                angle = torch.addcmul(angle, minus, column, out=phase)
        assert angle is not None
        real = torch.cos(angle, out=cosine)
        factor = None if work is None else work.tensor((slot, "factor"), shape, self.generators)
        return (torch.complex(real, torch.sin(angle, out=phase), out=factor),)  # torch.polar takes five times as long

    def apply(
        self, states: Tensor, prepared: Prepared, *, inverse: bool = False, work: Workspace | None = None
    ) -> Tensor:
        """See Kernel."""
        (factor,) = prepared
        if work is None:
            return states * (factor.conj() if inverse else factor)
        if inverse:
            factor = torch.conj_physical(factor, out=factor)  # nobody needs it after the way back
        return states.mul_(factor)

    def add_gradient(self, pair: Tensor, prepared: Prepared, out: Tensor, work: Workspace) -> Tensor | None:
        """See Kernel."""
        spare = work.other(pair)
        for parameter, generator in zip(self.parameters, self._each, strict=True):
            weighted = torch.mul(pair[0], generator, out=spare[0])
            out.select(1, parameter).add_(real_dot(pair[1], weighted, spare[1]), alpha=2.0)
        return None

    @cached_property
    def _each(self) -> tuple[Tensor, ...]:
        return self.generators.unbind(1)

    @cached_property
    def _minus(self) -> list[Tensor]:
        return [generator.imag for generator in self._each]


@dataclass(frozen=True, eq=False)
class FlipKernel(Kernel):
    """``exp(-i angle/2 G)`` with ``(G psi)_i = weights_i psi_(i ^ flip)``."""

    parameters: tuple[int, ...]
    flip: int
    partner: Shared | None
    slopes: Tensor  # (B, J)
    constant: Tensor  # (B, 1)
    modulus: Tensor  # (B, N) or (B, 1): |weights|
    direction: Tensor  # (B, N): -i weights / |weights|, 0 where the weight is

    @property
    def kept(self) -> int:
        """See Kernel."""
        return 12

    def prepare(self, points: Tensor, work: Workspace | None, slot: Hashable) -> Prepared:
        """Return the cosines (B, N) or (B, 1), and the direction times the sines (B, N)."""
        columns = points.index_select(1, column_index(self.parameters, points.device))
        angle = (self.slopes * columns).sum(dim=1, keepdim=True) + self.constant
        half = 0.5 * angle * self.modulus
        return torch.cos(half), torch.sin(half) * self.direction

    def apply(
        self, states: Tensor, prepared: Prepared, *, inverse: bool = False, work: Workspace | None = None
    ) -> Tensor:
        """See Kernel."""
        moved = flipped(states, self.flip, self.partner) * prepared[1]
        if work is None:
            return states * prepared[0] + (-moved if inverse else moved)
        return states.mul_(prepared[0]).add_(moved, alpha=-1 if inverse else 1)

    def add_gradient(self, pair: Tensor, prepared: Prepared, out: Tensor, work: Workspace) -> Tensor | None:
        """See Kernel."""
        moved = flipped(pair, self.flip, self.partner)
        overlap = real_dot(pair[1], moved[0] * (self.direction * self.modulus))
        out.index_add_(1, column_index(self.parameters, out.device), overlap[:, None] * self.slopes)
        return pair.mul_(prepared[0]).sub_(moved.mul_(prepared[1]))


@dataclass(frozen=True, eq=False)
class MonomialKernel(Kernel):
    """A permutation of amplitudes with phases."""

    source: Tensor  # (B, N)
    phases: Tensor  # (B, N)

    def apply(
        self, states: Tensor, prepared: Prepared, *, inverse: bool = False, work: Workspace | None = None
    ) -> Tensor:
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

    def apply(
        self, states: Tensor, prepared: Prepared, *, inverse: bool = False, work: Workspace | None = None
    ) -> Tensor:
        """See Kernel."""
        matrix = self.matrix.mH if inverse else self.matrix
        size = states.shape[-1].bit_length() - 1
        axes = [2 + size - 1 - qubit for qubit in reversed(self.qubits)]
        front = list(range(2, 2 + len(axes)))
        tensor = states.reshape(*states.shape[:2], *(2,) * size).movedim(axes, front)
        moved = (matrix @ tensor.reshape(*states.shape[:2], matrix.shape[-1], -1)).reshape(tensor.shape)
        return moved.movedim(front, axes).reshape(states.shape)


@dataclass(frozen=True, eq=False)
class Observe(Kernel):
    """The Hamiltonian, as one diagonal a flip mask."""

    flips: tuple[int, ...]
    partners: tuple[Shared, ...]  # one a flip, or none in a register
    diagonals: Tensor  # (B, F, N) complex

    def apply(
        self,
        states: Tensor,
        prepared: Prepared,
        *,
        inverse: bool = False,
        work: Workspace | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """Return H states."""
        moved = flipped(states, self.flips[0], self.partners[0] if self.partners else None)
        total = torch.mul(self.diagonals[:, 0], moved, out=out)
        for row, flip in enumerate(self.flips[1:], start=1):
            moved = flipped(states, flip, self.partners[row] if self.partners else None)
            total = torch.addcmul(total, self.diagonals[:, row], moved, out=out)
        return total


def kernel(op: program.Op, num_qubits: int, dtype: torch.dtype, device: str, known: Known) -> Kernel:
    """Return the kernel of one task's op (B = 1); ``known`` tensors, by the id of their array, are shared."""

    def number(array: np.ndarray | float) -> Tensor:
        return _number(array, dtype, device)

    match op:
        case program.Diagonal():
            shift = number(op.constant if op.constant is not None else np.zeros(0))
            if id(op.generators) not in known:
                known[id(op.generators)] = (_imaginary(-op.generators, dtype, device),)
            (generators,) = known[id(op.generators)]
            return DiagonalKernel(op.parameters, generators, shift)
        case program.Hadamard():
            return HadamardKernel(op.mask, num_qubits, number(np.zeros(0)))
        case program.Product():
            angles = number(op.slopes), number(op.constant)
            return ProductKernel(op.parameters, op.letters, op.qubits, num_qubits, *angles)
        case program.Flip():
            if id(op.weights) not in known:
                modulus = np.abs(op.weights)
                direction = np.divide(-1j * op.weights, modulus, out=np.zeros_like(op.weights), where=modulus > 0)
                constant = np.allclose(modulus, modulus[:1], rtol=1e-12, atol=0.0)
                known[id(op.weights)] = number(modulus[:1] if constant else modulus), number(direction)
            angle = number(op.slopes), number(np.array([op.constant]))
            partner = None if op.partner is None else Shared(torch.as_tensor(op.partner, device=device))
            return FlipKernel(op.parameters, op.flip, partner, *angle, *known[id(op.weights)])
        case program.Monomial():
            return MonomialKernel(torch.as_tensor(op.source, device=device)[None], number(op.phases))
        case program.Unitary():
            return UnitaryKernel(op.qubits, number(op.matrix))


def observe(observable: program.Observable, dtype: torch.dtype, device: str) -> Observe:
    """Return the kernel of one task's Hamiltonian (B = 1)."""
    places = () if observable.partners is None else tuple(observable.partners)
    partners = tuple(Shared(torch.as_tensor(place, device=device)) for place in places)
    return Observe(observable.flips, partners, _number(observable.diagonals, dtype, device).to(dtype))


def _imaginary(array: np.ndarray, dtype: torch.dtype, device: str) -> Tensor:
    result = torch.zeros(1, *array.shape, dtype=dtype, device=device)
    result.imag.copy_(torch.from_numpy(array))
    return result


def _number(array: np.ndarray | float, dtype: torch.dtype, device: str) -> Tensor:
    kind = dtype if np.iscomplexobj(array) else dtype.to_real()
    return torch.as_tensor(np.array(array), device=device).to(kind)[None]
