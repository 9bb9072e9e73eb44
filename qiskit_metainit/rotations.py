"""A parameterised circuit as fixed gates and Pauli rotations with affine angles."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import (
    Barrier,
    Delay,
    Gate,
    Instruction,
    Operation,
    Parameter,
    ParameterExpression,
    QuantumCircuit,
    Reset,
)
from qiskit.circuit.library import (
    GlobalPhaseGate,
    IGate,
    PauliEvolutionGate,
    PhaseGate,
    RXGate,
    RXXGate,
    RYGate,
    RYYGate,
    RZGate,
    RZXGate,
    RZZGate,
    U1Gate,
    U3Gate,
    UGate,
    XXMinusYYGate,
    XXPlusYYGate,
)
from qiskit.quantum_info import SparsePauliOp
from qiskit.synthesis import LieTrotter, SuzukiTrotter

# A letter a qubit, in the order of the gate's own qubit arguments. A phase gate is RZ up to a global phase. Gates are
# known by class: anybody may name a circuit of theirs "p".
_LETTERS: dict[type[Instruction], str] = {
    RXGate: "X",
    RYGate: "Y",
    RZGate: "Z",
    PhaseGate: "Z",
    U1Gate: "Z",
    RXXGate: "XX",
    RYYGate: "YY",
    RZZGate: "ZZ",
    RZXGate: "ZX",
}
_SKIPPED = (Barrier, Delay, GlobalPhaseGate, IGate)
ZERO = 1e-12
"""What is taken for zero among matrix entries and amplitudes of order 1."""
_LARGEST_MATRIX = 3  # wider fixed gates are taken apart, so that no 2^k x 2^k matrix is built for large k


@dataclass(frozen=True)
class Angle:
    """An affine function of the circuit's parameters, in radians: ``constant + sum slope_j * theta_j``."""

    slopes: tuple[tuple[int, float], ...] = ()
    """(index into ``circuit.parameters``, slope) pairs, ordered by index, no zero slope."""
    constant: float = 0.0
    """The value at theta = 0, radians."""

    def times(self, factor: float) -> Angle:
        """Return the angle multiplied by a number."""
        return Angle(tuple((index, slope * factor) for index, slope in self.slopes), self.constant * factor)

    def plus(self, other: Angle) -> Angle:
        """Return the sum of two angles."""
        slopes = dict(self.slopes)
        for index, slope in other.slopes:
            slopes[index] = slopes.get(index, 0.0) + slope
        return Angle(tuple(sorted(pair for pair in slopes.items() if pair[1])), self.constant + other.constant)


@dataclass(frozen=True)
class Rotation:
    """``exp(-i angle/2 P)`` with P a product of Paulis."""

    letters: str
    """X, Y or Z, one a qubit, in the order of ``qubits``."""
    qubits: tuple[int, ...]
    """The qubits P acts on."""
    angle: Angle
    """The rotation angle, radians."""

    @property
    def is_diagonal(self) -> bool:
        """Whether P is a product of Z."""
        return set(self.letters) == {"Z"}


@dataclass(frozen=True, eq=False)
class Fixed:
    """A gate without parameters."""

    gate: Gate
    """The gate itself."""
    matrix: NDArray[np.complex128]
    """(2^k, 2^k) unitary, little-endian: the first of ``qubits`` is the least significant bit."""
    qubits: tuple[int, ...]
    """The k qubits it acts on."""

    @property
    def is_monomial(self) -> bool:
        """Whether it is a permutation of basis states with phases."""
        return bool(((np.abs(self.matrix) > ZERO).sum(axis=0) == 1).all())


def split(circuit: QuantumCircuit) -> list[Rotation | Fixed]:
    """Return the circuit's operations in order, every parameter inside the angle of a Pauli rotation.

    Standard gates, nested circuits and ``PauliEvolutionGate`` are taken apart by their own definitions, so the result
    is what would run: an evolution under terms that do not commute is its product formula, where Qiskit's reference
    primitives apply the exact exponential. The global phase is dropped; resets of fresh qubits are left out.

    Args:
        circuit: unitary, with angles that are affine in ``circuit.parameters``.

    Raises:
        ValueError: at a measurement, reset or control flow, at an angle that is not affine, or at a parameterised
            operation without definition.
    """
    numbering = {parameter: index for index, parameter in enumerate(circuit.parameters)}
    return list(_walk(circuit, tuple(range(circuit.num_qubits)), numbering, {}, set()))


def _walk(
    circuit: QuantumCircuit,
    wires: Sequence[int],
    numbering: Mapping[Parameter, int],
    known: dict[ParameterExpression, Angle],
    touched: set[int],
) -> Iterator[Rotation | Fixed]:
    place = dict(zip(circuit.qubits, wires, strict=True))
    for instruction in circuit.data:
        operation = instruction.operation
        qubits = tuple(place[bit] for bit in instruction.qubits)
        if isinstance(operation, _SKIPPED) or (isinstance(operation, Reset) and not touched & set(qubits)):
            continue  # a qubit that nothing has touched is in |0> already: so begins initialize
        kind = getattr(operation, "base_class", None)  # None: a Clifford or an annotated operation, no Instruction
        if kind and not isinstance(operation, Gate) and (operation.definition is None or instruction.clbits):
            raise ValueError(
                f"A unitary circuit is needed, but it has the operation {operation.name!r}. "
                "Remove measurements (circuit.remove_final_measurements(inplace=False)), resets and control flow."
            )
        nested = not isinstance(operation, Gate) and getattr(operation, "definition", None) is not None
        if not nested:
            touched.update(qubits)
        if kind in _LETTERS:
            yield Rotation(_LETTERS[kind], qubits, _angle(operation.params[0], numbering, known))
        elif kind in {UGate, U3Gate}:
            theta, phi, lam = (_angle(value, numbering, known) for value in operation.params)
            yield Rotation("Z", qubits, lam)
            yield Rotation("Y", qubits, theta)
            yield Rotation("Z", qubits, phi)
        elif kind in {XXPlusYYGate, XXMinusYYGate}:
            theta, beta = (_angle(value, numbering, known) for value in operation.params)
            sign = 1.0 if kind is XXPlusYYGate else -1.0
            yield Rotation("Z", qubits[:1], beta.times(sign))
            yield Rotation("XX", qubits, theta.times(0.5))
            yield Rotation("YY", qubits, theta.times(0.5 * sign))
            yield Rotation("Z", qubits[:1], beta.times(-sign))
        elif isinstance(operation, PauliEvolutionGate) and (terms := _diagonal_terms(operation)) is not None:
            time = _angle(operation.time, numbering, known)
            for support, coefficient in terms:
                yield Rotation("Z" * len(support), tuple(qubits[i] for i in support), time.times(2.0 * coefficient))
        elif isinstance(operation, PauliEvolutionGate) and (factors := _product_formula(operation)) is not None:
            for letters, places, angle in factors:
                yield Rotation(letters, tuple(qubits[i] for i in places), _angle(angle, numbering, known))
        elif _has_matrix(operation) and operation.num_qubits <= _LARGEST_MATRIX:
            yield Fixed(operation, np.asarray(operation.to_matrix(), dtype=np.complex128), qubits)
        elif getattr(operation, "definition", None) is not None:
            yield from _walk(operation.definition, qubits, numbering, known, touched)
        elif _has_matrix(operation):
            yield Fixed(operation, np.asarray(operation.to_matrix(), dtype=np.complex128), qubits)
        else:
            raise ValueError(
                f"Parameters are supported in Pauli rotations and in gates defined by them, but {operation.name!r} has "
                "no definition and no matrix. Decompose it first, or transpile the circuit to a basis with rx, ry, rz, "
                "rzz."
            )


def _has_matrix(operation: Operation) -> bool:
    # Composite gates have no __array__. Nor has PauliEvolutionGate, whose to_matrix is the exact exponential instead of
    # the product formula in its definition, which is what would run.
    return (
        isinstance(operation, Gate)
        and hasattr(operation, "__array__")
        and not any(isinstance(value, ParameterExpression) and value.parameters for value in operation.params)
    )


def _diagonal_terms(gate: PauliEvolutionGate) -> list[tuple[tuple[int, ...], float]] | None:
    """Return (support, coefficient) of an evolution under Z products, whose factors commute; None for any other."""
    operators = gate.operator if isinstance(gate.operator, list) else [gate.operator]
    if any(not isinstance(operator, SparsePauliOp) or operator.paulis.x.any() for operator in operators):
        return None
    return [
        (tuple(int(i) for i in np.flatnonzero(z)), float(np.real(coefficient)))
        for operator in operators
        for z, coefficient in zip(operator.paulis.z, operator.coeffs, strict=True)
        if z.any()
    ]


def _product_formula(
    gate: PauliEvolutionGate,
) -> list[tuple[str, Sequence[int], ParameterExpression | float]] | None:
    """Return (letters, qubits, angle) of the rotations that the gate's synthesis makes, in its order, if it tells."""
    if not isinstance(gate.synthesis, LieTrotter | SuzukiTrotter):
        return None
    factors = [factor for factor in gate.synthesis.expand(gate) if factor[0]]
    return factors if all(set(letters) <= set("XYZ") for letters, _, _ in factors) else None


def _angle(
    value: ParameterExpression | float,
    numbering: Mapping[Parameter, int],
    known: dict[ParameterExpression, Angle],
) -> Angle:
    if isinstance(value, Parameter):
        return Angle(((numbering[value], 1.0),))
    if not isinstance(value, ParameterExpression):
        return Angle(constant=float(np.real(value)))
    try:
        if value not in known:
            known[value] = _affine(value, numbering)
        return known[value]
    except OverflowError:  # Qiskit 2.6 cannot hash a parameter times a factor between -2.2e-16 and 0
        return _affine(value, numbering)


def _affine(expression: ParameterExpression, numbering: Mapping[Parameter, int]) -> Angle:
    slopes = []
    for parameter in expression.parameters:
        try:
            slope = expression.gradient(parameter)
        except RuntimeError as error:  # Qiskit has no derivative of sign
            raise ValueError(
                f"Angles must be affine in the parameters (a*theta + b), but {expression} came."
            ) from error
        if isinstance(slope, ParameterExpression):
            if slope.parameters:
                raise ValueError(
                    f"Angles must be affine in the parameters (a*theta + b), but {expression} came. "
                    "Give each non-linear expression a parameter of its own."
                )
            slope = slope.numeric()
        if slope != 0:
            slopes.append((numbering[parameter], float(np.real(slope))))
    at_zero = expression.bind(dict.fromkeys(expression.parameters, 0.0))
    return Angle(tuple(sorted(slopes)), float(np.real(at_zero.numeric())))


def in_layers(operations: Sequence[Rotation | Fixed]) -> list[Rotation | Fixed]:
    """Return the same circuit in an order that does not depend on how commuting neighbours were listed.

    Transpilers list the gates of neighbouring layers mixed. Here everything diagonal or a permutation comes as long as
    any of it is ready, then one sweep of the rest, and so on.
    """
    ahead = [0] * len(operations)  # operations that still come first, a count a shared qubit
    after: list[list[int]] = [[] for _ in operations]
    last: dict[int, int] = {}
    for index, operation in enumerate(operations):
        for qubit in operation.qubits:
            if qubit in last:
                after[last[qubit]].append(index)
                ahead[index] += 1
            last[qubit] = index
    phases: deque[int] = deque()
    others: deque[int] = deque()
    order: list[Rotation | Fixed] = []

    def ready(index: int) -> None:
        (phases if _is_phase(operations[index]) else others).append(index)

    def emit(index: int) -> None:
        order.append(operations[index])
        for later in after[index]:
            ahead[later] -= 1
            if not ahead[later]:
                ready(later)

    for index, count in enumerate(ahead):
        if not count:
            ready(index)
    while phases or others:
        while phases:
            emit(phases.popleft())
        for _ in range(len(others)):
            emit(others.popleft())
    return order


def _is_phase(operation: Rotation | Fixed) -> bool:
    return operation.is_diagonal if isinstance(operation, Rotation) else operation.is_monomial
