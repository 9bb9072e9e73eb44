"""Lee, Cho, Kim 2025 run again: Q-MAML's starting points for VQE, at the paper's learning rate and at tuned ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, final

from qiskit_metainit.parallel import Job
from qiskit_metainit.reproduction import Progress, Reproduction, Stages
from qiskit_metainit.reproductions import _lee2025_jobs as jobs
from qiskit_metainit.reproductions import _lee2025_page as page
from qiskit_metainit.reproductions._lee2025_setups import Setup

_LOADED = (5, 6, 7)
"""Qubits of the distributions that perceptrons are trained longer on."""


@final
@dataclass(frozen=True, kw_only=True)
class Lee2025:
    """Q-MAML of Lee, Cho and Kim 2025 (AAAI, arXiv:2501.05906) on spin chains, molecules and distributions.

    The Learner and the four baselines are trained, drawn and adapted as in the text. Beside them: a point shared by all
    tasks, the Hartree-Fock determinant, and the circuit that reaches the ground states of spin chains, with an
    unlearned ramp and a learner that knows their symmetries. Our choices where the text gives none: the layers of the
    spin chains' circuit and how its angles are shared, the numbers of tasks, the molecules, the batches, the
    activation, and all of the distributions.
    """

    quick: bool = False
    """Few qubits, tasks and steps: to see that it works."""
    full: bool = False
    """More of everything, and chains of 20 qubits; hours on two cores."""
    seed: int = 0
    """Of tasks, weights, batches and random starts."""
    workers: int = 2
    """Processes."""

    def __post_init__(self) -> None:
        if self.quick and self.full:
            raise ValueError("Either a quick or a full run is needed, but both came. Leave one of them out.")

    def run(self, stages: Stages, progress: Progress) -> Reproduction:
        """See Experiment."""
        done = stages.get("learning", lambda: stages.get_all(self._first(), self.workers, progress))
        done |= stages.get("adapting", lambda: stages.get_all(self._second(done), self.workers, progress))
        return page.reproduction(
            {
                "seed": self.seed,
                "settings": {"quick": self.quick, "full": self.full, "loading": list(self._loading)},
                "setups": {name: self._collected(name, setup, done) for name, setup in self.setups.items()},
                "loading": {
                    str(size): [value for key, value in done.items() if key.startswith(f"loading {size} ")]
                    for size in _LOADED
                    if f"loading {size} 0" in done
                },
            }
        )

    def _first(self) -> dict[str, Job]:
        """Return what needs nothing else."""
        found: dict[str, Job] = {}
        job: Job
        for name, setup in self.setups.items():
            found[f"{name}: reference"] = partial(jobs.reference, setup, self.seed)
            for learner in setup.learners:
                for number in range(setup.seeds if learner != "constant" else 1):
                    job = partial(jobs.learn, setup, learner, number, self.seed)
                    found[f"{name}: learning {learner} {number}"] = job
        for size in _LOADED[: 1 if self.quick else None]:
            for number in range(1 if self.quick else 3):
                job = partial(jobs.load_distributions, number, size, *self._loading, self.seed)
                found[f"loading {size} {number}"] = job
        return found

    def _second(self, done: Mapping[str, Any]) -> dict[str, Job]:
        """Return the adaptation of every start."""
        found: dict[str, Job] = {}
        for name, setup in self.setups.items():
            for start in setup.starts:
                key = f"{name}: learning {start} "
                trained = [done[f"{key}{number}"] for number in range(setup.seeds) if f"{key}{number}" in done]
                found[f"{name}: from {start}"] = partial(jobs.adapt_from, setup, start, self.seed, trained)
        return found

    def _collected(self, name: str, setup: Setup, done: Mapping[str, Any]) -> dict[str, Any]:
        def named(start: str) -> dict[str, Any]:
            return {key.removeprefix(start): value for key, value in done.items() if key.startswith(start)}

        return {
            "setup": {key: list(value) if isinstance(value, tuple) else value for key, value in vars(setup).items()},
            "reference": done[f"{name}: reference"],
            "learning": {
                key: {what: value[what] for what in ("losses", "gradient norms")}
                for key, value in named(f"{name}: learning ").items()
            },
            "starts": named(f"{name}: from "),
        }

    @property
    def _loading(self) -> tuple[int, int]:
        """Steps and test distributions of the perceptrons that are trained longer."""
        return (150, 10) if self.quick else (2000, 100)

    @property
    def setups(self) -> dict[str, Setup]:
        """The experiments by name."""
        if self.quick:
            few: dict[str, Any] = {"epochs": 5, "steps": 40, "tuned_steps": 20, "rates": (3e-2,), "seeds": 1}
            few |= {"training": 16, "testing": 4}
            return {
                "Heisenberg, 6 qubits": Setup(kind="blocks", size=6, layers=3, **few),
                "Heisenberg, 6 qubits, Bell pairs": Setup(kind="bell_pairs", size=6, layers=4, **few),
                "molecules, 10 qubits": Setup(kind="molecule", size=10, layers=2, **few),
                "distributions, 5 qubits": Setup(kind="distribution", size=5, layers=5, **few),
            }
        whole = self.full
        chains: dict[str, Any] = {"training": 144 if whole else 96, "testing": 16 if whole else 6}
        chains |= {"steps": 2000 if whole else 600, "tuned_steps": 400 if whole else 80}
        molecules: dict[str, Any] = {"kind": "molecule", "layers": 7, "training": 54, "testing": 6 if whole else 5}
        setups = {
            "molecules, 14 qubits": Setup(
                size=14,
                **molecules,
                steps=2000 if whole else 100,
                tuned_steps=400 if whole else 25,
                rates=(1e-2, 3e-2, 1e-1) if whole else (1e-2, 5e-2),
                seeds=3 if whole else 1,
            ),
            "Heisenberg, 12 qubits": Setup(kind="blocks", size=12, layers=20 if whole else 6, **chains),
            "Heisenberg, 12 qubits, Bell pairs": Setup(kind="bell_pairs", size=12, layers=7, **chains),
            "molecules, 10 qubits": Setup(size=10, **molecules, steps=2000 if whole else 400, tuned_steps=100),
            "distributions, 6 qubits": Setup(
                kind="distribution",
                size=6,
                layers=5,
                training=1008,
                testing=16,
                batch=32,
                steps=2000,
                precision="double",
            ),
        }
        if whole:
            large: dict[str, Any] = {"training": 24, "testing": 4, "epochs": 5, "steps": 100, "tuned_steps": 20}
            large |= {"rates": (3e-2,), "seeds": 1}
            setups["Heisenberg, 20 qubits"] = Setup(kind="blocks", size=20, layers=4, **large)
        return setups
