"""Expectation values and parameter-shift gradients through any estimator primitive."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Gate, ParameterVector
from qiskit.circuit.library import PauliEvolutionGate, RXGate, RXXGate, RYGate, RYYGate, RZGate, RZZGate
from qiskit.primitives import BaseEstimatorV2
from qiskit.quantum_info import Pauli, PauliList, SparsePauliOp
from torch import Tensor

from qiskit_metainit.budget import Budget
from qiskit_metainit.engine import Transpiler, attach_gradient, check_points, rows_by_task
from qiskit_metainit.rotations import Fixed, Rotation, split
from qiskit_metainit.task import Task

_GATES = {"X": RXGate, "Y": RYGate, "Z": RZGate, "XX": RXXGate, "YY": RYYGate, "ZZ": RZZGate}


class ParameterShift:
    """Any ``BaseEstimatorV2``, differentiated gate by gate with two shifts of pi/2.

    A QAOA angle drives many gates, so the two-term rule holds for a *gate's* angle only: the circuit is unrolled to
    one parameter a rotation, every rotation is shifted (Mitarai et al. 2018, arXiv:1803.00745; Schuld et al.
    2019, arXiv:1811.11184) and the chain rule goes back to the circuit's parameters. One call is one job with one PUB
    a distinct task, all its points and shifts broadcast.

    Args:
        estimator: Aer's, ``StatevectorEstimator``, ``BackendEstimatorV2``, the runtime's. It draws its own noise: give
            it no integer seed, which would freeze the noise to the same values at every call.
        shots: of every circuit evaluation, passed on as precision 1/sqrt(shots); by default the estimator's own.
        pass_manager: transpiles each unrolled circuit once; needed by backends with a restricted gate set or layout.
    """

    order = 1

    def __init__(
        self, estimator: BaseEstimatorV2, *, shots: int | None = None, pass_manager: Transpiler | None = None
    ) -> None:
        if not isinstance(estimator, BaseEstimatorV2):
            raise TypeError(
                f"An estimator primitive (BaseEstimatorV2) is needed, but a {type(estimator).__name__} came. "
                "Wrap a backend with qiskit.primitives.BackendEstimatorV2(backend=...)."
            )
        if shots is not None and shots < 1:
            raise ValueError(f"shots must be a positive integer or None, but {shots!r} came.")
        self.estimator = estimator
        self.shots = shots
        self.pass_manager = pass_manager
        self.budget = Budget()
        self._unrolled: WeakKeyDictionary[Task, _Unrolled] = WeakKeyDictionary()

    def expectation(self, tasks: Sequence[Task], points: Float[Tensor, "B P"]) -> Float[Tensor, " B"]:
        """Return each task's ``<H>``; see ``Engine.expectation``."""
        check_points(tasks, points)
        wants_gradient = points.requires_grad and torch.is_grad_enabled()
        raw = points.detach().cpu().to(torch.float64).numpy()
        distinct = rows_by_task(tasks)
        plans = [(self._unroll(task), rows) for task, rows in distinct.items()]
        angles = [unrolled.angles(raw[rows], wants_gradient) for unrolled, rows in plans]
        # Estimators take ceil(1/precision^2) shots: a hair more precision would cost one shot too many.
        precision = None if self.shots is None else (1.0 + 1e-12) / math.sqrt(self.shots)
        pubs = [(plan.circuit, plan.observable, a) for (plan, _), a in zip(plans, angles, strict=True)]
        results = self.estimator.run(pubs, precision=precision).result()
        self.budget.add(jobs=1, pubs=len(pubs))
        values, gradients = np.zeros(len(tasks)), np.zeros_like(raw)
        for (plan, rows), bound, result in zip(plans, angles, results, strict=True):
            energies = np.asarray(result.data.evs, dtype=np.float64).reshape(bound.shape[:2])
            circuits = energies.size
            shots = self._shots(result.metadata) * plan.bases
            self.budget.add(circuits=circuits, shots=shots * circuits)
            values[rows] = energies[:, 0]
            if wants_gradient:
                gradients[rows, : plan.slopes.shape[1]] = plan.chain(energies)
        result_values = torch.as_tensor(values).to(points)
        if not wants_gradient:
            return result_values
        return attach_gradient(points, result_values, torch.as_tensor(gradients).to(points))

    def _shots(self, metadata: Mapping[str, Any]) -> int:
        """Return the shots of one circuit: as the estimator says, or as the precision it was asked for amounts to."""
        if metadata.get("shots"):
            return int(metadata["shots"])
        precision = float(metadata.get("target_precision") or 0.0)
        return round(1.0 / precision**2) if precision else 0

    def _unroll(self, task: Task) -> _Unrolled:
        if task not in self._unrolled:
            self._unrolled[task] = _Unrolled.of(task, self.pass_manager)
        return self._unrolled[task]


@dataclass(frozen=True, eq=False)
class _Unrolled:
    """A circuit with one parameter a rotation."""

    circuit: QuantumCircuit
    observable: SparsePauliOp
    slopes: NDArray[np.float64]  # (R, P): angle_r = sum_p slopes[r, p] theta_p + constant[r]
    constant: NDArray[np.float64]  # (R,)
    bases: int  # measurement bases of the observable: each takes the shots

    @classmethod
    def of(cls, task: Task, pass_manager: Transpiler | None) -> _Unrolled:
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
        observable = task.hamiltonian
        if pass_manager is not None:
            circuit = pass_manager.run(circuit)
            observable = observable if circuit.layout is None else observable.apply_layout(circuit.layout)
        # Sorted, as BackendEstimatorV2 groups them: the number of groups may depend on the order.
        bases = len(PauliList(sorted(observable.paulis.to_labels())).group_commuting(qubit_wise=True))
        return cls(circuit, observable, slopes, np.array([r.angle.constant for r in rotations]), bases)

    def angles(self, points: NDArray[np.float64], shifted: bool) -> NDArray[np.float64]:
        """Return (rows, 1 + 2R or 1, R): the angles, then each of them shifted up and down."""
        base: NDArray[np.float64] = points[:, : self.slopes.shape[1]] @ self.slopes.T + self.constant
        if not shifted:
            return base[:, None]
        shift = np.eye(len(self.constant)) * (np.pi / 2)
        shifts = np.concatenate([np.zeros_like(shift[:1]), shift, -shift])
        return np.asarray(base[:, None] + shifts)

    def chain(self, energies: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (rows, P) gradients from (rows, 1 + 2R) energies."""
        up, down = np.split(energies[:, 1:], 2, axis=1)
        return np.asarray(0.5 * (up - down) @ self.slopes, dtype=np.float64)


def _append(circuit: QuantumCircuit, rotation: Rotation, angle: object) -> None:
    """Append one rotation as a standard gate, or by its definition where there is none."""
    if rotation.letters in _GATES:
        circuit.append(_GATES[rotation.letters](angle), rotation.qubits)
        return
    gate: Gate = PauliEvolutionGate(Pauli(rotation.letters[::-1]), time=angle / 2)  # type: ignore[operator]
    circuit.compose(gate.definition, rotation.qubits, inplace=True)
