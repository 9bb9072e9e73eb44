from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from qiskit.circuit.library import qaoa_ansatz
from qiskit.primitives import StatevectorEstimator, StatevectorSampler

from qiskit_metainit.deployment import layout_safe
from qiskit_metainit.initializer import MetaInitializer
from qiskit_metainit.models.constant import Constant
from qiskit_metainit.models.lstm import Lstm
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.problem import Problem
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.qaoa_run import OPTIMIZERS, BudgetError, Run, make_optimizer, run_qaoa

pytestmark = [
    # Of qiskit-algorithms 0.4.
    pytest.mark.filterwarnings(r"ignore:The class ``qiskit\.circuit\.library\..*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning"),
    pytest.mark.filterwarnings("ignore:scipy.optimize. The `disp` and `iprint` options:DeprecationWarning"),
]

PROBLEM = MaxCut.from_edges([("a", "b", 1.0), ("b", "c", 2.0), ("c", "a", 0.7), ("c", "d", 0.5)])
POOR = Constant(point=[0.1, -0.1])  # far enough from an optimum to be improved
SHOTS = 64


class Counting(StatevectorSampler):
    """Real shot noise, every shot and bitstring on record."""

    def __init__(self, seed: int = 1) -> None:
        super().__init__(seed=np.random.default_rng(seed))
        self.shots = 0
        self.seen: set[str] = set()

    def run(self, pubs: Any, *, shots: int | None = None) -> Any:
        job = super().run(pubs, shots=shots)
        for result in job.result():
            (bits,) = result.data.values()
            self.shots += bits.num_shots * bits.size
            self.seen |= set(bits.get_counts())
        return job


def solve(
    sampler: StatevectorSampler,
    *,
    meta: MetaInitializer | None = None,
    problem: Problem = PROBLEM,
    optimizer: str = "cobyla",
    maxiter: int = 12,
    **settings: Any,
) -> Run:
    chosen = make_optimizer(optimizer, maxiter=maxiter, rhobeg=0.3, problem=problem)
    meta = meta or MetaInitializer(POOR)
    return run_qaoa(meta, problem, 1, layout_safe(sampler), chosen, shots_per_evaluation=SHOTS, **settings)


def exact(problem: Problem, point: np.ndarray) -> float:
    circuit = qaoa_ansatz(problem.operator, len(point) // 2)
    return float(StatevectorEstimator().run([(circuit, problem.operator, point)]).result()[0].data.evs)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_records_what_it_measured(optimizer: str) -> None:
    sampler = Counting()
    run = solve(sampler, optimizer=optimizer)
    assert run.points.shape == (len(run.energies), 2)
    start = MetaInitializer(POOR).initial_point(PROBLEM.operator, reps=1)
    np.testing.assert_array_equal(run.proposal.point, start)
    if optimizer != "spsa":  # which begins beside its start
        np.testing.assert_allclose(run.points[0], start)
    assert run.shots_spent == sampler.shots
    assert run.shots[-1] == len(run.energies) * SHOTS
    assert run.stopped is None
    # In the Hamiltonian's units, identity included, at the points in radians; 64 shots are good to about 0.15.
    errors = run.energies - [exact(PROBLEM, point) for point in run.points]
    assert np.abs(errors).mean() < 0.35


@pytest.mark.parametrize("shots", [None, 10 * SHOTS])
def test_the_best_bitstring_ever_sampled_is_kept(shots: int | None) -> None:
    sampler = Counting()
    run = solve(sampler, shots=shots)
    assert PROBLEM.value(run.bitstring) == max(PROBLEM.value(bits) for bits in sampler.seen)
    assert run.bitstring in sampler.seen


def test_minimised_problems_keep_their_lowest_bitstring() -> None:
    problem = Problem(-1.0 * PROBLEM.operator, "maxcut", PROBLEM.nodes)  # the smallest cut: nobody is alone
    sampler = Counting()
    run = solve(sampler, problem=problem)
    assert problem.value(run.bitstring) == min(problem.value(bits) for bits in sampler.seen)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("budget", [2 * SHOTS, 7 * SHOTS + 13])
def test_a_stopped_run_samples_its_best_point_within_the_budget(optimizer: str, budget: int) -> None:
    sampler = Counting()
    run = solve(sampler, optimizer=optimizer, shots=budget, maxiter=200)
    assert run.stopped == f"the budget of {budget} shots"
    assert run.shots_spent == sampler.shots <= budget
    assert run.shots_spent == SHOTS * (len(run.energies) + 1)
    np.testing.assert_array_equal(run.point, run.points[np.argmin(run.energies)])


def test_a_budget_that_just_pays_for_everything_stops_nothing() -> None:
    enough = solve(Counting(), maxiter=12, shots=13 * SHOTS)
    assert (enough.stopped, len(enough.energies), enough.shots_spent) == (None, 12, 13 * SHOTS)
    short = solve(Counting(), maxiter=12, shots=13 * SHOTS - 1)
    assert (len(short.energies), short.shots_spent) == (11, 12 * SHOTS)
    assert short.stopped is not None


def test_a_finished_run_ends_at_the_optimizers_answer() -> None:
    run = solve(Counting(), maxiter=25)
    assert exact(PROBLEM, run.point) < exact(PROBLEM, run.points[0]) - 0.3
    assert any(np.allclose(run.point, point) for point in run.points)


def test_queries_are_sampled_and_paid_for() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        meta = MetaInitializer(Lstm(num_parameters=2, queries=3))
    sampler = Counting()
    run = solve(sampler, meta=meta, shots=6 * SHOTS)
    assert (run.proposal.queries, run.proposal.shots) == (3, 3 * SHOTS)
    assert run.shots[0] == 4 * SHOTS
    assert run.shots_spent == sampler.shots == 6 * SHOTS
    assert len(run.energies) == 2
    with pytest.raises(BudgetError, match=r"At least 320 shots are needed .*3 queries, one evaluation and the final"):
        solve(sampler, meta=meta, shots=5 * SHOTS - 1)


def test_the_units_of_the_weights_change_nothing_but_the_units() -> None:
    factor = 2.0**20
    scaled = Problem(PROBLEM.operator * factor, "maxcut", PROBLEM.nodes, maximise=True)
    for optimizer in ("cobyla", "l_bfgs_b", "nelder_mead"):  # SPSA draws from a generator of its own
        run, other = (solve(Counting(3), problem=problem, optimizer=optimizer) for problem in (PROBLEM, scaled))
        np.testing.assert_allclose(other.energies, run.energies * factor)
        np.testing.assert_allclose(other.points * [1.0, factor], run.points)
        assert other.bitstring == run.bitstring


def test_progress_is_reported_after_every_evaluation() -> None:
    seen: list[tuple[int, float]] = []
    run = solve(Counting(), progress=lambda count, energy: seen.append((count, energy)))
    assert [count for count, _ in seen] == list(range(1, len(run.energies) + 1))
    np.testing.assert_array_equal([energy for _, energy in seen], run.energies)


def test_an_unknown_optimizer_is_refused() -> None:
    with pytest.raises(ValueError, match="cobyla, spsa, l_bfgs_b, nelder_mead, but 'adam' came"):
        make_optimizer("adam", maxiter=5, rhobeg=0.3, problem=PROBLEM)


def test_the_users_problem_may_have_linear_terms() -> None:
    graph = nx.path_graph(3)
    graph.nodes[0]["bias"] = 2.0
    problem = MaxCut.from_graph(graph)
    run = solve(Counting(), meta=MetaInitializer(SkInfinity()), problem=problem)
    assert problem.value(run.bitstring) == 4.0
