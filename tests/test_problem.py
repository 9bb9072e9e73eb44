"""Tests of the Hamiltonian and of how its outcomes read, against dense matrices."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit.circuit import Parameter
from qiskit.quantum_info import Operator, SparseObservable, SparsePauliOp, Statevector

from qiskit_metainit.problem import (
    Family,
    Problem,
    as_pauli_sum,
    diagonal_values,
    is_diagonal,
    masks,
    offset,
    walsh,
)


@st.composite
def operators(draw, letters="IXYZ", max_qubits=4):
    size = draw(st.integers(1, max_qubits))
    label = st.text(letters, min_size=size, max_size=size)
    coefficient = st.floats(-3, 3, allow_subnormal=False).filter(lambda c: abs(c) > 1e-3)
    terms = draw(st.lists(st.tuples(label, coefficient), min_size=1, max_size=8))
    # One term that nothing cancels, so that the operator is never constant.
    return SparsePauliOp.from_list([*terms, ("Z" * size, 100.0)])


# as_pauli_sum


@given(operators())
@settings(deadline=None)
def test_the_pauli_sum_is_the_same_operator_without_duplicates(operator):
    result = as_pauli_sum(operator)
    assert np.allclose(result.to_matrix(), operator.to_matrix(), atol=1e-12)
    assert len(set(result.paulis.to_labels())) == len(result)
    assert np.isrealobj(result.coeffs) or not result.coeffs.imag.any()
    assert result.coeffs.all()


def test_duplicate_terms_are_merged_and_exact_zeros_dropped():
    operator = SparsePauliOp(["ZZ", "XX", "ZZ", "YY", "YY", "II"], [0.5, 2.0, 0.25, 1.0, -1.0, 3.0])
    assert dict(as_pauli_sum(operator).to_list()) == {"ZZ": 0.75, "XX": 2.0, "II": 3.0}


@pytest.mark.parametrize("factor", [1e-200, 1e-12, 1.0, 1e12, 1e200])
def test_no_term_is_dropped_for_being_small(factor):
    operator = factor * SparsePauliOp(["ZI", "IZ", "ZZ"], [1.0, 1e-9, 1e-16])
    assert dict(as_pauli_sum(operator).to_list()) == {"ZI": factor, "IZ": factor * 1e-9, "ZZ": factor * 1e-16}


def test_signs_inside_the_paulis_go_to_the_coefficients():
    assert dict(as_pauli_sum(SparsePauliOp(["-ZZ", "iXX"], [1.0, -1j])).to_list()) == {"ZZ": -1.0, "XX": 1.0}


def test_the_operator_given_is_left_alone():
    operator = SparsePauliOp(["ZZ", "ZZ"], [1.0, 1.0])
    as_pauli_sum(operator)
    assert operator.to_list() == [("ZZ", 1.0), ("ZZ", 1.0)]


@pytest.mark.parametrize(
    "observable",
    [
        SparseObservable.from_list([("ZZI", 0.5), ("IXY", -1.25), ("III", 2.0), ("ZZI", 0.25)]),
        SparseObservable.from_list([("+0", 1.0), ("1l", -2.0), ("Zr", 0.5)]),  # projectors are sums of Paulis
    ],
    ids=["paulis", "projectors"],
)
def test_sparse_observables_are_the_same_operator(observable):
    result = as_pauli_sum(observable)
    expected = SparsePauliOp.from_sparse_observable(observable)
    assert isinstance(result, SparsePauliOp)
    assert np.allclose(result.to_matrix(), expected.to_matrix())


def test_projectors_expand_by_hand():
    # |0><0| = (I + Z)/2 on qubit 0.
    result = as_pauli_sum(SparseObservable.from_list([("I0", 3.0)]))
    assert dict(result.to_list()) == {"II": 1.5, "IZ": 1.5}


def test_numerical_noise_in_the_imaginary_part_is_dropped():
    result = as_pauli_sum(SparsePauliOp(["ZZ", "XX"], [1e3 + 1e-12j, 1.0]))
    assert not result.coeffs.imag.any()
    assert dict(result.to_list()) == {"ZZ": 1e3, "XX": 1.0}


@pytest.mark.parametrize("operator", ["ZZ", None, np.eye(4), Operator(np.eye(4)), [("ZZ", 1.0)]])
def test_other_types_are_refused(operator):
    with pytest.raises(TypeError, match=rf"SparsePauliOp or SparseObservable.*{type(operator).__name__}.*from_list"):
        as_pauli_sum(operator)


@pytest.mark.parametrize(
    ("operator", "words"),
    [
        (SparsePauliOp(["ZZ"], [1j]), "Hermitian"),
        (SparsePauliOp(["ZZ", "XX"], [1.0, 1.0 + 1e-6j]), "Hermitian"),
        (SparsePauliOp(["iZZ"], [1.0]), "Hermitian"),
        (SparseObservable.from_list([("ZZ", 1j)]), "Hermitian"),
        (SparsePauliOp(["ZZ", "XY"], [1.0, np.nan]), "finite, but the one of XY"),
        (SparsePauliOp(["ZZ"], np.array([Parameter("a")], dtype=object)), "unbound parameters.*assign_parameters"),
        (SparsePauliOp(["II"], [2.0]), "constant"),
        (SparsePauliOp(["ZZ"], [0.0]), "constant"),
        (SparsePauliOp(["ZZ", "ZZ"], [1.0, -1.0]), "constant"),
        (SparsePauliOp.from_list([], num_qubits=2), "constant"),
        (SparseObservable.zero(3), "constant"),
    ],
)
def test_operators_that_cannot_be_minimised_are_refused(operator, words):
    with pytest.raises(ValueError, match=f"(?s){words}"):
        as_pauli_sum(operator)


@pytest.mark.parametrize("bad", [np.inf, -np.inf])
def test_infinite_coefficients_are_refused(bad):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # Qiskit's constructor multiplies inf by a phase
        operator = SparsePauliOp(["ZZ", "XX"], [1.0, bad])
    with pytest.raises(ValueError, match="finite, but the one of XX"):
        as_pauli_sum(operator)


# offset, is_diagonal


@given(operators())
@settings(deadline=None)
def test_the_offset_is_the_mean_of_the_spectrum(operator):
    spectrum = np.linalg.eigvalsh(operator.to_matrix())
    assert offset(operator) == pytest.approx(spectrum.mean(), abs=1e-9)


def test_the_offset_adds_repeated_identities():
    assert offset(SparsePauliOp(["II", "ZZ", "II"], [1.0, 5.0, 2.0])) == 3.0
    assert offset(SparsePauliOp(["ZZ"])) == 0.0


@given(operators())
@settings(deadline=None)
def test_diagonal_operators_are_recognised(operator):
    merged = as_pauli_sum(operator)
    matrix = merged.to_matrix()
    assert is_diagonal(merged) == (not (matrix - np.diag(np.diag(matrix))).any())  # however small a term


# masks, walsh, diagonal_values


@given(st.integers(1, 12).flatmap(lambda size: st.lists(st.lists(st.booleans(), min_size=size, max_size=size))))
def test_masks_are_integers_with_qubit_0_least_significant(rows):
    bits = np.array(rows, dtype=bool).reshape(len(rows), -1 if rows else 3)
    assert masks(bits).tolist() == [sum(2**i for i, bit in enumerate(row) if bit) for row in rows]


def test_masks_serve_62_qubits():
    bits = np.zeros((1, 62), dtype=bool)
    bits[0, [0, 61]] = True
    assert masks(bits).tolist() == [2**61 + 1]


@pytest.mark.parametrize("qubits", [0, 1, 2, 5])
def test_the_walsh_transform_is_its_definition(qubits):
    size = 2**qubits
    coefficients = np.random.default_rng(qubits).normal(size=size)
    slow = [sum(coefficients[m] * (-1) ** (x & m).bit_count() for m in range(size)) for x in range(size)]
    assert np.allclose(walsh(coefficients), slow, atol=1e-12)
    assert np.allclose(walsh(coefficients * 1j), np.array(slow) * 1j, atol=1e-12)


def test_the_walsh_transform_leaves_its_input_alone():
    coefficients = np.arange(8.0)
    walsh(coefficients)
    assert coefficients.tolist() == list(range(8))


@given(operators(letters="IZ", max_qubits=5))
@settings(deadline=None)
def test_diagonal_values_are_the_diagonal_of_the_matrix(operator):
    assert np.allclose(diagonal_values(operator), np.diag(operator.to_matrix()).real, atol=1e-10)


def test_diagonal_values_refuse_x_terms():
    with pytest.raises(ValueError, match="diagonal"):
        diagonal_values(SparsePauliOp(["ZZ", "IX"]))


# Problem


def make(operator=None, **keywords):
    operator = operator or SparsePauliOp(["IIZ", "ZZI", "III"], [1.0, 10.0, 100.0])
    return Problem(**{"operator": operator, "family": "test", "nodes": ("a", "b", "c"), **keywords})


def test_decoding_reads_qubit_0_at_the_right_end():
    problem = make()
    assert problem.decode("110") == {"a": 0, "b": 1, "c": 1}
    assert problem.decode("001") == {"a": 1, "b": 0, "c": 0}
    assert problem.num_qubits == 3


def test_the_partition_lists_the_nodes_of_each_bit():
    assert make().partition("110") == (("a",), ("b", "c"))
    assert make().partition("000") == (("a", "b", "c"), ())


def test_values_of_bitstrings_by_hand():
    # Z on node a gives 1 - 2 bit; ZZ on b and c is their parity.
    problem = make()
    assert problem.value("000") == 111.0
    assert problem.value("001") == 109.0
    assert problem.value("010") == 91.0
    assert problem.value("110") == 111.0


@given(operators(letters="IZ"), st.booleans(), st.data())
@settings(deadline=None)
def test_a_bitstring_is_worth_the_expectation_of_its_basis_state(operator, maximise, data):
    size = operator.num_qubits
    problem = make(operator, nodes=tuple(range(size)), maximise=maximise)
    bitstring = data.draw(st.text("01", min_size=size, max_size=size))
    energy = Statevector.from_label(bitstring).expectation_value(operator).real
    assert problem.value(bitstring) == pytest.approx(-energy if maximise else energy, abs=1e-9)
    assert problem.value(energy) == problem.value(np.float64(energy)) == (-energy if maximise else energy)


def test_expectations_have_a_value_under_any_operator_but_bitstrings_have_not():
    problem = make(SparsePauliOp(["XXX"]), maximise=True)
    assert problem.value(-2.5) == 2.5
    with pytest.raises(ValueError, match=r"diagonal.*expectation"):
        problem.value("000")


@pytest.mark.parametrize("bitstring", ["", "00", "0000", "0 0", "002", "abc", "00\n"])
def test_malformed_bitstrings_are_refused(bitstring):
    for method in ("decode", "partition", "value"):
        with pytest.raises(ValueError, match="3 characters 0 or 1"):
            getattr(make(), method)(bitstring)


def test_problems_are_frozen_and_compare_by_identity():
    problem = make()
    with pytest.raises(AttributeError):
        problem.maximise = True
    assert problem != make()
    assert len({problem, make()}) == 2


def test_the_family_protocol_needs_sample_and_settings():
    class Both:
        settings = {}  # noqa: RUF012

        def sample(self, rng):
            return make()

    class One:
        def sample(self, rng):
            return make()

    assert isinstance(Both(), Family)
    assert not isinstance(One(), Family)
