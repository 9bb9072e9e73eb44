"""A circuit's angles as functions of its parameters, at many points at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Parameter, ParameterExpression


@dataclass(frozen=True, eq=False)
class Angles:
    """A angles of P parameters, nearly always weighted sums of them."""

    parameters: tuple[Parameter, ...]
    """The P parameters, in the order of the points."""
    constant: NDArray[np.float64]
    """(A,) radians: the angles where every parameter is 0."""
    slopes: NDArray[np.float64]
    """(A, P): angle_a = sum_p slopes[a, p] theta_p + constant[a]."""
    curved: tuple[tuple[int, ParameterExpression], ...]
    """Angles that are no such sums, by their place among the A."""

    @classmethod
    def of(cls, angles: Sequence[Any], parameters: Sequence[Parameter]) -> Angles:
        """Take numbers and expressions apart."""
        constant = np.zeros(len(angles))
        slopes = np.zeros((len(angles), len(parameters)))
        column = {parameter: place for place, parameter in enumerate(parameters)}
        curved = []
        for place, angle in enumerate(angles):
            free = getattr(angle, "parameters", ())
            ascents = {parameter: angle.gradient(parameter) for parameter in free}
            if any(getattr(ascent, "parameters", ()) for ascent in ascents.values()):
                curved.append((place, angle))
                continue
            for parameter, ascent in ascents.items():
                slopes[place, column[parameter]] = float(ascent)
            constant[place] = float(angle.bind(dict.fromkeys(free, 0.0)) if free else angle)
        return cls(tuple(parameters), constant, slopes, tuple(curved))

    def at(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the (..., A) angles at (..., P) points."""
        angles = points @ self.slopes.T + self.constant
        for place, expression in self.curved:
            for index in np.ndindex(*points.shape[:-1]):
                point = dict(zip(self.parameters, points[index].tolist(), strict=True))
                angles[(*index, place)] = float(expression.bind(point, allow_unknown_parameters=True))
        return np.asarray(angles)
