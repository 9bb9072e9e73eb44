"""Tests of the general shift rule: its frequencies, its exactness, what it costs and what it says."""

import inspect
import logging

import networkx as nx
import numpy as np
import pytest
import torch
from oracles import evaluate, expectation_slow, gradient_slow, points_for, random_circuit, random_operator, state_slow
from qiskit import QuantumCircuit
from qiskit.circuit import Gate, Parameter
from qiskit.circuit.library import PauliEvolutionGate, efficient_su2
from qiskit.primitives import BackendEstimatorV2, StatevectorEstimator, StatevectorSampler
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import SparsePauliOp, random_unitary
from qiskit.transpiler import CouplingMap, generate_preset_pass_manager
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel
from qiskit_aer.primitives import EstimatorV2 as AerEstimator

from qiskit_metainit.engine import Engine
from qiskit_metainit.engines import general_shift
from qiskit_metainit.engines.general_shift import GeneralShift
from qiskit_metainit.engines.parameter_shift import ParameterShift
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.estimation import taken_apart
from qiskit_metainit.simulation import light_cone, spectrum
from qiskit_metainit.simulation.spectrum import common_measure, frequencies
from qiskit_metainit.task import Task
from qiskit_metainit.testing import ConformanceError, check_engine

HEISENBERG = SparsePauliOp(["IXX", "XXI", "IYY", "YYI", "IZZ", "ZZI", "IIY"], [0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 0.3])


def maxcut(graph, weight=0.5):
    nodes = {node: place for place, node in enumerate(graph)}
    terms = [("ZZ", [nodes[i], nodes[j]], weight) for i, j in graph.edges]
    return SparsePauliOp.from_sparse_list(terms, num_qubits=len(nodes))


def prism(nodes):
    """A 3-regular graph without triangles."""
    return nx.circular_ladder_graph(nodes // 2)


def assert_exact(engine, tasks, rng, reference=None):
    points = points_for(rng, tasks, extra=1)
    values, gradients = evaluate(engine, tasks, points)
    expected, expected_gradients = evaluate(Statevector(), reference or tasks, points)
    assert torch.allclose(values, expected, rtol=0, atol=1e-9)
    assert torch.allclose(gradients, expected_gradients, rtol=0, atol=1e-9)
    assert not gradients[:, -1].any()


# exactness


@pytest.mark.parametrize("reps", [1, 2, 3])
@pytest.mark.parametrize("graph", [nx.cycle_graph(6), prism(8), nx.gnp_random_graph(7, 0.5, seed=4)], ids=str)
def test_unweighted_qaoa_is_exact(graph, reps, rng):
    assert_exact(GeneralShift(StatevectorEstimator()), [Task.qaoa(maxcut(graph), reps=reps)], rng)


def test_a_mixed_batch_is_exact(rng):
    fields = SparsePauliOp(["IIZZ", "ZZZI", "ZZZZ", "IIIZ", "IIII"], [1.0, -0.5, 0.7, 0.2, 3.0])
    tasks = [
        Task.qaoa(fields, reps=2),
        Task.qaoa(maxcut(prism(6)), reps=1),
        Task.qaoa(SparsePauliOp(["ZZI", "IIX", "IYY"], [1.0, 0.5, -0.7]), reps=2),
        Task.from_circuit(efficient_su2(3, reps=2), HEISENBERG),
        Task.from_circuit(random_circuit(rng, 4, 8), random_operator(rng, 4, 5)),
    ]
    assert_exact(GeneralShift(StatevectorEstimator()), [*tasks, tasks[0], tasks[3]], rng)


@pytest.mark.parametrize("steps", [0, 40, 2048])
def test_random_circuits_are_exact_however_soon_strings_are_merged(steps, rng, monkeypatch):
    monkeypatch.setattr(light_cone, "_MOST_STEPS", steps)
    tasks = []
    for _ in range(10):
        qubits = int(rng.integers(3, 6))
        circuit = random_circuit(rng, qubits, int(rng.integers(4, 14)))
        tasks.append(Task.from_circuit(circuit, random_operator(rng, qubits, int(rng.integers(1, 4)))))
    engine = GeneralShift(StatevectorEstimator())
    assert_exact(engine, tasks, rng)
    assert engine.budget.circuits == sum(engine.evaluations(task) for task in tasks)


@pytest.mark.parametrize("slopes", [(1, 1, 1), (1, -2, 0.5), (1, 2**0.5, 1), (0.3, 0.7, 4.2), (1, 1.001, 1)])
def test_one_parameter_with_several_slopes(slopes, rng):
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(3)
    for qubit, slope in enumerate(slopes):
        circuit.h(qubit)
        circuit.t(qubit)
        circuit.rzz(slope * a + 0.3, qubit, (qubit + 1) % 3)
        circuit.rx(b / 3 - slope * a, qubit)
        circuit.cry(b, qubit, (qubit + 1) % 3)
    assert_exact(GeneralShift(StatevectorEstimator()), [Task.from_circuit(circuit, HEISENBERG)], rng)


def test_against_the_five_point_stencil(rng):
    operator = maxcut(nx.cycle_graph(5)) + SparsePauliOp(["IIIIZ", "IZIII"], [0.5, 0.5])
    task = Task.qaoa(operator, reps=2)
    points = points_for(rng, [task])
    _, gradient = evaluate(GeneralShift(StatevectorEstimator()), [task], points)
    expected = gradient_slow(lambda point: expectation_slow(task.circuit, operator, point), points[0].detach().numpy())
    assert np.allclose(gradient[0], expected, atol=1e-6)


def test_parameter_order_survives_eleven_layers(rng):
    task = Task.qaoa(SparsePauliOp(["IZZ", "ZZI"], [0.5, 0.5]), reps=11)
    assert_exact(GeneralShift(StatevectorEstimator()), [task], rng)


def test_evolutions_are_product_formulas_also_on_simulators_that_know_the_exponential(rng):
    inner = QuantumCircuit(2)
    inner.append(PauliEvolutionGate(SparsePauliOp(["XX", "ZI", "YI"], [1.0, 0.5, 0.2]), Parameter("t")), [0, 1])
    circuit = QuantumCircuit(3)
    circuit.h(range(3))
    circuit.append(inner.to_gate(), [2, 0])
    circuit.append(PauliEvolutionGate(HEISENBERG, Parameter("s") / 7), range(3))
    assert list(taken_apart(circuit).parameters) == list(circuit.parameters)
    assert taken_apart(taken_apart(circuit)).count_ops().keys() <= {"h", "rxx", "ryy", "rzz", "rz", "ry", "rx"}
    assert_exact(GeneralShift(StatevectorEstimator()), [Task.from_circuit(circuit, HEISENBERG)], rng)


def test_aer_needs_no_pass_manager_for_qaoa(rng):
    assert_exact(GeneralShift(AerEstimator()), [Task.qaoa(maxcut(prism(6)), reps=2)], rng)


def test_a_wide_gate_without_definition_is_taken_to_mix_everything(rng):
    matrix = random_unitary(16, seed=5).data

    class Opaque(Gate):
        def __array__(self, dtype=None, copy=None):
            return matrix

    circuit = QuantumCircuit(5)
    a = Parameter("a")
    circuit.rx(a, 0)
    circuit.ry(Parameter("b"), 4)
    circuit.append(Opaque("opaque", 4, []), [1, 0, 3, 2])
    circuit.rzz(a, 0, 4)
    circuit.rx(Parameter("c"), 3)
    task = Task.from_circuit(circuit, random_operator(rng, 5, 3))
    assert_exact(GeneralShift(StatevectorEstimator()), [task], rng)


# layouts


@pytest.fixture(scope="module")
def star():
    """A device of 5 qubits whose couplings force a layout and swaps."""
    coupling = CouplingMap([(0, 2), (2, 1), (2, 3), (3, 4)])
    coupling.make_symmetric()
    return GenericBackendV2(5, coupling_map=coupling, basis_gates=["rz", "sx", "x", "cx"], seed=1)


@pytest.mark.parametrize("level", [0, 1, 3])
def test_layouts_change_neither_values_nor_gradients(level, star, rng):
    tasks = [Task.qaoa(maxcut(nx.cycle_graph(4)), reps=2), Task.from_circuit(efficient_su2(3, reps=1), HEISENBERG)]
    manager = generate_preset_pass_manager(level, backend=star, seed_transpiler=3)
    assert_exact(GeneralShift(StatevectorEstimator(), pass_manager=manager), tasks, rng)
    laid_out = [task.transpiled(manager.run(task.circuit)) for task in tasks]
    assert all(task.hamiltonian.num_qubits == 5 for task in laid_out)
    engine = GeneralShift(StatevectorEstimator())
    assert_exact(engine, laid_out, rng, reference=tasks)
    for task, other in zip(tasks, laid_out, strict=True):
        if level < 3:
            assert engine.evaluations(other) == engine.evaluations(task)
        else:  # it makes blocks anew, whose gates may no longer be seen to be Clifford: more, but still exact
            assert engine.evaluations(other) >= engine.evaluations(task)


# what it costs


@pytest.mark.parametrize("nodes", [10, 20, 50, 100])
def test_evaluations_on_regular_graphs_do_not_grow(nodes):
    engine = GeneralShift(StatevectorEstimator())
    task = Task.qaoa(maxcut(prism(nodes)), reps=1)
    # beta: frequency 4; gamma: 1 and 3, which is what (sin gamma cos^2 gamma) has; and the value.
    assert engine.evaluations(task) == 2 + 4 + 1
    for seed in range(3):
        random = Task.qaoa(maxcut(nx.random_regular_graph(3, nodes, seed=seed)), reps=1)
        assert engine.evaluations(random) <= 2 + 8 + 1  # a triangle brings in 2 and 4
    assert engine.budget.jobs == 0


@pytest.mark.parametrize("reps", [2, 3])
def test_evaluations_at_more_layers_do_not_grow_once_the_cones_fit(reps):
    engine = GeneralShift(StatevectorEstimator())
    counts = [engine.evaluations(Task.qaoa(maxcut(prism(nodes)), reps=reps)) for nodes in (20, 40)]
    assert counts[0] == counts[1]


def test_what_is_counted_is_what_is_sent(rng):
    sent = []

    class Recorded(StatevectorEstimator):
        def run(self, pubs, **options):
            sent.extend(pubs)
            return super().run(pubs, **options)

    engine = GeneralShift(Recorded())
    for nodes in (10, 14):
        task = Task.qaoa(maxcut(prism(nodes)), reps=1)
        sent.clear()
        before = engine.budget.copy()
        assert_exact(engine, [task], rng)
        spent = engine.budget.since(before)
        ((circuit, _, points),) = sent
        assert circuit is task.circuit  # it runs as it is
        assert points.shape == (1, 7, 2)
        assert (spent.jobs, spent.pubs, spent.circuits, spent.shots) == (1, 1, 7, 0)
    evaluate(engine, [task], points_for(rng, [task]).detach().requires_grad_())
    with torch.no_grad():
        engine.expectation([task, task], torch.zeros(2, 2, requires_grad=True))
    assert engine.budget.circuits == 7 + 7 + 7 + 2


@pytest.mark.parametrize("reps", [1, 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_never_more_evaluations_than_gate_by_gate(reps, weighted, rng):
    graph = nx.gnp_random_graph(7, 0.6, seed=2)
    operator = maxcut(graph)
    if weighted:
        operator = SparsePauliOp(operator.paulis, rng.normal(size=len(operator)))
    task = Task.qaoa(operator, reps=reps)
    general, by_gate = GeneralShift(StatevectorEstimator()), ParameterShift(StatevectorEstimator())
    points = points_for(rng, [task])
    assert torch.allclose(evaluate(general, [task], points)[1], evaluate(by_gate, [task], points)[1], atol=1e-9)
    assert general.budget.circuits == general.evaluations(task) < by_gate.budget.circuits
    assert general.budget.pubs <= 2
    assert general.budget.jobs == 1


@pytest.mark.parametrize("shots", [1, 100])
def test_the_shots_are_exactly_those_taken(shots, simulator, rng):
    engine = GeneralShift(BackendEstimatorV2(backend=simulator), shots=shots)
    weighted = SparsePauliOp(["IZZ", "ZZI", "ZIZ"], [0.5, 0.7, 2**0.5])
    tasks = [Task.qaoa(weighted, reps=1), Task.from_circuit(efficient_su2(3, reps=0), HEISENBERG)]
    evaluate(engine, tasks, points_for(rng, tasks))
    assert engine.budget.shots == sum(simulator.taken)
    assert engine.budget.shots == shots * (engine.evaluations(tasks[0]) + 3 * engine.evaluations(tasks[1]))


# noise


def test_gradients_from_shots_are_unbiased_with_the_spread_the_rule_predicts(simulator):
    operator = maxcut(nx.path_graph(3)) + SparsePauliOp(["IIZ"], [0.5])
    task = Task.qaoa(operator, reps=1)
    point, shots, repeats = np.array([0.3, -0.4]), 64, 160
    engine = GeneralShift(BackendEstimatorV2(backend=simulator), shots=shots)
    points = torch.as_tensor(np.tile(point, (repeats, 1))).requires_grad_()
    _, noisy = evaluate(engine, [task] * repeats, points)
    _, exact = evaluate(Statevector(), [task], points[:1].detach().requires_grad_())
    energies = operator.to_matrix().diagonal().real

    def variance(index, shift):
        probabilities = np.abs(state_slow(task.circuit, point + shift * np.eye(2)[index])) ** 2
        return probabilities @ energies**2 - (probabilities @ energies) ** 2

    for index, rule in enumerate(engine._plan(task).rules):
        assert len(rule.shifts) > 1
        predicted = sum(
            weight**2 * variance(index, sign * shift) / shots
            for shift, weight in zip(rule.shifts, rule.weights, strict=True)
            for sign in (1, -1)
        )
        spread = noisy[:, index].std().item()
        assert spread == pytest.approx(predicted**0.5, rel=0.28)  # five standard deviations
        assert noisy[:, index].mean().item() == pytest.approx(exact[0, index].item(), abs=5 * spread / repeats**0.5)


def test_noise_is_fresh_at_each_call(simulator, rng):
    task = Task.qaoa(maxcut(prism(6)), reps=1)
    engine = GeneralShift(BackendEstimatorV2(backend=simulator), shots=100)
    points = points_for(rng, [task])
    first, second = (evaluate(engine, [task], points) for _ in range(2))
    assert (first[1] != second[1]).all()


def test_device_noise_biases_gradients_by_less_than_a_hundredth(star):
    task = Task.qaoa(maxcut(nx.cycle_graph(4)), reps=1)
    manager = generate_preset_pass_manager(1, backend=star, seed_transpiler=1)
    noise = {"noise_model": NoiseModel.from_backend(star), "method": "density_matrix"}
    points = torch.tensor([[0.3, -0.4], [0.5, 0.9]], dtype=torch.float64, requires_grad=True)
    gradients = []
    for engine in (GeneralShift, ParameterShift):
        estimator = AerEstimator(options={"default_precision": 0.0, "backend_options": noise})
        gradients.append(evaluate(engine(estimator, pass_manager=manager), [task, task], points)[1])
    assert (gradients[0] - gradients[1]).abs().max() < 0.01 * gradients[1].abs().max()


# frequencies


def measured(task, index, unit, rng):
    """Return the multiples of the unit that the cost along a parameter really has, by a Fourier transform."""
    point = torch.as_tensor(rng.uniform(-3, 3, task.num_parameters))
    size = 128
    points = point.repeat(size, 1)
    points[:, index] += 2 * np.pi / unit * torch.arange(size, dtype=torch.float64) / size
    parts = np.abs(np.fft.rfft(Statevector().expectation([task] * size, points).numpy()))
    return {int(place) for place in np.flatnonzero(parts > 1e-9 * size) if place}


@pytest.mark.parametrize(
    "graph",
    [nx.cycle_graph(6), nx.cycle_graph(3), prism(8), nx.complete_graph(5), nx.star_graph(4), nx.path_graph(4)],
    ids=str,
)
def test_one_layer_of_qaoa_has_exactly_the_frequencies_found(graph, rng):
    task = Task.qaoa(maxcut(graph), reps=1)
    for index, (unit, found) in enumerate(zip((2.0, 1.0), frequencies(task.circuit, task.hamiltonian), strict=True)):
        assert {round(value / unit) for value in found.values} == measured(task, index, unit, rng)


@pytest.mark.parametrize("reps", [2, 3])
@pytest.mark.parametrize("graph", [nx.cycle_graph(6), prism(6), nx.complete_graph(5)], ids=str)
def test_more_layers_have_no_frequency_that_is_not_found(graph, reps, rng):
    task = Task.qaoa(maxcut(graph), reps=reps)
    for index, found in enumerate(frequencies(task.circuit, task.hamiltonian)):
        unit = 2.0 if index < reps else 1.0
        assert measured(task, index, unit, rng) <= {round(value / unit) for value in found.values}


def test_symmetry_leaves_even_multiples_only():
    # A half turn of beta flips all spins, which no ZZ sees; one of gamma on a graph of even degrees is the identity.
    task = Task.qaoa(maxcut(nx.complete_graph(5)), reps=3)
    found = frequencies(task.circuit, task.hamiltonian)
    assert all(value % 4 == 0 for item in found[:3] for value in item.values)
    assert all(value % 2 == 0 for item in found[3:] for value in item.values)


def test_what_no_term_sees_costs_nothing(rng):
    circuit = QuantumCircuit(3)
    circuit.rx(Parameter("a"), 0)
    circuit.rx(Parameter("unseen"), 2)
    circuit.cz(0, 1)
    circuit.rz(Parameter("last"), 0)
    task = Task.from_circuit(circuit, SparsePauliOp(["IIZ", "IZZ"], [1.0, 0.5]))
    engine = GeneralShift(StatevectorEstimator())
    assert [item.values for item in frequencies(circuit, task.hamiltonian)] == [(1.0,), (), ()]
    assert engine.evaluations(task) == 3
    assert_exact(engine, [task], rng)


@pytest.mark.parametrize(
    ("values", "measure"),
    [
        ([], None),
        ([0.7], 0.7),
        ([2.0, 3.0], 1.0),
        ([1 / 3, 0.1 + 0.2, 0.3], 1 / 30),
        ([1.0, 1.0 + 1e-14], 1.0),
        ([1.0, 1.0 + 1e-8], None),
        ([1.0, 2**0.5], None),
        ([1e-9, 1.0], None),
        ([1e-200, 3e-200], 1e-200),
    ],
)
def test_common_measures(values, measure):
    assert common_measure(values) == (None if measure is None else pytest.approx(measure, rel=1e-12))


# what it says


def test_a_weighted_graph_falls_back_and_says_why(rng, caplog):
    operator = maxcut(nx.complete_graph(5))
    task = Task.qaoa(SparsePauliOp(operator.paulis, rng.normal(size=10)), reps=1)
    engine = GeneralShift(StatevectorEstimator())
    with caplog.at_level(logging.INFO, logger="qiskit_metainit"):
        beta, gamma = engine.explain(task)
    assert beta == "2 evaluations: frequencies 4, equidistant"
    assert gamma.startswith("gate by gate, 20 evaluations: the frequencies of its 10 rotations are not equidistant")
    assert [record.getMessage() for record in caplog.records] == [f"{task.circuit.parameters[1].name}: {gamma}"]
    assert engine.evaluations(task) == 1 + 2 + 20
    assert_exact(engine, [task], rng)


def test_few_uneven_frequencies_are_solved_for(rng):
    a = Parameter("a")
    circuit = QuantumCircuit(2)
    circuit.h([0, 1])
    circuit.rz(a, 0)
    circuit.rz(2**0.5 * a, 1)
    task = Task.from_circuit(circuit, SparsePauliOp(["IX", "XI"], [1.0, 0.5]))
    engine = GeneralShift(StatevectorEstimator())
    assert engine.explain(task) == ("4 evaluations: frequencies 1, 1.414, not equidistant, solved",)
    assert_exact(engine, [task], rng)


def test_many_uneven_frequencies_go_gate_by_gate(rng):
    uneven = spectrum.Frequencies(tuple(np.sort(rng.uniform(0.1, 3.0, 9)).tolist()), tuple(range(20)))
    far = spectrum.Frequencies((*map(float, range(1, 10)), 1000.0), (2, 3, 5, 7, 11, 13, 17, 19, 23, 29))
    for found in (uneven, far):
        rule = general_shift._rule_for(found)
        assert rule.gates == found.rotations
        assert "no rule for its" in rule.reason


# the rules


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 40])
def test_rules_differentiate_their_frequencies_with_the_least_amplification(size):
    for rule, orders in ((general_shift._equidistant, range(1, size + 1)), (general_shift._odd, range(1, 2 * size, 2))):
        shifts, weights = rule(size, 0.7)
        assert len(shifts) == len(weights) == size
        for order in orders:
            frequency = 0.7 * order
            assert 2 * weights @ np.sin(frequency * shifts) == pytest.approx(frequency, rel=1e-11)
        assert 2 * np.abs(weights).sum() == pytest.approx(frequency)  # of the largest: no rule can have less


@pytest.mark.parametrize("values", [(1.0, 2**0.5), (1.0, 3.0, 4.0), (0.3, 0.7, 1.9, 2.4), (1.0, 50.0), (1.0, 1.001)])
def test_solved_rules_differentiate_any_frequencies(values):
    shifts, weights = general_shift._solved(values)
    for frequency in values:
        assert 2 * weights @ np.sin(frequency * shifts) == pytest.approx(frequency, rel=1e-10)
    assert 2 * np.abs(weights).sum() < 1.1 * values[-1]


def wrong_coefficient(monkeypatch):
    right = general_shift._equidistant
    monkeypatch.setattr(general_shift, "_equidistant", lambda *given: (right(*given)[0], 1.01 * right(*given)[1]))


def wrong_number(monkeypatch):
    right = general_shift.frequencies

    def lost(*given):
        found = right(*given)
        return tuple(type(one)(one.values and (one.values[:-1] or one.values), one.rotations) for one in found)

    monkeypatch.setattr(general_shift, "frequencies", lost)


def wrong_parity(monkeypatch):
    monkeypatch.setattr(spectrum, "anticommute", lambda *given: not light_cone.anticommute(*given))


@pytest.mark.parametrize("fault", [wrong_coefficient, wrong_number, wrong_parity])
def test_planted_wrong_rules_are_caught(fault, monkeypatch):
    general_shift._shift_rule.cache_clear()
    check_engine(GeneralShift(StatevectorEstimator()))
    general_shift._shift_rule.cache_clear()
    fault(monkeypatch)
    with pytest.raises(ConformanceError, match="gradient"):
        check_engine(GeneralShift(StatevectorEstimator()))
    general_shift._shift_rule.cache_clear()


# errors


def test_the_contract_is_fulfilled():
    assert isinstance(GeneralShift(StatevectorEstimator()), Engine)


@pytest.mark.parametrize("wrong", [None, AerSimulator, StatevectorSampler()])
def test_anything_but_an_estimator_is_refused_with_advice(wrong):
    with pytest.raises(TypeError, match=r"primitive \(BaseEstimatorV2\) is needed.*Wrap a backend"):
        # Without the type checks that the tests put around every function.
        inspect.unwrap(GeneralShift.__init__)(object.__new__(GeneralShift), wrong)


@pytest.mark.parametrize("shots", [0, -5])
def test_shots_must_be_positive(shots):
    with pytest.raises(ValueError, match=f"positive integer or None, but {shots}"):
        GeneralShift(StatevectorEstimator(), shots=shots)


def test_bad_points_are_refused_before_anything_runs():
    engine = GeneralShift(StatevectorEstimator())
    with pytest.raises(ValueError, match=r"\(1, 4\) are needed"):
        engine.expectation([Task.qaoa(maxcut(nx.path_graph(3)), reps=2)], torch.zeros(1, 3))
    assert engine.budget.jobs == 0
