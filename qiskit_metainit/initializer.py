"""MetaInitializer: a learned starting point for QAOA and VQE."""

from __future__ import annotations

import inspect
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparseObservable, SparsePauliOp

from qiskit_metainit import artifact, features, plugins, training
from qiskit_metainit.artifact import Artifact, Coverage
from qiskit_metainit.engine import Engine
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.features import Features
from qiskit_metainit.lookup import Lookup, answers
from qiskit_metainit.model import Model
from qiskit_metainit.models.adiabatic_ramp import AdiabaticRamp
from qiskit_metainit.models.ccsd import Ccsd
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.models.spin_chain_constant import SpinChainConstant
from qiskit_metainit.plugins import Kind, name_of
from qiskit_metainit.problem import Family, Problem, check_operator
from qiskit_metainit.proposal import CoverageError, CoverageWarning, Proposal
from qiskit_metainit.provenance import versions
from qiskit_metainit.rollout import rollout
from qiskit_metainit.training import MetaLoss, Report, Schedule

if TYPE_CHECKING:
    from qiskit_nature.second_q.problems import ElectronicStructureProblem

    from qiskit_metainit.warm_start import WarmStartedSolver

SIMULATED_QUBITS = 20
"""Up to this size a model's queries are simulated exactly where no engine is given."""

FORMULAS: tuple[Callable[[], Model], ...] = (SkInfinity, Ccsd, SpinChainConstant, AdiabaticRamp)
"""The formulas that stand in for a model outside what it covers: the first that serves the task."""

_UNTRAINED = "the model has weights, but no training on record"


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
        self._artifact = Artifact(model.eval(), _plain_name("models", model))

    @classmethod
    def load(cls, name: str | Path, *, engine: Engine | None = None) -> Self:
        """Return a shipped initializer by its name, or a saved one by its folder; "auto:4" is "auto" with 4 queries.

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
        problem: Problem | ElectronicStructureProblem | None = None,
        strict: bool = False,
    ) -> NDArray[np.float64]:
        """Return the starting point of one task: the one-item shorthand of ``propose``.

        Args:
            operator: to be minimised, as ``compute_minimum_eigenvalue`` takes it.
            reps: layers p of the standard QAOA circuit ...
            ansatz: ... or the circuit, exactly one of the two.
            problem: the operator's problem, if known; its family tells whether the training covers it. Of a molecule
                the ElectronicStructureProblem of qiskit-nature, which adds its CCSD amplitudes (PySCF computes them).
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
        problem: Problem | ElectronicStructureProblem | None = None,
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
        start, engine = time.perf_counter(), engine or self.engine
        hints = {} if problem is None or ansatz is None else _hints(problem, ansatz)
        known = problem if isinstance(problem, Problem) else None
        lookups = [Lookup(check_operator(operator), reps, ansatz, hints) for operator in operators]
        reasons = [self.outside(lookup.features, problem=known, engine=engine) for lookup in lookups]
        proposals: list[Proposal | None] = [
            None if reason is None else self.stand_in(lookup.features, reason, strict=strict)
            for lookup, reason in zip(lookups, reasons, strict=True)
        ]
        learned = [lookup for lookup, reason in zip(lookups, reasons, strict=True) if reason is None]
        points, shots = answers(self.model, learned, engine or Statevector())
        seconds = (time.perf_counter() - start) / max(len(lookups), 1)
        own = (
            Proposal(
                point=point,
                model=self.name,
                queries=self.model.queries,
                shots=shots,
                seconds=seconds,
                covered=self.coverage is not None or not _has_weights(self.model),
                extrapolated=self._extrapolates(lookup.features, known),
                classical_simulation=self.model.queries > 0 and (engine is None or isinstance(engine, Statevector)),
                notes=(_UNTRAINED,) if self.coverage is None and _has_weights(self.model) else (),
            )
            for point, lookup in zip(points, learned, strict=True)
        )
        return [next(own) if proposal is None else proposal for proposal in proposals]

    def stand_in(self, task: Features, reason: str, *, strict: bool = False) -> Proposal:
        """Return the best formula's point for a task that this initializer does not cover, with a warning.

        Args:
            task: the task's features.
            reason: why it is not covered ("it was trained for ..., but ... came").
            strict: raise instead.

        Raises:
            CoverageError: if strict, or if no formula serves the task.
        """
        what = f"{self.name!r} does not cover this task: {reason}"
        formulas = [make() for make in FORMULAS]
        refused = [formula.unsupported(task) for formula in formulas]
        if strict and None in refused:
            raise CoverageError(f"{what}. Leave strict out to start from a formula.")
        if None not in refused:
            raise CoverageError(
                f"{what}; and no formula stands in: {'; '.join(map(str, refused))}. Choose an artifact for this kind "
                "of task (metainit list), or start from MetaInitializer(RandomPoint())."
            )
        formula = formulas[refused.index(None)]
        name = _plain_name("models", formula)
        message = f"{what}. Starting from the formula {name} instead."
        warnings.warn(message, CoverageWarning, stacklevel=_users_level())
        start = time.perf_counter()
        point = rollout(formula, [task], None, measure_answer=False).answer[0].numpy()
        seconds = time.perf_counter() - start
        return Proposal(point, name, queries=0, shots=0, seconds=seconds, covered=False, fallback=reason)

    def wrap(self, solver: Any, *, problem: Problem | ElectronicStructureProblem | None = None) -> WarmStartedSolver:
        """Return a minimum eigensolver that starts itself at the learned point, for any operator it is given.

        Args:
            solver: QAOA, SamplingVQE or VQE of qiskit-algorithms or of qiskit-optimization; it is left unchanged, and
                its own initial_point is not used.
            problem: as in ``initial_point``. One that brings an ansatz tells what the parameters are where the
                solver's own circuit does not, compiled for a device as it is.

        Raises:
            TypeError: if it is another solver.
        """
        from qiskit_metainit.warm_start import WarmStartedSolver  # qiskit-algorithms, only for those who solve with it

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
        """Meta-train the model on a family's landscapes; arguments and errors as in ``training.train``.

        Args:
            family: such as ``MaxCut(sizes=[6, 7, 8, 9])``.
            reps: QAOA's depth or several; by default the depth that a model of fixed size serves. A family whose
                problems bring an ansatz, such as ``Heisenberg()``, has none.
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
        own = reps is None and family.sample(np.random.default_rng(0)).ansatz is not None
        depths = [] if own else _depths(self.model, reps)
        seed = int(rng) if isinstance(rng, int | np.integer) else None
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
        coverage = Coverage(
            reps=tuple(sorted(set(depths))),
            qubits=report.qubits,
            family=_plain_name("problems", family),
            order=report.order,
            fields=report.fields,
            ansatz="circuit" if own else "qaoa",
        )
        record = {
            "family": dict(family.settings),
            "reps": list(depths),
            "loss": loss if isinstance(loss, str) else getattr(loss, "__name__", "custom"),
            "steps": steps,
            "batch": batch,
            "seed": seed,
            "schedule": vars(schedule or Schedule()),
            "engine": {**report.engine, "shots_spent": report.shots},
            "seconds": round(report.seconds, 1),
            "versions": versions(),
        }
        self._artifact = Artifact(self.model, self.name, coverage, record)
        return report

    def outside(self, task: Features, *, problem: Problem | None = None, engine: Engine | None = None) -> str | None:
        """Return why a task is not covered ("it was trained for ..., but ... came"), or None.

        Args:
            task: the task's features.
            problem: the operator's, if known.
            engine: what would answer queries; None for exact simulation.
        """
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
        other_family = problem is not None and problem.family not in self._artifact.families
        return other_family or self.coverage.extrapolates(task)


def named(name: str) -> MetaInitializer:
    """Return a shipped initializer, a saved one by its folder, or a formula by its name.

    Raises:
        ValueError: if there is none, or the named model needs trained weights.
    """
    if name in artifact.shipped() or Path(name).is_dir() or name not in plugins.names("models"):
        return MetaInitializer.load(name)
    meta = MetaInitializer(plugins.load("models", name)())
    if _has_weights(meta.model):
        raise ValueError(
            f"The model {name!r} needs trained weights: name an artifact instead (metainit list), or train one with "
            f"metainit train {name}."
        )
    return meta


def _has_weights(model: Model) -> bool:
    return any(True for _ in model.parameters())


def _users_level() -> int:
    """Return the ``stacklevel`` at which a warning of the calling function points at the user's line."""
    package, level, frame = str(Path(__file__).parent), 0, inspect.currentframe()
    while frame is not None and frame.f_code.co_filename.startswith(package):
        level, frame = level + 1, frame.f_back
    return level


def _plain_name(kind: Kind, plugin: object) -> str:
    try:
        return name_of(kind, type(plugin))
    except ValueError:  # somebody's own class, not (yet) offered as a plugin
        return type(plugin).__name__


def _hints(problem: Problem | ElectronicStructureProblem, ansatz: QuantumCircuit) -> Mapping[str, Any]:
    if isinstance(problem, Problem):
        return problem.hints
    from qiskit_metainit.chemistry import hints  # qiskit-nature, only for those who bring a molecule

    found: Mapping[str, Any] = hints(problem, ansatz)
    return found


def _depths(model: Model, reps: int | Sequence[int] | None) -> list[int]:
    if reps is None:
        operator = SparsePauliOp("ZZ")
        served = [p for p in range(1, 13) if model.unsupported(features.of_qaoa(operator, p)) is None]
        if len(served) != 1:
            raise ValueError(
                f"reps is needed (one depth or several), since this model serves {len(served)} of the depths 1 to 12. "
                "Give reps=2, or build the model for one depth (2 * reps parameters)."
            )
        return served
    return [int(reps)] if isinstance(reps, int | np.integer) else list(reps)
