"""Invariants: blind to names, signs of spins and units; what they are on graphs where that is known; large problems."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit import features, invariants
from qiskit_metainit.invariants import INVARIANTS
from qiskit_metainit.problem import Problem
from qiskit_metainit.problems.ising import Ising
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.problems.p_spin import PSpin

FAMILIES = {
    "unit": MaxCut(sizes=[9]),
    "signed": MaxCut(sizes=[9], weights=["normal"]),
    "sparse": MaxCut(sizes=[9], graphs=["sparse"], weights=["exponential"]),
    "fields": Ising(sizes=[8], graphs=["erdos_renyi"], fields="normal"),
    "mixed": PSpin(sizes=[8], pairs_per_spin=[2.0]),
}


def of(operator: SparsePauliOp) -> np.ndarray:
    return features.of_qaoa(operator, 1).invariants.numpy()


def raw(problem: Problem) -> dict[str, float]:
    """The numbers without their logarithm."""
    values = of(problem.operator)
    return dict(zip(INVARIANTS, np.sign(values) * np.expm1(np.abs(values)), strict=True))


@pytest.mark.parametrize("name", FAMILIES)
def test_names_units_and_signs_of_spins_do_not_matter(name: str, rng: np.random.Generator) -> None:
    for _ in range(5):
        operator = FAMILIES[name].sample(rng).operator
        moved = operator.apply_layout(rng.permutation(operator.num_qubits).tolist()) * 3.7
        flipped = np.where((operator.paulis.z @ rng.integers(2, size=operator.num_qubits)) % 2, -1, 1)
        turned = SparsePauliOp(operator.paulis, operator.coeffs * flipped)
        np.testing.assert_allclose(of(moved), of(operator), atol=1e-9)
        np.testing.assert_allclose(of(turned), of(operator), atol=1e-9)


def test_they_tell_problems_apart(rng: np.random.Generator) -> None:
    family = MaxCut(sizes=[8], weights=["normal"])
    drawn = np.stack([of(family.sample(rng).operator) for _ in range(20)])
    varied = drawn.std(axis=0) > 1e-6
    assert [name for name, varies in zip(INVARIANTS, varied, strict=True) if not varies] == []


def test_of_a_complete_graph() -> None:
    found = raw(MaxCut.from_graph(nx.complete_graph(6)))  # d = 5: eigenvalues 5 and five times -1, over sqrt(5)
    root = 5**0.5
    assert found["signed_most"] == pytest.approx(5 / root)
    assert [found["signed_least"], found["signed_last"]] == pytest.approx([-1 / root, -1 / root])
    assert found["absolute_moment_3"] == pytest.approx((5**3 - 5) / 6 / root**3)
    assert found["balanced_most"] == pytest.approx(root)
    assert found["signed_most_spread"] == pytest.approx(1 / 6)
    assert found["walks"] == pytest.approx(4**2 / 5)
    assert found["walks_cubed"] == pytest.approx(4 / root)
    assert found["dominance"] == pytest.approx(1 / 5)
    assert found["even_degrees"] == 0
    assert found["weight_log"] == pytest.approx(0, abs=2e-3)


def test_of_frustration() -> None:
    triangle = [("a", "b"), ("b", "c"), ("c", "a")]
    plus, minus = (Ising.from_couplings(dict.fromkeys(triangle, sign)) for sign in (1.0, -1.0))
    one, other = raw(plus), raw(minus)
    assert one["walks_cubed"] == pytest.approx(-other["walks_cubed"])
    assert one["signed_least"] == pytest.approx(-other["signed_most"])
    assert one["absolute_most"] == pytest.approx(other["absolute_most"])


def test_a_field_is_a_coupling_to_one_spin_more() -> None:
    with_field = Ising.from_couplings({("a", "b"): 1.0}, fields={"a": 2.0, "b": -1.0})
    spelled = Ising.from_couplings({("a", "b"): 1.0, ("a", "x"): 2.0, ("b", "x"): -1.0})
    one, other = raw(with_field), raw(spelled)
    # The spectra are those of the same matrix but for d, the mean over qubits, to which the ancilla does not belong.
    assert one["balanced_moment_3"] == pytest.approx(other["balanced_moment_3"])
    assert one["signed_least"] == pytest.approx(other["signed_least"])
    assert one["strength_kurtosis"] != pytest.approx(other["strength_kurtosis"])


def test_terms_on_more_qubits_only_give_zeros() -> None:
    assert not of(SparsePauliOp(["ZZZI", "IZZZ"], [1.0, 0.5])).any()


@pytest.mark.parametrize("family", [MaxCut(sizes=[120], weights=["normal"]), Ising(sizes=[90], fields="normal")])
def test_estimates_for_large_problems_are_near_the_exact_numbers(
    family: MaxCut | Ising, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = family.sample(rng).operator
    exact = of(operator)
    monkeypatch.setattr(invariants, "_DENSE", 10)
    monkeypatch.setattr(invariants, "_WORK", 200_000)
    estimated = of(operator)
    assert np.any(estimated != exact)
    np.testing.assert_allclose(estimated, exact, atol=0.25)
    assert np.median(np.abs(estimated - exact)) < 0.01
    np.testing.assert_array_equal(of(operator), estimated)


def test_squares_are_counted_on_a_sample_of_large_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = MaxCut.from_graph(nx.gnp_random_graph(300, 0.2, seed=1)).operator
    exact = features.of_qaoa(operator, 1).summary.numpy()
    monkeypatch.setattr(invariants, "_WORK", 300_000)
    np.testing.assert_allclose(features.of_qaoa(operator, 1).summary.numpy(), exact, rtol=0.05)
