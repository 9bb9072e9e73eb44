"""An unlearned ramp for spin chains: from Bell pairs, the bonds between them are switched on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from torch import Tensor

from qiskit_metainit.chain_form import chain_points, chain_probes, chains, needs_chain
from qiskit_metainit.features import FeatureBatch, Features
from qiskit_metainit.model import Model, State


@final
class SpinChainRamp(Model):
    """Angles of a slow evolution that switches the odd bonds on, in the circuit of ``bell_pair_ansatz``.

    The circuit's pairs are made the ground state of the even bonds. With couplings K = -J by the largest of them, layer
    l has the angles ``2 step K`` on even bonds and ``2 step K s`` on odd ones, s = (l - 1/2)/L: the product formula of
    an evolution for a time of step a layer.

    Args:
        step: time, by the largest coupling.
    """

    def __init__(self, *, step: float = 0.3) -> None:
        super().__init__()
        self.step = step

    def unsupported(self, features: Features) -> str | None:
        """See Model."""
        return needs_chain(type(self).__name__, features)

    def probes(self) -> Sequence[tuple[SparsePauliOp, QuantumCircuit]]:
        """See Model."""
        return chain_probes()

    def begin(self, features: FeatureBatch) -> tuple[Float[Tensor, "B P"], State]:
        """See Model."""
        forms = chains(features)
        return chain_points(forms, [ramp(form.stage, form.sizes, self.step) for form in forms]), None


def ramp(stage: Float[Tensor, " L"], sizes: Float[Tensor, " 3"], step: float) -> Float[Tensor, "L 2 3"]:
    """Return the angles of a ramp: odd bonds, even bonds, of couplings by size."""
    return 2 * step * torch.stack([stage[:, None] * sizes, sizes.expand(len(stage), 3)], dim=1)
