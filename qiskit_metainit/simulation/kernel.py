"""What runs one op of a program on a batch of states, in torch.

Shapes: B tasks, N amplitudes, P parameters. States are (S, B, N): S = 1 on the way forward, S = 2 on the way back,
where the state and its adjoint travel together. With a ``Workspace`` a kernel works in place; without one it is a plain
function that autograd can differentiate.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, Self

import torch
from torch import Tensor

Prepared = tuple[Tensor, ...]
"""What a kernel makes of the points once, for the way there and back."""


class Workspace:
    """Memory that is used again and again: fresh memory for every result would cost more than the arithmetic."""

    def __init__(self) -> None:
        self._flat: dict[Hashable, Tensor] = {}
        self._views: dict[tuple[Hashable, Hashable], Tensor] = {}

    def tensor(self, name: Hashable, shape: Sequence[int], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Return an uninitialised tensor, the same memory at each call for a name."""
        dtype = dtype or like.dtype
        key = (name, dtype, like.device)
        view = self._views.get((key, shape))
        if view is None:
            flat, size = self._flat.get(key), math.prod(shape)
            if flat is None or flat.numel() < size:
                self._views = {known: old for known, old in self._views.items() if known[0] != key}
                flat = self._flat[key] = torch.empty(size, dtype=dtype, device=like.device)
            view = self._views[key, shape] = flat[:size].view(*shape)
        return view

    def real(self, states: Tensor, shape: Sequence[int]) -> Tensor:
        """Return states as real numbers in another shape; views of this memory are made once."""
        for name in (0, 1):
            own = self._views.get(((name, states.dtype, states.device), states.shape))
            if own is states:
                key = ((name, states.dtype, states.device), (states.shape, shape))
                view = self._views.get(key)
                if view is None:
                    view = self._views[key] = torch.view_as_real(states).view(shape)
                return view
        return torch.view_as_real(states).reshape(shape)

    def other(self, states: Tensor, shape: Sequence[int] | None = None) -> Tensor:
        """Return one of two tensors of that shape, by default the same, which does not overlap these states."""
        first = self.tensor(0, shape or states.shape, states)
        return self.tensor(1, first.shape, states) if states.data_ptr() == first.data_ptr() else first


@dataclass(frozen=True, eq=False)
class Shared:
    """An index that all tasks of a skeleton share."""

    index: Tensor

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shared) and torch.equal(self.index, other.index)

    def __hash__(self) -> int:
        return hash(tuple(self.index.flatten()[:8].tolist()))


@dataclass(frozen=True, eq=False)
class Kernel(ABC):
    """One op of B tasks. Tensors carry a leading B; every other field is the same for all of them."""

    @property
    def key(self) -> Hashable:
        """What two tasks must share to be stacked."""
        return (type(self).__name__, *(_static(getattr(self, field.name)) for field in fields(self)))

    @classmethod
    def stack(cls, kernels: Sequence[Self], known: dict[tuple[int, ...], Tensor]) -> Self:
        """Return one kernel of all the tasks; tensors that several ops of a task share stay shared."""
        columns = {field.name: [getattr(kernel, field.name) for kernel in kernels] for field in fields(cls)}
        for column in columns.values():
            if isinstance(column[0], Tensor) and (key := tuple(map(id, column))) not in known:
                same = len(set(key)) == 1  # one task, many points
                known[key] = column[0].expand(len(column), *column[0].shape[1:]) if same else torch.cat(column)
        return cls(**{n: known[tuple(map(id, c))] if isinstance(c[0], Tensor) else c[0] for n, c in columns.items()})

    def renumbered(self, places: Sequence[int]) -> Self:
        """Return this op driven by parameter ``places[j]`` wherever it was by j; tensors are shared."""
        known = getattr(self, "parameters", ())
        new: Any = {"parameters": tuple(places[parameter] for parameter in known)}
        return replace(self, **new) if known else self

    @property
    def kept(self) -> int:
        """About the states that autograd keeps for a derivative of the gradient by this op."""
        return 2

    def prepare(self, points: Tensor, work: Workspace | None, slot: Hashable) -> Prepared:
        """Return what the other methods need of the points (B, P), in memory of that slot if there is a workspace."""
        return ()

    @abstractmethod
    def apply(
        self, states: Tensor, prepared: Prepared, *, inverse: bool = False, work: Workspace | None = None
    ) -> Tensor:
        """Return U states, or U^-1 states; with a workspace, states (S, B, N) are of it and may be overwritten."""

    def add_gradient(self, pair: Tensor, prepared: Prepared, out: Tensor, work: Workspace) -> Tensor | None:
        """Add the derivative of ``<H>`` by this op's parameters to out (B, P).

        Args:
            pair: (2, B, N), the state after this op and H applied to the final state, carried back to here.
            prepared: of the points.
            out: (B, P).
            work: memory to work in.

        Returns:
            The pair before the op, if that came along the way: pair may be overwritten then.
        """
        return None


def real_dot(left: Tensor, right: Tensor, spare: Tensor | None = None) -> Tensor:
    """Return (B,) ``Re <left|right>`` of (B, N) states; summing real products is faster than a complex dot."""
    out = None if spare is None else torch.view_as_real(spare)
    return torch.mul(torch.view_as_real(left), torch.view_as_real(right), out=out).flatten(1).sum(dim=1)


def flipped(states: Tensor, mask: int, partner: Shared | None = None) -> Tensor:
    """Return states[..., i ^ mask], in a sector by the place of i ^ mask."""
    if not mask:
        return states
    if partner is not None:
        return torch.gather(states, -1, partner.index.expand(states.shape))  # index_select takes ten times as long
    size = states.shape[-1].bit_length() - 1
    axes = [states.ndim - 1 + size - 1 - qubit for qubit in range(size) if mask >> qubit & 1]
    return states.reshape(*states.shape[:-1], *(2,) * size).flip(axes).reshape(states.shape)


@lru_cache(maxsize=256)
def column_index(columns: tuple[int, ...], device: torch.device) -> Tensor:
    """Return the columns as an index."""
    return torch.tensor(columns, dtype=torch.long, device=device)


def _static(value: object) -> Hashable:
    return tuple(value.shape[1:]) if isinstance(value, Tensor) else value
