"""Circuits sent to an estimator primitive: one job a call, one PUB a distinct circuit, all that is spent booked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Gate, ParameterVector, Qubit
from qiskit.circuit.library import PauliEvolutionGate, RXGate, RXXGate, RYGate, RYYGate, RZGate, RZZGate
from qiskit.primitives import BaseEstimatorV2
from qiskit.quantum_info import Pauli, PauliList, SparsePauliOp
from torch import Tensor

from qiskit_metainit.budget import Budget
from qiskit_metainit.engine import Transpiler, attach_gradient, check_points, check_shots, rows_by_task
from qiskit_metainit.rotations import Fixed, Rotation, split
from qiskit_metainit.task import Task

_GATES = {"X": RXGate, "Y": RYGate, "Z": RZGate, "XX": RXXGate, "YY": RYYGate, "ZZ": RZZGate}


@dataclass(frozen=True, eq=False)
class Prepared:
    """A circuit and an observable as an estimator runs them."""

    circuit: QuantumCircuit
    """Transpiled if there is a pass manager; evolutions and nested circuits are taken apart."""
    observable: SparsePauliOp
    """On the circuit's qubits."""
    bases: int
    """Measurement bases of the observable: each of them takes the shots."""


Pub = tuple[Prepared, NDArray[np.float64]]
"""A prepared circuit with (rows, K, number of parameters) points."""


class Rule(Protocol):
    """How the values and the gradients of one task come out of circuit evaluations."""

    def pubs(self, points: NDArray[np.float64], gradient: bool) -> list[Pub]:
        """Return what to run for (rows, P) points of the task."""
        ...

    def values(self, energies: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return the (rows,) values from a (rows, K) array of energies a PUB."""
        ...

    def gradients(self, energies: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return the (rows, P) gradients from a (rows, K) array of energies a PUB."""
        ...


class Estimation:
    """An estimator with its shots, its pass manager and the ledger of what it was asked.

    Args:
        estimator: any ``BaseEstimatorV2``.
        shots: of every circuit evaluation, passed on as precision 1/sqrt(shots); by default the estimator's own.
        pass_manager: transpiles each circuit once.
        budget: what is spent is added here.
    """

    def __init__(
        self, estimator: BaseEstimatorV2, *, shots: int | None, pass_manager: Transpiler | None, budget: Budget
    ) -> None:
        if not isinstance(estimator, BaseEstimatorV2):
            raise TypeError(
                f"An estimator primitive (BaseEstimatorV2) is needed, but a {type(estimator).__name__} came. "
                "Wrap a backend with qiskit.primitives.BackendEstimatorV2(backend=...)."
            )
        check_shots(shots)
        if pass_manager is not None and not isinstance(pass_manager, Transpiler):
            raise TypeError(
                f"A pass manager with a run method is needed, but a {type(pass_manager).__name__} came. Make one with "
                "qiskit.transpiler.generate_preset_pass_manager(optimization_level=1, backend=...)."
            )
        self.estimator = estimator
        self.shots = shots
        self.pass_manager = pass_manager
        self.budget = budget

    def prepare(self, circuit: QuantumCircuit, observable: SparsePauliOp) -> Prepared:
        """Return the circuit and the observable as they will run; call it once a circuit and keep the result."""
        circuit = taken_apart(circuit)
        if self.pass_manager is not None:
            circuit = self.pass_manager.run(circuit)
            observable = observable if circuit.layout is None else observable.apply_layout(circuit.layout)
        # Sorted, as BackendEstimatorV2 groups them: the number of groups may depend on the order.
        bases = len(PauliList(sorted(observable.paulis.to_labels())).group_commuting(qubit_wise=True))
        return Prepared(circuit, observable, bases)

    def run(self, pubs: Sequence[Pub]) -> list[NDArray[np.float64]]:
        """Return the energies of every point of every PUB, from one job."""
        # Estimators take ceil(1/precision^2) shots: a hair more precision would cost one shot too many.
        precision = None if self.shots is None else (1.0 + 1e-12) / math.sqrt(self.shots)
        sent = [(prepared.circuit, prepared.observable, points) for prepared, points in pubs]
        results = self.estimator.run(sent, precision=precision).result()
        self.budget.add(jobs=1, pubs=len(pubs))
        energies = []
        for (prepared, points), result in zip(pubs, results, strict=True):
            energy = np.asarray(result.data.evs, dtype=np.float64).reshape(points.shape[:-1])
            shots = _shots(result.metadata, self.shots) * prepared.bases
            self.budget.add(circuits=energy.size, shots=shots * energy.size)
            energies.append(energy)
        return energies

    def expectation(
        self, tasks: Sequence[Task], points: Float[Tensor, "B P"], rule_of: Callable[[Task], Rule]
    ) -> Float[Tensor, " B"]:
        """Return each task's ``<H>``, differentiable by the rule of each distinct task; see ``Engine.expectation``."""
        check_points(tasks, points)
        wants_gradient = points.requires_grad and torch.is_grad_enabled()
        raw = points.detach().cpu().to(torch.float64).numpy()
        plans = [(task, rule_of(task), rows) for task, rows in rows_by_task(tasks).items()]
        asked = [rule.pubs(raw[rows, : task.num_parameters], wants_gradient) for task, rule, rows in plans]
        energies = iter(self.run([pub for pubs in asked for pub in pubs]))
        values, gradients = np.zeros(len(tasks)), np.zeros_like(raw)
        for (task, rule, rows), pubs in zip(plans, asked, strict=True):
            own = [next(energies) for _ in pubs]
            values[rows] = rule.values(own)
            if wants_gradient:
                gradients[rows, : task.num_parameters] = rule.gradients(own)
        result = torch.as_tensor(values).to(points)
        return attach_gradient(points, result, torch.as_tensor(gradients).to(points)) if wants_gradient else result


@dataclass(frozen=True, eq=False)
class Unrolled:
    """A circuit with one parameter a rotation."""

    prepared: Prepared
    """The circuit; entry r of its points is the angle of rotation r."""
    slopes: NDArray[np.float64]
    """(R, P): angle_r = sum_p slopes[r, p] theta_p + constant[r]."""
    constant: NDArray[np.float64]
    """(R,) radians."""

    @classmethod
    def of(cls, task: Task, estimation: Estimation) -> Unrolled:
        """Unroll a task's circuit and prepare it."""
        operations = split(task.circuit)
        rotations = [op for op in operations if isinstance(op, Rotation) and op.angle.slopes]
        # Zero-padded names would not matter: a ParameterVector keeps the order of its indices, also beyond 10.
        angle = iter(ParameterVector("a", len(rotations)))
        circuit = QuantumCircuit(task.circuit.num_qubits)
        for op in operations:
            if isinstance(op, Fixed):
                circuit.append(op.gate, op.qubits)
            else:
                _append(circuit, op, next(angle) if op.angle.slopes else op.angle.constant)
        slopes = np.zeros((len(rotations), task.num_parameters))
        for row, rotation in enumerate(rotations):
            for index, slope in rotation.angle.slopes:
                slopes[row, index] = slope
        constant = np.array([rotation.angle.constant for rotation in rotations])
        return cls(estimation.prepare(circuit, task.hamiltonian), slopes, constant)

    def angles(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the (rows, R) angles at (rows, P) points."""
        return np.asarray(points @ self.slopes.T + self.constant, dtype=np.float64)


def taken_apart(circuit: QuantumCircuit) -> QuantumCircuit:
    """Return the circuit with evolutions and nested circuits replaced by their definitions; itself if it has none.

    Simulators apply a ``PauliEvolutionGate`` of terms that do not commute as the exact exponential. What runs on a
    device, and in every engine here, is its product formula. Parameters keep their order; global phases are dropped.
    """
    if not any(_composite(instruction.operation) for instruction in circuit.data):
        return circuit
    flat = QuantumCircuit(circuit.num_qubits)
    _append_apart(flat, circuit, flat.qubits)
    return flat


def _append_apart(flat: QuantumCircuit, circuit: QuantumCircuit, wires: Sequence[Qubit]) -> None:
    place = dict(zip(circuit.qubits, wires, strict=True))
    for instruction in circuit.data:
        qubits = [place[bit] for bit in instruction.qubits]
        if _composite(instruction.operation):
            _append_apart(flat, instruction.operation.definition, qubits)
        else:
            flat.append(instruction.operation, qubits)


def _composite(operation: Any) -> bool:
    # Gates with a matrix of their own have __array__; circuits made into gates, and evolutions, do not.
    return getattr(operation, "definition", None) is not None and not hasattr(operation, "__array__")


def _shots(metadata: Mapping[str, Any], asked: int | None) -> int:
    """Return the shots of one circuit: as the estimator says, as the precision it aimed at amounts to, or as asked."""
    if metadata.get("shots"):
        return int(metadata["shots"])
    precision = float(metadata.get("target_precision") or 0.0)
    return round(1.0 / precision**2) if precision else asked or 0


def _append(circuit: QuantumCircuit, rotation: Rotation, angle: object) -> None:
    """Append one rotation as a standard gate, or by its definition where there is none."""
    if rotation.letters in _GATES:
        circuit.append(_GATES[rotation.letters](angle), rotation.qubits)
        return
    gate: Gate = PauliEvolutionGate(Pauli(rotation.letters[::-1]), time=angle / 2)  # type: ignore[operator]
    circuit.compose(gate.definition, rotation.qubits, inplace=True)
