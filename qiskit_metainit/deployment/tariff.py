"""What the steps of a run cost in shots, before any is taken: twirling and mitigation included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import final

import numpy as np
from qiskit.circuit import QuantumCircuit
from qiskit.primitives.containers.observables_array import ObservablesArray
from qiskit.transpiler import Target

from qiskit_metainit.budget import ShotBudget
from qiskit_metainit.deployment.adapters.templates import Templates
from qiskit_metainit.deployment.channels.channel import Answer, Channel, Estimate, Request
from qiskit_metainit.deployment.meter import Meter
from qiskit_metainit.deployment.optimizers import stay
from qiskit_metainit.deployment.spending.spender import most
from qiskit_metainit.deployment.workload import BudgetError, Workload
from qiskit_metainit.initializer import MetaInitializer
from qiskit_metainit.problem import is_diagonal


@final
class Tariff:
    """What each step of a workload costs where its jobs go.

    Args:
        workload: what is to be done.
        channel: tells what a job takes.
        templates: of the circuits as the backend runs them; used where the circuits matter to the price, as they do if
            an estimator mitigates errors.
        target: the backend's.
    """

    def __init__(self, workload: Workload, channel: Channel, templates: Templates, target: Target) -> None:
        self._workload = workload
        self._channel = channel
        self._quote = _Quote(channel)
        self._meter = None
        if channel.estimates:
            self._meter = Meter(workload, self._quote, templates, target, estimates=True)
        self._known: dict[int, int] = {}
        self._others: dict[int, int] = {}

    @property
    def estimates(self) -> bool:
        """Whether an estimator measures the energies, one PUB each."""
        return self._meter is not None

    def evaluation(self, shots: int) -> int:
        """Return the shots of an energy with so many in every basis."""
        if shots not in self._known:
            measured = self._meter is None
            self._known[shots] = self._outcomes(self._workload.bases, shots) if measured else self._quoted(1, shots)
        return self._known[shots]

    def group(self, size: int, shots: int) -> int:
        """Return the shots of so many energies in one job, with so many each in every basis."""
        return self.evaluation(shots) + (size - 1) * (self.further(shots) if size > 1 else 0)

    def further(self, shots: int) -> int:
        """Return the shots of another energy in a job that has one: it may share what calibrates."""
        if self._meter is None:
            return self.evaluation(shots)
        if shots not in self._others:
            self._others[shots] = self._quoted(2, shots) - self.evaluation(shots)
        return self._others[shots]

    def final(self, shots: int) -> int:
        """Return the shots of a final sampling with so many in every basis."""
        if is_diagonal(self._workload.problem.operator):
            return self._outcomes(1, shots)
        return self.evaluation(shots)

    @property
    def calibration(self) -> int:
        """Shots of the calibration of the readout."""
        return self._outcomes(2, self._workload.readout_shots) if self._workload.readout_shots else 0

    @property
    def first(self) -> int:
        """Shots of the first evaluation, and of each query."""
        return self.evaluation(self._workload.schedule(0))

    def filled(self, budget: ShotBudget, meta: MetaInitializer | None) -> Workload:
        """Return the workload with a final sampling that takes what is left of a budget, if it takes no other shots."""
        workload = self._workload
        if workload.optimizer is not stay:
            return workload
        shots = workload.schedule(0)
        if budget.shots is not None:
            queries = workload.queries(meta)
            room = budget.shots - (queries * self.first if queries else 0) - self.calibration
            shots = most(self.final, room, max(room, 0))
        return replace(workload, final_shots=max(shots, 1))

    def check_budget(self, queries: int, budget: ShotBudget) -> tuple[int, int]:
        """Return the fewest jobs and shots: the queries, one evaluation and the final sampling.

        Args:
            queries: costs that the initializer asks for.
            budget: of the run.

        Raises:
            BudgetError: if it does not pay for them; with the smallest that does.
        """
        workload = self._workload
        evaluations = int(workload.optimizer is not stay)
        first = self.first if queries + evaluations else 0
        least = (queries + evaluations) * first + self.final(workload.final_shots) + self.calibration
        jobs = queries + evaluations + 1 + (workload.readout_shots > 0)
        told = f"{queries} queries, {'one evaluation' if evaluations else 'no evaluation'} and the final sampling"
        if budget.shots is not None and budget.shots < least:
            asked, bases = workload.schedule(0), workload.bases
            each = f"{asked} shots each{f' in {bases} bases' if bases > 1 else ''}"
            if first > asked * bases:
                each += f", {first} with what twirling and mitigation add"
            raise BudgetError(
                f"At least {least} shots are needed ({told}, {each}), but shots={budget.shots} came. Raise it, or "
                "lower the shots per evaluation."
            )
        if budget.jobs is not None and budget.jobs < jobs:
            raise BudgetError(f"At least {jobs} jobs are needed ({told}), but jobs={budget.jobs} came. Raise it.")
        return jobs, least

    def _quoted(self, points: int, shots: int) -> int:
        assert self._meter is not None
        self._meter.measure(np.zeros((points, self._workload.unit.size)), shots)
        return self._quote.shots

    def _outcomes(self, circuits: int, shots: int) -> int:
        return self._channel.cost(Request(((QuantumCircuit(1), np.zeros((circuits, 0))),), shots, seed=0))


class _Quote:
    """Answers expectation values with zeros, and remembers what they would have cost."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.shots = 0

    def ask(
        self,
        pubs: Sequence[tuple[QuantumCircuit, np.ndarray]],
        shots: int,
        observables: Sequence[ObservablesArray] | None = None,
    ) -> Answer:
        assert observables is not None
        self.shots = self._channel.cost(Request(tuple(pubs), shots, seed=0, observables=tuple(observables)))
        shapes = [
            np.broadcast_shapes(points.shape[:-1], found.shape)
            for (_, points), found in zip(pubs, observables, strict=True)
        ]
        return Answer((), None, tuple(Estimate(np.zeros(shape), np.zeros(shape)) for shape in shapes))
