"""The interaction switched on linearly in the variational Hamiltonian ansatz of a Hubbard model."""

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
from qiskit_metainit.lattice_schedules import not_hubbard, small_hubbards
from qiskit_metainit.model import Model, State


@final
class AdiabaticRamp(Model):
    """Time steps of ``H_hops + s U sum_i n_up n_down`` with s = (l - 1/2)/L: a digitised adiabatic preparation.

    As Wecker, Hastings and Troyer 2015 (arXiv:1507.08969, section IV) use for a comparison; in the words of Sack and
    Serbyn 2021 (arXiv:2101.05742), Trotterized annealing.

    Args:
        step: length of a time step in units of 1/t; each layer is one.
        longest: interaction angle that a layer is not allowed to exceed: steps are shortened for a large U/t.
    """

    def __init__(self, *, step: float = 0.15, longest: float = 1.0) -> None:
        super().__init__()
        self.step = step
        self.longest = longest

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
            stage = (torch.tensor(form.layer, dtype=torch.float64) + 0.5) / form.layers
            step = min(self.step, self.longest / form.interaction)
            interaction = torch.tensor(form.part) == 0
            angles = step * torch.where(interaction, stage * form.interaction, 1.0)
            rows.append(angles * torch.tensor(form.factor, dtype=torch.float64))
        return pad_sequence(rows, batch_first=True), None
