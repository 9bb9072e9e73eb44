"""Random graphs and weights, drawn by their names: for MaxCut's graphs and for the couplings of Ising models.

What a kind draws from a generator is part of published results: a further kind never changes the others' draws.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import rustworkx as rx
from numpy.typing import NDArray

Pairs = list[tuple[int, int]]
"""Edges by the positions of their nodes, the smaller first, in lexical order."""

SMALLEST = {
    "erdos_renyi": 4,  # it draws an integer from 3..n-1, as "regular" does
    "regular": 4,
    "complete": 2,
    "sparse": 2,
    "barabasi_albert": 4,
    "watts_strogatz": 6,
    "grid": 2,
    "heavy_hex": 2,
}
"""Smallest number of nodes of each kind of graph."""


def draw_pairs(
    kind: str,
    size: int,
    rng: np.random.Generator,
    *,
    probability: float | None = None,
    degrees: Iterable[int] | None = None,
) -> Pairs:
    """Draw the edges of one graph with nodes 0..size-1.

    Args:
        kind: one of ``SMALLEST``; ``MaxCut.graphs`` says what they are.
        size: number of nodes, at least ``SMALLEST[kind]``.
        rng: what to draw from.
        probability: the edge probability of "erdos_renyi"; by default k/n with k uniform in 3..n-1.
        degrees: of "regular", some of which exist; by default all in 3..n-1.
    """
    pairs = list(itertools.combinations(range(size), 2))
    if kind == "complete":
        return pairs
    if kind == "erdos_renyi":
        return _erdos_renyi(size, pairs, probability, rng)
    if kind == "regular":
        return _regular(size, pairs, existing(size, degrees), rng)
    return _KINDS[kind](size, pairs, rng)


def _erdos_renyi(size: int, pairs: Pairs, probability: float | None, rng: np.random.Generator) -> Pairs:
    if probability is None:
        probability = float(rng.integers(3, size)) / size
    while True:
        kept = rng.random(len(pairs)) < probability
        if kept.any():
            return [pair for pair, keep in zip(pairs, kept, strict=True) if keep]


def existing(size: int, degrees: Iterable[int] | None = None) -> list[int]:
    """Return which degrees a regular graph of some nodes can have, of all in 3..n-1 or of those given."""
    return [degree for degree in degrees or range(3, size) if degree < size and size * degree % 2 == 0]


def _regular(size: int, pairs: Pairs, degrees: list[int], rng: np.random.Generator) -> Pairs:
    import networkx as nx  # here, because it takes 0.1 s that most programs can save

    degree = degrees[rng.integers(len(degrees))]
    # The generator retries until the degrees fit, often for dense graphs: draw the complement of those instead.
    sparse = min(degree, size - 1 - degree)
    drawn = {tuple(sorted(edge)) for edge in nx.random_regular_graph(sparse, size, seed=rng).edges}
    return [pair for pair in pairs if (pair in drawn) == (sparse == degree)]


def _sparse(size: int, pairs: Pairs, rng: np.random.Generator) -> Pairs:
    import networkx as nx

    tree = {tuple(sorted(edge)) for edge in nx.random_labeled_tree(size, seed=rng).edges}
    others = [pair for pair in pairs if pair not in tree]
    extra = min(int(rng.integers(size // 2 + 1)), len(others))
    added = {others[i] for i in rng.choice(len(others), size=extra, replace=False)} if extra else set()
    return [pair for pair in pairs if pair in tree or pair in added]


def _barabasi_albert(size: int, _: Pairs, rng: np.random.Generator) -> Pairs:
    import networkx as nx

    return _ordered(nx.barabasi_albert_graph(size, int(rng.integers(1, 4)), seed=rng).edges)


def _watts_strogatz(size: int, _: Pairs, rng: np.random.Generator) -> Pairs:
    import networkx as nx

    neighbours = [4, 6][: 1 + (size >= 8)]  # with more than size - 2 the graph would be complete
    chosen = neighbours[rng.integers(len(neighbours))]
    return _ordered(nx.watts_strogatz_graph(size, chosen, float(rng.random()), seed=rng).edges)


def _grid(size: int, pairs: Pairs, _: np.random.Generator) -> Pairs:
    width = math.isqrt(size)
    return [(i, j) for i, j in pairs if j == i + width or (j == i + 1 and j % width)]


def _heavy_hex(size: int, _: Pairs, rng: np.random.Generator) -> Pairs:
    # A quarter more nodes than needed leaves pieces to choose from, yet small enough a lattice to reach round a cell.
    distance = next(d for d in itertools.count(3, 2) if 4 * ((5 * d * d - 2 * d - 1) // 2) >= 5 * size)
    lattice = rx.generators.heavy_hex_graph(distance)
    piece = [int(rng.integers(lattice.num_nodes()))]
    for node in piece:  # grows as it is read: breadth first
        near = [other for other in sorted(lattice.neighbors(node)) if other not in piece]
        piece += rng.permutation(near).tolist()
        if len(piece) >= size:
            break
    place = {node: i for i, node in enumerate(piece[:size])}
    return _ordered((place[u], place[v]) for u, v in lattice.edge_list() if u in place and v in place)


def _ordered(edges: Iterable[Sequence[int]]) -> Pairs:
    return sorted((min(edge), max(edge)) for edge in edges)


_KINDS: dict[str, Callable[[int, Pairs, np.random.Generator], Pairs]] = {
    "sparse": _sparse,
    "barabasi_albert": _barabasi_albert,
    "watts_strogatz": _watts_strogatz,
    "grid": _grid,
    "heavy_hex": _heavy_hex,
}


def draw_weights(kind: str, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw the weights of ``count`` edges of a kind in ``WEIGHTS``; ``MaxCut.weights`` says what they are."""
    return np.asarray(_WEIGHTS[kind](rng, count), dtype=np.float64)


_WEIGHTS: dict[str, Callable[[np.random.Generator, int], Any]] = {
    "unit": lambda _, count: np.ones(count),
    "uniform": lambda rng, count: rng.random(count),
    "exponential": lambda rng, count: rng.standard_exponential(count),
    "normal": lambda rng, count: rng.standard_normal(count),
    "lognormal": lambda rng, count: rng.lognormal(size=count),
    "signs": lambda rng, count: 2.0 * rng.integers(2, size=count) - 1.0,
    "power_law": lambda rng, count: 1.0 + rng.pareto(2.0, count),  # numpy's starts at 0: Lomax
    "bimodal": lambda rng, count: np.where(rng.integers(2, size=count), 10.0, 1.0),
}

WEIGHTS = tuple(_WEIGHTS)
"""Kinds of weight."""
