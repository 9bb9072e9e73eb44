"""How many layers of QAOA are worth their noise on a device: a prediction without running anything."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Sequence
from functools import cache
from importlib import resources

import numpy as np
import torch
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.transpiler import Target

from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.initializer import MetaInitializer
from qiskit_metainit.problem import PauliTerms, Problem, offset
from qiskit_metainit.proposal import CoverageWarning
from qiskit_metainit.task import Task


def log_fidelity(circuit: QuantumCircuit, target: Target, *, readout: bool = False) -> float:
    """Return the logarithm of the product of 1 - error over a transpiled circuit's gates, or over its measurements.

    A missing error counts as 0; an error of 1, a faulty gate, gives minus infinity.
    """
    wire = {bit: index for index, bit in enumerate(circuit.qubits)}
    total = 0.0
    for item in circuit.data:
        if item.name in {"barrier", "delay"} or item.name not in target or (item.name == "measure") is not readout:
            continue
        known = target[item.name].get(tuple(wire[bit] for bit in item.qubits))
        error = getattr(known, "error", None) or 0.0
        total += math.log1p(-error) if error < 1 else -math.inf
    return total


def predicted_gains(
    log_fidelities: Sequence[float], num_qubits: int, *, most: int = 8, ideal: Sequence[float] | None = None
) -> NDArray[np.float64]:
    """Return (most,) predicted gains of p = 1 .. most layers over random bitstrings, in standard deviations of theirs.

    The model is ``r(p) = r_mixed + (r_ideal(p) - r_mixed) F(p)^s``. Without noise the gain is that of infinitely large
    spin glasses, e_p sqrt(2 Q) standard deviations with e_p = .3033, .4075, .4726, ... (Farhi et al. 2022,
    arXiv:1910.08187, Table 1; Basso et al. 2022, arXiv:2110.14206: the same for MaxCut on graphs of large girth and
    degree). F(p) is the product of the gates' 1 - error. An error on two qubits takes what is known of the terms that
    touch them, 1 - (Q - 2)(Q - 3) / (Q (Q - 1)) of all pairs, and happens 5/4 times as often as the average error of a
    two-qubit gate says (Nielsen, Phys. Lett. A 303, 249 (2002), Eq. 3): s is 5/4 of that share, 1 at most.

    Checked against exact noisy simulations of 32 cases (four fake devices, graphs of 6 and 8 nodes, p up to 5,
    ``tutorials/tables/depth.py``): the recommended depth is within .005 of the best one's r in 22 of them, .006 below
    it on average and .033 at most; if ``ideal`` is given, within .005 in 31 and .0005 below on average.

    Limits: sparse, small or fully solved instances gain other amounts at each depth; optimised angles are assumed; an
    error spreads to further terms in later layers; relaxation while qubits idle, crosstalk and drift are left out.

    Args:
        log_fidelities: of the circuits of 1, 2, ... layers as the device runs them (``log_fidelity``), from one value
            on. Each further layer costs what the last one did.
        num_qubits: Q of the problem.
        most: deepest circuit looked at.
        ideal: the gains of 1, 2, ... layers without noise, up to the deepest looked at, where they are known: energies
            of proposed points below the mean of the spectrum, over the root of the sum of the squared coefficients.

    Raises:
        ValueError: if there is no log-fidelity, one is positive, or ``most`` is deeper than what is tabulated.

    >>> predicted_gains([0.0], 8, most=3).round(2).tolist()
    [1.21, 1.63, 1.89]
    """
    known = [float(value) for value in log_fidelities]
    if not known or any(not value <= 0 for value in known):
        raise ValueError(f"Log-fidelities of at most 0, from one on, are needed, but {known} came.")
    table = _energies() * math.sqrt(2 * num_qubits) if ideal is None else np.array(ideal, dtype=np.float64)
    most = most if ideal is None else len(table)
    if not 1 <= most <= len(table):
        raise ValueError(f"A depth from 1 to {len(table)} is needed, but most={most} came.")
    layer = known[-1] - known[-2] if len(known) > 1 else known[-1]
    total = np.array([*known, *(known[-1] + layer * step for step in range(1, most))][:most])
    return np.asarray(table[:most] * np.exp(_felt(num_qubits) * total))


def recommended_reps(
    log_fidelities: Sequence[float],
    num_qubits: int,
    shots: int,
    *,
    most: int = 8,
    ideal: Sequence[float] | None = None,
) -> int:
    """Return the fewest layers whose predicted energy is within the statistical error of the best one's.

    Args:
        log_fidelities: of the circuits of 1, 2, ... layers; see ``predicted_gains``, which has the model and its
            limits.
        num_qubits: of the problem.
        shots: with which an energy is measured. Its statistical error is taken as that of random bitstrings, one
            standard deviation over sqrt(shots).
        most: deepest circuit looked at.
        ideal: see ``predicted_gains``.

    Raises:
        ValueError: as ``predicted_gains``; or if there are no shots.

    >>> recommended_reps([-0.02, -0.04], 8, 4000), recommended_reps([-0.5, -1.0], 8, 4000)
    (8, 1)
    >>> recommended_reps([-0.2, -0.4], 8, 4000), recommended_reps([-0.2, -0.4], 8, 100)
    (3, 2)
    """
    if shots < 1:
        raise ValueError(f"At least one shot is needed, but shots={shots} came.")
    gains = predicted_gains(log_fidelities, num_qubits, most=most, ideal=ideal)
    return 1 + int(np.flatnonzero(gains >= gains.max() - 1 / math.sqrt(shots))[0])


def ideal_gains(meta: MetaInitializer, problem: Problem, *, most: int = 8) -> list[float]:
    """Return what ``predicted_gains`` takes as ``ideal``: exact energies of an initializer's points, 1 .. most layers.

    Args:
        meta: without queries.
        problem: diagonal, small enough to be simulated.
        most: deepest circuit looked at.
    """
    terms = PauliTerms.of(problem.operator).coefficients
    spread, mean = math.sqrt(float(np.square(terms).sum())), offset(problem.operator)
    gains = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CoverageWarning)  # whatever stands in proposes the run's start as well
        for reps in range(1, most + 1):
            point = meta.propose([problem.operator], reps=reps, problem=problem)[0].point
            task = Task.qaoa(problem.operator, reps=reps)
            energy = Statevector().expectation([task], torch.as_tensor(point[None])).item()
            gains.append((mean - energy) / spread)
    return gains


def _felt(num_qubits: int) -> float:
    """Return the share of a term's expectation that an error of the size of a gate's takes, averaged over all pairs."""
    if num_qubits < 4:
        return 1.0
    untouched = (num_qubits - 2) * (num_qubits - 3) / (num_qubits * (num_qubits - 1))
    return min(1.0, 1.25 * (1 - untouched))


@cache
def _energies() -> NDArray[np.float64]:
    text = (resources.files("qiskit_metainit.models") / "sk_infinity.json").read_text(encoding="utf-8")
    rows = {int(depth): row["energy"] for depth, row in json.loads(text)["depths"].items()}
    return np.array([rows[depth] for depth in sorted(rows)])
