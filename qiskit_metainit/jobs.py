"""What the command line does, as functions: make an engine, train an artifact, compare initializers on a family."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from qiskit.primitives import BaseEstimatorV2, StatevectorEstimator

from qiskit_metainit import plugins
from qiskit_metainit.artifact import Artifact
from qiskit_metainit.backends import Rng, fake_backend
from qiskit_metainit.engine import Engine
from qiskit_metainit.engine_record import noise_of
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.evaluation import Comparison, Protocol, compare
from qiskit_metainit.features import of_qaoa
from qiskit_metainit.initializer import MetaInitializer, named
from qiskit_metainit.model import Model
from qiskit_metainit.problem import Family
from qiskit_metainit.provenance import command
from qiskit_metainit.shot_noise import device_estimator, shot_estimator
from qiskit_metainit.training import Report, Schedule

BASELINES = ("constant", "linear_ramp", "tqa", "sk_infinity")
"""The formulas every comparison includes, besides random starts."""

_LIMITS = (
    "Sizes beyond those trained on are extrapolation: served, and said so in the proposal.",
    "Linear terms, terms on more than two qubits and other ansatz circuits are not covered: a formula stands in.",
    "The best local optimum found is a lower bound of the landscape's optimum.",
)


def limits(stored: Artifact) -> list[str]:
    """Return the sentences that an artifact's card ends with."""
    return [
        f"Trained on {noise_of(stored.training)} and judged on exact expectation values: under shot noise and device "
        "noise the energies are blurred, and with them the lead of a good start.",
        *_LIMITS,
    ]


def make_engine(name: str, *, shots: int | None = None, noise: str | None = None, rng: Rng = None) -> Engine:
    """Return an engine by its name, exact or as a device would answer.

    Args:
        name: "statevector", or one that asks an estimator: "parameter_shift", "general_shift", "spsa".
        shots: of every circuit evaluation, sampled counts; None for exact expectation values.
        noise: name of a fake backend, such as "fake_fez", whose noise the shots have.
        rng: draws the shot noise, fresh at every call, and an engine's own random choices.

    Raises:
        ValueError: if there is no such engine, it takes no shots, or there is noise without shots.

    >>> make_engine("spsa", shots=100, rng=0).order
    1
    """
    cls = plugins.load("engines", name)
    settings = inspect.signature(cls).parameters
    if "estimator" not in settings:
        if shots is not None or noise is not None:
            raise ValueError(
                f"Shots and noise need an engine that asks an estimator, but {name!r} came with {shots=}, {noise=}. "
                f"Choose one of {', '.join(_on_estimators())}, or leave shots and noise out."
            )
        if any(setting.default is setting.empty for setting in settings.values()):
            raise ValueError(
                f"An engine that trains is needed, but {name!r} came, which asks another kind of primitive. Choose one "
                f"of {', '.join(['statevector', *_on_estimators()])}."
            )
        exact: Engine = Statevector(precision="single") if cls is Statevector else cls()  # as MetaInitializer.train
        return exact
    if noise is not None and shots is None:
        raise ValueError(f"Noise needs a number of shots, but {noise=} came without. Add shots, such as 1000.")
    ours, noises = np.random.default_rng(rng).spawn(2)
    own: dict[str, Any] = {"rng": ours} if "rng" in settings else {}
    estimator: BaseEstimatorV2 = StatevectorEstimator()
    if shots is not None:
        estimator = device_estimator(fake_backend(noise), noises) if noise else shot_estimator(None, noises)
        own |= {"shots": shots, "pass_manager": estimator.pass_manager}
    engine: Engine = cls(estimator, **own)
    return engine


def _on_estimators() -> list[str]:
    classes = {name: plugins.load("engines", name) for name in plugins.names("engines")}
    return [name for name, cls in classes.items() if "estimator" in inspect.signature(cls).parameters]


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
    engine: Engine | None = None,
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
        engine: answers with costs and gradients; None for exact ones.
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
    folder.mkdir(parents=True, exist_ok=True)  # now, not after hours of training
    meta = MetaInitializer(network, engine)
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
