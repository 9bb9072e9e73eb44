"""The QLSTM meta-learner: an LSTM whose gates are variational quantum circuits."""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from qiskit_metainit.model import State
from qiskit_metainit.quantum_cell import arctan_angles, gated, general_layer, rotation_layer
from qiskit_metainit.recurrent import RecurrentModel

CELLS = ("lin", "chen")


@final
class Qlstm(RecurrentModel):
    """The QLSTM of Lin et al. 2025 (arXiv:2512.05058) or of Chen et al. 2025 (arXiv:2505.00561).

    "lin": with v = [h, x], ``y = Lin(v)``; per gate ``a = Lin'(VQC_gate(y))`` with both layers shared by all four;
    ``c = f c + i g``, ``h = o tanh c``, ``theta = FC(h)`` (Eq. 2). "chen": six circuits as in the original QLSTM (Chen,
    Yoo, Fang 2020, arXiv:2009.01783): VQC1..4 of v are the gates, ``h = VQC5(o tanh c)``, ``theta = VQC6(o tanh c)``,
    so that theta lies in (-1, 1).

    Args:
        num_parameters: see RecurrentModel.
        queries: see RecurrentModel.
        cell: "lin" or "chen".
        hidden: size of h; by default P + 1 for "lin" as published, P for "chen", where it is at least P.
        qubits: of the gates; by default 4 for "lin", and for "chen" one for each of h, cost and theta. If v has
            another size, a linear layer brings it to that.
        layers: of every variational circuit.
        conditioned: see RecurrentModel.
        increments: see RecurrentModel.
        start: see RecurrentModel.
        cost: see RecurrentModel.
        as_published: the published code of "lin", which never trains the circuits' angles: 43 + 8 trainable weights at
            P = 2 instead of 59 + 8; raw costs.
    """

    def __init__(
        self,
        *,
        num_parameters: int = 2,
        queries: int = 9,
        cell: str = "lin",
        hidden: int | None = None,
        qubits: int | None = None,
        layers: int = 1,
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
        chen = cell == "chen"
        self.cell = cell
        self.hidden = hidden
        self.qubits = qubits
        self.layers = layers
        self._width = (num_parameters + (not chen)) if hidden is None else hidden
        if cell not in CELLS or (as_published and chen):
            raise ValueError(f"cell must be one of {CELLS}, and 'lin' where as_published=True, but {cell=} came.")
        if self._width < (num_parameters if chen else 1) or layers < 1 or (qubits is not None and qubits < 1):
            raise ValueError(
                f"A Qlstm needs at least one layer, qubit and hidden number, and for 'chen' as many hidden numbers as "
                f"parameters ({num_parameters}), but {hidden=}, {qubits=}, {layers=} came."
            )
        size = self._width + self.num_inputs
        wires = qubits if qubits is not None else 1 + num_parameters + self._width if chen else 4
        if chen and wires < self._width:
            raise ValueError(f"The 'chen' gates read h from as many qubits ({self._width}), but {qubits=} came.")
        narrow = chen and wires == size
        self.encode = nn.Identity() if narrow else nn.Linear(size, wires, dtype=torch.float64)
        if chen:
            self.gates = general_layer(wires, layers, self._width, copies=4)
            self.recall = general_layer(self._width, layers, self._width)
            self.readout: nn.Module = general_layer(self._width, layers, num_parameters)
        else:
            self.gates = rotation_layer(wires, layers, copies=4, trained=not as_published)
            self.decode = nn.Linear(wires, self._width, dtype=torch.float64)
            self.readout = self.head(self._width)

    def blank(self, size: int) -> State:
        """See RecurrentModel."""
        zeros = torch.zeros(size, self._width, dtype=torch.float64)
        return zeros, zeros

    def forward(self, inputs: Float[Tensor, "B D"], state: State) -> tuple[Float[Tensor, "B P"], State]:
        """See RecurrentModel."""
        hidden, memory = state
        encoded = self.encode(torch.cat([hidden, inputs], dim=1))[None]
        if self.cell == "lin":
            hidden, memory = gated(self.decode(self.gates(encoded)), memory)
            return self.readout(hidden), (hidden, memory)
        shown, memory = gated(self.gates(arctan_angles(encoded)), memory)
        angles = arctan_angles(shown)[None]
        return self.readout(angles)[0], (self.recall(angles)[0], memory)
