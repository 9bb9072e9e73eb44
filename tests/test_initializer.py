from __future__ import annotations

import inspect
import itertools
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit, transpile
from qiskit.circuit.library import efficient_su2, qaoa_ansatz
from qiskit.primitives import StatevectorEstimator, StatevectorSampler
from qiskit.quantum_info import SparseObservable, SparsePauliOp

import qiskit_metainit
from qiskit_metainit import ansatz, initializer, task
from qiskit_metainit.artifact import Coverage
from qiskit_metainit.engines.parameter_shift import ParameterShift
from qiskit_metainit.engines.sampling import Sampling
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.initializer import SIMULATED_QUBITS, MetaInitializer
from qiskit_metainit.models.constant import Constant
from qiskit_metainit.models.lstm import Lstm
from qiskit_metainit.models.random_point import RandomPoint
from qiskit_metainit.models.sk_correction import SkCorrection
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.problem import Problem
from qiskit_metainit.problems.ising import Ising
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.problems.mixture import Mixture
from qiskit_metainit.problems.qubo import Qubo
from qiskit_metainit.proposal import CoverageError, CoverageWarning
from qiskit_metainit.training import Report, Schedule

PATH = SparsePauliOp(["IIZZ", "IZZI", "ZZII"], [0.5, 0.5, 0.5])
WEIGHTED = SparsePauliOp(["IIZZ", "IZZI", "ZZII", "ZIIZ"], [0.7, -1.1, 0.2, 1.9])
FIELDS = SparsePauliOp(["IIZZ", "IZZI", "ZZII", "IIIZ"], [0.7, -1.1, 0.2, 0.9])
HEISENBERG = SparsePauliOp(["XX", "YY", "ZZ"], [1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def corrected() -> MetaInitializer:
    """A trained model without queries, on MaxCut with 4 and 5 nodes at p = 1 to 3 and 12."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        meta = MetaInitializer(SkCorrection(width=8, layers=1))
    schedule = Schedule(instances=20, learning_rate=3e-2)
    meta.train(MaxCut(sizes=[4, 5]), reps=[1, 2, 3, 12], steps=5, batch=4, rng=0, schedule=schedule)
    return meta


def recurrent(**settings: Any) -> Lstm:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Lstm(**{"num_parameters": 4, "queries": 3, **settings})


# The front door


def arguments(function: Any) -> list[tuple[str, Any, Any]]:
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


POSITIONAL, KEYWORD = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
REQUIRED = inspect.Parameter.empty


LEARNING = ("self", "family", "reps", "loss", "steps", "batch", "rng", "checkpoint")
PUBLIC = (
    "ArtifactError",
    "CoverageError",
    "CoverageWarning",
    "Deployment",
    "Distribution",
    "Heisenberg",
    "Hubbard",
    "Ising",
    "MaxCut",
)
PUBLIC += ("MetaInitializer", "Molecule", "Problem", "Proposal", "Qubo", "ShotBudget")


def test_the_front_door_is_as_designed() -> None:
    cls = MetaInitializer
    assert arguments(cls) == [("model", POSITIONAL, REQUIRED), ("engine", POSITIONAL, None)]
    one = [(name, KEYWORD, default) for name, default in [("reps", None), ("ansatz", None), ("problem", None)]]
    one += [("strict", KEYWORD, False)]
    assert arguments(cls.initial_point) == [("self", POSITIONAL, REQUIRED), ("operator", POSITIONAL, REQUIRED), *one]
    assert arguments(cls.propose)[:6] == [
        ("self", POSITIONAL, REQUIRED),
        ("operators", POSITIONAL, REQUIRED),
        *one,
    ]
    assert arguments(cls.wrap) == [
        ("self", POSITIONAL, REQUIRED),
        ("solver", POSITIONAL, REQUIRED),
        ("problem", KEYWORD, None),
    ]
    trained = arguments(cls.train)
    assert [name for name, _, _ in trained[:8]] == list(LEARNING)
    assert [kind for _, kind, _ in trained] == [POSITIONAL] * 2 + [KEYWORD] * (len(trained) - 2)
    assert {name: default for name, _, default in trained}["reps"] is None
    assert {name: default for name, _, default in trained}["checkpoint"] is None
    assert arguments(cls.load) == [("name", POSITIONAL, REQUIRED), ("engine", KEYWORD, None)]
    assert arguments(cls.save)[:2] == [("self", POSITIONAL, REQUIRED), ("folder", POSITIONAL, REQUIRED)]


def test_the_public_names_are_exact_and_all_there() -> None:
    assert qiskit_metainit.__all__ == list(PUBLIC)
    assert dir(qiskit_metainit) == list(PUBLIC)
    for name in PUBLIC:
        assert getattr(qiskit_metainit, name).__name__ == name
    with pytest.raises(AttributeError, match="Metainitializer"):
        qiskit_metainit.Metainitializer  # noqa: B018


def test_importing_the_package_imports_neither_torch_nor_qiskit() -> None:
    code = (
        "import sys, qiskit_metainit; print(sorted({'torch', 'qiskit', 'numpy', 'networkx'} & set(sys.modules)));"
        "qiskit_metainit.CoverageError; print('torch' in sys.modules);"
        "qiskit_metainit.MetaInitializer; print(sorted({'qiskit_algorithms', 'qiskit_aer', 'qiskit_ibm_runtime', "
        "'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "False", "[]"]


@pytest.mark.parametrize("both", [{}, {"reps": 2, "ansatz": qaoa_ansatz(PATH, 2)}])
def test_exactly_one_of_reps_and_ansatz_is_needed(both: dict[str, Any], corrected: MetaInitializer) -> None:
    with pytest.raises(ValueError, match=r"Exactly one of reps .* and ansatz .*(neither|both) came"):
        corrected.initial_point(PATH, **both)


@pytest.mark.parametrize("reps", [0, -1, 1.5, True, "2"])
def test_impossible_reps_are_refused(reps: Any, corrected: MetaInitializer) -> None:
    with pytest.raises(ValueError, match="reps must be a positive integer"):
        corrected.initial_point(PATH, reps=reps)


def test_numpy_integers_are_reps(corrected: MetaInitializer) -> None:
    np.testing.assert_array_equal(
        corrected.initial_point(PATH, reps=np.int64(2)), corrected.initial_point(PATH, reps=2)
    )


def test_a_single_operator_for_propose_is_a_mistake(corrected: MetaInitializer) -> None:
    with pytest.raises(TypeError, match="Put it in a list"):
        corrected.propose(PATH, reps=2)  # type: ignore[arg-type]


def test_no_operators_give_no_proposals(corrected: MetaInitializer) -> None:
    assert corrected.propose([], reps=2) == []


def test_a_model_is_needed() -> None:
    with pytest.raises(TypeError, match=r"A Model is needed, but a str came\. .*MetaInitializer\.load"):
        MetaInitializer("qaoa")  # type: ignore[arg-type]


def test_the_problem_must_belong_to_the_operator(corrected: MetaInitializer) -> None:
    other = MaxCut.from_edges([(0, 1), (1, 2)])
    with pytest.raises(ValueError, match="3 qubits and the operator 4"):
        corrected.initial_point(PATH, reps=2, problem=other)


# Order and shapes


@pytest.mark.parametrize("reps", [1, 2, 12])
def test_a_qaoa_point_is_ordered_as_the_circuit(reps: int, corrected: MetaInitializer) -> None:
    point = corrected.initial_point(WEIGHTED, reps=reps)
    assert point.shape == (2 * reps,)
    assert point.dtype == np.float64
    names = [parameter.name[0] for parameter in qaoa_ansatz(WEIGHTED, reps).parameters]
    assert names == ["\N{GREEK SMALL LETTER BETA}"] * reps + ["\N{GREEK SMALL LETTER GAMMA}"] * reps
    betas, gammas = np.split(point, 2)
    # For a minimised H a good schedule has positive betas and negative gammas.
    assert (betas > 0).all()
    assert (gammas < 0).all()


@pytest.mark.parametrize("reps", [1, 2, 12])
def test_a_learned_point_is_far_better_than_random_in_qiskits_own_estimator(
    reps: int, corrected: MetaInitializer, rng: np.random.Generator
) -> None:
    circuit, point = qaoa_ansatz(PATH, reps), corrected.initial_point(PATH, reps=reps)
    points = np.vstack([point, rng.uniform(-np.pi, np.pi, size=(20, 2 * reps))])
    energies = StatevectorEstimator().run([(circuit, PATH, points)]).result()[0].data.evs
    assert energies[0] < energies[1:].mean() - 0.5


@pytest.mark.parametrize("reps", [1, 2, 12])
def test_a_standard_qaoa_circuit_is_recognised(reps: int, corrected: MetaInitializer) -> None:
    by_circuit = corrected.propose([WEIGHTED], ansatz=qaoa_ansatz(WEIGHTED, reps))[0]
    by_reps = corrected.propose([WEIGHTED], reps=reps)[0]
    np.testing.assert_array_equal(by_circuit.point, by_reps.point)
    assert by_circuit.covered
    assert by_circuit.fallback is None


def test_a_point_for_another_circuit_has_its_number_of_parameters() -> None:
    circuit = efficient_su2(4, reps=1)
    assert MetaInitializer(RandomPoint()).initial_point(HEISENBERG ^ HEISENBERG, ansatz=circuit).shape == (16,)


def test_each_proposal_owns_its_point(corrected: MetaInitializer) -> None:
    first, second = corrected.propose([PATH, PATH], reps=2)
    expected = second.point.copy()
    first.point[:] = 9.0
    np.testing.assert_array_equal(second.point, expected)
    np.testing.assert_array_equal(corrected.initial_point(PATH, reps=2), expected)


# Every kind of operator

OPERATORS = {
    "identity": PATH + SparsePauliOp("IIII", [17.0]),
    "isolated qubits": SparsePauliOp.from_sparse_list([("ZZ", [1, 5], 0.5), ("ZZ", [5, 2], 0.5)], 9),
    "one edge": SparsePauliOp("ZZ", [0.5]),
    "negative": -WEIGHTED,
    "huge": WEIGHTED * 1e6,
    "tiny": WEIGHTED * 1e-6,
    "observable": SparseObservable.from_sparse_list([("ZZ", [0, 1], 0.5), ("ZZ", [1, 2], 0.3)], 3),
    "disconnected": MaxCut.from_edges([(0, 1), (2, 3, 2.0), (4, 5)]).operator,
    "duplicates and zeros": SparsePauliOp(["ZZI", "ZZI", "IZZ", "ZIZ"], [0.25, 0.25, 0.5, 0.0]),
    "real but complex dtype": SparsePauliOp(["ZZI", "IZZ"], np.array([0.5, 0.5], dtype=complex)),
}


@pytest.mark.parametrize("kind", OPERATORS)
def test_every_kind_of_operator_is_covered(kind: str, corrected: MetaInitializer) -> None:
    operator = OPERATORS[kind]
    proposal = corrected.propose([operator], reps=2)[0]
    assert proposal.covered
    assert np.isfinite(proposal.point).all()
    reached, limits = exact(operator, proposal.point)
    assert (limits[1] - reached) / (limits[1] - limits[0]) > 0.6


def exact(operator: SparsePauliOp | SparseObservable, point: np.ndarray) -> tuple[float, tuple[float, float]]:
    if isinstance(operator, SparseObservable):
        operator = SparsePauliOp.from_sparse_observable(operator)
    circuit = qaoa_ansatz(operator, len(point) // 2)
    spectrum = operator.to_matrix(sparse=True).diagonal().real
    energy = StatevectorEstimator().run([(circuit, operator, point)]).result()[0].data.evs
    return float(energy), (float(spectrum.min()), float(spectrum.max()))


def test_an_observable_gives_the_point_of_its_pauli_sum(corrected: MetaInitializer) -> None:
    np.testing.assert_allclose(
        corrected.initial_point(SparseObservable.from_sparse_pauli_op(WEIGHTED), reps=2),
        corrected.initial_point(WEIGHTED, reps=2),
        rtol=1e-12,  # the terms come in another order
    )


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        (SparsePauliOp("II"), "constant"),
        (SparsePauliOp("ZZ", [np.nan]), "finite"),
        (SparsePauliOp("ZZ", [1j]), "Hermitian"),
        (SparsePauliOp("ZZ", [0.0]), "constant"),
    ],
)
def test_an_impossible_operator_is_refused(operator: SparsePauliOp, message: str, corrected: MetaInitializer) -> None:
    with pytest.raises(ValueError, match=message):
        corrected.initial_point(operator, reps=2)


def test_another_type_of_operator_is_refused(corrected: MetaInitializer) -> None:
    with pytest.raises(TypeError, match=r"SparsePauliOp or SparseObservable, but a ndarray came"):
        corrected.initial_point(np.eye(4), reps=2)


# Coverage

OUTSIDE = {
    "depth": (PATH, {"reps": 4}, r"trained for reps 1, 2, 3, 12, but reps=4 came"),
    "fields": (FIELDS, {"reps": 2}, "trained without linear terms, but this operator has them"),
    "order": (SparsePauliOp(["ZZZ", "IZZ"], [0.5, 0.5]), {"reps": 2}, "terms on up to 2 qubits, but .* has 3"),
}


@pytest.mark.parametrize("kind", OUTSIDE)
def test_outside_the_coverage_a_formula_stands_in_and_says_so(kind: str, corrected: MetaInitializer) -> None:
    operator, how, reason = OUTSIDE[kind]
    with pytest.warns(CoverageWarning, match=f"{reason}.*sk_infinity instead"):
        proposal = corrected.propose([operator], **how)[0]
    assert (proposal.covered, proposal.model, proposal.queries) == (False, "sk_infinity", 0)
    assert proposal.fallback is not None
    np.testing.assert_array_equal(proposal.point, MetaInitializer(SkInfinity()).initial_point(operator, **how))


@pytest.mark.parametrize("kind", OUTSIDE)
def test_strict_raises_where_a_formula_would_stand_in(kind: str, corrected: MetaInitializer) -> None:
    operator, how, reason = OUTSIDE[kind]
    with pytest.raises(CoverageError, match=f"does not cover this task: .*{reason}.*Leave strict out"):
        corrected.initial_point(operator, **how, strict=True)


UNSERVED = {
    "not diagonal": (HEISENBERG, {"reps": 2}, "diagonal operators"),
    "another ansatz": (PATH, {"ansatz": efficient_su2(4, reps=1)}, "trained for QAOA, but another ansatz with 16"),
    "another operator's QAOA": (PATH, {"ansatz": qaoa_ansatz(WEIGHTED, 2)}, "trained for QAOA, but another ansatz"),
    "a transpiled QAOA": (
        PATH,
        {"ansatz": transpile(qaoa_ansatz(PATH, 2), basis_gates=["rz", "sx", "cx"], seed_transpiler=0)},
        "trained for QAOA, but another ansatz",
    ),
}


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("kind", UNSERVED)
def test_without_a_formula_there_is_an_error_even_if_not_strict(
    kind: str, strict: bool, corrected: MetaInitializer
) -> None:
    operator, how, reason = UNSERVED[kind]
    with pytest.raises(CoverageError, match=reason) as error:
        corrected.initial_point(operator, **how, strict=strict)
    assert strict or "no formula stands in" in str(error.value)


def test_an_ansatz_of_another_size_is_refused(corrected: MetaInitializer) -> None:
    with pytest.raises(ValueError, match="same number of qubits, but they have 3 and 4"):
        corrected.initial_point(PATH, ansatz=efficient_su2(3, reps=1))
    with pytest.raises(ValueError, match="no parameters"):
        corrected.initial_point(PATH, ansatz=QuantumCircuit(4))


def test_a_recurrent_model_is_refused_an_ansatz_of_another_size() -> None:
    with pytest.warns(CoverageWarning, match="holds 4 parameters, but the task has 6"):
        MetaInitializer(recurrent()).initial_point(PATH, reps=3)
    with pytest.raises(CoverageError, match="holds 4 parameters, but the task has 16"):
        MetaInitializer(recurrent()).initial_point(PATH, ansatz=efficient_su2(4, reps=1))


def test_nothing_is_warned_inside_the_coverage(corrected: MetaInitializer) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        corrected.propose(list(OPERATORS.values()), reps=2)


def test_the_warning_points_at_the_users_line(corrected: MetaInitializer) -> None:
    with pytest.warns(CoverageWarning) as seen:
        corrected.propose([PATH], reps=4)
    assert seen[0].filename == __file__
    with pytest.warns(CoverageWarning) as seen:
        corrected.initial_point(PATH, reps=4)
    assert seen[0].filename == __file__


def test_training_records_what_it_covers() -> None:
    meta = MetaInitializer(SkCorrection(width=4, layers=1))
    assert meta.coverage is None
    schedule = Schedule(instances=20)
    report = meta.train(MaxCut(sizes=[4, 6]), reps=[2, 1, 2], steps=1, batch=2, rng=3, schedule=schedule)
    assert isinstance(report, Report)
    assert len(report.losses) == 1
    assert meta.coverage == Coverage(reps=(1, 2), qubits=(4, 6), family="maxcut", order=2, fields=False)
    assert meta.provenance["seed"] == 3
    assert meta.provenance["steps"] == 1


def test_an_untrained_model_says_so_and_covers_nothing() -> None:
    proposal = MetaInitializer(SkCorrection(width=4, layers=1)).propose([PATH], reps=2)[0]
    assert not proposal.covered
    assert any("train" in note for note in proposal.notes)
    formula = MetaInitializer(SkInfinity()).propose([PATH], reps=2)[0]
    assert (formula.covered, formula.notes) == (True, ())


def test_a_model_of_one_depth_needs_no_reps_to_train_and_others_do() -> None:
    meta = MetaInitializer(recurrent())
    meta.train(MaxCut(sizes=[4]), steps=1, batch=2, rng=0, schedule=Schedule(instances=2))
    assert meta.coverage is not None
    assert meta.coverage.reps == (2,)
    with pytest.raises(ValueError, match="reps is needed"):
        MetaInitializer(SkCorrection()).train(MaxCut(), steps=1, rng=0)


def test_sizes_and_families_beyond_the_training_are_extrapolation(corrected: MetaInitializer) -> None:
    sizes = {4: False, 5: False, 3: True, 6: True, 40: True}
    for size, expected in sizes.items():
        operator = MaxCut.from_edges(list(itertools.pairwise(range(size)))).operator
        proposal = corrected.propose([operator], reps=2)[0]
        assert (proposal.extrapolated, proposal.covered) == (expected, True)
    other = Problem(PATH, "ising", (0, 1, 2, 3))
    own = Problem(PATH, "maxcut", (0, 1, 2, 3))
    assert corrected.propose([PATH], reps=2, problem=other)[0].extrapolated
    assert not corrected.propose([PATH], reps=2, problem=own)[0].extrapolated
    assert not MetaInitializer(SkInfinity()).propose([PATH], reps=2)[0].extrapolated


def test_problems_of_any_part_of_a_mixture_are_no_extrapolation():
    settings = {"maxcut": {"sizes": [4]}, "ising": {"sizes": [4], "fields": "normal"}}
    parts = [{"family": name, "settings": own} for name, own in settings.items()]
    meta = MetaInitializer(SkCorrection(width=4, layers=1))
    meta.train(Mixture(parts=parts), reps=2, steps=1, batch=2, rng=0, schedule=Schedule(instances=8))
    families = MaxCut(**settings["maxcut"]), Ising(**settings["ising"]), Qubo(sizes=[4])
    problems = [family.sample(np.random.default_rng(3)) for family in families]
    found = [meta.propose([each.operator], reps=2, problem=each)[0] for each in problems]
    assert [(proposal.covered, proposal.extrapolated) for proposal in found] == [
        (True, False),
        (True, False),
        (True, True),
    ]


# Queries


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("no circuit and no state is needed for a proposal without queries")

    monkeypatch.setattr(ansatz, "qaoa_ansatz", refuse)
    monkeypatch.setattr(ansatz, "qaoa", refuse)
    monkeypatch.setattr(task, "qaoa", refuse)
    monkeypatch.setattr(Statevector, "expectation", refuse)
    monkeypatch.setattr(SparsePauliOp, "to_matrix", refuse)


def test_a_proposal_without_queries_builds_no_circuit(
    corrected: MetaInitializer, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid(monkeypatch)
    proposal = corrected.propose([PATH, WEIGHTED], reps=2)[0]
    assert (proposal.queries, proposal.shots, proposal.classical_simulation) == (0, 0, False)
    with pytest.warns(CoverageWarning):
        corrected.initial_point(FIELDS, reps=2)


def test_a_proposal_without_queries_serves_127_qubits(
    corrected: MetaInitializer, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    forbid(monkeypatch)
    pairs = {tuple(sorted(rng.choice(127, size=2, replace=False).tolist())) for _ in range(300)}
    operator = SparsePauliOp.from_sparse_list([("ZZ", pair, float(rng.normal())) for pair in pairs], 127)
    for reps in (1, 12):
        point = corrected.initial_point(operator, reps=reps)
        assert point.shape == (2 * reps,)
        assert np.isfinite(point).all()


def test_queries_are_simulated_and_said_to_be_where_there_is_no_engine() -> None:
    first, second = MetaInitializer(recurrent()).propose([PATH, WEIGHTED], reps=2)
    for proposal in (first, second):
        assert (proposal.queries, proposal.shots, proposal.classical_simulation) == (3, 0, True)
        assert proposal.model == "lstm"
        assert proposal.seconds > 0


@pytest.mark.parametrize("where", ["constructor", "call"])
def test_queries_go_to_the_engine_and_are_counted(where: str) -> None:
    engine = Sampling(StatevectorSampler(seed=1), shots=100)
    meta = MetaInitializer(recurrent(), engine if where == "constructor" else None)
    proposals = meta.propose([PATH, WEIGHTED], reps=2, engine=None if where == "constructor" else engine)
    # One job a query for the whole batch; 3 queries of 2 tasks with 100 shots each.
    assert (engine.budget.jobs, engine.budget.circuits, engine.budget.shots) == (3, 6, 600)
    for proposal in proposals:
        assert (proposal.queries, proposal.shots, proposal.classical_simulation) == (3, 300, False)


def test_measured_queries_through_an_estimator_are_counted() -> None:
    # The reference estimator adds Gaussian noise of the precision asked for and takes no shots.
    engine = ParameterShift(StatevectorEstimator(seed=3))
    proposal = MetaInitializer(recurrent(), engine).propose([WEIGHTED], reps=2)[0]
    assert (engine.budget.jobs, engine.budget.circuits) == (3, 3)
    assert (proposal.queries, proposal.classical_simulation) == (3, False)
    exact = MetaInitializer(recurrent()).initial_point(WEIGHTED, reps=2)
    np.testing.assert_allclose(proposal.point, exact, atol=1e-9)


def test_only_what_the_model_serves_is_queried() -> None:
    meta = MetaInitializer(recurrent())
    meta.train(MaxCut(sizes=[4]), steps=1, batch=2, rng=0, schedule=Schedule(instances=2))
    engine = Sampling(StatevectorSampler(seed=1), shots=10)
    with pytest.warns(CoverageWarning, match="linear terms"):
        covered, fallback, other = meta.propose([PATH, FIELDS, WEIGHTED], reps=2, engine=engine)
    assert (covered.shots, fallback.shots, other.shots) == (30, 0, 30)
    assert engine.budget.circuits == 6


def test_shots_make_a_difference_to_what_is_proposed() -> None:
    exact = MetaInitializer(recurrent()).initial_point(WEIGHTED, reps=2)
    noisy = MetaInitializer(recurrent(), Sampling(StatevectorSampler(seed=1), shots=4)).initial_point(WEIGHTED, reps=2)
    assert 1e-4 < np.abs(exact - noisy).max() < 0.5


def test_an_exact_engine_is_said_to_simulate() -> None:
    engine = Statevector()
    proposal = MetaInitializer(recurrent(), engine).propose([PATH], reps=2)[0]
    assert proposal.classical_simulation
    assert engine.budget.circuits == 3


def test_beyond_the_simulated_qubits_queries_need_an_engine() -> None:
    size = SIMULATED_QUBITS + 1
    operator = MaxCut.from_edges(list(itertools.pairwise(range(size)))).operator
    meta = MetaInitializer(recurrent())
    with pytest.warns(CoverageWarning, match=f"simulated up to {SIMULATED_QUBITS} qubits, but {size} came without"):
        proposal = meta.propose([operator], reps=2)[0]
    assert (proposal.model, proposal.queries, proposal.classical_simulation) == ("sk_infinity", 0, False)
    with pytest.raises(CoverageError, match="without an engine"):
        meta.initial_point(operator, reps=2, strict=True)


def test_beyond_the_simulated_qubits_an_engine_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initializer, "SIMULATED_QUBITS", 3)
    engine = Sampling(StatevectorSampler(seed=1), shots=10)
    proposal = MetaInitializer(recurrent(), engine).propose([PATH], reps=2)[0]
    assert (proposal.model, proposal.shots) == ("lstm", 30)


# Properties


def mixed(rng: np.random.Generator) -> list[SparsePauliOp]:
    family = MaxCut(sizes=[4, 5, 6], graphs=["erdos_renyi", "sparse"], weights=["normal", "unit"])
    return [family.sample(rng).operator for _ in range(6)]


@pytest.mark.parametrize("build", [lambda corrected: corrected, lambda _: MetaInitializer(recurrent())])
def test_a_batch_gives_what_its_tasks_give_one_by_one(
    build: Any, corrected: MetaInitializer, rng: np.random.Generator
) -> None:
    meta, operators = build(corrected), mixed(rng)
    for proposal, operator in zip(meta.propose(operators, reps=2), operators, strict=True):
        np.testing.assert_allclose(proposal.point, meta.initial_point(operator, reps=2), atol=1e-12)


def test_a_batch_with_uncovered_tasks_keeps_the_order(corrected: MetaInitializer) -> None:
    operators = [FIELDS, PATH, FIELDS * 2.0, WEIGHTED]
    with pytest.warns(CoverageWarning):
        proposals = corrected.propose(operators, reps=2)
    assert [proposal.covered for proposal in proposals] == [False, True, False, True]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CoverageWarning)
        for proposal, operator in zip(proposals, operators, strict=True):
            np.testing.assert_allclose(proposal.point, corrected.initial_point(operator, reps=2), atol=1e-12)


@pytest.mark.parametrize("build", [lambda corrected: corrected, lambda _: MetaInitializer(recurrent())])
def test_relabelled_qubits_leave_the_point_unchanged(
    build: Any, corrected: MetaInitializer, rng: np.random.Generator
) -> None:
    meta = build(corrected)
    for operator in mixed(rng):
        order = rng.permutation(operator.num_qubits).tolist()
        np.testing.assert_allclose(
            meta.initial_point(operator.apply_layout(order), reps=2), meta.initial_point(operator, reps=2), atol=1e-9
        )


@pytest.mark.parametrize("build", [lambda corrected: corrected, lambda _: MetaInitializer(recurrent())])
@pytest.mark.parametrize("factor", [1e-6, 0.3, 7.0, 1e6])
def test_a_factor_rescales_gamma_and_leaves_beta(
    build: Any, factor: float, corrected: MetaInitializer, rng: np.random.Generator
) -> None:
    meta = build(corrected)
    for operator in mixed(rng)[:3]:
        betas, gammas = np.split(meta.initial_point(operator, reps=2), 2)
        scaled = np.split(meta.initial_point(operator * factor, reps=2), 2)
        np.testing.assert_allclose(scaled[0], betas, atol=1e-9)
        np.testing.assert_allclose(scaled[1] * factor, gammas, atol=1e-9)


@pytest.mark.parametrize("build", [lambda corrected: corrected, lambda _: MetaInitializer(recurrent())])
def test_an_identity_term_changes_nothing(build: Any, corrected: MetaInitializer, rng: np.random.Generator) -> None:
    meta = build(corrected)
    for operator in mixed(rng)[:3]:
        shifted = operator + SparsePauliOp("I" * operator.num_qubits, [-123.0])
        np.testing.assert_allclose(meta.initial_point(shifted, reps=2), meta.initial_point(operator, reps=2), atol=1e-9)


def test_flipped_spins_leave_the_point_unchanged(corrected: MetaInitializer) -> None:
    # X on one qubit turns the signs of its edges: the same landscape.
    flipped = SparsePauliOp(["IIZZ", "IZZI", "ZZII"], [-0.5, 0.5, 0.5])
    np.testing.assert_allclose(
        corrected.initial_point(flipped, reps=2), corrected.initial_point(PATH, reps=2), atol=1e-9
    )


# Shipped


def test_the_shipped_initializer_covers_p_up_to_8_and_asks_nothing(rng: np.random.Generator) -> None:
    meta = MetaInitializer.load("qaoa")
    operator = MaxCut(sizes=[8]).sample(rng).operator
    for reps in range(1, 9):
        proposal = meta.propose([operator], reps=reps)[0]
        assert (proposal.covered, proposal.queries, proposal.model) == (True, 0, "qaoa")
        energy, limits = exact(operator, proposal.point)
        formula = exact(operator, MetaInitializer(SkInfinity()).initial_point(operator, reps=reps))[0]
        assert energy < formula + 0.02 * (limits[1] - limits[0])


def test_the_shipped_recurrent_model_asks_nine_queries_at_p_2() -> None:
    proposal = MetaInitializer.load("lstm").propose([PATH], reps=2)[0]
    assert (proposal.covered, proposal.queries, proposal.model) == (True, 9, "lstm")


def test_a_loaded_initializer_takes_an_engine(tmp_path: Path) -> None:
    MetaInitializer(recurrent()).save(tmp_path)
    engine = Sampling(StatevectorSampler(seed=1), shots=5)
    assert MetaInitializer.load(tmp_path, engine=engine).propose([PATH], reps=2)[0].shots == 15


def test_a_constant_point_has_no_reps_of_its_own() -> None:
    point = MetaInitializer(Constant(point=[0.1, 0.2, -0.3, -0.4])).initial_point(PATH, reps=2)
    np.testing.assert_allclose(point, [0.1, 0.2, -0.3, -0.4])  # rms(2 alpha) = 1 here
