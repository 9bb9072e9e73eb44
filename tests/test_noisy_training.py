"""Training under sampled shots and device noise: any engine by its name, resumed to the bit, and said in the record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from qiskit.primitives import StatevectorEstimator
from qiskit_aer.primitives import EstimatorV2 as AerEstimator

from qiskit_metainit import artifact, plugins
from qiskit_metainit.engine import Engine
from qiskit_metainit.engine_record import describe, generators, noise_of
from qiskit_metainit.engines.parameter_shift import ParameterShift
from qiskit_metainit.engines.spsa import Spsa
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.initializer import MetaInitializer
from qiskit_metainit.jobs import limits, make_engine
from qiskit_metainit.models.lstm import Lstm
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.task import Task
from qiskit_metainit.training import Report, Schedule, train

NOISY = ("parameter_shift", "general_shift", "spsa")


def model(queries: int = 1) -> Lstm:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Lstm(num_parameters=2, queries=queries)


def run(network: Lstm, engine: Engine, checkpoint: Path | None = None, **changes: Any) -> Report:
    settings: dict[str, Any] = {"reps": [1], "steps": 6, "batch": 2, "schedule": Schedule(instances=6)} | changes
    rng = np.random.default_rng(0)
    return train(network, MaxCut(sizes=[4]), engine, rng=rng, checkpoint=checkpoint, **settings)


def weights(network: Lstm) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in network.state_dict().values()]


def interrupted(engine: Engine, after: int) -> Engine:
    expectation, calls = engine.expectation, iter(range(1000))

    def unplugged(tasks: Any, points: Any) -> Any:
        if next(calls) == after:
            raise KeyboardInterrupt
        return expectation(tasks, points)

    engine.expectation = unplugged  # type: ignore[method-assign]
    return engine


@pytest.mark.parametrize(
    ("name", "noise"), [("parameter_shift", None), ("general_shift", None), ("spsa", None), ("spsa", "fake_fez")]
)
def test_a_noisy_training_resumes_to_the_same_bit(name: str, noise: str | None, tmp_path: Path) -> None:
    def engine(seed: int = 5) -> Engine:
        return make_engine(name, shots=50, noise=noise, rng=seed)

    whole, parts = model(), model()
    expected = run(whole, engine())
    with pytest.raises(KeyboardInterrupt):
        run(
            parts, interrupted(engine(), after=7), tmp_path / "c.pt"
        )  # in the middle of a step, its noise already drawn
    report = run(parts, engine(seed=99), tmp_path / "c.pt")  # the checkpoint, not the seed, says which noise comes next
    assert report.resumed_at == 3
    assert report.losses == expected.losses
    for ours, other in zip(weights(parts), weights(whole), strict=True):
        assert torch.equal(ours, other)
    assert report.shots == expected.shots == expected.spent.shots > report.spent.shots > 0
    other_noise = run(model(), engine(seed=6))
    assert other_noise.losses != expected.losses


@pytest.mark.parametrize(
    ("other", "settings"),
    [
        ("parameter_shift", {}),
        ("spsa", {"shots": 60}),
        ("spsa", {"noise": "fake_fez"}),
        ("statevector", {"shots": None}),
    ],
)
def test_a_resumed_training_with_other_noise_is_refused(other: str, settings: dict[str, Any], tmp_path: Path) -> None:
    run(model(), make_engine("spsa", shots=50, rng=0), tmp_path / "c.pt")
    with pytest.raises(ValueError, match="is of another training: engine was"):
        run(model(), make_engine(other, **({"shots": 50, "rng": 0} | settings)), tmp_path / "c.pt")


def test_other_settings_of_the_engine_are_another_training(tmp_path: Path) -> None:
    run(model(), Spsa(StatevectorEstimator(), step=0.1, rng=0), tmp_path / "c.pt")
    with pytest.raises(ValueError, match="engine was"):
        run(model(), Spsa(StatevectorEstimator(), step=0.2, rng=0), tmp_path / "c.pt")


def test_a_checkpoint_that_does_not_name_its_engine_is_taken_up(tmp_path: Path) -> None:
    # As the first version wrote them.
    path = tmp_path / "c.pt"
    with pytest.raises(KeyboardInterrupt):
        run(model(), interrupted(Statevector(), after=4), path)
    content = torch.load(path, weights_only=True)
    plan = json.loads(content["plan"])
    del plan["engine"], content["noise"], content["shots"]
    torch.save({**content, "plan": json.dumps(plan)}, path)
    report = run(model(), Statevector(), path)
    assert report.resumed_at == 2
    assert report.losses == run(model(), Statevector()).losses


def test_the_problems_and_batches_are_the_same_with_and_without_noise() -> None:
    seen: list[list[list[Any]]] = []
    for name, shots in (("statevector", None), ("spsa", 20)):
        engine = make_engine(name, shots=shots, rng=3)
        operators: list[Any] = []
        expectation = engine.expectation

        def recorded(tasks: list[Task], points: Any, ask: Any = expectation, kept: Any = operators) -> Any:
            kept.append([task.hamiltonian.to_list() for task in tasks])
            return ask(tasks, points)

        engine.expectation = recorded  # type: ignore[assignment, method-assign]
        run(model(), engine)
        seen.append(operators)
    assert seen[0] == seen[1]


def test_training_under_shots_learns() -> None:
    report = train(
        model(queries=0),
        MaxCut(sizes=[4], graphs=["complete"]),
        make_engine("general_shift", shots=200, rng=0),
        reps=[1],
        steps=40,
        batch=1,
        rng=np.random.default_rng(0),
        schedule=Schedule(learning_rate=0.05, instances=1),
    )
    assert np.mean(report.losses[-5:]) < np.mean(report.losses[:5]) - 0.05


# What is recorded


def test_an_artifact_says_what_noise_it_was_trained_under(tmp_path: Path) -> None:
    meta = MetaInitializer(model(), make_engine("spsa", shots=30, noise="fake_fez", rng=0))
    report = meta.train(MaxCut(sizes=[4]), reps=1, steps=2, batch=2, rng=0, schedule=Schedule(instances=3))
    meta.save(tmp_path / "noisy")
    stored = artifact.read(tmp_path / "noisy")
    assert stored.training["engine"] == {
        "name": "spsa",
        "step": 0.1,
        "directions": 1,
        "shots": 30,
        "estimator": "ShotEstimator",
        "noise": "fake_fez",
        "shots_spent": report.shots,
    }
    assert report.shots == 30 * 2 * 2 * 2 * 3  # steps, proposals, instances, circuits
    assert noise_of(stored.training) == "30 shots a circuit under the noise of fake_fez"
    assert "Trained on 30 shots a circuit under the noise of fake_fez" in limits(stored)[1]


def test_an_artifact_of_exact_values_says_so_and_one_that_does_not_say_was_exact(tmp_path: Path) -> None:
    meta = MetaInitializer(model())
    meta.train(MaxCut(sizes=[4]), reps=1, steps=1, batch=1, rng=0, schedule=Schedule(instances=1))
    assert meta.provenance["engine"]["name"] == "statevector"
    assert meta.provenance["engine"]["shots_spent"] == 0
    assert noise_of(meta.provenance) == noise_of({}) == "exact expectation values"
    assert noise_of({"engine": {"name": "parameter_shift", "shots": None, "shots_spent": 9}}).startswith("sampled")


def test_an_engine_of_somebody_else_is_described_by_what_it_shows() -> None:
    class Theirs:
        order = 1

        def __init__(self) -> None:
            self.depth, self.label, self._hidden, self.rng = 3, "x", 4, np.random.default_rng(0)

    theirs: Any = Theirs()
    assert describe(theirs) == {"name": "Theirs", "depth": 3, "label": "x"}
    assert generators(theirs) == [theirs.rng]
    aer = ParameterShift(AerEstimator(), shots=10)
    assert describe(aer) == {"name": "parameter_shift", "shots": 10, "estimator": "EstimatorV2"}
    assert generators(aer) == generators(Statevector()) == []
    assert len(generators(make_engine("spsa", shots=1, rng=0))) == 2


# Engines by name


@pytest.mark.parametrize("name", NOISY)
def test_engines_are_made_exact_or_with_shots(name: str) -> None:
    task = Task.qaoa(MaxCut.from_edges([(0, 1), (1, 2), (0, 2, 2.0)]).operator, reps=1)
    points = torch.tensor([[0.4, 0.6]], dtype=torch.float64)
    exact = Statevector().expectation([task], points).item()
    assert make_engine(name).expectation([task], points).item() == pytest.approx(exact)
    sampled = [make_engine(name, shots=400, rng=seed).expectation([task], points).item() for seed in (1, 1, 2)]
    assert sampled[0] == sampled[1] != sampled[2]
    assert sampled[0] == pytest.approx(exact, abs=0.5)


def test_the_exact_engine_is_the_one_that_training_uses_anyway() -> None:
    engine = make_engine("statevector")
    assert isinstance(engine, Statevector)
    assert engine.precision == "single"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("statevector", {"shots": 10}),
            r"asks an estimator, but 'statevector' came with shots=10.*parameter_shift, spsa",
        ),
        (("statevector", {"noise": "fake_fez"}), "asks an estimator, but 'statevector' came with shots=None, noise="),
        (("sampling", {}), "trains is needed, but 'sampling' came"),
        (("spsa", {"noise": "fake_fez"}), "Noise needs a number of shots"),
        (("spsa", {"shots": 0}), "positive integer"),
        (("spsa", {"shots": 1, "noise": "fake_nowhere"}), "'fake_nowhere' came"),
        (("nonsense", {}), "There is no plugin 'nonsense' among the engines: choose one of"),
    ],
)
def test_what_cannot_be_made_is_refused_with_advice(arguments: tuple[str, dict[str, Any]], message: str) -> None:
    name, settings = arguments
    with pytest.raises(ValueError, match=message):
        make_engine(name, **settings)


def test_an_engine_of_another_package_is_made_by_the_same_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain:
        order = 1

    load = plugins.load
    monkeypatch.setattr(plugins, "load", lambda kind, name: Plain if name == "plain" else load(kind, name))
    made: Any = make_engine("plain")
    assert isinstance(made, Plain)
