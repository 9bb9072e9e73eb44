"""Meta-training: meta-losses, the loop, checkpoints."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from qiskit.quantum_info import SparsePauliOp
from torch import Tensor

from qiskit_metainit import checkpoints
from qiskit_metainit.ansatz import check_reps
from qiskit_metainit.budget import Budget
from qiskit_metainit.engine import Engine
from qiskit_metainit.engine_record import describe, generators, noise_settings
from qiskit_metainit.features import FeatureBatch, of_qaoa, stack
from qiskit_metainit.model import Model
from qiskit_metainit.problem import Family, Levels, Problem
from qiskit_metainit.rollout import normalised_cost, rollout
from qiskit_metainit.task import Task

MetaLoss = Callable[[Tensor], Tensor]
"""(T, B) costs of a rollout -> a number to minimise. They are normalised costs, or where problems tell the levels of
their energies (``problem.Levels``) excesses over the lowest one."""
_ROUNDING = 1e-10  # of an excess: the slope of its root stays finite


def final(costs: Float[Tensor, "T B"]) -> Float[Tensor, ""]:
    """Return the mean cost of the answer, ``E y_T``."""
    return costs[-1].mean()


def weighted_sum(costs: Float[Tensor, "T B"]) -> Float[Tensor, ""]:
    """Return ``E sum_t w_t y_t`` with w_t = 0.1 t (Lin et al. 2025, arXiv:2512.05058)."""
    weights = 0.1 * torch.arange(1, len(costs) + 1, dtype=costs.dtype)
    return (weights[:, None] * costs).sum(dim=0).mean()


def observed_improvement(costs: Float[Tensor, "T B"]) -> Float[Tensor, ""]:
    """Return ``E sum_t min(y_t - min_(j<t) y_j, 0)`` with y_0 = 0 (Verdon et al. 2019, arXiv:1907.05415)."""
    before = torch.cat([torch.zeros_like(costs[:1]), costs[:-1]]).cummin(dim=0).values
    return torch.clamp(costs - before, max=0.0).sum(dim=0).mean()


def cumulative_improvement(costs: Float[Tensor, "T B"]) -> Float[Tensor, ""]:
    """Return ``E sum_t min(y_1, .., y_t)``: every improvement counts for all the steps it lasts.

    Chen et al. 2025 (arXiv:2505.00561) sum the improvements along the trajectory without giving weights; a plain sum
    would telescope to the last one, so this is our reading: earlier is better. It does not compare with y_0 = 0, for a
    model whose first proposals all cost more would get no gradient.
    """
    return costs.cummin(dim=0).values.sum(dim=0).mean()


def root(costs: Float[Tensor, "T B"]) -> Float[Tensor, ""]:
    """Return ``E sign(y_T) sqrt(|y_T|)``, for excesses over the lowest energy known: small ones count as well."""
    return (torch.sign(costs[-1]) * torch.sqrt(costs[-1].abs() + _ROUNDING)).mean()


LOSSES: Mapping[str, MetaLoss] = {
    loss.__name__: loss for loss in (final, weighted_sum, observed_improvement, cumulative_improvement, root)
}
"""The meta-losses by name, as the command line and the artifacts spell them."""


@dataclass(frozen=True)
class Report:
    """What a training did."""

    losses: tuple[float, ...]
    """Meta-loss of every step, resumed ones included."""
    depths: tuple[int, ...]
    """Layers p of every step's instances (0 for an ansatz that problems bring): costs of different depths are not
    alike."""
    seconds: float
    """Wall-clock time of this call."""
    spent: Budget
    """What this call's engine spent."""
    qubits: tuple[int, int]
    """Smallest and largest instance trained on."""
    order: int
    """Most qubits in a term of any instance."""
    fields: bool
    """Whether any instance has one-qubit terms."""
    resumed_at: int = 0
    """Step at which a checkpoint was taken up, 0 for a fresh start."""
    engine: Mapping[str, Any] = field(default_factory=dict)
    """Name and settings of what answered, as JSON values: whether with shots, and under whose noise."""
    shots: int = 0
    """Shots of the whole training, resumed steps included; 0 for exact values."""


@dataclass(frozen=True)
class Schedule:
    """How the optimiser goes."""

    learning_rate: float = 3e-3
    """Adam's, falling to a hundredth along half a cosine."""
    clip: float = 1.0
    """Largest norm of a gradient step's gradient."""
    instances: int = 1008
    """Problems drawn from the family at the start (as many as in Lin et al. 2025), for every depth; batches are drawn
    from them."""
    checkpoint_every: int = 200
    """Steps between checkpoints; slow steps are saved every half minute in any case."""


def train(
    model: Model,
    family: Family,
    engine: Engine,
    *,
    reps: Sequence[int] = (),
    loss: MetaLoss | str = final,
    steps: int,
    batch: int,
    rng: np.random.Generator,
    schedule: Schedule | None = None,
    checkpoint: Path | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> Report:
    """Train a model in place on a family's landscapes, by the cost itself, without labels.

    Args:
        model: any model with weights.
        family: where the instances come from.
        engine: answers with costs and their gradients, exactly or with noise.
        reps: depths p of QAOA, one drawn a step; none for a family whose problems bring an ansatz.
        loss: a meta-loss, or its name in ``LOSSES``.
        steps: gradient steps in all, those before a resumption included.
        batch: B, instances a step; a step's instances have one size, so that they run as one batch.
        rng: draws instances, sizes, depths and batches.
        schedule: of the optimiser.
        checkpoint: a file. If it exists, training goes on from there to the same result as without interruption; it
            is written every ``checkpoint_every`` steps, at the end, and when the training is interrupted. With sampling
            noise the result is the same if the noise comes from generators that the engine or its estimator shows
            (``shot_estimator``, ``device_estimator``), whose state is kept; otherwise it is as likely, not the same.
        progress: called with (step, loss) after every step.

    Raises:
        ValueError: if the model has no weights or does not support a task, the engine gives no gradients, there are
            reps and the problems bring an ansatz (or neither), or the checkpoint is of another training.
        FloatingPointError: if the loss or its gradient is no longer finite; the checkpoint keeps the last good weights.
    """
    schedule = schedule or Schedule()
    loss = _named(loss)
    reps = [check_reps(depth) for depth in reps]
    _check(model, engine, reps, steps, batch)
    plan = {
        "reps": reps,
        "loss": getattr(loss, "__name__", "custom"),
        "steps": steps,
        "batch": batch,
        "model": type(model).__name__,
        "settings": dict(model.settings),
        "family": [type(family).__name__, dict(family.settings)],
        "engine": noise_settings(engine),
        "rng": rng.bit_generator.state,
        **vars(schedule),
    }
    fingerprint = json.dumps(plan)
    start, before = time.perf_counter(), engine.budget.copy()
    pool = _Pool([family.sample(rng) for _ in range(schedule.instances)], reps)
    if (reason := model.unsupported(pool.first.features)) is not None:
        raise ValueError(f"The model cannot be trained on this family: {reason}.")
    model.prepare(pool.sample)
    optimizer = torch.optim.Adam(model.parameters(), lr=schedule.learning_rate)
    history = _History([rng, *generators(engine)])
    if checkpoint is not None and checkpoint.exists():
        _restore(checkpoint, fingerprint, model, optimizer, history)
    losses, resumed_at, shots_before = history.losses, len(history.losses), history.shots
    history.note(shots_before)
    saved = time.perf_counter()
    whole = True  # whether weights, rng state and losses belong to the same step, so that they may be saved
    model.train()
    try:
        for step in range(resumed_at, steps):
            for group in optimizer.param_groups:
                group["lr"] = schedule.learning_rate * (0.505 + 0.495 * math.cos(math.pi * step / steps))
            tasks, levels = pool.draw(batch, rng)
            known = [task.features for task in tasks]
            trajectory = rollout(model, known, normalised_cost(engine, tasks), measure_answer=True)
            value = loss(trajectory.costs if levels is None else _excesses(trajectory.costs, tasks, levels))
            if not torch.isfinite(value):
                raise FloatingPointError(
                    f"The loss is {value.item()} at step {step}. Lower the learning rate; the checkpoint, if any, "
                    "keeps the weights before this step."
                )
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), schedule.clip)
            if not torch.isfinite(norm):
                raise FloatingPointError(
                    f"The gradient's norm is {norm.item()} at step {step}. Lower the learning rate; the checkpoint, if "
                    "any, keeps the weights before this step."
                )
            whole = False
            optimizer.step()
            losses.append(value.item())
            history.depths.append(known[0].reps)
            history.note(shots_before + engine.budget.since(before).shots)
            whole = True
            due = (step + 1) % schedule.checkpoint_every == 0 or time.perf_counter() - saved > checkpoints.SAVE_SECONDS
            if checkpoint is not None and due:
                _save(checkpoint, fingerprint, model, optimizer, history)
                saved = time.perf_counter()
            if progress is not None:
                progress(step, losses[-1])
    finally:
        model.eval()
        if checkpoint is not None and whole and len(losses) > resumed_at:
            _save(checkpoint, fingerprint, model, optimizer, history)
    return Report(
        losses=tuple(losses),
        depths=tuple(history.depths),
        seconds=time.perf_counter() - start,
        spent=engine.budget.since(before),
        qubits=pool.qubits,
        order=max(pool.orders),
        fields=1 in pool.orders,
        resumed_at=resumed_at,
        engine=describe(engine),
        shots=history.shots,
    )


class _History:
    """What a training went through, and where its generators were after the last whole step."""

    def __init__(self, streams: list[np.random.Generator]) -> None:
        self.losses: list[float] = []
        self.depths: list[int] = []
        self.shots = 0
        self.states: list[str] = []
        self.streams = streams

    def note(self, shots: int) -> None:
        """Keep the shots spent and where the generators are."""
        self.shots = shots
        self.states = [json.dumps(stream.bit_generator.state) for stream in self.streams]


def _excesses(costs: Float[Tensor, "T B"], tasks: Sequence[Task], levels: Sequence[Levels]) -> Float[Tensor, "T B"]:
    """Return excesses for normalised costs."""
    factors = [
        [task.scale / level.unit, (task.offset - level.lowest) / level.unit]
        for task, level in zip(tasks, levels, strict=True)
    ]
    slope, shift = torch.tensor(factors, dtype=costs.dtype).T
    excesses: Tensor = costs * slope + shift
    return excesses


class _Pool:
    """The instances of a training, and their landscapes, built when first drawn; every depth uses them all.

    Those of QAOA are drawn size by size, so that a step's run as one batch; there are too many circuits among those
    that bring an ansatz for that.
    """

    def __init__(self, problems: Sequence[Problem], reps: Sequence[int]) -> None:
        own = [problem.ansatz is not None for problem in problems]
        if any(own) != all(own) or any(own) == bool(reps):
            raise ValueError(
                "At least one depth (reps, layers of QAOA) is needed for problems without an ansatz of their own, and "
                f"none for others, but {sum(own)} of {len(own)} problems bring one and reps={list(reps)} came."
            )
        self._problems, self._reps = problems, list(reps) or [0]
        sizes = [problem.num_qubits for problem in problems]
        groups = [0] * len(sizes) if any(own) else sizes
        self._groups = [np.flatnonzero(np.array(groups) == size) for size in dict.fromkeys(groups)]
        self._shares = [len(group) / len(problems) for group in self._groups]
        self._tasks: dict[tuple[int, int], Task] = {}
        self._levels = all(problem.levels is not None for problem in problems)
        self.qubits = (min(sizes), max(sizes))
        operators = [problem.operator for problem in problems]
        orders = [(operator.paulis.x | operator.paulis.z).sum(axis=1) for operator in operators]
        self.orders: set[int] = set(np.concatenate(orders).tolist()) - {0}

    def sample(self, count: int) -> FeatureBatch:
        """Return the features of up to so many instances, at one depth after another."""
        places = range(min(count, len(self._problems)))
        return stack([self._task(place, self._reps[place % len(self._reps)]).features for place in places])

    @property
    def first(self) -> Task:
        """One of the landscapes."""
        return self._task(0, self._reps[0])

    def draw(self, batch: int, rng: np.random.Generator) -> tuple[list[Task], list[Levels] | None]:
        """Return instances of one size and one depth, and the levels of their energies if all problems know theirs."""
        group = self._groups[int(rng.choice(len(self._groups), p=self._shares))]
        reps = self._reps[int(rng.integers(len(self._reps)))]
        places = [int(group[i]) for i in rng.integers(len(group), size=batch)]
        levels = [level for place in places if (level := self._problems[place].levels) is not None]
        return [self._task(place, reps) for place in places], levels if self._levels else None

    def _task(self, place: int, reps: int) -> Task:
        first = self._tasks.get((place, self._reps[0]))
        if first is None:
            first = self._tasks[place, self._reps[0]] = Task.of(self._problems[place], reps=self._reps[0] or None)
        if (place, reps) not in self._tasks:
            self._tasks[place, reps] = first.with_reps(reps)
        return self._tasks[place, reps]


def _named(loss: MetaLoss | str) -> MetaLoss:
    if not isinstance(loss, str):
        return loss
    if loss not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)} or a function of (T, B) costs, but {loss!r} came.")
    return LOSSES[loss]


def _check(model: Model, engine: Engine, reps: Sequence[int], steps: int, batch: int) -> None:
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(
            f"{type(model).__name__} has no weights to train. Choose a model such as lstm or sk_correction."
        )
    if engine.order < 1:
        raise ValueError(
            f"Training needs gradients, but {type(engine).__name__} offers none. Use statevector or parameter_shift."
        )
    if steps < 1 or batch < 1:
        raise ValueError(f"At least one step and instance is needed: {steps=}, {batch=} came.")
    for depth in reps:
        reason = model.unsupported(of_qaoa(SparsePauliOp("ZZ"), depth))
        if reason is not None:
            raise ValueError(f"The model cannot be trained at reps={depth}: {reason}.")


def _save(path: Path, plan: str, model: Model, optimizer: torch.optim.Optimizer, history: _History) -> None:
    content = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": history.states[0],
        "noise": history.states[1:],
        "losses": history.losses,
        "depths": history.depths,
        "shots": history.shots,
    }
    checkpoints.save(path, plan, content)


def _restore(path: Path, plan: str, model: Model, optimizer: torch.optim.Optimizer, history: _History) -> None:
    content = checkpoints.load(path, plan, unsaid=("engine",))  # the first version did not say the engine
    model.load_state_dict(content["model"])
    optimizer.load_state_dict(content["optimizer"])
    for stream, state in zip(history.streams, (content["rng"], *content.get("noise", ())), strict=True):
        stream.bit_generator.state = json.loads(state)
    history.losses, history.depths = list(content["losses"]), list(content["depths"])
    history.shots = int(content.get("shots", 0))
