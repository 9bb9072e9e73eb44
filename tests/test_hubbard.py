"""The Hubbard family and its ansatz against dense linear algebra and Qiskit's own state vector."""

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit_nature.second_q.hamiltonians import FermiHubbardModel
from qiskit_nature.second_q.hamiltonians.lattices import BoundaryCondition, LineLattice, SquareLattice
from qiskit_nature.second_q.mappers import JordanWignerMapper
from qiskit_nature.second_q.operators import FermionicOp

from qiskit_metainit.circuits.hubbard import OpenLattice, givens, hubbard_ansatz
from qiskit_metainit.engines.statevector import Statevector as Engine
from qiskit_metainit.problems.hubbard import Hubbard
from qiskit_metainit.simulation.compiler import Plan
from qiskit_metainit.task import Task

SHAPES = [(2, 1), (4, 1), (2, 2), (3, 2)]


def prepared(circuit: QuantumCircuit, point: object) -> Statevector:
    """Return the state of elementary gates: Qiskit takes matrix exponentials of evolution gates, which are slow."""
    return Statevector(circuit.assign_parameters(point).decompose())


def counted(size: int, spin: int) -> SparsePauliOp:
    number = FermionicOp({f"+_{2 * i + spin} -_{2 * i + spin}": 1.0 for i in range(size)}, num_spin_orbitals=2 * size)
    return JordanWignerMapper().map(number)


@pytest.mark.parametrize(("columns", "rows"), SHAPES)
def test_the_operator_is_what_qiskit_nature_makes_of_its_own_lattice(columns: int, rows: int) -> None:
    lattice = (
        LineLattice(columns) if rows == 1 else SquareLattice(columns, rows, boundary_condition=BoundaryCondition.OPEN)
    )
    model = FermiHubbardModel(lattice.uniform_parameters(-0.8, 0.0), onsite_interaction=2.4)
    expected = JordanWignerMapper().map(model.second_q_op())
    problem = Hubbard.from_lattice(columns, rows, interaction=2.4, hopping=0.8, layers=1)
    difference = (problem.operator - expected).simplify(atol=1e-12)
    assert np.abs(difference.coeffs).max() < 1e-12


@pytest.mark.parametrize(("columns", "rows"), SHAPES)
def test_the_start_is_the_slater_determinant_of_the_lowest_orbitals(columns: int, rows: int) -> None:
    problem = Hubbard.from_lattice(columns, rows, interaction=3.0, layers=1)
    size, filled = columns * rows, columns * rows // 2
    state = prepared(problem.ansatz, np.zeros(problem.ansatz.num_parameters))
    for spin in (0, 1):
        assert state.expectation_value(counted(size, spin)).real == pytest.approx(filled, abs=1e-9)
    hops = Hubbard.from_lattice(columns, rows, interaction=1e-9, layers=1).operator
    levels = np.linalg.eigvalsh(OpenLattice(columns, rows).hopping())
    assert state.expectation_value(hops).real == pytest.approx(2 * levels[:filled].sum(), abs=1e-7)
    free = problem.levels.lowest + problem.levels.unit
    assert state.expectation_value(problem.operator).real == pytest.approx(free, abs=1e-9)


def test_the_reference_is_the_lowest_energy_of_half_filling() -> None:
    problem = Hubbard.from_lattice(4, interaction=5.0, layers=1, strengths=(0.7, 1.2, 0.9))
    extra = [counted(4, spin).to_matrix() - 2.0 * np.eye(256) for spin in (0, 1)]
    dense = problem.operator.to_matrix() + 50.0 * sum(one @ one for one in extra)
    assert problem.levels.lowest == pytest.approx(np.linalg.eigvalsh(dense)[0], abs=1e-8)


@pytest.mark.parametrize(("columns", "rows"), [(4, 1), (2, 2), (3, 2)])
def test_the_engine_finds_the_particle_sector_and_agrees_with_qiskit(
    columns: int, rows: int, rng: np.random.Generator
) -> None:
    strengths = rng.uniform(0.5, 1.5, size=sum(map(len, OpenLattice(columns, rows).groups)))
    problem = Hubbard.from_lattice(columns, rows, interaction=4.0, layers=2, strengths=strengths)
    task = Task.of(problem)
    program = Plan.of(task.circuit, task.hamiltonian).program()
    half = {4: 6, 6: 20}[columns * rows]
    assert program.initial.size == half**2
    point = rng.normal(size=(1, task.num_parameters))
    check_value_and_gradient(task, point)


def check_value_and_gradient(task: Task, point: np.ndarray) -> None:
    row = torch.tensor(point, requires_grad=True)
    value = Engine().expectation([task], row)
    (gradient,) = torch.autograd.grad(value.sum(), row)

    def energy(where: np.ndarray) -> float:
        return float(prepared(task.circuit, where).expectation_value(task.hamiltonian).real)

    assert value.item() == pytest.approx(energy(point[0]), abs=1e-9)
    step = np.zeros_like(point[0])
    step[[0, -1]] = 1e-4, -2e-4
    slope = (energy(point[0] + step) - energy(point[0] - step)) / 2
    assert float(gradient.numpy()[0] @ step) == pytest.approx(slope, abs=1e-7)


def test_second_derivatives_in_a_sector_are_those_of_the_gradient(rng: np.random.Generator) -> None:
    problem = Hubbard.from_lattice(2, 2, interaction=4.0, layers=2)
    task, engine = Task.of(problem), Engine()
    point = torch.tensor(rng.normal(size=(1, task.num_parameters)), requires_grad=True)

    def slope(where: torch.Tensor, keep: bool) -> torch.Tensor:
        (found,) = torch.autograd.grad(engine.expectation([task], where).sum(), where, create_graph=keep)
        return found

    direction = torch.tensor(rng.normal(size=point.shape))
    (curved,) = torch.autograd.grad((slope(point, True) * direction).sum(), point)
    ahead, behind = ((point.detach() + s * direction).requires_grad_() for s in (1e-5, -1e-5))
    expected = (slope(ahead, False) - slope(behind, False)) / 2e-5
    assert torch.allclose(curved, expected, atol=1e-6)


def test_sixteen_and_twenty_qubits_are_compiled_to_their_sectors() -> None:
    for columns, amplitudes in ((4, 4900), (5, 63504)):
        lattice = OpenLattice(columns, 2)
        ansatz = hubbard_ansatz(lattice, layers=1)
        program = Plan.of(ansatz, SparsePauliOp("I" * (2 * lattice.sites - 2) + "ZZ")).program()
        assert program.initial.size == amplitudes
        assert np.linalg.norm(program.initial) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", ["random", "5x2", "3x2", "localised"])
def test_givens_rotations_take_the_first_sites_to_the_orbitals(kind: str, rng: np.random.Generator) -> None:
    orbitals = {
        "random": np.linalg.qr(rng.normal(size=(7, 7)))[0][:3],
        "5x2": OpenLattice(5, 2).orbitals(5),  # many zeros on the way, or nearly
        "3x2": OpenLattice(3, 2).orbitals(3),
        "localised": np.eye(6)[[1, 4, 5]],
    }[kind]
    count, size = orbitals.shape
    made = np.eye(size)[:count]
    for site, angle in givens(orbitals):
        c, s = np.cos(angle), np.sin(angle)
        made[:, [site, site + 1]] = made[:, [site, site + 1]] @ np.array([[c, s], [-s, c]])
    assert np.allclose(made.T @ made, orbitals.T @ orbitals)  # the same space, so the same determinant


def test_a_degenerate_shell_is_filled_along_the_rows() -> None:
    for columns in (2, 5):
        lattice = OpenLattice(columns, 2)
        orbitals = lattice.orbitals(columns)
        energies = np.sort(np.linalg.eigvalsh(lattice.hopping()))
        assert energies[columns] - energies[columns - 1] < 1e-9  # open, as it were
        stretched = lattice.hopping() + 1e-6 * (lattice.hopping() - lattice.hopping(vertical_only=True))
        expected = np.linalg.eigh(stretched)[1][:, :columns]
        assert np.allclose(orbitals.T @ orbitals, expected @ expected.T, atol=1e-5)


def test_other_closed_shells_are_problems_too() -> None:
    problem = Hubbard.from_lattice(3, interaction=2.0, layers=1, particles=1)
    state = prepared(problem.ansatz, [0.0, 0.0, 0.0])
    assert state.expectation_value(counted(3, 0)).real == pytest.approx(1.0)
    assert problem.levels.lowest < state.expectation_value(problem.operator).real


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Hubbard.from_lattice(3, interaction=2.0, layers=1), "even number of sites, but 3 x 1"),
        (lambda: Hubbard(lattices=[[3, 1]]), "even number of sites, but 3 x 1"),
        (lambda: hubbard_ansatz(OpenLattice(3, 2, (1.0,) * 4 + (1e-12,) * 3), layers=1), "closed shell"),
        (lambda: Hubbard.from_lattice(1, 2, interaction=2.0, layers=1), "Exchange the two"),
        (lambda: Hubbard.from_lattice(4, interaction=-2.0, layers=1), "positive, finite interaction"),
        (lambda: Hubbard.from_lattice(4, interaction=2.0, layers=1, hopping=0.0), "positive, finite hopping"),
        (lambda: Hubbard.from_lattice(4, interaction=2.0, layers=0), "At least one layer"),
        (lambda: Hubbard.from_lattice(4, interaction=2.0, layers=1, strengths=(1.0,)), "each of 3 bonds"),
        (lambda: Hubbard.from_lattice(4, interaction=2.0, layers=1, particles=4), "Between 1 and 3 fermions"),
        (lambda: Hubbard(lattices=[[4]]), "columns, rows"),
        (lambda: Hubbard(interactions=(4.0, 1.0)), "smallest and the largest"),
        (lambda: Hubbard(disorder=1.0), "disorder must be between"),
    ],
)
def test_bad_models_are_refused_with_a_reason(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_family_draws_what_it_is_told_to(rng: np.random.Generator) -> None:
    family = Hubbard(lattices=[[2, 1], [2, 2]], interactions=(2.0, 3.0), layers=[1, 3], disorder=0.3, clean=0.5)
    drawn = [family.sample(rng) for _ in range(40)]
    assert {problem.num_qubits for problem in drawn} == {4, 8}
    assert all(2.0 <= problem.hints["interaction"] <= 3.0 for problem in drawn)
    hops = [np.abs(problem.operator.coeffs[problem.operator.paulis.x.any(axis=1)]) * 2 for problem in drawn]
    assert all(values.min() >= 0.7 and values.max() <= 1.3 for values in hops)
    clean = sum(np.allclose(values, 1.0) for values in hops)
    assert 8 <= clean <= 32
    assert len({problem.ansatz.num_parameters for problem in drawn}) == 4
    assert all(problem.levels.unit > 0 for problem in drawn)
    assert Hubbard(**family.settings).settings == family.settings
