"""The tasks of the reproduction of Lee et al. 2025: what is learned on, what is adapted to, and from where."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qiskit_metainit.circuits.layered import strongly_entangling_layers
from qiskit_metainit.features import FeatureBatch, stack
from qiskit_metainit.ground import ground_energy
from qiskit_metainit.model import Model
from qiskit_metainit.models.q_maml import QMaml
from qiskit_metainit.models.random_angles import RandomAngles
from qiskit_metainit.models.same_angle import SameAngle
from qiskit_metainit.models.spin_chain import SpinChain
from qiskit_metainit.models.spin_chain_ramp import SpinChainRamp
from qiskit_metainit.problem import Levels, Problem
from qiskit_metainit.problems.distribution import Distribution
from qiskit_metainit.problems.heisenberg import Heisenberg
from qiskit_metainit.problems.molecule import Molecule
from qiskit_metainit.task import Task

Array = NDArray[np.float64]

_TASKS, _WEIGHTS, _DRAWS = range(3)  # streams of the seed
_LENGTHS = (0.8, 1.3)  # of bonds, relative to equilibrium: from 1.4 on N2 has no single determinant to start from


@dataclass(frozen=True, kw_only=True)
class Setup:
    """One of the paper's experiments, or one beside them, and how much of it is run."""

    kind: str
    """"blocks" or "bell_pairs" (spin chains), "molecule" or "distribution"."""
    size: int
    """Qubits."""
    layers: int
    """Of the circuit."""
    training: int
    """Tasks that learners are trained on."""
    testing: int
    """Tasks that are adapted to."""
    epochs: int = 30
    """Passes through the training tasks, as in the paper."""
    batch: int = 4
    """Tasks an update; the paper does not tell."""
    steps: int = 1000
    """Of the adaptation at the paper's learning rate; 2000 in the paper."""
    tuned_steps: int = 150
    """Of the adaptation at every other learning rate."""
    rates: tuple[float, ...] = (1e-2, 3e-2, 1e-1)
    """The other learning rates."""
    seeds: int = 3
    """Of every learner; the first one is adapted."""
    precision: str = "single"
    """Of the simulation."""

    @property
    def learners(self) -> tuple[str, ...]:
        """What is trained."""
        return ("q_maml", "constant", *(["spin_chain"] if self.kind == "bell_pairs" else []))

    @property
    def starts(self) -> tuple[str, ...]:
        """What is adapted from: the paper's starts, then the strong ones."""
        more = {"bell_pairs": ("spin_chain", "ramp"), "molecule": ("hartree_fock",)}.get(self.kind, ())
        return ("zero", "pi", "uniform", "gaussian", "q_maml", "constant", *more)


def problems(setup: Setup, seed: int) -> tuple[list[Problem], list[Problem]]:
    """Return the training and the test problems, without energies to measure against.

    Molecules are five scans of as many bond lengths as fit; of all tasks some are drawn for the tests, as in the paper.
    """
    rng = np.random.default_rng([seed, _TASKS, setup.size])
    count = setup.training + setup.testing
    if setup.kind == "molecule":
        drawn = _molecules(setup, count)
        drawn = [drawn[place] for place in rng.permutation(len(drawn))]
    elif setup.kind == "distribution":
        drawn = [Distribution(sizes=[setup.size], layers=setup.layers).sample(rng) for _ in range(count)]
    else:
        drawn = _chains(setup, count, rng)
    return drawn[: setup.training], drawn[setup.training : count]


def levels_of(setup: Setup, problem: Problem) -> Levels:
    """Return what a test problem's energies are measured against: the exact lowest one, gaps relative to it.

    Molecular energies include nuclear repulsion and core, as those of PennyLane; infidelities stay as they are.
    """
    if problem.levels is not None:
        return problem.levels
    lowest = ground_energy(problem.operator)
    shift = float(problem.hints.get("shift", 0.0))
    return Levels(lowest, abs(lowest + shift), "relative gap to the ground state", 0.01)


def learner(setup: Setup, name: str, tasks: Sequence[Task], key: Sequence[int]) -> Model:
    """Return an untrained learner, its weights drawn from a key, torch's global generator left as it was."""
    count = tasks[0].num_parameters
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(np.random.SeedSequence([*key, _WEIGHTS]).generate_state(1)[0]))
        if name == "q_maml":
            return _q_maml(setup, tasks, count)
        model: Model = SpinChain() if name == "spin_chain" else Shared(count)
        return model


def starts(
    setup: Setup, tasks: Sequence[Task], found: Sequence[Problem], seed: int
) -> Mapping[str, Callable[[], Array]]:
    """Return what gives the (I, P) points of every start that is not trained."""
    noise: dict[str, dict[str, Any]] = {
        "uniform": {"distribution": "uniform", "width": 0.05 * math.pi},
        "gaussian": {
            "distribution": "normal",
            "locality": setup.size if setup.kind in ("molecule", "distribution") else 2,
            "layers": setup.layers,
        },
    }

    def drawn(name: str) -> Array:
        rows = [
            answers(RandomAngles(**noise[name], seed=1000 * (seed + 1) + row), [task]) for row, task in enumerate(tasks)
        ]
        return np.concatenate(rows)

    return {
        "zero": lambda: answers(SameAngle(value=0.0), tasks),
        "pi": lambda: answers(SameAngle(value=math.pi), tasks),
        "uniform": lambda: drawn("uniform"),
        "gaussian": lambda: drawn("gaussian"),
        "ramp": lambda: answers(SpinChainRamp(), tasks),
        "hartree_fock": lambda: np.stack([hartree_fock(setup, problem) for problem in found]),
    }


def answers(model: Model, tasks: Sequence[Task]) -> Array:
    """Return the (I, P) points that a model without queries proposes."""
    with torch.no_grad():
        return np.asarray(model.begin(stack([task.features for task in tasks]))[0].numpy())


class Shared(Model):
    """One point for all tasks, trained as the learners are: what can be had without looking at the task."""

    def __init__(self, num_parameters: int) -> None:
        super().__init__()
        self.point = nn.Parameter(0.1 * torch.randn(num_parameters, dtype=torch.float64))

    def begin(self, features: FeatureBatch) -> tuple[Tensor, None]:
        """See Model."""
        return self.point.expand(len(features), -1), None


def hartree_fock(setup: Setup, problem: Problem) -> Array:
    """Return the (P,) point at which strongly entangling layers prepare the Hartree-Fock determinant.

    All angles are zero but for pi in those RY of the last layer which the CNOTs behind them take to its ones.
    """
    orbitals, pairs = setup.size // 2, int(problem.hints["pairs"])
    bits = sum(1 << (place + spin) for spin in (0, orbitals) for place in range(pairs))
    reach = (setup.layers - 1) % (setup.size - 1) + 1
    for qubit in reversed(range(setup.size)):
        bits ^= (bits >> qubit & 1) << ((qubit + reach) % setup.size)
    point = np.zeros((setup.layers, setup.size, 3))
    point[-1, [qubit for qubit in range(setup.size) if bits >> qubit & 1], 1] = math.pi
    return point.ravel()


def _q_maml(setup: Setup, tasks: Sequence[Task], count: int) -> QMaml:
    if setup.kind == "distribution":
        return QMaml(vector="target", inputs=1 << setup.size, num_parameters=count)
    if setup.kind == "molecule":
        longest = max(len(task.features.terms.weights) for task in tasks)
        return QMaml(vector="coefficients", inputs=longest, num_parameters=count)
    return QMaml(vector="couplings", inputs=3, num_parameters=count)


def _chains(setup: Setup, count: int, rng: np.random.Generator) -> list[Problem]:
    """Return chains of different couplings, multiples of 0.1 in [-3, 3]."""
    found: dict[tuple[float, ...], Problem] = {}
    while len(found) < count:
        couplings = np.round(rng.integers(-30, 31, size=3) / 10, 1).tolist()
        if any(couplings):
            found[tuple(couplings)] = Heisenberg.from_couplings(
                setup.size,
                couplings,
                layers=setup.layers,
                ansatz="blocks" if setup.kind == "blocks" else "bell_pairs",
                exact=False,
            )
    return list(found.values())


def _molecules(setup: Setup, count: int) -> list[Problem]:
    scans = _SCANS[setup.size]
    circuit = strongly_entangling_layers(setup.size, setup.layers)
    lengths = np.linspace(*_LENGTHS, -(-count // len(scans)))
    found = []
    for name, (shape, bond, active) in scans.items():
        for length in lengths:
            problem = Molecule.from_geometry(shape(bond * float(length)), active=active)
            hints = {
                "shift": problem.hints["shift"],
                "molecule": name,
                "length": float(length),
                "pairs": active[0] // 2,
            }
            found.append(dataclasses.replace(problem, ansatz=circuit, hints=hints))
    return found


def _pair(first: str, second: str) -> Callable[[float], str]:
    return lambda bond: f"{first} 0 0 0; {second} 0 0 {bond}"


def _beryllium(bond: float) -> str:
    return f"Be 0 0 0; H 0 0 {bond}; H 0 0 {-bond}"


def _water(bond: float) -> str:
    angle = math.radians(104.5)
    return f"O 0 0 0; H {bond} 0 0; H {bond * math.cos(angle)} {bond * math.sin(angle)} 0"


def _ammonia(bond: float) -> str:
    out, down = bond * math.cos(math.radians(22.0)), -bond * math.sin(math.radians(22.0))
    around = [2 * math.pi * k / 3 for k in range(3)]
    return "; ".join(["N 0 0 0", *(f"H {out * math.cos(a)} {out * math.sin(a)} {down}" for a in around)])


def _methane(bond: float) -> str:
    corners = [(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)]
    side = bond / math.sqrt(3)
    return "; ".join(["C 0 0 0", *(f"H {side * x} {side * y} {side * z}" for x, y, z in corners)])


_Scan = tuple[Callable[[float], str], float, tuple[int, int]]
# By qubits: geometry of a bond length, that length at equilibrium in Angstrom, and active (electrons, orbitals).
_SCANS: Mapping[int, Mapping[str, _Scan]] = {
    10: {
        "LiH": (_pair("Li", "H"), 1.6, (2, 5)),
        "HF": (_pair("F", "H"), 0.92, (8, 5)),
        "BeH2": (_beryllium, 1.33, (4, 5)),
        "H2O": (_water, 0.96, (6, 5)),
        "N2": (_pair("N", "N"), 1.1, (4, 5)),
    },
    14: {
        "NH3": (_ammonia, 1.01, (8, 7)),
        "N2": (_pair("N", "N"), 1.1, (8, 7)),
        "CO": (_pair("C", "O"), 1.13, (8, 7)),
        "LiF": (_pair("Li", "F"), 1.56, (6, 7)),
        "CH4": (_methane, 1.09, (6, 7)),
    },
}
