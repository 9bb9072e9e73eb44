"""What PySCF and qiskit-nature know of a molecule: its integrals, and CCSD amplitudes for the parameters of UCCSD."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit.circuits.uccsd import Excitation, excitations, mapped
from qiskit_metainit.pauli_form import pauli_form

if TYPE_CHECKING:
    from qiskit_nature.second_q.mappers import QubitMapper
    from qiskit_nature.second_q.problems import ElectronicStructureProblem

Real = NDArray[np.float64]
Amplitudes = tuple[Real, Real]
"""t1 (o, v) and t2 (o, o, v, v) of spatial orbitals, closed shell."""


@dataclass(frozen=True, eq=False)
class Integrals:
    """The Hamiltonian of N electrons in M spatial orbitals, the first N/2 of which are doubly occupied."""

    one: Real
    """(M, M) h_pq, frozen electrons included, Hartree."""
    two: Real
    """(M, M, M, M) repulsion (pq|rs), chemists' notation."""
    pairs: int
    """N/2."""
    shift: float
    """Energy that the qubit operator leaves out: nuclear repulsion and frozen electrons, Hartree."""

    @classmethod
    def of(cls, problem: ElectronicStructureProblem) -> Integrals:
        """Return a closed-shell molecule's integrals, active space and frozen core as in the problem.

        Raises:
            ValueError: if it has unpaired electrons, or other orbitals for each spin.
        """
        from qiskit_nature.second_q.operators.symmetric_two_body import unfold

        up, down = problem.num_particles or (0, 0)
        integrals = problem.hamiltonian.electronic_integrals
        one = np.asarray(integrals.alpha["+-"].array, dtype=np.float64)
        same = integrals.beta.is_empty() or np.allclose(one, integrals.beta["+-"].array, atol=1e-6)
        if up != down or not same:
            what = f"{up} electrons of spin up and {down} of spin down" if same else "other orbitals for each spin"
            raise ValueError(
                f"A closed shell is needed (restricted Hartree-Fock, all electrons paired), but {what} came. Leave "
                "problem= out: the operator and the ansatz are enough for a start without CCSD amplitudes."
            )
        two = np.asarray(unfold(integrals.alpha["++--"]).array, dtype=np.float64)
        return cls(one, two, int(up), float(sum(problem.hamiltonian.constants.values())))

    @property
    def fock(self) -> Real:
        """(M, M) Fock matrix of the N/2 first orbitals."""
        occupied = np.arange(self.pairs)
        coulomb = self.two[:, :, occupied, occupied].sum(axis=2)
        exchange = self.two[:, occupied, occupied, :].sum(axis=1)
        return np.asarray(self.one + 2.0 * coulomb - exchange)


def hints(problem: ElectronicStructureProblem, ansatz: QuantumCircuit) -> Mapping[str, Any]:
    """Return a molecule's classical amplitudes, one number a parameter of the ansatz.

    Args:
        problem: of qiskit-nature, closed shell; frozen cores and active spaces included.
        ansatz: UCCSD of the problem's orbitals with a Jordan-Wigner, parity (with or without the reduction by two
            qubits) or Bravyi-Kitaev mapping, in any order of the excitations; transpiled or not.

    Returns:
        {"ccsd": angles}, radians; empty if CCSD does not converge or the ansatz has other excitations.

    Raises:
        ValueError: if the molecule has an open shell.
        ImportError: without PySCF.
    """
    integrals = Integrals.of(problem)
    found = _recognised(ansatz, len(integrals.one), (integrals.pairs, integrals.pairs))
    if found is None or (amplitudes := ccsd(integrals)) is None:
        return {}
    return {"ccsd": [sign * angle for sign, angle in zip(found[1], angles(amplitudes, found[0]), strict=True)]}


def ccsd(integrals: Integrals) -> Amplitudes | None:
    """Return the CCSD amplitudes, None if PySCF's iteration does not converge.

    Raises:
        ImportError: without PySCF.
    """
    require_pyscf()
    from pyscf import ao2mo, cc, gto, scf

    count = len(integrals.one)
    molecule = gto.M(verbose=0)
    molecule.nelectron = 2 * integrals.pairs
    molecule.incore_anyway = True
    field = scf.RHF(molecule)
    field.get_hcore = lambda *_: integrals.one
    field.get_ovlp = lambda *_: np.eye(count)
    field._eri = ao2mo.restore(8, integrals.two, count)  # noqa: SLF001  where PySCF takes a model's integrals
    field.mo_coeff = np.eye(count)
    field.mo_occ = np.repeat([2.0, 0.0], [integrals.pairs, count - integrals.pairs])
    field.mo_energy = np.diagonal(integrals.fock)
    field.converged = True
    solver = cc.CCSD(field)
    solver.verbose, solver.max_cycle, solver.conv_tol, solver.conv_tol_normt = 0, 200, 1e-10, 1e-7
    solver.kernel()
    release(field)
    return (np.asarray(solver.t1), np.asarray(solver.t2)) if solver.converged else None


def angles(amplitudes: Amplitudes, excitations: Sequence[Excitation]) -> list[float]:
    """Return the angle of each excitation of spin orbitals, as ``uccsd_ansatz`` takes it, radians.

    A single's is ``-t_i^a``, that of a double of opposite spins ``t_ij^ab``, of equal ones ``t_ij^ab - t_ij^ba``.
    """
    single, double = amplitudes
    pairs, count = len(single), sum(single.shape)
    found = []
    for occupied, virtual in excitations:
        i, a = [p % count for p in occupied], [p % count - pairs for p in virtual]
        if len(i) == 1:
            found.append(-float(single[i[0], a[0]]))
        else:
            exchanged = double[i[0], i[1], a[1], a[0]] if occupied[0] // count == occupied[1] // count else 0.0
            found.append(float(double[i[0], i[1], a[0], a[1]] - exchanged))
    return found


def require_pyscf() -> None:
    """Raise an ImportError that says how to install PySCF, where there is none."""
    try:
        import pyscf  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "Molecules need PySCF, which is not installed. Install it with pip install 'qiskit-metainit[chemistry]'."
        ) from error


def release(field: Any) -> None:
    """Close the temporary file that a PySCF mean field holds open for as long as it lives, which nobody reads here."""
    file = getattr(field, "_chkfile", None)
    if file is not None:
        file.close()


def _recognised(
    ansatz: QuantumCircuit, count: int, particles: tuple[int, int]
) -> tuple[list[Excitation], list[float]] | None:
    """Return each parameter's excitation, and the sign of its angle; None if one is no excitation of these orbitals."""
    known = excitations(count, particles)
    for mapper in _mappers(particles):
        generators = mapped(known, count, mapper)
        qubits = ansatz.num_qubits if ansatz.layout is None else len(ansatz.layout.final_index_layout())
        if generators[0] is None or generators[0].num_qubits != qubits:
            continue
        placed = [_placed(generator, ansatz) for generator in generators if generator is not None]
        form = pauli_form(ansatz, _identity(ansatz))
        if form is None:
            return None
        where = {qubit: place for place, qubit in enumerate(form.qubits)}
        lookup = {}
        for excitation, generator in zip(known, placed, strict=True):
            if (masks := _masks(generator, where)) is not None:
                lookup[frozenset(masks)] = (excitation, masks)
        found = [lookup.get(frozenset((p.x, p.z) for _, p, _ in driven)) for driven in form.driven]
        if all(one is not None for one in found):
            chosen = [one for one in found if one is not None]
            signs = []
            for (_, masks), driven in zip(chosen, form.driven, strict=True):
                # exp(-i slope/2 theta P) against exp(-i theta c P)
                ratios = [slope / (2.0 * masks[pauli.x, pauli.z]) for _, pauli, slope in driven]
                if not np.allclose(ratios, ratios[0]):
                    return None
                signs.append(1.0 / float(ratios[0]))
            return [excitation for excitation, _ in chosen], signs
    return None


def _mappers(particles: tuple[int, int]) -> Iterator[QubitMapper]:
    from qiskit_nature.second_q.mappers import BravyiKitaevMapper, JordanWignerMapper, ParityMapper

    yield from (JordanWignerMapper(), ParityMapper(num_particles=particles), ParityMapper(), BravyiKitaevMapper())


def _placed(generator: SparsePauliOp, ansatz: QuantumCircuit) -> SparsePauliOp:
    return generator if ansatz.layout is None else generator.apply_layout(ansatz.layout)


def _identity(ansatz: QuantumCircuit) -> SparsePauliOp:
    return SparsePauliOp("I" * ansatz.num_qubits)


def _masks(generator: SparsePauliOp, where: Mapping[int, int]) -> dict[tuple[int, int], float] | None:
    """Return the (x, z) masks of a generator's terms with their coefficients; None off the circuit's qubits."""
    found = {}
    for letters, qubits, value in generator.to_sparse_list():
        if any(qubit not in where for qubit in qubits):
            return None
        pairs = [(letter, where[qubit]) for letter, qubit in zip(letters, qubits, strict=True)]
        x = sum(1 << place for letter, place in pairs if letter in "XY")
        z = sum(1 << place for letter, place in pairs if letter in "YZ")
        found[x, z] = float(np.real(value))
    return found
