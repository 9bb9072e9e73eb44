"""The best of several slopes of a linear ramp."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from qiskit_metainit.candidates import Candidates
from qiskit_metainit.features import FeatureBatch, Features
from qiskit_metainit.model import needs_qaoa
from qiskit_metainit.models.linear_ramp import LinearRamp


@final
class LinearRampScan(Candidates):
    """The cheapest of the ``LinearRamp`` points of all pairs of slopes, whose costs it asks for.

    Montanez-Barrera and Michielsen 2024, arXiv:2405.09169, scan slopes too, but then fix one pair for all problems.
    The default is 4 x 5 = 20 pairs with theirs, (0.3, 0.6), among them; the small gammas are for dense problems, the
    large ones for sparse problems and deep circuits.

    Args:
        betas: first values of beta, radians.
        gammas: last values of gamma, radians.
    """

    def __init__(
        self,
        *,
        betas: Sequence[float] = (0.3, 0.4, 0.5, 0.6),
        gammas: Sequence[float] = (0.2, 0.4, 0.6, 0.9, 1.2),
    ) -> None:
        super().__init__()
        if not betas or not gammas:
            raise ValueError(f"At least one beta and one gamma are needed, but {betas=}, {gammas=} came.")
        self.betas = [float(beta) for beta in betas]
        self.gammas = [float(gamma) for gamma in gammas]
        self.queries = len(self.betas) * len(self.gammas)

    def unsupported(self, features: Features) -> str | None:
        """See Model."""
        return needs_qaoa(self, features)

    def candidates(self, features: FeatureBatch) -> Float[Tensor, "B K P"]:
        """See Candidates."""
        ramps = (LinearRamp(beta=beta, gamma=gamma) for beta, gamma in product(self.betas, self.gammas))
        return torch.stack([ramp.begin(features)[0] for ramp in ramps], dim=1)
