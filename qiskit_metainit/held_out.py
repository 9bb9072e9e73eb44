"""The instances that starts are compared on: drawn from a problem family, or the user's own graphs."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qiskit_metainit import plugins
from qiskit_metainit.initializer import SIMULATED_QUBITS
from qiskit_metainit.problem import Family, Problem
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.terminal import spans


@dataclass(frozen=True, eq=False)
class Instances:
    """Problems to compare starts on."""

    title: str
    """What they are."""
    problems: tuple[Problem, ...]
    """The instances."""
    names: tuple[str, ...]
    """Of the user's own; empty for drawn ones."""
    origin: Mapping[str, Any]
    """What makes them again, as JSON values."""


def drawn(problem: str, settings: Mapping[str, Any], count: int, seed: int) -> Instances:
    """Return instances drawn from a seed.

    Args:
        problem: name of a family.
        settings: its keyword settings; without sizes of 10 to 12 qubits, if it is for QAOA and has sizes.
        count: how many.
        seed: of the draws.

    Raises:
        ValueError: if there is no such family, or it takes no such setting, with the choices; or a value is wrong.

    >>> drawn("ising", {"sizes": [4, 5]}, 3, seed=7).title
    'ising: sizes 4-5'
    """
    family = make_family(problem, settings, sizes=None)
    if family.sample(np.random.default_rng(seed)).ansatz is None:
        family = make_family(problem, settings)
    rng = np.random.default_rng(seed)
    origin = {"problem": problem, "family": dict(family.settings), "instances": count, "seed": seed}
    problems = tuple(family.sample(rng) for _ in range(count))
    return Instances(_described(problem, family.settings), problems, (), origin)


def graphs_in(folder: Path) -> Instances:
    """Return MaxCut on every graph file of a folder.

    Raises:
        ValueError: if there is none, one is damaged, or one is too large for exact simulation.
    """
    found = MaxCut.from_folder(folder)
    large = [f"{name} ({problem.num_qubits})" for name, problem in found if problem.num_qubits > SIMULATED_QUBITS]
    if large:
        raise ValueError(
            f"Starts are rated by exact simulation of graphs of up to {SIMULATED_QUBITS} nodes, but there are more in "
            f"{', '.join(large)}. Move these out of {folder}; MetaInitializer.load(...).initial_point(operator, "
            "reps=...) gives their starts without simulating."
        )
    names, problems = zip(*found, strict=True)
    origin = {"folder": str(folder), "instances": len(names)}
    return Instances(f"{folder.name}: {len(names)} graphs", problems, names, origin)


def make_family(name: str, settings: Mapping[str, Any], *, sizes: Sequence[int] | None = (10, 11, 12)) -> Family:
    """Return a problem family by its name and keyword settings; arguments and errors as in ``drawn``.

    Args:
        name: of the family.
        settings: its keyword settings.
        sizes: where the settings have none; None for the family's own.

    >>> make_family("ising", {"couplings": "signs"}, sizes=[6]).settings["sizes"]
    [6]
    """
    cls = plugins.load("problems", name)
    taken = list(inspect.signature(cls).parameters)
    if unknown := [key for key in settings if key not in taken]:
        raise ValueError(
            f"The problem {name!r} takes the settings {', '.join(taken)}, but {', '.join(unknown)} came. Choose among "
            "them."
        )
    family: Family = cls(**{**({"sizes": list(sizes)} if sizes and "sizes" in taken else {}), **settings})
    return family


def _described(name: str, settings: Mapping[str, Any]) -> str:
    """Return a line of the settings: the sizes, and whatever is not as it is by default."""
    usual = {key: each.default for key, each in inspect.signature(plugins.load("problems", name)).parameters.items()}
    told = {key: value for key, value in settings.items() if key == "sizes" or not _same(value, usual.get(key))}
    if name == "maxcut":
        graphs, weights = (",".join(settings[key]) for key in ("graphs", "weights"))
        start = f"{graphs} graphs, {weights} weights, {spans(settings['sizes'])} nodes"
        told = {key: value for key, value in told.items() if key not in ("sizes", "graphs", "weights")}
        return ", ".join([start, *(f"{key} {_plain(value)}" for key, value in told.items())])
    return f"{name}: {', '.join(f'{key} {_plain(value)}' for key, value in told.items())}"


def _same(value: Any, other: Any) -> bool:
    return bool(list(value) == list(other) if isinstance(value, list) and isinstance(other, tuple) else value == other)


def _plain(value: Any) -> str:
    if not isinstance(value, list):
        return str(value)
    if all(isinstance(entry, int) for entry in value):
        return spans(value)
    return json.dumps(value) if any(isinstance(entry, dict) for entry in value) else ",".join(map(str, value))
