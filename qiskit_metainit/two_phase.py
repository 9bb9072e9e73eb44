"""The test protocol of Lin et al. 2025: a model proposes (Phase I), then gradient descent goes on (Phase II)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from qiskit_metainit.engine import Engine
from qiskit_metainit.task import Task

Array = NDArray[np.float64]

READ_AT = 8
"""The descent step after which the published "Phase II" ratios were taken (the tenth of the published costs, the first
of which is there twice): far from convergence."""


@dataclass(frozen=True, kw_only=True)
class GradientDescent:
    """Phase II: stochastic gradient descent without noise, that is plain gradient descent on ``<H>`` in radians."""

    rate: float = 1e-3
    """Learning rate."""
    steps: int = 300
    """Costs seen at most."""
    tolerance: float = 1e-6
    """Change of the cost between two steps at which a run stops."""


def fine_tune(
    engine: Engine, tasks: Sequence[Task], points: Float[Tensor, "B P"], descent: GradientDescent
) -> Float[Tensor, "B T"]:
    """Return the costs of T steps from B points, the start's first; a run that has stopped stays where it is.

    Args:
        engine: with gradients.
        tasks: B landscapes.
        points: where to start, radians.
        descent: how.
    """
    points = points.detach().clone()
    going = torch.arange(len(tasks))  # rows that have not stopped
    costs: list[Tensor] = []
    while len(costs) < descent.steps and len(going):
        current = points[going].requires_grad_()
        values = engine.expectation([tasks[row] for row in going], current)
        (slopes,) = torch.autograd.grad(values.sum(), current)
        points[going] = current.detach() - descent.rate * slopes
        costs.append(costs[-1].clone() if costs else torch.empty(len(tasks), dtype=points.dtype))
        costs[-1][going] = values.detach()
        if len(costs) > 1:
            going = going[(costs[-1] - costs[-2])[going].abs() > descent.tolerance]
    held = costs[-1:] * (descent.steps - len(costs))
    return torch.stack([*costs, *held], dim=1)


def iterations(errors: Float[np.ndarray, "*N T"], proposals: int, threshold: float = 1e-4) -> Int[np.ndarray, "*N"]:
    """Return the iterations to convergence (Lin et al. 2025, Eq. 11) as the published table counts them.

    That is the first step of the descent from which the average relative error moves by less than the threshold, all
    proposals of Phase I counted. The published costs hold the descent's start twice, so its step k is number
    ``proposals + 1 + k``; a start without Phase I has ``proposals = 0``. A curve that never gets there counts as T + 1
    steps.

    Args:
        errors: relative errors averaged over graphs, along the descent.
        proposals: T of Phase I.
        threshold: on the change of one step.

    >>> errors = 0.2 + 0.1 * 0.5 ** np.arange(12.0)  # moves by 0.1 / 2^(k + 1) from step k
    >>> int(iterations(errors, proposals=10))
    20
    """
    calm = np.abs(np.diff(errors, axis=-1)) < threshold
    first = np.where(calm.any(axis=-1), calm.argmax(axis=-1), errors.shape[-1])
    return np.asarray(proposals + 1 + first)


def best_point(engine: Engine, tasks: Sequence[Task], cells: int = 16) -> Array:
    """Return the p = 1 point (beta, gamma), radians, of the least mean energy over tasks with unit weights.

    A grid over one period (beta in [0, pi/2), gamma in (-pi, 0], the other half being its mirror image), then L-BFGS-B
    with exact gradients from its best point: for one task the best optimum found, for many their best constant.

    Args:
        engine: with gradients.
        tasks: of unweighted graphs, at p = 1.
        cells: of the grid, each way.
    """
    steps = np.arange(cells) / cells
    grid = [(math.pi / 2 * beta, -math.pi * gamma) for beta in steps for gamma in steps]

    def energy(point: Array) -> tuple[float, Array]:
        row = torch.as_tensor(point)[None].requires_grad_()
        value = engine.expectation(tasks, row.expand(len(tasks), -1)).mean()
        (slope,) = torch.autograd.grad(value, row)
        return value.item(), slope[0].numpy()

    with torch.no_grad():
        if len(tasks) == 1:
            values = engine.expectation(list(tasks) * len(grid), torch.tensor(grid, dtype=torch.float64))
        else:
            rows = (torch.tensor([point], dtype=torch.float64).expand(len(tasks), -1) for point in grid)
            values = torch.stack([engine.expectation(tasks, row).mean() for row in rows])
    return np.asarray(minimize(energy, grid[int(values.argmin())], jac=True, method="L-BFGS-B").x)
