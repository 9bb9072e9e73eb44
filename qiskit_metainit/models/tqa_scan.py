"""The best of several time steps of a Trotterised quantum annealing schedule."""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from qiskit_metainit.candidates import Candidates
from qiskit_metainit.features import FeatureBatch, Features
from qiskit_metainit.model import needs_qaoa
from qiskit_metainit.models.tqa import Tqa


@final
class TqaScan(Candidates):
    """The cheapest of the ``Tqa`` points at evenly spaced time steps, whose costs it asks for.

    Sack and Serbyn 2021, arXiv:2101.05742, choose the time step so, for each problem. They find about 0.75 for
    3-regular graphs, beyond which Trotter errors grow; in natural units the best step falls with the degree. The
    default steps are 0.05, 0.10 .. 1.15: for p = 1 to 8 the best step of single edges is 0.95 to 1.15, of 3-regular
    graphs 0.6 to 0.75, of spin glasses on 15 qubits 0.35 to 0.45, of complete graphs of that size 0.2 to 0.3.

    Args:
        steps: K, how many there are.
        least: the smallest time step, radians.
        most: the largest.
    """

    def __init__(self, *, steps: int = 23, least: float = 0.05, most: float = 1.15) -> None:
        super().__init__()
        if steps < 1:
            raise ValueError(f"steps must be at least 1, but {steps} came.")
        self.steps = steps
        self.least = least
        self.most = most
        self.queries = steps

    def unsupported(self, features: Features) -> str | None:
        """See Model."""
        return needs_qaoa(self, features)

    def candidates(self, features: FeatureBatch) -> Float[Tensor, "B K P"]:
        """See Candidates."""
        steps = torch.linspace(self.least, self.most, self.steps, dtype=torch.float64)
        return torch.stack([Tqa(dt=dt).begin(features)[0] for dt in steps.tolist()], dim=1)
