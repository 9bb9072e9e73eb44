"""The graph of terms: walks against their slow definition, fields and higher orders, large problems by a sample."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import torch
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit import term_graph as module
from qiskit_metainit.features import of_qaoa
from qiskit_metainit.problem import PauliTerms, Problem
from qiskit_metainit.problems.ising import Ising
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.problems.p_spin import PSpin
from qiskit_metainit.term_graph import SPIN_FEATURES, TERM_FEATURES, TermGraph

WALKS = [name for name in TERM_FEATURES if "_" in name]


def of(problem: Problem) -> TermGraph:
    return of_qaoa(problem.operator, 1).terms.graph


def column(graph: TermGraph, name: str) -> np.ndarray:
    """A column without its logarithm."""
    values = torch.cat(graph.terms)[:, TERM_FEATURES.index(name)].numpy()
    return np.asarray(values if name in ("log", "order") else np.sign(values) * np.expm1(np.abs(values)))


def slow_walks(weights: np.ndarray, steps: int, degree: float) -> np.ndarray:
    """sqrt(d) w_ij P_k(W / sqrt(d))_ij by eigenvalues: P_k(2 cos t) = sin((k + 1) t) / sin(t)."""
    values, vectors = np.linalg.eigh(weights / np.sqrt(degree))
    angles = np.arccos(values.astype(complex) / 2)
    polynomial = (np.sin((steps + 1) * angles) / np.sin(angles)).real
    return np.asarray(np.sqrt(degree) * weights * (vectors * polynomial @ vectors.T))


@pytest.mark.parametrize("weights", ["normal", "exponential"])
def test_walks_are_the_chebyshev_polynomials_of_the_couplings(weights: str, rng: np.random.Generator) -> None:
    problem = MaxCut(sizes=[9], weights=[weights]).sample(rng)
    terms, graph = PauliTerms.of(problem.operator), of(problem)
    matrix = np.zeros((9, 9))
    ends = terms.qubit.reshape(-1, 2)
    matrix[tuple(ends.T)] = 2 * terms.coefficients
    matrix += matrix.T
    matrix /= np.sqrt((matrix[matrix != 0] ** 2).mean())
    degree = 2 * len(ends) / np.unique(ends).size
    plain = (matrix != 0).astype(float)
    for k in (2, 3, 4, 5):
        np.testing.assert_allclose(
            column(graph, f"walks_{k}"), slow_walks(matrix, k, degree)[tuple(ends.T)], rtol=1e-6, atol=1e-8
        )
        counts = slow_walks(plain, k, degree)[tuple(ends.T)] / degree ** ((k - 1) / 2)
        np.testing.assert_allclose(column(graph, f"paths_{k}"), counts, rtol=1e-6, atol=1e-8)


def test_triangles_and_trees() -> None:
    triangle = of(MaxCut.from_graph(nx.cycle_graph(3)))  # d = 2, one path of two steps beside each edge
    assert column(triangle, "walks_2") == pytest.approx([1 / 2**0.5] * 3)
    assert column(triangle, "paths_2") == pytest.approx([0.5] * 3)
    tree = of(MaxCut.from_graph(nx.balanced_tree(2, 3)))
    assert np.abs(column(tree, "walks_2")).max() == 0
    assert np.abs(column(tree, "walks_4")).max() == 0  # an edge of a tree closes no odd cycle


def test_fields_couple_to_an_ancilla_and_higher_orders_have_no_walks(rng: np.random.Generator) -> None:
    fields = of(Ising(sizes=[6], graphs=["complete"], fields="normal").sample(rng))
    assert fields.spins.shape == (7, len(SPIN_FEATURES))
    assert fields.spins[:, SPIN_FEATURES.index("ancilla")].tolist() == [0] * 6 + [1]
    assert [members.shape[1] for members in fields.members] == [2]
    assert (fields.members[0] == 6).sum() == 6
    assert (column(fields, "walks_2") != 0).all()
    mixed = of(PSpin(sizes=[7], pairs_per_spin=[1.0]).sample(rng))
    assert [members.shape[1] for members in mixed.members] == [2, 3]
    assert set(column(mixed, "order")) == {2.0, 3.0}
    for name in WALKS:
        assert not column(mixed, name)[column(mixed, "order") == 3].any()


def test_large_problems_are_looked_at_by_a_sample(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = nx.gnp_random_graph(600, 0.02, seed=int(rng.integers(2**31)))
    for one, other in graph.edges:
        graph.edges[one, other]["weight"] = float(rng.normal())
    problem = MaxCut.from_graph(graph)
    whole = of(problem)
    monkeypatch.setattr(module, "_DENSE", 1000)
    np.testing.assert_allclose(of(problem).terms[0], whole.terms[0], atol=1e-9)  # sparse or dense is the same
    monkeypatch.setattr(module, "_DENSE", 10)
    monkeypatch.setattr(module, "_WORK", 100 * 2 * graph.number_of_edges())
    sampled = of(problem)
    same = torch.isclose(sampled.terms[0], whole.terms[0], atol=1e-9).all(dim=1).double().mean()
    assert 0.2 < same < 0.5  # edges of a hundred spins of 600, about
    for name in WALKS:
        one, other = column(sampled, name), column(whole, name)
        assert one.mean() == pytest.approx(other.mean(), abs=6 * other.std() / len(other) ** 0.5)
        assert np.median(np.abs(one)) == pytest.approx(np.median(np.abs(other)), rel=0.2)


def test_a_sample_holds_a_pair_where_few_qubits_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    triples = [("ZZZ", [i, i + 1, i + 2], 1.0) for i in range(38)]
    operator = SparsePauliOp.from_sparse_list([*triples, ("ZZ", [0, 20], 1.0)], num_qubits=40)
    whole = of_qaoa(operator, 1).terms.graph.terms[0]
    monkeypatch.setattr(module, "_DENSE", 10)
    monkeypatch.setattr(module, "_WORK", 0)  # one spin
    torch.testing.assert_close(of_qaoa(operator, 1).terms.graph.terms[0], whole)
