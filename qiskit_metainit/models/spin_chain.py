"""A learned starting point for spin chains and rings in Bell-pair circuits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from torch import Tensor

from qiskit_metainit.chain_form import ChainForm, chain_points, chain_probes, chains, needs_chain
from qiskit_metainit.features import FeatureBatch, Features
from qiskit_metainit.model import Model, State
from qiskit_metainit.models.graph_correction import perceptron
from qiskit_metainit.models.spin_chain_ramp import ramp

_STEP = 0.3  # of the ramp
_WAVES = 4
_INPUTS = 2 * _WAVES + 12


@final
class SpinChain(Model):
    """A ramp plus what a network, shared by all layers, adds to each angle of the canonical model.

    The model is made canonical by its symmetries (``chain_form.Canonical``), so the network sees two numbers of the
    couplings instead of three that are alike in 24 ways, and its angles are taken back by permuting them and changing
    their signs. A layer tells its place s = (l - 1/2)/L, 1/L, 1/n and whether it is a ring, and gets six angles, so one
    set of weights serves any number of sites and layers. The last layer of the network starts at zero. No query.

    Args:
        width: neurons a layer of the network.
        layers: its hidden layers.
    """

    def __init__(self, *, width: int = 128, layers: int = 3) -> None:
        super().__init__()
        self.width = width
        self.layers = layers
        self.network = perceptron(_INPUTS, *[width] * layers, 6, silent=True)

    def unsupported(self, features: Features) -> str | None:
        """See Model."""
        return needs_chain(type(self).__name__, features)

    def probes(self) -> Sequence[tuple[SparsePauliOp, QuantumCircuit]]:
        """See Model."""
        return chain_probes()

    def begin(self, features: FeatureBatch) -> tuple[Float[Tensor, "B P"], State]:
        """See Model."""
        forms = chains(features)
        found = self.network(torch.cat([_inputs(form) for form in forms])).view(-1, 2, 3)
        added = found.split([form.layers for form in forms])
        angles = [ramp(form.stage, form.sizes, _STEP) + own for form, own in zip(forms, added, strict=True)]
        return chain_points(forms, angles), None


def _inputs(form: ChainForm) -> Float[Tensor, "L I"]:
    """Return what the network sees of each layer."""
    stage = form.stage[:, None]
    _, u, v = form.sizes.tolist()
    size, depth = form.num_sites, form.layers
    known = [u, v, u * v, u * u, v * v, 4 / size, 4 / depth, depth / size, float(form.periodic)]
    waves = torch.arange(1, _WAVES + 1) * torch.pi
    ends = torch.cat([torch.exp(0.5 - stage * depth), torch.exp(0.5 - (1 - stage) * depth)], dim=1)
    whole = torch.tensor(known, dtype=torch.float64).expand(depth, -1)
    return torch.cat([whole, 2 * stage - 1, ends, torch.cos(waves * stage), torch.sin(waves * stage)], dim=1)
