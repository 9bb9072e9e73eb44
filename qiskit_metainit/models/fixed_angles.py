"""Fixed angles: the optimal schedules of regular graphs without short cycles, by the nearest degree."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from qiskit_metainit.ansatz import from_literature, scale_gammas, stretch
from qiskit_metainit.features import FeatureBatch, Features, degree_angle
from qiskit_metainit.model import Model, State, needs_qaoa


@final
class FixedAngles(Model):
    """Angles of d-regular graphs whose neighbourhoods are trees, for MaxCut and any other diagonal Hamiltonian.

    The angles (Wurtz and Lykov 2021, arXiv:2107.00677) were recomputed from the iteration of Basso et al. 2022,
    arXiv:2110.14206, at finite degree, for d = 3 to 10. Departures, which make them serve any problem: with d_T the
    tabulated degree nearest to the mean number d of terms a touched qubit, gamma_C is multiplied by
    arctan(1/sqrt(d - 1)) / arctan(1/sqrt(d_T - 1)) and divided by rms(w) (Sureshbabu et al. 2024, arXiv:2305.15201).
    Beyond the deepest tabulated p the schedule is stretched linearly in s = (l - 1/2)/p.
    """

    def unsupported(self, features: Features) -> str | None:
        """See Model."""
        return needs_qaoa(self, features)

    def begin(self, features: FeatureBatch) -> tuple[Float[Tensor, "B P"], State]:
        """See Model."""
        points, depths = torch.zeros_like(features.unit), [item.reps for item in features.items]
        nearest = [_nearest(float(degree)) for degree in 1.0 / features.named("inverse_degree")]
        for row, (degree, reps) in enumerate(zip(nearest, depths, strict=True)):
            points[row, : 2 * reps] = _schedule(degree, reps)
        tabulated = torch.tensor([degree_angle(float(degree)) for degree in nearest], dtype=torch.float64)
        scale_gammas(points, depths, features.named("degree_angle") / tabulated)
        return points, None


@cache
def _table() -> dict[int, dict[int, tuple[list[float], list[float]]]]:
    text = (resources.files("qiskit_metainit.models") / "fixed_angles.json").read_text(encoding="utf-8")
    return {
        int(degree): {int(p): (row["beta"], row["gamma"]) for p, row in depths.items()}
        for degree, depths in json.loads(text)["degrees"].items()
    }


def _nearest(degree: float) -> int:
    return min(_table(), key=lambda tabulated: abs(tabulated - degree))


@cache
def _schedule(degree: int, reps: int) -> Tensor:
    depths = _table()[degree]
    betas, gammas = depths[min(reps, max(depths))]
    return from_literature(stretch(betas, reps), stretch(gammas, reps))
