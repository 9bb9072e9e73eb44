"""Optimal QAOA angles for MaxCut on regular graphs without short cycles, recomputed from the published iteration.

Source: Basso, Farhi, Marwaha, Villalonga, Zhou (2022, arXiv:2110.14206), the iteration at finite degree, as it stands
in sk_infinity.py. On a tree, and so on a graph whose cycles are longer than 2p + 1, the cut fraction of degree
d = D + 1 is 1/2 + nu_p / sqrt(D). Wurtz and Lykov (2021, arXiv:2107.00677) call its maxima fixed angles.

Every depth of a degree is searched from three starts: the SK-infinity schedule rescaled to that degree, the depth
before it extrapolated, and the degree before it. Angles are stored for the maximised C = sum 1/2 (1 - ZZ):
gamma_C = 2 gamma / sqrt(D).

Usage: python tutorials/tables/fixed_angles.py --degrees 3 10 --max-reps 9
"""

import argparse
import json
import math
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from sk_infinity import FloatArray, interpolate, loss_and_gradient, optimise

SOURCE = (
    "Basso, Farhi, Marwaha, Villalonga, Zhou (2022), 'The Quantum Approximate Optimization Algorithm at High Depth for "
    "MaxCut on Large-Girth Regular Graphs and the Sherrington-Kirkpatrick Model', arXiv:2110.14206: nu_p(D, gamma, "
    "beta) from the iteration at finite degree; recomputed and maximised by our own code; gamma in the convention of "
    "C = sum 1/2 (1 - ZZ)"
)


def rescaled(row: dict[str, list[float]], degree: int) -> FloatArray:
    """Returns the SK-infinity schedule for a degree, as [gamma, beta]: gamma_C = 2 gamma arctan(1/sqrt(D))."""
    factor = math.sqrt(degree - 1) * math.atan(1 / math.sqrt(degree - 1))
    return np.concatenate([factor * np.array(row["gamma"]), row["beta"]])


def main() -> None:
    """Computes the table depth by depth and writes it after each one."""
    parser = argparse.ArgumentParser(description="Optimal QAOA angles of regular graphs without short cycles.")
    parser.add_argument("--degrees", type=int, nargs=2, default=(3, 10), help="smallest and largest degree")
    parser.add_argument("--max-reps", type=int, default=9, help="largest depth p")
    parser.add_argument("--infinite", type=Path, default=Path("qiskit_metainit/models/sk_infinity.json"))
    parser.add_argument("--out", type=Path, default=Path("qiskit_metainit/models/fixed_angles.json"))
    arguments = parser.parse_args()

    # One core: the tensors are too small for more to help, and the result does not depend on a thread count.
    torch.set_num_threads(1)
    infinite = json.loads(arguments.infinite.read_text(encoding="utf-8"))["depths"]
    degrees = range(arguments.degrees[0], arguments.degrees[1] + 1)
    rows: dict[str, dict[str, dict[str, list[float] | float]]] = {str(degree): {} for degree in degrees}
    table = {
        "source": SOURCE,
        "command": "",
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in ("torch", "numpy", "scipy")},
        },
        "degrees": rows,
    }
    shallower: dict[int, FloatArray] = {}
    for reps in range(1, arguments.max_reps + 1):
        points: dict[int, FloatArray] = {}
        for degree in degrees:
            started = time.perf_counter()
            starts = [rescaled(infinite[str(reps)], degree)]
            if degree in shallower:
                starts.append(np.concatenate([interpolate(angles) for angles in np.split(shallower[degree], 2)]))
            if degree - 1 in points:
                starts.append(points[degree - 1])
            points[degree] = optimise(starts, degree)
            value, gradient = loss_and_gradient(points[degree], degree)
            cut = 0.5 - value / math.sqrt(degree - 1)
            seconds = time.perf_counter() - started
            largest = np.abs(gradient).max()
            print(f"p={reps} d={degree} cut {cut:.10f} largest gradient {largest:.1e} {seconds:.0f} s", file=sys.stderr)
            gamma, beta = np.split(points[degree], 2)
            rows[str(degree)][str(reps)] = {
                "gamma": [round(float(angle), 10) for angle in 2 * gamma / math.sqrt(degree - 1)],
                "beta": [round(float(angle), 10) for angle in beta],
                "cut": round(cut, 10),
            }
        shallower = points
        table["command"] = (
            f"python tutorials/tables/fixed_angles.py --degrees {degrees[0]} {degrees[-1]} --max-reps {reps}"
        )
        arguments.out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
