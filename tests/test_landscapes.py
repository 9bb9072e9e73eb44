from __future__ import annotations

import numpy as np
import pytest

from qiskit_metainit.landscapes import Landscapes
from qiskit_metainit.problem import Problem
from qiskit_metainit.problems.ising import Ising


@pytest.fixture
def problems(rng: np.random.Generator) -> list[Problem]:
    return [Ising(sizes=[size]).sample(rng) for size in (2, 3, 4, 3, 2)]


def test_rows_are_the_tasks_of_their_problems(problems: list[Problem]) -> None:
    tasks = Landscapes(problems, 2)
    assert len(tasks) == 5
    for task, problem in zip(tasks, problems, strict=True):
        assert (task.features.num_qubits, task.num_parameters) == (problem.num_qubits, 4)
    assert [task.features.num_qubits for task in tasks[1:3]] == [3, 4]
    assert tasks[-1] is tasks[4]
    with pytest.raises(IndexError):
        tasks[5]


def test_a_task_is_kept_while_there_is_room(problems: list[Problem]) -> None:
    roomy, narrow = Landscapes(problems, 1), Landscapes(problems, 1, amplitudes=8)
    assert roomy[0] is roomy[0]
    first = roomy[0]
    assert next(iter(roomy)) is first
    kept, large = narrow[0], narrow[2]  # 16 amplitudes: more than there is room for, and held all the same
    assert narrow[2] is large
    assert narrow[0] is not kept
    assert narrow[1] is narrow[1]


def test_parts_cover_all_rows_within_the_room(problems: list[Problem]) -> None:
    for amplitudes in (1, 12, 100):
        parts = list(Landscapes(problems, 1, amplitudes=amplitudes).parts())
        assert [row for part in parts for row in range(5)[part]] == list(range(5))
        sizes = [[1 << problems[row].num_qubits for row in range(5)[part]] for part in parts]
        assert all(sum(size) <= amplitudes or len(size) == 1 for size in sizes)
    assert len(parts) == 1
