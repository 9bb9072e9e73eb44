"""Known optima carried over to other values of what the instances differ in: a spline, or the nearest of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, final

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp
from scipy.interpolate import RBFInterpolator
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from qiskit_metainit.features import FeatureBatch, Features
from qiskit_metainit.model import Model, State
from qiskit_metainit.problem import Problem

_KINDS = ("spline", "nearest")


@final
class Interpolation(Model):
    """Optimal angles of a few instances, interpolated over the numbers that the family gives as hints.

    "spline" interpolates through the known optima: a natural cubic spline over one number, a thin-plate spline (Duchon
    1977) over several, linear far from the known ones. "nearest" takes the point of the closest one, which along a scan
    is the continuation from the previous geometry. Both need instances of one kind and circuit, whose optima somebody
    has paid for; and optima on one branch, which nothing makes sure of: orbitals may change their signs from geometry
    to geometry. ``Interpolation.fit`` takes the optima that are given to it.

    Args:
        hints: names of the D numbers in ``Problem.hints``.
        knots: (M, D) their values at the known instances.
        points: (M, P) the known optima, radians.
        kind: "spline" or "nearest".

    >>> known = {"hints": ["bond"], "knots": [[1.0], [1.5], [2.0]], "points": [[0.1], [0.2], [0.3]]}
    >>> model = Interpolation(**known)
    >>> model.at({"bond": 1.75}).tolist()
    [0.25]
    """

    def __init__(
        self,
        *,
        hints: Sequence[str] = ("parameter",),
        knots: Sequence[Sequence[float]] = ((0.0,), (1.0,)),
        points: Sequence[Sequence[float]] = ((0.0,), (1.0,)),
        kind: str = "spline",
    ) -> None:
        super().__init__()
        self.hints, self.knots, self.points = list(hints), [list(row) for row in knots], [list(row) for row in points]
        self.kind = kind
        if kind not in _KINDS:
            raise ValueError(f"kind must be one of {', '.join(_KINDS)}, but {kind!r} came.")
        widths, sizes = {len(row) for row in self.knots}, {len(row) for row in self.points}
        if len(self.knots) != len(self.points) or widths != {len(self.hints)} or len(sizes) != 1:
            raise ValueError(
                f"A row of {len(self.hints)} numbers and one of P angles are needed for each known instance, but "
                f"{len(self.knots)} rows of {sorted(widths)} and {len(self.points)} of {sorted(sizes)} came."
            )
        if kind == "spline" and len(self.knots) <= len(self.hints):
            raise ValueError(
                f"A spline over {len(self.hints)} numbers needs more than {len(self.hints)} known instances, but "
                f"{len(self.knots)} came. Give more, or take kind='nearest'."
            )
        spread = np.ptp(np.array(self.knots), axis=0)
        self._unit = np.where(spread > 0, spread, 1.0)

    @classmethod
    def fit(cls, problems: Sequence[Problem], points: ArrayLike, *, kind: str = "spline") -> Interpolation:
        """Return the model of instances whose optima are known; it reads the numbers in which they differ.

        Args:
            problems: of one circuit, with hints.
            points: (M, P) their optima, radians.
            kind: "spline" or "nearest".

        Raises:
            ValueError: if they differ in no number, or in more than a spline can take.
        """
        first = problems[0].hints
        numbers = [key for key, value in first.items() if isinstance(value, int | float) and key != "shift"]
        read = [key for key in numbers if len({problem.hints.get(key) for problem in problems}) > 1]
        if not read:
            raise ValueError(
                "Instances that differ in a number among their hints are needed, but these differ in none."
            )
        knots = [[float(problem.hints[key]) for key in read] for problem in problems]
        return cls(hints=read, knots=knots, points=np.asarray(points, dtype=float).tolist(), kind=kind)

    def unsupported(self, features: Features) -> str | None:
        """See Model."""
        if features.ansatz != "circuit":
            return "Interpolation needs a circuit of its own, but a QAOA circuit came"
        missing = ", ".join(key for key in self.hints if not isinstance(features.hints.get(key), int | float))
        if missing:
            return f"Interpolation needs the numbers {', '.join(self.hints)} as hints, but {missing} did not come"
        size = len(self.points[0])
        if features.num_parameters != size:
            return f"this Interpolation answers {size} parameters, but the task has {features.num_parameters}"
        return None

    def probes(self) -> Sequence[tuple[SparsePauliOp, QuantumCircuit, Mapping[str, Any]]]:
        """See Model."""
        circuit = QuantumCircuit(1)
        for angle in ParameterVector("angle", len(self.points[0])):
            circuit.ry(angle, 0)
        middle = np.mean(self.knots, axis=0).tolist()
        return [
            (SparsePauliOp("Z"), circuit, dict(zip(self.hints, row, strict=True))) for row in (self.knots[0], middle)
        ]

    def at(self, hints: Mapping[str, Any]) -> np.ndarray:
        """Return the (P,) angles at some values of the hints."""
        asked = np.array([[float(hints[key]) for key in self.hints]]) / self._unit
        knots, points = np.array(self.knots) / self._unit, np.array(self.points)
        if self.kind == "nearest":
            return np.asarray(points[np.argmin(np.linalg.norm(knots - asked, axis=1))])
        kernel: Literal["cubic", "thin_plate_spline"] = "cubic" if len(self.hints) == 1 else "thin_plate_spline"
        return np.asarray(RBFInterpolator(knots, points, kernel=kernel, degree=1)(asked)[0])

    def begin(self, features: FeatureBatch) -> tuple[Float[Tensor, "B P"], State]:
        """See Model."""
        rows = [torch.as_tensor(self.at(item.hints)) for item in features.items]
        return pad_sequence(rows, batch_first=True), None
