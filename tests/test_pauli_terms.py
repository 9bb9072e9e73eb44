"""The terms of an operator, from either of Qiskit's classes, never as a table of terms by qubits."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from qiskit.quantum_info import SparseObservable, SparsePauliOp

from qiskit_metainit import MetaInitializer
from qiskit_metainit.features import of_qaoa
from qiskit_metainit.problem import PauliTerms
from qiskit_metainit.problems.ising import Ising
from qiskit_metainit.problems.p_spin import PSpin


def both(operator: SparsePauliOp) -> list[PauliTerms]:
    return [PauliTerms.of(operator), PauliTerms.of(SparseObservable.from_sparse_pauli_op(operator))]


def readable(terms: PauliTerms) -> dict[tuple[tuple[int, int], ...], float]:
    rows: list[list[tuple[int, int]]] = [[] for _ in terms.coefficients]
    for term, qubit, letter in zip(terms.term, terms.qubit, terms.letter, strict=True):
        rows[term].append((int(qubit), int(letter)))
    return {tuple(sorted(row)): float(value) for row, value in zip(rows, terms.coefficients, strict=True)}


def test_both_classes_give_the_same_terms() -> None:
    operator = SparsePauliOp(["IXYZ", "ZZII", "IIII", "ZZII", "IIIZ"], [0.5, 1.0, 7.0, 0.25, 1e-15])
    expected = {((0, 3), (1, 2), (2, 1)): 0.5, ((2, 3), (3, 3)): 1.25}  # X, Y, Z are 1, 2, 3; the residue is left out
    for terms in both(operator):
        assert readable(terms) == pytest.approx(expected)
        assert terms.num_qubits == 4
        assert sorted(terms.order.tolist()) == [2, 3]
        assert (np.diff(terms.term) >= 0).all()


@pytest.mark.parametrize("family", [Ising(sizes=[7], fields="normal"), PSpin(sizes=[7], pairs_per_spin=[2.0])])
def test_both_classes_give_the_same_features(family: Ising | PSpin, rng: np.random.Generator) -> None:
    operator = family.sample(rng).operator
    one, other = (of_qaoa(op, 2) for op in (operator, SparseObservable.from_sparse_pauli_op(operator)))
    np.testing.assert_allclose(one.summary, other.summary, atol=1e-12)
    np.testing.assert_allclose(one.invariants, other.invariants, atol=1e-9)
    np.testing.assert_allclose(one.unit, other.unit, atol=1e-12)


def test_an_observable_with_projectors_is_written_in_paulis() -> None:
    terms = PauliTerms.of(SparseObservable("01"))  # |0><0| x |1><1|
    assert readable(terms) == pytest.approx({((1, 3),): 0.25, ((0, 3),): -0.25, ((0, 3), (1, 3)): -0.25})


@pytest.mark.parametrize(
    ("coefficients", "message"),
    [([np.nan, 1.0], "must be finite"), ([1j, 1.0], "Hermitian"), ([0.0, 3.0], "it is constant")],
)
def test_errors_are_the_same(coefficients: list[complex], message: str) -> None:
    operator = SparsePauliOp(["ZZ", "II"], coefficients)
    for version in (operator, SparseObservable.from_list([("ZZ", coefficients[0]), ("II", coefficients[1])])):
        with pytest.raises(ValueError, match=message):
            PauliTerms.of(version)


def test_a_proposal_for_many_qubits_takes_memory_by_terms_only() -> None:
    qubits = 50_000
    ring = SparseObservable.from_sparse_list([("ZZ", [i, (i + 1) % qubits], 0.5) for i in range(qubits)], qubits)
    tracemalloc.start()
    point = MetaInitializer.load("qaoa").initial_point(ring, reps=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert point.shape == (4,)
    assert peak < 2e8  # a table of bits would take 2.5e9
