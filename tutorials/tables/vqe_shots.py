"""Shots until a Heisenberg chain is within 1% of its ground energy: python tutorials/tables/vqe_shots.py.

Every start runs SPSA at each learning rate, on sampled energies (exactly counted shots in each of three bases); the
rate whose runs arrive soonest counts for it. Points are judged by their exact energies.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from qiskit_aer import AerSimulator
from qiskit_algorithms.optimizers import SPSA

from qiskit_metainit import Deployment, Heisenberg
from qiskit_metainit.backends import ONE_THREAD
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.problem import Problem
from qiskit_metainit.provenance import versions
from qiskit_metainit.task import Task, scale_of

CHAINS, SIZE, SEED, SHOTS, ITERATIONS, TARGET = 6, 6, 2_000_003, 1000, 120, 0.01
STARTS = ("heisenberg", "spin_chain_ramp", "spin_chain_constant", "random_angles")
RATES = (0.03, 0.1, 0.3)
RESULTS = Path(__file__).parents[1] / "results" / "vqe_shots.json"


def run(problem: Problem, start: str, rate: float, seed: int) -> dict[str, Any]:
    """Return where one run stood after each evaluation, and the shots until it arrived, or None."""
    task, engine = Task.of(problem), Statevector()
    assert problem.levels is not None
    step = rate / scale_of(problem.operator)
    with Deployment(AerSimulator(**ONE_THREAD), seed=seed) as deployment:
        found = deployment.run(
            problem,
            initializer=start,
            optimizer=SPSA(maxiter=ITERATIONS, learning_rate=step, perturbation=0.1),
            shots_per_evaluation=SHOTS,
        )
    # SPSA measures beside its points; the middle of each pair is where it stands.
    pairs = found.points[: 2 * (len(found.points) // 2)].reshape(-1, 2, found.points.shape[1]).mean(axis=1)
    visited = np.concatenate([found.proposal.point[None], pairs])
    spent = np.concatenate([[3 * SHOTS], found.shots[1::2][: len(pairs)]])
    energies = engine.expectation([task] * len(visited), torch.as_tensor(visited)).numpy()
    gaps = np.array([problem.levels.excess(float(energy)) for energy in energies])
    arrived = np.flatnonzero(gaps <= TARGET)
    return {
        "first": float(gaps[0]),
        "best": float(gaps.min()),
        "last": float(gaps[-1]),
        "shots": int(spent[arrived[0]]) if arrived.size else None,
    }


def main() -> None:
    """Run everything and write the file."""
    rng = np.random.default_rng(SEED)
    family = Heisenberg(sizes=[SIZE])
    problems = [family.sample(rng) for _ in range(CHAINS)]
    cap = 3 * SHOTS * (2 * ITERATIONS + 2)
    rows: dict[str, Any] = {}
    for start in STARTS:
        by_rate = {rate: [run(problem, start, rate, seed) for seed, problem in enumerate(problems)] for rate in RATES}
        means = {rate: float(np.mean([each["shots"] or cap for each in runs])) for rate, runs in by_rate.items()}
        best = min(RATES, key=lambda rate: means[rate])
        shots = [each["shots"] or cap for each in by_rate[best]]
        rows[start] = {"rate": best, "median_shots": float(np.median(shots)), "runs": by_rate}
        rows[start]["arrived"] = sum(each["shots"] is not None for each in by_rate[best])
        gaps = {name: float(np.mean([each[name] for each in by_rate[best]])) for name in ("first", "best", "last")}
        rows[start] |= gaps
        print(start, best, rows[start]["median_shots"], rows[start]["arrived"], gaps, flush=True)
    record: dict[str, Any] = {"command": "python tutorials/tables/vqe_shots.py", "seed": SEED, "versions": versions()}
    record |= {"chains": CHAINS, "qubits": SIZE, "shots_a_basis": SHOTS, "cap": cap, "target": TARGET, "starts": rows}
    RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
