"""The same canonical angles for every spin chain."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any, final

import torch
from jaxtyping import Float
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from torch import Tensor

from qiskit_metainit.ansatz import stretch
from qiskit_metainit.chain_form import chain_points, chain_probes, chains, needs_chain
from qiskit_metainit.features import FeatureBatch, Features
from qiskit_metainit.model import Model, State


@final
class SpinChainConstant(Model):
    """One point a depth, for the canonical model (``chain_form.Canonical``): what symmetry alone is worth.

    The points have the least mean relative gap over couplings drawn from [-3, 3], on chains and on rings of the sizes
    that a depth is usual for. Beyond the deepest one tabulated they are stretched linearly in s = (l - 1/2)/L.
    """

    def unsupported(self, features: Features) -> str | None:
        """See Model."""
        return needs_chain(type(self).__name__, features)

    def probes(self) -> Sequence[tuple[SparsePauliOp, QuantumCircuit]]:
        """See Model."""
        return chain_probes()

    def begin(self, features: FeatureBatch) -> tuple[Float[Tensor, "B P"], State]:
        """See Model."""
        forms = chains(features)
        return chain_points(forms, [_angles(form.periodic, form.layers) for form in forms]), None


@cache
def _content() -> dict[str, Any]:
    text = (resources.files("qiskit_metainit.models") / "spin_chain_constant.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


@cache
def _angles(periodic: bool, layers: int) -> Tensor:
    """Return (L, 2, 3)."""
    table = _content()["periodic" if periodic else "open"]
    deepest = max(map(int, table))
    known = torch.tensor(table[str(min(layers, deepest))]["angles"], dtype=torch.float64)
    if layers <= deepest:
        return known
    columns = known.flatten(1).T
    return torch.stack([stretch(column.tolist(), layers) for column in columns], dim=1).view(layers, 2, 3)
