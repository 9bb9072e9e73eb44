"""The LSTM meta-learner: a recurrent policy that reads the cost of its last proposal."""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from qiskit_metainit.model import State
from qiskit_metainit.recurrent import RecurrentModel


@final
class Lstm(RecurrentModel):
    """The recurrence of Verdon et al. 2019 (arXiv:1907.05415) with a classical LSTM.

    Args:
        num_parameters: see RecurrentModel.
        queries: see RecurrentModel.
        hidden: size of h; by default P, and then theta = h itself (Lin et al. 2025, section III-B); otherwise theta is
            a linear readout of h. With a lever on the point choose it: without a readout training cannot begin at the
            start.
        conditioned: see RecurrentModel.
        increments: see RecurrentModel.
        start: see RecurrentModel.
        cost: see RecurrentModel.
        as_published: the LSTM of Lin et al. 2025: 56 weights at P = 2, theta = h, raw costs.
    """

    def __init__(
        self,
        *,
        num_parameters: int = 2,
        queries: int = 9,
        hidden: int | None = None,
        conditioned: bool = False,
        increments: bool = False,
        start: str = "zeros",
        cost: str = "normalised",
        as_published: bool = False,
    ) -> None:
        super().__init__(
            num_parameters=num_parameters,
            queries=queries,
            conditioned=conditioned,
            increments=increments,
            start=start,
            cost=cost,
            as_published=as_published,
        )
        if as_published and hidden is not None:
            raise ValueError(f"as_published=True has theta = h, without a readout, but {hidden=} came. Leave it out.")
        if hidden is not None and hidden < 1:
            raise ValueError(f"An Lstm needs at least one hidden number, but {hidden=} came.")
        self.hidden = hidden
        width = num_parameters if hidden is None else hidden
        self.cell = nn.LSTMCell(self.num_inputs, width, dtype=torch.float64)
        self.readout = nn.Identity() if hidden is None else self.head(width)

    def blank(self, size: int) -> State:
        """See RecurrentModel."""
        zeros = torch.zeros(size, self.cell.hidden_size, dtype=torch.float64)
        return zeros, zeros

    def forward(self, inputs: Float[Tensor, "B D"], state: State) -> tuple[Float[Tensor, "B P"], State]:
        """See RecurrentModel."""
        hidden, cell = self.cell(inputs, state)
        return self.readout(hidden), (hidden, cell)
