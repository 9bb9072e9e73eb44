"""Numbers that tell one diagonal problem from another: how weights, cycles and spectra of its couplings are spread.

A field counts as a coupling to one ancilla spin, as in the SK-infinity rule; terms on more than two qubits are left
out. Every number stays the same if qubits are relabelled, single spins flipped or the Hamiltonian scaled. With W the
couplings of rms 1, d their mean number a touched qubit and s_i = sum_j w_ij^2 the strength of a qubit, the spectra are
those of W / sqrt(d) ("signed"), of |W| / sqrt(d) ("absolute") and of w_ij sqrt(d / (s_i s_j)) ("balanced").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import eigsh

Array = NDArray[np.float64]

INVARIANTS = (
    "strength_skewness",  # third and fourth central moments of s_i / d
    "strength_kurtosis",
    "dominance",  # mean over qubits of sum_j w_ij^4 / s_i^2: 1 where one coupling outweighs the others
    "even_degrees",  # share of qubits with an even number of couplings
    "weight_strength",  # mean over couplings of w^2 (s_i + s_j) / 2d, of |w| (s_i + s_j) / 2d, of w^2 s_i s_j / d^2
    "size_strength",
    "strength_strength",
    "weight_sixth",  # log of mean w^6
    "weight_log",  # mean log |w|
    "weight_small",  # mean of min(|w|, 0.3)
    "weight_large",  # mean of max(|w| - 1, 0)
    "walks",  # with t_ij = (W^2)_ij: mean over couplings of t^2 / d, w^2 t^2 / d, w^3 t / sqrt(d), |w t| / sqrt(d)
    "walks_weighted",
    "walks_cubed",
    "walks_absolute",
    "walks_third",  # and of sign(w) t^3 / d^(3/2)
    *(f"{kind}_{name}" for kind in ("signed", "absolute", "balanced") for name in ("least", "second", "last", "most")),
    *(f"{kind}_moment_{k}" for kind in ("signed", "absolute", "balanced") for k in (3, 4, 5, 6)),  # mean lambda^k
    *(f"{kind}_{name}_spread" for kind in ("signed", "absolute", "balanced") for name in ("least", "most")),  # sum v^4
)
"""Names, in order."""

_DENSE = 512  # spins up to which all eigenvalues are computed
_PROBES = 16  # vectors of random signs that estimate the moments beyond
_WORK = 5_000_000  # multiplications that a square of a matrix may take before rows are sampled


def invariants(weights: Array, term: NDArray[np.int64], qubit: NDArray[np.int64], num_qubits: int) -> Array:
    """Return the (I,) numbers named in ``INVARIANTS``, as sign(x) log(1 + |x|); zeros without couplings.

    Args:
        weights: (K,) of the terms.
        term: (M,) term of each incidence, in order.
        qubit: (M,) qubit of each incidence.
        num_qubits: Q.

    Of large problems the moments of the spectra are estimated with random signs and the walks on a sample of spins,
    from a fixed seed, so that renumbering the qubits changes them by about a per cent.
    """
    matrix, ancilla = _couplings(weights, term, qubit, num_qubits)
    if matrix.nnz == 0:
        return np.zeros(len(INVARIANTS))
    rows, columns = matrix.tocoo().coords
    w, size = matrix.data, matrix.shape[0]
    degrees, strengths, fourth = (np.bincount(rows, values, minlength=size) for values in (w**0, w**2, w**4))
    spins = np.arange(size) != ancilla
    degree = float(degrees[spins].mean())
    own = strengths[spins] / strengths[spins].mean()
    one, other = strengths[rows] / degree, strengths[columns] / degree
    places, walks = _walks(matrix)
    along, root = w[places], np.sqrt(degree)
    values = {
        "strength_skewness": ((own - 1) ** 3).mean(),
        "strength_kurtosis": ((own - 1) ** 4).mean(),
        "dominance": (fourth / strengths**2)[spins].mean(),
        "even_degrees": (degrees[spins] % 2 == 0).mean(),
        "weight_strength": (w**2 * (one + other)).mean() / 2,
        "size_strength": (np.abs(w) * (one + other)).mean() / 2,
        "strength_strength": (w**2 * one * other).mean(),
        "weight_sixth": np.log((w**6).mean()),
        "weight_log": np.log(np.abs(w) + 1e-3).mean(),
        "weight_small": np.minimum(np.abs(w), 0.3).mean(),
        "weight_large": np.maximum(np.abs(w) - 1, 0).mean(),
        "walks": (walks**2).mean() / degree,
        "walks_weighted": (along**2 * walks**2).mean() / degree,
        "walks_cubed": (along**3 * walks).mean() / root,
        "walks_absolute": np.abs(along * walks).mean() / root,
        "walks_third": (np.sign(along) * walks**3).mean() / root**3,
    }
    scaled = {"signed": w / root, "absolute": np.abs(w) / root, "balanced": w / np.sqrt(one * other) / root}
    for kind, data in scaled.items():
        spectrum = _spectrum(sparse.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape))
        values |= {f"{kind}_{name}": value for name, value in spectrum.items()}
    numbers = np.array([values[name] for name in INVARIANTS])
    return np.asarray(np.sign(numbers) * np.log1p(np.abs(numbers)))


def _couplings(
    weights: Array, term: NDArray[np.int64], qubit: NDArray[np.int64], num_qubits: int
) -> tuple[sparse.csr_array, int]:
    """Return the symmetric (S, S) couplings of the touched spins, of rms 1, and the ancilla's place, -1 if none."""
    order = np.bincount(term, minlength=weights.size)
    first = np.searchsorted(term, np.arange(weights.size))
    used = np.flatnonzero(order <= 2)
    start = qubit[first[used]]
    end = np.where(order[used] == 2, qubit[np.minimum(first[used] + 1, term.size - 1)], num_qubits)
    touched, ends = np.unique(np.stack([start, end]), return_inverse=True)
    ends = ends.reshape(2, -1)
    size = int(touched.size)
    values = weights[used]
    if values.size:
        values = values / np.sqrt(np.mean(values**2))
    both = (np.concatenate([ends[0], ends[1]]), np.concatenate([ends[1], ends[0]]))
    matrix = sparse.csr_array((np.tile(values, 2), both), shape=(size, size))
    matrix.sort_indices()
    return matrix, size - 1 if size and touched[-1] == num_qubits else -1


def sampled_rows(matrix: sparse.csr_array) -> NDArray[np.int64]:
    """Return the rows of a sparse matrix whose square is to be looked at: all if that is cheap, else a random sample.

    The sample is drawn from a fixed seed, so that a problem has one answer.
    """
    size = matrix.shape[0]
    counts = np.diff(matrix.indptr).astype(float)
    ones = sparse.csr_array((np.ones(matrix.nnz), matrix.indices, matrix.indptr), shape=matrix.shape)
    work = np.asarray(ones @ counts)  # multiplications a row of the square takes
    if work.sum() <= _WORK:
        return np.arange(size)
    order = np.random.default_rng(0).permutation(size)
    return np.sort(order[: max(64, int(np.searchsorted(np.cumsum(work[order]), _WORK)))])


def _walks(matrix: sparse.csr_array) -> tuple[NDArray[np.int64], Array]:
    """Return the places of stored entries (i, j) and (W^2)_ij there: of all, or of a sample of rows."""
    chosen = sampled_rows(matrix)
    part = matrix[chosen]
    product = part @ matrix
    product.sort_indices()
    rows, columns = part.tocoo().coords
    counts = np.diff(part.indptr)
    places = np.arange(part.nnz) + np.repeat(matrix.indptr[chosen] - part.indptr[:-1], counts)
    return places, np.asarray(product[rows, columns]).ravel()


def _spectrum(matrix: sparse.csr_array) -> dict[str, float]:
    """Return the ends, moments and how the eigenvectors at the ends are spread of a symmetric matrix."""
    size = matrix.shape[0]
    if size <= _DENSE:
        values, vectors = np.linalg.eigh(matrix.toarray())
        moments = [(values**k).mean() for k in (3, 4, 5, 6)]
    else:
        rng = np.random.default_rng(0)
        values, vectors = eigsh(matrix, k=4, which="BE", tol=3e-2, v0=rng.standard_normal(size))
        order = np.argsort(values)
        values, vectors = values[order], vectors[:, order]
        once = 2.0 * rng.integers(2, size=(size, _PROBES)) - 1.0
        twice = matrix @ once
        thrice = matrix @ twice
        again = matrix @ thrice
        moments = [float(np.mean(twice * thrice)), float(np.mean(thrice * thrice))]
        moments += [float(np.mean(thrice * again)), float(np.mean(again * again))]
    fourth = (vectors[:, [0, -1]] ** 4).sum(axis=0)
    return {
        "least": values[0],
        "second": values[1],
        "last": values[-2],
        "most": values[-1],
        **{f"moment_{k}": moment for k, moment in zip((3, 4, 5, 6), moments, strict=True)},
        "least_spread": fourth[0],
        "most_spread": fourth[1],
    }
