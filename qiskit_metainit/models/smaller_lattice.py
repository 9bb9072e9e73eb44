"""The best angles of a smaller Hubbard lattice at the same U/t."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from qiskit_metainit.features import FeatureBatch, Features
from qiskit_metainit.lattice import hubbard_form
from qiskit_metainit.lattice_schedules import angles, not_hubbard, small_hubbards
from qiskit_metainit.model import Model, State


@final
class SmallerLattice(Model):
    """What is optimal for the variational Hamiltonian ansatz on 6 x 1 sites, for chains, or on 3 x 2, for ladders.

    For each depth the angles of a layer are polynomials of U/(U + 4t), fitted to the energies at all U at once, so that
    they lie on one branch of optima (there are many); ``tutorials/tables/hubbard.py`` makes the table. Transfer of
    parameters from smaller systems as in Wecker, Hastings and Troyer 2015 (arXiv:1507.08969, section IV).
    """

    def unsupported(self, features: Features) -> str | None:
        """See Model."""
        return not_hubbard(features)

    def probes(self) -> Sequence[tuple[SparsePauliOp, QuantumCircuit]]:
        """See Model."""
        return small_hubbards()

    def begin(self, features: FeatureBatch) -> tuple[Float[Tensor, "B P"], State]:
        """See Model."""
        rows = []
        for item in features.items:
            form = hubbard_form(item.form)
            rows.append(angles("smaller_lattice", form) * torch.tensor(form.factor, dtype=torch.float64))
        return pad_sequence(rows, batch_first=True), None
