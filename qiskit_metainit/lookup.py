"""A task as the front door needs it, and a model's answers to several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparseObservable, SparsePauliOp

from qiskit_metainit import features
from qiskit_metainit.ansatz import check_reps
from qiskit_metainit.engine import Engine
from qiskit_metainit.model import Model
from qiskit_metainit.rollout import normalised_cost, rollout
from qiskit_metainit.task import Task


class Lookup:
    """A task that builds QAOA's circuit only when a query needs it.

    Args:
        operator: to be minimised.
        reps: layers of QAOA ...
        ansatz: ... or a circuit.
        hints: what is known besides; see ``Problem``.
    """

    def __init__(
        self,
        operator: SparsePauliOp | SparseObservable,
        reps: int | None,
        ansatz: QuantumCircuit | None,
        hints: Mapping[str, Any] | None = None,
    ) -> None:
        self._operator, self._reps = operator, 0 if reps is None else check_reps(reps)
        self._task = None if ansatz is None else Task.from_circuit(ansatz, operator, hints=hints)
        self.features = self._task.features if self._task else features.of_qaoa(operator, self._reps)

    @property
    def task(self) -> Task:
        """The landscape."""
        if self._task is None:
            self._task = Task.qaoa(self._operator, reps=self._reps)
        return self._task


def answers(model: Model, lookups: Sequence[Lookup], engine: Engine) -> tuple[list[NDArray[np.float64]], int]:
    """Return each task's point, and the shots spent on each."""
    if not lookups:
        return [], 0
    before = engine.budget.copy()
    known = [lookup.features for lookup in lookups]
    with torch.no_grad():
        cost = normalised_cost(engine, [lookup.task for lookup in lookups]) if model.queries else None
        answers = rollout(model, known, cost, measure_answer=False).answer.numpy()
    shots = engine.budget.since(before).shots // len(lookups)
    return [row[: item.num_parameters].copy() for row, item in zip(answers, known, strict=True)], shots
