"""The page of the reproduction of Lee et al. 2025: tables and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qiskit_metainit.reproduction import Reproduction
from qiskit_metainit.reproductions._lee2025_findings import findings
from qiskit_metainit.reproductions._lee2025_jobs import RATE
from qiskit_metainit.reproductions._lee2025_results import SHOWN, TARGETS, Adapted, Course, ratio

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLORS = {
    "zero": "#cbd5e1",
    "pi": "#94a3b8",
    "uniform": "#d97706",
    "gaussian": "#a16207",
    "q_maml": "#1d4ed8",
    "constant": "#9333ea",
    "ramp": "#0d9488",
    "spin_chain": "#16a34a",
    "hartree_fock": "#dc2626",
}
_LEAST = 1e-5  # gap that is drawn
_Rows = list[list[str]]


def reproduction(record: Mapping[str, Any]) -> Reproduction:
    """Return the page of a record."""
    tested = [Adapted(name, raw) for name, raw in record["setups"].items()]
    tables: list[tuple[str, _Rows]] = [_speed_ups(tested)]
    for one in tested:
        tables += [_points(one), _iterations(one)]
    if record["loading"]:
        tables.append(_loading(record["loading"]))
    published = {**record, "setups": {one.name: one.as_json() for one in tested}}
    return Reproduction(
        title="Lee et al. 2025: Q-MAML, a perceptron that proposes VQE parameters",
        record=published,
        tables=tables,
        findings=findings(record, tested),
        draw=lambda figure: _draw(tested, figure),
    )


def _speed_ups(tested: Sequence[Adapted]) -> tuple[str, _Rows]:
    rows = [["", "target", *(f"{SHOWN[name]}, {what}" for name in _RANDOM for what in ("paper's rate", "own rates"))]]
    for one in tested:
        for target in TARGETS:
            row = [one.name if target == TARGETS[0] else "", target]
            for name in _RANDOM:
                for mine, other in (
                    (one.course("q_maml", RATE), one.course(name, RATE)),
                    (one.own("q_maml"), one.own(name)),
                ):
                    row.append(ratio(other.median(target), mine.median(target), mine.steps))
            rows.append(row)
    return (
        "How many times sooner Q-MAML is at a target than the random starts, ratio of median Adam steps: at the "
        f"paper's learning rate of {RATE:g}, and each start at its own best rate",
        rows,
    )


_RANDOM = ("uniform", "gaussian")


def _points(one: Adapted) -> tuple[str, _Rows]:
    rows = [["start", "mean gap", "least", "most", "seeds", "gradient", "angles, mean ± std", "std over tasks"]]
    for name in one.starts:
        gaps, raw = one.proposed(name), one.raw["starts"][name]
        means = gaps.mean(axis=1)
        norm = one.course(name, RATE).norms[0]
        rows.append(
            [
                SHOWN[name],
                _gap(float(gaps.mean())),
                _gap(float(gaps.min())),
                _gap(float(gaps.max())),
                f"{_gap(float(means.min()))}-{_gap(float(means.max()))}" if len(means) > 1 else "",
                "none" if one.stationary(name) else f"{norm:.2g}",
                f"{raw['mean']:+z.3f} ± {raw['spread']:.3f}",
                f"{raw['between tasks']:.3f}",
            ]
        )
    found = one.found
    rows.append(["best found", *(_gap(float(value)) for value in (found.mean(), found.min(), found.max())), *[""] * 4])
    return f"{_heading(one)}: the points themselves, {_unit(one)}", rows


def _iterations(one: Adapted) -> tuple[str, _Rows]:
    rows = [["start", *(f"to {target}" for target in TARGETS), "end, best", "last", "own rate"]]
    rows[0] += [*(f"to {target}" for target in TARGETS), "end, best", "last"]
    for name in one.starts:
        row = [SHOWN[name]]
        for place, course in enumerate((one.course(name, RATE), one.own(name))):
            most = int(one.setup["steps" if not place else "tuned_steps"])
            if place:
                row.append("none" if one.stationary(name) else f"{one.own_rate(name):g}")
            row += [_arrival(course, target, most) for target in TARGETS]
            row += [_gap(float(course.best[-1])), _gap(float(course.last[-1]))]
        rows.append(row)
    setup = one.setup
    return (
        f"{_heading(one)}: median Adam steps to targets (share of tasks that arrive) and mean gaps at the end, after "
        f"{setup['steps']} steps at the paper's rate, and after {setup['tuned_steps']} at each start's own",
        rows,
    )


def _heading(one: Adapted) -> str:
    setup = one.setup
    return (
        f"{one.name} ({_LAYERS[setup['kind']]}, L = {setup['layers']}, P = {one.raw['reference']['parameters']}, "
        f"{setup['testing']} test tasks)"
    )


_LAYERS = {
    "blocks": "blocks of XX, YY, ZZ",
    "bell_pairs": "Bell pairs, blocks with shared angles",
    "molecule": "StronglyEntanglingLayers",
    "distribution": "RY and CNOT chain",
}


def _unit(one: Adapted) -> str:
    return "infidelity" if one.setup["kind"] == "distribution" else "gap relative to the ground energy"


def _arrival(course: Course, target: str, most: int) -> str:
    median = course.median(target)
    return f"{f'> {most}' if np.isinf(median) else f'{median:.0f}'} ({course.share(target):.0%})"


def _gap(value: float) -> str:
    return f"{value:z.5f}" if abs(value) < 0.01 else f"{value:.3f}"


def _loading(loading: Mapping[str, Any]) -> tuple[str, _Rows]:
    rows = [["n", "seeds", "total variation", "seeds' means", "median", "most", "<= 0.03", "divergence", "coefficient"]]
    for size, seeds in loading.items():
        values = np.array(seeds)  # (S, I, 3)
        variation = values[..., 0]
        means = variation.mean(axis=1)
        rows.append(
            [
                size,
                str(len(values)),
                f"{variation.mean():.4f}",
                f"{means.min():.4f}-{means.max():.4f}",
                f"{np.median(variation):.4f}",
                f"{variation.max():.3f}",
                f"{(variation <= 0.03).mean():.0%}",
                f"{values[..., 1].mean():.4f}",
                f"{values[..., 2].mean():.5f}",
            ]
        )
    return (
        "Distributions loaded without a query by Q-MAML's perceptron, trained longer: total variation, "
        "Kullback-Leibler divergence and Bhattacharyya coefficient against the target",
        rows,
    )


def _draw(tested: Sequence[Adapted], figure: Figure) -> None:
    figure.set_size_inches(3.6 * len(tested) + 0.6, 10.2)
    panels = figure.subplots(3, len(tested), squeeze=False)
    for column, one in enumerate(tested):
        courses, angles, norms = panels[:, column]
        courses.set_title(one.name, fontsize=10)
        _draw_courses(courses, one)
        _draw_angles(angles, one)
        _draw_norms(norms, one)
    panels[0, 0].set_ylabel(f"mean gap (solid: rate {RATE:g})")
    panels[1, 0].set_ylabel("standard deviation of the angles")
    panels[2, 0].set_ylabel("mean gradient norm")
    drawn = [axes.get_legend_handles_labels() for axes in panels[0]]
    known = {label: handle for handles, labels in drawn for handle, label in zip(handles, labels, strict=True)}
    figure.legend(list(known.values()), list(known), loc="outside lower center", ncols=len(known), frameon=False)


def _draw_courses(axes: Axes, one: Adapted) -> None:
    for name in one.starts:
        course, own = one.course(name, RATE), one.own(name)
        steps = [1, int(one.setup["steps"]) + 1] if one.stationary(name) else np.arange(1, course.steps + 2)
        shown = course.last[[0, 0]] if one.stationary(name) else course.last
        axes.plot(steps, np.maximum(shown, _LEAST), color=_COLORS[name], linewidth=1.6, label=SHOWN[name])
        if not one.stationary(name):
            tuned = np.maximum(own.last, _LEAST)
            axes.plot(np.arange(1, own.steps + 2), tuned, ":", color=_COLORS[name], linewidth=1.2)
    axes.set(xscale="log", yscale="log", xlabel="Adam step + 1 (dotted: own rate)")


def _draw_angles(axes: Axes, one: Adapted) -> None:
    names = [name for name in one.starts if name not in ("zero", "pi")]
    for place, name in enumerate(names):
        raw = one.raw["starts"][name]
        axes.bar(place - 0.2, raw["spread"], 0.4, color=_COLORS[name])
        axes.bar(place + 0.2, raw["between tasks"], 0.4, color=_COLORS[name], alpha=0.4)
    axes.set_xticks(range(len(names)), [SHOWN[name] for name in names], rotation=30, ha="right", fontsize=8)
    axes.set_xlabel("pale: of one angle over tasks")


def _draw_norms(axes: Axes, one: Adapted) -> None:
    for key, piece in one.raw["learning"].items():
        name, number = key.rsplit(" ", 1)
        if number == "0":
            epochs = np.linspace(1, len(piece["gradient norms"]), len(piece["gradient norms"]))
            axes.plot(epochs, piece["gradient norms"], "--", color=_COLORS[name], linewidth=1.2)
    for name in one.starts:
        if not one.stationary(name):
            norms = one.course(name, RATE).norms
            axes.plot(np.arange(1, len(norms) + 1), norms, color=_COLORS[name], linewidth=1.4)
    axes.set(xscale="log", yscale="log", xlabel="Adam step + 1 (dashed: epoch)")
