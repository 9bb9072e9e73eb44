"""Learned starting points for QAOA and VQE with Qiskit."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qiskit_metainit.artifact import ArtifactError
    from qiskit_metainit.budget import ShotBudget
    from qiskit_metainit.deployment import Deployment
    from qiskit_metainit.initializer import MetaInitializer
    from qiskit_metainit.problem import Problem
    from qiskit_metainit.problems.distribution import Distribution
    from qiskit_metainit.problems.heisenberg import Heisenberg
    from qiskit_metainit.problems.hubbard import Hubbard
    from qiskit_metainit.problems.ising import Ising
    from qiskit_metainit.problems.maxcut import MaxCut
    from qiskit_metainit.problems.molecule import Molecule
    from qiskit_metainit.problems.qubo import Qubo
    from qiskit_metainit.proposal import CoverageError, CoverageWarning, Proposal

__all__ = [
    "ArtifactError",
    "CoverageError",
    "CoverageWarning",
    "Deployment",
    "Distribution",
    "Heisenberg",
    "Hubbard",
    "Ising",
    "MaxCut",
    "MetaInitializer",
    "Molecule",
    "Problem",
    "Proposal",
    "Qubo",
    "ShotBudget",
]

_HOMES = {
    "ArtifactError": "artifact",
    "CoverageError": "proposal",
    "CoverageWarning": "proposal",
    "Deployment": "deployment",
    "Distribution": "problems.distribution",
    "Heisenberg": "problems.heisenberg",
    "Hubbard": "problems.hubbard",
    "Ising": "problems.ising",
    "MaxCut": "problems.maxcut",
    "MetaInitializer": "initializer",
    "Molecule": "problems.molecule",
    "Problem": "problem",
    "Proposal": "proposal",
    "Qubo": "problems.qubo",
    "ShotBudget": "budget",
}


def __getattr__(name: str) -> Any:
    # Imported when first used: torch and Qiskit take over a second, and `metainit --help` needs neither.
    if name not in _HOMES:
        raise AttributeError(f"module 'qiskit_metainit' has no attribute {name!r}")
    return getattr(importlib.import_module(f"qiskit_metainit.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
