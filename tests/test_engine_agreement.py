"""Every exact engine against ``StatevectorEstimator`` and against the others, on generated circuits."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from oracles import ANGLED, COUNTS, FIXED, random_circuit, random_operator
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit import plugins
from qiskit_metainit.engine import attach_gradient
from qiskit_metainit.engines.general_shift import GeneralShift
from qiskit_metainit.engines.parameter_shift import ParameterShift
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.estimation import taken_apart
from qiskit_metainit.task import Task

# Discovered names, matched with how to make them exact here.
EXACT = {
    "statevector": Statevector,
    "parameter_shift": lambda: ParameterShift(StatevectorEstimator()),
    "general_shift": lambda: GeneralShift(StatevectorEstimator()),
}
NOT_EXACT = {"sampling", "spsa"}
"""Values or gradients with a spread: their own tests compare them within it."""


def test_every_engine_is_compared() -> None:
    assert sorted({*EXACT, *NOT_EXACT}) == plugins.names("engines")


def reference(task: Task, point: np.ndarray) -> float:
    # Qiskit applies an evolution as the exact exponential, where a device and our engines run its product formula.
    pub = (taken_apart(task.circuit), task.hamiltonian, point)
    return float(StatevectorEstimator().run([pub]).result()[0].data.evs)


def assert_agree(task: Task, rng: np.random.Generator, engines: dict[str, Callable] = EXACT) -> None:
    """Values to 1e-10 and gradients to 1e-9 of the sum of the coefficients; single precision to 1e-5."""
    point = rng.uniform(-3, 3, task.num_parameters)
    expected = reference(task, point)
    unit = float(np.abs(task.hamiltonian.coeffs).sum())
    points = torch.as_tensor(point)[None].requires_grad_()
    gradients = {}
    for name, make in {**engines, "single": lambda: Statevector(precision="single")}.items():
        value = make().expectation([task], points)
        (gradients[name],) = torch.autograd.grad(value.sum(), points)
        error = abs(value.item() - expected) / unit
        assert error < (1e-5 if name == "single" else 1e-10), f"the value of {name} is off by {error:.2g}"
    slope = max(1.0, gradients["statevector"].abs().max().item() / unit)
    for name, gradient in gradients.items():
        error = (gradient - gradients["statevector"]).abs().max().item() / unit
        bound = 1e-5 * slope if name == "single" else 1e-9
        assert error < bound, f"the gradient of {name} is off by {error:.2g}"


GENERATED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)


@st.composite
def circuits(draw: st.DrawFn) -> QuantumCircuit:
    """Few gates of any kind on few qubits, their angles numbers or affine in up to three shared parameters."""
    theta = ParameterVector("theta", draw(st.integers(1, 3)))
    qubits = draw(st.integers(1, 4))
    number = st.floats(-3, 3, allow_nan=False).map(lambda value: round(value, 3))

    def angle():
        slopes = draw(st.dictionaries(st.sampled_from(range(len(theta))), number, max_size=2))
        return sum((slope * theta[index] for index, slope in slopes.items()), draw(number))

    circuit = QuantumCircuit(qubits)
    for _ in range(draw(st.integers(0, 8))):
        kind = draw(st.sampled_from([*ANGLED, *FIXED]))
        count = COUNTS.get(kind, 1) if kind in ANGLED else 0
        gate = kind(*(angle() for _ in range(count)))
        if gate.num_qubits <= qubits:
            circuit.append(gate, draw(st.permutations(range(qubits)))[: gate.num_qubits])
    for place, parameter in enumerate(theta):
        circuit.ry(draw(st.sampled_from([1, -2, 0.5])) * parameter, place % qubits)
    return circuit


@settings(GENERATED, max_examples=25)
@given(circuits(), st.integers(0, 2**32 - 1))
def test_circuits_of_any_gates_with_shared_affine_angles(circuit: QuantumCircuit, seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert_agree(Task.from_circuit(circuit, random_operator(rng, circuit.num_qubits, 3)), rng)


@settings(GENERATED, max_examples=15)
@given(st.integers(3, 5), st.integers(1, 12), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_random_circuits_with_nesting_evolutions_and_matrices(qubits: int, gates: int, terms: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    circuit = random_circuit(rng, qubits, gates)
    assert_agree(Task.from_circuit(circuit, random_operator(rng, qubits, terms)), rng)


@st.composite
def cost_functions(draw: st.DrawFn, most: int) -> SparsePauliOp:
    """A diagonal operator: equal, commensurate or random weights, with or without fields."""
    size = draw(st.integers(2, most))
    pairs = [(i, j) for i in range(size) for j in range(i)]
    edges = draw(st.lists(st.sampled_from(pairs), min_size=1, unique=True))
    weights = draw(st.sampled_from([st.just(0.5), st.sampled_from([1.0, -2.0, 3.0]), st.floats(0.1, 2.0)]))
    fields = draw(st.lists(st.sampled_from(range(size)), unique=True, max_size=2))
    terms = [("ZZ", list(edge), draw(weights)) for edge in edges] + [("Z", [i], draw(weights)) for i in fields]
    return SparsePauliOp.from_sparse_list(terms, num_qubits=size)


@settings(GENERATED, max_examples=12)
@given(cost_functions(5), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_qaoa_of_any_cost_function(operator: SparsePauliOp, reps: int, seed: int) -> None:
    assert_agree(Task.qaoa(operator, reps=reps), np.random.default_rng(seed))


@settings(GENERATED, max_examples=3)
@given(cost_functions(3), st.integers(4, 12), st.integers(0, 2**32 - 1))
def test_qaoa_of_up_to_twelve_layers(operator: SparsePauliOp, reps: int, seed: int) -> None:
    assert_agree(Task.qaoa(operator, reps=reps), np.random.default_rng(seed))


def test_qaoa_of_exactly_twelve_layers(rng: np.random.Generator) -> None:
    assert_agree(Task.qaoa(SparsePauliOp(["ZZI", "IZZ"], [0.5, 0.5]), reps=12), rng)


class Wrong:
    """An engine with a fault planted in its gradient."""

    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.inner = ParameterShift(StatevectorEstimator())

    def expectation(self, tasks, points):
        plain = points.detach()
        values = self.inner.expectation(tasks, plain)
        if self.fault == "slightly off":
            gradient = torch.autograd.grad(self.inner.expectation(tasks, points).sum(), points)[0] * (1 + 1e-6)
        else:  # the two-term rule on the parameter itself, as if it drove one gate
            shifts = torch.pi / 2 * torch.eye(plain.shape[1], dtype=plain.dtype)
            sides = [[self.inner.expectation(tasks, plain + sign * shift) for shift in shifts] for sign in (1, -1)]
            gradient = 0.5 * (torch.stack(sides[0], dim=1) - torch.stack(sides[1], dim=1))
        return attach_gradient(points, values, gradient)


@pytest.mark.parametrize("fault", ["two terms", "slightly off"])
def test_planted_wrong_rules_are_caught(fault: str) -> None:
    engines = {"statevector": Statevector, "wrong": lambda: Wrong(fault)}

    @settings(GENERATED, max_examples=30, phases=[Phase.generate], derandomize=True)
    @given(circuits(), st.integers(0, 2**32 - 1))
    def compare(circuit: QuantumCircuit, seed: int) -> None:
        rng = np.random.default_rng(seed)
        assert_agree(Task.from_circuit(circuit, random_operator(rng, circuit.num_qubits, 3)), rng, engines)

    with pytest.raises(AssertionError, match="gradient of wrong is off"):
        compare()
