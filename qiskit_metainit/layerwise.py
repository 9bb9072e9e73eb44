"""QAOA angles found depth by depth: each depth starts from what was found at the one before (INTERP and FOURIER)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.features import stack
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.task import Task

Array = NDArray[np.float64]

Energy = Callable[[int, Array], float]
"""(p, (2p,) natural units) -> the energy of that point at that depth: one circuit evaluation a call."""


def interp(
    energy: Energy, reps: int, *, start: Array, rhobeg: float = 1.0, rhoend: float = 1e-3, cap: int = 1000
) -> tuple[Array, int]:
    """Return the (2 * reps,) point that INTERP finds, natural units, and how many energies it asked for.

    Zhou et al. 2020, arXiv:1812.01041: the optimum at p gives the start at p + 1 by linear interpolation,
    ``theta'_i = (i - 1)/p theta_(i-1) + (p - i + 1)/p theta_i`` for i = 1 .. p + 1, of betas and gammas alike. The
    paper takes BFGS; here it is COBYLA, which asks for no gradients.

    Args:
        energy: what is minimised.
        reps: the depth p of the answer.
        start: (2,) natural units, where the search at p = 1 begins.
        rhobeg: COBYLA's first trust radius at every depth, natural units, as in ``evaluation.Protocol``; a small one
            keeps to the basin of the start.
        rhoend: its last one, where a depth counts as done.
        cap: most evaluations at one depth.

    Raises:
        ValueError: if reps is less than 1 or the start is not a point of one layer.
    """
    _check(reps, start)
    counted = _Counted(energy)
    point = np.asarray(start, dtype=np.float64)
    for depth in range(1, reps + 1):
        if depth > 1:
            point = np.concatenate([_interpolated(angles) for angles in np.split(point, 2)])
        point = _minimised(counted, depth, point, lambda searched: searched, rhobeg, rhoend, cap)[0]
    return point, counted.count


def fourier(
    energy: Energy,
    reps: int,
    *,
    start: Array,
    components: int | None = None,
    perturbations: int = 0,
    spread: float = 0.6,
    rng: np.random.Generator | None = None,
    rhobeg: float = 1.0,
    rhoend: float = 1e-3,
    cap: int = 1000,
) -> tuple[Array, int]:
    """Return the (2 * reps,) point that FOURIER[q, R] finds, natural units, and how many energies it asked for.

    Zhou et al. 2020, arXiv:1812.01041: beta_i = sum_k v_k cos((k - 1/2)(i - 1/2) pi/p) and gamma_i the same with u_k
    and sin, for k = 1 .. q. The amplitudes found at p, with one of zero appended while there are less than q, are the
    start at p + 1. With R > 0 the best amplitudes are carried along too, as they are and R times perturbed by normal
    numbers of their own size times a factor. The paper takes BFGS; here it is COBYLA, which asks for no gradients.

    Args:
        energy: what is minimised.
        reps: the depth p of the answer.
        start: (2,) natural units, where the search at p = 1 begins.
        components: q, at most; None for as many as layers.
        perturbations: R.
        spread: that factor, the paper's alpha.
        rng: where the perturbations come from; needed if there are any.
        rhobeg: COBYLA's first trust radius at every depth, in amplitudes, as in ``interp``.
        rhoend: its last one.
        cap: most evaluations of one search, of which there are up to R + 2 a depth if R > 0, from p = 2 on.

    Raises:
        ValueError: if reps or components is less than 1, the start is not a point of one layer, or perturbations are
            asked for without an rng.
    """
    _check(reps, start)
    if components is not None and components < 1:
        raise ValueError(f"components must be None or at least 1, but {components} came.")
    if perturbations < 0 or (perturbations and rng is None):
        raise ValueError(f"perturbations must be at least 0 and come with an rng, but {perturbations=}, {rng=} came.")
    counted = _Counted(energy)
    chain = best = np.asarray(start, dtype=np.float64) * np.sqrt(2.0)  # cos(pi/4) and sin(pi/4) at p = 1
    for depth in range(1, reps + 1):
        size = min(depth, components or depth)
        matrices = _waves(depth, size)

        def searched(amplitudes: Array, matrices: tuple[Array, Array] = matrices) -> Array:
            parts = zip(matrices, np.split(amplitudes, 2), strict=True)
            return np.concatenate([matrix @ part for matrix, part in parts])

        base = _padded(best, size)
        starts = [] if best is chain else [base]
        if rng is not None and depth > 1:
            starts += list(base + spread * base * rng.standard_normal((perturbations, base.size)))
        chain, value = _minimised(counted, depth, _padded(chain, size), searched, rhobeg, rhoend, cap)
        best = chain
        for other in starts:
            found, reached = _minimised(counted, depth, other, searched, rhobeg, rhoend, cap)
            if reached < value:
                best, value = found, reached
    return searched(best), counted.count


SEARCHES: Mapping[str, Callable[..., tuple[Array, int]]] = {"interp": interp, "fourier": fourier}
"""The searches by the names that ``climb`` takes; "fourier" is FOURIER[q = infinity, R = 0]."""


@dataclass(frozen=True, eq=False)
class Climb:
    """One search from p = 1 up to the depth of a task."""

    point: Array
    """(P,) radians where it ended."""
    evaluations: int
    """Circuit evaluations that it asked for, at all depths together."""
    visits: tuple[tuple[int, float], ...]
    """(circuit evaluations so far, exact energy) of every point of the task's own depth that it looked at, in order."""


def climb(
    name: str, engine: Statevector, task: Task, *, rhobeg: float = 1.0, rhoend: float = 1e-3, cap: int = 1000
) -> Climb:
    """Run a search on exact energies, from SK-infinity's point at p = 1, a formula's that costs no evaluation.

    It searches natural units and costs divided by the task's scale, so weights and units do not matter.

    Args:
        name: one of ``SEARCHES``.
        engine: answers.
        task: the standard QAOA landscape of the last depth; the landscapes before it are made from it.
        rhobeg: COBYLA's first trust radius at every depth, as in ``interp``.
        rhoend: its last one.
        cap: most evaluations at one depth.

    Raises:
        ValueError: if there is no such search, the circuit is no standard QAOA circuit, or SK-infinity does not serve
            the task.

    >>> from qiskit.quantum_info import SparsePauliOp
    >>> found = climb("interp", Statevector(), Task.qaoa(SparsePauliOp(["ZZI", "IZZ"]), reps=2))
    >>> print(len(found.point), round(min(energy for _, energy in found.visits), 3))
    4 -2.0
    """
    if name not in SEARCHES:
        raise ValueError(f"A search must be one of {', '.join(SEARCHES)}, but {name!r} came.")
    if (reason := SkInfinity().unsupported(task.features)) is not None:
        raise ValueError(f"{name} starts from SK-infinity's point, but {reason}.")
    reps, current, spent, visits = task.features.reps, task.with_reps(1), 0, list[tuple[int, float]]()
    start = SkInfinity().begin(stack([current.features]))[0][0].numpy()

    def energy(depth: int, natural: Array) -> float:
        nonlocal current, spent
        if depth != current.features.reps:  # depths only rise, and what an engine keeps of the last is forgotten
            current = task if depth == reps else task.with_reps(depth)
        with torch.no_grad():
            radians = torch.as_tensor(natural) * current.features.unit
            found = engine.expectation([current], radians[None]).item()
        spent += 1
        if depth == reps:
            visits.append((spent, found))
        return found / task.scale

    point, evaluations = SEARCHES[name](energy, reps, start=start, rhobeg=rhobeg, rhoend=rhoend, cap=cap)
    return Climb(point * task.features.unit.numpy(), evaluations, tuple(visits))


class _Counted:
    """An energy, and how many times it was asked for."""

    def __init__(self, energy: Energy) -> None:
        self.energy = energy
        self.count = 0

    def __call__(self, depth: int, point: Array) -> float:
        self.count += 1
        return float(self.energy(depth, point))


def _minimised(
    energy: Energy,
    depth: int,
    start: Array,
    angles: Callable[[Array], Array],
    rhobeg: float,
    rhoend: float,
    cap: int,
) -> tuple[Array, float]:
    """Return where COBYLA ends in the variables of which ``angles`` makes a point, and the energy there."""

    def cost(variables: Array) -> float:
        return energy(depth, angles(variables))

    found = minimize(cost, start, method="COBYLA", tol=rhoend, options={"rhobeg": rhobeg, "maxiter": cap})
    return np.asarray(found.x, dtype=np.float64), float(found.fun)


def _interpolated(angles: Array) -> Array:
    share = np.arange(angles.size + 1) / angles.size
    return np.asarray(share * np.append(0.0, angles) + (1.0 - share) * np.append(angles, 0.0))


def _padded(amplitudes: Array, size: int) -> Array:
    """Return amplitudes with zeros appended to either half, up to (2 * size,)."""
    halves = np.split(amplitudes, 2)
    return np.concatenate([np.append(half, np.zeros(size - half.size)) for half in halves])


def _waves(depth: int, size: int) -> tuple[Array, Array]:
    """Return (p, q) matrices from amplitudes to betas and to gammas."""
    phase = np.pi / depth * np.outer(np.arange(depth) + 0.5, np.arange(size) + 0.5)
    return np.cos(phase), np.sin(phase)


def _check(reps: int, start: Array) -> None:
    if reps < 1:
        raise ValueError(f"reps must be a positive integer (the number of QAOA layers), but {reps!r} came.")
    if np.shape(start) != (2,):
        raise ValueError(f"The start must be a point of one layer, shape (2,), but one of {np.shape(start)} came.")
