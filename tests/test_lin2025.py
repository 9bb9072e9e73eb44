from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch

from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.epochs import Schedule
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.reproduction import Stages, publish
from qiskit_metainit.reproductions import _lin2025_jobs as jobs
from qiskit_metainit.reproductions import _lin2025_paper as paper
from qiskit_metainit.reproductions import _lin2025_results as results
from qiskit_metainit.reproductions._lin2025_findings import Match, matches
from qiskit_metainit.reproductions.lin2025 import Lin2025
from qiskit_metainit.task import Task
from qiskit_metainit.two_phase import GradientDescent, best_point, fine_tune, iterations

TINY = jobs.Data(seed=3, per_pair=1, per_size=1)


def task_of(graph: nx.Graph) -> Task:
    return Task.qaoa(MaxCut.from_edges(list(graph.edges)).operator, reps=1)


def energy(graph: nx.Graph, beta: float, gamma: float) -> float:
    """Of a triangle-free graph, from the closed form of Wang et al. 2018 (arXiv:1706.02998), gamma_C = -gamma."""
    total = 0.0
    for u, v in graph.edges:
        d, e = graph.degree(u) - 1, graph.degree(v) - 1
        powers = math.cos(gamma) ** d + math.cos(gamma) ** e
        total -= 0.5 + 0.25 * math.sin(4 * beta) * math.sin(-gamma) * powers
    return total


# Phase II


def test_plain_gradient_descent_step_by_step() -> None:
    graph, start = nx.cycle_graph(5), (0.2, -0.9)
    costs = fine_tune(Statevector(), [task_of(graph)], torch.tensor([start], dtype=torch.float64), GradientDescent())
    point, expected = np.array(start), []
    for _ in range(GradientDescent().steps):
        expected.append(energy(graph, *point))
        slope = [(energy(graph, *(point + h)) - energy(graph, *(point - h))) / 2e-6 for h in 1e-6 * np.eye(2)]
        if len(expected) > 1 and abs(expected[-1] - expected[-2]) <= 1e-6:
            break
        point = point - 1e-3 * np.array(slope)
    assert len(expected) > 20
    np.testing.assert_allclose(costs[0, : len(expected)], expected, atol=1e-7)


def test_a_run_that_has_stopped_stays_and_the_others_go_on() -> None:
    tasks = [task_of(nx.cycle_graph(5)), task_of(nx.cycle_graph(7)), task_of(nx.star_graph(5))]
    points = torch.tensor([[math.pi / 8, -math.pi / 4], [0.1, -0.3], [0.3, -0.2]], dtype=torch.float64)
    descent = GradientDescent(steps=40, tolerance=1e-4)
    together = fine_tune(Statevector(), tasks, points, descent)
    assert torch.equal(together[0, 1:], together[0, 1].expand(39))  # it started at the optimum
    assert (together[1:].diff(dim=1) < 0).any(dim=1).all()
    for row, task in enumerate(tasks):
        alone = fine_tune(Statevector(), [task], points[row : row + 1], descent)
        torch.testing.assert_close(together[row], alone[0])
    assert torch.equal(points[1], torch.tensor([0.1, -0.3], dtype=torch.float64))  # not changed under the caller


@pytest.mark.parametrize("proposals", [0, 10])
@pytest.mark.parametrize("calm", [0, 4])
def test_iterations_count_as_the_published_table_does(proposals: int, calm: int) -> None:
    errors = 0.5 - 0.01 * np.minimum(np.arange(9), calm)  # moves by 0.01 until step `calm`
    # The published costs: the proposals, then the descent with its start twice.
    stored = [0.9 - 0.05 * i for i in range(proposals - 1)] + [errors[0]] * (proposals > 0) + [errors[0], *errors]
    handover = proposals + 1  # where the start stands for the last time
    expected = next(i for i in range(handover, len(stored)) if abs(stored[i + 1] - stored[i]) < 1e-4)
    assert iterations(errors, proposals) == expected == proposals + 1 + calm


def test_iterations_of_a_curve_that_never_calms_and_of_several() -> None:
    steep, flat = np.arange(6) * 0.1, np.zeros(6)
    assert iterations(np.stack([steep, flat]), 10).tolist() == [10 + 1 + 6, 11]


def test_the_best_point_of_one_graph_and_of_several() -> None:
    for graph in (nx.cycle_graph(6), nx.star_graph(4)):
        point = best_point(Statevector(), [task_of(graph)])
        grid = np.linspace(0, math.pi / 2, 200), np.linspace(-math.pi, 0, 200)
        lowest = min(energy(graph, beta, gamma) for beta in grid[0] for gamma in grid[1])
        assert lowest - 0.002 < energy(graph, *point) <= lowest + 1e-9
        assert 0 <= point[0] <= math.pi / 2
        assert -math.pi <= point[1] <= 0
    both = [nx.cycle_graph(6), nx.star_graph(4)]
    shared = best_point(Statevector(), [task_of(graph) for graph in both])
    for nudge in (*(1e-3 * np.eye(2)), *(-1e-3 * np.eye(2))):
        assert sum(energy(g, *shared) for g in both) < sum(energy(g, *(shared + nudge)) for g in both)


# data


def test_the_graphs_are_as_many_and_as_dense_as_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_tasks", list)  # the problems themselves
    data = jobs.Data(seed=1, per_pair=56, per_size=100)
    problems: list[Any] = data.training()
    assert len(problems) == 1008
    sizes = [problem.num_qubits for problem in problems]
    assert sizes == sorted(sizes)
    start = 0
    for size in (6, 7, 8, 9):
        for k in range(3, size):
            edges = [len(problem.operator) - 1 for problem in problems[start : start + 56]]
            pairs = size * (size - 1) / 2
            assert abs(np.mean(edges) - pairs * k / size) < 5 * math.sqrt(pairs / 4 / 56)
            start += 56
    assert [len(data.testing(size)) for size in (10, 11, 12, 13)] == [105, 104, 108, 100]
    validation: list[Any] = data.validation()
    assert [problem.num_qubits for problem in validation] == [10] * 5


def test_the_seed_makes_the_data_and_the_weights() -> None:
    def edges(data: jobs.Data) -> list[Any]:
        return [task.hamiltonian.to_list() for task in (*data.training(), *data.validation(), *data.testing(10))]

    assert edges(TINY) == edges(jobs.Data(3, 1, 1))
    assert edges(TINY) != edges(jobs.Data(4, 1, 1))
    state = torch.random.get_rng_state()
    first, again = (jobs.first_models("lstm", 3, 2) for _ in range(2))
    assert torch.equal(state, torch.random.get_rng_state())
    assert jobs.weights_of(first[0]) == jobs.weights_of(again[0])
    assert jobs.weights_of(first[0]) != jobs.weights_of(first[1])


def test_the_paper_has_every_figure() -> None:
    for table in (paper.ITERATIONS, paper.PHASE_ONE, paper.PHASE_TWO):
        assert tuple(table) == results.SIZES
        for row in table.values():
            assert set(jobs.MODELS) <= set(row)


def test_what_is_met_counts_means_seeds_and_sizes() -> None:
    sizes: dict[int, Any] = {}
    for size in results.SIZES:
        starts = {}
        for name in jobs.MODELS:
            ratio, count = paper.PHASE_ONE[size][name][0], paper.ITERATIONS[size][name]
            # The first seed is near everywhere, the second on the far side, but at n = 13 both lie below.
            starts[name] = {
                "phase one": [[ratio - 0.015] * 3, [ratio + 0.035] * 3],
                "iterations": [count, 1.28 * count],
            }
            if size == 13:
                starts[name] = {"phase one": [[ratio - 0.01] * 3, [ratio - 0.05] * 3], "iterations": [count - 1, 1]}
        sizes[size] = {"starts": starts}
    found = matches(results.Results({}, {}, {}, {}, {}, sizes, {}))
    assert set(found) == {(name, what) for name in jobs.MODELS for what in ("Phase I ratio", "iterations")}
    assert set(map(str, found.values())) == {str(Match(met=[10, 11, 12], between=[10, 11, 12], seeds=1, of=2))}


# the whole


class Pulled(Exception):  # noqa: N818
    pass


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Lin2025:
    training, testing = jobs.Data.training, jobs.Data.testing
    monkeypatch.setattr(jobs.Data, "training", lambda data: training(data)[:5])
    monkeypatch.setattr(jobs.Data, "testing", lambda data, size: testing(data, size)[:2])
    recipe = jobs.Recipe(settings={"conditioned": True, "hidden": 4, "queries": 2}, steps=2, batch=2)
    monkeypatch.setattr(Lin2025, "_data", TINY)
    monkeypatch.setattr(Lin2025, "_schedule", Schedule(epochs=2))
    monkeypatch.setattr(Lin2025, "_seeds", 2)
    monkeypatch.setattr(jobs, "GradientDescent", lambda: GradientDescent(steps=12))
    monkeypatch.setattr(
        jobs, "best_point", lambda engine, tasks: np.array([0.3, -0.4 - 0.01 * len(tasks[0].hamiltonian)])
    )
    monkeypatch.setattr(jobs, "DEEPER_SIZES", (5,))
    deep = dataclasses.replace(recipe, settings={**recipe.settings, "num_parameters": 4}, reps=2)
    return Lin2025(seed=3, workers=1, more_seeds=2, recipes={"lstm": recipe}, deeper={"p = 2": deep})


def test_the_whole_is_interrupted_resumed_and_published(tiny: Lin2025, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []

    def pull(stage: str, done: int, of: int) -> None:
        told.append((stage, done, of))
        if (stage, done) == ("published qlstm", 7):
            raise Pulled

    with pytest.raises(Pulled):
        tiny.run(Stages(tmp_path / "a", {}), pull)
    first = len(told)
    stages = Stages(tmp_path / "a", {})
    resumed = tiny.run(stages, lambda *step: told.append(step))
    assert ("published lstm", 1, 10) in told[:first]
    assert all(stage not in ("published qk_lstm", "published lstm") for stage, _, _ in told[first:])
    assert told[first] == ("published qlstm", 8, 10)
    whole = tiny.run(Stages(tmp_path / "b", {}), lambda *_: None)
    assert resumed.record["sizes"] == whole.record["sizes"]

    files = publish(resumed, "lin2025", tmp_path)
    assert [file.name for file in files] == ["lin2025.json", "lin2025.png", "lin2025.md"]
    page = files[2].read_text(encoding="utf-8")
    for text in ("48 / ", "0.83 ± 0.03 / ", "| 43 + 8 |", "| 56 |", "| 31 |", "p = 1 optimum"):
        assert text in page
    for text in ("was trained from 2 seeds", "in batches, from 2 seeds", "mean over 2 seeds", "Single seeds lie"):
        assert text in page
    assert page.index("**What was run.**") < page.index("**Are the published figures met?**")
    assert not re.search(r"-0\.0+(?!\d)", page)  # a rounded nothing has no sign
    for _, rows in resumed.tables:
        assert {len(row) for row in rows} == {len(rows[0])}
    content = whole.record["sizes"]["10"]["starts"]
    assert set(content) == {"random", "constant", "optimum", *jobs.MODELS, "beyond lstm"}
    assert np.shape(content["lstm"]["phase one"]) == (2, 2)
    assert [content[name]["proposals"] for name in ("lstm", "beyond lstm", "constant")] == [10, 3, 0]
    assert max(content["qk_lstm"]["spread"]) < 1e-12 < min(content["lstm"]["spread"])


def test_phase_one_ratios_are_those_of_the_models_own_costs(tiny: Lin2025) -> None:
    models = jobs.first_models("lstm", 3, 2)
    weights = {"lstm": [jobs.weights_of(model) for model in models]}
    content = jobs.test_size(10, TINY, weights, {}, [0.3, -0.4], lambda *_: None)
    for place, task in enumerate(TINY.testing(10)):
        graph = nx.Graph([[q for q, letter in enumerate(reversed(label)) if letter == "Z"]
                          for label, _ in task.hamiltonian.to_list() if "Z" in label])  # fmt: skip
        cut = max(nx.cut_size(graph, {q for q in graph if bits >> q & 1}) for bits in range(1 << 10))
        with torch.no_grad():
            (cost,) = Statevector().expectation([task], torch.tensor([[0.3, -0.4]], dtype=torch.float64))
        assert content["starts"]["constant"]["phase one"][0][place] == pytest.approx(-cost.item() / cut, abs=1e-6)
    assert content["untrained"]["lstm"] == pytest.approx(
        np.mean(content["starts"]["lstm"]["phase one"], axis=1), abs=1e-5
    )
