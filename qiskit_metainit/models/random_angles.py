"""Random angles near zero: uniform in a reduced domain, or Gaussian with a variance that falls with the depth."""

from __future__ import annotations

import math
from collections import Counter
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from qiskit_metainit.features import FeatureBatch, Features
from qiskit_metainit.model import Model, State
from qiskit_metainit.rotations import Rotation, split


@final
class RandomAngles(Model):
    """Independent random angles around zero, natural units (radians for a circuit that is not QAOA's).

    Two baselines of Lee, Cho and Kim 2025 (arXiv:2501.05906, section 4): the reduced domain ``U[-w, w]`` with
    w = 0.05 pi (Wang et al. 2024, arXiv:2302.08529) and ``N(0, 1 / (4 S (L + 2)))`` for an observable on S qubits and
    L layers (Zhang et al. 2022, arXiv:2203.09376, theorem 1).

    Args:
        distribution: "uniform" or "normal".
        width: half the uniform's domain.
        locality: the normal's S; by default the most qubits in a term.
        layers: the normal's L; by default, as a circuit does not tell its layers, the most rotations with a
            parameter on any one qubit (p for QAOA).
        seed: of the draw; a task's point depends on it and on the task's numbers of qubits, terms and parameters.
    """

    def __init__(
        self,
        *,
        distribution: str = "uniform",
        width: float = 0.05 * math.pi,
        locality: int | None = None,
        layers: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if distribution not in ("uniform", "normal"):
            raise ValueError(f"distribution must be 'uniform' or 'normal', but {distribution!r} came.")
        self.distribution = distribution
        self.width = float(width)
        self.locality = locality
        self.layers = layers
        self.seed = seed

    def begin(self, features: FeatureBatch) -> tuple[Float[Tensor, "B P"], State]:
        """See Model."""
        points = torch.zeros_like(features.unit)
        for row, item in enumerate(features.items):
            rng = np.random.default_rng([self.seed, item.num_qubits, len(item.terms.weights), item.num_parameters])
            if self.distribution == "uniform":
                drawn = rng.uniform(-self.width, self.width, item.num_parameters)
            else:
                drawn = rng.normal(0.0, math.sqrt(self._variance(item)), item.num_parameters)
            points[row, : item.num_parameters] = torch.as_tensor(drawn)
        return points, None

    def _variance(self, item: Features) -> float:
        layers = _layers(item) if self.layers is None else self.layers
        return 1.0 / (4.0 * (self.locality or item.order) * (layers + 2))


def _layers(item: Features) -> int:
    if item.source is None:
        return item.reps
    rotations = [each for each in split(item.source[0]) if isinstance(each, Rotation) and each.angle.slopes]
    return max(Counter(qubit for each in rotations for qubit in each.qubits).values())
