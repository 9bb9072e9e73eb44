"""How much of the Hubbard model's correlation energy each start closes on lattices larger than any trained on."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from qiskit_metainit.descent import descend_all, with_gradient
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.features import stack
from qiskit_metainit.initializer import MetaInitializer
from qiskit_metainit.lattice import hubbard_form
from qiskit_metainit.model import Model
from qiskit_metainit.models.adiabatic_ramp import AdiabaticRamp
from qiskit_metainit.models.hubbard_schedule import HubbardSchedule
from qiskit_metainit.models.smaller_lattice import SmallerLattice
from qiskit_metainit.problem import Problem
from qiskit_metainit.problems.hubbard import Hubbard
from qiskit_metainit.provenance import command, versions
from qiskit_metainit.task import Task

INTERACTIONS = (1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5)
ENGINE = Statevector()


def point_of(model: Model, task: Task) -> NDArray[np.float64]:
    """Return the (P,) point that a model proposes."""
    with torch.no_grad():
        return model.begin(stack([task.features]))[0][0].numpy()


def closed(problem: Problem, task: Task, point: NDArray[np.float64]) -> float:
    """Return the share of the correlation energy beyond free fermions that a point closes."""
    with torch.no_grad():
        energy = ENGINE.expectation([task], torch.tensor(point[None])).item()
    return 1.0 - problem.levels.excess(energy)


def transferred(problems: Sequence[Problem], tasks: Sequence[Task]) -> NDArray[np.float64]:
    """Return (B, P) optima of the largest lattice of at most 6 sites at the same U, found from the tabulated ones."""
    form = hubbard_form(tasks[0].features.form)
    shape = (6, 1) if form.rows == 1 else (3, 2)
    own = [
        Task.of(Hubbard.from_lattice(*shape, interaction=problem.hints["interaction"], layers=form.layers))
        for problem in problems
    ]
    return descend_all(ENGINE, own, np.stack([point_of(SmallerLattice(), task) for task in own]))[1]


def trajectory(problem: Problem, task: Task, start: NDArray[np.float64], calls: int) -> list[float]:
    """Return the best share closed after each call of value and gradient by L-BFGS (SciPy)."""
    shares: list[float] = []
    unit = np.full(len(start), 0.05)  # radians of the first step: from a good start a full radian would leave it

    def scaled(searched: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        energy, slope = with_gradient(ENGINE, task, searched, unit)
        shares.append(
            max(1.0 - problem.levels.excess(energy), *shares[-1:]) if shares else 1 - problem.levels.excess(energy)
        )
        return energy / problem.levels.unit, slope / problem.levels.unit

    options = {"maxfun": calls, "maxiter": calls, "gtol": 1e-7, "ftol": 1e-10}
    minimize(scaled, start / unit, jac=True, method="L-BFGS-B", options=options)
    return shares[:calls]


def evaluations(task: Task) -> int:
    """Return the circuits of one value and gradient by the parameter-shift rule: two a Pauli rotation, and one."""
    form = task.features.form
    return 1 + 2 * sum(len(driven) for driven in form.driven)


def rounded(values: Sequence[float]) -> list[float]:
    return [round(float(value), 4) for value in values]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lattice", nargs=2, type=int, action="append", required=True)
    parser.add_argument("--layers", type=int, nargs="+", default=[10])
    parser.add_argument("--artifacts", nargs="+", default=["hubbard"], help="the same training from several seeds")
    parser.add_argument("--calls", type=int, default=60, help="of value and gradient, from the learned start")
    parser.add_argument("--out", type=Path, default=Path("tutorials/results/hubbard_seeds.json"))
    arguments = parser.parse_args()
    learned = [MetaInitializer.load(name).model for name in arguments.artifacts]
    results = json.loads(arguments.out.read_text(encoding="utf-8"))["results"] if arguments.out.exists() else {}
    commands = json.loads(arguments.out.read_text(encoding="utf-8"))["commands"] if arguments.out.exists() else []
    for columns, rows in arguments.lattice:
        for layers in arguments.layers:
            problems = [Hubbard.from_lattice(columns, rows, interaction=u, layers=layers) for u in INTERACTIONS]
            tasks = [Task.of(problem) for problem in problems]
            pairs = list(zip(problems, tasks, strict=True))
            starts: dict[str, list[float]] = {}
            for name, model in (
                ("adiabatic_ramp", AdiabaticRamp()),
                ("smaller_lattice, tabulated", SmallerLattice()),
                ("distilled schedule, not trained", HubbardSchedule().eval()),
            ):
                starts[name] = rounded([closed(p, t, point_of(model, t)) for p, t in pairs])
            optima = transferred(problems, tasks)
            starts["smaller_lattice, descended"] = rounded(
                [closed(p, t, point) for (p, t), point in zip(pairs, optima, strict=True)]
            )
            seeds = [rounded([closed(p, t, point_of(model, t)) for p, t in pairs]) for model in learned]
            paths = [trajectory(p, t, point_of(learned[0], t), arguments.calls) for p, t in pairs]
            after = {
                str(n): rounded([path[min(n, len(path)) - 1] for path in paths])
                for n in (1, 5, 10, 20, 60)
                if n <= arguments.calls
            }
            row = {
                "qubits": problems[0].num_qubits,
                "layers": layers,
                "parameters": tasks[0].num_parameters,
                "interactions": list(INTERACTIONS),
                "closed": starts
                | {f"hubbard, {name}": seed for name, seed in zip(arguments.artifacts, seeds, strict=True)},
                "mean": {name: round(float(np.mean(values)), 4) for name, values in starts.items()}
                | {"hubbard, seeds": [round(float(np.mean(seed)), 4) for seed in seeds]},
                "closed after calls": after,
                "mean after calls": {n: round(float(np.mean(values)), 4) for n, values in after.items()},
                "best found": rounded([path[-1] for path in paths]),
                "calls to the best found": arguments.calls,
                "circuits a call": evaluations(tasks[0]),
            }
            results[f"{columns}x{rows}, L={layers}"] = row
            print(columns, rows, layers, row["mean"], row["mean after calls"], flush=True)
            content = {
                "what": "share (E_ff - E)/(E_ff - E_0) of the correlation energy that a start closes, without a query",
                "best found": "by L-BFGS from the learned start in so many calls of value and gradient: a lower bound "
                "of what the ansatz can close",
                "commands": [*commands, command()],
                "versions": versions(),
                "results": results,
            }
            arguments.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
