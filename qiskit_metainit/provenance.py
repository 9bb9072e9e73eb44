"""What a number depends on: the command that made it and the versions it ran with."""

from __future__ import annotations

import shlex
import sys
from importlib import metadata
from pathlib import Path

_PACKAGES = ("qiskit-metainit", "qiskit", "qiskit-aer", "qiskit-algorithms", "torch", "numpy", "scipy", "networkx")


def versions() -> dict[str, str]:
    """Return the versions of the packages that numbers depend on."""
    return {package: metadata.version(package) for package in _PACKAGES}


def command() -> str:
    """Return the command line of this process, without the folder of its program."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
