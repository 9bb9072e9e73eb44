"""Low autocorrelation binary sequences: the Hamiltonian of a length, and the family of several lengths."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from qiskit_metainit.problem import Problem
from qiskit_metainit.problems._settings import integers
from qiskit_metainit.problems._terms import problem_of


@dataclass(frozen=True, kw_only=True)
class Labs:
    """Find the sequence s of +1 (bit 0) and -1 (bit 1) of least energy ``sum_(k=1..n-1) (sum_i s_i s_(i+k))^2``.

    The sums in brackets are the autocorrelations (Bernasconi 1987; as a QAOA problem, with products of up to four
    spins: Shaydulin et al. 2024, arXiv:2308.02342). A problem's value is the energy E; the merit factor is
    n^2 / (2 E). There is one problem a length, so a family of one size has one problem.

    >>> problem = Labs.from_length(5)
    >>> problem.value("01000"), problem.value("11111")
    (2.0, 30.0)
    """

    sizes: Sequence[int] = (6, 7, 8, 9)
    """Lengths, drawn uniformly."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", integers(self.sizes, "sizes", 3))

    @property
    def settings(self) -> Mapping[str, Any]:
        """The keyword settings that rebuild this family, as JSON values."""
        return {"sizes": list(self.sizes)}

    def sample(self, rng: np.random.Generator) -> Problem:
        """Draw a length: its problem, with nodes 0..n-1."""
        return Labs.from_length(self.sizes[int(rng.integers(len(self.sizes)))])

    @staticmethod
    def from_length(length: int) -> Problem:
        """Return the problem of one length, at least 3; node i is element i of the sequence.

        Raises:
            ValueError: if it is no integer of at least 3 (shorter sequences all have the same energy).
        """
        if not isinstance(length, Integral) or isinstance(length, bool) or length < 3:
            raise ValueError(f"The length must be an integer >= 3, but {length!r} came: below, all energies are alike.")
        size = int(length)
        terms: Counter[tuple[int, ...]] = Counter()
        for k in range(1, size):
            # The square of a sum of products of spins: one for each square, and every other product of two twice.
            terms[()] += size - k
            for i, j in itertools.combinations(range(size - k), 2):
                terms[(i, j, i + k, j + k) if j != i + k else (i, j + k)] += 2
        merged: Counter[tuple[int, ...]] = Counter()
        for spins, count in terms.items():
            merged[tuple(sorted(spins))] += count
        return problem_of("labs", range(size), {spins: float(count) for spins, count in merged.items()})
