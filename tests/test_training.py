from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from qiskit.primitives import StatevectorEstimator, StatevectorSampler
from torch import Tensor

from qiskit_metainit import training
from qiskit_metainit.budget import Budget
from qiskit_metainit.engine import attach_gradient
from qiskit_metainit.engines.parameter_shift import ParameterShift
from qiskit_metainit.engines.sampling import Sampling
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.model import Model
from qiskit_metainit.models.graph_correction import GraphCorrection
from qiskit_metainit.models.lstm import Lstm
from qiskit_metainit.models.sk_correction import SkCorrection
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.task import Task
from qiskit_metainit.training import LOSSES, Report, Schedule, train

FAMILY = MaxCut(sizes=[4, 5])
FEW = Schedule(instances=20)


def seeded(build: Any, seed: int = 0, **settings: Any) -> Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Model = build(**settings)
    return model


def correction(seed: int = 0) -> Model:
    return seeded(SkCorrection, seed, width=8, layers=1)


def run(model: Model, **changes: Any) -> Report:
    settings: dict[str, Any] = {"reps": [1, 2], "steps": 12, "batch": 3, "schedule": FEW, "rng": 0} | changes
    engine = settings.pop("engine", None) or Statevector()
    settings["rng"] = np.random.default_rng(settings["rng"])
    return train(model, settings.pop("family", FAMILY), engine, **settings)


def numpy_loss(name: str, costs: np.ndarray) -> float:
    """Loop by loop from the definitions, a trajectory at a time."""
    values = []
    for column in costs.T:
        y = [0.0, *column]  # y_0 = 0 is the cost of guessing blindly
        if name == "final":
            values.append(y[-1])
        elif name == "weighted_sum":
            values.append(sum(0.1 * t * y[t] for t in range(1, len(y))))
        elif name == "observed_improvement":
            values.append(sum(min(y[t] - min(y[:t]), 0.0) for t in range(1, len(y))))
        elif name == "root":
            values.append(np.sign(y[-1]) * np.sqrt(abs(y[-1]) + 1e-10))
        else:
            values.append(sum(min(y[1 : t + 1]) for t in range(1, len(y))))
    return float(np.mean(values))


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (2, 3), (10, 7)])
def test_meta_losses_equal_their_definitions(name: str, shape: tuple[int, int], rng: np.random.Generator) -> None:
    for _ in range(5):
        costs = rng.uniform(-1, 1, size=shape)
        assert LOSSES[name](torch.as_tensor(costs)).item() == pytest.approx(numpy_loss(name, costs), abs=1e-12)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("final", -0.1),
        ("weighted_sum", 0.1 * 0.2 - 0.2 * 0.5 + 0.3 * 0.3 - 0.4 * 0.1),
        ("observed_improvement", -0.5),  # 0.2 is worse than nothing, -0.5 gains 0.5, the rest gains nothing
        ("cumulative_improvement", 0.2 - 3 * 0.5),
    ],
)
def test_meta_losses_of_a_trajectory_worked_by_hand(name: str, expected: float) -> None:
    costs = torch.tensor([0.2, -0.5, 0.3, -0.1], dtype=torch.float64)[:, None]
    assert LOSSES[name](costs).item() == pytest.approx(expected, abs=1e-12)


def test_costs_that_never_improve_have_no_improvement() -> None:
    costs = torch.tensor([[0.3], [0.1], [0.9]], dtype=torch.float64)
    assert LOSSES["observed_improvement"](costs).item() == 0.0


def test_the_cumulative_improvement_has_a_gradient_where_every_proposal_is_worse_than_nothing() -> None:
    costs = torch.tensor([[0.5], [0.4]], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(LOSSES["cumulative_improvement"](costs), costs)
    assert slope.all()


def test_an_early_improvement_counts_more_only_when_cumulated() -> None:
    early, late = torch.tensor([[-0.4, 0.0], [0.0, -0.4]], dtype=torch.float64)
    assert LOSSES["observed_improvement"](early[:, None]) == LOSSES["observed_improvement"](late[:, None])
    assert LOSSES["cumulative_improvement"](early[:, None]) < LOSSES["cumulative_improvement"](late[:, None])


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_meta_loss_sends_a_gradient_to_the_costs(name: str) -> None:
    costs = torch.tensor([[-0.2, -0.1], [-0.5, -0.6]], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(LOSSES[name](costs), costs)
    assert (gradient[-1] > 0).all()


def test_training_a_correction_lowers_the_loss() -> None:
    family = MaxCut(sizes=[4], graphs=["complete"])  # one graph: no noise between steps
    losses = run(
        correction(), family=family, reps=[1], steps=60, batch=1, schedule=Schedule(learning_rate=1e-2, instances=1)
    ).losses
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.02


@pytest.mark.parametrize("loss", ["final", "observed_improvement"])
def test_training_an_lstm_lowers_the_loss(loss: str) -> None:
    model = seeded(Lstm, num_parameters=2, queries=2)
    losses = run(
        model, reps=[1], loss=loss, steps=60, batch=16, schedule=Schedule(learning_rate=3e-2, instances=30)
    ).losses
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.1


def test_the_reported_losses_are_those_of_the_named_loss() -> None:
    function, named = run(correction(), loss=training.weighted_sum), run(correction(), loss="weighted_sum")
    assert function.losses == named.losses
    assert named.losses != run(correction(), loss="final").losses


def same_weights(left: Model, right: Model) -> bool:
    pairs = zip(left.state_dict().values(), right.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("build", "settings", "reps"),
    [(SkCorrection, {"width": 8, "layers": 1}, [1, 2]), (Lstm, {"num_parameters": 4, "queries": 2}, [2])],
)
@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_and_resumed_training_equals_an_uninterrupted_one_to_the_bit(
    build: Any, settings: dict[str, Any], reps: list[int], interrupt: type[BaseException], tmp_path: Path
) -> None:
    whole = seeded(build, **settings)
    expected = run(whole, reps=reps)
    path = tmp_path / "deep" / "checkpoint.pt"

    def pull_the_plug(step: int, _: float) -> None:
        if step == 4:
            raise interrupt

    interrupted = seeded(build, **settings)
    with pytest.raises(interrupt):
        run(interrupted, reps=reps, checkpoint=path, progress=pull_the_plug)
    assert path.exists()
    assert not interrupted.training
    resumed = seeded(build, seed=99, **settings)
    report = run(resumed, reps=reps, checkpoint=path)
    assert report.resumed_at == 5
    assert report.losses == expected.losses
    assert same_weights(resumed, whole)


def test_a_training_interrupted_inside_a_step_resumes_before_that_step(tmp_path: Path) -> None:
    whole = correction()
    expected = run(whole)
    path = tmp_path / "checkpoint.pt"

    class Unplugged(Statevector):
        calls = 0

        def expectation(self, tasks: Sequence[Task], points: Tensor) -> Tensor:
            self.calls += 1
            if self.calls == 8:
                raise KeyboardInterrupt
            return super().expectation(tasks, points)

    with pytest.raises(KeyboardInterrupt):
        run(correction(), engine=Unplugged(), checkpoint=path)
    resumed = correction(seed=99)
    report = run(resumed, checkpoint=path)
    assert report.resumed_at == 7
    assert report.losses == expected.losses
    assert same_weights(resumed, whole)


def test_a_checkpoint_is_written_on_schedule_and_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    seen = []
    report = run(
        correction(),
        checkpoint=path,
        schedule=replace(FEW, checkpoint_every=5),
        progress=lambda step, _: seen.append(len(torch.load(path)["losses"]) if path.exists() else 0),
    )
    assert seen == [0, 0, 0, 0, 5, 5, 5, 5, 5, 10, 10, 10]
    assert tuple(torch.load(path)["losses"]) == report.losses
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_resuming_a_finished_training_spends_nothing_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    first = correction()
    expected = run(first, checkpoint=path)
    content = path.read_bytes()
    again = correction(seed=99)
    report = run(again, checkpoint=path)
    assert (report.losses, report.resumed_at, report.spent) == (expected.losses, 12, Budget())
    assert same_weights(again, first)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"steps": 13}, "steps"),
        ({"batch": 4}, "batch"),
        ({"reps": [1]}, "reps"),
        ({"loss": "weighted_sum"}, "loss"),
        ({"rng": 1}, "rng"),
        ({"family": MaxCut(sizes=[4])}, "family|sizes"),
        ({"schedule": replace(FEW, learning_rate=1e-3)}, "learning_rate"),
    ],
)
def test_the_checkpoint_of_another_training_is_refused_with_what_differs(
    changes: dict[str, Any], named: str, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.pt"
    run(correction(), checkpoint=path)
    content = path.read_bytes()
    model = correction()
    before = copy.deepcopy(model)
    with pytest.raises(ValueError, match=rf"another training: .*({named}).*Repeat the command"):
        run(model, checkpoint=path, **changes)
    assert same_weights(model, before)
    assert path.read_bytes() == content


def test_the_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    run(correction(), checkpoint=path)
    with pytest.raises(ValueError, match="another training: settings was"):
        run(seeded(SkCorrection, width=9, layers=1), checkpoint=path)


@pytest.mark.parametrize("keep", [0, 10, 0.5])
def test_a_truncated_checkpoint_is_refused_and_left_where_it_is(keep: float, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    run(correction(), checkpoint=path)
    content = path.read_bytes()
    cut = content[: int(keep if keep >= 1 else keep * len(content))]
    path.write_bytes(cut)
    with pytest.raises(ValueError, match=r"checkpoint\.pt cannot be read .*Move the file away"):
        run(correction(), checkpoint=path)
    assert path.read_bytes() == cut


def test_a_model_without_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="SkInfinity has no weights to train"):
        run(SkInfinity())


def test_an_engine_without_gradients_is_refused_before_it_is_asked() -> None:
    engine = Sampling(StatevectorSampler(seed=1), shots=8)
    with pytest.raises(ValueError, match="Sampling offers none"):
        run(correction(), engine=engine)
    assert engine.budget == Budget()


def test_an_unsupported_depth_is_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match=r"reps=3: this Lstm holds 2 parameters, but the task has 6"):
        run(seeded(Lstm, num_parameters=2), reps=[1, 3])


@pytest.mark.parametrize("changes", [{"reps": []}, {"reps": [0]}, {"steps": 0}, {"batch": 0}])
def test_empty_and_impossible_plans_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"reps|depth|step"):
        run(correction(), **changes)


def test_an_unknown_loss_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"final.*observed_improvement.*'regret' came"):
        run(correction(), loss="regret")


def test_a_loss_that_is_not_finite_ends_the_training_and_keeps_the_last_good_weights(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    whole = correction()

    class Overflowing(Statevector):
        calls = 0

        def expectation(self, tasks: Sequence[Task], points: Tensor) -> Tensor:
            self.calls += 1
            values = super().expectation(tasks, points)
            return values * (np.nan if self.calls == 6 else 1.0)

    with pytest.raises(FloatingPointError, match="nan at step 5"):
        run(whole, engine=Overflowing(), checkpoint=path)
    assert all(torch.isfinite(weight).all() for weight in whole.parameters())
    stored = torch.load(path)
    assert len(stored["losses"]) == 5
    assert np.isfinite(stored["losses"]).all()
    resumed = correction(seed=99)
    assert run(resumed, checkpoint=path).losses == run(correction()).losses


def test_gradients_that_are_not_finite_do_not_spoil_the_weights(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"

    class Steep(Statevector):
        calls = 0

        def expectation(self, tasks: Sequence[Task], points: Tensor) -> Tensor:
            self.calls += 1
            values = super().expectation(tasks, points)
            if self.calls < 6:
                return values
            return attach_gradient(points, values.detach(), torch.full_like(points, torch.nan))

    model = correction()
    with pytest.raises(FloatingPointError, match="gradient's norm is nan at step 5"):
        run(model, engine=Steep(), checkpoint=path)
    assert all(torch.isfinite(weight).all() for weight in model.parameters())
    stored = torch.load(path)["model"]
    assert all(torch.isfinite(weight).all() for weight in stored.values())


def test_parameter_shift_gives_the_losses_of_the_statevector() -> None:
    settings: dict[str, Any] = {"reps": [1], "steps": 4, "batch": 2, "family": MaxCut(sizes=[4])}
    exact = run(seeded(Lstm, num_parameters=2, queries=1), **settings)
    engine = ParameterShift(StatevectorEstimator())
    shifted = run(seeded(Lstm, num_parameters=2, queries=1), engine=engine, **settings)
    assert np.abs(np.array(shifted.losses) - exact.losses).max() < 1e-6
    assert shifted.spent.circuits > exact.spent.circuits


def test_the_report_counts_what_this_call_spent() -> None:
    engine = Statevector()
    model = seeded(Lstm, num_parameters=2, queries=3)
    first = run(model, engine=engine, reps=[1], steps=5, batch=4)
    # Each of the 5 steps measures 3 queries and the answer for a batch of 4; the first point has a gradient as well.
    assert (first.spent.jobs, first.spent.circuits, first.spent.shots) == (20, 80, 0)
    assert first.spent.gradients == 80
    second = run(model, engine=engine, reps=[1], steps=5, batch=4)
    assert second.spent == first.spent
    assert engine.budget.circuits == 160
    assert len(first.losses) == 5
    assert first.seconds > 0


def test_training_is_repeatable_and_depends_on_its_seed() -> None:
    one, two, other = correction(), correction(), correction()
    assert run(one).losses == run(two).losses != run(other, rng=1).losses
    assert same_weights(one, two)


def test_the_learning_rate_falls_along_half_a_cosine_to_a_hundredth(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = []
    step = torch.optim.Adam.step

    def spy(self: torch.optim.Adam, *arguments: Any, **keywords: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return step(self, *arguments, **keywords)

    monkeypatch.setattr(torch.optim.Adam, "step", spy)
    run(correction(), schedule=replace(FEW, learning_rate=2.0))
    expected = 2.0 * (0.505 + 0.495 * np.cos(np.pi * np.arange(12) / 12))
    np.testing.assert_allclose(rates, expected, rtol=1e-12)


def test_every_depth_uses_all_instances_and_what_they_share_is_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[int] = []
    drawn: list[Task] = []
    original, draw = Task.qaoa, training._Pool.draw

    def counted(operator: Any, *, reps: int) -> Task:
        built.append(id(operator))
        return original(operator, reps=reps)

    def noted(self: training._Pool, *arguments: Any) -> Any:
        found = draw(self, *arguments)
        drawn.extend(found[0])
        return found

    monkeypatch.setattr(Task, "qaoa", counted)
    monkeypatch.setattr(training._Pool, "draw", noted)
    run(correction(), schedule=Schedule(instances=3), steps=60)
    assert len(built) == len(set(built)) == 3
    assert len({(id(task.features.terms), task.features.reps) for task in drawn}) == len(set(drawn)) == 6


def test_a_model_is_shown_its_tasks_before_the_first_step() -> None:
    model = seeded(GraphCorrection, width=8, layers=1, channels=2)
    run(model, steps=1)
    assert isinstance(model, GraphCorrection)
    assert model.center.abs().max() > 0.1
    assert (model.spread < 1).any()
    sample = training._Pool([FAMILY.sample(np.random.default_rng(0)) for _ in range(4)], [1, 2]).sample(3)
    assert [item.reps for item in sample.items] == [1, 2, 1]
