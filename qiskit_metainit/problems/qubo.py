"""QUBO, quadratic unconstrained binary optimisation: of a matrix or a program, and a family of random ones."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit.problem import Problem
from qiskit_metainit.problems._settings import checked_probability, choices, integers, several
from qiskit_metainit.problems._terms import problem_of, real_number

_VALUES = ("normal", "integers")


@dataclass(frozen=True, kw_only=True)
class Qubo:
    """Find the bits x of least ``x^T Q x = sum_i Q_ii x_i + sum_(i<j) (Q_ij + Q_ji) x_i x_j``.

    An instance is a family of random symmetric Q of a given density with a full diagonal, as the generator of Pardalos
    and Rodgers (1990) draws them. ``from_matrix`` and ``from_program`` give the problem of one objective.

    >>> problem = Qubo.from_matrix([[-1.0, 3.0], [0.0, -2.0]], offset=10.0)
    >>> problem.value("10"), problem.value("11")
    (8.0, 10.0)
    >>> Qubo.from_matrix({("a", "a"): 1.0, ("a", "b"): -4.0}, maximise=True).value("01")
    1.0
    >>> Qubo(sizes=[8], values=["integers"]).sample(np.random.default_rng(7)).num_qubits
    8
    """

    sizes: Sequence[int] = (6, 7, 8, 9)
    """Numbers of variables, drawn uniformly."""
    densities: Sequence[float] = (0.25, 0.5, 0.75, 1.0)
    """Probabilities that an entry above the diagonal is not zero, drawn uniformly; matrices that are diagonal are
    redrawn."""
    values: Sequence[str] = ("normal",)
    """Kinds of entries, drawn uniformly: "normal" of mean 0 and variance 1, or "integers" uniform in -100..100 without
    zero (the range of Beasley's benchmarks, 1998)."""

    def __post_init__(self) -> None:
        sizes = integers(self.sizes, "sizes", 2)
        densities = several(self.densities, "densities", "(0.5, 1.0)")
        checked = tuple(checked_probability(d, "Each of densities", min(sizes), "a number") for d in densities)
        object.__setattr__(self, "sizes", sizes)
        object.__setattr__(self, "densities", checked)
        object.__setattr__(self, "values", choices(self.values, "values", _VALUES))

    @property
    def settings(self) -> Mapping[str, Any]:
        """The keyword settings that rebuild this family, as JSON values."""
        return {"sizes": list(self.sizes), "densities": list(self.densities), "values": list(self.values)}

    def sample(self, rng: np.random.Generator) -> Problem:
        """Draw one matrix, with nodes 0..n-1, to be minimised."""
        size = self.sizes[int(rng.integers(len(self.sizes)))]
        density = self.densities[int(rng.integers(len(self.densities)))]
        kind = self.values[int(rng.integers(len(self.values)))]
        kept = np.zeros((size, size), dtype=np.bool_)
        while not kept.any():
            kept = np.triu(rng.random((size, size)) < density, k=1)
        if kind == "normal":
            drawn = rng.standard_normal((size, size))
        else:
            drawn = rng.integers(1, 101, size=(size, size)) * (2.0 * rng.integers(2, size=(size, size)) - 1.0)
        upper = np.where(kept, drawn, 0.0)
        return Qubo.from_matrix(upper + upper.T + np.diag(np.diag(drawn)))

    @staticmethod
    def from_matrix(
        matrix: ArrayLike | Mapping[tuple[Hashable, Hashable], float],
        offset: float = 0.0,
        *,
        maximise: bool = False,
        nodes: Sequence[Hashable] | None = None,
    ) -> Problem:
        """Return the problem of ``x^T Q x + offset``.

        Args:
            matrix: Q as a square array (or a scipy sparse one) of real numbers: symmetric, upper or lower triangular,
                or any other; the entries (i, j) and (j, i) add up. Or the entries other than zero as
                ``{(i, j): Q_ij}`` with any labels, (i, i) for the diagonal.
            offset: added to the objective.
            maximise: whether the objective is to be maximised; ``value`` is the objective either way.
            nodes: the labels of the variables in the order of the qubits; by default 0..n-1, or the labels of the
                entries in the order of first appearance.

        Raises:
            TypeError: if it is no such matrix, or a number is not real.
            ValueError: if the matrix is not square, a number is not finite, the labels do not fit, or the objective
                does not depend on the variables.
        """
        if isinstance(matrix, Mapping):
            labels, entries = _of_mapping(matrix, nodes)
        else:
            labels, entries = _of_array(matrix, nodes)
        sign = -1.0 if maximise else 1.0
        terms: dict[tuple[int, ...], float] = {}
        constant = real_number(offset, "The offset")

        def add(spins: tuple[int, ...], value: float) -> None:
            terms[spins] = terms.get(spins, 0.0) + sign * value

        for (i, j), value in entries.items():  # x = (1 - Z) / 2
            if i == j:
                constant += value / 2
                add((i,), -value / 2)
            else:
                constant += value / 4
                add((min(i, j), max(i, j)), value / 4)
                add((i,), -value / 4)
                add((j,), -value / 4)
        if not any(terms.values()):
            raise ValueError(
                f"An objective that depends on its variables is needed, but this one of {len(labels)} variables is "
                "constant. Check the entries."
            )
        return problem_of("qubo", labels, terms, maximise=maximise, offset=sign * constant)

    @staticmethod
    def from_program(program: Any, *, penalty: float | None = None) -> Problem:
        """Return the problem of a ``QuadraticProgram`` of qiskit-optimization (the extra "optimization").

        Its own ``QuadraticProgramToQubo`` and ``to_ising`` convert it: integer variables become binary ones and linear
        constraints become penalties, inequalities with further, slack variables. The nodes are the names of the binary
        variables ("x", or "x@0", "x@1" for an integer x), and ``value`` is the converted objective in the program's own
        sense: the program's objective wherever the constraints hold, and less attractive by the penalties elsewhere.

        Args:
            program: of binary and integer variables with a linear or quadratic objective and linear constraints.
            penalty: factor of the penalties; by default as qiskit-optimization chooses it.

        Raises:
            ImportError: if qiskit-optimization is not installed.
            TypeError: if it is no ``QuadraticProgram``.
            ValueError: if it cannot be converted, or its objective does not depend on the variables.
        """
        try:
            from qiskit_optimization import QiskitOptimizationError, QuadraticProgram
            from qiskit_optimization.converters import QuadraticProgramToQubo
            from qiskit_optimization.translators import to_ising
        except ImportError as error:
            raise ImportError(
                "qiskit-optimization is needed to read a QuadraticProgram, but it is not installed. Install it with "
                "pip install qiskit-optimization (or 'qiskit-metainit[optimization]'), or give from_matrix a matrix."
            ) from error
        if not isinstance(program, QuadraticProgram):
            raise TypeError(
                f"A QuadraticProgram of qiskit-optimization is needed, but a {type(program).__name__} came. "
                "qiskit_optimization.translators.from_docplex_mp makes one of a docplex model."
            )
        try:
            converted = QuadraticProgramToQubo(penalty=penalty).convert(program)
        except QiskitOptimizationError as error:
            raise ValueError(f"A program that is or becomes a QUBO is needed, but this one is not: {error}") from error
        operator, constant = to_ising(converted)
        if not operator.paulis.z.any() or not operator.coeffs.any():
            raise ValueError(
                "An objective that depends on its variables is needed, but the program's is constant. Check its terms."
            )
        operator = operator + SparsePauliOp("I" * operator.num_qubits, constant)
        names = tuple(variable.name for variable in converted.variables)
        maximise = program.objective.sense.name == "MAXIMIZE"
        return Problem(operator=operator, family="qubo", nodes=names, maximise=maximise)


def _of_mapping(
    matrix: Mapping[Any, Any], nodes: Sequence[Hashable] | None
) -> tuple[tuple[Hashable, ...], dict[tuple[int, int], float]]:
    place: dict[Hashable, int] = {node: i for i, node in enumerate(nodes or ())}
    entries: dict[tuple[int, int], float] = {}
    for pair, value in matrix.items():
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError(f"Entries are needed as {{(i, j): Q_ij}}, but the key {pair!r} came. Give pairs of labels.")
        i, j = (place.setdefault(label, len(place)) for label in pair)
        entries[i, j] = real_number(value, f"The entry {pair!r}")
    if nodes is not None and len(place) != len(nodes):
        raise ValueError(
            f"nodes must name every variable once, but the entries have {len(place)} and {tuple(nodes)!r} came."
        )
    return tuple(place), entries


def _of_array(
    matrix: Any, nodes: Sequence[Hashable] | None
) -> tuple[tuple[Hashable, ...], dict[tuple[int, int], float]]:
    array = np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"A matrix of real numbers is needed, but one of {array.dtype} came. Convert it to float.")
    if array.ndim != 2 or array.shape[0] != array.shape[1]:
        raise ValueError(
            f"A square matrix is needed, a row and a column a variable, but one of shape {array.shape} came."
        )
    if not np.isfinite(array).all():
        i, j = np.argwhere(~np.isfinite(array))[0].tolist()
        raise ValueError(f"The entry {(i, j)} must be finite, but {array[i, j]} came. Replace it.")
    labels = tuple(range(len(array))) if nodes is None else tuple(nodes)
    if len(labels) != len(array) or len(set(labels)) != len(labels):
        raise ValueError(f"{len(array)} different labels are needed, one a variable, but {labels!r} came.")
    return labels, {(i, j): float(array[i, j]) for i, j in itertools.product(range(len(array)), repeat=2)}
