"""A learned starting point where qiskit-nature takes one: its ``InitialPoint`` interface."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit_nature.second_q.algorithms.initial_points import InitialPoint
from qiskit_nature.second_q.mappers import QubitMapper
from qiskit_nature.second_q.problems import BaseProblem, ElectronicStructureProblem

from qiskit_metainit.initializer import MetaInitializer


class LearnedInitialPoint(InitialPoint):
    """The point that an initializer proposes for a problem of qiskit-nature, in place of ``HFInitialPoint`` and others.

    Of a molecule the CCSD amplitudes are given to the initializer too, which PySCF computes (extra ``chemistry``).

    Args:
        meta: the initializer, such as ``MetaInitializer.load("uccsd")``.
        mapper: from the problem's Hamiltonian to qubits; by default the ansatz's own, if it has one, as UCCSD does.

    >>> point = LearnedInitialPoint(MetaInitializer.load("uccsd"))
    >>> point.to_numpy_array()
    Traceback (most recent call last):
        ...
    ValueError: An ansatz and a problem are needed, but there is no ansatz. Call compute(ansatz, problem) first.
    """

    def __init__(self, meta: MetaInitializer, *, mapper: QubitMapper | None = None) -> None:
        super().__init__()
        self._meta = meta
        self._mapper = mapper
        self._ansatz: QuantumCircuit | None = None
        self._problem: BaseProblem | None = None
        self._point: NDArray[np.float64] | None = None

    @property
    def ansatz(self) -> QuantumCircuit | None:
        """The circuit whose parameters are proposed."""
        return self._ansatz

    @ansatz.setter
    def ansatz(self, ansatz: QuantumCircuit) -> None:
        self._ansatz, self._point = ansatz, None

    @property
    def problem(self) -> BaseProblem | None:
        """The problem, whose Hamiltonian is minimised."""
        return self._problem

    @problem.setter
    def problem(self, problem: BaseProblem) -> None:
        self._problem, self._point = problem, None

    def compute(self, ansatz: QuantumCircuit | None = None, problem: BaseProblem | None = None) -> None:
        """Propose the point.

        Args:
            ansatz: a circuit; by default the one set before.
            problem: by default the one set before.

        Raises:
            ValueError: if there is no ansatz, no problem or no mapper.
            CoverageError: if neither the initializer nor a formula serves the ansatz.
        """
        if ansatz is not None:
            self.ansatz = ansatz
        if problem is not None:
            self.problem = problem
        missing = [name for name, value in (("ansatz", self._ansatz), ("problem", self._problem)) if value is None]
        if missing or self._ansatz is None or self._problem is None:
            raise ValueError(
                f"An ansatz and a problem are needed, but there is no {missing[0]}. Call compute(ansatz, problem) "
                "first."
            )
        mapper: Any = self._mapper or getattr(self._ansatz, "qubit_mapper", None)
        if mapper is None:
            raise ValueError(
                "A mapper to qubits is needed, but the ansatz does not tell its own. Give it: "
                "LearnedInitialPoint(meta, mapper=JordanWignerMapper())."
            )
        operator = mapper.map(self._problem.second_q_ops()[0])
        molecule = self._problem if isinstance(self._problem, ElectronicStructureProblem) else None
        self._point = self._meta.initial_point(operator, ansatz=self._ansatz, problem=molecule)

    def to_numpy_array(self) -> NDArray[np.float64]:
        """Return (P,) radians in the order of ``ansatz.parameters``, proposed when first asked for."""
        if self._point is None:
            self.compute()
        assert self._point is not None
        return self._point
