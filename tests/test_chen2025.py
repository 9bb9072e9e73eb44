"""The reproduction of Chen et al. 2025: its yardsticks, its comparators, and a miniature of the whole."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp
from qiskit.quantum_info import Statevector as State
from scipy.optimize import minimize

from qiskit_metainit.engines.parameter_shift import ParameterShift
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.models.lstm import Lstm
from qiskit_metainit.problem import Problem, diagonal_values
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.rating import energies, random_points
from qiskit_metainit.reproduction import Reproduction, Stages
from qiskit_metainit.reproductions import _chen2025_plan, _comparators
from qiskit_metainit.reproductions._chen2025_findings import definitions, definitions_met
from qiskit_metainit.reproductions._chen2025_plan import Plan
from qiskit_metainit.reproductions._chen2025_results import COMPARATORS, Results
from qiskit_metainit.reproductions._comparators import (
    GRADIENT,
    Course,
    gradient_descent,
    gradient_evaluations,
    model_course,
    nelder_mead,
    tuned_rate,
)
from qiskit_metainit.reproductions._outcomes import Judge, Outcomes
from qiskit_metainit.reproductions.chen2025 import Chen2025
from qiskit_metainit.task import Task


@pytest.fixture
def problems(rng: np.random.Generator) -> list[Problem]:
    family = MaxCut(sizes=[5], weights=["uniform"])
    return [family.sample(rng) for _ in range(3)]


@pytest.fixture
def tasks(problems: list[Problem]) -> list[Task]:
    return [Task.qaoa(problem.operator, reps=2) for problem in problems]


@pytest.fixture
def starts(tasks: list[Task]) -> np.ndarray:
    return np.concatenate([random_points(task, 1, row) for row, task in enumerate(tasks)])


@pytest.mark.parametrize("qubits", [2, 4, 7])  # fewer than a mixer's block, one block, blocks of two sizes
def test_probabilities_of_energies_are_those_of_the_circuit(qubits: int, rng: np.random.Generator) -> None:
    terms = [
        ("Z" * len(place), place, rng.normal()) for k in (1, 2) for place in itertools.combinations(range(qubits), k)
    ]
    operator = SparsePauliOp.from_sparse_list(terms, num_qubits=qubits)
    outcomes = Outcomes.of(Problem(operator, "ising", tuple(range(qubits))))
    point = rng.normal(size=4)
    bound = Task.qaoa(operator, reps=2).circuit.assign_parameters(point)
    expected = dict(zip(diagonal_values(operator).round(9), State(bound).probabilities(), strict=True))
    found = outcomes.probabilities(point)
    assert found == pytest.approx([expected[level] for level in outcomes.levels], abs=1e-6)


def test_levels_gather_the_bitstrings_of_one_energy() -> None:
    outcomes = Outcomes.of(MaxCut.from_edges([(0, 1), (1, 2), (0, 2)]))
    assert outcomes.levels.tolist() == [-2.0, 0.0]
    assert outcomes.probabilities(np.zeros(2)) == pytest.approx([0.75, 0.25])


@pytest.mark.parametrize("shots", [1, 2, 3])
def test_the_best_sample_is_that_of_all_possible_draws(shots: int, rng: np.random.Generator) -> None:
    outcomes = Outcomes(np.array([-3.0, -1.0, 0.5, 2.0]), np.arange(4))
    probabilities = rng.dirichlet(np.ones(4))
    brute = sum(
        np.prod(probabilities[list(draw)]) * outcomes.levels[list(draw)].min()
        for draw in itertools.product(range(4), repeat=shots)
    )
    assert outcomes.best_of(probabilities, shots) == pytest.approx(brute)


def test_a_judge_tells_both_ratios_apart(problems: list[Problem], tasks: list[Task], rng: np.random.Generator) -> None:
    points = rng.normal(size=(3, 4))
    found = Judge.of(problems, tasks, shots=64).points(points)
    ground = np.array([diagonal_values(problem.operator).min() for problem in problems])
    assert found["expectation"] == pytest.approx((energies(Statevector(), tasks, points) / ground).tolist(), abs=1e-4)
    assert all(best > mean for best, mean in zip(found["best_sample"], found["expectation"], strict=True))
    assert max(found["best_sample"]) <= 1.0


def test_a_judge_averages_over_training_seeds_and_groups(problems: list[Problem], tasks: list[Task]) -> None:
    zeros = np.zeros((3, 3, 4))
    flat = Course(zeros, np.zeros((3, 3)), np.tile(np.arange(3.0)[:, None], 3))
    falling = Course(zeros, np.array([[0.0] * 3, [-0.2] * 3, [-0.1] * 3]), flat.evaluations)
    judge = Judge.of(problems, tasks, shots=4)
    found = judge.courses([flat, falling], (2, 10), [1, 1, 6])
    assert list(found["at"]) == ["2"]  # nobody got to 10
    assert found["at"]["2"]["evaluations"] == [2.0] * 3
    assert len(found["at"]["2"]["by_seed"][0]) == 2
    ratio = lambda costs: [(c * t.scale + t.offset) / o.levels[0] for c, t, o in zip(costs, tasks, judge.outcomes)]  # noqa: E731, B905
    assert found["best"]["6"][2] == pytest.approx(np.mean([ratio([0.0] * 3)[2], ratio([-0.2] * 3)[2]]), abs=1e-4)
    assert found["course"]["1"][2] == pytest.approx(np.mean([ratio([0.0] * 3)[:2], ratio([-0.1] * 3)[:2]]), abs=1e-4)


def test_what_is_held_is_the_best_point_so_far() -> None:
    points = np.arange(12.0).reshape(3, 2, 2)
    course = Course(points, np.array([[0.0, 0.0], [-0.5, 0.1], [-0.2, -0.3]]), np.zeros((3, 2)))
    assert course.best(1).tolist() == [[4.0, 5.0], [2.0, 3.0]]
    assert course.best(2).tolist() == [[4.0, 5.0], [10.0, 11.0]]
    assert course.held.tolist() == [[0.0, 0.0], [-0.5, 0.0], [-0.5, -0.3]]


def test_a_start_that_is_not_measured_is_not_held() -> None:
    points = np.arange(6.0).reshape(3, 1, 2)
    course = Course(points, np.array([[-1.0], [-0.2], [-0.5]]), np.zeros((3, 1)), measured=False)
    assert course.best(1).tolist() == [[2.0, 3.0]]
    assert course.best(2).tolist() == [[4.0, 5.0]]
    assert course.held[:, 0].tolist() == [-1.0, -0.2, -0.5]


def test_a_gradient_step_is_one_of_finite_differences_in_natural_units(tasks: list[Task], starts: np.ndarray) -> None:
    course = gradient_descent("SGD", 0.2, tasks, starts, Statevector(), 1)
    for row, task in enumerate(tasks):
        unit = task.features.unit.numpy()

        def cost(natural: np.ndarray, task: Task = task, unit: np.ndarray = unit) -> float:
            value = float(energies(Statevector(), [task], (natural * unit)[None])[0])
            return (value - task.offset) / task.scale

        start = starts[row] / unit
        slope = [(cost(start + step) - cost(start - step)) / 2e-5 for step in 1e-5 * np.eye(4)]
        assert course.points[1, row] / unit == pytest.approx(start - 0.2 * np.array(slope), abs=1e-7)
        assert course.costs[1, row] == pytest.approx(cost(course.points[1, row] / unit))


@pytest.mark.parametrize("name", GRADIENT)
def test_gradient_descents_descend_and_a_batch_is_its_runs(name: str, tasks: list[Task], starts: np.ndarray) -> None:
    together = gradient_descent(name, 0.05, tasks, starts, Statevector(), 20)
    assert (together.costs[-1] < together.costs[0] - 0.01).all()
    alone = gradient_descent(name, 0.05, tasks[1:2], starts[1:2], Statevector(), 20)
    assert together.points[:, 1] == pytest.approx(alone.points[:, 0], abs=1e-9)


def test_gradients_are_counted_as_parameter_shift_spends_them(tasks: list[Task], starts: np.ndarray) -> None:
    engine = ParameterShift(StatevectorEstimator())
    engine.expectation(tasks[:1], torch.tensor(starts[:1], requires_grad=True)).sum().backward()
    assert engine.budget.circuits == 1 + gradient_evaluations(tasks[0])
    course = gradient_descent("SGD", 0.1, tasks, starts, Statevector(), 3)
    each = gradient_evaluations(tasks[0])
    assert course.evaluations[:, 0].tolist() == [1, each + 2, 2 * each + 3, 3 * each + 4]


def test_the_tuned_rate_is_the_one_of_least_cost(
    tasks: list[Task], starts: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_comparators, "RATES", (1e-9, 0.05, 1e3))
    assert tuned_rate("SGD", tasks, starts, Statevector(), 20) == 0.05


def test_nelder_mead_is_scipys_and_counts_its_calls(tasks: list[Task], starts: np.ndarray) -> None:
    course = nelder_mead(tasks, starts, Statevector(), 25)
    assert course.points.shape == (26, 3, 4)
    assert (np.diff(course.costs, axis=0) <= 0).all()
    task, unit = tasks[0], tasks[0].features.unit.numpy()
    expected = minimize(
        lambda natural: float(energies(Statevector(), [task], (natural * unit)[None])[0]),
        starts[0] / unit,
        method="Nelder-Mead",
        options={"maxiter": 25, "xatol": 0.0, "fatol": 0.0},
    )
    assert course.costs[-1, 0] * task.scale + task.offset == pytest.approx(expected.fun)
    assert course.evaluations[-1, 0] == expected.nfev
    assert course.points[-1, 0] == pytest.approx(expected.x * unit)


def test_a_models_course_starts_at_zero_and_costs_one_evaluation_a_proposal(tasks: list[Task]) -> None:
    engine = Statevector()
    course = model_course(Lstm(num_parameters=4, queries=6), tasks, engine)
    assert not course.points[0].any()
    assert course.points.shape == (8, 3, 4)
    assert course.evaluations[:, 0].tolist() == list(range(8))
    assert engine.budget.circuits == 7 * 3
    assert not course.measured
    for iteration in (0, 1, 7):
        measured = energies(Statevector(), tasks, course.points[iteration])
        scale, offset = (np.array([getattr(task, name) for task in tasks]) for name in ("scale", "offset"))
        assert course.costs[iteration] == pytest.approx((measured - offset) / scale, abs=1e-12)


def test_training_graphs_have_every_edge_probability_of_the_paper(rng: np.random.Generator) -> None:
    family = _chen2025_plan._Connectivities()
    edges = [len(family.sample(rng).operator) - 1 for _ in range(600)]
    assert np.mean(edges) == pytest.approx(21 * 3.5 / 7, abs=0.8)  # 3.5/7 on average
    assert np.std(edges) > 5  # a fixed probability of one half would give 2.3


def _ignore(stage: str, done: int, of: int) -> None:
    assert done <= of


@pytest.fixture(scope="module")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> tuple[Reproduction, Stages]:
    """The experiment at its smallest, interrupted in the last test and resumed."""
    folder = tmp_path_factory.mktemp("chen") / "work"

    def interrupt(stage: str, done: int, of: int) -> None:
        if stage == "sk-p1-n4":
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Plan, "_sizes", (4, 5))
        patch.setattr(Plan, "steps", 2)
        patch.setattr(_chen2025_plan, "_MIDDLE", 5)
        patch.setattr(_chen2025_plan, "BATCH", 2)
        experiment = Chen2025(quick=True, seed=3, seeds=1, iterations=10, shots=8, workers=1)
        with pytest.raises(KeyboardInterrupt):
            experiment.run(Stages(folder, {}), interrupt)
        made = {path.name for path in folder.glob("*.json")}
        assert "sk-p1-n5.json" in made
        assert "sk-p1-n4.json" not in made
        stages = Stages(folder, {})
        return experiment.run(stages, _ignore), stages


def test_a_miniature_resumes_and_draws(miniature: tuple[Reproduction, Stages]) -> None:
    result, _ = miniature
    figure = Figure()
    result.draw(figure)
    assert len(figure.axes) == 2
    first = {line.get_label(): np.asarray(line.get_xdata())[0] for line in figure.axes[0].lines}
    assert first["QLSTM"] == first["LSTM, each proposal"] == 1  # before its first proposal a model has nothing
    assert first["Adam"] == first["Nelder-Mead"] == 0
    assert all(len({len(row) for row in rows}) == 1 for _, rows in result.tables)  # no ragged table
    assert json.loads(json.dumps(result.record)) == result.record


def test_the_record_keeps_the_means_of_each_edge_probability(miniature: tuple[Reproduction, Stages]) -> None:
    result, stages = miniature
    raw = stages.get("maxcut-p1-n5", lambda: None)
    cell = result.record["families"][0]["cells"][1]
    rows = np.array(raw["connectivity"]) == 6
    expected = np.array(raw["optimisers"]["qlstm"]["at"]["2"]["best_sample"])[rows].mean()
    assert cell["optimisers"]["qlstm"]["at"]["2"]["best_sample"]["6"] == pytest.approx(expected, abs=1e-5)
    assert cell["instances"] == {str(k): 2 for k in range(1, 7)}


def test_the_optimum_is_above_everything(miniature: tuple[Reproduction, Stages]) -> None:
    _, stages = miniature
    for name in ("maxcut-p1-n5", "sk-p1-n5"):
        cell: dict[str, Any] = stages.get(name, lambda: None)
        best = np.array(cell["points"]["optimum"]["expectation"])
        for other in (*cell["optimisers"].values(), cell["points"]["sk_infinity"]):
            ratios = other["at"]["10"]["expectation"] if "at" in other else other["expectation"]
            assert (np.array(ratios) <= best + 1e-4).all()


def test_a_definition_must_meet_the_models_figure_and_the_comparators() -> None:
    def at(expectation: float, best: float) -> dict[str, Any]:
        return {"at": {"2": {"expectation": [expectation], "best_sample": [best]}}}

    others = dict(zip(COMPARATORS, (0.5, 0.52, 0.55, 0.6, 0.63), strict=True))
    cell = {
        "size": 8,
        "connectivity": [6],
        "points": {"optimum": {"expectation": [0.8], "best_sample": [1.0]}},
        "optimisers": {"qlstm": at(0.74, 0.93), **{name: at(value, 0.9) for name, value in others.items()}},
    }
    results = Results([{"family": "maxcut", "reps": 1, "cells": [cell]}], {}, {})
    found = definitions(results, 1)
    assert found["relative to the optimum"][0] == pytest.approx(0.925)
    assert found["relative to the optimum"][1] == pytest.approx([value / 0.8 for value in others.values()])
    assert found["best sample"] == (0.93, [0.9] * 5)
    assert definitions_met(results) == ["relative to the optimum at p = 1"]


def test_values_are_chosen_by_size_and_edge_probability() -> None:
    cells = [
        {"size": 8, "connectivity": [1, 6], "points": {"constant": {"expectation": [0.1, 0.2]}}, "optimisers": {}},
        {"size": 9, "connectivity": [1, 6], "points": {"constant": {"expectation": [0.3, 0.4]}}, "optimisers": {}},
    ]
    results = Results([{"family": "maxcut", "reps": 1, "cells": cells}], {}, {})
    ask = ("maxcut", 1, "constant", "expectation", 2)
    assert results.values(*ask).tolist() == [0.1, 0.2, 0.3, 0.4]
    assert results.values(*ask, size=9).tolist() == [0.3, 0.4]
    assert results.values(*ask, connectivity=6).tolist() == [0.2, 0.4]
