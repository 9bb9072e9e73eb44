"""Exact expectation values of many circuits at once, with adjoint gradients, in torch."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal
from weakref import WeakKeyDictionary

import psutil
import torch
from jaxtyping import Float
from torch import Tensor

from qiskit_metainit.budget import Budget
from qiskit_metainit.engine import attach_gradient, check_points
from qiskit_metainit.kernels import Kernel, flipped, kernel
from qiskit_metainit.program import Program, compile_program
from qiskit_metainit.task import Task


class Statevector:
    """The exact engine: circuits are compiled once, and tasks of one skeleton run as one batch.

    Gradients come from the adjoint method (Jones and Gacon 2020, arXiv:2009.02823): one backward sweep
    whose memory does not grow with depth. Tasks of different sizes and circuits in one call are grouped.

    Args:
        precision: "double" (complex128) or "single" (complex64: faster, about 1e-6 relative).
        device: a torch device name.
        memory: bytes it may use; by default 80% of what the machine has free. Large batches run in parts; a single
            task that does not fit is refused.

    >>> from qiskit.quantum_info import SparsePauliOp
    >>> task = Task.qaoa(SparsePauliOp("ZZ"), reps=1)
    >>> point = torch.tensor([[torch.pi / 8, -torch.pi / 4]], dtype=torch.float64)
    >>> print(round(Statevector().expectation([task], point).item(), 6))
    -1.0
    """

    order = 1

    def __init__(
        self, *, precision: Literal["double", "single"] = "double", device: str = "cpu", memory: int | None = None
    ) -> None:
        if precision not in ("double", "single"):
            raise ValueError(f"precision must be 'double' or 'single', but {precision!r} came.")
        self.precision = precision
        self.device = device
        self.memory = memory
        self.budget = Budget()
        self._compiled: WeakKeyDictionary[Task, _Batch] = WeakKeyDictionary()
        self._last: tuple[tuple[Task, ...], list[tuple[Tensor, _Batch]]] | None = None

    def expectation(self, tasks: Sequence[Task], points: Float[Tensor, "B P"]) -> Float[Tensor, " B"]:
        """Return each task's ``<H>``; see ``Engine.expectation``.

        Raises:
            ValueError: if shapes do not fit, a point is not finite, or a circuit is not unitary with affine angles.
            MemoryError: if a single task needs more memory than there is, with the number of bytes.
        """
        check_points(tasks, points)
        wants_gradient = points.requires_grad and torch.is_grad_enabled()
        raw = points.detach().to(self.device, torch.float64 if self.precision == "double" else torch.float32)
        values = raw.new_empty(len(tasks))
        gradients = torch.zeros_like(raw)
        for rows, batch in self._batches(tuple(tasks)):
            values[rows] = batch.run(raw[rows], gradients if wants_gradient else None, rows)
        self.budget.add(jobs=1, circuits=len(tasks), gradients=len(tasks) if wants_gradient else 0)
        values = values.to(points.device, points.dtype)
        if not wants_gradient:
            return values
        return attach_gradient(points, values, gradients.to(points.device, points.dtype))

    def _batches(self, tasks: tuple[Task, ...]) -> list[tuple[Tensor, _Batch]]:
        # A rollout asks for the same tasks again and again: keep the last stack.
        last = self._last
        if last and len(last[0]) == len(tasks) and all(a is b for a, b in zip(last[0], tasks, strict=True)):
            return last[1]
        compiled = [self._compile(task) for task in tasks]
        groups: dict[Hashable, list[int]] = {}
        for row, batch in enumerate(compiled):
            groups.setdefault(batch.key, []).append(row)
        batches = []
        for rows in groups.values():
            part = max(1, self._available() // compiled[rows[0]].bytes)
            for start in range(0, len(rows), part):
                chunk = rows[start : start + part]
                index = torch.tensor(chunk, device=self.device)
                batches.append((index, _Batch.stack([compiled[row] for row in chunk])))
        self._last = (tasks, batches)
        return batches

    def _available(self) -> int:
        return available_memory(self.device) if self.memory is None else self.memory

    def _compile(self, task: Task) -> _Batch:
        if task not in self._compiled:
            # The state, its adjoint, their images, the initial state and two diagonals are the least any circuit takes.
            needed = (1 << int(task.circuit.num_qubits)) * (16 if self.precision == "double" else 8) * 6
            if needed > self._available():
                raise MemoryError(
                    f"An exact simulation of {task.circuit.num_qubits} qubits needs at least {needed:,} bytes, but "
                    f"{self._available():,} are available. Use an estimator engine such as parameter_shift, or "
                    "precision='single', or raise memory=."
                )
            dtype = torch.complex128 if self.precision == "double" else torch.complex64
            program = compile_program(task.circuit, task.hamiltonian)
            self._compiled[task] = _Batch.of(program, dtype, self.device)
        return self._compiled[task]


def available_memory(device: str = "cpu") -> int:
    """Return 80% of the bytes that are available on this machine, or on a CUDA device."""
    if device.startswith("cuda"):
        return int(0.8 * torch.cuda.mem_get_info(device)[0])
    return int(0.8 * psutil.virtual_memory().available)


@dataclass(frozen=True, eq=False)
class _Batch:
    """B compiled tasks of one skeleton."""

    key: Hashable
    initial: Tensor  # (B, N)
    kernels: tuple[Kernel, ...]
    flips: tuple[int, ...]
    diagonals: Tensor  # (B, number of flips, N)

    @classmethod
    def of(cls, program: Program, dtype: torch.dtype, device: str) -> _Batch:
        """Compile one task; what comes before the first parameter is run here, once."""
        kernels = [kernel(op, program.num_qubits, dtype, device) for op in program.ops]
        initial = torch.zeros(1, 1, 1 << program.num_qubits, dtype=dtype, device=device)
        initial[..., 0] = 1.0
        nothing = torch.zeros(1, 0, dtype=initial.real.dtype, device=device)
        while kernels and not getattr(kernels[0], "parameters", ()):
            initial = kernels.pop(0).apply(initial, nothing)
        diagonals = torch.as_tensor(program.observable.diagonals, device=device)[None]
        diagonals = diagonals.to(dtype if diagonals.is_complex() else initial.real.dtype)
        flips = program.observable.flips
        key = (program.num_qubits, flips, *(k.key for k in kernels))
        return cls(key, initial[0], tuple(kernels), flips, diagonals)

    @classmethod
    def stack(cls, batches: Sequence[_Batch]) -> _Batch:
        """Return all the tasks as one batch."""
        first = batches[0]
        if len(batches) == 1:
            return first
        columns = zip(*(batch.kernels for batch in batches), strict=True)
        kernels = tuple(type(column[0]).stack(column) for column in columns)
        initial = torch.cat([batch.initial for batch in batches])
        return cls(first.key, initial, kernels, first.flips, torch.cat([batch.diagonals for batch in batches]))

    @property
    def bytes(self) -> int:
        """Memory of one task in a batch: what is stacked, and the states in flight."""
        stacked = [self.initial, self.diagonals]
        stacked += [value for k in self.kernels for value in vars(k).values() if isinstance(value, Tensor)]
        size = self.initial.element_size() * self.initial.shape[1]
        return sum(value.nbytes for value in stacked) // len(self.initial) + 6 * size

    def run(self, points: Tensor, gradients: Tensor | None, rows: Tensor) -> Tensor:
        """Return (B,) values; add to rows of the gradients (all tasks, P) if given."""
        states = self.initial[None]
        for step in self.kernels:
            states = step.apply(states, points)
        images = self._observe(states)
        values = (states[0].conj() * images[0]).sum(dim=1).real
        if gradients is None:
            return values
        out = torch.zeros_like(points)
        pair = torch.cat([states, images])
        for place, step in reversed(list(enumerate(self.kernels))):
            step.add_gradient(pair, points, out)
            if place:
                pair = step.apply(pair, points, inverse=True)
        gradients[rows] = out
        return values

    def _observe(self, states: Tensor) -> Tensor:
        parts = [self.diagonals[:, row] * flipped(states, flip) for row, flip in enumerate(self.flips)]
        return torch.stack(parts).sum(dim=0) if len(parts) > 1 else parts[0]
