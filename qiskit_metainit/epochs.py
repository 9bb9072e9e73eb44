"""Training graph by graph in epochs, as Lin, Hsu and Chen do it, of several models side by side."""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import RMSprop
from torch.optim.lr_scheduler import ReduceLROnPlateau

from qiskit_metainit import checkpoints
from qiskit_metainit.engine import Engine
from qiskit_metainit.ensemble import Ensemble
from qiskit_metainit.recurrent import RecurrentModel
from qiskit_metainit.task import Task


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How Lin et al. 2025 (arXiv:2512.05058, section III-C and the code they published) train."""

    epochs: int = 50
    """At most."""
    sequence_rate: float = 6e-6
    """RMSprop's learning rate of the sequence model."""
    head_rate: float = 1e-4
    """RMSprop's learning rate of the final fully connected layer, if there is one."""
    factor: float = 0.5
    """What the rates are multiplied with on a plateau of the validation cost."""
    patience: int = 3
    """Epochs without improvement that make a plateau."""
    threshold: float = 1e-3
    """Relative improvement that counts for the plateau. The costs being negative, torch's rule lets anything down to
    0.1% *worse* than the last improvement pass; kept as published."""
    least_rate: float = 1e-7
    """Where the rates stop falling."""
    stop_after: int = 6
    """Epochs without a new best validation cost that end the training."""
    tolerance: float = 1e-5
    """Change of the mean training loss between two epochs that ends the training."""

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"At least one epoch is needed, but epochs={self.epochs} came. Choose 1 or more.")


@dataclass(frozen=True)
class Report:
    """What the training of one model did."""

    losses: tuple[float, ...]
    """Mean meta-loss of every epoch, over its updates."""
    validation: tuple[float, ...]
    """Mean final ``<H>`` on the validation graphs after every epoch."""
    rates: tuple[float, ...]
    """Learning rate of the sequence model after every epoch."""
    best: int
    """Epoch, counted from 1, whose weights the model has now."""
    stopped: str
    """"epochs" (all done), "validation" (no new best for long) or "loss" (it no longer changed)."""
    seconds: float
    """Wall-clock time until this model had finished, interrupted calls included, all models that were trained side by
    side together."""


def train_in_epochs(
    models: Sequence[RecurrentModel],
    tasks: Sequence[Task],
    validation: Sequence[Task],
    engine: Engine,
    *,
    schedule: Schedule | None = None,
    checkpoint: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Report]:
    """Train models in place, each by itself, with one update a task in the order given, epoch after epoch.

    The meta-loss is ``(1/T) sum_t 0.1 t <H>_t`` of raw energies (Lin et al. 2025, Eq. 8). Models of equal settings
    (seeds of one model) run side by side as rows of one batch (``Ensemble``); their updates, schedules and ends are
    their own. The weights of the best validation cost are restored at the end.

    Args:
        models: of one class and equal settings.
        tasks: of the training graphs.
        validation: tasks whose mean final cost drives the schedule.
        engine: answers with costs and gradients; what it answers must not depend on what else is in a call.
        schedule: of the optimiser; as published by default.
        checkpoint: a file. If it exists, training goes on from there to the same result, to the bit, as without
            interruption. It is written after every epoch and every half minute, and when the training is interrupted.
        progress: called with (updates of each model done, updates of all epochs) after every update.

    Returns:
        The models' reports.

    Raises:
        ValueError: if there is nothing to train (on), models differ in their settings, or the checkpoint is of another
            training.
        RuntimeError: if the models give other costs side by side than each by itself, on the first and last task.
    """
    schedule = schedule or Schedule()
    if not tasks or not validation:
        raise ValueError(
            "At least one task to train on and one to validate on is needed, but "
            f"{len(tasks)} and {len(validation)} came."
        )
    ensemble = Ensemble(models, engine)
    ensemble.check([tasks[0], tasks[-1]])
    members = [_Member(model, schedule) for model in models]
    state = _Place()
    plan = json.dumps(
        {
            "model": type(models[0]).__name__,
            "settings": dict(models[0].settings),
            "first weights": _weights_digest(models),
            "tasks": _digest(tasks),
            "validation": _digest(validation),
            **asdict(schedule),
        }
    )
    if checkpoint is not None and checkpoint.exists():
        content = checkpoints.load(checkpoint, plan)
        state = _Place(**content["place"])
        for member, stored in zip(members, content["members"], strict=True):
            member.restore(stored)
    clock = _Clock(state.seconds)
    whole = True  # whether all members stand at the same update, so that they may be saved

    def save() -> None:
        if checkpoint is not None:
            state.seconds = clock.seconds
            checkpoints.save(checkpoint, plan, {"place": asdict(state), "members": [m.state() for m in members]})
            clock.saved()

    try:
        while running := [place for place, member in enumerate(members) if not member.done.stopped]:
            active = [members[place] for place in running]
            for position in range(state.position, len(tasks)):
                costs = ensemble.costs([tasks[position]], running)
                losses = meta_losses(costs)
                for member in active:
                    member.optimizer.zero_grad()
                losses.sum().backward()  # type: ignore[no-untyped-call]
                whole = False
                for member, loss in zip(active, losses.tolist(), strict=True):
                    member.update(loss)
                state.position = position + 1
                whole = True
                if clock.due:
                    save()
                if progress is not None:
                    progress(state.epoch * len(tasks) + state.position, schedule.epochs * len(tasks))
            with torch.no_grad():
                final = ensemble.costs(validation, running)[:, -1].mean(dim=1)
            whole = False
            for member, cost in zip(active, final.tolist(), strict=True):
                member.finish_epoch(cost, clock.seconds)
            state.epoch, state.position = state.epoch + 1, 0
            whole = True
            save()
    finally:
        if whole:
            save()
    for member in members:
        member.model.load_state_dict(member.best)
    return [member.report() for member in members]


def meta_losses(costs: Float[Tensor, "S T B"]) -> Float[Tensor, " S"]:
    """Return each model's ``(1/T) sum_t 0.1 t y_t``, averaged over B tasks (Lin et al. 2025, Eq. 8)."""
    steps = torch.arange(1, costs.shape[1] + 1, dtype=costs.dtype)
    return costs.mean(dim=2) @ (0.1 * steps / len(steps))


@dataclass
class _Place:
    """Where the training is."""

    epoch: int = 0
    position: int = 0
    seconds: float = 0.0


class _Clock:
    """Seconds of all calls, and since the last checkpoint."""

    def __init__(self, before: float) -> None:
        self._start = time.perf_counter() - before
        self.saved()

    def saved(self) -> None:
        self._saved = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._start

    @property
    def due(self) -> bool:
        return time.perf_counter() - self._saved > checkpoints.SAVE_SECONDS


@dataclass
class _Progress:
    """What one model went through so far."""

    total: float = 0.0  # of the losses of this epoch
    updates: int = 0  # of this epoch
    losses: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    best: int = 0
    stopped: str = ""
    seconds: float = 0.0


class _Member:
    """One model with its optimiser, its schedule and its history."""

    def __init__(self, model: RecurrentModel, schedule: Schedule) -> None:
        self.model = model
        self.schedule = schedule
        groups = [
            {"params": model.sequence_parameters(), "lr": schedule.sequence_rate},
            {"params": model.head_parameters(), "lr": schedule.head_rate},
        ]
        self.optimizer = RMSprop(groups)
        self.scheduler = ReduceLROnPlateau(
            self.optimizer,
            mode="min",
            factor=schedule.factor,
            patience=schedule.patience,
            threshold=schedule.threshold,
            min_lr=schedule.least_rate,
        )
        self.best = copy.deepcopy(model.state_dict())
        self.done = _Progress()

    def update(self, loss: float) -> None:
        self.optimizer.step()
        self.done.total += loss
        self.done.updates += 1

    def finish_epoch(self, validation: float, seconds: float) -> None:
        """Close an epoch, in the order of the published code: schedule, end by the loss, best weights, end."""
        done = self.done
        loss, done.total, done.updates = done.total / done.updates, 0.0, 0
        self.scheduler.step(validation)
        best = min(done.validation, default=float("inf"))
        settled = bool(done.losses) and abs(done.losses[-1] - loss) <= self.schedule.tolerance
        done.losses.append(loss)
        done.validation.append(validation)
        done.rates.append(float(self.optimizer.param_groups[0]["lr"]))
        done.seconds = seconds
        if settled:  # as published, its weights are not looked at
            done.stopped = "loss"
        elif validation < best:
            done.best = len(done.losses)
            self.best = copy.deepcopy(self.model.state_dict())
        elif len(done.losses) - done.best >= self.schedule.stop_after:
            done.stopped = "validation"
        if not done.stopped and len(done.losses) >= self.schedule.epochs:
            done.stopped = "epochs"

    def report(self) -> Report:
        done = self.done
        histories = (tuple(done.losses), tuple(done.validation), tuple(done.rates))
        return Report(*histories, best=done.best, stopped=done.stopped, seconds=done.seconds)

    def state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "best": self.best,
            "done": asdict(self.done),
        }

    def restore(self, stored: dict[str, Any]) -> None:
        self.model.load_state_dict(stored["model"])
        self.optimizer.load_state_dict(stored["optimizer"])
        self.scheduler.load_state_dict(stored["scheduler"])
        self.best = stored["best"]
        self.done = _Progress(**stored["done"])


def _weights_digest(models: Sequence[RecurrentModel]) -> str:
    """Return what tells these models' weights, fixed angles included, from others."""
    text = json.dumps([value.tolist() for model in models for value in model.state_dict().values()])
    return hashlib.sha256(text.encode()).hexdigest()


def _digest(tasks: Sequence[Task]) -> str:
    """Return what tells these tasks from others."""
    text = json.dumps([[str(task.hamiltonian.to_list()), task.num_parameters] for task in tasks])
    return hashlib.sha256(text.encode()).hexdigest()
