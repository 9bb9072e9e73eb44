"""Estimators whose shots are sampled counts, on simulators without noise or with a device's, fresh at every call."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import final

import numpy as np
from qiskit.circuit import QuantumCircuit
from qiskit.primitives import BackendEstimatorV2, BaseEstimatorV2, BasePrimitiveJob, EstimatorPubLike, PrimitiveResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.providers import BackendV2, JobStatus
from qiskit_aer import AerSimulator

from qiskit_metainit.backends import ONE_THREAD, Rng, fewest_gates, noisy_simulator


def shot_estimator(backend: BackendV2 | None, rng: Rng) -> ShotEstimator:
    """Return an estimator with real shot noise on a simulator.

    A seed would freeze Aer's shot noise, the same at every call; here every call draws its own from ``rng``: calls
    differ, and the same ``rng`` gives the same sequence of calls.

    Args:
        backend: an ``AerSimulator`` or any whose ``run`` takes ``seed_simulator``; None for a noiseless one.
        rng: where the calls' seeds come from.
    """
    chosen = backend or AerSimulator(**ONE_THREAD)
    return ShotEstimator(lambda _: chosen, None if backend is None else chosen.name, rng)


def device_estimator(device: BackendV2, rng: Rng) -> ShotEstimator:
    """Return an estimator with real shot noise and a device's noise, each circuit on the device's best qubits.

    Every number of qubits has its own ``noisy_simulator``, so that small circuits stay cheap and may share a job with
    large ones.

    Args:
        device: real or fake, with errors in its target; nothing runs on it.
        rng: where the calls' seeds come from.
    """
    simulators = functools.cache(functools.partial(noisy_simulator, device))
    return ShotEstimator(simulators, device.name, rng)


@final
class ShotEstimator(BaseEstimatorV2):
    """Expectation values as means of sampled counts. ``shot_estimator`` and ``device_estimator`` make them.

    Each basis of qubit-wise commuting terms is measured apart with all the shots that the precision stands for
    (``BackendEstimatorV2`` on the simulator of the circuit's number of qubits). Circuits must suit the simulator:
    ``pass_manager`` makes them do, and keeps their number of qubits.

    Attributes:
        noise: name of the backend whose noise is simulated, or None.
        rng: where the calls' seeds come from; its state tells which noise comes next.
        pass_manager: gives an estimator engine's circuits the form the simulators run.
    """

    def __init__(self, simulator: Callable[[int], BackendV2], noise: str | None, rng: Rng) -> None:
        self.noise = noise
        self.rng = np.random.default_rng(rng)
        self.pass_manager = _BySize(simulator)
        self._simulator = simulator

    def run(self, pubs: Iterable[EstimatorPubLike], *, precision: float | None = None) -> BasePrimitiveJob:
        """Estimate every PUB, those of one number of qubits together."""
        sizes: dict[int, list[tuple[int, EstimatorPub]]] = {}
        for place, pub in enumerate(EstimatorPub.coerce(pub, precision) for pub in pubs):
            sizes.setdefault(pub.circuit.num_qubits, []).append((place, pub))
        jobs = []
        for size, group in sizes.items():
            options = {"seed_simulator": int(self.rng.integers(2**31))}
            estimator = BackendEstimatorV2(backend=self._simulator(size), options=options)
            jobs.append((estimator.run([pub for _, pub in group]), [place for place, _ in group]))
        return _Jobs(jobs)


@final
class _BySize:
    """Transpiles each circuit for the simulator of its size."""

    def __init__(self, simulator: Callable[[int], BackendV2]) -> None:
        self._simulator = simulator

    def run(self, circuits: QuantumCircuit, /) -> QuantumCircuit:
        return fewest_gates(circuits, self._simulator(circuits.num_qubits).target)


@final
class _Jobs(BasePrimitiveJob):
    """The jobs of several simulators as one."""

    def __init__(self, jobs: list[tuple[BasePrimitiveJob, list[int]]]) -> None:
        super().__init__("+".join(job.job_id() for job, _ in jobs))
        self._jobs = jobs

    def result(self) -> PrimitiveResult:
        results = [found for job, places in self._jobs for found in zip(places, job.result(), strict=True)]
        return PrimitiveResult([result for _, result in sorted(results, key=lambda found: found[0])], {"version": 2})

    def status(self) -> JobStatus:
        statuses = [job.status() for job, _ in self._jobs]
        return next((status for status in statuses if status is not JobStatus.DONE), JobStatus.DONE)

    def done(self) -> bool:
        return all(job.done() for job, _ in self._jobs)

    def running(self) -> bool:
        return any(job.running() for job, _ in self._jobs)

    def cancelled(self) -> bool:
        return any(job.cancelled() for job, _ in self._jobs)

    def in_final_state(self) -> bool:
        return all(job.in_final_state() for job, _ in self._jobs)

    def cancel(self) -> None:
        for job, _ in self._jobs:
            job.cancel()
