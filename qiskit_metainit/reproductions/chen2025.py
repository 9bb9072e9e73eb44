"""Chen et al. 2025 run again: a QLSTM that learns on problems of 7 qubits to optimise those of 8 to 16."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import final

from qiskit_metainit.reproduction import Progress, Reproduction, Stages
from qiskit_metainit.reproductions._chen2025_page import reproduction
from qiskit_metainit.reproductions._chen2025_plan import FAMILIES, Plan
from qiskit_metainit.reproductions._chen2025_results import Results


@final
@dataclass(frozen=True, kw_only=True)
class Chen2025:
    """The QLSTM optimiser of Chen et al. 2025 (arXiv:2505.00561) beside the optimisers that the paper compares it with.

    Trained by back-propagation through time on MaxCut of Erdos-Renyi graphs with 7 nodes and edge probability k/7,
    k = 1..6, and on Sherrington-Kirkpatrick spin glasses of 7 spins; tested on larger ones. The paper gives neither
    the depth p, nor the length of the unrolled training, nor learning rates: here p = 1 and 2, T = 10, Adam for the
    models, and for the comparators rates tuned on training problems. Theta starts at zero for the models, at a random
    point for the comparators, the same for all of them.
    """

    quick: bool = False
    """Depth 1, few seeds, sizes and problems: to see that it works."""
    seed: int = 0
    """Of training and test problems, weights and random starts."""
    seeds: int = 5
    """Training seeds at p = 1; at p = 2, whose 9-qubit gates take longest, at most 3, and 2 when quick."""
    graphs: int = 17
    """Test graphs for each size and edge probability; 2 when quick."""
    glasses: int = 40
    """Test spin glasses of each size; 8 when quick."""
    iterations: int = 50
    """Of every optimiser; the models at p = 2 stop after the 10 that they are trained for."""
    shots: int = 1024
    """Bitstrings among which the best sample is the best."""
    workers: int = 2
    """Processes."""

    def run(self, stages: Stages, progress: Progress) -> Reproduction:
        """See Experiment."""
        settings = dataclasses.asdict(self)
        shared = {name: value for name, value in settings.items() if name != "workers"}
        depths = (1,) if self.quick else (1, 2)
        plans = [Plan(family=family, reps=reps, **shared) for reps in depths for family in FAMILIES]
        # The deepest first: they take longest.
        trainings = {name: job for plan in reversed(plans) for name, job in plan.trainings(stages).items()}
        trained = stages.get("training", lambda: stages.get_all(trainings, self.workers, progress))
        tests = {name: job for plan in reversed(plans) for name, job in plan.tests(trained).items()}
        tested = stages.get("testing", lambda: stages.get_all(tests, self.workers, progress))
        records = [plan.record(trained, tested) for plan in plans]
        return reproduction(Results(records, {family: tested[f"{family}-depths"] for family in FAMILIES}, settings))
