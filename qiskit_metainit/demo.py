"""The demonstration: cutting the marriages of the Florentine families, from random, formula and learned starts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import networkx as nx
import numpy as np

from qiskit_metainit.backends import fake_backend, noisy_simulator
from qiskit_metainit.initializer import named
from qiskit_metainit.problem import Problem
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.provenance import command, versions
from qiskit_metainit.race import Entry, Yardstick, as_json, draw, race, summary

REPS = 2
SHOTS = 1024
RHOBEG = 0.5
"""COBYLA's first trust radius for every start, radians: where random starts did best."""


def families() -> tuple[Problem, Problem]:
    """Return MaxCut on the marriages of 15 Florentine families, and on the Medici and those they married into.

    Data: Breiger and Pattison 1986, shipped by networkx.
    """
    graph = nx.florentine_families_graph()
    near = nx.Graph()
    # networkx orders an ego network differently from process to process, and with it the qubits and the circuit.
    near.add_nodes_from(family for family in graph if family == "Medici" or graph.has_edge(family, "Medici"))
    near.add_edges_from(edge for edge in graph.edges if set(edge) <= set(near))
    return MaxCut.from_graph(graph), MaxCut.from_graph(near)


@dataclass(frozen=True, eq=False)
class Heat:
    """One race of the demonstration, ready to be shown."""

    title: str
    """What was run on what."""
    problem: Problem
    """The instance."""
    yardstick: Yardstick
    """What its points are judged by."""
    entries: list[Entry]
    """The runs."""

    @property
    def table(self) -> list[list[str]]:
        """Header and rows."""
        return summary(self.problem, self.yardstick, self.entries)

    @property
    def best_cut(self) -> str:
        """The best cut found by any run and its partition, as a sentence."""
        bits = max((entry.run.bitstring for entry in self.entries), key=self.problem.value)
        sides = (", ".join(map(str, side)) for side in self.problem.partition(bits))
        value = self.problem.value(bits)
        optimum = (
            "the optimum" if np.isclose(value, self.problem.value(self.yardstick.limits[0])) else "not the optimum"
        )
        return f"Best cut {value:g} ({optimum}): " + "  |  ".join(sides)


def run(name: str, folder: Path, *, seed: int, quick: bool, progress: Callable[[str, int, int], None]) -> list[Heat]:
    """Run both races and write ``demo.png`` and ``demo.json`` into a folder.

    Args:
        name: the initializer.
        folder: made if need be.
        seed: of the random starts and the shot noise.
        quick: fewer random starts and evaluations.
        progress: called with (stage, done, of).
    """
    meta = named(name)
    whole, medici = families()
    device = noisy_simulator(fake_backend("fake_fez"), medici.num_qubits)
    heats = []
    for title, problem, backend, starts in (
        (f"Florentine families ({whole.num_qubits} qubits), Aer with {SHOTS} shots", whole, None, 5),
        (f"Medici ego network ({medici.num_qubits} qubits), noise of fake_fez, {SHOTS} shots", medici, device, 3),
    ):
        yardstick, entries = race(
            problem,
            REPS,
            meta,
            backend,
            seed=seed,
            random_starts=2 if quick else starts,
            evaluations=20 if quick else 60,
            shots_per_evaluation=SHOTS,
            rhobeg=RHOBEG,
            progress=progress,
            stage=title.partition(" (")[0],
        )
        heats.append(Heat(title, problem, yardstick, entries))
    folder.mkdir(parents=True, exist_ok=True)
    record = {"command": command(), "seed": seed, "initializer": name, "reps": REPS, "versions": versions()}
    races = {heat.title: as_json(heat.problem, heat.yardstick, heat.entries) for heat in heats}
    (folder / "demo.json").write_text(json.dumps({**record, "races": races}, indent=1) + "\n", encoding="utf-8")
    _picture(heats, folder / "demo.png")
    return heats


def _picture(heats: list[Heat], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    FigureCanvasAgg(figure)  # the file format only, whatever screen there is
    for axes, heat in zip(figure.subplots(1, len(heats)), heats, strict=True):
        draw(axes, heat.yardstick, heat.entries, heat.title)
    figure.savefig(path, dpi=130)
