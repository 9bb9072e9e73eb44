"""What the loopback service runs: quantum programs and sampler PUBs, on Aer, outcomes fixed by the job's content."""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ibm_quantum_schemas.common import CompressedTensorModel
from ibm_quantum_schemas.executor.version_2_0 import (
    ItemMetadataModel,
    MetadataModel,
    ParamsModel,
    QuantumProgramResultItemModel,
    QuantumProgramResultModel,
)
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.primitives import DataBin, PrimitiveResult, SamplerPubResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel
from qiskit_aer.primitives import SamplerV2 as AerSampler
from qiskit_ibm_runtime import RuntimeDecoder, RuntimeEncoder
from qiskit_ibm_runtime.fake_provider import fake_backend
from qiskit_ibm_runtime.fake_provider.executor.broadcast_sample import broadcast_sample
from qiskit_ibm_runtime.quantum_program.converters.converters_2_0 import quantum_program_from_2_0
from samplomatic.quantum_program import SamplexItem

QUIET = {"max_parallel_threads": 1, "max_parallel_experiments": 1}


class BadProgram(Exception):  # noqa: N818 what happened
    """The job fails: its content is not what the backend runs."""


@functools.cache
def fake(name: str) -> fake_backend.FakeBackendV2:
    """The fake device behind a backend of this name: ``manila`` is FakeManilaV2's, ``fez`` FakeFez's."""
    module = importlib.import_module(f"qiskit_ibm_runtime.fake_provider.backends.{name}.fake_{name}")
    found = [getattr(module, f"Fake{name.capitalize()}{suffix}", None) for suffix in ("V2", "")]
    return next(one for one in found if one is not None)()


@functools.cache
def snapshots(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A device's configuration and properties as the service would send them."""
    device = fake(name)
    folder = Path(device.dirname)
    read = [json.loads((folder / file).read_text()) for file in (device.conf_filename, device.props_filename)]
    read[0]["backend_name"] = name
    return read[0], read[1]


@functools.cache
def simulator(name: str, noisy: bool) -> AerSimulator:
    if not noisy:
        return AerSimulator(method="statevector", **QUIET)
    return AerSimulator(noise_model=NoiseModel.from_backend(fake(name)), **QUIET)


@dataclass(frozen=True, eq=False)
class Work:
    """A decoded job."""

    circuits: tuple[QuantumCircuit, ...]
    shots: int
    """In all: circuit evaluations times shots of each."""
    evaluations: int
    run: Callable[[AerSimulator], str]
    """Its results, as the service stores them."""

    def check(self, name: str) -> None:
        """Raise if a circuit is not in the device's instructions: the service would compile nothing."""
        target = fake(name).target
        for circuit in self.circuits:
            if circuit.num_qubits > target.num_qubits:
                raise BadProgram(f"{circuit.num_qubits} qubits on a device of {target.num_qubits}")
            for instruction in circuit.data:
                wires = tuple(circuit.find_bit(qubit).index for qubit in instruction.qubits)
                plain = instruction.name in {"barrier", "delay", "measure", "reset"}
                if not plain and not target.instruction_supported(instruction.name, wires):
                    raise BadProgram(f"instruction {instruction.name} on qubits {wires} is not supported")


def decode(program: str, params: dict[str, Any]) -> Work:
    """Decode a job's parameters.

    Raises:
        BadProgram: if they are not what the program takes.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of decoding circuits, which a service would not show to its users
        try:
            if program == "executor":
                return _executor(params)
            if program == "sampler":
                return _sampler(params)
            if program == "estimator":
                return _estimator(params)
        except (ValueError, KeyError, TypeError) as error:
            raise BadProgram(f"{type(error).__name__}: {error}") from error
    raise BadProgram(f"there is no program {program!r}")


def _executor(params: dict[str, Any]) -> Work:
    program, _ = quantum_program_from_2_0(ParamsModel.model_validate(params))
    sizes = [
        int(np.prod(item.shape if isinstance(item, SamplexItem) else item.circuit_arguments.shape[:-1], dtype=int))
        for item in program.items
    ]

    def run(backend: AerSimulator) -> str:
        data = []
        for index, item in enumerate(program.items):
            seed = _seed([item.circuit], [_arguments(item)], program.shots, index)
            found: dict[str, NDArray[Any]] = {}
            values = _arguments(item)
            if isinstance(item, SamplexItem):
                item.samplex.finalize()
                rng = np.random.default_rng(seed)
                found = broadcast_sample(item.samplex, item.samplex_arguments, item.shape, rng)
                values = found.pop("parameter_values")
            found |= _sample(backend, item.circuit, values, program.shots, seed)
            data.append(
                QuantumProgramResultItemModel(
                    results={name: CompressedTensorModel.from_numpy(array) for name, array in found.items()},
                    metadata=ItemMetadataModel(),
                )
            )
        return QuantumProgramResultModel(
            data=data,
            metadata=MetadataModel(chunk_timing=[]),
            passthrough_data=params["quantum_program"].get("passthrough_data"),
            semantic_role=params["quantum_program"].get("semantic_role"),
        ).model_dump_json()

    return Work(tuple(item.circuit for item in program.items), sum(sizes) * program.shots, sum(sizes), run)


def _arguments(item: Any) -> NDArray[np.float64]:
    if isinstance(item, SamplexItem):
        given = [np.asarray(value, dtype=float).ravel() for value in item.samplex_arguments.values()]
        return np.concatenate([np.zeros(0), *given])
    return item.circuit_arguments


def _sampler(params: dict[str, Any]) -> Work:
    given = json.loads(json.dumps(params), cls=RuntimeDecoder)
    default = (given.get("options") or {}).get("default_shots") or 4096
    pubs = [SamplerPub.coerce(tuple(pub), default) for pub in given["pubs"]]

    def run(backend: AerSimulator) -> str:
        results = []
        for index, pub in enumerate(pubs):
            values = pub.parameter_values.as_array(pub.circuit.parameters)
            seed = _seed([pub.circuit], [values], pub.shots, index)
            data = _pub(backend, pub.circuit, values, pub.shots, seed).data
            metadata = {"circuit_metadata": pub.circuit.metadata}
            results.append(SamplerPubResult(DataBin(**dict(data.items()), shape=pub.shape), metadata=metadata))
        return json.dumps(PrimitiveResult(results, metadata={"version": 2}), cls=RuntimeEncoder)

    evaluations = [int(np.prod(pub.shape, dtype=int)) for pub in pubs]
    shots = sum(count * pub.shots for count, pub in zip(evaluations, pubs, strict=True))
    return Work(tuple(pub.circuit for pub in pubs), shots, sum(evaluations), run)


def _estimator(params: dict[str, Any]) -> Work:
    given = json.loads(json.dumps(params), cls=RuntimeDecoder)
    precision = (given.get("options") or {}).get("default_precision") or 1 / 64
    pubs = [EstimatorPub.coerce(tuple(pub), precision) for pub in given["pubs"]]

    def run(backend: AerSimulator) -> str:
        del backend  # exact values: shot noise of estimates is not what these tests are about
        results = []
        for pub in pubs:
            values = np.empty(pub.shape)
            bound = np.broadcast_to(pub.parameter_values.bind_all(pub.circuit), pub.shape)
            observables = np.broadcast_to(pub.observables, pub.shape)
            for index in np.ndindex(pub.shape):
                operator = SparsePauliOp.from_list(list(observables[index].items()))
                values[index] = Statevector(bound[index]).expectation_value(operator).real
            data = {"evs": values, "stds": np.zeros(pub.shape)}
            results.append({"__type__": "PubResult", "__value__": {"data": DataBin(**data, shape=pub.shape)}})
        answer = {"pub_results": results, "metadata": {"version": 2}}
        return json.dumps({"__type__": "PrimitiveResult", "__value__": answer}, cls=RuntimeEncoder)

    evaluations = [int(np.prod(pub.shape, dtype=int)) for pub in pubs]
    shots = sum(count * round(pub.precision**-2) for count, pub in zip(evaluations, pubs, strict=True))
    return Work(tuple(pub.circuit for pub in pubs), shots, sum(evaluations), run)


def _seed(circuits: list[QuantumCircuit], values: list[NDArray[Any]], shots: int, index: int) -> int:
    """Of the content alone, so that a job that is sent again has the outcomes it would have had."""
    digest = hashlib.sha256(f"{shots} {index}".encode())
    for circuit in circuits:
        for instruction in circuit.data:
            bits = [circuit.find_bit(bit).index for bit in (*instruction.qubits, *instruction.clbits)]
            digest.update(f"{instruction.name} {bits} {[str(value) for value in instruction.params]}".encode())
    for array in values:
        digest.update(np.ascontiguousarray(array, dtype=float).tobytes())
    return int.from_bytes(digest.digest()[:3], "big")


def _pub(backend: AerSimulator, circuit: QuantumCircuit, values: NDArray[Any], shots: int, seed: int) -> Any:
    pub = (circuit, values) if circuit.num_parameters else (circuit,)
    return AerSampler.from_backend(backend, seed=seed).run([pub], shots=shots).result()[0]


def _sample(
    backend: AerSimulator, circuit: QuantumCircuit, values: NDArray[Any], shots: int, seed: int
) -> dict[str, NDArray[np.bool_]]:
    """Outcomes by register: the points' shape, shots, bits."""
    lead = () if circuit.num_parameters else values.shape[:-1]  # randomizations of a circuit without parameters
    runs = [_pub(backend, circuit, values, shots, seed + index).data for index in range(max(1, int(np.prod(lead))))]
    found: dict[str, NDArray[np.bool_]] = {}
    for name in runs[0]:
        arrays = [run[name].to_bool_array(order="little") for run in runs]
        found[name] = np.stack(arrays).reshape(*lead, *arrays[0].shape)
    return found
