"""Backends by the names that the command line and the ledger know them by."""

from __future__ import annotations

from qiskit.providers import BackendV2
from qiskit_aer import AerSimulator

from qiskit_metainit.backends import ONE_THREAD, active_simulator, fake_backend
from qiskit_metainit.deployment.account import service_backend

_SIMULATED = "active_"


def named_backend(name: str, *, simulate: bool = False) -> BackendV2:
    """Return a backend by its name.

    Args:
        name: "aer" (noiseless), "fake_..." (a snapshot of a device, whose noise is simulated), or a backend of the
            IBM Quantum account that is saved on this machine.
        simulate: simulate the backend's noise, as it is reported now, instead of running there.

    Raises:
        ValueError: if there is none of that name, or no account.
    """
    if name in ("aer", "aer_simulator"):
        return AerSimulator(**ONE_THREAD)
    if name.startswith(_SIMULATED):
        return named_backend(name.removeprefix(_SIMULATED), simulate=True)
    backend = fake_backend(name) if name.startswith("fake_") else service_backend(name)
    return active_simulator(backend) if simulate else backend
