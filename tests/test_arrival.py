from __future__ import annotations

import numpy as np
import pytest
import torch
from qiskit.quantum_info import SparsePauliOp
from scipy.optimize import minimize

from qiskit_metainit.arrival import SPSA_GAINS, evaluations_until, run_until, sampled
from qiskit_metainit.comparison import OPTIMIZERS, Protocol
from qiskit_metainit.descent import descend
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.evaluation import compare
from qiskit_metainit.handover import hand_over, shift_evaluations
from qiskit_metainit.models.constant import Constant
from qiskit_metainit.problem import diagonal_values
from qiskit_metainit.problems.ising import Ising
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.rating import Array, energies
from qiskit_metainit.task import Task

NEVER = -1e9
START = np.array([0.1, -0.9])


@pytest.fixture
def task() -> Task:
    return Task.qaoa(MaxCut.from_edges([(0, 1), (1, 2), (2, 0), (2, 3, 2.0)]).operator, reps=1)


def energy(task: Task, point: Array) -> float:
    return float(energies(Statevector(), [task], point[None])[0])


def target_of(task: Task, share: float = 0.9) -> float:
    start = energy(task, START)
    return start + share * (descend(Statevector(), task, START)[0] - start)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimiser_gets_there_and_its_trace_only_falls(optimizer: str, task: Task) -> None:
    target, protocol = target_of(task), Protocol(reps=1, cap=500)
    trace = run_until(optimizer, Statevector(), task, START, target, protocol=protocol, rng=np.random.default_rng(0))
    assert trace.evaluations[0] == 1
    assert trace.energies[0] == pytest.approx(energy(task, START))
    assert (np.diff(trace.energies) < 0).all()
    assert (np.diff(trace.evaluations) > 0).all() or optimizer == "spsa"  # an iterate comes with what was measured
    assert trace.energies[-1] <= target
    assert 1 < trace.evaluations[-1] < 500


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_ends_at_the_cap_and_counts_as_the_cap(optimizer: str, task: Task) -> None:
    engine, protocol = Statevector(), Protocol(reps=1, cap=23)
    rng = np.random.default_rng(0)
    assert evaluations_until(engine, task, START, NEVER, protocol=protocol, optimizer=optimizer, rng=rng) == 23
    trace = run_until(optimizer, engine, task, START, NEVER, protocol=protocol, rng=rng)
    assert max(trace.evaluations) <= 23
    assert trace.arrival(NEVER) is None


def test_a_gradient_of_l_bfgs_b_costs_what_the_shift_rule_spends(task: Task) -> None:
    target, protocol = target_of(task), Protocol(reps=1, cap=500)
    trace = run_until("l_bfgs_b", Statevector(), task, START, target, protocol=protocol)
    price = shift_evaluations(task)
    assert all(count % price == 1 for count in trace.evaluations)  # the value is known before its gradient
    assert trace == hand_over("L-BFGS-B", Statevector(), task, START, cap=500, target=target)


def test_cobyla_is_scipys_in_natural_units(task: Task) -> None:
    unit, seen = task.features.unit.numpy(), []

    def cost(natural: Array) -> float:
        seen.append(energy(task, natural * unit))
        return seen[-1] / task.scale

    minimize(cost, START / unit, method="COBYLA", tol=1e-3, options={"rhobeg": 0.4, "maxiter": 40})
    protocol = Protocol(reps=1, cap=40, rhobeg=0.4)
    trace = run_until("cobyla", Statevector(), task, START, NEVER, protocol=protocol)
    best = np.minimum.accumulate(seen)
    assert trace.energies[-1] == pytest.approx(best[-1])
    assert [trace.best(count) for count in range(1, len(seen) + 1)] == pytest.approx(best.tolist())


def test_spsa_takes_the_steps_it_says(task: Task) -> None:
    unit, rng, visits = task.features.unit.numpy(), np.random.default_rng(3), []
    point = START / unit
    for step in range(1, 11):
        signs = 2.0 * rng.integers(2, size=2) - 1.0
        width, rate = SPSA_GAINS["c"] / step**0.101, SPSA_GAINS["a"] / (step + SPSA_GAINS["A"]) ** 0.602
        forth, back = (energy(task, (point + sign * width * signs) * unit) for sign in (1, -1))
        visits += [(max(2 * step - 2, 1), energy(task, point * unit)), (2 * step - 1, forth), (2 * step, back)]
        point = point - rate * (forth - back) / task.scale / (2 * width) * signs
    trace = run_until(
        "spsa", Statevector(), task, START, NEVER, protocol=Protocol(reps=1, cap=20), rng=np.random.default_rng(3)
    )
    for count in range(1, 21):
        assert trace.best(count) == pytest.approx(min(each for spent, each in visits if spent <= count))
    assert trace.energies[-1] == pytest.approx(min(each for _, each in visits))


def test_spsa_follows_its_generator(task: Task) -> None:
    def run(seed: int) -> tuple[float, ...]:
        rng = np.random.default_rng(seed)
        return run_until("spsa", Statevector(), task, START, NEVER, protocol=Protocol(reps=1, cap=9), rng=rng).energies

    assert run(1) == run(1) != run(2)


@pytest.mark.parametrize("optimizer", ["cobyla", "spsa"])
def test_units_of_the_weights_change_no_count(optimizer: str) -> None:
    operator = MaxCut.from_edges([(0, 1), (1, 2, 0.3), (2, 0)]).operator
    counts = []
    for factor in (1.0, 2.0**20):
        task = Task.qaoa(operator * factor, reps=1)
        start = START * np.array([1.0, 1 / factor])
        target = target_of(Task.qaoa(operator, reps=1)) * factor
        rng, protocol = np.random.default_rng(0), Protocol(reps=1)
        counts.append(
            evaluations_until(Statevector(), task, start, target, protocol=protocol, optimizer=optimizer, rng=rng)
        )
    assert counts[0] == counts[1] < 1000


def test_sampled_energies_are_means_of_real_shots(task: Task) -> None:
    levels = diagonal_values(task.hamiltonian)
    tasks = [task] * 40
    points = torch.as_tensor(np.tile(START, (40, 1)))
    single = sampled(1, np.random.default_rng(0)).expectation(tasks, points).numpy()
    assert np.isclose(single[:, None], levels[None]).any(axis=1).all()  # one shot is an eigenvalue
    assert len(np.unique(single.round(9))) > 1
    several = sampled(400, np.random.default_rng(0)).expectation(tasks, points).numpy()
    spread = several.std() * np.sqrt(400)
    assert spread == pytest.approx(single.std(), rel=0.5)
    assert several.mean() == pytest.approx(energy(task, START), abs=4 * spread / np.sqrt(16000))


@pytest.mark.parametrize("optimizer", ["cobyla", "spsa"])
def test_under_sampling_a_run_is_judged_by_exact_energies(optimizer: str, task: Task) -> None:
    target = target_of(task)

    def run(seed: int, target: float = target, cap: int = 200) -> tuple[float, ...]:
        rng, protocol = np.random.default_rng(seed), Protocol(reps=1, cap=cap, shots=200, rhobeg=0.3)
        return run_until(optimizer, Statevector(), task, START, target, protocol=protocol, rng=rng).energies

    found = run(0)
    assert found[0] == pytest.approx(energy(task, START), abs=1e-12)  # not sampled
    assert found[-1] <= target
    assert run(0) == found
    assert run(0, NEVER, 20) != run(1, NEVER, 20)


def test_a_comparison_under_sampling_repeats_runs_and_stays_reproducible() -> None:
    problems = [Ising(sizes=[3]).sample(np.random.default_rng(seed)) for seed in range(2)]
    protocol = Protocol(reps=1, random_starts=2, cap=6, repeats=3, shots=50, optimizers=("cobyla", "spsa"))
    first, again = (compare({"constant": Constant()}, problems, protocol) for _ in range(2))
    assert first.as_json() == again.as_json()
    for optimizer in protocol.optimizers:
        arrival = first.results["constant"].arrivals[optimizer]
        assert arrival.evaluations.shape == (2,)
        assert (arrival.share * 6) % 1 == pytest.approx(0, abs=1e-9)  # of two instances, three runs each


def test_what_cannot_run_is_refused(task: Task) -> None:
    with pytest.raises(ValueError, match="one of cobyla, l_bfgs_b, spsa, but 'adam' came"):
        run_until("adam", Statevector(), task, START, NEVER, protocol=Protocol(reps=1))
    mixed = Task.qaoa(SparsePauliOp(["ZZ", "XI"]), reps=1)
    with pytest.raises(ValueError, match="diagonal"):
        run_until("spsa", Statevector(), mixed, START, NEVER, protocol=Protocol(reps=1, shots=10))
