"""Several trained corrections and the formulas: their careful mean, or the best of them by measured cost."""

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
    """The careful mean of ``GraphCorrection`` models; with queries the cheapest of it, the formulas and the models.

    Models that differ in their seed only agree where they know, and disagree where they were not trained (deep
    ensembles, Lakshminarayanan et al. 2017, arXiv:1612.01474). So the mean m of their corrections to SK-infinity is
    drawn back as far as they disagree: it is multiplied by ``|m|^2 / (|m|^2 + caution s^2)``, with s^2 their variance
    summed over the parameters, in natural units. This is the Wiener filter, the estimate of least squared error for a
    correction of that size which is known with that variance; a quadratic cost is least expected there.

    With k queries the first k of these are measured, one after the other, and the cheapest is the answer: the careful
    mean, each of the models, ``FixedAngles``, ``SkInfinity``, the rescaled ``Constant``. So with ``members + 4`` no
    answer is worse than one of these formulas, as far as costs are measured exactly.

    Made of trained models by ``metainit join``.

    Args:
        members: how many models, at least two.
        queries: costs it asks for: none, or at least two, and at most ``members + 4``.
        caution: how much of the members' variance counts; 0 for their plain mean.
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
        caution: float = 1.0,
        width: int = 192,
        layers: int = 3,
        channels: int = 32,
        rounds: int = 2,
    ) -> None:
        super().__init__()
        most = members + 4
        if members < 2:
            raise ValueError(f"At least two members are needed to tell how far they agree, but {members=} came.")
        if queries == 1 or not 0 <= queries <= most:
            raise ValueError(f"queries must be 0, or 2 to {most}, the number of candidates, but {queries} came.")
        if not caution >= 0:
            raise ValueError(f"caution must be 0 or more, but {caution} came.")
        self.members = members
        self.queries = queries
        self.caution = caution
        self.width = width
        self.layers = layers
        self.channels = channels
        self.rounds = rounds
        self.base = SkInfinity()
        self.formulas = (FixedAngles(), SkInfinity(), Constant(rescaled=True))
        shape = {"width": width, "layers": layers, "channels": channels, "rounds": rounds}
        self._models = [GraphCorrection(**shape) for _ in range(members)]
        self.models = nn.ModuleList(self._models)

    def unsupported(self, features: Features) -> str | None:
        """See Model."""
        return needs_qaoa(self, features)

    def candidates(self, features: FeatureBatch) -> Float[Tensor, "B K P"]:
        """See Candidates."""
        base = self.base.begin(features)[0]
        found = torch.stack([model.begin(features)[0] for model in self._models], dim=1)
        mean = found.mean(dim=1)
        signal = (mean - base).square().sum(dim=1)
        noise = self.caution * found.var(dim=1).sum(dim=1)
        share = signal / (signal + noise).clamp(min=torch.finfo(signal.dtype).tiny)
        careful = base + share[:, None] * (mean - base)
        if self.queries < 2:
            return careful[:, None]
        formulas = (formula.begin(features)[0] for formula in self.formulas)
        return torch.stack([careful, *found.unbind(dim=1), *formulas], dim=1)[:, : self.queries]
