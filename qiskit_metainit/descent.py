"""Local optima below points, and the best point of many tasks, with exact gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.rollout import normalised_cost
from qiskit_metainit.task import Task

Array = NDArray[np.float64]

_ITERATIONS = 300
_TRIALS = 6  # of a step's length, each a quarter of the one before
_LONGEST = 1.0  # step, natural units
_FLAT = 1e-5  # largest slope of a cost divided by its scale that counts as none, as in ``descend``
_EQUAL = 1e-10  # relative decrease of a cost that counts as none


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


def descend_all(engine: Statevector, tasks: Sequence[Task], points: Array) -> tuple[Array, Array]:
    """Return energies (B,) and points (B, P), radians, of the local optima below many points, all searched at once.

    A batch of small circuits costs little more than one of them, so this takes a fraction of the time of ``descend``
    for one after the other. BFGS in natural units, which nobody offers for many functions at a time: the update of
    Nocedal and Wright 2006, eq. 6.17, where the curvature is positive, steps of length 1 at most, and backtracking
    (their algorithm 3.1).

    Args:
        engine: answers with costs and gradients, exactly.
        tasks: B landscapes of P parameters; one may come several times.
        points: (B, P) radians where the searches start.

    >>> from qiskit.quantum_info import SparsePauliOp
    >>> edge = Task.qaoa(SparsePauliOp("ZZ", [0.5]), reps=1)
    >>> energies, points = descend_all(Statevector(), [edge, edge], np.array([[0.3, -1.0], [0.5, -1.4]]))
    >>> print(energies.round(4), (points[1] / np.pi).round(3))
    [-0.5 -0.5] [ 0.125 -0.5  ]
    """
    units = np.stack([task.features.unit.numpy() for task in tasks])
    scales = np.array([task.scale for task in tasks])

    def costs(searched: Array, rows: NDArray[np.int64]) -> tuple[Array, Array]:
        radians = torch.as_tensor(searched * units[rows]).requires_grad_()
        values = engine.expectation([tasks[row] for row in rows], radians)
        (slopes,) = torch.autograd.grad(values.sum(), radians)
        return values.detach().numpy() / scales[rows], slopes.numpy() * units[rows] / scales[rows, None]

    here = points / units
    rows = np.arange(len(tasks))
    cost, slope = costs(here, rows)
    found, least = here.copy(), cost.copy()
    inverse = np.tile(np.eye(here.shape[1]), (len(tasks), 1, 1))
    for _ in range(_ITERATIONS):
        going = np.abs(slope).max(axis=1) > _FLAT
        rows, here, cost, slope, inverse = (values[going] for values in (rows, here, cost, slope, inverse))
        if not rows.size:
            break
        ahead = -np.einsum("bij,bj->bi", inverse, slope)
        uphill = (ahead * slope).sum(axis=1) >= 0
        inverse[uphill] = np.eye(here.shape[1])
        ahead[uphill] = -slope[uphill]
        ahead *= np.minimum(1.0, _LONGEST / np.linalg.norm(ahead, axis=1))[:, None]
        taken, new_cost, new_slope = _backtracked(costs, rows, here, cost, slope, ahead)
        inverse = _updated(inverse, taken, new_slope - slope)
        stuck = cost - new_cost <= _EQUAL * np.maximum(np.abs(cost), 1e-3)
        here, cost, slope = here + taken, new_cost, new_slope
        found[rows], least[rows] = here, cost
        slope[stuck] = 0.0  # what cannot get any lower is done
    return least * scales, found * units


def _backtracked(
    costs: Callable[[Array, NDArray[np.int64]], tuple[Array, Array]],
    rows: NDArray[np.int64],
    here: Array,
    cost: Array,
    slope: Array,
    ahead: Array,
) -> tuple[Array, Array, Array]:
    """Return steps that descend enough, with the costs and slopes there; no step where there is none."""
    taken, new_cost, new_slope = np.zeros_like(here), cost.copy(), slope.copy()
    left = np.arange(len(rows))
    share = 1.0
    for _ in range(_TRIALS):
        step = share * ahead[left]
        there, steepness = costs(here[left] + step, rows[left])
        good = there <= cost[left] + 1e-4 * (step * slope[left]).sum(axis=1)
        done = left[good]
        taken[done], new_cost[done], new_slope[done] = step[good], there[good], steepness[good]
        left = left[~good]
        if not left.size:
            break
        share /= 4.0
    return taken, new_cost, new_slope


def _updated(inverse: Array, step: Array, change: Array) -> Array:
    """Return (B, P, P) inverse Hessians after a step and the change of slope along it."""
    curvature = (step * change).sum(axis=1)
    convex = curvature > 1e-14
    rate = np.where(convex, 1.0 / np.where(convex, curvature, 1.0), 0.0)
    turned = np.einsum("bij,bj->bi", inverse, change)
    along = rate * (1.0 + rate * (change * turned).sum(axis=1))
    outer = np.einsum("bi,bj->bij", step, turned)
    return np.asarray(
        inverse
        + along[:, None, None] * np.einsum("bi,bj->bij", step, step)
        - rate[:, None, None] * (outer + outer.transpose(0, 2, 1))
    )


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
