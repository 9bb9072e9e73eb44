from __future__ import annotations

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp
from qiskit_algorithms.utils import algorithm_globals
from scipy.optimize import minimize

from qiskit_metainit.engines.parameter_shift import ParameterShift
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.handover import OPTIMIZERS, Trace, hand_over, shift_evaluations
from qiskit_metainit.problems.ising import Ising
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.task import Task


@pytest.fixture(scope="module")
def task() -> Task:
    return Task.qaoa(MaxCut.from_edges([(0, 1, 2.0), (1, 2, 0.5), (2, 0, 1.0), (2, 3, -1.0)]).operator, reps=1)


@pytest.fixture
def start(task: Task) -> np.ndarray:
    return np.array([0.3, -0.3])


def energy(task: Task, point: np.ndarray) -> float:
    return float(Statevector().expectation([task], torch.as_tensor(point)[None])[0])


def run(optimizer: str, task: Task, point: np.ndarray, **options: float) -> Trace:
    options = {"cap": 400, **options}
    return hand_over(optimizer, Statevector(), task, point, rng=np.random.default_rng(1), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_runs_begin_at_the_start_and_only_descend(optimizer: str, task: Task, start: np.ndarray) -> None:
    trace = run(optimizer, task, start)
    assert trace.energies[0] == pytest.approx(energy(task, start))
    assert trace.evaluations[0] == 1
    assert np.all(np.diff(trace.energies) < 0)
    assert np.all(np.diff(trace.evaluations) >= 0)
    assert trace.evaluations[-1] <= 400
    assert trace.energies[-1] < trace.energies[0] - 0.1
    if optimizer != "SPSA":  # whose calibrated first step leaves the basin
        grid = [np.array([b, g]) for b in np.linspace(0, 0.8, 33) for g in np.linspace(-2, 0, 41)]
        assert trace.energies[-1] <= min(energy(task, point) for point in grid)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_target_ends_a_run_at_the_same_place(optimizer: str, task: Task, start: np.ndarray) -> None:
    whole = run(optimizer, task, start)
    target = 0.5 * (whole.energies[0] + whole.energies[-1])
    short = run(optimizer, task, start, target=target)
    assert short.arrival(target) == whole.arrival(target) == short.evaluations[-1]
    assert short.energies == whole.energies[: len(short.energies)]
    assert whole.arrival(whole.energies[-1] - 1e-9) is None


def test_nelder_mead_is_scipys_and_counts_every_call(task: Task, start: np.ndarray) -> None:
    unit, seen = task.features.unit.numpy(), []

    def cost(point: np.ndarray) -> float:
        seen.append(energy(task, point * unit))
        return seen[-1] / task.scale

    minimize(cost, start / unit, method="Nelder-Mead")
    trace = run("Nelder-Mead", task, start)
    falling = [n for n, value in enumerate(seen, start=1) if value < min(seen[: n - 1], default=np.inf)]
    assert list(trace.evaluations) == falling
    assert trace.energies == pytest.approx([seen[n - 1] for n in falling])


def test_a_gradient_costs_what_parameter_shift_spends(task: Task, start: np.ndarray, rng: np.random.Generator) -> None:
    glass = Ising.from_couplings({(0, 1): 0.3, (1, 2): -1.2, (0, 2): 0.4}, fields={1: 0.7})
    for some in (task, Task.qaoa(glass.operator, reps=2)):
        engine = ParameterShift(StatevectorEstimator())
        point = torch.as_tensor(rng.uniform(-1, 1, (1, some.num_parameters))).requires_grad_()
        engine.expectation([some], point).sum().backward()  # type: ignore[no-untyped-call]
        assert shift_evaluations(some) == engine.budget.circuits
    price = shift_evaluations(task)
    counts = run("L-BFGS-B", task, start).evaluations
    assert len(counts) > 2
    assert all(count % price == 1 for count in counts)


def test_spsa_pays_for_calibration_and_two_evaluations_a_step(task: Task, start: np.ndarray) -> None:
    engine = Statevector()
    trace = hand_over("SPSA", engine, task, start, cap=60, rng=np.random.default_rng(0))
    assert trace.evaluations[-1] <= 60
    # 25 pairs of calibration, 5 steps; their 4 iterates that were known before the cap and the start are judged free.
    assert engine.budget.circuits == 60 + 5


def test_spsa_draws_from_its_own_generator_only(task: Task, start: np.ndarray) -> None:
    algorithm_globals.random_seed = 5
    expected = np.random.default_rng(5).random(3)
    first = hand_over("SPSA", Statevector(), task, start, cap=80, rng=np.random.default_rng(2))
    assert algorithm_globals.random.random(3) == pytest.approx(expected)
    again = hand_over("SPSA", Statevector(), task, start, cap=80, rng=np.random.default_rng(2))
    other = hand_over("SPSA", Statevector(), task, start, cap=80, rng=np.random.default_rng(3))
    assert first == again != other


@pytest.mark.parametrize("optimizer", ["Nelder-Mead", "L-BFGS-B"])
def test_units_of_the_problem_change_nothing(optimizer: str) -> None:
    plain = SparsePauliOp(["ZZI", "IZZ", "ZIZ"], [1.0, 0.5, -0.7])
    traces = []
    for factor in (1.0, 1000.0):
        task = Task.qaoa(plain * factor, reps=1)
        traces.append(run(optimizer, task, np.array([0.3, -0.2 / factor])))
    assert traces[0].evaluations == traces[1].evaluations
    assert np.array(traces[1].energies) == pytest.approx(1000 * np.array(traces[0].energies))


def test_the_best_within_some_evaluations() -> None:
    trace = Trace((1, 4, 9), (0.0, -1.0, -2.0))
    assert [trace.best(n) for n in (0, 1, 3, 4, 8, 9, 100)] == [0.0, 0.0, 0.0, -1.0, -1.0, -2.0, -2.0]
    assert (trace.arrival(0.5), trace.arrival(-1.0), trace.arrival(-1.5), trace.arrival(-3.0)) == (1, 4, 9, None)


def test_an_unknown_optimizer_and_a_missing_generator_are_refused(task: Task, start: np.ndarray) -> None:
    with pytest.raises(ValueError, match="one of Nelder-Mead, L-BFGS-B, SPSA"):
        run("COBYLA", task, start)
    with pytest.raises(ValueError, match="give rng"):
        hand_over("SPSA", Statevector(), task, start, cap=10)


def test_spsa_ends_where_every_pair_of_energies_is_equal() -> None:
    """Of RX on |0> under Z the energy is even: at 0 its calibration sees no slope, and its first step is infinite."""
    theta = Parameter("theta")
    circuit = QuantumCircuit(1)
    circuit.rx(theta, 0)
    task = Task.from_circuit(circuit, SparsePauliOp("Z"))
    trace = hand_over("SPSA", Statevector(), task, np.zeros(1), cap=200, rng=np.random.default_rng(0))
    assert np.isfinite(trace.energies).all()
    assert trace.energies[0] == pytest.approx(np.cos(0.2), abs=0.1)
