"""p-spin models: the Hamiltonian of products of any number of spins, and a family of random ones."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal

import numpy as np

from qiskit_metainit.problem import Problem
from qiskit_metainit.problems._random_graphs import draw_weights
from qiskit_metainit.problems._settings import integers, numbers
from qiskit_metainit.problems._terms import problem_of, real_number


@dataclass(frozen=True, kw_only=True)
class PSpin:
    """Find the spins s = +1 (bit 0) or -1 (bit 1) of least energy ``sum_S J_S prod_(i in S) s_i``.

    An instance is a family of random p-spin models on sparse hypergraphs (as QAOA problems: Basso et al. 2022,
    arXiv:2204.10306): Max-p-XORSAT with "signs", and with every product and "normal" Derrida's p-spin glass (1980), but
    for the division of J by a power of n that is left out. ``from_terms`` gives the problem of one model.

    >>> problem = PSpin.from_terms({("a", "b", "c"): 1.0, ("a", "b"): -2.0, ("c",): 0.5})
    >>> problem.decode("110")
    {'a': 0, 'b': 1, 'c': 1}
    >>> problem.value("110")
    2.5
    >>> PSpin(sizes=[8], couplings="signs").sample(np.random.default_rng(7)).num_qubits
    8
    """

    sizes: Sequence[int] = (6, 7, 8, 9)
    """Numbers of spins, drawn uniformly."""
    order: int = 3
    """Spins a product, p."""
    terms_per_spin: Sequence[float] = (1.0, 2.0, 4.0)
    """Numbers of products over numbers of spins, drawn uniformly. So many different products are then drawn alike, or
    all there are if they are fewer."""
    pairs_per_spin: Sequence[float] = (0.0,)
    """The same for further products of two spins: more than zero for a mixed model."""
    couplings: Literal["normal", "signs"] = "normal"
    """How J is distributed: "normal" of mean 0 and variance 1, or the "signs" +1 and -1 alike."""

    def __post_init__(self) -> None:
        if not isinstance(self.order, Integral) or isinstance(self.order, bool) or self.order < 3:
            raise ValueError(
                f"order must be an integer >= 3, but {self.order!r} came. Pairs of spins are Ising's and MaxCut's."
            )
        terms = numbers(self.terms_per_spin, "terms_per_spin", "(1.0, 2.0, 4.0)")
        if self.couplings not in ("normal", "signs"):
            raise ValueError(f"couplings must be 'normal' or 'signs', but {self.couplings!r} came. Check its spelling.")
        object.__setattr__(self, "sizes", integers(self.sizes, "sizes", int(self.order)))
        object.__setattr__(self, "order", int(self.order))
        object.__setattr__(self, "terms_per_spin", terms)
        object.__setattr__(self, "pairs_per_spin", numbers(self.pairs_per_spin, "pairs_per_spin", "(0.0,)"))
        if min(terms) * min(self.sizes) < 1:
            raise ValueError(
                f"terms_per_spin must leave {min(self.sizes)} spins a product or more, but {min(terms)!r} does not. "
                "Raise it, or the sizes."
            )

    @property
    def settings(self) -> Mapping[str, Any]:
        """The keyword settings that rebuild this family, as JSON values."""
        return {
            "sizes": list(self.sizes),
            "order": self.order,
            "terms_per_spin": list(self.terms_per_spin),
            "pairs_per_spin": list(self.pairs_per_spin),
            "couplings": self.couplings,
        }

    def sample(self, rng: np.random.Generator) -> Problem:
        """Draw one model, with nodes 0..n-1."""
        size = self.sizes[int(rng.integers(len(self.sizes)))]
        products = _draw_products(size, self.order, self.terms_per_spin, rng)
        products += _draw_products(size, 2, self.pairs_per_spin, rng)
        drawn = draw_weights(self.couplings, len(products), rng)
        return problem_of("p_spin", range(size), dict(zip(products, drawn.tolist(), strict=True)))

    @staticmethod
    def from_terms(terms: Mapping[tuple[Hashable, ...], float]) -> Problem:
        """Return the problem of products of spins.

        Args:
            terms: J of tuples of different spins with any labels: one (a field), two, or more; () is a constant. Those
                of the same spins in another order add up. Spins are ordered by first appearance.

        Raises:
            TypeError: if a key is no tuple, or a number is not real.
            ValueError: if a spin is repeated, a number is not finite, or nothing is left but zeros.
        """
        if not isinstance(terms, Mapping):
            raise TypeError(
                f"Terms are needed as {{(i, j, k): J, ...}}, but a {type(terms).__name__} came. Make a dict of them."
            )
        place: dict[Hashable, int] = {}
        merged: dict[tuple[int, ...], float] = {}
        for spins, value in terms.items():
            if not isinstance(spins, tuple):
                raise TypeError(
                    f"Terms are needed as {{(i, j, k): J, ...}}, but the key {spins!r} came. Give tuples of spins, one "
                    "of one spin as (i,)."
                )
            key = tuple(sorted(place.setdefault(spin, len(place)) for spin in spins))
            if len(set(key)) < len(key):
                raise ValueError(f"Products of different spins are needed, but {spins!r} came. Remove what is squared.")
            merged[key] = merged.get(key, 0.0) + real_number(value, f"The coefficient of {spins!r}")
        return problem_of("p_spin", tuple(place), merged)


def _draw_products(size: int, order: int, per_spin: Sequence[float], rng: np.random.Generator) -> list[tuple[int, ...]]:
    every = math.comb(size, order)
    count = min(round(per_spin[int(rng.integers(len(per_spin)))] * size), every)
    if 2 * count > every:  # few are left out, so listing all is no waste
        products = list(itertools.combinations(range(size), order))
        return [products[i] for i in sorted(rng.choice(every, size=count, replace=False).tolist())]
    drawn: set[tuple[int, ...]] = set()
    while len(drawn) < count:
        drawn.add(tuple(sorted(rng.choice(size, size=order, replace=False).tolist())))
    return sorted(drawn)
