"""Tests of what models may know of a task: invariances, brute-force counts and shapes."""

import itertools
import math
import tracemalloc

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.circuit.library import efficient_su2, qaoa_ansatz
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit import ansatz, features
from qiskit_metainit.features import SUMMARY, TOKENS, degree_angle, of_circuit, of_qaoa, stack

some = settings(deadline=None, max_examples=40)
coefficients = st.one_of(
    st.sampled_from([1.0, -1.0, 0.5]), st.floats(-3, 3).filter(lambda c: abs(c) > 1e-3), st.sampled_from([1e-6, 1e4])
)


@st.composite
def term_lists(draw, max_qubits=7):
    """Distinct Z products on some qubits, mostly pairs, some of one, three and four qubits."""
    size = draw(st.integers(2, max_qubits))
    pairs = st.sets(st.integers(0, size - 1), min_size=2, max_size=2)
    others = st.sets(st.integers(0, size - 1), min_size=1, max_size=min(4, size))
    supports = draw(st.lists(st.one_of(pairs, pairs, others).map(frozenset), min_size=1, max_size=12, unique=True))
    return size, [(tuple(sorted(support)), draw(coefficients)) for support in supports]


def operator_of(size, terms, constant=0.0):
    listed = [("Z" * len(support), list(support), value) for support, value in terms]
    return SparsePauliOp.from_sparse_list([*listed, ("", [], constant)], num_qubits=size)


def graph_operator(graph):
    return SparsePauliOp.from_sparse_list(
        [("ZZ", [u, v], data.get("weight", 1.0) / 2) for u, v, data in graph.edges(data=True)], num_qubits=len(graph)
    )


def named(item):
    return dict(zip(SUMMARY, item.summary.tolist(), strict=True))


def assert_same(one, other, gamma_factor=1.0):
    assert torch.allclose(one.summary, other.summary, rtol=1e-9, atol=1e-9)
    assert torch.equal(one.tokens, other.tokens)
    factors = torch.ones(2 * one.reps, dtype=torch.float64)
    factors[one.reps :] = gamma_factor
    assert torch.allclose(other.unit, one.unit * factors, rtol=1e-9, atol=0.0)
    assert (one.order, one.fields, one.diagonal, one.reps) == (other.order, other.fields, other.diagonal, other.reps)


# invariances


@given(term_lists(), st.randoms(use_true_random=False))
@some
def test_relabelling_qubits_and_reordering_terms_changes_nothing(drawn, random):
    size, terms = drawn
    names = random.sample(range(size), size)
    renamed = [(tuple(names[i] for i in support), value) for support, value in terms]
    random.shuffle(renamed)
    assert_same(of_qaoa(operator_of(size, terms), 3), of_qaoa(operator_of(size, renamed), 3))


@pytest.mark.parametrize("factor", [1e-200, 1e-9, 0.37, 1e6, 1e200])
@given(drawn=term_lists())
@some
def test_a_positive_factor_changes_only_the_unit_of_the_gammas(factor, drawn):
    size, terms = drawn
    scaled = [(support, factor * value) for support, value in terms]
    one, other = of_qaoa(operator_of(size, terms), 2), of_qaoa(operator_of(size, scaled), 2)
    assert_same(one, other, gamma_factor=1 / factor)
    assert torch.allclose(one.terms.weights, other.terms.weights, rtol=1e-9)


@given(term_lists(), st.floats(-1e6, 1e6))
@some
def test_an_identity_term_changes_nothing(drawn, constant):
    size, terms = drawn
    one, other = of_qaoa(operator_of(size, terms), 2), of_qaoa(operator_of(size, terms, constant), 2)
    assert_same(one, other)
    assert torch.equal(one.terms.weights, other.terms.weights)


@given(term_lists(), st.data())
@some
def test_flipping_single_spins_changes_nothing(drawn, data):
    size, terms = drawn
    flips = data.draw(st.sets(st.integers(0, size - 1)))
    flipped = [(support, value * (-1) ** len(flips & set(support))) for support, value in terms]
    assert_same(of_qaoa(operator_of(size, terms), 2), of_qaoa(operator_of(size, flipped), 2))


@given(term_lists(), st.integers(1, 4))
@some
def test_isolated_qubits_change_nothing_but_the_number_of_qubits(drawn, more):
    size, terms = drawn
    one, other = of_qaoa(operator_of(size, terms), 2), of_qaoa(operator_of(size + more, terms), 2)
    assert_same(one, other)
    assert other.num_qubits == one.num_qubits + more


@given(term_lists())
@some
def test_a_term_in_two_pieces_is_one_term(drawn):
    size, terms = drawn
    pieces = [(support, value / 4) for support, value in terms] + [(support, 3 * value / 4) for support, value in terms]
    one, other = of_qaoa(operator_of(size, terms), 2), of_qaoa(operator_of(size, pieces), 2)
    assert_same(one, other)
    assert len(one.terms.weights) == len(other.terms.weights) == len(terms)


@given(term_lists())
@some
def test_rounding_residue_changes_nothing(drawn):
    size, terms = drawn
    largest = max(abs(value) for _, value in terms)
    present = {support for support, _ in terms}
    residue = [support for support in itertools.combinations(range(size), 2) if support not in present]
    noisy = terms + [(support, 1e-14 * largest) for support in residue]
    terms = [(support, value) for support, value in terms if abs(value) > 1e-12 * largest]
    assert_same(of_qaoa(operator_of(size, terms), 2), of_qaoa(operator_of(size, noisy), 2))


def test_small_terms_are_still_terms():
    one, other = (of_qaoa(SparsePauliOp(["IZZ", "ZZI"], [1.0, small]), 1) for small in (1e-9, 1e-15))
    assert (named(one)["inverse_degree"], named(other)["inverse_degree"]) == (3 / 4, 1.0)


@given(term_lists())
@some
def test_all_features_are_finite_and_named(drawn):
    item = of_qaoa(operator_of(*drawn), 2)
    assert item.summary.shape == (len(SUMMARY),)
    assert item.tokens.shape == (4, len(TOKENS))
    assert item.summary.dtype == item.tokens.dtype == item.unit.dtype == torch.float64
    assert torch.isfinite(item.summary).all()
    assert torch.isfinite(item.tokens).all()


def test_different_problems_have_different_features():
    # Or the invariances above would be worth nothing.
    graphs = [
        nx.cycle_graph(6),
        nx.path_graph(6),
        nx.complete_graph(6),
        nx.star_graph(5),
        nx.complete_bipartite_graph(3, 3),
    ]
    graphs += [nx.circular_ladder_graph(3), nx.disjoint_union(nx.complete_graph(3), nx.complete_graph(3))]
    rows = torch.stack([of_qaoa(graph_operator(graph), 1).summary for graph in graphs])
    assert torch.cdist(rows, rows).fill_diagonal_(1).min() > 0.05
    signed = nx.complete_graph(4)
    signed.add_edge(0, 1, weight=-1.0)  # frustration is what single flips cannot take away
    one, other = of_qaoa(graph_operator(nx.complete_graph(4)), 1), of_qaoa(graph_operator(signed), 1)
    assert (one.summary - other.summary).abs().max() > 0.1


# the global features


def test_a_path_by_hand():
    # a - b - c with weights 1 and 3; degrees 1, 2, 1.
    graph = nx.Graph([(0, 1, {"weight": 1.0}), (1, 2, {"weight": 3.0})])
    values = named(of_qaoa(graph_operator(graph), 1))
    rms = math.sqrt(5)
    strengths = np.array([1, 10, 9]) / 5
    assert values == pytest.approx(
        {
            "inverse_qubits": 1 / 3,
            "inverse_degree": 3 / 4,
            "degree_angle": math.atan(1 / math.sqrt(4 / 3 - 1)),
            "degree_spread": np.std([1, 2, 1]) / (4 / 3),
            "degree_least": 3 / 4,
            "degree_most": math.log(2 / (4 / 3)),
            "density": (4 / 3) / 2,
            "assortativity": 2 / (4 / 3) ** 2,
            "weight_mean": 2 / rms,
            "weight_tail": math.log(41 / 25),
            "strength_spread": strengths.std() / strengths.mean(),
            "field_share": 0.0,
            "order": 2.0,
            "triangles": 0.0,
            "triangles_weighted": 0.0,
            "squares": 0.0,
            "squares_weighted": 0.0,
        },
        abs=1e-12,
    )


def test_fields_and_high_orders_by_hand():
    operator = SparsePauliOp(["IIIZ", "IIZZ", "IZZZ"], [1.0, -2.0, 2.0])
    item = of_qaoa(operator, 1)
    values = named(item)
    assert (item.order, item.fields, item.num_qubits) == (3, True, 4)
    assert values["inverse_qubits"] == pytest.approx(1 / 3)
    assert values["inverse_degree"] == pytest.approx(3 / 6)  # a field counts as an edge
    assert values["field_share"] == pytest.approx(1 / 9)
    assert values["order"] == pytest.approx(2)
    assert values["weight_mean"] == pytest.approx((5 / 3) / math.sqrt(3))


def four_cycles(graph):
    """Every cycle of four distinct nodes once, with the product of its weights."""
    for a, b, c, d in itertools.permutations(graph, 4):
        if a == min(a, b, c, d) and b < d and all(graph.has_edge(*e) for e in [(a, b), (b, c), (c, d), (d, a)]):
            yield math.prod(graph.edges[e]["weight"] for e in [(a, b), (b, c), (c, d), (d, a)])


def triangles(graph):
    for a, b, c in itertools.combinations(graph, 3):
        if all(graph.has_edge(*e) for e in [(a, b), (b, c), (c, a)]):
            yield math.prod(graph.edges[e]["weight"] for e in [(a, b), (b, c), (c, a)])


@pytest.mark.parametrize("nodes", [4, 5, 6, 7, 8])
@pytest.mark.parametrize("probability", [0.4, 0.7, 1.0])
def test_triangles_and_squares_are_those_counted_one_by_one(nodes, probability, rng):
    graph = nx.gnp_random_graph(nodes, probability, seed=int(rng.integers(2**31)))
    graph.add_edge(0, 1)
    for _, _, data in graph.edges(data=True):
        data["weight"] = rng.normal()
    rms = math.sqrt(np.mean([data["weight"] ** 2 for *_, data in graph.edges(data=True)]))
    values = named(of_qaoa(graph_operator(graph), 1))
    edges = graph.number_of_edges()
    degree = 2 * edges / sum(degree > 0 for _, degree in graph.degree)
    three, four = list(triangles(graph)), list(four_cycles(graph))
    assert len(three) == sum(nx.triangles(graph).values()) // 3
    assert len(four) == sum(len(cycle) == 4 for cycle in nx.simple_cycles(graph, length_bound=4))
    assert values["triangles"] == pytest.approx(6 * len(three) / edges / degree, abs=1e-9)
    assert values["triangles_weighted"] == pytest.approx(6 * sum(three) / rms**3 / edges / degree, abs=1e-9)
    assert values["squares"] == pytest.approx(8 * len(four) / edges / degree**2, abs=1e-9)
    assert values["squares_weighted"] == pytest.approx(8 * sum(four) / rms**4 / edges / degree**2, abs=1e-9)


def test_cycles_count_pairs_only_beside_fields_and_higher_orders():
    triangle = [((0, 1), 1.0), ((1, 2), 1.0), ((0, 2), 1.0)]
    alone = named(of_qaoa(operator_of(4, triangle), 1))
    mixed = named(of_qaoa(operator_of(4, [*triangle, ((0,), 1.0), ((0, 1, 3), 1.0)]), 1))
    assert alone["triangles"] == pytest.approx(6 / 3 / 2)
    assert mixed["triangles"] == pytest.approx(6 / 3 / (10 / 4))  # of more degree, and of no more triangles
    assert named(of_qaoa(operator_of(3, [((0,), 1.0)]), 1))["triangles"] == 0


@pytest.mark.parametrize(
    ("degree", "angle"),
    [(0.0, math.pi / 2), (1.0, math.pi / 2), (2.0, math.pi / 4), (3.0, math.atan(1 / math.sqrt(2)))],
)
def test_the_degree_angle(degree, angle):
    assert degree_angle(degree) == pytest.approx(angle, abs=1e-15)


# the graph of terms


def test_the_graph_of_terms_by_hand():
    item = of_qaoa(SparsePauliOp(["IZX", "YII", "III"], [3.0, -4.0, 7.0]), 1)
    rms = math.sqrt((36 + 64) / 2)
    incidences = {
        (round(item.terms.weights[term].item() * rms, 9), qubit, letter)
        for term, qubit, letter in zip(
            item.terms.term.tolist(), item.terms.qubit.tolist(), item.terms.letter.tolist(), strict=True
        )
    }
    assert incidences == {(6.0, 0, 1), (6.0, 1, 3), (-8.0, 2, 2)}
    assert item.terms.weights.shape == (2,)
    assert not item.diagonal


@given(term_lists())
@some
def test_the_weights_of_the_terms_have_rms_one(drawn):
    item = of_qaoa(operator_of(*drawn), 1)
    assert item.terms.weights.square().mean().item() == pytest.approx(1.0)
    assert len(item.terms.term) == len(item.terms.qubit) == sum(len(support) for support, _ in drawn[1])


# tokens


def test_the_tokens_of_qaoa_by_hand():
    item = of_qaoa(SparsePauliOp("ZZ"), 2)
    assert (item.ansatz, item.reps, item.num_parameters) == ("qaoa", 2, 4)
    expected = np.zeros((4, len(TOKENS)))
    expected[:2, TOKENS.index("mixer")] = 1
    expected[2:, TOKENS.index("cost")] = 1
    expected[:, TOKENS.index("stage")] = [0.25, 0.75, 0.25, 0.75]
    expected[:, TOKENS.index("inverse_depth")] = 0.5
    expected[:, TOKENS.index("log_depth")] = math.log(2)
    assert np.allclose(item.tokens, expected, atol=1e-15)


def test_the_tokens_of_a_circuit_by_hand():
    a, b, _ = parameters = ParameterVector("t", 3)
    circuit = QuantumCircuit(2)
    circuit.rx(a, 0)  # positions 0 to 4
    circuit.rzz(2 * b, 0, 1)
    circuit.cx(0, 1)
    circuit.ry(a + b, 1)
    circuit.rzx(b, 0, 1)
    circuit.rx(0 * parameters[2], 0)  # drives nothing
    item = of_circuit(circuit, SparsePauliOp(["ZX"]))
    rows = [dict(zip(TOKENS, row, strict=True)) for row in item.tokens.tolist()]
    nothing = dict.fromkeys(TOKENS, 0.0)
    assert rows[0] == pytest.approx(
        {**nothing, "x": 0.5, "y": 0.5, "stage": (0.5 + 3.5) / 2 / 6, "log_rotations": math.log(2)}
    )
    assert rows[1] == pytest.approx(
        {
            **nothing,
            "x": 0.5 / 3,
            "y": 1 / 3,
            "z": 1.5 / 3,
            "many": 2 / 3,
            "stage": (1.5 + 3.5 + 4.5) / 3 / 6,
            "log_rotations": math.log(3),
        }
    )
    assert rows[2] == nothing
    assert (item.ansatz, item.reps, item.num_parameters, item.diagonal) == ("circuit", 0, 3, False)
    assert item.unit.tolist() == [1, 1, 1]


def test_the_summary_does_not_depend_on_the_circuit():
    operator = SparsePauliOp(["IZZ", "ZZI", "IIZ"], [1.0, 2.0, 0.5])
    other = of_circuit(efficient_su2(3, reps=1), operator)
    assert torch.equal(of_qaoa(operator, 5).summary, other.summary)
    assert other.tokens.shape == (12, len(TOKENS))


# batches


def test_a_batch_pads_with_zeros_and_marks_what_is_padding():
    operators = [SparsePauliOp("ZZ", 2.0), SparsePauliOp(["IZZ", "ZZI"]), SparsePauliOp("ZZZZ")]
    items = [of_qaoa(operators[0], 1), of_qaoa(operators[1], 3), of_circuit(efficient_su2(4, reps=0), operators[2])]
    batch = stack(items)
    sizes = [2, 6, 8]
    assert len(batch) == 3
    assert batch.items == tuple(items)
    assert batch.summary.shape == (3, len(SUMMARY))
    assert batch.tokens.shape == (3, 8, len(TOKENS))
    assert batch.unit.shape == batch.mask.shape == (3, 8)
    for row, (item, size) in enumerate(zip(items, sizes, strict=True)):
        assert torch.equal(batch.summary[row], item.summary)
        assert torch.equal(batch.tokens[row, :size], item.tokens)
        assert torch.equal(batch.unit[row, :size], item.unit)
        assert batch.mask[row].tolist() == [True] * size + [False] * (8 - size)
        assert not batch.tokens[row, size:].any()
        assert not batch.unit[row, size:].any()
    assert batch.named("order").tolist() == [2.0, 2.0, 4.0]


def test_names_are_unique():
    assert len(set(SUMMARY)) == len(SUMMARY)
    assert len(set(TOKENS)) == len(TOKENS)


# size


@pytest.mark.benchmark
def test_127_qubits_take_little_memory_and_nothing_is_densified(benchmark, monkeypatch, rng):
    def never(*given, **keywords):
        raise AssertionError("a zero-query proposal builds no circuit and no matrix")

    for name in ("to_matrix", "to_operator"):
        monkeypatch.setattr(SparsePauliOp, name, never)
    monkeypatch.setattr(ansatz, "qaoa_ansatz", never)
    monkeypatch.setattr(features, "split", never)
    graph = nx.random_regular_graph(3, 126, seed=1)
    graph.add_edge(125, 126)
    terms = [((u, v), rng.normal()) for u, v in graph.edges] + [((i,), rng.normal()) for i in range(127)]
    terms += [((i, i + 1, i + 2), rng.normal()) for i in range(0, 120, 3)]
    operator = operator_of(127, terms, 3.0)
    of_qaoa(operator, 8)
    tracemalloc.start()
    item = of_qaoa(operator, 8)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5e6
    benchmark(of_qaoa, operator, 8)
    assert item.num_qubits == 127
    assert torch.isfinite(item.summary).all()


@pytest.mark.benchmark
def test_a_dense_problem_of_127_qubits(benchmark, rng):
    terms = [((u, v), rng.normal()) for u, v in itertools.combinations(range(127), 2)]
    operator = operator_of(127, terms)
    item = benchmark(of_qaoa, operator, 3)
    assert named(item)["density"] == pytest.approx(1.0)


# errors


@pytest.mark.parametrize("reps", [0, -1, 1.5, True, "2", None])
def test_bad_reps_are_refused(reps):
    with pytest.raises(ValueError, match="reps must be a positive integer"):
        ansatz.check_reps(reps)


def test_numpy_integers_are_integers():
    assert ansatz.check_reps(np.int64(3)) == 3
    assert type(ansatz.check_reps(np.int64(3))) is int


def test_bad_operators_are_refused():
    with pytest.raises(ValueError, match="constant"):
        of_qaoa(SparsePauliOp("II"), 1)
    with pytest.raises(ValueError, match="Hermitian"):
        of_circuit(qaoa_ansatz(SparsePauliOp("ZZ"), reps=1), SparsePauliOp("ZZ", 1j))


def test_another_depth_shares_the_graph_and_has_its_own_tokens():
    operator = SparsePauliOp(["ZZI", "IZZ", "ZII"], [0.3, -1.1, 0.7])
    item, fresh = of_qaoa(operator, 3), of_qaoa(operator, 5)
    other = item.with_reps(5)
    assert other.terms is item.terms
    assert (other.reps, other.num_parameters) == (5, 10)
    for name in ("summary", "tokens", "unit"):
        assert torch.equal(getattr(other, name), getattr(fresh, name))
    with pytest.raises(ValueError, match="positive integer"):
        item.with_reps(0)
    with pytest.raises(ValueError, match="Only a QAOA task has other depths"):
        of_circuit(efficient_su2(2, reps=0), SparsePauliOp("ZZ")).with_reps(2)
