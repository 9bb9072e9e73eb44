"""Checks of the settings that problem families share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any


def several(values: Any, name: str, example: str) -> tuple[Any, ...]:
    """Return the entries of a setting that has one or more.

    Raises:
        TypeError: if it is no sequence.
        ValueError: if it is empty.
    """
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a sequence such as {example}, but {values!r} came. Put it into a list.")
    entries = tuple(values)
    if not entries:
        raise ValueError(f"{name} must have at least one entry, such as {example}, but it is empty.")
    return entries


def choices(values: Any, name: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the entries of a setting that chooses among known names; errors as in ``several``."""
    entries = several(values, name, f"({known[0]!r},)")
    for value in entries:
        if value not in known:
            raise ValueError(
                f"Each of {name} must be one of {', '.join(known)}, but {value!r} came. Check its spelling."
            )
    return entries


def integers(values: Any, name: str, least: int, example: str = "(6, 7, 8, 9)") -> tuple[int, ...]:
    """Return the entries of a setting of integers.

    Raises:
        ValueError: if it is no sequence of integers of at least ``least``, or empty.
    """
    entries = tuple(values) if isinstance(values, Iterable) and not isinstance(values, (str, bytes, Mapping)) else ()
    if not entries or not all(isinstance(n, Integral) and not isinstance(n, bool) and int(n) >= least for n in entries):
        raise ValueError(f"{name} must be a sequence of integers >= {least}, such as {example}, but {values!r} came.")
    return tuple(int(entry) for entry in entries)


def numbers(values: Any, name: str, example: str) -> tuple[float, ...]:
    """Return the entries of a setting of numbers of at least 0; errors as in ``several``."""
    entries = several(values, name, example)
    for value in entries:
        if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= float(value) < math.inf:
            raise ValueError(
                f"Each of {name} must be a finite number of at least 0, such as {example}, but {value!r} came."
            )
    return tuple(float(entry) for entry in entries)


def checked_probability(value: Any, name: str, size: int, instead: str) -> float:
    """Return a probability of the pairs of ``size`` nodes, large enough that some graphs have an edge.

    Raises:
        ValueError: if it is not in (0, 1], or so small that graphs have next to never an edge.
    """
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    if not 0 < number <= 1:
        raise ValueError(f"{name} must be {instead} in (0, 1], but {value!r} came.")
    if number * size * (size - 1) / 2 < 0.01:  # edgeless graphs are redrawn, which would go on almost for ever
        raise ValueError(
            f"{name} must leave graphs of {size} nodes some edges, but {value!r} means less than one edge in a "
            "hundred graphs. Raise it, or the sizes."
        )
    return number
