"""How long a QPU is taken: a stated model, before anything is submitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qiskit import QuantumCircuit
from qiskit.providers import BackendV2

_JOB_SECONDS = 3.0
_REP_DELAY = 250e-6
_SPREAD = 2.0


@dataclass(frozen=True)
class Timing:
    """QPU seconds as ``jobs * job_seconds + shots * (rep_delay + circuit)``.

    IBM's guide to workload usage shows 4.1 s for 4096 shots of a circuit of a microsecond at the default repetition
    delay of 250 us, which leaves 3 s for a job; the charge itself is known only afterwards. Between half and twice the
    estimate is what the model promises.
    """

    circuit: float
    """Seconds of one execution of the circuit, measurement included."""
    rep_delay: float = _REP_DELAY
    """Seconds between executions."""
    job_seconds: float = _JOB_SECONDS
    """Seconds of a job besides its executions."""

    @classmethod
    def of(cls, backend: BackendV2, circuit: QuantumCircuit) -> Timing:
        """Return the model of a backend for a transpiled circuit."""
        delay: Any = getattr(backend, "default_rep_delay", None)
        return cls(duration(circuit, backend), _REP_DELAY if delay is None else float(delay))

    def seconds(self, jobs: int, shots: int) -> float:
        """Return the estimate.

        >>> round(Timing(circuit=2e-6).seconds(1, 4096), 2)
        4.03
        """
        return jobs * self.job_seconds + shots * (self.rep_delay + self.circuit)

    def interval(self, jobs: int, shots: int) -> tuple[float, float]:
        """Return what the estimate may be off by."""
        estimate = self.seconds(jobs, shots)
        return estimate / _SPREAD, estimate * _SPREAD


def duration(circuit: QuantumCircuit, backend: BackendV2) -> float:
    """Return the seconds of a circuit whose gates run as soon as they can; unknown durations count as 0."""
    ready: dict[object, float] = {}
    place = {qubit: index for index, qubit in enumerate(circuit.qubits)}
    for item in circuit.data:
        bits = (*item.qubits, *item.clbits)
        start = max((ready.get(bit, 0.0) for bit in bits), default=0.0)
        offered = backend.target.get(item.name, {}) or {}
        known = offered.get(tuple(place[qubit] for qubit in item.qubits))
        length = getattr(known, "duration", None) or 0.0
        ready.update(dict.fromkeys(bits, start + length))
    return max(ready.values(), default=0.0)
