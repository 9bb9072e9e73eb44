"""Primitives whose jobs are a spender's: a sampler and an estimator, both within the budget of one run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Protocol, final

import numpy as np
from qiskit import QuantumCircuit
from qiskit.primitives import (
    BaseEstimatorV2,
    BasePrimitiveJob,
    BaseSamplerV2,
    DataBin,
    EstimatorPubLike,
    PrimitiveResult,
    PubResult,
    SamplerPubLike,
    SamplerPubResult,
)
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.observables_array import ObservablesArray
from qiskit.primitives.containers.sampler_pub import SamplerPub

from qiskit_metainit.deployment.adapters.answered import DoneJob
from qiskit_metainit.deployment.adapters.expectation import shots_of
from qiskit_metainit.deployment.channels.channel import Answer


class Asked(Protocol):
    """What answers a job: a ``Spender``, or what only tells its price."""

    def ask(
        self,
        pubs: Sequence[tuple[QuantumCircuit, np.ndarray]],
        shots: int,
        observables: Sequence[ObservablesArray] | None = None,
    ) -> Answer:
        """Return a job's answer; see ``Spender.ask``."""
        ...


@final
class LedgeredSampler(BaseSamplerV2):
    """A sampler of circuits as the backend runs them, with one register each.

    Args:
        spender: runs the jobs.
    """

    def __init__(self, spender: Asked) -> None:
        self.spender = spender

    def run(self, pubs: Iterable[SamplerPubLike], *, shots: int | None = None) -> BasePrimitiveJob:
        """Run a job and wait for it.

        Args:
            pubs: measured circuits.
            shots: of every circuit evaluation, the same in the whole job.

        Raises:
            BudgetSpent: as ``Spender.ask``, like all else.
        """
        coerced = [SamplerPub.coerce(pub, shots) for pub in pubs]
        count = _one({pub.shots for pub in coerced})
        points = [pub.parameter_values.as_array(pub.circuit.parameters) for pub in coerced]
        flat = [item.reshape(math.prod(item.shape[:-1]), item.shape[-1]) for item in points]
        answer = self.spender.ask([(pub.circuit, rows) for pub, rows in zip(coerced, flat, strict=True)], count)
        results = []
        for pub, item, bits in zip(coerced, points, answer.bits, strict=True):
            shape = item.shape[:-1]
            results.append(SamplerPubResult(DataBin(**{pub.circuit.cregs[0].name: bits.reshape(shape)}, shape=shape)))
        return DoneJob(PrimitiveResult(results))


@final
class LedgeredEstimator(BaseEstimatorV2):
    """An estimator of circuits and observables as the backend runs them.

    Args:
        spender: runs the jobs.
        shots: of every circuit evaluation in every basis, where no precision is asked for.

    Attributes:
        shots: see above.
    """

    def __init__(self, spender: Asked, shots: int) -> None:
        self.spender = spender
        self.shots = shots

    def run(self, pubs: Iterable[EstimatorPubLike], *, precision: float | None = None) -> BasePrimitiveJob:
        """Run a job and wait for it.

        Args:
            pubs: circuits without measurements.
            precision: 1 / sqrt(shots), the same in the whole job.

        Raises:
            BudgetSpent: as ``Spender.ask``, like all else.
        """
        coerced = [EstimatorPub.coerce(pub, precision) for pub in pubs]
        count = _one({self.shots if pub.precision is None else shots_of(pub.precision) for pub in coerced})
        points = [pub.parameter_values.as_array(pub.circuit.parameters) for pub in coerced]
        answer = self.spender.ask(
            [(pub.circuit, rows) for pub, rows in zip(coerced, points, strict=True)],
            count,
            [pub.observables for pub in coerced],
        )
        results = []
        for pub, found in zip(coerced, answer.estimates, strict=True):
            data = DataBin(evs=found.values, stds=found.errors, shape=pub.shape)
            results.append(PubResult(data, metadata={"shots": count, "circuit_metadata": pub.circuit.metadata}))
        return DoneJob(PrimitiveResult(results))


def _one(counts: set[int | None]) -> int:
    if len(counts) != 1 or None in counts:
        raise ValueError(f"One number of shots for the whole job is needed, but {counts} came. Split the job.")
    return int(counts.pop() or 0)
