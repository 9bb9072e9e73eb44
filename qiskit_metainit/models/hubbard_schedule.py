"""A learned schedule for the variational Hamiltonian ansatz of Hubbard chains and ladders."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import final

import torch
from jaxtyping import Float
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from qiskit_metainit.features import FeatureBatch, Features
from qiskit_metainit.lattice import PARTS, HubbardForm, hubbard_form
from qiskit_metainit.lattice_schedules import angles, not_hubbard, polynomials, small_hubbards
from qiskit_metainit.model import Model, State

_POLYNOMIALS = 5  # of U/(U + 4t)
_WAVES = 4  # of the place s in the schedule


@final
class HubbardSchedule(Model):
    """Distilled optima of lattices of at most 6 sites plus what a network, shared by all angles, adds.

    Distilled (by ``tutorials/tables/hubbard.py``) on lattices with disordered hopping: their excitations lie everywhere
    in the band, while a clean 3 x 2 has a few energies, which its own optimum settles on (``SmallerLattice``). The
    network sees what an angle drives, where it stands in the schedule (s = (l - 1/2)/L in cosines, 1/L, how near the
    ends are), U/(U + 4t) in polynomials, whether the lattice is a ladder, and the distilled angle. Nothing tells it the
    size: with a slope in 1/n, learned on two chains, the step to 8 sites went too far (91% of the correlation energy
    instead of 99%). Its last layer starts at zero, so training starts at the distilled schedule. No query.

    Args:
        width: neurons a hidden layer.
        layers: hidden layers.
    """

    def __init__(self, *, width: int = 64, layers: int = 2) -> None:
        super().__init__()
        self.width = width
        self.layers = layers
        sizes = [len(PARTS) + 2 * _WAVES + 4 + _POLYNOMIALS + 1, *[width] * layers]
        hidden = [step for a, b in pairwise(sizes) for step in (nn.Linear(a, b), nn.Tanh())]
        last = nn.Linear(sizes[-1], 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.network = nn.Sequential(*hidden, last).double()

    def unsupported(self, features: Features) -> str | None:
        """See Model."""
        return not_hubbard(features)

    def probes(self) -> Sequence[tuple[SparsePauliOp, QuantumCircuit]]:
        """See Model."""
        return small_hubbards()

    def begin(self, features: FeatureBatch) -> tuple[Float[Tensor, "B P"], State]:
        """See Model."""
        forms = [hubbard_form(item.form) for item in features.items]
        seen = [_inputs(form) for form in forms]
        corrections = self.network(torch.cat(seen))[:, 0].split([len(inputs) for inputs in seen])
        rows = [
            (inputs[:, -1] + correction) * torch.tensor(form.factor, dtype=torch.float64)
            for form, inputs, correction in zip(forms, seen, corrections, strict=True)
        ]
        return pad_sequence(rows, batch_first=True), None


def _inputs(form: HubbardForm) -> Float[Tensor, "P F"]:
    """Return what the network sees of each angle, the distilled angle last."""
    count = len(form.part)
    depth = torch.full((count,), float(form.layers), dtype=torch.float64)
    layer = torch.tensor(form.layer, dtype=torch.float64)
    stage = (layer + 0.5) / depth
    kind = nn.functional.one_hot(torch.tensor(form.part), len(PARTS)).double()
    ladder = torch.full((count, 1), float(form.rows == 2), dtype=torch.float64)
    waves = torch.cos(torch.pi * torch.arange(1, 2 * _WAVES + 1) * stage[:, None])
    ends = torch.stack([1 / (layer + 1), 1 / (depth - layer), 1 / depth], dim=1)
    coupling = polynomials(torch.tensor(form.interaction, dtype=torch.float64), _POLYNOMIALS).expand(count, -1)
    return torch.cat([kind, waves, ladder, ends, coupling, angles("hubbard_schedule", form)[:, None]], dim=1)
