"""The picture of the reproduction of Chen et al. 2025."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qiskit_metainit.reproductions._chen2025_results import DENSE, MODELS, OPTIMISERS, Results, shown
from qiskit_metainit.reproductions._outcomes import RATIOS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLORS = {
    "qlstm": "#1d4ed8",
    "lstm": "#0d9488",
    "Adam": "#9a3412",
    "SGD": "#b45309",
    "RMSProp": "#d97706",
    "Adagrad": "#f59e0b",
    "Nelder-Mead": "#78716c",
    "constant": "#7c3aed",
    "uniform": "#9aa5b1",
    "optimum": "#16a34a",
}
_DASHED = {"Adagrad": (0, (4, 2))}  # RMSProp's twin


def draw(results: Results, figure: Figure) -> None:
    """Fill a figure: the courses of all optimisers, and both ratios by size, MaxCut at P = 6/7 and p = 1."""
    figure.set_size_inches(11, 5.4)
    left, right = figure.subplots(1, 2)
    _courses(results, left)
    _definitions(results, right)
    for axes in (left, right):
        axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3)


def _courses(results: Results, axes: Axes) -> None:
    cells = results.record("maxcut", 1)["cells"]
    for name in OPTIMISERS:
        best, course = (
            np.mean([cell["optimisers"][name][kind][str(DENSE)] for cell in cells], axis=0)
            for kind in ("best", "course")
        )
        model = name in MODELS
        steps = np.arange(len(best))[int(model) :]  # before its first proposal a model has nothing
        style: dict[str, Any] = {"color": _COLORS[name], "linewidth": 2.4 if model else 1.2, "zorder": 2 + model}
        axes.plot(steps, best[steps], linestyle=_DASHED.get(name, "-"), label=shown(name), **style)
        if model:
            style["linewidth"] = 1.0
            axes.plot(steps, course[steps], linestyle=":", label=f"{shown(name)}, each proposal", **style)
    for name in ("constant", "optimum"):
        level = results.mean("maxcut", 1, name, RATIOS[0], connectivity=DENSE)
        axes.axhline(level, color=_COLORS[name], linewidth=1.2, linestyle="--", label=shown(name))
    bars: dict[str, Any] = {"markersize": 4, "capsize": 3, "linewidth": 1.2}
    axes.errorbar([2], [0.93], yerr=0.03, fmt="s", color="#111827", label="published QLSTM", **bars)
    axes.errorbar([2], [0.68], yerr=0.12, fmt="none", color="#9aa5b1", label="published comparators", **bars)
    axes.set_xscale("symlog", linthresh=1)
    ticks = [tick for tick in (0, 1, 2, 5, 10, 20, 50) if tick < len(best)]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xlim(0, len(best) - 1)
    axes.set_xlabel("iteration")
    axes.set_ylabel("expectation ratio of the best point so far")
    axes.set_title("MaxCut, P = 6/7, p = 1, mean over all N", loc="left", fontsize=10)


def _definitions(results: Results, axes: Axes) -> None:
    sizes = results.sizes("maxcut", 1)
    for name in ("qlstm", "SGD", "uniform", "optimum"):
        for what, line in zip(RATIOS, ("-", ":"), strict=True):
            means = [results.mean("maxcut", 1, name, what, size=size, connectivity=DENSE) for size in sizes]
            label = shown(name) if what == RATIOS[0] else None
            axes.plot(sizes, means, line, marker="o", markersize=3, color=_COLORS[name], label=label)
    for line, label in (("-", "expectation ratio"), (":", "best-sample ratio")):
        axes.plot([], [], line, color="#111827", label=label)
    axes.axhspan(0.90, 0.96, color="#111827", alpha=0.12, linewidth=0, label="published QLSTM")
    axes.set_xticks(sizes)
    axes.set_xlabel("N")
    axes.set_ylabel("ratio after 2 iterations")
    axes.set_title("MaxCut, P = 6/7, p = 1: two definitions of a ratio", loc="left", fontsize=10)
