"""Ising models: the Hamiltonian of given couplings and fields, and a family of random spin glasses."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from qiskit.quantum_info import SparseObservable, SparsePauliOp

from qiskit_metainit.problem import Problem, as_pauli_sum, is_diagonal
from qiskit_metainit.problems._random_graphs import SMALLEST, draw_pairs, draw_weights
from qiskit_metainit.problems._settings import choices, integers, numbers
from qiskit_metainit.problems._terms import problem_of, real_number


@dataclass(frozen=True, kw_only=True)
class Ising:
    """Find the spins s = +1 (bit 0) or -1 (bit 1) of least energy ``sum_(i<j) J_ij s_i s_j + sum_i h_i s_i``.

    An instance is the family of Sherrington-Kirkpatrick spin glasses, ``H = 1/sqrt(n) sum_(i<j) J_ij Z_i Z_j`` with
    independent J of mean 0 and variance 1 (Sherrington and Kirkpatrick 1975; as QAOA problems: Farhi et al. 2022,
    arXiv:1910.08187, and Verdon et al. 2019, arXiv:1907.05415), or of spin glasses on other graphs and in random
    fields. The constructors ``from_couplings`` and ``from_operator`` give the problem of one model.

    >>> problem = Ising.from_couplings({("a", "b"): 1.0, ("b", "c"): -2.0}, fields={"c": 0.5})
    >>> problem.decode("110")
    {'a': 0, 'b': 1, 'c': 1}
    >>> problem.value("110")
    -3.5
    >>> Ising(sizes=[8], couplings="signs").sample(np.random.default_rng(7)).num_qubits
    8
    """

    sizes: Sequence[int] = (6, 7, 8, 9)
    """Numbers of spins, drawn uniformly."""
    couplings: Literal["normal", "signs"] = "normal"
    """How J is distributed: "normal" of mean 0 and variance 1, or the "signs" +1 and -1 alike."""
    graphs: Sequence[str] = ("complete",)
    """Which spins are coupled: kinds of graph as ``MaxCut`` draws them, drawn uniformly. J is divided by the square
    root of 1 + mean degree, which is n on the complete graph of Sherrington and Kirkpatrick."""
    fields: Literal["none", "normal", "uniform", "signs"] = "none"
    """How the fields h are distributed, independently on each spin and of mean 0: not at all, "normal", "uniform", or
    the "signs" of one strength."""
    field_strength: Sequence[float] = (0.1, 1.0)
    """Smallest and largest rms of the fields, in units of the instance's rms of the couplings; an instance's is drawn
    uniformly between them."""

    def __post_init__(self) -> None:
        graphs = choices(self.graphs, "graphs", tuple(SMALLEST))
        sizes = integers(self.sizes, "sizes", max(SMALLEST[kind] for kind in graphs))
        strength = numbers(self.field_strength, "field_strength", "(0.1, 1.0)")
        if self.couplings not in ("normal", "signs"):
            raise ValueError(f"couplings must be 'normal' or 'signs', but {self.couplings!r} came. Check its spelling.")
        if self.fields not in ("none", "normal", "uniform", "signs"):
            raise ValueError(
                f"fields must be 'none', 'normal', 'uniform' or 'signs', but {self.fields!r} came. Check its spelling."
            )
        if len(strength) != 2 or strength[0] > strength[1]:
            raise ValueError(
                "field_strength must be the smallest and the largest strength, such as (0.1, 1.0), but "
                f"{self.field_strength!r} came. Give one strength as (0.5, 0.5)."
            )
        object.__setattr__(self, "sizes", sizes)
        object.__setattr__(self, "graphs", graphs)
        object.__setattr__(self, "field_strength", strength)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The keyword settings that rebuild this family, as JSON values."""
        return {
            "sizes": list(self.sizes),
            "couplings": self.couplings,
            "graphs": list(self.graphs),
            "fields": self.fields,
            "field_strength": list(self.field_strength),
        }

    def sample(self, rng: np.random.Generator) -> Problem:
        """Draw one spin glass, with nodes 0..n-1."""
        size = self.sizes[int(rng.integers(len(self.sizes)))]
        pairs = draw_pairs(self.graphs[int(rng.integers(len(self.graphs)))], size, rng)
        drawn = draw_weights(self.couplings, len(pairs), rng) / math.sqrt(1 + 2 * len(pairs) / size)
        terms: dict[tuple[int, ...], float] = dict(zip(pairs, drawn.tolist(), strict=True))
        if self.fields != "none":
            least, most = self.field_strength
            strength = rng.uniform(least, most) * math.sqrt(np.mean(drawn**2))
            fields = strength * _of_variance_one(self.fields, size, rng)
            terms |= {(i,): field for i, field in enumerate(fields.tolist())}
        return problem_of("ising", range(size), terms)

    @staticmethod
    def from_couplings(
        couplings: Mapping[tuple[Hashable, Hashable], float], *, fields: Mapping[Hashable, float] | None = None
    ) -> Problem:
        """Return the problem of couplings J and fields h.

        Args:
            couplings: J of pairs of spins with any labels; those of (i, j) and (j, i) add up. Spins are ordered by
                first appearance, in the couplings first.
            fields: h of spins.

        Raises:
            TypeError: if a key of the couplings is no pair, or a number is not real.
            ValueError: if a spin is coupled to itself, a number is not finite, or nothing is left but zeros.
        """
        merged: dict[tuple[int, ...], float] = {}
        place: dict[Hashable, int] = {}
        for pair, value in couplings.items():
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise TypeError(
                    f"Couplings are needed as {{(i, j): J}}, but the key {pair!r} came. Give pairs of spins."
                )
            i, j = (place.setdefault(spin, len(place)) for spin in pair)
            if i == j:
                raise ValueError(f"Couplings of two different spins are needed, but {pair!r} came. Remove it.")
            key = (min(i, j), max(i, j))
            merged[key] = merged.get(key, 0.0) + real_number(value, f"The coupling of {pair!r}")
        for spin, value in (fields or {}).items():
            merged[(place.setdefault(spin, len(place)),)] = real_number(value, f"The field of {spin!r}")
        return problem_of("ising", tuple(place), merged)

    @staticmethod
    def from_operator(
        operator: SparsePauliOp | SparseObservable, *, nodes: Sequence[Hashable] | None = None
    ) -> Problem:
        """Return the problem of a diagonal Hamiltonian to be minimised, identity and longer products of Z included.

        Args:
            operator: products of Z with real coefficients.
            nodes: a label a qubit, qubit 0 first; by default the qubits' numbers.

        Raises:
            ValueError: if the operator has X or Y terms or is not Hermitian, or the labels do not fit.
        """
        merged = as_pauli_sum(operator)
        if not is_diagonal(merged):
            raise ValueError("A diagonal operator (products of Z only) is needed, but this one has X or Y terms.")
        labels = tuple(range(merged.num_qubits)) if nodes is None else tuple(nodes)
        if len(set(labels)) != merged.num_qubits or len(labels) != merged.num_qubits:
            raise ValueError(f"{merged.num_qubits} different labels are needed, one a qubit, but {labels!r} came.")
        return Problem(operator=merged, family="ising", nodes=labels)


def _of_variance_one(kind: str, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    drawn = draw_weights(kind, count, rng)
    return math.sqrt(12) * (drawn - 0.5) if kind == "uniform" else drawn
