"""Expectation values of diagonal Hamiltonians from the counts of any sampler primitive."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Float
from qiskit import QuantumCircuit
from qiskit.primitives import BaseSamplerV2, BitArray
from torch import Tensor

from qiskit_metainit.budget import Budget
from qiskit_metainit.engine import Transpiler, check_points, check_shots, rows_by_task
from qiskit_metainit.problem import is_diagonal
from qiskit_metainit.readout import ReadoutCalibration, backend_qubits, mean_energy
from qiskit_metainit.task import Task


class Sampling:
    """Any ``BaseSamplerV2``: costs without gradients, at exactly the shots asked for.

    One call is one job with one PUB a distinct task.

    Args:
        sampler: any sampler primitive.
        shots: of every circuit evaluation; by default the sampler's own.
        pass_manager: transpiles each measured circuit once.

    Attributes:
        readout: of the backend's qubits, to take readout errors out; None takes outcomes as they are.
    """

    order = 0

    def __init__(
        self, sampler: BaseSamplerV2, *, shots: int | None = None, pass_manager: Transpiler | None = None
    ) -> None:
        if not isinstance(sampler, BaseSamplerV2):
            raise TypeError(
                f"A sampler primitive (BaseSamplerV2) is needed, but a {type(sampler).__name__} came. "
                "Wrap a backend with qiskit.primitives.BackendSamplerV2(backend=...)."
            )
        check_shots(shots)
        self.sampler = sampler
        self.shots = shots
        self.pass_manager = pass_manager
        self.budget = Budget()
        self.readout: ReadoutCalibration | None = None
        self._measured: WeakKeyDictionary[Task, QuantumCircuit] = WeakKeyDictionary()

    def expectation(self, tasks: Sequence[Task], points: Float[Tensor, "B P"]) -> Float[Tensor, " B"]:
        """Return each task's ``<H>``; see ``Engine.expectation``.

        Raises:
            ValueError: if a Hamiltonian is not diagonal, or points require a gradient, which counts do not give.
        """
        check_points(tasks, points)
        if points.requires_grad and torch.is_grad_enabled():
            raise ValueError("Sampling gives no gradients, but the points require one. Use parameter_shift to train.")
        raw = points.detach().cpu().to(torch.float64).numpy()
        distinct = rows_by_task(tasks)
        pubs = [(self._measure(task), raw[rows, : task.num_parameters]) for task, rows in distinct.items()]
        results = self.sampler.run(pubs, shots=self.shots).result()
        self.budget.add(jobs=1, pubs=len(pubs))
        values = np.zeros(len(tasks))
        for (task, rows), result in zip(distinct.items(), results, strict=True):
            bits: BitArray = result.data.meas
            readout = self.readout and self.readout.on(backend_qubits(result, "meas", range(bits.num_bits)))
            for place, row in enumerate(rows):
                values[row] = mean_energy(bits[place], task.hamiltonian, readout)
            self.budget.add(circuits=len(rows), shots=len(rows) * int(bits.num_shots))
        return torch.as_tensor(values).to(points)

    def _measure(self, task: Task) -> QuantumCircuit:
        if task not in self._measured:
            if not is_diagonal(task.hamiltonian):
                raise ValueError(
                    "Counts give the energy of diagonal operators only, but this one has X or Y terms. Use an "
                    "estimator with parameter_shift."
                )
            circuit = task.circuit.measure_all(inplace=False)
            self._measured[task] = circuit if self.pass_manager is None else self.pass_manager.run(circuit)
        return self._measured[task]
