"""The local optimum below a point, and the best point of many tasks, by L-BFGS-B with exact gradients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.rollout import normalised_cost
from qiskit_metainit.task import Task

Array = NDArray[np.float64]


def descend(engine: Statevector, task: Task, point: Array, *, step: float = 1.0) -> tuple[float, Array]:
    """Return energy and (P,) point, radians, of the local optimum that a search in natural units reaches.

    Args:
        engine: answers with costs and gradients, exactly.
        task: the landscape.
        point: (P,) radians where the search starts; entries beyond the task's own P are left out.
        step: length of the search's first step, natural units. A full unit may leave the basin of the start.

    >>> from qiskit.quantum_info import SparsePauliOp
    >>> edge = Task.qaoa(SparsePauliOp("ZZ", [0.5]), reps=1)
    >>> energy, point = descend(Statevector(), edge, np.array([0.3, -1.0]), step=0.1)
    >>> print(round(energy, 4), (point / np.pi).round(3))
    -0.5 [ 0.125 -0.5  ]
    """
    unit = task.features.unit.numpy() * step  # L-BFGS-B's first step has length 1 in its own variables

    def scaled(searched: Array) -> tuple[float, Array]:
        energy, slope = with_gradient(engine, task, searched, unit)
        return energy / task.scale, slope / task.scale

    start = point[: task.num_parameters] / unit
    found = minimize(scaled, start, jac=True, method="L-BFGS-B", options={"gtol": 1e-5 * step})
    return float(found.fun) * task.scale, np.asarray(found.x * unit)


def with_gradient(engine: Statevector, task: Task, searched: Array, unit: Array) -> tuple[float, Array]:
    """Return the energy at a (P,) point of variables that are ``unit`` radians each, and its gradient by them."""
    row = torch.as_tensor((searched * unit)[None]).requires_grad_()
    value = engine.expectation([task], row)[0]
    (gradient,) = torch.autograd.grad(value, row)
    return value.item(), gradient[0].numpy() * unit


def best_constant(engine: Statevector, tasks: Sequence[Task], start: Array) -> Array:
    """Return the (P,) point, natural units, of the least mean normalised cost over tasks of P parameters.

    What a model that does not react to its instance can learn from these tasks, at most.

    Args:
        engine: answers with costs and gradients, exactly.
        tasks: B landscapes.
        start: (P,) natural units where the search starts.
    """
    units = torch.stack([task.features.unit for task in tasks])
    cost = normalised_cost(engine, tasks)

    def mean(point: Array) -> tuple[float, Array]:
        row = torch.as_tensor(point).requires_grad_()
        value = cost(row * units).mean()
        (gradient,) = torch.autograd.grad(value, row)
        return value.item(), gradient.numpy()

    return np.asarray(minimize(mean, start, jac=True, method="L-BFGS-B").x)
