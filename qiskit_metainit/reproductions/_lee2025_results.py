"""What the reproduction of Lee et al. 2025 measured, and how to ask for it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qiskit_metainit.reproductions._lee2025_jobs import RATE

Array = NDArray[np.float64]

SHOWN = {
    "zero": "zero",
    "pi": "pi",
    "uniform": "uniform",
    "gaussian": "Gaussian",
    "q_maml": "Q-MAML",
    "constant": "shared point",
    "ramp": "ramp",
    "spin_chain": "spin chain",
    "hartree_fock": "Hartree-Fock",
}
"""Names of the starts; the first five are the paper's."""
TARGETS = ("1%", "0.1%", "best + 1%")
"""Gaps to the ground state, and a gap of 1% to the lowest energy that any run of the same circuit found."""
_POINTS = 60  # of a curve that is kept


@dataclass(frozen=True, eq=False)
class Course:
    """Adam from one start at one rate, on I tasks."""

    gaps: Array
    """(T + 1, I)"""
    norms: Array
    """(T + 1,) mean gradient norms."""
    reached: Mapping[str, NDArray[np.int64]]
    """By target (I,) steps, T + 1 where it was not reached."""

    @property
    def steps(self) -> int:
        """T."""
        return len(self.gaps) - 1

    @property
    def best(self) -> Array:
        """(T + 1,) mean gaps of the best point so far."""
        return np.asarray(np.minimum.accumulate(self.gaps, axis=0).mean(axis=1))

    @property
    def last(self) -> Array:
        """(T + 1,) mean gaps of the current point."""
        return np.asarray(self.gaps.mean(axis=1))

    def median(self, target: str) -> float:
        """Return the median number of steps to a target, infinite if the median run does not reach it."""
        found = float(np.median(self.reached[target]))
        return found if found <= self.steps else math.inf

    def share(self, target: str) -> float:
        """Return the share of tasks whose run reaches a target."""
        return float((self.reached[target] <= self.steps).mean())


@dataclass(frozen=True, eq=False)
class Adapted:
    """One experiment: its starts on I test tasks."""

    name: str
    """Heading."""
    raw: Mapping[str, Any]
    """What the pieces returned."""

    @property
    def setup(self) -> Mapping[str, Any]:
        """Settings."""
        found: Mapping[str, Any] = self.raw["setup"]
        return found

    @property
    def starts(self) -> tuple[str, ...]:
        """Names, in the order of ``SHOWN``."""
        return tuple(name for name in SHOWN if name in self.raw["starts"])

    def gap(self, energies: Any) -> Array:
        """Return energies (.., I) as gaps: infidelities for distributions."""
        known = self.raw["reference"]
        return np.asarray((np.array(energies) - np.array(known["lowest"])) / np.array(known["unit"]))

    @cached_property
    def found(self) -> Array:
        """(I,) gaps of the lowest energies that any run reached."""
        courses = [each["energies"] for start in self.raw["starts"].values() for each in start["courses"].values()]
        return np.asarray(np.min([self.gap(energies).min(axis=0) for energies in courses], axis=0))

    def proposed(self, start: str) -> Array:
        """Return (S, I) gaps of the points themselves, a row a trained seed."""
        return self.gap(self.raw["starts"][start]["energies"])

    def stationary(self, start: str) -> bool:
        """Return whether all gradients at the start are zero."""
        return bool(self.raw["starts"][start]["stationary"])

    def course(self, start: str, rate: float) -> Course:
        """Return the runs at one learning rate."""
        course = self.raw["starts"][start]["courses"][f"{rate:g}"]
        gaps = self.gap(course["energies"])
        limits: dict[str, float | Array] = {"1%": 0.01, "0.1%": 0.001, "best + 1%": self.found + 0.01}
        reached = {}
        for target, limit in limits.items():
            there = gaps <= limit
            reached[target] = np.where(there.any(axis=0), there.argmax(axis=0), len(gaps))
        return Course(gaps, np.array(course["gradient norms"]), reached)

    def own_rate(self, start: str) -> float:
        """Return the other learning rate that reaches the targets soonest, and among equals gets lowest."""
        rates: Sequence[float] = self.setup["rates"]

        def worth(rate: float) -> tuple[float, float]:
            course = self.course(start, rate)
            return float(np.sum([steps.mean() for steps in course.reached.values()])), float(course.best[-1])

        return min(rates, key=worth)

    def own(self, start: str) -> Course:
        """Return the runs at a start's own learning rate."""
        return self.course(start, self.own_rate(start))

    def as_json(self) -> dict[str, Any]:
        """Return what is published: curves at some steps, not at all."""
        starts = {}
        for name in self.starts:
            courses = {}
            for rate in (RATE, *self.setup["rates"]):
                course = self.course(name, rate)
                steps = np.unique(np.geomspace(1, course.steps + 1, _POINTS).astype(int) - 1)
                courses[f"{rate:g}"] = {
                    "steps": steps.tolist(),
                    "best": course.best[steps].round(7).tolist(),
                    "last": course.last[steps].round(7).tolist(),
                    "gradient norms": course.norms[steps].tolist(),
                    "reached": {target: found.tolist() for target, found in course.reached.items()},
                }
            known = self.raw["starts"][name]
            starts[name] = {
                "gaps": self.proposed(name).round(7).tolist(),
                "stationary": self.stationary(name),
                **{key: known[key] for key in ("mean", "spread", "between tasks")},
                "own rate": self.own_rate(name),
                "courses": courses,
            }
        return {
            "setup": dict(self.setup),
            "reference": self.raw["reference"],
            "best found": self.found.round(7).tolist(),
            "learning": self.raw["learning"],
            "starts": starts,
        }


def ratio(slow: float, fast: float, most: int) -> str:
    """Return how many times sooner the second is, as far as it is known.

    Args:
        slow: median steps of the one, infinite if it did not arrive.
        fast: of the other.
        most: steps that were run.

    >>> ratio(100, 50, 400), ratio(math.inf, 50, 400), ratio(100, math.inf, 400), ratio(30, 0, 400), ratio(0, 0, 400)
    ('2.0', '> 8.0', '< 0.2', 'at once', 'both at once')
    """
    if math.isinf(slow) and math.isinf(fast):
        return "neither"
    if fast == 0:
        return "both at once" if slow == 0 else "at once"
    if math.isinf(slow):
        return f"> {most / fast:.1f}"
    return f"< {slow / most:.1f}" if math.isinf(fast) else f"{slow / fast:.1f}"
