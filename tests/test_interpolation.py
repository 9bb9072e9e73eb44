from __future__ import annotations

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp
from scipy.interpolate import CubicSpline

from qiskit_metainit.descent import descend
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.initializer import MetaInitializer
from qiskit_metainit.models.interpolation import Interpolation
from qiskit_metainit.models.same_angle import SameAngle
from qiskit_metainit.problem import Problem
from qiskit_metainit.problems.molecule import Molecule
from qiskit_metainit.task import Task


def rotated(turn: float, **more: float) -> Problem:
    """The best angle of an ry is an affine function of the hint."""
    circuit = QuantumCircuit(1)
    (angle,) = ParameterVector("angle", 1)
    circuit.ry(angle, 0)
    operator = SparsePauliOp(["Z", "X"], [np.cos(turn), np.sin(turn)])
    return Problem(operator, "turned", ("a",), ansatz=circuit, hints={"turn": turn, "kind": "ry", **more})


def test_a_spline_goes_through_what_is_known_and_is_exact_for_a_straight_line(rng: np.random.Generator) -> None:
    turns = np.sort(rng.uniform(0.2, 1.4, size=6))
    model = Interpolation.fit([rotated(turn) for turn in turns], [[turn + np.pi] for turn in turns])
    assert model.hints == ["turn"]
    for turn in (*turns, 0.3, 0.77):
        problem = rotated(turn)
        task = Task.of(problem)
        point = MetaInitializer(model).propose([problem.operator], ansatz=problem.ansatz, problem=problem)[0].point
        np.testing.assert_allclose(point, [turn + np.pi], atol=1e-9)
        energy = Statevector().expectation([task], torch.as_tensor(point[None])).item()
        assert energy == pytest.approx(-1)


def test_over_one_number_it_is_close_to_a_cubic_spline(rng: np.random.Generator) -> None:
    knots = np.linspace(0, 1, 9)
    values = np.sin(3 * knots)
    model = Interpolation(hints=["x"], knots=knots[:, None].tolist(), points=values[:, None].tolist())
    spline = CubicSpline(knots, values, bc_type="natural")
    for x in rng.uniform(0.2, 0.8, size=5):
        assert model.at({"x": x})[0] == pytest.approx(spline(x), abs=2e-3)


def test_the_nearest_is_judged_by_all_numbers_on_the_scale_of_each() -> None:
    known = {
        "hints": ["bond", "angle"],
        "knots": [[1.0, 90.0], [1.2, 90.0], [1.0, 120.0]],
        "points": [[0.0], [1.0], [2.0]],
    }
    model = Interpolation(**known, kind="nearest")
    assert [model.at({"bond": 1.05, "angle": angle})[0] for angle in (92, 118)] == [0, 2]
    assert model.at({"bond": 1.19, "angle": 97})[0] == 1


def test_hydrogen_along_a_scan_comes_out_at_its_optimum() -> None:
    pytest.importorskip("pyscf")

    def at(length: float) -> Problem:
        molecule = Molecule.from_geometry(f"H 0 0 0; H 0 0 {length}")
        return Problem(molecule.operator, "molecule", molecule.nodes, ansatz=molecule.ansatz, hints={"r01": length})

    engine = Statevector()
    known = [at(length) for length in np.linspace(0.5, 1.6, 7)]
    tasks = [Task.of(problem) for problem in known]
    optima = [descend(engine, task, np.zeros(task.num_parameters))[1] for task in tasks]
    new = at(1.03)
    task = Task.of(new)
    best = descend(engine, task, np.zeros(task.num_parameters))[0]

    def excess(model: Interpolation | SameAngle) -> float:
        point = MetaInitializer(model).propose([new.operator], ansatz=new.ansatz, problem=new)[0].point
        return engine.expectation([task], torch.as_tensor(point[None])).item() - best

    spline = excess(Interpolation.fit(known, optima))
    nearest = excess(Interpolation.fit(known, optima, kind="nearest"))
    assert 0 <= spline < 1e-6 < nearest < excess(SameAngle())


def test_what_it_does_not_know_it_refuses() -> None:
    model = Interpolation.fit([rotated(0.1), rotated(0.2)], [[0.1], [0.2]], kind="nearest")
    without = Problem(SparsePauliOp("Z"), "turned", ("a",), ansatz=rotated(0.1).ansatz)
    assert "turn did not come" in str(model.unsupported(Task.of(without).features))
    two = QuantumCircuit(1)
    for angle in ParameterVector("angle", 2):
        two.ry(angle, 0)
    other = Problem(SparsePauliOp("Z"), "turned", ("a",), ansatz=two, hints={"turn": 0.1})
    assert "answers 1 parameters, but the task has 2" in str(model.unsupported(Task.of(other).features))
    assert "a QAOA circuit came" in str(model.unsupported(Task.qaoa(SparsePauliOp("ZZ"), reps=1).features))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"kind": "cubic"}, "kind must be one of spline, nearest"),
        ({"hints": ["a", "b"]}, "A row of 2 numbers"),
        ({"points": [[0.0]]}, "A row of 1 numbers"),
        (
            {"hints": ["a", "b"], "knots": [[0.0, 1.0], [1.0, 0.0]], "points": [[0.0], [1.0]]},
            "more than 2 known instances",
        ),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Interpolation(**settings)


def test_instances_that_differ_in_nothing_cannot_be_interpolated() -> None:
    with pytest.raises(ValueError, match="differ in none"):
        Interpolation.fit([rotated(0.1), rotated(0.1)], [[0.1], [0.1]])
