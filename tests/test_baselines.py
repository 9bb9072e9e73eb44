"""Tests of the baselines: their numbers by hand, by statevectors, and by direct evaluation of published formulas."""

import itertools
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

from qiskit_metainit.candidates import Candidates
from qiskit_metainit.descent import descend
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.features import of_circuit, of_qaoa, stack
from qiskit_metainit.layerwise import _waves, fourier, interp
from qiskit_metainit.models import analytic_p1
from qiskit_metainit.models.analytic_p1 import AnalyticP1
from qiskit_metainit.models.constant import Constant
from qiskit_metainit.models.degree_rule import DegreeRule
from qiskit_metainit.models.fixed_angles import FixedAngles
from qiskit_metainit.models.linear_ramp import LinearRamp
from qiskit_metainit.models.linear_ramp_scan import LinearRampScan
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.models.tqa import Tqa
from qiskit_metainit.models.tqa_scan import TqaScan
from qiskit_metainit.rollout import normalised_cost, rollout
from qiskit_metainit.task import Task

PRISM = nx.circular_ladder_graph(3)  # 3-regular, 6 nodes, with triangles
ENGINE = Statevector()


def operator_of(graph, weights=None, fields=None):
    edges = list(graph.edges)
    weights = np.ones(len(edges)) if weights is None else weights
    terms = [("ZZ", [u, v], 0.5 * weight) for (u, v), weight in zip(edges, weights, strict=True)]
    terms += [("Z", [u], 0.5 * field) for u, field in (fields or {}).items()]
    return SparsePauliOp.from_sparse_list(terms, num_qubits=len(graph))


def point_of(model, operator, reps):
    """Return the answer in radians, as a deployment without queries sees it."""
    with torch.no_grad():
        return rollout(model, [of_qaoa(operator, reps)], None, measure_answer=False).answer[0].numpy()


def energies_of(task, points):
    with torch.no_grad():
        return ENGINE.expectation([task] * len(points), torch.as_tensor(np.asarray(points))).numpy()


# degree rule


def test_the_degree_rule_by_hand():
    item = of_qaoa(operator_of(PRISM), 1)
    assert point_of(DegreeRule(), operator_of(PRISM), 1) == pytest.approx([math.pi / 8, -math.atan(2**-0.5)])
    weighted = operator_of(PRISM, weights=[3.0, -4.0] + [0.0] * 7)  # two edges of a path are left: mean degree 4/3
    assert point_of(DegreeRule(), weighted, 1) == pytest.approx([math.pi / 8, -math.atan(3**0.5) / math.sqrt(12.5)])
    assert DegreeRule().unsupported(item) is None


@pytest.mark.parametrize(("u", "v"), [(14, 6), (10, 5)])  # the Heawood and the Petersen graph have no triangles
def test_the_degree_rule_is_the_optimum_without_triangles(u, v):
    graph = nx.heawood_graph() if u == 14 else nx.petersen_graph()
    assert min(len(cycle) for cycle in nx.minimum_cycle_basis(graph)) == v
    task = Task.qaoa(operator_of(graph), reps=1)
    point = point_of(DegreeRule(), task.hamiltonian, 1)
    energy = energies_of(task, [point])[0]
    assert 0.5 - energy / (0.5 * 3 * u / 2) / 2 == pytest.approx(0.6924500897, abs=1e-9)
    assert descend(ENGINE, task, point)[0] == pytest.approx(energy, abs=1e-9)


# closed form of one layer


def random_ising(rng, size=None):
    """Return a random operator: complete or sparse, unit or normal weights, with no, few or many fields."""
    size = size or int(rng.integers(2, 9))
    probability, share = rng.choice([0.25, 0.6, 1.0]), rng.choice([0.0, 0.4, 1.0])
    unit = rng.random() < 0.3
    pairs = [pair for pair in itertools.combinations(range(size), 2) if rng.random() < probability] or [(0, 1)]
    terms = [("ZZ", list(pair), 0.5 if unit else rng.normal()) for pair in pairs]
    terms += [("Z", [i], rng.normal()) for i in range(size) if rng.random() < share]
    return SparsePauliOp.from_sparse_list(terms, num_qubits=size)


def closed_form(task, points):
    ising = analytic_p1._Ising.of(task.features)
    coefficients = ising.coefficients(points[:, 1] / task.features.unit[1].item())
    shapes = np.array([analytic_p1._trigonometry(beta)[0] for beta in points[:, 0]])
    return (coefficients.T * shapes).sum(axis=1) / task.features.unit[1].item()


@pytest.mark.parametrize("case", range(25))
def test_the_closed_form_is_the_energy_of_the_state(case, rng):
    task = Task.qaoa(random_ising(rng), reps=1)
    points = rng.uniform(-3, 3, (20, 2)) * task.features.unit.numpy()
    assert closed_form(task, points) == pytest.approx(energies_of(task, points), abs=1e-10 * task.scale)


def test_the_closed_form_survives_cosines_that_vanish(rng):
    task = Task.qaoa(operator_of(nx.complete_graph(6), fields={0: 1.0, 3: -2.0}), reps=1)
    rms = 1 / task.features.unit[1].item()
    points = np.array([[0.3, angle] for angle in np.pi / 4 * np.arange(-6, 7)])
    assert rms != 1
    assert closed_form(task, points) == pytest.approx(energies_of(task, points), abs=1e-10 * task.scale)


def test_a_field_off_the_edges_and_a_free_qubit():
    operator = SparsePauliOp(["IIIZZ", "IIZII"], [0.7, -0.4])
    task = Task.qaoa(operator, reps=1)
    points = np.array([[0.2, 0.9], [-1.0, 2.2]])
    assert closed_form(task, points) == pytest.approx(energies_of(task, points), abs=1e-12)


def test_blocks_do_not_change_the_closed_form(rng, monkeypatch):
    graph = nx.gnp_random_graph(40, 0.5, seed=3)
    operator = operator_of(graph, weights=rng.normal(size=graph.number_of_edges()), fields={0: 1.0, 7: 2.0})
    ising = analytic_p1._Ising.of(of_qaoa(operator, 1))
    gammas = rng.uniform(-2, 2, 30)
    whole = ising.coefficients(gammas)
    triangles = np.concatenate(list(analytic_p1._triangles(ising.ends, 40)))
    monkeypatch.setattr(analytic_p1, "_BLOCK", 300)
    assert ising.coefficients(gammas) == pytest.approx(whole, abs=1e-11)
    parts = list(analytic_p1._triangles(ising.ends, 40))
    assert len(parts) > 3
    assert {tuple(sorted(row)) for row in np.concatenate(parts)} == {tuple(sorted(row)) for row in triangles}
    assert len(triangles) == sum(nx.triangles(graph).values()) / 3


@pytest.mark.parametrize("case", range(10))
def test_no_descent_within_reach_gets_below_the_analytic_optimum(case, rng):
    task = Task.qaoa(random_ising(rng), reps=1)
    unit = task.features.unit.numpy()
    point = point_of(AnalyticP1(), task.hamiltonian, 1)
    energy = energies_of(task, [point])[0]
    assert -math.pi <= point[1] / unit[1] < 0
    starts = np.stack([rng.uniform(-1.6, 1.6, 8), rng.uniform(-math.pi, math.pi, 8)], axis=1) * unit
    found = [descend(ENGINE, task, start) for start in starts]
    inside = [value for value, place in found if abs(place[1]) <= math.pi * unit[1]]
    assert energy <= min(inside, default=0.0) + 1e-9 * task.scale
    if point[1] / unit[1] > -math.pi + 1e-6:
        assert descend(ENGINE, task, point)[0] == pytest.approx(energy, abs=1e-9 * task.scale)


def test_the_analytic_optimum_by_hand():
    assert point_of(AnalyticP1(), SparsePauliOp("Z"), 1) == pytest.approx([math.pi / 4, -math.pi / 4])
    assert point_of(AnalyticP1(), SparsePauliOp("ZZ"), 1) == pytest.approx([math.pi / 8, -math.pi / 4])
    assert point_of(AnalyticP1(), SparsePauliOp("ZZ", [-2.0]), 1) == pytest.approx([math.pi / 8, -math.pi / 8])
    # Without triangles on regular graphs: also at pi - gamma, but the nearer one is taken.
    assert point_of(AnalyticP1(), operator_of(nx.petersen_graph()), 1) == pytest.approx(
        [math.pi / 8, -math.atan(2**-0.5)], abs=1e-9
    )


def test_a_short_reach_ends_at_its_edge():
    beta, gamma = point_of(AnalyticP1(reach=0.2), operator_of(nx.petersen_graph()), 1)
    assert gamma == pytest.approx(-0.2, abs=1e-9)
    assert beta == pytest.approx(math.pi / 8, abs=1e-9)
    with pytest.raises(ValueError, match="reach"):
        AnalyticP1(reach=0.0)


def test_the_analytic_optimum_of_a_large_graph():
    # Every edge of a hypercube is in no triangle: 12-regular, 24576 edges.
    cube = nx.convert_node_labels_to_integers(nx.hypercube_graph(12))
    ising = analytic_p1._Ising(np.array(cube.edges), np.ones(cube.number_of_edges()), np.zeros(len(cube)))
    beta, gamma = analytic_p1._optimum(ising, math.pi)
    assert [beta, gamma] == pytest.approx([math.pi / 8, -math.atan(11**-0.5)], abs=1e-9)


def test_one_optimum_serves_each_row_of_a_batch(rng):
    items = [of_qaoa(random_ising(rng, size), 1) for size in (3, 5, 8)]
    points, _ = AnalyticP1().begin(stack(items))
    assert points == pytest.approx(torch.cat([AnalyticP1().begin(stack([item]))[0] for item in items]))


# fixed angles


@pytest.fixture(scope="module")
def tabulated():
    return json.loads((files("qiskit_metainit.models") / "fixed_angles.json").read_text(encoding="utf-8"))["degrees"]


def cut_fraction_slow(gammas_c, betas, degree):
    """arXiv:2110.14206, finite degree, as printed: every pair of configurations, p rounds, no symmetry used."""
    p, others = len(gammas_c), degree - 1
    gamma = np.asarray(gammas_c) * math.sqrt(others) / 2
    phases = np.concatenate([gamma, [0.0], -gamma[::-1]])
    mixers = np.concatenate([betas, -np.asarray(betas)[::-1]])
    configurations = np.array(list(itertools.product([1.0, -1.0], repeat=2 * p + 1)))
    f = np.full(len(configurations), 0.5, dtype=complex)
    for position, angle in enumerate(mixers):
        same = configurations[:, position] == configurations[:, position + 1]
        f *= np.where(same, np.cos(angle), 1j * np.sin(angle))
    kernel = (configurations * phases) @ configurations.T / math.sqrt(others)  # Gamma . (a b) / sqrt(D)
    branch = np.ones(len(f), dtype=complex)
    for _ in range(p):
        branch = (np.cos(kernel) @ (f * branch)) ** others
    ends = configurations[:, p] * f * branch
    value = 0.5j * math.sqrt(others) * (ends @ np.sin(kernel) @ ends)
    assert abs(value.imag) < 1e-12
    return 0.5 + value.real / math.sqrt(others)


@pytest.mark.parametrize("degree", [3, 4, 7, 10])
@pytest.mark.parametrize("reps", [1, 2, 3, 4])
def test_stored_cuts_by_the_iteration_as_printed(tabulated, degree, reps):
    row = tabulated[str(degree)][str(reps)]
    assert cut_fraction_slow(row["gamma"], row["beta"], degree) == pytest.approx(row["cut"], abs=1e-9)


@pytest.mark.parametrize(("degree", "reps"), [(3, 2), (3, 3), (5, 3), (10, 2)])
def test_stored_angles_are_maxima(tabulated, degree, reps):
    row = tabulated[str(degree)][str(reps)]
    point = np.array(row["gamma"] + row["beta"])
    for axis in np.eye(2 * reps):
        for shift in (1e-2, -1e-2):
            assert cut_fraction_slow(*np.split(point + shift * axis, 2), degree) < row["cut"] - 1e-6
        above, below = (cut_fraction_slow(*np.split(point + s * axis, 2), degree) for s in (1e-5, -1e-5))
        assert abs(above - below) / 2e-5 < 1e-8


def test_cuts_of_cubic_graphs_are_the_published_ones(tabulated):
    cuts = [tabulated["3"][str(reps)]["cut"] for reps in (1, 2, 3)]
    assert cuts == pytest.approx([0.692450, 0.755906, 0.792398], abs=5e-7)


def test_the_table_is_complete_and_monotone(tabulated):
    assert list(tabulated) == [str(degree) for degree in range(3, 11)]
    depths = list(tabulated["3"])
    assert len(depths) >= 8
    assert depths == [str(reps) for reps in range(1, len(depths) + 1)]
    cuts = np.array([[row["cut"] for row in rows.values()] for rows in tabulated.values()])
    assert np.all(np.diff(cuts, axis=1) > 0)  # deeper is better
    assert np.all(np.diff(cuts, axis=0) < 0)  # and more neighbours are worse
    for rows in tabulated.values():
        assert list(rows) == depths
        for reps, row in rows.items():
            assert len(row["gamma"]) == len(row["beta"]) == int(reps)
            assert min(row["gamma"] + row["beta"]) > 0


def test_angles_tend_to_those_of_infinite_degree(tabulated):
    infinite = json.loads((files("qiskit_metainit.models") / "sk_infinity.json").read_text())["depths"]
    for reps, row in tabulated["10"].items():
        factor = 2 * math.atan(1 / 3)
        assert row["beta"] == pytest.approx(infinite[reps]["beta"], abs=0.03)
        assert np.array(row["gamma"]) / factor == pytest.approx(np.array(infinite[reps]["gamma"]), abs=0.06)


def test_fixed_angles_cut_what_the_table_says_where_cycles_are_long(tabulated):
    task = Task.qaoa(operator_of(nx.heawood_graph()), reps=2)  # girth 6: longer than 2p + 1 = 5
    point = point_of(FixedAngles(), task.hamiltonian, 2)
    row = tabulated["3"]["2"]
    assert point == pytest.approx([*row["beta"], *(-np.array(row["gamma"]))], abs=1e-12)
    assert 0.5 - energies_of(task, [point])[0] / 21 == pytest.approx(0.7559064585, abs=1e-9)


@pytest.mark.parametrize(
    ("graph", "degree"),
    [(nx.path_graph(4), 3), (PRISM, 3), (nx.wheel_graph(7), 3), (nx.complete_graph(6), 5), (nx.complete_graph(16), 10)],
)
def test_the_nearest_degree_serves(tabulated, graph, degree, rng):
    weights = rng.normal(size=graph.number_of_edges())
    mean = 2 * graph.number_of_edges() / len(graph)
    factor = math.atan2(1, math.sqrt(mean - 1)) / math.atan(1 / math.sqrt(degree - 1))
    row = tabulated[str(degree)]["3"]
    point = point_of(FixedAngles(), operator_of(graph, weights=weights), 3)
    assert point[:3] == pytest.approx(row["beta"])
    assert point[3:] == pytest.approx(-factor * np.array(row["gamma"]) / math.sqrt(np.mean(weights**2)))


def test_fixed_angles_at_one_layer_are_the_degree_rule():
    for graph in (PRISM, nx.wheel_graph(8), nx.complete_graph(12), nx.path_graph(3)):
        one, other = (point_of(model, operator_of(graph), 1) for model in (FixedAngles(), DegreeRule()))
        assert one == pytest.approx(other, abs=1e-9)


@pytest.mark.parametrize("reps", [17, 100])
def test_beyond_the_table_fixed_angles_are_stretched(tabulated, reps):
    known = len(tabulated["3"])
    deepest = point_of(FixedAngles(), operator_of(PRISM), known)
    point = point_of(FixedAngles(), operator_of(PRISM), reps)
    stage, tables = ((np.arange(size) + 0.5) / size for size in (reps, known))
    assert point[:reps] == pytest.approx(np.interp(stage, tables, deepest[:known]))
    assert point[reps:] == pytest.approx(np.interp(stage, tables, deepest[known:]))


# settings of the older baselines


def test_sk_infinity_by_the_mean_weight(rng):
    weights = rng.standard_exponential(9)
    rms, mean = (point_of(SkInfinity(scale=scale), operator_of(PRISM, weights), 3) for scale in ("rms", "mean"))
    assert mean[:3] == pytest.approx(rms[:3])
    assert mean[3:] * weights.mean() == pytest.approx(rms[3:] * math.sqrt(np.mean(weights**2)))
    unweighted = [point_of(SkInfinity(scale=scale), operator_of(PRISM), 3) for scale in ("rms", "mean")]
    assert unweighted[0] == pytest.approx(unweighted[1])
    with pytest.raises(ValueError, match="scale must be one of"):
        SkInfinity(scale="median")


def test_a_rescaled_constant_by_hand():
    mean = json.loads((files("qiskit_metainit.models") / "constant.json").read_text())["degree_angle"]
    assert 0.4 < mean < 0.7
    plain, rescaled = (point_of(Constant(rescaled=flag), operator_of(PRISM), 4) for flag in (False, True))
    assert rescaled[:4] == pytest.approx(plain[:4])
    assert rescaled[4:] == pytest.approx(plain[4:] * math.atan(2**-0.5) / mean)
    with pytest.raises(ValueError, match="rescaled=True needs the tabulated points"):
        Constant(point=[0.1, 0.2], rescaled=True)


def test_beyond_its_table_the_constant_is_stretched():
    table = json.loads((files("qiskit_metainit.models") / "constant.json").read_text())["depths"]
    deepest = np.array(table[str(max(map(int, table)))]["point"]).reshape(2, -1)
    stage, tables = ((np.arange(size) + 0.5) / size for size in (12, deepest.shape[1]))
    expected = np.concatenate([np.interp(stage, tables, row) for row in deepest])
    assert point_of(Constant(), operator_of(PRISM), 12) == pytest.approx(expected)


def test_a_rescaled_constant_does_not_spoil_its_table():
    before = point_of(Constant(), operator_of(PRISM), 3)
    point_of(Constant(rescaled=True), operator_of(nx.complete_graph(6)), 3)
    assert np.array_equal(point_of(Constant(), operator_of(PRISM), 3), before)


# scans


class Three(Candidates):
    queries = 3

    def candidates(self, features):
        return torch.arange(3.0, dtype=torch.float64)[None, :, None] * features.unit[:, None, :]


def test_candidates_answer_with_the_cheapest_of_each_row():
    items = [of_qaoa(operator_of(PRISM), 1)] * 4
    table = torch.tensor([[0.3, 0.1, 0.2], [0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [0.2, 0.2, 0.2]], dtype=torch.float64)
    asked = []

    def cost(points):
        asked.append(points.clone())
        return table[:, len(asked) - 1]

    answer = rollout(Three(), items, cost, measure_answer=False).answer
    assert answer[:, 0].tolist() == [1.0, 0.0, 2.0, 0.0]  # the first of equals
    assert [points[0, 0].item() for points in asked] == [0.0, 1.0, 2.0]


def test_rounding_does_not_choose_between_equals():
    model = Three()
    points, state = model.begin(stack([of_qaoa(operator_of(PRISM), 1)] * 2))
    for costs in ([0.5, 0.5], [0.5 - 1e-15, 0.5 + 1e-15], [0.5, 0.5 - 2e-15]):
        points, state = model.refine(points, torch.tensor(costs, dtype=torch.float64), state)
    assert points[:, 0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("reps", [1, 3])
def test_scans_answer_with_the_best_of_their_formulas(reps, rng):
    graphs = [nx.gnp_random_graph(6, 0.6, seed=seed) for seed in (1, 2)]
    tasks = [
        Task.qaoa(operator_of(graph, rng.normal(size=graph.number_of_edges())), reps=depth)
        for graph, depth in zip(graphs, (reps, 2), strict=True)
    ]
    cost = normalised_cost(ENGINE, tasks)
    features = [task.features for task in tasks]
    steps = [Tqa(dt=0.05 * k) for k in range(1, 24)]
    ramps = [LinearRamp(beta=beta, gamma=gamma) for beta in (0.3, 0.4, 0.5, 0.6) for gamma in (0.2, 0.4, 0.6, 0.9, 1.2)]
    for scan, formulas in ((TqaScan(), steps), (LinearRampScan(), ramps)):
        assert scan.queries == len(formulas)
        with torch.no_grad():
            trajectory = rollout(scan, features, cost, measure_answer=True)
            each = torch.stack([rollout(one, features, cost, measure_answer=True).costs[0] for one in formulas])
        assert trajectory.costs[-1].numpy() == pytest.approx(each.min(dim=0).values.numpy(), abs=1e-9)
        assert len(trajectory.costs) == len(formulas) + 1


def test_scans_of_nothing_are_refused():
    with pytest.raises(ValueError, match="steps must be at least 1"):
        TqaScan(steps=0)
    with pytest.raises(ValueError, match="At least one beta and one gamma"):
        LinearRampScan(betas=[])


# properties of them all

ZERO_QUERY = [AnalyticP1(), Constant(rescaled=True), DegreeRule(), FixedAngles(), SkInfinity(scale="mean")]


@given(st.integers(0, 10**6), st.sampled_from([1e-6, 0.3, 1e5]), st.sampled_from([1, 3, 8]))
@settings(deadline=None, max_examples=25)
def test_points_follow_relabelling_and_scale(seed, factor, reps):
    rng = np.random.default_rng(seed)
    operator = random_ising(rng)
    renamed = operator.apply_layout(rng.permutation(operator.num_qubits).tolist()) * factor
    for model in ZERO_QUERY:
        if model.unsupported(of_qaoa(operator, reps)):
            continue
        one, other = point_of(model, operator, reps), point_of(model, renamed, reps)
        assert other[:reps] == pytest.approx(one[:reps], abs=1e-7)
        assert other[reps:] * factor == pytest.approx(one[reps:], rel=1e-7, abs=1e-7)


def test_baselines_say_what_they_do_not_serve():
    circuit = of_circuit(efficient_su2(2, reps=0), SparsePauliOp("ZZ"))
    cubic = of_qaoa(SparsePauliOp(["ZZZ", "IIZ"], [1.0, 2.0]), 1)
    for model in (AnalyticP1(), DegreeRule(), FixedAngles(), LinearRampScan(), TqaScan()):
        assert "standard QAOA circuit" in model.unsupported(circuit)
        assert "diagonal" in model.unsupported(of_qaoa(SparsePauliOp(["XX", "ZI"]), 1))
        assert model.unsupported(of_qaoa(operator_of(PRISM), 1)) is None
    assert "one or two qubits, but there is one on 3" in AnalyticP1().unsupported(cubic)
    assert DegreeRule().unsupported(cubic) is None
    for model in (AnalyticP1(), DegreeRule()):
        assert "reps=1 only, but reps=2 came" in model.unsupported(of_qaoa(operator_of(PRISM), 2))


# depth by depth


class Landscapes:
    """The energies of one problem at all depths, in natural units, counted."""

    def __init__(self, operator, reps):
        self.tasks = {p: Task.qaoa(operator, reps=p) for p in range(1, reps + 1)}
        self.asked = []

    def __call__(self, depth, point):
        assert point.shape == (2 * depth,)
        self.asked.append(depth)
        return energies_of(self.tasks[depth], [point * self.tasks[depth].features.unit.numpy()])[0]

    def start(self):
        return point_of(DegreeRule(), self.tasks[1].hamiltonian, 1) / self.tasks[1].features.unit.numpy()


def searches():
    yield "interp", interp, {}
    yield "fourier", fourier, {}
    yield "fourier, few components", fourier, {"components": 2}
    yield "fourier, perturbed", fourier, {"perturbations": 1, "rng": np.random.default_rng(5)}


@pytest.mark.parametrize(("search", "options"), [row[1:] for row in searches()], ids=[row[0] for row in searches()])
@pytest.mark.parametrize("kind", ["regular", "weighted"])
def test_depth_by_depth_reaches_the_basin_of_the_formula(search, options, kind, rng):
    graph = PRISM if kind == "regular" else nx.gnp_random_graph(6, 0.6, seed=4)
    weights = rng.normal(size=graph.number_of_edges()) if kind == "weighted" else None
    landscapes = Landscapes(operator_of(graph, weights), 3)
    point, evaluations = search(landscapes, 3, start=landscapes.start(), rhobeg=0.2, **options)
    assert point.shape == (6,)
    assert evaluations == len(landscapes.asked)
    assert landscapes.asked == sorted(landscapes.asked)
    assert set(landscapes.asked) == {1, 2, 3}
    task = landscapes.tasks[3]
    optimum = descend(ENGINE, task, point_of(SkInfinity(), task.hamiltonian, 3))[0]
    reached = energies_of(task, [point * task.features.unit.numpy()])[0]
    assert reached <= optimum + (0.05 if "components" in options else 0.003) * task.scale


def test_one_layer_is_a_plain_search():
    landscapes = Landscapes(operator_of(PRISM), 1)
    expected = energies_of(landscapes.tasks[1], [point_of(AnalyticP1(), operator_of(PRISM), 1)])[0]
    for search in (interp, fourier):
        point, _ = search(landscapes, 1, start=np.array([0.3, -0.5]), rhobeg=0.1, rhoend=1e-5)
        assert landscapes(1, point) == pytest.approx(expected, abs=1e-6)


def frozen_starts(search, reps, start):
    """Return where each depth starts if nothing ever gets better."""
    starts = {}

    def energy(depth, point):
        starts.setdefault(depth, point)
        return float(np.abs(point - starts[depth]).sum())

    search(energy, reps, start=np.array(start), rhobeg=1e-3, rhoend=1e-6)
    return starts


def test_interp_interpolates_as_published():
    starts = frozen_starts(interp, 3, [1.0, -2.0])
    assert starts[1] == pytest.approx([1.0, -2.0])
    assert starts[2] == pytest.approx([1.0, 1.0, -2.0, -2.0], abs=1e-3)
    assert starts[3] == pytest.approx([1.0, 1.0, 1.0, -2.0, -2.0, -2.0], abs=1e-2)


def test_fourier_keeps_its_amplitudes():
    starts = frozen_starts(fourier, 3, [1.0, -2.0])
    assert starts[1] == pytest.approx([1.0, -2.0])
    layers = math.pi / 3 * (np.arange(3) + 0.5) / 2
    curve = [*(math.sqrt(2) * np.cos(layers)), *(-2 * math.sqrt(2) * np.sin(layers))]
    assert starts[3] == pytest.approx(curve, abs=1e-2)


def test_all_components_span_every_schedule():
    for depth in (1, 2, 5):
        for matrix in _waves(depth, depth):
            assert matrix.T @ matrix == pytest.approx(depth / 2 * np.eye(depth), abs=1e-9)


def test_the_cap_bounds_each_search():
    landscapes = Landscapes(operator_of(PRISM), 3)
    _, evaluations = interp(landscapes, 3, start=landscapes.start(), cap=20)
    assert evaluations == len(landscapes.asked) <= 60


@pytest.mark.parametrize(
    ("search", "options", "match"),
    [
        (interp, {"reps": 0}, "reps must be"),
        (fourier, {"start": np.zeros(4)}, "point of one layer"),
        (fourier, {"components": 0}, "components"),
        (fourier, {"perturbations": 2}, "come with an rng"),
    ],
)
def test_searches_refuse_what_they_cannot_do(search, options, match):
    with pytest.raises(ValueError, match=match):
        search(lambda depth, point: 0.0, **{"reps": 2, "start": np.zeros(2), **options})
