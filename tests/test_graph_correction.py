"""The correction that passes messages: starts at the formula, sees structure, stays tame, serves any size and order."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from qiskit.quantum_info import SparseObservable, SparsePauliOp
from torch import nn

from qiskit_metainit.features import of_qaoa, stack
from qiskit_metainit.models import graph_correction
from qiskit_metainit.models.graph_correction import GraphCorrection
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.problems.ising import Ising
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.problems.p_spin import PSpin
from qiskit_metainit.term_graph import TERM_FEATURES

FAMILIES = (
    MaxCut(sizes=[7], weights=["normal"]),
    Ising(sizes=[6], fields="normal"),
    PSpin(sizes=[7], pairs_per_spin=[1.0]),
    MaxCut(sizes=[5]),
)


def small(**settings: Any) -> GraphCorrection:
    return GraphCorrection(width=8, layers=1, channels=4, **settings).eval()


def point_of(model: Any, operator: SparsePauliOp, reps: int) -> np.ndarray:
    return model.begin(stack([of_qaoa(operator, reps)]))[0].detach().numpy()[0]


def awake(model: GraphCorrection) -> GraphCorrection:
    """A model whose last layer is no longer zero."""
    last = model.network[-1]
    assert isinstance(last, nn.Linear)
    nn.init.normal_(last.weight)
    return model


def test_it_starts_at_the_formula_and_learns_from_centred_inputs(rng: np.random.Generator) -> None:
    model = small()
    operator = MaxCut(sizes=[8]).sample(rng).operator
    assert np.array_equal(point_of(model, operator, 3), point_of(SkInfinity(), operator, 3))
    problems = [MaxCut(sizes=[6]).sample(rng) for _ in range(30)]
    model.prepare(lambda count: stack([of_qaoa(problem.operator, 2) for problem in problems[:count]]))
    awake(model)
    one, other = (point_of(model, problem.operator, 2) for problem in problems[:2])
    assert np.abs(one - other).max() > 1e-3
    # However far a problem lies from those trained on, its inputs are cut off, so that the correction stays tame.
    hub = MaxCut.from_graph(nx.star_graph(400)).operator
    assert np.abs(point_of(model, hub, 2)).max() < 20


def test_it_fades_where_a_problem_is_unlike_any_of_the_training(rng: np.random.Generator) -> None:
    model = small()
    problems = [MaxCut(sizes=[6]).sample(rng) for _ in range(60)]
    model.prepare(lambda count: stack([of_qaoa(problem.operator, 2) for problem in problems[:count]]))
    last = model.network[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    nn.init.ones_(last.bias)  # the same correction, but for how far it is trusted
    trust = [
        (point_of(model, operator, 2) - point_of(SkInfinity(), operator, 2)).tolist()
        for operator in (problems[0].operator, MaxCut(sizes=[40]).sample(rng).operator)
    ]
    assert np.allclose(trust[0], 1)
    assert np.ptp(trust[1]) < 1e-12
    assert 0 < trust[1][0] < 0.7


def test_large_problems_get_the_formulas_point() -> None:
    model = small()
    last = model.network[-1]
    assert isinstance(last, nn.Linear)
    nn.init.ones_(last.bias)
    rings = {size: MaxCut.from_graph(nx.cycle_graph(size)).operator for size in (10, 20, 40, 2000)}
    model.prepare(lambda count: stack([of_qaoa(rings[10], 2)] * 2))
    model.spread.fill_(100.0)  # nothing else is far
    corrections = {
        size: float(point_of(model, ring, 2)[0] - point_of(SkInfinity(), ring, 2)[0]) for size, ring in rings.items()
    }
    assert corrections == pytest.approx({10: 1.0, 20: 1.0, 40: 0.5, 2000: 0.01})


def test_the_network_does_not_run_for_problems_so_large_that_nothing_is_left_of_it() -> None:
    model = small()
    nn.init.ones_(model.network[-1].bias)
    chains = {size: [("ZZ", [i, i + 1], 0.5) for i in range(size - 1)] for size in (20_000, 10)}
    tasks = [of_qaoa(SparseObservable.from_sparse_list(terms, size), 2) for size, terms in chains.items()]
    expected = SkInfinity().begin(stack(tasks[:1]))[0]
    assert torch.equal(model.begin(stack(tasks))[0][:1], expected)  # beside a small one
    model.network.forward = None  # type: ignore[method-assign, assignment]
    assert torch.equal(model.begin(stack(tasks[:1]))[0], expected)


def test_messages_tell_graphs_apart_that_no_single_term_does() -> None:
    # Two rings with the same edges between the same neighbours, in another order around the ring.
    rings = []
    for weights in ([1.0, 1.0, 1.0, 1.0, 2.0, 1.0, 1.0, 2.0], [1.0, 1.0, 1.0, 2.0, 1.0, 1.0, 1.0, 2.0]):
        ring = nx.Graph()
        ring.add_weighted_edges_from((i, (i + 1) % 8, weight) for i, weight in enumerate(weights))
        graph = of_qaoa(MaxCut.from_graph(ring).operator, 1).terms.graph
        graph.terms[0][:, TERM_FEATURES.index("walks_2") :] = 0.0  # these see further than the neighbours
        rings.append(graph)
    apart = {}
    for rounds in (0, 1, 2):
        one, other = small(rounds=rounds).encoder(rings).detach()
        apart[rounds] = float((one - other).abs().max())
    assert apart[0] < 1e-13
    assert apart[2] > 1e-11  # the weights are those of an untrained model


@pytest.mark.parametrize("chunk", [1, 5, 1 << 16])
def test_graphs_side_by_side_give_what_each_gives_alone(
    chunk: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs = [of_qaoa(family.sample(rng).operator, 1).terms.graph for family in FAMILIES]
    encoder = small().encoder
    alone = torch.cat([encoder([graph]) for graph in graphs])
    monkeypatch.setattr(graph_correction, "_CHUNK", chunk)
    torch.testing.assert_close(encoder(graphs), alone, rtol=1e-10, atol=1e-12)


def test_training_computes_in_single_precision_and_serving_in_double(rng: np.random.Generator) -> None:
    model = awake(small())
    operator = MaxCut(sizes=[6], weights=["normal"]).sample(rng).operator
    served = point_of(model, operator, 2)
    trained = point_of(model.train(), operator, 2)
    assert 0 < np.abs(served - trained).max() < 1e-5
    model.begin(stack([of_qaoa(operator, 2)]))[0].sum().backward()
    assert {parameter.grad.dtype for parameter in model.network.parameters() if parameter.grad is not None} == {
        torch.float64
    }


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: type(family).__name__)
def test_names_units_and_signs_of_spins_do_not_matter(family: Any, rng: np.random.Generator) -> None:
    model = awake(small())
    operator = family.sample(rng).operator
    moved = operator.apply_layout(rng.permutation(operator.num_qubits).tolist()) * 3.7
    flipped = np.where((moved.paulis.z @ rng.integers(2, size=operator.num_qubits)) % 2, -1, 1)
    turned = SparsePauliOp(moved.paulis, moved.coeffs * flipped)
    np.testing.assert_allclose(point_of(model, turned, 2), point_of(model, operator, 2), atol=1e-9)
