"""Formulas for the angles of UCCSD, and small made-up molecules on which they are checked."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from torch import Tensor

from qiskit_metainit.chemistry import Integrals
from qiskit_metainit.determinants import refusal
from qiskit_metainit.features import FeatureBatch, Features
from qiskit_metainit.model import Model, State
from qiskit_metainit.problems._electrons import ansatz, qubit_operator


class UccsdFormula(Model):
    """A formula for the amplitude of each excitation, task by task."""

    def unsupported(self, features: Features) -> str | None:
        """See Model."""
        return refusal(type(self).__name__, features)

    def probes(self) -> Sequence[tuple[SparsePauliOp, QuantumCircuit]]:
        """See Model."""
        return uccsd_probes()

    def begin(self, features: FeatureBatch) -> tuple[Float[Tensor, "B P"], State]:
        """See Model."""
        points = torch.zeros_like(features.unit)
        for row, item in enumerate(features.items):
            points[row, : item.num_parameters] = torch.as_tensor(self.angles(item))
        return points, None

    @abstractmethod
    def angles(self, features: Features) -> NDArray[np.float64]:
        """Return the (P,) angles of one task, radians."""


@cache
def uccsd_probes() -> tuple[tuple[SparsePauliOp, QuantumCircuit], ...]:
    """Return operators and circuits: two electrons in two orbitals, and four in four."""
    return _probe(2, 1), _probe(4, 2)


def _probe(count: int, pairs: int) -> tuple[SparsePauliOp, QuantumCircuit]:
    place = np.arange(count)
    near = 1.0 / (1.0 + np.abs(place[:, None] - place))
    # (pq|rs) = sum_l B^l_pq B^l_rs is positive as a repulsion is; written out, so that it is the same everywhere.
    factors = [0.6 * np.eye(count) + 0.1 * near]
    factors += [0.3 * np.cos((index + 1.3) * (place[:, None] + place)) * near for index in range(3)]
    two = np.stack([np.multiply.outer(factor, factor) for factor in factors]).sum(axis=0)
    one = np.diag(-2.0 * pairs + 1.1 * place) - 0.02 * near
    integrals = Integrals(one, two, pairs, 0.0)
    return qubit_operator(integrals, "jordan_wigner"), ansatz(count, pairs, "jordan_wigner")
