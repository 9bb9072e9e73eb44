"""A minimum eigensolver that starts itself at a proposed point."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from qiskit_algorithms import MinimumEigensolver

from qiskit_metainit import features
from qiskit_metainit.engine import Engine
from qiskit_metainit.engines.parameter_shift import ParameterShift
from qiskit_metainit.engines.sampling import Sampling
from qiskit_metainit.model import Model
from qiskit_metainit.problem import Problem
from qiskit_metainit.proposal import CoverageError, Proposal

if TYPE_CHECKING:
    from qiskit_nature.second_q.problems import ElectronicStructureProblem

_FOR_THE_MEAN = "the point was learned for the mean energy, but the solver minimises another aggregation of the samples"


_NOT_USED = (
    "This solver starts itself at a proposed point, so the initial_point set here is not used. Set it on the solver "
    "that is not wrapped."
)


class Proposer(Protocol):
    """What a solver needs of ``MetaInitializer``."""

    engine: Engine | None
    """Answers queries, or None for the solver's own primitive."""

    @property
    def name(self) -> str:
        """As messages spell it."""
        ...

    @property
    def model(self) -> Model:
        """Tells whether there are queries."""
        ...

    @property
    def propose(self) -> Callable[..., list[Proposal]]:
        """See ``MetaInitializer.propose``."""
        ...

    def stand_in(self, task: features.Features, reason: str) -> Proposal:
        """See ``MetaInitializer.stand_in``."""
        ...


class WarmStartedSolver(MinimumEigensolver):
    """QAOA, SamplingVQE or VQE with a starting point of its own for every operator.

    Works on a copy, so the user's solver keeps its ``initial_point``, which is not used. Every other attribute is read
    from and written to that copy; results are passed through with the ``proposal`` added. Made by
    ``MetaInitializer.wrap``.
    """

    def __init__(
        self, meta: Proposer, solver: Any, *, problem: Problem | ElectronicStructureProblem | None = None
    ) -> None:
        if isinstance(solver, type):
            raise TypeError(f"A solver is needed, but the class {solver.__name__} came. Construct it first.")
        for needed in ("ansatz", "initial_point", "compute_minimum_eigenvalue"):
            if not hasattr(solver, needed):
                raise TypeError(
                    "QAOA, SamplingVQE or VQE of qiskit-algorithms or qiskit-optimization is needed, but a "
                    f"{type(solver).__name__} came, which has no {needed}."
                )
        own = copy.copy(solver)
        if not _is_qaoa(own) and hasattr(own, "sampler"):
            own.ansatz = own.ansatz.copy()  # SamplingVQE adds measurements to its circuit in place
        for name, value in (("_meta", meta), ("_solver", own), ("_problem", problem)):
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_solver" not in vars(self):  # copying and unpickling ask before there is a solver
            raise AttributeError(name)
        return getattr(self._solver, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "initial_point" and value is not None:
            warnings.warn(_NOT_USED, UserWarning, stacklevel=2)
        setattr(self._solver, name, value)

    def supports_aux_operators(self) -> bool:
        """Return what the wrapped solver supports."""
        return bool(self._solver.supports_aux_operators())

    def compute_minimum_eigenvalue(self, operator: Any, aux_operators: Any = None) -> Any:
        """Propose a starting point for the operator, run the wrapped solver from it and return its result.

        The result has the additional attribute ``proposal``; None for a constant operator, which has no better start.

        Raises:
            CoverageError: if neither the model nor a formula serves the solver's ansatz.
        """
        if _is_constant(operator):  # nothing to propose, and solvers are left to answer as they do
            result = self._solver.compute_minimum_eigenvalue(operator, aux_operators)
            result.proposal = None
            return result
        proposal = self._propose(operator)
        before = self._solver.initial_point
        self._solver.initial_point = proposal.point
        try:
            result = self._solver.compute_minimum_eigenvalue(operator, aux_operators)
        finally:
            self._solver.initial_point = before
        result.proposal = proposal
        return result

    def _propose(self, operator: Any) -> Proposal:
        solver, meta = self._solver, self._meta
        engine = meta.engine or (_own_engine(solver) if meta.model.queries else None)
        propose = partial(meta.propose, [operator], problem=self._problem, engine=engine)
        if not _is_qaoa(solver):
            proposal: Proposal = propose(ansatz=self._circuit(operator.num_qubits))[0]
        elif solver.mixer is None and solver.initial_state is None:
            proposal = propose(reps=solver.reps)[0]
        else:
            proposal = self._custom(operator)
        if getattr(solver, "aggregation", None) is not None:
            proposal = replace(proposal, notes=(*proposal.notes, _FOR_THE_MEAN))
        return proposal

    def _circuit(self, num_qubits: int) -> QuantumCircuit:
        """Return the circuit that tells what each parameter is: the problem's own, or the one the solver will run."""
        circuit = _fitted(self._solver.ansatz, num_qubits)
        own = getattr(self._problem, "ansatz", None)
        if own is None:
            return circuit
        if own.num_parameters != circuit.num_parameters:
            raise ValueError(
                "The problem's ansatz must be the one the solver runs, compiled or not, but they have "
                f"{own.num_parameters} and {circuit.num_parameters} parameters. Give the solver's own problem, or none."
            )
        return own

    def _custom(self, operator: Any) -> Proposal:
        """Return the formula's point for a QAOA with a mixer or initial state of the user's own, if it has one."""
        solver = self._solver
        what = "mixer" if solver.mixer is not None else "initial state"
        reason = f"it was trained for the standard QAOA circuit, but the solver has a custom {what}"
        angles = solver.mixer.num_parameters if isinstance(solver.mixer, QuantumCircuit) else 1
        if angles != 1:
            raise CoverageError(
                f"{self._meta.name!r} does not cover this task: {reason}; and no formula stands in, since the mixer "
                f"has {angles} parameters instead of 1. Set initial_point yourself."
            )
        proposal: Proposal = self._meta.stand_in(features.of_qaoa(operator, solver.reps), reason)
        return proposal


def _is_constant(operator: Any) -> bool:
    return (
        isinstance(operator, SparsePauliOp) and not (operator.paulis.x | operator.paulis.z)[operator.coeffs != 0].any()
    )


def _fitted(ansatz: QuantumCircuit, num_qubits: int) -> QuantumCircuit:
    """Return the circuit the solver will run: without measurements, and a blueprint at the operator's size."""
    circuit = ansatz.copy()
    if circuit.layout is None and circuit.num_qubits != num_qubits:
        with contextlib.suppress(AttributeError):  # a plain circuit has its size; the task will say so
            circuit.num_qubits = num_qubits
    return circuit


def _is_qaoa(solver: Any) -> bool:
    return all(hasattr(solver, name) for name in ("reps", "mixer", "initial_state"))


def _own_engine(solver: Any) -> Engine:
    """Return an engine on the solver's own primitive and transpiler, so that nothing is simulated behind its back."""
    transpiler = getattr(solver, "pass_manager", None) or getattr(solver, "_transpiler", None)
    if not _is_qaoa(solver) and solver.ansatz.layout is not None:
        transpiler = None  # VQE of qiskit-algorithms has transpiled its ansatz already
    if transpiler is not None:
        options = getattr(solver, "_transpiler_options", None) or {}
        transpiler = SimpleNamespace(run=partial(transpiler.run, **options))
    if hasattr(solver, "sampler"):
        return Sampling(solver.sampler, pass_manager=transpiler)
    return ParameterShift(solver.estimator, pass_manager=transpiler)
