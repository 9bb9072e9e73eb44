"""CCSD amplitudes as angles of UCCSD."""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from qiskit_metainit.coupled_cluster import amplitudes_of
from qiskit_metainit.features import Features
from qiskit_metainit.models._uccsd import UccsdFormula


@final
class Ccsd(UccsdFormula):
    """The amplitudes of coupled cluster with singles and doubles, from the hint ``ccsd`` or from the operator alone.

    The equations are solved from matrix elements between determinants (``coupled_cluster.ccsd``), for any mapping.
    Where they do not converge, the angles of configuration interaction stand in. No query.
    """

    def angles(self, features: Features) -> NDArray[np.float64]:
        """See UccsdFormula."""
        found = amplitudes_of(features)
        return np.asarray(found.start / found.known.scales)
