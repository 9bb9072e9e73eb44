"""The refinement: learned steps from a few costs, exact where the landscape is quadratic and its Hessian known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.features import of_qaoa, stack
from qiskit_metainit.models.graph_correction import GraphCorrection
from qiskit_metainit.models.refinement import _GAIN, _REACH, Refinement
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.rollout import normalised_cost, rollout
from qiskit_metainit.task import Task
from qiskit_metainit.training import Schedule, train

SMALL = {"width": 8, "layers": 1, "channels": 2}


def small(queries: int, **settings: Any) -> Refinement:
    return Refinement(queries=queries, **{**SMALL, **settings}).eval()


def test_untrained_it_answers_with_the_proposal_whatever_the_costs(rng: np.random.Generator) -> None:
    model = small(5)
    torch.nn.init.normal_(model.proposer.network[-1].weight)
    batch = stack([of_qaoa(MaxCut(sizes=[size]).sample(rng).operator, reps) for size, reps in ((5, 1), (6, 3))])
    points, state = model.begin(batch)
    first, asked = points, [points]
    for _ in range(model.queries):
        points, state = model.refine(points, torch.randn(2, dtype=torch.float64), state)
        asked.append(points)
    torch.testing.assert_close(points, first)
    torch.testing.assert_close(first, model.proposer.begin(batch)[0])
    steps = torch.stack([point - first for point in asked[1:-1]])  # gamma and beta in turn, constant over the schedule
    step = _REACH * np.tanh(0.15 / _REACH)
    np.testing.assert_allclose(steps[:2, 0, :2].detach(), [[0.0, step], [step, 0.0]], atol=1e-12)
    assert not steps[:, 0, 2:].any()  # padding stays zero


def test_one_direction_is_enough_where_the_landscape_is_quadratic_along_it(rng: np.random.Generator) -> None:
    model = small(2)
    direction, curvature, slope = torch.as_tensor(1e-3 * rng.normal(size=(1, 4))), 3.7, -0.9  # short: not bent
    proposal = torch.as_tensor(rng.normal(size=(1, 4)))

    def cost(point: torch.Tensor) -> torch.Tensor:
        along = ((point - proposal) * direction).sum(dim=1) / (direction**2).sum()
        return slope * along + 0.5 * curvature * along**2

    # y - y_0 = s + c / 2, so the way to the minimum is -s / c = 1 / 2 - (y - y_0) / c.
    steps = torch.stack([-direction / curvature / _GAIN, direction / 2], dim=2)
    state: Any = (proposal, direction[..., None], steps, proposal.new_zeros(1, 0))
    points = proposal
    for _ in range(model.queries):
        points, state = model.refine(points, cost(points), state)
    torch.testing.assert_close(points - proposal, -slope / curvature * direction, rtol=1e-4, atol=0)


def test_every_measurement_is_taken_from_where_the_last_one_led(rng: np.random.Generator) -> None:
    model = small(4)
    draws = [torch.as_tensor(rng.normal(size=shape)) for shape in ((2, 6), (2, 6, 3), (2, 6, 4), (4, 2))]
    here, directions, steps, costs = draws
    state: Any = (here, directions, steps, here.new_zeros(2, 0))
    points = here
    for place in range(4):
        points, state = model.refine(points, costs[place], state)
        told = _GAIN * (costs[1 : place + 1] - costs[0])
        moves = told.T[:, None] * steps[..., :place]
        reached = here + (_REACH * torch.tanh(moves / _REACH)).sum(dim=2)
        ahead = directions[..., place] if place < 3 else _REACH * torch.tanh(steps[..., 3] / _REACH)
        torch.testing.assert_close(points, reached + ahead)


def test_training_it_uses_the_costs(rng: np.random.Generator) -> None:
    torch.manual_seed(1)
    model = Refinement(queries=3, width=16, layers=1, channels=2)
    family = MaxCut(sizes=[5], graphs=["complete"], weights=["normal"])
    schedule = Schedule(instances=20, learning_rate=1e-2)
    train(model, family, Statevector(), reps=[1], steps=150, batch=16, rng=rng, schedule=schedule)
    engine = Statevector()
    tasks = [Task.qaoa(family.sample(rng).operator, reps=1) for _ in range(20)]
    known, cost = [task.features for task in tasks], normalised_cost(engine, tasks)
    with torch.no_grad():
        refined = rollout(model, known, cost, measure_answer=True).costs
        blind = rollout(model, known, lambda points: 0 * cost(points), measure_answer=False).answer
    assert refined[-1].mean() < refined[0].mean()
    assert cost(blind).mean() > refined[-1].mean()


def test_no_move_goes_far_whatever_the_costs(rng: np.random.Generator) -> None:
    model = small(3)
    torch.nn.init.normal_(model.response[-1].bias, std=100.0)
    points, state = model.begin(stack([of_qaoa(MaxCut(sizes=[5]).sample(rng).operator, 2)]))
    first = points
    for cost in (0.1, 0.9, -0.8):
        points, state = model.refine(points, torch.tensor([cost], dtype=torch.float64), state)
    assert 0.2 < (points - first).abs().max() <= 0.75  # two steps and the last shift


def test_training_leaves_the_proposer_as_it_is(rng: np.random.Generator) -> None:
    model = Refinement(queries=2, **SMALL)
    torch.nn.init.normal_(model.proposer.network[-1].weight, std=0.1)
    before = {name: value.clone() for name, value in model.proposer.state_dict().items()}
    response = [value.clone() for value in model.response.parameters()]
    model.proposer.spread.fill_(2.0)  # as of a training
    schedule = Schedule(instances=8, learning_rate=1e-2)
    train(model, MaxCut(sizes=[5]), Statevector(), reps=[1], steps=3, batch=4, rng=rng, schedule=schedule)
    after = model.proposer.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before if name != "spread")
    assert all(not torch.equal(old, new) for old, new in zip(response, model.response.parameters(), strict=True))


def test_two_queries_are_the_least() -> None:
    with pytest.raises(ValueError, match="queries must be at least 2, but 1 came"):
        Refinement(queries=1)


def test_the_proposer_has_the_weights_of_the_model_without_queries() -> None:
    own = GraphCorrection(**SMALL).state_dict()
    inner = small(4).proposer.state_dict()
    assert {name: value.shape for name, value in own.items()} == {name: value.shape for name, value in inner.items()}
