"""Ising models: the Hamiltonian of given couplings and fields, and a family of random spin glasses."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from qiskit.quantum_info import SparseObservable, SparsePauliOp

from qiskit_metainit.problem import Problem, as_pauli_sum, is_diagonal


@dataclass(frozen=True, kw_only=True)
class Ising:
    """Find the spins s = +1 (bit 0) or -1 (bit 1) of least energy ``sum_(i<j) J_ij s_i s_j + sum_i h_i s_i``.

    An instance is the family of Sherrington-Kirkpatrick spin glasses, ``H = 1/sqrt(n) sum_(i<j) J_ij Z_i Z_j`` with
    independent J of mean 0 and variance 1 (Sherrington and Kirkpatrick 1975; as QAOA problems: Farhi et al. 2022,
    arXiv:1910.08187, and Verdon et al. 2019, arXiv:1907.05415). The constructors ``from_couplings`` and
    ``from_operator`` give the problem of one model.

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

    def __post_init__(self) -> None:
        sizes = tuple(self.sizes) if isinstance(self.sizes, Sequence) else ()
        if not sizes or not all(isinstance(n, Integral) and not isinstance(n, bool) and n >= 2 for n in sizes):
            raise ValueError(
                f"sizes must be a sequence of integers >= 2, such as (6, 7, 8, 9), but {self.sizes!r} came."
            )
        if self.couplings not in ("normal", "signs"):
            raise ValueError(f"couplings must be 'normal' or 'signs', but {self.couplings!r} came. Check its spelling.")
        object.__setattr__(self, "sizes", tuple(int(size) for size in sizes))

    @property
    def settings(self) -> Mapping[str, Any]:
        """The keyword settings that rebuild this family, as JSON values."""
        return {"sizes": list(self.sizes), "couplings": self.couplings}

    def sample(self, rng: np.random.Generator) -> Problem:
        """Draw one spin glass, with nodes 0..n-1."""
        size = self.sizes[int(rng.integers(len(self.sizes)))]
        pairs = list(itertools.combinations(range(size), 2))
        signs = self.couplings == "signs"
        drawn = 2.0 * rng.integers(2, size=len(pairs)) - 1.0 if signs else rng.standard_normal(len(pairs))
        return _problem(range(size), dict(zip(pairs, (drawn / math.sqrt(size)).tolist(), strict=True)), {})

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
        merged: dict[tuple[int, int], float] = {}
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
            merged[key] = merged.get(key, 0.0) + _number(value, f"The coupling of {pair!r}")
        biases = {
            place.setdefault(spin, len(place)): _number(value, f"The field of {spin!r}")
            for spin, value in (fields or {}).items()
        }
        return _problem(tuple(place), merged, biases)

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


def _problem(
    nodes: Sequence[Hashable], couplings: Mapping[tuple[int, int], float], fields: Mapping[int, float]
) -> Problem:
    terms = [("ZZ", list(pair), value) for pair, value in couplings.items()]
    terms += [("Z", [spin], value) for spin, value in fields.items()]
    terms = [term for term in terms if term[2] != 0]
    if not terms:
        raise ValueError(
            f"A coupling or a field other than zero is needed, but {len(nodes)} spins came without. Add some."
        )
    operator = SparsePauliOp.from_sparse_list(terms, num_qubits=len(nodes))
    return Problem(operator=operator, family="ising", nodes=tuple(nodes))


def _number(value: object, what: str) -> float:
    if not isinstance(value, Real):
        raise TypeError(f"{what} must be a real number, but {value!r} ({type(value).__name__}) came.")
    if not math.isfinite(value):
        raise ValueError(f"{what} must be finite, but {value!r} came. Replace or remove it.")
    return float(value)
