"""QUBO: the objective of a matrix or a program, and the random family."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit_optimization import QuadraticProgram
from qiskit_optimization.converters import QuadraticProgramToQubo
from scipy import sparse

from qiskit_metainit.problem import Family, Problem, diagonal_values, offset
from qiskit_metainit.problems.qubo import Qubo

numbers = st.floats(-10, 10).map(lambda x: round(x, 3))


def bitstrings(count: int) -> list[str]:
    return ["".join(bits) for bits in itertools.product("01", repeat=count)]


def assert_is(problem: Problem, objective: Any) -> None:
    """The value of every bitstring, and of its energy, is the objective of its bits; the best is the ground state's."""
    energies = diagonal_values(problem.operator)
    values = []
    for bitstring in bitstrings(problem.num_qubits):
        values.append(objective(problem.decode(bitstring)))
        assert problem.value(bitstring) == pytest.approx(values[-1], abs=1e-9)
        assert problem.value(energies[int(bitstring, 2)]) == pytest.approx(values[-1], abs=1e-9)
    best = max(values) if problem.maximise else min(values)
    assert problem.value(energies.min()) == pytest.approx(best, abs=1e-9)


def entry_by_entry(matrix: Any, constant: float = 0.0) -> Any:
    """The definition, for bits by the numbers of their rows."""
    rows = range(len(matrix))
    return lambda bits: constant + sum(matrix[i][j] * bits[i] * bits[j] for i in rows for j in rows)


# a matrix


@given(
    st.integers(1, 5).flatmap(lambda n: st.lists(st.lists(numbers, min_size=n, max_size=n), min_size=n, max_size=n)),
    numbers,
    st.booleans(),
)
@settings(deadline=None)
def test_every_bitstring_of_any_square_matrix(matrix: list[list[float]], constant: float, maximise: bool) -> None:
    matrix[0][0] += 1000.0  # so that nothing can cancel all of it
    problem = Qubo.from_matrix(matrix, constant, maximise=maximise)
    assert (problem.family, problem.maximise) == ("qubo", maximise)
    assert problem.nodes == tuple(range(len(matrix)))
    assert_is(problem, entry_by_entry(matrix, constant))


def test_symmetric_triangular_and_sparse_forms_are_the_same(rng: np.random.Generator) -> None:
    symmetric = rng.normal(size=(5, 5))
    symmetric += symmetric.T
    upper = np.triu(symmetric, 1) * 2 + np.diag(np.diag(symmetric))
    forms = [symmetric, upper, upper.T, sparse.csr_array(upper), symmetric.tolist()]
    forms += [{(i, j): upper[i, j] for i in range(5) for j in range(i, 5)}]
    energies = [diagonal_values(Qubo.from_matrix(form).operator) for form in forms]
    for other in energies[1:]:
        assert other == pytest.approx(energies[0])


def test_entries_by_labels() -> None:
    entries = {("b", "a"): -4.0, ("a", "a"): 1.5, ("a", "b"): 1.0, ("c", "c"): 0.5}
    problem = Qubo.from_matrix(entries, offset=-2.0)
    assert problem.nodes == ("b", "a", "c")
    assert_is(problem, lambda x: -2.0 + 1.5 * x["a"] + 0.5 * x["c"] - 3.0 * x["a"] * x["b"])


def test_nodes_name_rows_or_order_labels() -> None:
    assert Qubo.from_matrix([[1, 2], [0, 3]], nodes=["p", "q"]).decode("01") == {"p": 1, "q": 0}
    problem = Qubo.from_matrix({("b", "a"): 1.0}, nodes=["a", "b", "idle"])
    assert problem.nodes == ("a", "b", "idle")
    assert problem.value("111") == pytest.approx(1.0)


def test_the_constant_is_a_term_in_the_users_sense() -> None:
    for maximise in (False, True):
        problem = Qubo.from_matrix([[2.0]], offset=-1.0, maximise=maximise)
        assert [problem.value("0"), problem.value("1")] == [-1.0, 1.0]
        assert offset(problem.operator) == 0.0
        assert "I" in problem.operator.paulis.to_labels()


@pytest.mark.parametrize(
    ("matrix", "keywords", "kind", "told"),
    [
        ([[1.0, 2.0]], {}, ValueError, r"square matrix.*shape \(1, 2\)"),
        ([1.0, 2.0], {}, ValueError, r"square matrix.*shape \(2,\)"),
        ([["a"]], {}, TypeError, "real numbers"),
        ([[1j]], {}, TypeError, "real numbers"),
        ([[1.0, np.nan], [0.0, 1.0]], {}, ValueError, r"entry \(0, 1\) must be finite"),
        ([[0.0, 1.0], [-1.0, 0.0]], {}, ValueError, "2 variables is constant"),
        ([[0.0]], {"offset": 3.0}, ValueError, "constant"),
        ([], {}, ValueError, "square"),
        ({}, {}, ValueError, "constant"),
        ([[1.0]], {"offset": "3"}, TypeError, "offset must be a real number"),
        ([[1.0]], {"offset": np.inf}, ValueError, "offset must be finite"),
        ([[1.0]], {"nodes": ["a", "b"]}, ValueError, "1 different labels"),
        ([[1.0, 0.0], [0.0, 1.0]], {"nodes": ["a", "a"]}, ValueError, "2 different labels"),
        ({("a", "b"): 1.0}, {"nodes": ["a"]}, ValueError, "every variable once"),
        ({("a", "b"): 1.0}, {"nodes": ["a", "b", "a"]}, ValueError, "every variable once"),
        ({("a",): 1.0}, {}, TypeError, r"\{\(i, j\): Q_ij\}"),
        ({"ab": 1.0}, {}, TypeError, "pairs of labels"),
        ({("a", "b"): "1"}, {}, TypeError, r"entry \('a', 'b'\) must be a real number"),
        ({("a", "b"): np.inf}, {}, ValueError, r"entry \('a', 'b'\) must be finite"),
    ],
)
def test_bad_matrices_are_refused(matrix: Any, keywords: Any, kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        Qubo.from_matrix(matrix, **keywords)


# a program


def free_program(rng: np.random.Generator, sense: str) -> QuadraticProgram:
    program = QuadraticProgram()
    names = ["tea", "milk", "sugar", "rum"]
    for name in names:
        program.binary_var(name)
    keywords = {
        "constant": 3.25,
        "linear": dict(zip(names, rng.normal(size=4), strict=True)),
        "quadratic": {pair: rng.normal() for pair in itertools.combinations_with_replacement(names, 2)},
    }
    getattr(program, sense)(**keywords)
    return program


@pytest.mark.parametrize("sense", ["minimize", "maximize"])
def test_a_programs_own_evaluation_is_the_value(sense: str, rng: np.random.Generator) -> None:
    program = free_program(rng, sense)
    problem = Qubo.from_program(program)
    assert problem.nodes == ("tea", "milk", "sugar", "rum")
    assert problem.maximise == (sense == "maximize")
    assert_is(problem, lambda bits: program.objective.evaluate([bits[name] for name in problem.nodes]))


@pytest.mark.parametrize("sense", ["minimize", "maximize"])
def test_constraints_become_penalties_and_slack(sense: str) -> None:
    program = QuadraticProgram()
    for name in "abc":
        program.binary_var(name)
    program.integer_var(0, 3, "n")
    getattr(program, sense)(constant=1.0, linear={"a": 2.0, "c": -1.0, "n": 0.5}, quadratic={("a", "b"): -3.0})
    program.linear_constraint({"a": 1, "b": 1, "c": 1, "n": 1}, "<=", 3, "room")
    program.linear_constraint({"a": 1, "n": -1}, "==", 0, "tied")
    problem = Qubo.from_program(program, penalty=20.0)
    assert problem.nodes[:5] == ("a", "b", "c", "n@0", "n@1")
    assert len(problem.nodes) > 5  # slack
    converter = QuadraticProgramToQubo(penalty=20.0)
    converted = converter.convert(program)
    sign = -1.0 if sense == "maximize" else 1.0  # the converted program is minimised
    assert_is(problem, lambda bits: sign * converted.objective.evaluate(list(bits.values())))
    # Best value: that of the best feasible point, by brute force over the program itself.
    points = [[*x, n] for x in itertools.product((0, 1), repeat=3) for n in range(4)]
    feasible = [program.objective.evaluate(point) for point in points if program.is_feasible(point)]
    best = (max if sense == "maximize" else min)(feasible)
    energies = diagonal_values(problem.operator)
    assert problem.value(float(energies.min())) == pytest.approx(best)
    found = problem.decode(format(int(energies.argmin()), f"0{problem.num_qubits}b"))
    assert program.is_feasible(converter.interpret(list(found.values())))


def test_a_constraint_that_is_known_as_a_penalty_needs_no_slack() -> None:
    program = QuadraticProgram()
    for name in "ab":
        program.binary_var(name)
    program.maximize(linear={"a": 1.0, "b": 2.0})
    program.linear_constraint({"a": 1, "b": 1}, "<=", 1)
    problem = Qubo.from_program(program)
    assert problem.nodes == ("a", "b")
    assert [problem.value(bits) for bits in ("00", "01", "10")] == pytest.approx([0.0, 1.0, 2.0])
    assert problem.value("11") < 2.0


def test_programs_that_are_no_qubo() -> None:
    program = QuadraticProgram()
    program.continuous_var(name="x")
    program.minimize(linear={"x": 1.0})
    with pytest.raises(ValueError, match=r"is or becomes a QUBO.*Continuous variables"):
        Qubo.from_program(program)
    constant = QuadraticProgram()
    constant.binary_var("x")
    constant.minimize(constant=3.0)
    for empty in (constant, QuadraticProgram()):
        with pytest.raises(ValueError, match=r"depends on its variables.*constant"):
            Qubo.from_program(empty)
    with pytest.raises(TypeError, match=r"QuadraticProgram of qiskit-optimization is needed, but a list came.*docplex"):
        Qubo.from_program([[1.0]])


def test_qiskit_optimization_is_needed_for_programs_only() -> None:
    code = (
        "import sys; sys.modules['qiskit_optimization'] = None\n"
        "from qiskit_metainit.problems.qubo import Qubo\n"
        "Qubo.from_matrix([[1.0]])\n"
        "try: Qubo.from_program(None)\n"
        "except ImportError as error: print(error)"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "pip install qiskit-optimization" in told
    assert "qiskit-metainit[optimization]" in told


# the family


def drawn_matrices(count: int, seed: int = 4, **keywords: Any) -> list[np.ndarray]:
    family, rng = Qubo(**keywords), np.random.default_rng(seed)
    matrices = []
    for _ in range(count):
        problem = family.sample(rng)
        size, empty = problem.num_qubits, problem.value("0" * problem.num_qubits)
        assert empty == pytest.approx(0.0, abs=1e-9)
        matrix = np.zeros((size, size))
        ones = ["".join("1" if i in chosen else "0" for i in reversed(range(size))) for chosen in _chosen(size)]
        values = {chosen: problem.value(bits) for chosen, bits in zip(_chosen(size), ones, strict=True)}
        for (i, j), value in values.items():
            matrix[i, j] = value if i == j else (value - values[i, i] - values[j, j]) / 2
        matrices.append(matrix + np.triu(matrix, 1).T)
    return matrices


def _chosen(size: int) -> list[tuple[int, int]]:
    return list(itertools.combinations_with_replacement(range(size), 2))


def test_samples_are_problems_of_this_family() -> None:
    family = Qubo()
    assert isinstance(family, Family)
    problem = family.sample(np.random.default_rng(0))
    assert (problem.family, problem.maximise) == ("qubo", False)
    assert problem.nodes == tuple(range(problem.num_qubits))


def test_normal_entries_and_their_density() -> None:
    matrices = drawn_matrices(300, sizes=[7], densities=[0.3])
    above = np.array([matrix[np.triu_indices(7, 1)] for matrix in matrices])
    diagonal = np.array([np.diag(matrix) for matrix in matrices])
    present = np.abs(above) > 1e-9
    assert present.mean() == pytest.approx(0.3, abs=0.025)
    assert present.any(axis=1).all()
    for entries in (above[present], diagonal.ravel()):
        assert abs(entries.mean()) < 4 / np.sqrt(entries.size)
        assert entries.var() == pytest.approx(1.0, abs=0.13)
        assert np.mean(entries**4) == pytest.approx(3.0, abs=0.9)


def test_integer_entries() -> None:
    matrices = drawn_matrices(150, sizes=[6], densities=[1.0], values=["integers"])
    entries = np.array(matrices)
    assert entries == pytest.approx(entries.round())
    assert (np.abs(entries).round() >= 1).all()
    assert [entries.min(), entries.max()] == pytest.approx([-100, 100], abs=1.5)
    assert entries.var() == pytest.approx(100**2 / 3, rel=0.06)


def test_sizes_densities_and_values_are_drawn_uniformly() -> None:
    matrices = drawn_matrices(600, sizes=[4, 6], densities=[0.4, 1.0], values=["normal", "integers"])
    assert abs(sum(len(matrix) == 4 for matrix in matrices) - 300) < 50
    large = [matrix for matrix in matrices if len(matrix) == 6]
    full = [(np.abs(matrix) > 1e-9).all() for matrix in large]
    assert abs(np.mean(full) - 0.5) < 0.12
    whole = [bool(np.allclose(matrix, matrix.round(), atol=1e-6)) for matrix in large]
    assert abs(np.mean(whole) - 0.5) < 0.12


@pytest.mark.parametrize("keywords", [{}, {"sizes": np.arange(2, 4), "densities": [1], "values": ["integers"]}])
def test_settings_rebuild_the_family(keywords: Any) -> None:
    family = Qubo(**keywords)
    copy = Qubo(**json.loads(json.dumps(family.settings)))
    assert copy == family
    assert hash(copy) == hash(family)


@pytest.mark.parametrize(
    ("keywords", "kind", "told"),
    [
        ({"sizes": [1]}, ValueError, "sizes must be a sequence of integers >= 2"),
        ({"sizes": 6}, ValueError, "sizes must be"),
        ({"densities": 0.5}, TypeError, "densities must be a sequence"),
        ({"densities": []}, ValueError, "at least one entry"),
        ({"densities": [0.0]}, ValueError, r"densities must be a number in \(0, 1\]"),
        ({"densities": [0.5, 1.5]}, ValueError, r"in \(0, 1\]"),
        ({"densities": [1e-9]}, ValueError, "less than one edge in a hundred"),
        ({"values": ["gauss"]}, ValueError, "values must be one of normal, integers"),
        ({"values": "normal"}, TypeError, "Put it into a list"),
    ],
)
def test_bad_settings_are_refused(keywords: Any, kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        Qubo(**keywords)
