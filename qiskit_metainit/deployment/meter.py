"""Energies of one workload, by outcomes or by a mitigating estimator."""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from qiskit.transpiler import Target

from qiskit_metainit.deployment.adapters.expectation import SampledEstimator
from qiskit_metainit.deployment.adapters.layout import LayoutSafeEstimator, LayoutSafeSampler
from qiskit_metainit.deployment.adapters.templates import Templates
from qiskit_metainit.deployment.spending.primitives import Asked, LedgeredEstimator, LedgeredSampler
from qiskit_metainit.deployment.workload import Workload
from qiskit_metainit.engine import Engine
from qiskit_metainit.engines.parameter_shift import ParameterShift
from qiskit_metainit.engines.sampling import Sampling
from qiskit_metainit.problem import is_diagonal
from qiskit_metainit.readout import ReadoutCalibration
from qiskit_metainit.task import Task


@final
class Meter:
    """Energies of one workload, every basis with the same number of shots.

    Args:
        workload: whose circuit and Hamiltonian are measured.
        spender: runs the jobs.
        templates: of the circuits as the backend runs them.
        target: the backend's.
        estimates: whether the backend's own estimator measures the energies, with its mitigation; else they are
            averages of outcomes.
    """

    def __init__(
        self, workload: Workload, spender: Asked, templates: Templates, target: Target, *, estimates: bool = False
    ) -> None:
        self._task = Task.of(workload.problem, reps=workload.reps)
        shots = workload.schedule(0)
        sampler = LedgeredSampler(spender)
        self._sampler = LayoutSafeSampler(sampler, templates)
        diagonal = is_diagonal(workload.problem.operator)
        self._outcomes = Sampling(self._sampler, shots=shots) if diagonal else None
        self._source: Sampling | SampledEstimator | LedgeredEstimator
        self.engine: Engine
        """Answers an initializer's queries."""
        if estimates:
            self._source = LedgeredEstimator(spender, shots)
            self.engine = ParameterShift(LayoutSafeEstimator(self._source, templates))
        elif self._outcomes is not None:
            self.engine = self._source = self._outcomes
        elif {"rz", "sx"} <= set(target.operation_names):  # bases are rotated into by gates that the backend has
            self._source = SampledEstimator(sampler, shots)
            self.engine = ParameterShift(LayoutSafeEstimator(self._source, templates))
        else:  # the circuit is transpiled again in every basis
            self._source = SampledEstimator(self._sampler, shots)
            self.engine = ParameterShift(self._source)

    def measure(self, points: NDArray[np.float64], shots: int) -> NDArray[np.float64]:
        """Return the (k,) energies at (k, P) points, from one job."""
        self._source.shots = shots
        return self._energies(self.engine, points)

    def sample(self, point: NDArray[np.float64], shots: int) -> float:
        """Return the energy at a (P,) point by outcomes, if the Hamiltonian is diagonal, else as ``measure`` does."""
        if self._outcomes is None:
            return float(self.measure(point[None], shots)[0])
        self._outcomes.shots = shots
        return float(self._energies(self._outcomes, point[None])[0])

    def _energies(self, engine: Engine, points: NDArray[np.float64]) -> NDArray[np.float64]:
        values = engine.expectation([self._task] * len(points), torch.as_tensor(points))
        return np.asarray(values.numpy(), dtype=float)

    def calibrate(self, shots: int) -> ReadoutCalibration:
        """Measure the readout errors of the circuit's qubits in one job, and take them out of energies from now on."""
        readout = ReadoutCalibration.measure(self._sampler, range(self._task.hamiltonian.num_qubits), shots=shots)
        assert not isinstance(self._source, LedgeredEstimator)  # takes them out itself
        self._source.readout = readout
        return readout
