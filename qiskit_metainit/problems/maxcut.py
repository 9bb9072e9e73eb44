"""Weighted MaxCut: the Hamiltonian of a graph's cuts, and a family of random graphs."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from os import PathLike
from typing import Any

import numpy as np
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit.graphs import WeightedGraph, graph_files, read_edges, read_file, read_graph
from qiskit_metainit.problem import Problem
from qiskit_metainit.problems._random_graphs import SMALLEST, WEIGHTS, draw_pairs, draw_weights, existing
from qiskit_metainit.problems._settings import checked_probability, choices, integers, several


@dataclass(frozen=True, kw_only=True)
class MaxCut:
    """Split a graph's nodes in two so that the weight of the edges between the parts is the largest.

    Minimises ``H = sum_(i,j) w_ij/2 (Z_i Z_j - 1) + sum_i b_i/2 (Z_i - 1)``: minus the weight of the cut, minus the
    biases of the nodes with bit 1. An instance is a family of random graphs to learn from; the constructors
    ``from_graph``, ``from_edges`` and ``from_file`` give the problem of one graph, ``from_folder`` those of many.

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
    random labelled tree with 0 to n/2 further edges: connected, with hubs and leaves like many real networks).

    Meant for testing a model out of its training family: "barabasi_albert" (m uniform in 1..3 edges a new node),
    "watts_strogatz" (each node joined to its k nearest on a ring, k = 4 or, from 8 nodes on, 6; every edge rewired with
    a probability uniform in (0, 1)), "grid" (rows as long as the whole part of sqrt(n), the last one partial if need
    be: one graph a size), and "heavy_hex" (a connected piece of the lattice of IBM's devices, taken breadth first from
    a random node of rustworkx's ``heavy_hex_graph``; its cells have 10 or 12 nodes, so smaller pieces are trees)."""
    weights: Sequence[str] = ("unit",)
    """Kinds of edge weight, drawn uniformly: "unit", "uniform" in (0, 1), "exponential" of mean 1, "normal" of mean 0
    and variance 1, and "lognormal" (its logarithm normal of mean 0 and variance 1).

    Meant for testing a model out of its training family: the "signs" +1 and -1 alike, "power_law" (Pareto: above w
    with probability w^-2, w >= 1, so of mean 2 and infinite variance), and "bimodal" (1 or 10 alike)."""
    probability: float | None = None
    """The edge probability of "erdos_renyi" if it shall be fixed."""
    degrees: Sequence[int] | None = None
    """The degrees of "regular", drawn uniformly among those that a graph of that many nodes can have, if not all."""

    def __post_init__(self) -> None:
        sizes = several(self.sizes, "sizes", "(6, 7, 8, 9)")
        graphs = choices(self.graphs, "graphs", tuple(SMALLEST))
        weights = choices(self.weights, "weights", WEIGHTS)
        smallest = SMALLEST.copy()
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
            least = min(self.sizes)
            checked = checked_probability(self.probability, "probability", least, "None (for k/n) or a number")
            object.__setattr__(self, "probability", checked)
        if self.degrees is not None:
            degrees = integers(self.degrees, "degrees", 1, "(3, 4)")
            if lacking := [size for size in self.sizes if not existing(size, degrees)]:
                raise ValueError(
                    f"For each of sizes a regular graph with one of degrees={list(degrees)} is needed, but none "
                    f"has {lacking[0]} nodes: n times d must be even, and d below n. Change one of them."
                )
            object.__setattr__(self, "degrees", degrees)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The keyword settings that rebuild this family, as JSON values."""
        settings: dict[str, Any] = {
            "sizes": list(self.sizes),
            "graphs": list(self.graphs),
            "weights": list(self.weights),
            "probability": self.probability,
        }
        # Left out where not chosen, so that records of families from before there were degrees still name the same one.
        return settings if self.degrees is None else {**settings, "degrees": list(self.degrees)}

    def sample(self, rng: np.random.Generator) -> Problem:
        """Draw one graph, with nodes 0..n-1, as a problem."""
        size = self.sizes[int(rng.integers(len(self.sizes)))]
        kind = self.graphs[int(rng.integers(len(self.graphs)))]
        weight = self.weights[int(rng.integers(len(self.weights)))]
        pairs = draw_pairs(kind, size, rng, probability=self.probability, degrees=self.degrees)
        weights = draw_weights(weight, len(pairs), rng)
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
        graph = read_file(path)
        try:
            return _problem(graph)
        except ValueError as error:
            raise ValueError(f"In {str(path)!r}: {error}") from error

    @staticmethod
    def from_folder(path: str | PathLike[str]) -> list[tuple[str, Problem]]:
        """Return the file name and the problem of every graph file of a folder, sorted by name.

        Args:
            path: a folder with files as ``from_file`` takes them. Subfolders, hidden files and files that end otherwise
                are passed over.

        Raises:
            ValueError: if there is no such folder or no graph file in it, or if one is damaged, with its name.
        """
        return [(file.name, MaxCut.from_file(file)) for file in graph_files(path)]


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
