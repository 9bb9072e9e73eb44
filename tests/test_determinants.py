from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp, Statevector

from qiskit_metainit.chemistry import Integrals, angles, ccsd, release
from qiskit_metainit.circuits.uccsd import excitations
from qiskit_metainit.coupled_cluster import (
    amplitudes_of,
    configuration_interaction,
    epstein_nesbet,
    perturbative,
    updated,
)
from qiskit_metainit.coupled_cluster import ccsd as solved
from qiskit_metainit.determinants import Determinants, determinants, refusal
from qiskit_metainit.orbital_energies import orbital_gaps
from qiskit_metainit.problems._electrons import MAPPINGS, ansatz, qubit_operator
from qiskit_metainit.problems.molecule import Molecule, _atoms, _integrals
from qiskit_metainit.task import Task

pytest.importorskip("pyscf")
LIH = "Li 0 0 0; H 0 0 1.7"
H4 = "H 0 0 0; H 0 0.1 0.9; H 0 0 1.9; H 0.2 0.1 2.7"
H3 = "H 0 0 0; H 0 0 0.9; H 0 0.8 0.3"


def integrals(geometry: str, charge: int = 0) -> Integrals:
    return _integrals(_atoms(geometry), charge, None)


def task_of(known: Integrals, mapping: str = "jordan_wigner") -> Task:
    return Task.from_circuit(ansatz(len(known.one), known.pairs, mapping), qubit_operator(known, mapping))


def of(known: Integrals, mapping: str = "jordan_wigner") -> Determinants:
    return determinants(task_of(known, mapping).features)


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_small_angles_are_amplitudes_of_their_determinants(mapping: str) -> None:
    known = integrals(H3, 1)
    circuit, found = ansatz(len(known.one), known.pairs, mapping), of(known, mapping)
    dense = qubit_operator(known, mapping).to_matrix()
    for k in range(circuit.num_parameters):
        point = np.zeros(circuit.num_parameters)
        point[k] = 1e-4
        state = Statevector(circuit.assign_parameters(point).decompose(reps=2)).data
        place = int(found.states[found.places[k]])
        phase = state[int(found.states[0])] / abs(state[int(found.states[0])])
        amplitude = found.signs[k] * (state[place] / phase).real
        assert amplitude == pytest.approx(1e-4 * found.scales[k], rel=1e-6)
        element = found.signs[k] * dense[place, int(found.states[0])].real
        assert found.couplings[k] == pytest.approx(element, abs=1e-10)


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_elements_are_those_of_the_dense_matrix(mapping: str) -> None:
    known = integrals(LIH)
    found = of(known, mapping)
    dense = qubit_operator(known, mapping).to_matrix().real
    own = found.states[found.places]
    expected = found.signs[:, None] * dense[np.ix_(own, own)] * found.signs
    energy = dense[int(found.states[0]), int(found.states[0])]
    assert found.energy == pytest.approx(energy)
    np.testing.assert_allclose(found.matrix, expected - energy * np.eye(len(own)), atol=1e-10)


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_singles_and_ranks_are_recognised_without_orbitals(mapping: str) -> None:
    known = integrals(H4)
    found = of(known, mapping)
    expected = [len(occupied) == 1 for occupied, _ in excitations(4, (2, 2))]
    assert found.single.tolist() == expected
    assert np.bincount(found.ranks).tolist() == [1, 8, 18, 8, 1]  # of four electrons in eight spin orbitals, S_z = 0


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize(("geometry", "charge"), [(H4, 0), (LIH, 0), (H3, 1)])
def test_ccsd_of_the_operator_alone_is_that_of_pyscf(mapping: str, geometry: str, charge: int) -> None:
    known = integrals(geometry, charge)
    found = of(known, mapping)
    own, theirs = solved(found), ccsd(known)
    assert own is not None
    assert theirs is not None
    expected = angles(theirs, excitations(len(known.one), (known.pairs, known.pairs)))
    np.testing.assert_allclose(own / found.scales, expected, atol=2e-6)


@pytest.mark.parametrize("mapping", ["jordan_wigner", "bravyi_kitaev"])
@pytest.mark.parametrize(("geometry", "charge"), [(H4, 0), (LIH, 0), (H3, 1)])
def test_mp2_and_one_iteration_are_those_of_pyscf(mapping: str, geometry: str, charge: int) -> None:
    from pyscf import cc, gto, scf

    known = integrals(geometry, charge)
    found = of(known, mapping)
    gaps = orbital_gaps(found)
    assert gaps is not None
    field = scf.RHF(gto.M(atom=geometry, basis="sto-3g", charge=charge, verbose=0))
    field.conv_tol = 1e-12
    field.kernel()
    solver = cc.CCSD(field, frozen=1 if geometry == LIH else 0)
    eris = solver.ao2mo()
    _, first, second = solver.init_amps(eris)
    zero = np.zeros_like(first)
    once = solver.update_amps(zero, second, eris)
    listed = excitations(len(known.one), (known.pairs, known.pairs))
    release(field)
    start = perturbative(found, gaps)
    # PySCF's orbitals may differ from the driver's by signs, which leave the sizes.
    for ours, theirs in ((start, (zero, second)), (updated(found, start, gaps), once)):
        np.testing.assert_allclose(np.abs(ours), np.abs(angles(theirs, listed)), atol=1e-5)


def test_orbital_energies_are_the_fock_matrix_and_not_told_by_reduced_mappings() -> None:
    known = integrals(LIH)
    energies = np.diagonal(known.fock)
    expected = [
        sum(energies[a % 5] for a in virtual) - sum(energies[i % 5] for i in occupied)
        for occupied, virtual in excitations(5, (1, 1))
    ]
    np.testing.assert_allclose(orbital_gaps(of(known)), expected, atol=1e-9)
    assert orbital_gaps(of(known, "parity")) is None


def test_epstein_nesbet_is_exact_for_two_electrons_in_two_orbitals() -> None:
    problem = Molecule.from_geometry("H 0 0 0; H 0 0 1.3")
    task = Task.of(problem)
    found = determinants(task.features)
    state = Statevector(task.circuit.assign_parameters(epstein_nesbet(found) / found.scales).decompose(reps=2))
    lowest = np.linalg.eigvalsh(problem.operator.to_matrix())[0]
    assert state.expectation_value(problem.operator).real == pytest.approx(lowest, abs=1e-9)


def test_configuration_interaction_is_the_lowest_state_of_its_determinants() -> None:
    found = of(integrals(LIH))
    theta = configuration_interaction(found)
    size = float(np.linalg.norm(theta))
    vector = np.concatenate([[np.cos(size)], np.sin(size) * theta / size])
    matrix = np.block([[np.zeros((1, 1)), found.couplings[None]], [found.couplings[:, None], found.matrix]])
    assert vector @ matrix @ vector == pytest.approx(np.linalg.eigvalsh(matrix)[0], abs=1e-10)


def test_signs_of_orbitals_turn_the_amplitudes_along(rng: np.random.Generator) -> None:
    known = integrals(H4)
    signs = rng.choice([-1.0, 1.0], size=4)
    turned = Integrals(
        known.one * np.outer(signs, signs),
        known.two * np.einsum("p,q,r,s->pqrs", signs, signs, signs, signs),
        known.pairs,
        known.shift,
    )
    expected = np.array(
        [np.prod(signs[np.array([*occupied, *virtual]) % 4]) for occupied, virtual in excitations(4, (2, 2))]
    )
    before, after = (amplitudes_of(task_of(each).features) for each in (known, turned))
    np.testing.assert_allclose(after.start, expected * before.start, atol=1e-6)
    for name, vector in before.bases.items():
        np.testing.assert_allclose(after.bases[name], expected * vector, atol=1e-5, err_msg=name)


def test_other_units_and_a_transpiled_circuit_give_the_same_angles() -> None:
    known = integrals(H3, 1)
    operator, circuit = qubit_operator(known, "jordan_wigner"), ansatz(3, 1, "jordan_wigner")
    expected = amplitudes_of(Task.from_circuit(circuit, operator).features).start
    compiled = transpile(circuit, basis_gates=["rz", "sx", "x", "cx"], optimization_level=1, seed_transpiler=1)
    for other, factor in ((compiled, 1.0), (circuit, 27.2)):
        found = amplitudes_of(Task.from_circuit(other, factor * operator).features)
        np.testing.assert_allclose(found.start / found.known.scales, expected, atol=1e-6)


def test_the_order_and_the_scale_of_parameters_are_those_of_the_circuit() -> None:
    known = integrals(H4)
    circuit = ansatz(4, 2, "jordan_wigner")
    count = circuit.num_parameters
    order = np.random.default_rng(1).permutation(count)
    new = ParameterVector("a", count)
    other = circuit.assign_parameters([-2.0 * new[int(place)] for place in order])
    operator = qubit_operator(known, "jordan_wigner")
    one, two = (amplitudes_of(Task.from_circuit(each, operator).features) for each in (circuit, other))
    np.testing.assert_allclose(-2.0 * (two.start / two.known.scales)[order], one.start, atol=1e-6)


def _twice(circuit: QuantumCircuit, theta: Any) -> None:
    circuit.rx(theta[0], 0)
    circuit.rx(theta[0], 1)


def _hadamard(circuit: QuantumCircuit, theta: Any) -> None:
    circuit.h(0)
    circuit.ryy(theta[0], 0, 1)


def _many(circuit: QuantumCircuit, theta: Any) -> None:
    circuit.ry(theta[0] + theta[1], 0)


def _diagonal(circuit: QuantumCircuit, theta: Any) -> None:
    circuit.rzz(theta[0], 0, 1)


def _again(circuit: QuantumCircuit, theta: Any) -> None:
    circuit.ry(theta[0], 0)
    circuit.ry(theta[1], 0)


@pytest.mark.parametrize(
    ("build", "what"),
    [
        (_twice, "more than one excitation"),
        (_hadamard, "basis state"),
        (_many, "parameter of its own"),
        (_diagonal, "more than one excitation, or none"),
        (_again, "comes twice"),
    ],
)
def test_other_circuits_are_refused(build: Any, what: str) -> None:
    circuit = QuantumCircuit(2)
    build(circuit, ParameterVector("t", 2))
    task = Task.from_circuit(circuit, SparsePauliOp(["XX", "ZI", "IY"]))
    reason = refusal("It", task.features)
    assert reason is not None
    assert what in reason
    with pytest.raises(ValueError, match=what):
        determinants(task.features)


def test_qaoa_is_refused() -> None:
    assert "QAOA" in str(refusal("It", Task.qaoa(SparsePauliOp("ZZ"), reps=1).features))


def test_a_hint_of_the_wrong_size_is_refused() -> None:
    known = integrals(H3, 1)
    task = Task.from_circuit(ansatz(3, 1, "jordan_wigner"), qubit_operator(known, "jordan_wigner"), hints={"ccsd": [1]})
    with pytest.raises(ValueError, match="8 finite angles"):
        amplitudes_of(task.features)


def test_products_are_those_of_the_rotations() -> None:
    found = of(integrals(H3, 1))
    pairs = {(j, k): (left, sign) for left, j, k, sign in zip(*(p.tolist() for p in found.products), strict=True)}
    singles = np.flatnonzero(found.single).tolist()
    for j, k in permutations(singles, 2):
        assert ((j, k) in pairs) == ((j < 2) != (k < 2))  # one electron of each spin: only pairs of opposite ones
        if (j, k) in pairs:
            assert pairs[j, k] == pairs[k, j]
