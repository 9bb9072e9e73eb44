"""Small, noisy stand-ins for large backends: their best connected qubits."""

from __future__ import annotations

import difflib
import inspect
import math
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias, final

import numpy as np
from qiskit.circuit import QuantumCircuit
from qiskit.providers import BackendV2, JobStatus, JobV1, Options
from qiskit.result import Result
from qiskit.result.models import ExperimentResult
from qiskit.transpiler import Target, generate_preset_pass_manager
from qiskit_aer import AerSimulator
from qiskit_aer.backends.aerbackend import AerBackend

Rng: TypeAlias = np.random.Generator | int | None
# On shared cores Aer's threads mostly wait for each other: 0.3 s a circuit of 15 qubits instead of 0.02.
ONE_THREAD = {"max_parallel_threads": 1}
MOST_QUBITS = 10
"""Up to which noise is simulated by density matrices: 4^Q numbers cost more than 2^Q for each of ~1000 shots beyond."""
# Aer fuses gates with their noise beyond 7 qubits only; beyond 5 it takes a fifth off at 6 qubits, two thirds at 7.
_DENSITY_MATRIX = {"method": "density_matrix", "fusion_threshold": 5, **ONE_THREAD}


def restricted_backend(backend: BackendV2, num_qubits: int) -> BackendV2:
    """Return a backend of ``num_qubits`` connected, low-error qubits of ``backend``, without control flow.

    Regions grow greedily from every qubit; the one with the least sum of readout errors and of the two-qubit errors of
    the couplings it grew along wins (a ring is no worse than the chain in it). Couplings and qubits with an error of 1
    are left out as faulty; a missing error counts as 0. Its ``run`` runs on those qubits of ``backend``.

    Raises:
        ValueError: if no connected region of that many working qubits exists.
    """
    return _RestrictedBackend(backend, low_error_region(backend.target, num_qubits))


def noisy_simulator(backend: BackendV2, num_qubits: int, *, seed: Rng = None) -> AerSimulator:
    """Return an Aer simulator with the noise, basis and couplings of a backend's best ``num_qubits`` qubits.

    Density matrices (4^Q numbers) in one thread up to 10 qubits, a trajectory a shot beyond.

    Args:
        backend: real or fake, with errors in its target.
        num_qubits: Q, as many as the circuits have.
        seed: frozen by Aer, so the *same* shot noise at every call of the simulator itself; ``shot_sampler`` replaces
            it by fresh ones. None leaves it to Aer.
    """
    exact = num_qubits <= MOST_QUBITS
    options: dict[str, Any] = dict(_DENSITY_MATRIX) if exact else {"method": "statevector"}
    if seed is not None:
        options["seed_simulator"] = int(np.random.default_rng(seed).integers(2**31))
    return AerSimulator.from_backend(restricted_backend(backend, num_qubits), **options)


def fake_backend(name: str) -> BackendV2:
    """Return the snapshot of an IBM device that ``qiskit_ibm_runtime.fake_provider`` has under a name: "fake_fez".

    Raises:
        ValueError: if there is none of that name.
    """
    from qiskit_ibm_runtime import fake_provider  # takes 2 s, so only for those who ask

    known: dict[str, Callable[[], BackendV2]] = {
        kind.backend_name: kind
        for kind in vars(fake_provider).values()
        if inspect.isclass(kind) and issubclass(kind, BackendV2) and hasattr(kind, "backend_name")
    }
    if name not in known:
        close = difflib.get_close_matches(name, known, n=5) or sorted(known)
        raise ValueError(f"The name of a fake backend is needed, but {name!r} came. Try one of {', '.join(close)}.")
    return known[name]()


def is_fake(backend: BackendV2) -> bool:
    """Return whether a backend is a fake device of qiskit-ibm-runtime."""
    # By the module's name, as importing the fake devices takes 2 s.
    return any(kind.__module__.startswith("qiskit_ibm_runtime.fake_provider") for kind in type(backend).__mro__)


def is_simulator(backend: BackendV2) -> bool:
    """Return whether shots on a backend cost nothing and can be seeded: Aer, a fake device, or ours on top of them."""
    if getattr(backend, "simulates", False):
        return True
    if isinstance(backend, _RestrictedBackend):
        return is_simulator(backend.backend)
    return is_fake(backend) or isinstance(backend, AerBackend)


def active_simulator(backend: BackendV2) -> ActiveSimulator:
    """Return a backend that simulates circuits laid out on another, with its noise, on the qubits they use.

    What ``AerSimulator.from_backend(backend)`` gives, without the cost of the idle qubits (a 156-qubit noise model
    takes 5 s to build and 3.5 s a run): the noise of the used ones alone is built, once for each set of them. It has
    the target of ``backend``; ``run`` takes the options of Aer's. Density matrices up to 10 used qubits, a trajectory a
    shot beyond.
    """
    return ActiveSimulator(backend)


@final
class _RestrictedBackend(BackendV2):
    def __init__(self, backend: BackendV2, qubits: Sequence[int], *, faulty: bool = False) -> None:
        super().__init__(name=f"{backend.name}_{len(qubits)}", description=f"qubits {list(qubits)} of {backend.name}")
        self.backend = backend
        self.qubits = tuple(qubits)
        self._target = restrict(backend.target, qubits, faulty=faulty)

    @property
    def target(self) -> Target:
        return self._target

    @property
    def max_circuits(self) -> Any:
        return self.backend.max_circuits

    @classmethod
    def _default_options(cls) -> Options:
        return Options()

    def run(self, run_input: QuantumCircuit | list[QuantumCircuit], **options: Any) -> Any:
        circuits = [run_input] if isinstance(run_input, QuantumCircuit) else run_input
        return self.backend.run([embed(item, self.qubits, self.backend.num_qubits) for item in circuits], **options)


@final
class ActiveSimulator(BackendV2):
    """What ``active_simulator`` returns."""

    simulates = True

    def __init__(self, backend: BackendV2) -> None:
        super().__init__(name=f"active_{backend.name}", description=f"simulates the used qubits of {backend.name}")
        self.backend = backend
        self._simulators: dict[tuple[int, ...], AerSimulator] = {}

    @property
    def target(self) -> Target:
        """The device's."""
        return self.backend.target

    @property
    def max_circuits(self) -> None:
        """No limit."""
        return None

    @classmethod
    def _default_options(cls) -> Options:
        return Options()

    def run(self, run_input: QuantumCircuit | list[QuantumCircuit], **options: Any) -> FinishedJob:
        """Simulate circuits of the device's size; options are those of ``AerSimulator.run``."""
        circuits = [run_input] if isinstance(run_input, QuantumCircuit) else run_input
        groups: dict[tuple[int, ...], list[tuple[int, QuantumCircuit]]] = {}
        for place, circuit in enumerate(circuits):
            small, qubits = strip(circuit)
            groups.setdefault(qubits, []).append((place, small))
        found: dict[int, Any] = {}
        for qubits, group in groups.items():
            own = dict(options)
            if own.get("seed_simulator") is not None:  # else two groups would share their shot noise
                own["seed_simulator"] += group[0][0]
            result = self.on(qubits).run([small for _, small in group], **own).result()
            if not result.success:
                raise RuntimeError(f"Aer failed on qubits {list(qubits)}: {result.status}")
            found |= {place: entry for (place, _), entry in zip(group, result.results, strict=True)}
        return FinishedJob(self, [found[place] for place in range(len(circuits))])

    def on(self, qubits: tuple[int, ...]) -> AerSimulator:
        """Return the simulator of some of the qubits, renumbered in that order."""
        if qubits not in self._simulators:
            exact = len(qubits) <= MOST_QUBITS
            options: dict[str, Any] = dict(_DENSITY_MATRIX) if exact else {"method": "statevector"}
            small = _RestrictedBackend(self.backend, qubits, faulty=True)
            self._simulators[qubits] = AerSimulator.from_backend(small, **options)
        return self._simulators[qubits]


@final
class FinishedJob(JobV1):
    """A simulation that is over: it ran when it was submitted."""

    def __init__(self, backend: BackendV2, results: Sequence[ExperimentResult]) -> None:
        super().__init__(backend, str(uuid.uuid4()))
        self._result = Result(
            results=list(results), backend_name=backend.name, backend_version="", job_id=self.job_id(), success=True
        )

    def submit(self) -> None:
        """Do nothing."""

    def result(self) -> Result:
        """Return the outcomes."""
        return self._result

    def status(self) -> JobStatus:
        """Return that it is done."""
        return JobStatus.DONE


def fewest_gates(circuit: QuantumCircuit, target: Target, *, seeds: int = 4) -> QuantumCircuit:
    """Return the circuit as a target runs it, its layout kept: the best of several transpiler seeds.

    The fewest two-qubit gates win, then the least depth. A target without errors of couplings, a simulator with no
    device behind it, is transpiled for once.
    """
    if all(len(qubits) < 2 for _, qubits, _ in errors(target)):
        return generate_preset_pass_manager(3, target=target, seed_transpiler=0).run(circuit)
    plain = restrict(target, range(target.num_qubits), fractional=False)
    managers = [generate_preset_pass_manager(3, target=plain, seed_transpiler=seed) for seed in range(seeds)]
    return min((manager.run(circuit) for manager in managers), key=lambda ran: (ran.num_nonlocal_gates(), ran.depth()))


def embed(circuit: QuantumCircuit, qubits: Sequence[int], num_qubits: int) -> QuantumCircuit:
    """Return the circuit on those of ``num_qubits`` qubits, its classical registers unchanged."""
    whole = QuantumCircuit(num_qubits, name=circuit.name, metadata=circuit.metadata)
    whole.add_bits(circuit.clbits)
    whole.add_register(*circuit.cregs)
    whole.compose(circuit, qubits=qubits, clbits=circuit.clbits, inplace=True)
    return whole


def used_qubits(circuit: QuantumCircuit) -> set[int]:
    """Return the qubits that a circuit acts on; barriers and delays do not."""
    place = {bit: index for index, bit in enumerate(circuit.qubits)}
    return {place[bit] for item in circuit.data if item.name not in {"barrier", "delay"} for bit in item.qubits}


def strip(circuit: QuantumCircuit, keep: Iterable[int] = ()) -> tuple[QuantumCircuit, tuple[int, ...]]:
    """Return the circuit on the qubits that it uses, and which they are: what ``embed`` undoes.

    Barriers and delays use no qubit; those to ``keep`` stay all the same. So do classical registers, parameters and the
    global phase.

    >>> circuit = QuantumCircuit(5, 1)
    >>> _ = circuit.cx(3, 1), circuit.measure(3, 0)
    >>> small, qubits = strip(circuit)
    >>> small.num_qubits, qubits
    (2, (1, 3))
    """
    used = sorted(used_qubits(circuit) | {*keep})
    small = QuantumCircuit(len(used), name=circuit.name, metadata=circuit.metadata, global_phase=circuit.global_phase)
    small.add_bits(circuit.clbits)
    small.add_register(*circuit.cregs)
    wire = {circuit.qubits[qubit]: small.qubits[index] for index, qubit in enumerate(used)}
    for item in circuit.data:
        qubits = [wire[bit] for bit in item.qubits if bit in wire]
        if len(qubits) == len(item.qubits):
            small.append(item.operation, qubits, item.clbits, copy=False)
        elif item.name == "barrier" and qubits:
            small.barrier(qubits)
    return small, tuple(used)


def low_error_region(target: Target, size: int) -> tuple[int, ...]:
    """Return the qubits, sorted, that ``restricted_backend`` describes."""
    readout = dict.fromkeys(range(target.num_qubits), 0.0)
    couplings: dict[int, dict[int, float]] = {qubit: {} for qubit in readout}
    for name, qubits, error in errors(target):
        if len(qubits) == 1 and error >= 1:
            readout[qubits[0]] = math.inf
        elif name == "measure":
            readout[qubits[0]] = max(error, readout[qubits[0]])
        elif len(qubits) == 2 and error < 1:
            for here, there in (qubits, qubits[::-1]):
                couplings[here][there] = min(error, couplings[here].get(there, error))
    regions: list[tuple[float, list[int]]] = []
    for start in (qubit for qubit, error in readout.items() if error < 1):
        cost, region = readout[start], {start}
        while len(region) < size:
            border = {(error + readout[new], new) for old in region for new, error in couplings[old].items()}
            step, new = min((way for way in border if way[1] not in region), default=(math.inf, -1))
            if step == math.inf:
                break
            cost += step
            region.add(new)
        regions.append((cost, sorted(region)))
    largest = max((len(region) for _, region in regions), default=0)
    if not 1 <= size <= largest:
        raise ValueError(
            f"{size} connected working qubits are needed, but the backend's couplings connect from 1 to {largest}. "
            "Take a smaller problem or a larger backend."
        )
    return tuple(min((cost, region) for cost, region in regions if len(region) == size)[1])


def errors(target: Target) -> Iterator[tuple[str, tuple[int, ...], float]]:
    """Yield (instruction, qubits, error) of what is tied to qubits; a missing error is 0."""
    for name in sorted(target.operation_names):  # the order of a fake target differs from process to process
        for qubits, properties in target[name].items():
            if qubits is not None:
                yield name, qubits, getattr(properties, "error", None) or 0.0


def has_noise(target: Target) -> bool:
    """Return whether a target has couplings with errors."""
    return any(len(qubits) == 2 and error > 0 for _, qubits, error in errors(target))


def restrict(target: Target, qubits: Sequence[int], *, fractional: bool = True, faulty: bool = False) -> Target:
    """Return the target of those qubits, renumbered in that order, without control flow.

    What has an error of 1 is left out too, unless ``faulty``.

    Without ``fractional``, also without rzz if it is not the only two-qubit gate: where it is native its angle is
    confined to [0, pi/2], which a template cannot promise.
    """
    number = {qubit: index for index, qubit in enumerate(qubits)}
    offered: dict[str, dict[tuple[int, ...], Any]] = {}
    for name, place, error in errors(target):
        if (faulty or error < 1) and number.keys() >= set(place):
            offered.setdefault(name, {})[tuple(number[qubit] for qubit in place)] = target[name][place]
    if not fractional and sum(any(len(place) == 2 for place in found) for found in offered.values()) > 1:
        offered.pop("rzz", None)
    properties = target.qubit_properties
    timing = {name: getattr(target, name) for name in ["dt", "granularity", "min_length", "acquire_alignment"]}
    chosen = [properties[qubit] for qubit in qubits] if properties else None
    restricted = Target(num_qubits=len(qubits), qubit_properties=chosen, **timing)
    for name, found in offered.items():
        restricted.add_instruction(target.operation_from_name(name), found, name=name)
    return restricted
