"""What the command line does, as functions: make an engine, train an artifact, line up initializers to compare."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from qiskit.primitives import BaseEstimatorV2, StatevectorEstimator

from qiskit_metainit import artifact, plugins
from qiskit_metainit.artifact import Artifact
from qiskit_metainit.backends import Rng, fake_backend
from qiskit_metainit.descent import descend
from qiskit_metainit.engine import Engine
from qiskit_metainit.engine_record import noise_of
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.features import Features, of_qaoa
from qiskit_metainit.initializer import FORMULAS, MetaInitializer, named
from qiskit_metainit.model import Model
from qiskit_metainit.models.analytic_p1 import AnalyticP1
from qiskit_metainit.models.constant import Constant
from qiskit_metainit.models.degree_rule import DegreeRule
from qiskit_metainit.models.fixed_angles import FixedAngles
from qiskit_metainit.models.graph_correction import GraphCorrection
from qiskit_metainit.models.interpolation import Interpolation
from qiskit_metainit.models.linear_ramp import LinearRamp
from qiskit_metainit.models.portfolio import Portfolio
from qiskit_metainit.models.random_angles import RandomAngles
from qiskit_metainit.models.random_point import RandomPoint
from qiskit_metainit.models.same_angle import SameAngle
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.models.tqa import Tqa
from qiskit_metainit.problem import Family, Problem
from qiskit_metainit.provenance import command
from qiskit_metainit.rating import answers
from qiskit_metainit.shot_noise import device_estimator, shot_estimator
from qiskit_metainit.task import Task
from qiskit_metainit.training import Report, Schedule

BASELINES: Mapping[str, Callable[[], Model]] = {
    "constant": Constant,
    "constant_rescaled": partial(Constant, rescaled=True),
    "linear_ramp": LinearRamp,
    "tqa": Tqa,
    "degree_rule": DegreeRule,
    "fixed_angles": FixedAngles,
    "sk_infinity": SkInfinity,
}
"""The formulas every comparison includes where they serve its instances, besides random starts. The strongest of them
is what headroom is counted from."""

NAMED_INPUTS: Mapping[str, Callable[[], Model]] = {"analytic_p1": AnalyticP1}
"""What comparisons include as well, in a row of its own: no circuit is evaluated, but the instance itself is optimised
on classically, so it is not among the formulas that headroom is counted from."""

_LIMITS = (
    "Sizes beyond those trained on, and up to twice the deepest of several depths, are extrapolation: served, and said "
    "so in the proposal.",
    "The best local optimum found is a lower bound of the landscape's optimum.",
)


def limits(stored: Artifact) -> list[str]:
    """Return the sentences that an artifact's card ends with."""
    if stored.coverage is not None and stored.coverage.ansatz != "qaoa":
        return [
            "Not covered are circuits whose parameters it does not know: it says so, and the best formula for the "
            "circuit stands in where there is one.",
            f"Trained on {noise_of(stored.training)} and judged on exact expectation values.",
            "Sizes beyond those trained on are extrapolation: served, and said so in the proposal.",
        ]
    order, fields = (stored.coverage.order, stored.coverage.fields) if stored.coverage else (2, False)
    uncovered = [*([] if fields else ["linear terms"]), f"terms on more than {order} qubits", "other ansatz circuits"]
    return [
        f"Not covered are {', '.join(uncovered)}: a formula stands in where there is one.",
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
    reps: Sequence[int] | None,
    loss: str,
    steps: int,
    batch: int,
    seed: int,
    schedule: Schedule,
    folder: Path,
    start_from: str | None = None,
    engine: Engine | None = None,
    progress: Callable[[int, float], None],
) -> tuple[MetaInitializer, Report]:
    """Train a model from a seed and save it with the command that did it.

    Args:
        model: name of a model with weights.
        settings: its keyword settings.
        family: of the training instances.
        reps: depths of QAOA; None for 1, or for a family whose problems bring an ansatz.
        loss: name of a meta-loss.
        steps: gradient steps.
        batch: instances a step.
        seed: of the weights and of the instances.
        schedule: of the optimiser.
        folder: for the artifact; a checkpoint beside the weights is resumed and removed at the end.
        start_from: a shipped name or an artifact's folder, whose weights the model begins with.
        engine: answers with costs and gradients; None for exact ones.
        progress: called with (step, loss).

    Returns:
        The initializer and the training's report.
    """
    checkpoint = folder / "checkpoint.pt"
    if not checkpoint.exists():
        _check_new(folder)
    cls = plugins.load("models", model)
    try:
        with torch.random.fork_rng(devices=[]):  # torch draws initial weights from its global state only
            torch.manual_seed(seed)
            network: Model = cls(**settings)
    except TypeError as error:
        raise ValueError(f"The model {model!r} does not take these settings: {error}.") from error
    if start_from is not None:
        adopt(network, MetaInitializer.load(start_from).model, start_from)
    folder.mkdir(parents=True, exist_ok=True)  # now, not after hours of training
    if reps is None and family.sample(np.random.default_rng(seed)).ansatz is None:
        reps = [1]
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


def join_artifacts(names: Sequence[str], folder: Path) -> MetaInitializer:
    """Make one ``Portfolio`` of several trained ``GraphCorrection`` artifacts, and save it.

    Args:
        names: shipped names or artifacts' folders, at least two.
        folder: for the artifact.

    Returns:
        The initializer, which covers what all of them cover.

    Raises:
        ValueError: if there are too few, they are of different kinds, or there is nothing that all of them cover.
    """
    _check_new(folder)
    parts = [artifact.read(name) for name in names]
    kinds = {f"{type(part.model).__name__} ({dict(part.model.settings)})" for part in parts}
    covered = [part.coverage for part in parts if part.coverage is not None]
    if len(kinds) != 1 or len(covered) < len(parts) or not all(type(part.model) is GraphCorrection for part in parts):
        raise ValueError(
            "Trained artifacts of graph_correction with the same settings are needed, such as those of several seeds, "
            f"but these came: {', '.join(sorted(kinds)) or 'none'}."
        )
    model = Portfolio(members=len(parts), **parts[0].model.settings)
    for own, part in zip(model.models, parts, strict=True):
        own.load_state_dict(part.model.state_dict())
    records = [part.training for part in parts]
    shared = {key: value for key, value in records[0].items() if all(each.get(key) == value for each in records)}
    members = [{key: value for key, value in each.items() if key not in shared} for each in records]
    record = {**shared, "members": members, "command": command()}
    joined = artifact.Artifact(model.eval(), folder.name, artifact.common(covered), record)
    artifact.write(joined, folder)
    return MetaInitializer.load(folder)


def _check_new(folder: Path) -> None:
    if (folder / "manifest.json").exists():
        raise ValueError(
            f"A folder for a new artifact is needed, but {folder} holds a finished one. Choose another, or remove it."
        )


def adopt(model: Model, trained: Model, name: str) -> None:
    """Give a model the weights of a trained one, of its own kind or of the kind of a part of it.

    Raises:
        ValueError: if the model has no room for any of the weights.

    >>> from qiskit_metainit.models.graph_correction import GraphCorrection
    >>> from qiskit_metainit.models.refinement import Refinement
    >>> adopt(Refinement(queries=2, width=8), GraphCorrection(width=8), "mine")
    """
    weights, own = trained.state_dict(), model.state_dict()
    places = {key: [place for place in own if place == key or place.partition(".")[2] == key] for key in weights}
    lost = [key for key, found in places.items() if not found or own[found[0]].shape != weights[key].shape]
    if lost or not weights:
        kinds = [f"{type(each).__name__} ({dict(each.settings)})" for each in (model, trained)]
        raise ValueError(
            f"To start from {name!r} a model with room for its weights is needed, but {kinds[0]} has none for "
            f"{', '.join(lost[:3]) or 'it has no weights'}. Train a model like it: {kinds[1]}."
        )
    model.load_state_dict({**own, **{place: weights[key] for key, found in places.items() for place in found[:1]}})


def line_up(
    initializers: Sequence[str], problems: Sequence[Problem], depths: Sequence[int]
) -> tuple[dict[int, dict[str, Model]], list[str]]:
    """Return what there is to compare on some instances: initializers, and the formulas beside them.

    Args:
        initializers: names or folders of artifacts, or names of models without weights.
        problems: the instances.
        depths: QAOA layers p.

    Returns:
        The models by name at every depth, and sentences on which initializer was left out where.

    Raises:
        ValueError: if an initializer is unknown, or does not cover the instances at any of the depths.
    """
    known = {name: named(name) for name in initializers}
    cells: dict[int, dict[str, Model]] = {}
    reasons: dict[str, dict[int, str]] = {name: {} for name in known}
    for depth in depths:
        tasks = [of_qaoa(problem.operator, depth) for problem in problems]
        for name, meta in known.items():
            if found := [reason for task in tasks if (reason := meta.outside(task)) is not None]:
                reasons[name][depth] = found[0]
        cells[depth] = _with_formulas({name: known[name] for name in known if depth not in reasons[name]}, tasks)
    for name, where in reasons.items():
        if len(where) == len(cells):
            raise ValueError(
                f"{name!r} does not cover these instances: {next(iter(where.values()))}. Leave it out, or change them."
            )
    left = [f"{name} is left out at reps {depth}: {why}." for name in known for depth, why in reasons[name].items()]
    return cells, left


def _with_formulas(initializers: Mapping[str, MetaInitializer], tasks: Sequence[Features]) -> dict[str, Model]:
    formulas = {**BASELINES, **NAMED_INPUTS}
    models: dict[str, Model] = {}
    for name, meta in initializers.items():
        short = Path(name).name
        clash = short in models or short == "random" or (short in formulas and meta.coverage is not None)
        models[name if clash else short] = meta.model
    for name, make in formulas.items():
        formula = make()
        if all(formula.unsupported(task) is None for task in tasks):  # some are for p = 1 only
            models[name] = formula
    return models


ANYWHERE: Mapping[str, Callable[[], Model]] = {
    "zeros": SameAngle,
    "pi": partial(SameAngle, value=math.pi),
    "reduced_domain": RandomAngles,
    "gaussian": partial(RandomAngles, distribution="normal"),
    "random": RandomPoint,
}
"""Starting points that any circuit has; those of a kind of circuit are found among the models."""


def line_up_vqe(
    initializers: Sequence[str], problems: Sequence[Problem], others: Sequence[Problem] = ()
) -> tuple[dict[str, Model], list[str], list[str]]:
    """Return what there is to compare on problems that bring an ansatz: initializers, and every baseline that serves.

    Args:
        initializers: names or folders of artifacts, or names of models without weights.
        problems: the instances.
        others: further instances, whose optima are searched and interpolated: the rows "spline" and "nearest".

    Returns:
        The models by name, and which of the names are those of baselines and of initializers.

    Raises:
        ValueError: if an initializer is unknown, or does not cover the instances.
    """
    known = [Task.of(problem).features for problem in problems]
    models: dict[str, Model] = {}
    for name in initializers:
        meta = named(name)
        if reasons := [reason for each in known if (reason := meta.outside(each)) is not None]:
            raise ValueError(f"{name!r} does not cover these instances: {reasons[0]}. Leave it out, or change them.")
        short = Path(name).name
        models[name if short in models else short] = meta.model
    own = list(models)
    interpolated = _interpolations(others) if others else {}
    for name, make in {**ANYWHERE, **_formulas_of_circuits(), **interpolated}.items():
        model = make()
        if name not in models and all(model.unsupported(each) is None for each in known):
            models[name] = model
    return models, [name for name in models if name not in own], own


def _interpolations(problems: Sequence[Problem]) -> dict[str, Callable[[], Model]]:
    """Return interpolations of the optima of some instances, searched from the best formula for their circuit."""
    tasks, engine = [Task.of(problem) for problem in problems], Statevector()
    formulas = [make() for make in FORMULAS]
    optima = []
    for task in tasks:
        fit = next((model for model in formulas if model.unsupported(task.features) is None), SameAngle())
        optima.append(descend(engine, task, answers(fit, [task], engine)[0])[1])
    if len({len(optimum) for optimum in optima}) > 1:
        raise ValueError("Instances of one circuit are needed to interpolate their optima, but these have several.")
    return {
        "spline": lambda: Interpolation.fit(problems, np.array(optima)),
        "nearest": lambda: Interpolation.fit(problems, np.array(optima), kind="nearest"),
    }


def _formulas_of_circuits() -> dict[str, Callable[[], Model]]:
    """Return the models without weights and queries that are for circuits of some kind."""
    found: dict[str, Callable[[], Model]] = {}
    for name in plugins.names("models"):
        make = plugins.load("models", name)
        model = make()
        if model.probes() and not model.queries and not any(True for _ in model.parameters()):
            found[name] = make
    return found


def seconds_of(name: str, problems: Sequence[Problem], depth: int) -> float:
    """Return the mean classical seconds that an initializer takes for an instance."""
    proposals = named(name).propose([problem.operator for problem in problems], reps=depth)
    return sum(proposal.seconds for proposal in proposals) / len(proposals)
