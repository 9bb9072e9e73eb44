"""From a start to a target energy with several optimisers, on exact or on sampled energies: what each one spends."""

from __future__ import annotations

from contextlib import suppress
from operator import itemgetter

import numpy as np
import torch
from qiskit.primitives import StatevectorSampler
from scipy.optimize import minimize

from qiskit_metainit.comparison import OPTIMIZERS, Protocol
from qiskit_metainit.engine import Engine
from qiskit_metainit.engines.sampling import Sampling
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.handover import Trace, hand_over
from qiskit_metainit.rating import Array, energies
from qiskit_metainit.task import Task

SPSA_GAINS = {"a": 0.5, "A": 10.0, "alpha": 0.602, "c": 0.1, "gamma": 0.101}
"""Of SPSA: steps a / (k + A)^alpha and perturbations c / k^gamma, natural units, at step k = 1, 2, ..

The exponents are Spall's; a, A and c were chosen once, on seven instances of seven qubits, as what got there soonest
from random points and from the best formula alike."""


def run_until(
    optimizer: str,
    engine: Statevector,
    task: Task,
    point: Array,
    target: float,
    *,
    protocol: Protocol,
    rng: np.random.Generator | None = None,
) -> Trace:
    """Run an optimiser until it visits a point at or below the target energy, converges or is at the protocol's cap.

    All search natural units and costs divided by the task's scale, so that units and weights do not matter:

    - "cobyla": scipy's, with the protocol's trust radii.
    - "l_bfgs_b": scipy's, its exact gradients charged as in ``handover``: what the two-term shift rule would spend.
    - "spsa": Spall 1992, with the exponents of Spall 1998 (IEEE Trans. Aerosp. Electron. Syst. 34, 817, section III)
      and ``SPSA_GAINS``, which are the same for every start: two evaluations a step and no calibration, that would
      cost every start the same fifty evaluations. The iterates are judged beside the points measured, at no charge.

    Args:
        optimizer: one of ``OPTIMIZERS``.
        engine: judges points, exactly.
        task: the landscape.
        point: (P,) where to start, radians.
        target: the energy.
        protocol: cap, trust radii, and the shots if energies are sampled for the optimiser.
        rng: draws SPSA's directions and the shots; needed there only.

    Raises:
        ValueError: if there is no such optimiser, or there are shots and the Hamiltonian is not diagonal.
    """
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"The optimizer must be one of {', '.join(OPTIMIZERS)}, but {optimizer!r} came.")
    if optimizer == "l_bfgs_b":
        return hand_over("L-BFGS-B", engine, task, point, cap=protocol.cap, target=target)
    sampler = None if protocol.shots is None else sampled(protocol.shots, rng)
    run = _Run(engine, sampler, task, target, protocol.cap)
    start = point[: task.num_parameters] / run.unit
    with suppress(_Over):
        if optimizer == "cobyla":
            _cobyla(run, start, protocol)
        else:
            _spsa(run, start, np.random.default_rng(rng))
    return run.trace()


def evaluations_until(
    engine: Statevector,
    task: Task,
    point: Array,
    target: float,
    *,
    protocol: Protocol,
    optimizer: str = "cobyla",
    rng: np.random.Generator | None = None,
) -> int:
    """Return how many evaluations ``run_until`` takes to the target, the cap if it does not get there."""
    arrival = run_until(optimizer, engine, task, point, target, protocol=protocol, rng=rng).arrival(target)
    return protocol.cap if arrival is None else arrival


def sampled(shots: int, rng: np.random.Generator | None) -> Engine:
    """Return an engine of sampled energies of diagonal Hamiltonians, without any noise but the shots'."""
    return Sampling(StatevectorSampler(seed=np.random.default_rng(rng)), shots=shots)


class _Over(Exception):  # noqa: N818 it is no error: it ends a run
    pass


class _Run:
    """The landscape as an optimiser sees it, and what it visited."""

    def __init__(self, engine: Statevector, sampler: Engine | None, task: Task, target: float, cap: int) -> None:
        self.unit: Array = task.features.unit.numpy()
        self._engine, self._sampler, self._task, self._target, self._cap = engine, sampler, task, target, cap
        self._spent = 0
        self._visits: list[tuple[int, float]] = []

    def measure(self, points: Array, held: Array | None = None) -> Array:
        """Return (K,) scaled energies of (K, P) points, one evaluation each; judge the point held before as well."""
        radians = points * self.unit
        seen = radians if held is None else np.concatenate([(held * self.unit)[None], radians])
        exact = energies(self._engine, [self._task] * len(seen), seen)
        counts = [] if held is None else [max(self._spent, 1)]
        counts += range(self._spent + 1, self._spent + 1 + len(points))
        self._visits += zip(counts, exact.tolist(), strict=True)
        self._spent += len(points)
        if exact.min() <= self._target or self._spent >= self._cap:
            raise _Over
        told = exact[-len(points) :]
        if self._sampler is not None:
            told = self._sampler.expectation([self._task] * len(points), torch.as_tensor(radians)).numpy()
        return np.asarray(told / self._task.scale)

    def trace(self) -> Trace:
        """Return the run so far."""
        kept: list[tuple[int, float]] = []
        for count, energy in sorted(self._visits, key=itemgetter(0)):
            if count <= self._cap and (not kept or energy < kept[-1][1]):
                kept.append((count, energy))
        return Trace(tuple(count for count, _ in kept), tuple(energy for _, energy in kept))


def _cobyla(run: _Run, start: Array, protocol: Protocol) -> None:
    def cost(natural: Array) -> float:
        return float(run.measure(natural[None])[0])

    minimize(
        cost,
        start,
        method="COBYLA",
        tol=protocol.rhoend,
        options={"rhobeg": protocol.rhobeg, "maxiter": protocol.cap},
    )


def _spsa(run: _Run, point: Array, rng: np.random.Generator) -> None:
    step = 0
    while True:  # the run ends itself
        step += 1
        signs = 2.0 * rng.integers(2, size=point.shape) - 1.0
        width = SPSA_GAINS["c"] / step ** SPSA_GAINS["gamma"]
        forth, back = run.measure(point + width * np.stack([signs, -signs]), held=point)
        rate = SPSA_GAINS["a"] / (step + SPSA_GAINS["A"]) ** SPSA_GAINS["alpha"]
        point = point - rate * (forth - back) / (2 * width) * signs
