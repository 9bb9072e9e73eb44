from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import Statevector as State

from qiskit_metainit.problem import Problem
from qiskit_metainit.reproduction import Stages, publish, reproduce
from qiskit_metainit.reproductions import _lee2025_jobs as jobs
from qiskit_metainit.reproductions import _lee2025_setups as setups
from qiskit_metainit.reproductions._lee2025_results import Adapted, Course, ratio
from qiskit_metainit.reproductions._lee2025_setups import Setup, answers, hartree_fock, learner, levels_of, problems
from qiskit_metainit.reproductions.lee2025 import Lee2025
from qiskit_metainit.task import Task

TINY: dict[str, Any] = {"training": 5, "testing": 3, "epochs": 2, "steps": 6, "tuned_steps": 4, "seeds": 2}
TINY |= {"rates": (0.03, 0.1), "batch": 2, "precision": "double"}
BLOCKS = Setup(kind="blocks", size=4, layers=2, **TINY)
PAIRS = Setup(kind="bell_pairs", size=4, layers=2, **TINY)
MOLECULES = Setup(kind="molecule", size=10, layers=1, **{**TINY, "training": 8, "testing": 2})
LOADED = Setup(kind="distribution", size=3, layers=2, **TINY)


def quiet(*_: Any) -> None:
    pass


def energy(problem: Problem, point: np.ndarray) -> float:
    return float(StatevectorEstimator().run([(problem.ansatz, problem.operator, point)]).result()[0].data.evs)


# the tasks


def test_chains_are_on_the_grid_of_the_paper_and_never_twice() -> None:
    training, testing = problems(dataclasses.replace(BLOCKS, training=200, testing=16), 0)
    couplings = [tuple(problem.hints[key] for key in ("Jx", "Jy", "Jz")) for problem in (*training, *testing)]
    assert (len(training), len(testing), len(set(couplings))) == (200, 16, 216)
    values = np.array(couplings)
    np.testing.assert_allclose(values, np.round(values, 1), atol=1e-12)
    assert values.min() < -2.8
    assert values.max() > 2.8
    assert np.abs(values).max() <= 3.0
    again = problems(dataclasses.replace(BLOCKS, training=200, testing=16), 0)[1]
    assert [problem.operator for problem in again] == [problem.operator for problem in testing]
    assert [problem.operator for problem in problems(BLOCKS, 1)[1]] != [p.operator for p in problems(BLOCKS, 0)[1]]


@pytest.fixture(scope="module")
def scans() -> list[Problem]:
    training, testing = problems(MOLECULES, 0)
    return [*training, *testing]


def test_molecules_are_five_scans_on_the_layers_of_the_paper(scans: list[Problem]) -> None:
    lengths: dict[str, list[float]] = {}
    for problem in scans:
        lengths.setdefault(problem.hints["molecule"], []).append(problem.hints["length"])
        assert problem.num_qubits == 10
        assert problem.ansatz is not None
        assert problem.ansatz.num_parameters == 30
    assert set(lengths) == {"LiH", "HF", "BeH2", "H2O", "N2"}
    assert all(sorted(found) == [0.8, 1.3] for found in lengths.values())


def test_the_hartree_fock_point_prepares_its_determinant(scans: list[Problem]) -> None:
    for layers in (1, 2, 7):
        setup = dataclasses.replace(MOLECULES, layers=layers)
        for problem in scans[::3]:
            pairs = problem.hints["pairs"]
            circuit = setups.strongly_entangling_layers(10, layers)
            state = State(circuit.assign_parameters(hartree_fock(setup, problem))).probabilities_dict(decimals=9)
            assert state == {("0" * (5 - pairs) + "1" * pairs) * 2: 1.0}


def test_gaps_of_molecules_are_relative_to_total_energies(scans: list[Problem]) -> None:
    problem = next(each for each in scans if each.hints["molecule"] == "LiH" and each.hints["length"] == 0.8)
    levels = levels_of(MOLECULES, problem)
    assert levels.lowest == pytest.approx(float(np.linalg.eigvalsh(problem.operator.to_matrix())[0]))
    assert -7.9 < levels.lowest + problem.hints["shift"] < -7.7  # LiH at 1.28 Angstrom in STO-3G
    assert levels.unit == pytest.approx(-(levels.lowest + problem.hints["shift"]))
    above = energy(dataclasses.replace(problem), hartree_fock(MOLECULES, problem)) - levels.lowest
    assert 0.005 < above < 0.05  # the correlation energy


# learning and adapting


def test_a_learner_follows_the_gradient_of_the_summed_energies() -> None:
    """One epoch of one batch is one Adam step, which goes along the sign of the gradient."""
    setup = dataclasses.replace(LOADED, epochs=1, batch=5)
    training, _ = problems(setup, 3)
    tasks = [Task.of(problem) for problem in training]
    first = learner(setup, "q_maml", tasks, [3, setup.size, 1])
    points = answers(first, tasks)
    piece = jobs.learn(setup, "q_maml", 1, 3, quiet)
    assert piece["losses"][0] == pytest.approx(
        np.mean([energy(p, x) for p, x in zip(training, points, strict=True)]), abs=1e-6
    )
    slopes = []
    for problem, point in zip(training, points, strict=True):
        shifts = np.pi / 2 * np.eye(point.size)  # every angle drives one RY
        slopes.append([(energy(problem, point + h) - energy(problem, point - h)) / 2 for h in shifts])
    assert piece["gradient norms"][0] == pytest.approx(np.mean(np.linalg.norm(slopes, axis=1)), abs=1e-6)
    before = dict(first.named_parameters())["network.4.bias"].detach().numpy()
    moved = np.array(piece["weights"]["network.4.bias"]) - before
    np.testing.assert_allclose(moved, -jobs.RATE * np.sign(np.sum(slopes, axis=0)), atol=1e-6)


def test_learners_get_better_and_the_shared_point_is_one_point() -> None:
    setup = dataclasses.replace(LOADED, training=40, epochs=15, batch=8)
    for name in ("q_maml", "constant"):
        piece = jobs.learn(setup, name, 0, 0, quiet)
        assert piece["losses"][-1] < piece["losses"][0] - 0.05
    tasks = [Task.of(problem) for problem in problems(setup, 0)[1]]
    assert np.ptp(answers(learner(setup, "constant", tasks, [0]), tasks), axis=0).max() == 0.0


def test_random_starts_differ_between_tasks_and_have_the_variance_of_the_paper() -> None:
    setup = dataclasses.replace(BLOCKS, layers=20, testing=30)
    found = problems(setup, 0)[1]
    starts = setups.starts(setup, [Task.of(problem) for problem in found], found, 0)
    uniform, normal = starts["uniform"](), starts["gaussian"]()
    assert uniform.std(axis=0).min() > 0.01
    assert 0.04 * math.pi < np.abs(uniform).max() <= 0.05 * math.pi
    assert normal.var() == pytest.approx(1 / 176, rel=0.1)  # S = 2, L = 20
    assert not starts["zero"]().any()
    assert (starts["pi"]() == math.pi).all()


@pytest.mark.parametrize("start", ["zero", "uniform"])
def test_adaptation_begins_at_the_start_and_stops_where_it_is_stationary(start: str) -> None:
    content = jobs.adapt_from(BLOCKS, start, 0, [], quiet)
    found = problems(BLOCKS, 0)[1]
    point = setups.starts(BLOCKS, [Task.of(problem) for problem in found], found, 0)[start]()
    expected = [energy(problem, row) for problem, row in zip(found, point, strict=True)]
    np.testing.assert_allclose(content["energies"], [expected], atol=1e-9)
    assert content["stationary"] == (start == "zero")
    lengths = {rate: len(course["energies"]) for rate, course in content["courses"].items()}
    assert lengths == ({"0.001": 2, "0.03": 2, "0.1": 2} if start == "zero" else {"0.001": 7, "0.03": 5, "0.1": 5})
    for course in content["courses"].values():
        np.testing.assert_allclose(course["energies"][0], expected, atol=1e-6)


def test_every_trained_seed_is_judged_and_the_first_is_adapted() -> None:
    pieces = [jobs.learn(PAIRS, "spin_chain", number, 0, quiet) for number in range(2)]
    content = jobs.adapt_from(PAIRS, "spin_chain", 0, pieces, quiet)
    energies = np.array(content["energies"])
    assert energies.shape == (2, 3)
    assert (energies[0] != energies[1]).any()
    np.testing.assert_allclose(content["courses"]["0.001"]["energies"][0], energies[0], atol=1e-6)


def test_longer_training_loads_distributions() -> None:
    short, long = (np.array(jobs.load_distributions(0, 3, steps, 10, 0, quiet)) for steps in (1, 120))
    assert long[:, 0].mean() < 0.5 * short[:, 0].mean()
    assert (long[:, 2] <= 1).all()
    assert (long[:, 1] >= 0).all()


# results


def planted() -> Adapted:
    """Two tasks of ground energies -10 and -20; q_maml arrives at 1% after one step, uniform in one task only."""

    def start(paper: list[list[float]], own: list[list[float]]) -> dict[str, Any]:
        courses = {"0.001": paper, "0.1": own}
        return {
            "energies": [paper[0]], "stationary": False, "mean": 0.0, "spread": 1.0, "between tasks": 0.5,
            "courses": {rate: {"energies": e, "gradient norms": [1.0] * len(e)} for rate, e in courses.items()},
        }  # fmt: skip

    starts = {
        "uniform": start([[-5, -5], [-9.95, -6], [-9.0, -7]], [[-5, -5], [-6, -6]]),
        "q_maml": start([[-9, -19], [-9.95, -19.9], [-9.995, -19.5]], [[-9, -19], [-9.999, -19.999]]),
    }
    known = {"lowest": [-10.0, -20.0], "unit": [10.0, 20.0]}
    return Adapted("planted", {"setup": {"rates": [0.1]}, "reference": known, "starts": starts, "learning": {}})


def test_targets_gaps_and_the_best_so_far() -> None:
    tested = planted()
    np.testing.assert_allclose(tested.found, [0.0001, 0.00005])
    np.testing.assert_allclose(tested.proposed("q_maml"), [[0.1, 0.05]])
    q_maml, uniform = tested.course("q_maml", 0.001), tested.course("uniform", 0.001)
    assert {target: steps.tolist() for target, steps in q_maml.reached.items()} == {
        "1%": [1, 1], "0.1%": [2, 3], "best + 1%": [1, 1],
    }  # fmt: skip
    assert (q_maml.median("1%"), uniform.median("1%"), uniform.share("1%")) == (1.0, 2.0, 0.5)
    assert (math.isinf(q_maml.median("0.1%")), q_maml.share("0.1%")) == (True, 0.5)
    np.testing.assert_allclose(q_maml.last, [0.075, 0.005, 0.01275])
    np.testing.assert_allclose(q_maml.best, [0.075, 0.005, 0.00275])
    assert tested.own("q_maml").median("0.1%") == 1.0


def test_the_own_rate_is_the_one_that_arrives_first() -> None:
    tested = planted()
    raw = {**tested.raw, "setup": {"rates": [0.1, 0.3]}}
    course = {"energies": [[-9, -19], [-9, -19]], "gradient norms": [1.0, 1.0]}
    raw["starts"]["q_maml"]["courses"]["0.3"] = course
    assert Adapted("two", raw).own_rate("q_maml") == 0.1
    course["energies"] = [[-10, -20], [-9, -19]]
    assert Adapted("two", raw).own_rate("q_maml") == 0.3


def test_ratios_say_what_is_known() -> None:
    assert [ratio(*pair, 100) for pair in ((80, 20), (math.inf, 20), (80, math.inf), (math.inf, math.inf), (3, 0))] == [
        "4.0", "> 5.0", "< 0.8", "neither", "at once",
    ]  # fmt: skip
    assert isinstance(Course(np.zeros((2, 1)), np.zeros(2), {}).steps, int)


# the whole


class Pulled(Exception):  # noqa: N818
    pass


def test_the_whole_is_interrupted_resumed_and_published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    chosen = {"chains": BLOCKS, "pairs": PAIRS, "loaded": LOADED}
    monkeypatch.setattr(Lee2025, "setups", chosen)
    monkeypatch.setattr(Lee2025, "_loading", (5, 3))
    experiment = Lee2025(quick=True, seed=1, workers=1)
    told: list[str] = []

    def pull(stage: str, done: int, of: int) -> None:
        told.append(stage)
        if stage == "pairs: from gaussian":
            raise Pulled

    with pytest.raises(Pulled):
        experiment.run(Stages(tmp_path / "a", {}), pull)
    first = len(told)
    resumed = experiment.run(Stages(tmp_path / "a", {}), lambda stage, *_: told.append(stage))
    assert "chains: learning q_maml 1" in told[:first]
    assert not any("learning" in stage or "chains" in stage for stage in told[first:])
    whole = experiment.run(Stages(tmp_path / "b", {}), quiet)
    assert resumed.record["setups"] == whole.record["setups"]

    files = publish(resumed, "lee2025-quick", tmp_path)
    page = files[2].read_text(encoding="utf-8")
    for text in ("Q-MAML", "straw men", "best + 1%", "spin chain", "shared point", "ramp", "own rate", "zero"):
        assert text in page
    assert not re.search(r"\bnan\b|\binf\b", page)
    for _, rows in resumed.tables:
        assert {len(row) for row in rows} == {len(rows[0])}
    assert files[1].read_bytes().startswith(b"\x89PNG")
    content = whole.record["setups"]["pairs"]["starts"]
    assert set(content) == {"zero", "pi", "uniform", "gaussian", "q_maml", "constant", "spin_chain", "ramp"}
    assert np.shape(content["q_maml"]["gaps"]) == (2, 3)
    assert content["zero"]["stationary"]


def test_a_full_run_is_another_one_and_only_where_there_is_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Either a quick or a full run"):
        Lee2025(quick=True, full=True)
    with pytest.raises(ValueError, match="verdon2019 has no full run"):
        reproduce("verdon2019", tmp_path, quick=False, full=True, seed=0, progress=quiet)
    quick, normal, full = (Lee2025(**kind).setups for kind in ({"quick": True}, {}, {"full": True}))
    assert sum(each.size for each in full.values()) > sum(each.size for each in normal.values())
    assert max(each.size for each in full.values()) == 20
    assert {10, 12, 14} <= {each.size for each in normal.values()}
    assert all(each.steps < 100 for each in quick.values())
