"""Write tests/golden/artifact_v1 once: an artifact of format 1, and points that it must give in every later version.

python tests/golden/make_artifact_v1.py
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit.initializer import MetaInitializer
from qiskit_metainit.models.sk_correction import SkCorrection
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.training import Schedule

OPERATORS = [
    [("ZZII", 0.5), ("IZZI", 0.5), ("IIZZ", 0.5), ("ZIIZ", 0.5)],
    [("ZZIIII", 1.5), ("IZIZII", -0.25), ("IIZIZI", 3.0), ("ZIIIIZ", 0.75), ("IIIIII", 7.0)],
]


def main() -> None:
    folder = Path(__file__).parent / "artifact_v1"
    if folder.exists():
        raise SystemExit(f"{folder} exists. A golden file is written once; a new format gets a new one.")
    torch.manual_seed(0)
    meta = MetaInitializer(SkCorrection(width=8, layers=1))
    meta.train(
        MaxCut(sizes=[4, 5], weights=["uniform"]),
        reps=[1, 2],
        steps=20,
        batch=8,
        rng=0,
        schedule=Schedule(learning_rate=3e-2, instances=40),
    )
    meta.save(folder, command="python tests/golden/make_artifact_v1.py")
    points = [
        {
            "operator": terms,
            "reps": reps,
            "point": meta.initial_point(SparsePauliOp.from_list(terms), reps=reps).tolist(),
        }
        for terms in OPERATORS
        for reps in (1, 2)
    ]
    (folder.parent / "artifact_v1_points.json").write_text(json.dumps(points, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
