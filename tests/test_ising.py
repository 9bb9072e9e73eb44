from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from qiskit.quantum_info import SparseObservable, SparsePauliOp

from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.problem import Family, diagonal_values
from qiskit_metainit.problems.ising import Ising


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


def test_sizes_are_drawn_uniformly(rng: np.random.Generator) -> None:
    family = Ising(sizes=[2, 3, 5])
    counts = np.bincount([family.sample(rng).num_qubits for _ in range(900)], minlength=6)
    assert counts[[2, 3, 5]].sum() == 900
    assert np.all(np.abs(counts[[2, 3, 5]] - 300) < 75)


def test_the_formula_serves_it() -> None:
    from qiskit_metainit.engines.statevector import Statevector
    from qiskit_metainit.evaluation import answers, energies, ratio, spectrum
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
