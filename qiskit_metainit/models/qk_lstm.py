"""The QK-LSTM meta-learner: an LSTM whose gates are sums of quantum kernels."""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from qiskit_metainit.model import State
from qiskit_metainit.quantum_cell import gated, kernel_layer, pair_angles, undone_layer
from qiskit_metainit.recurrent import RecurrentModel


@final
class QkLstm(RecurrentModel):
    """The QK-LSTM of Lin et al. 2025 (arXiv:2512.05058), with the kernel that its Eq. 3 asks for.

    With v_t = [h, x], every gate is ``a = sum_j alpha_j^gate k^gate(v_t, v_j)`` with
    ``k(v, v') = |<0| U(v')^dag U(v) |0>|^2``; ``c = f c + i g``, ``h = o tanh c``, ``theta = FC(h)``. The paper leaves
    open how v meets the qubits and where the references v_j come from. Here a linear layer brings v to one number a
    qubit, U is the map of Havlicek et al. 2019 (``quantum_cell.kernel_layer``), the references are trained in that
    space as inducing points are (Snelson and Ghahramani 2006) and shared by the gates, and what makes k^gate the
    gate's own is its bandwidth, a trained factor on both vectors (Shaydulin and Wild 2022, arXiv:2111.05451).

    Args:
        num_parameters: see RecurrentModel.
        queries: see RecurrentModel.
        hidden: size of h; by default P + 1 as published.
        qubits: of the kernel.
        layers: of the kernel's feature map.
        references: R; the gates hold 4 R H coefficients.
        conditioned: see RecurrentModel.
        increments: see RecurrentModel.
        start: see RecurrentModel.
        cost: see RecurrentModel.
        as_published: the published code, whose circuit undoes its own encoding: the "kernel" is always 1, and the
            model's path of proposals is the same for every instance. 43 + 8 weights at P = 2; raw costs.
    """

    def __init__(
        self,
        *,
        num_parameters: int = 2,
        queries: int = 9,
        hidden: int | None = None,
        qubits: int = 4,
        layers: int = 1,
        references: int = 8,
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
        self.hidden = hidden
        self.qubits = qubits
        self.layers = layers
        self.references = references
        self._width = num_parameters + 1 if hidden is None else hidden
        if min(self._width, qubits, layers, references) < 1:
            raise ValueError(
                "A QkLstm needs at least one hidden number, qubit, layer and reference, but "
                f"{hidden=}, {qubits=}, {layers=}, {references=} came."
            )
        if as_published and (layers, references) != (1, 8):
            raise ValueError(
                f"as_published=True has no kernel to choose, but {layers=}, {references=} came. Leave them out."
            )
        self.encode = nn.Linear(self._width + self.num_inputs, qubits, dtype=torch.float64)
        if as_published:
            self.kernel = undone_layer(qubits)
            self.decode = nn.Linear(qubits, self._width, dtype=torch.float64)
        else:
            self.kernel = kernel_layer(qubits, layers)
            self.bandwidths = nn.Parameter(torch.ones(4, dtype=torch.float64))
            self.inducing = nn.Parameter(torch.empty(references, qubits, dtype=torch.float64).uniform_(-1.0, 1.0))
            bound = references**-0.5
            drawn = torch.empty(4, self._width, references, dtype=torch.float64).uniform_(-bound, bound)
            self.alpha = nn.Parameter(drawn)
        self.readout = self.head(self._width)

    @property
    def layer_inputs(self) -> int:
        """See RecurrentModel: the kernel's are pairs of a vector and a reference, for each gate."""
        return 1 if self.as_published else 4 * self.references

    def blank(self, size: int) -> State:
        """See RecurrentModel."""
        zeros = torch.zeros(size, self._width, dtype=torch.float64)
        return zeros, zeros

    def forward(self, inputs: Float[Tensor, "B D"], state: State) -> tuple[Float[Tensor, "B P"], State]:
        """See RecurrentModel."""
        hidden, memory = state
        encoded = self.encode(torch.cat([hidden, inputs], dim=1))
        if self.as_published:
            with torch.no_grad():  # what is always 1 has no gradient
                ones = self.kernel(torch.cos(encoded**2)[None])
            gates = self.decode(ones).expand(4, -1, -1)
        else:
            gates = torch.einsum("gbr,ghr->gbh", self.kernels(encoded), self.alpha)
        hidden, memory = gated(gates, memory)
        return self.readout(hidden), (hidden, memory)

    def kernels(self, encoded: Float[Tensor, "B Q"]) -> Float[Tensor, "4 B R"]:
        """Return ``k^gate(v_b, v_j)`` of encoded vectors with every reference."""
        size, count = len(encoded), len(self.inducing)
        scale = self.bandwidths[:, None, None]
        ours = pair_angles(scale * encoded)[:, :, None].expand(-1, -1, count, -1)
        theirs = pair_angles(scale * self.inducing)[:, None].expand(-1, size, -1, -1)
        values: Tensor = self.kernel(torch.cat([ours, theirs], dim=-1).flatten(0, 2)[None])
        return values.reshape(4, size, count)
