"""Tests of the exact engine against Qiskit's simulator and finite differences."""

import gc
import inspect
from concurrent.futures import ThreadPoolExecutor

import networkx as nx
import numpy as np
import pytest
import torch
from oracles import evaluate, expectation_slow, gradient_slow, random_circuit, random_operator
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit.library import (
    Initialize,
    PauliEvolutionGate,
    StatePreparation,
    UnitaryGate,
    efficient_su2,
    n_local,
    qaoa_ansatz,
)
from qiskit.quantum_info import SparsePauliOp, random_unitary

from qiskit_metainit import engine as contract
from qiskit_metainit.engines import statevector
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.problems.ising import Ising
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.problems.p_spin import PSpin
from qiskit_metainit.problems.qubo import Qubo
from qiskit_metainit.simulation.compiler import Plan
from qiskit_metainit.task import Task


def graph_operator(rng, nodes, probability=0.6):
    graph = nx.gnp_random_graph(nodes, probability, seed=int(rng.integers(2**31)))
    nx.add_path(graph, range(nodes))  # connected: every further component would take a qubit away
    terms = [("ZZ", list(edge), rng.normal()) for edge in graph.edges]
    return SparsePauliOp.from_sparse_list([*terms, ("", [], 0.7)], num_qubits=nodes)


def heisenberg(nodes):
    bonds = [(letters, [i, i + 1], 0.7 + 0.1 * i) for i in range(nodes - 1) for letters in ("XX", "YY", "ZZ")]
    return SparsePauliOp.from_sparse_list([*bonds, ("Y", [0], 0.3)], num_qubits=nodes)


def evolution_circuit():
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(3)
    circuit.append(PauliEvolutionGate(SparsePauliOp(["XXI", "IZY", "ZIX"], [0.5, 1.0, -2.0]), a), [2, 0, 1])
    circuit.append(PauliEvolutionGate(SparsePauliOp(["ZZI", "ZZZ"], [0.5, 1.0]), b - a / 2), [0, 1, 2])
    circuit.append(PauliEvolutionGate(SparsePauliOp(["XYZ", "YIY"]), 2 * b), [0, 1, 2])
    return circuit


def shared_circuit():
    a, b, c = ParameterVector("t", 3)
    circuit = QuantumCircuit(2)
    circuit.h(0)
    for angle in (a, 2 * a - b, b + c / 3 - 0.2):
        circuit.rx(angle, 0)
        circuit.cx(0, 1)
        circuit.crz(angle, 1, 0)
        circuit.u(angle, a, -c, 1)
    return circuit


def excitations():
    """Single and double excitations of 3 electrons in 6 spin orbitals, as UCCSD has them."""
    amplitudes = ParameterVector("t", 4)
    circuit = QuantumCircuit(6)
    circuit.x([0, 1, 3])
    double = ["IXXIXY", "IXXIYX", "IXYIXX", "IYXIXX", "IYYIYX", "IYYIXY", "IYXIYY", "IXYIYY"]
    signs = [1, 1, -1, -1, -1, -1, 1, 1]
    generators = [
        SparsePauliOp(["IIIXZY", "IIIYZX"], [0.5, -0.5]),
        SparsePauliOp(["IXYIII", "IYXIII"], [0.5, -0.5]),
        SparsePauliOp(double, np.array(signs) / 8),
        SparsePauliOp(["IIIXYI", "IIIYXI"], [0.5, -0.5]),
    ]
    for amplitude, generator in zip(amplitudes, generators, strict=True):
        circuit.append(PauliEvolutionGate(generator, time=amplitude), range(6))
    return circuit


def antisymmetric():
    """A cost layer and mixers on a start that flipping every qubit gives a sign."""
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(4)
    circuit.x([0, 2, 3])
    circuit.h(range(4))
    for pair in [(0, 1), (1, 2), (2, 3)]:
        circuit.rzz(a, *pair)
    circuit.rx(b, range(4))
    circuit.rxx(a, 1, 3)
    circuit.ryy(b, 1, 2)
    return circuit


def started(start):
    """Any start, then a layer of rotations and entangling gates."""
    circuit = QuantumCircuit(3)
    circuit.append(start, range(3))
    return circuit.compose(efficient_su2(3, reps=1))


def random_amplitudes(rng):
    amplitudes = rng.normal(size=8) + 1j * rng.normal(size=8)
    return amplitudes / np.linalg.norm(amplitudes)


CASES = {
    "initialize": lambda rng: Task.from_circuit(started(Initialize(random_amplitudes(rng))), heisenberg(3)),
    "a prepared state": lambda rng: Task.from_circuit(started(StatePreparation(random_amplitudes(rng))), heisenberg(3)),
    "a unitary on all qubits": lambda rng: Task.from_circuit(
        started(UnitaryGate(random_unitary(8, seed=int(rng.integers(2**31))))), heisenberg(3)
    ),
    "excitations": lambda rng: Task.from_circuit(excitations(), random_operator(rng, 6, 40)),
    "a start with a sign": lambda rng: Task.from_circuit(antisymmetric(), random_operator(rng, 4, 20)),
    "two components": lambda rng: Task.qaoa(SparsePauliOp(["IIIIZZ", "IZZIII", "ZZIIII"], [1, 0.5, 0.3]), reps=2),
    "qaoa of a graph": lambda rng: Task.qaoa(graph_operator(rng, 5), reps=3),
    "qaoa with fields": lambda rng: Task.qaoa(SparsePauliOp(["ZZI", "IZZ", "IIZ", "III"], [1, -0.5, 0.3, 2]), reps=2),
    "qaoa of high order": lambda rng: Task.qaoa(random_operator(rng, 5, 9, "IZ"), reps=2),
    "qaoa of one qubit": lambda rng: Task.qaoa(SparsePauliOp("Z"), reps=1),
    "qaoa with two blocks": lambda rng: Task.qaoa(graph_operator(rng, 7), reps=1),
    "qaoa with three blocks": lambda rng: Task.qaoa(graph_operator(rng, 11, 0.2), reps=1),
    "qaoa of a non-diagonal operator": lambda rng: Task.qaoa(random_operator(rng, 4, 6), reps=2),
    "hardware-efficient": lambda rng: Task.from_circuit(efficient_su2(4, reps=2), heisenberg(4)),
    "six qubits of Y and Z": lambda rng: Task.from_circuit(efficient_su2(6, reps=1), heisenberg(6)),
    "three blocks of Y": lambda rng: Task.from_circuit(n_local(11, "ry", "cx", reps=0), random_operator(rng, 11, 6)),
    "controlled rotations": lambda rng: Task.from_circuit(n_local(3, ["rx", "h"], "crx", reps=1), heisenberg(3)),
    "evolutions": lambda rng: Task.from_circuit(evolution_circuit(), random_operator(rng, 3, 8)),
    "shared angles": lambda rng: Task.from_circuit(shared_circuit(), random_operator(rng, 2, 5)),
    **{
        f"random {i}": lambda rng: Task.from_circuit(random_circuit(rng, 4, 14), random_operator(rng, 4, 8))
        for i in range(8)
    },
}


def random_points(rng, tasks, extra=0):
    size = max(task.num_parameters for task in tasks) + extra
    points = np.zeros((len(tasks), size))
    for row, task in enumerate(tasks):
        points[row, : task.num_parameters] = rng.uniform(-3, 3, task.num_parameters)
    return torch.tensor(points, requires_grad=True)


@pytest.fixture
def mixture(rng):
    """Some tasks of one skeleton, some of others, in no order, one of them twice."""
    tasks = [Task.qaoa(graph_operator(rng, 5), reps=2) for _ in range(4)]
    tasks += [Task.qaoa(graph_operator(rng, 4), reps=reps) for reps in (1, 3, 1)]
    # The same circuit under operators that flip other bits, or none.
    operators = [heisenberg(3), SparsePauliOp(["XIZ", "ZZI"]), SparsePauliOp(["XXI", "IXZ"]), SparsePauliOp("ZZZ")]
    tasks += [Task.from_circuit(efficient_su2(3, reps=1), operator) for operator in operators]
    tasks += [Task.from_circuit(random_circuit(rng, 4, 8), random_operator(rng, 4, 5))]
    tasks += [tasks[0]]
    return [tasks[i] for i in rng.permutation(len(tasks))]


# values and gradients


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_those_of_the_slow_twin(name, rng):
    task = CASES[name](rng)
    points = random_points(rng, [task])
    values, gradients = evaluate(Statevector(), [task], points)

    def cost(point):
        return expectation_slow(task.circuit, task.hamiltonian, point)

    point = points[0].detach().numpy()
    assert values.item() == pytest.approx(cost(point), abs=1e-10)
    assert np.allclose(gradients[0], gradient_slow(cost, point), atol=1e-7)
    assert gradients.abs().max() > 1e-6


def test_one_edge_by_hand():
    # <ZZ> of one edge after one layer: sin(4 beta) sin(2 gamma) / 1, here with gamma scaled by the coefficient.
    task = Task.qaoa(SparsePauliOp("ZZ"), reps=1)
    beta, gamma = 0.3, -0.4
    points = torch.tensor([[beta, gamma]], dtype=torch.float64, requires_grad=True)
    values, gradients = evaluate(Statevector(), [task], points)
    assert values.item() == pytest.approx(np.sin(4 * beta) * np.sin(2 * gamma), abs=1e-12)
    by_hand = [4 * np.cos(4 * beta) * np.sin(2 * gamma), 2 * np.sin(4 * beta) * np.cos(2 * gamma)]
    assert np.allclose(gradients[0], by_hand, atol=1e-12)


@pytest.mark.parametrize("reps", [11, 12])
def test_parameter_order_survives_more_than_ten_layers(reps, rng):
    operator = graph_operator(rng, 4)
    task = Task.qaoa(operator, reps=reps)
    points = random_points(rng, [task])
    values, gradients = evaluate(Statevector(), [task], points)
    # Every layer by hand, in the order [beta_0 .. beta_p-1, gamma_0 .. gamma_p-1].
    diagonal = np.diag(operator.to_matrix()).real
    flip = sum(SparsePauliOp.from_sparse_list([("X", [i], 1.0)], 4).to_matrix() for i in range(4))
    energies, vectors = np.linalg.eigh(flip)

    def cost(point):
        state = np.full(16, 0.25, dtype=complex)
        for layer in range(reps):
            state = np.exp(-1j * point[reps + layer] * diagonal) * state
            state = vectors @ (np.exp(-1j * point[layer] * energies) * (vectors.conj().T @ state))
        return float(np.abs(state) ** 2 @ diagonal)

    point = points[0].detach().numpy()
    assert values.item() == pytest.approx(cost(point), abs=1e-10)
    assert np.allclose(gradients[0], gradient_slow(cost, point), atol=1e-7)


def test_a_parameter_that_cancels_has_no_gradient():
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(1)
    circuit.rx(a + b - a, 0)
    circuit.rx(0 * a + 0.1, 0)
    task = Task.from_circuit(circuit, SparsePauliOp("Z"))
    points = torch.tensor([[0.7, 0.2]], dtype=torch.float64, requires_grad=True)
    values, gradients = evaluate(Statevector(), [task], points)
    assert values.item() == pytest.approx(np.cos(0.3), abs=1e-12)
    assert gradients[0].tolist() == pytest.approx([0.0, -np.sin(0.3)], abs=1e-12)


def test_a_start_of_many_gates_is_run_once(rng):
    # Its last gate on one qubit may come before others' rotations: those must not join it.
    start = UnitaryGate(random_unitary(8, seed=3))
    ((_, batch),) = Statevector()._batches((Task.from_circuit(started(start), heisenberg(3)),))
    ((_, other),) = Statevector()._batches((Task.from_circuit(efficient_su2(3, reps=1), heisenberg(3)),))
    assert [type(k) for k in batch.kernels] == [type(k) for k in other.kernels]


# batches


def test_a_batch_gives_what_its_tasks_give_one_by_one(mixture, rng):
    points = random_points(rng, mixture)
    engine = Statevector()
    values, gradients = evaluate(engine, mixture, points)
    assert values.std() > 0.1
    for row, task in enumerate(mixture):
        count = task.num_parameters
        alone = points[row : row + 1, :count].detach().requires_grad_()
        value, gradient = evaluate(Statevector(), [task], alone)
        assert values[row].item() == pytest.approx(value.item(), abs=1e-12)
        assert torch.allclose(gradients[row, :count], gradient[0], atol=1e-12)
        assert values[row].item() == pytest.approx(
            expectation_slow(task.circuit, task.hamiltonian, points[row].detach()), abs=1e-10
        )


def test_rows_may_come_in_any_order(mixture, rng):
    points = random_points(rng, mixture)
    engine = Statevector()
    values, gradients = evaluate(engine, mixture, points)
    order = torch.as_tensor(rng.permutation(len(mixture)))
    shuffled, shuffled_gradients = evaluate(
        engine, [mixture[i] for i in order], points.detach()[order].requires_grad_()
    )
    assert torch.allclose(shuffled, values[order], atol=1e-12)
    assert torch.allclose(shuffled_gradients, gradients[order], atol=1e-12)


def test_other_points_of_the_same_tasks_give_other_values(mixture, rng):
    # The stack of the last call is kept: only the tasks may be, not what was computed from the points.
    engine = Statevector()
    for _ in range(2):
        points = random_points(rng, mixture)
        values, _ = evaluate(engine, mixture, points)
        fresh, _ = evaluate(Statevector(), mixture, points)
        assert torch.equal(values, fresh)
    one_less, _ = evaluate(engine, mixture[:-1], points[:-1].detach().requires_grad_())
    assert torch.allclose(one_less, values[:-1], atol=1e-12)


def test_unused_columns_have_zero_gradient_and_no_influence(mixture, rng):
    points = random_points(rng, mixture, extra=3).detach()
    for row, task in enumerate(mixture):
        points[row, task.num_parameters :] = torch.as_tensor(rng.normal(size=points.shape[1] - task.num_parameters))
    values, gradients = evaluate(Statevector(), mixture, points.requires_grad_())
    clean = points.detach().clone()
    for row, task in enumerate(mixture):
        assert not gradients[row, task.num_parameters :].any()
        assert gradients[row, : task.num_parameters].any()
        clean[row, task.num_parameters :] = 0
    assert torch.equal(evaluate(Statevector(), mixture, clean.requires_grad_())[0], values)


def test_a_circuit_is_compiled_once(mixture, rng, monkeypatch):
    compiled = []
    original = statevector.Plan.of
    monkeypatch.setattr(statevector.Plan, "of", lambda *given: (compiled.append(given), original(*given))[1])
    engine = Statevector()
    for chosen in (mixture, mixture, mixture[:4], list(reversed(mixture))):
        evaluate(engine, chosen, random_points(rng, chosen))
    assert len(compiled) == len(set(mixture))


def test_tasks_of_one_skeleton_run_as_one_batch(rng):
    tasks = [Task.qaoa(graph_operator(rng, 5), reps=2) for _ in range(6)]
    engine = Statevector()
    ((rows, batch),) = engine._batches(tuple(tasks))
    assert rows == slice(0, 6)
    assert batch.initial.shape == (6, 16)


def test_layers_share_their_generators(rng):
    tasks = [Task.qaoa(graph_operator(rng, 5), reps=6) for _ in range(2)]
    ((_, batch),) = Statevector()._batches(tuple(tasks))
    kept = {id(k.generators) for k in batch.kernels if hasattr(k, "generators")}
    assert len(batch.kernels) == 24
    assert len(kept) == 2


def test_many_points_of_one_task_take_its_memory_once(rng):
    task = Task.qaoa(graph_operator(rng, 5), reps=1)
    ((_, batch),) = Statevector()._batches((task,) * 50)
    assert batch.observe.diagonals.shape[0] == 50
    assert batch.observe.diagonals.untyped_storage().nbytes() == 16 * 16


def test_tasks_that_are_gone_leave_the_cache(rng):
    engine = Statevector()
    task = Task.qaoa(graph_operator(rng, 4), reps=1)
    engine.expectation([task], torch.zeros(1, 2))
    other = Task.qaoa(graph_operator(rng, 4), reps=1)
    engine.expectation([other], torch.zeros(1, 2))
    del task
    gc.collect()
    assert list(engine._compiled) == [other.features.terms]


# precision, devices, autograd


def test_single_precision_is_close(mixture, rng):
    points = random_points(rng, mixture)
    exact, exact_gradients = evaluate(Statevector(), mixture, points)
    values, gradients = evaluate(Statevector(precision="single"), mixture, points)
    assert torch.allclose(values, exact, atol=2e-5)
    assert torch.allclose(gradients, exact_gradients, atol=1e-4)
    assert not torch.equal(values, exact)  # or it did not use single precision at all


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("precision", ["single", "double"])
def test_answers_have_the_dtype_of_the_points(dtype, precision, mixture, rng):
    points = random_points(rng, mixture).detach().to(dtype).requires_grad_()
    values, gradients = evaluate(Statevector(precision=precision), mixture, points)
    assert values.dtype == gradients.dtype == dtype


def test_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="'double' or 'single', but 'half'"):
        # Without the type checks that the tests put around every function.
        inspect.unwrap(Statevector.__init__)(object.__new__(Statevector), precision="half")


def test_the_chain_rule_goes_through(rng):
    task = Task.qaoa(graph_operator(rng, 4), reps=2)
    direct = random_points(rng, [task, task])
    _, gradients = evaluate(Statevector(), [task, task], direct)
    weights = torch.tensor([2.0, -0.5], dtype=torch.float64)
    theta = (direct.detach() / 3).requires_grad_()
    (Statevector().expectation([task, task], 3 * theta) @ weights).backward()
    assert torch.allclose(theta.grad, 3 * weights[:, None] * gradients, atol=1e-12)


def test_no_gradient_is_computed_where_none_is_asked_for(rng):
    task = Task.qaoa(graph_operator(rng, 4), reps=1)
    engine = Statevector()
    points = random_points(rng, [task])
    assert not engine.expectation([task], points.detach()).requires_grad
    with torch.no_grad():
        assert not engine.expectation([task], points).requires_grad
    assert engine.budget.gradients == 0


@pytest.mark.parametrize("name", CASES)
def test_second_derivatives_are_those_of_the_gradient(name, rng):
    task = CASES[name](rng)
    engine = Statevector()
    points = random_points(rng, [task]).detach()

    def gradient(rows):
        return evaluate(engine, [task] * len(rows), rows.detach().requires_grad_())[1]

    hessian = torch.autograd.functional.hessian(lambda x: engine.expectation([task], x).sum(), points)[0, :, 0]
    steps = 1e-4 * torch.eye(points.shape[1], dtype=torch.float64)
    assert torch.allclose(hessian, (gradient(points + steps) - gradient(points - steps)) / 2e-4, atol=1e-5)
    assert torch.allclose(hessian, hessian.T, atol=1e-9)
    assert hessian.abs().max() > 1e-3
    assert engine.order == 2


def test_a_step_of_gradient_descent_is_differentiated_through(mixture, rng):
    # As second-order meta-learning does, with rows of several groups.
    engine = Statevector()
    start = random_points(rng, mixture)
    scale = 1.0 / 10

    def after_a_step(points, create_graph):
        values = engine.expectation(mixture, points)
        (gradients,) = torch.autograd.grad(values.sum(), points, create_graph=create_graph)
        return engine.expectation(mixture, points - scale * gradients).sum()

    (through,) = torch.autograd.grad(after_a_step(start, create_graph=True), start)
    (first_order,) = torch.autograd.grad(after_a_step(start, create_graph=False), start)
    direction = torch.as_tensor(rng.normal(size=start.shape))
    nearby = [
        after_a_step((start + h * direction).detach().requires_grad_(), create_graph=False) for h in (1e-5, -1e-5)
    ]
    slope = (nearby[0] - nearby[1]).item() / 2e-5
    assert (through * direction).sum().item() == pytest.approx(slope, rel=1e-5, abs=1e-5)
    assert not torch.allclose(through, first_order, atol=1e-2)


def test_a_second_derivative_that_does_not_fit_is_refused(rng):
    task = Task.qaoa(graph_operator(rng, 8), reps=12)
    engine = Statevector(memory=100_000)
    points = random_points(rng, [task])
    (gradients,) = torch.autograd.grad(engine.expectation([task], points).sum(), points)
    assert gradients.any()
    with pytest.raises(MemoryError, match="derivative of the gradient of 8 qubits needs at least"):
        torch.autograd.grad(engine.expectation([task], points).sum(), points, create_graph=True)


# modes and threads


def test_a_call_in_inference_mode_leaves_the_engine_fit_for_training(mixture, rng):
    engine = Statevector()
    points = random_points(rng, mixture)
    with torch.inference_mode():
        alone = engine.expectation(mixture, torch.zeros_like(points))
    assert not alone.requires_grad
    values, gradients = evaluate(engine, mixture, points)
    expected, expected_gradients = evaluate(Statevector(), mixture, points)
    assert torch.equal(values, expected)
    assert torch.equal(gradients, expected_gradients)
    (first,) = torch.autograd.grad(engine.expectation(mixture, points).sum(), points, create_graph=True)
    assert first.requires_grad


def test_threads_may_share_an_engine(rng):
    tasks = [Task.qaoa(graph_operator(rng, size), reps=2) for size in (5, 9)]
    points = [random_points(rng, [task] * 4).detach() for task in tasks for _ in range(10)]
    expected = [Statevector().expectation([tasks[i // 10]] * 4, p) for i, p in enumerate(points)]
    engine = Statevector()
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda i: engine.expectation([tasks[i // 10]] * 4, points[i]), range(20)))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


# memory


def test_what_is_kept_from_earlier_calls_makes_room(rng):
    task, other = (Task.qaoa(graph_operator(rng, 9), reps=1) for _ in range(2))
    engine = Statevector()
    engine.expectation([task], torch.zeros(1, 2))
    kept = engine._compiled[task.features.terms].bytes
    engine.memory = kept
    engine._available = lambda: kept - sum(batch.bytes for batch in engine._compiled.values())
    assert engine.expectation([other], torch.zeros(1, 2)).shape == (1,)
    assert list(engine._compiled) == [other.features.terms]


def test_a_program_that_turns_out_too_large_is_refused(rng):
    # Thirty rotations that flip different bits hold a vector each, which the number of qubits does not tell.
    circuit = QuantumCircuit(8)
    circuit.ry(0.3, range(8))
    for a in range(8):
        for b in range(a):
            circuit.rxx(Parameter(f"t{a}{b}"), a, b)
    task = Task.from_circuit(circuit, SparsePauliOp("Z" * 8))
    needed = 256 * 16 * 30
    with pytest.raises(MemoryError, match="needs at least"):
        Statevector(memory=needed).expectation([task], torch.zeros(1, 28))
    assert Statevector(memory=2 * needed).expectation([task], torch.zeros(1, 28)).shape == (1,)


def test_little_memory_runs_in_parts_with_the_same_result(rng):
    tasks = [Task.qaoa(graph_operator(rng, 6), reps=2) for _ in range(7)]
    tasks += [Task.from_circuit(efficient_su2(4, reps=1), heisenberg(4)) for _ in range(3)]
    points = random_points(rng, tasks)
    whole = Statevector()
    values, gradients = evaluate(whole, tasks, points)
    assert len(whole._batches(tuple(tasks))) == 2
    each = whole._batches(tuple(tasks))[0][1].bytes
    for fitting in (1, 2, 3):
        engine = Statevector(memory=fitting * each)
        parts = engine._batches(tuple(tasks))
        sizes = [len(batch.initial) for _, batch in parts if batch.amplitudes == 32]
        assert max(sizes) == fitting
        assert sum(sizes) == 7
        assert all(batch.bytes * len(batch.initial) <= fitting * each for _, batch in parts)
        in_parts, in_parts_gradients = evaluate(engine, tasks, points)
        assert torch.allclose(in_parts, values, atol=1e-13)
        assert torch.allclose(in_parts_gradients, gradients, atol=1e-13)


def test_too_little_memory_is_refused_with_the_bytes_needed(rng):
    task = Task.qaoa(graph_operator(rng, 10), reps=1)
    with pytest.raises(MemoryError, match=r"10 qubits needs at least 65,536 bytes, but 5,000 are.*parameter_shift"):
        Statevector(memory=5000).expectation([task], torch.zeros(1, 2))
    with pytest.raises(MemoryError, match="at least 32,768 bytes"):
        Statevector(memory=5000, precision="single").expectation([task], torch.zeros(1, 2))


def test_a_circuit_no_machine_holds_is_refused_before_anything_is_built():
    operator = SparsePauliOp.from_sparse_list([("ZZ", [i, i + 1], 1.0) for i in range(59)], num_qubits=60)
    with pytest.raises(MemoryError, match=r"60 qubits needs at least [\d,]{20,} bytes"):
        Statevector().expectation([Task.qaoa(operator, reps=1)], torch.zeros(1, 2))


# budget


def test_the_budget_counts_jobs_circuits_and_gradients(mixture, rng):
    engine = Statevector()
    points = random_points(rng, mixture)
    engine.expectation(mixture, points)
    assert vars(engine.budget) == {
        "jobs": 1,
        "pubs": 0,
        "circuits": len(mixture),
        "gradients": len(mixture),
        "shots": 0,
    }
    before = engine.budget.copy()
    engine.expectation(mixture[:3], points[:3].detach())
    spent = engine.budget.since(before)
    assert (spent.jobs, spent.circuits, spent.gradients, spent.shots) == (1, 3, 0, 0)


def test_parts_do_not_change_the_budget(mixture, rng):
    engine = Statevector(memory=10_000)
    engine.expectation(mixture, random_points(rng, mixture))
    assert (engine.budget.jobs, engine.budget.circuits) == (1, len(mixture))


# errors


def test_the_engine_fulfils_the_contract():
    assert isinstance(Statevector(), contract.Engine)


@pytest.mark.parametrize(
    ("shape", "words"),
    [((1, 4), r"\(2, 4\) are needed.*\(1, 4\) came"), ((3, 4), r"\(3, 4\) came"), ((2, 3), r"\(2, 4\).*\(2, 3\) came")],
)
def test_points_of_another_shape_are_refused(shape, words, rng):
    task = Task.qaoa(graph_operator(rng, 4), reps=2)
    with pytest.raises(ValueError, match=words):
        Statevector().expectation([task, task], torch.zeros(shape))


def test_a_single_row_is_no_batch(rng):
    with pytest.raises(ValueError, match=r"\(1, 4\) are needed.*\(4,\) came"):
        contract.check_points([Task.qaoa(graph_operator(rng, 4), reps=2)], torch.zeros(4))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("column", [0, 3, 4])
def test_points_that_are_not_finite_are_refused_also_in_unused_columns(bad, column, rng):
    task = Task.qaoa(graph_operator(rng, 4), reps=2)
    points = torch.zeros(3, 5)
    points[1, column] = bad
    with pytest.raises(ValueError, match="finite, but row 1"):
        Statevector().expectation([task] * 3, points)


def test_no_task_at_all_is_refused():
    with pytest.raises(ValueError, match="At least one task"):
        Statevector().expectation([], torch.zeros(0, 2))


def test_circuits_that_are_not_affine_are_refused():
    circuit = qaoa_ansatz(SparsePauliOp("ZZ"), reps=1)
    beta = circuit.parameters[0]
    circuit = circuit.assign_parameters({beta: Parameter("x") ** 2})
    task = Task(circuit, SparsePauliOp("ZZ"), Task.qaoa(SparsePauliOp("ZZ"), reps=1).features, 1.0)
    with pytest.raises(ValueError, match="affine"):
        Statevector().expectation([task], torch.zeros(1, 2))


@pytest.mark.parametrize("reps", [1, 2, 5])
def test_a_repeated_layer_is_the_whole_circuit(reps: int, rng: np.random.Generator) -> None:
    families = MaxCut(sizes=[6]), Ising(sizes=[5], fields="normal"), PSpin(sizes=[6]), Qubo(sizes=[5])
    operators = [family.sample(rng).operator for family in families]
    operators += [SparsePauliOp(["ZII", "IZI", "IIZ"], [1, 0.5, 2]), SparsePauliOp(["ZZII", "IIZZ", "IIII"], [1, 2, 3])]
    operators += [SparsePauliOp("Z"), SparsePauliOp(["XX", "ZI"], [0.3, 1.0]), SparsePauliOp(["ZZZ", "IIZ"])]
    for operator in operators:
        layered = Task.qaoa(operator, reps=3).with_reps(reps)
        whole = Task(layered.circuit, layered.hamiltonian, layered.features, layered.scale)
        assert layered.standard
        assert not whole.standard
        found = []
        for task in (layered, whole):
            point = torch.as_tensor(np.random.default_rng(7).normal(size=(1, 2 * reps))).requires_grad_()
            value = Statevector().expectation([task], point)
            (slope,) = torch.autograd.grad(value.sum(), point)
            found.append(torch.cat([value.detach(), slope[0]]))
        torch.testing.assert_close(found[0], found[1], rtol=1e-10, atol=1e-10)


def test_all_depths_of_a_problem_are_compiled_once_and_forgotten_with_it(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[int] = []
    of = Plan.of
    monkeypatch.setattr(Plan, "of", lambda *arguments: compiled.append(1) or of(*arguments))
    engine = Statevector()
    task = Task.qaoa(MaxCut(sizes=[5]).sample(rng).operator, reps=1)
    depths = [task.with_reps(reps) for reps in (4, 1, 2)]
    points = torch.as_tensor(rng.normal(size=(3, 8)))
    together = engine.expectation(depths, points)
    assert len(compiled) == 1
    for row, depth in enumerate(depths):
        alone = engine.expectation([depth], points[row : row + 1, : 2 * depth.features.reps])
        assert together[row].item() == pytest.approx(alone.item(), abs=1e-12)
    del task, depths, depth
    engine.expectation([Task.qaoa(SparsePauliOp("ZZ"), reps=1)], torch.zeros(1, 2, dtype=torch.float64))
    gc.collect()
    assert len(engine._compiled) <= 1
