"""How good the surrogate of a device's noise is: `python tutorials/tables/surrogate.py` writes results/surrogate.json.

MaxCut QAOA of 3-regular graphs at random points: <H> of the surrogate's shots against exact noisy probabilities up to
ten qubits and against Aer's trajectories at twelve; beside it two cruder stand-ins, no noise at all and ideal outcomes
mixed with uniform ones by F, the product of 1 - error.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import torch
from qiskit.primitives import BackendSamplerV2
from qiskit.providers import BackendV2
from scipy.stats import spearmanr

from qiskit_metainit.backends import active_simulator, fake_backend
from qiskit_metainit.deployment.adapters.templates import Templates, transpile
from qiskit_metainit.deployment.channels.exact import NoisyCircuit
from qiskit_metainit.deployment.depth import log_fidelity
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.problem import Problem, diagonal_values
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.provenance import versions
from qiskit_metainit.rating import energies, random_points
from qiskit_metainit.surrogate import surrogate_backend
from qiskit_metainit.task import Task

DEVICES, DEPTHS, SEED = ("fake_fez", "fake_torino", "fake_sherbrooke"), (1, 2, 3), 4_000_037
POINTS = {6: 12, 8: 12, 10: 8, 12: 4}
"""Random points at each size; at twelve qubits of the first device and p = 1, 2 only."""
SHOTS, FEW = 20_000, 1000
"""Of the surrogate, and of the trajectories at twelve qubits, with which both are timed."""
RESULTS = Path(__file__).resolve().parents[1] / "results"


def measured(problem: Problem, backend: BackendV2, reps: int, count: int) -> dict[str, Any]:
    """Return what the stand-ins make of <H>, from the mean of all bitstrings, at random points of one graph."""
    task = Task.qaoa(problem.operator, reps=reps)
    points = random_points(task, count, SEED + reps)
    values = diagonal_values(problem.operator)
    templates = Templates(lambda circuit: transpile(backend, None, 4, circuit))
    parsed = templates.parse(task.circuit.measure_all(inplace=False))
    template = templates.template(parsed.structure)
    rows = np.stack([parsed.angles.at(point[None])[0] for point in points])[:, list(template.columns)]
    ideal = energies(Statevector(), [task] * count, points) - values.mean()
    small = problem.num_qubits <= 10
    shots = SHOTS if small else FEW

    def sampled(stand_in: BackendV2, shots: int) -> tuple[np.ndarray, float]:
        began = time.perf_counter()
        found = []
        for row in rows:
            bits = BackendSamplerV2(backend=stand_in, options={"seed_simulator": SEED}).run(
                [(template.circuit, row)], shots=shots
            )
            counts = next(iter(bits.result()[0].data.values())).get_int_counts()
            found.append(sum(values[outcome] * count for outcome, count in counts.items()) / shots)
        return np.array(found) - values.mean(), (time.perf_counter() - began) / len(rows)

    surrogate, _ = sampled(surrogate_backend(backend), shots)
    noisy, took = sampled(active_simulator(backend), FEW)
    if small:
        chances = NoisyCircuit(template.circuit, backend.target).probabilities(rows)
        noisy = chances @ values - values.mean()
    kept = math.exp(log_fidelity(template.circuit, backend.target))
    return {
        "F": kept,
        "slope": _slope(surrogate, noisy),
        "rank_correlation": float(spearmanr(surrogate, noisy).statistic),
        "slope_of_mixing": _slope(kept * ideal, noisy),
        "slope_of_no_noise": _slope(ideal, noisy),
        "seconds_of_1000_shots": {"surrogate": sampled(surrogate_backend(backend), FEW)[1], "noise_model": took},
    }


def _slope(found: np.ndarray, noisy: np.ndarray) -> float:
    """Return the slope of a line through the origin."""
    return float(found @ noisy / (noisy @ noisy))


def main() -> None:
    """Run everything and write the file."""
    torch.set_num_threads(1)
    rows = []
    for size, count in POINTS.items():
        graph = nx.random_regular_graph(3, size, seed=SEED + size)
        problem = MaxCut.from_graph(graph)
        for name in DEVICES if size <= 10 else DEVICES[:1]:
            backend = fake_backend(name)
            for reps in DEPTHS if size <= 10 else DEPTHS[:2]:
                began = time.perf_counter()
                found = measured(problem, backend, reps, count)
                rows.append({"device": name, "qubits": size, "reps": reps, "points": count} | found)
                print(rows[-1], f"{time.perf_counter() - began:.0f} s", flush=True)
    summary: dict[str, Any] = {
        f"{name}, p = {reps}": float(
            np.mean([row["slope"] for row in rows if (row["device"], row["reps"]) == (name, reps)])
        )
        for name in DEVICES
        for reps in DEPTHS
    }
    for size in POINTS:
        own = [row for row in rows if row["qubits"] == size]
        summary[f"{size} qubits"] = {
            key: float(np.mean([row[key] for row in own])) for key in ("slope", "slope_of_mixing", "slope_of_no_noise")
        }
    correlations = [row["rank_correlation"] for row in rows]
    summary["rank correlation"] = {"least": min(correlations), "mean": float(np.mean(correlations))}
    summary["least slope"] = min(row["slope"] for row in rows)
    print(json.dumps(summary, indent=1))
    content: dict[str, Any] = {"command": "python tutorials/tables/surrogate.py", "seed": SEED, "versions": versions()}
    content |= {"shots": SHOTS, "shots_at_12_qubits": FEW, "summary": summary, "rows": rows}
    (RESULTS / "surrogate.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
