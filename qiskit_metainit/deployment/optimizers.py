"""Classical optimisers: how they ask for energies, and which of these share a job."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from qiskit_algorithms.optimizers import COBYLA, L_BFGS_B, NELDER_MEAD, QNSPSA, SPSA, Optimizer

from qiskit_metainit.ansatz import natural_unit
from qiskit_metainit.problem import PauliTerms, Problem
from qiskit_metainit.task import scale_of

OPTIMIZERS = ("cobyla", "spsa", "l_bfgs_b", "nelder_mead")
"""Names of the classical optimisers, as the command line spells them."""

Minimizer: TypeAlias = Callable[..., Any]
"""Called as ``minimizer(fun, x0, jac=None, bounds=None)``; its answer has the point as ``x``, as scipy's has."""


def stay(fun: Callable[..., Any], x0: NDArray[np.float64], jac: Any = None, bounds: Any = None) -> SimpleNamespace:
    """Return the start as it is, as the optimiser of runs that spend everything on sampling the proposed point."""
    return SimpleNamespace(x=np.asarray(x0, dtype=float))


def make_optimizer(name: str, *, maxiter: int, rhobeg: float, problem: Problem) -> Optimizer | Minimizer:
    """Return an optimiser of qiskit-algorithms.

    Args:
        name: one of ``OPTIMIZERS``, or "none", which stays where it starts.
        maxiter: iterations (evaluations for COBYLA).
        rhobeg: COBYLA's first trust radius, radians; the others start as they do by default.
        problem: what it will minimise, at unit weights if by QAOA (as runs do), from energies with shot noise.
    """
    if name == "cobyla":
        return COBYLA(maxiter=maxiter, rhobeg=rhobeg)
    if name == "spsa":
        # Its own calibration takes 50 evaluations. A slope is at most about the sum of the |coefficients|: 0.1 radians.
        unit = 1.0 if problem.ansatz else natural_unit(PauliTerms.of(problem.operator).coefficients, 1)[-1]
        return SPSA(maxiter=maxiter, learning_rate=0.1 / (scale_of(problem.operator) * unit), perturbation=0.1)
    if name == "l_bfgs_b":
        return L_BFGS_B(maxiter=maxiter, eps=0.1)  # finite differences under shot noise need a wide step
    if name == "nelder_mead":
        return NELDER_MEAD(maxiter=maxiter)
    if name == "none":
        return stay
    raise ValueError(f"The optimizer must be one of {', '.join(OPTIMIZERS)}, none, but {name!r} came.")


def groups(optimizer: Optimizer | Minimizer, num_parameters: int) -> Iterator[int] | None:
    """Return how many energies an optimiser asks for at a time, as far as it may go; None if its settings do not tell.

    The energies of a group share a job, see ``minimizer``. SPSA's are exact unless something ends it early; of the
    others it is what they ask for at most.

    >>> list(groups(SPSA(maxiter=2, learning_rate=0.1, perturbation=0.1, resamplings={2: 3}), 4))
    [2, 2, 2, 2, 1]
    """
    if optimizer is stay:
        return iter(())
    if isinstance(optimizer, SPSA):
        return _groups_of_spsa(optimizer)
    if not isinstance(optimizer, COBYLA | NELDER_MEAD | L_BFGS_B):
        return None
    known, simplex = optimizer.settings, num_parameters + 2
    if isinstance(optimizer, COBYLA):
        return itertools.repeat(1, max(int(known["maxiter"]), simplex))  # scipy raises it to what a simplex takes
    if isinstance(optimizer, NELDER_MEAD):
        iterations, most = known["maxiter"], known["maxfev"]
        if iterations is None and most is None:
            iterations = 200 * num_parameters  # scipy's
        limits = [] if most is None else [int(most)]
        limits += [] if iterations is None else [(int(iterations) + 1) * simplex]  # at most a new simplex each
        return itertools.repeat(1, min(limits))
    # A line search that fails is repeated without what is known of the curvature, which the first has nothing of.
    search = int(known["options"].get("maxls", 20))
    points = min(1 + search * (2 * max(int(known["maxiter"]), 1) - 1), int(known["maxfun"]) + 2 * search)
    return itertools.repeat(num_parameters + 1, points)


def together(optimizer: Optimizer | Minimizer, num_parameters: int) -> int:
    """Return how many energies an optimiser whose settings do not tell asks for at a time, at most.

    A callable is taken for one that asks as scipy's do: for one.
    """
    return num_parameters if isinstance(optimizer, Optimizer) and not optimizer.is_gradient_ignored else 1


def _groups_of_spsa(spsa: SPSA) -> Iterator[int]:
    if spsa.learning_rate is None and spsa.perturbation is None:
        yield 50  # its calibration
    if spsa.blocking:
        yield 1
        if spsa.allowed_increase is None:
            yield 25  # for the scatter at one point
    sample = 4 if spsa.second_order and not isinstance(spsa, QNSPSA) else 2  # that one's fidelities are no energies
    for iteration in range(1, spsa.maxiter + 1):
        samples = spsa.resamplings
        yield from itertools.repeat(sample, samples.get(iteration, 1) if isinstance(samples, dict) else samples)
        if spsa.blocking or spsa.callback is not None:
            yield 1
    yield 1


def minimizer(optimizer: Optimizer | Minimizer) -> Minimizer:
    """Return what minimises, asking at once for energies that do not depend on each other: they share a job.

    So their time in a queue and the seconds of beginning a job are spent once.
    """
    if not isinstance(optimizer, Optimizer):
        return optimizer
    own = copy.copy(optimizer)
    # Not one dictionary of options for both: TNC renames some on its way, and leaves them so if the budget ends it.
    vars(own).update({name: dict(value) for name, value in vars(own).items() if isinstance(value, dict)})
    if isinstance(own, SPSA) or not own.is_gradient_ignored:  # of others scipy warns about a slope they do not use
        own.set_max_evals_grouped(1000)
    if isinstance(own, L_BFGS_B):
        return _with_slopes(own)
    minimize: Minimizer = own.minimize
    return minimize


def _with_slopes(optimizer: L_BFGS_B) -> Minimizer:
    """Return L-BFGS-B, which asks for energy and slope at every point, with both in one job.

    By itself qiskit-algorithms measures the energy, then the energy once more, then those beside it: three jobs.
    """
    step = float(optimizer.settings["eps"])

    def minimize(fun: Callable[..., Any], x0: NDArray[np.float64], jac: None = None, bounds: Any = None) -> Any:
        slopes: dict[bytes, NDArray[np.float64]] = {}

        def energy(x: NDArray[np.float64]) -> float:
            values = np.asarray(fun(np.vstack([x, x + step * np.eye(x.size)])))
            slopes.clear()
            slopes[x.tobytes()] = (values[1:] - values[0]) / step
            return float(values[0])

        def slope(x: NDArray[np.float64]) -> NDArray[np.float64]:
            if x.tobytes() not in slopes:
                energy(x)
            return slopes[x.tobytes()]

        return optimizer.minimize(energy, x0, jac=slope, bounds=bounds)

    return minimize
