"""The same point for every task."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor

from qiskit_metainit.ansatz import join, per_layer, scale_gammas, split_point, stretch
from qiskit_metainit.features import FeatureBatch, Features
from qiskit_metainit.model import Model, State, needs_qaoa


@final
class Constant(Model):
    """One point in natural units, so it is rescaled by the weights (transfer by rms(w), Sureshbabu et al. 2024).

    Args:
        point: P natural units, ordered as ``circuit.parameters``. By default QAOA's best single point of each depth
            on unweighted Erdos-Renyi graphs with 6 to 9 nodes (the training graphs of Lin et al. 2025), as tabulated;
            beyond the deepest tabulated p the schedule is stretched linearly in s = (l - 1/2)/p.
        rescaled: whether the tabulated gammas are multiplied by arctan(1/sqrt(d - 1)) over its mean on those graphs,
            with the mean number d of terms a touched qubit, as ``SkInfinity`` has it.

    Raises:
        ValueError: if a point of one's own is to be rescaled: nothing says which degrees it is for.
    """

    def __init__(self, *, point: Sequence[float] | None = None, rescaled: bool = False) -> None:
        super().__init__()
        if rescaled and point is not None:
            raise ValueError(
                "rescaled=True needs the tabulated points, whose graphs' degrees are known, but a point came too. "
                "Leave one of them out."
            )
        self.point = None if point is None else [float(value) for value in point]
        self.rescaled = rescaled

    def unsupported(self, features: Features) -> str | None:
        """See Model."""
        if self.point is not None and features.num_parameters != len(self.point):
            return f"this Constant holds {len(self.point)} parameters, but the task has {features.num_parameters}"
        return needs_qaoa(self, features) if self.point is None else None

    def begin(self, features: FeatureBatch) -> tuple[Float[Tensor, "B P"], State]:
        """See Model."""
        if self.point is not None:
            return torch.tensor(self.point, dtype=torch.float64).repeat(len(features), 1), None
        depths = [item.reps for item in features.items]
        points = per_layer(depths, _schedule)
        if self.rescaled:
            scale_gammas(points, depths, features.named("degree_angle") / _content()["degree_angle"])
        return points, None


@cache
def _content() -> dict[str, Any]:
    text = (resources.files("qiskit_metainit.models") / "constant.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


@cache
def _table() -> dict[int, Tensor]:
    rows = _content()["depths"].items()
    return {int(reps): torch.tensor(row["point"], dtype=torch.float64) for reps, row in rows}


@cache
def _schedule(reps: int) -> Tensor:
    betas, gammas = split_point(_table()[min(reps, max(_table()))])
    return join(stretch(betas.tolist(), reps), stretch(gammas.tolist(), reps))
