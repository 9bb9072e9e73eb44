"""The angles of UCCSD from configuration interaction with singles and doubles."""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from qiskit_metainit.coupled_cluster import configuration_interaction
from qiskit_metainit.determinants import determinants
from qiskit_metainit.features import Features
from qiskit_metainit.models._uccsd import UccsdFormula


@final
class ConfigurationInteraction(UccsdFormula):
    """``c_k arccos(c_0) / |c|`` with the coefficients of the lowest mixture of the determinants that UCCSD excites.

    See ``coupled_cluster.configuration_interaction``. It needs no convergence. No query.
    """

    def angles(self, features: Features) -> NDArray[np.float64]:
        """See UccsdFormula."""
        known = determinants(features)
        return np.asarray(configuration_interaction(known) / known.scales)
