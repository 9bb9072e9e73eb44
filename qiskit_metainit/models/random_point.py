"""A uniformly random point: where qiskit-algorithms starts if nobody tells it better."""

from __future__ import annotations

import math
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from qiskit_metainit.features import TOKENS, FeatureBatch
from qiskit_metainit.model import Model, State


@final
class RandomPoint(Model):
    """Each beta uniform in [0, 2 pi), each other parameter uniform in [-2 pi, 2 pi), natural units.

    These are the bounds qiskit-algorithms draws from; taking them in natural units makes the draw fair at any weights.

    Args:
        seed: the draw; a task's point depends on it and on the task's numbers of qubits, terms and parameters.
    """

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed

    def begin(self, features: FeatureBatch) -> tuple[Float[Tensor, "B P"], State]:
        """See Model."""
        points = torch.zeros_like(features.unit)
        for row, item in enumerate(features.items):
            key = [self.seed, item.num_qubits, len(item.terms.weights), item.num_parameters]
            draw = torch.as_tensor(np.random.default_rng(key).random(item.num_parameters))
            mixer = item.tokens[:, TOKENS.index("mixer")] > 0
            points[row, : item.num_parameters] = 2.0 * math.pi * torch.where(mixer, draw, 2.0 * draw - 1.0)
        return points, None
