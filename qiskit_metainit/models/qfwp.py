"""The QFWP meta-learner: a quantum circuit whose angles a slow network programs anew at every step."""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from qiskit_metainit.model import State
from qiskit_metainit.quantum_cell import fast_layer
from qiskit_metainit.recurrent import RecurrentModel


@final
class Qfwp(RecurrentModel):
    """The quantum fast weight programmer of Chen 2024 (arXiv:2402.17760) as Lin et al. 2025 (arXiv:2512.05058) use it.

    ``e = Lin(x)``, ``s = Lin(x)``, the angles of the circuit gain ``outer(Lin(s), Lin(s))`` (a layer by a qubit) at
    every step, ``theta = Lin(<Z>)`` of the circuit with encoding e and these angles. The angles are its memory.

    Args:
        num_parameters: see RecurrentModel.
        queries: see RecurrentModel.
        qubits: of the circuit; by default P, as published.
        layers: of the circuit.
        conditioned: see RecurrentModel.
        increments: see RecurrentModel.
        start: see RecurrentModel.
        cost: see RecurrentModel.
        as_published: the published code, which starts the angles from zero at every step, so that there is no memory.
            31 weights at P = 2, as in the other form; raw costs.
    """

    def __init__(
        self,
        *,
        num_parameters: int = 2,
        queries: int = 9,
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
        self.qubits = qubits
        self.layers = layers
        self._wires = num_parameters if qubits is None else qubits
        if min(self._wires, layers) < 1:
            raise ValueError(f"A Qfwp needs at least one qubit and one layer, but {qubits=}, {layers=} came.")
        self.encode = nn.Linear(self.num_inputs, self._wires, dtype=torch.float64)
        self.slow = nn.Linear(self.num_inputs, self._wires, dtype=torch.float64)
        self.by_layer = nn.Linear(self._wires, layers, dtype=torch.float64)
        self.by_qubit = nn.Linear(self._wires, self._wires, dtype=torch.float64)
        self.circuit = fast_layer(self._wires, layers)
        self.decode = self.head(self._wires)

    def blank(self, size: int) -> State:
        """See RecurrentModel."""
        return torch.zeros(size, self.layers * self._wires, dtype=torch.float64)

    def forward(self, inputs: Float[Tensor, "B D"], state: State) -> tuple[Float[Tensor, "B P"], State]:
        """See RecurrentModel."""
        slow = self.slow(inputs)
        gain = (self.by_layer(slow)[:, :, None] * self.by_qubit(slow)[:, None]).flatten(1)
        angles = gain if self.as_published else state + gain
        values = self.circuit(torch.cat([self.encode(inputs), angles], dim=1)[None])[0]
        return self.decode(values), angles
