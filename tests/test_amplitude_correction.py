from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit.chemistry import Integrals
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.features import stack
from qiskit_metainit.initializer import MetaInitializer
from qiskit_metainit.models._uccsd import uccsd_probes
from qiskit_metainit.models.amplitude_correction import AmplitudeCorrection
from qiskit_metainit.models.ccsd import Ccsd
from qiskit_metainit.models.configuration_interaction import ConfigurationInteraction
from qiskit_metainit.models.mp2 import Mp2
from qiskit_metainit.models.one_cc_iteration import OneCcIteration
from qiskit_metainit.problem import Problem
from qiskit_metainit.problems._electrons import ansatz, qubit_operator
from qiskit_metainit.problems.molecule import Molecule
from qiskit_metainit.task import Task
from qiskit_metainit.training import Schedule


def made_up(count: int, pairs: int, rng: np.random.Generator) -> Integrals:
    """Return repulsion of strength like a molecule's, of no symmetry."""
    factors = rng.normal(scale=0.15, size=(4, count, count)) + 0.5 * np.eye(count)
    factors = factors + factors.transpose(0, 2, 1)
    one = np.diag(-3.0 * pairs + 1.5 * np.arange(count))
    return Integrals(one, np.einsum("kpq,krs->pqrs", factors, factors) / 4.0, pairs, 0.0)


def task_of(known: Integrals, mapping: str = "jordan_wigner", **hints: Any) -> Task:
    operator = qubit_operator(known, mapping)
    return Task.from_circuit(ansatz(len(known.one), known.pairs, mapping), operator, hints=hints)


def trained(rng: np.random.Generator) -> AmplitudeCorrection:
    """Return a model whose weights were drawn, so that its correction is none that vanishes."""
    torch.manual_seed(int(rng.integers(1 << 30)))
    model = AmplitudeCorrection(width=8)
    model.prepare(lambda _: stack([task_of(made_up(3, 1, rng)).features for _ in range(4)]))
    with torch.no_grad():
        for weight in model.answer[-1].parameters():
            weight.normal_()
        model.reach.mul_(100.0)  # far from nothing
    return model.eval()


def angles(model: AmplitudeCorrection, task: Task) -> np.ndarray:
    with torch.no_grad():
        return model.begin(stack([task.features]))[0][0].numpy()


def test_an_untrained_correction_is_ccsd(rng: np.random.Generator) -> None:
    task = task_of(made_up(4, 2, rng))
    expected = Ccsd().begin(stack([task.features]))[0][0].numpy()
    np.testing.assert_array_equal(angles(AmplitudeCorrection().eval(), task), expected)


@pytest.mark.parametrize("mapping", ["jordan_wigner", "parity"])
def test_signs_of_orbitals_turn_the_angles_and_leave_the_energy(mapping: str, rng: np.random.Generator) -> None:
    model, known = trained(rng), made_up(4, 2, rng)
    signs = np.array([1.0, -1.0, -1.0, 1.0])
    turned = Integrals(
        known.one * np.outer(signs, signs),
        known.two * np.einsum("p,q,r,s->pqrs", signs, signs, signs, signs),
        known.pairs,
        known.shift,
    )
    tasks = [task_of(known, mapping), task_of(turned, mapping)]
    points = [angles(model, task) for task in tasks]
    np.testing.assert_allclose(np.abs(points[0]), np.abs(points[1]), atol=1e-5)
    assert np.abs(points[0] - points[1]).max() > 1e-3
    with torch.no_grad():
        energies = Statevector().expectation(tasks, torch.as_tensor(np.stack(points)))
    assert energies[0].item() == pytest.approx(energies[1].item(), abs=1e-6)


def test_mapping_and_units_leave_the_angles(rng: np.random.Generator) -> None:
    model, known = trained(rng), made_up(4, 2, rng)
    expected = angles(model, task_of(known))
    assert np.abs(expected - angles(AmplitudeCorrection().eval(), task_of(known))).max() > 1e-4  # above rounding
    for mapping in ("parity", "bravyi_kitaev"):
        np.testing.assert_allclose(angles(model, task_of(known, mapping)), expected, atol=1e-6)
    scaled = Task.from_circuit(ansatz(4, 2, "jordan_wigner"), 27.2 * qubit_operator(known, "jordan_wigner"))
    np.testing.assert_allclose(angles(model, scaled), expected, atol=1e-6)


def test_a_hint_takes_the_place_of_solving(rng: np.random.Generator) -> None:
    known = made_up(3, 1, rng)
    given = rng.normal(scale=0.1, size=8)
    np.testing.assert_allclose(angles(AmplitudeCorrection().eval(), task_of(known, ccsd=list(given))), given)


def test_the_correction_vanishes_with_the_correlation(rng: np.random.Generator) -> None:
    model, known = trained(rng), made_up(3, 1, rng)
    plain = AmplitudeCorrection().eval()
    shifts = []
    for strength in (1.0, 0.1):
        weak = Integrals(known.one, strength * known.two, known.pairs, 0.0)
        classical = angles(plain, task_of(weak))
        shifts.append(np.abs(angles(model, task_of(weak)) - classical).max() / np.abs(classical).max())
    assert shifts[1] < 0.05 * shifts[0]


def test_the_correction_vanishes_far_from_the_training(rng: np.random.Generator) -> None:
    model, task = trained(rng), task_of(made_up(4, 2, rng))
    expected = angles(AmplitudeCorrection().eval(), task)
    assert np.abs(angles(model, task) - expected).max() > 1e-4
    near = np.abs(angles(model, task) - expected).max()
    model.middle.add_(1e6 * model.reach)
    assert np.abs(angles(model, task) - expected).max() < 1e-3 * near


def test_without_convergence_configuration_interaction_stands_in() -> None:
    # Two determinants of equal energy, strongly coupled through two electrons each: amplitudes beyond all bounds.
    one, two = np.zeros((2, 2)), np.zeros((2, 2, 2, 2))
    two[0, 1, 0, 1] = two[1, 0, 1, 0] = two[0, 1, 1, 0] = two[1, 0, 0, 1] = 1.0
    two[0, 0, 0, 0] = 8.0
    task = task_of(Integrals(one, two, 1, 0.0))
    with torch.no_grad():
        point = Ccsd().begin(stack([task.features]))[0]
        energy = Statevector().expectation([task], point).item()
    assert energy < 0.1  # the reference has 8


def test_training_lowers_the_energy_above_the_best(rng: np.random.Generator) -> None:
    pytest.importorskip("pyscf")
    family = Molecule(molecules=["H3+", "H4"], stretch=(1.0, 1.8))
    meta = MetaInitializer(AmplitudeCorrection(width=16), Statevector())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        meta.train(family, loss="root", steps=80, batch=6, rng=1, schedule=Schedule(learning_rate=5e-3, instances=10))
    unseen = np.random.default_rng(99)
    problems = [family.sample(unseen) for _ in range(6)]
    learned, classical = (np.array([_excess(model, each) for each in problems]) for model in (meta.model, Ccsd()))
    assert learned.mean() < 0.6 * classical.mean()


def _excess(model: Any, problem: Problem) -> float:
    task = Task.of(problem)
    with torch.no_grad():
        value = Statevector().expectation([task], model.begin(stack([task.features]))[0])
    assert problem.levels is not None
    return problem.levels.excess(value.item())


@pytest.mark.parametrize("model", [AmplitudeCorrection(), Ccsd(), Mp2(), OneCcIteration(), ConfigurationInteraction()])
def test_other_circuits_are_refused_with_a_reason(model: Any) -> None:
    reason = model.unsupported(Task.qaoa(SparsePauliOp("ZZ"), reps=1).features)
    assert "needs a UCCSD circuit" in reason


def test_mp2_says_where_orbital_energies_are_not_told(rng: np.random.Generator) -> None:
    task = task_of(made_up(3, 1, rng), "parity")
    assert "took qubits away" in str(Mp2().unsupported(task.features))
    assert OneCcIteration().unsupported(task.features) is None


@pytest.mark.parametrize("model", [Mp2(), OneCcIteration(), ConfigurationInteraction(), Ccsd()])
def test_each_formula_improves_on_hartree_fock(model: Any) -> None:
    for operator, circuit in uccsd_probes():
        task = Task.from_circuit(circuit, operator)
        point = model.begin(stack([task.features]))[0]
        with torch.no_grad():
            start, found = Statevector().expectation([task, task], torch.cat([torch.zeros_like(point), point]))
        assert found < start
