"""How good the recommended depths are: `python tutorials/tables/depth.py` writes results/under_noise_depth.json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from qiskit_metainit.deployment.channels.exact import ExactChannel
from qiskit_metainit.deployment.depth import recommended_reps
from qiskit_metainit.initializer import named
from qiskit_metainit.problem import diagonal_values
from qiskit_metainit.provenance import command, versions
from qiskit_metainit.under_noise import Judge, fake_device, instances

DEVICES = ("fake_marrakesh", "fake_fez", "fake_washington", "fake_cusco")
DEPTHS = (1, 2, 3, 4, 5)
SHOTS = 100_000
RESULTS = Path(__file__).resolve().parents[1] / "results"


def measured() -> list[dict[str, Any]]:
    """Return for 8 graphs on each device the exact noisy r of qaoa's points at every depth, and what is recommended."""
    meta, rows = named("qaoa"), []
    for name in DEVICES:
        backend = fake_device(name)
        channel = ExactChannel(backend)
        for problem in instances(8, (6, 8), 77):
            row: dict[str, Any] = {"device": name, "nodes": problem.num_qubits, "noisy": [], "log_fidelity": []}
            gains = []
            for reps in DEPTHS:
                judge = Judge.of(problem, reps, backend, channel)
                found = judge.point(meta.propose([problem.operator], problem=problem, reps=reps)[0].point)
                values = diagonal_values(problem.operator)
                gains.append((found["ideal"] - judge.facts["mixed"]) * np.ptp(values) / values.std())
                row["noisy"].append(round(found["noisy"], 6))
                row["log_fidelity"].append(round(judge.facts["log_fidelity"], 6))
            known, size = row["log_fidelity"][:2], problem.num_qubits
            row["recommended"] = recommended_reps(known, size, SHOTS, most=len(DEPTHS))
            row["knowing the ideal"] = recommended_reps(known, size, SHOTS, ideal=gains)
            rows.append(row)
            print(row, flush=True)
    return rows


def losses(rows: Sequence[dict[str, Any]], choice: str | int) -> list[float]:
    """Return how far each row's r at a choice of depth, a column's or a fixed one, is below its best."""
    depths = [row[choice] if isinstance(choice, str) else choice for row in rows]
    return [max(row["noisy"]) - row["noisy"][depth - 1] for row, depth in zip(rows, depths, strict=True)]


if __name__ == "__main__":
    torch.set_num_threads(1)
    rows = measured()
    summary = {}
    for choice in ("recommended", "knowing the ideal", *DEPTHS):
        lost = losses(rows, choice)
        within = sum(value <= 0.005 for value in lost)
        summary[str(choice)] = {"mean": float(np.mean(lost)), "largest": max(lost), "within .005": within}
        print(choice, summary[str(choice)])
    told = f"python tutorials/tables/{command()}"
    content = {"command": told, "versions": versions(), "shots": SHOTS, "summary": summary, "rows": rows}
    (RESULTS / "under_noise_depth.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
