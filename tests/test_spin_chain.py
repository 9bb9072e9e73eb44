from __future__ import annotations

import itertools
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import Parameter, ParameterVector
from qiskit.quantum_info import SparsePauliOp, Statevector

from qiskit_metainit import MetaInitializer, artifact
from qiskit_metainit.chain_form import Canonical, chain_form, chain_points
from qiskit_metainit.circuits.spin_chain import bell_pair_ansatz
from qiskit_metainit.engines.statevector import Statevector as Engine
from qiskit_metainit.features import stack
from qiskit_metainit.model import Model
from qiskit_metainit.models.spin_chain import SpinChain
from qiskit_metainit.models.spin_chain_constant import SpinChainConstant
from qiskit_metainit.models.spin_chain_ramp import SpinChainRamp
from qiskit_metainit.problems.heisenberg import Heisenberg
from qiskit_metainit.task import Task
from qiskit_metainit.training import Schedule, train

SYMMETRIES = [
    (order, signs)
    for order in itertools.permutations(range(3))
    for signs in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))
]
MODELS = [SpinChain, SpinChainRamp, SpinChainConstant]


def task_of(size: int, couplings: tuple[float, ...], layers: int = 2, *, periodic: bool = False) -> Task:
    return Task.of(Heisenberg.from_couplings(size, couplings, layers=layers, periodic=periodic, exact=False))


def point_of(model: Model, task: Task) -> np.ndarray:
    with torch.no_grad():
        return model.begin(stack([task.features]))[0][0].numpy()


def energy(circuit: QuantumCircuit, operator: SparsePauliOp, point: np.ndarray) -> float:
    """Qiskit's, not the engine's."""
    return float(Statevector(circuit.assign_parameters(point)).expectation_value(operator).real)


def random_model() -> SpinChain:
    """A network whose last layer is not silent."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = SpinChain(width=16, layers=1).eval()
        torch.nn.init.normal_(model.network[-1].weight, std=0.3)
    return model


@pytest.mark.parametrize("periodic", [False, True])
def test_energies_of_all_points_agree_under_every_symmetry(periodic: bool, rng: np.random.Generator) -> None:
    couplings, angles = rng.uniform(-3, 3, size=3), torch.as_tensor(rng.uniform(-2, 2, size=(2, 2, 3)))
    seen = []
    for order, signs in SYMMETRIES:
        task = task_of(6, tuple(couplings[list(order)] * signs), periodic=periodic)
        form = chain_form(task.features)
        assert not isinstance(form, str)
        point = chain_points([form], [angles])[0].numpy()
        seen.append(energy(task.circuit, task.hamiltonian, point))
    assert len(seen) == 24
    assert np.ptp(seen) < 1e-10
    others = [task_of(6, tuple(couplings * sign), periodic=periodic) for sign in ((-1, 1, 1), (-1, -1, -1))]
    for task in others:  # one sign, or all three, is another model: its energy is another one
        form = chain_form(task.features)
        assert not isinstance(form, str)
        assert abs(energy(task.circuit, task.hamiltonian, chain_points([form], [angles])[0].numpy()) - seen[0]) > 1e-3


@pytest.mark.parametrize("make", [random_model, SpinChainRamp, SpinChainConstant])
def test_models_follow_every_symmetry_and_do_not_see_units(make: Callable[[], Model], rng: np.random.Generator) -> None:
    model, couplings = make(), rng.uniform(-3, 3, size=3)
    seen = []
    for order, signs in SYMMETRIES:
        for scale in (1.0, 40.0):
            task = task_of(4, tuple(scale * couplings[list(order)] * signs))
            seen.append(energy(task.circuit, task.hamiltonian, point_of(model, task)) / scale)
    assert np.ptp(seen) < 1e-10


def test_the_canonical_form_is_undone_by_its_letters_and_signs(rng: np.random.Generator) -> None:
    bells = [(1, -1, 1), (-1, 1, 1), (1, 1, -1), (-1, -1, -1)]  # signs of XX, YY, ZZ
    for couplings in [*rng.uniform(-3, 3, size=(50, 3)), *rng.integers(-1, 2, size=(50, 3)).astype(float)]:
        if not couplings.any():
            continue
        form = Canonical.of(couplings.tolist())
        assert 1 >= form.u >= abs(form.v)
        assert np.prod(form.signs) == 1
        again = np.zeros(3)
        for letter, sign, size in zip(form.letters, form.signs, (1.0, form.u, form.v), strict=True):
            again[letter] = -sign * size * np.abs(couplings).max()
        np.testing.assert_allclose(again, couplings, atol=1e-12)
        least = min(-float(couplings @ bell) for bell in bells)
        assert -float(couplings @ form.bell) == pytest.approx(least)
        assert form.bell in bells


# recognition


def renamed(circuit: QuantumCircuit) -> QuantumCircuit:
    """Parameters in another order."""
    names = {p: Parameter(f"q{len(circuit.parameters) - i:03d}") for i, p in enumerate(circuit.parameters)}
    return circuit.assign_parameters(names)


def halved(circuit: QuantumCircuit) -> QuantumCircuit:
    """Parameters in other units."""
    new = ParameterVector("half", circuit.num_parameters)
    return circuit.assign_parameters({p: (-2 if i % 2 else 0.5) * new[i] for i, p in enumerate(circuit.parameters)})


def compiled(circuit: QuantumCircuit) -> QuantumCircuit:
    """Another gate set, on other qubits of a larger device."""
    layout = [5, 1, 4, 0, 6, 3][: circuit.num_qubits]
    basis = ["rz", "sx", "x", "cx"]
    ring = [[i, (i + 1) % 7] for i in range(7)]
    return transpile(
        circuit, basis_gates=basis, coupling_map=ring, initial_layout=layout, optimization_level=1, seed_transpiler=1
    )


def from_singlets(circuit: QuantumCircuit) -> QuantumCircuit:
    """Zero angles are singlets."""
    start = QuantumCircuit(circuit.num_qubits)
    start.x(range(circuit.num_qubits))
    return start.compose(circuit)


@pytest.mark.parametrize("change", [renamed, halved, compiled, from_singlets])
@pytest.mark.parametrize("periodic", [False, True])
def test_a_circuit_is_recognised_however_it_is_written(
    change: Callable[[QuantumCircuit], QuantumCircuit], periodic: bool, rng: np.random.Generator
) -> None:
    model = random_model()
    task = task_of(6, tuple(rng.uniform(-3, 3, size=3)), periodic=periodic)
    wanted = energy(task.circuit, task.hamiltonian, point_of(model, task))
    other = Task.from_circuit(change(task.circuit), task.hamiltonian)
    assert model.unsupported(other.features) is None
    with torch.no_grad():
        found = Engine().expectation([other], torch.as_tensor(point_of(model, other))[None]).item()
    assert found == pytest.approx(wanted, abs=1e-9)


def test_qubits_may_be_in_any_order(rng: np.random.Generator) -> None:
    model, task = random_model(), task_of(8, (0.5, -1.5, 1.0))
    order = rng.permutation(8).tolist()
    moved = QuantumCircuit(8).compose(task.circuit, order)
    other = Task.from_circuit(moved, task.hamiltonian.apply_layout(order))
    np.testing.assert_allclose(point_of(model, other), point_of(model, task), atol=1e-12)


def test_form_of_a_ring_and_of_a_chain() -> None:
    form = chain_form(task_of(6, (0.5, -1.5, 0.0), 3, periodic=True).features)
    assert not isinstance(form, str)
    assert (form.num_sites, form.layers, form.periodic, form.couplings) == (6, 3, True, (0.5, -1.5, 0))
    form = chain_form(task_of(4, (0.0, 0.0, 1.0), 1).features)
    assert not isinstance(form, str)
    assert (form.num_sites, form.layers, form.periodic, form.couplings, form.start) == (4, 1, False, (0, 0, 1), (1, 1))
    np.testing.assert_array_equal(form.order, range(8))


CHAIN = SparsePauliOp.from_sparse_list(
    [(letter * 2, [i, i + 1], value) for i in range(3) for letter, value in zip("XYZ", (1, 0.5, 0.2), strict=True)], 4
)


def rotated_too_late() -> QuantumCircuit:
    circuit = bell_pair_ansatz(4, 1)
    swapped = QuantumCircuit(4)
    rest = [item for item in circuit.data if item.operation.name not in ("rxx", "ryy", "rzz")]
    for item in [*rest, *reversed([item for item in circuit.data if item.operation.name in ("rxx", "ryy", "rzz")])]:
        swapped.append(item.operation, [circuit.find_bit(q).index for q in item.qubits])
    return swapped


def with_more(add: Callable[[QuantumCircuit, Parameter], object]) -> QuantumCircuit:
    circuit = bell_pair_ansatz(4, 1)
    add(circuit, Parameter("more"))
    return circuit


def without_pairs() -> QuantumCircuit:
    circuit = bell_pair_ansatz(4, 1)
    return QuantumCircuit.from_instructions([item for item in circuit.data if item.operation.name != "cx"])


@pytest.mark.parametrize(
    ("circuit", "operator", "reason"),
    [
        (rotated_too_late(), CHAIN, "another order came"),
        (with_more(lambda c, p: c.rx(p, 0)), CHAIN, "others came"),
        (with_more(lambda c, p: c.rxx(p, 0, 1)), CHAIN, "others came"),
        (with_more(lambda c, p: c.rz(p, range(4))), CHAIN, "others came"),
        (with_more(lambda c, p: c.rzz(p, [0, 2], [1, 3])), CHAIN, "other rotations came"),
        (with_more(lambda c, p: c.rzz(0.3, 0, 1) and c.rz(p, 0)), CHAIN, "other angles came"),
        (with_more(lambda c, p: c.rz(p + 0.3, 0)), CHAIN, "other angles came"),
        (with_more(lambda c, p: c.cp(p, 0, 1)), CHAIN, "came"),
        (with_more(lambda c, p: c.t(0) and c.rz(p, 0)), CHAIN, "came"),
        (without_pairs(), CHAIN, "starts from other states"),
        (bell_pair_ansatz(4, 1), CHAIN + SparsePauliOp("IIIZ", [0.1]), "without field"),
        (bell_pair_ansatz(4, 1), CHAIN + SparsePauliOp("IIXX", [0.1]), "the same couplings everywhere"),
        (bell_pair_ansatz(4, 1), CHAIN + SparsePauliOp("IIXY", [0.1]), "other terms"),
        (bell_pair_ansatz(4, 1), CHAIN + SparsePauliOp("IIIX", [0.1]), "other terms"),
        (bell_pair_ansatz(4, 1), CHAIN + SparsePauliOp("XIIX", [1.0]), "the same couplings everywhere"),
        (bell_pair_ansatz(4, 1), SparsePauliOp(["IIZZ", "IZIZ", "ZIIZ"]), "a chain or ring"),
        (bell_pair_ansatz(4, 1), SparsePauliOp(["IIZZ", "ZZII"]), "several parts|a chain or ring"),
        (bell_pair_ansatz(4, 1), SparsePauliOp(["IZZI", "ZIIZ", "IIZZ"]), "starts from other states"),
        (bell_pair_ansatz(4, 1, field=True), CHAIN, "came"),
        (Heisenberg.from_couplings(4, (1, 1, 1), ansatz="blocks").ansatz, CHAIN, "starts from other states"),
    ],
)
@pytest.mark.parametrize("make", MODELS)
def test_what_is_no_chain_in_bell_pairs_is_said(
    make: type[Model], circuit: QuantumCircuit, operator: SparsePauliOp, reason: str
) -> None:
    said = make().unsupported(Task.from_circuit(circuit, operator).features)
    assert said is not None
    assert said.startswith(f"{make.__name__} needs ")
    assert ", but " in said
    assert re.search(reason, said), said


def test_fields_are_said_to_be_unsupported() -> None:
    problem = Heisenberg.from_couplings(4, (1.0, 0.5, -1.0), field=0.3, exact=False)
    bare = Task.from_circuit(bell_pair_ansatz(4, 2), problem.operator)
    for task in (bare, Task.of(problem)):
        said = SpinChain().unsupported(task.features)
        assert said == "SpinChain needs a chain without field, but h = 0.3 came"
    assert SpinChain().unsupported(Task.qaoa(SparsePauliOp("ZZ"), reps=1).features) is not None


# the points


def test_the_ramp_by_hand() -> None:
    """K = -J = (2, -1, 4), so Z, X, Y by size and (4, 2, 1) / 4; signs (+, +, -) become canonical as they are."""
    point = point_of(SpinChainRamp(step=0.5), task_of(4, (-2.0, 1.0, -4.0), 2))
    sizes = {"X": 0.5, "Y": -0.25, "Z": 1.0}
    even = [sizes[letter] for letter in "XYZ"]
    expected = [np.pi, np.pi, *[0.25 * k for k in even], *even, *[0.75 * k for k in even], *even]
    np.testing.assert_allclose(point, expected, atol=1e-12)


def test_the_ramp_chooses_the_bell_state_by_the_couplings() -> None:
    """A ferromagnet along Z and X: Phi+, which the circuit starts from."""
    point = point_of(SpinChainRamp(), task_of(4, (1.0, 0.1, 2.0)))
    np.testing.assert_allclose(point[:2], 0.0)
    point = point_of(SpinChainRamp(), task_of(4, (-1.0, 0.1, 2.0)))  # Z alike, X opposite: Phi-
    np.testing.assert_allclose(point[:2], [0.0, np.pi])


def test_the_constant_stretches_beyond_its_table() -> None:
    """Couplings -1, -0.5, -0.2 are canonical as they are, so the point is the table's."""
    points = {layers: point_of(SpinChainConstant(), task_of(4, (-1.0, -0.5, -0.2), layers)) for layers in (8, 12)}
    np.testing.assert_allclose([point[:2] for point in points.values()], np.pi)
    shallow, deep = (points[layers][2:].reshape(layers, 6) for layers in (8, 12))
    np.testing.assert_allclose(deep[[0, -1]], shallow[[0, -1]])
    np.testing.assert_allclose(deep[1], (shallow[0] + shallow[1]) / 2)  # s = 1.5/12 lies halfway of 0.5/8 and 1.5/8


def test_symmetry_is_worth_more_than_a_ramp(rng: np.random.Generator) -> None:
    family = Heisenberg(sizes=[6])
    problems = [family.sample(rng) for _ in range(24)]
    gaps = {make.__name__: mean_gap(make(), problems) for make in (SpinChainRamp, SpinChainConstant)}
    assert gaps["SpinChainConstant"] < 0.6 * gaps["SpinChainRamp"]
    assert gaps["SpinChainRamp"] < 0.3


def mean_gap(model: Model, problems: list) -> float:
    tasks = [Task.of(problem) for problem in problems]
    with torch.no_grad():
        points, _ = model.begin(stack([task.features for task in tasks]))
        energies = Engine().expectation(tasks, points)
    return float(np.mean([p.levels.excess(float(e)) for p, e in zip(problems, energies, strict=True)]))


def test_a_short_training_learns_and_one_network_serves_other_sizes(rng: np.random.Generator) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = SpinChain(width=48, layers=2)
    family = Heisenberg(sizes=[4], boundary=("open", "periodic"))
    held_out = [Heisenberg(sizes=[4], boundary=("open", "periodic")).sample(rng) for _ in range(24)]
    larger = [Heisenberg(sizes=[6], extra_layers=[0, 1]).sample(rng) for _ in range(12)]
    before = mean_gap(model, held_out), mean_gap(model, larger)
    train(
        model,
        family,
        Engine(),
        loss="root",
        steps=100,
        batch=12,
        rng=np.random.default_rng(0),
        schedule=Schedule(instances=48, learning_rate=5e-3),
    )
    after = mean_gap(model, held_out), mean_gap(model, larger)
    assert after[0] < 0.1 * before[0]
    assert after[1] < 0.5 * before[1]


def test_a_network_starts_at_the_ramp() -> None:
    task = task_of(6, (1.0, -0.2, 2.0), 3)
    np.testing.assert_allclose(point_of(SpinChain(), task), point_of(SpinChainRamp(), task), atol=1e-12)


def test_an_identity_of_any_size_changes_nothing() -> None:
    """Dissociated molecules and shifted models have constants far above their couplings."""
    task, model = task_of(4, (1.0, -2.0, 0.5)), random_model()
    shifted = Task.from_circuit(task.circuit, task.hamiltonian + SparsePauliOp("IIII", [1e14]))
    np.testing.assert_array_equal(point_of(model, shifted), point_of(model, task))


@pytest.mark.parametrize(
    ("size", "periodic", "most"),
    [(4, False, 1e-3), (6, False, 1e-3), (8, False, 1e-3), (10, False, 3e-3), (8, True, 1e-3)],
)
def test_the_shipped_artifact_is_near_the_ground_state(
    size: int, periodic: bool, most: float, rng: np.random.Generator
) -> None:
    model = artifact.read("heisenberg").model
    family = Heisenberg(sizes=[size], boundary=("periodic" if periodic else "open",))
    assert mean_gap(model, [family.sample(rng) for _ in range(24)]) < most


def test_the_shipped_artifact_serves_a_larger_chain_than_it_was_trained_on(rng: np.random.Generator) -> None:
    meta = MetaInitializer.load("heisenberg")
    problem = Heisenberg(sizes=[12]).sample(rng)
    point = meta.initial_point(problem.operator, ansatz=problem.ansatz)
    assert problem.levels.excess(energy(problem.ansatz, problem.operator, point)) < 0.02
