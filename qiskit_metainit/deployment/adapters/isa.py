"""Circuits checked against a backend before anything is submitted."""

from __future__ import annotations

import math
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from qiskit.circuit import QuantumCircuit
from qiskit.providers import BackendV2
from qiskit.transpiler import Target

from qiskit_metainit.backends import errors
from qiskit_metainit.deployment.adapters.angles import Angles

_ANYWHERE = {"barrier", "delay"}
_ROUNDING = 1e-9  # radians by which an angle may leave its range


class NotISAError(ValueError):
    """A circuit that a backend would refuse, or run on a faulty qubit."""


@final
class IsaCheck:
    """What a backend runs: its qubits, its instructions on them, and what is out of order among them today.

    The clients of some services check nothing of it, and a circuit that fails on the server may be charged. A circuit
    is checked once, its points (ranges of angles) at every call.

    Attributes:
        target: of the backend.
        faulty: {what is reported as not operational: the qubits}, besides what has an error of 1 in the target.
    """

    def __init__(self, target: Target, *, faulty: frozenset[tuple[str, tuple[int, ...]]] = frozenset()) -> None:
        self.target = target
        self.faulty = faulty
        self._broken = {place[0] for name, place in faulty if name == "qubit"}
        self._broken |= {place[0] for _, place, error in errors(target) if len(place) == 1 and error >= 1}
        self._useless = {(name, place) for name, place, error in errors(target) if error >= 1} | faulty
        self._bounded = _rzz_is_bounded(target)
        self._known: dict[int, tuple[QuantumCircuit, int, Angles]] = {}

    @classmethod
    def of(cls, backend: BackendV2) -> IsaCheck:
        """Return the check of a backend; one that has ``properties()``, as IBM's, is asked for its faulty parts."""
        reported: Any = getattr(backend, "properties", None)
        properties: Any = reported() if callable(reported) else None
        faulty: set[tuple[str, tuple[int, ...]]] = set()
        if hasattr(properties, "faulty_qubits"):
            faulty |= {("qubit", (int(qubit),)) for qubit in properties.faulty_qubits()}
        if hasattr(properties, "faulty_gates"):
            faulty |= {(str(gate.gate), tuple(map(int, gate.qubits))) for gate in properties.faulty_gates()}
        return cls(backend.target, faulty=frozenset(faulty))

    def __call__(self, circuit: QuantumCircuit, points: ArrayLike | None = None) -> None:
        """Check a circuit, and its angles at some points.

        Args:
            circuit: transpiled; its qubit i is the backend's qubit i. It must not be edited in place afterwards.
            points: (K, P) or (P,) radians, ordered as ``circuit.parameters``; None checks the circuit alone.

        Raises:
            NotISAError: if the backend does not run it; the message says which instruction and what to do.
        """
        known = self._known.get(id(circuit))
        if known is None or known[0] is not circuit or known[1] != len(circuit.data):
            self._check(circuit)
            rzz = [item.params[0] for item in circuit.data if item.name == "rzz"] if self._bounded else []
            known = self._known[id(circuit)] = circuit, len(circuit.data), Angles.of(rzz, circuit.parameters)
        if len(known[2].constant) and (points is not None or not known[2].parameters):
            _check_rzz(known[2], np.zeros((1, 0)) if points is None else np.asarray(points, dtype=np.float64))

    def _check(self, circuit: QuantumCircuit) -> None:
        target = self.target
        if target.num_qubits is not None and circuit.num_qubits > target.num_qubits:
            raise NotISAError(
                f"A circuit of at most {target.num_qubits} qubits is needed, but one of {circuit.num_qubits} came. "
                "Take a smaller problem or a larger backend."
            )
        number = {bit: index for index, bit in enumerate(circuit.qubits)}
        seen: set[tuple[str, tuple[int, ...]]] = set()
        for item in circuit.data:
            place = tuple(number[bit] for bit in item.qubits)
            if item.name == "barrier" or (item.name, place) in seen:
                continue
            seen.add((item.name, place))
            if broken := self._broken.intersection(place):
                raise NotISAError(
                    f"Working qubits are needed, but {item.name} uses {_names(sorted(broken))}, reported as faulty. "
                    "Transpile again: a region of working qubits is chosen from the backend as it is now."
                )
            if item.name in _ANYWHERE and item.name in target:
                continue
            if item.name not in target:
                raise NotISAError(
                    f"Instructions of the backend are needed ({', '.join(sorted(target.operation_names))}), but the "
                    f"circuit has {item.name!r}. Wrap the sampler: layout_safe(sampler, backend)."
                )
            if not target.instruction_supported(item.name, place):
                raise NotISAError(
                    f"Couplings of the backend are needed, but it has no {item.name} on {_names(place)}. "
                    "Wrap the sampler: layout_safe(sampler, backend)."
                )
            if (item.name, place) in self._useless:
                raise NotISAError(
                    f"Working couplings are needed, but {item.name} on {_names(place)} is reported as faulty. "
                    "Transpile again: a region of working qubits is chosen from the backend as it is now."
                )


def check_isa(circuit: QuantumCircuit, target: Target, points: ArrayLike | None = None) -> None:
    """Check one circuit against a target; ``IsaCheck`` remembers what it has seen, and asks for faulty qubits.

    Args:
        circuit: transpiled; its qubit i is the target's qubit i.
        target: of the backend.
        points: (K, P) or (P,) radians, ordered as ``circuit.parameters``; None checks the circuit alone.

    Raises:
        NotISAError: if the target does not run it.

    >>> from qiskit.providers.fake_provider import GenericBackendV2
    >>> circuit = QuantumCircuit(2)
    >>> _ = circuit.h(0)
    >>> check_isa(circuit, GenericBackendV2(2, basis_gates=["cx", "rz", "sx"]).target)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    qiskit_metainit.deployment.adapters.isa.NotISAError: Instructions of the backend are needed (... has 'h'...
    """
    IsaCheck(target)(circuit, points)


def _check_rzz(angles: Angles, points: NDArray[np.float64]) -> None:
    if points.shape[-1] != len(angles.parameters):
        raise NotISAError(
            f"A value for each of the circuit's {len(angles.parameters)} parameters is needed, but the points have "
            f"{points.shape[-1]}."
        )
    found = angles.at(points)
    wrong = found[~((found >= -_ROUNDING) & (found <= math.pi / 2 + _ROUNDING))]
    if wrong.size:
        raise NotISAError(
            f"Angles of rzz from 0 to pi/2 are needed where it is native, but {wrong[0]:.6g} came. Transpile without "
            "fractional gates: layout_safe does, or get the backend with use_fractional_gates=False."
        )


def _rzz_is_bounded(target: Target) -> bool:
    """Tell whether rzz has a range: the target says so, or a gate of fixed angle is native beside it."""
    if "rzz" not in target:
        return False
    told: Any = getattr(target, "gate_has_angle_bounds", None)
    if told is not None and told("rzz"):
        return True
    pairs = {name for name, place, _ in errors(target) if len(place) == 2}
    return "rzz" in pairs and not pairs.isdisjoint({"cz", "cx", "ecr"})


def _names(qubits: tuple[int, ...] | list[int]) -> str:
    return f"qubit{'s' if len(qubits) > 1 else ''} {', '.join(map(str, qubits))}"
