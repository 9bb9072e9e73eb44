from __future__ import annotations

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit.adaptation import adapt
from qiskit_metainit.engines.parameter_shift import ParameterShift
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.task import Task


def task_of(rng: np.random.Generator, size: int, layers: int) -> Task:
    theta = ParameterVector("theta", size * layers)
    circuit = QuantumCircuit(size)
    for place, angle in enumerate(theta):
        circuit.ry(angle, place % size)
        circuit.cx(place % size, (place + 1) % size)
    labels = ["X" * size, "Z" * size, *("I" * k + "Z" + "I" * (size - k - 1) for k in range(size))]
    return Task.from_circuit(circuit, SparsePauliOp(labels, rng.normal(size=len(labels))))


def test_adam_step_by_step_is_that_of_torch(rng: np.random.Generator) -> None:
    task, start = task_of(rng, 3, 2), rng.uniform(-1, 1, 6)
    run = adapt(Statevector(), [task], start[None], learning_rate=0.03, steps=25)
    point = torch.tensor(start, requires_grad=True)
    adam = torch.optim.Adam([point], lr=0.03)
    estimator, values, norms = StatevectorEstimator(), [], []
    for _ in range(26):
        at = point.detach().numpy()
        plus_minus = [at, *(at + s * step for s in (1, -1) for step in np.pi / 2 * np.eye(6))]
        found = estimator.run([(task.circuit, task.hamiltonian, plus_minus)]).result()[0].data.evs
        point.grad = torch.tensor((found[1:7] - found[7:]) / 2)  # the shift rule: every angle drives one RY
        values.append(found[0])
        norms.append(point.grad.norm().item())
        last = at.copy()
        adam.step()
    np.testing.assert_allclose(run.energies[:, 0], values, atol=1e-9)
    np.testing.assert_allclose(run.gradient_norms[:, 0], norms, atol=1e-9)
    np.testing.assert_allclose(run.points[0], last, atol=1e-9)


def test_runs_of_a_batch_do_not_touch_each_other(rng: np.random.Generator) -> None:
    tasks = [task_of(rng, 3, 2), task_of(rng, 4, 1), Task.qaoa(SparsePauliOp(["ZZI", "IZZ"], [0.7, -9.0]), reps=1)]
    points = np.zeros((3, 6))
    for row, task in enumerate(tasks):
        points[row, : task.num_parameters] = rng.uniform(-0.5, 0.5, task.num_parameters)
    before = points.copy()
    rates = [0.1, 0.01, 0.05]
    together = adapt(Statevector(), tasks, points, learning_rate=rates, steps=8)
    np.testing.assert_array_equal(points, before)
    for row, task in enumerate(tasks):
        count = task.num_parameters
        alone = adapt(Statevector(), [task], points[row : row + 1, :count], learning_rate=rates[row], steps=8)
        np.testing.assert_allclose(together.energies[:, row], alone.energies[:, 0], atol=1e-10)
        np.testing.assert_allclose(together.points[row, :count], alone.points[0], atol=1e-10)
        assert not together.points[row, count:].any()


def test_a_factor_on_the_hamiltonian_changes_the_energies_only(rng: np.random.Generator) -> None:
    operator = SparsePauliOp(["ZZI", "IZZ", "ZIZ"], rng.normal(size=3))
    unit = Task.qaoa(operator, reps=1).features.unit.numpy()
    one = adapt(Statevector(), [Task.qaoa(operator, reps=1)], 0.3 * unit[None], learning_rate=0.02, steps=20)
    large = Task.qaoa(operator * 50.0, reps=1)
    other = adapt(Statevector(), [large], 0.3 * large.features.unit.numpy()[None], learning_rate=0.02, steps=20)
    np.testing.assert_allclose(other.energies, 50 * one.energies, rtol=1e-5)


def test_the_best_so_far_and_the_last_differ_where_adam_climbs() -> None:
    circuit = QuantumCircuit(1)
    circuit.ry(ParameterVector("t", 1)[0], 0)
    task = Task.from_circuit(circuit, SparsePauliOp("Z"))
    run = adapt(Statevector(), [task], np.array([[np.pi - 0.01]]), learning_rate=0.5, steps=3)
    assert run.energies[-1, 0] > run.energies[0, 0]
    assert run.best[-1, 0] == run.energies[:, 0].min()
    assert run.arrivals(np.array([run.energies[0, 0]])).tolist() == [0]
    assert run.arrivals(np.array([-1.1])).tolist() == [4]


def test_a_stationary_point_stays() -> None:
    task = Task.qaoa(SparsePauliOp(["ZZI", "IZZ"]), reps=2)
    run = adapt(Statevector(), [task], np.zeros((1, 4)), learning_rate=0.1, steps=5)
    assert np.abs(run.points).max() < 1e-6


def test_with_an_estimator_and_the_shift_rule(rng: np.random.Generator) -> None:
    task, start = task_of(rng, 2, 1), rng.uniform(-1, 1, (1, 2))
    exact = adapt(Statevector(), [task], start, learning_rate=0.1, steps=4)
    shifted = adapt(ParameterShift(StatevectorEstimator()), [task], start, learning_rate=0.1, steps=4)
    np.testing.assert_allclose(shifted.energies, exact.energies, atol=1e-7)


def test_what_cannot_be_adapted_is_refused(rng: np.random.Generator) -> None:
    task, start = task_of(rng, 2, 1), np.zeros((1, 2))
    for rate, steps in ((0.0, 3), (np.nan, 3), ([0.1, 0.1], 3), (0.1, 0)):
        with pytest.raises(ValueError, match="At least one step and a positive learning rate"):
            adapt(Statevector(), [task], start, learning_rate=rate, steps=steps)

    class Blind(Statevector):
        order = 0  # type: ignore[assignment]

    with pytest.raises(ValueError, match="Adam needs gradients, but Blind offers none"):
        adapt(Blind(), [task], start, learning_rate=0.1, steps=1)
