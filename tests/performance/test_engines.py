from __future__ import annotations

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.task import Task


@pytest.mark.benchmark
@pytest.mark.parametrize("size", [7, 10])
@pytest.mark.parametrize("precision", ["single", "double"])
def test_value_and_gradient_of_a_batch_of_qaoa(benchmark: BenchmarkFixture, size: int, precision: str) -> None:
    rng = np.random.default_rng(0)
    family = MaxCut(sizes=[size], probability=0.5)
    tasks = [Task.qaoa(family.sample(rng).operator, reps=2) for _ in range(64)]
    points = torch.as_tensor(rng.uniform(-1, 1, size=(64, 4))).requires_grad_()
    engine = Statevector(precision=precision)
    engine.expectation(tasks, points)  # compiling is left out

    def value_and_gradient() -> torch.Tensor:
        return torch.autograd.grad(engine.expectation(tasks, points).sum(), points)[0]

    assert benchmark(value_and_gradient).shape == (64, 4)
