"""What the record of a training says of its engine, and the generators whose state decides the noise it draws next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from qiskit_metainit import plugins
from qiskit_metainit.engine import Engine
from qiskit_metainit.estimation import Estimation


def describe(engine: Engine) -> dict[str, Any]:
    """Return an engine's plugin name and settings and, if it asks an estimator, the estimator's, as JSON values.

    Settings are public attributes that hold a number, a text or None. ``shots`` None means the estimator's own number.

    >>> from qiskit_metainit.engines.statevector import Statevector
    >>> describe(Statevector())["name"]
    'statevector'
    """
    try:
        name = plugins.name_of("engines", type(engine))
    except ValueError:  # somebody's own class, not offered as a plugin
        name = type(engine).__name__
    record = {"name": name, **_settings(engine)}
    for estimation in _estimations(engine):
        estimator = estimation.estimator
        record |= {"shots": estimation.shots, "estimator": type(estimator).__name__, **_settings(estimator)}
    return record


def generators(engine: Engine) -> list[np.random.Generator]:
    """Return the generators, of an engine and of its estimator, that noise and directions are drawn from.

    Public attributes only: what draws from the system's entropy cannot be repeated.
    """
    parts = [engine, *(estimation.estimator for estimation in _estimations(engine))]
    return [value for part in parts for value in _public(part).values() if isinstance(value, np.random.Generator)]


def noise_settings(engine: Engine) -> dict[str, Any] | None:
    """Return what a resumed training must repeat: the description of an engine with noise, None for an exact one."""
    return describe(engine) if _estimations(engine) or generators(engine) else None


def noise_of(training: Mapping[str, Any]) -> str:
    """Return what an artifact's record of its training says that the costs were.

    >>> noise_of({"engine": {"name": "spsa", "shots": 1000, "noise": "fake_fez"}})
    '1000 shots a circuit under the noise of fake_fez'
    """
    engine = training.get("engine", {})  # early artifacts do not say: they were trained exactly
    shots, noise = engine.get("shots"), engine.get("noise")
    if shots is None and not engine.get("shots_spent"):
        return "exact expectation values"
    known = "sampled expectation values" if shots is None else f"{shots} shots a circuit"
    return known + (f" under the noise of {noise}" if noise else "")


def _estimations(engine: Engine) -> list[Estimation]:
    return [value for value in getattr(engine, "__dict__", {}).values() if isinstance(value, Estimation)]


def _settings(part: object) -> dict[str, Any]:
    return {name: value for name, value in _public(part).items() if isinstance(value, str | int | float | None)}


def _public(part: object) -> dict[str, Any]:
    return {name: value for name, value in getattr(part, "__dict__", {}).items() if not name.startswith("_")}
