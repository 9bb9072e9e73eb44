"""Probability distributions to be loaded into a register: the Hamiltonian of a target, and a family of smooth ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import Operator, SparsePauliOp, Statevector

from qiskit_metainit.circuits.layered import ry_chain
from qiskit_metainit.problem import Levels, Problem
from qiskit_metainit.problems._settings import choices, integers

Array = NDArray[np.float64]

_KINDS = ("gaussian", "lognormal")
_LARGEST = 8  # qubits: a projector on n of them has 2^(n-1) (2^n + 1) terms
_RESIDUE = 1e-15  # of Pauli coefficients below which they are rounding
_TARGET = 1e-3  # infidelity; the total variation is then below 0.032


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Prepare ``sum_x sqrt(q_x) |x>``: a register whose outcome x has the probability q_x.

    The Hamiltonian is ``1 - |target><target|``, so that its expectation value is the infidelity 1 - F, and its ground
    state, of energy 0, is the target. Total variation is at most ``sqrt(1 - F)`` (Fuchs and van de Graaf 1999). Other
    costs of the literature (the Kullback-Leibler divergence, a Bhattacharyya coefficient of measured probabilities)
    are no expectation values. As a Pauli sum a projector has 2^(n-1) (2^n + 1) terms, 8256 at 7 qubits, which an exact
    simulation takes as 2^n diagonals; on a device one measures instead how often 0..0 comes out when the target's
    preparation is undone after the circuit.

    An instance is a family of Gaussian and log-normal densities at the midpoints of 2^n bins of [0, 1], of random
    place and width. Lee et al. 2025 (arXiv:2501.05906) map distributions in an appendix that we have not seen, so cost,
    densities and circuit are ours. Such densities are also prepared by formulas (Grover and Rudolph 2002,
    quant-ph/0208112), in circuits of exponentially many gates; what is learned here are shallow ones.

    >>> problem = Distribution(sizes=[3]).sample(np.random.default_rng(7))
    >>> problem.num_qubits, problem.ansatz.num_parameters, len(problem.operator)
    (3, 18, 36)
    >>> target_probabilities(problem.operator).sum().round(12)
    np.float64(1.0)
    """

    sizes: Sequence[int] = (5, 6, 7)
    """Numbers of qubits n, drawn uniformly."""
    kinds: Sequence[str] = _KINDS
    """Densities, drawn uniformly: "gaussian" (mean in 0.2..0.8, standard deviation in 0.05..0.2), "lognormal" (median
    in 0.1..0.5, standard deviation of the logarithm in 0.2..0.6), uniformly in both."""
    layers: int = 5
    """Of the ansatz ``circuits.layered.ry_chain``: n (layers + 1) parameters."""

    def __post_init__(self) -> None:
        sizes = integers(self.sizes, "sizes", 2, "(5, 6, 7)")
        if max(sizes) > _LARGEST:
            raise ValueError(
                f"sizes must be at most {_LARGEST} qubits, but {max(sizes)} came: the Hamiltonian of a target state "
                f"has 2^(n-1) (2^n + 1) terms. Take fewer bins."
            )
        object.__setattr__(self, "sizes", sizes)
        object.__setattr__(self, "kinds", choices(self.kinds, "kinds", _KINDS))
        object.__setattr__(self, "layers", integers([self.layers], "layers", 1, "5")[0])

    @property
    def settings(self) -> Mapping[str, Any]:
        """The keyword settings that rebuild this family, as JSON values."""
        return {"sizes": list(self.sizes), "kinds": list(self.kinds), "layers": self.layers}

    def sample(self, rng: np.random.Generator) -> Problem:
        """Draw one target, with nodes 0..n-1: the bits of x, the least significant first."""
        size = self.sizes[int(rng.integers(len(self.sizes)))]
        kind = self.kinds[int(rng.integers(len(self.kinds)))]
        x = (np.arange(1 << size) + 0.5) / (1 << size)
        if kind == "gaussian":
            place, width = rng.uniform(0.2, 0.8), rng.uniform(0.05, 0.2)
            exponent = (x - place) / width
        else:
            place, width = math.log(rng.uniform(0.1, 0.5)), rng.uniform(0.2, 0.6)
            exponent = (np.log(x) - place) / width
        density = np.exp(-0.5 * exponent**2) / (1.0 if kind == "gaussian" else x)
        return self.from_probabilities(density / density.sum(), layers=self.layers)

    @staticmethod
    def from_probabilities(
        probabilities: ArrayLike, *, layers: int = 5, ansatz: QuantumCircuit | None = None
    ) -> Problem:
        """Return the problem of loading given probabilities.

        Args:
            probabilities: (2^n,) of the outcomes 0 .. 2^n - 1, at least 4 of them; they must sum to 1.
            layers: of the ansatz ``ry_chain``.
            ansatz: another circuit on n qubits instead.

        Raises:
            ValueError: if these are no such probabilities, or there are more than 2^8.
        """
        target = np.asarray(probabilities, dtype=np.float64)
        size = max(target.size, 1).bit_length() - 1
        if target.ndim != 1 or target.size != 1 << size or not 2 <= size <= _LARGEST:
            raise ValueError(
                f"Probabilities of 4, 8, .. {1 << _LARGEST} outcomes are needed, one after the other, but an array of "
                f"shape {target.shape} came. Fill it up with zeros, or take fewer bins."
            )
        if not np.all(target >= 0) or not abs(target.sum() - 1) < 1e-9:
            raise ValueError(
                f"Probabilities must be at least 0 and sum to 1, but they go from {target.min():g} to {target.max():g} "
                f"and sum to {target.sum():g}. Divide them by their sum."
            )
        amplitudes = np.sqrt(target / target.sum())
        matrix = np.eye(target.size) - np.outer(amplitudes, amplitudes)
        return Problem(
            operator=SparsePauliOp.from_operator(Operator(matrix), atol=_RESIDUE, rtol=0.0),
            family="distribution",
            nodes=tuple(range(size)),
            ansatz=ry_chain(size, layers) if ansatz is None else ansatz,
            levels=Levels(lowest=0.0, unit=1.0, name="infidelity", target=_TARGET),
        )


def target_probabilities(operator: SparsePauliOp) -> Array:
    """Return the (2^n,) probabilities that a Hamiltonian of this family loads, whatever its unit and identity term.

    >>> target_probabilities(Distribution.from_probabilities([0.1, 0.2, 0.3, 0.4]).operator * 2.0).round(9)
    array([0.1, 0.2, 0.3, 0.4])
    """
    matrix = operator.to_matrix()
    size = len(matrix)
    traceless = matrix - np.trace(matrix) / size * np.eye(size)
    unit = math.sqrt(np.linalg.norm(traceless) ** 2 / (1 - 1 / size))  # 1/2^n - |t><t| has the norm^2 1 - 1/2^n
    return np.asarray(np.maximum(1 / size - np.diag(traceless).real / unit, 0.0))  # rounding aside


def probabilities(circuit: QuantumCircuit, point: ArrayLike) -> Array:
    """Return the exact (2^n,) probabilities of a circuit's outcomes at a (P,) point, radians."""
    return np.asarray(Statevector(circuit.assign_parameters(np.asarray(point))).probabilities())


def total_variation(left: ArrayLike, right: ArrayLike) -> float:
    """Return ``1/2 sum_x |p_x - q_x|``: the largest difference of an event's probabilities.

    >>> total_variation([0.5, 0.5], [1.0, 0.0])
    0.5
    """
    return float(np.abs(np.subtract(left, right)).sum() / 2)


def divergence(target: ArrayLike, other: ArrayLike) -> float:
    """Return the Kullback-Leibler divergence ``sum_x q_x log(q_x / p_x)`` of p from the target q, in nats.

    >>> round(divergence([0.5, 0.5], [0.25, 0.75]), 6), divergence([0.5, 0.5], [1.0, 0.0])
    (0.143841, inf)
    """
    q, p = np.asarray(target, dtype=np.float64), np.asarray(other, dtype=np.float64)
    seen = q > 0
    if np.any(p[seen] <= 0):
        return math.inf
    return float((q[seen] * np.log(q[seen] / p[seen])).sum())


def bhattacharyya(left: ArrayLike, right: ArrayLike) -> float:
    """Return the Bhattacharyya coefficient ``sum_x sqrt(p_x q_x)``, 1 for equal distributions.

    >>> round(bhattacharyya([0.5, 0.5], [1.0, 0.0]), 6)
    0.707107
    """
    return float(np.sqrt(np.multiply(left, right)).sum())
