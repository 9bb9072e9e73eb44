"""The amplitudes of one coupled-cluster iteration as angles of UCCSD."""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from qiskit_metainit.coupled_cluster import perturbative, updated
from qiskit_metainit.determinants import determinants
from qiskit_metainit.features import Features
from qiskit_metainit.models._uccsd import UccsdFormula
from qiskit_metainit.orbital_energies import orbital_gaps


@final
class OneCcIteration(UccsdFormula):
    """The step ``t - r(t) / gap`` of the CCSD equations from MP2 amplitudes, singles included.

    As PySCF's ``update_amps`` (Stanton et al. 1991, J. Chem. Phys. 94, 4334), from matrix elements of the operator.
    Where that does not tell orbital energies (mappings that take qubits away), gaps between determinants stand in for
    them, so it starts from Epstein-Nesbet amplitudes. No query.
    """

    def angles(self, features: Features) -> NDArray[np.float64]:
        """See UccsdFormula."""
        known = determinants(features)
        found = orbital_gaps(known)
        gaps = known.gaps if found is None else found
        return np.asarray(updated(known, perturbative(known, gaps), gaps) / known.scales)
