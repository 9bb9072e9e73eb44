"""Schedules for the Hubbard model: what they serve, what they must leave alone, and how much they close."""

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit, transpile
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.features import stack
from qiskit_metainit.initializer import MetaInitializer
from qiskit_metainit.model import Model
from qiskit_metainit.models.adiabatic_ramp import AdiabaticRamp
from qiskit_metainit.models.hubbard_schedule import HubbardSchedule
from qiskit_metainit.models.smaller_lattice import SmallerLattice
from qiskit_metainit.problem import Problem
from qiskit_metainit.problems.hubbard import Hubbard
from qiskit_metainit.task import Task
from qiskit_metainit.testing import check_model
from qiskit_metainit.training import Schedule, train

MODELS = [AdiabaticRamp, HubbardSchedule, SmallerLattice]


def point_of(model: Model, circuit: QuantumCircuit, operator: SparsePauliOp) -> np.ndarray:
    task = Task.from_circuit(circuit, operator)
    assert model.unsupported(task.features) is None
    with torch.no_grad():
        return model.begin(stack([task.features]))[0][0].numpy()


def closed(model: Model, problem: Problem) -> float:
    task = Task.of(problem)
    with torch.no_grad():
        energy = Statevector().expectation([task], model.begin(stack([task.features]))[0]).item()
    return 1 - problem.levels.excess(energy)


@pytest.fixture
def ladder() -> Problem:
    return Hubbard.from_lattice(2, 2, interaction=3.0, layers=3)


@pytest.mark.parametrize("kind", MODELS)
def test_the_model_keeps_the_contract(kind: type[Model]) -> None:
    check_model(kind())


@pytest.mark.parametrize("kind", MODELS)
def test_the_units_of_the_energy_and_the_order_of_the_qubits_change_nothing(kind, ladder, rng) -> None:
    point = point_of(kind(), ladder.ansatz, ladder.operator)
    assert point_of(kind(), ladder.ansatz, 2.5 * ladder.operator) == pytest.approx(point, abs=1e-12)
    order = rng.permutation(8).tolist()
    moved = QuantumCircuit(8)
    moved.compose(ladder.ansatz, order, inplace=True)
    assert point_of(kind(), moved, ladder.operator.apply_layout(order)) == pytest.approx(point, abs=1e-12)


@pytest.mark.parametrize("kind", MODELS)
def test_a_compiled_circuit_gets_the_same_point(kind, ladder) -> None:
    compiled = transpile(ladder.ansatz, basis_gates=["rz", "sx", "x", "cx"], optimization_level=1)
    expected = point_of(kind(), ladder.ansatz, ladder.operator)
    assert point_of(kind(), compiled, ladder.operator) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", MODELS)
def test_angles_in_other_units_make_the_same_state(kind, ladder) -> None:
    halved = {parameter: 0.5 * parameter for parameter in ladder.ansatz.parameters}
    other = ladder.ansatz.assign_parameters(halved, inplace=False)
    expected = point_of(kind(), ladder.ansatz, ladder.operator)
    assert point_of(kind(), other, ladder.operator) == pytest.approx(2 * expected, abs=1e-12)


def test_the_ramp_is_what_its_equation_says() -> None:
    problem = Hubbard.from_lattice(2, interaction=4.0, layers=2)
    point = point_of(AdiabaticRamp(step=0.2, longest=2.0), problem.ansatz, problem.operator)
    assert point == pytest.approx([0.2 * 4 * 0.25, 0.2, 0.2 * 4 * 0.75, 0.2])
    short = point_of(AdiabaticRamp(step=0.2, longest=0.4), problem.ansatz, problem.operator)
    assert short == pytest.approx([0.1 * 4 * 0.25, 0.1, 0.1 * 4 * 0.75, 0.1])


def test_a_slow_and_fine_ramp_gets_to_the_ground_state() -> None:
    shares = [
        closed(AdiabaticRamp(step=0.1), Hubbard.from_lattice(4, interaction=1.5, layers=layers))
        for layers in (6, 12, 24)
    ]
    assert shares == sorted(shares)
    assert shares[-1] > 0.93


@pytest.mark.parametrize(("columns", "rows"), [(6, 1), (3, 2)])
def test_the_smaller_lattice_is_the_optimum_where_it_comes_from(columns: int, rows: int) -> None:
    for interaction in (1.0, 3.3):
        assert closed(SmallerLattice(), Hubbard.from_lattice(columns, rows, interaction=interaction, layers=8)) > 0.98


@pytest.mark.parametrize("kind", [HubbardSchedule, SmallerLattice])
def test_depths_without_a_table_are_interpolated(kind) -> None:
    shares = [closed(kind(), Hubbard.from_lattice(4, interaction=3.0, layers=layers)) for layers in (1, 3, 7, 11, 15)]
    assert min(shares[1:]) > 0.8
    assert shares[0] > 0


def test_training_begins_at_the_distilled_schedule_and_improves_on_it() -> None:
    family = Hubbard(lattices=[[2, 1], [2, 2]], interactions=(1.0, 8.0), layers=[3])
    torch.manual_seed(3)
    model = HubbardSchedule(width=16, layers=1)
    rng = np.random.default_rng(5)
    held_out = [family.sample(rng) for _ in range(12)]
    before = np.mean([closed(model, problem) for problem in held_out])
    schedule = Schedule(instances=24)
    train(model, family, Statevector(), loss="final", steps=60, batch=8, rng=rng, schedule=schedule)
    assert np.mean([closed(model, problem) for problem in held_out]) > before + 0.01


@pytest.mark.parametrize("kind", MODELS)
def test_what_is_no_hubbard_model_is_refused_with_a_reason(kind) -> None:
    qaoa = Task.qaoa(SparsePauliOp(["ZZI", "IZZ"]), reps=2).features
    assert "a QAOA circuit came" in kind().unsupported(qaoa)
    deep = Hubbard.from_lattice(2, interaction=3.0, layers=25)
    assert "at most 24 layers" in kind().unsupported(Task.of(deep).features)
    weak = Hubbard.from_lattice(2, interaction=0.1, layers=2)
    assert "but 0.1 came" in kind().unsupported(Task.of(weak).features)


@pytest.mark.parametrize(("columns", "rows", "target"), [(8, 1, 0.975), (4, 2, 0.88)])
def test_the_shipped_schedule_reaches_larger_lattices(columns: int, rows: int, target: float) -> None:
    meta = MetaInitializer.load("hubbard")
    shares = []
    for interaction in (2.0, 4.5, 7.0):
        problem = Hubbard.from_lattice(columns, rows, interaction=interaction, layers=10)
        point = meta.initial_point(problem.operator, ansatz=problem.ansatz, strict=True)
        energy = Statevector().expectation([Task.of(problem)], torch.tensor(point[None])).item()
        shares.append(1 - problem.levels.excess(energy))
    assert np.mean(shares) > target
