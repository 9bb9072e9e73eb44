"""The correction of SK-infinity that sees invariants: starts at the formula, centres its inputs, stays tame."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
from qiskit.quantum_info import SparsePauliOp
from torch import nn

from qiskit_metainit.features import of_qaoa, stack
from qiskit_metainit.models.sk_correction import SkCorrection
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.problems.maxcut import MaxCut


def point_of(model: Any, operator: SparsePauliOp, reps: int) -> np.ndarray:
    return model.begin(stack([of_qaoa(operator, reps)]))[0].detach().numpy()[0]


def test_a_correction_that_sees_invariants_starts_at_the_formula_and_learns_from_centred_inputs(
    rng: np.random.Generator,
) -> None:
    model = SkCorrection(width=8, layers=1, invariants=True)
    operator = MaxCut(sizes=[8]).sample(rng).operator
    assert np.array_equal(point_of(model, operator, 3), point_of(SkInfinity(), operator, 3))
    problems = [MaxCut(sizes=[6]).sample(rng) for _ in range(30)]
    model.prepare(lambda count: stack([of_qaoa(problem.operator, 2) for problem in problems[:count]]))
    nn.init.ones_(model.network[-1].weight)
    one, other = (point_of(model, problem.operator, 2) for problem in problems[:2])
    assert np.abs(one - other).max() > 1e-3
    # However far a problem lies from those trained on, its inputs are cut off, so that the correction stays tame.
    hub = MaxCut.from_graph(nx.star_graph(400)).operator
    assert np.abs(point_of(model, hub, 2)).max() < 20


def test_the_correction_fades_where_a_problem_is_unlike_any_of_the_training(rng: np.random.Generator) -> None:
    model = SkCorrection(width=8, layers=1, invariants=True)
    problems = [MaxCut(sizes=[6]).sample(rng) for _ in range(60)]
    model.prepare(lambda count: stack([of_qaoa(problem.operator, 2) for problem in problems[:count]]))
    nn.init.zeros_(model.network[-1].weight)
    nn.init.ones_(model.network[-1].bias)  # the same correction, but for how far it is trusted
    trust = [
        (point_of(model, operator, 2) - point_of(SkInfinity(), operator, 2)).tolist()
        for operator in (problems[0].operator, MaxCut(sizes=[40]).sample(rng).operator)
    ]
    assert np.allclose(trust[0], 1)
    assert np.ptp(trust[1]) < 1e-12
    assert 0 < trust[1][0] < 0.7
