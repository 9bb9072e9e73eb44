"""MP2 amplitudes as angles of UCCSD."""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from qiskit_metainit.coupled_cluster import perturbative
from qiskit_metainit.determinants import determinants
from qiskit_metainit.features import Features
from qiskit_metainit.models._uccsd import UccsdFormula
from qiskit_metainit.orbital_energies import orbital_gaps


@final
class Mp2(UccsdFormula):
    """``-g / (e_a + e_b - e_i - e_j)`` for doubles, 0 for singles (Moller and Plesset 1934, Phys. Rev. 46, 618).

    Couplings g and orbital energies e come from the operator, so frozen cores and active spaces are served, but not
    mappings that take qubits away: there the operator does not tell orbital energies. No query.
    """

    def unsupported(self, features: Features) -> str | None:
        """See Model."""
        reason = super().unsupported(features)
        if reason is None and orbital_gaps(determinants(features)) is None:
            return (
                "Mp2 needs the energies of single orbitals, but the operator does not tell them: the mapping took "
                "qubits away, or it is no Hamiltonian of electrons"
            )
        return reason

    def angles(self, features: Features) -> NDArray[np.float64]:
        """See UccsdFormula."""
        known = determinants(features)
        gaps = orbital_gaps(known)
        if gaps is None:
            raise ValueError(f"{self.unsupported(features)}.")
        return np.asarray(perturbative(known, gaps) / known.scales)
