"""One deployment and one attempt at it, in a process of its own that may be killed at any step."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import traceback
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import requests.adapters
import urllib3.util
from integration.fault_service import ForkedService
from qiskit_algorithms.optimizers import COBYLA, SPSA

from qiskit_metainit.budget import ShotBudget
from qiskit_metainit.deployment import (
    BudgetError,
    ChannelError,
    Deployment,
    Run,
    RunInterruptedError,
    RuntimeChannel,
    ShotSchedule,
)
from qiskit_metainit.deployment.stored import run_as_json
from qiskit_metainit.initializer import MetaInitializer
from qiskit_metainit.models.constant import Constant
from qiskit_metainit.problem import Problem
from qiskit_metainit.problems.maxcut import MaxCut

STEP, SUBMISSION = "killed at a step", "killed at a submission"
"""How an attempt ends itself."""
GRAPHS = {
    "path": [(0, 1), (1, 2, 0.7)],
    "triangle": [(0, 1), (1, 2, 2.0), (2, 0)],
    "tail": [(0, 1), (1, 2, 0.5), (2, 0, 1.5), (2, 3)],
    "square": [(0, 1), (1, 2), (2, 3), (3, 0, 0.4)],
}
PATIENCE, GRACE = 2.0, 0.8
FINAL = 250
"""Shots of the final sampling."""


@dataclass(frozen=True)
class Case:
    """What one run does; the same case undisturbed is what it is compared with."""

    graph: str
    optimizer: str
    growing: bool
    mode: str
    twirling: bool
    readout_shots: int
    budget: ShotBudget
    resilience: int | None = None

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Case:
        """Draw one: budgets that stop the optimiser early as well as some that do not."""
        budget = [
            ShotBudget(shots=4000),
            ShotBudget(shots=int(rng.choice([1050, 1330, 1700]))),
            ShotBudget(shots=4000, jobs=int(rng.choice([6, 8]))),
            ShotBudget(shots=4000, qpu_seconds=float(rng.choice([19, 21, 45]))),
        ][rng.integers(4)]
        made = cls(
            graph=str(rng.choice(list(GRAPHS))),
            optimizer=str(rng.choice(["cobyla", "spsa"])),
            growing=bool(rng.random() < 0.3),
            mode=str(rng.choice(["job", "batch", "session"], p=[0.6, 0.25, 0.15])),
            twirling=bool(rng.random() < 0.15),
            readout_shots=int(rng.choice([0, 50], p=[0.8, 0.2])),
            budget=budget,
        )
        if rng.random() < 0.75:
            return made
        return replace(made, readout_shots=0, resilience=int(rng.choice([0, 1], p=[0.2, 0.8])))

    @property
    def problem(self) -> Problem:
        return MaxCut.from_edges(GRAPHS[self.graph])

    def deployment(self, service: ForkedService, ledger: Path) -> Deployment:
        backend = service.backend()
        options = {"twirling": {"enable_measure": True, "num_randomizations": 4}} if self.twirling else None
        estimator = None if self.resilience is None else {"resilience_level": self.resilience}
        channel = RuntimeChannel(backend, mode=self.mode, options=options, estimator=estimator, patience=PATIENCE)
        return Deployment(backend, self.budget, ledger=ledger, channel=channel, seed=7, patience=PATIENCE, grace=GRACE)

    def run(self, deployment: Deployment) -> Run:
        spsa = SPSA(maxiter=4, learning_rate=0.1, perturbation=0.1)
        return deployment.run(
            self.problem,
            reps=1,
            initializer=initializer(),
            optimizer=spsa if self.optimizer == "spsa" else COBYLA(maxiter=8, rhobeg=0.3),
            shots_per_evaluation=ShotSchedule(100, 300, over=6) if self.growing else 200,
            final_shots=FINAL,
            readout_shots=self.readout_shots,
        )


def initializer() -> MetaInitializer:
    return MetaInitializer(Constant(point=[0.3, -0.2]))


def attempt(case: Case, service: ForkedService, folder: Path, kill: tuple[str, int] | None) -> None:
    """Begin the run or go on with it, and write down how that ended; in a process of its own."""
    warnings.simplefilter("ignore")
    pause = urllib3.util.Retry.get_backoff_time
    urllib3.util.Retry.get_backoff_time = lambda retry: min(pause(retry), 0.02)
    _die(kill, folder)
    told: dict[str, Any]
    try:
        deployment = case.deployment(service, folder / "ledger.sqlite")
    except Exception as error:  # of the client, before the run: nothing of ours has begun
        told = {"ended": "no service", "why": repr(error)}
    else:
        try:
            known = deployment.runs()
            run = deployment.resume(known[0].id, initializer=initializer()) if known else case.run(deployment)
            told = {"ended": run.stopped or "finished", "run": run.id, "result": run_as_json(run)}
        except (RunInterruptedError, ChannelError, BudgetError) as error:
            told = {"ended": type(error).__name__, "why": str(error)}
        except Exception as error:
            told = {"ended": "error", "why": repr(error), "traceback": traceback.format_exc()}
    (folder / "told.json").write_text(json.dumps(told))


def _die(kill: tuple[str, int] | None, folder: Path) -> None:
    """End this process with signal 9 at a step: a statement of the database, or just before or after a request."""
    if kill is None:
        return
    kind, left = kill

    def step(what: str) -> None:
        nonlocal left
        if kind == STEP or what.endswith("POST /jobs"):
            left -= 1
            if left == 0:
                with (folder / "kills.log").open("a") as log:
                    log.write(f"{kind}\t{what}\n")
                os.kill(os.getpid(), signal.SIGKILL)

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.set_trace_callback(lambda statement: step(f"at {' '.join(statement.split()[:2])}"))
        return connection

    def send(adapter: Any, request: Any, **options: Any) -> Any:
        path = re.sub(r"/[0-9a-z]{16,}", "/*", request.url.split("?")[0].partition("/v1")[2])
        step(f"before {request.method} {path}")
        found = sending(adapter, request, **options)
        step(f"after {request.method} {path}")
        return found

    connect, sqlite3.connect = sqlite3.connect, traced
    sending, requests.adapters.HTTPAdapter.send = requests.adapters.HTTPAdapter.send, send
