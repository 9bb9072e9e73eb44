"""Circuits without the CNOT ladders around their Z rotations."""

from __future__ import annotations

from collections.abc import Sequence

from qiskit.circuit.library import CXGate, CZGate, SwapGate, XGate, YGate

from qiskit_metainit.rotations import Fixed, Rotation

_MOVABLE = (CXGate, CZGate, SwapGate, XGate, YGate)  # their own inverses, which take Z products to Z products


def without_ladders(items: Sequence[Rotation | Fixed]) -> list[Rotation | Fixed]:
    """Return the same circuit (up to a global phase), its Z rotations taken out of pairs of gates that undo each other.

    Between two equal CX, CZ, SWAP, X or Y there may only be Z rotations on their qubits: CX RZ CX is RZZ, a ladder of
    CX around RZ a many-body rotation.
    """
    partners = _pairs(items)
    opened: list[Fixed] = []
    result: list[Rotation | Fixed] = []
    for place, item in enumerate(items):
        if place in partners and isinstance(item, Fixed):
            if partners[place] > place:
                opened.append(item)
            else:
                opened.remove(next(gate for gate in reversed(opened) if gate is items[partners[place]]))
        elif isinstance(item, Rotation) and item.is_diagonal and opened:
            result.append(_conjugated(item, opened))
        else:
            result.append(item)
    return result


def _pairs(items: Sequence[Rotation | Fixed]) -> dict[int, int]:
    """Return the places of gates that undo each other, both ways."""
    pairs: dict[int, int] = {}
    waiting: list[int] = []

    def close(qubits: set[int], before: int) -> None:
        """Give up what waits on qubits that something else acts on, and what that in turn stands between."""
        for position in range(before - 1, -1, -1):
            if qubits & set(items[waiting[position]].qubits):
                gone = waiting.pop(position)
                close(set(items[gone].qubits), position)
                return close(qubits, min(before, len(waiting)))
        return None

    for place, item in enumerate(items):
        if isinstance(item, Rotation) and item.is_diagonal:
            continue
        qubits = set(item.qubits)
        found = next((p for p in reversed(waiting) if qubits & set(items[p].qubits)), None)
        if found is not None and _same(items[found], item):
            waiting.remove(found)
            pairs[found], pairs[place] = place, found
        elif isinstance(item, Fixed) and isinstance(item.gate, _MOVABLE):
            waiting.append(place)
        else:
            close(qubits, len(waiting))
    return pairs


def _same(one: Rotation | Fixed, other: Rotation | Fixed) -> bool:
    return (
        isinstance(one, Fixed)
        and isinstance(other, Fixed)
        and isinstance(other.gate, _MOVABLE)
        and one.gate.base_class is other.gate.base_class
        and one.qubits == other.qubits
    )


def _conjugated(rotation: Rotation, gates: Sequence[Fixed]) -> Rotation:
    """Return ``G^-1 R G`` for the gates G, the first applied first."""
    qubits, sign = set(rotation.qubits), 1
    for gate in reversed(gates):
        match gate.gate:
            case CXGate() if gate.qubits[1] in qubits:
                qubits ^= {gate.qubits[0]}
            case SwapGate() if len(qubits & set(gate.qubits)) == 1:
                qubits ^= set(gate.qubits)
            case XGate() | YGate() if gate.qubits[0] in qubits:
                sign = -sign
    return Rotation("Z" * len(qubits), tuple(sorted(qubits)), rotation.angle.times(sign))
