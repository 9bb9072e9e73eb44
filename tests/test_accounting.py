"""What the engines book is what the simulator took: counted where the shots are fired, for every engine there is."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import efficient_su2
from qiskit.primitives import BackendEstimatorV2, BackendSamplerV2
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_aer import AerSimulator

from qiskit_metainit import plugins
from qiskit_metainit.backends import fake_backend, noisy_simulator
from qiskit_metainit.budget import ShotBudget
from qiskit_metainit.engine import Engine
from qiskit_metainit.jobs import make_engine
from qiskit_metainit.shot_noise import shot_estimator
from qiskit_metainit.task import Task

ON_ESTIMATORS = [
    name
    for name in plugins.names("engines")
    if "estimator" in inspect.signature(plugins.load("engines", name)).parameters
]
TRIANGLE = SparsePauliOp(["IZZ", "ZZI", "ZIZ", "IIZ", "III"], [0.5, -1.0, 0.7, 0.3, 2.0])
HEISENBERG = SparsePauliOp(["IXX", "XXI", "IYY", "YYI", "IZZ", "ZZI", "IIY"], [0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 0.3])
# A greedy colouring finds another number of bases in another order.
CROSSED = SparsePauliOp(["ZZI", "YYI", "YXI", "IZX", "IXZ", "XII", "IIX", "YIZ", "III", "ZZZ"], np.arange(1.0, 11.0))


class Counter:
    """What a backend was made to run."""

    def __init__(self, backend: AerSimulator) -> None:
        self.backend, self.jobs, self.circuits, self.shots = backend, 0, 0, 0
        run = backend.run

        def counted(circuits: Any, **options: Any) -> Any:
            self.jobs += 1
            self.circuits += len(circuits)
            self.shots += options["shots"] * len(circuits)
            return run(circuits, **options)

        backend.run = counted


@pytest.fixture
def counter() -> Counter:
    return Counter(AerSimulator(max_parallel_threads=1))


@pytest.fixture(scope="module")
def basis() -> Any:
    return generate_preset_pass_manager(1, basis_gates=["rz", "sx", "x", "cx", "h", "rx", "rzz"])


def tasks_of(kind: str) -> list[Task]:
    if kind == "diagonal":
        return [Task.qaoa(TRIANGLE, reps=2)]
    if kind == "several bases":
        return [Task.from_circuit(efficient_su2(3, reps=0), HEISENBERG)]
    if kind == "as many bases as the order gives":
        return [Task.from_circuit(efficient_su2(3, reps=0), CROSSED)]
    if kind == "repeated and vanishing terms":
        labels, weights = ["ZZI", "XXI", "ZZI", "IYY", "IYY", "IIZ"], [1.0, 0.0, 1.0, 0.5, -0.5, 0.3]
        return [Task.from_circuit(efficient_su2(3, reps=0), SparsePauliOp(labels, weights))]
    if kind == "one angle":
        angle, circuit = Parameter("t"), QuantumCircuit(3)
        circuit.rx(angle, 0)
        return [Task.from_circuit(circuit, SparsePauliOp(["IIZ", "IIX"], [1.0, 0.5]))]
    mixed = [Task.qaoa(TRIANGLE, reps=1), Task.from_circuit(efficient_su2(3, reps=0), HEISENBERG)]
    return [mixed[i] for i in (0, 1, 0, 0, 1)]


KINDS = [
    "diagonal",
    "several bases",
    "as many bases as the order gives",
    "repeated and vanishing terms",
    "one angle",
    "repeated",
]


def call(engine: Engine, tasks: list[Task], rng: np.random.Generator, gradient: bool) -> None:
    width = max(task.num_parameters for task in tasks)
    points = torch.as_tensor(rng.uniform(-2, 2, (len(tasks), width)))
    engine.expectation(tasks, points.requires_grad_(gradient))


@pytest.mark.parametrize("gradient", [False, True], ids=["values", "gradients"])
@pytest.mark.parametrize("shots", [1, 3, 1000])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ON_ESTIMATORS)
def test_shots_and_circuits_are_those_of_the_backend(
    name: str, kind: str, shots: int, gradient: bool, counter: Counter, basis: Any, rng: np.random.Generator
) -> None:
    engine = plugins.load("engines", name)(BackendEstimatorV2(backend=counter.backend), shots=shots, pass_manager=basis)
    tasks = tasks_of(kind)
    for calls in (1, 2):
        call(engine, tasks, rng, gradient)
        assert engine.budget.shots == counter.shots == shots * counter.circuits
        assert engine.budget.jobs == counter.jobs == calls
    bases = {"diagonal": 1, "several bases": 3, "one angle": 2}
    if kind in bases:  # of a circuit evaluation, each basis is a circuit of the backend
        assert counter.circuits == bases[kind] * engine.budget.circuits
    if not gradient:
        assert engine.budget.circuits == 2 * len(tasks)
    assert engine.budget.pubs >= 2 * len(set(tasks))
    assert engine.budget.gradients == 0


@pytest.mark.parametrize("name", ON_ESTIMATORS)
def test_a_constant_hamiltonian_is_booked_as_it_is_run(
    name: str, counter: Counter, basis: Any, rng: np.random.Generator
) -> None:
    # BackendEstimatorV2 measures one qubit for the identity: no use, but shots.
    known = Task.from_circuit(efficient_su2(2, reps=0), SparsePauliOp(["ZZ"]))
    task = Task(known.circuit, SparsePauliOp(["II"], [1.5]), known.features, known.scale)
    engine = plugins.load("engines", name)(BackendEstimatorV2(backend=counter.backend), shots=10, pass_manager=basis)
    for gradient in (False, True):
        call(engine, [task, task], rng, gradient)
        assert engine.budget.shots == counter.shots


@pytest.mark.parametrize("name", ON_ESTIMATORS)
@pytest.mark.parametrize("precision", [0.03, 0.1, 1 / 3, 1.0])
def test_the_estimators_own_precision_is_booked_as_it_rounds(
    name: str, precision: float, counter: Counter, basis: Any, rng: np.random.Generator
) -> None:
    estimator = BackendEstimatorV2(backend=counter.backend, options={"default_precision": precision})
    engine = plugins.load("engines", name)(estimator, pass_manager=basis)
    call(engine, tasks_of("several bases"), rng, True)
    assert engine.budget.shots == counter.shots
    assert counter.shots == math.ceil(1 / precision**2) * counter.circuits


@pytest.mark.parametrize("name", ON_ESTIMATORS)
def test_layouts_do_not_change_what_is_booked(name: str, rng: np.random.Generator) -> None:
    # Routing permutes the observable's labels, and the greedy grouping with them.
    counter = Counter(noisy_simulator(fake_backend("fake_fez"), 3))
    estimator = shot_estimator(counter.backend, 0)
    engine = plugins.load("engines", name)(estimator, shots=20, pass_manager=estimator.pass_manager)
    tasks = [*tasks_of("as many bases as the order gives"), *tasks_of("diagonal")]
    call(engine, tasks, rng, True)
    assert engine.budget.shots == counter.shots > 0
    assert engine.budget.jobs == counter.jobs == 1


@pytest.mark.parametrize("shots", [1, 7, 1000])
def test_sampling_books_what_the_sampler_takes(
    shots: int, counter: Counter, basis: Any, rng: np.random.Generator
) -> None:
    sampling = plugins.load("engines", "sampling")
    engine = sampling(BackendSamplerV2(backend=counter.backend), shots=shots, pass_manager=basis)
    known = tasks_of("diagonal")[0]
    constant = Task(known.circuit, SparsePauliOp("III"), known.features, known.scale)
    tasks = [known, known, constant]
    call(engine, tasks, rng, False)
    assert engine.budget.shots == counter.shots == shots * counter.circuits
    assert (engine.budget.jobs, engine.budget.circuits) == (1, 3)


def test_exact_engines_book_no_shots(rng: np.random.Generator) -> None:
    for name in ["statevector", *ON_ESTIMATORS]:
        engine = make_engine(name, rng=0)
        call(engine, tasks_of("repeated"), rng, True)
        assert engine.budget.shots == 0
        assert engine.budget.circuits >= 5
        assert engine.budget.jobs == 1


def test_limits_are_whole_positive_numbers() -> None:
    assert ShotBudget(shots=1e4) == ShotBudget(shots=10_000)  # type: ignore[arg-type]
    assert isinstance(ShotBudget(shots=np.float64(300)).shots, int)
    for limit, error in ((True, TypeError), ("100", TypeError), (0, ValueError), (-3, ValueError), (2.5, ValueError)):
        with pytest.raises(error, match=f"needed, but shots={limit!r} came"):
            ShotBudget(shots=limit)
    with pytest.raises(ValueError, match="qpu_seconds=nan"):
        ShotBudget(qpu_seconds=float("nan"))
