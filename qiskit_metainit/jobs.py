"""What the command line does, as functions: train an artifact, compare initializers on a family."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from qiskit_metainit import plugins
from qiskit_metainit.evaluation import Comparison, Protocol, compare
from qiskit_metainit.features import of_qaoa
from qiskit_metainit.initializer import MetaInitializer, named
from qiskit_metainit.model import Model
from qiskit_metainit.problem import Family
from qiskit_metainit.provenance import command
from qiskit_metainit.training import Report, Schedule

BASELINES = ("constant", "linear_ramp", "tqa", "sk_infinity")
"""The formulas every comparison includes, besides random starts."""

LIMITS = (
    "Trained and judged on exact expectation values; shot noise and device noise only blur the energies that it is "
    "judged by, but nothing here was trained under them.",
    "Sizes beyond those trained on are extrapolation: served, and said so in the proposal.",
    "Linear terms, terms on more than two qubits and other ansatz circuits are not covered: a formula stands in.",
    "The best local optimum found is a lower bound of the landscape's optimum.",
)
"""Said on every card."""


def train_artifact(
    model: str,
    settings: Mapping[str, Any],
    family: Family,
    *,
    reps: Sequence[int],
    loss: str,
    steps: int,
    batch: int,
    seed: int,
    schedule: Schedule,
    folder: Path,
    progress: Callable[[int, float], None],
) -> tuple[MetaInitializer, Report]:
    """Train a model from a seed and save it with the command that did it.

    Args:
        model: name of a model with weights.
        settings: its keyword settings.
        family: of the training instances.
        reps: depths.
        loss: name of a meta-loss.
        steps: gradient steps.
        batch: instances a step.
        seed: of the weights and of the instances.
        schedule: of the optimiser.
        folder: for the artifact; a checkpoint beside the weights is resumed and removed at the end.
        progress: called with (step, loss).

    Returns:
        The initializer and the training's report.
    """
    checkpoint = folder / "checkpoint.pt"
    if (folder / "manifest.json").exists() and not checkpoint.exists():
        raise ValueError(
            f"A folder for a new artifact is needed, but {folder} holds a finished one. Choose another, or remove it."
        )
    cls = plugins.load("models", model)
    try:
        with torch.random.fork_rng(devices=[]):  # torch draws initial weights from its global state only
            torch.manual_seed(seed)
            network: Model = cls(**settings)
    except TypeError as error:
        raise ValueError(f"The model {model!r} does not take these settings: {error}.") from error
    meta = MetaInitializer(network)
    report = meta.train(
        family,
        reps=reps,
        loss=loss,
        steps=steps,
        batch=batch,
        rng=seed,
        checkpoint=checkpoint,
        schedule=schedule,
        progress=progress,
    )
    meta.save(folder, command=command())
    checkpoint.unlink(missing_ok=True)
    return MetaInitializer.load(folder), report


def compare_on_family(
    initializers: Sequence[str],
    family: Family,
    protocol: Protocol,
    instances: int,
    seed: int,
    *,
    evaluations: bool,
    progress: Callable[[str, int, int], None],
) -> Comparison:
    """Compare initializers with the baselines on instances drawn from a seed.

    Args:
        initializers: names or folders of artifacts, or names of models without weights.
        family: of the instances.
        protocol: how to compare.
        instances: how many.
        seed: of the instances.
        evaluations: whether to optimise from every start.
        progress: called with (stage, done, of).

    Raises:
        ValueError: if an initializer is unknown or does not cover the instances.
    """
    rng = np.random.default_rng(seed)
    problems = [family.sample(rng) for _ in range(instances)]
    tasks = [of_qaoa(problem.operator, protocol.reps) for problem in problems]
    models: dict[str, Model] = {}
    for name in initializers:
        meta = named(name)
        reasons = [reason for task in tasks if (reason := meta.outside(task)) is not None]
        if reasons:
            raise ValueError(f"{name!r} does not cover these instances: {reasons[0]}. Leave it out, or change them.")
        short = Path(name).name
        clash = short in models or short == "random" or (short in BASELINES and meta.coverage is not None)
        models[name if clash else short] = meta.model
    for name in BASELINES:
        formula: Model = plugins.load("models", name)()
        if all(formula.unsupported(task) is None for task in tasks):  # not tabulated at every depth
            models[name] = formula
    return compare(models, problems, protocol, evaluations=evaluations, progress=progress)
