"""Distilled schedules for Hubbard lattices: run it to rewrite the tables of the baseline and of the learned schedule.

``smaller`` finds what is optimal on the largest small lattices, 6 x 1 and 3 x 2; ``distilled`` what is best on average
over those and others of at most 6 sites with disordered hopping. Either has polynomials of U/(U + 4t) as angles, fitted
to the energies at all U at once, so that they lie on one branch of optima.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from qiskit_metainit.circuits.hubbard import OpenLattice
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.lattice import PARTS, hubbard_form
from qiskit_metainit.lattice_schedules import polynomials
from qiskit_metainit.problem import Problem
from qiskit_metainit.problems.hubbard import Hubbard
from qiskit_metainit.provenance import versions
from qiskit_metainit.task import Task

INTERACTIONS = {"smaller": (0.5, 0.9, 1.6, 2.6, 4.0, 6.0, 9.0), "distilled": (0.75, 1.3, 2.3, 4.2, 8.0)}
POLYNOMIALS = {"smaller": 5, "distilled": 4}
OUTPUTS = {"smaller": "smaller_lattice.json", "distilled": "hubbard_schedule.json"}
KINDS = ("chain", "ladder")


def lattices(kind: str, table: str, samples: int, rng: np.random.Generator) -> list[OpenLattice]:
    """Return the lattices to fit, the largest clean one first."""
    shape = (6, 1) if kind == "chain" else (3, 2)
    found = [OpenLattice(*shape)]
    if table == "smaller":
        return found
    groups = found[0].groups
    width = 0.3 if kind == "chain" else 0.5
    for _ in range(samples if kind == "ladder" else samples // 3):
        strengths = [1 + rng.uniform(-width, width, size=len(group)) for group in groups]
        if kind == "ladder":
            strengths[-1] *= rng.uniform(0.7, 1.3)  # as a whole, rungs are weaker or stronger than legs
        found.append(OpenLattice(*shape, tuple(np.concatenate(strengths).tolist())))
    return [*found, OpenLattice(4)] if kind == "chain" else found


def fitted(problems: Sequence[Problem], layers: int, count: int, iterations: int, smooth: float) -> NDArray[np.float64]:
    """Return (L, parts, K) coefficients of the least mean root of the open share over all problems.

    From a linear ramp, with a small price on second differences between layers: it keeps angles that hardly matter from
    wandering off.
    """
    tasks = [Task.of(problem) for problem in problems]
    forms = [hubbard_form(task.features.form) for task in tasks]
    lowest, unit = (
        torch.tensor([getattr(problem.levels, name) for problem in problems], dtype=torch.float64)
        for name in ("lowest", "unit")
    )
    basis = polynomials(torch.tensor([form.interaction for form in forms], dtype=torch.float64), count)
    part, layer = torch.tensor(forms[0].part), torch.tensor(forms[0].layer)
    factor = torch.tensor([form.factor for form in forms], dtype=torch.float64)
    stage = (torch.arange(layers, dtype=torch.float64) + 0.5) / layers
    start = torch.zeros(layers, len(PARTS), count, dtype=torch.float64)
    start[:, 0, 0] = 0.5 * stage
    start[:, 1:, 0] = (0.5 - 0.25 * stage)[:, None]
    engine = Statevector()

    def value_and_gradient(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        coefficients = torch.tensor(flat.reshape(start.shape), requires_grad=True)
        bend = coefficients[2:] - 2 * coefficients[1:-1] + coefficients[:-2]
        points = torch.einsum("pk,bk->bp", coefficients[layer, part], basis) * factor
        shares = (engine.expectation(tasks, points) - lowest) / unit
        value = torch.sqrt(shares + 1e-6).mean() + smooth * (bend**2).sum()
        value.backward()
        return value.item(), coefficients.grad.numpy().ravel()

    options = {"maxiter": iterations, "maxcor": 20}
    found = minimize(value_and_gradient, start.numpy().ravel(), jac=True, method="L-BFGS-B", options=options)
    coefficients = found.x.reshape(start.shape)
    coefficients[:, sorted(set(range(len(PARTS))) - set(forms[0].part))] = 0.0
    return coefficients


def closed(problems: Sequence[Problem], coefficients: NDArray[np.float64]) -> list[float]:
    """Return the share of the correlation energy that a schedule closes on each problem."""
    shares = []
    for problem in problems:
        task = Task.of(problem)
        form = hubbard_form(task.features.form)
        basis = polynomials(torch.tensor(form.interaction, dtype=torch.float64), coefficients.shape[2]).numpy()
        point = coefficients[form.layer, form.part] @ basis * np.array(form.factor)
        energy = Statevector().expectation([task], torch.tensor(point[None])).item()
        shares.append(round(1.0 - problem.levels.excess(energy), 4))
    return shares


def problems_of(found: Sequence[OpenLattice], interactions: Sequence[float], layers: int) -> list[Problem]:
    return [
        Hubbard.from_lattice(one.columns, one.rows, interaction=u, layers=layers, strengths=one.strengths)
        for one in found
        for u in interactions
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=list(OUTPUTS))
    parser.add_argument("--layers", type=int, nargs="+", default=[4, 6, 8, 10, 12])
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--smooth", type=float, default=1e-3)
    parser.add_argument("--samples", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    table, interactions = arguments.table, INTERACTIONS[arguments.table]
    out = arguments.out or Path("qiskit_metainit/models") / OUTPUTS[table]
    shown = " ".join(map(str, arguments.layers))
    content = {
        "source": __doc__.split("\n\n")[1].replace("\n", " "),
        "command": f"python tutorials/tables/hubbard.py {table} --layers {shown} --iterations {arguments.iterations} "
        f"--smooth {arguments.smooth} --samples {arguments.samples} --seed {arguments.seed}",
        "parts": list(PARTS),
        "interactions": list(interactions),
        "versions": versions(),
        "schedules": {kind: {} for kind in KINDS},
    }
    for layers in arguments.layers:
        for kind in KINDS:
            chosen = lattices(kind, table, arguments.samples, np.random.default_rng(arguments.seed))
            problems = problems_of(chosen, interactions, layers)
            coefficients = fitted(problems, layers, POLYNOMIALS[table], arguments.iterations, arguments.smooth)
            row = {"closed": closed(problems[: len(interactions)], coefficients)}
            print(kind, layers, len(problems), row["closed"], flush=True)
            content["schedules"][kind][str(layers)] = row | {"coefficients": coefficients.round(6).tolist()}
        out.write_text(json.dumps(content) + "\n", encoding="utf-8")
