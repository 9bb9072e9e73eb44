"""Weighted MaxCut: the Hamiltonian of a graph's cuts, and a family of random graphs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit.graphs import WeightedGraph, read_edges, read_file, read_graph
from qiskit_metainit.problem import Problem

_SMALLEST = {"erdos_renyi": 4, "regular": 4, "complete": 2, "sparse": 2}  # the first two draw an integer from 3..n-1
_WEIGHTS = ("unit", "uniform", "exponential", "normal")


@dataclass(frozen=True, kw_only=True)
class MaxCut:
    """Split a graph's nodes in two so that the weight of the edges between the parts is the largest.

    Minimises ``H = sum_(i,j) w_ij/2 (Z_i Z_j - 1) + sum_i b_i/2 (Z_i - 1)``: minus the weight of the cut, minus the
    biases of the nodes with bit 1. An instance is a family of random graphs to learn from; the constructors
    ``from_graph``, ``from_edges`` and ``from_file`` give the problem of one graph.

    >>> problem = MaxCut.from_edges([("a", "b", 2.0), ("b", "c"), ("a", "c", -0.5)])
    >>> problem.partition("010")
    (('a', 'c'), ('b',))
    >>> problem.value("010")
    3.0
    >>> MaxCut(sizes=[8], weights=["uniform"]).sample(np.random.default_rng(7)).num_qubits
    8
    """

    sizes: Sequence[int] = (6, 7, 8, 9)
    """Numbers of nodes, drawn uniformly."""
    graphs: Sequence[str] = ("erdos_renyi",)
    """Kinds of graph, drawn uniformly: "erdos_renyi" (edge probability k/n with k uniform in 3..n-1, as in Lin, Hsu,
    Chen 2025, arXiv:2512.05058, and Verdon et al. 2019, arXiv:1907.05415; disconnected ones are kept, edgeless ones
    redrawn), "regular" (the degree uniform among those in 3..n-1 that exist), "complete", and "sparse" (a uniformly
    random labelled tree with 0 to n/2 further edges: connected, with hubs and leaves like many real networks)."""
    weights: Sequence[str] = ("unit",)
    """Kinds of edge weight, drawn uniformly: "unit", "uniform" in (0, 1), "exponential" of mean 1, and "normal" of
    mean 0 and variance 1."""
    probability: float | None = None
    """The edge probability of "erdos_renyi" if it shall be fixed."""

    def __post_init__(self) -> None:
        sizes = _several(self.sizes, "sizes", "(6, 7, 8, 9)")
        graphs = _choices(self.graphs, "graphs", tuple(_SMALLEST))
        weights = _choices(self.weights, "weights", _WEIGHTS)
        smallest = _SMALLEST.copy()
        if self.probability is not None:
            smallest["erdos_renyi"] = 2
        needed = max(smallest[kind] for kind in graphs)
        for size in sizes:
            if not isinstance(size, Integral) or isinstance(size, bool) or size < needed:
                raise ValueError(
                    f"Each of sizes must be an integer >= {needed} for graphs={list(graphs)}, but {size!r} came. "
                    "Remove it, or choose other graphs."
                )
        object.__setattr__(self, "sizes", tuple(int(size) for size in sizes))
        object.__setattr__(self, "graphs", graphs)
        object.__setattr__(self, "weights", weights)
        if self.probability is not None:
            object.__setattr__(self, "probability", _checked_probability(self.probability, min(self.sizes)))

    @property
    def settings(self) -> Mapping[str, Any]:
        """The keyword settings that rebuild this family, as JSON values."""
        return {
            "sizes": list(self.sizes),
            "graphs": list(self.graphs),
            "weights": list(self.weights),
            "probability": self.probability,
        }

    def sample(self, rng: np.random.Generator) -> Problem:
        """Draw one graph, with nodes 0..n-1, as a problem."""
        size = self.sizes[int(rng.integers(len(self.sizes)))]
        kind = self.graphs[int(rng.integers(len(self.graphs)))]
        weight = self.weights[int(rng.integers(len(self.weights)))]
        pairs = _draw_pairs(kind, size, self.probability, rng)
        weights = _draw_weights(weight, len(pairs), rng)
        edges = dict(zip(pairs, weights.tolist(), strict=True))
        return _problem(WeightedGraph(tuple(range(size)), edges, (0.0,) * size))

    @staticmethod
    def from_graph(graph: Any, *, weight: str = "weight", bias: str = "bias") -> Problem:
        """Return the problem of a networkx ``Graph``/``MultiGraph`` or a rustworkx ``PyGraph``.

        Args:
            graph: an undirected graph; it may be disconnected, and the weights of parallel edges add up. In rustworkx
                an edge payload is a number, a mapping or None (1.0), and node payloads (or their "label", "name" or
                "id") are the labels if they are unique and hashable, else the node indices are.
            weight: the edge attribute that holds the weight, of either sign; 1.0 where it is missing.
            bias: the node attribute that holds the gain of giving the node bit 1; 0.0 where it is missing.

        Raises:
            TypeError: if it is no graph, or a weight or bias is not a real number.
            ValueError: if the graph is directed or has a self-loop, a non-finite number or nothing to cut, or if no
                edge or node has the attribute asked for.
        """
        return _problem(read_graph(graph, weight=weight, bias=bias))

    @staticmethod
    def from_edges(edges: Iterable[tuple[Hashable, Hashable] | tuple[Hashable, Hashable, float]]) -> Problem:
        """Return the problem of ``(node, node)`` and ``(node, node, weight)`` tuples.

        Args:
            edges: the edges; the weights of repeated ones, in either direction, add up. Nodes are ordered by first
                appearance.

        Raises:
            TypeError: if an edge is no such tuple, a label cannot be hashed or a weight is not a real number.
            ValueError: if there is a self-loop, a non-finite weight or nothing to cut.
        """
        return _problem(read_edges(edges))

    @staticmethod
    def from_file(path: str | PathLike[str]) -> Problem:
        """Return the problem of a graph file.

        Args:
            path: an edge list (.txt, .edgelist, .edges, .csv, .el), a JSON node-link graph (.json) or GML (.gml). In
                an edge list a line is ``u v``, ``u v weight`` or a lone node ``u``, split by blanks or a comma; ``#``
                starts a comment; repeated edges add up; labels are strings unless all are integers.

        Raises:
            ValueError: if the file cannot be read, is of no known kind, or holds no graph that can be cut.
        """
        return _problem(read_file(path))


def _problem(graph: WeightedGraph) -> Problem:
    terms = [("ZZ", list(pair), weight / 2) for pair, weight in graph.edges.items()]
    terms += [("Z", [i], bias / 2) for i, bias in enumerate(graph.biases)]
    terms = [term for term in terms if term[2] != 0]
    if not terms:
        raise ValueError(
            "A graph with at least one edge of non-zero weight (or a node with a bias) is needed, but there is nothing "
            f"to cut: {len(graph.nodes)} nodes, no such edge. Add edges, or check their weights."
        )
    if not math.isfinite(sum(abs(coefficient) for _, _, coefficient in terms)):
        raise ValueError("The sum of the weights must be finite, but it overflows. Scale the weights down.")
    terms.append(("", [], -math.fsum(coefficient for _, _, coefficient in terms)))
    operator = SparsePauliOp.from_sparse_list(terms, num_qubits=len(graph.nodes))
    return Problem(operator=operator, family="maxcut", nodes=graph.nodes, maximise=True)


def _draw_pairs(kind: str, size: int, probability: float | None, rng: np.random.Generator) -> list[tuple[int, int]]:
    pairs = list(itertools.combinations(range(size), 2))
    if kind == "complete":
        return pairs
    if kind == "regular":
        degrees = [degree for degree in range(3, size) if size * degree % 2 == 0]
        return _draw_regular(degrees[rng.integers(len(degrees))], size, pairs, rng)
    if kind == "sparse":
        return _draw_sparse(size, pairs, rng)
    if probability is None:
        probability = float(rng.integers(3, size)) / size
    while True:
        kept = rng.random(len(pairs)) < probability
        if kept.any():
            return [pair for pair, keep in zip(pairs, kept, strict=True) if keep]


def _draw_regular(
    degree: int, size: int, pairs: Sequence[tuple[int, int]], rng: np.random.Generator
) -> list[tuple[int, int]]:
    import networkx as nx  # here, because it takes 0.1 s that most programs can save

    # The generator retries until the degrees fit, often for dense graphs: draw the complement of those instead.
    sparse = min(degree, size - 1 - degree)
    drawn = {tuple(sorted(edge)) for edge in nx.random_regular_graph(sparse, size, seed=rng).edges}
    return [pair for pair in pairs if (pair in drawn) == (sparse == degree)]


def _draw_sparse(size: int, pairs: Sequence[tuple[int, int]], rng: np.random.Generator) -> list[tuple[int, int]]:
    import networkx as nx

    tree = {tuple(sorted(edge)) for edge in nx.random_labeled_tree(size, seed=rng).edges}
    others = [pair for pair in pairs if pair not in tree]
    extra = min(int(rng.integers(size // 2 + 1)), len(others))
    added = {others[i] for i in rng.choice(len(others), size=extra, replace=False)} if extra else set()
    return [pair for pair in pairs if pair in tree or pair in added]


def _draw_weights(kind: str, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    if kind == "unit":
        return np.ones(count)
    if kind == "uniform":
        return rng.random(count)
    return rng.standard_exponential(count) if kind == "exponential" else rng.standard_normal(count)


def _several(values: Any, name: str, example: str) -> tuple[Any, ...]:
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a sequence such as {example}, but {values!r} came. Put it into a list.")
    several = tuple(values)
    if not several:
        raise ValueError(f"{name} must have at least one entry, such as {example}, but it is empty.")
    return several


def _choices(values: Any, name: str, known: tuple[str, ...]) -> tuple[str, ...]:
    several = _several(values, name, f"({known[0]!r},)")
    for value in several:
        if value not in known:
            raise ValueError(
                f"Each of {name} must be one of {', '.join(known)}, but {value!r} came. Check its spelling."
            )
    return several


def _checked_probability(value: Any, size: int) -> float:
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    if not 0 < number <= 1:
        raise ValueError(f"probability must be None or a number in (0, 1], but {value!r} came. Leave it out for k/n.")
    if number * size * (size - 1) / 2 < 0.01:  # edgeless graphs are redrawn, which would go on almost for ever
        raise ValueError(
            f"probability must leave graphs of {size} nodes some edges, but {value!r} means less than one edge in a "
            "hundred graphs. Raise it, or the sizes."
        )
    return number
