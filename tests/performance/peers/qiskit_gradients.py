"""Qiskit's own gradients: parameter shifts on Aer's EstimatorV2, and the reverse (adjoint) gradient in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.circuit.library import PauliEvolutionGate, RXGate, RYGate, RZGate, RZZGate
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer.primitives import EstimatorV2
from qiskit_algorithms.gradients import ParamShiftEstimatorGradient, ReverseEstimatorGradient
from simulator import Array
from workloads import Instance, Workload

_ROTATIONS: dict[str, Callable[..., Any]] = {"X": RXGate, "Y": RYGate, "Z": RZGate, "ZZ": RZZGate}


class Gradients:
    """A whole batch as one job of an estimator and one of a gradient."""

    def __init__(self, workload: Workload, *, gradient: bool, estimator: Any, rule: Any) -> None:
        self._circuits = [circuit(workload, instance) for instance in workload.instances]
        self._operators = [
            SparsePauliOp.from_sparse_list([(letters, q, c) for c, q, letters in instance.hamiltonian], workload.qubits)
            for instance in workload.instances
        ]
        self._estimator = estimator
        self._rule = rule if gradient else None
        self(np.array([instance.point for instance in workload.instances]))  # the rules unroll circuits once

    def __call__(self, points: Array) -> tuple[Array, Array | None]:
        """See Simulator."""
        pubs = list(zip(self._circuits, self._operators, points, strict=True))
        values = np.array([float(result.data.evs) for result in self._estimator.run(pubs).result()])
        if self._rule is None:
            return values, None
        job = self._rule.run(self._circuits, self._operators, points.tolist())
        return values, np.array(job.result().gradients)


def aer(workload: Workload, *, gradient: bool) -> Gradients:
    """Return parameter shifts, every shift a circuit of Aer's exact estimator."""
    estimator = EstimatorV2()
    return Gradients(workload, gradient=gradient, estimator=estimator, rule=ParamShiftEstimatorGradient(estimator))


def reverse(workload: Workload, *, gradient: bool) -> Gradients:
    """Return the reverse gradient."""
    return Gradients(workload, gradient=gradient, estimator=StatevectorEstimator(), rule=ReverseEstimatorGradient())


def circuit(workload: Workload, instance: Instance) -> QuantumCircuit:
    """Return an instance gate by gate."""
    parameters = ParameterVector("t", workload.parameters)
    result = QuantumCircuit(workload.qubits)
    for name, qubits, *rest in instance.gates:
        if name != "rotation":
            getattr(result, name)(*qubits)
            continue
        letters, parameter, slope = rest
        angle = slope * parameters[parameter]
        if letters in _ROTATIONS:
            result.append(_ROTATIONS[letters](angle), qubits)
        else:
            gate = PauliEvolutionGate(SparsePauliOp(letters[::-1]), time=angle / 2)
            result.compose(gate.definition, qubits, inplace=True)
    return result
