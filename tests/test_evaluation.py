from __future__ import annotations

import json
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from qiskit.circuit.library import qaoa_ansatz
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit import card, evaluation, plugins
from qiskit_metainit.arrival import evaluations_until
from qiskit_metainit.comparison import (
    SEARCH,
    Arrival,
    Comparison,
    Protocol,
    Result,
    course_grid,
    looks,
    read_cells,
    write_cells,
)
from qiskit_metainit.descent import best_constant, descend, descend_all
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.evaluation import compare
from qiskit_metainit.jobs import BASELINES
from qiskit_metainit.landscapes import Landscapes
from qiskit_metainit.layerwise import SEARCHES, Climb, climb
from qiskit_metainit.model import Model
from qiskit_metainit.models.constant import Constant
from qiskit_metainit.models.linear_ramp import LinearRamp
from qiskit_metainit.models.lstm import Lstm
from qiskit_metainit.models.random_point import RandomPoint
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.problem import Problem
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.rating import answers, energies, random_points, ratio, spectrum
from qiskit_metainit.task import Task

FAMILY = MaxCut(sizes=[4, 5], weights=["normal"])
STORED = sorted((Path(__file__).resolve().parents[1] / "tutorials" / "results").glob("held_out_*.json"))


def problems(rng: np.random.Generator, count: int = 3) -> list[Problem]:
    return [FAMILY.sample(rng) for _ in range(count)]


def evaluations_of(comparison: Comparison, name: str) -> list[float]:
    return comparison.results[name].arrivals["cobyla"].evaluations.tolist()


def recurrent() -> Lstm:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Lstm(num_parameters=2, queries=3)


# Spectrum and ratio


@pytest.mark.parametrize("kind", ["diagonal", "mixed", "only X"])
@pytest.mark.parametrize("size", [1, 2, 4, 6])
def test_the_spectrum_equals_brute_force(kind: str, size: int, rng: np.random.Generator) -> None:
    letters = {"diagonal": "IZ", "mixed": "IXYZ", "only X": "X"}[kind]
    for _ in range(5):
        labels = ["".join(rng.choice(list(letters), size=size)) for _ in range(4)] + ["I" * size]
        operator = SparsePauliOp(labels, rng.normal(size=len(labels)))
        expected = np.linalg.eigvalsh(operator.to_matrix())
        np.testing.assert_allclose(spectrum(operator), (expected[0], expected[-1]), atol=1e-9)


def test_the_spectrum_of_a_cut_is_found_in_its_bitstrings(rng: np.random.Generator) -> None:
    for problem in problems(rng):
        size = problem.num_qubits
        values = [problem.value(format(k, f"0{size}b")) for k in range(2**size)]
        low, high = spectrum(problem.operator)
        assert (problem.value(low), problem.value(high)) == pytest.approx((max(values), min(values)))


def test_the_ratio_is_one_at_the_ground_and_zero_at_the_top() -> None:
    limits = np.array([[-3.0, 5.0]] * 3)
    np.testing.assert_allclose(ratio(np.array([-3.0, 5.0, 1.0]), limits), [1.0, 0.0, 0.5])


def test_answers_and_energies_are_those_of_qiskit(rng: np.random.Generator) -> None:
    tasks = [Task.qaoa(problem.operator, reps=2) for problem in problems(rng)]
    points = answers(SkInfinity(), tasks, Statevector())
    for task, point, energy in zip(tasks, points, energies(Statevector(), tasks, points), strict=True):
        reference = StatevectorEstimator().run([(qaoa_ansatz(task.hamiltonian, 2), task.hamiltonian, point)])
        assert energy == pytest.approx(float(reference.result()[0].data.evs))


# Local optima


def test_the_best_constant_has_the_least_mean_cost_nearby(rng: np.random.Generator) -> None:
    tasks = [Task.qaoa(problem.operator, reps=2) for problem in problems(rng)]
    engine = Statevector()

    def mean(natural: np.ndarray) -> float:
        radians = np.stack([natural * task.features.unit.numpy() for task in tasks])
        costs = [(e - t.offset) / t.scale for e, t in zip(energies(engine, tasks, radians), tasks, strict=True)]
        return float(np.mean(costs))

    start = np.array([0.4, 0.2, -0.3, -0.5])
    best = best_constant(engine, tasks, start)
    assert mean(best) < mean(start)
    for step in 0.02 * np.concatenate([np.eye(4), -np.eye(4)]):
        assert mean(best) < mean(best + step)


@pytest.mark.parametrize("step", [1.0, 0.1])
@pytest.mark.parametrize("reps", [1, 2])
def test_a_local_optimum_is_stationary_and_below_its_start(reps: int, step: float, rng: np.random.Generator) -> None:
    engine = Statevector()
    for problem in problems(rng):
        task = Task.qaoa(problem.operator, reps=reps)
        start = rng.uniform(-1, 1, size=2 * reps + 1)  # a row padded to a wider task's parameters
        energy, point = descend(engine, task, start, step=step)
        assert point.shape == (2 * reps,)
        estimator = StatevectorEstimator()

        def exact(angles: np.ndarray, task: Task = task, estimator: StatevectorEstimator = estimator) -> np.ndarray:
            return np.asarray(estimator.run([(task.circuit, task.hamiltonian, angles)]).result()[0].data.evs)

        assert energy == pytest.approx(float(exact(point)), abs=1e-8 * task.scale)
        assert energy <= float(exact(start[: 2 * reps]))
        steps = 1e-3 * np.eye(2 * reps)
        slopes = (exact(point + steps) - exact(point - steps)) / 2e-3
        assert np.abs(slopes).max() < 1e-3 * task.scale
        assert (exact(point + steps) >= energy - 1e-6 * task.scale).all()
        assert (exact(point - steps) >= energy - 1e-6 * task.scale).all()


def test_the_best_local_optimum_of_an_edge_is_its_ground_state() -> None:
    task = Task.qaoa(SparsePauliOp("ZZ", [0.5]), reps=1)
    assert descend(Statevector(), task, np.array([0.3, -0.5]))[0] == pytest.approx(-0.5, abs=1e-7)


# Evaluations to a target


def test_a_start_at_the_target_takes_one_evaluation() -> None:
    task = Task.qaoa(SparsePauliOp("ZZ", [0.5]), reps=1)
    point = np.array([np.pi / 8, -np.pi / 2])
    energy = float(energies(Statevector(), [task], point[None])[0])
    assert evaluations_until(Statevector(), task, point, energy, protocol=Protocol(reps=1, cap=50, rhobeg=1.0)) == 1


def test_a_run_that_never_arrives_counts_as_the_cap() -> None:
    task = Task.qaoa(SparsePauliOp("ZZ", [0.5]), reps=1)
    count = evaluations_until(
        Statevector(), task, np.array([0.3, -0.5]), -0.6, protocol=Protocol(reps=1, cap=17, rhobeg=1.0)
    )
    assert count == 17
    # Even if the optimizer gives up long before.
    assert (
        evaluations_until(
            Statevector(), task, np.array([0.3, -0.5]), -0.6, protocol=Protocol(reps=1, cap=5000, rhobeg=1.0)
        )
        == 5000
    )


def test_evaluations_are_counted_until_the_first_visit_of_the_target() -> None:
    class Counting(Statevector):
        seen: list[float]

        def expectation(self, tasks: Any, points: Any) -> Any:
            values = super().expectation(tasks, points)
            self.seen.append(values.item())
            return values

    engine = Counting()
    engine.seen = []
    task = Task.qaoa(MaxCut.from_edges([(0, 1), (1, 2), (2, 0), (2, 3)]).operator, reps=1)
    count = evaluations_until(engine, task, np.array([0.1, 0.9]), -2.5, protocol=Protocol(reps=1, cap=200, rhobeg=1.0))
    assert count == len(engine.seen)
    assert engine.seen[-1] <= -2.5
    assert min(engine.seen[:-1]) > -2.5
    assert 1 < count < 200


@pytest.mark.parametrize("factor", [2.0**-20, 2.0**20])  # powers of two: COBYLA amplifies the last digit
@pytest.mark.parametrize("model", [SkInfinity(), RandomPoint(seed=1)], ids=["near", "far"])
def test_the_units_of_the_weights_change_neither_optima_nor_counts(
    factor: float, model: Model, rng: np.random.Generator
) -> None:
    engine = Statevector()
    for problem in problems(rng):
        task, scaled = (Task.qaoa(problem.operator * c, reps=2) for c in (1.0, factor))
        own, other = (answers(model, [each], engine)[0] for each in (task, scaled))
        best = descend(engine, task, own)[0]
        assert descend(engine, scaled, other)[0] == pytest.approx(best * factor, rel=1e-9)
        start = float(energies(engine, [task], own[None])[0])
        target = start + 0.5 * (best - start)
        until = evaluations_until(engine, task, own, target, protocol=Protocol(reps=1, cap=200, rhobeg=0.5))
        assert until == evaluations_until(
            engine, scaled, other, target * factor, protocol=Protocol(reps=1, cap=200, rhobeg=0.5)
        )


# Comparisons


def sampled_once() -> list[Problem]:
    return problems(np.random.default_rng(5), 4)


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    models = {
        "sk_infinity": SkInfinity(),
        "constant": Constant(),
        "lstm": recurrent(),
    }
    return compare(models, sampled_once(), Protocol(reps=1, random_starts=3, cap=60))


def test_a_model_that_does_not_serve_the_depth_is_refused(rng: np.random.Generator) -> None:
    models = {"sk_infinity": SkInfinity(), "deep": Constant(point=[0.1] * 4)}
    with pytest.raises(ValueError, match=r"deep cannot be compared at reps=1: .*holds 4 parameters.*Leave it out"):
        compare(models, problems(rng), Protocol(reps=1))


def test_random_starts_are_always_among_the_results(comparison: Comparison) -> None:
    assert set(comparison.results) == {"sk_infinity", "constant", "lstm", "random"}


def test_every_number_of_a_comparison_is_what_it_says(comparison: Comparison) -> None:
    engine, sampled = Statevector(), sampled_once()
    tasks = [Task.qaoa(problem.operator, reps=1) for problem in sampled]
    models = {"sk_infinity": SkInfinity(), "constant": Constant(), "lstm": recurrent()}
    # In one batch as in the comparison: COBYLA amplifies the last digit.
    points = {name: answers(model, tasks, engine) for name, model in models.items()}
    randoms = [random_points(task, 3, row) for row, task in enumerate(tasks)]
    # The starts of different instances are independent, those of one differ.
    assert len({tuple(point) for points in randoms for point in points}) == 12
    for row, task in enumerate(tasks):
        low, high = spectrum(task.hamiltonian)

        def rated(point: np.ndarray, task: Task = task, low: float = low, high: float = high) -> float:
            energy = StatevectorEstimator().run([(task.circuit, task.hamiltonian, point)]).result()[0].data.evs
            return float((high - energy) / (high - low))

        for name in models:
            assert comparison.results[name].ratio[row] == pytest.approx(rated(points[name][row]), abs=1e-9)
        mean = float(np.mean([rated(random) for random in randoms[row]]))
        assert comparison.results["random"].ratio[row] == pytest.approx(mean, abs=1e-9)
        formulas = [answers(plugins.load("models", name)(), [task], engine)[0] for name in evaluation.SEARCHED]
        starts = [found[row] for found in points.values()] + list(randoms[row]) + formulas
        best = max((high - descend(engine, task, start)[0]) / (high - low) for start in starts)
        assert comparison.optimum[row] == pytest.approx(best, abs=1e-6)
        target = high - (mean + 0.99 * (best - mean)) * (high - low)

        def until(point: np.ndarray, task: Task = task, target: float = target) -> int:
            return evaluations_until(engine, task, point, target, protocol=Protocol(reps=1, cap=60, rhobeg=1.0))

        for name, model in models.items():
            assert evaluations_of(comparison, name)[row] == until(points[name][row]) + model.queries
        counts = [until(random) for random in randoms[row]]
        assert evaluations_of(comparison, "random")[row] == np.median(counts)


def test_no_start_is_better_than_the_best_local_optimum(comparison: Comparison) -> None:
    for result in comparison.results.values():
        assert (result.ratio <= comparison.optimum + 1e-9).all()
    assert (comparison.optimum <= 1 + 1e-9).all()


def test_queries_are_added_also_to_runs_that_never_arrive(rng: np.random.Generator) -> None:
    protocol = Protocol(reps=1, random_starts=2, cap=5, target=2.0)  # nobody gets twice as far as the optimum
    found = compare({"lstm": recurrent(), "constant": Constant()}, problems(rng, 2), protocol)
    assert evaluations_of(found, "lstm") == [8, 8]
    assert evaluations_of(found, "constant") == [5, 5]
    assert [found.results[name].arrivals["cobyla"].share for name in ("lstm", "constant", "random")] == [0.0, 0.0, 0.0]


def test_starts_at_the_target_have_arrived_at_once(rng: np.random.Generator) -> None:
    protocol = Protocol(reps=1, random_starts=2, cap=5, target=-2.0, optimizers=("cobyla", "l_bfgs_b", "spsa"))
    result = compare({"lstm": recurrent()}, problems(rng, 2), protocol).results
    for optimizer in protocol.optimizers:
        assert result["lstm"].arrivals[optimizer].evaluations.tolist() == [4, 4]
        assert result["random"].arrivals[optimizer].evaluations.tolist() == [1, 1]
        assert result["lstm"].arrivals[optimizer].share == result["random"].arrivals[optimizer].share == 1.0


def test_a_course_is_the_median_best_so_far_of_all_runs(comparison: Comparison) -> None:
    grid = course_grid(60)
    assert (grid[0], grid[-1]) == (1, 60)
    for name, result in comparison.results.items():
        course = result.arrivals["cobyla"].course
        assert course.shape == grid.shape
        asked = grid <= result.queries
        assert np.isnan(course[asked]).all()
        assert (np.diff(course[~asked]) >= 0).all()
        if name != "random":
            assert course[~asked][0] == pytest.approx(np.median(result.ratio))


def test_points_only_optimises_nothing(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "run_until", None)
    found = compare({"constant": Constant()}, problems(rng, 2), Protocol(reps=1, random_starts=2), evaluations=False)
    assert found.optimizers == ()
    assert all(not result.arrivals for result in found.results.values())
    assert np.isfinite(found.results["constant"].ratio).all()


def test_reactions_can_be_left_out(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "react", None)
    protocol = Protocol(reps=1, random_starts=1)
    found = compare({"constant": Constant()}, problems(rng, 2), protocol, evaluations=False, reactions=False)
    assert found.results["constant"].reaction is None


def test_progress_is_reported(rng: np.random.Generator) -> None:
    seen = []
    protocol = Protocol(reps=1, random_starts=1, cap=5)
    compare({"constant": Constant()}, problems(rng, 2), protocol, progress=lambda *step: seen.append(step))
    for stage, total in {"local optima": 2, "optimising": 4, "reactions to the instance": 1}.items():
        assert [step for step in seen if step[0] == stage] == [(stage, k, total) for k in range(1, total + 1)]


def test_as_many_random_starts_are_searched_as_asked_for(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[int] = []

    def counted(engine: Statevector, tasks: Sequence[Task], points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        searched[-1] += len(points)
        return descend_all(engine, tasks, points)

    monkeypatch.setattr(evaluation, "descend_all", counted)
    sampled, optima = problems(rng, 1), []
    for searches in (0, 2, None):
        searched.append(0)
        protocol = Protocol(reps=1, random_starts=5, random_searches=searches)
        found = compare({"constant": Constant()}, sampled, protocol, evaluations=False)
        optima.append(found.optimum[0])
        assert (found.results["random"].ratio <= found.optimum).all()
    assert [count - searched[0] for count in searched] == [0, 2, 5]
    assert searched[0] >= 3  # the model, SK-infinity and TQA
    assert optima == sorted(optima)


def test_instances_come_one_after_the_other(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Landscapes.__init__, "__kwdefaults__", {"amplitudes": 40})  # one of 5 qubits, two of 4
    built: list[weakref.ref[Task]] = []
    make, most = Task.qaoa.__func__, [0]  # type: ignore[attr-defined]

    def counted(cls: type[Task], operator: SparsePauliOp, *, reps: int) -> Task:
        task = make(cls, operator, reps=reps)
        built.append(weakref.ref(task))
        most[0] = max(most[0], sum(each() is not None for each in built))
        return task

    sampled = problems(rng, 8)
    protocol = Protocol(reps=1, random_starts=1, cap=5)
    models = {"constant": Constant(), "lstm": recurrent()}
    whole = compare(models, sampled, protocol)
    monkeypatch.setattr(Task, "qaoa", classmethod(counted))
    parts = compare(models, sampled, protocol)
    assert len(built) > 8
    assert most[0] <= 5  # what is held, what an engine answered last, and what is being built
    np.testing.assert_allclose(parts.optimum, whole.optimum, atol=1e-9)
    for name, result in whole.results.items():
        np.testing.assert_allclose(parts.results[name].ratio, result.ratio, atol=1e-9)


# Searches


@pytest.fixture(scope="module")
def searched() -> Comparison:
    protocol = Protocol(reps=2, random_starts=2, cap=70, resamples=20, optimizers=("cobyla", "spsa"), repeats=1)
    return compare({"sk_infinity": SkInfinity()}, sampled_once(), protocol, searches=["interp", "fourier"])


@pytest.mark.parametrize("name", SEARCHES)
def test_every_number_of_a_search_is_what_it_says(name: str, searched: Comparison) -> None:
    engine, result = Statevector(), searched.results[name]
    assert result.asked is not None
    assert result.reaction is None
    assert result.queries == round(np.median(result.asked))
    assert result.arrivals.keys() == {SEARCH}
    arrived = []
    for row, problem in enumerate(sampled_once()):
        task, (low, high) = Task.qaoa(problem.operator, reps=2), spectrum(problem.operator)
        found = climb(name, engine, task, cap=70)
        assert result.asked[row] == found.evaluations
        end = (high - energies(engine, [task], found.point[None])[0]) / (high - low)
        assert result.ratio[row] == pytest.approx(end, abs=1e-9)
        assert searched.optimum[row] >= end - 1e-12
        mean = searched.results["random"].ratio[row]
        target = high - (mean + 0.99 * (searched.optimum[row] - mean)) * (high - low)
        count = next((count for count, energy in found.visits if energy <= target), 10**6)
        arrived.append(count <= 70)
        assert result.arrivals[SEARCH].evaluations[row] == min(count, 70)
    assert result.arrivals[SEARCH].share == np.mean(arrived)
    assert any(arrived)
    course = result.arrivals[SEARCH].course
    assert np.isnan(course[0])  # it is at p = 1 then
    assert (np.diff(course[np.isfinite(course)]) >= 0).all()
    assert np.isfinite(course[-1])


def test_the_ends_of_searches_are_searched_for_the_best_optimum(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[float, ...]] = []

    def recorded(engine: Statevector, tasks: Sequence[Task], points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen.extend(map(tuple, points))
        return descend_all(engine, tasks, points)

    monkeypatch.setattr(evaluation, "descend_all", recorded)
    sampled = problems(rng, 1)
    protocol = Protocol(reps=1, random_starts=1, random_searches=0)
    found = compare({}, sampled, protocol, evaluations=False, searches=["interp"])
    assert tuple(climb("interp", Statevector(), Task.qaoa(sampled[0].operator, reps=1)).point) in seen
    assert found.optimizers == ()
    assert found.results["interp"].arrivals == {}
    worst = np.full(9, spectrum(sampled[0].operator)[1])
    monkeypatch.setattr(evaluation, "descend_all", lambda engine, tasks, points: (worst, points))
    found = compare({}, sampled, protocol, evaluations=False, searches=["interp"])
    assert found.optimum[0] == found.results["interp"].ratio[0]  # known, even if no search went on from there


def test_a_search_that_arrives_beyond_the_cap_counts_as_the_cap(rng: np.random.Generator) -> None:
    [problem] = problems(rng, 1)
    scale = evaluation._Scale(Statevector(), Task.qaoa(problem.operator, reps=1), low=-1.0, high=1.0)
    found = Climb(np.zeros(2), 90, ((30, 0.5), (31, 0.7), (40, -0.8), (41, -0.9), (42, -1.0)))
    for cap, target, expected in ((100, 0.9, (40, True)), (39, 0.9, (39, False)), (100, 1.01, (100, False))):
        course = scale.way_of(found, target, cap)
        assert (course.evaluations, course.arrived) == expected
        assert (np.isnan(course.best) == (course_grid(cap) < 30)).all()
    assert scale.way_of(found, 0.9, 100).best[-1] == pytest.approx(0.9)  # it stays where it arrived
    assert scale.way_of(found, 1.01, 100).best[-1] == pytest.approx(1.0)


def test_a_search_is_no_formula(searched: Comparison) -> None:
    assert searched.searches == ("interp", "fourier")
    assert searched.optimizers == ("cobyla", "spsa")
    assert searched.strongest([*BASELINES, "interp", "fourier"]) == "sk_infinity"
    free = {**searched.results, "interp": Result(0, np.ones(4), asked=np.zeros(4))}
    assert Comparison(searched.protocol, free, searched.optimum).strongest(["interp"]) == "random"
    assert {row[0] for row in card.duels(searched, BASELINES)[1:]} == {"interp", "fourier", "random"}
    assert [row[0] for row in card.reactions(searched)[1:]] == ["sk_infinity"]


def test_a_search_has_one_arrival_in_every_column(searched: Comparison) -> None:
    rows = {row[0]: row[1:] for row in card.arrivals(searched)}
    for name in SEARCHES:
        assert rows[name][:3] == rows[name][3:]
        asks = card.table(searched, BASELINES)
        assert next(row for row in asks if row[0] == name)[5] == str(searched.results[name].queries)
    assert "the same under every optimiser" in card.searching(searched.searches)
    assert "To 99%" not in card.searching(searched.searches, arrivals=False)


def test_searches_survive_json(searched: Comparison) -> None:
    content = json.loads(json.dumps(searched.as_json()))
    assert all(isinstance(count, int) for count in content["results"]["interp"]["asked"])
    again = Comparison.from_json(content)
    assert again.searches == searched.searches
    assert again.content() == searched.content()
    assert card.arrivals(again) == card.arrivals(searched)


@pytest.mark.parametrize(
    ("searches", "settings", "message"),
    [
        (["grid"], {}, "one of interp, fourier, but 'grid' came"),
        (["interp", "interp"], {}, "'interp' came twice"),
        (["fourier"], {}, "'fourier' came twice"),
        (["interp"], {"shots": 9}, "exact energies, but shots=9 came"),
    ],
)
def test_searches_that_cannot_be_are_refused(
    searches: list[str], settings: dict[str, Any], message: str, rng: np.random.Generator
) -> None:
    with pytest.raises(ValueError, match=message):
        compare({"fourier": Constant()}, problems(rng, 1), Protocol(reps=1, **settings), searches=searches)


def test_searches_need_a_problem_that_their_first_point_serves() -> None:
    mixed = Problem(operator=SparsePauliOp(["ZZ", "XI"]), family="custom", nodes=(0, 1))
    with pytest.raises(ValueError, match=r"SK-infinity's point, but .* X or Y terms"):
        compare({}, [mixed], Protocol(reps=1), searches=["interp"])


# Results


def test_a_comparison_needs_an_instance() -> None:
    with pytest.raises(ValueError, match="At least one instance"):
        compare({}, [], Protocol(reps=1))


def made(**ratios: list[float]) -> Comparison:
    results = {name: Result(0, np.array(values)) for name, values in ratios.items()}
    return Comparison(Protocol(reps=1), results, np.array([0.9] * len(next(iter(ratios.values())))))


def test_headroom_is_a_ratio_of_means_not_a_mean_of_ratios() -> None:
    found = made(ours=[0.8, 0.89, 0.7], base=[0.7, 0.88, 0.5])
    closed = found.headroom("ours", "base")
    assert closed is not None
    assert closed[0] == pytest.approx((0.1 + 0.01 + 0.2) / (0.2 + 0.02 + 0.4))
    unequal = made(ours=[0.8, 0.9, 0.9], base=[0.5, 0.89, 0.9]).headroom("ours", "base")  # one instance has no headroom
    assert unequal is not None
    assert unequal[0] == pytest.approx(0.31 / 0.41)
    assert np.isfinite(unequal).all()


def test_there_is_no_headroom_over_a_baseline_at_the_optimum() -> None:
    assert made(ours=[0.9, 0.9], base=[0.896, 0.899]).headroom("ours", "base") is None
    assert made(ours=[0.8, 0.8], base=[0.89, 0.89]).headroom("ours", "base") is not None


def test_differences_are_paired() -> None:
    base = np.random.default_rng(0).uniform(0.2, 0.8, size=30)
    found = made(ours=list(base + 0.01), base=list(base))
    mean, low, high = found.difference("ours", "base")
    # The instances differ wildly, the difference does not.
    assert (mean, low, high) == pytest.approx((0.01, 0.01, 0.01))


def test_bootstrap_intervals_cover_the_true_mean_as_often_as_they_say(rng: np.random.Generator) -> None:
    blank = Comparison(Protocol(reps=1, resamples=500), {}, np.zeros(40))
    hits = 0
    for _ in range(300):
        mean, low, high = blank.mean_interval(rng.normal(loc=0.3, size=40))
        assert low < mean < high
        hits += low <= 0.3 <= high
    assert 0.88 < hits / 300 < 0.99


def test_intervals_do_not_depend_on_the_order_of_calls(comparison: Comparison) -> None:
    first = comparison.headroom("constant", "random")
    comparison.difference("constant", "random")
    assert comparison.headroom("constant", "random") == first


def test_the_strongest_baseline_asks_no_query() -> None:
    found = made(weak=[0.5], strong=[0.6], asking=[0.8], other=[0.9], random=[0.3])
    results = {**found.results, "asking": Result(3, np.array([0.8]))}
    found = Comparison(found.protocol, results, found.optimum)
    assert found.strongest(["weak", "strong", "asking", "left out"]) == "strong"
    assert found.strongest(["asking", "weak"]) == "weak"
    assert found.strongest(["asking"]) == "random"


def test_a_comparison_survives_json_with_its_provenance(comparison: Comparison, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "comparison.json"
    comparison.write(path, title="held out", instances=4)
    content = json.loads(path.read_text())
    assert content["title"] == "held out"
    assert content["versions"].keys() >= {"qiskit", "torch", "numpy", "qiskit-metainit"}
    assert content["command"]
    again = Comparison.from_json(content)
    assert again.protocol == comparison.protocol
    np.testing.assert_allclose(again.optimum, comparison.optimum, atol=1e-6)
    assert again.results.keys() == comparison.results.keys()
    assert again.qubits == comparison.qubits == tuple(problem.num_qubits for problem in sampled_once())
    for name, result in comparison.results.items():
        np.testing.assert_allclose(again.results[name].ratio, result.ratio, atol=1e-6)
        assert again.results[name].queries == result.queries
        own, kept = again.results[name].arrivals["cobyla"], result.arrivals["cobyla"]
        np.testing.assert_array_equal(own.evaluations, kept.evaluations)
        np.testing.assert_allclose(own.course, kept.course, atol=1e-6)
        assert own.share == round(kept.share, 4)
    assert again.as_json()["results"] == comparison.as_json()["results"]


def test_points_only_survive_json_too(rng: np.random.Generator, tmp_path: Path) -> None:
    protocol = Protocol(reps=1, random_starts=2)
    found = compare({"ramp": LinearRamp()}, problems(rng, 2), protocol, evaluations=False, names=["a", "b"])
    found.write(tmp_path / "points.json")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    content = json.loads((tmp_path / "points.json").read_text(), parse_constant=refuse)
    assert content["results"]["ramp"]["arrivals"] == {}
    again = Comparison.from_json(content)
    assert again.names == ("a", "b")
    assert not again.results["ramp"].arrivals


@pytest.mark.parametrize("path", STORED, ids=[path.stem for path in STORED])
def test_files_from_before_there_were_several_optimisers_mean_the_same(path: Path) -> None:
    content = json.loads(path.read_text())
    [(title, (command, found))] = read_cells(content).items()
    assert (title, command) == (content["title"], content["command"])
    assert found.protocol.optimizers == ("cobyla",)
    for name, row in content["results"].items():
        known = found.results[name].arrivals
        if "evaluations" not in row:
            assert not known or known["cobyla"].evaluations.tolist() == row["arrivals"]["cobyla"]["evaluations"]
        elif None in row["evaluations"]:
            assert not known
        else:
            assert known["cobyla"].evaluations.tolist() == row["evaluations"]
            assert known["cobyla"].share == row["arrived"]


def test_several_cells_are_one_file(comparison: Comparison, tmp_path: Path) -> None:
    cells = {"one": comparison, "two": made(ours=[0.8, 0.9], base=[0.7, 0.6])}
    write_cells(tmp_path / "cells.json", cells, seed=3)
    content = json.loads((tmp_path / "cells.json").read_text())
    assert (content["seed"], [cell["title"] for cell in content["cells"]]) == (3, ["one", "two"])
    for title, (command, again) in read_cells(content).items():
        assert command == content["command"]
        assert again.as_json()["results"] == cells[title].as_json()["results"]
    write_cells(tmp_path / "one.json", {"one": comparison}, seed=3)
    assert read_cells(json.loads((tmp_path / "one.json").read_text())).keys() == {"one"}
    with pytest.raises(KeyError):
        read_cells({"other": 3})


ORIGIN = {"problem": "maxcut", "family": {"sizes": (4,)}, "instances": 2, "seed": 3}


def test_looks_at_the_same_instances_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cells.json"
    cells = {"one": made(ours=[0.8, 0.9]), "two": made(ours=[0.7, 0.9])}
    for place in range(3):
        monkeypatch.setattr("sys.argv", ["metainit", str(place)])
        looked = looks(path, ORIGIN)
        write_cells(path, {"one": cells["one"]}, **ORIGIN, twins=0, looks=looked)
        write_cells(path, cells, **ORIGIN, twins=0, looks=looked)  # one run writes after every depth
        content = json.loads(path.read_text())
        assert [look["command"] for look in content["looks"]] == [f"metainit {row}" for row in range(place + 1)]
        assert all(look["versions"] == content["versions"] for look in content["looks"])
        assert read_cells(content).keys() == {"one", "two"}
    for key, value in {"seed": 4, "instances": 3, "family": {"sizes": [5]}, "problem": "ising"}.items():
        assert len(looks(path, {**ORIGIN, key: value})) == 1
    assert len(looks(path, {"folder": "mine", "instances": 2})) == 1


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"seed": 3}', "\udcff"])
def test_a_file_of_something_else_has_no_looks(text: str, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_bytes(text.encode(errors="surrogateescape"))
    assert len(looks(tmp_path / "other.json", ORIGIN)) == len(looks(tmp_path / "none.json", ORIGIN)) == 1


@pytest.mark.parametrize("path", STORED, ids=[path.stem for path in STORED])
def test_a_file_from_before_looks_were_kept_was_one(path: Path, tmp_path: Path) -> None:
    content = json.loads(path.read_text())
    content.pop("looks", None)
    (tmp_path / "old.json").write_text(json.dumps(content))
    origin = {key: content[key] for key in ("family", "instances", "seed")}
    before, now = looks(tmp_path / "old.json", origin)
    assert before == {"command": content["command"], "versions": content["versions"]}
    assert now["command"] != before["command"]


# Tables and protocols


def test_duels_and_the_worst_tenth_are_counted_by_instance() -> None:
    base = np.linspace(0.5, 0.7, 21)
    gains = np.array([-0.03, -0.02, -0.01] + [0.0] * 8 + [0.01] * 10)
    found = made(ours=list(base + gains), base=list(base))
    assert found.duels("ours", "base") == (10, 8, 3)
    assert found.duels("base", "ours") == (3, 8, 10)
    assert found.worst_decile("ours", "base") == pytest.approx(-0.02)  # three of twenty-one
    rows = card.duels(found, ["base"])
    assert rows[0] == ["start", "gain", "95%", "wins", "ties", "losses", "worst tenth"]
    assert rows[1][:2] + rows[1][3:] == ["ours", "+.0019", "10", "8", "3", "-.0200"]
    assert len(rows) == 2


def with_arrivals(**shares: float) -> Comparison:
    arrivals = {name: Arrival(np.array([10.0, 20.0, 30.0]), share) for name, share in shares.items()}
    results = {name: Result(0, np.full(3, 0.8), arrivals) for name in ("random", "base")}
    return Comparison(Protocol(reps=1, resamples=20, optimizers=tuple(shares)), results, np.full(3, 0.9))


def test_tables_have_the_optimisers_that_ran() -> None:
    one, two, none = with_arrivals(spsa=0.5), with_arrivals(cobyla=1.0, spsa=0.5), made(random=[0.5], base=[0.8])
    assert card.table(one, ["base"])[0][-3:] == ["to 99%", "95%", "reach"]
    assert card.table(one, ["base"])[1][-3::2] == ["20", "50%"]
    for found in (two, none):
        assert card.table(found, ["base"])[0] == ["start", "r", "95%", "closed", "95%", "asks"]
    assert card.arrivals(two)[0] == ["start", "cobyla", "95%", "reach", "spsa", "95%", "reach"]
    assert card.arrivals(two)[1][1::3] == ["20", "20"]
    assert card.arrivals(two)[1][3::3] == ["100%", "50%"]


def test_under_sampling_the_table_counts_shots() -> None:
    exact = with_arrivals(cobyla=1.0)
    shots = Comparison(Protocol(reps=1, shots=100, resamples=20), exact.results, exact.optimum)
    assert card.table(shots, ["base"])[0][-3] == "shots"
    assert card.table(shots, ["base"])[1][-3] == "2000"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizers": ("cobyla", "adam")}, "optimizers must be one of cobyla, l_bfgs_b, spsa, but 'adam' came"),
        ({"optimizers": ("l_bfgs_b",), "shots": 100}, "l_bfgs_b needs exact energies, but shots=100 came"),
        ({"shots": 0}, "shots must be an integer >= 1, but 0 came"),
        ({"random_starts": 0}, "random_starts must be an integer >= 1"),
        ({"random_searches": -1}, "random_searches must be an integer >= 0"),
    ],
)
def test_a_protocol_says_what_it_needs(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Protocol(reps=1, **settings)
