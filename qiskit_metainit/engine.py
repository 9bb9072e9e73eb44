"""The Engine contract, and how measured gradients join torch's autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from qiskit import QuantumCircuit
from torch import Tensor

from qiskit_metainit.budget import Budget
from qiskit_metainit.task import Task


@runtime_checkable
class Transpiler(Protocol):
    """What an estimator or sampler engine prepares its circuits with: any of Qiskit's pass managers, or the like."""

    def run(self, circuits: QuantumCircuit, /) -> QuantumCircuit:
        """Return the circuit as a backend runs it."""
        ...


@runtime_checkable
class Engine(Protocol):
    """Anything that answers with expectation values. Settings are keywords; an estimator or sampler comes first."""

    budget: Budget
    """Everything this engine has spent."""

    @property
    def order(self) -> int:
        """Derivatives offered: 0, 1 or 2."""
        ...

    def expectation(self, tasks: Sequence[Task], points: Float[Tensor, "B P"]) -> Float[Tensor, " B"]:
        """Return each task's ``<H>`` at its point.

        One call is one job for the whole batch.

        Args:
            tasks: B landscapes, of any mixture of circuits.
            points: (B, P) radians, P the largest in the call: row b uses its first ``num_parameters`` entries.

        Returns:
            (B,) in each Hamiltonian's units, differentiable up to ``order``; unused entries get zero gradient.

        Raises:
            ValueError: if the shapes do not fit or a point is not finite.
        """
        ...


def check_points(tasks: Sequence[Task], points: Tensor) -> None:
    """Raise a TypeError or ValueError unless ``points`` is a finite (B, P) floating tensor that serves every task."""
    if isinstance(tasks, Task) or not all(isinstance(task, Task) for task in tasks):
        kinds = (
            type(tasks).__name__ if isinstance(tasks, Task) else ", ".join(sorted({type(t).__name__ for t in tasks}))
        )
        raise TypeError(f"A list of tasks is needed, but {kinds} came. Make them with Task.qaoa(operator, reps=...).")
    if not isinstance(points, Tensor) or not points.is_floating_point():
        kind = points.dtype if isinstance(points, Tensor) else type(points).__name__
        raise TypeError(
            f"Points must be a floating torch tensor, but {kind} came. Use torch.as_tensor(points).double()."
        )
    needed = max((task.num_parameters for task in tasks), default=0)
    if not tasks:
        raise ValueError("At least one task is needed, but none came.")
    if points.ndim != 2 or points.shape[0] != len(tasks) or points.shape[1] < needed:
        raise ValueError(
            f"Points of shape ({len(tasks)}, {needed}) are needed (a row a task, the largest number of parameters "
            f"wide), but {tuple(points.shape)} came. Pad shorter rows with zeros."
        )
    if not torch.isfinite(points).all():
        row = int((~torch.isfinite(points)).any(dim=1).nonzero()[0])
        raise ValueError(f"Points must be finite, but row {row} is not: {points[row].tolist()}.")


def check_shots(shots: int | None) -> None:
    """Raise a ValueError unless ``shots`` is a positive integer or None."""
    if shots is not None and (not isinstance(shots, int | np.integer) or shots < 1):
        raise ValueError(f"shots must be a positive integer or None, but {shots!r} came.")


def rows_by_task(tasks: Sequence[Task]) -> dict[Task, list[int]]:
    """Return the rows of each distinct task, which share one circuit, in order of first appearance."""
    rows: dict[Task, list[int]] = {}
    for row, task in enumerate(tasks):
        rows.setdefault(task, []).append(row)
    return rows


def attach_gradient(
    points: Float[Tensor, "B P"],
    values: Float[Tensor, " B"],
    gradients: Float[Tensor, "B P"],
    again: Callable[[Tensor], Tensor] | None = None,
) -> Float[Tensor, " B"]:
    """Return ``values`` as a function of ``points`` whose derivative is ``gradients``, for autograd.

    Args:
        points: where the values were taken.
        values: of the function.
        gradients: of the function.
        again: the function itself, differentiable by autograd, for engines of order 2: it is called where a
            derivative of the gradient may be asked for (``create_graph=True``). Without it that is an error.
    """
    result: Tensor = _Measured.apply(points, values, gradients, again)  # type: ignore[no-untyped-call]
    return result


class _Measured(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, points: Tensor, values: Tensor, gradients: Tensor, again: Callable[[Tensor], Tensor] | None
    ) -> Tensor:
        ctx.save_for_backward(points, gradients)
        ctx.again = again
        return values.clone()

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None, None]:
        points, gradients = ctx.saved_tensors
        if not torch.is_grad_enabled():  # nobody will differentiate again
            gradient = outer[:, None] * gradients
        elif ctx.again is None:
            gradient = _Slope.apply(points, outer, gradients)  # type: ignore[no-untyped-call]
        else:
            (gradient,) = torch.autograd.grad(ctx.again(points), points, outer, create_graph=True)
        return gradient, None, None, None


class _Slope(torch.autograd.Function):
    """The derivative by the points, which must not pass for a constant where it is differentiated itself."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, outer: Tensor, gradients: Tensor) -> Tensor:
        return outer[:, None] * gradients

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[None, None, None]:
        raise RuntimeError(
            "Second derivatives are needed, but this engine offers first ones only (order = 1). Use the statevector "
            "engine, or detach the gradient."
        )
