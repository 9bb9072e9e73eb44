"""VQE through the front door: what is covered starts well in every way in, what is not says so and starts anyway."""

import warnings
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit, generate_preset_pass_manager
from qiskit.circuit.library import efficient_su2
from qiskit.primitives import StatevectorEstimator
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import SparsePauliOp
from qiskit_algorithms import VQE
from qiskit_algorithms.optimizers import COBYLA
from qiskit_nature.second_q.drivers import PySCFDriver
from qiskit_nature.second_q.mappers import JordanWignerMapper, ParityMapper
from qiskit_nature.second_q.problems import ElectronicStructureProblem

from qiskit_metainit import CoverageError, CoverageWarning, Heisenberg, Hubbard, MetaInitializer, Molecule
from qiskit_metainit.circuits.spin_chain import bell_pair_ansatz
from qiskit_metainit.circuits.uccsd import uccsd_ansatz
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.models.ccsd import Ccsd
from qiskit_metainit.nature import LearnedInitialPoint
from qiskit_metainit.problem import Problem
from qiskit_metainit.rating import energies
from qiskit_metainit.task import Task

CHAIN = Heisenberg.from_couplings(4, (1.0, -2.0, 0.5))
LATTICE = Hubbard.from_lattice(4, interaction=4.0, layers=6)


@pytest.fixture(scope="module")
def hydrogen() -> ElectronicStructureProblem:
    return PySCFDriver(atom="H 0 0 0; H 0 0 0.9; H 0 0 1.8; H 0 0 2.7").run()


@pytest.fixture(scope="module")
def molecule(hydrogen: ElectronicStructureProblem) -> Problem:
    return Molecule.from_problem(hydrogen, reference="ansatz")


def energy(problem: Problem, point: np.ndarray) -> float:
    return float(energies(Statevector(), [Task.of(problem)], point[None])[0])


@pytest.mark.parametrize(("name", "problem"), [("heisenberg", CHAIN), ("hubbard", LATTICE)])
def test_operator_and_ansatz_are_enough(name: str, problem: Problem) -> None:
    [proposal] = MetaInitializer.load(name).propose([problem.operator], ansatz=problem.ansatz)
    assert proposal.covered
    assert proposal.fallback is None
    assert proposal.queries == 0
    assert problem.levels.excess(energy(problem, proposal.point)) < 0.1


def test_a_molecule_starts_below_ccsd_from_operator_and_ansatz_alone(molecule: Problem) -> None:
    point = MetaInitializer.load("uccsd").initial_point(molecule.operator, ansatz=molecule.ansatz)
    classical = MetaInitializer(Ccsd()).initial_point(molecule.operator, ansatz=molecule.ansatz)
    learned, ccsd = (molecule.levels.excess(energy(molecule, each)) for each in (point, classical))
    assert learned < 0.7 * ccsd
    assert learned < 5e-4  # Hartree


def test_a_problem_of_qiskit_nature_adds_its_amplitudes(
    hydrogen: ElectronicStructureProblem, molecule: Problem
) -> None:
    meta = MetaInitializer(Ccsd())
    alone = meta.initial_point(molecule.operator, ansatz=molecule.ansatz)
    given = meta.initial_point(molecule.operator, ansatz=molecule.ansatz, problem=hydrogen)
    np.testing.assert_allclose(given, molecule.hints["ccsd"], atol=1e-6)
    np.testing.assert_allclose(alone, given, atol=1e-4)
    assert not np.array_equal(alone, given)


def test_a_vqe_starts_itself_there() -> None:
    pair = Molecule.from_geometry("H 0 0 0; H 0 0 1.5")
    solver = VQE(StatevectorEstimator(), pair.ansatz.decompose(reps=2), COBYLA(maxiter=8))
    meta = MetaInitializer.load("uccsd")
    result = meta.wrap(solver).compute_minimum_eigenvalue(pair.operator)
    expected = meta.initial_point(pair.operator, ansatz=pair.ansatz)
    np.testing.assert_allclose(result.proposal.point, expected, atol=1e-9)
    assert result.eigenvalue.real <= energy(pair, expected) + 1e-9


def test_a_vqe_on_a_device_is_told_by_its_problem_what_the_parameters_are() -> None:
    device = GenericBackendV2(6, seed=1)
    compiled = generate_preset_pass_manager(3, device, seed_transpiler=0).run(CHAIN.ansatz)
    solver = VQE(StatevectorEstimator(), compiled, COBYLA(maxiter=24))
    meta = MetaInitializer.load("heisenberg")
    proposal = meta.wrap(solver, problem=CHAIN).compute_minimum_eigenvalue(CHAIN.operator).proposal
    np.testing.assert_array_equal(proposal.point, meta.initial_point(CHAIN.operator, ansatz=CHAIN.ansatz))
    other = Heisenberg.from_couplings(4, (1.0, -2.0, 0.5), layers=1)
    with pytest.raises(ValueError, match="they have 8 and 20 parameters"):
        meta.wrap(solver, problem=other).compute_minimum_eigenvalue(CHAIN.operator)


@pytest.mark.parametrize("mapper", [JordanWignerMapper(), ParityMapper(num_particles=(2, 2))])
def test_qiskit_natures_initial_point(hydrogen: ElectronicStructureProblem, mapper: Any) -> None:
    ansatz = uccsd_ansatz(4, (2, 2), mapper)
    point = LearnedInitialPoint(MetaInitializer.load("uccsd"), mapper=mapper)
    point.compute(ansatz, hydrogen)
    operator = mapper.map(hydrogen.second_q_ops()[0])
    expected = MetaInitializer.load("uccsd").initial_point(operator, ansatz=ansatz, problem=hydrogen)
    np.testing.assert_array_equal(point.to_numpy_array(), expected)
    assert (point.ansatz, point.problem) == (ansatz, hydrogen)


def test_qiskit_natures_initial_point_says_what_is_missing(hydrogen: ElectronicStructureProblem) -> None:
    point = LearnedInitialPoint(MetaInitializer(Ccsd()))
    with pytest.raises(ValueError, match="there is no ansatz"):
        point.compute(problem=hydrogen)
    with pytest.raises(ValueError, match="A mapper to qubits is needed"):
        point.compute(ansatz=uccsd_ansatz(4, (2, 2), JordanWignerMapper()))


@pytest.mark.parametrize("name", ["heisenberg", "hubbard", "uccsd"])
def test_a_circuit_whose_parameters_nobody_knows_is_refused_with_every_reason(name: str) -> None:
    operator = SparsePauliOp(["XXI", "IYY", "ZIZ"])
    with pytest.raises(CoverageError, match=rf"'{name}' does not cover this task: .* and no formula stands in"):
        MetaInitializer.load(name).initial_point(operator, ansatz=efficient_su2(3))


@pytest.mark.parametrize("name", ["heisenberg", "hubbard", "uccsd"])
def test_qaoa_falls_back_to_its_formula(name: str) -> None:
    with pytest.warns(CoverageWarning, match="trained for other circuits, but QAOA came.*sk_infinity"):
        assert MetaInitializer.load(name).initial_point(SparsePauliOp("ZZ"), reps=2).shape == (4,)


def test_the_best_formula_for_the_circuit_stands_in(molecule: Problem) -> None:
    meta = MetaInitializer.load("heisenberg")
    with pytest.warns(CoverageWarning, match="formula ccsd instead"):
        [proposal] = meta.propose([molecule.operator], ansatz=molecule.ansatz)
    assert not proposal.covered
    assert proposal.model == "ccsd"
    with pytest.raises(CoverageError, match="Leave strict out"):
        meta.initial_point(molecule.operator, ansatz=molecule.ansatz, strict=True)


def test_larger_than_trained_on_is_told() -> None:
    meta = MetaInitializer.load("heisenberg")
    small, large = (Heisenberg.from_couplings(size, (1.0, 1.0, -1.0), exact=False) for size in (8, 14))
    told = [meta.propose([each.operator], ansatz=each.ansatz)[0].extrapolated for each in (small, large)]
    assert told == [False, True]


def bad_chain() -> QuantumCircuit:
    return bell_pair_ansatz(5, 2)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (bad_chain, "An even number of sites is needed"),
        (lambda: Heisenberg(sizes=[4, 7]), "An even number of sites is needed"),
        (lambda: Hubbard.from_lattice(3, 1, interaction=2.0, layers=1), "needs an even number of sites"),
        (lambda: Molecule.from_geometry("H 0 0 0; H 0 0 1; H 0 0 2"), "An even number of electrons is needed"),
        (
            lambda: MetaInitializer.load("heisenberg").initial_point(
                CHAIN.operator + 1j * SparsePauliOp("XIII"), ansatz=CHAIN.ansatz
            ),
            "must be Hermitian",
        ),
    ],
)
def test_bad_input_is_refused_with_what_was_needed(make: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make()


def test_the_message_names_the_extra_where_pyscf_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyscf", None)
    with pytest.raises(ImportError, match=r"pip install 'qiskit-metainit\[chemistry\]'"):
        Molecule.from_geometry("H 0 0 0; H 0 0 0.74")


def test_nothing_warns_on_the_way(molecule: Problem) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MetaInitializer.load("uccsd").initial_point(molecule.operator, ansatz=molecule.ansatz, strict=True)
