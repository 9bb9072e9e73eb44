"""Digests of circuits and requests, the same in every process and version: ledgers know jobs by them."""

from __future__ import annotations

import hashlib
from typing import final

from qiskit import QuantumCircuit


@final
class Digests:
    """Digests of circuits that are not edited meanwhile, each made once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[QuantumCircuit, bytes]] = {}  # with the circuit, so that no id is used again

    def __call__(self, circuit: QuantumCircuit) -> bytes:
        """Return ``circuit_digest`` of a circuit."""
        if id(circuit) not in self._known:
            self._known[id(circuit)] = circuit, circuit_digest(circuit)
        return self._known[id(circuit)][1]


def circuit_digest(circuit: QuantumCircuit) -> bytes:
    """Return a digest of a circuit's operations, the same in every process."""
    place = {bit: index for bits in (circuit.qubits, circuit.clbits) for index, bit in enumerate(bits)}
    text = [
        (item.name, [place[bit] for bit in (*item.qubits, *item.clbits)], list(map(str, item.params)))
        for item in circuit.data
    ]
    return digest_of([circuit.num_qubits, text])


def digest_of(parts: list[object]) -> bytes:
    """Return a digest of what ``repr`` tells."""
    return hashlib.sha256(repr(parts).encode()).digest()
