"""The best single point of the training graphs at each depth: run it to rewrite the table of the constant baseline."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.features import of_qaoa, stack
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.provenance import versions
from qiskit_metainit.rollout import normalised_cost
from qiskit_metainit.task import Task


def mean_degree_angle(family: MaxCut, instances: int, seed: int) -> float:
    """Return the training graphs' mean arctan(1/sqrt(degree - 1)), which takes the points to other degrees."""
    rng = np.random.default_rng(seed)
    batch = stack([of_qaoa(family.sample(rng).operator, 1) for _ in range(instances)])
    return float(batch.named("degree_angle").mean())


def best_point(family: MaxCut, reps: int, instances: int, seed: int) -> tuple[NDArray[np.float64], float]:
    """Return the (2p,) natural-unit point of the least mean normalised cost, and that cost, from the formula's mean."""
    rng = np.random.default_rng(seed)
    operators = [family.sample(rng).operator for _ in range(instances)]
    tasks = [Task.qaoa(operator, reps=reps) for operator in operators]
    batch = stack([of_qaoa(operator, reps) for operator in operators])
    cost = normalised_cost(Statevector(), tasks)

    def value_and_gradient(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        row = torch.as_tensor(point).requires_grad_()
        value = cost(row * batch.unit).mean()
        (gradient,) = torch.autograd.grad(value, row)
        return value.item(), gradient.numpy()

    start = SkInfinity().begin(batch)[0].mean(dim=0).numpy()
    found = minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", options={"ftol": 1e-10})
    return found.x, float(found.fun)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max-reps", type=int, default=8)
    parser.add_argument("--instances", type=int, default=1008)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("qiskit_metainit/models/constant.json"))
    arguments = parser.parse_args()
    family = MaxCut()
    depths = {}
    for reps in range(1, arguments.max_reps + 1):
        point, cost = best_point(family, reps, arguments.instances, arguments.seed)
        depths[str(reps)] = {"point": [round(float(angle), 6) for angle in point], "mean_cost": round(cost, 6)}
        print(reps, depths[str(reps)], flush=True)
    shown = f"--max-reps {arguments.max_reps} --instances {arguments.instances} --seed {arguments.seed}"
    content = {
        "source": "least mean normalised cost over Erdos-Renyi graphs with 6 to 9 nodes, natural units",
        "command": f"python tutorials/tables/constant.py {shown}",
        "family": dict(family.settings),
        "versions": versions(),
        "degree_angle": round(mean_degree_angle(family, arguments.instances, arguments.seed), 10),
        "depths": depths,
    }
    arguments.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
