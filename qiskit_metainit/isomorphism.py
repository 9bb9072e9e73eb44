"""Which problems are the same but for the numbers of their qubits and a positive factor: no test graph in training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from operator import eq

import numpy as np
import rustworkx as rx
from numpy.typing import NDArray

from qiskit_metainit.problem import Problem, as_pauli_sum

TOLERANCE = 1e-9
"""Largest difference of coefficients that count as equal, in units of the largest one."""


def duplicates(problems: Sequence[Problem], others: Sequence[Problem]) -> list[tuple[int, int]]:
    """Return (i, j) for every ``problems[i]`` that is isomorphic to an ``others[j]``, the first such j.

    Isomorphic are problems whose Hamiltonians agree after their qubits were put into another order, the constant was
    left out and one was multiplied by a positive factor: their landscapes are the same. Labels, family and sense do not
    matter; the number of qubits does, those without a term included.

    Problems are sorted by what two rounds of colour refinement tell (Weisfeiler and Leman 1968), and those alike are
    compared exactly, by rustworkx's VF2 on the bipartite graphs of terms and qubits.

    >>> from qiskit_metainit.problems.maxcut import MaxCut
    >>> path, other = MaxCut.from_edges([(0, 1), (1, 2, 3.0)]), MaxCut.from_edges([("b", "a"), ("c", "a")])
    >>> duplicates([path, other], [MaxCut.from_edges([("x", "y", 6.0), ("z", "y", 2.0)])])
    [(0, 0)]
    """
    known: dict[tuple[str, ...], list[tuple[int, _Form]]] = defaultdict(list)
    for j, problem in enumerate(others):
        form = _Form.of(problem)
        known[form.colors].append((j, form))
    found = []
    for i, problem in enumerate(problems):
        form = _Form.of(problem)
        twin = next((j for j, other in known.get(form.colors, ()) if form.isomorphic(other)), None)
        if twin is not None:
            found.append((i, twin))
    return found


@dataclass(frozen=True, eq=False)
class _Form:
    """A Hamiltonian but for the constant and the units, its coefficients replaced by their ranks."""

    graph: rx.PyGraph
    """Nodes hold -1 for a qubit and a term's rank for a term; edges hold 1, 2, 3 for X, Z, Y."""
    values: NDArray[np.float64]
    """The coefficients in order, the largest size being 1."""
    colors: tuple[str, ...]
    """Equal for isomorphic problems."""

    def isomorphic(self, other: _Form) -> bool:
        """Return whether another form of the same colors is the same problem, exactly."""
        alike = np.abs(self.values - other.values).max() <= 4 * TOLERANCE
        return bool(alike) and bool(rx.is_isomorphic(self.graph, other.graph, eq, eq))

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

        graph = rx.PyGraph()
        graph.add_nodes_from([-1] * letters.shape[1] + ranks.tolist())
        terms, qubits = np.nonzero(letters)
        ends = zip(qubits.tolist(), (terms + letters.shape[1]).tolist(), letters[terms, qubits].tolist(), strict=True)
        graph.add_edges_from(list(ends))

        colors = [str(rank) for rank in graph.nodes()]
        for _ in range(2):
            seen = [
                f"{color} {sorted((letter, colors[other]) for other, letter in graph.adj(node).items())}"
                for node, color in enumerate(colors)
            ]
            colors = [sha256(text.encode()).hexdigest() for text in seen]
        return cls(graph, coefficients[order], tuple(sorted(colors)))
