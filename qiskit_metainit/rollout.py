"""A model proposes points, asks for their costs, and proposes better ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from qiskit_metainit.engine import Engine
from qiskit_metainit.features import FeatureBatch, Features, stack
from qiskit_metainit.model import Model
from qiskit_metainit.task import Task

Cost = Callable[[Tensor], Tensor]
"""(B, P) radians -> (B,) normalised costs."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What B rollouts of T proposals went through."""

    points: Float[Tensor, "T B P"]
    """Radians, zero beyond a task's own P."""
    costs: Float[Tensor, "S B"]
    """Normalised costs of the measured proposals: S = T in training, S = T - 1 when the answer is not measured."""

    @property
    def answer(self) -> Float[Tensor, "B P"]:
        """The last proposal."""
        return self.points[-1]


def rollout(model: Model, features: Sequence[Features], cost: Cost | None, *, measure_answer: bool) -> Trajectory:
    """Return the trajectory of a model on B tasks.

    Args:
        model: supports every task.
        features: of the B tasks.
        cost: answers the queries; None only if there are none to answer.
        measure_answer: whether the last proposal is measured too (training) or not (deployment).

    Raises:
        ValueError: if the model asks for costs and there is nothing to answer it.
    """
    if cost is None and (model.queries or measure_answer):
        raise ValueError(f"{type(model).__name__} asks for {model.queries} costs, but there is no engine to answer.")
    batch: FeatureBatch = stack(features)
    proposal, state = model.begin(batch)
    points, costs = [proposal * batch.unit], []
    for _ in range(model.queries):
        assert cost is not None
        costs.append(cost(points[-1]))
        proposal, state = model.refine(proposal, costs[-1], state)
        points.append(proposal * batch.unit)
    if measure_answer:
        assert cost is not None
        costs.append(cost(points[-1]))
    none = torch.zeros(0, len(batch), dtype=torch.float64)
    return Trajectory(torch.stack(points), torch.stack(costs) if costs else none)


def normalised_cost(engine: Engine, tasks: Sequence[Task]) -> Cost:
    """Return the cost the papers feed to their networks: ``(<H> - offset) / scale``, within [-1, 1]."""
    offsets = torch.tensor([task.offset for task in tasks], dtype=torch.float64)
    scales = torch.tensor([task.scale for task in tasks], dtype=torch.float64)
    return lambda points: (engine.expectation(tasks, points) - offsets) / scales
