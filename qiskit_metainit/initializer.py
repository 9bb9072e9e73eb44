"""MetaInitializer: a learned starting point for QAOA and VQE."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparseObservable, SparsePauliOp

from qiskit_metainit import artifact, features, training
from qiskit_metainit.artifact import Artifact, Coverage
from qiskit_metainit.budget import Budget
from qiskit_metainit.engine import Engine
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.features import Features
from qiskit_metainit.model import Model
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.plugins import name_of
from qiskit_metainit.problem import Family, Problem, as_pauli_sum
from qiskit_metainit.rollout import normalised_cost, rollout
from qiskit_metainit.task import Task
from qiskit_metainit.training import MetaLoss, Report, Schedule

if TYPE_CHECKING:
    from qiskit_metainit.warm_start import WarmStartedSolver

SIMULATED_QUBITS = 20
"""Up to this size a model's queries are simulated exactly where no engine is given."""


class CoverageWarning(UserWarning):
    """A starting point that does not come from the trained model as it was trained.

    ``warnings.simplefilter("error", CoverageWarning)`` makes a wrapped solver as strict as ``strict=True``.
    """


class CoverageError(ValueError):
    """No starting point can be given: outside what the artifact covers, and strict or without a formula."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """A starting point and where it comes from."""

    point: NDArray[np.float64]
    """(P,) radians, ordered as ``circuit.parameters``."""
    model: str
    """Name of what proposed it: an artifact or a plugin."""
    queries: int
    """Costs of the instance's circuit that were asked for."""
    shots: int
    """Shots those took; 0 if they were exact."""
    seconds: float
    """Classical seconds, the batch's divided by its size."""
    covered: bool
    """Whether the artifact was trained for such tasks."""
    extrapolated: bool = False
    """Whether the task's size lies outside the sizes trained on."""
    fallback: str | None = None
    """Why a formula stands in for the model, or None."""
    classical_simulation: bool = False
    """Whether queries were answered by exact simulation on this machine."""
    notes: tuple[str, ...] = ()
    """What else a user should know."""


class MetaInitializer:
    """A model, what it covers, and the engine that answers its queries.

    Args:
        model: any Model.
        engine: answers the model's queries; without one they are simulated exactly up to ``SIMULATED_QUBITS`` qubits,
            and a wrapped solver's own primitive answers them.

    >>> meta = MetaInitializer.load("qaoa")
    >>> operator = SparsePauliOp(["IZZ", "ZZI", "ZIZ"], [0.5, 0.5, 0.5])
    >>> meta.initial_point(operator, reps=2).shape
    (4,)
    """

    def __init__(self, model: Model, engine: Engine | None = None) -> None:
        if not isinstance(model, Model):
            raise TypeError(
                f"A Model is needed, but a {type(model).__name__} came. Load a shipped one with "
                "MetaInitializer.load('qaoa')."
            )
        self.engine = engine
        self._artifact = Artifact(model.eval(), _plain_name(model))

    @classmethod
    def load(cls, name: str | Path, *, engine: Engine | None = None) -> Self:
        """Return a shipped initializer by its name, or a saved one by its folder.

        Raises:
            ArtifactError: if there is none, or it is incomplete, damaged, changed or of a newer format.
        """
        stored = artifact.read(name)
        loaded = cls(stored.model, engine)
        loaded._artifact = stored
        return loaded

    def save(self, folder: str | Path, *, command: str | None = None) -> None:
        """Write the initializer into a folder that ``load`` reads on any machine.

        Args:
            folder: made if need be.
            command: that repeats the training, for the record.
        """
        record = {**self._artifact.training, **({} if command is None else {"command": command})}
        artifact.write(replace(self._artifact, training=record), Path(folder))

    @property
    def model(self) -> Model:
        """The model."""
        return self._artifact.model

    @property
    def name(self) -> str:
        """Name of the artifact, or of the model's plugin."""
        return self._artifact.name

    @property
    def coverage(self) -> Coverage | None:
        """What the model was trained for; None for a formula, which covers whatever it supports."""
        return self._artifact.coverage

    @property
    def provenance(self) -> dict[str, Any]:
        """Command, seed and versions of the training, as far as recorded."""
        return dict(self._artifact.training)

    def initial_point(
        self,
        operator: SparsePauliOp | SparseObservable,
        *,
        reps: int | None = None,
        ansatz: QuantumCircuit | None = None,
        problem: Problem | None = None,
        strict: bool = False,
    ) -> NDArray[np.float64]:
        """Return the starting point of one task: the one-item shorthand of ``propose``.

        Args:
            operator: to be minimised, as ``compute_minimum_eigenvalue`` takes it.
            reps: layers p of the standard QAOA circuit ...
            ansatz: ... or the circuit, exactly one of the two.
            problem: the operator's problem, if known; its family tells whether the training covers it.
            strict: raise where a formula would have to stand in for the model.

        Returns:
            (2 * reps,) in the order of ``qaoa_ansatz(operator, reps).parameters``, or (ansatz.num_parameters,) in the
            order of ``ansatz.parameters``; radians.

        Raises:
            ValueError: for a bad operator, or not exactly one of ``reps`` and ``ansatz``.
            CoverageError: outside what is covered, if strict or if no formula applies.
        """
        return self.propose([operator], reps=reps, ansatz=ansatz, problem=problem, strict=strict)[0].point

    def propose(
        self,
        operators: Sequence[SparsePauliOp | SparseObservable],
        *,
        reps: int | None = None,
        ansatz: QuantumCircuit | None = None,
        problem: Problem | None = None,
        strict: bool = False,
        engine: Engine | None = None,
    ) -> list[Proposal]:
        """Return a starting point for each operator, all queries of a step in one engine call.

        Args and errors as in ``initial_point``; ``engine`` answers the queries of this call only.
        """
        if (reps is None) == (ansatz is None):
            raise ValueError(
                "Exactly one of reps (layers of the standard QAOA circuit) and ansatz (a circuit) is needed, but "
                f"{'neither' if reps is None else 'both'} came."
            )
        if isinstance(operators, SparsePauliOp | SparseObservable):
            raise TypeError("propose takes a list of operators, but one operator came. Put it in a list.")
        start = time.perf_counter()
        engine = engine or self.engine
        lookups = [_Lookup(as_pauli_sum(operator), reps, ansatz) for operator in operators]
        reasons = [self._outside(lookup.features, problem, engine) for lookup in lookups]
        for lookup, reason in zip(lookups, reasons, strict=True):
            if reason is not None:
                _check_fallback(self.name, lookup.features, reason, strict)
        learned = [lookup for lookup, reason in zip(lookups, reasons, strict=True) if reason is None]
        formula = [lookup for lookup, reason in zip(lookups, reasons, strict=True) if reason is not None]
        points, shots = self._answer(self.model, learned, engine or Statevector())
        fallback_points, _ = self._answer(SkInfinity(), formula, None)
        seconds = (time.perf_counter() - start) / max(len(lookups), 1)
        proposals = []
        for lookup, reason in zip(lookups, reasons, strict=True):
            own = Proposal(
                point=next(points) if reason is None else next(fallback_points),
                model=self.name if reason is None else "sk_infinity",
                queries=self.model.queries if reason is None else 0,
                shots=shots if reason is None else 0,
                seconds=seconds,
                covered=reason is None,
                fallback=reason,
            )
            if reason is None:
                own = replace(
                    own,
                    extrapolated=self._extrapolates(lookup.features, problem),
                    classical_simulation=self.model.queries > 0 and (engine is None or isinstance(engine, Statevector)),
                )
            proposals.append(own)
        return proposals

    def wrap(self, solver: Any, *, problem: Problem | None = None) -> WarmStartedSolver:
        """Return a minimum eigensolver that starts itself at the learned point, for any operator it is given.

        Args:
            solver: QAOA, SamplingVQE or VQE of qiskit-algorithms or of qiskit-optimization; it is left unchanged.
            problem: as in ``initial_point``.

        Raises:
            TypeError: if it is another solver.
        """
        from qiskit_metainit.warm_start import WarmStartedSolver

        return WarmStartedSolver(self, solver, problem=problem)

    def train(
        self,
        family: Family,
        *,
        reps: int | Sequence[int] | None = None,
        loss: MetaLoss | str = training.final,
        steps: int,
        batch: int = 64,
        rng: np.random.Generator | int,
        checkpoint: str | Path | None = None,
        schedule: Schedule | None = None,
        progress: Callable[[int, float], None] | None = None,
    ) -> Report:
        """Meta-train the model on a family's QAOA landscapes; arguments and errors as in ``training.train``.

        Args:
            family: such as ``MaxCut(sizes=[6, 7, 8, 9])``.
            reps: one depth or several; by default the depth that a model of fixed size serves.
            loss: a meta-loss or its name.
            steps: gradient steps.
            batch: instances a step.
            rng: a Generator or a seed.
            checkpoint: a file to resume from and to write to.
            schedule: of the optimiser.
            progress: called with (step, loss).

        Returns:
            Losses, seconds and what was spent.
        """
        depths = _depths(self.model, reps)
        seed = rng if isinstance(rng, int) else None
        report = training.train(
            self.model,
            family,
            self.engine or Statevector(precision="single"),
            reps=depths,
            loss=loss,
            steps=steps,
            batch=batch,
            rng=np.random.default_rng(rng),
            schedule=schedule,
            checkpoint=None if checkpoint is None else Path(checkpoint),
            progress=progress,
        )
        probes = [features.of_qaoa(family.sample(np.random.default_rng(k)).operator, 1) for k in range(64)]
        sizes = [probe.num_qubits for probe in probes]
        coverage = Coverage(
            reps=tuple(sorted(set(depths))),
            qubits=(min(sizes), max(sizes)),
            family=name_of("problems", type(family)),
            order=max(probe.order for probe in probes),
            fields=any(probe.fields for probe in probes),
        )
        record = {
            "family": dict(family.settings),
            "reps": list(depths),
            "loss": loss if isinstance(loss, str) else getattr(loss, "__name__", "custom"),
            "steps": steps,
            "batch": batch,
            "seed": seed,
            "schedule": vars(schedule or Schedule()),
            "seconds": round(report.seconds, 1),
        }
        self._artifact = Artifact(self.model, self.name, coverage, record)
        return report

    def _outside(self, task: Features, problem: Problem | None, engine: Engine | None) -> str | None:
        if problem is not None and problem.num_qubits != task.num_qubits:
            raise ValueError(
                f"The problem must belong to the operator, but it has {problem.num_qubits} qubits and the operator "
                f"{task.num_qubits}. Give the operator's own problem, or none."
            )
        reason = self.coverage.outside(task) if self.coverage else None
        reason = reason or self.model.unsupported(task)
        if reason is None and self.model.queries and engine is None and task.num_qubits > SIMULATED_QUBITS:
            reason = (
                f"it asks for {self.model.queries} costs, which are simulated up to {SIMULATED_QUBITS} qubits, but "
                f"{task.num_qubits} came without an engine to answer them"
            )
        return reason

    def _extrapolates(self, task: Features, problem: Problem | None) -> bool:
        if self.coverage is None:
            return False
        other_family = problem is not None and problem.family != self.coverage.family
        return other_family or self.coverage.extrapolates(task)

    @staticmethod
    def _answer(model: Model, lookups: Sequence[_Lookup], engine: Engine | None) -> tuple[Any, int]:
        """Return an iterator over the points and the shots spent on each."""
        if not lookups:
            return iter(()), 0
        before = engine.budget.copy() if engine else Budget()
        known = [lookup.features for lookup in lookups]
        with torch.no_grad():
            cost = normalised_cost(engine, [lookup.task for lookup in lookups]) if engine and model.queries else None
            answers = rollout(model, known, cost, measure_answer=False).answer.numpy()
        shots = engine.budget.since(before).shots // len(lookups) if engine else 0
        return (row[: item.num_parameters].copy() for row, item in zip(answers, known, strict=True)), shots


class _Lookup:
    """A task that builds its circuit only when a query needs it."""

    def __init__(self, operator: SparsePauliOp, reps: int | None, ansatz: QuantumCircuit | None) -> None:
        self._operator, self._reps = operator, reps
        self._task = None if ansatz is None else Task.from_circuit(ansatz, operator)
        self.features = self._task.features if self._task else features.of_qaoa(operator, reps or 0)

    @property
    def task(self) -> Task:
        """The landscape."""
        if self._task is None:
            self._task = Task.qaoa(self._operator, reps=self._reps or 0)
        return self._task


def _check_fallback(name: str, task: Features, reason: str, strict: bool) -> None:
    if strict:
        raise CoverageError(f"{name!r} does not cover this task: {reason}. Leave strict out to start from a formula.")
    no_formula = SkInfinity().unsupported(task)
    if no_formula is not None:
        raise CoverageError(
            f"{name!r} does not cover this task: {reason}; and no formula stands in: {no_formula}. Choose an artifact "
            "for this kind of task (metainit list), or start from MetaInitializer(RandomPoint())."
        )
    warnings.warn(
        f"{name!r} does not cover this task: {reason}. Starting from the formula sk_infinity instead.",
        CoverageWarning,
        stacklevel=4,
    )


def _plain_name(model: Model) -> str:
    try:
        return name_of("models", type(model))
    except ValueError:
        return type(model).__name__


def _depths(model: Model, reps: int | Sequence[int] | None) -> list[int]:
    if reps is None:
        operator = SparsePauliOp("ZZ")
        served = [p for p in range(1, 13) if model.unsupported(features.of_qaoa(operator, p)) is None]
        if len(served) != 1:
            raise ValueError("reps is needed (one depth or several), since this model serves more than one. ")
        return served
    return [reps] if isinstance(reps, int) else list(reps)
