from __future__ import annotations

import math

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit.library import StatePreparation, efficient_su2
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp, Statevector, state_fidelity

from qiskit_metainit.descent import descend
from qiskit_metainit.engines.statevector import Statevector as Engine
from qiskit_metainit.problem import Problem
from qiskit_metainit.problems.distribution import (
    Distribution,
    bhattacharyya,
    divergence,
    probabilities,
    target_probabilities,
    total_variation,
)
from qiskit_metainit.task import Task

EXAMPLE = [0.1, 0.05, 0.2, 0.15, 0.0, 0.3, 0.1, 0.1]


def circuit_of(problem: Problem) -> QuantumCircuit:
    assert problem.ansatz is not None
    return problem.ansatz


def test_the_energy_is_the_infidelity_of_the_state(rng: np.random.Generator) -> None:
    problem = Distribution.from_probabilities(EXAMPLE, layers=2)
    circuit = circuit_of(problem)
    point = rng.uniform(-2, 2, circuit.num_parameters)
    energy = StatevectorEstimator().run([(circuit, problem.operator, point)]).result()[0].data.evs
    loaded = Statevector(circuit.assign_parameters(point))
    assert energy == pytest.approx(1 - state_fidelity(loaded, Statevector(np.sqrt(EXAMPLE))), abs=1e-12)


def test_the_energy_is_how_seldom_zeros_come_out_when_the_target_is_undone(rng: np.random.Generator) -> None:
    problem = Distribution(sizes=[4]).sample(rng)
    circuit = circuit_of(problem)
    point = rng.uniform(-2, 2, circuit.num_parameters)
    energy = StatevectorEstimator().run([(circuit, problem.operator, point)]).result()[0].data.evs
    undone = circuit.assign_parameters(point)
    target = np.sqrt(target_probabilities(problem.operator))
    undone.append(StatePreparation(target / np.linalg.norm(target)).inverse(), undone.qubits)
    assert energy == pytest.approx(1 - Statevector(undone).probabilities()[0], abs=1e-9)


def test_the_target_is_the_ground_state_at_energy_zero() -> None:
    problem = Distribution.from_probabilities(EXAMPLE)
    assert problem.levels is not None
    values, vectors = np.linalg.eigh(problem.operator.to_matrix())
    np.testing.assert_allclose(values, [0.0, *[1.0] * 7], atol=1e-12)
    np.testing.assert_allclose(np.abs(vectors[:, 0]) ** 2, EXAMPLE, atol=1e-12)
    assert (problem.levels.lowest, problem.levels.excess(0.25)) == (0.0, 0.25)


@pytest.mark.parametrize("kind", ["gaussian", "lognormal"])
def test_the_densities_have_the_moments_they_are_drawn_with(kind: str, rng: np.random.Generator) -> None:
    family = Distribution(sizes=[7], kinds=[kind])
    x = (np.arange(128) + 0.5) / 128
    places, widths = [], []
    for _ in range(40):
        density = target_probabilities(family.sample(rng).operator)
        assert density.sum() == pytest.approx(1.0)
        shown = x if kind == "gaussian" else np.log(x)
        mean = density @ shown
        places.append(mean if kind == "gaussian" else np.exp(mean))
        widths.append(math.sqrt(density @ (shown - mean) ** 2))
    low, high = ((0.2, 0.8), (0.05, 0.2)) if kind == "gaussian" else ((0.1, 0.5), (0.2, 0.6))
    # What the ends of [0, 1] cut off moves both a little.
    assert low[0] - 0.01 < min(places) < max(places) < low[1] + 0.06
    assert high[0] - 0.01 < min(widths) < max(widths) < high[1] + 0.01
    assert np.ptp(places) > 0.2
    assert np.ptp(widths) > 0.07


def test_the_probabilities_survive_units_and_identities() -> None:
    operator = Distribution.from_probabilities(EXAMPLE).operator
    shifted = 3.5 * operator + SparsePauliOp("III", -7.0)
    np.testing.assert_allclose(target_probabilities(shifted), EXAMPLE, atol=1e-12)


def test_the_distances_and_their_order(rng: np.random.Generator) -> None:
    p, q = rng.dirichlet(np.ones(16)), rng.dirichlet(np.ones(16))
    assert total_variation(p, q) == pytest.approx(max(abs((p - q)[list(s)].sum()) for s in _events(p - q)))
    assert divergence(q, p) == pytest.approx(sum(b * math.log(b / a) for a, b in zip(p, q, strict=True)))
    assert bhattacharyya(p, q) == pytest.approx(sum(math.sqrt(a * b) for a, b in zip(p, q, strict=True)))
    assert total_variation(p, q) <= math.sqrt(1 - bhattacharyya(p, q) ** 2)
    assert total_variation(p, q) <= math.sqrt(divergence(q, p) / 2)  # Pinsker
    assert (total_variation(p, p), divergence(p, p), bhattacharyya(p, p)) == (0.0, 0.0, pytest.approx(1.0))
    assert divergence([1.0, 0.0], [0.0, 1.0]) == math.inf


def _events(difference: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(np.flatnonzero(difference > 0)), tuple(np.flatnonzero(difference < 0))]


def test_the_ansatz_loads_smooth_targets_to_the_target_of_the_family(rng: np.random.Generator) -> None:
    problem = Distribution(sizes=[4], layers=4).sample(rng)
    task, circuit = Task.of(problem), circuit_of(problem)
    found = [descend(Engine(), task, rng.normal(0, 0.4, circuit.num_parameters)) for _ in range(3)]
    energy, point = min(found, key=lambda each: each[0])
    assert problem.levels is not None
    assert problem.levels.excess(energy) < problem.levels.target
    variation = total_variation(target_probabilities(problem.operator), probabilities(circuit, point))
    assert variation <= math.sqrt(max(energy, 0.0)) + 1e-9
    assert variation < 0.032


def test_another_circuit_and_a_bound_for_the_size() -> None:
    circuit = efficient_su2(3, reps=1)
    assert Distribution.from_probabilities(EXAMPLE, ansatz=circuit).ansatz is circuit
    with pytest.raises(ValueError, match="sizes must be at most 8 qubits, but 9 came"):
        Distribution(sizes=[9])


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([0.5, 0.5], r"Probabilities of 4, 8, \.\. 256 outcomes are needed.*shape \(2,\)"),
        ([0.3, 0.3, 0.4], r"shape \(3,\)"),
        (np.full(512, 1 / 512), r"shape \(512,\)"),
        ([[0.5, 0.5], [0.0, 0.0]], r"shape \(2, 2\)"),
        ([0.5, 0.5, 0.5, -0.5], "go from -0.5 to 0.5"),
        ([0.5, 0.5, 0.5, 0.5], "sum to 2"),
        ([np.nan, 0.5, 0.25, 0.25], "sum to nan"),
    ],
)
def test_what_are_no_probabilities_is_refused(values: list[float], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Distribution.from_probabilities(values)


@pytest.mark.parametrize("settings", [{"sizes": []}, {"sizes": [1]}, {"kinds": ["uniform"]}, {"layers": 0}])
def test_settings_are_checked(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"sizes|kinds|layers"):
        Distribution(**settings)  # type: ignore[arg-type]
