"""The pieces of the reproduction of Lin et al. 2025 that run in processes of their own: data, training, tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qiskit_metainit import plugins
from qiskit_metainit.alignment import align, align_cloud
from qiskit_metainit.comparison import Protocol
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.epochs import Schedule, train_in_epochs
from qiskit_metainit.evaluation import compare
from qiskit_metainit.model import Model
from qiskit_metainit.problem import Problem, diagonal_values
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.reaction import Reaction
from qiskit_metainit.recurrent import RecurrentModel
from qiskit_metainit.reproduction import weights_of, with_weights
from qiskit_metainit.rollout import normalised_cost, rollout
from qiskit_metainit.task import Task
from qiskit_metainit.training import Schedule as BatchedSchedule
from qiskit_metainit.training import train
from qiskit_metainit.two_phase import READ_AT, GradientDescent, best_point, fine_tune, iterations

Array = NDArray[np.float64]
Report = Callable[[int, int], None]

MODELS = ("qk_lstm", "lstm", "qlstm", "qfwp")
TRAINING_SIZES = (6, 7, 8, 9)
LATER = (10, 20, 30)
"""Proposals after which the models beyond the published form are looked at, though trained for ten."""
_SHIFT = 1e-9  # of the costs, to see how sensitive the answers are to them
VALIDATION = (10, (3, 4, 5, 6, 7))  # nodes, k of each graph; the paper does not say which
_TRAINING, _VALIDATION, _TESTING, _WEIGHTS, _RANDOM, _BEYOND, _BOOTSTRAP = range(7)  # streams of the seed


@dataclass(frozen=True)
class Data:
    """The graphs of the experiment: Erdos-Renyi, edge probability k/n, k = 3..n-1, disconnected ones kept."""

    seed: int
    """Of everything."""
    per_pair: int
    """Training graphs of each (n, k); 56 in the paper."""
    per_size: int
    """Test graphs of each n at least, the same number for every k."""

    def training(self) -> list[Task]:
        """Return the training tasks in the order of the updates: by n, then by k."""
        pairs = [(n, k) for n in TRAINING_SIZES for k in range(3, n)]
        return _tasks(_draw(pairs, self.per_pair, np.random.default_rng([self.seed, _TRAINING])))

    def validation(self) -> list[Task]:
        """Return the validation tasks."""
        size, degrees = VALIDATION
        return _tasks(_draw([(size, k) for k in degrees], 1, np.random.default_rng([self.seed, _VALIDATION])))

    def testing(self, size: int) -> list[Task]:
        """Return the test tasks of one size."""
        pairs = [(size, k) for k in range(3, size)]
        copies = -(-self.per_size // len(pairs))
        return _tasks(_draw(pairs, copies, np.random.default_rng([self.seed, _TESTING, size])))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one of the four models is trained in batches, with what keeps it from being a constant."""

    settings: Mapping[str, Any]
    """Of the model."""
    reps: int = 1
    """QAOA layers p."""
    loss: str = "weighted_sum"
    """Meta-loss, of normalised costs."""
    steps: int = 788
    """Gradient steps: 50 epochs of 1008 graphs."""
    batch: int = 64
    """Graphs a step."""
    learning_rate: float = 1e-2
    """Adam's at the start."""


# Not increments: they drift on graphs larger than any trained on, and on proposals later than any trained for.
_LEVERS = {"conditioned": True, "start": "sk_infinity"}

RECIPES: Mapping[str, Recipe] = {
    "qk_lstm": Recipe(settings={**_LEVERS, "references": 4}),
    "lstm": Recipe(settings={**_LEVERS, "hidden": 16}),
    "qlstm": Recipe(settings=_LEVERS),
    "qfwp": Recipe(settings=_LEVERS),
}
"""How the four models are trained when they are not bound to the published form."""

DEEPER: Mapping[str, Recipe] = {
    f"p = {reps}": Recipe(
        settings={**_LEVERS, "num_parameters": 2 * reps, "hidden": 32},
        reps=reps,
        loss="final",
        steps=1576,
        learning_rate=3e-3,
    )
    for reps in (2, 3)
}
"""How the LSTM is trained for deeper circuits."""
DEEPER_SIZES = (12, 14)


def train_published(
    name: str, data: Data, seeds: int, schedule: Schedule, checkpoint: Path, report: Report
) -> dict[str, Any]:
    """Train seeds of one published model as published, and return histories and weights as JSON values."""
    models = first_models(name, data.seed, seeds)
    before = [torch.nn.utils.parameters_to_vector(model.sequence_parameters()).detach() for model in models]
    reports = train_in_epochs(
        models,
        data.training(),
        data.validation(),
        Statevector(),
        schedule=schedule,
        checkpoint=checkpoint,
        progress=report,
    )
    after = [torch.nn.utils.parameters_to_vector(model.sequence_parameters()).detach() for model in models]
    return {
        "reports": [vars(item) for item in reports],
        "moved": [float((b - a).abs().max()) for a, b in zip(before, after, strict=True)],
        "weights": [weights_of(model) for model in models],
    }


def train_beyond(
    name: str, recipe: Recipe, data: Data, number: int, checkpoint: Path, report: Report
) -> dict[str, Any]:
    """Train one seed of a model by a recipe, and return losses, seconds and weights as JSON values."""
    model = seeded(name, dict(recipe.settings), [data.seed, _BEYOND, number])
    done = train(
        model,
        MaxCut(sizes=TRAINING_SIZES),
        Statevector(precision="single"),
        reps=[recipe.reps],
        loss=recipe.loss,
        steps=recipe.steps,
        batch=recipe.batch,
        rng=np.random.default_rng([data.seed, _BEYOND, number]),
        schedule=BatchedSchedule(learning_rate=recipe.learning_rate),
        checkpoint=checkpoint,
        progress=lambda step, _: report(step + 1, recipe.steps),
    )
    return {
        "settings": dict(model.settings),
        "seconds": round(done.seconds, 1),
        "circuits": done.spent.circuits,
        "losses": [round(loss, 6) for loss in done.losses],
        "weights": weights_of(model),
    }


def constant_of_training(data: Data, report: Report) -> dict[str, Any]:
    """Return the point of the least mean energy over the training graphs, the baseline without a model."""
    point = best_point(Statevector(), data.training())
    report(1, 1)
    return {"point": point.tolist()}


def test_size(
    size: int,
    data: Data,
    published: Mapping[str, Sequence[Mapping[str, Any]]],
    beyond: Mapping[str, Sequence[Mapping[str, Any]]],
    constant: Sequence[float],
    report: Report,
) -> dict[str, Any]:
    """Return what Phase I and Phase II give on the test graphs of one size, as JSON values.

    Args:
        size: nodes.
        data: where the graphs come from.
        published: by model, the weights of its seeds.
        beyond: by model, what ``train_beyond`` returned for its seeds.
        constant: the point that needs no model.
        report: called with (graphs done, graphs).
    """
    engine = Statevector()
    tasks = data.testing(size)
    lowest = np.array([diagonal_values(task.hamiltonian).min() for task in tasks])  # minus the largest cut
    optima = np.stack([best_point(engine, [task]) for task in tasks])
    seeds = len(next(iter(published.values())))
    draws = np.random.default_rng([data.seed, _RANDOM, size]).random((seeds, len(tasks), 2))
    starts = {
        "random": _Start.at(torch.as_tensor(draws)),
        "constant": _Start.at(torch.tensor([[list(constant)] * len(tasks)], dtype=torch.float64)),
        "optimum": _Start.at(torch.as_tensor(optima)[None]),
    }
    untrained, amplifies = {}, {}
    for name, weights in published.items():
        first = first_models(name, data.seed, seeds)
        energies = torch.stack([_Start.of([model], engine, tasks).costs[-1, 0] for model in first]).numpy()
        untrained[name] = (energies / lowest).mean(axis=1).round(6).tolist()
        models = [with_weights(model, own) for model, own in zip(first, weights, strict=True)]
        starts[name] = _Start.of(models, engine, tasks)
        changed = _Start.of(models, engine, tasks, shift=_SHIFT)
        amplifies[name] = ((changed.points - starts[name].points).norm(dim=2).median() / _SHIFT).item()
    later = {}
    for name, trained in beyond.items():
        starts[f"beyond {name}"] = _Start.of([rebuilt(name, own) for own in trained], engine, tasks)
        longer = [rebuilt(name, own, queries=max(LATER) - 1) for own in trained]
        path = _Start.of(longer, engine, tasks).costs.numpy() / lowest
        later[name] = [float(path[step - 1].mean()) for step in LATER]
    points = torch.cat([start.points for start in starts.values()])  # (rows, I, 2)
    curves = torch.zeros(*points.shape[:2], GradientDescent().steps, dtype=torch.float64)
    for column, task in enumerate(tasks):
        curves[:, column] = fine_tune(engine, [task] * len(points), points[:, column], GradientDescent())
        report(column + 1, len(tasks))
    ratios = curves.numpy() / lowest[:, None]
    rng = np.random.default_rng([data.seed, _BOOTSTRAP, size])
    shares = rng.multinomial(len(tasks), np.full(len(tasks), 1 / len(tasks)), size=1000) / len(tasks)
    content, row = {}, 0
    for name, start in starts.items():
        own = ratios[row : row + len(start.points)]
        row += len(start.points)
        content[name] = _summary(start, own, lowest, shares, tasks, optima)
    return {
        "graphs": len(tasks),
        "edges": [round(2 * task.scale) for task in tasks],
        "untrained": untrained,
        "amplifies": amplifies,
        "later": later,
        "starts": content,
    }


@dataclass(frozen=True)
class _Start:
    """S starts of the descent on I graphs."""

    points: Tensor
    """(S, I, 2) radians."""
    costs: Tensor
    """(T, S, I) energies of the T proposals that led there; T = 0 without Phase I."""

    @classmethod
    def at(cls, points: Tensor) -> _Start:
        return cls(points, torch.zeros(0, *points.shape[:2], dtype=torch.float64))

    @classmethod
    def of(cls, models: Sequence[Model], engine: Statevector, tasks: Sequence[Task], *, shift: float = 0.0) -> _Start:
        """Run models; the costs they see may be shifted by a little."""
        cost, known = normalised_cost(engine, tasks), [task.features for task in tasks]
        with torch.no_grad():
            paths = [rollout(model, known, lambda at: cost(at) + shift, measure_answer=True) for model in models]
        scales = torch.tensor([task.scale for task in tasks], dtype=torch.float64)
        offsets = torch.tensor([task.offset for task in tasks], dtype=torch.float64)
        costs = torch.stack([path.costs for path in paths], dim=1) * scales + offsets
        return cls(torch.stack([path.answer for path in paths]), costs)


def _summary(
    start: _Start, ratios: Array, lowest: Array, shares: Array, tasks: Sequence[Task], optima: Array
) -> dict[str, Any]:
    """Return what the page needs of S starts with (S, I, T) approximation ratios along their descents."""
    proposals = len(start.costs)
    known = [task.features for task in tasks]
    counts = iterations(1 - ratios.mean(axis=1), proposals)
    resampled = np.stack([iterations(1 - shares @ own, proposals) for own in ratios]).mean(axis=0)
    reactions = []
    for points in start.points.numpy():
        proposed = align(known, points)  # unit weights: natural units are radians
        reactions.append(Reaction(proposed, align_cloud(known, optima, proposed.mean(axis=0))))
    return {
        "proposals": proposals,
        "phase one": ratios[:, :, 0].round(6).tolist(),
        "phase two": ratios[:, :, READ_AT].round(6).tolist(),
        "end": ratios[:, :, -1].mean(axis=1).round(6).tolist(),
        "iterations": counts.tolist(),
        "iterations interval": np.quantile(resampled, [0.025, 0.975]).tolist(),
        "error in phase one": (1 - start.costs.numpy() / lowest).mean(axis=(1, 2)).round(6).tolist(),
        "error in phase two": (1 - ratios).mean(axis=(0, 1)).round(6).tolist(),
        "mean point": start.points.mean(dim=1).numpy().round(6).tolist(),
        "spread": [reaction.spread for reaction in reactions],
        "spread of optima": reactions[0].spread_of_optima,
        "follows": [reaction.explained for reaction in reactions],
    }


def test_deeper(reps: int, data: Data, trained: Sequence[Mapping[str, Any]], report: Report) -> dict[str, Any]:
    """Return the comparison of the LSTM's seeds with the formula at a depth, by nodes, as JSON values."""
    models: dict[str, Model] = {f"seed {number}": rebuilt("lstm", own) for number, own in enumerate(trained)}
    models["sk_infinity"] = plugins.load("models", "sk_infinity")()
    rng = np.random.default_rng([data.seed, _TESTING, reps, 0])
    content = {}
    for place, size in enumerate(DEEPER_SIZES):
        problems = [MaxCut(sizes=[size]).sample(rng) for _ in range(max(2, data.per_size))]
        protocol = Protocol(reps=reps, random_starts=5)
        content[str(size)] = compare(models, problems, protocol, evaluations=False).as_json()
        report(place + 1, len(DEEPER_SIZES))
    return content


def first_models(name: str, seed: int, seeds: int) -> list[RecurrentModel]:
    """Return the published models with their first weights, one a seed."""
    return [seeded(name, {"as_published": True}, [seed, _WEIGHTS, number]) for number in range(seeds)]


def seeded(name: str, settings: dict[str, Any], key: Sequence[int]) -> RecurrentModel:
    """Return a model with weights drawn from a seed of its own, torch's global generator left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(np.random.SeedSequence(list(key)).generate_state(1)[0]))
        model: RecurrentModel = plugins.load("models", name)(**settings)
    return model


def rebuilt(name: str, trained: Mapping[str, Any], **settings: Any) -> Model:
    """Return the model that ``train_beyond`` trained, with other settings where they are given."""
    model: Model = plugins.load("models", name)(**{**trained["settings"], **settings})
    return with_weights(model, trained["weights"])


def _draw(pairs: Sequence[tuple[int, int]], copies: int, rng: np.random.Generator) -> list[Problem]:
    return [MaxCut(sizes=[n], probability=k / n).sample(rng) for n, k in pairs for _ in range(copies)]


def _tasks(problems: Sequence[Problem]) -> list[Task]:
    return [Task.qaoa(problem.operator, reps=1) for problem in problems]
