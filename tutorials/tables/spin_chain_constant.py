"""Write the table behind `SpinChainConstant`: the best single canonical point of each depth, on chains and on rings."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from qiskit_metainit.ansatz import stretch
from qiskit_metainit.chain_form import chain_points, chains
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.features import stack
from qiskit_metainit.models.spin_chain_ramp import ramp
from qiskit_metainit.problems.heisenberg import Heisenberg
from qiskit_metainit.provenance import versions
from qiskit_metainit.task import Task

SIZES = (4, 6, 8, 10)
STEP = 0.3  # of the ramp that searches start from
TYPICAL = (1.0, 0.6, 0.0)  # couplings of that ramp


def sizes_of(layers: int) -> list[int]:
    """Return the sizes whose default depth L = n/2 + 1 is the nearest to L, and the next to it."""
    usual = min(max(2 * (layers - 1), min(SIZES)), max(SIZES))
    return [size for size in SIZES if abs(size - usual) <= 2]


def best_point(
    layers: int, boundary: str, shallower: NDArray[np.float64] | None, instances: int, seed: int
) -> tuple[NDArray[np.float64], float]:
    """Return the (L, 2, 3) canonical angles of the least mean relative gap, and that gap.

    Searches start from a ramp and, if there is one, from the stretched point of a shallower circuit.
    """
    rng = np.random.default_rng([seed, layers])
    family = Heisenberg(sizes=sizes_of(layers), boundary=(boundary,), layers=(layers,))
    problems = [family.sample(rng) for _ in range(instances)]
    tasks = [Task.of(problem) for problem in problems]
    levels = [problem.levels for problem in problems]
    lowest = torch.tensor([level.lowest for level in levels], dtype=torch.float64)
    unit = torch.tensor([level.unit for level in levels], dtype=torch.float64)
    forms = chains(stack([task.features for task in tasks]))
    engine = Statevector()

    def value_and_gradient(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        angles = torch.as_tensor(point).requires_grad_()
        points = chain_points(forms, [angles.view(layers, 2, 3)] * len(forms))
        value = ((engine.expectation(tasks, points) - lowest) / unit).mean()
        (gradient,) = torch.autograd.grad(value, angles)
        return value.item(), gradient.numpy()

    starts = [ramp(forms[0].stage, torch.tensor(TYPICAL, dtype=torch.float64), STEP).flatten().numpy()]
    if shallower is not None:
        columns = shallower.reshape(len(shallower), 6).T
        starts.append(np.stack([stretch(column.tolist(), layers).numpy() for column in columns], axis=1).ravel())
    options = {"ftol": 1e-6, "maxiter": 150}
    found = [minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", options=options) for start in starts]
    best = min(found, key=lambda one: one.fun)
    return best.x.reshape(layers, 2, 3), float(best.fun)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max-layers", type=int, default=8)
    parser.add_argument("--instances", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("qiskit_metainit/models/spin_chain_constant.json"))
    arguments = parser.parse_args()
    tables = {}
    for boundary in ("open", "periodic"):
        table, angles = {}, None
        for layers in range(1, arguments.max_layers + 1):
            angles, gap = best_point(layers, boundary, angles, arguments.instances, arguments.seed)
            table[str(layers)] = {
                "angles": angles.round(6).tolist(),
                "sizes": sizes_of(layers),
                "mean_gap": round(gap, 6),
            }
            print(boundary, layers, sizes_of(layers), round(gap, 5), flush=True)
        tables[boundary] = table
    shown = f"--max-layers {arguments.max_layers} --instances {arguments.instances} --seed {arguments.seed}"
    content = {
        "source": "least mean relative gap over Heisenberg models with J in [-3, 3]; canonical angles, radians",
        "command": f"python tutorials/tables/spin_chain_constant.py {shown}",
        "versions": versions(),
        **tables,
    }
    arguments.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
