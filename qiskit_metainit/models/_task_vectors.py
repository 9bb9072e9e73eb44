"""What tells one task of a family from another as one vector of numbers, read from the Hamiltonian alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from scipy.linalg import hadamard

from qiskit_metainit.features import Features
from qiskit_metainit.pauli_form import pauli_form
from qiskit_metainit.problem import walsh

Array = NDArray[np.float64]

_EQUAL = 1e-8  # relative difference of coefficients that counts as none
_LETTERS = "XYZ"


def couplings(features: Features) -> Array | str:
    """Return (6,) J and h of ``- sum_i (Jx XX + Jy YY + Jz ZZ)_(i, i+1) - sum_i (hx X + hy Y + hz Z)_i``, or why not.

    The open chain of Lee et al. 2025 (arXiv:2501.05906, eq. 4), its sites numbered as the qubits.
    """
    x, z, coefficients = _terms(features)
    size = features.num_qubits
    found = dict(zip(zip(x.tolist(), z.tolist(), strict=True), coefficients.tolist(), strict=True))
    largest = np.abs(coefficients).max()
    vector = np.zeros(6)
    for kind in range(6):
        sites = range(size - 1 if kind < 3 else size)
        values = []
        for site in sites:
            mask = (3 if kind < 3 else 1) << site
            letter = _LETTERS[kind % 3]
            values.append(found.pop((mask * (letter in "XY"), mask * (letter in "YZ")), 0.0))
        if np.ptp(values) > _EQUAL * largest:
            return "the same coupling on every bond of an open chain, but they differ from bond to bond"
        vector[kind] = -values[0]
    return "nearest neighbours of an open chain coupled by XX, YY and ZZ, but other terms came" if found else vector


def coefficients(features: Features) -> Array:
    """Return the Pauli coefficients but the identity's, by the masks of X and then of Z, in the operator's units."""
    x, z, values = _terms(features)
    return np.asarray(values[np.lexsort((z, x))])


def target(features: Features) -> Array | str:
    """Return (2^Q,) probabilities times 2^Q of ``c (1 - |t><t|)`` with real t >= 0 (``Distribution``), or why not."""
    x, z, values = _terms(features)
    size = 1 << features.num_qubits
    if len(values) > size * (size + 1) // 2:
        return _NO_TARGET
    unit = np.sqrt(size * (values**2).sum() / (1 - 1 / size))
    diagonal = np.zeros(size)
    np.add.at(diagonal, z[x == 0], values[x == 0])
    density = 1 / size - walsh(diagonal) / unit
    if density.min() < -_EQUAL:
        return _NO_TARGET
    # Only with the right coefficients elsewhere are these the target's.
    amplitudes = np.sqrt(np.maximum(density, 0.0))
    flips, places = np.unique(x, return_inverse=True)
    products = amplitudes * amplitudes[np.arange(size) ^ flips[:, None]]  # (flips, 2^Q)
    expected = (products @ hadamard(size))[places, z]
    signs = 1 - np.bitwise_count(x & z).astype(np.int64) % 4  # a Y is i X Z, and real states see pairs of Y
    if np.abs(values + unit / size * signs * expected).max() > 1e-6 * unit / size:
        return _NO_TARGET
    return np.asarray(density * size)


_NO_TARGET = (
    "a Hamiltonian 1 - |t><t| of a state with amplitudes of at least 0 (problems.distribution), but another one came"
)

READERS: Mapping[str, Callable[[Features], Array | str]] = {
    "couplings": couplings,
    "coefficients": coefficients,
    "target": target,
}
"""How a task vector is read: its entries, or what is needed and what came."""


def task_vector(features: Features, kind: str) -> Array | str:
    """Return a task vector by the name of its reader, or why there is none; read once for the same features."""
    known = _VECTORS.setdefault(features, {})
    if kind not in known:
        known[kind] = READERS[kind](features)
    return known[kind]


_VECTORS: WeakKeyDictionary[Features, dict[str, Array | str]] = WeakKeyDictionary()


def fingerprint(circuit: QuantumCircuit) -> int | None:
    """Return a number of 48 bits for a circuit's rotations: the same however it is compiled or laid out.

    What it is made of: a column a qubit of the letters that each parameter turns there, with their slopes, and the
    qubit's bit in the initial state. Neither the order of the columns counts, nor that of a parameter's rotations. None
    for a circuit that is not of rotations after a Clifford.
    """
    form = pauli_form(circuit, SparsePauliOp("I" * circuit.num_qubits))
    if form is None:
        return None
    start = form.start
    columns = []
    for qubit in range(form.num_qubits):
        letters = [
            sorted((pauli.x >> qubit & 1, pauli.z >> qubit & 1, round(abs(slope), 9)) for _, pauli, slope in places)
            for places in form.driven
        ]
        if any(x or z for row in letters for x, z, _ in row):  # else a qubit that is passed through, or idle
            columns.append(f"{'?' if start is None else start >> qubit & 1} {letters}")
    told = repr((form.num_parameters, sorted(columns)))
    return int.from_bytes(hashlib.blake2b(told.encode(), digest_size=6).digest(), "big")


def _terms(features: Features) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """Return (K,) masks of X, masks of Z and coefficients of the logical Hamiltonian without its identity."""
    terms = features.terms
    weights, term, qubit, letter = (t.numpy() for t in (terms.weights, terms.term, terms.qubit, terms.letter))
    x, z = (np.zeros(len(weights), dtype=np.int64) for _ in range(2))
    bit = np.int64(1) << qubit
    np.add.at(x, term, np.where(letter != 3, bit, 0))
    np.add.at(z, term, np.where(letter != 1, bit, 0))
    return x, z, weights * _rms(features)


def _rms(features: Features) -> float:
    """Return the unit of ``features.terms``, which the features themselves do not depend on."""
    if features.source is None:
        return 1.0
    operator = features.source[1]
    acts = (operator.paulis.x | operator.paulis.z).any(axis=1)
    values = np.abs(operator.coeffs.real[acts])
    return float(np.sqrt(np.mean(values[values > 1e-12 * values.max()] ** 2)))
