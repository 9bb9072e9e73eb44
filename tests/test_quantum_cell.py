"""Tests of the quantum layers against closed forms, Qiskit and an estimator."""

import itertools

import numpy as np
import pytest
import torch
from qiskit.circuit import ParameterVector, QuantumCircuit
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import Statevector as State
from torch import nn

from qiskit_metainit import quantum_cell as qc
from qiskit_metainit.engines.parameter_shift import ParameterShift

LAYERS = {
    "rotation": lambda: qc.rotation_layer(3, 2, copies=4, trained=True),
    "general": lambda: qc.general_layer(3, 1, 2, copies=2),
    "fast": lambda: qc.fast_layer(3, 2),
    "kernel": lambda: qc.kernel_layer(2, 2),
    "undone": lambda: qc.undone_layer(3),
}
INPUTS = {"rotation": 3, "general": 6, "fast": 9, "kernel": 6, "undone": 3}


@pytest.fixture(autouse=True)
def seeded(rng):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        yield


def draw(rng, *shape):
    return torch.as_tensor(rng.uniform(-2.0, 2.0, size=shape))


def test_rotation_layer_is_the_closed_form(rng):
    # With c_k = cos(y_k + w_k) the ring of CNOTs turns <Z_k> into products of them.
    layer = qc.rotation_layer(4, 1, copies=4, trained=True)
    data = draw(rng, 1, 5, 4)
    c = torch.cos(data + layer.weights[:, None])
    c0, c1, c2, c3 = c.unbind(dim=2)
    expected = torch.stack([c1 * c2 * c3, c0 * c1, c0 * c1 * c2, c0 * c1 * c2 * c3], dim=2)
    torch.testing.assert_close(layer(data), expected)


def test_fast_layer_is_the_closed_form(rng):
    data = draw(rng, 1, 6, 4)
    e0, e1, t0, t1 = data[0].unbind(dim=1)
    z0 = -torch.cos(t0) * torch.sin(e0) - torch.sin(t0) * torch.cos(e0) * torch.cos(e1)
    z1 = torch.cos(t1) * torch.sin(e0) * torch.sin(e1) - torch.sin(t1) * torch.cos(e1)
    torch.testing.assert_close(qc.fast_layer(2, 1)(data)[0], torch.stack([z0, z1], dim=1))


def test_general_layer_is_the_circuit_of_the_first_qlstm(rng):
    """Built once more by hand, gate by gate, and run by Qiskit."""
    layer = qc.general_layer(3, 1, 3)
    values = rng.uniform(-2.0, 2.0, size=3)
    angles = qc.arctan_angles(torch.as_tensor(values))
    circuit = QuantumCircuit(3)
    for qubit, value in enumerate(values):
        circuit.h(qubit)
        circuit.ry(np.arctan(value), qubit)
        circuit.rz(np.arctan(value**2), qubit)
    for step in (1, 2):
        for qubit in range(3):
            circuit.cx(qubit, (qubit + step) % 3)
    for qubit, (a, b, c) in enumerate(layer.weights.detach().numpy().reshape(3, 3)):
        circuit.rz(a, qubit)
        circuit.ry(b, qubit)
        circuit.rz(c, qubit)
    state = State(circuit)
    expected = [state.expectation_value(qc.pauli_z(3, qubit)).real for qubit in range(3)]
    np.testing.assert_allclose(layer(angles[None, None])[0, 0].detach(), expected, atol=1e-12)


@pytest.mark.parametrize("layers", [1, 2])
def test_kernel_is_the_fidelity_of_two_states(rng, layers):
    layer = qc.kernel_layer(3, layers)
    first, second = rng.uniform(-2.0, 2.0, size=(2, 3))

    def feature_state(values):
        circuit = QuantumCircuit(3)
        for _ in range(layers):
            circuit.h(range(3))
            for qubit in range(3):
                circuit.rz(values[qubit], qubit)
            for qubit in range(2):
                circuit.rzz(values[qubit] * values[qubit + 1], qubit, qubit + 1)
        return State(circuit).data

    expected = abs(np.vdot(feature_state(second), feature_state(first))) ** 2
    angles = [qc.pair_angles(torch.as_tensor(values)) for values in (first, second)]
    value = layer(torch.cat(angles)[None, None]).item()
    assert value == pytest.approx(expected, abs=1e-12)
    assert 0.0 < value < 1.0


def test_kernel_is_a_kernel(rng):
    layer = qc.kernel_layer(3, 1)
    angles = qc.pair_angles(draw(rng, 6, 3))
    pairs = torch.stack([torch.cat([a, b]) for a, b in itertools.product(angles, angles)])
    matrix = layer(pairs[None])[0, :, 0].reshape(6, 6)
    torch.testing.assert_close(matrix, matrix.T)
    torch.testing.assert_close(matrix.diagonal(), torch.ones(6, dtype=torch.float64))
    assert torch.linalg.eigvalsh(matrix).min() > -1e-12


def test_published_kernel_undoes_itself(rng):
    values = qc.undone_layer(4)(draw(rng, 1, 7, 4))
    torch.testing.assert_close(values, torch.ones(1, 7, 4, dtype=torch.float64))


@pytest.mark.parametrize("name", LAYERS)
def test_estimator_gives_what_the_simulator_gives(name, rng):
    """Values, and gradients by inputs and weights, through the parameter-shift rule."""
    layer = LAYERS[name]()
    data = draw(rng, 1, 2, INPUTS[name])

    def measured():
        inputs = data.clone().requires_grad_()
        values = layer(inputs)
        wanted = [inputs, *(parameter for parameter in layer.parameters() if parameter.numel())]
        factors = torch.linspace(0.5, 1.5, values.numel(), dtype=torch.float64).reshape(values.shape)
        return [values, *torch.autograd.grad((values * factors).sum(), wanted)]

    exact = measured()
    layer.engine = ParameterShift(StatevectorEstimator())
    for ours, theirs in zip(measured(), exact, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=0)
    assert layer.engine.budget.circuits > 0


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_are_derivatives(name, rng):
    layer = LAYERS[name]()
    data = draw(rng, 1, 2, INPUTS[name]).requires_grad_()
    assert torch.autograd.gradcheck(layer, (data,), eps=1e-5, atol=1e-6)


def test_copies_differ_by_their_weights_only(rng):
    layer = qc.rotation_layer(2, 1, copies=3, trained=True)
    data = draw(rng, 3, 4, 2)
    together = layer(data)
    for copy in range(3):
        alone = qc.rotation_layer(2, 1, copies=1, trained=True)
        alone.weights = nn.Parameter(layer.weights[copy : copy + 1].detach().clone())
        torch.testing.assert_close(alone(data[copy : copy + 1])[0], together[copy])


def test_untrained_weights_are_kept_with_the_model():
    layer = qc.rotation_layer(2, 1, copies=1, trained=False)
    assert not list(layer.parameters())
    assert "weights" in layer.state_dict()


def test_a_forgotten_parameter_is_an_error():
    angles = ParameterVector("x", 2)
    circuit = QuantumCircuit(1)
    circuit.rx(angles[0], 0)
    circuit.ry(angles[1], 0)
    with pytest.raises(ValueError, match="has 2 and 1 came"):
        qc.QuantumLayer(circuit, angles[:1], [], [qc.pauli_z(1, 0)])


def test_gated_is_an_lstm(rng):
    """What torch's own cell does with the same numbers before its gates."""
    cell = nn.LSTMCell(2, 3, dtype=torch.float64)
    inputs, hidden, memory = draw(rng, 4, 2), draw(rng, 4, 3), draw(rng, 4, 3)
    sums = inputs @ cell.weight_ih.T + cell.bias_ih + hidden @ cell.weight_hh.T + cell.bias_hh
    write, forget, update, output = sums.chunk(4, dim=1)
    shown, kept = qc.gated(torch.stack([forget, write, update, output]), memory)
    expected = cell(inputs, (hidden, memory))
    torch.testing.assert_close(shown, expected[0])
    torch.testing.assert_close(kept, expected[1])
