"""p-spin models: energies of products of spins, and the random family."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qiskit_metainit.problem import Family, diagonal_values
from qiskit_metainit.problems.ising import Ising
from qiskit_metainit.problems.p_spin import PSpin

LABELS = ["d", "a", ("x", 1), 7, "lonely"]


def energy(terms: dict[tuple[Any, ...], float], bits: dict[Any, int]) -> float:
    """The definition, spin by spin."""
    return sum(value * math.prod(1 - 2 * bits[spin] for spin in spins) for spins, value in terms.items())


@given(
    st.dictionaries(
        st.lists(st.sampled_from(LABELS), max_size=5, unique=True).map(tuple), st.floats(-5, 5), max_size=12
    )
)
@settings(deadline=None)
def test_every_bitstring_has_the_energy_of_its_spins(terms: dict[tuple[Any, ...], float]) -> None:
    terms = {**terms, ("lonely",): 100.0}  # nothing cancels it
    problem = PSpin.from_terms(terms)
    assert (problem.family, problem.maximise) == ("p_spin", False)
    assert set(problem.nodes) == {spin for spins in terms for spin in spins}
    seen = []
    for bits in itertools.product("01", repeat=problem.num_qubits):
        bitstring = "".join(bits)
        seen.append(energy(terms, problem.decode(bitstring)))
        assert problem.value(bitstring) == pytest.approx(seen[-1], abs=1e-9)
    assert diagonal_values(problem.operator) == pytest.approx(np.array(seen), abs=1e-9)


def test_products_of_the_same_spins_add_up_and_spins_are_ordered_by_first_appearance() -> None:
    problem = PSpin.from_terms({("b", "a", "c"): 1.0, ("c", "b", "a"): 2, ("z",): 0.5, ("a", "b", "c"): 0.25, (): 4.0})
    assert problem.nodes == ("b", "a", "c", "z")
    assert dict(problem.operator.to_list()) == {"IZZZ": 3.25, "ZIII": 0.5, "IIII": 4.0}


def test_pairs_and_fields_are_an_ising_model() -> None:
    couplings, fields = {("a", "b"): 1.5, ("b", "c"): -2.0}, {"c": 0.5}
    mine = PSpin.from_terms({**couplings, **{(spin,): value for spin, value in fields.items()}})
    other = Ising.from_couplings(couplings, fields=fields)
    assert mine.nodes == other.nodes
    assert mine.operator.to_list() == other.operator.to_list()


@pytest.mark.parametrize(
    ("terms", "kind", "told"),
    [
        ({}, ValueError, "other than zero"),
        ({(): 3.0, (0, 1, 2): 0.0}, ValueError, "3 spins came without"),
        ({(0, 1, 2): 1.0, (2, 1, 0): -1.0}, ValueError, "other than zero"),
        ({(0, 1, 0): 1.0}, ValueError, r"different spins.*\(0, 1, 0\)"),
        ({(0, 1, 2): math.nan}, ValueError, r"coefficient of \(0, 1, 2\) must be finite"),
        ({(0, 1, 2): 1j}, TypeError, "real number"),
        ({"abc": 1.0}, TypeError, r"key 'abc' came.*as \(i,\)"),
        ({3: 1.0}, TypeError, "key 3 came"),
        ([((0, 1), 1.0)], TypeError, "a list came. Make a dict"),
    ],
)
def test_bad_terms_are_refused(terms: Any, kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        PSpin.from_terms(terms)


# the family


def drawn(count: int, **keywords: Any) -> list[dict[tuple[int, ...], float]]:
    family, rng = PSpin(**keywords), np.random.default_rng(8)
    found = []
    for _ in range(count):
        operator = family.sample(rng).operator
        supports = [tuple(np.flatnonzero(z).tolist()) for z in operator.paulis.z]
        assert len(set(supports)) == len(supports)
        found.append(dict(zip(supports, operator.coeffs.real.tolist(), strict=True)))
    return found


def test_samples_are_problems_of_this_family() -> None:
    assert isinstance(PSpin(), Family)
    problem = PSpin(sizes=[9]).sample(np.random.default_rng(0))
    assert (problem.family, problem.maximise, problem.nodes) == ("p_spin", False, tuple(range(9)))


@pytest.mark.parametrize(("order", "per_spin"), [(3, 1.0), (3, 5.0), (4, 2.0), (5, 0.5)])
def test_so_many_products_of_so_many_spins_all_alike(order: int, per_spin: float) -> None:
    models = drawn(400, sizes=[8], order=order, terms_per_spin=[per_spin])
    count = round(8 * per_spin)
    assert all(len(model) == count and {len(spins) for spins in model} == {order} for model in models)
    every = list(itertools.combinations(range(8), order))
    times = np.array([sum(spins in model for model in models) for spins in every])
    share = count / len(every)
    assert np.all(np.abs(times - 400 * share) < 4.5 * math.sqrt(400 * share * (1 - share)))


def test_there_are_no_more_products_than_exist() -> None:
    (model,) = drawn(1, sizes=[6], terms_per_spin=[100.0])
    assert set(model) == set(itertools.combinations(range(6), 3))


def test_mixed_models_have_pairs_too() -> None:
    models = drawn(50, sizes=[7], terms_per_spin=[1.0, 2.0], pairs_per_spin=[0.0, 2.0])
    shapes = {tuple(sum(len(spins) == order for spins in model) for order in (2, 3)) for model in models}
    assert shapes == {(0, 7), (0, 14), (14, 7), (14, 14)}


@pytest.mark.parametrize(("kind", "fourth"), [("normal", 3.0), ("signs", 1.0)])
def test_couplings_have_mean_zero_and_variance_one(kind: str, fourth: float) -> None:
    models = drawn(200, couplings=kind, pairs_per_spin=[1.0])
    values = np.array([value for model in models for value in model.values()])
    assert abs(values.mean()) < 4 / math.sqrt(values.size)
    assert values.var() == pytest.approx(1.0, abs=0.1)
    assert np.mean(values**4) == pytest.approx(fourth, abs=0.5)


@pytest.mark.parametrize(
    "keywords", [{}, {"sizes": [5], "order": 4, "couplings": "signs", "terms_per_spin": [1], "pairs_per_spin": [0.5]}]
)
def test_settings_rebuild_the_family(keywords: Any) -> None:
    family = PSpin(**keywords)
    copy = PSpin(**json.loads(json.dumps(family.settings)))
    assert copy == family
    assert hash(copy) == hash(family)


@pytest.mark.parametrize(
    ("keywords", "kind", "told"),
    [
        ({"sizes": [3, 2]}, ValueError, "sizes must be a sequence of integers >= 3"),
        ({"sizes": [4], "order": 5}, ValueError, "integers >= 5"),
        ({"order": 2}, ValueError, "order must be an integer >= 3"),
        ({"order": 3.0}, ValueError, "order must be an integer >= 3"),
        ({"terms_per_spin": 2.0}, TypeError, "terms_per_spin must be a sequence"),
        ({"terms_per_spin": []}, ValueError, "at least one entry"),
        ({"terms_per_spin": [-1.0]}, ValueError, "at least 0"),
        ({"terms_per_spin": [math.inf]}, ValueError, "finite"),
        ({"terms_per_spin": [2.0, 0.0]}, ValueError, "a product or more"),
        ({"pairs_per_spin": ["1"]}, ValueError, "pairs_per_spin"),
        ({"couplings": "gauss"}, ValueError, "'normal' or 'signs'"),
    ],
)
def test_bad_settings_are_refused(keywords: Any, kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        PSpin(**keywords)
