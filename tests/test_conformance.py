from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from oracles import BatchedEstimator, EveryDirection
from qiskit.primitives import StatevectorEstimator, StatevectorSampler
from qiskit.quantum_info import SparsePauliOp
from torch import Tensor

from qiskit_metainit import artifact, features, plugins
from qiskit_metainit.engine import attach_gradient
from qiskit_metainit.engines.general_shift import GeneralShift
from qiskit_metainit.engines.parameter_shift import ParameterShift
from qiskit_metainit.engines.sampling import Sampling
from qiskit_metainit.engines.spsa import Spsa
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.features import FeatureBatch
from qiskit_metainit.model import Model, State
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.task import Task
from qiskit_metainit.testing import ConformanceError, check_cost, check_engine, check_family, check_model, check_task

# An engine on a primitive needs the primitive, so the discovered names are matched with how to make them here.
ENGINES = {
    "statevector": (Statevector, {}),
    "parameter_shift": (lambda: ParameterShift(StatevectorEstimator()), {}),
    "general_shift": (lambda: GeneralShift(StatevectorEstimator()), {}),
    "sampling": (
        lambda: Sampling(StatevectorSampler(seed=1), shots=40000),
        {"tolerance": 0.02, "general": False},
    ),
    # All directions in turn: their mean is the gradient but for a bias of order step^2. Random ones: test_spsa.
    "spsa": (
        lambda: Spsa(BatchedEstimator(), step=1e-3, directions=2**11, rng=EveryDirection()),
        {"tolerance": 1e-4},
    ),
}


@pytest.mark.parametrize("name", plugins.names("models"))
def test_every_model_conforms(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        check_model(plugins.load("models", name)().eval())


@pytest.mark.parametrize("name", artifact.shipped())
def test_every_shipped_artifact_conforms(name: str) -> None:
    check_model(artifact.read(name).model)


def test_every_engine_is_checked() -> None:
    assert sorted(ENGINES) == plugins.names("engines")


@pytest.mark.parametrize("name", plugins.names("engines"))
def test_every_engine_conforms(name: str) -> None:
    make, settings = ENGINES[name]
    check_engine(make(), **settings)


def test_parameter_order_survives_eleven_layers() -> None:
    check_engine(Statevector(), depths=(11,), general=False)


@pytest.mark.parametrize("name", plugins.names("problems"))
def test_every_family_conforms(name: str) -> None:
    check_family(plugins.load("problems", name)())


def test_tasks_conform() -> None:
    check_task()


def test_costs_conform() -> None:
    check_cost()


class Wrapped:
    def __init__(self) -> None:
        self.inner = Statevector()
        self.budget = self.inner.budget

    order = 1


class WrongGradient(Wrapped):
    """The two-term rule on the angle itself, as if it drove a single gate."""

    def expectation(self, tasks: Sequence[Task], points: Tensor) -> Tensor:
        plain = points.detach()
        columns = []
        for place in range(points.shape[1]):
            step = torch.pi / 2 * torch.eye(points.shape[1], dtype=points.dtype)[place]
            columns.append(
                0.5 * (self.inner.expectation(tasks, plain + step) - self.inner.expectation(tasks, plain - step))
            )
        return attach_gradient(points, self.inner.expectation(tasks, plain), torch.stack(columns, dim=1))


class SlightlyWrongGradient(Wrapped):
    def expectation(self, tasks: Sequence[Task], points: Tensor) -> Tensor:
        values = self.inner.expectation(tasks, points)
        (gradient,) = torch.autograd.grad(values.sum(), points)
        return attach_gradient(points, values.detach(), gradient * 1.01)


class WrongCurvature(Wrapped):
    order = 2

    def expectation(self, tasks: Sequence[Task], points: Tensor) -> Tensor:
        plain = points.detach().requires_grad_()
        values = self.inner.expectation(tasks, plain)
        (gradient,) = torch.autograd.grad(values.sum(), plain)

        def again(points: Tensor) -> Tensor:
            return self.inner.expectation(tasks, 1.001 * points)

        return attach_gradient(points, values.detach(), gradient, again)


class BatchLeakingEngine(Wrapped):
    def expectation(self, tasks: Sequence[Task], points: Tensor) -> Tensor:
        return self.inner.expectation([tasks[0]] * len(tasks), points)


class SwappedParameters(Wrapped):
    def expectation(self, tasks: Sequence[Task], points: Tensor) -> Tensor:
        rows = []
        for task, row in zip(tasks, points, strict=True):
            half = task.num_parameters // 2
            own = row[: task.num_parameters]
            rows.append(torch.cat([own[half:], own[:half], row[task.num_parameters :]]))
        return self.inner.expectation(tasks, torch.stack(rows))


class LexicalParameters(Wrapped):
    """Sorts parameters by their printed names, so that theta[10] comes before theta[2]."""

    def expectation(self, tasks: Sequence[Task], points: Tensor) -> Tensor:
        rows = []
        for task, row in zip(tasks, points, strict=True):
            names = [parameter.name for parameter in task.circuit.parameters]
            order = [sorted(names).index(name) for name in names]
            rows.append(torch.cat([row[: len(names)][order], row[len(names) :]]))
        return self.inner.expectation(tasks, torch.stack(rows))


@pytest.mark.parametrize(
    ("fault", "settings", "seen"),
    [
        (WrongGradient, {}, "gradient"),
        (SlightlyWrongGradient, {}, "gradient"),
        (WrongCurvature, {}, "second derivatives"),
        (BatchLeakingEngine, {"general": False}, "value"),
        (SwappedParameters, {}, "value"),
        (LexicalParameters, {"depths": (11,)}, "value"),
    ],
)
def test_planted_engine_faults_are_caught(fault: type[Any], settings: dict[str, Any], seen: str) -> None:
    with pytest.raises(ConformanceError, match=seen):
        check_engine(fault(), **settings)


class Planted(Model):
    def begin(self, features: FeatureBatch) -> tuple[Tensor, State]:
        return SkInfinity().begin(features)


class LeaksBatch(Planted):
    def begin(self, features: FeatureBatch) -> tuple[Tensor, State]:
        points = super().begin(features)[0]
        return torch.where(features.mask, points + 0.1 * features.summary.mean(), 0.0), None


class SeesLabels(Planted):
    def begin(self, features: FeatureBatch) -> tuple[Tensor, State]:
        first = torch.stack([(item.terms.qubit == 0).double().mean() for item in features.items])
        return torch.where(features.mask, super().begin(features)[0] + first[:, None], 0.0), None


class SeesUnits(Planted):
    def begin(self, features: FeatureBatch) -> tuple[Tensor, State]:
        return torch.where(features.mask, super().begin(features)[0] + features.unit, 0.0), None


class FillsPadding(Planted):
    def begin(self, features: FeatureBatch) -> tuple[Tensor, State]:
        return super().begin(features)[0] + 1.0, None


class ForgetsSetting(Planted):
    def __init__(self, *, offset: float = 0.0) -> None:
        super().__init__()
        self.offset = 0.0
        self._offset = offset

    def begin(self, features: FeatureBatch) -> tuple[Tensor, State]:
        return torch.where(features.mask, super().begin(features)[0] + self._offset, 0.0), None


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (LeaksBatch(), "one by one"),
        (SeesLabels(), "relabelling"),
        (SeesUnits(), "factor c"),
        (ForgetsSetting(offset=0.3), "rebuild"),
    ],
)
def test_planted_model_faults_are_caught(fault: Model, seen: str) -> None:
    with pytest.raises(ConformanceError, match=seen):
        check_model(fault)


def test_filled_padding_is_caught_or_harmless() -> None:
    # The rollout multiplies by the unit, which is zero there, so a model cannot spoil the padding at all.
    check_model(FillsPadding())


def test_features_of_the_layout_are_caught() -> None:
    def planted(circuit: Any, operator: SparsePauliOp) -> Task:
        task = Task.from_circuit(circuit, operator)
        spoilt = features.of_circuit(circuit, operator.apply_layout(circuit.layout))
        return Task(task.circuit, task.hamiltonian, spoilt, task.scale)

    with pytest.raises(ConformanceError, match="logical"):
        check_task(planted)


@pytest.mark.parametrize("kind", ["raw", "scale only", "offset only"])
def test_unnormalised_costs_are_caught(kind: str) -> None:
    def planted(engine: Any, tasks: Sequence[Task]) -> Any:
        offsets = torch.tensor([task.offset if kind == "offset only" else 0.0 for task in tasks])
        scales = torch.tensor([task.scale if kind == "scale only" else 1.0 for task in tasks])
        return lambda points: (engine.expectation(tasks, points) - offsets) / scales

    with pytest.raises(ConformanceError):
        check_cost(planted)


def test_a_family_that_ignores_its_seed_is_caught() -> None:
    family = plugins.load("problems", "maxcut")

    class Frozen(family):  # type: ignore[misc, valid-type]
        def sample(self, rng: np.random.Generator) -> Any:
            return super().sample(np.random.default_rng())

    with pytest.raises(ConformanceError):
        check_family(Frozen())
