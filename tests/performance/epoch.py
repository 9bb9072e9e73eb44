"""W4: an epoch of meta-training, timed as one process.

``python epoch.py ours REPS PRECISION DEVICE`` trains the LSTM for some epochs of 1008 graphs. ``python epoch.py aer
REPS`` takes a gradient step at each size with our parameter-shift engine on Aer, which asks Aer for all shifts of a
batch in one job and so flatters the peer, and extrapolates. Both print JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time

if __name__ == "__main__" and "CORES" in os.environ:  # before anything starts threads
    os.sched_setaffinity(0, [int(core) for core in os.environ["CORES"].split(",")])

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from qiskit_aer.primitives import EstimatorV2

from qiskit_metainit.engine import Engine
from qiskit_metainit.engines.parameter_shift import ParameterShift
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.models.lstm import Lstm
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.training import Schedule, train

SEED = 0


@dataclass(frozen=True)
class Protocol:
    """That of Lin et al. 2025, arXiv:2512.05058."""

    sizes: Sequence[int] = (6, 7, 8, 9)
    """Of the graphs, drawn uniformly."""
    instances: int = 1008
    """Graphs of an epoch."""
    batch: int = 64
    outputs: int = 10
    """T: costs, and gradients by the point, of every instance."""

    @property
    def steps(self) -> int:
        """Gradient steps of an epoch."""
        return -(-self.instances // self.batch)


def trained(engine: Engine, reps: int, protocol: Protocol, steps: int) -> tuple[list[float], list[float]]:
    """Return the losses and the seconds from the start to the end of each step, drawing and compiling included."""
    torch.manual_seed(SEED)
    model = Lstm(num_parameters=2 * reps, queries=protocol.outputs - 1)
    ends: list[float] = []
    start = time.perf_counter()
    report = train(
        model,
        MaxCut(sizes=protocol.sizes),
        engine,
        reps=[reps],
        steps=steps,
        batch=protocol.batch,
        rng=np.random.default_rng(SEED),
        schedule=Schedule(instances=protocol.instances),
        progress=lambda step, loss: ends.append(time.perf_counter() - start),
    )
    return list(report.losses), ends


def ours(reps: int, precision: str, device: str, protocol: Protocol, epochs: int = 4) -> dict[str, object]:
    """Return seconds of the first epoch, from nothing, and of the last one, with most landscapes compiled."""
    engine = Statevector(precision=precision, device=device)
    losses, ends = trained(engine, reps, protocol, epochs * protocol.steps)
    last = ends[-1] - (ends[-1 - protocol.steps] if epochs > 1 else 0.0)
    return {"first": ends[protocol.steps - 1], "last": last, "losses": losses[: protocol.steps]}


def aer(reps: int, protocol: Protocol, part: int = 8) -> dict[str, object]:
    """Return seconds of an epoch, extrapolated from a step of ``part`` instances at each size, and those steps' losses.

    A step's time is proportional to its instances; the sizes of an epoch are equally frequent.
    """
    seconds, losses = [], []
    for size in protocol.sizes:
        small = Protocol([size], 2 * part, part, protocol.outputs)
        engine = ParameterShift(EstimatorV2())
        values, ends = trained(engine, reps, small, steps=2)
        seconds.append((ends[1] - ends[0]) / part)  # of the second step: drawing and the first transpilation are over
        losses += values
    epoch = float(np.mean(seconds)) * protocol.batch * protocol.steps
    return {"seconds": epoch, "measured": float(sum(seconds)) * part, "losses": losses}


def exact(reps: int, protocol: Protocol, part: int = 8) -> list[float]:
    """Return the losses of ``aer`` by this package's engine: what the peer's must be."""
    losses: list[float] = []
    for size in protocol.sizes:
        losses += trained(Statevector(), reps, Protocol([size], 2 * part, part, protocol.outputs), steps=2)[0]
    return losses


if __name__ == "__main__":
    what, depth, *rest = sys.argv[1:]
    if what == "ours":
        answer = ours(int(depth), rest[0], rest[1], Protocol())
    else:
        answer = aer(int(depth), Protocol())
        deviation = np.abs(np.subtract(answer["losses"], exact(int(depth), Protocol()))).max()
        answer["deviation"] = float(deviation)
    print(json.dumps(answer))
