"""What a run does, wherever its jobs go: a starting point, an optimisation, a final sampling."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit.quantum_info import SparsePauliOp
from qiskit_algorithms.utils import algorithm_globals

from qiskit_metainit.deployment.meter import Meter
from qiskit_metainit.deployment.optimizers import minimizer, stay
from qiskit_metainit.deployment.spending.ledger import Ledger
from qiskit_metainit.deployment.spending.records import Spent
from qiskit_metainit.deployment.spending.spender import BudgetSpent, Reserve, Spender
from qiskit_metainit.deployment.tariff import Tariff
from qiskit_metainit.deployment.workload import BudgetError, Workload
from qiskit_metainit.engine import Engine
from qiskit_metainit.problem import is_diagonal
from qiskit_metainit.proposal import Proposal
from qiskit_metainit.readout import ReadoutCalibration, distinct


@dataclass(frozen=True, eq=False)
class Run:
    """What one run did. E evaluations, P parameters; energies in the Hamiltonian's units."""

    id: str
    """In the ledger."""
    proposal: Proposal
    """The start and where it came from."""
    points: NDArray[np.float64]
    """(E, P) radians, as the optimiser visited them."""
    energies: NDArray[np.float64]
    """(E,) measured energies."""
    shots: NDArray[np.int64]
    """(E,) shots spent by the end of each evaluation, the proposal's queries included."""
    point: NDArray[np.float64]
    """(P,) the point that was sampled at the end: the optimiser's answer, or the best measured if it was stopped."""
    energy: float | None
    """Measured by the final sampling, for a diagonal Hamiltonian by its outcomes, without an estimator's mitigation;
    None if there was nothing left for it."""
    bitstring: str
    """The best bitstring sampled anywhere in the run; empty for a Hamiltonian that is not diagonal."""
    stopped: str | None
    """What ended the run before the optimiser did, or None."""
    spent: Spent
    """Everything, the final sampling included."""
    shots_by_stage: dict[str, int]
    """Shots of the calibration, the proposal, the optimisation and the final sampling."""
    readout: ReadoutCalibration | None
    """The readout errors that were taken out of the energies, if they were."""
    seconds: float
    """Wall-clock time, of the last process that carried it on."""

    @property
    def shots_spent(self) -> int:
        """All shots."""
        return self.spent.shots


def carry_out(
    workload: Workload,
    propose: Callable[[Engine], Proposal],
    meter: Meter,
    tariff: Tariff,
    spender: Spender,
    *,
    progress: Callable[[int, float], None] | None = None,
) -> Run:
    """Carry a run out, or on: jobs that the ledger has are answered from there, so a resumed run goes the same way.

    Args:
        workload: what to do. Its optimiser must do the same whenever it sees the same values.
        propose: gives the start; its queries go to the engine it is given.
        meter: measures the workload's energies by means of ``spender``.
        tariff: tells what they cost.
        spender: holds the budget.
        progress: called with (evaluations, measured energy).

    Raises:
        BudgetError: if jobs without an answer have used up what the proposal needed.
    """
    clock = time.perf_counter()
    unit = workload.unit
    ledger, run = spender.ledger, spender.run_id
    left = tariff.final(workload.final_shots)
    final = Reserve(left, 1, spender.most_seconds(left))
    first = 0 if workload.optimizer is stay else tariff.first
    least = Reserve(final.shots + first, 2, final.qpu_seconds + spender.most_seconds(first))
    readout = None
    try:
        if workload.readout_shots:
            spender.enter("calibration", least)
            readout = meter.calibrate(workload.readout_shots)
        spender.enter("proposal", least)
        proposal = propose(meter.engine)
    except BudgetSpent as spent:
        raise BudgetError(
            f"The starting point needs more than {spent} leaves after jobs that were charged without an answer. "
            f"Begin another run with a larger budget; the jobs of run {run} are kept."
        ) from spent
    spender.enter("optimisation", final)
    points: list[NDArray[np.float64]] = []
    energies: list[float] = []
    shots: list[int] = []

    def energy(x: Any) -> Any:
        asked = np.asarray(x, dtype=float)
        rows = asked.reshape(-1, unit.size) * unit
        found = meter.measure(rows, workload.schedule(len(points)))
        for row, value in zip(rows, found.tolist(), strict=True):
            points.append(row)
            energies.append(value)
            shots.append(spender.shots)
            if progress is not None:
                progress(len(points), value)
        scaled = found * unit[-1]  # of QAOA: energies at unit weights too
        return float(scaled[0]) if asked.ndim == 1 and len(rows) == 1 else scaled.tolist()

    stopped = None
    try:
        answer = minimizer(workload.optimizer)(energy, proposal.point / unit, jac=None, bounds=None)
        point = np.asarray(answer.x, dtype=float) * unit
    except BudgetSpent as spent:
        stopped = str(spent)
        if not points:  # the optimiser's first job was already too large: measure at least the start
            with contextlib.suppress(BudgetSpent):
                energy(proposal.point / unit)
        point = points[int(np.argmin(energies))] if points else np.asarray(proposal.point, dtype=float)
    spender.enter("final", Reserve())
    last = None
    try:
        last = meter.sample(point, workload.final_shots)
    except BudgetSpent as spent:
        stopped = str(spent)
    spender.reconcile()
    return Run(
        id=run,
        proposal=proposal,
        points=np.array(points).reshape(-1, unit.size),
        energies=np.array(energies),
        shots=np.array(shots, dtype=np.int64),
        point=point,
        energy=last,
        bitstring=best_bitstring(ledger, run, workload.problem.operator),
        stopped=stopped,
        spent=ledger.spent(run),
        shots_by_stage=ledger.by_stage(run),
        readout=readout,
        seconds=time.perf_counter() - clock,
    )


def best_bitstring(ledger: Ledger, run: str, operator: SparsePauliOp) -> str:
    """Return the bitstring of least energy among all outcomes of a run, or "" if it has none of a diagonal operator.

    Of several the first in lexical order, as it does not matter which job came first.
    """
    if not is_diagonal(operator):
        return ""
    close = 1e-12 * float(np.abs(operator.coeffs).sum())
    best: dict[str, float] = {}
    for job, answer in ledger.answers(run):
        if job.stage == "calibration":
            continue
        for bits in answer.bits:
            seen, _ = distinct(bits)
            signs = 1.0 - 2.0 * ((seen.astype(np.int64) @ operator.paulis.z.T.astype(np.int64)) & 1)
            values = signs @ operator.coeffs.real
            for row in np.flatnonzero(values <= values.min() + close):
                best["".join("01"[bit] for bit in seen[row][::-1].astype(int))] = float(values[row])
    least = min(best.values(), default=0.0)
    return min((text for text, value in best.items() if value <= least + close), default="")


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed what qiskit-algorithms draws from, as SPSA's directions must be the same when a run is resumed."""
    before = algorithm_globals.random_seed
    algorithm_globals.random_seed = seed
    try:
        yield
    finally:
        algorithm_globals.random_seed = before
