"""Tests of the engines on primitives: exact ones, transpiled ones and ones with real shot noise."""

import inspect

import numpy as np
import pytest
import torch
from oracles import evaluate, expectation_slow, gradient_slow, points_for, random_circuit, random_operator, state_slow
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import efficient_su2
from qiskit.primitives import (
    BackendEstimatorV2,
    BackendSamplerV2,
    StatevectorEstimator,
    StatevectorSampler,
)
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import CouplingMap, generate_preset_pass_manager
from qiskit_aer import AerSimulator
from qiskit_aer.primitives import EstimatorV2 as AerEstimator
from qiskit_aer.primitives import SamplerV2 as AerSampler

from qiskit_metainit.engine import Engine
from qiskit_metainit.engines.parameter_shift import ParameterShift
from qiskit_metainit.engines.sampling import Sampling
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.task import Task

TRIANGLE = SparsePauliOp(["IZZ", "ZZI", "ZIZ", "IIZ", "III"], [0.5, -1.0, 0.7, 0.3, 2.0])
HEISENBERG = SparsePauliOp(["IXX", "XXI", "IYY", "YYI", "IZZ", "ZZI", "IIY"], [0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 0.3])


def recording(cls, *given, **keywords):
    """Return a primitive that keeps what its ``run`` was given in ``calls``."""

    class Recorded(cls):
        def run(self, pubs, **options):
            pubs = list(pubs)
            self.calls.append(pubs)
            return super().run(pubs, **options)

    result = Recorded(*given, **keywords)
    result.calls = []
    return result


def mixed_tasks(rng):
    tasks = [
        Task.qaoa(TRIANGLE, reps=2),
        Task.qaoa(SparsePauliOp(["ZZZI", "IZZZ", "IIIZ"], [1.0, -0.5, 0.3]), reps=1),
        Task.from_circuit(efficient_su2(3, reps=1), HEISENBERG),
        Task.from_circuit(random_circuit(rng, 4, 8), random_operator(rng, 4, 5)),
    ]
    return [*tasks, tasks[0], tasks[2]]


def test_a_second_derivative_is_refused_rather_than_wrong(rng):
    task = Task.qaoa(TRIANGLE, reps=1)
    engine = ParameterShift(StatevectorEstimator())
    theta = torch.as_tensor(rng.uniform(-1, 1, (1, 2))).requires_grad_()
    with pytest.raises(RuntimeError, match="order = 1"):
        torch.autograd.functional.hessian(lambda x: engine.expectation([task], x).sum(), theta)
    (first,) = torch.autograd.grad(engine.expectation([task], theta * theta).sum(), theta, create_graph=True)
    with pytest.raises(RuntimeError, match="order = 1"):
        first.sum().backward()


def test_shots_are_booked_as_asked_where_the_estimator_does_not_tell(rng):
    class Silent(StatevectorEstimator):
        def run(self, pubs, **options):
            job = super().run(pubs, **options)
            for result in (answer := job.result()):
                result.metadata.clear()
            job.result = lambda: answer
            return job

    task = Task.qaoa(TRIANGLE, reps=1)
    engine = ParameterShift(Silent(seed=1), shots=200)
    engine.expectation([task], points_for(rng, [task]).detach())
    assert engine.budget.shots == 200


# parameter shift: exact


def test_the_reference_estimator_agrees_with_the_statevector_engine(rng):
    assert_agrees(ParameterShift(StatevectorEstimator()), rng)


def test_the_aer_estimator_agrees_with_the_statevector_engine(rng):
    # Transpiled, since Aer does not know all of Qiskit's gates.
    manager = generate_preset_pass_manager(0, backend=AerSimulator())
    assert_agrees(ParameterShift(AerEstimator(), pass_manager=manager), rng)


def assert_agrees(engine, rng):
    tasks = mixed_tasks(rng)
    points = points_for(rng, tasks, extra=1)
    values, gradients = evaluate(engine, tasks, points)
    expected, expected_gradients = evaluate(Statevector(), tasks, points)
    assert torch.allclose(values, expected, atol=1e-9)
    assert torch.allclose(gradients, expected_gradients, atol=1e-9)
    assert not gradients[:, -1].any()


def test_aer_needs_no_pass_manager_for_qaoa(rng):
    task = Task.qaoa(SparsePauliOp(["IIZZ", "ZZZI", "ZZZZ", "IIIZ"], [1.0, -0.5, 0.7, 0.2]), reps=2)
    points = points_for(rng, [task])
    value, gradient = evaluate(ParameterShift(AerEstimator()), [task], points)
    expected, expected_gradient = evaluate(Statevector(), [task], points)
    assert torch.allclose(value, expected, atol=1e-9)
    assert torch.allclose(gradient, expected_gradient, atol=1e-9)


def test_an_angle_that_drives_many_gates_is_differentiated_gate_by_gate():
    # The two-term rule on the angle itself would be wrong here: its frequencies are not 1.
    a = Parameter("a")
    circuit = QuantumCircuit(2)
    circuit.rx(a, 0)
    circuit.ry(2.5 * a + 0.3, 0)
    circuit.crx(-a, 0, 1)
    operator = SparsePauliOp(["ZX", "XZ", "YI", "ZZ"], [1.0, 0.5, 0.3, -0.7])
    points = torch.tensor([[0.8]], dtype=torch.float64, requires_grad=True)
    value, gradient = evaluate(ParameterShift(StatevectorEstimator()), [Task.from_circuit(circuit, operator)], points)

    def cost(point):
        return expectation_slow(circuit, operator, point)

    assert value.item() == pytest.approx(cost([0.8]), abs=1e-10)
    assert gradient.item() == pytest.approx(gradient_slow(cost, [0.8])[0], abs=1e-8)
    two_terms = (cost([0.8 + np.pi / 2]) - cost([0.8 - np.pi / 2])) / 2
    assert abs(two_terms - gradient.item()) > 0.01


def test_parameter_order_survives_eleven_layers(rng):
    task = Task.qaoa(SparsePauliOp(["IZZ", "ZZI"], [0.5, 1.0]), reps=11)
    points = points_for(rng, [task])
    values, gradients = evaluate(ParameterShift(StatevectorEstimator()), [task], points)
    expected, expected_gradients = evaluate(Statevector(), [task], points)
    assert torch.allclose(values, expected, atol=1e-9)
    assert torch.allclose(gradients, expected_gradients, atol=1e-9)


@pytest.fixture(scope="module")
def star():
    """A device of 5 qubits whose couplings force a layout and swaps."""
    coupling = CouplingMap([(0, 2), (2, 1), (2, 3), (3, 4)])
    coupling.make_symmetric()
    return GenericBackendV2(5, coupling_map=coupling, basis_gates=["rz", "sx", "x", "cx"], seed=1)


@pytest.mark.parametrize("level", [0, 1, 3])
def test_layouts_do_not_change_values_or_gradients(level, star, rng):
    tasks = [Task.qaoa(TRIANGLE, reps=2), Task.from_circuit(efficient_su2(4, reps=1), random_operator(rng, 4, 6))]
    tasks.append(Task.qaoa(SparsePauliOp(["ZIIZ", "IZIZ", "ZZZI"], [1.0, -0.5, 0.3]), reps=1))
    points = points_for(rng, tasks)
    expected, expected_gradients = evaluate(Statevector(), tasks, points)
    for row, task in enumerate(tasks):
        layout = {"initial_layout": [3, 0, 4, 2][: task.circuit.num_qubits]} if level == 0 else {}
        manager = generate_preset_pass_manager(level, backend=star, seed_transpiler=3, **layout)
        estimator = recording(StatevectorEstimator)
        engine = ParameterShift(estimator, pass_manager=manager)
        row_points = points[row : row + 1].detach().requires_grad_()
        value, gradient = evaluate(engine, [task], row_points)
        ((circuit, observable, _),) = estimator.calls[0]
        assert circuit.num_qubits == observable.num_qubits == 5
        assert set(circuit.count_ops()) <= {"rz", "sx", "x", "cx", "barrier"}
        assert value.item() == pytest.approx(expected[row].item(), abs=1e-9)
        assert torch.allclose(gradient[0], expected_gradients[row], atol=1e-9)


def test_eleven_layers_survive_transpilation(star, rng):
    task = Task.qaoa(SparsePauliOp(["IZZ", "ZZI"], [0.5, 1.0]), reps=11)
    manager = generate_preset_pass_manager(1, backend=star, seed_transpiler=3)
    points = points_for(rng, [task])
    value, gradient = evaluate(ParameterShift(StatevectorEstimator(), pass_manager=manager), [task], points)
    expected, expected_gradient = evaluate(Statevector(), [task], points)
    assert value.item() == pytest.approx(expected.item(), abs=1e-9)
    assert torch.allclose(gradient, expected_gradient, atol=1e-9)


def test_a_task_that_was_transpiled_before_needs_no_pass_manager(star, rng):
    logical = Task.qaoa(TRIANGLE, reps=2)
    circuit = generate_preset_pass_manager(1, backend=star, seed_transpiler=3).run(logical.circuit)
    laid_out = logical.transpiled(circuit)
    assert laid_out.hamiltonian.num_qubits == 5
    points = points_for(rng, [logical])
    expected, expected_gradient = evaluate(Statevector(), [logical], points)
    for engine in (ParameterShift(StatevectorEstimator()), Statevector()):
        value, gradient = evaluate(engine, [laid_out], points)
        assert value.item() == pytest.approx(expected.item(), abs=1e-9)
        assert torch.allclose(gradient, expected_gradient, atol=1e-9)


def test_a_noisy_device_runs_the_laid_out_circuit_and_is_near(star, rng):
    task = Task.qaoa(TRIANGLE, reps=1)
    manager = generate_preset_pass_manager(1, backend=star, seed_transpiler=3)
    engine = ParameterShift(BackendEstimatorV2(backend=star), shots=4000, pass_manager=manager)
    points = points_for(rng, [task]).detach()
    value = engine.expectation([task], points)
    assert value.item() == pytest.approx(Statevector().expectation([task], points).item(), abs=0.3)


def test_no_gradient_means_no_shifted_circuits(rng):
    task = Task.qaoa(TRIANGLE, reps=1)
    engine = ParameterShift(StatevectorEstimator())
    points = points_for(rng, [task])
    assert not engine.expectation([task], points.detach()).requires_grad
    with torch.no_grad():
        assert not engine.expectation([task], points).requires_grad
    assert engine.budget.circuits == 2


def test_answers_have_the_dtype_of_the_points(rng):
    task = Task.qaoa(TRIANGLE, reps=1)
    points = points_for(rng, [task]).detach().float().requires_grad_()
    values, gradients = evaluate(ParameterShift(StatevectorEstimator()), [task], points)
    assert values.dtype == gradients.dtype == torch.float32
    values = Sampling(StatevectorSampler(), shots=10).expectation([task], points.detach())
    assert values.dtype == torch.float32


# parameter shift: what is spent


def test_one_call_is_one_job_with_one_pub_a_distinct_task(rng):
    tasks = mixed_tasks(rng)
    estimator = recording(StatevectorEstimator)
    engine = ParameterShift(estimator)
    points = points_for(rng, tasks)
    engine.expectation(tasks, points)
    engine.expectation(tasks[:2], points[:2].detach())
    assert [len(pubs) for pubs in estimator.calls] == [4, 2]
    assert (engine.budget.jobs, engine.budget.pubs) == (2, 6)
    sent = sum(
        np.asarray(angles).shape[0] * np.asarray(angles).shape[1] for pubs in estimator.calls for *_, angles in pubs
    )
    assert engine.budget.circuits == sent
    assert engine.budget.shots == engine.budget.gradients == 0


def test_a_qaoa_gradient_takes_two_circuits_a_gate():
    reps, edges, nodes = 3, 4, 4
    square = SparsePauliOp.from_sparse_list([("ZZ", [i, (i + 1) % 4], 0.5) for i in range(4)], num_qubits=4)
    task = Task.qaoa(square, reps=reps)
    engine = ParameterShift(StatevectorEstimator())
    points = torch.zeros(2, 2 * reps, dtype=torch.float64)
    engine.expectation([task, task], points)
    assert engine.budget.circuits == 2
    engine.expectation([task, task], points.requires_grad_())
    assert engine.budget.circuits == 2 + 2 * (1 + 2 * reps * (edges + nodes))


@pytest.mark.parametrize("shots", [1, 2, 7, 1000, 1024])
def test_the_shots_are_exactly_those_taken(shots, simulator, rng):
    engine = ParameterShift(BackendEstimatorV2(backend=simulator), shots=shots)
    tasks = [Task.qaoa(TRIANGLE, reps=1), Task.from_circuit(efficient_su2(3, reps=0), HEISENBERG)]
    points = points_for(rng, tasks)
    engine.expectation(tasks, points.detach())
    assert engine.budget.shots == sum(simulator.taken)
    assert engine.budget.shots == shots * (1 + 3)  # Z alone; X, Y and Z bases
    engine.expectation(tasks, points)
    assert engine.budget.shots == sum(simulator.taken)


@pytest.mark.parametrize("shots", [3, 10, 99, 100, 1000, 4096, 10_000, 99_999, 1_000_000])
def test_the_precision_sent_buys_exactly_the_shots_asked_for(shots):
    estimator = recording(StatevectorEstimator)
    precisions = []
    run = estimator.run
    estimator.run = lambda pubs, precision: (precisions.append(precision), run(pubs))[1]
    ParameterShift(estimator, shots=shots).expectation([Task.qaoa(TRIANGLE, reps=1)], torch.zeros(1, 2))
    assert np.ceil(1 / precisions[0] ** 2) == shots  # as qiskit and the runtime compute it
    assert precisions[0] == pytest.approx(shots**-0.5, rel=1e-9)


@pytest.mark.parametrize("trial", range(4))
def test_shots_of_any_number_of_bases_are_counted(trial, simulator, rng):
    task = Task.from_circuit(efficient_su2(4, reps=0), random_operator(rng, 4, 5 * (trial + 1)))
    engine = ParameterShift(BackendEstimatorV2(backend=simulator), shots=3)
    engine.expectation([task], points_for(rng, [task]).detach())
    assert engine.budget.shots == sum(simulator.taken)


@pytest.mark.parametrize(
    "labels",
    [
        ["XYI", "IXX", "YYX", "XIX", "IIY", "YII", "III", "ZZZ"],
        ["ZZI", "YYI", "YXI", "IZX", "IXZ", "XII", "IIX", "YIZ", "III", "ZZZ"],
    ],
)
def test_bases_are_counted_as_they_are_measured_whatever_the_order_of_the_terms(labels, simulator):
    # A greedy colouring finds 5 groups in this order and 4 when sorted, or 4 and 5.
    operator = SparsePauliOp(labels)
    assert len(operator.group_commuting(qubit_wise=True)) != len(operator.sort().group_commuting(qubit_wise=True))
    engine = ParameterShift(BackendEstimatorV2(backend=simulator), shots=2)
    engine.expectation([Task.from_circuit(efficient_su2(3, reps=0), operator)], torch.zeros(1, 6))
    assert engine.budget.shots == sum(simulator.taken)


def test_without_shots_the_estimator_keeps_its_own_precision(simulator):
    engine = ParameterShift(BackendEstimatorV2(backend=simulator, options={"default_precision": 0.1}))
    engine.expectation([Task.qaoa(TRIANGLE, reps=1)], torch.zeros(1, 2))
    assert engine.budget.shots == sum(simulator.taken) == 100


# parameter shift: noise


def sampled_variance(task, point):
    """Variance of one shot of each basis, exactly: the groups are measured apart, so their variances add."""
    state = state_slow(task.circuit, point)
    total = 0.0
    for group in task.hamiltonian.group_commuting(qubit_wise=True):
        matrix = group.to_matrix()
        total += (state.conj() @ matrix @ matrix @ state - (state.conj() @ matrix @ state) ** 2).real
    return total


@pytest.mark.parametrize(
    "task", [Task.qaoa(TRIANGLE, reps=1), Task.from_circuit(efficient_su2(3, reps=0), HEISENBERG)], ids=["qaoa", "vqe"]
)
def test_sampling_noise_has_the_right_spread_and_no_bias(task, simulator):
    shots, repeats = 64, 200
    point = np.linspace(0.3, 1.1, task.num_parameters)
    points = torch.as_tensor(np.tile(point, (repeats, 1)))
    engine = ParameterShift(BackendEstimatorV2(backend=simulator), shots=shots)
    values = engine.expectation([task] * repeats, points).numpy()
    error = np.sqrt(sampled_variance(task, point) / shots)
    exact = expectation_slow(task.circuit, task.hamiltonian, point)
    assert values.std() == pytest.approx(error, rel=0.25)  # five standard deviations
    assert values.mean() == pytest.approx(exact, abs=5 * error / np.sqrt(repeats))
    assert engine.budget.shots == sum(simulator.taken)


def test_noise_is_fresh_at_each_call_and_each_row(simulator):
    task = Task.qaoa(TRIANGLE, reps=1)
    engine = ParameterShift(BackendEstimatorV2(backend=simulator), shots=1000)
    points = torch.full((8, 2), 0.4, dtype=torch.float64)
    values = torch.cat([engine.expectation([task] * 8, points) for _ in range(3)])
    assert len(set(values.tolist())) > 12


def test_noisy_gradients_have_no_bias(simulator):
    task = Task.qaoa(TRIANGLE, reps=1)
    points = torch.full((36, 2), 0.4, dtype=torch.float64, requires_grad=True)
    _, noisy = evaluate(ParameterShift(BackendEstimatorV2(backend=simulator), shots=50), [task] * 36, points)
    _, exact = evaluate(Statevector(), [task], points[:1].detach().requires_grad_())
    error = noisy.std(dim=0) / 6
    assert (noisy.mean(dim=0) - exact[0]).abs().max() < 5 * error.max()
    assert error.max() > 0


# sampling


SAMPLERS = {
    "reference": lambda backend: StatevectorSampler(),
    "backend": lambda backend: BackendSamplerV2(backend=backend),
    "Aer": lambda backend: AerSampler(),
}


@pytest.fixture(scope="module")
def basis():
    return generate_preset_pass_manager(1, basis_gates=["rz", "sx", "x", "cx", "h", "rx", "rzz"])


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_have_the_right_mean_and_spread_with_fresh_noise(name, simulator, basis):
    task = Task.qaoa(TRIANGLE, reps=1)
    shots, repeats = 64, 400
    point = np.array([0.3, 1.1])
    engine = Sampling(SAMPLERS[name](simulator), shots=shots, pass_manager=basis)
    points = torch.as_tensor(np.tile(point, (repeats, 1)))
    values = engine.expectation([task] * repeats, points).numpy()
    error = np.sqrt(sampled_variance(task, point) / shots)
    exact = expectation_slow(task.circuit, task.hamiltonian, point)
    assert values.std() == pytest.approx(error, rel=0.2)
    assert values.mean() == pytest.approx(exact, abs=5 * error / np.sqrt(repeats))
    again = engine.expectation([task] * repeats, points).numpy()
    assert (values != again).mean() > 0.5


@pytest.mark.parametrize("qubits", [1, 3, 8, 9, 13])
def test_bits_are_read_in_order_also_beyond_a_byte(qubits, rng):
    # A basis state has no noise, and weights 2^i tell every qubit apart.
    bits = rng.integers(0, 2, qubits)
    parameter = Parameter("a")
    circuit = QuantumCircuit(qubits)
    for qubit in np.flatnonzero(bits):
        circuit.x(qubit)
    circuit.rz(parameter, 0)
    terms = [("Z", [i], 2.0**i) for i in range(qubits)]
    operator = SparsePauliOp.from_sparse_list(terms, num_qubits=qubits)
    task = Task.from_circuit(circuit, operator)
    value = Sampling(StatevectorSampler(), shots=3).expectation([task], torch.zeros(1, 1, dtype=torch.float64))
    assert value.item() == sum((1 - 2 * int(bit)) * 2**i for i, bit in enumerate(bits))


def test_rows_of_different_tasks_are_told_apart(rng):
    tasks = [Task.qaoa(TRIANGLE, reps=1), Task.qaoa(SparsePauliOp(["IIZZ", "ZZII"], [3.0, -1.0]), reps=2)]
    tasks = [tasks[i] for i in (1, 0, 1, 0, 0)]
    points = points_for(rng, tasks).detach()
    values = Sampling(StatevectorSampler(), shots=40_000).expectation(tasks, points)
    assert torch.allclose(values, Statevector().expectation(tasks, points), atol=0.12)


def test_layouts_do_not_change_what_is_sampled(star, rng):
    task = Task.qaoa(SparsePauliOp(["IIIZ", "ZIIZ", "IZZI", "ZZZI"], [3.0, 2.0, 1.0, 0.5]), reps=1)
    manager = generate_preset_pass_manager(0, backend=star, initial_layout=[3, 0, 4, 2])
    points = points_for(rng, [task]).detach()
    exact = Statevector().expectation([task], points)
    value = Sampling(StatevectorSampler(), shots=100_000, pass_manager=manager).expectation([task], points)
    assert torch.allclose(value, exact, atol=0.1)
    laid_out = task.transpiled(manager.run(task.circuit))
    value = Sampling(StatevectorSampler(), shots=100_000).expectation([laid_out], points)
    assert torch.allclose(value, exact, atol=0.1)


def test_sampling_parameter_order_survives_eleven_layers(rng):
    task = Task.qaoa(SparsePauliOp(["IZZ", "ZZI"], [0.5, 1.0]), reps=11)
    points = points_for(rng, [task]).detach()
    value = Sampling(StatevectorSampler(), shots=100_000).expectation([task], points)
    assert torch.allclose(value, Statevector().expectation([task], points), atol=0.03)


@pytest.mark.parametrize("shots", [1, 7, 1000])
def test_sampling_takes_exactly_the_shots_asked_for(shots, simulator, basis, rng):
    tasks = [Task.qaoa(TRIANGLE, reps=1), Task.qaoa(SparsePauliOp("ZZ"), reps=2)]
    tasks = [tasks[i] for i in (0, 1, 0)]
    engine = Sampling(BackendSamplerV2(backend=simulator), shots=shots, pass_manager=basis)
    engine.expectation(tasks, points_for(rng, tasks).detach())
    assert sum(simulator.taken) == engine.budget.shots == 3 * shots
    assert (engine.budget.jobs, engine.budget.pubs, engine.budget.circuits) == (1, 2, 3)


def test_without_shots_the_sampler_keeps_its_own():
    engine = Sampling(StatevectorSampler(default_shots=11))
    engine.expectation([Task.qaoa(TRIANGLE, reps=1)], torch.zeros(1, 2))
    assert engine.budget.shots == 11


def test_sampling_refuses_gradients_but_not_points_that_could_have_one():
    task = Task.qaoa(TRIANGLE, reps=1)
    engine = Sampling(StatevectorSampler(), shots=10)
    points = torch.zeros(1, 2, requires_grad=True)
    with pytest.raises(ValueError, match=r"no gradients.*parameter_shift"):
        engine.expectation([task], points)
    assert engine.budget.jobs == 0
    with torch.no_grad():
        engine.expectation([task], points)
    assert engine.order == 0


def test_sampling_refuses_operators_that_are_not_diagonal():
    engine = Sampling(StatevectorSampler(), shots=10)
    good, bad = Task.qaoa(TRIANGLE, reps=1), Task.qaoa(SparsePauliOp(["ZZI", "IIX"]), reps=1)
    with pytest.raises(ValueError, match=r"diagonal.*parameter_shift"):
        engine.expectation([good, bad], torch.zeros(2, 2))
    assert engine.budget.circuits == 0


# errors of both


PAIRS = [(ParameterShift, StatevectorEstimator), (Sampling, StatevectorSampler)]


@pytest.mark.parametrize(("engine", "primitive"), PAIRS)
def test_the_engines_fulfil_the_contract(engine, primitive):
    assert isinstance(engine(primitive()), Engine)


@pytest.mark.parametrize(("engine", "primitive"), PAIRS)
@pytest.mark.parametrize("wrong", [None, AerSimulator, "both"])
def test_anything_but_a_primitive_is_refused_with_advice(engine, primitive, wrong):
    given = dict(PAIRS)[Sampling if engine is ParameterShift else ParameterShift]() if wrong == "both" else wrong
    with pytest.raises(TypeError, match=r"primitive \(Base\w+V2\) is needed.*Wrap a backend"):
        # Without the type checks that the tests put around every function.
        inspect.unwrap(engine.__init__)(object.__new__(engine), given)


@pytest.mark.parametrize(("engine", "primitive"), PAIRS)
@pytest.mark.parametrize("shots", [0, -5])
def test_shots_must_be_positive(engine, primitive, shots):
    with pytest.raises(ValueError, match=f"positive integer or None, but {shots}"):
        engine(primitive(), shots=shots)


@pytest.mark.parametrize(("engine", "primitive"), PAIRS)
def test_bad_points_are_refused_before_anything_runs(engine, primitive):
    task = Task.qaoa(TRIANGLE, reps=2)
    engine = engine(primitive())
    with pytest.raises(ValueError, match=r"\(1, 4\) are needed"):
        engine.expectation([task], torch.zeros(1, 3))
    with pytest.raises(ValueError, match="finite, but row 0"):
        engine.expectation([task], torch.tensor([[0.0, torch.nan, 0.0, 0.0]]))
    assert engine.budget.jobs == 0
