"""A channel to a device's noise model on few qubits: exact probabilities, from which shots are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias, final

import numpy as np
import torch
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction
from qiskit.primitives import BitArray
from qiskit.providers import BackendV2
from qiskit.quantum_info import PTM, Operator
from qiskit.transpiler import Target
from qiskit_aer.noise.device import basic_device_gate_errors, basic_device_readout_errors

from qiskit_metainit.backends import restrict, strip
from qiskit_metainit.deployment.adapters.angles import Angles
from qiskit_metainit.deployment.channels.channel import Answer, Refused, Request
from qiskit_metainit.deployment.channels.digests import Digests
from qiskit_metainit.deployment.channels.local import InProcess

MAX_QUBITS = 10
"""Most qubits that a circuit may use: 4^Q numbers are held."""

_Array: TypeAlias = NDArray[np.float64]
_Part: TypeAlias = tuple[_Array, int, int]
"""A fixed map of a block, and the angle of the rz that follows it with its place in the block; -1 if none does."""


@final
class NoisyCircuit:
    """A transpiled circuit under a device's noise model: the probabilities of its outcomes, exactly.

    The noise is what ``AerSimulator.from_backend`` makes of a target: after each gate a depolarising channel and
    thermal relaxation that together have the gate's error, and readout errors. Paulis' expectations (4^Q real numbers)
    go through one 16 x 16 Pauli transfer matrix (Greenbaum 2015, arXiv:1509.02921, Eq. 2.15) per run of gates on one
    pair of qubits: on 8 qubits some 15 times as fast as Aer's density matrices, gate by gate with its noise.

    Args:
        circuit: of gates of the target and then measurements; parameters in rz only, as transpiled circuits have them.
        target: of the whole device.

    Raises:
        ValueError: if it uses more than ``MAX_QUBITS`` qubits, or has something else.

    >>> from qiskit_ibm_runtime.fake_provider import FakeFez
    >>> flip = QuantumCircuit(156, 1)
    >>> _ = flip.x(3), flip.measure(3, 0)
    >>> NoisyCircuit(flip, FakeFez().target).probabilities(np.zeros((1, 0))).round(3)
    array([[0.016, 0.984]])
    """

    def __init__(self, circuit: QuantumCircuit, target: Target) -> None:
        small, qubits = strip(circuit)
        if len(qubits) > MAX_QUBITS:
            raise ValueError(
                f"A circuit of at most {MAX_QUBITS} used qubits is needed, but one came that uses {len(qubits)}. Take "
                "a smaller problem, or surrogate_backend(backend)."
            )
        own = restrict(target, qubits, faulty=True)
        noise = {
            (name, tuple(place)): np.real(PTM(error.to_quantumchannel()).data)
            for name, place, error in basic_device_gate_errors(target=own)
        }
        wire = {bit: index for index, bit in enumerate(small.qubits)}
        gates = [item for item in small.data if item.name not in {"barrier", "delay", "measure"}]
        expressions = [item.params[0] for item in gates if item.is_parameterized()]
        self.num_qubits = len(qubits)
        self.angles = Angles.of(expressions, tuple(circuit.parameters))
        self._blocks = _blocks([(item, tuple(wire[bit] for bit in item.qubits)) for item in gates], noise)
        self._read = _read(small, wire)
        misread = {next(iter(place)): error.probabilities.T for place, error in basic_device_readout_errors(target=own)}
        self._misread = [misread.get(qubit, np.eye(2)) for qubit in self._read]

    def probabilities(self, points: _Array) -> _Array:
        """Return (K, 2^C) probabilities of the C classical bits at (K, P) points; bit i counts 2^i."""
        angles = self.angles.at(np.asarray(points, dtype=np.float64))
        return np.array([self._probabilities(row) for row in angles])

    def _probabilities(self, angles: _Array) -> _Array:
        # torch, because its threads can be limited from here: numpy's on shared cores mostly wait for each other
        state = torch.zeros((4,) * self.num_qubits, dtype=torch.float64)
        state[np.ix_(*[[0, 3]] * self.num_qubits)] = 1.0  # <I> and <Z> of every qubit
        order = list(range(self.num_qubits))  # the qubit of each axis
        for qubits, parts in self._blocks:
            # qubit 0 of a gate is the last letter of its Paulis
            front = [order.index(qubit) for qubit in reversed(qubits)]
            rest = [axis for axis in range(self.num_qubits) if axis not in front]
            moved = state.permute(*front, *rest)
            matrix = torch.from_numpy(_matrix(parts, angles))
            state = (matrix @ moved.reshape(4 ** len(qubits), -1)).reshape(moved.shape)
            order = [order[axis] for axis in (*front, *rest)]
        kept = state.numpy()[np.ix_(*([0, 3] if qubit in self._read else [0] for qubit in order))]
        kept = kept.squeeze(axis=tuple(axis for axis, qubit in enumerate(order) if qubit not in self._read))
        left = [qubit for qubit in order if qubit in self._read]
        kept = kept.transpose([left.index(qubit) for qubit in reversed(self._read)])
        for place, misread in enumerate(self._misread):  # the last axis is bit 0
            turn = misread @ np.array([[0.5, 0.5], [0.5, -0.5]])
            kept = np.moveaxis(np.tensordot(turn, kept, axes=(1, kept.ndim - 1 - place)), 0, -1 - place)
        found = kept.reshape(-1).clip(min=0.0)
        return np.asarray(found / found.sum())


@final
class ExactChannel(InProcess):
    """Jobs drawn from a device's noise model, simulated exactly in this process: no fewer shots, only less time.

    The noise is that of ``LocalChannel`` with a fake device; only the random numbers of the shots are others.

    Args:
        backend: real or fake, with errors in its target.
    """

    free = True

    def __init__(self, backend: BackendV2) -> None:
        super().__init__()
        self._backend = backend
        self._circuits: dict[bytes, NoisyCircuit] = {}
        self._digests = Digests()

    def circuit(self, circuit: QuantumCircuit) -> NoisyCircuit:
        """Return a transpiled circuit under the device's noise; those alike are prepared once."""
        digest = self._digests(circuit)
        if digest not in self._circuits:
            self._circuits[digest] = NoisyCircuit(circuit, self._backend.target)
        return self._circuits[digest]

    def submit(self, request: Request, tag: str) -> str:
        """Draw the outcomes; see ``Channel.submit``."""
        rng = np.random.default_rng(request.seed)
        try:
            chances = [self.circuit(circuit).probabilities(points) for circuit, points in request.pubs]
        except ValueError as error:
            raise Refused(f"The noise model of {self._backend.name} did not run the job: {error}") from error
        return self._keep(Answer(tuple(_drawn(rows, request.shots, rng) for rows in chances), None))

    def record(self) -> dict[str, Any]:
        """Return what ran the jobs."""
        return {"backend": self._backend.name, "mode": "exact noise model"}


def _drawn(chances: _Array, shots: int, rng: np.random.Generator) -> BitArray:
    """Return (K,) times ``shots`` outcomes, sorted within each evaluation."""
    num_bits = chances.shape[1].bit_length() - 1
    outcomes = np.array([np.repeat(np.arange(len(row)), rng.multinomial(shots, row)) for row in chances])
    pieces = [outcomes >> 8 * byte & 255 for byte in reversed(range(-(-num_bits // 8)))]
    return BitArray(np.stack(pieces, axis=-1).astype(np.uint8), num_bits)


def _blocks(
    gates: Sequence[tuple[CircuitInstruction, tuple[int, ...]]], noise: dict[tuple[str, tuple[int, ...]], _Array]
) -> list[tuple[tuple[int, ...], list[_Part]]]:
    """Return the runs of gates on the same qubits, in order, each as its maps."""
    runs: list[tuple[tuple[int, ...], list[tuple[_Array | int, tuple[int, ...]]]]] = []
    latest: dict[int, int] = {}
    waiting: dict[int, list[tuple[_Array | int, tuple[int, ...]]]] = {}
    angle = 0
    for item, qubits in gates:
        step: _Array | int
        if item.is_parameterized():
            if item.name != "rz":
                raise ValueError(f"Parameters in rz only are needed, but {item.name!r} has one. Transpile the circuit.")
            step, angle = angle, angle + 1
        else:
            step = np.real(PTM(Operator(item.operation)).data)
            if (item.name, qubits) in noise:
                step = noise[item.name, qubits] @ step
        if len(qubits) == 1:
            (runs[latest[qubits[0]]][1] if qubits[0] in latest else waiting.setdefault(qubits[0], [])).append(
                (step, qubits)
            )
            continue
        run = latest.get(qubits[0], -1)
        if run < 0 or run != latest.get(qubits[1]):
            run = len(runs)
            runs.append((qubits, [*waiting.pop(qubits[0], []), *waiting.pop(qubits[1], [])]))
            latest.update(dict.fromkeys(qubits, run))
        runs[run][1].append((step, qubits))
    runs += [((qubit,), steps) for qubit, steps in waiting.items()]
    return [(qubits, _parts(qubits, steps)) for qubits, steps in runs]


def _parts(qubits: tuple[int, ...], steps: Sequence[tuple[_Array | int, tuple[int, ...]]]) -> list[_Part]:
    """Return a run's maps with what is fixed multiplied out."""
    size = len(qubits)
    parts: list[_Part] = []
    fixed = np.eye(4**size)
    for step, own in steps:
        if isinstance(step, int):
            parts.append((fixed, step, qubits.index(own[0])))
            fixed = np.eye(4**size)
        elif len(own) == size:
            swapped = own != qubits
            fixed = (_exchanged(step) if swapped else step) @ fixed
        else:
            fixed = (np.kron(step, np.eye(4)) if own[0] == qubits[1] else np.kron(np.eye(4), step)) @ fixed
    return [*parts, (fixed, -1, 0)]


def _exchanged(matrix: _Array) -> _Array:
    """Return a two-qubit map for the other order of its qubits."""
    return matrix.reshape(4, 4, 4, 4).transpose(1, 0, 3, 2).reshape(16, 16)


def _matrix(parts: Sequence[_Part], angles: _Array) -> _Array:
    whole: _Array | None = None
    for fixed, angle, place in parts:
        whole = fixed.copy() if whole is None else fixed @ whole
        if angle >= 0:
            cosine, sine = np.cos(angles[angle]), np.sin(angles[angle])
            letters = whole.reshape(-1, 4, 4**place * whole.shape[1])  # X and Y of the qubit mix
            x, y = letters[:, 1].copy(), letters[:, 2].copy()
            letters[:, 1], letters[:, 2] = cosine * x - sine * y, sine * x + cosine * y
    assert whole is not None
    return whole


def _read(circuit: QuantumCircuit, wire: dict[Any, int]) -> list[int]:
    """Return the qubit that is read into each classical bit."""
    column = {bit: index for index, bit in enumerate(circuit.clbits)}
    read: dict[int, int] = {}
    for item in circuit.data:
        if item.name == "measure":
            read[column[item.clbits[0]]] = wire[item.qubits[0]]
        elif item.clbits or (
            item.name not in {"barrier", "delay"} and {wire[q] for q in item.qubits} & {*read.values()}
        ):
            raise ValueError(f"Gates and then measurements are needed, but {item.name!r} came after a measurement.")
    if sorted(read) != list(range(circuit.num_clbits)) or len(set(read.values())) != len(read):
        raise ValueError("Every classical bit must be written once, each from another qubit. Use measure_all().")
    return [read[bit] for bit in range(circuit.num_clbits)]
