from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.handover import Trace
from qiskit_metainit.reproduction import Reproduction, Stages, publish
from qiskit_metainit.reproductions import verdon2019
from qiskit_metainit.reproductions._verdon2019_field import Field, Start, trajectory
from qiskit_metainit.reproductions._verdon2019_page import PUBLISHED, REFERENCES, reproduction
from qiskit_metainit.reproductions.verdon2019 import Verdon2019, _Class
from qiskit_metainit.task import Task


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A size for tests: everything runs, nothing is learned."""
    sizes: dict[str, Any] = {"maxcut": (5, 6), "ising": (5, 6), "hubbard": ([4, 1], [4, 1])}
    monkeypatch.setattr(verdon2019, "_TESTED", sizes)
    for name, value in (("steps", 10), ("instances", 64), ("tested", 1), ("cap", dict.fromkeys(CAPS, 40))):
        monkeypatch.setattr(Verdon2019, name, property(lambda self, value=value: value))


CAPS = ("Nelder-Mead", "L-BFGS-B", "SPSA")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Reproduction, Path]:
    with pytest.MonkeyPatch.context() as patch:
        tiny.__wrapped__(patch)  # type: ignore[attr-defined]
        folder = tmp_path_factory.mktemp("verdon") / "work"
        return Verdon2019(quick=True).run(Stages(folder, {}), lambda *_: None), folder


def test_everything_is_measured_and_published(made: tuple[Reproduction, Path], tmp_path: Path) -> None:
    result, _ = made
    record, _, page = publish(result, "verdon2019", tmp_path)
    classes = json.loads(record.read_text())["classes"]
    assert set(classes) == {"maxcut", "ising", "hubbard"} == set(PUBLISHED)
    for key, measured in classes.items():
        assert measured["qubits"] == ([8] * 2 if key == "hubbard" else [5, 6])
        assert set(measured["optimizers"]) == set(CAPS)
        best = np.array(measured["starts"]["optimum"]["each"])
        assert set(measured["starts"]) == {"lstm", "lstm_last", "constant", REFERENCES[key], "random", "optimum"}
        for name in measured["starts"]:
            assert np.all(np.array(measured["starts"][name]["each"]) <= best + 1e-6)
        assert measured["starts"]["lstm"]["queries"] == 9
        assert all(count >= 10 for count in measured["optimizers"]["Nelder-Mead"]["lstm"]["to_0.99"]["each"])
        assert np.all(np.diff(measured["optimizers"]["SPSA"]["random"]["way"]["median"]) >= 0)
    text = page.read_text()
    for part in (
        "(7.0 ± 4.0)e5",
        "(2.3 ± 0.6)e4",
        "(3.0 ± 2.0)e5",
        "SK-infinity",
        "free fermions",
        "**Training**",
        "networks",
    ):
        assert part in text
    assert "nan" not in text.replace("Nan", "")


def test_an_interrupted_run_goes_on_and_gives_the_same(made: tuple[Reproduction, Path], tmp_path: Path) -> None:
    whole, _ = made

    class Interrupted(BaseException):
        pass

    for step in (13, 60):  # within a training, and within the optimisers' runs

        def stop(stage: str, done: int, of: int, seen: list[int] = [], step: int = step) -> None:  # noqa: B006 one a step
            seen.append(done)
            if len(seen) == step:
                raise Interrupted

        with pytest.raises(Interrupted):
            Verdon2019(quick=True).run(Stages(tmp_path / "work", {}), stop)
    again = Verdon2019(quick=True).run(Stages(tmp_path / "work", {}), lambda *_: None)
    mine, theirs = json.loads(json.dumps(again.record)), json.loads(json.dumps(whole.record))
    for record in (mine, theirs):
        for measured in record["classes"].values():
            for piece in measured["training"]:
                del piece["seconds"]
    assert mine == theirs


def test_another_seed_gives_other_problems_networks_and_random_points() -> None:
    first, other = (_Class(Verdon2019(quick=True, seed=seed), "ising") for seed in (0, 1))
    operators = [each._test_problems()[0].operator for each in (first, other)]
    assert operators[0] != operators[1]
    assert first._test_problems()[0].operator == operators[0]
    assert first._training_tasks(0, 1)[0].hamiltonian != other._training_tasks(0, 1)[0].hamiltonian


def test_weights_without_a_gradient_are_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some seeds start with proposals that all cost more than nothing: their observed improvement is zero."""
    plain = verdon2019.observed_improvement
    drawn: list[float] = []

    def first_two_dead(costs: Any) -> Any:
        drawn.append(plain(costs).item())
        return plain(costs) * (len(drawn) > 2)

    monkeypatch.setattr(verdon2019, "observed_improvement", first_two_dead)
    piece = _Class(Verdon2019(quick=True), "ising")._train(0, Stages(tmp_path / "work", {}), lambda *_: None)
    assert piece["redrawn"] >= 2
    assert piece["untrained"] < -0.01
    assert len(piece["losses"]) == 1


def test_the_constant_is_the_best_single_point_of_the_training_problems() -> None:
    measure = _Class(Verdon2019(quick=True, reps=1), "maxcut")
    beta, gamma = measure._constant()
    tasks, engine = measure._training_tasks(0, 64), Statevector()

    def mean(b: float, g: float) -> float:
        points = torch.stack([torch.tensor([b, g], dtype=torch.float64) * task.features.unit for task in tasks])
        values = engine.expectation(tasks, points)
        return float(np.mean([(v.item() - t.offset) / t.scale for v, t in zip(values, tasks, strict=True)]))

    found = mean(beta, gamma)
    assert found <= min(mean(b, g) for b in np.linspace(0, 0.78, 14) for g in np.linspace(-1.5, 0, 16)) + 1e-9


def test_the_start_is_the_best_point_that_was_queried() -> None:
    measure = _Class(Verdon2019(quick=True), "ising")
    tasks = [Task.qaoa(problem.operator, reps=2) for problem in measure._test_problems()]
    networks = [verdon2019.Lstm(num_parameters=4) for _ in range(3)]
    starts, random = measure._starts(tasks, networks, [0.1, 0.2, -0.3, -0.4])
    assert starts["lstm"].points.shape == starts["lstm_last"].points.shape == (3, len(tasks), 4)
    for k, network in enumerate(networks):
        path = trajectory(network, tasks).points
        values = torch.stack([Statevector().expectation(tasks, points) for points in path]).detach().numpy()
        for i in range(len(tasks)):
            best = int(values[:9, i].argmin())  # the tenth is never measured
            assert starts["lstm"].points[k, i] == pytest.approx(path[best, i].numpy())
            assert starts["lstm"].seen is not None
            assert starts["lstm"].seen[k, i] == pytest.approx(values[:9, i])
        assert starts["lstm_last"].points[k] == pytest.approx(path[-1].numpy())
    assert random.shape == (len(tasks),)


@dataclass
class Rows:
    """Two problems by hand: random points at 0, the optimum at -1 and -2."""

    field = partial(Field, (), (), np.zeros(2), np.array([-1.0, -2.0]))


def test_evaluations_and_the_way_include_the_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    field = Rows.field()
    monkeypatch.setattr(Field, "comparison", lambda self, ratios: Median())
    start = Start(np.zeros((1, 2, 1)), queries=2, seen=np.array([[[-0.2, -0.1], [0.0, -1.0]]]))
    rows = [[Trace((1, 5), (-0.2, -0.995)), Trace((1, 3), (-1.0, -1.92))]]
    found = field.summary(start, rows, cap=10)
    assert found["cap"] == 12
    assert found["to_0.99"]["each"] == [7.0, 12.0]  # 2 queries and 5 evaluations; the other counts as the cap
    assert found["to_0.99"]["reach"] == 0.5
    assert found["to_0.95"]["each"] == [7.0, 5.0]
    way = dict(zip(found["way"]["evaluations"], found["way"]["median"], strict=True))
    assert way[1] == pytest.approx(np.median([0.2, 0.0]))
    assert way[2] == way[3] == pytest.approx(np.median([0.2, 0.5]))
    assert way[5] == pytest.approx(np.median([0.2, 0.96]))
    assert way[12] == pytest.approx(np.median([0.995, 0.96]))


class Median:
    """In place of a bootstrap."""

    def median_interval(self, values: np.ndarray) -> tuple[float, float, float]:
        return float(np.median(values)), float(values.min()), float(values.max())


def test_repetitions_are_evaluations_times_the_bound_on_the_variance() -> None:
    measure = _Class(Verdon2019(quick=True), "maxcut")
    problems = measure._test_problems()
    tasks = [Task.qaoa(problem.operator, reps=2) for problem in problems]
    field = Field(problems, tasks, np.zeros(len(tasks)), -np.ones(len(tasks)))
    each = np.arange(1.0, 1 + len(tasks))
    found = field.repetitions(9, {"Nelder-Mead": {"lstm": {"to_0.99": {"each": each.tolist()}}}})
    norms = []
    for problem in problems:
        keep = problem.operator.paulis.z.any(axis=1)
        norms.append(np.abs(problem.operator.coeffs[keep]).sum())
    once = np.array(norms) ** 2 / 0.05
    assert found["one"] == pytest.approx([once.mean(), once.std()], rel=1e-3)
    assert found["queries"][0] == pytest.approx(9 * once.mean(), rel=1e-3)
    assert found["Nelder-Mead"][0] == pytest.approx((once * each).mean(), rel=1e-3)


def test_losses_are_told_as_such(made: tuple[Reproduction, Path]) -> None:
    """A record in which the LSTM is worse than everything must not read as a success."""
    record = json.loads(json.dumps(made[0].record))
    for measured in record["classes"].values():
        measured["starts"]["lstm"]["mean"] = [0.1, 0.1, 0.1]
        for name in measured["paired"]["Nelder-Mead"]:
            measured["paired"]["Nelder-Mead"][name] = [5.0, 4.0, 6.0]
    text = "\n".join(reproduction(record).findings)
    assert text.count("is not seen") == 3
    assert "reports is there" not in text
    assert text.count("costs evaluations") == 6
    assert "higher" not in text
