"""Zero-query starts of UCCSD for molecules not trained on: run it to rewrite tutorials/results/vqe_molecules.json.

Each family of geometries is left out in turn; the learned correction is trained on the others (same loss and optimiser
as ``metainit train --loss root``, but each circuit is compiled once for all trainings) and judged on new geometries of
the one left out, beside the classical starts, all in mHartree above the best UCCSD energy found from CCSD amplitudes.
NH3 is never trained on.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qiskit_metainit.determinants import determinants
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.features import stack
from qiskit_metainit.ground import ground_energy
from qiskit_metainit.model import Model
from qiskit_metainit.models.amplitude_correction import AmplitudeCorrection
from qiskit_metainit.models.ccsd import Ccsd
from qiskit_metainit.models.configuration_interaction import ConfigurationInteraction
from qiskit_metainit.models.epstein_nesbet import EpsteinNesbet
from qiskit_metainit.models.mp2 import Mp2
from qiskit_metainit.models.one_cc_iteration import OneCcIteration
from qiskit_metainit.problem import Problem
from qiskit_metainit.problems.molecule import Molecule
from qiskit_metainit.provenance import command, versions
from qiskit_metainit.task import Task
from qiskit_metainit.training import root

TRAINED = ("H2", "H3+", "H4", "H6", "LiH", "BeH2", "H2O", "N2")
NEVER = ("NH3",)
CHEMICAL = 1.6  # mHartree
Item = tuple[Task, float]


def problems(name: str, count: int, seed: int) -> list[Problem]:
    """Return geometries of one family."""
    family, rng = Molecule(molecules=[name]), np.random.default_rng(seed)
    return [family.sample(rng) for _ in range(count)]


def items(name: str, count: int, seed: int, *, hints: bool = False) -> list[Item]:
    """Return tasks with their lowest energies, from operator and ansatz alone unless hints are asked for."""
    found = []
    for problem in problems(name, count, seed):
        assert problem.ansatz is not None
        assert problem.levels is not None
        task = Task.from_circuit(problem.ansatz, problem.operator, hints=problem.hints if hints else {})
        found.append((task, problem.levels.lowest))
    return found


def excesses(engine: Statevector, chosen: Sequence[Item], points: Tensor) -> Tensor:
    """Return (B,) Hartree above the lowest energies."""
    lowest = torch.tensor([energy for _, energy in chosen], dtype=torch.float64)
    return engine.expectation([task for task, _ in chosen], points) - lowest


def train(engine: Statevector, pool: Sequence[Item], *, steps: int, batch: int, rate: float, seed: int) -> Model:
    """Return a correction trained on mean sqrt(E - E_opt)."""
    torch.manual_seed(seed)
    rng, model = np.random.default_rng(seed), AmplitudeCorrection()
    model.prepare(lambda count: stack([task.features for task, _ in pool[:count]]))
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * (0.505 + 0.495 * math.cos(math.pi * step / steps))
        chosen = [pool[int(place)] for place in rng.integers(len(pool), size=batch)]
        points, _ = model.begin(stack([task.features for task, _ in chosen]))
        loss = root(excesses(engine, chosen, points)[None])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


def judged(engine: Statevector, model: Model | None, chosen: Sequence[Item]) -> np.ndarray:
    """Return (B,) mHartree above the lowest energies of a model's answers, of Hartree-Fock for None."""
    batch = stack([task.features for task, _ in chosen])
    with torch.no_grad():
        points = torch.zeros_like(batch.unit) if model is None else model.begin(batch)[0]
        return 1e3 * excesses(engine, chosen, points).numpy()


def told(values: np.ndarray) -> dict[str, float]:
    """Return what is reported of a start."""
    return {
        "mean": round(float(values.mean()), 5),
        "median": round(float(np.median(values)), 5),
        "max": round(float(values.max()), 5),
        "within": round(float((values <= CHEMICAL).mean()), 4),
    }


def exact(chosen: Sequence[Item]) -> list[float]:
    """Return the lowest UCCSD energies above the exact ones of the same electrons, mHartree."""
    gaps = []
    for task, lowest in chosen:
        states = np.sort(determinants(task.features).states)
        gaps.append(1e3 * (lowest - ground_energy(task.hamiltonian, states)))
    return gaps


def row(engine: Statevector, models: Sequence[Model], chosen: Sequence[Item]) -> dict[str, Any]:
    """Return a table's row: the classical starts, and the learned ones of several seeds."""
    formulas: Mapping[str, Model | None] = {
        "hartree_fock": None,
        "mp2": Mp2(),
        "epstein_nesbet": EpsteinNesbet(),
        "one_cc_iteration": OneCcIteration(),
        "configuration_interaction": ConfigurationInteraction(),
        "ccsd": Ccsd(),
    }
    starts = {name: judged(engine, model, chosen) for name, model in formulas.items()}
    learned = [judged(engine, model, chosen) for model in models]
    every = np.concatenate(learned)
    return {
        "instances": len(chosen),
        "qubits": chosen[0][0].features.num_qubits,
        "parameters": chosen[0][0].num_parameters,
        "optimum_above_exact": told(np.array(exact(chosen))),
        **{name: told(values) for name, values in starts.items()},
        "learned": told(every),
        "learned_mean_by_seed": [round(float(values.mean()), 5) for values in learned],
        "most_above_ccsd": round(float((every - np.tile(starts["ccsd"], len(learned))).max()), 5),
        "below_ccsd": round(float(starts["ccsd"].mean() / every.mean()), 2),
        "below_one_cc_iteration": round(float(starts["one_cc_iteration"].mean() / every.mean()), 2),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=int, default=20, help="geometries of each family trained on")
    parser.add_argument("--test", type=int, default=24, help="geometries of each family judged on")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--leave-out", nargs="*", default=[name for name in TRAINED if name != "H2"])
    parser.add_argument("--out", type=Path, default=Path("tutorials/results/vqe_molecules.json"))
    arguments = parser.parse_args()
    started, engine = time.perf_counter(), Statevector()
    pools = {name: items(name, arguments.train, 1) for name in TRAINED}
    settings = {"steps": arguments.steps, "batch": arguments.batch, "rate": arguments.learning_rate}
    rows: dict[str, Any] = {}
    content = {
        "what": "mHartree above the best UCCSD energy found, zero queries, molecule left out of the training",
        "command": f"python tutorials/tables/{command()}",
        "family": dict(Molecule().settings),
        "seeds": {"train": 1, "test": 2, "models": list(range(arguments.seeds))},
        "versions": versions(),
        "rows": rows,
    }
    for name in [*arguments.leave_out, None]:
        pool = [item for other in TRAINED if other != name for item in pools[other]]
        models = [train(engine, pool, **settings, seed=seed) for seed in range(arguments.seeds)]
        for judge in NEVER if name is None else [name]:
            rows[judge] = row(engine, models, items(judge, arguments.test, 2))
            seconds = f"{time.perf_counter() - started:.0f} s"
            print(
                judge, seconds, rows[judge]["ccsd"], rows[judge]["learned"], rows[judge]["most_above_ccsd"], flush=True
            )
            arguments.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
