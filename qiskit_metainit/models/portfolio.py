"""Several trained corrections and the formulas: the mean of the first, or the best of all by measured cost."""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from qiskit_metainit.candidates import Candidates
from qiskit_metainit.features import FeatureBatch, Features
from qiskit_metainit.model import needs_qaoa
from qiskit_metainit.models.constant import Constant
from qiskit_metainit.models.fixed_angles import FixedAngles
from qiskit_metainit.models.graph_correction import GraphCorrection
from qiskit_metainit.models.sk_infinity import SkInfinity


@final
class Portfolio(Candidates):
    """The mean of ``GraphCorrection`` models; with queries the cheapest of it, the models and the formulas.

    Models that differ in their seed only err partly on their own, so their mean is closer than any of them (deep
    ensembles, Lakshminarayanan et al. 2017, arXiv:1612.01474). Departure: the mean is not drawn back to the formula
    where they disagree, which was tried and gained nothing, because they disagree far less than they err.

    With k queries the first k of these are measured, one after the other, and the cheapest is the answer: the mean,
    each of the models, ``FixedAngles``, ``SkInfinity``, the rescaled ``Constant``. So with ``members + 4`` no answer is
    worse than one of these formulas, as far as costs are measured exactly.

    Made of trained models by ``metainit join``.

    Args:
        members: how many models, at least two.
        queries: costs it asks for: none, or at least two, and at most ``members + 4``.
        width: as in ``GraphCorrection``, and so are the next three.
        layers: hidden layers.
        channels: numbers that a message holds.
        rounds: how often messages are passed.
    """

    def __init__(
        self,
        *,
        members: int = 3,
        queries: int = 0,
        width: int = 192,
        layers: int = 3,
        channels: int = 32,
        rounds: int = 2,
    ) -> None:
        super().__init__()
        most = members + 4
        if members < 2:
            raise ValueError(f"At least two members are needed for a mean, but {members=} came.")
        if queries == 1 or not 0 <= queries <= most:
            raise ValueError(f"queries must be 0, or 2 to {most}, the number of candidates, but {queries} came.")
        self.members = members
        self.queries = queries
        self.width = width
        self.layers = layers
        self.channels = channels
        self.rounds = rounds
        self.formulas = (FixedAngles(), SkInfinity(), Constant(rescaled=True))
        shape = {"width": width, "layers": layers, "channels": channels, "rounds": rounds}
        self._models = [GraphCorrection(**shape) for _ in range(members)]
        self.models = nn.ModuleList(self._models)

    def unsupported(self, features: Features) -> str | None:
        """See Model."""
        return needs_qaoa(self, features)

    def candidates(self, features: FeatureBatch) -> Float[Tensor, "B K P"]:
        """See Candidates."""
        found = torch.stack([model.begin(features)[0] for model in self._models], dim=1)
        mean = found.mean(dim=1, keepdim=True)
        if self.queries < 2:
            return mean
        formulas = torch.stack([formula.begin(features)[0] for formula in self.formulas], dim=1)
        return torch.cat([mean, found, formulas], dim=1)[:, : self.queries]
