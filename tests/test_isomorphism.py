"""Isomorphic problems: found however they were renumbered and scaled; near misses are not."""

from __future__ import annotations

import itertools
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit import isomorphism
from qiskit_metainit.isomorphism import duplicates, twins
from qiskit_metainit.problem import Problem, as_pauli_sum
from qiskit_metainit.problems.ising import Ising
from qiskit_metainit.problems.labs import Labs
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.problems.p_spin import PSpin

WEIGHTS = [1.0, 1.0, -1.0, 0.5, 0.1 + 0.2, 0.3]  # several alike, and two that only rounding sets apart


def of(operator: SparsePauliOp) -> Problem:
    return Problem(operator=operator, family="custom", nodes=tuple(range(operator.num_qubits)))


def unweighted(graph: Any) -> Problem:
    return MaxCut.from_graph(graph)


@st.composite
def operators(draw: Any, letters: str = "IIXYZ", max_qubits: int = 5) -> SparsePauliOp:
    size = draw(st.integers(1, max_qubits))
    label = st.text(letters, min_size=size, max_size=size)
    terms = draw(st.dictionaries(label, st.sampled_from(WEIGHTS) | st.floats(0.01, 3), min_size=1, max_size=9))
    if not any(set(one) - {"I"} for one in terms):
        terms["Z" * size] = 1.0
    return SparsePauliOp.from_list(list(terms.items()))


def twin(operator: SparsePauliOp, rng: np.random.Generator, factor: float) -> SparsePauliOp:
    """Another order of qubits, other units, terms in another order and written in two parts, another constant."""
    moved = operator.apply_layout(rng.permutation(operator.num_qubits).tolist())
    parts = moved * (0.3 * factor) + moved * (0.7 * factor)
    return parts[rng.permutation(len(parts))] + SparsePauliOp("I" * operator.num_qubits, 5.0)


def isomorphic_slow(left: SparsePauliOp, right: SparsePauliOp) -> bool:
    """networkx's VF2 on the graphs of Pauli terms and qubits."""

    def graph(operator: SparsePauliOp) -> nx.Graph:
        found = nx.Graph()
        found.add_nodes_from(range(operator.num_qubits), weight=0.0)
        largest = max(abs(c) for label, c in operator.to_list() if set(label) != {"I"})
        for label, coefficient in operator.to_list():
            if set(label) != {"I"}:
                found.add_node(label, weight=coefficient.real / largest)
                for qubit, letter in enumerate(reversed(label)):
                    if letter != "I":
                        found.add_edge(label, qubit, letter=letter)
        return found

    return nx.is_isomorphic(
        graph(as_pauli_sum(left)),
        graph(as_pauli_sum(right)),
        node_match=lambda a, b: abs(a["weight"] - b["weight"]) < 1e-9,
        edge_match=lambda a, b: a["letter"] == b["letter"],
    )


@given(operators(), st.integers(0, 2**32 - 1), st.sampled_from([1.0, 1 / 3, 7e-4, 1e150]))
@settings(deadline=None)
def test_renumbered_and_scaled_copies_are_found(operator: SparsePauliOp, seed: int, factor: float) -> None:
    other = twin(operator, np.random.default_rng(seed), factor)
    assert duplicates([of(operator)], [of(other)]) == [(0, 0)]
    assert duplicates([of(other)], [of(operator)]) == [(0, 0)]


@given(operators(), st.integers(0, 2**32 - 1), st.data())
@settings(deadline=None)
def test_a_copy_with_one_weight_changed_is_not(operator: SparsePauliOp, seed: int, data: Any) -> None:
    operator = as_pauli_sum(operator)
    present = (operator.paulis.x | operator.paulis.z).any(axis=1)
    if present.sum() == 1:
        return  # one term is itself whatever its weight
    changed = operator.coeffs.copy()
    place = data.draw(st.sampled_from(np.flatnonzero(present).tolist()))
    changed[place] *= data.draw(st.sampled_from([1.0001, 0.5, -3.0]))
    other = twin(SparsePauliOp(operator.paulis, changed), np.random.default_rng(seed), 2.0)
    # Swapping two weights may happen to be a renumbering, so ask the oracle.
    assert duplicates([of(other)], [of(operator)]) == ([(0, 0)] if isomorphic_slow(operator, other) else [])


@given(st.lists(operators(letters="IIZX", max_qubits=4), min_size=2, max_size=2))
@settings(deadline=None, max_examples=200)
def test_it_agrees_with_networkx(pair: list[SparsePauliOp]) -> None:
    left, right = (SparsePauliOp(one.paulis, np.sign(one.coeffs.real)) for one in pair)
    same = left.num_qubits == right.num_qubits and isomorphic_slow(left, right)
    assert bool(duplicates([of(left)], [of(right)])) == same


def test_every_unweighted_graph_of_six_nodes_is_its_own() -> None:
    atlas = [graph for graph in nx.graph_atlas_g() if len(graph) <= 6 and graph.number_of_edges()]
    assert len(atlas) > 150
    rng = np.random.default_rng(0)
    shuffled = [
        nx.relabel_nodes(graph, dict(zip(graph, rng.permutation(len(graph)).tolist(), strict=True))) for graph in atlas
    ]
    found = duplicates([unweighted(graph) for graph in shuffled], [unweighted(graph) for graph in atlas])
    assert found == [(i, i) for i in range(len(atlas))]


def shrikhande() -> nx.Graph:
    steps = [(0, 1), (1, 0), (1, 1)]
    nodes = [(i, j) for i in range(4) for j in range(4)]
    return nx.Graph((node, ((node[0] + a) % 4, (node[1] + b) % 4)) for node in nodes for a, b in steps)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (nx.disjoint_union(nx.cycle_graph(3), nx.cycle_graph(3)), nx.cycle_graph(6)),
        (nx.circular_ladder_graph(5), nx.petersen_graph()),
        (nx.circular_ladder_graph(3), nx.complete_bipartite_graph(3, 3)),
        (shrikhande(), nx.line_graph(nx.complete_bipartite_graph(4, 4))),
    ],
    ids=["two triangles and a hexagon", "prism and Petersen", "prism and K33", "strongly regular"],
)
def test_regular_graphs_that_refinement_confuses_are_told_apart(left: nx.Graph, right: nx.Graph) -> None:
    for graph in (left, right):
        nx.set_node_attributes(graph, "", "colour")
    hashes = {nx.weisfeiler_lehman_graph_hash(graph, node_attr="colour") for graph in (left, right)}
    assert len(hashes) == 1  # in one dimension all of them are alike
    problems = [unweighted(graph) for graph in (left, right)]
    assert duplicates(problems[:1], problems[1:]) == []
    assert duplicates(problems, problems) == [(0, 0), (1, 1)]


def test_the_two_steiner_triple_systems_of_thirteen_points_are_told_apart() -> None:
    cyclic = {frozenset((i + j) % 13 for j in block) for i in range(13) for block in [(0, 1, 4), (0, 2, 7)]}
    # Every pair of points lies in one triple; switching four triples on six points gives the other system.
    a, b, c, d, e, f = next(
        points
        for points in itertools.permutations(range(13), 6)
        if all(frozenset(points[i] for i in block) in cyclic for block in [(0, 1, 2), (0, 3, 4), (5, 1, 3), (5, 2, 4)])
    )
    old = {frozenset(block) for block in [(a, b, c), (a, d, e), (f, b, d), (f, c, e)]}
    other = cyclic - old | {frozenset(block) for block in [(f, b, c), (f, d, e), (a, b, d), (a, c, e)]}
    assert len(cyclic) == len(other) == 26
    models = [PSpin.from_terms({tuple(block): -0.7 for block in system}) for system in (cyclic, other)]
    rng = np.random.default_rng(1)
    copies = [of(twin(model.operator, rng, 2.0)) for model in models]
    assert duplicates(copies, models) == [(0, 0), (1, 1)]


def test_letters_matter() -> None:
    assert duplicates([of(SparsePauliOp(["XZ"]))], [of(SparsePauliOp(["ZX"]))]) == [(0, 0)]
    assert duplicates([of(SparsePauliOp(["XZ"]))], [of(SparsePauliOp(["YZ"]))]) == []
    chains = [["XZI", "IXZ"], ["XZI", "IZX"]]
    assert duplicates([of(SparsePauliOp(chains[0]))], [of(SparsePauliOp(chains[1]))]) == []


def test_what_matters_and_what_does_not() -> None:
    edges = [(0, 1, 1.0), (1, 2, -2.0)]
    base = MaxCut.from_edges(edges)
    labelled = MaxCut.from_edges([("q", "p", -4.0), ("p", "o", 2.0)])
    ising = Ising.from_couplings({("a", "b"): 0.5, ("b", "c"): -1.0})  # another family, sense and constant
    idle = nx.Graph()
    idle.add_nodes_from(range(4))
    idle.add_weighted_edges_from(edges)
    negative = MaxCut.from_edges([(0, 1, -1.0), (1, 2, 2.0)])
    assert duplicates([labelled, ising], [base]) == [(0, 0), (1, 0)]
    assert duplicates([MaxCut.from_graph(idle), negative], [base]) == []


def test_the_first_twin_of_each_is_given() -> None:
    path, star, cycle = (unweighted(g) for g in (nx.path_graph(4), nx.star_graph(3), nx.cycle_graph(4)))
    assert duplicates([cycle, star, path], [path, path, star]) == [(1, 2), (2, 0)]
    assert duplicates([], [path]) == duplicates([path], []) == []


def test_higher_orders_and_sizes_beyond_training() -> None:
    rng = np.random.default_rng(3)
    problems = [Labs.from_length(14), PSpin(sizes=[20]).sample(rng), MaxCut(sizes=[60], graphs=["regular"]).sample(rng)]
    problems += [MaxCut(sizes=[81], graphs=["grid"]).sample(rng), unweighted(nx.complete_graph(12))]
    copies = [of(twin(problem.operator, rng, 3.0)) for problem in problems]
    assert duplicates(copies, problems) == [(i, i) for i in range(len(problems))]


def test_a_training_set_is_searched() -> None:
    rng = np.random.default_rng(0)
    family = MaxCut(sizes=range(6, 11), graphs=["erdos_renyi", "regular"], weights=["unit", "normal"])
    training, tested = ([family.sample(rng) for _ in range(count)] for count in (600, 40))
    found = duplicates(tested, training)
    assert 5 < len(found) < 35  # unweighted regular graphs of few nodes come again, weighted ones never
    for i, j in found:
        assert isomorphic_slow(tested[i].operator, training[j].operator)
    assert all(isomorphic_slow(tested[i].operator, training[j].operator) for i, j in found[:5])


def test_twins_within_a_list_are_those_that_networkx_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    exact = isomorphism._Form.isomorphic
    monkeypatch.setattr(isomorphism._Form, "isomorphic", lambda *pair: compared.append(pair) or exact(*pair))
    graphs = [nx.random_regular_graph(3, 10, seed=seed) for seed in range(40)]
    first = [next(j for j in range(i + 1) if nx.is_isomorphic(graphs[j], graphs[i])) for i in range(40)]
    expected = [(i, j) for i, j in enumerate(first) if i != j]
    assert 5 < len(expected) < 35
    assert twins([unweighted(graph) for graph in graphs]) == expected
    assert len(compared) == len(expected)  # regular graphs that differ are told apart without trying to match them


def test_twins_may_differ_in_units_and_numbering() -> None:
    path = MaxCut.from_edges([(0, 1), (1, 2, 3.0)])
    other, unlike = MaxCut.from_edges([("z", "y", 6.0), ("x", "y", 2.0)]), MaxCut.from_edges([(0, 1), (1, 2, 2.0)])
    assert twins([path, unlike, other, unlike]) == [(2, 0), (3, 1)]
    assert twins([path, unlike]) == twins([]) == []


@pytest.mark.parametrize(
    "graph",
    [nx.star_graph(30), nx.hypercube_graph(5), nx.cycle_graph(230), nx.complete_graph(16), nx.paley_graph(13)],
    ids=["star", "hypercube", "ring of more than are marked", "complete", "Paley"],
)
def test_symmetric_graphs_are_matched(graph: nx.Graph, rng: np.random.Generator) -> None:
    graph = nx.Graph(nx.convert_node_labels_to_integers(graph))
    moved = nx.relabel_nodes(graph, dict(enumerate(rng.permutation(len(graph)).tolist())))
    assert duplicates([unweighted(moved)], [unweighted(graph)]) == [(0, 0)]
    moved.remove_edge(*next(iter(moved.edges)))
    assert duplicates([unweighted(moved)], [unweighted(graph)]) == []
