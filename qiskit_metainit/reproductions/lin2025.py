"""Lin, Hsu, Chen 2025 run again: four sequence models that propose QAOA angles, as published, and then surpassed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, final

from qiskit_metainit.epochs import Schedule
from qiskit_metainit.parallel import Job
from qiskit_metainit.reproduction import Progress, Reproduction, Stages
from qiskit_metainit.reproductions import _lin2025_jobs as jobs
from qiskit_metainit.reproductions import _lin2025_page as page
from qiskit_metainit.reproductions._lin2025_results import SIZES, Results


@final
@dataclass(frozen=True, kw_only=True)
class Lin2025:
    """The QK-LSTM, LSTM, QLSTM and QFWP of Lin, Hsu, Chen 2025 (arXiv:2512.05058) on MaxCut at p = 1.

    Trained as published, graph by graph, on 1008 Erdos-Renyi graphs with 6 to 9 nodes; tested on graphs with 10 to 13
    in two phases, ten proposals of the model and up to 300 steps of gradient descent. The paper trains each model once
    and tests on 14 to 20 graphs a size. Beside them: random points, the best constant of the training graphs, each
    graph's own optimum, and the same four models trained in batches with what lets them react to the graph.
    """

    quick: bool = False
    """One seed, few graphs, three epochs: to see that it works."""
    seed: int = 2512
    """Of graphs, weights, random starts and resampling."""
    seeds: int = 8
    """Training seeds of each published model; they run side by side."""
    more_seeds: int = 5
    """Training seeds of each model beyond the published form."""
    graphs: int = 100
    """Test graphs of each size at least, as many for each edge probability; 14 to 20 in the paper."""
    workers: int = 2
    """Processes."""
    recipes: Mapping[str, jobs.Recipe] = field(default_factory=lambda: dict(jobs.RECIPES))
    """How the four are trained when they are not bound to the published form."""
    deeper: Mapping[str, jobs.Recipe] = field(default_factory=lambda: dict(jobs.DEEPER))
    """How the LSTM is trained for deeper circuits."""

    def run(self, stages: Stages, progress: Progress) -> Reproduction:
        """See Experiment."""
        trained = stages.get("training", lambda: self._train(stages, progress))
        tested = stages.get("testing", lambda: self._test(trained, stages, progress))
        return page.reproduction(
            Results(
                settings={
                    "seed": self.seed,
                    "quick": self.quick,
                    "seeds": self._seeds,
                    "schedule": vars(self._schedule),
                    "training graphs": 18 * self._data.per_pair,
                    "recipes": {name: vars(recipe) for name, recipe in self._all_recipes.items()},
                },
                published={name: trained[f"published {name}"]["reports"] for name in jobs.MODELS},
                moved={name: trained[f"published {name}"]["moved"] for name in jobs.MODELS},
                beyond={name: self._seeds_of(name, trained) for name in self._all_recipes},
                constant=trained["constant"],
                sizes={size: tested[f"testing n = {size}"] for size in SIZES},
                deeper={name: tested[f"testing {name}"] for name in self._deeper},
            )
        )

    @property
    def _seeds(self) -> int:
        return 1 if self.quick else self.seeds

    @property
    def _data(self) -> jobs.Data:
        return jobs.Data(self.seed, *((4, 1) if self.quick else (56, self.graphs)))

    @property
    def _schedule(self) -> Schedule:
        return Schedule(epochs=3) if self.quick else Schedule()

    @property
    def _more_seeds(self) -> int:
        return 1 if self.quick else self.more_seeds

    @property
    def _recipes(self) -> dict[str, jobs.Recipe]:
        return self._shortened(self.recipes)

    @property
    def _deeper(self) -> dict[str, jobs.Recipe]:
        return self._shortened(dict(list(self.deeper.items())[:1]) if self.quick else self.deeper)

    @property
    def _all_recipes(self) -> dict[str, jobs.Recipe]:
        return {**self._recipes, **self._deeper}

    def _shortened(self, recipes: Mapping[str, jobs.Recipe]) -> dict[str, jobs.Recipe]:
        short = {"steps": 12, "batch": 8} if self.quick else {}
        return {name: jobs.Recipe(**{**vars(recipe), **short}) for name, recipe in recipes.items()}

    def _seeds_of(self, name: str, trained: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [trained[f"beyond {name}, seed {number}"] for number in range(self._more_seeds)]

    def _train(self, stages: Stages, progress: Progress) -> dict[str, Any]:
        work: dict[str, Job] = {}
        for name in jobs.MODELS:
            file = stages.checkpoint(f"published-{name}")
            work[f"published {name}"] = partial(
                jobs.train_published, name, self._data, self._seeds, self._schedule, file
            )
        for name, recipe in self._all_recipes.items():
            model = name if name in jobs.MODELS else "lstm"
            for number in range(self._more_seeds):
                title = f"beyond {name}, seed {number}"
                file = stages.checkpoint(f"beyond-{name.replace(' = ', '-')}-seed-{number}")
                work[title] = partial(jobs.train_beyond, model, recipe, self._data, number, file)
        work["constant"] = partial(jobs.constant_of_training, self._data)
        return stages.get_all(work, self.workers, progress)

    def _test(self, trained: Mapping[str, Any], stages: Stages, progress: Progress) -> dict[str, Any]:
        published = {name: trained[f"published {name}"]["weights"] for name in jobs.MODELS}
        beyond = {name: self._seeds_of(name, trained) for name in self._recipes}
        work: dict[str, Job] = {
            f"testing n = {size}": partial(
                jobs.test_size, size, self._data, published, beyond, trained["constant"]["point"]
            )
            for size in sorted(SIZES, reverse=True)  # the longest first, so that no process idles at the end
        }
        for name, recipe in self._deeper.items():
            own = self._seeds_of(name, trained)
            work[f"testing {name}"] = partial(jobs.test_deeper, recipe.reps, self._data, own)
        return stages.get_all(work, self.workers, progress)
