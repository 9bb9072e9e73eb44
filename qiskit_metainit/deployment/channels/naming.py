"""Backends by the names that the command line and the ledger know them by, and how jobs reach them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from qiskit.providers import BackendV2
from qiskit_aer import AerSimulator

from qiskit_metainit.backends import MOST_QUBITS, ONE_THREAD, active_simulator, fake_backend
from qiskit_metainit.deployment.channels.account import service_backend
from qiskit_metainit.deployment.channels.channel import Channel
from qiskit_metainit.deployment.channels.local import LocalChannel
from qiskit_metainit.deployment.channels.runtime import Mode, RuntimeChannel
from qiskit_metainit.surrogate import surrogate_backend

_EXACT, _SURROGATE = "active_", "surrogate_"


def named_backend(name: str) -> BackendV2:
    """Return a backend by its name.

    Args:
        name: "aer" (noiseless), "fake_..." (a snapshot of a device, whose noise is simulated), or a backend of the
            IBM Quantum account that is saved on this machine; "active_NAME" and "surrogate_NAME" simulate it.

    Raises:
        ValueError: if there is none of that name, or no account.
    """
    if name in ("aer", "aer_simulator"):
        return AerSimulator(**ONE_THREAD)
    if name.startswith(_EXACT):
        return active_simulator(named_backend(name.removeprefix(_EXACT)))
    if name.startswith(_SURROGATE):
        return surrogate_backend(named_backend(name.removeprefix(_SURROGATE)))
    return fake_backend(name) if name.startswith("fake_") else service_backend(name)


def simulated(backend: BackendV2, num_qubits: int) -> BackendV2:
    """Return what simulates a device's noise as it is reported now, before it is paid for.

    Up to 10 qubits exactly (a density matrix, some 0.1 s an evaluation at 8 qubits), beyond by the approximation of
    ``surrogate_backend`` (some 0.1 s at 12, where the exact noise takes 20 to 50 s).
    """
    if isinstance(backend, AerSimulator):
        return backend  # with the noise that it has
    return active_simulator(backend) if num_qubits <= MOST_QUBITS else surrogate_backend(backend)


def channel_for(backend: BackendV2) -> Channel:
    """Return how jobs reach a backend: one of IBM Quantum by its service, any other in this process."""
    if any(kind.__module__.startswith("qiskit_ibm_runtime.ibm_backend") for kind in type(backend).__mro__):
        return RuntimeChannel(backend)
    return LocalChannel(backend)


def recorded_channel(backend: BackendV2, recorded: Mapping[str, Any]) -> Channel:
    """Return a channel to a backend as a run's record (``Channel.record``) describes it."""
    found, estimator = channel_for(backend), recorded.get("estimator")
    if isinstance(found, LocalChannel):
        return found if estimator is None else LocalChannel(backend, estimator=estimator)
    mode: Mode = recorded["mode"] if recorded["mode"] in get_args(Mode) else "job"
    return RuntimeChannel(backend, mode=mode, options=recorded.get("chosen"), estimator=estimator)
