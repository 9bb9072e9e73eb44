import math

import numpy as np
import pytest
from qiskit import QuantumCircuit

from qiskit_metainit.backends import fake_backend
from qiskit_metainit.deployment.depth import log_fidelity, predicted_gains, recommended_reps

ENERGIES = [0.3033, 0.4075, 0.4726, 0.5157, 0.5476, 0.5721, 0.5915, 0.6073]  # Farhi et al. 2022, Table 1


def test_log_fidelity_by_hand():
    target = fake_backend("fake_fez").target
    pair = next(pair for pair in target["cz"] if 0 < (target["cz"][pair].error or 0) < 0.5)
    circuit = QuantumCircuit(156, 1)
    circuit.cz(*pair)
    circuit.sx(pair[0])
    circuit.rz(0.4, pair[0])
    circuit.barrier()
    circuit.measure(pair[0], 0)
    expected = math.log((1 - target["cz"][pair].error) * (1 - target["sx"][pair[:1]].error))
    assert log_fidelity(circuit, target) == pytest.approx(expected, abs=1e-14)


def test_a_faulty_gate_leaves_nothing():
    target = fake_backend("fake_washington").target
    faulty = [pair for pair, known in target["cx"].items() if known.error == 1.0]
    circuit = QuantumCircuit(127)
    circuit.cx(*faulty[0])
    assert log_fidelity(circuit, target) == -math.inf


def test_gains_without_noise_are_the_published_energies():
    np.testing.assert_allclose(predicted_gains([0.0], 8) / 4.0, ENERGIES, atol=6e-5)


def test_gains_decay_by_what_each_layer_costs():
    gains = predicted_gains([-0.3, -0.5], 2, most=4)
    decay = np.exp([-0.3, -0.5, -0.7, -0.9])
    np.testing.assert_allclose(gains, 2 * np.array(ENERGIES[:4]) * decay, atol=2e-4)


def test_it_is_the_fewest_layers_within_the_error(rng):
    for _ in range(50):
        first, layer = -rng.exponential(0.3, 2)
        shots, qubits = int(rng.integers(1, 10**6)), int(rng.integers(2, 100))
        gains = [
            math.sqrt(2 * qubits) * energy * math.exp(first + layer * step) for step, energy in enumerate(ENERGIES)
        ]
        within = [p for p, gain in enumerate(gains, start=1) if gain >= max(gains) - shots**-0.5 - 1e-3]
        assert recommended_reps([first, first + layer], qubits, shots) in within


def test_noise_and_few_shots_ask_for_fewer_layers():
    noise = [recommended_reps([-cost, -2 * cost], 8, 10**6) for cost in (0.0, 0.1, 0.2, 0.4, 1.0)]
    assert noise == sorted(noise, reverse=True) and noise[0] == 8 and noise[-1] == 1
    shots = [recommended_reps([-0.1, -0.2], 8, 10**power) for power in range(7)]
    assert shots == sorted(shots) and shots[0] < shots[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], 8, 100), "from one on"),
        (([0.1], 8, 100), "at most 0"),
        (([math.nan], 8, 100), "at most 0"),
        (([-0.1], 8, 0), "At least one shot"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        recommended_reps(*arguments)
    with pytest.raises(ValueError, match="most=99"):
        predicted_gains([-0.1], 8, most=99)
