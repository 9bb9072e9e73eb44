"""A model card: what an artifact was trained on, how, and what it is worth beside every baseline."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from qiskit_metainit import standings
from qiskit_metainit.artifact import Artifact
from qiskit_metainit.comparison import Arrival, Comparison, Result
from qiskit_metainit.rating import Array
from qiskit_metainit.reaction import Interval
from qiskit_metainit.recurrent import RecurrentModel
from qiskit_metainit.standings import Standings
from qiskit_metainit.training import Report

REACTIONS = (
    "Spread: how much the answers differ from instance to instance (standard deviation, radians at unit weights). "
    "Optima: how much the best points near them do. Moves: spread over optima, 0 for a constant. Follows: the share of "
    "the optima's variance that the answers explain: 1 is at every optimum, 0 is the best that a constant can do."
)
"""What the table of ``reactions`` says."""


def table(comparison: Comparison, baselines: Iterable[str]) -> list[list[str]]:
    """Return header and rows: r, headroom closed over the strongest baseline, queries, median evaluations to target.

    The last where one optimiser ran; of several they are in ``arrivals``. Under sampling it is shots.

    Args:
        comparison: of models on the same instances.
        baselines: names among which the strongest without queries is the reference.
    """
    reference = comparison.strongest(baselines)
    optimizers = comparison.optimizers if len(comparison.optimizers) == 1 else ()
    spent = "to 99%" if comparison.protocol.shots is None else "shots"
    rows = [["start", "r", "95%", "closed", "95%", "asks", *([spent, "95%", "reach"] if optimizers else [])]]
    for name, result in _ranked(comparison):
        rows.append([name, *_mean(comparison, result.ratio), *_headroom(comparison, name, reference)])
        rows[-1].append(str(result.queries))
        for optimizer in optimizers:
            rows[-1] += _arrival(comparison, result.arrival(optimizer))
    rows.append(["best found", *_mean(comparison, comparison.optimum)])
    rows[-1] += [""] * (len(rows[0]) - len(rows[-1]))
    return rows


def arrivals(comparison: Comparison) -> list[list[str]]:
    """Return header and rows, best start first: median evaluations, or shots, to the target with every optimiser."""
    rows = [["start", *(heading for name in comparison.optimizers for heading in (name, "95%", "reach"))]]
    for name, result in _ranked(comparison):
        cells = (_arrival(comparison, result.arrival(optimizer)) for optimizer in comparison.optimizers)
        rows.append([name, *itertools.chain.from_iterable(cells)])
    return rows


def duels(comparison: Comparison, baselines: Iterable[str]) -> list[list[str]]:
    """Return header and rows, best start first: each against the strongest baseline, instance by instance."""
    reference = comparison.strongest(baselines)
    rows = [["start", "gain", "95%", "wins", "ties", "losses", "worst tenth"]]
    rows[0] += ["worst on"] if comparison.names else []
    for name, _ in _ranked(comparison):
        if name != reference:
            gain = comparison.difference(name, reference)
            rows.append([name, _short(gain[0], "+.4f"), _span(gain, "+.4f")])
            rows[-1] += [*map(str, comparison.duels(name, reference))]
            rows[-1].append(_short(comparison.worst_decile(name, reference), "+.4f"))
            if comparison.names:
                rows[-1].append(comparison.names[int(comparison.gains(name, reference).argmin())])
    return rows


def reactions(comparison: Comparison) -> list[list[str]]:
    """Return header and rows, best start first: how answers vary across instances; no row where it is not known."""
    rows = [["start", "spread", "optima", "moves", "95%", "follows", "95%"]]
    settings = {"resamples": comparison.protocol.resamples, "seed": comparison.protocol.seed}
    for name, result in _ranked(comparison):
        if (reaction := result.reaction) is None:
            continue
        rows.append([name, _short(reaction.spread, ".3f"), _short(reaction.spread_of_optima, ".3f")])
        moves, follows = reaction.moves(**settings), reaction.follows(**settings)
        if moves is None or follows is None:  # nothing to follow
            rows[-1] += [""] * 4
        else:
            rows[-1] += [f"{moves[0]:.2f}", _span(moves, ".2f"), *_share(follows)]
    return rows


def _ranked(comparison: Comparison) -> list[tuple[str, Result]]:
    return sorted(comparison.results.items(), key=lambda item: -item[1].ratio.mean())


def _headroom(comparison: Comparison, name: str, reference: str) -> tuple[str, str]:
    """Return the share closed, or where there is next to none to close how far the optimum is."""
    closed = comparison.headroom(name, reference)
    if closed is None:
        left = comparison.mean_interval(comparison.optimum - comparison.results[name].ratio)
        return f"{left[0]:.4f} left", _span(left, ".3f")
    if name == reference:
        return "", ""
    return _share(closed)


def _share(interval: Interval) -> tuple[str, str]:
    """Return a share and its interval; far below nothing its size says nothing."""
    return ("< -1", "") if interval[0] < -1 else (f"{interval[0]:+.2f}", _span(interval, "+.2f"))


def _arrival(comparison: Comparison, arrival: Arrival) -> tuple[str, str, str]:
    counts = arrival.evaluations * (comparison.protocol.shots or 1)
    median, low, high = comparison.median_interval(counts)
    return f"{median:.0f}", f"{low:.0f} {high:.0f}", f"{arrival.share:.0%}"


def unit(comparison: Comparison) -> str:
    """Return what the way to the target is counted in."""
    shots = comparison.protocol.shots
    return "circuit evaluations" if shots is None else f"shots ({shots} a circuit evaluation)"


def searching(names: Sequence[str], *, arrivals: bool = True) -> str:
    """Return what the rows of searches say.

    Args:
        names: of the searches.
        arrivals: whether the tables count evaluations to the target.

    >>> print(searching(["interp", "fourier"])[:41])
    interp, fourier: searches, not formulas.
    """
    told = (
        f"{', '.join(names)}: searches, not formulas. COBYLA optimises on each instance itself, from the SK-infinity "
        "point at p = 1 up to the last depth; asks: all evaluations of that, the median."
    )
    if arrivals:
        told += (
            " To 99%: those up to the first such point at the last depth, the depths before it included; no optimiser "
            "runs from where they end, so it is the same under every optimiser."
        )
    return told


def _plain(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _mean(comparison: Comparison, values: Array) -> tuple[str, str]:
    mean, low, high = comparison.mean_interval(values)
    return f"{mean:.4f}", _span((mean, low, high), ".3f")


def _span(interval: Interval, shape: str) -> str:
    """Return the bounds, or nothing where there are none."""
    return " ".join(_short(bound, shape) for bound in interval[1:] if bound is not None)


def _short(value: float, shape: str) -> str:
    return re.sub(r"^([+-]?)0\.", r"\1.", format(value, shape))


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table of a header and rows."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def loss_curve(report: Report, path: Path) -> None:
    """Write a picture of the meta-loss over the steps: a running mean, for QAOA one for each depth."""
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    FigureCanvasAgg(figure)  # the file format only, whatever screen there is
    axes = figure.add_subplot()
    losses, depths = np.array(report.losses), np.array(report.depths)
    known = sorted(set(report.depths))
    for place, depth in enumerate(known):
        (steps,) = np.nonzero(depths == depth)
        width = max(1, len(steps) // 12)
        means = np.convolve(losses[steps], np.ones(width) / width, mode="valid")
        color = colormaps["viridis"](0.85 * place / max(len(known) - 1, 1))
        axes.plot(steps[width - 1 :], means, color=color, linewidth=1.6, label=f"p = {depth}")
    axes.set_xlabel("gradient step")
    axes.set_ylabel("meta-loss, running mean")
    axes.set_xlim(0, len(losses) * 1.02)
    if any(known):  # other circuits have no layers p
        figure.legend(loc="outside right upper", frameon=False)
    figure.savefig(path, dpi=110)


def write(folder: Path, stored: Artifact, results: Sequence[str], limits: Sequence[str]) -> None:
    """Write ``card.md`` into an artifact's folder.

    Args:
        folder: of the artifact; its ``loss.png`` is shown if there is one.
        stored: the artifact.
        results: lines of Markdown on what it is worth.
        limits: sentences on where not to trust it.
    """
    settings = ", ".join(f"{key} = {value}" for key, value in stored.model.settings.items())
    weights = sum(parameter.numel() for parameter in stored.model.parameters())
    lines = [f"# {stored.name}", "", f"{type(stored.model).__name__} ({settings}): {weights} weights, "]
    lines[-1] += f"{stored.model.queries} queries"
    own = stored.model.cell_circuits if isinstance(stored.model, RecurrentModel) else 0
    lines[-1] += f", {own} circuits of its own." if own else "."
    if stored.coverage is not None:
        known = {**vars(stored.coverage), "family": ", ".join(stored.families)}
        covered = ", ".join(f"{key} = {value}" for key, value in known.items())
        lines += ["", f"Covers: {covered}."]
    lines += ["", "## Training", "", *(f"- {key}: `{value}`" for key, value in stored.training.items())]
    lines += ["", "![meta-loss](loss.png)"] if (folder / "loss.png").exists() else []  # what is joined has none
    lines += ["", "## Held-out results", "", *results]
    lines += ["## Limits", "", *(f"- {limit}" for limit in limits), ""]
    (folder / "card.md").write_text("\n".join(lines), encoding="utf-8")


def sections(comparisons: Mapping[str, tuple[str, Comparison]], baselines: Iterable[str]) -> list[str]:
    """Return lines of Markdown on comparisons on QAOA.

    Args:
        comparisons: (command, comparison) by a line that says which instances.
        baselines: the formulas among the compared models.
    """
    lines = [
        "`r = (E_max - E) / (E_max - E_min)` of the exact expectation at the proposed point, mean and 95% bootstrap "
        "interval over instances. Closed: the share of the headroom, a ratio of mean gains over the strongest baseline "
        "without queries. Asks: costs asked for before the answer. To 99%: circuit evaluations, those included, until "
        "the optimiser visits a point 99% of the way from the mean random point to the best local optimum found, the "
        "median over instances; a run that never gets there counts as the cap. Reach: the share of runs that do. Worst "
        "tenth: the mean gain in r over the instances where it is least.",
        "",
    ]
    if any(result.reaction for _, comparison in comparisons.values() for result in comparison.results.values()):
        lines += [f"Does it react to the instance? {REACTIONS}", ""]
    searches = dict.fromkeys(name for _, comparison in comparisons.values() for name in comparison.searches)
    lines += [searching(list(searches)), ""] if searches else []
    for title, (command, comparison) in comparisons.items():
        protocol = ", ".join(f"{key} = {_plain(value)}" for key, value in vars(comparison.protocol).items())
        lines += [f"### {title}", "", f"`{command}`: {len(comparison.optimum)} instances; {protocol}.", ""]
        lines += [markdown(table(comparison, baselines)), ""]
        if len(comparison.optimizers) > 1:
            lines += [f"To 99% with each optimiser, {unit(comparison)}:", "", markdown(arrivals(comparison)), ""]
        reference = comparison.strongest(baselines)
        lines += [f"Against {reference}, instance by instance:", "", markdown(duels(comparison, baselines)), ""]
        if len(reacted := reactions(comparison)) > 1:
            lines += ["Does it react to the instance?", "", markdown(reacted), ""]
    return lines


def vqe_sections(found: Sequence[tuple[str, str, Standings]], name: str) -> list[str]:
    """Return lines of Markdown on standings of VQE.

    Args:
        found: title, command and standings of each.
        name: of the initializer, which is compared with the strongest of all others.
    """
    lines = []
    for title, command, each in found:
        sizes = f"{min(each.qubits)} to {max(each.qubits)} qubits, {min(each.parameters)} to {max(each.parameters)}"
        lines += [f"### {title}", "", f"`{command}`: {len(each.qubits)} instances, {sizes} parameters.", ""]
        lines += [markdown(standings.table(each)), "", standings.legend(each), ""]
        if (strongest := each.strongest(other for other in each.results if other != name)) is not None:
            lines += [f"Against {strongest}, instance by instance:", "", markdown(standings.duels(each, strongest)), ""]
    return lines
