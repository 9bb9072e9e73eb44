"""SK-infinity: the optimal angles of infinitely large spin glasses, rescaled by degree and weights."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import final

from jaxtyping import Float
from torch import Tensor

from qiskit_metainit.ansatz import from_literature, per_layer, scale_gammas, stretch
from qiskit_metainit.features import FeatureBatch, Features
from qiskit_metainit.model import Model, State, needs_qaoa

_SCALES = ("rms", "mean")


@final
class SkInfinity(Model):
    """The strongest formula known: no query, any diagonal Hamiltonian, any depth.

    The angles maximise the energy at infinite size (Farhi et al. 2022, arXiv:1910.08187; Basso et al. 2022,
    arXiv:2110.14206) and were recomputed from their iteration. Rescaling: beta = beta_SK and
    gamma_C = 2 gamma_SK arctan(1/sqrt(d - 1)) / rms(w) with the mean number d of terms a touched qubit (Wurtz and
    Love 2021 for the arctan, Sureshbabu et al. 2024 for rms(w)). Beyond the deepest tabulated p the schedule is
    stretched linearly in s = (l - 1/2)/p.

    Args:
        scale: what gammas are divided by: the "rms" of w, or the "mean" of abs(w) (Shaydulin et al. 2023,
            arXiv:2201.11785), which is far smaller than what drives the dynamics where a few weights are heavy.
    """

    def __init__(self, *, scale: str = "rms") -> None:
        super().__init__()
        if scale not in _SCALES:
            raise ValueError(f"scale must be one of {_SCALES}, but {scale!r} came.")
        self.scale = scale

    def unsupported(self, features: Features) -> str | None:
        """See Model."""
        return needs_qaoa(self, features)

    def begin(self, features: FeatureBatch) -> tuple[Float[Tensor, "B P"], State]:
        """See Model."""
        depths = [item.reps for item in features.items]
        points = per_layer(depths, _schedule)
        scale_gammas(points, depths, 2.0 * features.named("degree_angle"))
        if self.scale == "mean":
            scale_gammas(points, depths, 1.0 / features.named("weight_mean"))
        return points, None


@cache
def _table() -> dict[int, tuple[list[float], list[float]]]:
    text = (resources.files("qiskit_metainit.models") / "sk_infinity.json").read_text(encoding="utf-8")
    return {int(p): (row["beta"], row["gamma"]) for p, row in json.loads(text)["depths"].items()}


@cache
def _schedule(reps: int) -> Tensor:
    table = _table()
    betas, gammas = table[min(reps, max(table))]
    return from_literature(stretch(betas, reps), stretch(gammas, reps))
