"""What a model may know of a task before any query: the logical problem as tensors, never densified.

Every feature is unchanged by relabelling qubits, by a positive factor on the Hamiltonian, by an identity term, and by
flipping the sign of single spins (which only permutes the landscape's bitstrings). Shapes: B tasks, P parameters,
F features a parameter, G global ones, Q qubits; a Hamiltonian has K non-identity terms with M (term, qubit) incidences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparseObservable, SparsePauliOp
from scipy import sparse
from torch import Tensor

from qiskit_metainit.ansatz import check_reps, natural_unit
from qiskit_metainit.invariants import invariants, sampled_rows
from qiskit_metainit.pauli_form import PauliForm, pauli_form
from qiskit_metainit.problem import PauliTerms
from qiskit_metainit.rotations import Rotation, split
from qiskit_metainit.term_graph import TermGraph, term_graph

SCHEMA = 1
"""Version of the numbers below; artifacts record it."""

SUMMARY = (
    "inverse_qubits",  # 1 / touched qubits; inverses and logarithms stay tame on problems larger than any trained on
    "inverse_degree",  # 1 / terms per touched qubit, a field counting as an edge to an ancilla
    "degree_angle",  # arctan(1/sqrt(degree - 1)): how the optimal gamma falls with the degree
    "degree_spread",  # standard deviation over mean
    "degree_least",  # smallest over mean
    "degree_most",  # log of largest over mean
    "density",  # degree / (touched qubits - 1)
    "assortativity",  # mean product of degrees over an edge's ends, over degree^2
    "weight_mean",  # mean |w| / rms
    "weight_tail",  # log of mean w^4 / rms^4
    "strength_spread",  # spread of a qubit's summed squared weights
    "field_share",  # share of sum w^2 in one-qubit terms
    "order",  # mean number of qubits a term
    "triangles",  # closed 3-walks per edge and degree
    "triangles_weighted",  # signed products w w w / rms^3 instead of counts: positive where triangles frustrate
    "squares",  # closed 4-walks on distinct nodes per edge and degree^2
    "squares_weighted",  # the same with signed products
)
"""Names of the global features, in order."""

TOKENS = (
    "cost",  # this parameter drives the cost Hamiltonian's evolution
    "mixer",  # this parameter drives the mixer
    "x",  # otherwise: the letters of the rotations it drives, as shares
    "y",
    "z",
    "many",  # share of rotations on two or more qubits
    "stage",  # place in the schedule, s = (l - 1/2) / p
    "inverse_depth",
    "log_depth",
    "log_rotations",  # how many rotations it drives (0 for QAOA: no circuit is built)
)
"""Names of the features per parameter, in order."""


@dataclass(frozen=True, eq=False)
class Terms:
    """The bipartite graph of Pauli terms and qubits."""

    weights: Float[Tensor, " K"]
    """2 * coefficient / rms, a number a non-identity term."""
    term: Int[Tensor, " M"]
    """Term of each incidence."""
    qubit: Int[Tensor, " M"]
    """Qubit of each incidence."""
    letter: Int[Tensor, " M"]
    """1, 2, 3 for X, Y, Z."""
    num_qubits: int
    """Q."""

    @cached_property
    def invariants(self) -> Float[Tensor, " I"]:
        """See ``invariants``."""
        found = invariants(self.weights.numpy(), self.term.numpy(), self.qubit.numpy(), self.num_qubits)
        return torch.as_tensor(found)

    @cached_property
    def graph(self) -> TermGraph:
        """See ``term_graph``."""
        return term_graph(self.weights.numpy(), self.term.numpy(), self.qubit.numpy())


@dataclass(frozen=True, eq=False)
class Features:
    """One task's features."""

    ansatz: str
    """"qaoa" (the standard circuit of the operator) or "circuit" (any other)."""
    num_qubits: int
    """Qubits of the logical problem."""
    reps: int
    """Layers p of a QAOA circuit, 0 for any other."""
    diagonal: bool
    """Whether every term is a product of Z."""
    order: int
    """Largest number of qubits in a term."""
    fields: bool
    """Whether there are one-qubit terms."""
    summary: Float[Tensor, " G"]
    """Global features, named by ``SUMMARY``."""
    tokens: Float[Tensor, "P F"]
    """Features per parameter, named by ``TOKENS``."""
    unit: Float[Tensor, " P"]
    """Radians per natural unit of each parameter."""
    terms: Terms
    """The graph of Pauli terms."""
    source: tuple[QuantumCircuit, SparsePauliOp] | None = None
    """A circuit that is not QAOA's, and the operator on its qubits."""
    hints: Mapping[str, Any] = field(default_factory=dict)
    """What the user or the family knows besides; see ``Problem``."""

    @cached_property
    def form(self) -> PauliForm | None:
        """The circuit as Pauli rotations after a Clifford; None if it is QAOA's, or has no such form."""
        return None if self.source is None else pauli_form(*self.source)

    @property
    def num_parameters(self) -> int:
        """P of this task."""
        return int(self.unit.shape[0])

    @property
    def invariants(self) -> Float[Tensor, " I"]:
        """Further global features, named by ``INVARIANTS``; computed when first asked for."""
        return self.terms.invariants

    def with_reps(self, reps: int) -> Features:
        """Return the features of the same Hamiltonian's QAOA task of another depth.

        Raises:
            ValueError: if this is no QAOA task, or reps is not a positive integer.
        """
        if self.ansatz != "qaoa":
            raise ValueError("Only a QAOA task has other depths, but these are the features of another circuit.")
        reps = check_reps(reps)
        unit = torch.cat([torch.ones(reps, dtype=torch.float64), self.unit[-1:].expand(reps)])  # betas, gammas
        return replace(self, reps=reps, tokens=torch.as_tensor(_schedule(reps)), unit=unit)


@dataclass(frozen=True, eq=False)
class FeatureBatch:
    """B tasks' features, padded to the largest P."""

    items: tuple[Features, ...]
    """The tasks one by one, for models that need their graphs or settings."""
    summary: Float[Tensor, "B G"]
    """Global features."""
    tokens: Float[Tensor, "B P F"]
    """Features per parameter, zero beyond a task's own P."""
    unit: Float[Tensor, "B P"]
    """Radians per natural unit, zero beyond a task's own P (so padding stays zero in any unit)."""
    mask: Bool[Tensor, "B P"]
    """True where the task has a parameter."""

    def __len__(self) -> int:
        return len(self.items)

    @property
    def invariants(self) -> Float[Tensor, "B I"]:
        """Further global features, named by ``INVARIANTS``; computed when first asked for."""
        return torch.stack([item.invariants for item in self.items])

    def named(self, name: str) -> Float[Tensor, " B"]:
        """Return one global feature by its name in ``SUMMARY``."""
        return self.summary[:, SUMMARY.index(name)]


def stack(items: Sequence[Features]) -> FeatureBatch:
    """Return one batch of several tasks' features."""
    size = max(item.num_parameters for item in items)
    tokens = torch.zeros(len(items), size, len(TOKENS), dtype=torch.float64)
    unit = torch.zeros(len(items), size, dtype=torch.float64)
    mask = torch.zeros(len(items), size, dtype=torch.bool)
    for row, item in enumerate(items):
        tokens[row, : item.num_parameters] = item.tokens
        unit[row, : item.num_parameters] = item.unit
        mask[row, : item.num_parameters] = True
    return FeatureBatch(tuple(items), torch.stack([item.summary for item in items]), tokens, unit, mask)


def of_qaoa(operator: SparsePauliOp | SparseObservable, reps: int) -> Features:
    """Return the features of a QAOA task; no circuit is built.

    Raises:
        ValueError: for a bad operator or reps; ``as_pauli_sum`` and ``check_reps`` say which.
    """
    reps = check_reps(reps)
    terms = PauliTerms.of(operator)
    return _features("qaoa", terms, reps, _schedule(reps), natural_unit(terms.coefficients, reps))


def _schedule(reps: int) -> NDArray[np.float64]:
    """Return the tokens of a QAOA circuit."""
    stage = (np.arange(reps) + 0.5) / reps
    tokens = np.zeros((2 * reps, len(TOKENS)))
    tokens[:reps, TOKENS.index("mixer")] = 1.0
    tokens[reps:, TOKENS.index("cost")] = 1.0
    tokens[:, TOKENS.index("stage")] = np.tile(stage, 2)
    tokens[:, TOKENS.index("inverse_depth")] = 1.0 / reps
    tokens[:, TOKENS.index("log_depth")] = np.log(reps)
    return tokens


def of_circuit(
    circuit: QuantumCircuit,
    operator: SparsePauliOp,
    *,
    on_circuit: SparsePauliOp | None = None,
    hints: Mapping[str, Any] | None = None,
) -> Features:
    """Return the features of any other task: the logical operator, and a token a circuit parameter.

    Args:
        circuit: of P parameters.
        operator: the logical one.
        on_circuit: the operator on the circuit's qubits, where these are not the logical ones.
        hints: as in ``Problem``.
    """
    count = circuit.num_parameters
    letters = np.zeros((count, 4))
    uses = np.zeros(count)
    place = np.zeros(count)
    operations = split(circuit)
    for position, operation in enumerate(operations):
        if isinstance(operation, Rotation):
            for index, _ in operation.angle.slopes:
                uses[index] += 1
                place[index] += (position + 0.5) / len(operations)
                for letter in operation.letters:
                    letters[index, "XYZ".index(letter)] += 1.0 / len(operation.letters)
                letters[index, 3] += len(operation.letters) > 1
    used = np.maximum(uses, 1)
    tokens = np.zeros((count, len(TOKENS)))
    tokens[:, TOKENS.index("x") : TOKENS.index("many") + 1] = letters / used[:, None]
    tokens[:, TOKENS.index("stage")] = place / used
    tokens[:, TOKENS.index("log_rotations")] = np.log(used)
    known = _features("circuit", PauliTerms.of(operator), 0, tokens, np.ones(count))
    return replace(known, source=(circuit, operator if on_circuit is None else on_circuit), hints=dict(hints or {}))


def _features(
    ansatz: str, terms: PauliTerms, reps: int, tokens: NDArray[np.float64], unit: NDArray[np.float64]
) -> Features:
    weights = 2.0 * terms.coefficients
    weights = weights / np.abs(weights).max()
    weights = weights / np.sqrt(np.mean(weights**2))
    term, qubit, letter = (torch.as_tensor(array) for array in (terms.term, terms.qubit, terms.letter))
    return Features(
        ansatz=ansatz,
        num_qubits=terms.num_qubits,
        reps=reps,
        diagonal=bool((terms.letter == 3).all()),
        order=int(terms.order.max()),
        fields=bool((terms.order == 1).any()),
        summary=torch.as_tensor(_summary(weights, terms)),
        tokens=torch.as_tensor(tokens),
        unit=torch.as_tensor(unit),
        terms=Terms(torch.as_tensor(weights), term, qubit, letter, terms.num_qubits),
    )


def _summary(weights: NDArray[np.float64], terms: PauliTerms) -> NDArray[np.float64]:
    """Return the global features of terms with (K,) weights of rms 1."""
    found, place = np.unique(terms.qubit, return_inverse=True)  # untouched qubits do not count
    order = terms.order
    degrees = np.bincount(place).astype(np.float64)
    count, degree = found.size, float(degrees.mean())
    strengths = np.bincount(place, weights[terms.term] ** 2)
    pairs = order == 2
    ends = place[pairs[terms.term]].reshape(-1, 2)
    cycles = _cycles(weights[pairs], ends, degrees) if pairs.any() else np.zeros(5)
    values = {
        "inverse_qubits": 1.0 / count,
        "inverse_degree": 1.0 / degree,
        "degree_angle": degree_angle(degree),
        "degree_spread": degrees.std() / degree,
        "degree_least": degrees.min() / degree,
        "degree_most": np.log(degrees.max() / degree),
        "density": degree / max(count - 1, 1),
        "assortativity": cycles[0],
        "weight_mean": np.abs(weights).mean(),
        "weight_tail": np.log(np.mean(weights**4)),
        "strength_spread": strengths.std() / strengths.mean(),
        "field_share": (weights[order == 1] ** 2).sum() / (weights**2).sum(),
        "order": order.mean(),
        "triangles": cycles[1],
        "triangles_weighted": cycles[2],
        "squares": cycles[3],
        "squares_weighted": cycles[4],
    }
    return np.array([values[name] for name in SUMMARY], dtype=np.float64)


def degree_angle(degree: float) -> float:
    """Return arctan(1/sqrt(degree - 1)), pi/2 at degree 1 and below (Wurtz and Love 2021, p = 1 on regular graphs)."""
    return float(np.arctan2(1.0, np.sqrt(max(degree - 1.0, 0.0))))


def _cycles(weights: NDArray[np.float64], ends: NDArray[np.int64], degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return assortativity, then triangles and squares, each plain and weighted, of pairs of qubits."""
    size = degrees.size
    row, column = np.concatenate([ends, ends[:, ::-1]]).T
    weighted = sparse.csr_array((np.tile(weights, 2), (row, column)), shape=(size, size))
    plain = sparse.csr_array((np.ones(row.size), (row, column)), shape=(size, size))
    result = [float(np.mean(degrees[ends[:, 0]] * degrees[ends[:, 1]])) / float(degrees.mean()) ** 2]
    rows = sampled_rows(plain)
    cycles = []
    for matrix in (plain, weighted):
        part = matrix[rows]
        squared = part @ matrix
        own = np.asarray((part**2).sum(axis=1))
        # Closed 4-walks that go there and back are no cycles: take out the diagonal and the 2-step returns.
        fourth = float((squared.data**2).sum()) - float((own**2).sum()) * 2 + float((part.data**4).sum())
        cycles.append((float((squared * part).sum()), fourth))
    scale = size / rows.size / len(ends)  # all rows, unless the problem is large
    result += [cycle[0] * scale / float(degrees.mean()) for cycle in cycles]
    result += [cycle[1] * scale / float(degrees.mean()) ** 2 for cycle in cycles]
    return np.array(result)
