from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp, Statevector

from qiskit_metainit.circuits.spin_chain import bell_pair_ansatz, block_ansatz, bonds
from qiskit_metainit.descent import descend
from qiskit_metainit.engines.statevector import Statevector as Engine
from qiskit_metainit.ground import ground_energy
from qiskit_metainit.problems.heisenberg import Heisenberg
from qiskit_metainit.task import Task
from qiskit_metainit.testing import check_family

LETTERS = {
    "X": np.array([[0, 1], [1, 0]], dtype=complex),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.diag([1.0 + 0j, -1.0]),
}


def product(size: int, letters: dict[int, str]) -> np.ndarray:
    """A dense product of Paulis, qubit 0 the last factor."""
    whole = np.eye(1)
    for site in reversed(range(size)):
        whole = np.kron(whole, LETTERS[letters[site]] if site in letters else np.eye(2))
    return whole


def dense(size: int, couplings: tuple[float, ...], field: float, periodic: bool) -> np.ndarray:
    """``- sum_i (Jx XX + Jy YY + Jz ZZ) - h sum_i Z``, written out."""
    total = np.zeros((2**size, 2**size), dtype=complex)
    for i in range(size if periodic else size - 1):
        j = (i + 1) % size
        for letter, value in zip("XYZ", couplings, strict=True):
            total -= value * product(size, {i: letter, j: letter})
    for i in range(size):
        total -= field * product(size, {i: "Z"})
    return total


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("field", [0.0, 0.7])
def test_the_hamiltonian_and_its_ground_energy_are_those_of_the_definition(
    periodic: bool, field: float, rng: np.random.Generator
) -> None:
    couplings = tuple(rng.uniform(-3, 3, size=3).tolist())
    problem = Heisenberg.from_couplings(6, couplings, field=field, periodic=periodic)
    expected = dense(6, couplings, field, periodic)
    np.testing.assert_allclose(problem.operator.to_matrix(), expected, atol=1e-12)
    assert problem.levels is not None
    assert problem.levels.lowest == pytest.approx(np.linalg.eigvalsh(expected)[0], abs=1e-9)
    assert problem.levels.excess(0.9 * problem.levels.lowest) == pytest.approx(0.1)
    assert problem.hints == dict(zip(("Jx", "Jy", "Jz"), couplings, strict=True)) | ({"h": field} if field else {})


def test_positive_couplings_are_ferromagnetic() -> None:
    problem = Heisenberg.from_couplings(4, (0, 0, 2.0), field=0.5)
    aligned = Statevector.from_label("0000").expectation_value(problem.operator)
    assert problem.levels is not None
    assert np.real(aligned) == pytest.approx(problem.levels.lowest) == pytest.approx(-3 * 2.0 - 4 * 0.5)


def test_the_family_conforms_and_draws_what_its_settings_say(rng: np.random.Generator) -> None:
    family = Heisenberg(
        sizes=[4, 6],
        couplings=(-1.0, 2.0),
        step=0.5,
        fields=(0.1, 0.2),
        boundary=("open", "periodic"),
        layers=[2, 3],
        extra_layers=[0, 1],
    )
    check_family(family)
    check_family(Heisenberg())
    seen = []
    for _ in range(60):
        problem = family.sample(rng)
        size, field, terms = problem.num_qubits, problem.hints["h"], len(problem.operator)
        couplings = np.array([problem.hints[name] for name in ("Jx", "Jy", "Jz")])
        count = np.count_nonzero(couplings)
        periodic = terms == count * size + size
        assert periodic or terms == count * (size - 1) + size
        assert -1 <= couplings.min() <= couplings.max() <= 2
        np.testing.assert_allclose(couplings, np.round(couplings / 0.5) * 0.5)
        assert count
        assert 0.1 <= field <= 0.2
        assert problem.ansatz is not None
        layers, rest = divmod(problem.ansatz.num_parameters - 2, 7)
        assert not rest
        seen.append((size, periodic, layers))
    assert set(seen) == set(itertools.product((4, 6), (False, True), (2, 3, 4)))


def test_depth_grows_with_size_by_default() -> None:
    depths = [Heisenberg.from_couplings(n, (1, 1, 1), exact=False).ansatz.num_parameters for n in (4, 6, 8, 10, 12)]
    assert depths == [2 + 6 * layers for layers in (3, 4, 5, 6, 7)]


def test_levels_can_be_left_out_where_they_would_take_long() -> None:
    problem = Heisenberg.from_couplings(40, (1.0, -2.0, 0.5), exact=False)
    assert problem.levels is None
    assert problem.num_qubits == 40


@pytest.mark.parametrize(("a", "b"), list(itertools.product((0, 1), repeat=2)))
def test_two_angles_choose_the_bell_state(a: int, b: int) -> None:
    """The table of the docstring, and that layers leave singlets' energy on even bonds alone."""
    circuit = bell_pair_ansatz(4, 1)
    state = Statevector(circuit.assign_parameters([a * np.pi, b * np.pi, 0, 0, 0, 0.3, -1.1, 0.4]))
    signs = {(0, 0): (1, -1, 1), (1, 0): (1, 1, -1), (0, 1): (-1, 1, 1), (1, 1): (-1, -1, -1)}[a, b]
    for pair in ([0, 1], [2, 3]):
        for letter, sign in zip("XYZ", signs, strict=True):
            operator = SparsePauliOp.from_sparse_list([(letter * 2, pair, 1.0)], 4)
            assert state.expectation_value(operator).real == pytest.approx(sign)


@pytest.mark.parametrize("periodic", [False, True])
def test_layers_rotate_odd_bonds_then_even_ones_then_sites(periodic: bool, rng: np.random.Generator) -> None:
    """Against dense exponentials in the stated order."""
    size, point = 4, rng.uniform(-2, 2, size=9)
    circuit = bell_pair_ansatz(size, 1, periodic=periodic, field=True)
    start = Statevector(bell_pair_ansatz(size, 1).assign_parameters([*point[:2], *[0.0] * 6])).data
    odd, even = [(1, 2), *([(3, 0)] if periodic else [])], [(0, 1), (2, 3)]
    state = start
    for angles, pairs in ((point[2:5], odd), (point[5:8], even)):
        for letter, angle in zip("XYZ", angles, strict=True):
            for i, j in pairs:
                pauli = product(size, {i: letter, j: letter})
                state = np.cos(angle / 2) * state - 1j * np.sin(angle / 2) * pauli @ state
    for site in range(size):
        state = np.cos(point[8] / 2) * state - 1j * np.sin(point[8] / 2) * product(size, {site: "Z"}) @ state
    assert abs(np.vdot(state, Statevector(circuit.assign_parameters(point)).data)) == pytest.approx(1)


def test_the_papers_blocks_start_from_zeros_and_turn_each_bond(rng: np.random.Generator) -> None:
    circuit = block_ansatz(3, 2)
    assert circuit.num_parameters == 3 * 2 * 2
    assert block_ansatz(3, 2, periodic=True).num_parameters == 3 * 3 * 2
    shared = block_ansatz(3, 2, shared=True)
    assert shared.num_parameters == 3 * 2
    assert dict(circuit.count_ops()) == dict(shared.count_ops()) == {"rxx": 4, "ryy": 4, "rzz": 4}
    assert Statevector(circuit.assign_parameters(np.zeros(12))).equiv(Statevector.from_label("000"))
    angle = rng.uniform(-1, 1)
    first = [angle, *[0.0] * 11]  # the first turns XX on the first bond
    state = Statevector(circuit.assign_parameters(first)).data
    np.testing.assert_allclose(state[[0, 3]], [np.cos(angle / 2), -1j * np.sin(angle / 2)], atol=1e-12)


def test_bonds_of_a_ring_close_it() -> None:
    assert bonds(4) == [(0, 1), (1, 2), (2, 3)]
    assert bonds(4, periodic=True) == [(0, 1), (1, 2), (2, 3), (3, 0)]


def test_bell_pairs_reach_what_zeros_cannot(rng: np.random.Generator) -> None:
    """Whatever the angles, |0..0> stays of even parity under Z..Z, and the ground state of three singlets is odd."""
    problem = Heisenberg.from_couplings(6, (-1.0, -1.0, -1.0), ansatz="blocks", layers=2)
    assert problem.levels is not None
    even = np.array([state for state in range(64) if state.bit_count() % 2 == 0])
    bound = ground_energy(problem.operator, even)
    assert problem.levels.excess(bound) > 0.05
    points = torch.as_tensor(rng.uniform(-np.pi, np.pi, size=(20, 30)))
    with torch.no_grad():
        energies = Engine().expectation([Task.of(problem)] * 20, points)
    assert energies.min() > bound
    problem = Heisenberg.from_couplings(6, (-1.0, -1.0, -1.0), layers=3)
    start = np.array([np.pi, np.pi, *rng.uniform(0.1, 0.5, size=18)])
    assert problem.levels.excess(descend(Engine(), Task.of(problem), start, step=0.1)[0]) < 1e-3


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: bell_pair_ansatz(7, 2), "even number of sites"),
        (lambda: bell_pair_ansatz(2, 2), "At least 4 sites"),
        (lambda: bell_pair_ansatz(True, 2), "At least 4 sites"),
        (lambda: bell_pair_ansatz(6, 0), "At least one layer"),
        (lambda: block_ansatz(1, 2), "At least 2 sites"),
        (lambda: block_ansatz(2, 2, periodic=True), "At least 3 sites"),
        (lambda: Heisenberg(sizes=[4, 5]), "even number of sites"),
        (lambda: Heisenberg(sizes=[2]), "integers >= 4"),
        (lambda: Heisenberg(couplings=(0.0, 0.0)), "other than zero"),
        (lambda: Heisenberg(couplings=(-0.1, 0.1), step=0.5), "at a step no larger"),
        (lambda: Heisenberg(couplings=(1.0, -1.0)), "smallest and the largest"),
        (lambda: Heisenberg(fields=(0.5,)), "smallest and the largest"),
        (lambda: Heisenberg(boundary=("closed",)), "closed"),
        (lambda: Heisenberg(ansatz="rings"), "rings"),
        (lambda: Heisenberg(sizes=[4], extra_layers=[-3]), "At least one layer"),
        (lambda: Heisenberg.from_couplings(5, (1, 1, 1)), "even number of sites"),
        (lambda: Heisenberg.from_couplings(4, (1, 1)), "Three couplings"),
        (lambda: Heisenberg.from_couplings(4, (0, 0, 0), field=1.0), "not all zero"),
        (lambda: Heisenberg.from_couplings(4, (1, float("nan"), 1)), "finite"),
        (lambda: Heisenberg.from_couplings(4, (1, 1, 1), ansatz="rings"), "rings"),
        (lambda: Heisenberg.from_couplings(1000, (1, 1, 1)), "even|memory|bytes"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_built(build: Any, message: str) -> None:
    with pytest.raises((ValueError, MemoryError), match=message):
        build()


def test_odd_chains_have_the_papers_ansatz() -> None:
    problem = Heisenberg.from_couplings(5, (1.0, -1.0, 0.5), ansatz="blocks", layers=2)
    assert isinstance(problem.ansatz, QuantumCircuit)
    assert problem.ansatz.num_parameters == 3 * 4 * 2
    assert Heisenberg(sizes=[5], ansatz="blocks").sample(np.random.default_rng(1)).num_qubits == 5
