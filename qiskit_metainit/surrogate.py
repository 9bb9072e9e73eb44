"""A fast stand-in for a noisy device: ideal outcomes, whose bits flip as the device's errors would flip them."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.providers import BackendV2, Options
from qiskit.quantum_info import PTM, Operator
from qiskit.result.models import ExperimentResult, ExperimentResultData
from qiskit.transpiler import Target
from qiskit_aer import AerSimulator

from qiskit_metainit.backends import ONE_THREAD, FinishedJob, strip

_Paulis: TypeAlias = NDArray[np.uint8]
"""(Q, S): the error on each qubit in each shot, 0 to 3 for I, X, Y, Z."""
_TIMES = np.array([[0, 1, 2, 3], [1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0]])
"""Products of I, X, Y, Z up to a phase."""
_TIMES_2 = (4 * _TIMES[:, None, :, None] + _TIMES[None, :, None, :]).reshape(16, 16)
_TURNED = np.arange(16).reshape(4, 4).T.ravel()
"""Two-qubit Paulis with their qubits exchanged."""


def surrogate_backend(backend: BackendV2, *, max_qubits: int = 22) -> BackendV2:
    """Return a backend that gives a device's noisy outcomes approximately, from one ideal simulation a circuit.

    Every shot draws an ideal outcome (a statevector of the qubits that the circuit uses) and, after each gate, a random
    Pauli error with the probability that the device's gate error and relaxation times stand for. Errors are carried to
    the end of the circuit: exactly through Clifford gates, elsewhere a Pauli P that a gate turns into sum_Q c_Q Q
    becomes one Q, drawn with probability c_Q^2 (the terms between different Q are left out). What arrives flips the
    bits on which it is X or Y; readout errors flip them once more. Errors are the averages, so relaxation flips 1 to 0
    as often as 0 to 1, and idle qubits do not decay: no more than they do in ``AerSimulator.from_backend``.

    Measured on MaxCut QAOA of 3-regular graphs (6, 8 and 10 qubits against exact noisy probabilities, 12 against
    trajectories, on the first device at p = 1 and 2; 4 to 12 random points each; ``tutorials/tables/surrogate.py``):
    the surrogate's <H> is pessimistic, most where many errors pass many rotations. A line through the origin of its <H>
    against that of the full noise has the slope

    ================  =====  =====  =====
    p                   1      2      3
    ================  =====  =====  =====
    fake_fez           0.99   0.93   0.93
    fake_torino        0.94   0.92   0.89
    fake_sherbrooke    0.91   0.85   0.75
    ================  =====  =====  =====

    on average, 0.69 at worst, and does not fall with the size (0.93, 0.88, 0.90 at 6, 8, 10 qubits). Mixing the ideal
    outcomes with uniform ones by F, the product of 1 - error, gives 1.04, 0.81, 0.70 at these sizes, no noise at all
    1.5 to 1.7. Points keep their order: the rank correlation is 0.98 on average, at least 0.95 in all but one of 29
    configurations (0.62: ten qubits, p = 3, F = 0.19). A run of 1000 shots takes 0.04 to 0.16 s, with the full
    noise 0.2 to 0.4 s at 8 qubits, 1 to 3 s at 10 and 20 to 50 s at 12. So trust it to compare points, less so its
    energies where F is below a half.

    Args:
        backend: real or fake, with errors in its target, which the surrogate shares.
        max_qubits: of one circuit in use at the same time, as 2^Q amplitudes are held.

    Returns:
        A backend whose ``run`` takes ``shots``, ``seed_simulator`` and ``memory``, and circuits of the target's gates
        and then measurements, in any classical registers.
    """
    return _Surrogate(backend, max_qubits)


@dataclass(frozen=True, eq=False)
class _Step:
    """A gate, or a block of gates, as errors meet it."""

    qubits: tuple[int, ...]
    table: NDArray[np.float64] | None
    """(4^k, 4^k - 1): cumulative over the last axis, which Pauli each becomes; None if nothing is left to chance."""
    moved: NDArray[np.uint8] | None
    """(4^k,): the same then."""
    added: NDArray[np.float64]
    """(4^k,): how likely the gate adds each Pauli."""


@final
class _Surrogate(BackendV2):
    simulates = True

    def __init__(self, backend: BackendV2, max_qubits: int) -> None:
        super().__init__(name=f"surrogate_{backend.name}", description=f"approximates the noise of {backend.name}")
        self.backend = backend
        self.max_qubits = max_qubits
        self._ideal = AerSimulator(method="statevector", **ONE_THREAD)
        self._added = functools.cache(functools.partial(_added, backend.target))

    @property
    def target(self) -> Target:
        return self.backend.target

    @property
    def max_circuits(self) -> None:
        return None

    @classmethod
    def _default_options(cls) -> Options:
        return Options(shots=1024, seed_simulator=None, memory=False)

    def run(self, run_input: QuantumCircuit | list[QuantumCircuit], **options: Any) -> FinishedJob:
        circuits = [run_input] if isinstance(run_input, QuantumCircuit) else list(run_input)
        chosen = {**self.options, **options}
        rng = np.random.default_rng(chosen["seed_simulator"])
        shots = int(chosen["shots"])
        split = [_split(circuit, self.max_qubits) for circuit in circuits]
        seed = int(rng.integers(2**31))
        ideal = self._ideal.run(
            [gates for gates, _, _ in split], shots=shots, seed_simulator=seed, memory=True
        ).result()
        if not ideal.success:
            raise RuntimeError(f"Aer failed: {ideal.status}")
        results = []
        for place, (circuit, (gates, qubits, written)) in enumerate(zip(circuits, split, strict=True)):
            bits = _bits(ideal.get_memory(place), gates.num_qubits)
            errors = _carried(_steps(gates, qubits, self._added), len(qubits), shots, rng)
            bits ^= ((errors == 1) | (errors == 2)).T
            misread = np.array([_error(self.target, "measure", (qubit,)) for qubit in qubits])
            bits ^= rng.random(bits.shape) < misread
            results.append(_experiment(circuit, bits, written, memory=bool(chosen["memory"])))
        return FinishedJob(self, results)


def _split(circuit: QuantumCircuit, limit: int) -> tuple[QuantumCircuit, tuple[int, ...], dict[int, int]]:
    """Return the gates on the used qubits, all measured, which qubits these are, and {classical bit: place of it}."""
    small, qubits = strip(circuit)
    if len(qubits) > limit:
        raise ValueError(
            f"A circuit that uses at most {limit} qubits is needed, but one came that uses {len(qubits)}. Give a "
            "larger max_qubits if 2^Q amplitudes fit, or route on fewer qubits."
        )
    gates = QuantumCircuit(small.num_qubits)
    wire = {bit: index for index, bit in enumerate(small.qubits)}
    column = {bit: index for index, bit in enumerate(small.clbits)}
    written: dict[int, int] = {}
    for item in small.data:
        place = [wire[bit] for bit in item.qubits]
        if item.name == "measure":
            written[column[item.clbits[0]]] = place[0]
        elif item.name not in {"barrier", "delay"}:
            if item.clbits or item.name == "reset" or not set(place).isdisjoint(written.values()):
                raise ValueError(
                    f"Gates and then measurements are needed, but the circuit has {item.name!r} after a measurement, "
                    "or it is no gate. Use active_simulator(backend) for circuits that go on after a measurement."
                )
            gates.append(item.operation, place, copy=False)
    gates.measure_all()
    return gates, qubits, written


@final
class _Blocks:
    """Collects gates on the same two qubits in a row into one step: the fewer steps, the fewer terms are left out.

    Everything is a Pauli transfer matrix. Errors inside of a block are carried to its end on the way.
    """

    def __init__(self, num_qubits: int) -> None:
        self.steps: list[_Step] = []
        self._single = [(np.eye(4), np.eye(4)[0]) for _ in range(num_qubits)]
        self._block: list[tuple[int, int] | None] = [None] * num_qubits
        self._double: dict[tuple[int, int], tuple[NDArray[np.float64], NDArray[np.float64]]] = {}

    def add(self, wires: tuple[int, ...], gate: NDArray[np.float64], added: NDArray[np.float64]) -> None:
        """Append a gate with the error that follows it."""
        if len(wires) == 1:
            before, earlier = self._single[wires[0]]
            self._single[wires[0]] = gate @ before, _times(gate**2 @ earlier, added)
        elif len(wires) == 2:
            pair = self._block[wires[0]]
            if pair is None or set(pair) != set(wires):
                self.close([wire for wire in wires if self._block[wire] is not None])
                pair = self._block[wires[0]] = self._block[wires[1]] = (wires[0], wires[1])
                self._double[pair] = np.eye(16), np.eye(16)[0]
            if pair != wires:
                gate, added = gate[np.ix_(_TURNED, _TURNED)], added[_TURNED]
            self._absorb(pair)
            before, earlier = self._double[pair]
            self._double[pair] = gate @ before, _times(gate**2 @ earlier, added)
        else:
            self.close(wires)
            self._emit(wires, gate, added)

    def close(self, wires: Sequence[int]) -> None:
        """Emit what is collected on some qubits."""
        for wire in wires:
            pair = self._block[wire]
            if pair is not None:
                self._absorb(pair)
                self._emit(pair, *self._double.pop(pair))
                self._block[pair[0]] = self._block[pair[1]] = None
            else:
                self._emit((wire,), *self._single[wire])
                self._single[wire] = np.eye(4), np.eye(4)[0]

    def _absorb(self, pair: tuple[int, int]) -> None:
        (low, low_added), (high, high_added) = (self._single[wire] for wire in pair)
        both = np.kron(high, low)
        before, earlier = self._double[pair]
        self._double[pair] = both @ before, _times(both**2 @ earlier, np.kron(high_added, low_added))
        for wire in pair:
            self._single[wire] = np.eye(4), np.eye(4)[0]

    def _emit(self, wires: tuple[int, ...], gate: NDArray[np.float64], added: NDArray[np.float64]) -> None:
        chances = gate.T**2  # [P, Q]: how much of P becomes Q
        sure = chances.argmax(axis=1)
        if chances.max(axis=1).min() < 1 - 1e-9:
            self.steps.append(_Step(wires, np.cumsum(chances, axis=1)[:, :-1], None, added))
        elif added[0] < 1 or (sure != np.arange(len(sure))).any():
            self.steps.append(_Step(wires, None, sure.astype(np.uint8), added))


def _steps(
    gates: QuantumCircuit,
    qubits: Sequence[int],
    known: Callable[[str, tuple[int, ...]], NDArray[np.float64]],
) -> list[_Step]:
    """Return what errors meet; ``known`` is what each gate adds."""
    wire = {bit: index for index, bit in enumerate(gates.qubits)}
    blocks = _Blocks(gates.num_qubits)
    for item in gates.data:
        if item.name not in {"measure", "barrier"}:
            place = tuple(wire[bit] for bit in item.qubits)
            added = known(item.name, tuple(qubits[index] for index in place))
            try:
                gate = _transfer(item.name, tuple(map(float, item.params)))
            except (KeyError, TypeError):  # no standard gate
                gate = np.real(PTM(Operator(item.operation)).data)
            blocks.add(place, gate, added)
    blocks.close(range(gates.num_qubits))
    return blocks.steps


def _times(one: NDArray[np.float64], two: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how likely the products of two independent Paulis on up to two qubits are."""
    return np.asarray(two[_TIMES if len(one) == 4 else _TIMES_2] @ one)


@functools.lru_cache(maxsize=4096)
def _transfer(name: str, params: tuple[float, ...]) -> NDArray[np.float64]:
    if name == "rz":  # nearly all of the gates that differ from circuit to circuit
        cos, sin = math.cos(params[0]), math.sin(params[0])
        return np.array([[1, 0, 0, 0], [0, cos, -sin, 0], [0, sin, cos, 0], [0, 0, 0, 1]])
    gate = get_standard_gate_name_mapping()[name].base_class(*params)
    return np.asarray(np.real(PTM(Operator(gate)).data))


def _added(target: Target, name: str, qubits: tuple[int, ...]) -> NDArray[np.float64]:
    """Return how likely each of the 4^k Paulis is after a gate: its relaxation, and depolarisation for the rest.

    As ``AerSimulator.from_backend`` has it: the gate's average error (1 - F) d / (d + 1) is that of both together (F is
    the process fidelity; Nielsen, Phys. Lett. A 303, 249 (2002), Eq. 3). The relaxation is twirled.
    """
    properties = target[name].get(qubits) if name in target else None
    duration = float(getattr(properties, "duration", None) or 0.0)
    chances: NDArray[np.float64] = np.ones(1)
    for qubit in qubits:
        known = target.qubit_properties[qubit] if target.qubit_properties and duration else None
        t1, t2 = (float(getattr(known, time, None) or math.inf) for time in ("t1", "t2"))
        excited, coherent = math.exp(-duration / t1), math.exp(-duration / min(t2, 2 * t1))
        flip = (1 - excited) / 4
        own = [(1 + excited + 2 * coherent) / 4, flip, flip, (1 + excited - 2 * coherent) / 4]
        chances = np.asarray(np.kron(own, chances), dtype=np.float64)
    dimension = 2 ** len(qubits)
    fidelity = 1 - _error(target, name, qubits) * (dimension + 1) / dimension
    floor = 1 / dimension**2
    lost = min(max(0.0, (chances[0] - fidelity) / (chances[0] - floor)), 1.0)
    return np.asarray((1 - lost) * chances + lost * floor)


def _error(target: Target, name: str, qubits: tuple[int, ...]) -> float:
    properties = target[name].get(qubits) if name in target else None
    return float(getattr(properties, "error", None) or 0.0)


def _carried(steps: Sequence[_Step], num_qubits: int, shots: int, rng: np.random.Generator) -> _Paulis:
    """Return the errors at the end of the circuit."""
    errors = np.zeros((num_qubits, shots), dtype=np.uint8)
    for step in steps:
        # qubit 0 of a gate is the last letter of its Paulis, the lowest digit of their number
        code = np.zeros(shots, dtype=np.uint8)
        for qubit in reversed(step.qubits):
            code = 4 * code + errors[qubit]
        if step.moved is not None:
            code = step.moved[code]
        elif step.table is not None:
            hit = np.flatnonzero(code)
            drawn = rng.random(len(hit))[:, None] > step.table[code[hit]]
            code[hit] = drawn.sum(axis=1)
        if step.added[0] < 1:
            failed = np.flatnonzero(rng.random(shots) > step.added[0])
            which = np.cumsum(step.added[1:])
            new = 1 + np.searchsorted(which[:-1] / which[-1], rng.random(len(failed)))
            code[failed] = _product(code[failed], new, len(step.qubits))
        for place, qubit in enumerate(step.qubits):
            errors[qubit] = (code >> (2 * place)) & 3
    return errors


def _product(one: NDArray[Any], two: NDArray[Any], num_qubits: int) -> NDArray[np.uint8]:
    """Return products of Pauli strings, digit by digit."""
    found = np.zeros_like(two)
    for place in range(num_qubits):
        found |= _TIMES[(one >> (2 * place)) & 3, (two >> (2 * place)) & 3] << (2 * place)
    return found.astype(np.uint8)


def _bits(memory: Sequence[str], num_qubits: int) -> NDArray[np.bool_]:
    """Return (S, Q) outcomes."""
    width = (num_qubits + 7) // 8
    raw = np.frombuffer(b"".join(int(outcome, 2).to_bytes(width, "little") for outcome in memory), dtype=np.uint8)
    return np.unpackbits(raw.reshape(-1, width), axis=1, bitorder="little")[:, :num_qubits].astype(bool)


def _experiment(
    circuit: QuantumCircuit, bits: NDArray[np.bool_], written: dict[int, int], *, memory: bool
) -> ExperimentResult:
    """Return the outcomes as backends do: hexadecimal numbers of all classical bits together."""
    slots = np.zeros((len(bits), max(1, circuit.num_clbits)), dtype=bool)
    slots[:, list(written)] = bits[:, list(written.values())]
    packed = np.packbits(slots, axis=1, bitorder="little")
    outcomes = [hex(int.from_bytes(row.tobytes(), "little")) for row in packed]
    data = ExperimentResultData(counts=dict(Counter(outcomes)), **({"memory": outcomes} if memory else {}))
    header = {
        "name": circuit.name,
        "memory_slots": circuit.num_clbits,
        "creg_sizes": [[register.name, register.size] for register in circuit.cregs],
        "metadata": circuit.metadata,
    }
    return ExperimentResult(shots=len(bits), success=True, data=data, header=header)
