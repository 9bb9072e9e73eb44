import math

import numpy as np
import pytest
from qiskit import QuantumCircuit

from qiskit_metainit.backends import fake_backend
from qiskit_metainit.deployment.channels.exact import ExactChannel
from qiskit_metainit.deployment.depth import log_fidelity, predicted_gains, recommended_reps
from qiskit_metainit.initializer import named
from qiskit_metainit.problem import diagonal_values
from qiskit_metainit.under_noise import Judge, fake_device, instances

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
    gains = predicted_gains([-0.3, -0.5], 2, most=4)  # every error touches every term
    decay = np.exp([-0.3, -0.5, -0.7, -0.9])
    np.testing.assert_allclose(gains, 2 * np.array(ENERGIES[:4]) * decay, atol=2e-4)


def test_it_is_the_fewest_layers_within_the_error(rng):
    for _ in range(50):
        first, layer = -rng.exponential(0.3, 2)
        shots, qubits = int(rng.integers(1, 10**6)), int(rng.integers(2, 100))
        share = 1 - (qubits - 2) * (qubits - 3) / (qubits * (qubits - 1))
        felt = min(1.0, 1.25 * share)
        gains = [
            math.sqrt(2 * qubits) * energy * math.exp(felt * (first + layer * step))
            for step, energy in enumerate(ENERGIES)
        ]
        within = [p for p, gain in enumerate(gains, start=1) if gain >= max(gains) - shots**-0.5 - 1e-3]
        assert recommended_reps([first, first + layer], qubits, shots) in within


def test_noise_and_few_shots_ask_for_fewer_layers():
    noise = [recommended_reps([-cost, -2 * cost], 8, 10**6) for cost in (0.0, 0.1, 0.2, 0.4, 1.0)]
    assert noise == sorted(noise, reverse=True)
    assert noise[0] == 8
    assert noise[-1] == 1
    shots = [recommended_reps([-0.1, -0.2], 8, 10**power) for power in range(7)]
    assert shots == sorted(shots)
    assert shots[0] < shots[-1]


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


@pytest.fixture(scope="module")
def simulated():
    """Exact noisy and noiseless gains of qaoa's points at p = 1 to 4, in standard deviations of random bitstrings."""
    meta, found = named("qaoa"), []
    for name, sizes, graphs in (("fake_fez", (6,), 2), ("fake_cusco", (6,), 1), ("fake_washington", (8,), 1)):
        backend = fake_device(name)
        channel = ExactChannel(backend)
        for problem in instances(graphs, sizes, 5):
            values = diagonal_values(problem.operator)
            rows = []
            for reps in (1, 2, 3, 4):
                judge = Judge.of(problem, reps, backend, channel)
                point = judge.point(meta.propose([problem.operator], problem=problem, reps=reps)[0].point)
                rows.append([point["noisy"], point["ideal"], judge.facts["log_fidelity"]])
            noisy, ideal, costs = np.array(rows).T
            unit = np.ptp(values) / values.std()
            found.append((problem.num_qubits, noisy, (ideal - judge.facts["mixed"]) * unit, costs, judge, unit))
    return found


def test_it_finds_the_best_depth_of_exact_noisy_simulations(simulated):
    lost, fixed = [], []
    for qubits, noisy, ideal, costs, _, _ in simulated:
        known = recommended_reps(costs[:2], qubits, 100_000, ideal=ideal)
        assert noisy.max() - noisy[known - 1] <= 0.006
        lost.append(noisy.max() - noisy[recommended_reps(costs[:2], qubits, 100_000, most=4) - 1])
        fixed.append(noisy.max() - noisy)
    assert max(lost) <= 0.035  # of infinitely large problems more is known than of these
    assert np.mean(lost) < np.mean(fixed, axis=0).min()


def test_what_noise_leaves_is_predicted(simulated):
    for qubits, noisy, ideal, costs, judge, unit in simulated:
        gains = (noisy - judge.facts["mixed"]) * unit
        predicted = predicted_gains(costs, qubits, ideal=ideal)
        np.testing.assert_allclose(np.log(gains / ideal), np.log(predicted / ideal), rtol=0.45)


def test_known_gains_take_the_place_of_infinite_sizes():
    assert recommended_reps([-0.1, -0.2], 8, 10**6, ideal=[1.0, 2.0, 2.0]) == 2
    np.testing.assert_allclose(predicted_gains([-0.1], 3, ideal=[1.0, 2.0]), [math.exp(-0.1), 2 * math.exp(-0.2)])


def test_an_error_costs_less_on_more_qubits():
    left = [
        predicted_gains([-0.5], qubits, most=1)[0] / predicted_gains([0.0], qubits, most=1)[0]
        for qubits in range(2, 60)
    ]
    assert left == sorted(left)
    assert left[0] == left[1] == pytest.approx(math.exp(-0.5))
    assert left[4] == pytest.approx(math.exp(-0.5 * 1.25 * (1 - 12 / 30)))
