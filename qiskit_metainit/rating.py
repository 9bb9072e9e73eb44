"""What a starting point is worth: its exact energy, and where that lies between the best and the worst there is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from qiskit.quantum_info import SparsePauliOp
from scipy.sparse.linalg import eigsh

from qiskit_metainit.engine import Engine
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.model import Model
from qiskit_metainit.models.random_point import RandomPoint
from qiskit_metainit.problem import diagonal_values, is_diagonal
from qiskit_metainit.rollout import normalised_cost, rollout
from qiskit_metainit.task import Task

Array = NDArray[np.float64]


def spectrum(operator: SparsePauliOp) -> tuple[float, float]:
    """Return the smallest and the largest eigenvalue."""
    if is_diagonal(operator):
        values = diagonal_values(operator)
        return float(values.min()), float(values.max())
    matrix = operator.to_matrix(sparse=True)
    if matrix.shape[0] <= 16:  # too small for Lanczos
        values = np.linalg.eigvalsh(matrix.toarray())
        return float(values[0]), float(values[-1])
    low, high = (eigsh(matrix, k=1, which=which, return_eigenvectors=False)[0] for which in ("SA", "LA"))
    return float(low), float(high)


def random_points(task: Task, count: int, stream: int) -> Array:
    """Return (count, P) random points, radians: other draws for every stream, so that instances are independent."""
    engine = Statevector()
    return np.concatenate([answers(RandomPoint(seed=stream * count + k), [task], engine) for k in range(count)])


def ratio(values: Array, limits: Array) -> Array:
    """Return r = (E_max - E) / (E_max - E_min) of (I,) energies under (I, 2) spectra."""
    return np.asarray((limits[:, 1] - values) / (limits[:, 1] - limits[:, 0]))


def answers(model: Model, tasks: Sequence[Task], engine: Engine) -> Array:
    """Return (I, P) radians: the model's answers, its queries answered by the engine."""
    with torch.no_grad():
        known = [task.features for task in tasks]
        return rollout(model, known, normalised_cost(engine, tasks), measure_answer=False).answer.numpy()


def energies(engine: Statevector, tasks: Sequence[Task], points: Array) -> Array:
    """Return (I,) exact energies at (I, P) points."""
    with torch.no_grad():
        return engine.expectation(tasks, torch.as_tensor(points)).numpy()
