"""Exact expectation values of many circuits at once, with adjoint gradients, in torch."""

from __future__ import annotations

import functools
import threading
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakKeyDictionary

import psutil
import torch
from jaxtyping import Float
from torch import Tensor

from qiskit_metainit.budget import Budget
from qiskit_metainit.engine import attach_gradient, check_points
from qiskit_metainit.features import Terms
from qiskit_metainit.simulation.compiler import Plan
from qiskit_metainit.simulation.kernel import Kernel, Prepared, Workspace, real_dot
from qiskit_metainit.simulation.kernels import Known, Observe, kernel, observe
from qiskit_metainit.simulation.program import Program
from qiskit_metainit.task import Task

_Rows = slice | Tensor
"""Rows of a call."""
_STATES = 6  # of one task in flight: the state, its adjoint, a spare of each, and phases
_CACHED = 1 << 16  # amplitudes of a part: with the adjoint and spares, what a core's cache holds
_KEPT = 1 << 25  # bytes of phases kept from the way there for the way back


class Statevector:
    """The exact engine: circuits are compiled once, and tasks of one skeleton run as one batch.

    Gradients come from the adjoint method (Jones and Gacon 2020, arXiv:2009.02823): one backward sweep
    whose memory does not grow with depth. Where a derivative of the gradient may be asked for
    (``create_graph=True``), the circuits run once more with everything kept for autograd, so memory does grow with
    depth there. Tasks of different sizes and circuits in one call are grouped. Calls from several threads wait for
    each other.

    Args:
        precision: "double" (complex128) or "single" (complex64: faster; errors of about 1e-6 times the largest phase,
            an angle times the norm of what it drives).
        device: a torch device name.
        memory: bytes it may use; by default 80% of what the machine has free. Large batches run in parts; a single
            task that does not fit is refused.

    >>> from qiskit.quantum_info import SparsePauliOp
    >>> task = Task.qaoa(SparsePauliOp("ZZ"), reps=1)
    >>> point = torch.tensor([[torch.pi / 8, -torch.pi / 4]], dtype=torch.float64)
    >>> print(round(Statevector().expectation([task], point).item(), 6))
    -1.0
    """

    order = 2

    def __init__(
        self, *, precision: Literal["double", "single"] = "double", device: str = "cpu", memory: int | None = None
    ) -> None:
        if precision not in ("double", "single"):
            raise ValueError(f"precision must be 'double' or 'single', but {precision!r} came.")
        self.precision = precision
        self.device = device
        self.memory = memory
        self.budget = Budget()
        self._compiled: WeakKeyDictionary[Task | Terms, _Batch] = WeakKeyDictionary()
        self._work = Workspace()
        self._lock = threading.RLock()
        self._last: tuple[tuple[Task, ...], list[tuple[_Rows, _Batch]]] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Return settings and ledger for copies and pickles: what is compiled is compiled again where it is used."""
        made = functools.partial(Statevector, precision=self.precision, device=self.device, memory=self.memory)
        return made, (), {"budget": self.budget}

    def expectation(self, tasks: Sequence[Task], points: Float[Tensor, "B P"]) -> Float[Tensor, " B"]:
        """Return each task's ``<H>``; see ``Engine.expectation``.

        Raises:
            ValueError: if shapes do not fit, a point is not finite, or a circuit is not unitary with affine angles.
            MemoryError: if a single task needs more memory than there is, with the number of bytes.
        """
        check_points(tasks, points)
        wants_gradient = points.requires_grad and torch.is_grad_enabled()
        # What is kept between calls must serve calls in any mode, from any thread.
        with self._lock, torch.inference_mode(mode=False), torch.no_grad():
            raw = points.detach().to(self.device, self._dtype.to_real())
            raw = raw.clone() if raw.is_inference() else raw
            values = raw.new_empty(len(tasks))
            gradients = torch.zeros_like(raw)
            for rows, batch in self._batches(tuple(tasks)):
                values[rows] = batch.run(raw[rows], gradients if wants_gradient else None, rows, self._work)
        self.budget.add(jobs=1, circuits=len(tasks), gradients=len(tasks) if wants_gradient else 0)
        values = values.to(points.device, points.dtype)
        if not wants_gradient:
            return values
        again = functools.partial(self._values, tuple(tasks))
        return attach_gradient(points, values, gradients.to(points.device, points.dtype), again)

    def _values(self, tasks: tuple[Task, ...], points: Tensor) -> Tensor:
        """Return the values once more, as plain operations on the points that autograd keeps."""
        raw = points.to(self.device, self._dtype.to_real())
        with self._lock, torch.no_grad():
            parts = self._batches(tasks)
        kept = sum(batch.initial.nbytes * sum(step.kept for step in batch.kernels) for _, batch in parts)
        self._check(kept, "A derivative of the gradient of", max(tasks, key=lambda task: task.hamiltonian.num_qubits))
        values = torch.cat([batch.values(raw[rows]) for rows, batch in parts])
        order = torch.cat([torch.arange(len(tasks), device=self.device)[rows] for rows, _ in parts]).argsort()
        self.budget.add(circuits=len(tasks), gradients=len(tasks))
        return values[order].to(points.device, points.dtype)

    def _batches(self, tasks: tuple[Task, ...]) -> list[tuple[_Rows, _Batch]]:
        # A rollout asks for the same tasks again and again: keep the last stack.
        last = self._last
        if last and len(last[0]) == len(tasks) and all(a is b for a, b in zip(last[0], tasks, strict=True)):
            return last[1]
        compiled = [self._compile(task) for task in tasks]
        groups: dict[tuple[Hashable, int | None], list[int]] = {}
        for row, (task, batch) in enumerate(zip(tasks, compiled, strict=True)):
            groups.setdefault((batch.key, _layers(task)), []).append(row)
        batches = []
        for (_, layers), rows in groups.items():
            first = compiled[rows[0]]
            part = self._available() // first.bytes
            if self.device == "cpu":
                part = min(part, _CACHED // first.amplitudes)
            part = max(1, part)
            for start in range(0, len(rows), part):
                chunk = rows[start : start + part]
                whole = chunk[-1] - chunk[0] == len(chunk) - 1
                index = slice(chunk[0], chunk[-1] + 1) if whole else torch.tensor(chunk, device=self.device)
                batch = _Batch.stack([compiled[row] for row in chunk])
                batches.append((index, batch if layers is None else batch.repeated(layers)))
        self._last = (tasks, batches)
        return batches

    @property
    def _dtype(self) -> torch.dtype:
        return torch.complex128 if self.precision == "double" else torch.complex64

    def _available(self) -> int:
        return available_memory(self.device) if self.memory is None else self.memory

    def _compile(self, task: Task) -> _Batch:
        """Return a compiled task, or one layer of it if the others are like it."""
        layered = _layers(task) is not None
        key = task.features.terms if layered else task  # the depths of one Hamiltonian share the graph of its terms
        if key not in self._compiled:
            one = task.with_reps(1) if layered else task
            plan = Plan.of(one.circuit, one.hamiltonian)
            # The least it can be, before anything is built, and then what it is.
            self._check(
                (1 << plan.num_qubits) * self._dtype.itemsize * (_STATES + plan.held), "An exact simulation of", task
            )
            batch = _Batch.of(plan.program(), self._dtype, self.device)
            self._check(batch.bytes, "An exact simulation of", task)
            self._compiled[key] = batch
        return self._compiled[key]

    def _check(self, needed: int, what: str, task: Task) -> None:
        if needed > self._available():  # what is kept for later calls may be what stands in the way
            self._compiled, self._last, self._work = WeakKeyDictionary(), None, Workspace()
        if needed > self._available():
            raise MemoryError(
                f"{what} {task.hamiltonian.num_qubits} qubits needs at least {needed:,} bytes, but "
                f"{self._available():,} are available. Use an estimator engine such as parameter_shift, or "
                "precision='single', or raise memory=."
            )


def available_memory(device: str = "cpu") -> int:
    """Return 80% of the bytes that are available on this machine, or on a CUDA device."""
    if device.startswith("cuda"):
        return int(0.8 * torch.cuda.mem_get_info(device)[0])
    return int(0.8 * psutil.virtual_memory().available)


def _layers(task: Task) -> int | None:
    """Return how often a task repeats a layer that may be compiled by itself, or None if there is no such layer."""
    return task.features.reps if task.standard and task.features.diagonal else None


@dataclass(frozen=True, eq=False)
class _Batch:
    """B compiled tasks of one skeleton."""

    key: Hashable
    initial: Tensor  # (B, N)
    kernels: tuple[Kernel, ...]
    observe: Observe

    @classmethod
    def of(cls, program: Program, dtype: torch.dtype, device: str) -> _Batch:
        """Return one task."""
        known: Known = {}
        kernels = [kernel(op, program.num_qubits, dtype, device, known) for op in program.ops]
        initial = torch.as_tensor(program.initial, device=device).to(dtype)[None]
        nothing = torch.zeros(1, 0, dtype=dtype.to_real(), device=device)
        while kernels and not getattr(kernels[0], "parameters", ()):  # what comes first is run here, once
            first = kernels.pop(0)
            initial = first.apply(initial[None], first.prepare(nothing, None, None))[0]
        last = observe(program.observable, dtype, device)
        return cls((initial.shape[1], last.key, *(k.key for k in kernels)), initial, tuple(kernels), last)

    @classmethod
    def stack(cls, batches: Sequence[_Batch]) -> _Batch:
        """Return all the tasks as one batch."""
        first = batches[0]
        if len(batches) == 1:
            return first
        columns = zip(*((*batch.kernels, batch.observe) for batch in batches), strict=True)
        known: dict[tuple[int, ...], Tensor] = {}
        *kernels, last = (type(column[0]).stack(column, known) for column in columns)
        initial = torch.cat([batch.initial for batch in batches])
        return cls(first.key, initial, tuple(kernels), last)

    def repeated(self, times: int) -> _Batch:
        """Return a layer of QAOA, whose parameters are beta and gamma, so many times; the layers share tensors."""
        layers = [
            kernel.renumbered(tuple(times * parameter + layer for parameter in range(2)))
            for layer in range(times)
            for kernel in self.kernels
        ]
        return _Batch((self.key, times), self.initial, tuple(layers), self.observe)

    @property
    def amplitudes(self) -> int:
        """N."""
        return int(self.initial.shape[1])

    @property
    def bytes(self) -> int:
        """Memory of one task in a batch: what is stacked, and the states in flight."""
        held = {id(value): value for k in (*self.kernels, self.observe) for value in vars(k).values()}
        stacked = [self.initial, *(value for value in held.values() if isinstance(value, Tensor))]
        size = self.initial.element_size() * self.amplitudes
        return sum(value.nbytes for value in stacked) // len(self.initial) + _STATES * size

    def values(self, points: Tensor) -> Tensor:
        """Return (B,) values by plain operations, which autograd can differentiate any number of times."""
        states = self.initial[None]
        for step in self.kernels:
            states = step.apply(states, step.prepare(points, None, None))
        return real_dot(states[0], self.observe.apply(states, ())[0])

    def run(self, points: Tensor, gradients: Tensor | None, rows: _Rows, work: Workspace) -> Tensor:
        """Return (B,) values; add to rows of the gradients (all tasks, P) if given."""
        pair_shape = (1 if gradients is None else 2, *self.initial.shape)
        for name in (0, 1):  # so that both are of their final size before the first view of them
            work.tensor(name, pair_shape, self.initial)
        states = work.tensor(0, (1, *self.initial.shape), self.initial).copy_(self.initial)
        keep = gradients is not None and states.nbytes * len(self.kernels) <= _KEPT
        kept: dict[int, Prepared] = {}
        for place, step in enumerate(self.kernels):
            ready = step.prepare(points, work, place if keep else None)
            states = step.apply(states, ready, work=work)
            if keep:
                kept[place] = ready
        if gradients is None:
            return real_dot(states[0], self.observe.apply(states, (), work=work)[0])
        pair = work.other(states, pair_shape)
        pair[:1].copy_(states)
        self.observe.apply(states, (), work=work, out=pair[1:])
        values = real_dot(pair[0], pair[1])
        out = torch.zeros_like(points)
        for place, step in reversed(list(enumerate(self.kernels))):
            ready = kept[place] if keep else step.prepare(points, work, None)
            undone = step.add_gradient(pair, ready, out, work)
            if place:
                pair = step.apply(pair, ready, inverse=True, work=work) if undone is None else undone
        gradients[rows] = out
        return values
