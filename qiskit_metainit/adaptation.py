"""Adam on the angles of many circuits at once: how a VQE goes on from its starting points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray

from qiskit_metainit.engine import Engine
from qiskit_metainit.task import Task

Array = NDArray[np.float64]

_MEAN, _SQUARE, _LEAST = 0.9, 0.999, 1e-8  # beta_1, beta_2 and epsilon of Kingma and Ba


@dataclass(frozen=True, eq=False)
class Adaptation:
    """What B runs of T steps went through; entry 0 is the start."""

    energies: Float[np.ndarray, "T+1 B"]
    """In each Hamiltonian's units. The last row is where the runs are, ``best`` what they have seen."""
    gradient_norms: Float[np.ndarray, "T+1 B"]
    """Euclidean norms of the gradients by the angles, Hamiltonian's units a natural unit (a radian, but for QAOA)."""
    points: Float[np.ndarray, "B P"]
    """Radians after the last step."""

    @property
    def best(self) -> Float[np.ndarray, "T+1 B"]:
        """The lowest energy up to each step: Adam may climb, above all from a good start."""
        return np.asarray(np.minimum.accumulate(self.energies, axis=0))

    def arrivals(self, targets: Float[np.ndarray, " B"]) -> Int[np.ndarray, " B"]:
        """Return the first step at which each energy is at or below its target, T + 1 where it never is.

        >>> run = Adaptation(np.array([[1.0, 5.0], [0.5, 4.0], [0.7, 3.0]]), np.zeros((3, 2)), np.zeros((2, 1)))
        >>> run.arrivals(np.array([0.6, 2.0])).tolist()
        [1, 3]
        """
        there = self.energies <= targets
        return np.asarray(np.where(there.any(axis=0), there.argmax(axis=0), len(there)))


def adapt(
    engine: Engine,
    tasks: Sequence[Task],
    points: Float[np.ndarray, "B P"],
    *,
    learning_rate: float | Sequence[float],
    steps: int,
    progress: Callable[[int, int], None] | None = None,
) -> Adaptation:
    """Minimise the energy of each task by Adam from its point, all of them in one engine call a step.

    Kingma and Ba 2014 (arXiv:1412.6980, Algorithm 1) with their beta_1, beta_2 and epsilon, on energies in the
    Hamiltonian's units, as Lee et al. 2025 adapt (arXiv:2501.05906). A run depends on its own task, point and rate
    only; a learning rate is the length of a step, nearly whatever the Hamiltonian's units.

    Args:
        engine: with gradients.
        tasks: B landscapes; one may come several times.
        points: where to start, radians, padded with zeros to the largest P.
        learning_rate: natural units (radians, but for QAOA's gammas), one for all or one a task.
        steps: T.
        progress: called with (step, steps).

    Raises:
        ValueError: if the engine has no gradients, or a learning rate or the number of steps is not positive.

    >>> from qiskit.quantum_info import SparsePauliOp
    >>> from qiskit_metainit.engines.statevector import Statevector
    >>> edge = Task.qaoa(SparsePauliOp("ZZ", [0.5]), reps=1)
    >>> run = adapt(Statevector(), [edge], np.array([[0.3, -1.0]]), learning_rate=0.05, steps=60)
    >>> print(run.energies[[0, -1], 0].round(3), run.arrivals(np.array([-0.499])))
    [-0.392 -0.5  ] [30]
    """
    rates = torch.as_tensor(learning_rate, dtype=torch.float64).reshape(-1, 1)
    if engine.order < 1:
        raise ValueError(
            f"Adam needs gradients, but {type(engine).__name__} offers none. Use statevector or parameter_shift."
        )
    if steps < 1 or not bool((torch.isfinite(rates) & (rates > 0)).all()) or len(rates) not in (1, len(tasks)):
        raise ValueError(
            f"At least one step and a positive learning rate, one for all or one for each of {len(tasks)} tasks, are "
            f"needed, but {steps=} and {learning_rate=} came."
        )
    here = torch.tensor(points, dtype=torch.float64)
    units = torch.zeros_like(here)
    for row, task in enumerate(tasks):
        units[row, : task.num_parameters] = task.features.unit
    mean, square = torch.zeros_like(here), torch.zeros_like(here)
    energies, norms = (np.empty((steps + 1, len(tasks))) for _ in range(2))
    for step in range(steps + 1):
        values = engine.expectation(tasks, here.requires_grad_())
        (slopes,) = torch.autograd.grad(values.sum(), here)
        slopes = slopes * units
        energies[step], norms[step] = values.detach().numpy(), slopes.norm(dim=1).numpy()
        here = here.detach()
        if step == steps:
            break
        mean = _MEAN * mean + (1 - _MEAN) * slopes
        square = _SQUARE * square + (1 - _SQUARE) * slopes**2
        root = (square / (1 - _SQUARE ** (step + 1))).sqrt() + _LEAST
        here = here - rates * units * mean / (1 - _MEAN ** (step + 1)) / root
        if progress is not None:
            progress(step + 1, steps)
    return Adaptation(energies, norms, here.numpy())
