"""What PySCF and qiskit-nature know of a molecule: classical amplitudes for the parameters of UCCSD."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qiskit import QuantumCircuit

if TYPE_CHECKING:
    from qiskit_nature.second_q.problems import ElectronicStructureProblem


def hints(problem: ElectronicStructureProblem, ansatz: QuantumCircuit) -> Mapping[str, Any]:
    """Return a molecule's classical amplitudes, one number a parameter of the ansatz."""
    raise NotImplementedError
