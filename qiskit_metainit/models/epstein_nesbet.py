"""The angles of UCCSD that are best one by one."""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from qiskit_metainit.coupled_cluster import epstein_nesbet
from qiskit_metainit.determinants import determinants
from qiskit_metainit.features import Features
from qiskit_metainit.models._uccsd import UccsdFormula


@final
class EpsteinNesbet(UccsdFormula):
    """``-1/2 atan2(2 g, Delta)`` of each excitation, with its coupling g and its gap Delta between determinants.

    To first order the amplitudes of Epstein-Nesbet perturbation theory (Epstein 1926, Phys. Rev. 28, 695; Nesbet 1955,
    Proc. R. Soc. A 230, 312), and exact for two electrons in two orbitals of different symmetry. No query.
    """

    def angles(self, features: Features) -> NDArray[np.float64]:
        """See UccsdFormula."""
        known = determinants(features)
        return np.asarray(epstein_nesbet(known) / known.scales)
