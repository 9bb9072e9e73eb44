"""Deployment: a learned starting point, an optimisation and a final sampling on a backend, within a budget."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, final

from numpy.typing import ArrayLike
from qiskit import QuantumCircuit
from qiskit.providers import BackendV2
from qiskit.quantum_info import SparseObservable, SparsePauliOp
from qiskit_algorithms.optimizers import Optimizer

from qiskit_metainit.budget import ShotBudget
from qiskit_metainit.deployment import stored
from qiskit_metainit.deployment.adapters.isa import IsaCheck
from qiskit_metainit.deployment.adapters.templates import Templates
from qiskit_metainit.deployment.channels.account import outlook, seconds_left
from qiskit_metainit.deployment.channels.channel import Channel, Unreachable
from qiskit_metainit.deployment.channels.naming import channel_for
from qiskit_metainit.deployment.channels.runtime import RuntimeChannel
from qiskit_metainit.deployment.meter import Meter
from qiskit_metainit.deployment.optimizers import Minimizer, stay
from qiskit_metainit.deployment.plan import Plan, make_plan, recommended
from qiskit_metainit.deployment.program import Run, carry_out, seeded
from qiskit_metainit.deployment.resumption import channel_of, rejoin
from qiskit_metainit.deployment.spending.ledger import OPEN, Ledger, LedgerError
from qiskit_metainit.deployment.spending.records import RunRecord
from qiskit_metainit.deployment.spending.spender import DOUBT, Spender
from qiskit_metainit.deployment.tariff import Tariff
from qiskit_metainit.deployment.timing import Timing
from qiskit_metainit.deployment.transpiled import Transpiled
from qiskit_metainit.deployment.workload import BudgetError, ShotSchedule, Workload, make_workload
from qiskit_metainit.engine import Engine
from qiskit_metainit.initializer import MetaInitializer, named
from qiskit_metainit.problem import Problem
from qiskit_metainit.proposal import Proposal
from qiskit_metainit.provenance import versions
from qiskit_metainit.task import Task

LEDGER = Path(os.environ.get("METAINIT_LEDGER", Path.home() / ".qiskit-metainit" / "ledger.sqlite"))
"""Where the command line keeps its runs: the file that METAINIT_LEDGER names, or one at home."""


@final
class Deployment:
    """Runs on one backend, each within the same budget, all in one ledger.

    Simulation and hardware differ in the backend only. Every job is written down before it is sent and its outcomes
    before they are used, so a run may be killed at any point and resumed.

    Args:
        backend: an ``AerSimulator``, a fake device, an ``IBMBackend`` or any other. Shots on simulators are seeded a
            job, so a run that is resumed draws what it would have drawn.
        budget: of each run, hard: a job is shrunk or not sent, and what was set aside samples the best point so far.
        ledger: the SQLite file of its runs, or None to keep them only as long as this object.
        channel: how jobs reach the backend; by default as suits it, and where a run is resumed, as it began.
            ``RuntimeChannel`` has the choice of job, batch or session mode, of the service's options, and of its
            Estimator with its resilience levels for the energies; ``LocalChannel`` simulates the last.
        seed: of the optimiser's random choices and of simulators' shots.
        patience: seconds an outage may last before a run gives up, to be resumed.
        grace: seconds by which a service's list of jobs may lag behind: only then is a job that is not found sent anew.

    >>> from qiskit_aer import AerSimulator
    >>> deployment = Deployment(AerSimulator(), ShotBudget(shots=4000))
    >>> run = deployment.run(SparsePauliOp(["ZZI", "IZZ"]), reps=1, shots_per_evaluation=500)
    >>> run.spent.shots <= 4000, len(run.bitstring)
    (True, 3)
    """

    def __init__(
        self,
        backend: BackendV2,
        budget: ShotBudget | None = None,
        *,
        ledger: Path | str | None = None,
        channel: Channel | None = None,
        seed: int = 0,
        patience: float = 600.0,
        grace: float = 20.0,
    ) -> None:
        if not isinstance(backend, BackendV2):
            raise TypeError(
                f"A backend is needed, but a {type(backend).__name__} came. Give AerSimulator(), a fake device or "
                "QiskitRuntimeService().backend(name)."
            )
        if not isinstance(budget, ShotBudget | None):
            raise TypeError(f"A budget is needed, but a {type(budget).__name__} came. Give ShotBudget(shots=...).")
        self.backend = backend
        self.budget = budget or ShotBudget()
        self.ledger = Ledger(ledger)
        self.channel = channel or channel_for(backend)
        self._usual = channel is None
        self._seed = seed
        self._patience, self._grace = patience, grace
        self._check = IsaCheck.of(backend)
        self._transpiled = {twirled: Transpiled(backend, self._check, twirled=twirled) for twirled in (False, True)}

    def __enter__(self) -> Deployment:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the ledger; runs in memory end here."""
        self.ledger.close()

    def run(
        self,
        problem: Problem | SparsePauliOp | SparseObservable,
        *,
        reps: int | None = None,
        ansatz: QuantumCircuit | None = None,
        initializer: str | MetaInitializer | None = None,
        initial_point: ArrayLike | None = None,
        optimizer: str | Optimizer | Minimizer = "cobyla",
        shots_per_evaluation: int | ShotSchedule = 1024,
        final_shots: int | None = None,
        readout_shots: int = 0,
        progress: Callable[[int, float], None] | None = None,
    ) -> Run:
        """Begin a run and carry it out.

        Args:
            problem: with its Hamiltonian, or the Hamiltonian alone.
            reps: layers p of QAOA ...
            ansatz: ... or the circuit of a VQE, exactly one of the two; a problem may bring its own.
            initializer: proposes the start; its queries are paid from the budget. None: "qaoa", or for a circuit the
                shipped one that covers it.
            initial_point: (P,) a start of your own instead, ordered as ``circuit.parameters``, radians.
            optimizer: a name, one of qiskit-algorithms, or any called like ``scipy.optimize.minimize``; "none" spends
                everything on sampling the start.
            shots_per_evaluation: of each circuit evaluation in every measurement basis, or how they grow.
            final_shots: of the final sampling in every basis; by default as an evaluation's last.
            readout_shots: of each of two circuits that calibrate the readout before all else; its errors are taken out
                of the energies then. 0: they stay. An estimator with a resilience level calibrates by itself.
            progress: called with (evaluations, measured energy).

        Raises:
            BudgetError: if the budget does not pay for the queries, one evaluation and the final sampling; the
                message has the smallest that does.
            RunInterruptedError: if the service is out of reach; ``resume`` goes on.
            ValueError: for a bad problem, a backend too small or paused, circuits it does not run, or an account with
                no time left.
        """
        workload = make_workload(
            problem,
            reps=reps,
            ansatz=ansatz,
            optimizer=optimizer,
            shots_per_evaluation=shots_per_evaluation,
            final_shots=final_shots,
            readout_shots=readout_shots,
        )
        name, meta, proposal = self._start(workload, initializer, initial_point)
        workload = self._tariff(workload).filled(self.budget, meta) if final_shots is None else workload
        left = self._seconds_left(self.channel)
        settings = {
            **stored.as_json(workload),
            "budget": asdict(self.budget),
            "initializer": name,
            "seed": self._seed,
            "channel": self.channel.record(),
            "versions": versions(),
        }
        run = self.ledger.begin(self.backend.name, settings)
        workload = stored.from_json(self.ledger.record(run).settings, workload.optimizer)  # as a resumed run will be
        if proposal is not None:
            self.ledger.note(run, proposal={"made": stored.proposal_as_json(proposal), "jobs": 0})
        return self._carry(run, workload, meta, self.channel, progress, left)

    def resume(
        self,
        run: str,
        *,
        initializer: MetaInitializer | None = None,
        optimizer: Optimizer | Minimizer | None = None,
        progress: Callable[[int, float], None] | None = None,
    ) -> Run:
        """Go on with a run of the ledger: what was received is read from there, the rest is sent.

        A finished run asks the backend for nothing: its result is computed again from what is stored.

        Args:
            run: its id, or the beginning of it.
            initializer: the run's own, if it was not given by name.
            optimizer: the run's own, if it is not one of qiskit-algorithms.
            progress: called with (evaluations, measured energy).

        Raises:
            LedgerError: if there is no such run, it ran on another backend, or another process carries it on.
            ValueError: if the run has not ended, and the backend is paused or the account has no time left.
        """
        record = self.ledger.record(run)
        if record.backend != self.backend.name:
            raise LedgerError(
                f"The run {record.id} needs the backend {record.backend}, but {self.backend.name} came. Resume it "
                "there, or begin another run."
            )
        settings = record.settings
        channel = channel_of(record, self.backend, None if self._usual else self.channel)
        workload = stored.from_json(settings, optimizer)
        if initializer is None and "proposal" not in record.notes and settings["initializer"] is not None:
            initializer = named(settings["initializer"])
        left = None
        if record.state == "running" and (left := self._seconds_left(channel)) is not None:
            # The account's beside what the run has spent of it.
            left += sum(job.seconds for job in self.ledger.jobs(record.id) if job.state not in OPEN)
        return self._carry(record.id, workload, initializer, channel, progress, left)

    def plan(
        self,
        problem: Problem | SparsePauliOp | SparseObservable,
        *,
        initializer: str | MetaInitializer | None = None,
        initial_point: ArrayLike | None = None,
        **asked: Any,
    ) -> Plan:
        """Return what ``run`` with the same arguments needs; the circuit is transpiled, nothing is submitted.

        A service is asked for the account's remaining time and the backend's state.

        Raises:
            ValueError: as ``run``, for a budget that is too small included.
        """
        workload = make_workload(problem, **asked)
        _, meta, _ = self._start(workload, initializer, initial_point)
        tariff = self._tariff(workload)
        if asked.get("final_shots") is None:
            workload = tariff.filled(self.budget, meta)
        remaining: float | None = None
        told: tuple[str, ...] = ()
        if isinstance(self.channel, RuntimeChannel):
            remaining, told = outlook(self.backend, session=self.channel.record()["mode"] == "session")
        return make_plan(
            workload,
            tariff,
            workload.queries(meta),
            self.budget,
            self.backend,
            self.template(workload),
            remaining_seconds=remaining,
            recommended_reps=recommended(workload, meta, self.backend, self.template),
            warnings=told,
        )

    def runs(self) -> list[RunRecord]:
        """Return the runs of the ledger, the oldest first."""
        return self.ledger.runs()

    def _carry(
        self,
        run: str,
        workload: Workload,
        meta: MetaInitializer | None,
        channel: Channel,
        progress: Callable[[int, float], None] | None,
        left: float | None,
    ) -> Run:
        settings = self.ledger.record(run).settings
        budget, seed = ShotBudget(**settings["budget"]), settings["seed"]
        if left is not None:
            budget = replace(budget, qpu_seconds=min(left, budget.qpu_seconds or left))
        with self.ledger.held(run), seeded(seed):
            templates = Templates(partial(self._transpiled[channel.estimates].of_run, self.ledger, run))
            timing: list[Timing] = []

            def seconds(jobs: int, shots: int) -> float:
                if budget.qpu_seconds is None or channel.free:
                    return 0.0
                if not timing:
                    timing.append(Timing.of(self.backend, self.template(workload, templates)))
                return timing[0].seconds(jobs, shots)

            spender = Spender(
                channel,
                self.ledger,
                run,
                budget,
                seed=seed,
                check=self._check,
                seconds=seconds,
                patience=self._patience,
                grace=self._grace,
            )
            meter = Meter(workload, spender, templates, self.backend.target, estimates=channel.estimates)
            tariff = Tariff(workload, channel, templates, self.backend.target)
            propose = partial(self._propose, run, workload, meta, spender)
            rejoin(self.ledger, run, channel)
            try:
                result = carry_out(workload, propose, meter, tariff, spender, progress=progress)
            except BaseException:
                with suppress(Unreachable):  # why the run ended is what there is to tell
                    channel.close()
                raise
            channel.close()
            self.ledger.finish(run, "stopped" if result.stopped else "finished", stored.run_as_json(result))
            return result

    def _start(
        self, workload: Workload, initializer: str | MetaInitializer | None, initial_point: ArrayLike | None
    ) -> tuple[str | None, MetaInitializer | None, Proposal | None]:
        """Return the initializer's name, itself, and its proposal already if that costs nothing."""
        needed = workload.problem.num_qubits
        if self.backend.num_qubits is not None and self.backend.num_qubits < needed:
            raise ValueError(
                f"A backend of {needed} qubits is needed, but {self.backend.name} has {self.backend.num_qubits}. Take "
                "a larger one, or a smaller problem."
            )
        if initial_point is not None:
            if initializer is not None:
                raise ValueError("Either an initializer or an initial_point is needed, but both came. Leave one out.")
            self._check_budget(workload, 0)
            return None, None, workload.given(initial_point)
        name = None
        if initializer is None or isinstance(initializer, str):
            name = initializer or workload.usual_initializer()
            initializer = named(name)
        if not isinstance(initializer, MetaInitializer):
            raise TypeError(
                f"A name or a MetaInitializer is needed, but a {type(initializer).__name__} came. A point of your own "
                "is given as initial_point=..."
            )
        queries = workload.queries(initializer)
        self._check_budget(workload, queries)
        return name, initializer, None if queries else workload.proposal(initializer, None)

    def _check_budget(self, workload: Workload, queries: int) -> None:
        if workload.readout_shots and self.channel.estimates:
            raise ValueError(
                f"Either readout_shots or an estimator is needed, but readout_shots={workload.readout_shots} came with "
                "an estimator, which takes readout errors out by itself from resilience level 1 on. Leave one out."
            )
        if self.channel.estimates and workload.optimizer is stay and not queries and workload.reps is not None:
            raise ValueError(
                "An optimizer is needed with an estimator, but the optimizer 'none' came, and the final sampling of "
                "QAOA is by outcomes: nothing would be mitigated. Leave the estimator (--resilience) out."
            )
        jobs, shots = self._tariff(workload).check_budget(queries, self.budget)
        if self.budget.qpu_seconds is not None and not self.channel.free:
            needed = DOUBT * Timing.of(self.backend, self.template(workload)).seconds(jobs, shots)
            if self.budget.qpu_seconds < needed:
                raise BudgetError(
                    f"At least {math.ceil(needed)} QPU seconds are needed ({queries} queries, one evaluation and the "
                    f"final sampling, {DOUBT:g} times the estimate), but qpu_seconds={self.budget.qpu_seconds:g} came. "
                    "Raise it."
                )

    def _seconds_left(self, channel: Channel) -> float | None:
        """Return what the account has left, None without a limit; raise if jobs would not run."""
        if not isinstance(channel, RuntimeChannel):
            return None
        return seconds_left(self.backend, session=channel.record()["mode"] == "session")

    def _tariff(self, workload: Workload) -> Tariff:
        return Tariff(workload, self.channel, self._templates, self.backend.target)

    @property
    def _templates(self) -> Templates:
        return Templates(self._transpiled[self.channel.estimates])

    def template(self, workload: Workload, templates: Templates | None = None) -> QuantumCircuit:
        """Return a workload's circuit as the backend runs it, measured, with its angles as parameters."""
        templates = templates or self._templates
        measured = Task.of(workload.problem, reps=workload.reps).circuit.measure_all(inplace=False)
        return templates.template(templates.parse(measured).structure).circuit

    def _propose(
        self, run: str, workload: Workload, meta: MetaInitializer | None, spender: Spender, engine: Engine
    ) -> Proposal:
        known = self.ledger.record(run).notes.get("proposal")
        if known is not None:
            spender.skip(known["jobs"])
            return stored.proposal_from_json(known["made"])
        if meta is None:
            raise LedgerError(f"The run {run} needs its own initializer: Deployment.resume(run, initializer=...).")
        before = spender.shots
        proposal = replace(workload.proposal(meta, engine), shots=spender.shots - before)  # as booked, not as asked for
        self.ledger.note(run, proposal={"made": stored.proposal_as_json(proposal), "jobs": spender.sequence})
        return proposal
