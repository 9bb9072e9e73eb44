"""A family of families: every instance is drawn from one of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qiskit_metainit import plugins
from qiskit_metainit.problem import Family, Problem

_DEFAULT = ({"family": "maxcut"}, {"family": "ising"})


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Problems of several families, to learn from all of them at once.

    >>> parts = [{"family": "maxcut", "settings": {"sizes": [6]}, "share": 3}, {"family": "labs"}]
    >>> Mixture(parts=parts).sample(np.random.default_rng(7)).family
    'maxcut'
    """

    parts: Sequence[Mapping[str, Any]] = _DEFAULT
    """Each a mapping of "family", the name of a family, and, if need be, "settings", its keyword settings, and "share",
    how often it is drawn in proportion to the others (1)."""

    def __post_init__(self) -> None:
        if not isinstance(self.parts, Sequence) or not self.parts:
            raise ValueError(f"parts must name one family or more, but {self.parts!r} came. Give [{{'family': ...}}].")
        for part in self.parts:
            share = part.get("share", 1) if isinstance(part, Mapping) else 0
            if not isinstance(part, Mapping) or set(part) - {"family", "settings", "share"} or "family" not in part:
                raise ValueError(
                    "Each of parts must be a mapping with 'family' and, if need be, 'settings' and 'share', but "
                    f"{part!r} came."
                )
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < float("inf"):
                raise ValueError(f"Each share must be a number above zero, but {share!r} came. Leave out what is zero.")
        object.__setattr__(self, "parts", tuple({"settings": {}, "share": 1, **part} for part in self.parts))
        self._families()

    @property
    def settings(self) -> Mapping[str, Any]:
        """The keyword settings that rebuild this family, as JSON values."""
        return {"parts": [{**part, "settings": dict(part["settings"])} for part in self.parts]}

    def sample(self, rng: np.random.Generator) -> Problem:
        """Draw a family, then one of its instances."""
        shares = np.array([part["share"] for part in self.parts], dtype=np.float64)
        return self._families()[int(rng.choice(len(shares), p=shares / shares.sum()))].sample(rng)

    def _families(self) -> list[Family]:
        return [plugins.load("problems", part["family"])(**part["settings"]) for part in self.parts]
