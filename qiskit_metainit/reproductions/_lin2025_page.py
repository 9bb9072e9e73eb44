"""What the reproduction of Lin et al. 2025 says: its its tables and its picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qiskit_metainit.reproduction import Reproduction, interval
from qiskit_metainit.reproductions import _lin2025_beyond as beyond
from qiskit_metainit.reproductions._lin2025_findings import ITERATIONS_WITHIN, RATIO_WITHIN, findings, matches, sizes
from qiskit_metainit.reproductions._lin2025_jobs import MODELS, first_models
from qiskit_metainit.reproductions._lin2025_paper import ITERATIONS, PHASE_ONE, PHASE_TWO, PHASE_TWO_RANDOM
from qiskit_metainit.reproductions._lin2025_results import (
    SHOWN,
    SIZES,
    Array,
    Results,
    Table,
    signed,
    spanned,
)
from qiskit_metainit.two_phase import READ_AT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLORS = {
    "qk_lstm": "#16a34a",
    "lstm": "#d97706",
    "qlstm": "#1d4ed8",
    "qfwp": "#9333ea",
    "random": "#9aa5b1",
    "constant": "#dc2626",
    "optimum": "#111827",
}


def reproduction(results: Results) -> Reproduction:
    """Return the page of the results."""
    tables = [_iterations(results), _phase(results, 1), _phase(results, 2), _met(results), _differences(results)]
    tables += [_seeds(results), _training(results), *beyond.tables(results)]
    return Reproduction(
        title="Lin et al. 2025: quantum sequence models that propose QAOA angles",
        record={
            "seed": results.settings["seed"],
            "settings": results.settings,
            "published training": results.published,
            "largest change of a weight": results.moved,
            "beyond training": {
                name: [{key: value for key, value in own.items() if key != "weights"} for own in trainings]
                for name, trainings in results.beyond.items()
            },
            "deeper": results.deeper,
            "constant": results.constant,
            "sizes": {str(size): content for size, content in results.sizes.items()},
        },
        tables=tables,
        findings=findings(results),
        draw=lambda figure: _draw(results, figure),
    )


def _iterations(results: Results) -> Table:
    columns = (*MODELS, "random")
    rows = [["n", *(SHOWN[name] for name in columns), "constant", "p = 1 optimum"]]
    for size in SIZES:
        row = [str(size)]
        for name in columns:
            ours = results.start(size, name)["iterations"]
            row.append(f"{ITERATIONS[size][name]} / {np.mean(ours):.0f} ({min(ours)}-{max(ours)})")
        for name in ("constant", "optimum"):
            row.append(f"{results.start(size, name)['iterations'][0]}")
        rows.append(row)
    return (
        "Table II, iterations to convergence: published / ours, mean over seeds (least-most of them). The constant "
        "and the optimum skip the ten proposals of Phase I",
        rows,
    )


def _phase(results: Results, phase: int) -> Table:
    published = PHASE_ONE if phase == 1 else PHASE_TWO
    key = "phase one" if phase == 1 else "phase two"
    columns = ("random", "constant", "optimum")
    rows = [["n", *(SHOWN[name] for name in (*MODELS, *columns))]]
    for size in SIZES:
        row = [str(size)]
        for name in MODELS:
            mean, std = published[size][name]
            row.append(f"{mean:.2f} ± {std:.2f} / {_spread(results.ratios(size, name, key))}")
        for name in columns:
            before = ""
            if name == "random" and phase == 2:
                before = "{:.2f} ± {:.2f} / ".format(*PHASE_TWO_RANDOM[size])
            row.append(before + _spread(results.ratios(size, name, key)))
        rows.append(row)
    when = "at the tenth proposal" if phase == 1 else f"after {READ_AT} steps of descent, where the paper reads them"
    return (
        f"Table III, Phase {'I' * phase}, approximation ratio {when}: published / ours, mean over seeds and graphs ± "
        "standard deviation over graphs",
        rows,
    )


def _met(results: Results) -> Table:
    rows = [
        ["model", "figure", "mean over seeds meets it at", "lies between the seeds' at", "seeds meeting it everywhere"]
    ]
    for (name, what), found in matches(results).items():
        rows.append([SHOWN[name], what, sizes(found.met), sizes(found.between), f"{found.seeds} of {found.of}"])
    return (
        f"What is met of the published figures: a Phase I ratio within {RATIO_WITHIN}, iterations within "
        f"{ITERATIONS_WITHIN:.0%}",
        rows,
    )


def _differences(results: Results) -> Table:
    rows = [["n", "minus that of", *(SHOWN[name] for name in MODELS)]]
    for size in SIZES:
        for other in ("constant", "optimum"):
            known = results.ratios(size, other)[0]
            ours = [results.ratios(size, name).mean(axis=0) for name in MODELS]
            rows.append([str(size), f"the {other}", *(signed(interval(ratios - known)) for ratios in ours)])
    return (
        "Phase I ratio minus the constant's, and minus that of each graph's own optimum: mean over seeds, paired by "
        "graph, with 95% bootstrap intervals over graphs",
        rows,
    )


def _seeds(results: Results) -> Table:
    rows = [["model", "untrained", "trained", "moves with the graph", "explains of the optima"]]
    for name in MODELS:
        before, after = results.by_seed(name, trained=False), results.by_seed(name)
        rows.append(
            [
                SHOWN[name],
                f"{before.mean():.3f} ({before.min():.3f}-{before.max():.3f})",
                f"{after.mean():.3f} ({after.min():.3f}-{after.max():.3f})",
                f"{np.mean([results.moves(size, name) for size in SIZES]):.2f}",
                f"{results.explained(name):z.1f}",
            ]
        )
    return (
        "The seeds: Phase I ratio over all sizes before and after training, mean (least-most seed); the answers' "
        "standard deviation over graphs, relative to that of the optima (0 is a constant); the share of the optima's "
        "variance that the answers explain (median; 1 is every optimum, 0 the best constant)",
        rows,
    )


def _training(results: Results) -> Table:
    rows = [["model", "weights", "epochs", "ended by", "best epoch", "loss, first-last", "validation", "minutes"]]
    for name in MODELS:
        reports = results.published[name]
        model = first_models(name, 0, 1)[0]
        sequence, head = (sum(p.numel() for p in own) for own in (model.sequence_parameters(), model.head_parameters()))
        lengths = [len(report["losses"]) for report in reports]
        first, last = (np.mean([report["losses"][place] for report in reports]) for place in (0, -1))
        best = np.mean([min(report["validation"]) for report in reports])
        rows.append(
            [
                SHOWN[name],
                f"{sequence} + {head}" if head else str(sequence),
                spanned(lengths),
                ", ".join(sorted({str(report["stopped"]) for report in reports})),
                spanned([report["best"] for report in reports]),
                f"{first:.2f} to {last:.2f}",
                f"{best:.2f}",
                f"{max(report['seconds'] for report in reports) / 60:.1f}",
            ]
        )
    return "Training as published, all seeds of a model side by side", rows


def _draw(results: Results, figure: Figure) -> None:
    figure.set_size_inches(11, 7.2)
    panels = figure.subplots(2, 2, sharex=True, sharey=True)
    for axes, size in zip(panels.flat, SIZES, strict=True):
        for name in MODELS:
            start = results.start(size, name)
            first, second = start["error in phase one"], start["error in phase two"]
            handover = len(first)
            axes.plot(range(1, handover + 1), first, "--", color=_COLORS[name], linewidth=1.2)
            axes.plot(
                range(handover, handover + len(second)), second, color=_COLORS[name], linewidth=1.6, label=SHOWN[name]
            )
        for name, line in (("random", "-"), ("constant", "-")):
            second = results.start(size, name)["error in phase two"]
            axes.plot(range(len(second)), second, line, color=_COLORS[name], linewidth=1.2, label=SHOWN[name])
        optimum = 1 - results.mean(size, "optimum")
        axes.axhline(optimum, color=_COLORS["optimum"], linewidth=0.9, linestyle=":", label=SHOWN["optimum"])
        axes.set_title(f"n = {size}", fontsize="medium")
        axes.set_xlim(0, 200)
    for axes in panels[-1]:
        axes.set_xlabel("iteration: proposals (dashed), then descent")
    for axes in panels[:, 0]:
        axes.set_ylabel("average relative error")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=7, frameon=False)


def _spread(ratios: Array) -> str:
    return f"{ratios.mean():.3f} ± {ratios.std(axis=1).mean():.3f}"
