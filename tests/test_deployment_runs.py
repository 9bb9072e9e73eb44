from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import scipy.optimize
import torch
from bank import Bank, Death, Faults, FaultyChannel, deadly, simulate
from qiskit import QuantumCircuit
from qiskit.circuit import Measure, Parameter, ParameterVector
from qiskit.circuit.library import CZGate, RZGate, SXGate, qaoa_ansatz
from qiskit.primitives import StatevectorEstimator
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import InstructionProperties, Target
from qiskit_aer import AerSimulator
from qiskit_algorithms.optimizers import ADAM, AQGD, COBYLA, L_BFGS_B, P_BFGS, POWELL, SLSQP, SPSA, GradientDescent
from qiskit_algorithms.utils import algorithm_globals

from qiskit_metainit.backends import fake_backend
from qiskit_metainit.budget import ShotBudget
from qiskit_metainit.deployment import (
    OPTIMIZERS,
    BudgetError,
    Deployment,
    LedgerError,
    Run,
    RunInterruptedError,
    ShotSchedule,
    make_optimizer,
)
from qiskit_metainit.deployment.channels.channel import Refused
from qiskit_metainit.deployment.spending.ledger import Ledger
from qiskit_metainit.deployment.timing import Timing, duration
from qiskit_metainit.initializer import MetaInitializer
from qiskit_metainit.models.constant import Constant
from qiskit_metainit.models.interpolation import Interpolation
from qiskit_metainit.models.lstm import Lstm
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.problem import Problem
from qiskit_metainit.problems.maxcut import MaxCut

pytestmark = [
    # Of qiskit-algorithms 0.4.
    pytest.mark.filterwarnings(r"ignore:The class ``qiskit\.circuit\.library\..*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning"),
    pytest.mark.filterwarnings("ignore:scipy.optimize. The `disp` and `iprint` options:DeprecationWarning"),
]

PROBLEM = MaxCut.from_edges([("a", "b", 1.0), ("b", "c", 2.0), ("c", "a", 0.7), ("c", "d", 0.5)])
POOR = Constant(point=[0.1, -0.1])  # far enough from an optimum to be improved
SHOTS = 64
BACKEND = AerSimulator(max_parallel_threads=1)
SPIN = SparsePauliOp(["XX", "YY", "ZZ", "ZI", "II"], [1.0, 0.8, 0.6, 0.3, -0.5])  # three bases


def spin_ansatz() -> QuantumCircuit:
    theta = ParameterVector("theta", 3)
    circuit = QuantumCircuit(2)
    circuit.ry(theta[0], 0)
    circuit.ry(2 * theta[1] + 0.1, 1)
    circuit.cx(0, 1)
    circuit.rz(theta[2] / 3, 1)
    circuit.ry(theta[0] - theta[2], 1)
    return circuit


def learned(queries: int = 3) -> MetaInitializer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MetaInitializer(Lstm(num_parameters=2, queries=queries))


def solve(
    bank: Bank | None = None,
    *,
    meta: MetaInitializer | None = None,
    problem: Problem | SparsePauliOp = PROBLEM,
    optimizer: Any = "cobyla",
    maxiter: int = 12,
    shots: int | ShotSchedule = SHOTS,
    seed: int = 1,
    channel: Any = None,
    path: Path | Ledger | None = None,
    budget: dict[str, Any] | None = None,
    **settings: Any,
) -> Run:
    if isinstance(optimizer, str):
        like = problem if isinstance(problem, Problem) else PROBLEM
        optimizer = make_optimizer(optimizer, maxiter=maxiter, rhobeg=0.3, problem=like)
    if "ansatz" not in settings:
        settings["reps"] = 1
    channel = channel or FaultyChannel(bank or Bank())
    with opened(path, channel, budget=ShotBudget(**(budget or {})), seed=seed) as deployment:
        meta = meta or MetaInitializer(POOR)
        return deployment.run(problem, initializer=meta, optimizer=optimizer, shots_per_evaluation=shots, **settings)


@contextmanager
def opened(path: Path | Ledger | None, channel: Any, **settings: Any) -> Iterator[Deployment]:
    """A new process, as far as it matters; a ledger that is given stays open."""
    deployment = Deployment(BACKEND, ledger=path if isinstance(path, Path) else None, channel=channel, **settings)
    if isinstance(path, Ledger):
        deployment.close()
        deployment.ledger = path
    try:
        yield deployment
    finally:
        if not isinstance(path, Ledger):
            deployment.close()


def vqe(bank: Bank | None = None, **settings: Any) -> Run:
    meta = settings.pop("meta", MetaInitializer(Constant(point=[0.3, -0.2, 0.5])))
    return solve(bank, meta=meta, problem=SPIN, ansatz=spin_ansatz(), **settings)


def resume(path: Path, bank: Bank, *, run: str | None = None, faults: Faults | None = None, **given: Any) -> Run:
    with opened(path, FaultyChannel(bank, faults)) as deployment:
        return deployment.resume(deployment.runs()[0].id if run is None else run, **given)


def exact(point: np.ndarray, problem: Problem = PROBLEM) -> float:
    circuit = qaoa_ansatz(problem.operator, len(point) // 2)
    return float(StatevectorEstimator().run([(circuit, problem.operator, point)]).result()[0].data.evs)


def seen(bank: Bank) -> set[str]:
    return {text for job in bank.jobs for bits in simulate(job.request) for text in bits.get_counts()}


def assert_same(one: Run, two: Run, *, spent: bool = True) -> None:
    for name in ("points", "energies", "shots", "point"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)
    assert (one.energy, one.bitstring, one.stopped) == (two.energy, two.bitstring, two.stopped)
    np.testing.assert_array_equal(one.proposal.point, two.proposal.point)
    if spent:
        assert (one.spent, one.shots_by_stage) == (two.spent, two.shots_by_stage)


# What a run is


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_records_what_it_measured(optimizer: str) -> None:
    bank = Bank()
    run = solve(bank, optimizer=optimizer)
    assert run.points.shape == (len(run.energies), 2)
    start = MetaInitializer(POOR).initial_point(PROBLEM.operator, reps=1)
    np.testing.assert_array_equal(run.proposal.point, start)
    if optimizer != "spsa":  # which begins beside its start
        np.testing.assert_allclose(run.points[0], start)
    assert run.shots_spent == bank.taken()
    assert run.shots[-1] == len(run.energies) * SHOTS
    assert run.shots_by_stage == {"optimisation": int(run.shots[-1]), "final": SHOTS}
    assert run.spent.jobs == len(bank.jobs)
    assert run.stopped is None
    # In the Hamiltonian's units, identity included, at the points in radians; 64 shots are good to about 0.15.
    errors = run.energies - [exact(point) for point in run.points]
    assert np.abs(errors).mean() < 0.35


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_energies_are_those_of_the_outcomes(optimizer: str) -> None:
    bank = Bank()
    run = solve(bank, optimizer=optimizer)
    values = []
    for job in bank.jobs:
        for row in simulate(job.request)[0]:  # a parameter set each
            counts = row.get_counts()
            cut = sum(-PROBLEM.value(text) * count for text, count in counts.items()) / row.num_shots
            values.append(cut)
    np.testing.assert_allclose([*run.energies, run.energy], values, atol=1e-12)


def test_points_that_do_not_depend_on_each_other_share_a_job() -> None:
    spsa, descent = Bank(), Bank()
    run = solve(spsa, optimizer="spsa", maxiter=5)
    assert [job.request.evaluations for job in spsa.jobs] == [2, 2, 2, 2, 2, 1, 1][: len(spsa.jobs)]
    assert run.spent.jobs < len(run.energies)
    run = solve(descent, optimizer="l_bfgs_b", maxiter=3)
    assert max(job.request.evaluations for job in descent.jobs) >= 2
    assert run.spent.jobs < len(run.energies) + 1


@pytest.mark.parametrize("budget", [{}, {"shots": 10 * SHOTS}])
def test_the_best_bitstring_ever_sampled_is_kept(budget: dict[str, int]) -> None:
    bank = Bank()
    run = solve(bank, budget=budget)
    assert PROBLEM.value(run.bitstring) == max(PROBLEM.value(bits) for bits in seen(bank))
    assert run.bitstring in seen(bank)


def test_minimised_problems_keep_their_lowest_bitstring() -> None:
    problem = Problem(-1.0 * PROBLEM.operator, "maxcut", PROBLEM.nodes)  # the smallest cut: nobody is alone
    bank = Bank()
    run = solve(bank, problem=problem)
    assert problem.value(run.bitstring) == min(problem.value(bits) for bits in seen(bank))


def test_of_equal_bitstrings_the_first_is_kept_wherever_it_was_seen() -> None:
    bank = Bank()
    run = solve(bank, problem=SparsePauliOp(["ZZI", "IZZ"], [0.1, 0.3]), shots=200)
    assert {"010", "101"} <= seen(bank)
    assert run.bitstring == "010"


def test_a_finished_run_ends_at_the_optimizers_answer() -> None:
    run = solve(maxiter=25, shots=512)
    assert exact(run.point) < exact(run.points[0]) - 0.3
    assert any(np.allclose(run.point, point) for point in run.points)


def test_the_units_of_the_weights_change_nothing_but_the_units() -> None:
    factor = 2.0**20
    scaled = Problem(PROBLEM.operator * factor, "maxcut", PROBLEM.nodes, maximise=True)
    for optimizer in OPTIMIZERS:
        run, other = (solve(problem=problem, optimizer=optimizer) for problem in (PROBLEM, scaled))
        np.testing.assert_allclose(other.energies, run.energies * factor)
        np.testing.assert_allclose(other.points * [1.0, factor], run.points)
        assert other.bitstring == run.bitstring


def test_progress_is_reported_after_every_evaluation() -> None:
    told: list[tuple[int, float]] = []
    run = solve(progress=lambda count, energy: told.append((count, energy)))
    assert [count for count, _ in told] == list(range(1, len(run.energies) + 1))
    np.testing.assert_array_equal([energy for _, energy in told], run.energies)


def test_an_unknown_optimizer_is_refused() -> None:
    with pytest.raises(ValueError, match="cobyla, spsa, l_bfgs_b, nelder_mead, none, but 'adam' came"):
        solve(optimizer="adam")


def test_the_users_problem_may_have_linear_terms() -> None:
    graph = nx.path_graph(3)
    graph.nodes[0]["bias"] = 2.0
    problem = MaxCut.from_graph(graph)
    run = solve(meta=MetaInitializer(SkInfinity()), problem=problem)
    assert problem.value(run.bitstring) == 4.0


def test_the_seed_decides_and_the_users_own_random_numbers_do_not() -> None:
    algorithm_globals.random_seed = 99
    one = solve(optimizer="spsa")
    assert algorithm_globals.random_seed == 99
    algorithm_globals.random_seed = 5
    assert_same(one, solve(optimizer="spsa"))
    assert not np.array_equal(one.points, solve(optimizer="spsa", seed=2).points)


def test_vqe_measures_each_basis_and_counts_it() -> None:
    bank = Bank()
    run = vqe(bank, maxiter=6, shots=500)
    assert [len(job.request.pubs) for job in bank.jobs] == [3] * len(bank.jobs)
    assert run.shots_by_stage == {"optimisation": 6 * 3 * 500, "final": 3 * 500}
    assert run.shots_spent == bank.taken() == 7 * 1500
    assert (run.bitstring, run.spent.jobs) == ("", 7)
    values = StatevectorEstimator().run([(spin_ansatz(), SPIN, run.points)]).result()[0].data.evs
    assert np.abs(run.energies - values).max() < 6 * 3 / math.sqrt(500)
    assert np.abs(run.energies - values).mean() < 0.15
    assert np.std(values) > 0.02


# Budgets


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("budget", [2 * SHOTS, 7 * SHOTS + 13])
def test_a_stopped_run_samples_its_best_point_within_the_budget(optimizer: str, budget: int) -> None:
    bank = Bank()
    run = solve(bank, optimizer=optimizer, budget={"shots": budget}, maxiter=200)
    assert run.stopped == f"the budget of {budget} shots"
    assert run.shots_spent == bank.taken() <= budget
    assert bank.jobs[-1].shots == SHOTS  # what was set aside for the final sampling
    assert all(4 * job.request.shots >= SHOTS for job in bank.jobs)
    assert budget - run.shots_spent < SHOTS
    assert run.energy is not None
    np.testing.assert_array_equal(run.point, run.points[np.argmin(run.energies)])


def test_a_budget_that_just_pays_for_everything_stops_nothing() -> None:
    enough = solve(maxiter=12, budget={"shots": 13 * SHOTS})
    assert (enough.stopped, len(enough.energies), enough.shots_spent) == (None, 12, 13 * SHOTS)
    less = solve(maxiter=12, budget={"shots": 13 * SHOTS - 1})  # the last evaluation has one shot less
    assert (less.stopped, len(less.energies), less.shots_spent) == (None, 12, 13 * SHOTS - 1)
    short = solve(maxiter=12, budget={"shots": 12 * SHOTS + SHOTS // 4 - 1})
    assert (len(short.energies), short.shots_spent) == (11, 12 * SHOTS)
    assert short.stopped is not None


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("jobs", [2, 6])
def test_the_number_of_jobs_is_hard(optimizer: str, jobs: int) -> None:
    bank = Bank()
    run = solve(bank, optimizer=optimizer, budget={"jobs": jobs}, maxiter=200)
    assert run.stopped == f"the budget of {jobs} jobs"
    assert len(bank.jobs) == run.spent.jobs == jobs
    assert run.energy is not None


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_qpu_seconds_are_hard(optimizer: str) -> None:
    bank = Bank()
    channel = FaultyChannel(bank, rate=3 / SHOTS)
    run = solve(channel=channel, optimizer=optimizer, budget={"qpu_seconds": 31.0}, maxiter=200)
    charged = sum(min(job.shots * channel.rate, job.request.max_seconds or math.inf) for job in bank.jobs)
    assert run.spent.qpu_seconds == pytest.approx(charged)
    assert charged <= 31.0
    assert run.stopped == "the budget of 31 QPU seconds"
    assert run.energy is not None
    assert len(run.energies) >= 4


def test_seconds_do_not_limit_a_simulator() -> None:
    channel = FaultyChannel(Bank(), free=True)
    run = solve(channel=channel, budget={"qpu_seconds": 0.1})
    assert (run.stopped, run.spent.qpu_seconds) == (None, 0.0)


def test_several_limits_hold_together() -> None:
    for budget, stopped in (
        ({"shots": 5 * SHOTS, "jobs": 9}, "the budget of 320 shots"),
        ({"shots": 9 * SHOTS, "jobs": 5}, "the budget of 5 jobs"),
    ):
        bank = Bank()
        run = solve(bank, budget=budget, maxiter=50)
        assert run.stopped == stopped
        assert bank.taken() <= budget["shots"]
        assert len(bank.jobs) == 5


@pytest.mark.parametrize("kind", ["qaoa", "vqe", "queries"])
def test_the_smallest_budget_is_told_and_works(kind: str) -> None:
    def attempt(bank: Bank, budget: dict[str, int]) -> Run:
        if kind == "vqe":
            return vqe(bank, budget=budget, shots=20, final_shots=70, optimizer="spsa")
        meta = learned() if kind == "queries" else None
        return solve(bank, budget=budget, shots=ShotSchedule(20, last=80, over=3), meta=meta, optimizer="spsa")

    least = {"qaoa": 100, "vqe": 3 * 90, "queries": 160}[kind]
    jobs = 5 if kind == "queries" else 2
    bank = Bank()
    with pytest.raises(BudgetError, match=rf"At least {least} shots are needed.*but shots={least - 1} came"):
        attempt(bank, {"shots": least - 1})
    with pytest.raises(BudgetError, match=rf"At least {jobs} jobs are needed.*but jobs={jobs - 1} came"):
        attempt(bank, {"jobs": jobs - 1})
    assert bank.jobs == []
    run = attempt(bank, {"shots": least, "jobs": jobs})
    assert run.shots_spent == bank.taken() <= least
    assert len(bank.jobs) == jobs
    assert run.energy is not None
    assert len(run.energies) >= 1


def test_queries_are_sampled_and_paid_for() -> None:
    bank = Bank()
    run = solve(bank, meta=learned(), budget={"shots": 6 * SHOTS})
    assert (run.proposal.queries, run.proposal.shots) == (3, 3 * SHOTS)
    assert not run.proposal.classical_simulation
    assert run.shots[0] == 4 * SHOTS
    assert run.shots_spent == bank.taken() == 6 * SHOTS
    assert run.shots_by_stage == {"proposal": 3 * SHOTS, "optimisation": 2 * SHOTS, "final": SHOTS}
    assert len(run.energies) == 2


def test_shots_grow_as_planned() -> None:
    bank = Bank()
    schedule = ShotSchedule(16, last=128, over=4)
    run = solve(bank, shots=schedule, maxiter=6)
    assert [job.request.shots for job in bank.jobs] == [16, 32, 64, 128, 128, 128, 128]
    np.testing.assert_array_equal(run.shots, np.cumsum([16, 32, 64, 128, 128, 128]))
    stopped = solve(Bank(), shots=schedule, maxiter=6, budget={"shots": 16 + 32 + 40 + 128})
    np.testing.assert_array_equal(stopped.shots, np.cumsum([16, 32, 40]))
    assert stopped.shots_spent == 16 + 32 + 40 + 128


def test_losses_before_the_first_evaluation_end_in_a_sample_of_the_start() -> None:
    bank = Bank()
    faults = Faults(fixed={("submit", 0): "fails after shots"})
    run = solve(channel=FaultyChannel(bank, faults), budget={"shots": 2 * SHOTS})
    assert run.energies.shape == run.shots.shape == (0,)
    assert run.points.shape == (0, 2)
    np.testing.assert_array_equal(run.point, run.proposal.point)
    assert run.energy is not None
    assert run.stopped == "the budget of 128 shots"
    assert bank.taken() == run.shots_spent == 2 * SHOTS


def test_losses_during_the_queries_are_told(tmp_path: Path) -> None:
    bank = Bank()
    path = tmp_path / "ledger.sqlite"
    faults = Faults(fixed={("submit", number): "fails after shots" for number in range(3)})
    with pytest.raises(BudgetError, match="charged without an answer"):
        solve(channel=FaultyChannel(bank, faults), meta=learned(), budget={"shots": 5 * SHOTS}, path=path)
    taken = bank.taken()
    with pytest.raises(BudgetError, match="charged without an answer"):
        resume(path, bank, initializer=learned())
    assert bank.taken() == taken <= 5 * SHOTS


# Optimisers of one's own


def powell(fun: Any, x0: Any, jac: Any = None, bounds: Any = None) -> Any:
    return scipy.optimize.minimize(fun, x0, method="Powell", options={"maxfev": 9})


def test_any_callable_like_scipys_minimize_is_an_optimizer(tmp_path: Path) -> None:
    minimize = partial(scipy.optimize.minimize, method="Nelder-Mead", options={"maxfev": 7})
    assert len(solve(optimizer=minimize).energies) == 7
    stopped = solve(optimizer=minimize, budget={"shots": 4 * SHOTS})
    assert (stopped.stopped, len(stopped.energies)) == ("the budget of 256 shots", 3)
    path, bank = tmp_path / "ledger.sqlite", Bank()
    with pytest.raises(Death):
        solve(channel=FaultyChannel(bank, Faults(fixed={("submit", 3): "death after"})), optimizer=powell, path=path)
    with pytest.raises(ValueError, match=r"own optimizer is needed, powell.*resume\(run, optimizer=\.\.\.\)"):
        resume(path, bank)
    assert_same(resume(path, bank, optimizer=powell), solve(optimizer=powell))


# Resumption


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kind", ["qaoa", "vqe"])
def test_a_finished_run_that_is_resumed_asks_for_nothing_and_gives_the_same(
    tmp_path: Path, optimizer: str, kind: str
) -> None:
    path, bank = tmp_path / "ledger.sqlite", Bank()
    budget = {"shots": 2500}
    make = vqe if kind == "vqe" else solve
    run = make(bank, optimizer=optimizer, path=path, budget=budget, shots=100)
    jobs = len(bank.jobs)
    silent = Faults(fixed={(what, 0): "death" for what in ("find", "collect", "cancel", "before reserve")})
    with deadly(silent, bank.clock):
        again = resume(path, bank, faults=silent, run=run.id[:5])
    assert len(bank.jobs) == jobs
    assert_same(run, again)
    deployment = Deployment(BACKEND, ledger=path)
    (record,) = deployment.runs()
    assert (record.state, record.result["energy"]) == ("stopped" if run.stopped else "finished", run.energy)
    assert record.settings["budget"] == asdict(ShotBudget(**budget))
    deployment.ledger.close()


def test_a_run_needs_its_own_initializer_until_it_has_proposed(tmp_path: Path) -> None:
    path, bank = tmp_path / "ledger.sqlite", Bank()
    expected = solve(meta=learned())
    for place in (1, 5):
        faults = Faults(fixed={("submit", place): "death after"})
        with pytest.raises(Death):
            solve(channel=FaultyChannel(bank, faults), meta=learned(), path=path)
        (*_, record) = Deployment(BACKEND, ledger=path).runs()
        if place == 1:
            with pytest.raises(LedgerError, match=r"its own initializer.*resume\(run, initializer=\.\.\.\)"):
                resume(path, bank, run=record.id)
        run = resume(path, bank, run=record.id, initializer=learned() if place == 1 else None)
        assert_same(run, expected)
    assert bank.taken() == 2 * expected.shots_spent


def test_a_start_that_was_not_yet_proposed_knows_the_same_after_a_resume(tmp_path: Path) -> None:
    # A calibration comes before the proposal, and may queue for long.
    known = {"hints": ["bond"], "knots": [[0.0], [1.0]], "points": [[0.0, 0.1, 0.2], [1.0, -0.5, 0.7]]}
    meta = MetaInitializer(Interpolation(**known, kind="nearest"))
    problem = Problem(
        SPIN, "molecule", (0, 1), ansatz=spin_ansatz(), hints={"bond": np.float64(0.9), "path": np.ones(3)}
    )
    path, bank = tmp_path / "ledger.sqlite", Bank()
    asked = {"meta": meta, "problem": problem, "ansatz": None, "readout_shots": 50, "maxiter": 5}
    with pytest.raises(Death):
        solve(channel=FaultyChannel(bank, Faults(fixed={("submit", 0): "death after"})), path=path, **asked)
    run = resume(path, bank, initializer=meta)
    np.testing.assert_array_equal(run.proposal.point, [1.0, -0.5, 0.7])
    assert run.shots_by_stage["calibration"] == 100
    assert_same(run, solve(**asked))


@pytest.mark.parametrize("change", ["settings", "initializer", "backend", "run"])
def test_a_replay_that_diverges_spends_nothing(tmp_path: Path, change: str) -> None:
    path, bank = tmp_path / "ledger.sqlite", Bank()
    with pytest.raises(Death):
        solve(channel=FaultyChannel(bank, Faults(fixed={("submit", 5): "death before"})), meta=learned(1), path=path)
    taken = bank.taken()
    deployment = Deployment(BACKEND, ledger=path, channel=FaultyChannel(bank))
    if change == "settings":
        with pytest.raises(LedgerError, match="the replay asks for another"):
            deployment.resume(deployment.runs()[0].id, optimizer=COBYLA(maxiter=12, rhobeg=0.1))
    elif change == "initializer":
        deployment.ledger._db.execute("UPDATE runs SET notes = '{}'")
        with pytest.raises(LedgerError, match="the replay asks for another"):
            deployment.resume(deployment.runs()[0].id, initializer=MetaInitializer(Constant(point=[0.3, -0.1])))
    elif change == "backend":
        deployment.ledger._db.execute("UPDATE runs SET backend = 'ibm_other'")
        with pytest.raises(LedgerError, match="needs the backend ibm_other, but aer_simulator came"):
            deployment.resume(deployment.runs()[0].id)
    else:
        with pytest.raises(LedgerError, match="'nonsense' fits 0"):
            deployment.resume("nonsense")
    assert bank.taken() == taken


def test_runs_of_one_ledger_do_not_touch_each_other(tmp_path: Path) -> None:
    path, bank = tmp_path / "ledger.sqlite", Bank()
    budgets = [{"shots": 6 * SHOTS}, {"shots": 9 * SHOTS}]
    for number, budget in enumerate(budgets):
        faults = Faults(fixed={("submit", 3): "death after"})
        with pytest.raises(Death):
            solve(channel=FaultyChannel(bank, faults), path=path, budget=budget, seed=number, maxiter=50)
    deployment = Deployment(BACKEND, ledger=path, channel=FaultyChannel(bank))
    ids = [record.id for record in deployment.runs()]
    for number in (1, 0):
        assert_same(deployment.resume(ids[number]), solve(budget=budgets[number], seed=number, maxiter=50))
    assert bank.taken() == 15 * SHOTS
    deployment.ledger.close()


def test_no_secret_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "s3cret-in-the-environment")
    channel = FaultyChannel(Bank())
    channel.token = "s3cret-of-the-channel"
    solve(channel=channel, path=tmp_path / "ledger.sqlite", maxiter=4)
    written = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"aer_simulator" in written
    assert b"s3cret" not in written


KINDS: dict[str, dict[str, Any]] = {
    "cobyla": {"maxiter": 5},
    "spsa, shots": {"optimizer": "spsa", "maxiter": 9, "budget": {"shots": 9 * SHOTS + 20}},
    "l_bfgs_b, jobs": {"optimizer": "l_bfgs_b", "budget": {"jobs": 7}},
    "nelder_mead, growing": {"optimizer": "nelder_mead", "maxiter": 4, "shots": ShotSchedule(16, last=64, over=5)},
    "queries, shots": {"queries": 2, "budget": {"shots": 7 * SHOTS + 20}},
    "vqe, seconds": {"vqe": True, "budget": {"qpu_seconds": 34.0}, "rate": 0.015, "maxiter": 30},
}


@pytest.mark.parametrize("kind", KINDS)
def test_runs_survive_whatever_happens(kind: str, rng: np.random.Generator) -> None:
    asked = dict(KINDS[kind])
    rate, queries, make = asked.pop("rate", 0.0), asked.pop("queries", 0), vqe if asked.pop("vqe", False) else solve
    meta = MetaInitializer(Constant(point=[0.3, -0.2, 0.5])) if make is vqe else MetaInitializer(POOR)
    asked["meta"] = meta = learned(queries) if queries else meta
    limits = asked.get("budget", {})
    calm = Bank()
    expected = make(channel=FaultyChannel(calm, rate=rate), **asked)
    same = deaths = 0
    for number in range(15):
        ledger, bank = Ledger(None), Bank()
        allowed = [(), ("twice",), ("late", "twice")][number % 3]
        faults = Faults(rng, count=int(rng.integers(1, 7)), rate=float(rng.choice([0.1, 0.3])), allowed=allowed)
        run = None
        while run is None:
            channel = FaultyChannel(bank, faults, rate=rate)
            try:
                with deadly(faults, bank.clock), opened(ledger, channel) as deployment:
                    if begun := ledger.runs():
                        run = deployment.resume(begun[0].id, initializer=meta)
                    else:
                        run = make(channel=channel, path=ledger, **asked)
            except (Death, RunInterruptedError, Refused):
                deaths += 1
        bank.turn(until=math.inf)
        told = faults.happened
        jobs = ledger.jobs(run.id)
        released = {job.tag for job in jobs if job.state == "released"}
        booked = {job.job_id for job in jobs}
        late = [job for job in bank.jobs if job.ran and job.tag in released and job.id not in booked]
        assert "late" in allowed or not late, told
        unbooked = sum(job.shots for job in late)
        assert bank.taken() == run.spent.shots + unbooked == ledger.spent(run.id).shots + unbooked, told
        copies = sum(job.shots for job in bank.jobs if job.copy and job.ran)
        if "shots" in limits:
            assert bank.taken() - unbooked - copies <= limits["shots"], told
            assert allowed or bank.taken() <= limits["shots"], told
        if "jobs" in limits and not allowed:
            assert sum(job.state == "ran" for job in bank.jobs) <= limits["jobs"], told
        if "qpu_seconds" in limits and not allowed:
            # A job that takes longer than it was given is ended there.
            charges = [min(rate * job.shots, job.request.max_seconds) for job in bank.jobs if job.ran]
            assert sum(charges) <= limits["qpu_seconds"], told
        # As undisturbed, as far as the budget went.
        np.testing.assert_array_equal(run.proposal.point, expected.proposal.point)
        count = len(run.energies)
        assert count <= len(expected.energies), told
        if run.stopped is None or count > 1:
            np.testing.assert_array_equal(run.points[: max(count - 2, 0)], expected.points[: max(count - 2, 0)])
        answered = {job.job_id for job in jobs if job.state == "done"}
        wasted = any(job.ran and job.id not in answered for job in bank.jobs)
        if not wasted and (not {"jobs", "qpu_seconds"} & set(limits) or not any(job.state == "lost" for job in jobs)):
            same += 1
            assert_same(run, expected, spent=all(job.state != "lost" for job in jobs))
        assert run.energy is not None or run.stopped, told
    assert deaths > 8
    assert same > 2


_KILLED = """
import json, os, random, signal, sqlite3, sys, time, traceback, warnings
warnings.simplefilter("ignore")
from qiskit_aer import AerSimulator
from qiskit.quantum_info import SparsePauliOp
from qiskit_metainit.budget import ShotBudget
from qiskit_metainit.deployment import Deployment, LedgerError
from qiskit_metainit.initializer import MetaInitializer
from qiskit_metainit.models.constant import Constant

def work(path):
    meta = MetaInitializer(Constant(point=[0.1, -0.1]))
    deployment = Deployment(AerSimulator(max_parallel_threads=1), ShotBudget(shots=3000), ledger=path, seed=3)
    if path is not None and deployment.runs():
        return deployment.resume(deployment.runs()[0].id, initializer=meta)
    operator = SparsePauliOp(["ZZII", "IZZI", "IIZZ", "IIIZ"], [1.0, 0.5, 0.7, 0.2])
    return deployment.run(operator, reps=1, initializer=meta, optimizer="spsa", shots_per_evaluation=50)

def start(path):
    child = os.fork()
    if child == 0:
        try:
            work(path)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return child

def told(run):
    return [run.points.tolist(), run.energies.tolist(), run.point.tolist(), run.energy, run.bitstring, run.stopped,
            run.spent.shots, run.shots_by_stage]

# Nothing but imports before the forks: threads do not survive them.
path, chance = sys.argv[1], random.Random(int(sys.argv[2]))
kills, ended = 0, False
while not ended:
    child = start(path)
    time.sleep(chance.uniform(0.0, 0.2 * 1.3**kills))
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status
    ended = status == 0
    kills += not ended
reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
states = [state for state, in reader.execute("SELECT state FROM jobs ORDER BY number")]

# A process that hangs keeps its run, until it is killed.
other = path + ".other"
child = start(other)
while True:
    try:
        reader = sqlite3.connect(f"file:{other}?mode=ro", uri=True)
        if reader.execute("SELECT count(*) FROM jobs").fetchone()[0] > 2:
            break
    except sqlite3.Error:
        pass
    time.sleep(0.001)
os.kill(child, signal.SIGSTOP)
try:
    work(other)
    second = None
except LedgerError as error:
    second = str(error)
before = reader.execute("SELECT count(*) FROM jobs").fetchone()[0]
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
expected, resumed = work(None), work(other)
sys.stdout.write(json.dumps({"kills": kills, "states": states, "second": second, "before": before,
                  "expected": told(expected), "killed": told(work(path)), "resumed": told(resumed)}))
"""


def test_processes_that_are_killed_lose_nothing(tmp_path: Path, rng: np.random.Generator) -> None:
    arguments = [sys.executable, "-c", _KILLED, str(tmp_path / "ledger.sqlite"), str(rng.integers(2**31))]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    print("killed", found["kills"], "times:", found["states"])
    assert found["kills"] >= 3
    assert found["killed"] == found["expected"]
    assert set(found["states"]) <= {"done", "released"}
    assert found["second"] is not None
    assert "is being carried on by another process" in found["second"]
    assert found["resumed"] == found["expected"]
    assert found["before"] > 2


# Seconds


def ladder() -> Target:
    target = Target(num_qubits=2)
    every = {(0,): 0.0, (1,): 0.0}
    theta = Parameter("theta")
    for gate, seconds in (
        (RZGate(theta), every),
        (SXGate(), {(0,): 30e-9, (1,): 40e-9}),
        (CZGate(), {(0, 1): 70e-9}),
        (Measure(), {(0,): 1000e-9, (1,): 1200e-9}),
    ):
        target.add_instruction(gate, {place: InstructionProperties(duration=time) for place, time in seconds.items()})
    return target


def test_a_circuit_takes_as_long_as_its_slowest_way(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = GenericBackendV2(2, seed=1)
    monkeypatch.setattr(backend, "_target", ladder())
    circuit = QuantumCircuit(2, 2)
    circuit.sx(0)  # 0-30
    circuit.sx(1)  # 0-40
    circuit.cz(0, 1)  # 40-110
    circuit.rz(0.3, 0)
    circuit.sx(0)  # 110-140
    circuit.sx(0)  # 140-170
    circuit.sx(1)  # 110-150
    apart = circuit.copy()
    apart.measure([0, 1], [0, 1])  # 170-1170, 150-1350
    assert duration(apart, backend) == pytest.approx(1350e-9)
    circuit.barrier()
    circuit.measure([0, 1], [0, 1])  # 170-1170, 170-1370
    assert duration(circuit, backend) == pytest.approx(1370e-9)
    assert duration(QuantumCircuit(2), backend) == 0.0
    timing = Timing.of(backend, circuit)
    assert timing.seconds(3, 1000) == pytest.approx(3 * 3.0 + 1000 * (250e-6 + 1370e-9))
    assert timing.interval(3, 1000) == pytest.approx((timing.seconds(3, 1000) / 2, timing.seconds(3, 1000) * 2))
    monkeypatch.setattr(backend, "default_rep_delay", 1e-3, raising=False)
    assert Timing.of(backend, circuit).rep_delay == 1e-3
    assert Timing.of(backend, circuit) == replace(timing, rep_delay=1e-3)


# What is read of runs and plans


def test_a_run_is_read_again_offline(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    run = solve(path=path, maxiter=4)
    with Ledger(path) as ledger:
        every = list(ledger.answers(run.id))
        [(last, outcomes)] = ledger.answers(run.id[:5], "final")
    assert [job.stage for job, _ in every] == ["optimisation"] * 4 + ["final"]
    assert sum(answer.outcomes for _, answer in every) == run.spent.shots
    assert last.job_id == every[-1][0].job_id
    [bits] = outcomes.bits
    cuts = [PROBLEM.value(text) for text in bits[0].get_bitstrings()]
    assert run.energy == pytest.approx(-np.mean(cuts))


@pytest.mark.parametrize("limited", [True, False])
def test_a_plan_is_readable(limited: bool) -> None:
    budget = ShotBudget(shots=5000) if limited else None
    backend = GenericBackendV2(5, seed=1)
    with Deployment(backend, budget) as deployment:
        plan = deployment.plan(PROBLEM, reps=1, shots_per_evaluation=500, optimizer=COBYLA(maxiter=100))
    rows = dict(plan.rows())
    assert rows["shots"] == f"at most {plan.total_shots}"
    assert rows["jobs"] == f"at most {plan.jobs}"
    assert rows["  final"] == "500"
    shown = plan._repr_markdown_()
    assert shown.startswith(f"| on {backend.name} |")
    for sentence in plan.sentences:
        assert f"- {sentence}" in shown
    for name, text in plan.rows():
        assert f"| {name} | {text} |" in shown


@pytest.mark.parametrize("optimizer", ["spsa", "l_bfgs_b", "cobyla"])
def test_a_plan_counts_points_that_share_jobs(optimizer: str) -> None:
    budget = ShotBudget(jobs=7)
    with Deployment(GenericBackendV2(5, seed=1), budget) as deployment:
        made = make_optimizer(optimizer, maxiter=50, rhobeg=0.3, problem=PROBLEM)
        asked: dict[str, Any] = {"reps": 1, "shots_per_evaluation": SHOTS, "optimizer": made}
        plan = deployment.plan(PROBLEM, **asked)
        run = deployment.run(PROBLEM, **asked)
    assert plan.jobs == run.spent.jobs == 7
    assert plan.evaluations == len(run.energies)
    assert plan.total_shots == run.spent.shots


@pytest.mark.parametrize("resamplings", [2, {1: 3, 4: 2}])
@pytest.mark.parametrize("shots", [None, 100 + 20 * SHOTS + SHOTS // 2, 9 * SHOTS])
def test_a_plan_for_spsa_is_what_is_spent(resamplings: int | dict[int, int], shots: int | None) -> None:
    rates = 0.05 * 0.9 ** np.arange(1, 6)
    spsa = SPSA(5, learning_rate=rates, perturbation=0.1, resamplings=resamplings)
    plan, run = planned(spsa, shots=shots)
    assert (plan.evaluations, plan.jobs, plan.total_shots) == (len(run.energies), run.spent.jobs, run.spent.shots)
    assert run.stopped == (f"the budget of {shots} shots" if shots == 9 * SHOTS else None)


@pytest.mark.parametrize(
    ("optimizer", "budget", "each"),
    [
        (SPSA(5, learning_rate=0.1, perturbation=0.1), {"shots": 299}, 100),  # shrunk, or only its start is measured
        (SPSA(5, learning_rate=0.1, perturbation=0.1), {"shots": 249}, 100),
        (SPSA(5), {"shots": 5000}, 100),
        (SPSA(5), {"shots": 595}, 10),  # after a group that was shrunk smaller ones go on
        (L_BFGS_B(maxiter=5, eps=0.1), {"shots": 399}, 100),
        (L_BFGS_B(maxiter=5, eps=0.1), {"jobs": 4}, 100),
        (COBYLA(maxiter=30), {"shots": 1234, "jobs": 11}, 100),
    ],
)
def test_a_plan_is_what_is_spent_where_jobs_are_shrunk(optimizer: Any, budget: dict[str, int], each: int) -> None:
    plan, run = planned(optimizer, each=each, **budget)
    assert (plan.evaluations, plan.jobs, plan.total_shots) == (len(run.energies), run.spent.jobs, run.spent.shots)


@pytest.mark.parametrize("budget", [{"jobs": 8}, {"shots": 1000}, {"shots": 1000, "jobs": 6}, {"shots": 250}])
@pytest.mark.parametrize(
    "optimizer",
    [
        ADAM(maxiter=10, eps=0.1),
        GradientDescent(10, learning_rate=0.1, perturbation=0.1),
        SLSQP(maxiter=10, eps=0.1),
        AQGD(maxiter=10),
        POWELL(maxfev=50),
    ],
    ids=lambda optimizer: type(optimizer).__name__,
)
def test_no_more_is_spent_than_a_plan_says(optimizer: Any, budget: dict[str, int]) -> None:
    plan, run = planned(optimizer, each=ShotSchedule(100, last=400, over=10), **budget)
    assert plan.evaluations is not None
    assert plan.jobs is not None
    assert plan.total_shots is not None
    assert len(run.energies) <= plan.evaluations
    assert run.spent.jobs <= plan.jobs
    assert run.spent.shots <= plan.total_shots


def test_a_plan_says_what_qpu_seconds_pay_for() -> None:
    backend = fake_backend("fake_lagos")
    asked: dict[str, Any] = {"reps": 1, "shots_per_evaluation": 200}

    def told(optimizer: Any, **limits: float) -> list[str]:
        with Deployment(backend, ShotBudget(**limits)) as deployment:
            warnings = deployment.plan(PROBLEM, optimizer=optimizer, **asked).warnings
        return [text for text in warnings if "pay for about" in text]

    # 3 s and some a job; twice that is set aside for the final sampling, and for each job before it is sent.
    [one] = told(COBYLA(maxiter=20), qpu_seconds=30.0)
    assert "The budget has 30 QPU seconds, which pay for about 6 of 20 evaluations" in one
    [two] = told(SPSA(9, learning_rate=0.1, perturbation=0.1), qpu_seconds=30.0)
    assert "about 12 of 19 evaluations" in two
    assert told(COBYLA(maxiter=20), qpu_seconds=120.0) == []
    assert told(COBYLA(maxiter=20)) == []


def test_bounds_that_only_failures_reach_are_told_as_such() -> None:
    for limits, found in (({}, 1), ({"shots": 3000}, 0)):
        with Deployment(AerSimulator(), ShotBudget(**limits)) as deployment:
            warnings = deployment.plan(PROBLEM, reps=1, optimizer="l_bfgs_b").warnings
        assert sum("if every step failed" in text for text in warnings) == found


def test_an_optimiser_with_processes_of_its_own_is_refused() -> None:
    with pytest.raises(ValueError, match="P_BFGS came, whose processes would each spend the budget"):
        solve(optimizer=P_BFGS())


def planned(optimizer: Any, each: Any = SHOTS, **budget: int | None) -> tuple[Any, Run]:
    """The plan of a run, and the run."""
    with Deployment(AerSimulator(), ShotBudget(**budget) if any(budget.values()) else None) as deployment:
        asked: dict[str, Any] = {"reps": 1, "shots_per_evaluation": each, "optimizer": optimizer}
        asked |= {"initial_point": [0.3, 0.4], "final_shots": 100}
        return deployment.plan(PROBLEM, **asked), deployment.run(PROBLEM, **asked)
