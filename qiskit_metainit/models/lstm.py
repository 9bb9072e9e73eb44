"""The LSTM meta-learner: a recurrent policy that reads the cost of its last proposal."""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from qiskit_metainit.features import FeatureBatch, Features
from qiskit_metainit.model import Model, State


@final
class Lstm(Model):
    """``(h, theta)_(t+1) = LSTM(h_t, theta_t, y_t)`` from zeros (Verdon et al. 2019, arXiv:1907.05415, the recurrence).

    The cost y is normalised by the Hamiltonian's Pauli coefficients, as in the paper; raw costs would saturate the
    gates. Sees nothing of the instance but the costs it asks for, so its first proposal is a constant.

    Args:
        num_parameters: P; a model serves one circuit size (2p for QAOA).
        queries: costs asked for; T = queries + 1 outputs, the last of which is the answer.
        hidden: size of h; by default P, and then theta = h itself, as in the paper; otherwise theta is a linear
            readout of h.
    """

    def __init__(self, *, num_parameters: int = 2, queries: int = 9, hidden: int | None = None) -> None:
        super().__init__()
        if num_parameters < 1 or queries < 0:
            raise ValueError(
                f"An Lstm needs at least one parameter and no negative queries: {num_parameters=}, {queries=} came."
            )
        self.num_parameters = num_parameters
        self.queries = queries
        self.hidden = hidden
        width = num_parameters if hidden is None else hidden
        self.cell = nn.LSTMCell(1 + num_parameters, width, dtype=torch.float64)
        self.readout = nn.Identity() if hidden is None else nn.Linear(width, num_parameters, dtype=torch.float64)

    def unsupported(self, features: Features) -> str | None:
        """See Model."""
        if features.num_parameters != self.num_parameters:
            return f"this Lstm holds {self.num_parameters} parameters, but the task has {features.num_parameters}"
        return None

    def begin(self, features: FeatureBatch) -> tuple[Float[Tensor, "B P"], State]:
        """See Model."""
        zeros = torch.zeros(len(features), self.cell.hidden_size, dtype=torch.float64)
        nowhere = torch.zeros(len(features), self.num_parameters, dtype=torch.float64)
        return self.refine(nowhere, nowhere[:, 0], (zeros, zeros))

    def refine(
        self, points: Float[Tensor, "B P"], costs: Float[Tensor, " B"], state: State
    ) -> tuple[Float[Tensor, "B P"], State]:
        """See Model."""
        hidden, cell = self.cell(torch.cat([costs[:, None], points], dim=1), state)
        return self.readout(hidden), (hidden, cell)
