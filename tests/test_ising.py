from __future__ import annotations

import itertools
import json
import math
import zlib
from typing import Any

import numpy as np
import pytest
from qiskit.quantum_info import SparseObservable, SparsePauliOp

from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.problem import Family, diagonal_values
from qiskit_metainit.problems.ising import Ising
from qiskit_metainit.problems.maxcut import MaxCut


def energy(couplings: dict[Any, float], fields: dict[Any, float], spins: dict[Any, int]) -> float:
    """The definition, spin by spin."""
    pairs = sum(value * spins[i] * spins[j] for (i, j), value in couplings.items())
    return pairs + sum(value * spins[i] for i, value in fields.items())


def terms(operator: SparsePauliOp) -> dict[tuple[int, ...], float]:
    """Coefficients by the qubits of each product of Z."""
    return {
        tuple(np.flatnonzero(z).tolist()): float(value.real)
        for z, value in zip(operator.paulis.z, operator.coeffs, strict=True)
    }


def test_every_bitstring_has_the_energy_of_its_spins(rng: np.random.Generator) -> None:
    labels = ["d", "a", ("x", 1), 7, "lonely"]
    pairs = [pair for pair in itertools.combinations(labels[:4], 2) if pair != ("a", 7)]
    couplings = dict(zip(pairs, rng.normal(size=len(pairs)), strict=True))
    fields = dict(zip(["a", "lonely"], rng.normal(size=2), strict=True))
    problem = Ising.from_couplings(couplings, fields=fields)
    assert (problem.family, problem.maximise, set(problem.nodes)) == ("ising", False, set(labels))
    seen = []
    for bits in itertools.product("01", repeat=5):
        bitstring = "".join(bits)
        spins = {node: 1 - 2 * bit for node, bit in problem.decode(bitstring).items()}
        seen.append(energy(couplings, fields, spins))
        assert problem.value(bitstring) == pytest.approx(seen[-1])
    assert sorted(seen) == pytest.approx(sorted(diagonal_values(problem.operator)))


def test_spins_are_ordered_by_first_appearance_and_repeated_couplings_add_up() -> None:
    problem = Ising.from_couplings({("b", "a"): 1.0, ("a", "c"): 2, ("a", "b"): 0.5}, fields={"z": 1.0, "a": 0.0})
    assert problem.nodes == ("b", "a", "c", "z")
    assert terms(problem.operator) == {(0, 1): 1.5, (1, 2): 2.0, (3,): 1.0}


def test_an_operator_becomes_a_problem_with_its_identity_and_longer_terms() -> None:
    operator = SparsePauliOp(["ZZI", "IIZ", "ZZZ", "III"], [1.0, -0.5, 2.0, 10.0])
    problem = Ising.from_operator(operator, nodes=["p", "q", "r"])
    assert problem.decode("100") == {"p": 0, "q": 0, "r": 1}
    assert problem.value("100") == pytest.approx(-1.0 - 0.5 - 2.0 + 10.0)
    again = Ising.from_operator(SparseObservable.from_sparse_pauli_op(operator))
    assert again.nodes == (0, 1, 2)
    assert again.value("100") == problem.value("100")


@pytest.mark.parametrize(
    ("couplings", "fields", "kind", "told"),
    [
        ({}, {}, ValueError, "other than zero"),
        ({(0, 1): 0.0}, {1: 0.0}, ValueError, "2 spins came"),
        ({(0, 1): 1.0, (1, 0): -1.0}, {}, ValueError, "other than zero"),
        ({(1, 1): 1.0}, {}, ValueError, "two different spins"),
        ({(0, 1): math.inf}, {}, ValueError, r"coupling of \(0, 1\) must be finite"),
        ({(0, 1): 1.0}, {0: math.nan}, ValueError, "field of 0 must be finite"),
        ({(0, 1): "1"}, {}, TypeError, "real number"),
        ({(0, 1): 1j}, {}, TypeError, "real number"),
        ({(0, 1, 2): 1.0}, {}, TypeError, r"\{\(i, j\): J\}"),
        ({"ab": 1.0}, {}, TypeError, "pairs of spins"),
    ],
)
def test_bad_couplings_are_refused(couplings: Any, fields: Any, kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        Ising.from_couplings(couplings, fields=fields)


def test_bad_operators_and_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="X or Y"):
        Ising.from_operator(SparsePauliOp(["XX", "ZZ"]))
    with pytest.raises(ValueError, match="constant"):
        Ising.from_operator(SparsePauliOp(["II"]))
    for nodes in (["a"], ["a", "a"], ["a", "b", "c"], ["a", "b", "a"]):
        with pytest.raises(ValueError, match="2 different labels"):
            Ising.from_operator(SparsePauliOp(["ZZ"]), nodes=nodes)


# the family


@pytest.mark.parametrize("kind", ["normal", "signs"])
def test_couplings_are_all_to_all_of_mean_zero_and_variance_one_over_n(kind: Any, rng: np.random.Generator) -> None:
    family = Ising(sizes=[9], couplings=kind)
    assert isinstance(family, Family)
    drawn = []
    for _ in range(200):
        found = terms(family.sample(rng).operator)
        assert set(found) == set(itertools.combinations(range(9), 2))
        drawn += [value * 3 for value in found.values()]  # sqrt(9)
    assert abs(np.mean(drawn)) < 4 / math.sqrt(len(drawn))
    assert np.var(drawn) == pytest.approx(1.0, abs=0.07)
    # The fourth moment tells the two apart: 3 and 1.
    assert np.mean(np.array(drawn) ** 4) == pytest.approx(3.0 if kind == "normal" else 1.0, abs=0.4)


# Published numbers were measured on these draws. They may change in a new release of numpy only.
@pytest.mark.parametrize(
    ("keywords", "pinned"),
    [({}, 1909786134), ({"sizes": [7]}, 1078703745), ({"sizes": [5, 6, 9], "couplings": "signs"}, 2310185935)],
)
def test_further_settings_leave_published_draws_as_they_were(keywords: Any, pinned: int) -> None:
    family, rng = Ising(**keywords), np.random.default_rng(20260)
    drawn = [[[label, round(c.real, 9)] for label, c in family.sample(rng).operator.to_list()] for _ in range(40)]
    # The last number tells how many random numbers they took.
    assert zlib.crc32(json.dumps([*drawn, round(rng.random(), 9)]).encode()) == pinned


def test_one_published_draw() -> None:
    drawn = terms(Ising(sizes=[3]).sample(np.random.default_rng(3)).operator)
    assert drawn == pytest.approx(
        {(0, 1): 1.1783252041259897, (0, 2): -1.4755138937877563, (1, 2): 0.24138948170500052}
    )


@pytest.mark.parametrize(("kind", "fourth"), [("normal", 3.0), ("uniform", 9 / 5), ("signs", 1.0)])
def test_fields_have_mean_zero_and_the_strength_drawn(kind: Any, fourth: float, rng: np.random.Generator) -> None:
    strength = 0.6
    family = Ising(sizes=[8], fields=kind, field_strength=(strength, strength))
    drawn = []
    for _ in range(300):
        found = terms(family.sample(rng).operator)
        couplings = [value for spins, value in found.items() if len(spins) == 2]
        assert len(couplings) == 28
        assert {spins for spins in found if len(spins) == 1} == {(i,) for i in range(8)}
        scale = strength * math.sqrt(np.mean(np.square(couplings)))
        drawn += [found[(i,)] / scale for i in range(8)]
    assert abs(np.mean(drawn)) < 4 / math.sqrt(len(drawn))
    assert np.var(drawn) == pytest.approx(1.0, abs=0.12)
    assert np.mean(np.array(drawn) ** 4) == pytest.approx(fourth, rel=0.15)


def test_the_strength_of_fields_is_drawn_uniformly(rng: np.random.Generator) -> None:
    family = Ising(sizes=[6], fields="signs", couplings="signs", field_strength=(0.5, 2.0))
    drawn = [abs(terms(family.sample(rng).operator)[(0,)]) * math.sqrt(6) for _ in range(400)]
    assert min(drawn) == pytest.approx(0.5, abs=0.02)
    assert max(drawn) == pytest.approx(2.0, abs=0.02)
    assert np.mean(drawn) == pytest.approx(1.25, abs=0.09)


def test_couplings_alone_are_drawn_as_without_fields() -> None:
    plain, fielded = Ising(sizes=[7]), Ising(sizes=[7], fields="normal")
    first, second = (terms(family.sample(np.random.default_rng(5)).operator) for family in (plain, fielded))
    assert first == {spins: value for spins, value in second.items() if len(spins) == 2}


@pytest.mark.parametrize("kind", ["regular", "sparse", "grid", "heavy_hex", "erdos_renyi", "barabasi_albert"])
def test_couplings_lie_on_graphs_as_maxcut_draws_them(kind: str) -> None:
    for seed in range(5):
        found = terms(Ising(sizes=[8], graphs=[kind], couplings="signs").sample(np.random.default_rng(seed)).operator)
        edges = terms(MaxCut(sizes=[8], graphs=[kind]).sample(np.random.default_rng(seed)).operator)
        assert set(found) == set(edges) - {()}
        degree = 2 * len(found) / 8
        assert set(np.abs(list(found.values())).round(12)) == {round(1 / math.sqrt(1 + degree), 12)}


@pytest.mark.parametrize(
    "keywords",
    [{}, {"fields": "uniform", "field_strength": [0.25, 0.5], "graphs": ["grid", "complete"], "couplings": "signs"}],
)
def test_settings_rebuild_the_family(keywords: Any) -> None:
    family = Ising(**keywords)
    copy = Ising(**json.loads(json.dumps(family.settings)))
    assert copy == family
    assert hash(copy) == hash(family)


@pytest.mark.parametrize(
    ("keywords", "kind", "told"),
    [
        ({"fields": "gauss"}, ValueError, "fields must be 'none', 'normal', 'uniform' or 'signs'"),
        ({"fields": None}, ValueError, "fields must be 'none'"),
        ({"graphs": ["petersen"]}, ValueError, r"graphs must be one of .*'petersen'"),
        ({"graphs": "grid"}, TypeError, "Put it into a list"),
        ({"graphs": ["grid", "regular"], "sizes": [3]}, ValueError, "sizes must be a sequence of integers >= 4"),
        ({"field_strength": 0.5}, TypeError, "field_strength must be a sequence"),
        ({"field_strength": [0.5]}, ValueError, r"Give one strength as \(0.5, 0.5\)"),
        ({"field_strength": [1.0, 0.5]}, ValueError, "the smallest and the largest"),
        ({"field_strength": [-1.0, 0.5]}, ValueError, "of at least 0"),
        ({"field_strength": [0.0, math.inf]}, ValueError, "finite"),
    ],
)
def test_bad_settings_are_refused(keywords: Any, kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        Ising(**keywords)


def test_sizes_are_drawn_uniformly(rng: np.random.Generator) -> None:
    family = Ising(sizes=[2, 3, 5])
    counts = np.bincount([family.sample(rng).num_qubits for _ in range(900)], minlength=6)
    assert counts[[2, 3, 5]].sum() == 900
    assert np.all(np.abs(counts[[2, 3, 5]] - 300) < 75)


def test_the_formula_serves_it() -> None:
    from qiskit_metainit.engines.statevector import Statevector
    from qiskit_metainit.rating import answers, energies, ratio, spectrum
    from qiskit_metainit.task import Task

    problems = [Ising(sizes=[10]).sample(np.random.default_rng(seed)) for seed in range(10)]
    tasks = [Task.qaoa(problem.operator, reps=3) for problem in problems]
    limits = np.array([spectrum(problem.operator) for problem in problems])
    engine = Statevector()
    found = ratio(energies(engine, tasks, answers(SkInfinity(), tasks, engine)), limits)
    assert 0.80 < found.mean() < 0.92  # random points: a half


@pytest.mark.parametrize("sizes", [[], [1], [2.0], [True, 3], "67", 6, None])
def test_bad_sizes_are_refused(sizes: Any) -> None:
    with pytest.raises(ValueError, match="sizes must be"):
        Ising(sizes=sizes)


def test_unknown_couplings_are_refused() -> None:
    with pytest.raises(ValueError, match="'normal' or 'signs'"):
        Ising(couplings="gauss")  # type: ignore[arg-type]
