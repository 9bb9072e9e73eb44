"""What is to be solved and how: a problem, an optimiser, and the shots each step takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparseObservable, SparsePauliOp
from qiskit_algorithms.optimizers import P_BFGS, Optimizer

from qiskit_metainit import artifact
from qiskit_metainit.ansatz import natural_unit
from qiskit_metainit.deployment.adapters.expectation import num_bases
from qiskit_metainit.deployment.optimizers import Minimizer, groups, make_optimizer, stay, together
from qiskit_metainit.engine import Engine
from qiskit_metainit.initializer import MetaInitializer, named
from qiskit_metainit.problem import PauliTerms, Problem, as_pauli_sum, is_diagonal
from qiskit_metainit.proposal import CoverageError, Proposal
from qiskit_metainit.task import Task


class BudgetError(ValueError):
    """A budget that does not even pay for the start."""


@dataclass(frozen=True)
class ShotSchedule:
    """Shots of each circuit evaluation, growing geometrically: coarse far from the optimum, fine near it.

    >>> [ShotSchedule(100, last=1600, over=5)(evaluation) for evaluation in (0, 1, 2, 4, 9)]
    [100, 200, 400, 1600, 1600]
    """

    first: int
    """Of the first evaluation."""
    last: int | None = None
    """From evaluation number ``over`` on; None: as the first."""
    over: int = 1
    """Evaluations over which they grow."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.first < 1 or self.over < 1 or (self.last is not None and self.last < self.first):
            raise ValueError(
                "Shots from at least 1, growing over at least 1 evaluation, are needed, but "
                f"first={self.first}, last={self.last}, over={self.over} came."
            )

    def __call__(self, evaluation: int) -> int:
        """Return the shots of an evaluation, counted from 0."""
        last = self.first if self.last is None else self.last
        share = 1.0 if self.over == 1 else min(evaluation / (self.over - 1), 1.0)
        return round(float(self.first * (last / self.first) ** share))


@dataclass(frozen=True, eq=False)
class Workload:
    """What is to be solved and how."""

    problem: Problem
    """With an ansatz for VQE, without for QAOA."""
    reps: int | None
    """Layers p of QAOA."""
    optimizer: Optimizer | Minimizer
    """Of qiskit-algorithms, or any that is called like scipy's ``minimize``."""
    schedule: ShotSchedule
    """Shots of the queries (as of the first evaluation) and of each evaluation, in every measurement basis."""
    final_shots: int
    """Of the final sampling, in every basis."""
    readout_shots: int = 0
    """Of each of two circuits that calibrate the readout, whose errors are then taken out of the energies; 0: none."""

    @property
    def bases(self) -> int:
        """Measurement bases of the Hamiltonian, each of which takes the shots."""
        return num_bases(self.problem.operator)

    @property
    def unit(self) -> NDArray[np.float64]:
        """(P,) radians per unit of what the optimiser sees, so that its steps suit gammas of any weights."""
        if self.reps is not None:
            return natural_unit(PauliTerms.of(self.problem.operator).coefficients, self.reps)
        assert self.problem.ansatz is not None
        return np.ones(self.problem.ansatz.num_parameters)

    def groups(self) -> Iterator[int] | None:
        """Return how many energies the optimiser asks for at a time, at most; None if its settings do not tell."""
        return groups(self.optimizer, self.unit.size)

    @property
    def together(self) -> int:
        """How many energies an optimiser whose settings do not tell asks for at a time, at most."""
        return together(self.optimizer, self.unit.size)

    def queries(self, meta: MetaInitializer | None) -> int:
        """Return the costs that an initializer, if any, will ask for: none where a formula stands in for it."""
        if meta is None or not meta.model.queries:
            return 0
        task = Task.of(self.problem, reps=self.reps)
        return meta.model.queries if meta.outside(task.features, problem=self.problem) is None else 0

    def proposal(self, meta: MetaInitializer, engine: Engine | None) -> Proposal:
        """Return an initializer's proposal, its queries answered by the engine."""
        problem = self.problem
        asked = {"reps": self.reps} if problem.ansatz is None else {"ansatz": problem.ansatz}
        return meta.propose([problem.operator], problem=problem, engine=engine, **asked)[0]

    def given(self, point: ArrayLike) -> Proposal:
        """Return a user's own point as a proposal."""
        found = np.asarray(point, dtype=float)
        if found.shape != self.unit.shape or not np.isfinite(found).all():
            raise ValueError(
                f"A finite initial_point of shape {self.unit.shape} is needed, one angle a parameter, but one of shape "
                f"{found.shape} came."
            )
        return Proposal(found, "given", queries=0, shots=0, seconds=0.0, covered=True)

    def usual_initializer(self) -> str:
        """Return the name of the shipped initializer for such a task.

        Raises:
            CoverageError: if none covers the circuit.
        """
        if self.reps is not None:
            return "qaoa"
        features = Task.of(self.problem).features
        known = {name: artifact.read(name).coverage for name in artifact.shipped()}
        names = [name for name, coverage in known.items() if coverage is not None and coverage.ansatz == "circuit"]
        for name in names:
            if named(name).outside(features, problem=self.problem) is None:
                return name
        raise CoverageError(
            f"None of the shipped initializers for circuits ({', '.join(names)}) covers this one. Name a formula with "
            "initializer=... (metainit list), or give an initial_point."
        )


def make_workload(
    problem: Problem | SparsePauliOp | SparseObservable,
    *,
    reps: int | None = None,
    ansatz: QuantumCircuit | None = None,
    optimizer: str | Optimizer | Minimizer = "cobyla",
    shots_per_evaluation: int | ShotSchedule = 1024,
    final_shots: int | None = None,
    readout_shots: int = 0,
) -> Workload:
    """Return a workload, checked; arguments and errors as of ``Deployment.run``."""
    if not isinstance(problem, Problem):
        operator = as_pauli_sum(problem)
        problem = Problem(operator, "operator", tuple(range(int(operator.num_qubits))))
    if ansatz is not None:
        problem = replace(problem, ansatz=ansatz)
    task = Task.of(problem, reps=reps)
    if reps is not None and not is_diagonal(task.hamiltonian):
        raise ValueError(
            "QAOA with reps needs a diagonal operator (products of Z), but this one has X or Y terms. Give the circuit "
            "of a VQE: ansatz=..."
        )
    schedule = shots_per_evaluation
    if not isinstance(schedule, ShotSchedule):
        schedule = ShotSchedule(_whole("shots_per_evaluation", schedule, 1))
    if isinstance(optimizer, str):
        # A learned start is near an optimum: a first step of 0.2 radians refines it, the default of 1 leaves it.
        optimizer = make_optimizer(optimizer, maxiter=60, rhobeg=0.2, problem=problem)
    if isinstance(optimizer, type) or not callable(getattr(optimizer, "minimize", optimizer)):
        what = f"the class {optimizer.__name__}" if isinstance(optimizer, type) else f"a {type(optimizer).__name__}"
        raise TypeError(f"An optimizer is needed, but {what} came. Construct it first: COBYLA(maxiter=60, rhobeg=0.2).")
    if isinstance(optimizer, P_BFGS):
        raise ValueError(
            "An optimizer that stays in its process is needed, but P_BFGS came, whose processes would each spend the "
            "budget. Take L_BFGS_B."
        )
    usual = (
        1 if optimizer is stay else schedule.last or schedule.first
    )  # 1: until the budget is known, see ``Tariff.filled``
    final = usual if final_shots is None else _whole("final_shots", final_shots, 1)
    return Workload(problem, reps, optimizer, schedule, final, _whole("readout_shots", readout_shots, 0))


def _whole(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"A whole number of at least {least} is needed, but {name}={value!r} came.")
    return int(value)
