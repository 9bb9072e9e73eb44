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

from qiskit_metainit.simulation import program
from qiskit_metainit.simulation.block_kernels import HadamardKernel, ProductKernel
from qiskit_metainit.simulation.kernel import Kernel, Prepared, Shared, Workspace, column_index, flipped, real_dot

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


def _turned(kernel: FlipKernel | PairKernel, points: Tensor) -> Prepared:
    """Return the cosines of the half angles, by the modulus of the weights, and the direction times their sines."""
    columns = points.index_select(1, column_index(kernel.parameters, points.device))
    angle = (kernel.slopes * columns).sum(dim=1, keepdim=True) + kernel.constant
    half = 0.5 * angle * kernel.modulus
    return torch.cos(half), torch.sin(half) * kernel.direction


@dataclass(frozen=True, eq=False)
class FlipKernel(Kernel):
    """``exp(-i angle/2 G)`` with ``(G psi)_i = weights_i psi_(i ^ flip)`` in a register."""

    parameters: tuple[int, ...]
    flip: int
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
        return _turned(self, points)

    def apply(
        self, states: Tensor, prepared: Prepared, *, inverse: bool = False, work: Workspace | None = None
    ) -> Tensor:
        """See Kernel."""
        moved = flipped(states, self.flip) * prepared[1]
        if work is None:
            return states * prepared[0] + (-moved if inverse else moved)
        return states.mul_(prepared[0]).add_(moved, alpha=-1 if inverse else 1)

    def add_gradient(self, pair: Tensor, prepared: Prepared, out: Tensor, work: Workspace) -> Tensor | None:
        """See Kernel."""
        moved = flipped(pair, self.flip)
        overlap = real_dot(pair[1], moved[0] * (self.direction * self.modulus))
        out.index_add_(1, column_index(self.parameters, out.device), overlap[:, None] * self.slopes)
        return pair.mul_(prepared[0]).sub_(moved.mul_(prepared[1]))


@dataclass(frozen=True, eq=False)
class PairKernel(Kernel):
    """The same in a sector, where G often leaves most amplitudes alone: on the M pairs that it mixes."""

    parameters: tuple[int, ...]
    first: Shared  # (M,) places
    second: Shared  # (M,) places of i ^ flip
    slopes: Tensor  # (B, J)
    constant: Tensor  # (B, 1)
    modulus: Tensor  # (B, M) or (B, 1): |weights|
    direction: Tensor  # (B, M): -i weights / |weights| of the first; that of the second is minus its conjugate

    @property
    def kept(self) -> int:
        """See Kernel."""
        return 12

    def prepare(self, points: Tensor, work: Workspace | None, slot: Hashable) -> Prepared:
        """Return the cosines (B, M) or (B, 1), and the direction times the sines (B, M)."""
        return _turned(self, points)

    def apply(
        self, states: Tensor, prepared: Prepared, *, inverse: bool = False, work: Workspace | None = None
    ) -> Tensor:
        """See Kernel."""
        places = self._places(states)
        first, second = (torch.gather(states, -1, place) for place in places)
        return _put(states, places, self._turned(first, second, prepared, inverse=inverse), work)

    def add_gradient(self, pair: Tensor, prepared: Prepared, out: Tensor, work: Workspace) -> Tensor | None:
        """See Kernel."""
        places = self._places(pair)
        first, second = (torch.gather(pair, -1, place) for place in places)
        weights = self.direction * self.modulus
        overlap = real_dot(first[1], second[0] * weights) - real_dot(second[1] * weights, first[0])
        out.index_add_(1, column_index(self.parameters, out.device), overlap[:, None] * self.slopes)
        return _put(pair, places, self._turned(first, second, prepared, inverse=True), work)

    def _places(self, states: Tensor) -> tuple[Tensor, Tensor]:
        shape = (*states.shape[:-1], -1)
        return self.first.index.expand(shape), self.second.index.expand(shape)

    def _turned(self, first: Tensor, second: Tensor, prepared: Prepared, *, inverse: bool) -> tuple[Tensor, Tensor]:
        cosine, sine = prepared
        sine = -sine if inverse else sine
        return torch.addcmul(first * cosine, second, sine), torch.addcmul(second * cosine, first, sine.conj(), value=-1)


def _put(
    states: Tensor, places: tuple[Tensor, Tensor], values: tuple[Tensor, Tensor], work: Workspace | None
) -> Tensor:
    """Return states with other values in some places, in place if there is a workspace."""
    for place, value in zip(places, values, strict=True):
        states = states.scatter(-1, place, value) if work is None else states.scatter_(-1, place, value)
    return states


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
                known[id(op.weights)] = _flip_parts(op, dtype, device)
            modulus, direction, *places = known[id(op.weights)]
            angle = number(op.slopes), number(np.array([op.constant]))
            if not places:
                return FlipKernel(op.parameters, op.flip, *angle, modulus, direction)
            first, second = map(Shared, places)
            return PairKernel(op.parameters, first, second, *angle, modulus, direction)
        case program.Monomial():
            return MonomialKernel(torch.as_tensor(op.source, device=device)[None], number(op.phases))
        case program.Unitary():
            return UnitaryKernel(op.qubits, number(op.matrix))


def observe(observable: program.Observable, dtype: torch.dtype, device: str) -> Observe:
    """Return the kernel of one task's Hamiltonian (B = 1)."""
    places = () if observable.partners is None else tuple(observable.partners)
    partners = tuple(Shared(torch.as_tensor(place, device=device)) for place in places)
    return Observe(observable.flips, partners, _number(observable.diagonals, dtype, device).to(dtype))


def _flip_parts(op: program.Flip, dtype: torch.dtype, device: str) -> tuple[Tensor, ...]:
    """Return the modulus and the direction, then the places of the pairs if it is in a sector."""
    weights = op.weights
    places: tuple[Tensor, ...] = ()
    if op.partner is not None:
        first = np.flatnonzero((weights != 0) & (op.partner > np.arange(op.partner.size)))
        weights = weights[first]
        places = tuple(torch.as_tensor(place, device=device) for place in (first, op.partner[first]))
    modulus = np.abs(weights)
    direction = np.divide(-1j * weights, modulus, out=np.zeros_like(weights), where=modulus > 0)
    constant = np.allclose(modulus, modulus[:1], rtol=1e-12, atol=0.0)
    return _number(modulus[:1] if constant else modulus, dtype, device), _number(direction, dtype, device), *places


def _imaginary(array: np.ndarray, dtype: torch.dtype, device: str) -> Tensor:
    result = torch.zeros(1, *array.shape, dtype=dtype, device=device)
    result.imag.copy_(torch.from_numpy(array))
    return result


def _number(array: np.ndarray | float, dtype: torch.dtype, device: str) -> Tensor:
    kind = dtype if np.iscomplexobj(array) else dtype.to_real()
    return torch.as_tensor(np.array(array), device=device).to(kind)[None]
