"""The portfolio: the mean of its members, the best of its candidates where costs are measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from qiskit_metainit import MetaInitializer
from qiskit_metainit.artifact import ArtifactError
from qiskit_metainit.cli import app
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.features import FeatureBatch, stack
from qiskit_metainit.jobs import join_artifacts
from qiskit_metainit.models.constant import Constant
from qiskit_metainit.models.fixed_angles import FixedAngles
from qiskit_metainit.models.graph_correction import GraphCorrection
from qiskit_metainit.models.portfolio import Portfolio
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.rollout import normalised_cost, rollout
from qiskit_metainit.task import Task
from qiskit_metainit.training import Schedule

SMALL: dict[str, Any] = {"width": 8, "layers": 1, "channels": 2}
FAMILY = MaxCut(sizes=[5, 6], weights=["exponential"])


def tasks(rng: np.random.Generator, reps: int, count: int = 6) -> list[Task]:
    return [Task.qaoa(FAMILY.sample(rng).operator, reps=reps) for _ in range(count)]


def known(found: list[Task]) -> FeatureBatch:
    return stack([task.features for task in found])


def disagreeing(**settings: Any) -> Portfolio:
    """Return a portfolio whose members differ from the formula and from each other."""
    torch.manual_seed(3)
    model = Portfolio(**{**SMALL, **settings}).eval()
    for member in model.models:
        torch.nn.init.normal_(member.network[-1].weight, std=0.1)
    return model


def test_without_queries_it_answers_with_the_mean(rng: np.random.Generator) -> None:
    model, batch = disagreeing(members=3), known(tasks(rng, 3))
    with torch.no_grad():
        members = np.array([member.begin(batch)[0].numpy() for member in model.models])
        np.testing.assert_allclose(model.begin(batch)[0].numpy(), members.mean(axis=0), atol=1e-12)
    assert members.std(axis=0).max() > 0.01


def test_untrained_it_is_the_formula(rng: np.random.Generator) -> None:
    batch = known(tasks(rng, 2))
    point = Portfolio(**SMALL).eval().begin(batch)[0]
    torch.testing.assert_close(point, SkInfinity().begin(batch)[0])


@pytest.mark.parametrize("reps", [1, 3, 12])
def test_with_all_queries_no_formula_is_better(rng: np.random.Generator, reps: int) -> None:
    found, engine = tasks(rng, reps), Statevector()
    cost, features = normalised_cost(engine, found), [task.features for task in found]
    model = disagreeing(members=2, queries=6)
    with torch.no_grad():
        trajectory = rollout(model, features, cost, measure_answer=True)
        formulas = [FixedAngles(), SkInfinity(), Constant(rescaled=True)]
        costs = [rollout(formula, features, cost, measure_answer=True).costs[-1] for formula in formulas]
    assert len(trajectory.costs) == 7
    assert (trajectory.costs[-1] <= torch.stack(costs).min(dim=0).values + 1e-9).all()
    torch.testing.assert_close(trajectory.costs[3:6], torch.stack(costs))
    first = rollout(disagreeing(members=2), features, None, measure_answer=False).answer
    torch.testing.assert_close(trajectory.points[0], first)


def test_all_candidates_can_be_measured(rng: np.random.Generator) -> None:
    model, batch = disagreeing(members=2, queries=6), known(tasks(rng, 2))
    points = model.candidates(batch)
    assert points.shape[1] == 6
    torch.testing.assert_close(points[:, 0], points[:, 1:3].mean(dim=1))
    with pytest.raises(ValueError, match="queries must be 0, or 2 to 6, the number of candidates, but 7 came"):
        Portfolio(members=2, queries=7)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="At least two members are needed for a mean, but members=1"):
        Portfolio(members=1)
    with pytest.raises(ValueError, match="queries must be 0, or 2 to 7"):
        Portfolio(queries=1)


def trained(folder: Path, seed: int, family: Any = FAMILY, reps: tuple[int, ...] = (1, 2), **settings: Any) -> str:
    torch.manual_seed(seed)
    meta = MetaInitializer(GraphCorrection(**{**SMALL, **settings}))
    schedule = Schedule(learning_rate=1e-2, instances=8)
    meta.train(family, reps=reps, steps=3, batch=4, rng=seed, schedule=schedule)
    meta.save(folder, command=f"metainit train --seed {seed}")
    return str(folder)


def test_trained_models_are_joined_from_the_command_line(tmp_path: Path, rng: np.random.Generator) -> None:
    first = trained(tmp_path / "first", 1)
    second = trained(tmp_path / "second", 2, family=MaxCut(sizes=[6, 7]), reps=(2, 3))
    output = tmp_path / "joined"
    result = CliRunner().invoke(app, ["join", first, second, "--output", str(output)])
    assert result.exit_code == 0, result.output
    joined = MetaInitializer.load(output)
    assert joined.model.settings == {**SMALL, "rounds": 2, "members": 2, "queries": 0}
    assert joined.coverage is not None
    assert (joined.coverage.reps, joined.coverage.qubits) == ((2,), (6, 6))
    members = joined.provenance["members"]
    assert [member["seed"] for member in members] == [1, 2]
    assert [member["command"] for member in members] == ["metainit train --seed 1", "metainit train --seed 2"]
    assert joined.provenance["loss"] == "final"
    operator = FAMILY.sample(rng).operator
    apart = [MetaInitializer.load(name).initial_point(operator, reps=2) for name in (first, second)]
    candidates = MetaInitializer.load(f"{output}:3").model.candidates(known([Task.qaoa(operator, reps=2)]))
    unit = Task.qaoa(operator, reps=2).features.unit.numpy()
    np.testing.assert_allclose(candidates[0, 1:].detach().numpy() * unit, apart, atol=1e-12)
    proposal = MetaInitializer.load(f"{output}:4").propose([operator], reps=2)[0]
    assert (proposal.model, proposal.queries) == ("joined:4", 4)


def test_what_cannot_be_joined_is_refused(tmp_path: Path) -> None:
    first, wider = trained(tmp_path / "first", 1), trained(tmp_path / "wider", 2, width=9)
    deeper = trained(tmp_path / "deeper", 3, reps=(4,))
    with pytest.raises(ValueError, match="Trained artifacts of graph_correction with the same settings are needed"):
        join_artifacts([first, wider], tmp_path / "joined")
    with pytest.raises(ValueError, match="graph_correction with the same settings are needed"):
        join_artifacts([first, "lstm"], tmp_path / "joined")
    with pytest.raises(
        ValueError, match="same settings are needed, such as those of several seeds, but these came: none"
    ):
        join_artifacts([], tmp_path / "joined")
    with pytest.raises(ValueError, match="At least two members are needed"):
        join_artifacts([first], tmp_path / "joined")
    with pytest.raises(
        ValueError, match="Trainings with a depth and a size in common are needed, but these came: reps"
    ):
        join_artifacts([first, deeper], tmp_path / "joined")
    assert not (tmp_path / "joined").exists()
    with pytest.raises(ValueError, match="A folder for a new artifact is needed"):
        join_artifacts([first, first], tmp_path / "wider")


def test_a_number_of_queries_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"can ask for 3 costs is needed, but 'qaoa' asks for 0: it has no setting"):
        MetaInitializer.load("qaoa:3")
    with pytest.raises(ArtifactError, match="neither"):
        MetaInitializer.load("nothing:3")
    first = trained(tmp_path / "first", 1)
    join_artifacts([first, first], tmp_path / "joined")
    with pytest.raises(ArtifactError, match="asks for 0: queries must be 0, or 2 to 6"):
        MetaInitializer.load(f"{tmp_path / 'joined'}:9")
