"""Tests of the conventions of order, sign and scale, and of what counts as a QAOA circuit."""

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import expectation_slow
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit.library import PauliEvolutionGate, efficient_su2, qaoa_ansatz
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit.ansatz import (
    check_reps,
    from_literature,
    join,
    natural_unit,
    per_layer,
    qaoa,
    qaoa_reps_of,
    split_point,
)
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.features import of_qaoa
from qiskit_metainit.problem import PauliTerms, as_pauli_sum, diagonal_values
from qiskit_metainit.task import Task

# SK-infinity at p = 3 for unit weights and degree 3, as the literature writes them: C is maximised.
BETAS = np.array([0.5500, 0.3675, 0.2109])
GAMMAS_C = 2 * np.array([0.3297, 0.5688, 0.6406]) * np.arctan(1 / np.sqrt(2))


def unit_of(operator, reps):
    return natural_unit(PauliTerms.of(operator).coefficients, reps)


def regular_operator(coefficient, seed=3):
    graph = nx.random_regular_graph(3, 10, seed=seed)
    return SparsePauliOp.from_sparse_list([("ZZ", [u, v], coefficient) for u, v in graph.edges], num_qubits=10)


def ratio(operator, point):
    task = Task.qaoa(operator, reps=len(point) // 2)
    energy = Statevector().expectation([task], torch.as_tensor(np.array(point))[None]).item()
    values = diagonal_values(operator)
    return (values.max() - energy) / (values.max() - values.min())


# order, sign and scale


def test_literature_angles_are_beta_then_minus_gamma():
    operator = regular_operator(0.5)  # H = sum w/2 ZZ with w = 1
    right = ratio(operator, [*BETAS, *-GAMMAS_C])
    wrong_sign = ratio(operator, [*BETAS, *GAMMAS_C])
    wrong_order = ratio(operator, [*GAMMAS_C, *BETAS])
    wrong_order_and_sign = ratio(operator, [*-GAMMAS_C, *BETAS])
    assert right > 0.85
    assert wrong_sign < 0.3
    assert wrong_order < 0.6
    assert wrong_order_and_sign < 0.8
    assert ratio(operator, [*-BETAS, *GAMMAS_C]) == pytest.approx(right, abs=1e-12)
    stated = from_literature(torch.as_tensor(BETAS), torch.as_tensor(GAMMAS_C))
    assert ratio(operator, stated.numpy()) == pytest.approx(right, abs=1e-12)


def test_without_the_one_half_the_gammas_are_halved():
    halved = ratio(regular_operator(1.0), [*BETAS, *-GAMMAS_C / 2])
    assert halved == pytest.approx(ratio(regular_operator(0.5), [*BETAS, *-GAMMAS_C]), abs=1e-12)


@pytest.mark.parametrize("coefficient", [1e-9, 0.5, 1.0, 4.0, 1e6])
def test_natural_points_give_the_same_ratio_at_any_scale(coefficient):
    operator = regular_operator(coefficient)
    natural = np.concatenate([BETAS, -GAMMAS_C])
    expected = ratio(regular_operator(0.5), natural)
    assert ratio(operator, natural * unit_of(operator, 3)) == pytest.approx(expected, abs=1e-9)


def test_the_circuit_is_the_one_of_qiskit_with_a_layer_of_h_then_x(rng):
    operator = SparsePauliOp(["IZZ", "ZZI", "IIZ", "III"], [0.5, -1.0, 0.3, 2.0])
    circuit = qaoa(operator, 2)
    point = rng.uniform(-2, 2, 4)
    expected = expectation_slow(qaoa_ansatz(operator, reps=2), operator, point)
    state = np.full(8, 8**-0.5, dtype=complex)
    mixer = sum(SparsePauliOp.from_sparse_list([("X", [i], 1.0)], 3).to_matrix() for i in range(3))
    energies, vectors = np.linalg.eigh(mixer)
    for beta, gamma in zip(point[:2], point[2:], strict=True):
        state = np.exp(-1j * gamma * np.diag(operator.to_matrix()).real) * state
        state = vectors @ (np.exp(-1j * beta * energies) * (vectors.conj().T @ state))
    by_hand = float(np.real(state.conj() @ operator.to_matrix() @ state))
    assert expectation_slow(circuit, operator, point) == pytest.approx(expected, abs=1e-12)
    assert by_hand == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("reps", [1, 2, 10, 11, 12])
def test_parameters_are_all_betas_and_then_all_gammas(reps):
    names = [parameter.name for parameter in qaoa(SparsePauliOp("ZZ"), reps).parameters]
    assert names == [f"\u03b2[{i}]" for i in range(reps)] + [f"\u03b3[{i}]" for i in range(reps)]


@pytest.mark.parametrize("reps", [0, -2, 1.0, True, "3"])
def test_bad_reps_are_refused(reps):
    for function in (check_reps, lambda reps: qaoa(SparsePauliOp("ZZ"), reps)):
        with pytest.raises(ValueError, match=r"reps must be a positive integer \(the number of QAOA layers\)"):
            function(reps)


def test_points_are_joined_and_split():
    betas, gammas = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[5.0, 6.0], [7.0, 8.0]])
    points = join(betas, gammas)
    assert points.tolist() == [[1, 2, 5, 6], [3, 4, 7, 8]]
    back = split_point(points)
    assert torch.equal(back[0], betas)
    assert torch.equal(back[1], gammas)
    assert from_literature(betas[0], gammas[0]).tolist() == [1, 2, -5, -6]


def test_schedules_of_several_depths_are_padded():
    points = per_layer([2, 1], lambda p: torch.arange(1, 2 * p + 1, dtype=torch.float64))
    assert points.tolist() == [[1, 2, 3, 4], [1, 2, 0, 0]]


# natural units


def test_natural_units_by_hand():
    operator = SparsePauliOp(["ZZI", "IZZ", "IIZ", "III"], [0.5, -1.5, 1.0, 100.0])
    rms = np.sqrt((1 + 9 + 4) / 3)
    assert unit_of(operator, 2) == pytest.approx([1, 1, 1 / rms, 1 / rms])


@pytest.mark.parametrize("exponent", [-300, -200, -9, 6, 200, 300])
def test_natural_units_of_extreme_weights_neither_overflow_nor_vanish(exponent):
    factor = 10.0**exponent
    operator = SparsePauliOp(["ZZI", "IZZ"], [3 * factor, -4 * factor])
    assert unit_of(operator, 1)[1] * factor == pytest.approx(1 / (2 * np.sqrt(12.5)), rel=1e-12)


def test_natural_units_of_weights_far_apart():
    operator = SparsePauliOp(["ZZI", "IZZ"], [1e200, 1e-200])
    assert unit_of(operator, 1)[1] == pytest.approx(np.sqrt(2) / 2e200, rel=1e-12)


# recognising a QAOA circuit


OPERATORS = {
    "unit edges": SparsePauliOp(["IIZZ", "ZZII", "IZZI"], [0.5, 0.5, 0.5]),
    "weights": SparsePauliOp(["IIZZ", "ZZII", "IZZI"], [0.5, -1.7, 1e-6]),
    "fields": SparsePauliOp(["IIZZ", "ZZII", "IZII", "IIIZ"], [0.5, -1.7, 0.4, 2.0]),
    "a constant": SparsePauliOp(["IIZZ", "ZZII", "IIII"], [0.5, 0.5, -3.0]),
    "three-body": SparsePauliOp(["IZZZ", "ZZIZ", "IIIZ"], [0.5, -1.0, 0.7]),
    "four-body": SparsePauliOp(["ZZZZ", "ZZII"], [0.5, -1.0]),
    "an isolated qubit": SparsePauliOp(["IIZZ"], [0.5]),
    "one qubit": SparsePauliOp(["Z"], [0.5]),
    "tiny weights": SparsePauliOp(["IIZZ", "ZZII"], [5e-10, 3e-10]),
    "not diagonal": SparsePauliOp(["IIZZ", "XXII", "IYII"], [0.5, 0.3, 1.0]),
}


@pytest.mark.parametrize("reps", [1, 3, 11])
@pytest.mark.parametrize("name", OPERATORS)
def test_the_standard_circuit_is_recognised(name, reps):
    operator = OPERATORS[name]
    assert qaoa_reps_of(qaoa_ansatz(operator, reps=reps), as_pauli_sum(operator)) == reps
    task = Task.from_circuit(qaoa_ansatz(operator, reps=reps), operator)
    assert (task.features.ansatz, task.features.reps) == ("qaoa", reps)
    assert torch.equal(task.features.summary, of_qaoa(operator, reps).summary)


@pytest.mark.parametrize("name", OPERATORS)
def test_the_same_circuit_in_other_words_is_recognised(name):
    operator = OPERATORS[name]
    circuit = qaoa_ansatz(operator, reps=2)
    wrapped = QuantumCircuit(operator.num_qubits)
    wrapped.append(circuit.to_instruction(), range(operator.num_qubits))
    # Every pass through the circuit graph lists the gates of neighbouring layers mixed.
    basis = ["h", "rx", "rz", "rzz", "rxx", "ry", "cx"]
    reordered = [circuit.decompose("PauliEvolution"), transpile(circuit, basis_gates=basis, optimization_level=0)]
    others = [wrapped, qaoa_ansatz(operator, reps=2, flatten=True), *reordered]
    if "cx" not in circuit.count_ops():
        others.append(qaoa_ansatz(operator, reps=2, flatten=False))
    for other in others:
        assert qaoa_reps_of(other, operator) == 2


def test_parameters_of_other_names_in_the_same_order_are_recognised():
    operator = OPERATORS["weights"]
    circuit = qaoa_ansatz(operator, reps=2)
    theta = ParameterVector("theta", 4)
    assert qaoa_reps_of(circuit.assign_parameters(list(theta)), operator) == 2


def test_terms_in_pieces_or_without_weight_are_recognised_from_the_merged_operator():
    pieces = SparsePauliOp(["IZZ", "ZZI", "IIZ", "IZZ", "ZIZ"], [0.2, 0.7, 0.1, 0.3, 0.0])
    assert qaoa_reps_of(qaoa_ansatz(pieces, reps=2), as_pauli_sum(pieces)) == 2
    assert qaoa_reps_of(qaoa_ansatz(pieces, reps=2), 2 * as_pauli_sum(pieces)) is None


def test_terms_in_another_order_are_recognised():
    operator = SparsePauliOp(["IZZ", "ZZI", "IIZ"], [0.5, 0.7, 0.1])
    shuffled = SparsePauliOp(["IIZ", "IZZ", "ZZI"], [0.1, 0.5, 0.7])
    assert qaoa_reps_of(qaoa_ansatz(shuffled, reps=2), operator) == 2


def test_terms_that_do_not_commute_are_not_recognised_in_another_order():
    operator, swapped = SparsePauliOp(["IXZ", "XZI"]), SparsePauliOp(["XZI", "IXZ"])
    assert qaoa_reps_of(qaoa_ansatz(operator, reps=2), operator) == 2
    assert qaoa_reps_of(qaoa_ansatz(swapped, reps=2), operator) is None


@pytest.mark.parametrize(("ladder", "reps"), [([(2, 1), (1, 0)], 1), ([(1, 0), (2, 1)], None)])
def test_a_ladder_in_another_order_is_another_circuit(ladder, reps):
    circuit = QuantumCircuit(3)
    circuit.h(range(3))
    for pair in ladder:
        circuit.cx(*pair)
    circuit.rz(2 * Parameter("b"), 0)
    for pair in reversed(ladder):
        circuit.cx(*pair)
    circuit.rx(2 * Parameter("a"), range(3))
    operator = SparsePauliOp("ZZZ")
    standard = qaoa_ansatz(operator, reps=1)
    values = [expectation_slow(c, operator, [0.3, 0.7]) for c in (circuit, standard)]
    assert (abs(values[0] - values[1]) < 1e-9) == (reps == 1)
    assert qaoa_reps_of(circuit, operator) == reps


@pytest.mark.parametrize("name", OPERATORS)
def test_the_circuit_of_another_operator_is_not_recognised(name):
    operator = OPERATORS[name]
    circuit = qaoa_ansatz(operator, reps=2)
    one = operator.copy()
    one.coeffs = operator.coeffs * np.where(np.arange(len(operator)) == 0, 1.001, 1.0)
    negated = -1.0 * operator
    doubled = 2.0 * operator
    more = as_pauli_sum(operator + SparsePauliOp("Z" * operator.num_qubits, 0.123))
    for other in (one, negated, doubled, more):
        assert qaoa_reps_of(circuit, other) is None
    assert Task.from_circuit(circuit, doubled).features.ansatz == "circuit"


def test_a_custom_mixer_is_not_recognised():
    operator = OPERATORS["unit edges"]
    pairs = SparsePauliOp(["XXII", "IXXI", "IIXX"])
    weighted = SparsePauliOp(["XIII", "IXII", "IIXI", "IIIX"], [1.0, 1.0, 1.0, 2.0])
    other_axis = SparsePauliOp(["YIII", "IYII", "IIYI", "IIIY"])
    for mixer in (pairs, weighted, other_axis):
        assert qaoa_reps_of(qaoa_ansatz(operator, reps=2, mixer_operator=mixer), operator) is None
    grover = QuantumCircuit(4)
    grover.mcp(Parameter("b"), [0, 1, 2], 3)
    circuit = QuantumCircuit(4)
    circuit.h(range(4))
    circuit.append(PauliEvolutionGate(operator, Parameter("c")), range(4))
    assert qaoa_reps_of(circuit.compose(grover), operator) is None


def test_a_custom_initial_state_is_not_recognised():
    operator = OPERATORS["unit edges"]
    warm = QuantumCircuit(4)
    warm.ry(0.7, range(4))
    minus = QuantumCircuit(4)
    minus.x(range(4))
    minus.h(range(4))
    sideways = QuantumCircuit(4)
    sideways.sx(range(4))
    for state in (warm, minus, sideways, QuantumCircuit(4)):
        assert qaoa_reps_of(qaoa_ansatz(operator, reps=2, initial_state=state), operator) is None


@pytest.mark.parametrize("order", [[0, 1, 3, 2], [1, 0, 2, 3], [2, 3, 0, 1], [3, 2, 1, 0]])
def test_permuted_parameters_are_not_recognised(order):
    # The same circuit, but entry i of a point means something else.
    operator = OPERATORS["weights"]
    theta = ParameterVector("theta", 4)
    circuit = qaoa_ansatz(operator, reps=2).assign_parameters([theta[i] for i in order])
    assert circuit.num_parameters == 4
    assert qaoa_reps_of(circuit, operator) is None


def test_rescaled_shifted_tied_or_bound_parameters_are_not_recognised():
    operator = OPERATORS["weights"]
    theta = ParameterVector("theta", 4)
    for angles in (
        [2 * theta[0], *theta[1:]],
        [-theta[0], *theta[1:]],
        [theta[0] + 0.1, *theta[1:]],
        [theta[0], theta[0], theta[1], theta[1]],
        [theta[0], 0.3, theta[1], 0.4],
    ):
        assert qaoa_reps_of(qaoa_ansatz(operator, reps=2).assign_parameters(angles), operator) is None


def test_other_circuits_are_not_recognised():
    operator = OPERATORS["unit edges"]
    two_layers = qaoa_ansatz(operator, reps=2)
    measured = two_layers.copy()
    measured.measure_all()
    extended = two_layers.copy()
    extended.cx(0, 1)
    mixed_up = QuantumCircuit(4)
    mixed_up.h(range(4))
    beta, gamma = Parameter("a"), Parameter("b")
    mixed_up.rx(2 * beta, range(4))  # the mixer first
    mixed_up.append(PauliEvolutionGate(operator, gamma), range(4))
    odd = QuantumCircuit(4)
    odd.rx(Parameter("a"), 0)
    for circuit in (
        efficient_su2(4, reps=1),
        measured,
        extended,
        mixed_up,
        odd,
        QuantumCircuit(4),
        qaoa_ansatz(SparsePauliOp("ZZ"), reps=2),
        transpile(two_layers, basis_gates=["rz", "sx", "cx"], optimization_level=0),
    ):
        assert qaoa_reps_of(circuit, operator) is None


@given(st.integers(1, 4), st.integers(0, 10**6))
@settings(deadline=None, max_examples=25)
def test_random_operators_are_recognised_and_told_from_their_neighbours(reps, seed):
    rng = np.random.default_rng(seed)
    labels = ["".join(rng.choice(["I", "Z"], 4)) for _ in range(5)] + ["IIZZ"]
    operator = as_pauli_sum(SparsePauliOp(labels, rng.normal(size=6)))
    circuit = qaoa_ansatz(operator, reps=reps)
    assert qaoa_reps_of(circuit, operator) == reps
    chosen = int(rng.integers(len(operator)))
    other = operator.copy()
    other.coeffs[chosen] *= 1 + 1e-6
    changed = operator.paulis.z[chosen].any()
    assert qaoa_reps_of(circuit, other) == (None if changed else reps)
