"""A starting point and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


class CoverageWarning(UserWarning):
    """A starting point that comes from a formula, since the task lies outside what the model covers.

    ``warnings.simplefilter("error", CoverageWarning)`` makes a wrapped solver as strict as ``strict=True``.
    """


class CoverageError(ValueError):
    """No starting point can be given: outside what the model covers, and strict or without a formula."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """A starting point and where it comes from."""

    point: NDArray[np.float64]
    """(P,) radians, ordered as ``circuit.parameters``."""
    model: str
    """Name of what proposed it: an artifact or a plugin."""
    queries: int
    """Costs of the instance's circuit that were asked for."""
    shots: int
    """Shots those took; 0 if they were exact."""
    seconds: float
    """Classical seconds, the batch's divided by its size."""
    covered: bool
    """Whether the model was trained for such tasks (or is a formula that serves them)."""
    extrapolated: bool = False
    """Whether the task is smaller, larger, deeper or of another family than those trained on."""
    fallback: str | None = None
    """Why a formula stands in for the model, or None."""
    classical_simulation: bool = False
    """Whether queries were answered by exact simulation on this machine."""
    notes: tuple[str, ...] = ()
    """What else a user should know."""
