"""A channel to backends that run in this process: Aer, fake devices, anything that Qiskit calls a backend."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, final

from qiskit.primitives import BackendSamplerV2, BitArray
from qiskit.providers import BackendV2

from qiskit_metainit.backends import active_simulator, is_fake, is_simulator
from qiskit_metainit.deployment.channel import Answer, Channel, JobFailed, Refused, Request


class InProcess(Channel):
    """Jobs that run when they are submitted, in this process, and end with it."""

    durable = False

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
class LocalChannel(InProcess):
    """Jobs run at once, one after the other, in this process and end with it.

    Args:
        backend: whose ``run`` takes transpiled circuits. Simulators are seeded, so that a job that was lost draws the
            same outcomes again; a fake device of qiskit-ibm-runtime is simulated on the qubits that a circuit uses, as
            its 156-qubit noise model takes some 10 s a job.
    """

    def __init__(self, backend: BackendV2) -> None:
        super().__init__()
        self.free = is_simulator(backend)
        self._backend = active_simulator(backend) if is_fake(backend) else backend

    def submit(self, request: Request, tag: str) -> str:
        """Run the job; see ``Channel.submit``."""
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
        return {"backend": self._backend.name, "mode": "local"}
