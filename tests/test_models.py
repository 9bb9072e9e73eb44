"""Tests of each model's numbers, by hand where there is a formula."""

import json
import math
from importlib.resources import files

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit.circuit.library import efficient_su2
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit import plugins
from qiskit_metainit.features import of_circuit, of_qaoa, stack
from qiskit_metainit.models.analytic_p1 import AnalyticP1
from qiskit_metainit.models.constant import Constant
from qiskit_metainit.models.degree_rule import DegreeRule
from qiskit_metainit.models.fixed_angles import FixedAngles
from qiskit_metainit.models.graph_correction import GraphCorrection
from qiskit_metainit.models.linear_ramp import LinearRamp
from qiskit_metainit.models.linear_ramp_scan import LinearRampScan
from qiskit_metainit.models.lstm import Lstm
from qiskit_metainit.models.portfolio import Portfolio
from qiskit_metainit.models.qfwp import Qfwp
from qiskit_metainit.models.qk_lstm import QkLstm
from qiskit_metainit.models.qlstm import Qlstm
from qiskit_metainit.models.random_angles import RandomAngles
from qiskit_metainit.models.random_point import RandomPoint
from qiskit_metainit.models.refinement import Refinement
from qiskit_metainit.models.same_angle import SameAngle
from qiskit_metainit.models.sk_correction import SkCorrection
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.models.tqa import Tqa
from qiskit_metainit.models.tqa_scan import TqaScan
from qiskit_metainit.rollout import rollout

FORMULAS = [AnalyticP1, Constant, DegreeRule, FixedAngles, LinearRamp, RandomPoint, SkInfinity, Tqa]
QAOA_ONLY = [
    Constant,
    FixedAngles,
    GraphCorrection,
    LinearRamp,
    LinearRampScan,
    Portfolio,
    Refinement,
    SkCorrection,
    SkInfinity,
    Tqa,
    TqaScan,
]

PRISM = nx.circular_ladder_graph(3)  # 3-regular, 6 nodes, with triangles


def graph_operator(graph, coefficient=0.5, weights=None):
    edges = list(graph.edges)
    weights = np.ones(len(edges)) if weights is None else weights
    terms = [("ZZ", [u, v], coefficient * weight) for (u, v), weight in zip(edges, weights, strict=True)]
    return SparsePauliOp.from_sparse_list([*terms, ("", [], 1.0)], num_qubits=len(graph))


def points_of(model, *items):
    """Return the answers in radians, as a deployment without queries sees them."""
    with torch.no_grad():
        return rollout(model, items, None, measure_answer=False).answer.numpy()


def point_of(model, operator, reps):
    return points_of(model, of_qaoa(operator, reps))[0]


@pytest.fixture
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        yield


# SK-infinity


def test_sk_infinity_at_one_layer_on_a_regular_graph_by_hand():
    # beta = pi/8 and gamma_C = arctan(1/sqrt(D - 1)): the optimum of triangle-free 3-regular graphs.
    assert point_of(SkInfinity(), graph_operator(PRISM), 1) == pytest.approx(
        [math.pi / 8, -math.atan(1 / math.sqrt(2))], abs=1e-8
    )


def test_sk_infinity_at_three_layers_on_a_regular_graph_by_hand():
    factor = 2 * math.atan(1 / math.sqrt(2))
    by_hand = [0.5500, 0.3675, 0.2109, -0.3297 * factor, -0.5688 * factor, -0.6406 * factor]
    assert point_of(SkInfinity(), graph_operator(PRISM), 3) == pytest.approx(by_hand, abs=1e-4)


def test_sk_infinity_at_five_layers_on_two_qubits_by_hand():
    # One edge has degree 1, whose arctan is pi/2; H = ZZ has weight 2.
    gammas = np.array([0.2705, 0.4804, 0.5074, 0.5646, 0.6397])
    by_hand = [0.5899, 0.4492, 0.3559, 0.2643, 0.1486, *(-2 * gammas * (math.pi / 2) / 2)]
    assert point_of(SkInfinity(), SparsePauliOp("ZZ"), 5) == pytest.approx(by_hand, abs=2e-4)


def test_sk_infinity_with_fields_and_high_orders_by_hand():
    # d = (2 + 3 + 1) incidences / 3 touched qubits; rms of 2 alpha = 2 sqrt((1 + 4 + 4)/3).
    operator = SparsePauliOp(["IIZZ", "IZZZ", "IZII", "IIII"], [1.0, 2.0, -2.0, 5.0])
    gamma = math.atan(1 / math.sqrt(2 - 1)) / (2 * math.sqrt(3))
    assert point_of(SkInfinity(), operator, 1) == pytest.approx([math.pi / 8, -gamma], abs=1e-8)


@pytest.mark.parametrize("reps", [1, 3, 10, 17])
def test_weights_rescale_the_gammas_by_their_rms_and_leave_the_betas(reps, rng):
    weights = rng.normal(size=PRISM.number_of_edges())
    plain = point_of(SkInfinity(), graph_operator(PRISM), reps)
    weighted = point_of(SkInfinity(), graph_operator(PRISM, weights=weights), reps)
    assert weighted[:reps] == pytest.approx(plain[:reps], abs=1e-15)
    assert weighted[reps:] == pytest.approx(plain[reps:] / math.sqrt(np.mean(weights**2)), rel=1e-12)


def test_every_tabulated_depth_is_its_own_row():
    table = json.loads((files("qiskit_metainit.models") / "sk_infinity.json").read_text())["depths"]
    assert max(map(int, table)) == 10
    seen = [point_of(SkInfinity(), graph_operator(PRISM), reps) for reps in range(1, 11)]
    for reps, point in enumerate(seen, 1):
        gammas = -2 * np.array(table[str(reps)]["gamma"]) * math.atan(2**-0.5)
        assert point == pytest.approx([*table[str(reps)]["beta"], *gammas], abs=1e-12)
        assert np.all(np.diff(point[:reps]) < 0)
        assert np.all(np.diff(point[reps:]) < 0)  # minus gamma_C, which grows
    assert seen[1] == pytest.approx([0.4960, 0.2690, *(-2 * np.array([0.3817, 0.6655]) * math.atan(2**-0.5))], abs=1e-3)


@pytest.mark.parametrize("reps", [11, 12, 20, 64, 300])
def test_beyond_the_table_the_schedule_is_stretched_smoothly(reps):
    deepest = point_of(SkInfinity(), graph_operator(PRISM), 10)
    point = point_of(SkInfinity(), graph_operator(PRISM), reps)
    assert point.shape == (2 * reps,)
    assert np.isfinite(point).all()
    for deep, known in ((point[:reps], deepest[:10]), (point[reps:], deepest[10:])):
        assert deep.min() >= known.min() - 1e-12
        assert deep.max() <= known.max() + 1e-12
        assert np.all(np.diff(deep) <= 1e-15)
        assert np.abs(np.diff(deep)).max() <= np.abs(np.diff(known)).max()
        middle = np.interp((np.arange(10) + 0.5) / 10, (np.arange(reps) + 0.5) / reps, deep)
        assert middle[1:-1] == pytest.approx(known[1:-1], abs=0.05)


# the other formulas


def test_the_linear_ramp_by_hand():
    operator = graph_operator(PRISM)  # rms(w) = 1
    assert point_of(LinearRamp(), operator, 3) == pytest.approx([0.3, 0.2, 0.1, -0.2, -0.4, -0.6])
    assert point_of(LinearRamp(beta=0.8, gamma=1.0), operator, 1) == pytest.approx([0.8, -1.0])
    doubled = point_of(LinearRamp(), graph_operator(PRISM, coefficient=1.0), 3)
    assert doubled == pytest.approx([0.3, 0.2, 0.1, -0.1, -0.2, -0.3])


def test_tqa_by_hand():
    # For sum J ZZ at J = 1: beta = (1 - s) dt and gamma = s dt at the middles s of the layers, gamma minus by the sign.
    operator = graph_operator(PRISM, coefficient=1.0)
    assert point_of(Tqa(), operator, 1) == pytest.approx([0.375, -0.375])
    assert point_of(Tqa(dt=1.2), operator, 2) == pytest.approx([0.9, 0.3, -0.3, -0.9])
    assert point_of(Tqa(dt=1.2), graph_operator(PRISM), 2) == pytest.approx([0.9, 0.3, -0.6, -1.8])


def test_a_constant_by_hand():
    operator = graph_operator(PRISM)
    model = Constant(point=[1.0, 2.0, 3.0, 4.0])
    assert point_of(model, operator, 2) == pytest.approx([1, 2, 3, 4])
    assert point_of(model, graph_operator(PRISM, coefficient=5.0), 2) == pytest.approx([1, 2, 0.3, 0.4])
    circuit = efficient_su2(2, reps=0)
    assert points_of(model, of_circuit(circuit, SparsePauliOp("ZX", 7.0)))[0] == pytest.approx([1, 2, 3, 4])


def test_the_tabulated_constant_serves_several_depths_and_is_near_the_published_point():
    rows = json.loads((files("qiskit_metainit.models") / "constant.json").read_text())["depths"]
    assert rows["1"]["point"] == pytest.approx(
        [0.295, -0.42], abs=0.07
    )  # a grid search over the training graphs of Lin et al. 2025 gives about this
    items = [of_qaoa(graph_operator(PRISM), reps) for reps in (2, 1)]
    points = points_of(Constant(), *items)
    assert points[0] == pytest.approx(rows["2"]["point"])
    assert points[1] == pytest.approx([*rows["1"]["point"], 0, 0])
    scaled = point_of(Constant(), graph_operator(PRISM, coefficient=5.0), 1)
    assert scaled == pytest.approx(np.array(rows["1"]["point"]) / [1, 10])


@pytest.mark.parametrize("model", [Constant(), Constant(point=[0.1, 0.2])], ids=["tabulated", "given"])
def test_a_constant_does_not_share_its_rows(model):
    item = of_qaoa(graph_operator(PRISM), 1)
    for _ in range(2):
        points, _ = model.begin(stack([item, item]))
        before = points[1].clone()
        points[0] += 1
        assert torch.equal(points[1], before)
    assert before.abs().max() < 0.5


def test_a_random_point_has_the_range_of_qiskit_algorithms():
    operator = graph_operator(PRISM)
    points = np.stack([point_of(RandomPoint(seed=seed), operator, 50) for seed in range(40)])
    betas, gammas = points[:, :50].ravel(), points[:, 50:].ravel()
    assert betas.min() >= 0
    assert betas.max() < 2 * math.pi
    assert gammas.min() >= -2 * math.pi
    assert gammas.max() < 2 * math.pi
    # Uniform: 2000 draws fill the range, with its mean and variance.
    assert betas.min() < 0.05
    assert betas.max() > 2 * math.pi - 0.05
    assert betas.mean() == pytest.approx(math.pi, abs=0.2)
    assert gammas.mean() == pytest.approx(0, abs=0.4)
    assert betas.std() == pytest.approx(2 * math.pi / math.sqrt(12), rel=0.05)
    assert gammas.std() == pytest.approx(4 * math.pi / math.sqrt(12), rel=0.05)


def test_a_random_point_is_drawn_in_natural_units():
    one = point_of(RandomPoint(), graph_operator(PRISM), 2)
    scaled = point_of(RandomPoint(), graph_operator(PRISM, coefficient=50.0), 2)
    assert scaled[:2] == pytest.approx(one[:2])
    assert scaled[2:] == pytest.approx(one[2:] / 100)


def test_a_random_point_depends_on_seed_and_size_and_on_nothing_else():
    items = [of_qaoa(graph_operator(nx.cycle_graph(n)), reps) for n, reps in [(4, 1), (5, 1), (4, 2)]]
    first, again = (points_of(RandomPoint(seed=3), *items) for _ in range(2))
    assert np.array_equal(first, again)
    alone = points_of(RandomPoint(seed=3), items[1])
    assert np.array_equal(alone[0], first[1, :2])
    other = points_of(RandomPoint(seed=4), *items)
    assert (np.abs(first - other)[first != 0] > 1e-3).all()
    assert len({float(row[0]) for row in first}) == 3
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    points_of(RandomPoint(), *items)
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_a_random_point_serves_any_circuit():
    item = of_circuit(efficient_su2(3, reps=2), SparsePauliOp("ZXI"))
    points = np.stack([points_of(RandomPoint(seed=seed), item)[0] for seed in range(20)])
    assert points.shape == (20, 18)
    assert points.min() < -5
    assert points.max() > 5


@pytest.mark.parametrize("model", FORMULAS, ids=lambda model: model.__name__)
def test_formulas_have_no_weights_and_ask_for_nothing(model):
    model = model()
    assert not list(model.parameters())
    assert model.queries == 0
    with pytest.raises(TypeError, match="asks for no costs"):
        model.refine(torch.zeros(1, 2), torch.zeros(1), None)


# all zero-query models of QAOA


@st.composite
def graphs(draw):
    nodes = draw(st.integers(3, 7))
    graph = nx.gnp_random_graph(nodes, 0.6, seed=draw(st.integers(0, 10**6)))
    graph.add_edge(0, 1)
    return graph, draw(st.integers(0, 10**6))


@given(graphs(), st.integers(1, 12), st.sampled_from([1e-9, 1.0, 1e6]))
@settings(deadline=None, max_examples=30)
def test_points_follow_relabelling_and_scale(drawn, reps, factor):
    graph, seed = drawn
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=graph.number_of_edges())
    labels = rng.permutation(len(graph))
    operator = graph_operator(graph, weights=weights)
    renamed = nx.relabel_nodes(graph, dict(enumerate(labels.tolist())))
    renamed_weights = [
        weights[list(graph.edges).index(edge)]
        for edge in (next(e for e in graph.edges if {labels[e[0]], labels[e[1]]} == {u, v}) for u, v in renamed.edges)
    ]
    ordered = SparsePauliOp.from_sparse_list(
        [("ZZ", [u, v], 0.5 * factor * w) for (u, v), w in zip(renamed.edges, renamed_weights, strict=True)],
        num_qubits=len(graph),
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        correction = SkCorrection(width=8, layers=1)
        torch.nn.init.normal_(correction.network[-1].weight)
    for model in (SkInfinity(), LinearRamp(), Tqa(), RandomPoint(), correction):
        one, other = point_of(model, operator, reps), point_of(model, ordered, reps)
        assert other[:reps] == pytest.approx(one[:reps], abs=1e-9)
        assert other[reps:] * factor == pytest.approx(one[reps:], rel=1e-9, abs=1e-9)


def test_a_batch_of_several_depths_gives_what_its_tasks_give_one_by_one(seeded):
    correction = SkCorrection(width=8, layers=2)
    torch.nn.init.normal_(correction.network[-1].weight)
    items = [
        of_qaoa(graph_operator(PRISM), 3),
        of_qaoa(graph_operator(nx.cycle_graph(5), 2.0), 12),
        of_qaoa(SparsePauliOp(["ZZZ", "IIZ"], [0.3, 4.0]), 1),
        of_qaoa(graph_operator(nx.star_graph(4)), 3),
    ]
    for model in (SkInfinity(), LinearRamp(), Tqa(), RandomPoint(), correction):
        together = points_of(model, *items)
        proposed, _ = model.begin(stack(items))
        assert together.shape == (4, 24)
        for row, item in enumerate(items):
            assert together[row, : 2 * item.reps] == pytest.approx(points_of(model, item)[0], abs=1e-12)
            assert not together[row, 2 * item.reps :].any()
            assert not proposed[row, 2 * item.reps :].any()


# LSTM


def test_the_lstm_of_the_paper_has_56_weights():
    model = Lstm(num_parameters=2, hidden=None)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 56
    assert model.queries == 9


def test_an_lstm_with_a_readout_has_more_and_leaves_the_unit_box(seeded):
    model = Lstm(num_parameters=2, hidden=5)
    assert sum(p.numel() for p in model.parameters()) == 4 * 5 * (3 + 5 + 2) + 5 * 2 + 2
    with torch.no_grad():
        model.readout.bias += 10
    points, _ = model.begin(stack([of_qaoa(graph_operator(PRISM), 1)]))
    assert points.min() > 5


def run_lstm(model, costs, size=1):
    """Return (T, B, P) proposals given the costs (T - 1, B)."""
    batch = stack([of_qaoa(graph_operator(PRISM), model.num_parameters // 2)] * size)
    with torch.no_grad():
        points, state = model.begin(batch)
        proposals = [points]
        for cost in costs:
            points, state = model.refine(points, cost, state)
            proposals.append(points)
    return torch.stack(proposals)


def lstm_slow(model, costs):
    """The recurrence, gate by gate, from zeros: input [cost, theta], gates i, f, g, o, theta = h."""
    w_x, w_h = model.cell.weight_ih.detach().numpy(), model.cell.weight_hh.detach().numpy()
    bias = (model.cell.bias_ih + model.cell.bias_hh).detach().numpy()
    hidden = memory = theta = np.zeros(model.num_parameters)
    proposals = []
    for cost in [0.0, *costs]:
        gates = w_x @ np.concatenate([[cost], theta]) + w_h @ hidden + bias
        i, f, g, o = np.split(gates, 4)
        sigmoid = [1 / (1 + np.exp(-gate)) for gate in (i, f, o)]
        memory = sigmoid[1] * memory + sigmoid[0] * np.tanh(g)
        hidden = theta = sigmoid[2] * np.tanh(memory)
        proposals.append(theta)
    return np.array(proposals)


def test_the_lstm_is_the_recurrence_of_the_paper(seeded, rng):
    model = Lstm(num_parameters=4, queries=5)
    costs = rng.uniform(-1, 1, 5)
    proposals = run_lstm(model, torch.as_tensor(costs)[:, None])
    assert np.allclose(proposals[:, 0], lstm_slow(model, costs), atol=1e-12)


def test_the_angles_of_the_paper_form_stay_inside_the_unit_box(seeded, rng):
    model = Lstm(num_parameters=2)
    with torch.no_grad():
        model.cell.bias_ih += 5  # every gate open, so that the memory grows with each step
    proposals = run_lstm(model, torch.as_tensor(rng.uniform(-1, 1, (9, 20))), size=20)
    assert proposals.shape == (10, 20, 2)
    assert proposals.abs().max() < 1
    assert proposals.abs().max() > 0.95


def test_the_lstm_depends_on_each_cost_from_then_on_and_on_its_own_row_only(seeded):
    model = Lstm(num_parameters=2, queries=4)
    costs = torch.full((4, 2), -0.3, dtype=torch.float64)
    base = run_lstm(model, costs, size=2)
    assert torch.equal(base[:, 0], base[:, 1])
    for step in range(4):
        changed = costs.clone()
        changed[step, 0] = 0.6
        other = run_lstm(model, changed, size=2)
        assert torch.equal(other[:, 1], base[:, 1])
        assert torch.equal(other[: step + 1, 0], base[: step + 1, 0])
        assert (other[step + 1 :, 0] - base[step + 1 :, 0]).abs().min() > 1e-6


def test_the_first_proposal_of_the_lstm_is_a_constant(seeded):
    model = Lstm(num_parameters=2)
    items = [of_qaoa(graph_operator(PRISM), 1), of_qaoa(SparsePauliOp(["ZZZ", "IIZ"], [0.3, 4.0]), 1)]
    points, _ = model.begin(stack(items))
    assert torch.equal(points[0], points[1])
    assert points.abs().min() > 0


def test_gradients_reach_every_weight_of_the_lstm(seeded):
    for model in (Lstm(num_parameters=2), Lstm(num_parameters=2, hidden=3)):
        points, state = model.begin(stack([of_qaoa(graph_operator(PRISM), 1)]))
        points, _ = model.refine(points, points.sum(dim=1), state)
        points.square().sum().backward()
        assert all(weight.grad.abs().sum() > 0 for weight in model.parameters())


# the learned correction


@pytest.mark.parametrize("reps", [1, 3, 11, 20])
def test_an_untrained_correction_is_the_formula(reps):
    operator = graph_operator(PRISM, weights=np.linspace(-1, 2, 9))
    assert np.array_equal(point_of(SkCorrection(), operator, reps), point_of(SkInfinity(), operator, reps))


def test_a_trained_correction_adds_to_each_angle_what_its_token_gives(seeded):
    model = SkCorrection(width=8, layers=2)
    torch.nn.init.normal_(model.network[-1].weight)
    item = of_qaoa(graph_operator(PRISM), 3)
    points, _ = model.begin(stack([item]))
    formula, _ = SkInfinity().begin(stack([item]))
    for index in range(6):
        inputs = torch.cat([item.summary, item.tokens[index], formula[0, index, None]])
        assert points[0, index].item() == pytest.approx((formula[0, index] + model.network(inputs)).item(), abs=1e-12)
    assert (points - formula).abs().min() > 1e-6


def test_the_correction_has_one_set_of_weights_for_all_depths(seeded):
    model = SkCorrection()
    weights = sum(weight.numel() for weight in model.parameters())
    assert weights == (17 + 10 + 1 + 1) * 128 + 2 * (128 + 1) * 128 + 128 + 1
    item = of_qaoa(graph_operator(PRISM), 2)
    points, _ = model.begin(stack([item]))
    points.sum().backward()
    assert model.network[-1].weight.grad.abs().sum() > 0  # or it could never leave the formula


# what is not served


NOT_DIAGONAL = of_qaoa(SparsePauliOp(["ZZI", "IXX"]), 1)
CIRCUIT = of_circuit(efficient_su2(2, reps=0), SparsePauliOp("ZZ"))
DEEP = of_qaoa(SparsePauliOp(["ZZI", "IIZ"]), 40)


@pytest.mark.parametrize("model", QAOA_ONLY, ids=lambda model: model.__name__)
def test_formulas_of_qaoa_say_why_they_do_not_serve_something_else(model):
    model = model()
    assert "standard QAOA circuit, but another ansatz with 4 parameters" in model.unsupported(CIRCUIT)
    assert "diagonal operator" in model.unsupported(NOT_DIAGONAL)
    assert model.unsupported(CIRCUIT).startswith(type(model).__name__)
    assert model.unsupported(DEEP) is None


def test_models_of_one_size_say_which():
    assert Constant(point=[0.0] * 2).unsupported(CIRCUIT) == "this Constant holds 2 parameters, but the task has 4"
    assert Constant(point=[0.0] * 4).unsupported(CIRCUIT) is None
    reason = Lstm(num_parameters=2).unsupported(CIRCUIT)
    assert reason is not None
    assert reason.startswith("this Lstm holds 2 parameters, but the task has 4; make one with num_parameters=4")
    assert Lstm(num_parameters=4).unsupported(CIRCUIT) is None
    assert Lstm(num_parameters=2).unsupported(NOT_DIAGONAL) is None
    assert RandomPoint().unsupported(CIRCUIT) is None


# settings


ITEMS = [of_qaoa(graph_operator(PRISM), reps) for reps in (2, 1)]  # the deeper one for those that serve both
SEQUENCE = {"conditioned": True, "increments": False, "start": "sk_infinity", "cost": "raw", "as_published": False}
SETTINGS = [
    (AnalyticP1, {"reach": 2.0}),
    (Constant, {"point": None, "rescaled": True}),
    (Constant, {"point": [0.1, 0.2, 0.3, 0.4], "rescaled": False}),
    (DegreeRule, {}),
    (FixedAngles, {}),
    (GraphCorrection, {"width": 16, "layers": 2, "channels": 3, "rounds": 1}),
    (LinearRamp, {"beta": 0.5, "gamma": 0.9}),
    (LinearRampScan, {"betas": [0.2, 0.3], "gammas": [0.5]}),
    (Lstm, {"num_parameters": 4, "queries": 3, "hidden": None, **SEQUENCE}),
    (Lstm, {"num_parameters": 4, "queries": 2, "hidden": 7, **SEQUENCE}),
    (
        Portfolio,
        {"members": 2, "queries": 6, "width": 16, "layers": 2, "channels": 3, "rounds": 1},
    ),
    (Qfwp, {"num_parameters": 4, "queries": 2, "qubits": 3, "layers": 2, **SEQUENCE}),
    (QkLstm, {"num_parameters": 4, "queries": 2, "hidden": 3, "qubits": 2, "layers": 1, "references": 3, **SEQUENCE}),
    (Qlstm, {"num_parameters": 4, "queries": 2, "cell": "lin", "hidden": 3, "qubits": 2, "layers": 1, **SEQUENCE}),
    (RandomAngles, {"distribution": "normal", "width": 0.1, "locality": 2, "layers": None, "seed": 3}),
    (RandomPoint, {"seed": 11}),
    (Refinement, {"queries": 3, "width": 16, "layers": 2, "channels": 3, "rounds": 1}),
    (SameAngle, {"value": 0.4}),
    (SkCorrection, {"width": 16, "layers": 2}),
    (SkInfinity, {"scale": "mean"}),
    (Tqa, {"dt": 0.6}),
    (TqaScan, {"steps": 3, "least": 0.1, "most": 0.9}),
]


def test_every_model_of_the_package_is_here():
    known = {plugins.load("models", name) for name in plugins.names("models")}
    # Models for circuits of their own bring tasks to be checked on, and are in the conformance tests and their own.
    assert {model for model, _ in SETTINGS} == {model for model in known if not model().probes()}


@pytest.mark.parametrize(("model", "keywords"), SETTINGS, ids=lambda value: getattr(value, "__name__", ""))
def test_settings_rebuild_each_model(model, keywords, seeded):
    original = model(**keywords)
    assert dict(original.settings) == keywords
    stored = json.loads(json.dumps(dict(original.settings)))
    copy = model(**stored)
    copy.load_state_dict(original.state_dict())
    assert dict(copy.settings) == keywords
    item = next(item for item in ITEMS if original.unsupported(item) is None)

    def cost(points):
        return torch.sin(points.sum(dim=1))

    one, other = (rollout(m, [item], cost, measure_answer=False).answer for m in (original, copy))
    assert torch.equal(one, other)
    assert one.shape == (1, item.num_parameters)


@pytest.mark.parametrize(("model", "keywords"), SETTINGS, ids=lambda value: getattr(value, "__name__", ""))
def test_settings_are_complete_by_default_and_by_keyword_only(model, keywords):
    assert set(model().settings) == set(keywords)
    if keywords:
        with pytest.raises(TypeError, match=r"positional|takes 1"):
            model(1)
