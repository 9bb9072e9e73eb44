"""Random geometries of small molecules, in Angstrom: all their bonds and angles vary, not one length only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.float64]
_CLOSEST = 0.55  # two atoms may come


@dataclass(frozen=True)
class Shape:
    """A molecule and how its geometries are drawn."""

    atoms: tuple[str, ...]
    """Symbols."""
    place: Callable[[np.random.Generator, Callable[[float], float]], Positions]
    """(rng, bond) -> (atoms, 3) positions; ``bond(r)`` draws the length of a bond that is r at equilibrium."""
    charge: int = 0
    """Total charge."""
    active: tuple[int, int] | None = None
    """Electrons and orbitals of the active space, None for all but the frozen core."""


def draw(shape: Shape, stretch: tuple[float, float], rng: np.random.Generator) -> Positions:
    """Return positions; those where atoms come too close are drawn anew."""
    while True:
        positions = shape.place(rng, lambda length: length * float(rng.uniform(*stretch)))
        apart = np.linalg.norm(positions[:, None] - positions, axis=2)[np.triu_indices(len(positions), 1)]
        if apart.min() > _CLOSEST:
            return positions


def _diatomic(length: float) -> Callable[[np.random.Generator, Callable[[float], float]], Positions]:
    return lambda _, bond: np.array([[0.0, 0.0, 0.0], [0.0, 0.0, bond(length)]])


def _triangle(rng: np.random.Generator, bond: Callable[[float], float]) -> Positions:
    angle = np.radians(rng.uniform(45.0, 100.0))
    left, right = bond(0.9), bond(0.9)
    return np.array([[0.0, 0.0, 0.0], [left, 0.0, 0.0], [right * np.cos(angle), right * np.sin(angle), 0.0]])


def _chain(count: int, rng: np.random.Generator, bond: Callable[[float], float]) -> Positions:
    """A zigzag in three dimensions, of independent bonds."""
    positions, ahead = [np.zeros(3)], np.array([0.0, 0.0, 1.0])
    for _ in range(count - 1):
        positions.append(positions[-1] + bond(0.8) * ahead)
        ahead = ahead + rng.normal(scale=0.35, size=3)
        ahead /= np.linalg.norm(ahead)
    return np.array(positions)


def _ring(count: int, rng: np.random.Generator, bond: Callable[[float], float]) -> Positions:
    """A polygon of alternating sides, a little out of shape."""
    sides = np.array([bond(0.8), bond(0.8)])
    angles = np.cumsum(np.resize(2.0 * sides / (count * sides.mean()) * np.pi / 2.0, count)) * 2.0
    angles *= 2.0 * np.pi / angles[-1]
    radius = sides.mean() / (2.0 * np.sin(np.pi / count))
    flat = np.stack([np.cos(angles), np.sin(angles), np.zeros(count)], axis=1) * radius
    return np.asarray(flat + rng.normal(scale=0.06, size=(count, 3)))


def _ladder(rungs: int, rng: np.random.Generator, bond: Callable[[float], float]) -> Positions:
    """Two parallel chains: a rectangle for two rungs."""
    height = np.concatenate([[0.0], np.cumsum([bond(0.9) for _ in range(rungs - 1)])])
    width = bond(0.7)
    rows = [[side * width, level, 0.0] for level in height for side in (0, 1)]
    return np.asarray(np.array(rows) + rng.normal(scale=0.06, size=(2 * rungs, 3)))


def _hydrogens(count: int) -> Callable[[np.random.Generator, Callable[[float], float]], Positions]:
    def place(rng: np.random.Generator, bond: Callable[[float], float]) -> Positions:
        kind = int(rng.integers(3))
        if kind == 0:
            return _chain(count, rng, bond)
        return _ring(count, rng, bond) if kind == 1 else _ladder(count // 2, rng, bond)

    return place


def _bent(
    length: float, least: float, most: float
) -> Callable[[np.random.Generator, Callable[[float], float]], Positions]:
    def place(rng: np.random.Generator, bond: Callable[[float], float]) -> Positions:
        angle = np.radians(rng.uniform(least, most))
        left, right = bond(length), bond(length)
        return np.array([[0.0, 0.0, 0.0], [left, 0.0, 0.0], [right * np.cos(angle), right * np.sin(angle), 0.0]])

    return place


def _pyramid(rng: np.random.Generator, bond: Callable[[float], float]) -> Positions:
    tilt = np.radians(rng.uniform(0.0, 35.0))
    around = np.radians(np.array([0.0, 120.0, 240.0]) + rng.normal(scale=6.0, size=3))
    lengths = np.array([bond(1.01) for _ in range(3)])
    ways = np.stack([np.cos(tilt) * np.cos(around), np.cos(tilt) * np.sin(around), -np.sin(tilt) * np.ones(3)], axis=1)
    return np.concatenate([np.zeros((1, 3)), lengths[:, None] * ways])


SHAPES: Mapping[str, Shape] = {
    "H2": Shape(("H", "H"), _diatomic(0.74)),
    "H3+": Shape(("H", "H", "H"), _triangle, charge=1),
    "H4": Shape(("H",) * 4, _hydrogens(4)),
    "H6": Shape(("H",) * 6, _hydrogens(6)),
    "LiH": Shape(("Li", "H"), _diatomic(1.6)),
    "BeH2": Shape(("Be", "H", "H"), _bent(1.33, 110.0, 180.0)),
    "H2O": Shape(("O", "H", "H"), _bent(0.96, 85.0, 130.0)),
    "NH3": Shape(("N", "H", "H", "H"), _pyramid),
    "N2": Shape(("N", "N"), _diatomic(1.1), active=(6, 6)),
}
"""The families of geometries by name; STO-3G takes 4, 6, 8, 12, 10, 12, 12, 14 and 12 qubits (Jordan-Wigner)."""
