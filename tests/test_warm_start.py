from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Callable
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit.library import efficient_su2, n_local, qaoa_ansatz
from qiskit.primitives import BackendEstimatorV2, StatevectorEstimator, StatevectorSampler
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import CouplingMap, generate_preset_pass_manager
from qiskit_aer import AerSimulator
from qiskit_algorithms import QAOA, VQE, AdaptVQE, MinimumEigensolver, NumPyMinimumEigensolver, SamplingVQE
from qiskit_algorithms.optimizers import COBYLA
from qiskit_optimization import QuadraticProgram
from qiskit_optimization import minimum_eigensolvers as optimization
from qiskit_optimization import optimizers as classical
from qiskit_optimization.algorithms import MinimumEigenOptimizer
from qiskit_optimization.applications import Maxcut

from qiskit_metainit.backends import noisy_simulator
from qiskit_metainit.deployment import layout_safe, shot_sampler
from qiskit_metainit.engines.sampling import Sampling
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.initializer import MetaInitializer
from qiskit_metainit.models.lstm import Lstm
from qiskit_metainit.models.random_point import RandomPoint
from qiskit_metainit.models.sk_correction import SkCorrection
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.problem import Problem
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.proposal import CoverageError, CoverageWarning
from qiskit_metainit.training import Schedule

pytestmark = [
    # qiskit-algorithms 0.4 builds QAOA from a class that Qiskit 2.1 deprecates.
    pytest.mark.filterwarnings(r"ignore:The class ``qiskit\.circuit\.library\..*:DeprecationWarning"),
    # qiskit-algorithms 0.4 checks bounds of its QAOA by an exponential in an inefficient format.
    pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning"),
    # qiskit-optimization 0.7 deprecates what its own QAOA uses for auxiliary operators.
    pytest.mark.filterwarnings("ignore:Using Estimator V1 is deprecated:DeprecationWarning"),
]
# qiskit-optimization 0.7 cannot know that our sampler transpiles.
no_pass_manager = pytest.mark.filterwarnings("ignore:Using (Sampler|Estimator) V2 .* without a pass_manager")

# No symmetry, so that an exchange of any two qubits shows; the ground state is 0101 (or 1010) read from the right.
WEIGHTED = SparsePauliOp(["IIZZ", "IZZI", "ZZII", "ZIIZ", "IIII"], [0.7, 1.1, 0.2, 1.9, 3.0])
TRIANGLE = SparsePauliOp(["IZZ", "ZZI", "ZIZ"], [0.5, 0.8, 0.3])
FIELDS = SparsePauliOp(["IZZ", "ZZI", "IIZ"], [0.5, 0.8, 0.3])


@pytest.fixture(scope="module")
def corrected() -> MetaInitializer:
    """A trained model without queries, on MaxCut with 4 and 5 nodes at p = 1 and 2."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        meta = MetaInitializer(SkCorrection(width=8, layers=1))
    schedule = Schedule(instances=20, learning_rate=3e-2)
    meta.train(MaxCut(sizes=[4, 5]), reps=[1, 2], steps=5, batch=4, rng=0, schedule=schedule)
    return meta


def recurrent(engine: Any = None) -> MetaInitializer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MetaInitializer(Lstm(num_parameters=4, queries=3), engine)


class Visited:
    """The points and energies a solver visits, seen by a callback or, as VQE garbles its points, in the optimizer."""

    def __init__(self) -> None:
        self.points: list[np.ndarray] = []
        self.energies: list[float] = []

    def __call__(self, count: int, point: Any, energy: float, metadata: Any) -> None:
        self.points.append(np.array(point, dtype=float))
        self.energies.append(float(np.real(energy)))

    def through(self, solver: Any) -> Any:
        inner = solver.optimizer

        def minimize(fun: Any, x0: Any, jac: Any, bounds: Any) -> Any:
            def watched(point: Any) -> Any:
                energy = fun(point)
                self(len(self.points), point, energy, {})
                return energy

            return inner.minimize(watched, x0, jac, bounds)

        solver.optimizer = minimize
        return solver


class RecordingSampler(StatevectorSampler):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.sent: list[Any] = []

    def run(self, pubs: Any, *, shots: int | None = None) -> Any:
        self.sent.append(list(pubs))
        return super().run(self.sent[-1], shots=shots)


class RecordingEstimator(StatevectorEstimator):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.sent: list[Any] = []

    def run(self, pubs: Any, *, precision: float | None = None) -> Any:
        self.sent.append(list(pubs))
        return super().run(self.sent[-1], precision=precision)


class NumPyLike:
    """The least of a solver that may be wrapped."""

    ansatz = initial_point = None

    def compute_minimum_eigenvalue(self, operator: SparsePauliOp, aux_operators: Any = None) -> Any:
        return NumPyMinimumEigensolver().compute_minimum_eigenvalue(operator, aux_operators)


def vqe_ansatz(operator: SparsePauliOp) -> QuantumCircuit:
    return qaoa_ansatz(operator, 2)


# One line a solver: each ends with the same 2-layer QAOA state of WEIGHTED.
SOLVERS: dict[str, Callable[..., Any]] = {
    "QAOA": lambda **k: QAOA(StatevectorSampler(seed=1), COBYLA(maxiter=6), reps=2, **k),
    "SamplingVQE": lambda **k: SamplingVQE(StatevectorSampler(seed=1), vqe_ansatz(WEIGHTED), COBYLA(maxiter=6), **k),
    "VQE": lambda **k: VQE(StatevectorEstimator(), vqe_ansatz(WEIGHTED), COBYLA(maxiter=6), **k),
    "optimization.QAOA": lambda **k: optimization.QAOA(
        StatevectorSampler(seed=1), classical.COBYLA(maxiter=6), reps=2, **k
    ),
    "optimization.SamplingVQE": lambda **k: optimization.SamplingVQE(
        StatevectorSampler(seed=1), vqe_ansatz(WEIGHTED), classical.COBYLA(maxiter=6), **k
    ),
    "optimization.VQE": lambda **k: optimization.VQE(
        StatevectorEstimator(), vqe_ansatz(WEIGHTED), classical.COBYLA(maxiter=6), **k
    ),
}
every_solver = pytest.mark.parametrize("kind", SOLVERS)
every_sampler = pytest.mark.parametrize(
    "kind", [kind for kind in SOLVERS if not kind.endswith(".VQE") and kind != "VQE"]
)
both_qaoas = pytest.mark.parametrize("kind", ["QAOA", "optimization.QAOA"])


@every_solver
def test_the_first_point_a_solver_visits_is_the_proposal(kind: str, corrected: MetaInitializer) -> None:
    visited = Visited()
    result = corrected.wrap(visited.through(SOLVERS[kind]())).compute_minimum_eigenvalue(WEIGHTED)
    expected = corrected.initial_point(WEIGHTED, reps=2)
    np.testing.assert_array_equal(visited.points[0], expected)
    np.testing.assert_array_equal(result.proposal.point, expected)
    assert (result.proposal.covered, result.proposal.model) == (True, "sk_correction")
    assert (result.proposal.queries, result.proposal.fallback) == (0, None)
    # In the solver's own circuit, the first energy is that of a good start, far below the mean of 3.
    assert visited.energies[0] < 1.2
    assert result.cost_function_evals == len(visited.points) == 6


@every_solver
def test_the_users_solver_is_unchanged(kind: str, corrected: MetaInitializer) -> None:
    solver = SOLVERS[kind](initial_point=np.array([0.1, 0.2, 0.3, 0.4]))
    before = dict(vars(solver))
    circuit = solver.ansatz and solver.ansatz.copy()
    wrapped = corrected.wrap(solver)
    for _ in range(2):
        wrapped.compute_minimum_eigenvalue(WEIGHTED)
    assert vars(solver).keys() == before.keys()
    for name, value in vars(solver).items():
        assert value is before[name], name
    np.testing.assert_array_equal(solver.initial_point, [0.1, 0.2, 0.3, 0.4])
    np.testing.assert_array_equal(wrapped.initial_point, [0.1, 0.2, 0.3, 0.4])
    assert solver.ansatz == circuit
    if circuit is not None:
        assert not solver.ansatz.clbits


@every_solver
def test_the_wrapped_solver_gives_the_users_own_result(kind: str, corrected: MetaInitializer) -> None:
    solver = SOLVERS[kind](initial_point=corrected.initial_point(WEIGHTED, reps=2))
    expected = solver.compute_minimum_eigenvalue(WEIGHTED)
    result = corrected.wrap(SOLVERS[kind]()).compute_minimum_eigenvalue(WEIGHTED)
    assert type(result) is type(expected)
    assert result.eigenvalue == pytest.approx(expected.eigenvalue)
    np.testing.assert_allclose(result.optimal_point, expected.optimal_point)
    assert getattr(result, "best_measurement", None) == getattr(expected, "best_measurement", None)


@every_solver
def test_auxiliary_operators_are_passed_through(kind: str, corrected: MetaInitializer) -> None:
    wrapped = corrected.wrap(SOLVERS[kind]())
    assert wrapped.supports_aux_operators()
    count = SparsePauliOp(["IIIZ", "ZIII"], [1.0, 1.0])
    result = wrapped.compute_minimum_eigenvalue(WEIGHTED, [count, WEIGHTED])
    assert len(result.aux_operators_evaluated) == 2
    assert abs(result.aux_operators_evaluated[0][0]) < 0.2
    assert result.aux_operators_evaluated[1][0] < 1.2


@every_solver
def test_attributes_are_read_and_written_on_the_copy(kind: str, corrected: MetaInitializer) -> None:
    solver = SOLVERS[kind]()
    wrapped = corrected.wrap(solver)
    assert wrapped.optimizer is solver.optimizer
    assert isinstance(wrapped, MinimumEigensolver)
    visited = Visited()
    wrapped.callback = visited
    assert wrapped.callback is visited
    assert solver.callback is None
    wrapped.compute_minimum_eigenvalue(WEIGHTED)
    assert visited.points
    with pytest.raises(AttributeError, match="no_such_thing"):
        wrapped.no_such_thing  # noqa: B018


@both_qaoas
def test_reps_set_later_are_those_that_run(kind: str, corrected: MetaInitializer) -> None:
    solver = SOLVERS[kind]()
    wrapped = corrected.wrap(solver)
    wrapped.reps = 1
    result = wrapped.compute_minimum_eigenvalue(WEIGHTED)
    assert (len(result.optimal_point), len(result.proposal.point), solver.reps) == (2, 2, 2)


@both_qaoas
def test_every_operator_gets_its_own_point(kind: str, corrected: MetaInitializer) -> None:
    visited = Visited()
    wrapped = corrected.wrap(SOLVERS[kind](callback=visited))
    for operator in (WEIGHTED, TRIANGLE, WEIGHTED * 100.0):
        visited.points.clear()
        wrapped.compute_minimum_eigenvalue(operator)
        np.testing.assert_array_equal(visited.points[0], corrected.initial_point(operator, reps=2))


def test_an_initial_point_set_on_the_wrapped_solver_is_said_to_be_unused(corrected: MetaInitializer) -> None:
    visited = Visited()
    wrapped = corrected.wrap(SOLVERS["QAOA"](callback=visited))
    with pytest.warns(UserWarning, match="the initial_point set here is not used"):
        wrapped.initial_point = np.zeros(4)
    wrapped.compute_minimum_eigenvalue(WEIGHTED)
    np.testing.assert_array_equal(visited.points[0], corrected.initial_point(WEIGHTED, reps=2))


def test_a_constant_operator_is_left_to_the_solver(corrected: MetaInitializer) -> None:
    constant = SparsePauliOp("II", [2.0])
    result = corrected.wrap(NumPyLike()).compute_minimum_eigenvalue(constant)
    assert (result.eigenvalue, result.proposal) == (2.0, None)


def test_a_wrapped_solver_can_be_copied(corrected: MetaInitializer) -> None:
    wrapped = corrected.wrap(SOLVERS["QAOA"]())
    for twin in (copy.copy(wrapped), copy.deepcopy(wrapped)):
        result = twin.compute_minimum_eigenvalue(TRIANGLE)
        np.testing.assert_array_equal(result.proposal.point, corrected.initial_point(TRIANGLE, reps=2))


def test_a_solver_that_fails_keeps_its_initial_point(corrected: MetaInitializer) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("stop here")

    wrapped = corrected.wrap(SOLVERS["QAOA"](callback=fail, initial_point=np.zeros(4)))
    with pytest.raises(RuntimeError, match="stop here"):
        wrapped.compute_minimum_eigenvalue(WEIGHTED)
    np.testing.assert_array_equal(wrapped.initial_point, np.zeros(4))


@pytest.mark.parametrize(
    "other",
    [
        NumPyMinimumEigensolver(),
        COBYLA(),
        "QAOA",
        AdaptVQE(VQE(StatevectorEstimator(), efficient_su2(2), COBYLA()), operators=[SparsePauliOp("XY")]),
    ],
    ids=lambda other: type(other).__name__,
)
def test_other_solvers_are_refused_when_wrapped(other: Any, corrected: MetaInitializer) -> None:
    with pytest.raises(TypeError, match=r"QAOA, SamplingVQE or VQE .* is needed, but a \w+ came"):
        corrected.wrap(other)


def test_the_problem_says_whether_the_family_is_that_of_the_training(corrected: MetaInitializer) -> None:
    other = Problem(WEIGHTED, "ising", (0, 1, 2, 3))
    solver = SOLVERS["QAOA"]()
    assert corrected.wrap(solver, problem=other).compute_minimum_eigenvalue(WEIGHTED).proposal.extrapolated
    assert not corrected.wrap(solver).compute_minimum_eigenvalue(WEIGHTED).proposal.extrapolated


# Aggregations, mixers, initial states


@every_sampler
@pytest.mark.parametrize("aggregation", [0.25, lambda samples: min(value for _, value in samples)])
def test_another_aggregation_is_noted(kind: str, aggregation: Any, corrected: MetaInitializer) -> None:
    wrapped = corrected.wrap(SOLVERS[kind](aggregation=aggregation))
    result = wrapped.compute_minimum_eigenvalue(WEIGHTED)
    assert result.proposal.covered
    assert any("learned for the mean energy" in note for note in result.proposal.notes)
    plain = corrected.wrap(SOLVERS[kind]()).compute_minimum_eigenvalue(WEIGHTED)
    assert plain.proposal.notes == ()
    assert result.eigenvalue < plain.eigenvalue - 0.1


def one_angle_mixer() -> QuantumCircuit:
    mixer, angle = QuantumCircuit(4), Parameter("b")
    mixer.rx(2.0 * angle, range(4))
    return mixer


CUSTOM = {
    "mixer operator": {"mixer": SparsePauliOp(["IIXX", "XXII", "IXXI"])},
    "mixer circuit": {"mixer": one_angle_mixer()},
    "initial state": {"initial_state": QuantumCircuit(4)},
}


@both_qaoas
@pytest.mark.parametrize("what", CUSTOM)
def test_a_custom_mixer_or_initial_state_starts_from_the_formula(
    kind: str, what: str, corrected: MetaInitializer
) -> None:
    visited = Visited()
    wrapped = corrected.wrap(SOLVERS[kind](callback=visited, **CUSTOM[what]))
    part = what.removesuffix(" operator").removesuffix(" circuit")
    with pytest.warns(CoverageWarning, match=f"custom {part}.*sk_infinity instead"):
        result = wrapped.compute_minimum_eigenvalue(WEIGHTED)
    expected = MetaInitializer(SkInfinity()).initial_point(WEIGHTED, reps=2)
    np.testing.assert_array_equal(visited.points[0], expected)
    assert (result.proposal.covered, result.proposal.model) == (False, "sk_infinity")
    assert f"custom {part}" in result.proposal.fallback


@both_qaoas
def test_the_warning_as_an_error_makes_a_wrapped_solver_strict(kind: str, corrected: MetaInitializer) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", CoverageWarning)
        with pytest.raises(CoverageWarning):
            corrected.wrap(SOLVERS[kind](**CUSTOM["initial state"])).compute_minimum_eigenvalue(WEIGHTED)
        with pytest.raises(CoverageWarning):
            corrected.wrap(SOLVERS[kind]()).compute_minimum_eigenvalue(FIELDS)
        corrected.wrap(SOLVERS[kind]()).compute_minimum_eigenvalue(WEIGHTED)


@both_qaoas
def test_a_mixer_with_several_angles_has_no_formula(kind: str, corrected: MetaInitializer) -> None:
    mixer, angles = QuantumCircuit(4), ParameterVector("b", 2)
    mixer.rx(angles[0], range(4))
    mixer.rz(angles[1], range(4))
    with pytest.raises(CoverageError, match=r"custom mixer; and no formula .* 2 parameters instead of 1"):
        corrected.wrap(SOLVERS[kind](mixer=mixer)).compute_minimum_eigenvalue(WEIGHTED)


def test_an_ansatz_that_is_no_qaoa_has_no_formula(corrected: MetaInitializer) -> None:
    solver = VQE(StatevectorEstimator(), efficient_su2(4, reps=1), COBYLA(maxiter=6))
    with pytest.raises(CoverageError, match="trained for QAOA, but another ansatz with 16 parameters came"):
        corrected.wrap(solver).compute_minimum_eigenvalue(WEIGHTED)


def test_any_model_that_serves_an_ansatz_starts_a_vqe() -> None:
    visited = Visited()
    circuit = n_local(2, ["ry", "rz"], "cz", reps=1)
    solver = visited.through(VQE(StatevectorEstimator(), circuit, COBYLA(maxiter=10)))
    heisenberg = SparsePauliOp(["XX", "YY", "ZZ"])
    result = MetaInitializer(RandomPoint(seed=3)).wrap(solver).compute_minimum_eigenvalue(heisenberg)
    np.testing.assert_array_equal(visited.points[0], result.proposal.point)
    assert result.proposal.point.shape == (8,)


def test_the_warning_points_at_the_users_line(corrected: MetaInitializer) -> None:
    wrapped = corrected.wrap(SOLVERS["QAOA"]())
    with pytest.warns(CoverageWarning) as seen:
        wrapped.compute_minimum_eigenvalue(FIELDS)
    assert seen[0].filename == __file__


# Queries


@both_qaoas
def test_queries_go_to_the_solvers_own_sampler_and_are_counted(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = RecordingSampler(default_shots=200, seed=1)
    visited = Visited()
    solver = SOLVERS[kind](callback=visited)
    solver.sampler = sampler
    monkeypatch.setattr(Statevector, "expectation", None)  # nothing may be simulated behind the solver's back
    result = recurrent().wrap(solver).compute_minimum_eigenvalue(WEIGHTED)
    proposal = result.proposal
    assert (proposal.queries, proposal.shots, proposal.classical_simulation) == (3, 600, False)
    # 3 queries, the optimizer's 6 evaluations and the final sampling.
    assert len(sampler.sent) == 3 + 6 + 1
    np.testing.assert_array_equal(visited.points[0], proposal.point)


@pytest.mark.parametrize("kind", ["SamplingVQE", "optimization.SamplingVQE"])
def test_queries_of_a_sampling_vqe_go_to_its_sampler(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = RecordingSampler(default_shots=200, seed=1)
    solver = SOLVERS[kind]()
    solver.sampler = sampler
    monkeypatch.setattr(Statevector, "expectation", None)
    wrapped = recurrent().wrap(solver)
    for run in (1, 2):  # the measured circuit of the first run does not disturb the second
        proposal = wrapped.compute_minimum_eigenvalue(WEIGHTED).proposal
        assert (proposal.queries, proposal.shots) == (3, 600)
        assert len(sampler.sent) == run * (3 + 6 + 1)


@pytest.mark.parametrize("kind", ["VQE", "optimization.VQE"])
def test_queries_go_to_the_solvers_own_estimator(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    estimator = RecordingEstimator()
    solver = SOLVERS[kind]()
    solver.estimator = estimator
    expected = recurrent().initial_point(WEIGHTED, reps=2)
    monkeypatch.setattr(Statevector, "expectation", None)
    result = recurrent().wrap(solver).compute_minimum_eigenvalue(WEIGHTED)
    assert (result.proposal.queries, result.proposal.classical_simulation) == (3, False)
    assert len(estimator.sent) == 3 + 6
    np.testing.assert_allclose(result.proposal.point, expected, atol=1e-9)


def chain(num_qubits: int) -> GenericBackendV2:
    line = CouplingMap.from_line(num_qubits)
    return GenericBackendV2(num_qubits, basis_gates=["cz", "sx", "rz", "x"], coupling_map=line, seed=1)


@pytest.mark.parametrize("package", ["algorithms", "optimization"])
def test_queries_through_a_backends_estimator_and_pass_manager_count_their_shots(package: str) -> None:
    device = AerSimulator.from_backend(chain(6), noise_model=None, seed_simulator=1)
    manager = generate_preset_pass_manager(1, device, initial_layout=[4, 1, 3, 2], seed_transpiler=0)
    estimator = BackendEstimatorV2(backend=device, options={"default_precision": 0.05})
    circuit = vqe_ansatz(WEIGHTED)
    solver: Any
    if package == "algorithms":
        # Its VQE keeps the transpiled circuit only, which nobody can recognise as a QAOA.
        solver = VQE(estimator, circuit, COBYLA(maxiter=6), transpiler=manager)
    else:
        solver = optimization.VQE(estimator, circuit, classical.COBYLA(maxiter=6), pass_manager=manager)
    meta = recurrent()
    result = meta.wrap(solver).compute_minimum_eigenvalue(WEIGHTED)
    # 1 / 0.05^2 = 400 shots of one basis, 3 times.
    assert (result.proposal.queries, result.proposal.shots) == (3, 1200)
    seen = solver.ansatz if package == "algorithms" else circuit
    assert np.abs(result.proposal.point - meta.initial_point(WEIGHTED, ansatz=seen)).max() < 0.05


def test_queries_through_a_pass_manager_are_laid_out(corrected: MetaInitializer) -> None:
    device = AerSimulator.from_backend(chain(6), noise_model=None, seed_simulator=1)
    manager = generate_preset_pass_manager(1, device, initial_layout=[4, 1, 3, 2], seed_transpiler=0)
    sampler = RecordingSampler(seed=1)
    solver = optimization.QAOA(sampler, classical.COBYLA(maxiter=6), reps=2, pass_manager=manager)
    proposal = recurrent().wrap(solver).compute_minimum_eigenvalue(WEIGHTED).proposal
    widths = {pub[0].num_qubits for pubs in sampler.sent for pub in pubs}
    assert widths == {6}
    assert np.abs(proposal.point - recurrent().initial_point(WEIGHTED, reps=2)).max() < 0.1


@both_qaoas
def test_an_engine_of_the_initializer_answers_instead_of_the_solver(kind: str) -> None:
    sampler, own = RecordingSampler(seed=1), RecordingSampler(seed=2)
    solver = SOLVERS[kind]()
    solver.sampler = sampler
    result = recurrent(Sampling(own, shots=50)).wrap(solver).compute_minimum_eigenvalue(WEIGHTED)
    assert (len(own.sent), len(sampler.sent)) == (3, 6 + 1)
    assert result.proposal.shots == 150


# A noisy device


@no_pass_manager
@both_qaoas
def test_a_layout_safe_sampler_on_a_noisy_device_gives_the_same_behaviour(
    kind: str, corrected: MetaInitializer
) -> None:
    device = noisy_simulator(chain(9), 4)
    visited, quiet = Visited(), Visited()
    cls, optimizer = (QAOA, COBYLA) if kind == "QAOA" else (optimization.QAOA, classical.COBYLA)
    noisy = cls(shot_sampler(device, 7), optimizer(maxiter=8, rhobeg=0.2), reps=2, callback=visited)
    exact = cls(StatevectorSampler(seed=1), optimizer(maxiter=8, rhobeg=0.2), reps=2, callback=quiet)
    result = corrected.wrap(noisy).compute_minimum_eigenvalue(WEIGHTED)
    reference = corrected.wrap(exact).compute_minimum_eigenvalue(WEIGHTED)
    np.testing.assert_array_equal(visited.points[0], quiet.points[0])
    assert abs(visited.energies[0] - quiet.energies[0]) < 0.5
    # The bits come back in the operator's order, whatever the layout.
    assert result.best_measurement["bitstring"] in {"0101", "1010"}
    assert result.best_measurement["value"] == pytest.approx(reference.best_measurement["value"])


@no_pass_manager
def test_queries_through_a_layout_safe_sampler_on_a_noisy_device() -> None:
    sampler = layout_safe(shot_sampler(noisy_simulator(chain(9), 4), 7))
    solver = QAOA(sampler, COBYLA(maxiter=6), reps=2)
    proposal = recurrent().wrap(solver).compute_minimum_eigenvalue(WEIGHTED).proposal
    assert proposal.queries == 3
    assert proposal.shots == 3 * 1024
    assert sampler.jobs == 3 + 6 + 1
    assert np.abs(proposal.point - recurrent().initial_point(WEIGHTED, reps=2)).max() < 0.2


# MinimumEigenOptimizer of qiskit-optimization


def cut_of(graph: nx.Graph) -> QuadraticProgram:
    return Maxcut(graph).to_quadratic_program()


def weighted_graph(seed: int, size: int, *, dyadic: bool = False) -> nx.Graph:
    rng, graph = np.random.default_rng(seed), nx.cycle_graph(size)
    graph.add_edge(0, size // 2)
    for u, v in graph.edges:
        graph[u][v]["weight"] = float(rng.integers(1, 16)) / 8 if dyadic else float(rng.random())
    return graph


def best_cut(graph: nx.Graph) -> float:
    return max(
        sum(data["weight"] for u, v, data in graph.edges(data=True) if side[u] != side[v])
        for side in itertools.product([0, 1], repeat=len(graph))
    )


@both_qaoas
def test_minimum_eigen_optimizer_runs_unchanged_on_one_problem_after_another(
    kind: str, corrected: MetaInitializer
) -> None:
    visited = Visited()
    wrapped = corrected.wrap(SOLVERS[kind](callback=visited))
    optimizer = MinimumEigenOptimizer(wrapped)
    for seed, size in ((0, 4), (1, 5)):
        # Other weights leave rounding residue as linear terms, at which qiskit-optimization's own QAOA fails by itself:
        # Qiskit 2.6 cannot hash a parameter times a factor between -2.2e-16 and 0.
        graph = weighted_graph(seed, size, dyadic=kind == "optimization.QAOA")
        visited.points.clear()
        result = optimizer.solve(cut_of(graph))
        assert result.fval == pytest.approx(best_cut(graph))
        proposal = result.min_eigen_solver_result.proposal
        assert (proposal.covered, proposal.fallback) == (True, None)
        np.testing.assert_array_equal(visited.points[0], proposal.point)
        # Signs and units arrive: the point is that of the same graph read by this package.
        own = MaxCut.from_graph(graph).operator
        np.testing.assert_allclose(proposal.point, corrected.initial_point(own, reps=2), atol=1e-6)


@both_qaoas
def test_minimum_eigen_optimizer_with_linear_terms_falls_back_with_a_warning(
    kind: str, corrected: MetaInitializer
) -> None:
    program = QuadraticProgram()
    for name in "xyz":
        program.binary_var(name)
    program.minimize(linear={"x": -3, "y": 1, "z": 1}, quadratic={("x", "y"): 2, ("y", "z"): -4})
    optimizer = MinimumEigenOptimizer(corrected.wrap(SOLVERS[kind]()))
    with pytest.warns(CoverageWarning, match="without linear terms"):
        result = optimizer.solve(program)
    assert result.min_eigen_solver_result.proposal.model == "sk_infinity"
    assert result.fval == -3.0
    covered = optimizer.solve(cut_of(weighted_graph(0, 4)))
    assert covered.min_eigen_solver_result.proposal.covered


def test_the_rounding_residue_of_a_conversion_is_no_linear_term(corrected: MetaInitializer) -> None:
    for seed in range(20):
        graph = weighted_graph(seed, 5)
        operator, _ = cut_of(graph).to_ising()
        point = corrected.initial_point(operator, reps=2, strict=True)
        own = MaxCut.from_graph(graph).operator
        np.testing.assert_allclose(point, corrected.initial_point(own, reps=2), atol=1e-6)
        by_circuit = corrected.initial_point(operator, ansatz=qaoa_ansatz(operator, 2), strict=True)
        np.testing.assert_array_equal(by_circuit, point)
