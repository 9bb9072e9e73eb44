"""Fermi-Hubbard models on open chains and ladders, with the variational Hamiltonian ansatz and exact energies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit.circuits.hubbard import OpenLattice, half_filling, hubbard_ansatz
from qiskit_metainit.ground import ground_energy, particle_sector
from qiskit_metainit.problem import Levels, Problem
from qiskit_metainit.problems._settings import integers, numbers, several

_TARGET = 0.05
"""Share of the correlation energy beyond free fermions that may be left open."""


@dataclass(frozen=True, kw_only=True)
class Hubbard:
    """Find the ground state of ``H = -sum_<ij>,s t_ij (c_is^dag c_js + h.c.) + U sum_i n_i,up n_i,down``.

    On open lattices (Hubbard 1963), as many fermions of each spin, with qiskit-nature's ``FermiHubbardModel`` and
    ``JordanWignerMapper`` as the operator and ``hubbard_ansatz`` as the circuit. An excess of 1 is the free fermions'
    energy, 0 the exact ground energy of that number of particles: what of the correlation energy is still open.

    >>> problem = Hubbard.from_lattice(2, interaction=4.0, layers=1)
    >>> round(problem.levels.lowest, 6), round(problem.levels.unit, 6)
    (-0.828427, 0.828427)
    >>> problem.nodes[:3], problem.ansatz.num_parameters
    (((0, 0, 'up'), (0, 0, 'down'), (1, 0, 'up')), 2)
    """

    lattices: Sequence[Sequence[int]] = ((4, 1), (6, 1), (3, 2))
    """(columns, rows), drawn uniformly."""
    interactions: Sequence[float] = (1.0, 8.0)
    """Smallest and largest U/t; the logarithm of an instance's is drawn uniformly between theirs."""
    layers: Sequence[int] = (8,)
    """Layers L of the ansatz, drawn uniformly."""
    disorder: float = 0.0
    """Half the width of the uniform distribution around 1 of each bond's hopping, below 1."""
    clean: float = 0.0
    """Share of instances without disorder."""

    def __post_init__(self) -> None:
        lattices = tuple(
            integers(shape, "lattices", 1, "[[4, 1], [3, 2]]")
            for shape in several(self.lattices, "lattices", "[[4, 1]]")
        )
        for shape in lattices:
            if len(shape) != 2:
                raise ValueError(f"Each of lattices must be (columns, rows), such as (3, 2), but {shape!r} came.")
            half_filling(OpenLattice(shape[0], shape[1]))
        span = numbers(self.interactions, "interactions", "(1.0, 8.0)")
        if len(span) != 2 or not 0 < span[0] <= span[1]:
            raise ValueError(
                "interactions must be the smallest and the largest U/t above 0, such as (1.0, 8.0), but "
                f"{self.interactions!r} came."
            )
        for name, most in (("disorder", 0.99), ("clean", 1.0)):
            value = getattr(self, name)
            if not isinstance(value, Real) or not 0 <= float(value) <= most:
                raise ValueError(f"{name} must be between 0 and {most}, but {value!r} came.")
        object.__setattr__(self, "lattices", lattices)
        object.__setattr__(self, "interactions", span)
        object.__setattr__(self, "layers", integers(self.layers, "layers", 1, "(4, 8)"))

    @property
    def settings(self) -> Mapping[str, Any]:
        """The keyword settings that rebuild this family, as JSON values."""
        return {
            "lattices": [list(shape) for shape in self.lattices],
            "interactions": list(self.interactions),
            "layers": list(self.layers),
            "disorder": self.disorder,
            "clean": self.clean,
        }

    def sample(self, rng: np.random.Generator) -> Problem:
        """Draw one half-filled lattice."""
        columns, rows = self.lattices[int(rng.integers(len(self.lattices)))]
        interaction = float(np.exp(rng.uniform(*np.log(self.interactions))))
        layers = self.layers[int(rng.integers(len(self.layers)))]
        lattice = OpenLattice(columns, rows)
        if self.disorder and rng.random() >= self.clean:
            count = sum(map(len, lattice.groups))
            strengths = 1 + rng.uniform(-self.disorder, self.disorder, size=count)
            lattice = OpenLattice(columns, rows, tuple(strengths.tolist()))
        return _problem(lattice, interaction, 1.0, layers, None)

    @staticmethod
    def from_lattice(
        columns: int,
        rows: int = 1,
        *,
        interaction: float,
        layers: int,
        hopping: float = 1.0,
        strengths: Sequence[float] = (),
        particles: int | None = None,
    ) -> Problem:
        """Return the problem of one lattice.

        Args:
            columns: sites along x.
            rows: sites along y.
            interaction: U, in the units of the hopping.
            layers: L of the ansatz.
            hopping: t.
            strengths: t_ij/t of each bond, ordered as ``OpenLattice.groups``; all 1 by default.
            particles: fermions of each spin; half the number of sites by default.

        Raises:
            ValueError: if U or t is not positive and finite, the lattice is none, or its free fermions form no closed
                shell (see ``OpenLattice`` and ``hubbard_ansatz``).
            MemoryError: if the exact ground energy does not fit into memory.
        """
        for name, value in (("interaction", interaction), ("hopping", hopping)):
            if not isinstance(value, Real) or not 0 < value < np.inf:
                raise ValueError(f"A positive, finite {name} is needed, but {value!r} came.")
        return _problem(
            OpenLattice(columns, rows, tuple(map(float, strengths))),
            float(interaction),
            float(hopping),
            layers,
            particles,
        )


def _problem(lattice: OpenLattice, interaction: float, hopping: float, layers: int, particles: int | None) -> Problem:
    filled = half_filling(lattice) if particles is None else particles
    ansatz = hubbard_ansatz(lattice, layers=layers, particles=filled)
    operator = _operator(lattice, interaction, hopping)
    spins = [sum(1 << qubit for qubit in range(spin, 2 * lattice.sites, 2)) for spin in (0, 1)]
    sector = particle_sector(2 * lattice.sites, *((mask, filled) for mask in spins))
    lowest = ground_energy(operator, sector)
    orbitals = lattice.orbitals(filled)
    density = (orbitals**2).sum(axis=0)
    free = 2 * hopping * np.trace(orbitals @ lattice.hopping() @ orbitals.T) + interaction * (density**2).sum()
    return Problem(
        operator=operator,
        family="hubbard",
        nodes=tuple((x, y, s) for y in range(lattice.rows) for x in range(lattice.columns) for s in ("up", "down")),
        ansatz=ansatz,
        levels=Levels(
            lowest=lowest,
            unit=float(free) - lowest,
            name="open share of the correlation energy beyond free fermions",
            target=_TARGET,
        ),
        hints={"interaction": interaction / hopping, "columns": lattice.columns, "rows": lattice.rows},
    )


def _operator(lattice: OpenLattice, interaction: float, hopping: float) -> SparsePauliOp:
    """Return the Hamiltonian that qiskit-nature makes of the lattice."""
    # qiskit-nature takes a second to import: who only lists families shall not wait for it.
    from qiskit_nature.second_q.hamiltonians import FermiHubbardModel
    from qiskit_nature.second_q.hamiltonians.lattices import Lattice
    from qiskit_nature.second_q.mappers import JordanWignerMapper
    from rustworkx import PyGraph

    graph = PyGraph(multigraph=False)
    graph.add_nodes_from(range(lattice.sites))
    for group in lattice.weighted:
        graph.add_edges_from([(i, j, -hopping * strength) for (i, j), strength in group])
    model = FermiHubbardModel(Lattice(graph), onsite_interaction=interaction)
    return JordanWignerMapper().map(model.second_q_op())
