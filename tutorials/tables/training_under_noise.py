"""One model trained from scratch on exact values, under shots and under a device's noise, and what each is worth.

`python tutorials/tables/training_under_noise.py FOLDER` trains what FOLDER does not hold yet (a quarter of an hour on
an idle core; repeat it after an interruption) and writes `tutorials/results/training_under_noise.json`.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np

from qiskit_metainit import artifact
from qiskit_metainit.comparison import Comparison
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.jobs import make_engine
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.rating import answers, energies, ratio, spectrum
from qiskit_metainit.task import Task

RESULT = Path(__file__).resolve().parents[1] / "results" / "training_under_noise.json"
TRAIN = (
    "metainit train lstm --output {name} --reps 1 --sizes 5-7 --steps 100 --batch 8 --instances 200 "
    "--learning-rate {rate} --setting num_parameters=2 --setting queries=2 {engine}"
)
TRAININGS = {
    "untrained": {"rate": 0, "engine": ""},
    "exact": {"rate": 0.03, "engine": ""},
    "shots": {"rate": 0.03, "engine": "--engine general_shift --shots-per-eval 1000"},
    "shots_fez": {"rate": 0.03, "engine": "--engine general_shift --shots-per-eval 1000 --noise fake_fez"},
    "shots_fez_spsa": {"rate": 0.03, "engine": "--engine spsa --shots-per-eval 1000 --noise fake_fez"},
}
PAIRS = [(name, "exact") for name in ("shots", "shots_fez", "shots_fez_spsa")]
PAIRS += [(name, "untrained") for name in ("exact", "shots_fez")]
EVALUATE = "metainit evaluate {names} --reps 1 --sizes 5-7 --instances 40 --points-only --json held_out.json"


def metainit(line: str, folder: Path) -> None:
    """Run a command line of the installed program in a folder."""
    program = Path(sys.executable).with_name("metainit")
    subprocess.run([program, *shlex.split(line)[1:]], cwd=folder, check=True)


def under_noise(names: list[str], folder: Path) -> dict[str, np.ndarray]:
    """Return the exact ratios of answers whose queries a noisy device answered, on `metainit evaluate`'s instances."""
    rng, family = np.random.default_rng(1_000_003), MaxCut(sizes=range(5, 8))
    problems = [family.sample(rng) for _ in range(40)]
    tasks = [Task.qaoa(problem.operator, reps=1) for problem in problems]
    limits = np.array([spectrum(problem.operator) for problem in problems])
    ratios = {}
    for name in names:
        device = make_engine("parameter_shift", shots=1000, noise="fake_fez", rng=7)
        points = answers(artifact.read(folder / name).model, tasks, device)
        ratios[name] = ratio(energies(Statevector(), tasks, points), limits).round(6)
    return ratios


def main(folder: Path) -> None:
    """Train, compare and write."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, options in TRAININGS.items():
        if not (folder / name / "manifest.json").exists():
            metainit(TRAIN.format(name=name, **options), folder)
    metainit(EVALUATE.format(names=" ".join(TRAININGS)), folder)
    held_out = json.loads((folder / "held_out.json").read_text(encoding="utf-8"))
    comparison = Comparison.from_json(held_out)
    exact = {name: result.ratio for name, result in comparison.results.items()}
    noisy = under_noise(list(TRAININGS), folder)

    def paired(ratios: dict[str, np.ndarray]) -> dict[str, list[float]]:
        spans = {f"{a} - {b}": comparison.mean_interval(ratios[a] - ratios[b]) for a, b in PAIRS}
        return {pair: [round(number, 5) for number in span] for pair, span in spans.items()}

    content = {
        **held_out,
        "script": "python tutorials/tables/training_under_noise.py FOLDER",
        "paired_difference": paired(exact),
        "ratio_asked_under_noise": {name: ratios.tolist() for name, ratios in noisy.items()},
        "paired_difference_asked_under_noise": paired(noisy),
        "trainings": {name: dict(artifact.read(folder / name).training) for name in TRAININGS},
    }
    RESULT.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for name in TRAININGS:
        print(f"{name:16} r {exact[name].mean():.4f}, asked under noise {noisy[name].mean():.4f}")
    for key in ("paired_difference", "paired_difference_asked_under_noise"):
        print(key, json.dumps(content[key], indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
