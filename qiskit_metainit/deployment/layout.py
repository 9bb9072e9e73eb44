"""A sampler that runs any circuit on any backend.

``qiskit_algorithms`` sends high-level gates with bound angles, and lays out circuits but not observables (its issue
262). Transpiling *inside* the sampler avoids both: outcomes come back by classical bit, so no layout is ever seen.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Clbit, ParameterVector, QuantumCircuit
from qiskit.primitives import (
    BackendSamplerV2,
    BasePrimitiveJob,
    BaseSamplerV2,
    BitArray,
    DataBin,
    PrimitiveResult,
    SamplerPubLike,
    SamplerPubResult,
    StatevectorSampler,
)
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.providers import BackendV2
from qiskit.transpiler import PassManager
from qiskit.transpiler.passes import HighLevelSynthesis
from qiskit_aer import AerSimulator
from qiskit_aer.primitives import SamplerV2 as AerSampler

from qiskit_metainit.backends import ONE_THREAD, Rng, embed, errors, fewest_gates, low_error_region, restrict

_Structure: TypeAlias = tuple[int, tuple[tuple[str, tuple[int, ...]], ...], tuple[int, ...]]
"""Number of qubits, (gate, qubits) of each operation, measured qubits: a circuit without its angles."""
_Group: TypeAlias = tuple[_Structure, int | None]
"""What runs together: one structure, one number of shots (None: the wrapped sampler's default)."""

_ANGLES = dict.fromkeys(["rx", "ry", "rz", "p", "rxx", "ryy", "rzz", "rzx", "crx", "cry", "crz", "cp"], 1) | {"u": 3}
_FIXED = ["id", "h", "x", "y", "z", "s", "sdg", "t", "tdg", "sx", "sxdg", "cx", "cy", "cz", "swap", "reset", "measure"]
_PLAIN = {*_ANGLES, *_FIXED, "barrier", "global_phase"}


def shot_sampler(backend: BackendV2 | None, rng: Rng) -> LayoutSafeSampler:
    """Return a layout-safe sampler with real shot noise on a simulator.

    A seed would freeze Aer's shot noise, the same at every call; here every call draws its own from ``rng``: calls
    differ, and the same ``rng`` gives the same sequence of calls.

    Args:
        backend: an ``AerSimulator`` (``noisy_simulator`` makes one) or any whose ``run`` takes ``seed_simulator``; None
            for a noiseless one.
        rng: where the calls' seeds come from.
    """
    return layout_safe(_FreshSeedSampler(backend or AerSimulator(**ONE_THREAD), np.random.default_rng(rng)))


def layout_safe(
    sampler: BaseSamplerV2,
    backend: BackendV2 | None = None,
    *,
    pass_manager: PassManager | None = None,
    seeds: int = 4,
) -> LayoutSafeSampler:
    """Return a sampler that takes any circuit and gives it to ``sampler`` in the form its backend runs.

    One that is layout-safe already comes back as it is, unless a backend or a pass manager is given.

    Args:
        sampler: what runs the circuits.
        backend: what they are transpiled for. None asks the sampler; a ``StatevectorSampler`` gets plain gates.
        pass_manager: transpiles instead, if given; it sees angles as parameters.
        seeds: number of transpiler seeds tried; the fewest two-qubit gates win, then the least depth.

    Raises:
        ValueError: if the sampler does not tell its backend, or ``seeds`` is not positive.
    """
    if seeds < 1:
        raise ValueError(f"At least one transpiler seed is needed, but seeds={seeds} came. Leave it at 4.")
    if backend is None and pass_manager is None:
        if isinstance(sampler, LayoutSafeSampler):
            return sampler
        backend = _backend_of(sampler)
    return LayoutSafeSampler(sampler, functools.partial(_transpile, backend, pass_manager, seeds))


@final
class LayoutSafeSampler(BaseSamplerV2):
    """A sampler in front of another one: circuits alike but for their angles are transpiled once, and run as one PUB.

    High-level gates are flattened. A qubit measured into several classical bits is read once, its outcome given in all.
    ``layout_safe`` makes them.

    Attributes:
        jobs: calls of the wrapped sampler so far.
        circuits: circuits in them: parameter sets, summed over PUBs.
        shots: shots of them all; those left to the wrapped sampler's default count when the result is first read.
        transpilations: templates made so far, one a structure.
    """

    def __init__(self, sampler: BaseSamplerV2, transpile: Callable[[QuantumCircuit], QuantumCircuit]) -> None:
        self.sampler = sampler
        self.jobs = self.circuits = self.shots = self.transpilations = 0
        self._transpile = transpile
        self._flatten = PassManager([HighLevelSynthesis(basis_gates=[*_ANGLES, *_FIXED])])
        self._templates: dict[_Structure, tuple[QuantumCircuit, list[int]]] = {}

    def run(self, pubs: Iterable[SamplerPubLike], *, shots: int | None = None) -> BasePrimitiveJob:
        """Sample every PUB in one job of the wrapped sampler.

        Args:
            pubs: circuits of gates and then measurements, each with parameter values of any shape and its own shots.
            shots: for PUBs without their own; None for the wrapped sampler's default.

        Returns:
            A job whose result has an entry a PUB, in order, with its register names, shape and number of shots.

        Raises:
            ValueError: if a circuit has no measurement, one in mid-circuit, or control flow.
        """
        groups: dict[_Group, list[list[float]]] = {}
        answers = []
        for pub in [SamplerPub.coerce(pub, shots) for pub in pubs]:
            flat = self._flatten.run(pub.circuit)
            measured, registers = _outcomes(flat)
            rows = []
            for bound in np.ravel(pub.parameter_values.bind_all(flat)):
                structure, angles = _take_angles(bound, measured)
                points = groups.setdefault((structure, pub.shots), [])
                rows.append(((structure, pub.shots), len(points)))
                points.append(angles)
            answers.append((pub, rows, registers))
        sent: list[SamplerPubLike] = []
        places = {}
        for (structure, count), points in groups.items():
            circuit, columns = self._template(structure)
            start = len(sent)
            if columns:
                sent.append((circuit, np.array(points, dtype=float)[:, columns], count))
            else:  # without parameters there is nothing to broadcast
                sent.extend([(circuit, None, count)] * len(points))
            places[structure, count] = range(start, len(sent))
        job = self.sampler.run(sent, shots=shots)
        self.jobs += 1
        self.circuits += sum(len(points) for points in groups.values())
        self.shots += sum((count or 0) * len(points) for (_, count), points in groups.items())

        def collect() -> PrimitiveResult:
            raw = job.result()
            bits = {group: _bits([raw[i] for i in indices]) for group, indices in places.items()}
            self.shots += sum(found.shape[0] * found.shape[1] for (_, count), found in bits.items() if count is None)
            return PrimitiveResult([_answer(bits, *answer) for answer in answers], metadata=raw.metadata)

        return _Job(job, collect)

    def _template(self, structure: _Structure) -> tuple[QuantumCircuit, list[int]]:
        """Return the transpiled circuit, bit i its i-th measured qubit, and which angles its parameters stand for."""
        if structure not in self._templates:
            num_qubits, operations, measured = structure
            angles = ParameterVector("angle", sum(_ANGLES.get(name, 0) for name, _ in operations))
            free = iter(angles)
            logical = QuantumCircuit(num_qubits, len(measured))
            for name, qubits in operations:
                getattr(logical, name)(*(next(free) for _ in range(_ANGLES.get(name, 0))), *qubits)
            logical.measure(measured, range(len(measured)))
            circuit = self._transpile(logical)
            index = {angle: i for i, angle in enumerate(angles)}
            self._templates[structure] = circuit, [index[parameter] for parameter in circuit.parameters]
            self.transpilations += 1
        return self._templates[structure]


def _same(name: str) -> Callable[[_Job], Any]:
    return lambda job: getattr(job.job, name)()


@final
class _Job(BasePrimitiveJob):
    """The wrapped sampler's job, its result sorted back to the PUBs that were asked."""

    status, done, running, cancelled, in_final_state, cancel = map(
        _same, ["status", "done", "running", "cancelled", "in_final_state", "cancel"]
    )

    def __init__(self, job: BasePrimitiveJob, collect: Callable[[], PrimitiveResult]) -> None:
        super().__init__(job.job_id())
        self.job = job
        self._collect = functools.cache(collect)  # shots count once, however often the result is read

    def result(self) -> PrimitiveResult:
        return self._collect()


@final
class _FreshSeedSampler(BaseSamplerV2):
    def __init__(self, backend: BackendV2, rng: np.random.Generator) -> None:
        self.backend = backend
        self._rng = rng

    def run(self, pubs: Iterable[SamplerPubLike], *, shots: int | None = None) -> BasePrimitiveJob:
        options = {"seed_simulator": int(self._rng.integers(2**31))}
        return BackendSamplerV2(backend=self.backend, options=options).run(pubs, shots=shots)


def _backend_of(sampler: BaseSamplerV2) -> BackendV2 | None:
    if isinstance(sampler, StatevectorSampler):
        return None
    backend = getattr(sampler, "backend", None)  # a property of BackendSamplerV2, a method of the runtime's samplers
    backend = backend() if callable(backend) else backend
    if isinstance(sampler, AerSampler):
        backend = getattr(sampler, "_backend", None)  # has no public way to it, and without it noise would be lost
    if not isinstance(backend, BackendV2):
        raise ValueError(
            f"The backend to transpile for is needed, but a {type(sampler).__name__} does not tell its own. "
            "Give it: layout_safe(sampler, backend)."
        )
    return backend


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
                + "Move measurements to the end, take control flow and delays out, or use the sampler without adapter."
            )
    if not written:
        raise ValueError("A measurement is needed, but the circuit has none. Call circuit.measure_all() first.")
    measured = tuple(sorted(set(written.values())))
    place = {bit: measured.index(qubit) for bit, qubit in written.items()}
    return measured, {reg.name: np.array([place.get(bit, -1) for bit in reg], dtype=np.int64) for reg in circuit.cregs}


def _take_angles(circuit: QuantumCircuit, measured: tuple[int, ...]) -> tuple[_Structure, list[float]]:
    wire = {qubit: index for index, qubit in enumerate(circuit.qubits)}
    operations: list[tuple[str, tuple[int, ...]]] = []
    angles: list[float] = []
    for instruction in circuit.data:
        if instruction.name not in {"measure", "global_phase"}:
            operations.append((instruction.name, tuple(wire[qubit] for qubit in instruction.qubits)))
            angles.extend(instruction.params if instruction.name in _ANGLES else ())
    while operations and operations[-1][0] == "barrier":  # as many as there were rounds of measurement
        operations.pop()
    return (circuit.num_qubits, tuple(operations), measured), angles


def _bits(results: Sequence[SamplerPubResult]) -> NDArray[np.bool_]:
    """Return the outcomes of one group as (circuits, shots, measured qubits)."""
    parts = [next(iter(result.data.values())).to_bool_array(order="little") for result in results]
    return np.concatenate([part.reshape(-1, *part.shape[-2:]) for part in parts])


def _answer(
    bits: dict[_Group, NDArray[np.bool_]],
    pub: SamplerPub,
    rows: Sequence[tuple[_Group, int]],
    registers: dict[str, NDArray[np.int64]],
) -> SamplerPubResult:
    """Return a PUB's result; its circuits, raveled, are those rows of the groups."""
    own = np.stack([bits[group][row] for group, row in rows]).reshape(*pub.shape, *bits[rows[0][0]].shape[1:])
    fields = {
        name: BitArray.from_bool_array(own[..., places] & (places >= 0), order="little")
        for name, places in registers.items()
    }
    metadata = {"shots": own.shape[-2], "circuit_metadata": pub.circuit.metadata}
    return SamplerPubResult(DataBin(**fields, shape=pub.shape), metadata=metadata)


def _transpile(
    backend: BackendV2 | None, pass_manager: PassManager | None, seeds: int, circuit: QuantumCircuit
) -> QuantumCircuit:
    """Return the circuit as the backend runs it, on as many of its qubits as the circuit has."""
    if pass_manager is not None:
        return pass_manager.run(circuit)
    if backend is None:
        return circuit
    if all(len(qubits) < 2 for _, qubits, _ in errors(backend.target)):  # a simulator without a device behind it
        return fewest_gates(circuit, backend.target)
    region = low_error_region(backend.target, circuit.num_qubits)
    return embed(fewest_gates(circuit, restrict(backend.target, region), seeds=seeds), region, backend.num_qubits)
