"""Starting points of VQE compared: excesses by hand, what optimisers spend, files and tables."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import efficient_su2
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit import card, standings
from qiskit_metainit.contest import hold
from qiskit_metainit.ground import ground_energy
from qiskit_metainit.handover import shift_evaluations
from qiskit_metainit.models.constant import Constant
from qiskit_metainit.models.random_angles import RandomAngles
from qiskit_metainit.models.same_angle import SameAngle
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.problem import Levels, Problem
from qiskit_metainit.standings import Contest, Course, Standing, Standings
from qiskit_metainit.task import Task


def one_qubit(unit: float) -> Problem:
    """Return H = Z and RX(theta) RX(theta) on |0>: energy cos(2 theta), from 1 down to -1."""
    theta = Parameter("theta")
    circuit = QuantumCircuit(1)
    circuit.rx(theta, 0)
    circuit.rx(theta, 0)
    levels = Levels(lowest=-1.0, unit=unit, name="gap", target=0.01)
    return Problem(SparsePauliOp("Z"), "own", ("spin",), ansatz=circuit, levels=levels)


def chain(rng: np.random.Generator, size: int) -> Problem:
    terms = [(word, [i, i + 1], rng.normal()) for i in range(size - 1) for word in ("XX", "ZZ")]
    operator = SparsePauliOp.from_sparse_list(terms, size)
    lowest = ground_energy(operator)
    levels = Levels(lowest=lowest, unit=abs(lowest), name="relative gap", target=0.05)
    return Problem(operator, "own", tuple(range(size)), ansatz=efficient_su2(size, reps=2), levels=levels)


def test_excesses_are_those_by_hand() -> None:
    models = {"zeros": SameAngle(), "eighth": SameAngle(value=np.pi / 8), "there": SameAngle(value=np.pi / 2)}
    found = hold(models, [one_qubit(1.0), one_qubit(2.0)], Contest())
    assert found.results["zeros"].excess == pytest.approx([2.0, 1.0])
    assert found.results["eighth"].excess == pytest.approx([1 + 2**-0.5, (1 + 2**-0.5) / 2])
    assert found.results["there"].excess == pytest.approx([0.0, 0.0], abs=1e-12)
    assert [name for name, _ in found.ranked] == ["there", "eighth", "zeros"]
    assert found.strongest(["zeros", "eighth", "unknown"]) == "eighth"
    assert found.strongest([]) is None
    assert found.factor("eighth", "zeros")[0] == pytest.approx(1.5 / (1.5 * (1 + 2**-0.5) / 2))


def test_the_optimum_is_searched_below_the_best_starts() -> None:
    found = hold({"eighth": SameAngle(value=np.pi / 8)}, [one_qubit(1.0)] * 2, Contest())
    assert found.optimum == pytest.approx([0.0, 0.0], abs=1e-8)
    none = hold({"eighth": SameAngle(value=np.pi / 8)}, [one_qubit(1.0)] * 2, Contest(searches=0))
    assert none.optimum == pytest.approx([1 + 2**-0.5] * 2)


def test_adam_is_charged_its_gradients_and_runs_at_the_best_rate_of_each_start() -> None:
    # cos(2 theta) from pi/8: steps of Adam are about its rate, so .1 arrives near pi/2 - .05 in about eleven steps.
    contest = Contest(optimizers=("adam",), rates=(0.001, 0.1), steps=60)
    problem = one_qubit(1.0)
    found = hold({"eighth": SameAngle(value=np.pi / 8), "there": SameAngle(value=np.pi / 2)}, [problem] * 2, contest)
    course = found.results["eighth"].courses["adam"]
    price = shift_evaluations(Task.of(problem))
    assert price == 5  # two rotations
    assert course.rate == 0.1
    assert ((course.spent - 1) % price == 0).all()
    assert 9 <= (course.spent[0] - 1) / price <= 14
    assert found.results["there"].courses["adam"].spent.tolist() == [1.0, 1.0]


def test_a_run_that_never_arrives_is_told_apart() -> None:
    contest = Contest(optimizers=("adam", "l_bfgs_b"), rates=(0.001,), steps=2)
    found = hold({"zeros": SameAngle(), "eighth": SameAngle(value=np.pi / 8)}, [one_qubit(1.0)] * 2, contest)
    stuck = found.results["zeros"].courses  # zero is a maximum: no gradient leads away
    assert np.isnan(stuck["adam"].spent).all()
    assert np.isnan(stuck["l_bfgs_b"].spent).all()
    assert stuck["adam"].last == pytest.approx([2.0, 2.0])
    assert not np.isnan(found.results["eighth"].courses["l_bfgs_b"].spent).any()
    row = next(row for row in standings.table(found) if row[0] == "zeros")
    assert row[7:9] == ["never", "0%"]


def test_files_tables_and_cards_tell_the_same(tmp_path: Path, rng: np.random.Generator) -> None:
    problems = [chain(rng, size) for size in (2, 3)]
    models = {"zeros": SameAngle(), "reduced": RandomAngles()}
    found = hold(models, problems, Contest(optimizers=("adam", "cobyla"), steps=5, cap=50, resamples=100))
    standings.write(tmp_path / "found.json", "chains", found, seed=7)
    title, command, again = standings.read(json.loads((tmp_path / "found.json").read_text()))
    assert title == "chains"
    assert command == json.loads((tmp_path / "found.json").read_text())["command"]
    assert again.contest == found.contest
    assert standings.table(again) == standings.table(found)
    assert standings.duels(again, "zeros") == standings.duels(found, "zeros")
    assert (again.qubits, again.parameters) == ((2, 3), (12, 18))
    lines = "\n".join(card.vqe_sections([(title, command, again)], "reduced"))
    assert "2 to 3 qubits, 12 to 18 parameters" in lines
    assert "Against zeros, instance by instance" in lines


def test_wins_and_losses_are_counted_by_instance() -> None:
    ours, theirs = Standing(0, np.array([0.1, 0.3, 0.2])), Standing(0, np.array([0.2, 0.2, 0.2]))
    found = Standings(Contest(), "gap", 0.15, {"a": ours, "b": theirs}, np.zeros(3), (2,) * 3, (4,) * 3)
    [row] = standings.duels(found, "b")[1:]
    assert row[:2] == ["a", "1"]
    assert row[3:] == ["1", "1", "-0.1"]
    assert standings.table(found)[1][:2] == ["a", "0.2"]
    assert standings.table(found)[1][5] == "33%"


def test_an_infinite_median_is_never() -> None:
    course = Course(np.array([5.0, np.nan, np.nan]), np.zeros(3), np.zeros(3))
    found = Standings(
        Contest(optimizers=("cobyla",)), "gap", 0.1, {"a": Standing(0, np.ones(3), {"cobyla": course})}, np.zeros(3),
        (2,) * 3, (4,) * 3,
    )  # fmt: skip
    assert standings.table(found)[1][7:9] == ["never", "33%"]


def test_problems_without_levels_or_ansatz_are_refused() -> None:
    problem = one_qubit(1.0)
    with pytest.raises(ValueError, match=r"levels .* are needed, but one of the family 'own' came without"):
        hold({"zeros": SameAngle()}, [replace(problem, levels=None)], Contest())
    with pytest.raises(ValueError, match="cannot be compared on these instances: SkInfinity needs a standard QAOA"):
        hold({"formula": SkInfinity()}, [problem], Contest())
    with pytest.raises(ValueError, match="this Constant holds 2 parameters"):
        hold({"constant": Constant(point=[0.0, 0.0])}, [problem], Contest())


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"optimizers": ("bfgs",)}, "'bfgs' came"), ({"rates": ()}, "above zero"), ({"rates": (0.1, -1.0)}, "above zero")],
)
def test_impossible_contests_are_refused(settings: dict[str, tuple[object, ...]], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Contest(**settings)


def test_levels_need_a_unit() -> None:
    with pytest.raises(ValueError, match="unit above zero is needed, but 0"):
        Levels(lowest=0.0, unit=0.0, name="", target=0.0)
