"""A channel to backends that run in this process: Aer, fake devices, anything that Qiskit calls a backend."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import final

from qiskit.primitives import BackendSamplerV2, BitArray
from qiskit.providers import BackendV2
from qiskit_aer.backends.aerbackend import AerBackend

from qiskit_metainit.deployment.channel import Answer, Channel, Refused, Request


@final
class LocalChannel(Channel):
    """Jobs run at once, one after the other, in this process and end with it.

    Args:
        backend: whose ``run`` takes transpiled circuits. Aer and the fake devices of qiskit-ibm-runtime are seeded, so
            that a job that was lost draws the same outcomes again.
    """

    durable = False

    def __init__(self, backend: BackendV2) -> None:
        self.backend = backend
        self.free = is_simulator(backend)
        self._answers: dict[str, Answer] = {}

    def cost(self, request: Request) -> int:
        """Return the shots asked for."""
        return request.total_shots

    def submit(self, request: Request, tag: str) -> str:
        """Run the job; see ``Channel.submit``."""
        sampler = BackendSamplerV2(backend=self.backend, options={"seed_simulator": request.seed} if self.free else {})
        pubs = [(circuit, points) if points.shape[-1] else (circuit,) for circuit, points in request.pubs]
        try:
            result = sampler.run(pubs, shots=request.shots).result()
        except Exception as error:  # whatever a backend raises
            raise Refused(f"{self.backend.name} did not run the job: {error}") from error
        bits: list[BitArray] = [next(iter(pub.data.values())) for pub in result]
        job_id = f"local-{secrets.token_hex(6)}"
        self._answers[job_id] = Answer(tuple(item if item.ndim else item.reshape(1) for item in bits), None)
        return job_id

    def find(self, tag: str) -> Sequence[str]:
        """Return nothing: jobs do not outlive their process."""
        return ()

    def collect(self, job_id: str) -> Answer:
        """Return the outcomes; see ``Channel.collect``."""
        return self._answers.pop(job_id)

    def cancel(self, job_id: str) -> bool:
        """Return False: whatever was submitted has run."""
        return False


def is_simulator(backend: BackendV2) -> bool:
    """Return whether shots on a backend cost nothing: Aer, or a fake device."""
    # By the module's name, as importing the fake devices takes 2 s.
    fake = any(kind.__module__.startswith("qiskit_ibm_runtime.fake_provider") for kind in type(backend).__mro__)
    return fake or isinstance(backend, AerBackend)
