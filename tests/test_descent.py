"""Many searches at once: each ends in a local optimum as good as the one found alone, whatever its company."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit.descent import descend, descend_all, with_gradient
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.problem import Family
from qiskit_metainit.problems.ising import Ising
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.rating import random_points
from qiskit_metainit.task import Task

FAMILIES = {
    "maxcut": MaxCut(sizes=[6], weights=["exponential"]),
    "spin glass": MaxCut(sizes=[6], graphs=["complete"], weights=["normal"]),
    "fields": Ising(sizes=[5], fields="normal"),
}


@pytest.mark.parametrize("reps", [1, 3])
@pytest.mark.parametrize("name", FAMILIES)
def test_every_search_ends_in_a_local_optimum_below_its_start(name: str, reps: int, rng: np.random.Generator) -> None:
    family: Family = FAMILIES[name]
    engine = Statevector()
    tasks = [Task.qaoa(family.sample(rng).operator * 7.5, reps=reps) for _ in range(4)] * 2
    starts = np.concatenate([random_points(task, 1, place) for place, task in enumerate(tasks)])
    before = engine.expectation(tasks, torch.as_tensor(starts)).numpy()
    energies, points = descend_all(engine, tasks, starts)
    assert (energies < before).all()
    np.testing.assert_allclose(engine.expectation(tasks, torch.as_tensor(points)), energies, rtol=1e-12)
    for task, point in zip(tasks, points, strict=True):
        unit = task.features.unit.numpy()
        _, slope = with_gradient(engine, task, point / unit, unit)
        assert np.abs(slope).max() / task.scale < 2e-4


def test_what_is_found_does_not_depend_on_the_company(rng: np.random.Generator) -> None:
    engine = Statevector()
    tasks = [Task.qaoa(FAMILIES["fields"].sample(rng).operator, reps=2) for _ in range(5)]
    starts = np.concatenate([random_points(task, 1, place) for place, task in enumerate(tasks)])
    together = descend_all(engine, tasks, starts)[0]
    alone = [descend_all(engine, [task], start[None])[0][0] for task, start in zip(tasks, starts, strict=True)]
    np.testing.assert_allclose(together, alone, rtol=1e-6)


def test_it_finds_what_one_search_after_the_other_finds(rng: np.random.Generator) -> None:
    engine, task = Statevector(), Task.qaoa(FAMILIES["maxcut"].sample(rng).operator, reps=2)
    starts = random_points(task, 20, 0)
    best = min(descend(engine, task, start)[0] for start in starts)
    assert descend_all(engine, [task] * 20, starts)[0].min() == pytest.approx(best, rel=1e-3)


def test_a_start_that_cannot_get_lower_is_returned_as_it_is() -> None:
    task = Task.qaoa(SparsePauliOp("ZZ", [0.5]), reps=1)
    optimum = np.array([[np.pi / 8, -np.pi / 2], [0.0, 0.0]])  # the second is a saddle: no slope, no way down
    energies, points = descend_all(Statevector(), [task, task], optimum)
    np.testing.assert_allclose(points, optimum)
    np.testing.assert_allclose(energies, [-0.5, 0.0], atol=1e-12)
