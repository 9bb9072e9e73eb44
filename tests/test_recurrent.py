"""Tests of the recurrent meta-learners: sizes, published forms, levers, and quantum layers on a device."""

import copy
import pickle

import numpy as np
import pytest
import torch
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit.engines.parameter_shift import ParameterShift
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.initializer import MetaInitializer
from qiskit_metainit.models.lstm import Lstm
from qiskit_metainit.models.qfwp import Qfwp
from qiskit_metainit.models.qk_lstm import QkLstm
from qiskit_metainit.models.qlstm import Qlstm
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.rollout import normalised_cost, rollout
from qiskit_metainit.task import Task
from qiskit_metainit.testing import check_model

CELLS = [Lstm, Qlstm, QkLstm, Qfwp]
LEVERS = {"conditioned": True, "increments": True, "start": "sk_infinity"}


@pytest.fixture(autouse=True)
def seeded(rng):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        yield


@pytest.fixture
def tasks(rng):
    family = MaxCut(sizes=[5, 6, 7])
    return [Task.qaoa(family.sample(rng).operator, reps=1) for _ in range(5)]


def size(parameters):
    return sum(parameter.numel() for parameter in parameters)


def path(model, tasks):
    engine = Statevector()
    with torch.no_grad():
        return rollout(model, [t.features for t in tasks], normalised_cost(engine, tasks), measure_answer=True)


@pytest.mark.parametrize(("cls", "body", "head"), [(Lstm, 56, 0), (Qlstm, 43, 8), (QkLstm, 43, 8), (Qfwp, 31, 0)])
def test_published_forms_have_the_published_sizes(cls, body, head):
    model = cls(as_published=True)
    assert (size(model.sequence_parameters()), size(model.head_parameters())) == (body, head)


@pytest.mark.parametrize(
    ("model", "weights"),
    [
        (Lstm(), 56),
        (Qlstm(), 59 + 8),
        (Qlstm(cell="chen"), 4 * 15 + 6 + 6),
        (QkLstm(references=5), 28 + 4 + 5 * 4 + 4 * 5 * 3 + 8),
        (Qfwp(), 31),
        (Lstm(num_parameters=6, hidden=10), 4 * 10 * (7 + 10 + 2) + 66),
        (Qlstm(num_parameters=4, hidden=6, qubits=3, layers=2), (11 + 1) * 3 + 4 * 2 * 3 + 24 + 28),
        (Qfwp(num_parameters=4, qubits=3, layers=2), 18 + 18 + 8 + 12 + 16),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, int) else "",
)
def test_equation_forms_have_the_sizes_of_their_layers(model, weights):
    assert size(model.parameters()) == weights


@pytest.mark.parametrize("settings", [{}, LEVERS, {"cost": "raw"}, {"as_published": True}], ids=str)
@pytest.mark.parametrize("cls", CELLS)
def test_every_form_conforms(cls, settings):
    check_model(cls(**settings), reps=(1,))


@pytest.mark.parametrize("model", [Qlstm(cell="chen"), Qlstm(cell="chen", num_parameters=4, hidden=5, **LEVERS)])
def test_the_cell_of_six_circuits_conforms(model):
    check_model(model)
    assert (model(torch.ones(1, model.num_inputs, dtype=torch.float64), model.blank(1))[0].abs() <= 1).all()


@pytest.mark.parametrize("cls", CELLS)
def test_deeper_circuits_are_served(cls):
    check_model(cls(num_parameters=6, queries=3, **LEVERS), reps=(3,))


def test_published_kernel_makes_one_path_for_every_instance(tasks):
    points = path(QkLstm(as_published=True), tasks).points
    torch.testing.assert_close(points, points[:, :1].expand_as(points))
    moved = path(QkLstm(), tasks).points
    assert moved[1:].std(dim=1).max() > 1e-6  # the real kernel reacts to the costs


def test_published_fast_weights_forget(tasks):
    """Without memory the same input gives the same output at any step; with it, it does not."""
    inputs = torch.tensor([[0.3, -0.2, 0.5]], dtype=torch.float64)
    for forgets in (True, False):
        model = Qfwp(as_published=forgets)
        first, state = model(inputs, model.blank(1))
        again, _ = model(inputs, state)
        assert torch.allclose(first, again) == forgets


def test_published_angles_are_not_trained_but_kept():
    model = Qlstm(as_published=True)
    rebuilt = Qlstm(as_published=True)
    assert not torch.equal(model.gates.weights, rebuilt.gates.weights)
    rebuilt.load_state_dict(model.state_dict())
    assert torch.equal(model.gates.weights, rebuilt.gates.weights)
    assert not any("gates" in name for name, _ in model.named_parameters())


def test_raw_cost_is_minus_the_expected_cut(rng):
    """As the cell of the published code sees it, on an unweighted graph."""
    seen = []
    model = Lstm(as_published=True, queries=2)
    step = model.forward
    model.forward = lambda inputs, state: (seen.append(inputs[:, 0]), step(inputs, state))[1]
    task = Task.qaoa(MaxCut(sizes=[6]).sample(rng).operator, reps=1)
    points = path(model, [task]).points
    energies = [Statevector().expectation([task], point).item() for point in points]
    np.testing.assert_allclose([value.item() for value in seen], [0.0, *energies[:2]], atol=1e-12)


@pytest.mark.parametrize("cls", CELLS)
def test_training_may_start_at_the_formula(cls, tasks):
    model = cls(start="sk_infinity", increments=True, **({"hidden": 4} if cls is Lstm else {}))
    formula = path(SkInfinity(), tasks).answer
    torch.testing.assert_close(path(model, tasks).answer, formula)


@pytest.mark.parametrize("cls", CELLS)
def test_conditioned_models_differ_between_instances_before_any_cost(cls, tasks):
    assert path(cls(conditioned=True), tasks).points[0].std(dim=0).max() > 1e-9
    assert path(cls(), tasks).points[0].std(dim=0).max() < 1e-12


@pytest.mark.parametrize("cls", [Qlstm, QkLstm, Qfwp])
def test_quantum_layers_run_on_an_estimator(cls, tasks):
    model = cls(queries=2)
    exact = path(model, tasks[:2]).answer
    device = ParameterShift(StatevectorEstimator())
    model.run_on(device)
    torch.testing.assert_close(path(model, tasks[:2]).answer, exact, atol=1e-9, rtol=0)
    spent = device.budget.circuits
    assert spent > 0
    point, _ = model(torch.ones(1, 3, dtype=torch.float64), model.blank(1))
    point.sum().backward()
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in model.sequence_parameters())
    assert device.budget.circuits > 2 * spent / 6  # gradients take shifted circuits


@pytest.mark.parametrize(
    ("make", "circuits"),
    [
        (lambda: Lstm(queries=4), 0),
        (lambda: Qlstm(queries=2), 3 * 4 * 4),
        (lambda: Qlstm(queries=2, as_published=True), 3 * 4 * 4),
        (lambda: Qlstm(queries=1, cell="chen"), 2 * (4 * 2 + 2 + 2)),
        (lambda: Qlstm(queries=1, cell="chen", hidden=3, qubits=5), 2 * (4 * 3 + 3 + 2)),
        (lambda: QkLstm(queries=2, references=3), 3 * 4 * 3),
        (lambda: QkLstm(queries=2, as_published=True), 3 * 4),
        (lambda: Qfwp(queries=2), 3 * 2),
        (lambda: Qfwp(queries=0, qubits=3, layers=2), 3),
    ],
)
def test_the_circuits_of_a_cell_are_those_its_engine_counts(make, circuits, tasks):
    model = make()
    assert model.cell_circuits == circuits
    if circuits:
        device = ParameterShift(StatevectorEstimator())
        model.run_on(device)
        path(model, tasks[:2])
        assert device.budget.circuits == 2 * circuits


@pytest.mark.parametrize("cls", CELLS)
def test_copied_and_pickled_models_are_the_same(cls, tasks):
    model = cls(queries=2)
    answer = path(model, tasks[:2]).answer
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        torch.testing.assert_close(path(twin, tasks[:2]).answer, answer, rtol=0, atol=0)
        next(twin.parameters()).data += 1.0  # its own weights
    torch.testing.assert_close(path(model, tasks[:2]).answer, answer, rtol=0, atol=0)


def test_a_copy_spends_on_the_same_device(tasks):
    model = Qfwp(queries=1)
    device = ParameterShift(StatevectorEstimator())
    model.run_on(device)
    path(copy.deepcopy(model), tasks[:1])
    assert device.budget.circuits > 0


def test_a_model_on_a_device_is_saved_without_asking_it(tmp_path):
    model = Qfwp(queries=1)
    device = ParameterShift(StatevectorEstimator(default_precision=0.05, seed=1))
    model.run_on(device)
    MetaInitializer(model).save(tmp_path / "saved")
    assert device.budget.circuits == 0
    assert isinstance(MetaInitializer.load(tmp_path / "saved").model, Qfwp)


def test_a_classical_model_has_nothing_to_send():
    with pytest.raises(ValueError, match="quantum layers is needed, but Lstm has none"):
        Lstm().run_on(Statevector())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Lstm(num_parameters=0), "at least one parameter"),
        (lambda: Lstm(cost="log"), "cost must be one of"),
        (lambda: Lstm(start="lstm"), "a formula such as"),
        (lambda: Lstm(start="nowhere"), "no plugin 'nowhere'"),
        (lambda: Qlstm(as_published=True, increments=True), "a form without levers"),
        (lambda: Lstm(as_published=True, hidden=3), "without a readout"),
        (lambda: Qlstm(cell="chen", as_published=True), "cell must be one of"),
        (lambda: Qlstm(cell="chen", hidden=1), "as many hidden numbers"),
        (lambda: Qlstm(cell="chen", qubits=1), "from as many qubits"),
        (lambda: QkLstm(references=0), "reference"),
        (lambda: QkLstm(as_published=True, references=4), "no kernel to choose"),
        (lambda: Lstm(hidden=0), "at least one hidden"),
        (lambda: Qfwp(layers=0), "one layer"),
    ],
)
def test_wrong_settings_are_told(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_wrong_tasks_are_told():
    features = Task.qaoa(SparsePauliOp(["ZZ"]), reps=2).features
    for cls in CELLS:
        told = cls().unsupported(features)
        assert "holds 2 parameters, but the task has 4" in told
        assert "--setting num_parameters=4" in told
        assert cls(num_parameters=4).unsupported(features) is None
