"""The pieces of the reproduction of Lee et al. 2025 that run in processes of their own: learning and adapting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray

from qiskit_metainit.adaptation import adapt
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.features import stack
from qiskit_metainit.models.q_maml import QMaml
from qiskit_metainit.problems.distribution import (
    Distribution,
    bhattacharyya,
    divergence,
    probabilities,
    target_probabilities,
    total_variation,
)
from qiskit_metainit.reproduction import weights_of, with_weights
from qiskit_metainit.reproductions._lee2025_setups import Setup, answers, learner, levels_of, problems, starts
from qiskit_metainit.task import Task
from qiskit_metainit.training import Schedule, train

Array = NDArray[np.float64]
Report = Callable[[int, int], None]

RATE = 1e-3
"""The paper's learning rate, of Adam in training and adaptation."""
_SHARED_RATE = 1e-2  # of a point trained by itself: at the paper's it would not get far in so many updates
_BATCHES, _DISTRIBUTIONS, _TESTS = range(10, 13)  # streams of the seed
_FLAT = 1e-9  # gradient norm, relative to the Hamiltonian's scale, from which on no step is worth running


def reference(setup: Setup, seed: int, report: Report) -> dict[str, Any]:
    """Return what the test tasks' energies are measured against, as JSON values."""
    found = problems(setup, seed)[1]
    levels = []
    for place, problem in enumerate(found):
        levels.append(levels_of(setup, problem))
        report(place + 1, len(found))
    return {
        "lowest": [level.lowest for level in levels],
        "unit": [level.unit for level in levels],
        "tasks": [
            {key: value for key, value in problem.hints.items() if isinstance(value, str | int | float)}
            for problem in found
        ],
        "parameters": int(cast("Any", found[0].ansatz).num_parameters),
        "terms": sorted({len(problem.operator) for problem in found}),
    }


def learn(setup: Setup, name: str, number: int, seed: int, report: Report) -> dict[str, Any]:
    """Train a learner as the paper does, and return losses, gradient norms and weights as JSON values.

    The energies of a batch are summed (eq. 2), in the Hamiltonians' own units; Adam at a constant rate. Losses and
    gradient norms (of the circuit's parameters) are means over an epoch.
    """
    training, testing = problems(setup, seed)
    tasks = [Task.of(problem) for problem in training]
    key = [seed, setup.size, number]
    model = learner(setup, name, [*tasks, *(Task.of(problem) for problem in testing)], key)
    model.prepare(lambda count: stack([task.features for task in tasks[:count]]))
    engine = engine_of(setup)
    optimizer = torch.optim.Adam(model.parameters(), lr=_SHARED_RATE if name == "constant" else RATE)
    rng = np.random.default_rng([*key, _BATCHES])
    losses, norms = [], []
    model.train()
    for epoch in range(setup.epochs):
        energies, slopes = [], []
        order = rng.permutation(len(tasks))
        for first in range(0, len(tasks), setup.batch):
            chosen = [tasks[place] for place in order[first : first + setup.batch]]
            points = model.begin(stack([task.features for task in chosen]))[0]
            points.retain_grad()
            values = engine.expectation(chosen, points)
            optimizer.zero_grad()
            values.sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            energies += values.tolist()
            slopes += cast("torch.Tensor", points.grad).norm(dim=1).tolist()
        losses.append(round(float(np.mean(energies)), 7))
        norms.append(round(float(np.mean(slopes)), 7))
        report(epoch + 1, setup.epochs)
    return {"losses": losses, "gradient norms": norms, "weights": weights_of(model.eval())}


def adapt_from(
    setup: Setup, name: str, seed: int, trained: Sequence[Mapping[str, Any]], report: Report
) -> dict[str, Any]:
    """Return the courses of Adam from one start at every learning rate, as JSON values.

    Args:
        setup: the tasks.
        name: of the start.
        seed: of the experiment.
        trained: what ``learn`` returned for each seed of a learner, nothing for other starts; the first is adapted.
        report: called with (steps, of).
    """
    training, testing = problems(setup, seed)
    tasks = [Task.of(problem) for problem in testing]
    if trained:
        every = [Task.of(problem) for problem in training] + tasks if name == "q_maml" else tasks
        shape = learner(setup, name, every, [0])
        proposed = [answers(with_weights(shape, piece["weights"]), tasks) for piece in trained]
    else:
        proposed = [starts(setup, tasks, testing, seed)[name]()]
    engine = engine_of(setup)
    with torch.no_grad():
        energies = [engine.expectation(tasks, torch.as_tensor(points)).tolist() for points in proposed]
    points, scale = proposed[0], np.array([task.scale for task in tasks])
    content: dict[str, Any] = {
        "energies": energies,
        "mean": float(points.mean()),
        "spread": float(points.std()),
        "between tasks": float(points.std(axis=0).mean()),
        "courses": {},
    }
    # Exactly, for the rounding of single precision is a gradient that Adam would follow at full length.
    exact = adapt(Statevector(device=engine.device), tasks, points, learning_rate=RATE, steps=1)
    content["stationary"] = bool((exact.gradient_norms[0] < _FLAT * scale).all())
    total = setup.steps + len(setup.rates) * setup.tuned_steps
    done = 0
    for rate in (RATE, *setup.rates):
        steps = setup.steps if rate == RATE else setup.tuned_steps
        if content["stationary"]:
            steps = 1  # there is nowhere to go
        run = adapt(
            engine,
            tasks,
            points,
            learning_rate=rate,
            steps=steps,
            progress=lambda step, _, before=done: report(before + step, total),  # type: ignore[misc]
        )
        done += steps
        content["courses"][f"{rate:g}"] = {
            "energies": run.energies.round(7).tolist(),
            "gradient norms": run.gradient_norms.mean(axis=1).round(6).tolist(),
        }
    return content


def load_distributions(number: int, size: int, steps: int, tests: int, seed: int, report: Report) -> list[list[float]]:
    """Train a perceptron with what this package offers; return total variation, divergence and coefficient of tests.

    Beyond the paper: more targets, a falling learning rate and a smooth activation; the network is Q-MAML's.
    """
    key = [seed, _DISTRIBUTIONS, size, number]
    family = Distribution(sizes=[size])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
        model = QMaml(
            vector="target",
            inputs=1 << size,
            num_parameters=size * (family.layers + 1),
            activation="silu",
        )
    train(
        model,
        family,
        Statevector(precision="single"),
        steps=steps,
        batch=32,
        rng=np.random.default_rng(key),
        schedule=Schedule(learning_rate=3e-3, instances=min(600, steps)),
        progress=lambda step, _: report(step + 1, steps),
    )
    draws = np.random.default_rng([seed, _TESTS, size])
    found = [family.sample(draws) for _ in range(tests)]
    rows = []
    for problem, point in zip(found, answers(model, [Task.of(problem) for problem in found]), strict=True):
        target, loaded = target_probabilities(problem.operator), probabilities(cast("Any", problem.ansatz), point)
        rows.append([total_variation(target, loaded), divergence(target, loaded), bhattacharyya(target, loaded)])
    return [[round(value, 6) for value in row] for row in rows]


def engine_of(setup: Setup) -> Statevector:
    """Return the exact engine, on a GPU if there is one and the state is large."""
    device = "cuda" if setup.size > 12 and torch.cuda.is_available() else "cpu"
    return Statevector(precision=cast("Literal['double', 'single']", setup.precision), device=device)
