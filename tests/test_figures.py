from __future__ import annotations

from pathlib import Path

import matplotlib.figure
import numpy as np
import pytest
from matplotlib.image import imread

from qiskit_metainit import figures
from qiskit_metainit.comparison import Comparison, Protocol
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.evaluation import compare
from qiskit_metainit.figures import draw, landscape
from qiskit_metainit.models.constant import Constant
from qiskit_metainit.models.linear_ramp import LinearRamp
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.problem import Problem
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.rating import energies, ratio, spectrum
from qiskit_metainit.task import Task

FORMULAS = ("sk_infinity", "linear_ramp")


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    rng = np.random.default_rng(3)
    return [MaxCut(sizes=[size], weights=["uniform"]).sample(rng) for size in (4, 5, 4, 5)]


@pytest.fixture(scope="module")
def cells(problems: list[Problem]) -> list[Comparison]:
    models = {"ours": Constant(), "sk_infinity": SkInfinity(), "linear_ramp": LinearRamp()}
    return [compare(models, problems, Protocol(reps=reps, random_starts=1, cap=20, resamples=50)) for reps in (1, 2)]


def titles(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> list[str]:
    drawn: list[matplotlib.figure.Figure] = []
    save = matplotlib.figure.Figure.savefig
    with monkeypatch.context() as patch:
        patch.setattr(
            matplotlib.figure.Figure, "savefig", lambda figure, *a, **b: (drawn.append(figure), save(figure, *a, **b))
        )
        draw(*arguments)  # type: ignore[arg-type]
    return [axes.get_title(loc="left") for axes in drawn[0].axes if axes.get_title(loc="left")]


def test_a_picture_has_the_panels_that_there_are_numbers_for(
    cells: list[Comparison], problems: list[Problem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "deep" / "p.png"
    worth = ["r of the start", "what r lacks of the best found"]
    size, course, shallow = "r against n, p = 2", "best r so far, cobyla, p = 2 (medians)", "p = 1: one instance, n = 4"
    assert titles(monkeypatch, cells, path, FORMULAS, problems) == [*worth, size, course, shallow]
    pixels = imread(path)
    assert pixels.shape[1] > 1000
    assert pixels.std() > 0.05
    assert titles(monkeypatch, cells[1:], path, FORMULAS, problems) == [*worth, size, course]
    points = compare(
        {"ours": Constant()}, [problems[row] for row in (0, 2)], Protocol(reps=1), evaluations=False, reactions=False
    )
    assert titles(monkeypatch, [points], path, FORMULAS, [problems[row] for row in (0, 2)]) == worth


def test_what_is_drawn_is_what_was_measured(
    cells: list[Comparison], problems: list[Problem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = {}
    line = figures._line

    def kept(axes: object, places: object, means: np.ndarray, *others: object) -> None:
        drawn[others[1]["label"], tuple(places)] = means  # type: ignore[index, arg-type]
        line(axes, places, means, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(figures, "_line", kept)
    draw(cells, tmp_path / "p.png", FORMULAS, problems)
    for name in ("ours", *FORMULAS, "random"):
        gaps = [cell.optimum.mean() - cell.results[name].ratio.mean() for cell in cells]
        np.testing.assert_allclose(drawn[name, (1, 2)], np.maximum(gaps, 1e-5), rtol=1e-9)  # the latest panel
        by_size = [cells[1].results[name].ratio[rows].mean() for rows in ([0, 2], [1, 3])]
        np.testing.assert_allclose(drawn[name, (4, 5)], by_size)


def test_a_landscape_is_the_exact_r(problems: list[Problem]) -> None:
    betas, gammas = np.array([0.1, 0.3]), np.array([-0.8, -0.2, 0.4])
    found = landscape(problems[0], betas, gammas)
    task = Task.qaoa(problems[0].operator, reps=1)
    for row, beta in enumerate(betas):
        for column, gamma in enumerate(gammas):
            point = np.array([beta, gamma]) * task.features.unit.numpy()
            energy = energies(Statevector(), [task], point[None])
            expected = ratio(energy, np.array([spectrum(task.hamiltonian)]))
            assert found[row, column] == pytest.approx(expected[0])
