"""The small circuits of the published QLSTM, QK-LSTM and QFWP in closed form, which training runs through faster."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from qiskit_metainit.models.qfwp import Qfwp
from qiskit_metainit.models.qk_lstm import QkLstm
from qiskit_metainit.models.qlstm import Qlstm
from qiskit_metainit.recurrent import RecurrentModel


def simplify(model: RecurrentModel) -> None:
    """Replace the circuits of an ``as_published`` model of Lin et al. 2025 (arXiv:2512.05058) by what they compute.

    Products of RX rotations and a ring of CNOTs, two qubits with one CNOT, and a circuit that undoes itself are short
    trigonometric expressions. Other models are left as they are.
    """
    if not model.as_published:
        return
    if isinstance(model, Qlstm) and model.qubits in (None, 4) and model.layers == 1:
        model.add_module("gates", RotationGates(model.gates.weights))
    elif isinstance(model, QkLstm):
        model.add_module("kernel", UndoneKernel())
    elif isinstance(model, Qfwp) and model.qubits in (None, 2) and model.num_parameters == 2 and model.layers == 1:
        model.add_module("circuit", FastCircuit())


class RotationGates(nn.Module):
    """``RX(y) RX(w)`` on four qubits and the CNOT ring 0-1-2-3-0; with c_k = cos(y_k + w_k) every <Z_k> is a product.

    Args:
        weights: (C, 4) w, a row a gate.
    """

    weights: Tensor

    def __init__(self, weights: Float[Tensor, "C 4"]) -> None:
        super().__init__()
        self.register_buffer("weights", weights)

    def forward(self, data: Float[Tensor, "C B 4"]) -> Float[Tensor, "C B 4"]:
        """Return the expectation values; a leading 1 stands for the same y in every gate."""
        return ring_products(torch.cos(data + self.weights[:, None]))


def ring_products(cosines: Float[Tensor, "*B 4"]) -> Float[Tensor, "*B 4"]:
    """Return every <Z_k> after the CNOT ring 0-1-2-3-0 on four qubits with ``<Z_k> = c_k`` before it."""
    first, second, third, fourth = cosines.unbind(dim=-1)
    pair = first * second
    triple = pair * third
    return torch.stack([second * third * fourth, pair, triple, triple * fourth], dim=-1)


class UndoneKernel(nn.Module):
    """``U(x)^dag U(x)|0>``: every <Z_k> is 1, whatever x is."""

    def forward(self, data: Float[Tensor, "C B Q"]) -> Float[Tensor, "4 B Q"]:
        """Return ones for the four gates."""
        return torch.ones(4, *data.shape[1:], dtype=data.dtype)


class FastCircuit(nn.Module):
    """``H, RY(e), CNOT(0, 1), RY(t)`` on two qubits; data are e_0, e_1, t_0, t_1."""

    def forward(self, data: Float[Tensor, "1 B 4"]) -> Float[Tensor, "1 B 2"]:
        """Return <Z_0> and <Z_1>."""
        cosines, sines = torch.cos(data), torch.sin(data)
        (c0, c1, d0, d1), (s0, s1, r0, r1) = cosines.unbind(dim=-1), sines.unbind(dim=-1)
        return torch.stack([-d0 * s0 - r0 * c0 * c1, d1 * s0 * s1 - r1 * c1], dim=-1)
