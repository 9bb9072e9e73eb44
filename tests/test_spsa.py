"""Tests of the simultaneous-perturbation engine: right on average, random in between, and exactly accounted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from oracles import BatchedEstimator, EveryDirection, expectation_slow
from qiskit.circuit.library import efficient_su2
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp
from scipy import stats
from torch import Tensor

from qiskit_metainit.engine import Engine, attach_gradient
from qiskit_metainit.engines.parameter_shift import ParameterShift
from qiskit_metainit.engines.spsa import Spsa
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.task import Task
from qiskit_metainit.testing import ConformanceError, check_engine

HEAVY = SparsePauliOp(["IZZ", "ZZI", "ZIZ", "IIZ", "III"], [50.0, -100.0, 70.0, 30.0, 2.0])
MIXED = SparsePauliOp(["IXX", "XXI", "IYY", "IZZ", "IIY"], [0.5, 0.6, 0.7, 0.9, 0.3])


def evaluate(engine: Engine, tasks: Sequence[Task], points: Tensor) -> tuple[Tensor, Tensor]:
    points = points.detach().clone().requires_grad_()
    values = engine.expectation(tasks, points)
    (gradients,) = torch.autograd.grad(values.sum(), points)
    return values.detach(), gradients


def test_a_gradient_is_the_two_point_estimate_along_its_directions(rng: np.random.Generator) -> None:
    # Slowly, circuit by circuit, from the definition.
    task, step, directions = Task.qaoa(HEAVY, reps=2), 0.07, 3
    points = rng.uniform(-1, 1, (2, 4)) * task.features.unit.numpy()
    engine = Spsa(StatevectorEstimator(), step=step, directions=directions, rng=5)
    values, gradients = evaluate(engine, [task, task], torch.as_tensor(points))
    signs = 2 * np.random.default_rng(5).integers(2, size=(2, directions, 4)) - 1

    def cost(point: np.ndarray) -> float:
        return expectation_slow(task.circuit, task.hamiltonian, point)

    for row, point in enumerate(points):
        assert values[row].item() == pytest.approx(cost(point))
        expected = np.zeros(4)
        for sign in signs[row]:
            shift = step * task.features.unit.numpy() * sign
            expected += (cost(point + shift) - cost(point - shift)) / (2 * shift) / directions
        np.testing.assert_allclose(gradients[row].numpy(), expected, rtol=1e-9)


def test_the_mean_over_every_direction_is_the_gradient(rng: np.random.Generator) -> None:
    # Not an estimate: all patterns of signs in turn, so that nothing is left but the bias of order c^2.
    tasks = [Task.qaoa(HEAVY, reps=2), Task.from_circuit(efficient_su2(3, reps=1), MIXED), Task.qaoa(HEAVY, reps=1)]
    width = max(task.num_parameters for task in tasks)
    units = torch.zeros(3, width, dtype=torch.float64)
    for row, task in enumerate(tasks):
        units[row, : task.num_parameters] = task.features.unit / task.scale
    points = torch.as_tensor(rng.uniform(-1, 1, (3, width)))
    _, expected = evaluate(Statevector(), tasks, points)
    errors = []
    for step in (0.01, 0.005):
        engine = Spsa(BatchedEstimator(), step=step, directions=2 ** (width - 1), rng=EveryDirection())
        _, gradients = evaluate(engine, tasks, points)
        assert not gradients[2, 2:].any()
        errors.append(((gradients - expected) * units).abs().max(dim=1).values)
    assert errors[1].max() < 1e-3
    assert torch.allclose(errors[0] / errors[1], torch.full((3,), 4.0, dtype=torch.float64), rtol=0.05)


def test_directions_are_independent_fair_signs_fresh_at_every_call() -> None:
    # What makes the estimate unbiased: E[d_i d_j] = 0, between parameters, rows, directions and calls.
    drawn: list[np.ndarray] = []

    class Recorded(BatchedEstimator):
        def run(self, pubs: Any, *, precision: float | None = None) -> Any:
            pubs = list(pubs)
            drawn.extend(points for *_, points in pubs)
            return super().run(pubs, precision=precision)

    task = Task.qaoa(HEAVY, reps=2)
    engine = Spsa(Recorded(), directions=40, rng=0)
    points = torch.zeros(5, 4, dtype=torch.float64)
    for _ in range(10):
        evaluate(engine, [task] * 5, points)
    signs = np.stack([np.sign(shifted[:, 1:41]) for shifted in drawn])  # calls, rows, directions, parameters
    for shifted, own in zip(drawn, signs, strict=True):
        np.testing.assert_array_equal(np.sign(shifted[:, 41:]), -own)
        assert not shifted[:, 0].any()
    samples = signs.reshape(-1, 4)
    limit = stats.norm.isf(1e-9 / 2) / np.sqrt(len(samples))
    correlation = np.cov(samples.T, bias=True)
    assert np.abs(correlation - np.eye(4)).max() < limit
    assert np.abs(samples.mean(axis=0)).max() < limit
    for axis in range(3):  # the next call, row or direction knows nothing of this one
        ahead = np.moveaxis(signs, axis, 0)
        here, there = ahead[:-1], ahead[1:]
        assert abs((here * there).mean()) < stats.norm.isf(1e-9 / 2) / np.sqrt(here.size)


AVERAGED: dict[str, Any] = {"tolerance": 0.08, "calls": 40, "depths": (1,), "general": False}


def spsa(**settings: Any) -> Spsa:
    return Spsa(BatchedEstimator(), **({"step": 0.01, "directions": 800, "rng": 1} | settings))


def test_random_directions_average_to_the_gradient() -> None:
    check_engine(spsa(), **AVERAGED)


class Wrapped:
    order = 1

    def __init__(self, **settings: Any) -> None:
        self.inner = spsa(**settings)
        self.budget = self.inner.budget

    def distort(self, tasks: Sequence[Task], gradients: Tensor) -> Tensor:
        raise NotImplementedError

    def expectation(self, tasks: Sequence[Task], points: Tensor) -> Tensor:
        values, gradients = evaluate(self.inner, tasks, points)
        return attach_gradient(points, values, self.distort(tasks, gradients))


class TooSteep(Wrapped):
    def distort(self, tasks: Sequence[Task], gradients: Tensor) -> Tensor:
        return gradients * 1.2


class Signless(Wrapped):
    def distort(self, tasks: Sequence[Task], gradients: Tensor) -> Tensor:
        return gradients.abs()


class Radians(Wrapped):
    """Divides by c where the shift was c units."""

    def distort(self, tasks: Sequence[Task], gradients: Tensor) -> Tensor:
        units = torch.ones_like(gradients)
        for row, task in enumerate(tasks):
            units[row, : task.num_parameters] = task.features.unit
        return gradients * units


class Lopsided(EveryDirection):
    """The first two parameters always move together."""

    def integers(self, high: int, *, size: tuple[int, int, int]) -> np.ndarray:  # type: ignore[override]
        signs = np.random.default_rng(0).integers(high, size=size)
        signs[..., 1] = signs[..., 0]
        return signs


@pytest.mark.parametrize("fault", [TooSteep, Signless, Radians])
def test_planted_wrong_estimates_are_caught(fault: type[Wrapped]) -> None:
    with pytest.raises(ConformanceError, match=r"gradient \d of task"):
        check_engine(fault(), **AVERAGED)


def test_directions_that_are_not_independent_are_caught() -> None:
    with pytest.raises(ConformanceError, match=r"gradient \d of task"):
        check_engine(spsa(rng=Lopsided()), **AVERAGED)


def test_averages_too_noisy_to_judge_do_not_pass() -> None:
    with pytest.raises(ConformanceError, match=r"gradients are known to 0\.\d+ of the scale only: raise calls"):
        check_engine(spsa(directions=10), **AVERAGED)


def test_units_of_the_hamiltonian_do_not_matter(rng: np.random.Generator) -> None:
    points = torch.as_tensor(rng.uniform(-1, 1, (1, 4)))
    answers = []
    for factor in (1.0, 1e4):
        task = Task.qaoa(HEAVY * factor, reps=2)
        value, gradient = evaluate(Spsa(BatchedEstimator(), rng=3), [task], points * task.features.unit)
        answers.append(torch.cat([value, (gradient * task.features.unit)[0]]) / factor)
    assert torch.allclose(answers[0], answers[1], rtol=1e-9)


def test_a_call_is_one_job_of_two_circuits_a_direction_and_one_for_the_value() -> None:
    tasks = [Task.qaoa(HEAVY, reps=2), Task.qaoa(HEAVY, reps=1)]
    tasks = [tasks[0], tasks[1], tasks[0]]
    engine = Spsa(StatevectorEstimator(), directions=3)
    points = torch.zeros(3, 4, dtype=torch.float64)
    engine.expectation(tasks, points)
    assert (engine.budget.jobs, engine.budget.pubs, engine.budget.circuits) == (1, 2, 3)
    evaluate(engine, tasks, points)
    assert (engine.budget.jobs, engine.budget.pubs, engine.budget.circuits) == (2, 4, 3 + 3 * 7)
    assert engine.budget.shots == engine.budget.gradients == 0


def test_the_cost_of_a_gradient_does_not_grow_with_the_parameters() -> None:
    for reps in (1, 6):
        task = Task.qaoa(HEAVY, reps=reps)
        engine, other = Spsa(StatevectorEstimator()), ParameterShift(StatevectorEstimator())
        for each in (engine, other):
            evaluate(each, [task], torch.zeros(1, 2 * reps, dtype=torch.float64))
        assert engine.budget.circuits == 3
        assert other.budget.circuits == 1 + 2 * reps * 7


def test_the_same_generator_gives_the_same_gradients_and_another_others() -> None:
    task = Task.qaoa(HEAVY, reps=2)
    tasks, points = [task] * 8, torch.full((8, 4), 0.3, dtype=torch.float64)
    first, again, other = (evaluate(Spsa(StatevectorEstimator(), rng=seed), tasks, points)[1] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("step", [0.0, -0.1, float("nan"), float("inf")])
def test_a_step_must_be_positive(step: float) -> None:
    with pytest.raises(ValueError, match="positive number of natural units"):
        Spsa(StatevectorEstimator(), step=step)


def test_directions_must_be_positive() -> None:
    with pytest.raises(ValueError, match="At least one direction is needed, but directions=0"):
        Spsa(StatevectorEstimator(), directions=0)
