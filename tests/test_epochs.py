from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from qiskit_metainit import checkpoints, closed_forms, ensemble
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.ensemble import Ensemble, raw_costs
from qiskit_metainit.epochs import Report, Schedule, meta_losses, train_in_epochs
from qiskit_metainit.models.lstm import Lstm
from qiskit_metainit.models.qfwp import Qfwp
from qiskit_metainit.models.qk_lstm import QkLstm
from qiskit_metainit.models.qlstm import Qlstm
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.recurrent import RecurrentModel
from qiskit_metainit.task import Task

PUBLISHED = [Lstm, Qlstm, QkLstm, Qfwp]
SIZES = {Lstm: (56, 0), Qlstm: (43, 8), QkLstm: (43, 8), Qfwp: (31, 0)}  # Lin et al. 2025, Table I, and the final layer
FAST = Schedule(epochs=3, sequence_rate=3e-3, head_rate=1e-2)


def graphs(*sizes: int, seed: int = 0) -> list[Task]:
    rng = np.random.default_rng(seed)
    return [Task.qaoa(MaxCut(sizes=[size]).sample(rng).operator, reps=1) for size in sizes]


TASKS, VALIDATION = graphs(4, 4, 5, 5), graphs(6, 6, seed=1)


def several(kind: Any, count: int = 3, first: int = 0, **settings: Any) -> list[Any]:
    models = []
    for seed in range(first, first + count):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            models.append(kind(**({"as_published": True, "queries": 3} | settings)))
    return models


def run(models: list[Any], **changes: Any) -> list[Report]:
    settings: dict[str, Any] = {"schedule": FAST} | changes
    return train_in_epochs(models, TASKS, VALIDATION, Statevector(), **settings)


def loop_by_loop(model: RecurrentModel, schedule: Schedule) -> tuple[list[float], list[float]]:
    """One model as the paper trains it, with the model's own circuits and nothing shared with the library's loop."""
    groups = [
        {"params": model.sequence_parameters(), "lr": schedule.sequence_rate},
        {"params": model.head_parameters(), "lr": schedule.head_rate},
    ]
    optimizer = torch.optim.RMSprop(groups)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=3, threshold=1e-3, min_lr=1e-7
    )
    engine, losses, validation = Statevector(), [], []
    for _ in range(schedule.epochs):
        total = 0.0
        for task in TASKS:
            costs = raw_costs(model, [task], engine)[:, 0]
            loss = sum(0.1 * (t + 1) * cost for t, cost in enumerate(costs)) / len(costs)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        losses.append(total / len(TASKS))
        with torch.no_grad():
            validation.append(np.mean([raw_costs(model, [task], engine)[-1, 0].item() for task in VALIDATION]))
        scheduler.step(validation[-1])
    return losses, validation


def same(left: list[Any], right: list[Any]) -> bool:
    return all(
        torch.equal(value, b.state_dict()[name])
        for a, b in zip(left, right, strict=True)
        for name, value in a.state_dict().items()
    )


@pytest.mark.parametrize("kind", PUBLISHED)
def test_the_published_numbers_of_weights(kind: Any) -> None:
    (model,) = several(kind, 1)
    groups = model.sequence_parameters(), model.head_parameters()
    assert tuple(sum(p.numel() for p in group) for group in groups) == SIZES[kind]


@pytest.mark.parametrize("kind", PUBLISHED)
def test_models_side_by_side_train_as_each_does_alone(kind: Any) -> None:
    models, twins = several(kind), several(kind)
    reports = run(models)
    for report, twin in zip(reports, twins, strict=True):
        losses, validation = loop_by_loop(twin, FAST)
        np.testing.assert_allclose(report.losses, losses, rtol=1e-7)
        np.testing.assert_allclose(report.validation, validation, rtol=1e-7)
        assert report.best == int(np.argmin(validation)) + 1
        assert report.stopped == "epochs"


@pytest.mark.parametrize("kind", PUBLISHED)
def test_training_lowers_the_loss(kind: Any) -> None:
    for report in run(several(kind), schedule=replace(FAST, epochs=8)):
        assert report.losses[-1] < report.losses[0]
        assert report.validation[report.best - 1] == min(report.validation)


@pytest.mark.parametrize("kind", PUBLISHED)
def test_side_by_side_is_done_by_one_call_a_step(kind: Any) -> None:
    engine = Statevector()
    models = several(kind)
    Ensemble(models, engine).costs(TASKS)
    assert engine.budget.jobs == 4  # proposals
    assert engine.budget.circuits == 4 * len(models) * len(TASKS)


def test_models_with_other_circuits_are_trained_too() -> None:
    models = several(Qlstm, 2, as_published=False)
    twins = several(Qlstm, 2, as_published=False)
    for report, twin in zip(run(models), twins, strict=True):
        np.testing.assert_allclose(report.losses, loop_by_loop(twin, FAST)[0], rtol=1e-7)


def test_a_wrong_closed_form_is_caught_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(cosines: Tensor) -> Tensor:
        return closed_forms.ring_products(cosines).flip(-1)

    monkeypatch.setattr(ensemble, "ring_products", wrong)
    with pytest.raises(RuntimeError, match="Qlstm differ by"):
        run(several(Qlstm))


@pytest.mark.parametrize("kind", PUBLISHED)
@pytest.mark.parametrize("place", [2, 4, 7])  # within an epoch, at its end, in the next one
def test_an_interrupted_and_resumed_training_equals_an_uninterrupted_one_to_the_bit(
    kind: Any, place: int, tmp_path: Path
) -> None:
    whole = several(kind)
    expected = run(whole)
    path = tmp_path / "deep" / "checkpoint.pt"
    counted: list[int] = []

    def pull_the_plug(done: int, of: int) -> None:
        counted.append(done)
        assert of == 12
        if done == place:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(several(kind), checkpoint=path, progress=pull_the_plug)
    resumed = several(kind)
    seen: list[int] = []
    reports = run(resumed, checkpoint=path, progress=lambda done, of: seen.append(done))
    assert counted + seen == list(range(1, 13))
    assert [replace(report, seconds=0.0) for report in reports] == [replace(r, seconds=0.0) for r in expected]
    assert same(resumed, whole)
    assert run(several(kind), checkpoint=path)[0].seconds == reports[0].seconds  # nothing is done again


def test_a_training_interrupted_inside_an_update_goes_on_from_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = several(Lstm)
    run(whole)
    path = tmp_path / "checkpoint.pt"
    monkeypatch.setattr(checkpoints, "SAVE_SECONDS", 0.0)  # after every update
    step, calls = torch.optim.RMSprop.step, []

    def unplugged(self: Any, *args: Any) -> Any:
        calls.append(1)
        if len(calls) == 8:  # the second of three models in the third update
            raise KeyboardInterrupt
        return step(self, *args)

    with monkeypatch.context() as patched:
        patched.setattr(torch.optim.RMSprop, "step", unplugged)
        with pytest.raises(KeyboardInterrupt):
            run(several(Lstm), checkpoint=path)
    resumed, seen = several(Lstm), []
    run(resumed, checkpoint=path, progress=lambda done, of: seen.append(done))
    assert seen[0] == 3
    assert same(resumed, whole)


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"schedule": replace(FAST, epochs=4)}, "epochs was 3 and is 4"), ({"other": True}, "first weights was")],
)
def test_the_checkpoint_of_another_training_is_refused(changes: dict[str, Any], named: str, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    run(several(Lstm), checkpoint=path)
    models = several(Lstm, first=5 if changes.pop("other", False) else 0)
    with pytest.raises(ValueError, match=rf"another training: .*{named}"):
        run(models, checkpoint=path, **changes)


def test_models_stop_each_for_itself_and_get_their_best_weights_back(monkeypatch: pytest.MonkeyPatch) -> None:
    validation = {0: [-1.0, -3.0, -2.0, -2.0, -2.0, -2.0], 1: [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0]}
    kept: dict[int, list[Any]] = {0: [], 1: []}
    models = several(Lstm, 2)
    costs = Ensemble.costs

    def planted(self: Ensemble, tasks: Any, members: Any = None) -> Tensor:
        real = costs(self, tasks, members)
        if members is None or len(tasks) == 1:
            return real
        for place in members:
            kept[place].append({name: value.clone() for name, value in models[place].state_dict().items()})
        finals = [validation[place][len(kept[place]) - 1] for place in members]
        return torch.tensor(finals, dtype=torch.float64)[:, None, None].expand_as(real)

    monkeypatch.setattr(Ensemble, "costs", planted)
    reports = run(models, schedule=replace(FAST, epochs=6, stop_after=2))
    assert [(len(r.losses), r.best, r.stopped) for r in reports] == [(4, 2, "validation"), (6, 6, "epochs")]
    for place, best in ((0, 1), (1, 5)):
        for name, value in models[place].state_dict().items():
            assert torch.equal(value, kept[place][best][name])


def test_a_loss_that_no_longer_changes_ends_the_training() -> None:
    still = replace(FAST, sequence_rate=0.0, head_rate=0.0)
    (report,) = run(several(Lstm, 1), schedule=still)
    assert (report.stopped, len(report.losses), report.best) == ("loss", 2, 1)


def test_the_published_plateau_rule_takes_slightly_worse_for_better() -> None:
    still = replace(FAST, sequence_rate=1e-6, epochs=9, tolerance=-1.0, patience=1, stop_after=99, least_rate=0.0)
    (report,) = run(several(Lstm, 1), schedule=still)
    assert max(report.validation) - min(report.validation) < 1e-3
    assert set(report.rates) == {1e-6}
    (strict,) = run(several(Lstm, 1), schedule=replace(still, threshold=-1e-3))
    assert strict.rates[-1] < 1e-6


def test_the_meta_loss_by_hand() -> None:
    costs = torch.tensor([[[-1.0, -3.0], [-2.0, -4.0]], [[0.0, 0.0], [-10.0, 0.0]]], dtype=torch.float64)
    expected = [(0.1 * -2.0 + 0.2 * -3.0) / 2, 0.2 * -5.0 / 2]
    np.testing.assert_allclose(meta_losses(costs).numpy(), expected)


def test_models_of_several_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="must be of one kind"):
        Ensemble([*several(Lstm, 1), *several(Qfwp, 1)], Statevector())
    with pytest.raises(ValueError, match="none"):
        Ensemble([], Statevector())


def test_something_to_train_on_is_needed() -> None:
    with pytest.raises(ValueError, match="4 and 0 came"):
        train_in_epochs(several(Lstm, 1), TASKS, [], Statevector())
    with pytest.raises(ValueError, match=r"At least one epoch is needed, but epochs=0 came\. Choose 1"):
        Schedule(epochs=0)
