"""Pictures of comparisons: what starts are worth, how an optimiser goes on from them, and where they lie at p = 1."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qiskit_metainit.alignment import align
from qiskit_metainit.comparison import Comparison, course_grid
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.problem import Problem
from qiskit_metainit.rating import Array, energies, ratio, spectrum
from qiskit_metainit.task import Task

LANDSCAPE_QUBITS = 14
"""Up to this size a landscape is drawn: a grid of its points takes seconds."""

_FIXED = {"random": "#94a3b8", "sk_infinity": "#d97706"}
_LEARNED = ("#1d4ed8", "#be123c", "#7e22ce", "#15803d", "#0e7490")
_FORMULAS = ("#0d9488", "#a16207", "#64748b", "#db2777", "#65a30d", "#0284c7", "#7c2d12", "#4338ca")
_MARKERS = "sD^vPX<>"
BEST = "best found"
"""Name of r_opt in legends, as in tables."""
_LEAST = 1e-5  # of what is drawn: a gap that is none has no logarithm
_GRID = (41, 61)  # points of a landscape, beta by gamma

Look = dict[str, Any]
"""Of the line of a start, as matplotlib takes it."""
Looks = dict[str, Look]
"""By start, in the order of the legend."""


def draw(cells: Sequence[Comparison], path: Path, formulas: Sequence[str], problems: Sequence[Problem]) -> None:
    """Write a picture of comparisons on the same instances, one a depth.

    Args:
        cells: the comparisons.
        path: of a PNG file.
        formulas: names of the starts that stand back behind the ones in question.
        problems: the instances.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    cells = sorted(cells, key=lambda cell: cell.protocol.reps)
    looks = _looks(cells, formulas)
    panels = _panels(cells, looks, problems)
    columns = 2 if len(panels) in (2, 4) else 3
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(5.0 * columns, 4.0 * rows + 0.6), layout="constrained")
    FigureCanvasAgg(figure)  # the file format only, whatever screen there is
    for place, panel in enumerate(panels, start=1):
        panel(figure.add_subplot(rows, columns, place))
    handles = [Line2D([], [], **look) for look in looks.values()]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def landscape(problem: Problem, betas: Array, gammas: Array) -> Array:
    """Return (len(betas), len(gammas)) exact r of p = 1 at angles in natural units."""
    task = Task.qaoa(problem.operator, reps=1)
    grid = np.stack(np.meshgrid(betas, gammas, indexing="ij"), axis=-1)
    points = grid.reshape(-1, 2) * task.features.unit.numpy()
    found = energies(Statevector(), [task] * len(points), points)
    return ratio(found, np.array([spectrum(problem.operator)])).reshape(grid.shape[:2])


def _panels(cells: Sequence[Comparison], looks: Looks, problems: Sequence[Problem]) -> list[Callable[[Any], None]]:
    shallow, deep = cells[0], cells[-1]
    panels: list[Callable[[Any], None]] = [functools.partial(_worth, cells=cells, looks=looks)]
    panels.append(functools.partial(_gaps, cells=cells, looks=looks))
    if len(set(deep.qubits)) > 1:
        panels.append(functools.partial(_by_size, comparison=deep, looks=looks))
    if deep.optimizers:
        panels.append(functools.partial(_courses, comparison=deep, optimizer=deep.optimizers[0], looks=looks))
    row = min(range(len(problems)), key=lambda row: problems[row].num_qubits)
    known = any(result.reaction for result in shallow.results.values())
    if shallow.protocol.reps == 1 and known and problems[row].num_qubits <= LANDSCAPE_QUBITS:
        panels.append(functools.partial(_landscape, comparison=shallow, row=row, problem=problems[row], looks=looks))
    return panels


def _looks(cells: Sequence[Comparison], formulas: Sequence[str]) -> Looks:
    """Return how the line of every start looks, the best start first."""
    means: dict[str, float] = {}
    for comparison in cells:
        for name, result in comparison.results.items():
            means[name] = max(means.get(name, 0.0), float(result.ratio.mean()))
    ranked = sorted(means, key=lambda name: -means[name])
    ours = [name for name in ranked if name not in (*formulas, "random")]
    others = [name for name in formulas if name in means and name not in _FIXED]
    looks: Looks = {}
    for name in ranked:
        look: Look = {"label": name, "markersize": 5, "linewidth": 1.1, "linestyle": "--", "marker": "o", "zorder": 2}
        if name in ours:
            look |= {"color": _LEARNED[ours.index(name) % len(_LEARNED)]}
            look |= {"linewidth": 2.0, "linestyle": "-", "markersize": 7, "zorder": 3}
        elif name in others:
            look |= {"color": _FORMULAS[others.index(name) % len(_FORMULAS)]}
            look |= {"marker": _MARKERS[others.index(name) % len(_MARKERS)]}
        else:
            look |= {"color": _FIXED[name]}
        looks[name] = look
    return {BEST: {"label": BEST, "color": "#111827", "linewidth": 1.2, "linestyle": ":", "marker": "_"}, **looks}


def _worth(axes: Any, cells: Sequence[Comparison], looks: Looks) -> None:
    """Draw r of every start, over the depths or one below the other."""
    axes.set_title("r of the start", loc="left", fontsize=10)
    values = [{BEST: cell.optimum, **{name: result.ratio for name, result in cell.results.items()}} for cell in cells]
    _over_depths(axes, cells, values, looks)


def _gaps(axes: Any, cells: Sequence[Comparison], looks: Looks) -> None:
    """Draw how far the starts are below the best optimum found, on a scale that tells good ones apart."""
    axes.set_title("what r lacks of the best found", loc="left", fontsize=10)
    values = [{name: cell.optimum - result.ratio for name, result in cell.results.items()} for cell in cells]
    _over_depths(axes, cells, values, looks)
    single = len(cells) == 1
    (axes.set_xscale if single else axes.set_yscale)("log")
    (axes.invert_xaxis if single else axes.invert_yaxis)()  # better is right and up, as for r


def _over_depths(axes: Any, cells: Sequence[Comparison], values: Sequence[Mapping[str, Array]], looks: Looks) -> None:
    depths = [cell.protocol.reps for cell in cells]
    shown = {name: look for name, look in looks.items() if any(name in row for row in values)}
    for place, (name, look) in enumerate(shown.items()):
        there = [(cell, row[name]) for cell, row in zip(cells, values, strict=True) if name in row]
        means = np.maximum([cell.mean_interval(row) for cell, row in there], _LEAST)
        bars = np.abs(means[:, 1:] - means[:, :1]).T
        if len(cells) > 1:
            _line(axes, [cell.protocol.reps for cell, _ in there], means[:, 0], bars, look, place / len(shown))
        else:
            axes.errorbar(means[:, 0], [-place], xerr=bars, **{**look, "linestyle": "none"})
    if len(cells) > 1:
        axes.set_xlabel("p")
        axes.set_xticks(depths)
    else:
        axes.set_yticks(range(0, -len(shown), -1), list(shown))
        axes.grid(axis="x", linewidth=0.3)


def _by_size(axes: Any, comparison: Comparison, looks: Looks) -> None:
    """Draw r of every start over the number of qubits."""
    axes.set_title(f"r against n, p = {comparison.protocol.reps}", loc="left", fontsize=10)
    qubits = np.array(comparison.qubits)
    sizes = np.unique(qubits)
    values = {BEST: comparison.optimum, **{name: result.ratio for name, result in comparison.results.items()}}
    for place, (name, look) in enumerate(looks.items()):
        if name in values:
            groups = [values[name][qubits == size] for size in sizes]
            means = np.array([Comparison(comparison.protocol, {}, group).mean_interval(group) for group in groups])
            bars = np.abs(means[:, 1:] - means[:, :1]).T
            _line(axes, sizes, means[:, 0], bars, look, place / len(looks))
    axes.set_xlabel("n")
    axes.set_xticks(sizes)


def _line(axes: Any, places: Sequence[int] | Array, means: Array, bars: Array, look: Look, shift: float) -> None:
    """Draw means and intervals a little beside their places, so that none hides another's."""
    axes.errorbar(np.array(places) + 0.2 * (shift - 0.5), means, yerr=bars, elinewidth=0.8, **look)


def _courses(axes: Any, comparison: Comparison, optimizer: str, looks: Looks) -> None:
    """Draw the median best r so far over the evaluations."""
    axes.set_title(f"best r so far, {optimizer}, p = {comparison.protocol.reps} (medians)", loc="left", fontsize=10)
    grid = course_grid(comparison.protocol.cap)
    for name, look in looks.items():
        if name in comparison.results:
            course = comparison.results[name].arrival(optimizer).course
            first = int(np.argmax(np.isfinite(course)))
            axes.step(grid, course, where="post", **{**look, "marker": "", "linestyle": "-"})
            axes.plot(grid[first], course[first], **{**look, "label": None})
    axes.axhline(np.median(comparison.optimum), color=looks[BEST]["color"], linewidth=1.2, linestyle=":")
    axes.set_xscale("log")
    axes.set_xlabel("circuit evaluations")


def _landscape(axes: Any, comparison: Comparison, row: int, problem: Problem, looks: Looks) -> None:
    """Draw one instance's landscape at p = 1, one period of beta, with the points that were proposed."""
    what = comparison.names[row] if comparison.names else f"one instance, n = {problem.num_qubits}"
    axes.set_title(f"p = 1: {what}", loc="left", fontsize=10)
    features = Task.qaoa(problem.operator, reps=1).features
    middle = np.array([np.pi / 8, -np.pi / 4])
    points = {
        name: align([features], result.reaction.proposals[row : row + 1], towards=middle)[0]
        for name, result in comparison.results.items()
        if result.reaction is not None
    }
    proposed = np.array(list(points.values()))
    (beta, gamma), (top, right) = proposed.min(axis=0), proposed.max(axis=0)
    betas, gammas = np.linspace(beta - 0.2, top + 0.2, _GRID[0]), np.linspace(gamma - 0.3, right + 0.3, _GRID[1])
    image = axes.contourf(gammas, betas, landscape(problem, betas, gammas), levels=24, cmap="Greys_r")
    axes.figure.colorbar(image, ax=axes, label="r", shrink=0.9)
    for name, look in looks.items():
        if name in points:
            dot = {"markersize": look["markersize"] + 2, "markeredgecolor": "white", "markeredgewidth": 0.7}
            axes.plot(points[name][1], points[name][0], **{**look, **dot, "linestyle": "none", "alpha": 0.9})
    axes.set_xlabel("gamma, natural units")
    axes.set_ylabel("beta")
