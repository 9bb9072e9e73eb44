"""A Hamiltonian to minimise, its family, and how its outcomes read in the user's own terms."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparseObservable, SparsePauliOp

Number = TypeVar("Number", np.float64, np.complex128)


def as_pauli_sum(operator: SparsePauliOp | SparseObservable) -> SparsePauliOp:
    """Return any supported Hermitian operator as a Pauli sum, merged and checked.

    Args:
        operator: a ``SparsePauliOp`` or ``SparseObservable`` with real, finite, unparameterised coefficients.

    Returns:
        The same operator with duplicate terms merged and exact zeros dropped. The identity term stays.

    Raises:
        TypeError: if it is of another type.
        ValueError: if a coefficient is not a finite real number, or nothing but the identity is left.

    >>> as_pauli_sum(SparsePauliOp(["ZZ", "ZZ"], [0.5, 0.5]))
    SparsePauliOp(['ZZ'],
                  coeffs=[1.+0.j])
    """
    check_operator(operator)
    if isinstance(operator, SparseObservable):
        operator = SparsePauliOp.from_sparse_observable(operator)
    coefficients = operator.coeffs
    if coefficients.dtype == object:
        raise ValueError(
            "The operator's coefficients must be numbers, but it has unbound parameters. Bind them first with "
            "operator.assign_parameters(...)."
        )
    _check_real(coefficients, operator)
    real = SparsePauliOp(operator.paulis, coefficients.real)
    merged = real.simplify(atol=0.0, rtol=0.0)
    _check_not_constant(np.any(merged.paulis.x | merged.paulis.z, axis=1), merged.coeffs)
    return merged


def check_operator(operator: Any) -> SparsePauliOp | SparseObservable:
    """Return the operator, or raise a TypeError if it is neither ``SparsePauliOp`` nor ``SparseObservable``."""
    if isinstance(operator, Problem):
        raise TypeError("An operator is needed, but a Problem came. Give its operator: problem.operator.")
    if not isinstance(operator, SparsePauliOp | SparseObservable):
        raise TypeError(
            "The operator must be a qiskit SparsePauliOp or SparseObservable, "
            f"but a {type(operator).__name__} came. Build one with SparsePauliOp.from_list([('ZZ', 1.0), ...])."
        )
    return operator


def _check_real(coefficients: NDArray[np.complex128], operator: SparsePauliOp | SparseObservable) -> None:
    if not np.all(np.isfinite(coefficients)):
        place = int(np.flatnonzero(~np.isfinite(coefficients))[0])
        bad = operator.paulis[place] if isinstance(operator, SparsePauliOp) else operator[place]
        raise ValueError(f"The operator's coefficients must be finite, but the one of {bad} is not. Check the weights.")
    if np.any(np.abs(coefficients.imag) > 1e-12 * max(1.0, float(np.abs(coefficients).max(initial=0.0)))):
        raise ValueError(
            "The operator must be Hermitian (real coefficients), but some coefficients are complex. "
            "Take (operator + operator.adjoint()) / 2 if the imaginary part is numerical noise."
        )


def _check_not_constant(acts: NDArray[np.bool_], coefficients: NDArray[np.complex128]) -> None:
    if not acts[coefficients != 0].any():
        raise ValueError(
            "The operator must have at least one non-identity term with a non-zero coefficient, but it is constant: "
            "every state has the same energy, so there is nothing to optimise."
        )


@dataclass(frozen=True, eq=False)
class PauliTerms:
    """The K terms of a Pauli sum but for the identity, with M places where one acts on a qubit: never densified."""

    coefficients: NDArray[np.float64]
    """(K,)"""
    term: NDArray[np.int64]
    """(M,) term of each place, ascending."""
    qubit: NDArray[np.int64]
    """(M,) qubit of each place."""
    letter: NDArray[np.int64]
    """(M,) 1, 2, 3 for X, Y, Z."""
    num_qubits: int
    """Q."""

    @classmethod
    def of(cls, operator: SparsePauliOp | SparseObservable) -> PauliTerms:
        """Return the terms of an operator; those that are but rounding residue of sums are left out.

        Raises:
            TypeError, ValueError: as ``as_pauli_sum``.

        >>> PauliTerms.of(SparseObservable.from_sparse_list([("ZZ", [0, 9], 0.5), ("", [], 3.0)], 10)).qubit
        array([0, 9])
        """
        if isinstance(operator, SparseObservable) and _plain(operator):
            # A SparsePauliOp of 10^6 terms on 10^5 qubits would take 25 GB.
            _check_real(np.asarray(operator.coeffs), operator)
            observable = operator.simplify(0.0)
            ends = np.asarray(observable.boundaries, dtype=np.int64)
            order = ends[1:] - ends[:-1]
            coefficients = np.asarray(observable.coeffs)
            _check_not_constant(order > 0, coefficients)
            letters = np.array([0, 3, 1, 2])[np.asarray(observable.bit_terms)]  # Qiskit's Z 1, X 2, Y 3
            qubits = np.asarray(observable.indices, dtype=np.int64)
        else:
            merged = as_pauli_sum(operator)
            support = merged.paulis.x | merged.paulis.z
            coefficients, order = merged.coeffs, support.sum(axis=1)
            rows, qubits = np.nonzero(support)
            letters = np.array([0, 1, 3, 2])[(merged.paulis.x + 2 * merged.paulis.z)[rows, qubits]]
        sizes = np.where(order > 0, np.abs(coefficients), 0.0)
        kept = sizes > 1e-12 * sizes.max()  # such residue is left where a QUBO became an Ising model
        places = np.repeat(kept, order)
        term = np.repeat(np.cumsum(kept) - 1, order)[places]
        return cls(coefficients.real[kept], term, qubits[places], letters[places], int(operator.num_qubits))

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """(K,) qubits a term."""
        return np.bincount(self.term, minlength=self.coefficients.size)


def _plain(operator: SparseObservable) -> bool:
    return bool((np.asarray(operator.bit_terms) <= 3).all())  # above are projectors


def offset(operator: SparsePauliOp) -> float:
    """Return the coefficient of the identity: the mean of the spectrum."""
    identity = ~np.any(operator.paulis.x | operator.paulis.z, axis=1)
    return float(operator.coeffs[identity].real.sum())


def is_diagonal(operator: SparsePauliOp) -> bool:
    """Return whether every term is a product of Z."""
    return not bool(operator.paulis.x.any())


@dataclass(frozen=True)
class Levels:
    """What the energies of a problem's trial states are measured against."""

    lowest: float
    """Exact or best-known lowest energy, in the operator's units."""
    unit: float
    """Energy above it that counts as an excess of one, in the operator's units."""
    name: str
    """What an excess is, such as "relative gap to the ground state"."""
    target: float
    """Excess from which on there is little left to optimise."""

    def __post_init__(self) -> None:
        if not self.unit > 0:
            raise ValueError(f"An energy unit above zero is needed, but {self.unit!r} came.")

    def excess(self, energy: float) -> float:
        """Return how far an energy lies above the lowest one, in units.

        >>> Levels(lowest=-4.0, unit=2.0, name="share", target=0.1).excess(-3.0)
        0.5
        """
        return (energy - self.lowest) / self.unit


@dataclass(frozen=True, eq=False)
class Problem:
    """One instance: the Hamiltonian that solvers minimise, and its reading in the user's terms.

    Node i of ``nodes`` is qubit i, the i-th character of a bitstring *from the right*.
    """

    operator: SparsePauliOp
    """The Hamiltonian to be minimised."""
    family: str
    """Name of the family, as the plugins list it."""
    nodes: tuple[Hashable, ...]
    """The user's label of each qubit."""
    maximise: bool = False
    """Whether the user maximises; the operator is then minus the user's objective."""
    ansatz: QuantumCircuit | None = None
    """Prepares the trial states of a VQE; None for QAOA, whose circuit is the operator's own."""
    levels: Levels | None = None
    """What energies are measured against, if that is known."""
    hints: Mapping[str, Any] = field(default_factory=dict)
    """What is known of the instance besides its operator: numbers of a task, or sequences of one number a parameter of
    the ansatz, such as classical amplitudes."""

    @property
    def num_qubits(self) -> int:
        """Number of qubits, one a node."""
        return len(self.nodes)

    def decode(self, bitstring: str) -> dict[Hashable, int]:
        """Return each node's bit.

        Args:
            bitstring: as Qiskit prints it, qubit 0 at the right end.

        Raises:
            ValueError: if it is not a string of one 0 or 1 a node.
        """
        if len(bitstring) != self.num_qubits or set(bitstring) - {"0", "1"}:
            raise ValueError(
                f"A bitstring of {self.num_qubits} characters 0 or 1 is needed (one a node), but {bitstring!r} came. "
                "Remove spaces and the bits of other registers."
            )
        return {node: int(bit) for node, bit in zip(self.nodes, reversed(bitstring), strict=True)}

    def partition(self, bitstring: str) -> tuple[tuple[Hashable, ...], tuple[Hashable, ...]]:
        """Return the nodes with bit 0 and the nodes with bit 1."""
        bits = self.decode(bitstring)
        zeros = tuple(node for node, bit in bits.items() if not bit)
        return zeros, tuple(node for node, bit in bits.items() if bit)

    def value(self, outcome: float | str) -> float:
        """Return what an outcome is worth in the user's sense and units.

        Args:
            outcome: an energy of ``operator`` (an expectation or an eigenvalue), or a bitstring.

        Raises:
            ValueError: if a bitstring is malformed or the operator is not diagonal, so bitstrings have no energy.
        """
        energy = self._energy(outcome) if isinstance(outcome, str) else float(outcome)
        return -energy if self.maximise else energy

    def _energy(self, bitstring: str) -> float:
        if not is_diagonal(self.operator):
            raise ValueError(
                "A bitstring has an energy only under a diagonal operator, but this one has X or Y terms. "
                "Give the expectation value instead."
            )
        bits = np.array(list(self.decode(bitstring).values()), dtype=np.int64)
        signs = 1 - 2 * ((self.operator.paulis.z.astype(np.int64) @ bits) % 2)
        return float(np.real(self.operator.coeffs) @ signs)


@runtime_checkable
class Family(Protocol):
    """A distribution of problems to learn from: settings are keywords, problems are drawn with ``sample``."""

    def sample(self, rng: np.random.Generator) -> Problem:
        """Draw one instance."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """The keyword settings that rebuild this family, as JSON values."""
        ...


def diagonal_values(operator: SparsePauliOp) -> NDArray[np.float64]:
    """Return the 2^Q eigenvalues of a diagonal operator, index = the bitstring read as an integer.

    Raises:
        ValueError: if the operator is not diagonal.
    """
    if not is_diagonal(operator):
        raise ValueError("The operator must be diagonal (products of Z only), but it has X or Y terms.")
    coefficients = np.zeros(1 << int(operator.num_qubits))
    np.add.at(coefficients, masks(operator.paulis.z), operator.coeffs.real)
    return walsh(coefficients)


def masks(bits: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return (K,) integers from (K, Q) bits, qubit 0 the least significant."""
    return bits.astype(np.int64) @ (np.int64(1) << np.arange(bits.shape[1], dtype=np.int64))


def walsh(coefficients: NDArray[Number]) -> NDArray[Number]:
    """Return the Walsh-Hadamard transform: entry x is ``sum_m coefficients[m] (-1)^|x & m|``.

    So a sum of Z products, given by the masks of their qubits, becomes its diagonal in O(Q 2^Q) whatever their number.
    """
    values = coefficients
    for _ in range(coefficients.size.bit_length() - 1):
        pairs = values.reshape(-1, 2)  # consuming the lowest bit and filling from the top keeps every step contiguous
        values = np.concatenate([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]])
    return values
