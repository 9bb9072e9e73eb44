import itertools
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.primitives import (
    BackendSamplerV2,
    BasePrimitiveJob,
    BitArray,
    StatevectorEstimator,
    StatevectorSampler,
)
from qiskit.providers import JobStatus
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, ReadoutError

from qiskit_metainit.backends import active_simulator, fake_backend
from qiskit_metainit.deployment.adapters.expectation import SampledEstimator, num_bases
from qiskit_metainit.deployment.adapters.layout import layout_safe
from qiskit_metainit.engines.sampling import Sampling
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.readout import ReadoutCalibration, mean_energy, outcomes, shot_energies
from qiskit_metainit.task import Task

HEISENBERG = SparsePauliOp.from_list([("XXI", 0.5), ("YYI", 0.4), ("IZZ", -0.7), ("III", 2.0), ("ZIX", 0.3)])
DIAGONAL = SparsePauliOp.from_list([("ZZI", 0.5), ("IZZ", -0.7), ("III", -1.0), ("IIZ", 0.3)])


def state(num_qubits: int = 3) -> QuantumCircuit:
    theta = ParameterVector("theta", num_qubits)
    circuit = QuantumCircuit(num_qubits)
    for qubit in range(num_qubits):
        circuit.rx((qubit + 1) * theta[qubit], qubit)
        circuit.rz(0.3 + theta[qubit], qubit)
    for a, b in itertools.combinations(range(num_qubits), 2):
        circuit.crx(0.4 + a, a, b)
    return circuit


class Recording(StatevectorSampler):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.sent: list[list[Any]] = []

    def run(self, pubs: Any, *, shots: int | None = None) -> BasePrimitiveJob[Any, Any]:
        self.sent.append(list(pubs))
        return super().run(self.sent[-1], shots=shots)


# Values


@pytest.mark.parametrize("letter", "XYZ")
def test_each_basis_is_measured_with_its_sign(letter: str) -> None:
    """An eigenstate of each Pauli gives its eigenvalue in every shot."""
    vectors = {"X": [1, 1], "Y": [1, 1j], "Z": [1, 0]}
    circuit = QuantumCircuit(2)
    circuit.prepare_state(np.array(vectors[letter]) / np.linalg.norm(vectors[letter]), 1)
    data = SampledEstimator(StatevectorSampler(seed=1), 50).run([(circuit, f"{letter}I")]).result()[0].data
    assert data.evs == pytest.approx(1.0)
    assert data.stds == 0.0


def test_values_and_errors_are_the_exact_ones_within_shot_noise(rng: np.random.Generator) -> None:
    circuit, points = state(), rng.uniform(-1, 1, (4, 3))
    shots = 20_000
    data = SampledEstimator(StatevectorSampler(seed=2), shots).run([(circuit, HEISENBERG, points)]).result()[0].data
    exact = StatevectorEstimator().run([(circuit, HEISENBERG, points)]).result()[0].data.evs
    assert data.evs.shape == data.stds.shape == (4,)
    np.testing.assert_array_less(np.abs(data.evs - exact) / data.stds, 4.5)
    groups = [["XXI"], ["YYI"], ["IZZ"], ["ZIX"]] if num_bases(HEISENBERG) == 4 else [["XXI", "ZIX"]]
    assert num_bases(HEISENBERG) == 4
    for point, std in zip(points, data.stds, strict=True):
        final = Statevector(circuit.assign_parameters(point))
        variance = 0.0
        for group in groups:
            part = SparsePauliOp.from_list([item for item in HEISENBERG.to_list() if item[0] in group])
            variance += np.real(final.expectation_value(part @ part) - final.expectation_value(part) ** 2)
        assert std == pytest.approx(np.sqrt(variance / shots), rel=0.05)


def test_covariances_of_terms_are_in_the_errors() -> None:
    """ZI + IZ of a Bell pair varies twice as much as independent terms would, ZI - IZ not at all."""
    bell = QuantumCircuit(2)
    bell.h(0)
    bell.cx(0, 1)
    estimator = SampledEstimator(StatevectorSampler(seed=3), 10_000)
    plus, minus = (SparsePauliOp(["ZI", "IZ"], [1, sign]) for sign in (1, -1))
    data = estimator.run([(bell, [plus, minus])]).result()[0].data
    np.testing.assert_allclose(data.stds, [2 / 100, 0.0], rtol=0.02)
    assert data.evs[1] == 0


@pytest.mark.parametrize(
    ("observed", "bound"), [((), (2,)), ((2,), (2,)), ((2, 1), (3,)), ((3,), ()), ((2, 1), (1, 2))]
)
def test_shapes_broadcast_as_estimators_demand(observed: tuple[int, ...], bound: tuple[int, ...]) -> None:
    rng = np.random.default_rng(7)
    labels = ["".join(letters) for letters in itertools.product("IXYZ", repeat=3)][1:]
    observables = np.empty(observed, dtype=object)
    for index in np.ndindex(*observed):
        observables[index] = SparsePauliOp(rng.choice(labels, 3, replace=False), rng.normal(size=3))
    points = rng.uniform(-1, 1, (*bound, 3))
    pub = (state(), observables if observed else observables[()], points)
    found = SampledEstimator(StatevectorSampler(seed=4), 4000).run([pub]).result()[0].data
    exact = StatevectorEstimator().run([pub]).result()[0].data.evs
    assert found.evs.shape == exact.shape
    np.testing.assert_array_less(np.abs(found.evs - exact), 5 * found.stds + 1e-9)


# Costs


def test_shots_are_exactly_the_ones_asked_for() -> None:
    sampler = Recording(seed=5)
    estimator = SampledEstimator(sampler, 300)
    points = np.zeros((2, 5, 3))
    job = estimator.run([(state(), HEISENBERG, points), (state(), DIAGONAL, points[0, 0]), (state(), "III", points)])
    result = job.result()
    assert job.result() is result
    assert (num_bases(HEISENBERG), num_bases(DIAGONAL), num_bases("III"), num_bases(["XII", "IZI", "YII"])) == (
        4,
        1,
        0,
        2,
    )
    assert len(sampler.sent) == estimator.jobs == 1
    assert [pub.shape for pub in sampler.sent[0]] == [(10,)] * 4 + [(1,)]
    assert {pub.shots for pub in sampler.sent[0]} == {300}
    assert (estimator.circuits, estimator.shots_taken) == (41, 41 * 300)
    assert [entry.metadata["bases"] for entry in result] == [4, 1, 0]
    assert [entry.metadata["shots"] for entry in result] == [300, 300, 300]
    np.testing.assert_array_equal(result[2].data.evs, np.ones((2, 5)))
    assert sampler.sent[0][4].circuit.count_ops()["measure"] == 3
    assert "sx" not in sampler.sent[0][4].circuit.count_ops()  # diagonal: nothing is rotated


def test_points_are_measured_for_what_is_wanted_there_alone() -> None:
    """Two observables at two points each, crosswise: two bases at every point, not four."""
    sampler = Recording(seed=5)
    observables = [[SparsePauliOp("XII")], [SparsePauliOp("ZII")]]
    SampledEstimator(sampler, 10).run([(state(), observables, np.zeros((2, 3)))]).result()
    assert sum(pub.shape[0] for pub in sampler.sent[0]) == 4
    sampler.sent.clear()
    SampledEstimator(sampler, 10).run([(state(), [SparsePauliOp("XII"), SparsePauliOp("ZII")], np.eye(2, 3))]).result()
    assert [pub.shape for pub in sampler.sent[0]] == [(1,), (1,)]


@pytest.mark.parametrize("shots", [1, 3, 100, 1000, 4096, 12_345])
def test_a_precision_asks_for_its_shots(shots: int) -> None:
    sampler = Recording(seed=5)
    estimator = SampledEstimator(sampler, 7)
    estimator.run([(QuantumCircuit(1), "Z")], precision=1 / np.sqrt(shots)).result()
    estimator.run([(QuantumCircuit(1), "Z", [], 0.1), (QuantumCircuit(1), "Z", [], 0.3)], precision=0.5).result()
    assert [pub.shots for pubs in sampler.sent for pub in pubs] == [shots, 100, 12]


def test_nothing_runs_where_nothing_is_to_be_measured() -> None:
    sampler = Recording(seed=5)
    job = SampledEstimator(sampler, 10).run([(QuantumCircuit(2), SparsePauliOp("II", 0.5))])
    assert job.result()[0].data.evs == 0.5
    assert (job.status(), job.done(), job.running(), sampler.sent) == (JobStatus.DONE, True, False, [])


def test_a_single_shot_has_no_known_error() -> None:
    data = SampledEstimator(StatevectorSampler(seed=5), 1).run([(state(), DIAGONAL, [0.1, 0.2, 0.3])]).result()[0].data
    assert np.isnan(data.stds)


def test_settings_are_checked() -> None:
    with pytest.raises(TypeError, match="a StatevectorEstimator came"):
        SampledEstimator(StatevectorEstimator(), 10)
    with pytest.raises(ValueError, match="shots=0 came"):
        SampledEstimator(StatevectorSampler(), 0)
    estimator = SampledEstimator(StatevectorSampler(), 10)
    with pytest.raises(ValueError, match="without classical bits"):
        estimator.run([(QuantumCircuit(1, 1), "Z")])


def test_measured_circuits_are_the_same_objects_at_every_call() -> None:
    sampler, circuit = Recording(seed=5), state()
    estimator = SampledEstimator(sampler, 10)
    for point in np.eye(3):
        estimator.run([(circuit, HEISENBERG, point)]).result()
    for pubs in zip(*sampler.sent, strict=True):
        assert pubs[0].circuit is pubs[1].circuit is pubs[2].circuit
    circuit.x(0)  # a longer circuit is another one
    estimator.run([(circuit, HEISENBERG, np.zeros(3))]).result()
    assert sampler.sent[-1][0].circuit is not sampler.sent[0][0].circuit


# Readout errors


def misreading(ones: list[float], zeros: list[float]) -> AerSimulator:
    """A simulator whose only errors are those of reading."""
    noise = NoiseModel()
    for qubit, (one, zero) in enumerate(zip(ones, zeros, strict=True)):
        noise.add_readout_error(ReadoutError([[1 - one, one], [zero, 1 - zero]]), [qubit])
    return AerSimulator(noise_model=noise, max_parallel_threads=1)


ONES, ZEROS = [0.02, 0.1, 0.05], [0.08, 0.04, 0.15]


def test_a_calibration_finds_the_errors() -> None:
    sampler = BackendSamplerV2(backend=misreading(ONES, ZEROS), options={"seed_simulator": 1})
    found = ReadoutCalibration.measure(sampler, [2, 0, 1], shots=40_000)
    assert found.qubits == (0, 1, 2)
    assert found.shots == 40_000
    np.testing.assert_allclose(found.false_ones, ONES, atol=0.008)
    np.testing.assert_allclose(found.false_zeros, ZEROS, atol=0.008)
    part = found.on([2, 0])
    assert part.false_ones == (found.false_ones[2], found.false_ones[0])
    assert part.false_zeros == (found.false_zeros[2], found.false_zeros[0])


def test_the_correction_is_the_inverse_of_the_confusion_matrices(rng: np.random.Generator) -> None:
    """Against dense matrices: the distribution times their inverse, for outcomes in exactly chosen numbers."""
    calibration = ReadoutCalibration((0, 1, 2), tuple(ONES), tuple(ZEROS))
    counts = rng.integers(1, 50, 8)
    shots = np.array(
        [[number >> bit & 1 for bit in range(3)] for number in np.repeat(np.arange(8), counts)], dtype=bool
    )
    confusion = np.eye(1)
    for one, zero in zip(ONES, ZEROS, strict=True):
        confusion = np.kron([[1 - one, zero], [one, 1 - zero]], confusion)
    operator = SparsePauliOp(["ZII", "IZZ", "ZZZ", "III"], rng.normal(size=4))
    true = np.linalg.solve(confusion, counts / counts.sum())
    expected = np.diag(operator.to_matrix()).real @ true
    energies = shot_energies(shots, operator.paulis.z, operator.coeffs.real, calibration)
    assert energies.mean() == pytest.approx(expected, abs=1e-12)
    plain = shot_energies(shots, operator.paulis.z, operator.coeffs.real)
    assert plain.mean() == pytest.approx(np.diag(operator.to_matrix()).real @ (counts / counts.sum()), abs=1e-12)
    assert abs(plain.mean() - expected) > 0.01


def test_mitigated_values_are_unbiased_and_their_errors_grow_as_they_should(rng: np.random.Generator) -> None:
    circuit, points, shots = state(), rng.uniform(-1, 1, (6, 3)), 20_000
    sampler = BackendSamplerV2(backend=misreading(ONES, ZEROS), options={"seed_simulator": 3})
    calibration = ReadoutCalibration((0, 1, 2), tuple(ONES), tuple(ZEROS))
    bound = [circuit.assign_parameters(point).decompose() for point in points]
    pubs = [(item, HEISENBERG) for item in bound]
    exact = [float(np.real(Statevector(item).expectation_value(HEISENBERG))) for item in bound]
    plain, mitigated = (
        [entry.data for entry in SampledEstimator(sampler, shots, readout=readout).run(pubs).result()]
        for readout in (None, calibration)
    )
    pulls = [(data.evs - value) / data.stds for data, value in zip(mitigated, exact, strict=True)]
    assert np.max(np.abs(pulls)) < 4.5
    assert np.max(np.abs([(data.evs - value) / data.stds for data, value in zip(plain, exact, strict=True)])) > 10
    for before, after in zip(plain, mitigated, strict=True):
        assert 1 < float(after.stds / before.stds) < 1 / np.prod(1 - np.array(ONES) - ZEROS)


@pytest.mark.parametrize("inside", [True, False])
def test_physical_qubits_are_calibrated_through_a_layout(inside: bool) -> None:
    """Mitigation takes out what the device's readout adds, whichever qubits of it were chosen."""
    device = fake_backend("fake_manila")
    sampler = BackendSamplerV2(backend=active_simulator(device), options={"seed_simulator": 5})
    chosen = layout_safe(sampler)
    calibration = ReadoutCalibration.measure(chosen, range(3), shots=20_000)
    for qubit, one, zero in zip(calibration.qubits, calibration.false_ones, calibration.false_zeros, strict=True):
        told = device.target["measure"][(qubit,)].error
        assert (one + zero) / 2 == pytest.approx(told, abs=0.008)
    circuit = QuantumCircuit(3)
    circuit.x([0, 2])
    observable = SparsePauliOp(["ZZZ", "IZI", "ZII"])

    def value(readout: ReadoutCalibration | None) -> float:
        if inside:
            estimator: Any = layout_safe(SampledEstimator(sampler, 20_000, readout=readout))
        else:
            estimator = SampledEstimator(chosen, 20_000, readout=readout)
        return float(estimator.run([(circuit, observable)]).result()[0].data.evs)

    exact = 1 + 1 - 1
    assert abs(value(calibration) - exact) < 0.02 < abs(value(None) - exact)


def test_calibrations_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match=r"qubit 4 has 0.5 \+ 0.5"):
        ReadoutCalibration((4,), (0.5,), (0.5,))
    with pytest.raises(ValueError, match="Two probabilities a qubit"):
        ReadoutCalibration((4,), (0.5,), ())
    with pytest.raises(ValueError, match=r"\[3\] are not among \[1, 2\]"):
        ReadoutCalibration((1, 2), (0.1, 0.1), (0.1, 0.1)).on([2, 3])
    with pytest.raises(ValueError, match="Distinct qubits"):
        ReadoutCalibration.measure(StatevectorSampler(), [1, 1], shots=10)


# Engines


def test_the_sampling_engine_and_the_estimator_read_the_same_bits(rng: np.random.Generator) -> None:
    import torch

    task = Task.qaoa(MaxCut(sizes=[5], probability=0.7).sample(rng).operator, reps=2)
    point = rng.uniform(-1, 1, 4)
    engine = Sampling(StatevectorSampler(seed=9), shots=500)
    energy = engine.expectation([task], torch.as_tensor(point)[None])[0]
    bits = (
        StatevectorSampler(seed=9).run([(task.circuit.measure_all(inplace=False), point)], shots=500).result()[0].data
    )
    exact = np.mean([np.diag(task.hamiltonian.to_matrix()).real[int(key, 2)] for key in bits.meas.get_bitstrings()])
    assert float(energy) == pytest.approx(exact, abs=1e-9)
    assert mean_energy(bits.meas, task.hamiltonian) == pytest.approx(exact, abs=1e-9)


def test_outcomes_put_bit_i_at_place_i() -> None:
    bits = BitArray.from_samples(["0000000001", "1000000010"])
    np.testing.assert_array_equal(outcomes(bits)[:, [0, 1, 9]], [[True, False, False], [False, True, True]])
