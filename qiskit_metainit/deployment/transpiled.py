"""Templates as one backend runs them, and as each run was sent them first."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import numpy as np
from qiskit.circuit import QuantumCircuit
from qiskit.providers import BackendV2
from qiskit.transpiler import generate_preset_pass_manager

from qiskit_metainit.backends import errors
from qiskit_metainit.deployment.adapters.templates import named_alike, transpile
from qiskit_metainit.deployment.channels.digests import circuit_digest
from qiskit_metainit.deployment.spending.ledger import Ledger

_SEEDS = 4
_TWIRLED = ["cz", "rz", "sx", "x"]


@final
class Transpiled:
    """Transpiles each circuit once for a backend.

    Args:
        backend: runs them.
        check: raises for circuits that it would refuse.
        twirled: whether an estimator may twirl or fold the gates: then simulators too get two-qubit gates without
            angles.
    """

    def __init__(
        self, backend: BackendV2, check: Callable[[QuantumCircuit, np.ndarray | None], None], *, twirled: bool = False
    ) -> None:
        self._backend = backend
        self._check = check
        self._plain = twirled and not any(len(qubits) == 2 for _, qubits, _ in errors(backend.target))
        self._made: dict[str, tuple[QuantumCircuit, tuple[int, ...]]] = {}

    def __call__(self, circuit: QuantumCircuit) -> tuple[QuantumCircuit, tuple[int, ...]]:
        """Return the circuit as the backend runs it, and where each of its qubits ends."""
        digest = circuit_digest(circuit).hex()
        if digest not in self._made:
            manager = None
            if self._plain:
                manager = generate_preset_pass_manager(3, basis_gates=_TWIRLED, seed_transpiler=0)
            ran, places = transpile(self._backend, manager, _SEEDS, circuit)
            self._check(ran, None)
            self._made[digest] = ran, places
        ran, places = self._made[digest]
        return named_alike(ran, circuit), places

    def of_run(self, ledger: Ledger, run: str, circuit: QuantumCircuit) -> tuple[QuantumCircuit, tuple[int, ...]]:
        """Return the same as a run sends it: what it was sent as before, however the backend has changed since."""
        digest = circuit_digest(circuit).hex()
        known = ledger.template(run, digest)
        if known is None:
            ran, places = self(circuit)
            known = ran.copy()
            known.metadata = {"places": list(places)}
            ledger.keep_template(run, digest, known)
            known = ledger.template(run, digest) or known  # as a run that is resumed will read it
        return named_alike(known, circuit), tuple(known.metadata["places"])
