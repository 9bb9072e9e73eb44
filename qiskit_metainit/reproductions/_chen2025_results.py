"""What the reproduction of Chen et al. 2025 measured, and how to ask for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qiskit_metainit.reproduction import interval
from qiskit_metainit.reproductions._outcomes import RATIOS

Array = NDArray[np.float64]

MODELS = ("qlstm", "lstm")
"""The learned optimisers."""
OPTIMISERS = (*MODELS, "Adam", "SGD", "RMSProp", "Adagrad", "Nelder-Mead")
"""All that iterate."""
POINTS = ("uniform", "constant", "sk_infinity", "optimum")
"""Points that are simply there, and the best known."""
ITERATIONS = (2, 10, 50)
"""Where ratios are read."""
DENSE = 6
"""k of the edge probability k/7 that the paper's headline is for."""

COMPARATORS = OPTIMISERS[2:]
"""Those that the paper compares with."""
FAMILY_TITLES = {"maxcut": "MaxCut", "sk": "SK"}
"""How a family is called on the page."""

_SHOWN = {
    "qlstm": "QLSTM",
    "lstm": "LSTM",
    "uniform": "uniform",
    "constant": "constant",
    "sk_infinity": "SK-infinity",
    "optimum": "optimum",
}


@dataclass(frozen=True, eq=False)
class Results:
    """Everything measured, and how to ask for it."""

    records: Sequence[Mapping[str, Any]]
    """One a family and depth, as the experiment made it."""
    optimum_by_depth: Mapping[str, Sequence[Sequence[float]]]
    """By family: for 8 and 12 qubits the mean ratio of the optimum at p = 1, 2, .."""
    settings: Mapping[str, Any]
    """Of the experiment."""

    def record(self, family: str, reps: int) -> Mapping[str, Any]:
        """Return the record of a family at a depth."""
        return next(item for item in self.records if (item["family"], item["reps"]) == (family, reps))

    @property
    def depths(self) -> list[int]:
        """Depths p, ascending."""
        return sorted({item["reps"] for item in self.records})

    def sizes(self, family: str, reps: int) -> list[int]:
        """Numbers of qubits tested."""
        return [cell["size"] for cell in self.record(family, reps)["cells"]]

    def has(self, reps: int, name: str, iteration: int) -> bool:
        """Return whether a method got to an iteration; a fixed point is there from the start."""
        return name in POINTS or str(iteration) in self.record("maxcut", reps)["cells"][0]["optimisers"][name]["at"]

    def last(self, reps: int) -> int:
        """Return the last iteration that all got to and where ratios are read."""
        return max(at for at in ITERATIONS if all(self.has(reps, name, at) for name in OPTIMISERS))

    def mean(self, family: str, reps: int, name: str, what: str, iteration: int = 2, **where: int) -> float:
        """Return the mean of ``values``."""
        return float(self.values(family, reps, name, what, iteration, **where).mean())

    def difference(self, family: str, reps: int, name: str, iteration: int, **where: int) -> tuple[float, float, float]:
        """Return the mean paired difference of the QLSTM's expectation ratio and another's, and its 95% interval."""
        ours, others = (self.values(family, reps, own, RATIOS[0], iteration, **where) for own in ("qlstm", name))
        return interval(ours - others)

    def values(
        self,
        family: str,
        reps: int,
        name: str,
        what: str,
        iteration: int,
        *,
        size: int | None = None,
        connectivity: int | None = None,
    ) -> Array:
        """Return a number of each instance, over all sizes and connectivities but where one is given."""
        found = []
        for cell in self.record(family, reps)["cells"]:
            if size not in (None, cell["size"]):
                continue
            chosen = np.array([connectivity in (None, k) for k in cell["connectivity"]])
            source = cell["points"][name] if name in POINTS else cell["optimisers"][name]["at"][str(iteration)]
            found.append(np.array(source[what])[chosen])
        return np.concatenate(found)


def summary(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with means over the instances of each edge probability, and the courses at P = 6/7 only."""
    cells = []
    for cell in record["cells"]:
        labels = np.array(cell["connectivity"])
        groups = {str(k): labels == k for k in sorted(set(cell["connectivity"]))}

        def means(content: Mapping[str, Any], groups: Mapping[str, Any] = groups) -> dict[str, Any]:
            return {
                key: {k: round(float(np.array(values)[rows].mean()), 5) for k, rows in groups.items()}
                for key, values in content.items()
                if key in (*RATIOS, "evaluations")
            }

        optimisers = {
            name: {
                "at": {
                    when: {**means(content), "by_seed": dict(zip(RATIOS, content["by_seed"], strict=True))}
                    for when, content in own["at"].items()
                },
                **{kind: {k: own[kind][k] for k in own[kind] if int(k) in (0, DENSE)} for kind in ("course", "best")},
            }
            for name, own in cell["optimisers"].items()
        }
        points = {name: means(content) for name, content in cell["points"].items()}
        counts = {k: int(rows.sum()) for k, rows in groups.items()}
        cells.append({"size": cell["size"], "instances": counts, "optimisers": optimisers, "points": points})
    return {**record, "cells": cells}


def shown(name: str) -> str:
    """Return how a method is called on the page."""
    return _SHOWN.get(name, name)
