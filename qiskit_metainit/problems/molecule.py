"""Molecules in random geometries: electrons as qubits, and UCCSD as their ansatz."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from scipy.optimize import minimize

from qiskit_metainit.chemistry import Integrals, angles, ccsd, release, require_pyscf
from qiskit_metainit.circuits.uccsd import excitations
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.problem import Levels, Problem
from qiskit_metainit.problems._electrons import MAPPINGS, ansatz, qubit_operator
from qiskit_metainit.problems._geometries import SHAPES, draw
from qiskit_metainit.problems._settings import choices, numbers
from qiskit_metainit.task import Task

if TYPE_CHECKING:
    from qiskit_nature.second_q.problems import ElectronicStructureProblem

_ACCURACY = 1.6e-3  # Hartree: chemical accuracy, 1 kcal/mol
_UNCONVERGED = 1e-3  # Hartree, of the Fock matrix between occupied and virtual orbitals
_Atoms = tuple[tuple[str, float, float, float], ...]


@dataclass(frozen=True, kw_only=True)
class Molecule:
    """The electronic ground state of a molecule, by UCCSD in the basis STO-3G.

    An instance draws one of the families of geometries (all bonds and angles of H2, H3+, H4, H6, LiH, BeH2, H2O, NH3
    and N2 vary, in chains, rings and ladders for H4 and H6); core electrons are frozen, and N2 keeps six electrons in
    six orbitals. PySCF computes orbitals and CCSD amplitudes through qiskit-nature, whose qubit operator it is: nuclear
    repulsion and frozen electrons are left out, their energy is the hint ``shift``. Other hints: ``molecule``, the
    distances ``r01``, .. in Angstrom, and ``ccsd``, the amplitudes as angles, if CCSD converges.

    The constructors ``from_geometry`` and ``from_problem`` give the problem of one molecule.

    >>> problem = Molecule(molecules=["H2"]).sample(np.random.default_rng(7))
    >>> problem.num_qubits, problem.ansatz.num_parameters, len(problem.hints["ccsd"])
    (4, 3, 3)
    """

    molecules: Sequence[str] = ("H2", "H3+", "H4", "LiH")
    """Families of geometries, drawn uniformly."""
    stretch: Sequence[float] = (0.8, 1.8)
    """Smallest and largest length of a bond relative to equilibrium, drawn uniformly for each bond."""
    mapping: Literal["jordan_wigner", "parity", "bravyi_kitaev"] = "jordan_wigner"
    """From fermions to qubits; parity takes two qubits away."""
    reference: Literal["ansatz", "none"] = "ansatz"
    """What energies are measured against: the lowest energy of the ansatz that a search from the CCSD amplitudes finds,
    or nothing (a search takes up to seconds for 14 qubits)."""

    def __post_init__(self) -> None:
        molecules = choices(self.molecules, "molecules", tuple(SHAPES))
        stretch = numbers(self.stretch, "stretch", "(0.8, 1.8)")
        if len(stretch) != 2 or not 0.5 <= stretch[0] <= stretch[1] <= 4:
            raise ValueError(
                "stretch must be the smallest and the largest length of a bond relative to equilibrium, between 0.5 "
                f"and 4, such as (0.8, 1.8), but {self.stretch!r} came."
            )
        choices([self.mapping], "mapping", MAPPINGS)
        choices([self.reference], "reference", ("ansatz", "none"))
        object.__setattr__(self, "molecules", molecules)
        object.__setattr__(self, "stretch", stretch)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The keyword settings that rebuild this family, as JSON values."""
        return {
            "molecules": list(self.molecules),
            "stretch": list(self.stretch),
            "mapping": self.mapping,
            "reference": self.reference,
        }

    def sample(self, rng: np.random.Generator) -> Problem:
        """Draw one geometry; one where Hartree-Fock does not converge, or finds no lowest determinant, is drawn anew.

        Raises:
            ImportError: without PySCF.
        """
        require_pyscf()
        while True:
            name = self.molecules[int(rng.integers(len(self.molecules)))]
            shape = SHAPES[name]
            positions = draw(shape, (self.stretch[0], self.stretch[1]), rng)
            rounded = np.round(positions, 6).tolist()
            atoms = tuple((symbol, *place) for symbol, place in zip(shape.atoms, rounded, strict=True))
            try:
                problem = _solved(atoms, shape.charge, shape.active, self.mapping, self.reference == "ansatz")
            except _UnconvergedError:
                continue
            return Problem(
                operator=problem.operator,
                family="molecule",
                nodes=problem.nodes,
                ansatz=problem.ansatz,
                levels=problem.levels,
                hints={"molecule": name, **problem.hints, **_distances(positions)},
            )

    @staticmethod
    def from_geometry(
        geometry: str | Sequence[tuple[str, float, float, float]],
        *,
        charge: int = 0,
        active: tuple[int, int] | None = None,
        mapping: Literal["jordan_wigner", "parity", "bravyi_kitaev"] = "jordan_wigner",
        reference: Literal["ansatz", "none"] = "none",
    ) -> Problem:
        """Return the problem of a closed-shell molecule in STO-3G with a frozen core.

        Args:
            geometry: "H 0 0 0; H 0 0 0.74" or [("H", 0.0, 0.0, 0.0), ..], in Angstrom.
            charge: of the molecule.
            active: (electrons, orbitals) of the active space; by default all but the core.
            mapping: as in the settings.
            reference: as in the settings; with 20 qubits and more a search takes long.

        Raises:
            ImportError: without PySCF.
            ValueError: for a geometry that cannot be read, an odd number of electrons, an active space that does not
                fit, or if Hartree-Fock does not converge.
        """
        require_pyscf()
        choices([mapping], "mapping", MAPPINGS)
        choices([reference], "reference", ("ansatz", "none"))
        return _solved(_atoms(geometry), charge, active, mapping, reference == "ansatz")

    @staticmethod
    def from_problem(
        problem: ElectronicStructureProblem,
        *,
        mapping: Literal["jordan_wigner", "parity", "bravyi_kitaev"] = "jordan_wigner",
        reference: Literal["ansatz", "none"] = "none",
    ) -> Problem:
        """Return the problem of a closed-shell molecule of qiskit-nature: any driver, basis and active space.

        Raises:
            ImportError: without PySCF.
            ValueError: if it has unpaired electrons or orbitals of each spin's own.
        """
        choices([mapping], "mapping", MAPPINGS)
        choices([reference], "reference", ("ansatz", "none"))
        return _problem(Integrals.of(problem), mapping, reference == "ansatz")


class _UnconvergedError(ValueError):
    """Hartree-Fock found no orbitals."""


@lru_cache(maxsize=1024)
def _solved(atoms: _Atoms, charge: int, active: tuple[int, int] | None, mapping: str, search: bool) -> Problem:
    return _problem(_integrals(atoms, charge, active), mapping, search)


def _integrals(atoms: _Atoms, charge: int, active: tuple[int, int] | None) -> Integrals:
    """Return a molecule's integrals.

    Raises:
        ValueError: as ``Molecule.from_geometry``.
    """
    from pyscf.data import elements
    from qiskit_nature.second_q.drivers import PySCFDriver
    from qiskit_nature.second_q.transformers import ActiveSpaceTransformer, FreezeCoreTransformer

    electrons = sum(elements.charge(symbol) for symbol, *_ in atoms) - charge
    if electrons % 2 or electrons < 2:
        raise ValueError(
            f"An even number of electrons is needed (a closed shell), but {electrons} came: "
            f"{', '.join(symbol for symbol, *_ in atoms)} with charge {charge}. Give the charge."
        )
    lines = [f"{symbol} {x} {y} {z}" for symbol, x, y, z in atoms]
    driver = PySCFDriver(atom="; ".join(lines), charge=charge, basis="sto3g")
    problem: Any = driver.run()
    release(getattr(driver, "_calc", None))
    problem = FreezeCoreTransformer().transform(problem)
    if active is not None:
        count, orbitals = active
        most = problem.num_spatial_orbitals
        if count % 2 or not 0 < count <= sum(problem.num_particles) or not count // 2 < orbitals <= most:
            raise ValueError(
                f"An active space of an even number of up to {sum(problem.num_particles)} electrons in up to {most} "
                f"orbitals is needed, not all of them full, but {active!r} (electrons, orbitals) came."
            )
        problem = ActiveSpaceTransformer(count, orbitals).transform(problem)
    integrals = Integrals.of(problem)
    pairs = integrals.pairs
    if pairs == len(integrals.one):
        raise ValueError(f"A virtual orbital is needed, but {2 * pairs} electrons fill all {pairs} orbitals.")
    left = float(np.abs(integrals.fock[:pairs, pairs:]).max())
    if (gap := _least_gap(integrals)) <= 0:
        raise _UnconvergedError(
            "A ground state near one determinant is needed, but exciting one or two electrons of the Hartree-Fock "
            f"determinant lowers the energy by {-gap:.2g} Hartree. Give a geometry less stretched or less symmetric, "
            "or solve it with your own driver and use Molecule.from_problem."
        )
    if left > _UNCONVERGED:
        raise _UnconvergedError(
            f"Converged Hartree-Fock orbitals are needed, but the Fock matrix still couples occupied and virtual ones "
            f"(by {left:.2g} Hartree). Give a geometry less stretched, or solve it with your own driver and use "
            "Molecule.from_problem."
        )
    return integrals


def _least_gap(integrals: Integrals) -> float:
    """Return the least energy that it takes to excite one electron or two to another determinant, Hartree.

    Slater-Condon rules for determinants of the same orbitals (Szabo and Ostlund 1996, table 2.5).
    """
    pairs, energies = integrals.pairs, np.diagonal(integrals.fock)
    coulomb, exchange = np.einsum("iijj->ij", integrals.two), np.einsum("ijij->ij", integrals.two)
    inner, outer = slice(None, pairs), slice(pairs, None)
    single = (energies - energies[:, None] - coulomb + exchange)[inner, outer]
    gaps = [single.min()]
    for repulsion, apart in ((coulomb, False), (coulomb - exchange, True)):  # spins opposite, equal
        # i -> a and j -> b
        between = repulsion[inner, inner][:, None, :, None] + repulsion[outer, outer][None, :, None]
        across = repulsion[inner, outer]
        between = between - across[:, None, None, :] - across.T[None, :, :, None]
        double = single[:, :, None, None] + single + between
        if apart:
            same = np.eye(pairs, dtype=bool)[:, None, :, None] | np.eye(len(energies) - pairs, dtype=bool)[:, None]
            double = double[~np.broadcast_to(same, double.shape)]
        gaps.append(double.min(initial=np.inf))
    return float(min(gaps))


def _problem(integrals: Integrals, mapping: str, search: bool) -> Problem:
    operator = qubit_operator(integrals, mapping)
    circuit = ansatz(len(integrals.one), integrals.pairs, mapping)
    amplitudes = ccsd(integrals)
    hints: dict[str, Any] = {"shift": integrals.shift}
    if amplitudes is not None:
        known = excitations(len(integrals.one), (integrals.pairs, integrals.pairs))
        hints["ccsd"] = angles(amplitudes, known)
    levels = None
    if search:
        start = np.array(hints.get("ccsd", np.zeros(circuit.num_parameters)))
        lowest = _lowest(operator, circuit, start)
        levels = Levels(lowest, 1.0, "Hartree above the best UCCSD energy found", _ACCURACY)
    nodes = tuple(range(int(operator.num_qubits)))
    return Problem(operator, "molecule", nodes, ansatz=circuit, levels=levels, hints=hints)


def _lowest(operator: SparsePauliOp, circuit: QuantumCircuit, start: NDArray[np.float64]) -> float:
    """Return the energy of the local optimum near a point, Hartree."""
    engine, task = Statevector(), Task.from_circuit(circuit, operator)

    def cost(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        row = torch.as_tensor(point[None]).requires_grad_()
        value = engine.expectation([task], row)[0]
        (gradient,) = torch.autograd.grad(value, row)
        return value.item(), gradient[0].numpy()

    # Singles may be zero by symmetry, where a search that starts there stays.
    nearby = start + 1e-3 * np.cos(np.arange(start.size))
    found = minimize(cost, nearby, jac=True, method="L-BFGS-B", options={"gtol": 1e-5, "ftol": 1e-12, "maxiter": 500})
    return float(found.fun)


def _distances(positions: NDArray[np.float64]) -> dict[str, float]:
    left, right = np.triu_indices(len(positions), 1)
    lengths = np.linalg.norm(positions[left] - positions[right], axis=1).tolist()
    return {f"r{i}{j}": length for i, j, length in zip(left.tolist(), right.tolist(), lengths, strict=True)}


def _atoms(geometry: str | Sequence[tuple[str, float, float, float]]) -> _Atoms:
    rows = [entry.split() for entry in geometry.split(";")] if isinstance(geometry, str) else list(geometry)
    try:
        return tuple((str(symbol), float(x), float(y), float(z)) for symbol, x, y, z in rows)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"A geometry such as 'H 0 0 0; H 0 0 0.74' or [('H', 0.0, 0.0, 0.0), ..] is needed, but {geometry!r} came."
        ) from error
