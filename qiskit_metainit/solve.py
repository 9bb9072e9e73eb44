"""MaxCut on the user's own graph, from a learned start, within a budget of shots."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from qiskit.providers import BackendV2
from qiskit_aer import AerSimulator
from qiskit_algorithms.optimizers import Optimizer

from qiskit_metainit.arrival import evaluations_until
from qiskit_metainit.backends import is_simulator
from qiskit_metainit.budget import ShotBudget
from qiskit_metainit.comparison import Protocol
from qiskit_metainit.deployment import Channel, Deployment, Run, ShotSchedule, make_optimizer
from qiskit_metainit.deployment.optimizers import Minimizer
from qiskit_metainit.engine_record import noise_of
from qiskit_metainit.engines.statevector import available_memory
from qiskit_metainit.initializer import MetaInitializer, named
from qiskit_metainit.problem import Problem
from qiskit_metainit.proposal import CoverageWarning
from qiskit_metainit.provenance import command, versions
from qiskit_metainit.race import Yardstick
from qiskit_metainit.rating import random_points
from qiskit_metainit.terminal import spans

COMPARED_QUBITS = 16
"""Up to this size the saving against random starts is measured by exact simulation; it spends no shots."""
_NOT_COMPARED = (
    f"Evaluations saved against random: not measured (metainit solve --compare does, up to {COMPARED_QUBITS} qubits); "
    "the initializer's card states them on held-out graphs."
)
_RANDOM_STARTS = 5
_CAP = 300  # evaluations after which a simulated start counts as lost


@dataclass(frozen=True, eq=False)
class Solution:
    """A solved graph and the verdict on its start."""

    problem: Problem
    """The user's graph."""
    run: Run
    """What was run."""
    verdict: tuple[str, ...]
    """Sentences: the start used, covered or extrapolated, evaluations saved, the caveat."""

    @property
    def value(self) -> float | None:
        """Weight of the best cut sampled; None for a Hamiltonian without bitstrings."""
        return self.problem.value(self.run.bitstring) if self.run.bitstring else None

    @property
    def partition(self) -> tuple[tuple[Hashable, ...], ...]:
        """The two sides of that cut, or none."""
        return self.problem.partition(self.run.bitstring) if self.run.bitstring else ()

    def _measured(self, evaluation: int) -> float | None:
        return self.problem.value(float(self.run.energies[evaluation])) if self.run.energies.size else None

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        proposal = self.run.proposal
        return {
            "command": command(),
            "versions": versions(),
            "value": self.value,
            "bitstring": self.run.bitstring,
            "partition": [[str(node) for node in side] for side in self.partition],
            "expected_value_first": self._measured(0),
            "expected_value_final": None if self.run.energy is None else self.problem.value(self.run.energy),
            "expected_value_best": self._measured(int(np.argmin(self.run.energies)) if self.run.energies.size else 0),
            "evaluations": len(self.run.energies),
            "shots_spent": self.run.spent.shots,
            "jobs": self.run.spent.jobs,
            "qpu_seconds": self.run.spent.qpu_seconds,
            "shots_by_stage": self.run.shots_by_stage,
            "run": self.run.id,
            "stopped": self.run.stopped,
            "point": self.run.point.tolist(),
            "start": {
                "point": proposal.point.tolist(),
                "model": proposal.model,
                "queries": proposal.queries,
                "covered": proposal.covered,
                "extrapolated": proposal.extrapolated,
                "fallback": proposal.fallback,
            },
            "verdict": list(self.verdict),
            "seconds": round(self.run.seconds, 2),
        }


def solve(
    problem: Problem,
    *,
    reps: int,
    initializer: str,
    optimizer: str,
    budget: ShotBudget,
    shots_per_evaluation: ShotSchedule,
    evaluations: int,
    readout_shots: int,
    backend: BackendV2,
    ledger: Path | None,
    seed: int,
    channel: Channel | None = None,
    compare: bool = True,
    progress: Callable[[str, int, int], None],
) -> Solution:
    """Solve MaxCut with QAOA on a backend.

    Args:
        problem: as ``MaxCut.from_file`` reads it.
        reps: layers p.
        initializer: a shipped name or a folder.
        optimizer: one of ``deployment.OPTIMIZERS``.
        budget: the whole run's.
        shots_per_evaluation: of every circuit.
        evaluations: the optimiser's most iterations (evaluations for COBYLA).
        readout_shots: of each of two circuits that calibrate the readout; 0 for none.
        backend: what runs the circuits.
        ledger: the file that keeps the run, or None.
        seed: of the shot noise of simulators, and of the optimiser.
        channel: how jobs reach the backend, or None for the usual way.
        compare: whether the verdict measures the saving against random starts, by exact simulation.
        progress: called with (stage, done, of).

    Raises:
        ValueError: for an unknown name, or a budget or a backend too small.
        MemoryError: if the graph is too large to simulate.
    """
    check_size(problem, backend)
    first = shots_per_evaluation(0)
    planned = evaluations if budget.shots is None else min(evaluations, budget.shots // first)
    made = Deployment(backend, budget, ledger=ledger, channel=channel, seed=seed)
    with made as deployment, warnings.catch_warnings():
        warnings.simplefilter("ignore", CoverageWarning)  # the verdict says it
        run = deployment.run(
            problem,
            reps=reps,
            initializer=initializer,
            optimizer=chosen_optimizer(optimizer, evaluations, problem),
            shots_per_evaluation=shots_per_evaluation,
            readout_shots=readout_shots,
            progress=lambda count, _: progress("evaluations", count, max(planned, count)),
        )
    progress("evaluations", len(run.energies), len(run.energies))
    return solution(problem, run, backend, initializer, compare=compare, progress=progress)


def chosen_optimizer(name: str, evaluations: int, problem: Problem) -> Optimizer | Minimizer:
    """Return an optimiser for a start that is near an optimum."""
    # COBYLA's default first step of 1 radian would leave it.
    return make_optimizer(name, maxiter=evaluations, rhobeg=0.2, problem=problem)


def check_size(problem: Problem, backend: BackendV2) -> None:
    """Raise a MemoryError where a backend simulates and the state does not fit."""
    needed, available = 32 << problem.num_qubits, available_memory()  # the state and Aer's working copy
    if is_simulator(backend) and needed > available:
        raise MemoryError(
            f"Simulating QAOA on {problem.num_qubits} nodes needs {needed:,} bytes, but {available:,} are available. "
            "MetaInitializer.load('qaoa').initial_point(operator, reps=...) gives the start without simulating."
        )


def solution(
    problem: Problem,
    run: Run,
    backend: BackendV2,
    initializer: str,
    *,
    compare: bool,
    progress: Callable[[str, int, int], None],
) -> Solution:
    """Return a run with the verdict on its start."""
    saving = _NOT_COMPARED
    if compare and problem.num_qubits <= COMPARED_QUBITS:
        progress("comparing with random starts", 0, 1)
        saving = _saving(problem, len(run.point) // 2, run)
        progress("comparing with random starts", 1, 1)
    noise = None if isinstance(backend, AerSimulator) else backend.name
    verdict = _verdict(named(initializer), problem, run, noise, saving)
    return Solution(problem, run, verdict)


def _verdict(meta: MetaInitializer, problem: Problem, run: Run, noise: str | None, saving: str) -> tuple[str, ...]:
    proposal, coverage = run.proposal, meta.coverage
    sentences = [f"Start: {proposal.model}, {proposal.queries} queries."]
    if proposal.fallback is not None:
        sentences.append(f"Not covered by {meta.name}: {proposal.fallback}; the formula stood in.")
    elif coverage is None:
        sentences.append(f"{meta.name} is a formula: it covers any task of this kind.")
    elif proposal.extrapolated:
        low, high = coverage.qubits
        sentences.append(
            f"Extrapolated: {meta.name} was trained on {low}-{high} nodes at p = {spans(coverage.reps)}, "
            f"this graph has {problem.num_qubits} at p = {len(proposal.point) // 2}."
        )
    else:
        sentences.append(f"Covered: {meta.name} was trained on problems of this size and depth.")
    sentences.append(saving)
    if run.stopped is not None:
        sentences.append(f"Stopped by {run.stopped}: the best point so far was sampled.")
    learned = coverage is not None and proposal.fallback is None
    caveat = [f"the start was learned on {noise_of(meta.provenance)}"] if learned else []
    caveat += [f"the run had the noise of {noise}"] if noise else []
    closing = ", ".join(caveat) + "; the" if caveat else "the"
    sentences.append(closing[0].upper() + closing[1:] + " best sampled cut is no proof of the optimum.")
    return tuple(sentences)


def _saving(problem: Problem, reps: int, run: Run) -> str:
    yardstick = Yardstick.of(problem, reps, [run.proposal.point, run.point])
    low, high = yardstick.limits
    target = high - yardstick.target * (high - low)
    protocol = Protocol(reps=reps, cap=_CAP, rhobeg=0.5)

    def until(point: Any, queries: int) -> int:
        return queries + evaluations_until(yardstick.engine, yardstick.task, point, target, protocol=protocol)

    # Another stream than the yardstick's: its own points have helped to set the target.
    random = [until(point, 0) for point in random_points(yardstick.task, _RANDOM_STARTS, 1_000)]
    ours = until(run.proposal.point, run.proposal.queries)
    lost = sum(count >= _CAP for count in random)
    return (
        f"Evaluations to 99% of the way to the best known energy (COBYLA, exact simulation): {_count(ours)} from this "
        f"start, {_count(float(np.median(random)))} from random (median of {_RANDOM_STARTS}; {lost} never arrive)."
    )


def _count(evaluations: float) -> str:
    return f"{evaluations:.0f}" if evaluations < _CAP else f"over {_CAP}"
