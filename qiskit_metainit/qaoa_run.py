"""One QAOA run with shots, within a budget, recorded evaluation by evaluation."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from qiskit.primitives import BasePrimitiveJob, BaseSamplerV2, BitArray, SamplerPubLike
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit_algorithms import QAOA
from qiskit_algorithms.optimizers import COBYLA, L_BFGS_B, NELDER_MEAD, SPSA, Optimizer

from qiskit_metainit.ansatz import natural_unit
from qiskit_metainit.engines.sampling import Sampling
from qiskit_metainit.features import of_qaoa
from qiskit_metainit.initializer import MetaInitializer
from qiskit_metainit.problem import PauliTerms, Problem, as_pauli_sum
from qiskit_metainit.proposal import Proposal
from qiskit_metainit.task import Task, scale_of

OPTIMIZERS = ("cobyla", "spsa", "l_bfgs_b", "nelder_mead")
"""Names of the classical optimisers, as the command line spells them."""


@dataclass(frozen=True, eq=False)
class Run:
    """What one run did. E evaluations, P parameters; energies in the Hamiltonian's units."""

    proposal: Proposal
    """The start and where it came from."""
    points: NDArray[np.float64]
    """(E, P) radians, as the optimiser visited them."""
    energies: NDArray[np.float64]
    """(E,) measured energies."""
    shots: NDArray[np.int64]
    """(E,) shots spent by the end of each evaluation, the proposal's queries included."""
    shots_spent: int
    """All shots, the final sampling included."""
    point: NDArray[np.float64]
    """(P,) the point that was sampled at the end: the optimiser's answer, or the best measured if it was stopped."""
    bitstring: str
    """The best bitstring sampled anywhere in the run."""
    stopped: str | None
    """What ended the run before the optimiser did, or None."""
    seconds: float
    """Wall-clock time."""


class BudgetError(ValueError):
    """A budget that does not even pay for the start."""


def make_optimizer(name: str, *, maxiter: int, rhobeg: float, problem: Problem) -> Optimizer:
    """Return an optimiser of qiskit-algorithms.

    Args:
        name: one of ``OPTIMIZERS``.
        maxiter: iterations (evaluations for COBYLA).
        rhobeg: COBYLA's first trust radius, radians; the others start as they do by default.
        problem: what it will minimise, at unit weights (as ``run_qaoa`` does), from energies with shot noise.
    """
    if name == "cobyla":
        return COBYLA(maxiter=maxiter, rhobeg=rhobeg)
    if name == "spsa":
        # Its own calibration takes 50 evaluations. A slope is at most about the sum of the |coefficients|: 0.1 radians.
        unit = natural_unit(PauliTerms.of(problem.operator).coefficients, 1)[-1]
        return SPSA(maxiter=maxiter, learning_rate=0.1 / (scale_of(problem.operator) * unit), perturbation=0.1)
    if name == "l_bfgs_b":
        return L_BFGS_B(maxiter=maxiter, eps=0.1)  # finite differences under shot noise need a wide step
    if name == "nelder_mead":
        return NELDER_MEAD(maxiter=maxiter)
    raise ValueError(f"The optimizer must be one of {', '.join(OPTIMIZERS)}, but {name!r} came.")


def run_qaoa(
    meta: MetaInitializer,
    problem: Problem,
    reps: int,
    sampler: BaseSamplerV2,
    optimizer: Optimizer,
    *,
    shots_per_evaluation: int = 1024,
    shots: int | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> Run:
    """Solve a problem with ``qiskit_algorithms.QAOA`` from an initializer's point.

    Args:
        meta: proposes the start; its queries go through the same sampler and the same budget.
        problem: diagonal.
        reps: layers p.
        sampler: runs any circuit (see ``deployment.layout_safe``).
        optimizer: of qiskit-algorithms.
        shots_per_evaluation: of every circuit.
        shots: the whole run's budget, the final sampling included: a job that it does not pay for is not sent, and
            the best point so far is sampled with what was set aside. None for no limit.
        progress: called with (evaluations, measured energy).

    Raises:
        BudgetError: if the budget does not pay for the queries, one evaluation and the final sampling.
    """
    start = time.perf_counter()
    known = of_qaoa(problem.operator, reps)
    queries = meta.model.queries if meta.outside(known, problem=problem, engine=Sampling(sampler)) is None else 0
    least = (queries + 2) * shots_per_evaluation
    if shots is not None and shots < least:
        raise BudgetError(
            f"At least {least} shots are needed ({queries} queries, one evaluation and the final sampling, "
            f"{shots_per_evaluation} shots each), but shots={shots} came. Raise it, or lower the shots per evaluation."
        )
    recorder = _Recorder(
        sampler, problem, shots_per_evaluation, None if shots is None else shots - shots_per_evaluation
    )
    queried = Sampling(recorder)
    proposal = meta.propose([problem.operator], reps=reps, problem=problem, engine=queried)[0]
    # The optimiser sees the problem at unit weights: steps in radians fit gamma whatever the user's units are.
    unit = natural_unit(PauliTerms.of(problem.operator).coefficients, reps)
    points: list[NDArray[np.float64]] = []
    energies: list[float] = []
    spent: list[int] = []

    def callback(count: int, point: Any, energy: float, _: Any) -> None:
        points.append(np.array(point, dtype=float) * unit)
        energies.append(float(energy) / unit[-1])
        spent.append(recorder.shots)
        if progress is not None:
            progress(len(points), energies[-1])

    def minimise(fun: Any, x0: Any, jac: Any = None, bounds: Any = None) -> Any:
        found = optimizer.minimize(fun, x0, jac=jac, bounds=bounds)
        recorder.limit = shots  # what was set aside pays for QAOA's own final sampling
        return found

    solver = QAOA(recorder, minimise, reps=reps, initial_point=proposal.point / unit, callback=callback)
    stopped = None
    try:
        with warnings.catch_warnings():
            # qiskit-algorithms 0.4 builds its circuit with a class that Qiskit 2.1 deprecates; not the user's doing.
            warnings.filterwarnings("ignore", ".*QAOAAnsatz", DeprecationWarning)
            result = solver.compute_minimum_eigenvalue(as_pauli_sum(problem.operator * unit[-1]))
        point = np.asarray(result.optimal_point) * unit
    except _Spent:
        stopped = f"the budget of {shots} shots"
        task = Task.qaoa(problem.operator, reps=reps)
        if not points:  # the optimiser's first job was already too large: measure at least the start
            start_energy = queried.expectation([task], torch.as_tensor(proposal.point[None])).item()
            callback(1, proposal.point / unit, start_energy * unit[-1], None)
        point = points[int(np.argmin(energies))]
        recorder.limit = shots
        queried.expectation([task], torch.as_tensor(point[None]))
    return Run(
        proposal=proposal,
        points=np.array(points),
        energies=np.array(energies),
        shots=np.array(spent),
        shots_spent=recorder.shots,
        point=point,
        bitstring=recorder.best[1],
        stopped=stopped,
        seconds=time.perf_counter() - start,
    )


class _Spent(Exception):  # noqa: N818 it ends a run as planned
    pass


@final
class _Recorder(BaseSamplerV2):
    """A sampler that refuses what the budget does not pay for and keeps the best bitstring seen."""

    def __init__(self, sampler: BaseSamplerV2, problem: Problem, default: int, limit: int | None) -> None:
        self.sampler, self.problem, self.default, self.limit = sampler, problem, default, limit
        self.shots = 0
        self.best: tuple[float, str] = (np.inf, "")

    def run(self, pubs: Iterable[SamplerPubLike], *, shots: int | None = None) -> BasePrimitiveJob:
        coerced = [SamplerPub.coerce(pub, shots or self.default) for pub in pubs]
        cost = sum(int(pub.shots or 0) * int(np.prod(pub.shape, dtype=int)) for pub in coerced)
        if self.limit is not None and self.shots + cost > self.limit:
            raise _Spent
        job = self.sampler.run(coerced)
        self.shots += cost
        for result in job.result():
            bits: BitArray = next(iter(result.data.values()))
            for bitstring in bits.get_counts():
                value = self.problem.value(bitstring)
                self.best = min(self.best, (-value if self.problem.maximise else value, bitstring))
        return job
