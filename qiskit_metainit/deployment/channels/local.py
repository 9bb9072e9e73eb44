"""A channel to backends that run in this process: Aer, fake devices, anything that Qiskit calls a backend."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, final

from qiskit.primitives import BackendSamplerV2, BitArray
from qiskit.primitives.containers.observables_array import ObservablesArray
from qiskit.providers import BackendV2
from qiskit_aer import AerSimulator

from qiskit_metainit.backends import (
    MOST_QUBITS,
    ActiveSimulator,
    active_simulator,
    errors,
    is_fake,
    is_simulator,
    strip,
)
from qiskit_metainit.deployment.channels.channel import Answer, Channel, JobFailed, Refused, Request
from qiskit_metainit.deployment.channels.estimates import Mitigation, estimates, pubs, quiet, uses


class InProcess(Channel):
    """Jobs that run when they are submitted, in this process, and end with it."""

    durable = False
    estimates = False

    def __init__(self) -> None:
        self._outcomes: dict[str, Answer | JobFailed] = {}

    def cost(self, request: Request) -> int:
        """Return the shots asked for."""
        return request.total_shots

    def find(self, tag: str) -> Sequence[str]:
        """Return nothing: jobs do not outlive their process."""
        return ()

    def collect(self, job_id: str) -> Answer:
        """Return the outcomes; see ``Channel.collect``."""
        found = self._outcomes.pop(job_id)
        if isinstance(found, JobFailed):
            raise found
        return found

    def cancel(self, job_id: str) -> bool:
        """Return False: whatever was submitted has run."""
        return False

    def close(self) -> None:
        """Do nothing."""

    def _keep(self, outcome: Answer | JobFailed) -> str:
        job_id = f"local-{secrets.token_hex(6)}"
        self._outcomes[job_id] = outcome
        return job_id


@final
class Ended(InProcess):
    """Runs nothing: a run that has ended finds all its answers in its ledger.

    Args:
        recorded: of the channel that it ran through.
    """

    free = True

    def __init__(self, recorded: Mapping[str, Any]) -> None:
        super().__init__()
        self._recorded = dict(recorded)
        self.estimates = "estimator" in recorded

    def cost(self, request: Request) -> int:
        """Return 0: nothing will be taken."""
        return 0

    def submit(self, request: Request, tag: str) -> str:
        """Refuse; see ``Channel.submit``."""
        raise Refused(
            "The run has ended, but asks for a job that it never sent. Resume it with the versions that are recorded, "
            "or begin another run."
        )

    def record(self) -> dict[str, Any]:
        """Return what was recorded."""
        return self._recorded


@final
class LocalChannel(InProcess):
    """Jobs run at once, one after the other, in this process and end with it.

    Args:
        backend: whose ``run`` takes transpiled circuits. Simulators are seeded, so that a job that was lost draws the
            same outcomes again; a fake device of qiskit-ibm-runtime is simulated on the qubits that a circuit uses, as
            its 156-qubit noise model takes some 10 s a job.
        estimator: as of ``RuntimeChannel``, to simulate what mitigation would cost and give; simulators only. With
            fractional noise factors the client folds gates at random: such a job draws others when it is lost.

    Raises:
        ValueError: for estimator options that are none, or on a backend that is neither Aer nor a fake device.
    """

    def __init__(self, backend: BackendV2, *, estimator: Any = None) -> None:
        super().__init__()
        self.free = is_simulator(backend)
        self._backend = active_simulator(backend) if is_fake(backend) else backend
        if estimator is not None and not _estimates(self._backend):
            raise ValueError(
                "A noiseless AerSimulator, a fake device or active_simulator(device) is needed to simulate the "
                f"client's Estimator, as it measures every qubit there is, but {backend.name} came. Take one of them, "
                "or leave out the estimator's options."
            )
        self._mitigation = None if estimator is None else Mitigation(estimator, self._backend)
        self.estimates = self._mitigation is not None

    def cost(self, request: Request) -> int:
        """Return the shots that a job takes; see ``Channel.cost``."""
        if request.observables is not None and self._mitigation is not None:
            return self._mitigation.cost(request)
        return request.total_shots

    def submit(self, request: Request, tag: str) -> str:
        """Run the job; see ``Channel.submit``."""
        if request.observables is not None:
            return self._keep(self._estimated(request))
        sampler = BackendSamplerV2(backend=self._backend, options={"seed_simulator": request.seed} if self.free else {})
        pubs = [(circuit, points) if points.shape[-1] else (circuit,) for circuit, points in request.pubs]
        try:
            result = sampler.run(pubs, shots=request.shots).result()
        except Exception as error:  # whatever a backend raises
            failure = f"{self._backend.name} did not run the job: {error}"
            if self.free:
                raise Refused(failure) from error
            return self._keep(JobFailed(failure, seconds=None, ran=True))  # its shots may have been taken
        bits: list[BitArray] = [next(iter(pub.data.values())) for pub in result]
        return self._keep(Answer(tuple(item if item.ndim else item.reshape(1) for item in bits), None))

    def record(self) -> dict[str, Any]:
        """Return what ran the jobs."""
        found: dict[str, Any] = {"backend": self._backend.name, "mode": "local"}
        return found if self._mitigation is None else found | {"estimator": self._mitigation.record()}

    def _estimated(self, request: Request) -> Answer:
        if self._mitigation is None:
            raise Refused("The client's Estimator is needed for expectation values: LocalChannel(..., estimator={}).")
        mode: Any = self._backend
        if isinstance(mode, ActiveSimulator):
            request, qubits = _stripped(request)
            mode = mode.on(qubits)
        try:
            with quiet():
                estimator = self._mitigation.estimator(mode, request.shots, seed=request.seed)
                return Answer((), None, estimates(estimator.run(pubs(request)).result()))
        except Exception as error:  # whatever Aer and the client raise
            raise Refused(f"{self._backend.name} did not run the job: {error}") from error


def _estimates(backend: BackendV2) -> bool:
    """Return whether the Estimator can run: it measures every qubit that a device has, though not those of Aer."""
    if isinstance(backend, ActiveSimulator):
        return True
    coupled = any(len(qubits) == 2 for _, qubits, _ in errors(backend.target))
    return isinstance(backend, AerSimulator) and (not coupled or backend.num_qubits <= MOST_QUBITS)


def _stripped(request: Request) -> tuple[Request, tuple[int, ...]]:
    """Return expectation values on the qubits that any of them needs, as the Estimator measures all there are."""
    asked = list(zip(request.pubs, request.observables or (), strict=True))
    qubits = tuple(sorted(set[int]().union(*(uses(circuit, observables) for (circuit, _), observables in asked))))
    made = tuple((strip(circuit, qubits)[0], points) for (circuit, points), _ in asked)
    return replace(request, pubs=made, observables=tuple(_letters(found, qubits) for _, found in asked)), qubits


def _letters(observables: ObservablesArray, qubits: Sequence[int]) -> ObservablesArray:
    """Return the observables on those qubits; on others they have none."""
    chosen = observables.tolist()

    def small(found: Any) -> Any:
        if isinstance(found, list):
            return [small(part) for part in found]
        return {"".join(label[len(label) - 1 - qubit] for qubit in reversed(qubits)): c for label, c in found.items()}

    return ObservablesArray(small(chosen))
