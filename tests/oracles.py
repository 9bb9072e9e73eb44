"""Slow, readable twins of the fast paths, and random circuits to try them on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterExpression
from qiskit.circuit.library import (
    CCXGate,
    CCZGate,
    CHGate,
    CPhaseGate,
    CRXGate,
    CRYGate,
    CRZGate,
    CSdgGate,
    CSwapGate,
    CSXGate,
    CU3Gate,
    CUGate,
    CXGate,
    CYGate,
    CZGate,
    DCXGate,
    ECRGate,
    HGate,
    IGate,
    PauliEvolutionGate,
    PhaseGate,
    RCCXGate,
    RGate,
    RXGate,
    RXXGate,
    RYGate,
    RYYGate,
    RZGate,
    RZXGate,
    RZZGate,
    SdgGate,
    SwapGate,
    SXGate,
    TGate,
    U1Gate,
    U3Gate,
    UGate,
    UnitaryGate,
    XGate,
    XXMinusYYGate,
    XXPlusYYGate,
    YGate,
    ZGate,
    iSwapGate,
)
from qiskit.primitives import BaseEstimatorV2, DataBin, PrimitiveJob, PrimitiveResult, PubResult
from qiskit.quantum_info import SparsePauliOp, Statevector, random_unitary
from torch import Tensor

from qiskit_metainit.engine import Engine
from qiskit_metainit.engines.statevector import Statevector as ExactEngine
from qiskit_metainit.task import Task

FIXED = [
    *(HGate, IGate, SXGate, SdgGate, TGate, XGate, YGate, ZGate),
    *(CHGate, CSXGate, CSdgGate, CXGate, CYGate, CZGate, DCXGate, ECRGate, SwapGate, iSwapGate),
    *(CCXGate, CCZGate, CSwapGate, RCCXGate),
]
"""Gates without parameters on one, two and three qubits."""

ANGLED = [
    *(RXGate, RYGate, RZGate, PhaseGate, U1Gate, RGate, UGate, U3Gate),
    *(RXXGate, RYYGate, RZZGate, RZXGate, CRXGate, CRYGate, CRZGate, CPhaseGate, CUGate, CU3Gate),
    *(XXPlusYYGate, XXMinusYYGate),
]
"""Gates with one to four angles."""

DIAGONAL_EVOLUTION = ["ZZI", "IZZ", "ZZZ", "IIZ", "III"]
OTHER_EVOLUTION = ["XXI", "IZY", "ZIZ", "XYZ", "IXI"]

COUNTS = {RGate: 2, UGate: 3, U3Gate: 3, CU3Gate: 3, CUGate: 4, XXPlusYYGate: 2, XXMinusYYGate: 2}
"""Number of angles where it is not one."""
_PARAMETERS = [Parameter(name) for name in ("theta", "alpha", "b10", "b2", "Z")]  # not in the order of their names


def random_angle(rng: np.random.Generator) -> ParameterExpression | float:
    """Return a number, a parameter, or an affine function of one or two."""
    first, second = rng.choice(len(_PARAMETERS), 2, replace=False)
    a, b, c = rng.uniform(-2, 2, 3).tolist()
    choices: list[Callable[[], ParameterExpression | float]] = [
        lambda: c,
        lambda: _PARAMETERS[first],
        lambda: -_PARAMETERS[first],
        lambda: a * _PARAMETERS[first] + c,
        lambda: _PARAMETERS[first] / 3 - b * _PARAMETERS[second] + c,
    ]
    return choices[rng.integers(len(choices))]()


def random_gate(rng: np.random.Generator) -> Any:
    """Return a gate of any sort that the package reads."""
    kind = rng.choice(["fixed", "angled", "matrix", "evolution"], p=[0.35, 0.5, 0.05, 0.1])
    if kind == "fixed":
        return FIXED[rng.integers(len(FIXED))]()
    if kind == "matrix":
        size = int(rng.integers(1, 3))
        return UnitaryGate(random_unitary(2**size, seed=int(rng.integers(2**31))))
    if kind == "evolution":
        labels = DIAGONAL_EVOLUTION if rng.random() < 0.5 else OTHER_EVOLUTION
        operator = SparsePauliOp(labels, rng.normal(size=len(labels)))
        time = random_angle(rng)
        return PauliEvolutionGate(operator, time)
    gate = ANGLED[rng.integers(len(ANGLED))]
    return gate(*(random_angle(rng) for _ in range(COUNTS.get(gate, 1))))


def random_circuit(rng: np.random.Generator, qubits: int, gates: int) -> QuantumCircuit:
    """Return a circuit of random gates on random qubits, part of it nested, with at least one parameter."""
    circuit = QuantumCircuit(qubits)
    for _ in range(gates):
        if rng.random() < 0.1:
            inner = QuantumCircuit(3, name="nested")
            for _ in range(3):
                append_at_random(inner, random_gate(rng), rng)
            gate = inner.to_gate() if rng.random() < 0.5 else inner.to_instruction()
        else:
            gate = random_gate(rng)
        append_at_random(circuit, gate, rng)
    circuit.barrier()
    circuit.ry(_PARAMETERS[0], 0)
    return circuit


def append_at_random(circuit: QuantumCircuit, gate: Any, rng: np.random.Generator) -> None:
    """Append a gate on random qubits in random order."""
    circuit.append(gate, rng.choice(circuit.num_qubits, gate.num_qubits, replace=False).tolist())


def random_operator(rng: np.random.Generator, qubits: int, terms: int, letters: str = "IXYZ") -> SparsePauliOp:
    """Return a random Pauli sum with an identity term; terms may repeat."""
    labels = ["".join(rng.choice(list(letters), qubits)) for _ in range(terms)]
    return SparsePauliOp([*labels, "I" * qubits, "Z" * qubits], rng.normal(size=terms + 2))


def state_slow(circuit: QuantumCircuit, point: Sequence[float] | NDArray[np.float64]) -> NDArray[np.complex128]:
    """Return the state by Qiskit; entry i of the point binds ``circuit.parameters[i]``.

    Evolutions are taken apart first: Qiskit would apply the exact exponential where a device runs the product formula.
    """
    bound = circuit.assign_parameters(np.asarray(point, dtype=float)[: circuit.num_parameters])
    return np.asarray(Statevector(bound.decompose(["PauliEvolution", "nested*"], reps=4)).data)


def expectation_slow(circuit: QuantumCircuit, operator: SparsePauliOp, point: Any) -> float:
    """Return ``<H>`` by plain linear algebra."""
    state = state_slow(circuit, point)
    return float(np.real(state.conj() @ (operator.to_matrix(sparse=True) @ state)))


def gradient_slow(cost: Callable[[NDArray[np.float64]], float], point: Any, step: float = 2e-3) -> NDArray[np.float64]:
    """Return the derivatives by the five-point stencil, right to about 1e-9."""
    point = np.asarray(point, dtype=float)
    result = np.zeros(len(point))
    for index, axis in enumerate(np.eye(len(point)) * step):
        near = cost(point + axis) - cost(point - axis)
        far = cost(point + 2 * axis) - cost(point - 2 * axis)
        result[index] = (8 * near - far) / (12 * step)
    return result


def assert_same_state(actual: NDArray[np.complex128], expected: NDArray[np.complex128]) -> None:
    """Check that two states differ by a global phase only."""
    overlap = np.vdot(actual, expected)
    assert np.allclose(actual * overlap / abs(overlap), expected, atol=1e-10)
    assert abs(overlap) > 0.999


class BatchedEstimator(BaseEstimatorV2):
    """Exact values from the statevector engine, for tests that need very many circuits; it has no shots."""

    def __init__(self) -> None:
        self._engine = ExactEngine()
        self._tasks: dict[int, Task] = {}

    def run(self, pubs: Iterable[Any], *, precision: float | None = None) -> Any:
        results = []
        for circuit, operator, points in pubs:
            task = self._tasks.setdefault(id(circuit), Task.from_circuit(circuit, operator))
            flat = torch.as_tensor(points).reshape(-1, points.shape[-1])
            energies = self._engine.expectation([task] * len(flat), flat).numpy()
            results.append(PubResult(DataBin(evs=energies.reshape(points.shape[:-1]))))
        job = PrimitiveJob(lambda: PrimitiveResult(results))
        job._submit()
        return job


class EveryDirection(np.random.Generator):
    """Draws every pattern of signs in turn, so that an average over them is a mean and not an estimate.

    2^(P-1) directions are all there are: a pattern and its opposite shift the same circuits.
    """

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def integers(self, high: int, *, size: tuple[int, int, int]) -> NDArray[np.int64]:  # type: ignore[override]
        assert high == 2
        patterns = np.arange(size[1])[:, None] >> np.arange(size[2]) & 1
        return np.broadcast_to(patterns, size)


def points_for(rng: np.random.Generator, tasks: Sequence[Task], extra: int = 0) -> Tensor:
    """Return a point a task, as wide as the widest needs and some columns more, ready for gradients."""
    size = max(task.num_parameters for task in tasks) + extra
    return torch.as_tensor(rng.uniform(-3, 3, (len(tasks), size))).requires_grad_()


def evaluate(engine: Engine, tasks: Sequence[Task], points: Tensor) -> tuple[Tensor, Tensor]:
    """Return values and gradients."""
    values = engine.expectation(tasks, points)
    (gradients,) = torch.autograd.grad(values.sum(), points)
    return values.detach(), gradients
