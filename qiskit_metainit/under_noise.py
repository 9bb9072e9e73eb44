"""Whether a start keeps its lead under a device's noise: runs of equal total shots on fake devices, judged exactly."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import NDArray
from qiskit.providers import BackendV2
from scipy.optimize import minimize

from qiskit_metainit.backends import fake_backend
from qiskit_metainit.budget import ShotBudget
from qiskit_metainit.deployment import Deployment, Run, make_optimizer
from qiskit_metainit.deployment.adapters.templates import Templates, transpile
from qiskit_metainit.deployment.channels.exact import ExactChannel
from qiskit_metainit.deployment.depth import log_fidelity
from qiskit_metainit.deployment.optimizers import stay
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.initializer import MetaInitializer, named
from qiskit_metainit.isomorphism import duplicates
from qiskit_metainit.models.random_point import RandomPoint
from qiskit_metainit.noise_standings import BEST, OPTIMISING, NoiseStandings
from qiskit_metainit.parallel import Job
from qiskit_metainit.problem import Problem, diagonal_values
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.rating import energies
from qiskit_metainit.reproduction import Progress, Stages
from qiskit_metainit.task import Task

KINDS = (("erdos_renyi", "unit"), ("erdos_renyi", "uniform"), ("regular", "unit"), ("regular", "uniform"))
"""Graphs and weights of the instances, in turn; the regular ones are 3-regular."""

_Row: TypeAlias = dict[str, Any]
"""One run: its start, budget, policy, evaluations, shots and metrics."""
_Cell: TypeAlias = tuple[int, str, int]
"""Layers, start and budget: what a policy is chosen for."""


@final
@dataclass(frozen=True)
class Policy:
    """How a run spends its shots: every evaluation and the final sampling take the same share."""

    optimizer: str = "none"
    """"cobyla", "spsa", or "none": everything goes into the final sampling of the start."""
    evaluations: int = 0
    """Of the optimiser, at most."""
    rhobeg: float = 0.2
    """COBYLA's first trust radius, natural units."""
    draws: int = 0
    """Random points that are measured first, within the evaluations; the optimiser goes on from the best."""

    def __str__(self) -> str:
        if not self.evaluations:
            return "no optimisation"
        drawn = f"best of {self.draws}, " if self.draws else ""
        radius = f" from {self.rhobeg:g}" if self.optimizer == "cobyla" else ""
        return f"{drawn}{self.optimizer} {self.evaluations}{radius}"

    def workload(self, problem: Problem, budget: int, seed: int) -> dict[str, Any]:
        """Return what ``Deployment.run`` is told."""
        if not self.evaluations:
            return {"optimizer": stay, "shots_per_evaluation": 1, "final_shots": budget - 1}
        share = budget // (self.evaluations + 2)  # SPSA may measure its last point once more
        maxiter = self.evaluations // 2 if self.optimizer == "spsa" else self.evaluations - self.draws
        optimizer: Any = make_optimizer(self.optimizer, maxiter=maxiter, rhobeg=self.rhobeg, problem=problem)
        if self.draws:
            optimizer = partial(_best_of, optimizer, self.draws, seed)
        return {"optimizer": optimizer, "shots_per_evaluation": share, "final_shots": share}


POLICIES = (
    Policy(),
    *(Policy("cobyla", count, 0.2) for count in (15, 30)),
    *(Policy("cobyla", count, 0.5) for count in (30, 60)),
    *(Policy("spsa", count) for count in (30, 60)),
)
"""Among which the best is found for every start but the random one."""
OF_RANDOM = (Policy("cobyla", 60, 0.5, draws=20),)
"""The same for the random start. A single draw is left out: which optimiser then does best hangs on the few tuning
graphs where it is lucky, and on others it is stuck."""


@final
@dataclass(frozen=True)
class Study:
    """Runs from several starts on fake devices, each within the same total of shots, the final sampling included.

    The way to spend the shots is chosen for every start, budget and depth by the mean noisy r on tuning graphs, which
    are no test graphs. All starts run on the same test graphs with the same seeds.
    """

    initializers: tuple[str, ...] = ("qaoa",)
    """Names of the learned starts, beside "random" and "sk_infinity"."""
    devices: tuple[str, ...] = ("fake_fez", "fake_washington", "fake_cusco")
    """Of ``qiskit_ibm_runtime.fake_provider``; by default with cz, cx and ecr gates of .3, .7 and 1.4% error."""
    budgets: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    """Total shots of a run."""
    reps: tuple[int, ...] = (1, 2)
    """QAOA layers p."""
    sizes: tuple[int, ...] = (6, 7, 8)
    """Numbers of nodes."""
    graphs: int = 24
    """Test graphs."""
    tuning: int = 3
    """Tuning graphs."""
    policies: tuple[Policy, ...] = POLICIES
    """Candidates of every start but the random one."""
    of_random: tuple[Policy, ...] = OF_RANDOM
    """Candidates of the random start."""
    seed: int = 1_000_003
    """Of the graphs, the random start, the optimisers and the shots."""

    @property
    def starts(self) -> tuple[str, ...]:
        """Names of all starts."""
        return ("random", "sk_infinity", *(name for name in self.initializers if name != "sk_infinity"))

    @property
    def settings(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        return dict(json.loads(json.dumps({**asdict(self), "starts": self.starts})))

    def run(self, stages: Stages, workers: int, progress: Progress) -> NoiseStandings:
        """Run it, or what an interruption left of it.

        Args:
            stages: keep the finished pieces: one depth on one graph on one device each.
            workers: processes.
            progress: called with (stage, done, of).

        Raises:
            ValueError: if a device or an initializer is not known, or a budget is too small for the policies.
        """
        least = 4 * (2 + max(policy.evaluations for policy in (*self.policies, *self.of_random)))
        if min(self.budgets) < least:
            raise ValueError(f"Budgets of at least {least} shots are needed, but {min(self.budgets)} came.")
        for name in self.devices:
            fake_device(name)
        for name in self.starts[1:]:
            named(name)
        test = instances(self.graphs, self.sizes, self.seed)
        tuning = instances(self.tuning, self.sizes, self.seed + 1, apart_from=test)
        candidates = {
            (depth, start, budget): self.of_random if start == "random" else self.policies
            for depth in self.reps
            for start in self.starts
            for budget in self.budgets
        }
        tuned = stages.get("tuning", lambda: self._pieces("tuning", tuning, candidates, stages, workers, progress))
        chosen = _chosen([row for piece in tuned for row in piece["runs"]], candidates)
        kept = {cell: tuple(dict.fromkeys(pair)) for cell, (*pair, _) in chosen.items()}
        tested = stages.get("test", lambda: self._pieces("test", test, kept, stages, workers, progress))
        policies = [
            {"reps": reps, "start": start, "budget": budget, BEST: str(best), OPTIMISING: str(second), "tuning": means}
            for (reps, start, budget), (best, second, means) in chosen.items()
        ]
        return NoiseStandings(self.settings, policies, tested)

    def _pieces(
        self,
        stage: str,
        problems: Sequence[Problem],
        policies: Mapping[_Cell, tuple[Policy, ...]],
        stages: Stages,
        workers: int,
        progress: Progress,
    ) -> list[Mapping[str, Any]]:
        jobs: dict[str, Job] = {
            f"{stage} graph {graph} {device} p={depth}": _Piece(
                problem, graph, device, depth, self.starts, policies, self.seed + (stage == "tuning") + 1000 * graph
            )
            for graph, problem in enumerate(problems)
            for device in self.devices
            for depth in self.reps
        }
        done: dict[str, float] = {}

        def report(name: str, part: int, of: int) -> None:
            done[name] = part / of
            progress(stage, round(100 * sum(done.values())), 100 * len(jobs))

        return list(stages.get_all(jobs, workers, report).values())


def instances(
    count: int, sizes: Sequence[int], seed: int, *, apart_from: Sequence[Problem] = ()
) -> tuple[Problem, ...]:
    """Return MaxCut problems of ``KINDS`` in turn, no two of them isomorphic, nor to one of ``apart_from``.

    Raises:
        ValueError: if there are not so many.
    """
    rng = np.random.default_rng(seed)
    even = [size for size in sizes if size % 2 == 0] or [6]
    found: list[Problem] = []
    for place in range(count):
        graphs, weights = KINDS[place % len(KINDS)]
        regular = graphs == "regular"
        own, degrees = (even, [3]) if regular else (list(sizes), None)
        family = MaxCut(sizes=own, graphs=[graphs], weights=[weights], degrees=degrees)
        for _ in range(200):
            problem = family.sample(rng)
            if not duplicates([problem], [*found, *apart_from]):
                break
        else:
            raise ValueError(
                f"{count} graphs that differ are needed, but of {graphs} ones with {weights} weights there are fewer. "
                "Ask for fewer, or for more sizes."
            )
        found.append(problem)
    return tuple(found)


@dataclass(frozen=True, eq=False)
class _Piece:
    """All runs of one depth on one graph on one device, for a process of its own."""

    problem: Problem
    graph: int
    device: str
    reps: int
    starts: tuple[str, ...]
    policies: Mapping[_Cell, tuple[Policy, ...]]
    seed: int

    def __call__(self, report: Callable[[int, int], None]) -> dict[str, Any]:
        backend = fake_device(self.device)
        channel = ExactChannel(backend)
        deployment = Deployment(backend, channel=channel, seed=self.seed)
        judge = Judge.of(self.problem, self.reps, backend, channel)
        work = [
            (start, budget, policy)
            for (reps, start, budget), policies in self.policies.items()
            if reps == self.reps
            for policy in policies
        ]
        metas = {name: MetaInitializer(RandomPoint(seed=self.seed)) for name in ("random",)}
        metas |= {name: named(name) for name in self.starts if name != "random"}
        runs: list[_Row] = []
        ends: list[NDArray[np.float64]] = []
        started: dict[str, _Row] = {}
        for done, (start, budget, policy) in enumerate(work):
            report(done, len(work))
            deployment.budget = ShotBudget(shots=budget)
            told = policy.workload(self.problem, budget, self.seed)
            run = deployment.run(self.problem, reps=self.reps, initializer=metas[start], **told)
            if start not in started:
                started[start] = {"start": start, **judge.point(run.proposal.point)}
            runs.append({"start": start, "reps": self.reps, "budget": budget, "policy": str(policy)})
            runs[-1] |= {"evaluations": len(run.energies), "shots": run.shots_spent, "stopped": run.stopped}
            runs[-1] |= {**judge.point(run.point), "best": judge.best(run)}
            ends += [run.proposal.point, run.point]
        report(len(work), len(work))
        facts: dict[str, Any] = {
            "graph": self.graph,
            "device": self.device,
            "reps": self.reps,
            "nodes": self.problem.num_qubits,
        }
        facts["optimum"] = judge.optimum(ends)
        return {**facts, **judge.facts, "starts": list(started.values()), "runs": runs}


@dataclass(frozen=True, eq=False)
class Judge:
    """What points of one problem on one device are worth, exactly."""

    task: Task
    """The landscape without noise."""
    values: NDArray[np.float64]
    """(2^Q,) energies of the bitstrings."""
    noisy: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    """Gives the (2^Q,) probabilities of the outcomes at a (P,) point."""
    facts: Mapping[str, Any]
    """Of the circuit: its two-qubit gates and log-fidelity; and r of random bitstrings, "mixed"."""

    @classmethod
    def of(cls, problem: Problem, reps: int, backend: BackendV2, channel: ExactChannel) -> Judge:
        """Return the judge of a diagonal problem at a depth, its circuit transpiled as a deployment does it."""
        task = Task.of(problem, reps=reps)
        templates = Templates(partial(transpile, backend, None, 4))  # as ``Deployment`` has them
        parsed = templates.parse(task.circuit.measure_all(inplace=False))
        template = templates.template(parsed.structure)
        circuit = channel.circuit(template.circuit)
        values = diagonal_values(problem.operator)

        def noisy(point: NDArray[np.float64]) -> NDArray[np.float64]:
            angles = parsed.angles.at(point[None])[:, list(template.columns)]
            return np.asarray(circuit.probabilities(angles)[0])

        facts = {
            "two_qubit_gates": template.circuit.num_nonlocal_gates(),
            "log_fidelity": log_fidelity(template.circuit, backend.target),
            "mixed": float((values.max() - values.mean()) / np.ptp(values)),
        }
        return cls(task, values, noisy, facts)

    def point(self, point: NDArray[np.float64]) -> dict[str, float]:
        """Return what a point is worth under noise and without it."""
        chances = self.noisy(point)
        ideal = float(energies(Statevector(), [self.task], point[None])[0])
        optimal = self.values <= self.values.min() + 1e-9 * np.ptp(self.values)
        found = {"noisy": self._r(float(chances @ self.values)), "ideal": self._r(ideal)}
        return {**found, "optimal": float(chances[optimal].sum())}

    def optimum(self, points: Sequence[NDArray[np.float64]]) -> float:
        """Return r under noise of the local optimum that the best of some points leads to."""

        def loss(point: NDArray[np.float64]) -> float:
            return -self._r(float(self.noisy(point) @ self.values))

        found = minimize(loss, min(points, key=loss), method="L-BFGS-B", options={"eps": 1e-6, "maxfun": 100})
        return -float(found.fun)

    def best(self, run: Run) -> float:
        """Return the best cut sampled in a run over the maximum."""
        return self._r(float(self.values[int(run.bitstring, 2)]))

    def _r(self, energy: float) -> float:
        return float((self.values.max() - energy) / np.ptp(self.values))


@functools.cache
def fake_device(name: str) -> BackendV2:
    """Return a fake device, loaded once a process; see ``fake_backend``."""
    return fake_backend(name)


def _chosen(
    rows: Sequence[_Row], candidates: Mapping[_Cell, Sequence[Policy]]
) -> dict[_Cell, tuple[Policy, Policy, dict[str, float]]]:
    """Return for every cell the policy of the largest mean noisy r, the best of those that optimise, and the means."""
    worth: dict[_Cell, dict[str, list[float]]] = {cell: {} for cell in candidates}
    for row in rows:
        worth[row["reps"], row["start"], row["budget"]].setdefault(row["policy"], []).append(row["noisy"])
    found = {}
    for cell, policies in candidates.items():
        means = {name: round(float(np.mean(values)), 6) for name, values in worth[cell].items()}
        ranked = sorted(policies, key=lambda policy: -means[str(policy)])
        found[cell] = ranked[0], next((policy for policy in ranked if policy.evaluations), ranked[0]), means
    return found


def _best_of(
    optimizer: Any, draws: int, seed: int, fun: Any, x0: NDArray[np.float64], jac: Any = None, bounds: Any = None
) -> Any:
    """Measure the start and further random points, each as ``RandomPoint`` has them, and go on from the best."""
    rng = np.random.default_rng([seed, draws])
    half = len(x0) // 2
    widths = np.repeat([2 * math.pi, 4 * math.pi], half)
    points = [x0, *(widths * (rng.random(2 * half) - np.repeat([0.0, 0.5], half)) for _ in range(draws - 1))]
    return optimizer.minimize(fun, min(points, key=fun))
