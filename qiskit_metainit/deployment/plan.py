"""A plan: what a run will cost and how well the device can do it, before anything is submitted."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.providers import BackendV2
from qiskit_algorithms.optimizers import L_BFGS_B, NELDER_MEAD

from qiskit_metainit.backends import has_noise, is_fake, is_simulator, used_qubits
from qiskit_metainit.budget import ShotBudget
from qiskit_metainit.card import markdown
from qiskit_metainit.deployment.depth import ideal_gains, log_fidelity, recommended_reps
from qiskit_metainit.deployment.spending.spender import DOUBT, LEAST, most
from qiskit_metainit.deployment.tariff import Tariff
from qiskit_metainit.deployment.timing import Timing
from qiskit_metainit.deployment.workload import Workload
from qiskit_metainit.initializer import MetaInitializer

_SIMULATED_QUBITS = 14  # up to which eight depths take about a second
_MODEL = (
    "QPU seconds = jobs x {job:g} s + shots x ({delay:g} us between executions + {circuit:.3g} us of circuit); half to "
    "twice of it is what the model promises, the charge is known afterwards."
)


@dataclass(frozen=True)
class Plan:
    """What a run needs at most, and what the circuit is like on the device."""

    backend: str
    """Name."""
    simulator: bool
    """Whether it costs nothing."""
    qubits: tuple[int, ...]
    """Of the backend, that the circuit uses."""
    two_qubit_gates: int
    """Of the transpiled circuit."""
    two_qubit_depth: int
    """Layers of two-qubit gates."""
    circuit_seconds: float
    """Of one execution, measurement included."""
    gate_fidelity: float
    """Product of 1 - error over the gates, as the backend reports them; 1 where it reports none."""
    readout_fidelity: float
    """The same over the measurements."""
    bases: int
    """Measurement bases: PUBs a job."""
    queries: int
    """Costs the initializer asks for."""
    evaluations: int | None
    """Of the optimiser, at most; None if neither it nor the budget has a limit."""
    jobs: int | None
    """At most."""
    pubs: int | None
    """At most: a circuit with all its points each."""
    shots: dict[str, int] | None
    """Of each stage, at most."""
    qpu_seconds: tuple[float, float, float] | None
    """Estimate, its half and its double, of the device itself where the backend is a snapshot of one; None on a
    simulator without a device, or without a limit."""
    model: str
    """How the seconds are estimated."""
    remaining_seconds: float | None
    """QPU seconds left on the account, if it tells."""
    recommended_reps: int | None
    """Layers of QAOA that are worth their noise, by the model of ``depth``; None without noise, or for a VQE."""
    warnings: tuple[str, ...]
    """What to think about before submitting."""

    @property
    def total_shots(self) -> int | None:
        """Of all stages."""
        return None if self.shots is None else sum(self.shots.values())

    @property
    def sentences(self) -> tuple[str, ...]:
        """What its numbers mean, and what to think about."""
        return ((self.model,) if self.qpu_seconds else ()) + self.warnings

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return asdict(self) | {"total_shots": self.total_shots}

    def rows(self) -> list[list[str]]:
        """Return what a person wants to know, a name and a text each."""
        rows = [
            ["qubits of the device", ", ".join(map(str, self.qubits))],
            ["two-qubit gates", f"{self.two_qubit_gates} in {self.two_qubit_depth} layers"],
            ["circuit", f"{self.circuit_seconds * 1e6:.1f} us"],
            ["product of 1 - error", f"gates {self.gate_fidelity:.3f}, measurements {self.readout_fidelity:.3f}"],
            *([] if self.recommended_reps is None else [["p that the noise suggests", str(self.recommended_reps)]]),
            ["evaluations", _most(self.evaluations)],
            ["jobs", _most(self.jobs)],
            ["shots", _most(self.total_shots)],
        ]
        rows += [[f"  {stage}", str(count)] for stage, count in (self.shots or {}).items()]
        if self.qpu_seconds is not None:
            estimate, low, high = self.qpu_seconds
            where = " of the device itself" if self.simulator else ""
            rows.append([f"QPU seconds{where}", f"about {estimate:.0f} ({low:.0f} to {high:.0f})"])
        if self.remaining_seconds is not None:
            rows.append(["left on the account", f"{self.remaining_seconds:.0f} s"])
        return rows

    def _repr_markdown_(self) -> str:
        """Return what a notebook shows."""
        told = "\n".join(f"- {sentence}" for sentence in self.sentences)
        return f"{markdown([[f'on {self.backend}', ''], *self.rows()])}\n\n{told}"


def make_plan(
    workload: Workload,
    tariff: Tariff,
    queries: int,
    budget: ShotBudget,
    backend: BackendV2,
    circuit: QuantumCircuit,
    *,
    remaining_seconds: float | None = None,
    recommended_reps: int | None = None,
    warnings: tuple[str, ...] = (),
) -> Plan:
    """Return the plan of a workload.

    Args:
        workload: what is to be done.
        tariff: what its steps cost.
        queries: costs the initializer asks for.
        budget: of the run.
        backend: runs it.
        circuit: its transpiled circuit, with measurements.
        remaining_seconds: QPU seconds left on the account, if known.
        recommended_reps: depth that the device's noise suggests, if known.
        warnings: that are known already.
    """
    timing = Timing.of(backend, circuit)
    shots = jobs = seconds = evaluations = None
    simulator = is_simulator(backend)
    if workload.groups() is not None or budget.shots is not None or budget.jobs is not None:
        shots = {
            "calibration": tariff.calibration,
            "proposal": queries * tariff.first if queries else 0,
            "optimisation": 0,
            "final": tariff.final(workload.final_shots),
        }
        jobs = (workload.readout_shots > 0) + queries + 1
        left = _Left(
            budget.shots and budget.shots - sum(shots.values()),
            budget.jobs and budget.jobs - jobs,
        )
        before = timing.seconds(jobs - 1, sum(shots.values()) - shots["final"])
        aside = DOUBT * timing.seconds(1, shots["final"])
        evaluations, sent, shots["optimisation"] = _optimisation(workload, tariff, left)
        jobs += sent
        if not simulator or is_fake(backend):  # whoever plans with a snapshot means the device
            total = sum(shots.values())
            seconds = (timing.seconds(jobs, total), *timing.interval(jobs, total))
    gates, readout = (math.exp(log_fidelity(circuit, backend.target, readout=read)) for read in (False, True))
    used = tuple(sorted(used_qubits(circuit)))
    if workload.reps is not None and recommended_reps is not None and workload.reps > recommended_reps:
        warnings += (
            f"With these errors p = {recommended_reps} is predicted to be worth more than p = {workload.reps} "
            "(by a model of depolarising noise).",
        )
    told = [*warnings, *_warnings(circuit, backend, used, timing.circuit, gates * readout)]
    limit = min((found for found in (remaining_seconds, budget.qpu_seconds) if found is not None), default=None)
    if seconds is not None and limit is not None:
        timed = replace(left, seconds=limit - before - aside, timing=timing)
        paid, *_ = _optimisation(workload, tariff, timed)
        if evaluations is not None and paid < evaluations:
            what = "The account has" if limit == remaining_seconds else "The budget has"
            told.append(
                f"{what} {limit:g} QPU seconds, which pay for about {paid} of {evaluations} evaluations, as twice the "
                "estimate of each job is set aside before it is sent. Fewer evaluations with more shots each, or an "
                "optimiser whose evaluations share jobs (spsa), make more of them."
            )
    if seconds is not None and jobs is not None and jobs > 3 and jobs * timing.job_seconds > 0.5 * seconds[0]:
        told.append(
            f"{jobs * timing.job_seconds / seconds[0]:.0%} of the QPU seconds go to beginning jobs: fewer evaluations "
            "with more shots, or an optimiser whose evaluations share jobs (spsa), cost less."
        )
    if isinstance(workload.optimizer, L_BFGS_B | NELDER_MEAD) and budget.shots is None and budget.jobs is None:
        told.append(
            f"{type(workload.optimizer).__name__} could take that much if every step failed; most runs take a small "
            "part of it. Set a number of shots or jobs."
        )
    if evaluations is None:
        told.append("Neither the budget nor the optimiser limits the run: set a number of shots.")
    return Plan(
        backend=backend.name,
        simulator=simulator,
        qubits=used,
        two_qubit_gates=circuit.num_nonlocal_gates(),
        two_qubit_depth=circuit.depth(lambda item: len(item.qubits) == 2 and item.name != "barrier"),
        circuit_seconds=timing.circuit,
        gate_fidelity=gates,
        readout_fidelity=readout,
        bases=workload.bases,
        queries=queries,
        evaluations=evaluations,
        jobs=jobs,
        pubs=None if jobs is None else jobs * (1 if tariff.estimates else workload.bases),
        shots=shots,
        qpu_seconds=seconds,
        model=_MODEL.format(job=timing.job_seconds, delay=timing.rep_delay * 1e6, circuit=timing.circuit * 1e6),
        remaining_seconds=remaining_seconds,
        recommended_reps=recommended_reps,
        warnings=tuple(told),
    )


def recommended(
    workload: Workload,
    meta: MetaInitializer | None,
    backend: BackendV2,
    template: Callable[[Workload], QuantumCircuit],
) -> int | None:
    """Return how many layers of QAOA a device's noise suggests; None without noise, or for a VQE.

    Args:
        workload: of a problem; what its depth is does not matter.
        meta: proposes the start; where it asks for nothing and the problem is small, its points' exact energies tell
            what a layer is worth, else those of infinitely large problems.
        backend: with errors in its target.
        template: transpiles a workload.
    """
    if workload.reps is None or not has_noise(backend.target):
        return None
    costs = [log_fidelity(template(replace(workload, reps=reps)), backend.target) for reps in (1, 2)]
    ideal = None
    if meta is not None and not meta.model.queries and workload.problem.num_qubits <= _SIMULATED_QUBITS:
        ideal = ideal_gains(meta, workload.problem)
    return recommended_reps(costs, workload.problem.num_qubits, workload.schedule(10**6), ideal=ideal)


def _most(count: int | None) -> str:
    return "no limit" if count is None else f"at most {count}"


@dataclass(frozen=True)
class _Left:
    """What the optimiser may take; None: as much as it likes."""

    shots: int | None
    jobs: int | None
    seconds: float | None = None
    timing: Timing | None = None


def _optimisation(workload: Workload, tariff: Tariff, left: _Left) -> tuple[int, int, int]:
    """Return the evaluations, jobs and shots that the optimiser takes at most, by itself or within what is left."""
    known = workload.groups()
    if known is not None:
        return _within(known, workload, tariff, left)
    # One at a time it takes the most jobs, many at a time the most evaluations.
    found = [_within(itertools.repeat(size), workload, tariff, left) for size in (1, workload.together)]
    evaluations, jobs, shots = np.max(found, axis=0).tolist()
    return evaluations, jobs, shots if left.shots is None else left.shots


def _within(groups: Iterable[int], workload: Workload, tariff: Tariff, left: _Left) -> tuple[int, int, int]:
    """Return the evaluations, jobs and shots of groups that share a job each, until one does not fit any more."""
    evaluations = jobs = shots = 0
    for size in groups:
        if left.jobs is not None and jobs >= left.jobs:
            break
        asked = sent = workload.schedule(evaluations)
        if left.shots is not None and tariff.group(size, asked) > left.shots - shots:
            sent = most(functools.partial(tariff.group, size), left.shots - shots, asked)
            if sent * LEAST < asked and jobs:
                break
            if sent * LEAST < asked:  # at least the start is measured
                return 1, 1, tariff.evaluation(most(tariff.evaluation, left.shots, asked))
        if left.timing is not None and left.seconds is not None:
            spent = left.timing.seconds(jobs, shots)
            if DOUBT * left.timing.seconds(1, tariff.group(size, sent)) > left.seconds - spent:
                break
        evaluations, jobs, shots = evaluations + size, jobs + 1, shots + tariff.group(size, sent)
    return evaluations, jobs, shots


def _warnings(
    circuit: QuantumCircuit, backend: BackendV2, used: tuple[int, ...], seconds: float, kept: float
) -> list[str]:
    told = []
    properties = backend.target.qubit_properties
    known = [properties[qubit] for qubit in used] if properties else []
    times = [time for qubit in known for time in (getattr(qubit, "t1", None), getattr(qubit, "t2", None)) if time]
    if times and seconds > 0.5 * min(times):
        told.append(
            f"The circuit takes {seconds * 1e6:.1f} us, but the least coherence time of its qubits is "
            f"{min(times) * 1e6:.0f} us: fewer layers, or another device."
        )
    if kept < math.exp(-3):
        told.append(
            f"The product of 1 - error over gates and measurements is {kept:.1g}: what is measured will be mostly "
            "noise. Take fewer layers, or mitigate."
        )
    if not is_simulator(backend) and any(item.name == "rzz" for item in circuit.data):
        told.append("The circuit has native rzz gates, whose angles the backend confines to [0, pi/2].")
    return told
