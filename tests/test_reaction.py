from __future__ import annotations

import itertools
import json
import math
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import numpy as np
import pytest
import torch
from qiskit.circuit.library import qaoa_ansatz
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp
from scipy.optimize import minimize
from torch import Tensor

from qiskit_metainit import artifact, card, cli
from qiskit_metainit import reaction as reactions
from qiskit_metainit.alignment import align
from qiskit_metainit.comparison import Comparison, Protocol, Result
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.evaluation import compare
from qiskit_metainit.features import FeatureBatch, of_qaoa, stack
from qiskit_metainit.initializer import MetaInitializer
from qiskit_metainit.model import Model, State
from qiskit_metainit.models.constant import Constant
from qiskit_metainit.models.lstm import Lstm
from qiskit_metainit.models.qfwp import Qfwp
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.problem import Problem
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.rating import energies
from qiskit_metainit.reaction import Reaction, react, reaction
from qiskit_metainit.task import Task

STORED = sorted((Path(__file__).parent.parent / "tutorials" / "results").glob("held_out_*.json"))


@final
class Listed(Model):
    """Answers a given row for each task of the batch, natural units."""

    def __init__(self, points: np.ndarray) -> None:
        super().__init__()
        self.points = torch.as_tensor(points)

    def begin(self, features: FeatureBatch) -> tuple[Tensor, State]:
        return self.points[: len(features)].clone(), None


def instances(rng: np.random.Generator, count: int = 8, weights: str = "unit") -> list[Problem]:
    family = MaxCut(sizes=[5, 6, 7], weights=[weights])
    return [family.sample(rng) for _ in range(count)]


def optima_of(problems: list[Problem], reps: int) -> np.ndarray:
    """By another optimiser, from one start for all: natural units."""
    found = []
    for problem in problems:
        task = Task.qaoa(problem.operator, reps=reps)
        unit = task.features.unit.numpy()
        start = Constant().begin(stack([of_qaoa(problem.operator, reps)]))[0][0].numpy()

        def energy(natural: np.ndarray, task: Task = task, unit: np.ndarray = unit) -> float:
            return float(energies(Statevector(), [task], (natural * unit)[None])[0]) / task.scale

        options = {"xatol": 1e-4, "fatol": 1e-9, "initial_simplex": start + 0.05 * _simplex(2 * reps)}
        found.append(minimize(energy, start, method="Nelder-Mead", options=options).x)
    return np.array(found)


def _simplex(size: int) -> np.ndarray:
    return np.concatenate([np.zeros((1, size)), np.eye(size)])


def energy_of(operator: SparsePauliOp, point: np.ndarray) -> float:
    circuit = qaoa_ansatz(operator, reps=len(point) // 2)
    return float(StatevectorEstimator().run([(circuit, operator, point)]).result()[0].data.evs)


# Images

OPERATORS = {
    "unit cut": SparsePauliOp(["ZZII", "IZZI", "IIZZ", "ZIIZ", "ZIZI"], [0.5] * 5),
    "spin glass": SparsePauliOp(["ZZII", "IZZI", "IIZZ", "ZIZI"], [0.5, -0.5, 0.5, -0.5]),
    "weights": SparsePauliOp(["ZZII", "IZZI", "IIZZ", "ZIIZ"], [0.3, -0.7, 1.1, 0.4]),
    "fields": SparsePauliOp(["ZZII", "IZZI", "IIIZ", "IZII"], [0.5, 0.5, 0.5, -0.5]),
    "three spins": SparsePauliOp(["ZZZI", "IZZZ", "ZIIZ"], [0.2, 0.4, -0.3]),
    "real": SparsePauliOp(["XXII", "IYYI", "IIZZ"], [0.4, 0.7, -0.3]),
    "not real": SparsePauliOp(["XXII", "IYYI", "IIZZ", "YIIZ"], [0.4, 0.7, -0.3, 0.5]),
}


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("reps", [1, 2])
def test_images_have_the_energy_of_their_point(name: str, reps: int, rng: np.random.Generator) -> None:
    operator = OPERATORS[name]
    known = of_qaoa(operator, reps)
    unit = known.unit.numpy()
    for _ in range(4):
        point, towards = rng.uniform(-7, 7, size=(2, 2 * reps))
        (image,) = align([known], point[None], towards=towards)
        assert energy_of(operator, image * unit) == pytest.approx(energy_of(operator, point * unit), abs=1e-9)


# (whether all angles may be negated, period of beta, period of gamma)
SYMMETRIES = {
    "unit cut": (True, math.pi / 2, 2 * math.pi),
    "spin glass": (True, math.pi / 2, 2 * math.pi),
    "weights": (True, math.pi / 2, None),
    "fields": (True, math.pi, 2 * math.pi),
    "three spins": (True, math.pi, None),
    "real": (True, math.pi / 2, None),
    "not real": (False, math.pi / 2, None),
}


@pytest.mark.parametrize("name", SYMMETRIES)
def test_no_image_is_nearer_than_the_one_taken(name: str, rng: np.random.Generator) -> None:
    mirror, beta, gamma = SYMMETRIES[name]
    known = of_qaoa(OPERATORS[name], 1)
    for _ in range(10):
        point, towards = rng.uniform(-7, 7, size=(2, 2))
        shifts = itertools.product(range(-12, 13), range(-5, 6) if gamma else [0], [1, -1] if mirror else [1])
        every = [sign * point + np.array([k * beta, m * (gamma or 0)]) for k, m, sign in shifts]
        nearest = min(every, key=lambda image: float(np.linalg.norm(image - towards)))
        np.testing.assert_allclose(align([known], point[None], towards=towards)[0], nearest, atol=1e-9)


def test_a_constant_is_left_where_it_is_whatever_the_instances() -> None:
    known = [of_qaoa(operator, 1) for operator in OPERATORS.values()]
    point = np.array([5.1, -6.3])
    np.testing.assert_array_equal(align(known, np.tile(point, (len(known), 1))), np.tile(point, (len(known), 1)))


def test_scattered_images_are_gathered(rng: np.random.Generator) -> None:
    together = np.array([0.4, 0.2, -0.4, -0.8]) + 0.05 * rng.normal(size=(12, 4))
    signs = rng.choice([1, -1], size=(12, 1))
    scattered = signs * together + rng.integers(-3, 4, size=(12, 4)) * np.array([np.pi / 2] * 2 + [2 * np.pi] * 2)
    gathered = align([of_qaoa(OPERATORS["unit cut"], 2)] * 12, scattered)
    np.testing.assert_allclose(gathered.std(axis=0), together.std(axis=0), atol=1e-9)


# Planted models


@pytest.mark.parametrize("weights", ["unit", "exponential"])
@pytest.mark.parametrize("reps", [1, 2])
def test_a_constant_does_not_move_and_follows_nothing(reps: int, weights: str, rng: np.random.Generator) -> None:
    found = reaction(Constant(), instances(rng, weights=weights), reps)
    assert found.spread == 0.0
    assert found.spread_of_optima > 0.01
    assert found.moves() == (0.0, 0.0, 0.0)
    follows = found.follows()
    assert follows is not None
    assert follows[0] <= 0.0
    assert follows[2] <= 0.0


@pytest.mark.parametrize("reps", [1, 2])
def test_whoever_answers_the_optima_follows_and_so_does_the_mirrored(reps: int, rng: np.random.Generator) -> None:
    problems = instances(rng)
    optima = optima_of(problems, reps)
    found = reaction(Listed(optima), problems, reps)
    moves, follows = found.moves(), found.follows()
    assert moves is not None
    assert follows is not None
    assert moves[0] == pytest.approx(1.0, abs=0.05)
    assert follows[0] > 0.98
    # The same points in other images, for half of the instances.
    images = optima.copy()
    images[::2] *= -1.0
    images[1::3, 0] += np.pi / 2
    images[::3, -1] -= 2 * np.pi
    mirrored = reaction(Listed(images), problems, reps)
    assert mirrored.moves() == pytest.approx(moves, abs=1e-3)
    assert mirrored.follows() == pytest.approx(follows, abs=1e-3)


def test_half_a_reaction_is_told_as_half(rng: np.random.Generator) -> None:
    problems = instances(rng)
    optima = optima_of(problems, 1)
    found = reaction(Listed(optima.mean(axis=0) + 0.5 * (optima - optima.mean(axis=0))), problems, 1)
    moves, follows = found.moves(), found.follows()
    assert moves is not None
    assert follows is not None
    assert moves[0] == pytest.approx(0.5, abs=0.03)
    assert follows[0] == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize("reps", [1, 2])
@pytest.mark.parametrize("seed", [0, 1])
def test_moving_at_random_is_not_following(reps: int, seed: int, rng: np.random.Generator) -> None:
    problems = instances(rng, count=24)
    points = np.random.default_rng(seed).uniform(-np.pi, np.pi, size=(24, 2 * reps))
    found = reaction(Listed(points), problems, reps)
    moves, follows = found.moves(), found.follows()
    assert moves is not None
    assert follows is not None
    assert moves[1] > 0.3
    assert follows[2] < 0.0  # not even the upper end of the interval


@pytest.mark.parametrize("point", [(0.02, 0.015), (1.08, -0.42), (-0.485, -0.42), (0.3, -0.4)])
def test_the_optima_spread_alike_for_every_constant(point: tuple[float, float], rng: np.random.Generator) -> None:
    """Also for one half way between two images of the optima, which must not be torn apart."""
    problems = instances(rng, count=16)
    usual = reaction(Constant(), problems, 1).spread_of_optima
    found = reaction(Constant(point=point), problems, 1)
    assert found.spread == 0.0
    assert found.spread_of_optima == pytest.approx(usual, rel=0.02)


@pytest.mark.parametrize("model", [SkInfinity(), Lstm(num_parameters=2, queries=3)], ids=["formula", "queries"])
def test_the_units_of_the_weights_change_nothing(model: Model, rng: np.random.Generator) -> None:
    problems = instances(rng, count=5, weights="exponential")
    factors = np.geomspace(1e-3, 1e3, 5)
    scaled = [replace(p, operator=p.operator * factor) for p, factor in zip(problems, factors, strict=True)]
    ours, other = reaction(model, problems, 1), reaction(model, scaled, 1)
    np.testing.assert_allclose(other.proposals, ours.proposals, atol=1e-9)
    np.testing.assert_allclose(other.optima, ours.optima, atol=1e-3)


# The optimum of an instance


def wells(monkeypatch: pytest.MonkeyPatch, depths: dict[float, list[float]]) -> list[list[float]]:
    """Replace the search by one that ends at beta = +1 or -1, whichever is nearer, of given energies an instance."""
    visited: list[list[float]] = []
    order: list[int] = []

    def descend(engine: Any, task: Task, point: np.ndarray, *, step: float) -> tuple[float, np.ndarray]:
        if id(task) not in order:
            order.append(id(task))
            visited.append([])
        assert step < 1.0  # short: it is to stay in its basin
        well = 1.0 if point[0] > 0 else -1.0
        visited[-1].append(float(point[0]))
        return depths[well][order.index(id(task))], np.array([well, 0.0])

    monkeypatch.setattr(reactions, "descend", descend)
    monkeypatch.setattr(reactions, "align", lambda known, points, towards=None: points)
    monkeypatch.setattr(reactions, "align_cloud", lambda known, points, towards: points)
    monkeypatch.setattr(reactions, "_formulas", lambda known: np.empty((0, 0)))
    return visited


def test_the_lowest_of_the_mean_the_own_and_the_next_start_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = [Task.qaoa(OPERATORS["unit cut"], reps=1) for _ in range(3)]
    answers = np.array([[0.9, 0.0], [0.6, 0.0], [-0.9, 0.0]]) * tasks[0].features.unit.numpy()
    visited = wells(monkeypatch, {1.0: [-1.0, -1.0, -1.0], -1.0: [-2.0, -2.0, -0.5]})
    found = react(Statevector(), tasks, answers)
    np.testing.assert_allclose(visited, [[0.2, 0.9, 0.6], [0.2, 0.6, -0.9], [0.2, -0.9, 0.9]])
    # The first never sees the deeper well, the second through its neighbour, and the third's own is no better.
    assert found.optima[:, 0].tolist() == [1.0, -1.0, 1.0]


def test_a_short_first_step_stays_in_the_basin_that_a_full_one_leaves() -> None:
    # Dense enough for a slope that carries a full step across the mirror at (0, 0).
    rng = np.random.default_rng(1_000_003)
    problem = MaxCut(sizes=[10, 11, 12]).sample(rng)
    task = Task.qaoa(problem.operator, reps=1)
    unit = task.features.unit.numpy()
    start = np.array([0.301, -0.478])
    (near, short), (far, full) = (reactions.descend(Statevector(), task, start * unit, step=s) for s in (0.1, 1.0))
    assert near == pytest.approx(far)
    np.testing.assert_allclose(short / unit, start, atol=0.15)
    np.testing.assert_allclose(full / unit, -start, atol=0.15)


def test_of_equal_optima_that_of_the_mean_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = [Task.qaoa(OPERATORS["unit cut"], reps=1) for _ in range(2)]
    wells(monkeypatch, {1.0: [-1.0, -1.0], -1.0: [-1.0 - 1e-9, -1.0 - 1e-9]})
    found = react(Statevector(), tasks, np.array([[0.9, 0.0], [-0.7, 0.0]]))
    assert found.optima[:, 0].tolist() == [1.0, 1.0]


def test_a_constant_is_searched_from_once_an_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = [Task.qaoa(OPERATORS["unit cut"], reps=1) for _ in range(7)]
    visited = wells(monkeypatch, {1.0: [0.0] * 7})
    react(Statevector(), tasks, np.tile([0.1, 0.7], (7, 1)))
    assert visited == [[0.1]] * 7


# Statistics


def test_the_numbers_are_those_of_their_definitions(rng: np.random.Generator) -> None:
    optima = rng.normal(size=(9, 4))
    proposals = optima + 0.5 * rng.normal(size=(9, 4)) + 0.1
    found = Reaction(proposals, optima)
    assert found.spread == pytest.approx(math.sqrt(np.mean([np.var(column) for column in proposals.T])))
    assert found.spread_of_optima == pytest.approx(math.sqrt(np.mean([np.var(column) for column in optima.T])))
    missed = sum(float(np.sum((p - o) ** 2)) for p, o in zip(proposals, optima, strict=True))
    varied = sum(float(np.sum((o - optima.mean(axis=0)) ** 2)) for o in optima)
    moves, follows = found.moves(), found.follows()
    assert moves is not None
    assert follows is not None
    assert moves[0] == pytest.approx(found.spread / found.spread_of_optima)
    assert follows[0] == pytest.approx(1.0 - missed / varied)

    def redrawn(rows: np.ndarray) -> tuple[float, float]:
        p, o = proposals[rows], optima[rows]
        share = 1.0 - np.sum((p - o) ** 2) / np.sum((o - o.mean(axis=0)) ** 2)
        return math.sqrt(np.var(p, axis=0).sum() / np.var(o, axis=0).sum()), float(share)

    slow = np.array([redrawn(rng.integers(9, size=9)) for _ in range(4000)])
    np.testing.assert_allclose(moves[1:], np.quantile(slow[:, 0], [0.025, 0.975]), rtol=0.1)
    np.testing.assert_allclose(follows[1:], np.quantile(slow[:, 1], [0.025, 0.975]), rtol=0.1, atol=0.05)


def test_the_best_constant_follows_nothing_and_any_other_less(rng: np.random.Generator) -> None:
    optima = rng.normal(size=(6, 2))
    best = Reaction(np.tile(optima.mean(axis=0), (6, 1)), optima).follows()
    other = Reaction(np.tile(optima.mean(axis=0) + 0.1, (6, 1)), optima).follows()
    assert best is not None
    assert other is not None
    assert best[0] == pytest.approx(0.0, abs=1e-12)
    assert other[0] < -0.01


def test_intervals_are_the_same_at_every_call_and_follow_their_seed(rng: np.random.Generator) -> None:
    found = Reaction(rng.normal(size=(9, 2)), rng.normal(size=(9, 2)))
    assert found.moves() == found.moves()
    assert found.moves(seed=1) != found.moves()


@pytest.mark.parametrize(("count", "known"), [(2, False), (7, False), (8, True)])
def test_few_instances_give_a_value_and_no_interval(count: int, known: bool, rng: np.random.Generator) -> None:
    proposals, optima = rng.normal(size=(2, count, 2))
    found = Reaction(proposals, optima)
    moves, follows = found.moves(), found.follows()
    assert moves is not None
    assert follows is not None
    assert moves[0] == pytest.approx(found.spread / found.spread_of_optima)
    assert follows[0] == pytest.approx(found.explained)
    for estimate in (moves, follows):
        assert [bound is not None for bound in estimate[1:]] == [known, known]
        assert json.loads(json.dumps(estimate)) == list(estimate)
    results = {"sk_infinity": Result(0, np.full(count, 0.9), reaction=found)}
    (_, row) = card.reactions(Comparison(Protocol(reps=1), results, np.ones(count)))
    assert row[3] == f"{moves[0]:.2f}"
    assert (row[4] != "") == known


def test_where_all_optima_are_alike_there_is_nothing_to_follow() -> None:
    triangle = MaxCut.from_edges([(0, 1), (1, 2), (0, 2)])
    found = reaction(SkInfinity(), [triangle, triangle], reps=1)
    assert found.spread_of_optima < 1e-6
    assert found.moves() is None
    assert found.follows() is None


def test_a_reaction_survives_json(rng: np.random.Generator) -> None:
    found = Reaction(rng.normal(size=(3, 4)), rng.normal(size=(3, 4)))
    again = Reaction.from_json(json.loads(json.dumps(found.as_json())))
    np.testing.assert_allclose(again.proposals, found.proposals, atol=1e-6)
    np.testing.assert_allclose(again.optima, found.optima, atol=1e-6)


def test_one_instance_tells_nothing_and_a_model_must_serve_all(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=r"At least two instances .* but 1 came"):
        reaction(SkInfinity(), instances(rng, count=1), 1)
    with pytest.raises(ValueError, match=r"Constant cannot answer at reps=1: .*holds 4 parameters"):
        reaction(Constant(point=[0.1] * 4), instances(rng, count=2), 1)


# In comparisons and cards


def test_a_comparison_knows_every_models_reaction_but_that_of_random_starts(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    problems = instances(rng, count=4)
    models = {"sk_infinity": SkInfinity(), "constant": Constant()}
    found = compare(models, problems, Protocol(reps=1, random_starts=1), evaluations=False)
    assert found.results["random"].reaction is None
    found.write(tmp_path / "stored.json")
    again = Comparison.from_json(json.loads((tmp_path / "stored.json").read_text()))
    assert again.results["random"].reaction is None
    for name, model in models.items():
        alone = reaction(model, problems, 1)
        for kept in (found.results[name].reaction, again.results[name].reaction):
            assert kept is not None
            np.testing.assert_allclose(kept.proposals, alone.proposals, atol=1e-6)
            np.testing.assert_allclose(kept.optima, alone.optima, atol=1e-6)
    assert [row[0] for row in card.reactions(again)] == [
        "start",
        *sorted(models, key=lambda name: -found.results[name].ratio.mean()),
    ]


def test_the_table_says_what_the_reactions_are() -> None:
    optima = np.tile([[0.0, 0.0], [0.2, 0.0], [0.1, 0.3]], (3, 1))
    shown = {"exact": optima, "still": np.tile(optima.mean(axis=0), (9, 1)), "off": -4 * optima}
    results = {
        name: Result(0, np.full(9, 0.9 - 0.1 * place), reaction=Reaction(points, optima))
        for place, (name, points) in enumerate(shown.items())
    }
    results["alike"] = Result(0, np.full(9, 0.1), reaction=Reaction(optima, 0 * optima))
    rows = card.reactions(Comparison(Protocol(reps=1, resamples=50), results, np.ones(9)))
    spread = f"{math.sqrt((np.var(optima[:, 0]) + np.var(optima[:, 1])) / 2):.3f}"[1:]
    assert rows[0] == ["start", "spread", "optima", "moves", "95%", "follows", "95%"]
    assert rows[1] == ["exact", spread, spread, "1.00", "1.00 1.00", "+1.00", "+1.00 +1.00"]
    assert rows[2][:5] == ["still", ".000", spread, "0.00", ".00 .00"]
    assert float(rows[2][5]) == 0.0
    assert rows[3][3:] == ["4.00", "4.00 4.00", "< -1", ""]
    assert rows[4] == ["alike", spread, ".000", "", "", "", ""]


@pytest.mark.parametrize("path", STORED, ids=[path.stem for path in STORED])
def test_stored_comparisons_load_with_or_without_reactions(path: Path) -> None:
    content = json.loads(path.read_text())
    known = [name for name, row in content["results"].items() if "reaction" in row]
    assert sorted(row[0] for row in card.reactions(Comparison.from_json(content))[1:]) == sorted(known)


def test_files_from_before_reactions_show_no_table(tmp_path: Path, rng: np.random.Generator) -> None:
    shutil.copytree(artifact.find("lstm"), tmp_path / "lstm")
    stored = artifact.read(str(tmp_path / "lstm"))
    models = {"sk_infinity": SkInfinity(), "constant": Constant()}
    content = compare(models, instances(rng, 3), Protocol(reps=1, random_starts=1), evaluations=False).as_json()
    card.write(tmp_path / "lstm", stored, card.sections({"new": ("", Comparison.from_json(content))}, ["constant"]), [])
    assert "Does it react to the instance?" in (tmp_path / "lstm" / "card.md").read_text()
    assert "| constant | .000 |" in (tmp_path / "lstm" / "card.md").read_text()
    for row in content["results"].values():
        row.pop("reaction", None)
    card.write(tmp_path / "lstm", stored, card.sections({"old": ("", Comparison.from_json(content))}, ["constant"]), [])
    assert "react" not in (tmp_path / "lstm" / "card.md").read_text()


def test_a_card_counts_the_circuits_of_the_models_own(tmp_path: Path, rng: np.random.Generator) -> None:
    models = {"constant": Constant()}
    compared = {"few": ("", compare(models, instances(rng, 2), Protocol(reps=1, random_starts=1), evaluations=False))}
    for model, told in ((Qfwp(queries=2), " 31 weights, 2 queries, 6 circuits of its own."), (Lstm(), " 9 queries.\n")):
        folder = tmp_path / type(model).__name__
        MetaInitializer(model).save(folder)
        card.write(folder, artifact.read(str(folder)), card.sections(compared, ["constant"]), [])
        assert told in (folder / "card.md").read_text()


def test_evaluate_tells_reactions_within_eighty_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    arguments = "evaluate qaoa --instances 8 --sizes 5,6 --random-starts 1 --points-only"
    monkeypatch.setattr(sys, "argv", ["metainit", *arguments.split()])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    after = lines[lines.index("Does it react to the instance?") + 1 :]
    rows = {line.split()[0]: line for line in itertools.takewhile(lambda line: not line.startswith("Spread:"), after)}
    assert rows["start"].split() == ["start", "spread", "optima", "moves", "95%", "follows", "95%"]
    assert {"qaoa", "sk_infinity", "constant", "linear_ramp", "tqa"} <= rows.keys() - {"start"}
    assert rows["constant"].split()[1::2][:2] == [".000", "0.00"]
    assert max(map(len, rows.values())) <= 80


def test_a_search_tells_the_energy_where_it_ends() -> None:
    task = Task.qaoa(OPERATORS["unit cut"], reps=1)
    energy, point = reactions.descend(Statevector(), task, np.array([0.2, -0.4, 9.9]))
    assert energies(Statevector(), [task], point[None])[0] == pytest.approx(energy)
