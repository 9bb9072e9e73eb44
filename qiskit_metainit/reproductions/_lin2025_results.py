"""What the reproduction of Lin et al. 2025 measured, and how to ask for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Table = tuple[str, list[list[str]]]

SIZES = (10, 11, 12, 13)
"""Nodes of the test graphs."""

SHOWN = {
    "qk_lstm": "QK-LSTM",
    "lstm": "LSTM",
    "qlstm": "QLSTM",
    "qfwp": "QFWP",
    "random": "random",
    "constant": "constant",
    "optimum": "p = 1 optimum",
}
"""Names as the paper writes them."""


@dataclass(frozen=True, eq=False)
class Results:
    """Everything measured, and how to ask for it."""

    settings: Mapping[str, Any]
    """Of the experiment."""
    published: Mapping[str, Sequence[Mapping[str, Any]]]
    """By model, the training reports of its seeds."""
    moved: Mapping[str, Sequence[float]]
    """By model, the largest change of a weight of the sequence model in training, for each seed."""
    beyond: Mapping[str, Sequence[Mapping[str, Any]]]
    """By model or depth, the batched trainings of its seeds."""
    constant: Mapping[str, Any]
    """The constant of the training graphs."""
    sizes: Mapping[int, Mapping[str, Any]]
    """By nodes, the tests."""
    deeper: Mapping[str, Mapping[str, Any]]
    """By depth and nodes, the LSTM's seeds beside the formula (``Comparison.as_json``)."""

    def start(self, size: int, name: str) -> Mapping[str, Any]:
        """Return the tests of one start at one size."""
        found: Mapping[str, Any] = self.sizes[size]["starts"][name]
        return found

    def ratios(self, size: int, name: str, phase: str = "phase one") -> Array:
        """Return (S, I) approximation ratios."""
        return np.array(self.start(size, name)[phase])

    def mean(self, size: int, name: str, phase: str = "phase one") -> float:
        """Return the mean approximation ratio over graphs and seeds."""
        return float(self.ratios(size, name, phase).mean())

    def by_seed(self, name: str, *, trained: bool = True) -> Array:
        """Return (S,) mean Phase I ratios over all sizes, of the trained model or of its first weights."""
        by_size = [
            self.ratios(size, name).mean(axis=1) if trained else self.sizes[size]["untrained"][name] for size in SIZES
        ]
        return np.asarray(np.mean(by_size, axis=0))

    def moves(self, size: int, name: str) -> float:
        """Return the standard deviation of the answers over graphs, relative to that of the optima."""
        start = self.start(size, name)
        return float(np.mean(start["spread"]) / start["spread of optima"])

    def amplifies(self, name: str) -> float:
        """Return what a small change of the costs is multiplied with in a model's answers, median over graphs."""
        return float(np.median([self.sizes[size]["amplifies"][name] for size in SIZES]))

    def explained(self, name: str) -> float:
        """Return the share of the optima's variance that a model's answers explain, the median over seeds and sizes."""
        return float(np.median([value for size in SIZES for value in self.start(size, name)["follows"]]))


def signed(values: tuple[float, float, float], digits: int = 3) -> str:
    """Return "mean [low, high]"."""
    mean, low, high = values
    return f"{mean:+z.{digits}f} [{low:+z.{digits}f}, {high:+z.{digits}f}]"


def spanned(values: Sequence[int]) -> str:
    """Return "least-most", or the one value there is."""
    return f"{min(values)}-{max(values)}" if min(values) < max(values) else str(min(values))


def joined(words: Sequence[str]) -> str:
    """Return words as a sentence lists them.

    >>> joined(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def listed(told: Mapping[str, str]) -> str:
    """Return what is said of each name, once where it is the same.

    >>> listed({"LSTM": "0.1", "QLSTM": "0.2", "QFWP": "0.1"}), listed({"LSTM": "1", "QFWP": "1"})
    ('0.1 (LSTM, QFWP) and 0.2 (QLSTM)', '1 (all)')
    """
    names: dict[str, list[str]] = {}
    for name, words in told.items():
        names.setdefault(words, []).append(name)
    if len(names) == 1:
        return f"{next(iter(names))} (all)"
    return joined([f"{words} ({', '.join(own)})" for words, own in names.items()])


def plural(count: int, what: str) -> str:
    """Return "1 seed" or "5 seeds"."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
