import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.circuit.library import RZZGate, qaoa_ansatz
from qiskit.primitives import BasePrimitiveJob, StatevectorSampler
from qiskit.providers import BackendV2
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import CouplingMap, InstructionProperties
from qiskit_aer import AerSimulator

from qiskit_metainit.backends import fake_backend
from qiskit_metainit.deployment.adapters.isa import IsaCheck, NotISAError, check_isa
from qiskit_metainit.deployment.adapters.layout import layout_safe


@pytest.fixture(scope="module")
def fez() -> BackendV2:
    return fake_backend("fake_fez")


@pytest.fixture(scope="module")
def fractional() -> BackendV2:
    return fake_backend("fake_fractional")


def chain(num_qubits: int = 4) -> BackendV2:
    return GenericBackendV2(
        num_qubits, basis_gates=["cz", "sx", "rz", "x"], coupling_map=CouplingMap.from_line(num_qubits), seed=1
    )


def templates(backend: BackendV2, num_qubits: int) -> list[Any]:
    """What a layout-safe sampler sends for QAOA: (circuit, points, shots)."""
    sent: list[Any] = []

    class Recording(StatevectorSampler):
        def run(self, pubs: Any, *, shots: int | None = None) -> BasePrimitiveJob[Any, Any]:
            sent.extend(pubs)
            return super().run([], shots=shots)

    cost = SparsePauliOp.from_sparse_list(
        [("ZZ", (i, (i + 1) % num_qubits), 0.5) for i in range(num_qubits)], num_qubits
    )
    circuit = qaoa_ansatz(cost, reps=2)
    circuit.measure_all()
    points = np.random.default_rng(1).uniform(-1, 1, (20, 4))
    layout_safe(Recording(), backend).run([(circuit, points)], shots=10)
    return sent


@pytest.mark.parametrize("name", ["fake_fez", "fake_sherbrooke", "fake_fractional"])
def test_what_layout_safe_sends_is_in_order(name: str) -> None:
    backend = fake_backend(name)
    (circuit, points, _), *_ = templates(backend, 4)
    IsaCheck.of(backend)(circuit, points)
    check_isa(circuit, backend.target, points)
    check_isa(circuit, AerSimulator.from_backend(backend).target, points)


def test_foreign_gates_places_and_sizes_are_refused() -> None:
    target = chain().target
    foreign, far, large = QuantumCircuit(4), QuantumCircuit(4), QuantumCircuit(5)
    foreign.h(1)
    far.cz(0, 1)
    far.cz(1, 3)
    for circuit, message in [
        (foreign, r"Instructions of the backend are needed \(cz, .*has 'h'\. Wrap the sampler"),
        (far, "no cz on qubits 1, 3"),
        (large, "at most 4 qubits is needed, but one of 5 came"),
    ]:
        with pytest.raises(NotISAError, match=message):
            check_isa(circuit, target)
    good = QuantumCircuit(3, 1)  # smaller than the backend
    good.sx(0)
    good.barrier()
    good.cz(1, 0)
    good.measure(2, 0)
    check_isa(good, target)


def test_control_flow_must_be_the_targets(fez: BackendV2) -> None:
    circuit = QuantumCircuit(2, 1)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    with pytest.raises(NotISAError, match="'if_else'"):
        check_isa(circuit, chain().target)
    check_isa(circuit, fez.target)


@pytest.mark.parametrize("place", [(0, 1), (1, 0)])
def test_parts_with_an_error_of_1_are_faulty(place: tuple[int, int]) -> None:
    backend = chain()
    backend.target.update_instruction_properties("cz", place, InstructionProperties(error=1.0))
    backend.target.update_instruction_properties("sx", (3,), InstructionProperties(error=1.0))
    coupling, qubit = QuantumCircuit(4), QuantumCircuit(4)
    coupling.cz(*place)
    qubit.rz(0.1, 3)
    with pytest.raises(
        NotISAError, match=f"cz on qubits {place[0]}, {place[1]} is reported as faulty. Transpile again"
    ):
        check_isa(coupling, backend.target)
    with pytest.raises(NotISAError, match="rz uses qubit 3, reported as faulty"):
        check_isa(qubit, backend.target)
    other = QuantumCircuit(4)
    other.cz(place[1], place[0])
    other.cz(1, 2)
    check_isa(other, backend.target)


def test_what_the_backends_properties_report_is_faulty() -> None:
    class Reporting(GenericBackendV2):
        def properties(self) -> Any:
            return SimpleNamespace(
                faulty_qubits=lambda: [2], faulty_gates=lambda: [SimpleNamespace(gate="cz", qubits=[0, 1])]
            )

    backend = Reporting(4, basis_gates=["cz", "sx", "rz", "x"], coupling_map=CouplingMap.from_line(4), seed=1)
    check = IsaCheck.of(backend)
    for gate, place, message in [("cz", (0, 1), "cz on qubits 0, 1"), ("sx", (2,), "sx uses qubit 2")]:
        circuit = QuantumCircuit(4)
        getattr(circuit, gate)(*place)
        with pytest.raises(NotISAError, match=message):
            check(circuit)
        check_isa(circuit, backend.target)  # which knows nothing of it
    assert check.faulty == {("qubit", (2,)), ("cz", (0, 1))}


def test_real_properties_are_understood(fez: BackendV2) -> None:
    assert IsaCheck.of(fez).faulty == frozenset()  # all its qubits are operational
    properties = fez.properties()
    properties.gates[0].parameters.append(SimpleNamespace(name="operational", value=0, date=None, unit=""))
    gate = properties.gates[0]
    properties._gates[gate.gate][tuple(gate.qubits)]["operational"] = (0, None)
    broken = SimpleNamespace(target=fez.target, properties=lambda: properties)
    assert IsaCheck.of(broken).faulty == {(gate.gate, tuple(gate.qubits))}


# Angles


def bounded() -> QuantumCircuit:
    a, b = ParameterVector("v", 2)
    circuit = QuantumCircuit(2)
    circuit.rzz(2 * a - b + 0.1, 0, 1)
    circuit.rz(-7.0, 0)
    circuit.rzz(a * b, 0, 1)
    return circuit


def test_native_rzz_takes_angles_up_to_a_quarter_turn_only(fractional: BackendV2) -> None:
    check = IsaCheck.of(fractional)
    place = next(iter(fractional.target["rzz"]))
    circuit = QuantumCircuit(fractional.num_qubits)
    circuit.compose(bounded(), place, inplace=True)
    check(circuit, [0.3, 0.2])
    check(circuit, [[0.3, 0.2], [0.0, 0.1], [math.pi / 4 - 0.05, 0.0]])  # 0 and pi/2 themselves
    check(circuit)  # without points, nothing about angles
    for wrong, angle in [([0.0, 0.2], "-0.1"), ([1.0, 0.2], "1.9"), ([2.0, 3.0], "6")]:
        with pytest.raises(NotISAError, match=f"from 0 to pi/2 are needed where it is native, but {angle} came"):
            check(circuit, [[0.3, 0.2], wrong])
    with pytest.raises(NotISAError, match=r"each of the circuit's 2 parameters is needed, but the points have 3"):
        check(circuit, [0.1, 0.2, 0.3])
    fixed = QuantumCircuit(fractional.num_qubits)
    fixed.rzz(-0.1, *place)
    with pytest.raises(NotISAError, match=r"-0\.1 came"):
        check(fixed)


def test_a_native_rzz_beside_a_fixed_gate_is_bounded_even_if_the_target_does_not_say_so() -> None:
    backend = chain(2)
    backend.target.add_instruction(RZZGate(ParameterVector("x", 1)[0]), {(0, 1): InstructionProperties(error=0.001)})
    with pytest.raises(NotISAError, match="from 0 to pi/2"):
        check_isa(bounded(), backend.target, [1.0, 0.2])
    check_isa(bounded(), AerSimulator().target, [1.0, 0.2])  # any angle
    alone = GenericBackendV2(2, basis_gates=["rzz", "rz", "sx"], seed=1)
    check_isa(bounded(), alone.target, [1.0, 0.2])


# Costs


@pytest.mark.benchmark
def test_a_known_circuit_is_checked_for_another_point(benchmark: BenchmarkFixture, fez: BackendV2) -> None:
    (circuit, points, _), *_ = templates(fez, 8)
    check = IsaCheck.of(fez)
    check(circuit, points)
    benchmark(check, circuit, points)


@pytest.mark.benchmark
def test_bounded_angles_are_checked_at_many_points(benchmark: BenchmarkFixture, fractional: BackendV2) -> None:
    place = next(iter(fractional.target["rzz"]))
    fraction = QuantumCircuit(fractional.num_qubits)
    theta = ParameterVector("t", 3)
    for layer in range(60):
        fraction.rzz(0.5 * theta[layer % 3] + 0.01 * layer, *place)
    angles = np.full((50, 3), 0.3)
    narrow = IsaCheck.of(fractional)
    narrow(fraction, angles)
    benchmark(narrow, fraction, angles)


def test_an_edited_circuit_is_checked_again() -> None:
    check, circuit = IsaCheck.of(chain()), QuantumCircuit(4)
    circuit.sx(0)
    check(circuit)
    circuit.h(0)
    with pytest.raises(NotISAError, match="'h'"):
        check(circuit)
