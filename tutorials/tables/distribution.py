"""Total variation of the distributions that the shipped initializer loads: python tutorials/tables/distribution.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from qiskit_metainit import Distribution, MetaInitializer
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.problems.distribution import probabilities, target_probabilities, total_variation
from qiskit_metainit.provenance import versions
from qiskit_metainit.rating import answers
from qiskit_metainit.task import Task

TARGETS, SEED = 100, 910_000
RESULTS = Path(__file__).parents[1] / "results" / "distribution_total_variation.json"


def main() -> None:
    """Rate the proposed points on held-out densities of each size and write the file."""
    meta = MetaInitializer.load("distribution")
    sizes: dict[int, Any] = {}
    for size in (5, 6, 7):
        rng = np.random.default_rng(SEED + size)
        problems = [Distribution(sizes=[size]).sample(rng) for _ in range(TARGETS)]
        tasks = [Task.of(problem) for problem in problems]
        points = answers(meta.model, tasks, Statevector())
        found = [
            total_variation(
                probabilities(problem.ansatz, point[: task.num_parameters]), target_probabilities(problem.operator)
            )
            for problem, task, point in zip(problems, tasks, points, strict=True)
        ]
        sizes[size] = {"mean": float(np.mean(found)), "median": float(np.median(found))}
        sizes[size]["values"] = np.round(found, 6).tolist()
        print(size, sizes[size]["mean"], sizes[size]["median"], max(found))
    record: dict[str, Any] = {
        "command": "python tutorials/tables/distribution.py",
        "seed": SEED,
        "versions": versions(),
    }
    record["sizes"] = sizes
    RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
