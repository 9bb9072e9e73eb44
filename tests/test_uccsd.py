from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit_nature.second_q.mappers import BravyiKitaevMapper, JordanWignerMapper, ParityMapper

from qiskit_metainit.circuits.uccsd import excitations, hartree_fock, uccsd_ansatz


def of_nature(count: int, particles: tuple[int, int], mapper: Any) -> Any:
    """Return qiskit-nature's own circuit, whose classes are deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from qiskit_nature.second_q.circuit.library import UCCSD, HartreeFock

        circuit = UCCSD(count, particles, mapper, initial_state=HartreeFock(count, particles, mapper))
        circuit.assign_parameters(np.zeros(circuit.num_parameters))  # builds it
        return circuit


def operator_on(size: int, rng: np.random.Generator) -> SparsePauliOp:
    labels = ["".join(rng.choice(list("IXYZ"), size=size)) for _ in range(40)]
    return SparsePauliOp(labels, rng.normal(size=len(labels)))


def energy(circuit: QuantumCircuit, point: np.ndarray, operator: SparsePauliOp) -> float:
    gates = circuit.assign_parameters(point).decompose(reps=3)  # an evolution's own matrix is as large as the state's
    return float(Statevector(gates).expectation_value(operator).real)


@pytest.mark.parametrize("mapper", ["jordan_wigner", "parity", "reduced", "bravyi_kitaev"])
@pytest.mark.parametrize(("count", "particles"), [(2, (1, 1)), (3, (1, 1)), (4, (2, 2)), (3, (2, 1))])
def test_it_is_the_circuit_of_qiskit_nature(
    mapper: str, count: int, particles: tuple[int, int], rng: np.random.Generator
) -> None:
    chosen = {
        "jordan_wigner": JordanWignerMapper(),
        "parity": ParityMapper(),
        "reduced": ParityMapper(num_particles=particles),
        "bravyi_kitaev": BravyiKitaevMapper(),
    }[mapper]
    ours, theirs = uccsd_ansatz(count, particles, chosen), of_nature(count, particles, chosen)
    assert ours.num_parameters == theirs.num_parameters
    operator = operator_on(ours.num_qubits, rng)
    for _ in range(2):
        # With 26 parameters, those beyond the tenth tell a lexical order from the right one.
        point = rng.uniform(-1, 1, size=ours.num_parameters)
        assert energy(ours, point, operator) == pytest.approx(energy(theirs, point, operator), abs=1e-9)


def test_the_excitations_are_those_of_qiskit_nature() -> None:
    theirs = of_nature(4, (2, 1), JordanWignerMapper())
    assert list(excitations(4, (2, 1))) == theirs.excitation_list


def test_all_angles_zero_are_hartree_fock() -> None:
    circuit = uccsd_ansatz(3, (2, 1), JordanWignerMapper())
    state = Statevector(circuit.assign_parameters(np.zeros(circuit.num_parameters)).decompose(reps=3))
    assert hartree_fock(3, (2, 1), JordanWignerMapper()) == [0, 1, 3]
    assert abs(state[0b001011]) == pytest.approx(1.0)


def test_symmetries_that_are_tapered_off_leave_their_excitations_out() -> None:
    from qiskit.quantum_info.analysis import Z2Symmetries
    from qiskit_nature.second_q.mappers import TaperedQubitMapper

    # H2 has three of them: one qubit and the double excitation are left.
    symmetries = Z2Symmetries.find_z2_symmetries(SparsePauliOp(["IIIZ", "IIZZ", "IZIZ", "ZIIZ", "XXYY", "YYXX"]))
    sectors = len(symmetries.symmetries)
    symmetries.tapering_values = [-1] * sectors
    mapper = TaperedQubitMapper(JordanWignerMapper(), symmetries)
    circuit = uccsd_ansatz(2, (1, 1), mapper)
    assert circuit.num_qubits == 4 - sectors
    assert circuit.num_parameters == 1


@pytest.mark.parametrize(("particles", "what"), [((2, 2), "leave none"), ((3, 1), "0 to 2 electrons")])
def test_electrons_that_do_not_fit_are_refused(particles: tuple[int, int], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        uccsd_ansatz(2, particles, JordanWignerMapper())
