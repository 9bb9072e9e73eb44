"""Which problems are the same but for the numbers of their qubits and a positive factor: no test graph in training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from operator import eq

import numpy as np
import rustworkx as rx
from numpy.typing import NDArray

from qiskit_metainit.problem import Problem, as_pauli_sum

TOLERANCE = 1e-9
"""Largest difference of coefficients that count as equal, in units of the largest one."""

Colors = NDArray[np.uint64]

_ROUNDS = 10  # of refinement, half of them from qubits to terms: what lies five edges away is seen
_MARKED = 200  # qubits at most that are marked one by one


def duplicates(problems: Sequence[Problem], others: Sequence[Problem]) -> list[tuple[int, int]]:
    """Return (i, j) for every ``problems[i]`` that is isomorphic to an ``others[j]``, the first such j.

    Isomorphic are problems whose Hamiltonians agree after their qubits were put into another order, the constant was
    left out and one was multiplied by a positive factor: their landscapes are the same. Labels, family and sense do not
    matter; the number of qubits does, those without a term included.

    Problems are sorted by what colour refinement tells (Weisfeiler and Leman 1968), once from every qubit, and those
    alike are compared exactly, by rustworkx's VF2 on the bipartite graphs of terms and qubits.

    >>> from qiskit_metainit.problems.maxcut import MaxCut
    >>> path, other = MaxCut.from_edges([(0, 1), (1, 2, 3.0)]), MaxCut.from_edges([("b", "a"), ("c", "a")])
    >>> duplicates([path, other], [MaxCut.from_edges([("x", "y", 6.0), ("z", "y", 2.0)])])
    [(0, 0)]
    """
    known: dict[bytes, list[tuple[int, _Form]]] = defaultdict(list)
    for j, problem in enumerate(others):
        form = _Form.of(problem)
        known[form.colors].append((j, form))
    found = []
    for i, problem in enumerate(problems):
        form = _Form.of(problem)
        if (twin := _twin(form, known[form.colors])) is not None:
            found.append((i, twin))
    return found


def twins(problems: Sequence[Problem]) -> list[tuple[int, int]]:
    """Return (i, j) for every problem i that is isomorphic, as in ``duplicates``, to an earlier one, the first such j.

    >>> from qiskit_metainit.problems.maxcut import MaxCut
    >>> cycle, path = MaxCut.from_edges([(0, 1), (1, 2), (2, 0)]), MaxCut.from_edges([(0, 1), (1, 2)])
    >>> twins([cycle, path, cycle, cycle])
    [(2, 0), (3, 0)]
    """
    different: dict[bytes, list[tuple[int, _Form]]] = defaultdict(list)
    found = []
    for i, problem in enumerate(problems):
        form = _Form.of(problem)
        if (twin := _twin(form, different[form.colors])) is None:
            different[form.colors].append((i, form))
        else:
            found.append((i, twin))
    return found


def _twin(form: _Form, alike: Sequence[tuple[int, _Form]]) -> int | None:
    """Return the first of numbered forms of the same colors that is the same problem."""
    return next((j for j, other in alike if form.isomorphic(other)), None)


@dataclass(frozen=True, eq=False)
class _Form:
    """A Hamiltonian but for the constant and the units, as a bipartite graph of N nodes: qubits, then terms."""

    values: NDArray[np.float64]
    """The coefficients in order, the largest size being 1."""
    edges: NDArray[np.int64]
    """(3, E) qubit, term, and 1, 2, 3 for X, Z, Y."""
    marks: NDArray[np.uint64]
    """(N,) colors, which do not depend on the order of the nodes."""
    colors: bytes
    """These in order: equal for isomorphic problems."""

    @classmethod
    def of(cls, problem: Problem) -> _Form:
        operator = as_pauli_sum(problem.operator)
        letters = operator.paulis.x.astype(np.int64) + 2 * operator.paulis.z
        sizes = np.where(letters.any(axis=1), np.abs(operator.coeffs.real), 0.0)
        kept = sizes > TOLERANCE * sizes.max()
        letters, coefficients = letters[kept], operator.coeffs.real[kept] / sizes.max()
        # Sums in two orders may differ in the last digit: rounding might set them apart, ranks cannot.
        order = np.argsort(coefficients, kind="stable")
        ranks = np.empty(order.size, dtype=np.int64)
        ranks[order] = np.cumsum(np.diff(coefficients[order], prepend=coefficients[order[0]]) > TOLERANCE)
        nodes = np.concatenate([np.full(letters.shape[1], -1), ranks])
        terms, qubits = np.nonzero(letters)
        edges = np.stack([qubits, terms + letters.shape[1], letters[terms, qubits]])
        marks = _marks(nodes, edges, letters.shape[1])
        return cls(coefficients[order], edges, marks, np.sort(marks).tobytes())

    def isomorphic(self, other: _Form) -> bool:
        """Return whether another form of the same colors is the same problem, exactly."""
        alike = np.abs(self.values - other.values).max() <= 4 * TOLERANCE
        return bool(alike) and bool(rx.is_isomorphic(self._graph(), other._graph(), eq, eq))

    def _graph(self) -> rx.PyGraph:
        graph = rx.PyGraph()
        graph.add_nodes_from(self.marks.tolist())  # finer than the ranks, which they are made from
        graph.add_edges_from(list(zip(*self.edges.tolist(), strict=True)))
        return graph


def _marks(nodes: NDArray[np.int64], edges: NDArray[np.int64], qubits: int) -> Colors:
    """Return (N,) colors of nodes of some ranks.

    Plain refinement tells no regular graph from another. So each qubit in turn is marked and the marks are passed on
    (column k of the colors tells how things look from qubit k), and a node's color is all that comes of it together.
    """
    start = _mixed(nodes.astype(np.uint64))
    if qubits > _MARKED:
        return _refined(start[:, None], edges, _ROUNDS)[:, 0]
    colors = np.repeat(start[:, None], qubits, axis=1)
    places = np.arange(qubits)
    colors[places, places] = _mixed(colors[places, places])
    colors = _mixed(_refined(colors, edges, _ROUNDS))
    whole = _mixed(colors.sum(axis=1))
    whole[:qubits] += colors.sum(axis=0)
    return whole


def _refined(colors: Colors, edges: NDArray[np.int64], rounds: int) -> Colors:
    """Return (N, C) colors, each column refined by itself: every round a node hears the colors of those beside it."""
    sources, targets = np.concatenate([edges[:2], edges[1::-1]], axis=1)
    order = np.argsort(targets, kind="stable")
    sources, targets = sources[order], targets[order]
    letters = _mixed(np.tile(edges[2], 2)[order].astype(np.uint64))[:, None]
    reached, first = np.unique(targets, return_index=True)
    for _ in range(rounds):
        told = np.add.reduceat(_mixed(colors[sources] + letters), first)  # sums wrap, and have no order
        colors = _mixed(colors)
        colors[reached] += told
    return colors


def _mixed(values: Colors) -> Colors:
    """Return hashes of integers, elementwise: the output function of splitmix64 (Steele et al. 2014)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
