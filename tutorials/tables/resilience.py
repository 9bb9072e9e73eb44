"""Whether mitigation is worth its shots in a QAOA run: python tutorials/tables/resilience.py.

The same graphs, starts and total shots; energies by outcomes as they are, with calibrated readout, and by the Estimator
of qiskit-ibm-runtime at its resilience levels. Points are judged by their exact, noiseless energies. What the results'
file has is not run again, so an interrupted run goes on.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from qiskit.providers import BackendV2

from qiskit_metainit import Deployment, ShotBudget
from qiskit_metainit.backends import fake_backend
from qiskit_metainit.deployment import LocalChannel
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.initializer import named
from qiskit_metainit.problem import Problem, diagonal_values
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.provenance import versions
from qiskit_metainit.rating import energies, random_points
from qiskit_metainit.reproduction import interval
from qiskit_metainit.task import Task

DEVICES, GRAPHS, SIZE, REPS, SEED = ("fake_fez", "fake_cusco"), 20, 6, 1, 3_000_017
BUDGET, SHOTS, READOUT = 20_000, 1000, 1000
MEASURES: dict[str, dict[str, Any]] = {
    "outcomes": {},
    "readout calibrated": {"readout_shots": READOUT},
    "resilience level 1": {"level": 1},
    "resilience level 1, half the shots": {"level": 1, "shots": SHOTS // 2},
    "resilience level 2": {"level": 2},
}
RESULTS = Path(__file__).parents[1] / "results" / "resilience.json"


def run(problem: Problem, device: BackendV2, start: np.ndarray, seed: int, measure: dict[str, Any]) -> dict[str, Any]:
    """Return what one run measured first, where it ended, and what it took."""
    channel = LocalChannel(device, estimator={"resilience_level": measure["level"]}) if "level" in measure else None
    began = time.perf_counter()
    with Deployment(device, ShotBudget(shots=BUDGET), channel=channel, seed=seed) as deployment:
        found = deployment.run(
            problem,
            reps=REPS,
            initial_point=start,
            shots_per_evaluation=measure.get("shots", SHOTS),
            readout_shots=measure.get("readout_shots", 0),
        )
    task = Task.qaoa(problem.operator, reps=REPS)
    values = diagonal_values(problem.operator)
    span = float(values.max() - values.min())
    first, last = energies(Statevector(), [task] * 2, np.stack([start, found.point]))
    return {
        "evaluations": len(found.energies),
        "shots": found.spent.shots,
        "measured_first_minus_exact": float(found.energies[0] - first) / span,
        "r_first": float(values.max() - first) / span,
        "r_last": float(values.max() - last) / span,
        "seconds": round(time.perf_counter() - began, 1),
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return for each start and measure the mean gain, the paired difference to outcomes, and errors of energies."""
    found = {}
    for start in dict.fromkeys(row["start"] for row in rows):
        plain = {
            (row["device"], row["graph"]): row["r_last"]
            for row in rows
            if (row["start"], row["measure"]) == (start, "outcomes")
        }
        for measure in MEASURES:
            own = [row for row in rows if (row["start"], row["measure"]) == (start, measure)]
            ahead = np.zeros((len(DEVICES), GRAPHS))
            for row in own:
                before = plain[row["device"], row["graph"]]
                ahead[DEVICES.index(row["device"]), row["graph"]] = row["r_last"] - before
            found[f"{start}, {measure}"] = {
                "gain": float(np.mean([row["r_last"] - row["r_first"] for row in own])),
                "ahead_of_outcomes": interval(ahead.mean(0)),  # the same graph on two devices is one instance
                "evaluations": float(np.mean([row["evaluations"] for row in own])),
                "root_mean_square_error_of_the_first_energy": {name: _error(own, name) for name in DEVICES},
            }
    return found


def _error(rows: list[dict[str, Any]], device: str) -> float:
    errors = [row["measured_first_minus_exact"] for row in rows if row["device"] == device]
    return float(np.sqrt(np.mean(np.square(errors))))


def main() -> None:
    """Run everything and write the file."""
    rng = np.random.default_rng(SEED)
    family = MaxCut(sizes=[SIZE])
    problems = [family.sample(rng) for _ in range(GRAPHS)]
    rows: list[dict[str, Any]] = json.loads(RESULTS.read_text())["runs"] if RESULTS.exists() else []
    known = {(row["device"], row["graph"], row["start"], row["measure"]) for row in rows}
    for index, problem in enumerate(problems):
        for name in DEVICES:
            device = fake_backend(name)
            task = Task.qaoa(problem.operator, reps=REPS)
            starts = {
                "qaoa": named("qaoa").initial_point(problem.operator, reps=REPS),
                "random": random_points(task, 1, SEED + index)[0],
            }
            for start, point in starts.items():
                for measure, settings in MEASURES.items():
                    if (name, index, start, measure) in known:
                        continue
                    found = run(problem, device, np.asarray(point), index, settings)
                    rows.append({"device": name, "graph": index, "start": start, "measure": measure} | found)
                    print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
                    write(rows)
    write(rows, summary(rows))


def write(rows: list[dict[str, Any]], found: dict[str, Any] | None = None) -> None:
    """Write what there is."""
    record: dict[str, Any] = {"command": "python tutorials/tables/resilience.py", "seed": SEED, "versions": versions()}
    record |= {"qubits": SIZE, "reps": REPS, "budget": BUDGET, "shots_an_evaluation": SHOTS, "readout_shots": READOUT}
    RESULTS.write_text(json.dumps(record | {"summary": found, "runs": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
