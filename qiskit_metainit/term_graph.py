"""What message passing sees of a Hamiltonian: the hypergraph of its terms, with numbers at terms and qubits.

A field counts as a coupling to one ancilla spin, as in the SK-infinity rule. Every number stays the same if qubits are
relabelled, single spins flipped or the Hamiltonian scaled. Shapes: K terms, S spins (the touched qubits, then the
ancilla if there are fields), M incidences of a term and a qubit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

Array = NDArray[np.float64]

_WALKS = 5  # steps of the longest

TERM_FEATURES = (
    "size",  # |w|, as log(1 + |w|); weights have rms 1
    "square",  # w^2
    "log",  # log |w|
    "order",  # qubits of the term, 2 for a field
    # Of pairs, positive where walks of k + 1 steps around it are frustrated; then the same with all weights 1.
    *(f"walks_{k}" for k in range(2, _WALKS + 1)),
    *(f"paths_{k}" for k in range(2, _WALKS + 1)),
)
"""Names of the numbers a term has, in order; all but "log" and "order" as sign(x) log(1 + |x|)."""

SPIN_FEATURES = (
    "degree",  # terms of the spin over their mean number d
    "strength",  # sum w^2 / d
    "size",  # sum |w| / d
    "inverse_degree",  # 1 / d
    "ancilla",  # whether this is the ancilla
)
"""Names of the numbers a spin has, in order; the first three as log(1 + x) and 0 for the ancilla."""

_DENSE = 512  # spins up to which matrices are dense
_WORK = 60_000_000  # multiplications a step may take, beyond; walks are counted from as many spins as that allows
_HELD = 4_000_000  # numbers a step may hold


@dataclass(frozen=True, eq=False)
class TermGraph:
    """The hypergraph of spins, whose hyperedges are terms."""

    members: tuple[Int[Tensor, "K O"], ...]
    """The spins of the terms on O spins, for one O after another."""
    terms: tuple[Float[Tensor, "K E"], ...]
    """Numbers of the same terms, named by ``TERM_FEATURES``."""
    spins: Float[Tensor, "S N"]
    """Numbers a spin, named by ``SPIN_FEATURES``."""


def term_graph(weights: Array, term: NDArray[np.int64], qubit: NDArray[np.int64]) -> TermGraph:
    """Return the hypergraph of (K,) weights of rms 1 with (M,) incidences, ascending by term.

    With d the mean number of couplings a qubit and P_k the Chebyshev polynomials of the second kind on [-2, 2]
    (P_0 = 1, P_1 = x, P_(k+1) = x P_k - P_(k-1)), walks are ``sqrt(d) w_ij P_k(W / sqrt(d))_ij``: on large random
    graphs these count the walks that do not turn back. Of large problems they are counted from a random sample of
    spins, from a fixed seed, and other terms take those of the term counted whose weight is nearest in size.
    """
    found, place = np.unique(qubit, return_inverse=True)
    order = np.bincount(term, minlength=weights.size)
    fields = np.flatnonzero(order == 1)
    size = found.size + bool(fields.size)
    degree = term.size / found.size
    term = np.concatenate([term, fields])
    spin = np.concatenate([place, np.full(fields.size, found.size)])
    ascending = np.argsort(term, kind="stable")
    term, spin = term[ascending], spin[ascending]
    own = weights[term]
    ancilla = np.arange(size) == found.size
    sums = [np.bincount(spin, values, minlength=size) / degree for values in (own**0, own**2, np.abs(own))]
    walks = np.zeros((weights.size, 2 * (_WALKS - 1)))
    pairs = np.flatnonzero(order <= 2)
    if pairs.size:
        ends = spin[order[term] <= 2].reshape(-1, 2)
        walks[pairs] = _walks(weights[pairs], ends, size, degree)
    absolute = np.abs(weights)
    known = [absolute, weights**2, np.log(absolute + 1e-3), np.maximum(order, 2.0), *walks.T]
    named = zip(TERM_FEATURES, known, strict=True)
    terms = [values if name in ("log", "order") else _tame(values) for name, values in named]
    spins = [*(np.where(ancilla, 0.0, np.log1p(values)) for values in sums), np.full(size, 1.0 / degree), ancilla]
    seen, table = np.maximum(order, 1 + (order == 1)), np.stack(terms, axis=1)
    kinds = np.unique(seen)
    return TermGraph(
        members=tuple(torch.as_tensor(spin[seen[term] == kind].reshape(-1, kind)) for kind in kinds),
        terms=tuple(torch.as_tensor(table[seen == kind]) for kind in kinds),
        spins=torch.as_tensor(np.stack(spins, axis=1)),
    )


def _tame(values: Array) -> Array:
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)))


def _walks(weights: Array, ends: NDArray[np.int64], size: int, degree: float) -> Array:
    """Return (E, 8) of E pairs: walks of 2 to 5 steps, weighted, then with all weights 1 over d^((k - 1) / 2)."""
    rows = size if size <= _DENSE else min(_WORK // (2 * len(ends)), _HELD // size) + 1
    chosen = np.sort(np.random.default_rng(0).permutation(np.unique(ends))[:rows])  # each the end of some pair
    row_of = np.full(size, -1)
    row_of[chosen] = np.arange(chosen.size)
    turned = row_of[ends[:, 0]] < 0
    row = row_of[np.where(turned, ends[:, 1], ends[:, 0])]
    column = np.where(turned, ends[:, 0], ends[:, 1])
    counted = row >= 0
    both = (np.concatenate([ends[:, 0], ends[:, 1]]), np.concatenate([ends[:, 1], ends[:, 0]]))
    columns = []
    for values, growth in ((weights, 0.0), (np.ones_like(weights), 0.5)):
        matrix = sparse.csr_array((np.tile(values, 2) / np.sqrt(degree), both), shape=(size, size))
        before = np.zeros((size, chosen.size))  # columns of P_0, P_1 and so on: the matrices are symmetric
        before[chosen, np.arange(chosen.size)] = 1.0
        step = matrix.toarray() if size <= _DENSE else matrix
        now = step @ before
        for k in range(2, _WALKS + 1):
            before, now = now, step @ now - before
            columns.append(np.sqrt(degree) * values * now[column, row] / degree ** (growth * (k - 1)))
    found = np.stack(columns, axis=1)
    return found if counted.all() else found[_nearest(np.abs(weights), counted)]


def _nearest(sizes: Array, counted: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return for each place itself if counted, else the place counted that is nearest in size."""
    known = np.flatnonzero(counted)
    known = known[np.argsort(sizes[known], kind="stable")]
    above = np.clip(np.searchsorted(sizes[known], sizes), 1, max(known.size - 1, 1))
    above = np.minimum(above, known.size - 1)
    below = np.maximum(above - 1, 0)
    closer = np.where(sizes - sizes[known[below]] < sizes[known[above]] - sizes, known[below], known[above])
    return np.where(counted, np.arange(sizes.size), closer)
