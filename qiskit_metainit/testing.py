"""Conformance checks for models, engines and families, of this package or anybody's.

Each check draws generic data (weights and fields of all signs, mixed sizes): on unweighted graphs many faults hide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from qiskit import QuantumCircuit, transpile
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp
from torch import Tensor

from qiskit_metainit.engine import Engine
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.model import Model
from qiskit_metainit.problem import Family, as_pauli_sum, is_diagonal
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.rollout import Cost, normalised_cost, rollout
from qiskit_metainit.task import Task


class ConformanceError(AssertionError):
    """A contract that does not hold, with what was seen."""


def check_model(model: Model, *, reps: Sequence[int] = (1, 2, 3), seed: int = 0, tolerance: float = 1e-7) -> None:
    """Check a model on QAOA tasks of the depths it supports, or on its own probes if it is for other circuits.

    Points are finite and padded with zeros; a batch gives what its tasks give one by one; relabelled qubits and an
    added identity change nothing; a Hamiltonian times c > 0 gives the same betas and gammas / c; the announced number
    of queries is asked; the settings and weights rebuild the model.

    Raises:
        ConformanceError: at the first thing that does not hold.
    """
    rng = np.random.default_rng(seed)
    operators = [_generic(rng, size) for size in (3, 4, 6)]
    own = model.probe_tasks()
    tasks = own or [Task.qaoa(operator, reps=p) for p in reps for operator in operators]
    tasks = [task for task in tasks if model.unsupported(task.features) is None]
    what = "its own probes" if own else f"the depths {list(reps)}"
    _require(bool(tasks), f"the model supports none of {what}")
    _require(not own or len(tasks) == len(own), "the model must support all of its own probes")
    together = _points(model, tasks)
    _require(bool(torch.isfinite(together).all()), "points must be finite")
    for row, task in enumerate(tasks):
        count, operator = task.num_parameters, task.hamiltonian
        _require(not together[row, count:].any(), "points beyond a task's own parameters must be zero")
        point = together[row, :count]
        _equal(_points(model, [task])[0], point, tolerance, "a batch must give what its tasks give one by one")
        shifted = operator + SparsePauliOp("I" * operator.num_qubits, [5.0])
        moved = _points(model, [Task.from_circuit(task.circuit, shifted, hints=task.features.hints)])[0]
        _equal(moved, point, tolerance, "an identity term must leave the point unchanged")
        if own:
            continue
        order = rng.permutation(task.features.num_qubits)
        relabelled = operator.apply_layout(order.tolist())
        _equal(_qaoa(model, relabelled, task), point, tolerance, "relabelling qubits must leave the point unchanged")
        factors = torch.tensor([1.0] * (count // 2) + [3.7] * (count // 2), dtype=torch.float64)
        scaled = _qaoa(model, operator * 3.7, task) * factors
        _equal(scaled, point, tolerance, "a factor c on the Hamiltonian must divide gamma by c and leave beta")
    asked = 0

    def counting(points: Tensor) -> Tensor:
        nonlocal asked
        asked += 1
        return normalised_cost(Statevector(), tasks)(points)

    with torch.no_grad():
        rollout(model, [task.features for task in tasks], counting, measure_answer=False)
    _require(asked == model.queries, f"{model.queries} queries are announced, but {asked} were asked")
    rebuilt = type(model)(**model.settings)
    rebuilt.load_state_dict(model.state_dict())
    _equal(_points(rebuilt.eval(), tasks), together, 0.0, "settings and weights must rebuild the model to the bit")


def check_engine(
    engine: Engine,
    *,
    tolerance: float = 1e-6,
    seed: int = 0,
    general: bool = True,
    depths: Sequence[int] = (1, 3),
    calls: int = 1,
) -> None:
    """Check an engine against ``StatevectorEstimator`` and central differences of it.

    Values and gradients agree for every task of a mixed batch, whatever else is in it; entry i of a point binds
    ``circuit.parameters[i]``; entries beyond a task's parameters get zero gradient; the budget counts the call.

    Args:
        engine: under test.
        tolerance: largest error relative to the Hamiltonian's scale: wide for engines with shots.
        seed: of tasks and points.
        general: whether circuits other than QAOA with non-diagonal Hamiltonians are checked too.
        depths: of the QAOA tasks.
        calls: averaged, for an engine whose gradients are random, such as ``Spsa``. The averages are then judged, and
            six standard errors of each must fit into the tolerance: one too noisy to tell right from wrong fails too.

    Raises:
        ConformanceError: at the first thing that does not hold.
    """
    rng = np.random.default_rng(seed)
    tasks = [Task.qaoa(_generic(rng, size), reps=p) for p in depths for size in (3, 4)]
    if general:
        tasks.append(_entangled(rng))
    width = max(task.num_parameters for task in tasks) + 1
    points = torch.as_tensor(rng.uniform(-1.5, 1.5, size=(len(tasks), width)))
    points.requires_grad_(engine.order > 0)
    answers = [_answer(engine, tasks, points) for _ in range(calls)]
    values, gradients = (torch.stack(part).mean(dim=0) for part in zip(*answers, strict=True))
    if calls > 1:
        for what, part in zip(("values", "gradients"), zip(*answers, strict=True), strict=True):
            spread = torch.stack(part).std(dim=0).reshape(len(tasks), -1).amax(dim=1)
            known = 6 * max(float(s) / task.scale for s, task in zip(spread, tasks, strict=True)) / calls**0.5
            _require(known <= tolerance, f"the {what} are known to {known:.2g} of the scale only: raise calls")
    if engine.order > 1:
        _check_curvature(engine, tasks, points, tolerance)
    for row, task in enumerate(tasks):
        point = points[row, : task.num_parameters].detach().numpy()
        reference = _reference(task, point)
        error = abs(values[row].item() - reference) / task.scale
        _require(error <= tolerance, f"value of task {row} (P = {point.size}) is off by {error:.2g} of the scale")
        if not engine.order:
            continue
        _require(not gradients[row, point.size :].any(), "entries beyond a task's parameters must get zero gradient")
        for place in range(point.size):
            step = 1e-4 * np.eye(point.size)[place]
            slope = (_reference(task, point + step) - _reference(task, point - step)) / 2e-4
            # The third derivative bounds the error of the central difference: 1e-7 of the scale for O(1) slopes.
            error = abs(gradients[row, place].item() - slope) / task.scale
            _require(
                error <= max(tolerance, 1e-5), f"gradient {place} of task {row} is off by {error:.2g} of the scale"
            )


def _check_curvature(engine: Engine, tasks: Sequence[Task], points: Tensor, tolerance: float) -> None:
    """Check the second derivatives along one direction by central differences of the gradients."""
    direction = torch.linspace(-1.0, 1.0, points.numel(), dtype=points.dtype).reshape(points.shape)
    direction = direction / direction.norm(dim=1, keepdim=True)
    (gradients,) = torch.autograd.grad(engine.expectation(tasks, points).sum(), points, create_graph=True)
    (curvature,) = torch.autograd.grad((gradients * direction).sum(), points)
    near = [_answer(engine, tasks, (points + step * direction).detach().requires_grad_())[1] for step in (3e-5, -3e-5)]
    error = (curvature - (near[0] - near[1]) / 6e-5).abs().amax(dim=1)
    for row, task in enumerate(tasks):
        relative = float(error[row]) / task.scale
        _require(relative <= max(tolerance, 1e-5), f"second derivatives of task {row} are off by {relative:.2g}")


def _answer(engine: Engine, tasks: Sequence[Task], points: Tensor) -> tuple[Tensor, Tensor]:
    """Return (B,) values and (B, P) gradients, zeros where the engine has none, of one call."""
    before = engine.budget.circuits
    values = engine.expectation(tasks, points)
    _require(tuple(values.shape) == (len(tasks),), f"values of shape ({len(tasks)},) are needed: {tuple(values.shape)}")
    _require(engine.budget.circuits > before, "the budget must count the circuits of a call")
    gradients = torch.autograd.grad(values.sum(), points)[0] if engine.order else torch.zeros_like(points)
    return values.detach(), gradients


def check_family(family: Family, *, seed: int = 0, count: int = 20) -> None:
    """Check a family: valid problems, the same from the same seed, rebuilt by its settings, values that fit energies.

    Raises:
        ConformanceError: at the first thing that does not hold.
    """
    rebuilt = type(family)(**family.settings)
    first, second = np.random.default_rng(seed), np.random.default_rng(seed)
    seen = set()
    for _ in range(count):
        problem, again = family.sample(first), rebuilt.sample(second)
        as_pauli_sum(problem.operator)
        seen.add(str(problem.operator.to_list()))
        same = problem.operator.to_list() == again.operator.to_list()
        _require(same, "the settings and a seed must give the same problem again")
        _require(problem.num_qubits == problem.operator.num_qubits, "a problem needs one node a qubit")
        if is_diagonal(problem.operator):
            bits = "".join(map(str, first.integers(2, size=problem.num_qubits)))
            second.integers(2, size=problem.num_qubits)
            circuit = QuantumCircuit(problem.num_qubits)
            circuit.x([i for i, bit in enumerate(reversed(bits)) if bit == "1"])
            energy = float(StatevectorEstimator().run([(circuit, problem.operator)]).result()[0].data.evs)
            _require(
                bool(np.isclose(problem.value(bits), problem.value(energy))),
                "a bitstring's value must be that of its energy",
            )
    _require(len(seen) > 1, "a family must draw different problems")


def check_task(from_circuit: Callable[[QuantumCircuit, SparsePauliOp], Task] = Task.from_circuit) -> None:
    """Check that a layout changes neither the features nor the scale nor the cost of a task.

    Raises:
        ConformanceError: at the first thing that does not hold.
    """
    rng = np.random.default_rng(0)
    task = _entangled(rng)
    layout = [5, 2, 7, 0][: task.circuit.num_qubits]
    ring = [[i, (i + 1) % 8] for i in range(8)]
    basis = ["rz", "sx", "x", "cx"]
    placed = transpile(task.circuit, basis_gates=basis, coupling_map=ring, initial_layout=layout, seed_transpiler=0)
    other = from_circuit(placed, task.hamiltonian)
    same = other.features.num_qubits == task.features.num_qubits
    _require(same, "features must be of the logical problem, whatever qubits the circuit is laid out on")
    _equal(other.features.summary, task.features.summary, 0.0, "a layout must leave the global features unchanged")
    _require(other.scale == task.scale, "a layout must leave the scale unchanged")
    points = torch.as_tensor(rng.uniform(-1, 1, size=(2, task.num_parameters)))
    with torch.no_grad():
        logical, laid_out = Statevector().expectation([task, other], points[:1].expand(2, -1))
    _equal(logical, laid_out, 1e-9, "a layout must keep the cost")


def check_cost(cost_of: Callable[[Engine, Sequence[Task]], Cost] = normalised_cost) -> None:
    """Check that the costs models see are normalised: within [-1, 1], blind to units and to identity terms.

    Raises:
        ConformanceError: at the first thing that does not hold.
    """
    rng = np.random.default_rng(0)
    operator = _generic(rng, 5)
    tasks = [Task.qaoa(operator * factor, reps=2) for factor in (1.0, 100.0)]
    tasks.append(Task.qaoa(operator + SparsePauliOp("IIIII", [50.0]), reps=2))
    point = rng.uniform(-1, 1, size=4)
    points = torch.as_tensor(np.stack([point, point / [1, 1, 100, 100], point]))
    with torch.no_grad():
        costs = cost_of(Statevector(), tasks)(points)
    _require(bool((costs.abs() <= 1 + 1e-9).all()), f"costs must lie within [-1, 1], but {costs.tolist()} came")
    _equal(costs, costs[:1].expand(3), 1e-9, "units and identity terms must leave the cost unchanged")


def _generic(rng: np.random.Generator, size: int) -> SparsePauliOp:
    """Return a connected MaxCut operator with weights of both signs and all magnitudes."""
    edges = [(i, j) for i in range(size) for j in range(i) if i == j + 1 or rng.random() < 0.6]
    return MaxCut.from_edges([(i, j, float(rng.normal())) for i, j in edges]).operator


def _entangled(rng: np.random.Generator) -> Task:
    """Return a task with shared and affine parameters and a non-diagonal Hamiltonian."""
    from qiskit.circuit import ParameterVector

    theta = ParameterVector("theta", 12)  # more than ten: lexical order would put theta[10] after theta[1]
    circuit = QuantumCircuit(4)
    circuit.h([0, 2])
    for index, angle in enumerate(theta):
        circuit.ry(angle, index % 4)
        circuit.rzz(2.0 * angle + 0.3, index % 4, (index + 1) % 4)
        circuit.cx(index % 4, (index + 2) % 4)
    circuit.rx(theta[0] - theta[11], 3)
    labels = ["ZZII", "IXXI", "IIYZ", "XIIX", "IIIZ", "IIII"]
    return Task.from_circuit(circuit, SparsePauliOp(labels, rng.normal(size=len(labels))))


def _points(model: Model, tasks: Sequence[Task]) -> Tensor:
    with torch.no_grad():
        cost = normalised_cost(Statevector(), tasks)
        return rollout(model, [task.features for task in tasks], cost, measure_answer=False).answer


def _qaoa(model: Model, operator: SparsePauliOp, like: Task) -> Tensor:
    return _points(model, [Task.qaoa(operator, reps=like.features.reps)])[0]


def _reference(task: Task, point: np.ndarray) -> float:
    return float(StatevectorEstimator().run([(task.circuit, task.hamiltonian, point)]).result()[0].data.evs)


def _equal(left: Tensor, right: Tensor, tolerance: float, what: str) -> None:
    error = float((left - right).abs().max())
    _require(error <= tolerance, f"{what}: the difference is {error:.2g}")


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ConformanceError(what)
