"""Circuits as templates: one transpiled circuit with free angles for all that are alike but for theirs."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Clbit, ParameterVector, QuantumCircuit
from qiskit.primitives.containers.bindings_array import BindingsArray
from qiskit.providers import BackendV2
from qiskit.transpiler import PassManager
from qiskit.transpiler.passes import HighLevelSynthesis

from qiskit_metainit.backends import embed, errors, fewest_gates, low_error_region, restrict
from qiskit_metainit.deployment.adapters.angles import Angles

Structure: TypeAlias = tuple[int, tuple[tuple[str, tuple[int, ...]], ...], tuple[int, ...]]
"""Number of qubits, (gate, qubits) of each operation, measured qubits: a circuit without its angles."""

_ANGLES = dict.fromkeys(["rx", "ry", "rz", "p", "rxx", "ryy", "rzz", "rzx", "crx", "cry", "crz", "cp"], 1) | {"u": 3}
_FIXED = ["id", "h", "x", "y", "z", "s", "sdg", "t", "tdg", "sx", "sxdg", "cx", "cy", "cz", "swap", "reset", "measure"]
_PLAIN = {*_ANGLES, *_FIXED, "barrier", "global_phase"}


@dataclass(frozen=True, eq=False)
class Parsed:
    """A circuit taken apart into what is transpiled once and what changes from point to point."""

    structure: Structure
    """What its template depends on."""
    registers: dict[str, NDArray[np.int64]]
    """Of each classical register its bits' places among the measured qubits (-1: never written)."""
    angles: Angles
    """What is bound at each point."""

    def at(self, values: BindingsArray) -> NDArray[np.float64]:
        """Return the angles at every point: the values' shape, then A."""
        parameters = self.angles.parameters
        if not parameters:
            return np.broadcast_to(self.angles.constant, (*values.shape, len(self.angles.constant)))
        return self.angles.at(np.asarray(values.as_array(parameters), dtype=np.float64))


@dataclass(frozen=True, eq=False)
class Template:
    """A structure as the backend runs it."""

    circuit: QuantumCircuit
    """Transpiled; classical bit i is the i-th measured qubit."""
    columns: tuple[int, ...]
    """Which of the A angles each of its parameters stands for."""
    qubits: tuple[int, ...]
    """Where each qubit of the structure ends on the backend, swaps included."""
    read: tuple[int, ...]
    """The backend's qubit that is read into each classical bit."""

    def bindings(self, angles: NDArray[np.float64]) -> BindingsArray:
        """Return the parameter values of the circuit for an array of angles, its last axis the A."""
        shape = angles.shape[:-1]
        if not self.columns:
            return BindingsArray(shape=shape)
        return BindingsArray({tuple(self.circuit.parameters): angles[..., list(self.columns)]}, shape=shape)


@final
class Templates:
    """What was transpiled so far, and how.

    Attributes:
        made: transpilations, one a structure.
    """

    def __init__(self, transpile: Callable[[QuantumCircuit], tuple[QuantumCircuit, tuple[int, ...]]]) -> None:
        self.made = 0
        self._transpile = transpile
        self._flatten = PassManager([HighLevelSynthesis(basis_gates=[*_ANGLES, *_FIXED])])
        self._templates: dict[Structure, Template] = {}
        self._parsed: dict[int, tuple[weakref.ref[QuantumCircuit], Any, Parsed]] = {}

    def parse(self, circuit: QuantumCircuit) -> Parsed:
        """Take a circuit apart; a parametric one is remembered, so it must not be edited in place between calls.

        Raises:
            ValueError: if it has a measurement in mid-circuit, control flow, or what has no definition in gates.
        """
        key, parameters = id(circuit), tuple(circuit.parameters)
        state = parameters, len(circuit.data)
        known = self._parsed.get(key)
        if known is not None and known[0]() is circuit and known[1] == state:
            return known[2]
        parsed = _parse(self._flatten.run(circuit), parameters)
        if parameters:
            self._parsed[key] = weakref.ref(circuit, lambda _: self._parsed.pop(key, None)), state, parsed
        return parsed

    def template(self, structure: Structure) -> Template:
        """Return the template of a structure, transpiled when it is first asked for."""
        if structure not in self._templates:
            num_qubits, operations, measured = structure
            angles = ParameterVector("angle", sum(_ANGLES.get(name, 0) for name, _ in operations))
            free = iter(angles)
            logical = QuantumCircuit(num_qubits, len(measured))
            for name, qubits in operations:
                getattr(logical, name)(*(next(free) for _ in range(_ANGLES.get(name, 0))), *qubits)
            logical.measure(measured, range(len(measured)))
            circuit, places = self._transpile(logical)
            index = {angle: i for i, angle in enumerate(angles)}
            columns = tuple(index[parameter] for parameter in circuit.parameters)
            self._templates[structure] = Template(circuit, columns, places, _read(circuit))
            self.made += 1
        return self._templates[structure]


def named_alike(ran: QuantumCircuit, circuit: QuantumCircuit) -> QuantumCircuit:
    """Return a template with the parameters of another circuit of the same structure."""
    own = {parameter.name: parameter for parameter in circuit.parameters}
    return ran.assign_parameters({parameter: own[parameter.name] for parameter in ran.parameters})


def transpile(
    backend: BackendV2 | None, pass_manager: PassManager | None, seeds: int, circuit: QuantumCircuit
) -> tuple[QuantumCircuit, tuple[int, ...]]:
    """Return the circuit as the backend runs it, on as many of its qubits as the circuit has, and where each ends."""
    if pass_manager is not None:
        ran = pass_manager.run(circuit)
        return ran, _final(ran, circuit.num_qubits)
    if backend is None:
        return circuit, tuple(range(circuit.num_qubits))
    if all(len(qubits) < 2 for _, qubits, _ in errors(backend.target)):  # a simulator without a device behind it
        ran = fewest_gates(circuit, backend.target)
        return ran, _final(ran, circuit.num_qubits)
    region = low_error_region(backend.target, circuit.num_qubits)
    ran = fewest_gates(circuit, restrict(backend.target, region), seeds=seeds)
    places = tuple(region[place] for place in _final(ran, circuit.num_qubits))
    return embed(ran, region, backend.num_qubits), places


def _read(circuit: QuantumCircuit) -> tuple[int, ...]:
    read = {
        circuit.find_bit(item.clbits[0]).index: circuit.find_bit(item.qubits[0]).index
        for item in circuit.data
        if item.name == "measure"
    }
    return tuple(read[bit] for bit in range(circuit.num_clbits))


def _final(ran: QuantumCircuit, num_qubits: int) -> tuple[int, ...]:
    return tuple(range(num_qubits)) if ran.layout is None else tuple(ran.layout.final_index_layout())


def _parse(circuit: QuantumCircuit, parameters: tuple[Any, ...]) -> Parsed:
    measured, registers = _outcomes(circuit)
    wire = {qubit: index for index, qubit in enumerate(circuit.qubits)}
    operations: list[tuple[str, tuple[int, ...]]] = []
    angles: list[Any] = []
    for instruction in circuit.data:
        if instruction.name not in {"measure", "global_phase"}:
            operations.append((instruction.name, tuple(wire[qubit] for qubit in instruction.qubits)))
            angles.extend(instruction.params if instruction.name in _ANGLES else ())
    while operations and operations[-1][0] == "barrier":  # as many as there were rounds of measurement
        operations.pop()
    structure = (circuit.num_qubits, tuple(operations), measured)
    return Parsed(structure, registers, Angles.of(angles, parameters))


def _outcomes(circuit: QuantumCircuit) -> tuple[tuple[int, ...], dict[str, NDArray[np.int64]]]:
    """Return the measured qubits, and for each register its bits' places among them (-1: never written)."""
    written: dict[Clbit, int] = {}
    for instruction in circuit.data:
        qubits = {circuit.find_bit(qubit).index for qubit in instruction.qubits}
        late = instruction.name != "barrier" and not qubits.isdisjoint(written.values())
        if instruction.name == "measure":
            written[instruction.clbits[0]] = qubits.pop()
        elif late or instruction.name not in _PLAIN:
            raise ValueError(
                "Standard gates and then measurements are needed, but the circuit has "
                + (f"{instruction.name!r} on a measured qubit. " if late else f"{instruction.name!r}. ")
                + "Move measurements to the end, take control flow and delays out, or use the primitive without "
                "adapter."
            )
    measured = tuple(sorted(set(written.values())))
    place = {bit: measured.index(qubit) for bit, qubit in written.items()}
    return measured, {reg.name: np.array([place.get(bit, -1) for bit in reg], dtype=np.int64) for reg in circuit.cregs}
