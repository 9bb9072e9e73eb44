"""The benchmark's workloads as plain data, so that every simulator reads the same instances.

A workload is a batch of instances of one shape. An instance is a list of gates, a list of Hamiltonian terms and a
point; a gate is ``["h", [q]]``, ``["x", [q]]``, ``["cx", [control, target]]`` or
``["rotation", [q, ..], letters, parameter, slope]``, which is ``exp(-i slope theta[parameter] / 2 P)`` with P's
letters in the order of its qubits; a term is ``[coefficient, [q, ..], letters]``.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MOLECULES = Path(__file__).with_name("molecules.json")

Gate = list[Any]
Term = list[Any]


@dataclass(frozen=True, eq=False)
class Instance:
    """One circuit, one Hamiltonian, one point."""

    gates: list[Gate]
    hamiltonian: list[Term]
    point: list[float]


@dataclass(frozen=True, eq=False)
class Workload:
    """A batch of instances of one shape."""

    kind: str
    """"W1", "W2" or "W3"."""
    name: str
    qubits: int
    parameters: int
    instances: list[Instance]

    def write(self, path: Path) -> None:
        """Write as JSON."""
        content = vars(self) | {"instances": [vars(instance) for instance in self.instances]}
        path.write_text(json.dumps(content), encoding="utf-8")

    @classmethod
    def read(cls, path: Path, count: int | None = None) -> Workload:
        """Read the first instances of a file."""
        content = json.loads(path.read_text(encoding="utf-8"))
        content["instances"] = [Instance(**instance) for instance in content["instances"][:count]]
        return cls(**content)


def qaoa(qubits: int, batch: int, *, reps: int = 2, seed: int = 0) -> Workload:
    """W1: QAOA of MaxCut on Erdos-Renyi graphs of edge probability 1/2, points uniform in (-1, 1).

    Minimised is H = sum ZZ/2 over the edges; a layer is exp(-i gamma H) and then exp(-i beta sum X); a point is
    [beta_0 .. beta_(p-1), gamma_0 .. gamma_(p-1)].
    """
    rng = np.random.default_rng([seed, qubits, reps])
    return Workload("W1", f"W1 n={qubits} p={reps}", qubits, 2 * reps, [_qaoa(qubits, reps, rng) for _ in range(batch)])


def _qaoa(qubits: int, reps: int, rng: np.random.Generator) -> Instance:
    pairs = list(itertools.combinations(range(qubits), 2))
    edges = [list(pair) for pair in pairs if rng.random() < 0.5] or [[0, 1]]
    gates: list[Gate] = [["h", [q]] for q in range(qubits)]
    for layer in range(reps):
        gates += [["rotation", edge, "ZZ", reps + layer, 1.0] for edge in edges]
        gates += [["rotation", [q], "X", layer, 2.0] for q in range(qubits)]
    return Instance(gates, [[0.5, edge, "ZZ"] for edge in edges], rng.uniform(-1, 1, 2 * reps).tolist())


def heisenberg(qubits: int, batch: int, *, reps: int = 3, seed: int = 0) -> Workload:
    """W2: ``efficient_su2`` (RY and RZ on every qubit, CX in reverse order) on the open chain sum XX + YY + ZZ."""
    rng = np.random.default_rng([seed, qubits, reps])
    angle = itertools.count()
    gates: list[Gate] = []
    for layer in range(reps + 1):
        gates += [["rotation", [q], letter, next(angle), 1.0] for letter in "YZ" for q in range(qubits)]
        if layer < reps:
            gates += [["cx", [q, q + 1]] for q in reversed(range(qubits - 1))]
    hamiltonian: list[Term] = [[1.0, [q, q + 1], 2 * letter] for q in range(qubits - 1) for letter in "XYZ"]
    count = 2 * qubits * (reps + 1)
    points = rng.uniform(-np.pi, np.pi, (batch, count)).tolist()
    return Workload("W2", f"W2 n={qubits}", qubits, count, [Instance(gates, hamiltonian, point) for point in points])


def molecule(name: str, *, seed: int = 0) -> Workload:
    """W3: UCCSD of a stored molecule, small random amplitudes."""
    content = json.loads(MOLECULES.read_text(encoding="utf-8"))[name]
    rng = np.random.default_rng([seed, content["parameters"]])
    point = rng.normal(0.0, 0.1, content["parameters"]).tolist()
    gates: list[Gate] = [["x", [q]] for q in content["occupied"]]
    for parameter, excitation in enumerate(content["excitations"]):
        gates += [["rotation", qubits, letters, parameter, 2.0 * weight] for weight, qubits, letters in excitation]
    instance = Instance(gates, content["hamiltonian"], point)
    return Workload("W3", f"W3 {name}", content["qubits"], content["parameters"], [instance])
