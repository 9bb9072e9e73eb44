"""What the reproduction of Lin et al. 2025 says: its tables, findings and picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from qiskit_metainit.reproduction import Reproduction, interval
from qiskit_metainit.reproductions import _lin2025_beyond as beyond
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

RATIO_WITHIN = 0.02
"""A published ratio counts as met within this."""
ITERATIONS_WITHIN = 0.15
"""A published number of iterations counts as met within this share of it."""

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
    tables = [_iterations(results), _phase(results, 1), _phase(results, 2), _differences(results)]
    tables += [_seeds(results), _training(results), beyond.table(results), beyond.deeper_table(results)]
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
        findings=_findings(results),
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


def _differences(results: Results) -> Table:
    rows = [["n", *(SHOWN[name] for name in MODELS)]]
    for size in SIZES:
        constant, optimum = results.ratios(size, "constant")[0], results.ratios(size, "optimum")[0]
        row = [str(size)]
        for name in MODELS:
            ours = results.ratios(size, name).mean(axis=0)
            row.append(f"{signed(interval(ours - constant))}; {signed(interval(ours - optimum))}")
        rows.append(row)
    return (
        "Phase I ratio minus the constant's; minus each graph's own optimum's: mean over seeds, paired by graph, with "
        "95% bootstrap intervals over graphs",
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
                f"{np.mean([results.moves(size, name) for size in SIZES]):.2g}",
                f"{results.explained(name):.1f}",
            ]
        )
    return (
        "The seeds' spread: Phase I ratio over all sizes before and after training, mean (least-most seed); standard "
        "deviation of the answers "
        "over graphs relative to that of the optima (0 is a constant); share of the optima's variance that the answers "
        "explain (median; 1 is every optimum, 0 the best constant)",
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


def _findings(results: Results) -> list[str]:
    found = [_judged(results, name) for name in MODELS]
    found.append(_what_they_are(results))
    found.append(_how_far(results))
    ends = [[results.start(size, name)["end"] for size in SIZES] for name in ("qk_lstm", "lstm", "qlstm")]
    found.append(
        'The paper\'s "Phase II" ratios are a snapshot after about ten steps: after 300 the QK-LSTM, the LSTM and the '
        f"QLSTM end at {', '.join(f'{np.mean(end):.3f}' for end in ends)} on average, the optimum being at "
        f"{np.mean([results.mean(size, 'optimum') for size in SIZES]):.3f}. The ± of the paper's Table III is about "
        "half of the standard deviation over the graphs whose costs its authors published (0.06 at n = 10 against "
        f"0.03 for the QK-LSTM); ours is {results.ratios(10, 'qk_lstm').std(axis=1).mean():.2f}. Its row n = 13 "
        "differs from these published costs by up to 0.014 and by one or two iterations, the other rows do not."
    )
    constant = [results.start(size, "constant")["iterations"][0] for size in SIZES]
    found.append(
        f"A constant, (beta, gamma) = ({results.constant['point'][0]:.3f}, {results.constant['point'][1]:.3f}), the "
        "best single point of the training graphs, asks for nothing, has the ratios "
        f"{_listed([results.mean(size, 'constant') for size in SIZES])} and converges in "
        f"{', '.join(map(str, constant))} iterations."
    )
    if results.beyond:
        found.append(beyond.judged(results))
    return found


def _judged(results: Results, name: str) -> str:
    """Return which of a model's published figures our training meets, and where not, what it gives."""
    ratios = {size: results.ratios(size, name).mean(axis=1) for size in SIZES}
    counts = {size: np.array(results.start(size, name)["iterations"]) for size in SIZES}
    parts = [
        _compared("Phase I ratio", ratios, {size: PHASE_ONE[size][name][0] for size in SIZES}, RATIO_WITHIN, 0.0),
        _compared("Iterations", counts, {size: ITERATIONS[size][name] for size in SIZES}, 0.0, ITERATIONS_WITHIN),
    ]
    return f"**{SHOWN[name]}**. {' '.join(parts)}"


def _compared(what: str, ours: Mapping[int, Array], published: Mapping[int, float], within: float, share: float) -> str:
    """Return where (S,) values of ours are near the published ones: within a distance, or a share of it."""

    def near(value: float, size: int) -> bool:
        return abs(value - published[size]) <= within + share * published[size]

    met = [size for size in SIZES if near(float(ours[size].mean()), size)]
    between = [size for size in SIZES if ours[size].min() <= published[size] <= ours[size].max()]
    count = len(ours[SIZES[0]])
    seeds = sum(all(near(ours[size][seed], size) for size in SIZES) for seed in range(count))
    return (
        f"{what}: the mean over seeds meets the published one at {_sizes(met)}; the published one lies between our "
        f"seeds' at {_sizes(between)}; {seeds} of {count} seeds meet it at every n."
    )


def _what_they_are(results: Results) -> str:
    moves = {name: np.mean([results.moves(size, name) for size in SIZES]) for name in MODELS}
    explains = {name: results.explained(name) for name in MODELS}
    best = max(explains, key=lambda name: explains[name])
    return (
        "Do the answers react to the graph? Their standard deviation over graphs, relative to that of the optima, is "
        + ", ".join(f"{moves[name]:.2g} ({SHOWN[name]})" for name in MODELS)
        + ". The published QK-LSTM is a constant, because its circuit undoes its own encoding. Moving is not "
        f"following: of the optima's variance the answers explain {explains[best]:.1f} at most (median over seeds and "
        f"n, {SHOWN[best]}), where the best constant explains 0. A change of the normalised costs by 1e-9 changes the "
        "answers by "
        + ", ".join(f"{results.amplifies(name):.0e} times that ({SHOWN[name]})" for name in MODELS)
        + ", the median over graphs: raw costs of tens drive the QFWP's angles round and round, so that its figures "
        "can be met statistically only."
    )


def _how_far(results: Results) -> str:
    seconds = sum(max(report["seconds"] for report in reports) for reports in results.published.values())
    fallen = [
        SHOWN[name]
        for name, reports in results.published.items()
        if any(report["rates"][-1] < report["rates"][0] for report in reports)
    ]
    rates = f"fell for {', '.join(fallen)} only" if fallen else "never fell"
    gained = []
    for name in MODELS:
        before, after = results.by_seed(name, trained=False), results.by_seed(name)
        gained.append(
            f"{SHOWN[name]} {(after - before).mean():+.3f} (seeds from {after.min():.3f} to {after.max():.3f})"
        )
    return (
        "Where a model ends depends on where it starts: at a learning rate of 6e-6 no weight of a sequence model moved "
        "by more than "
        + ", ".join(f"{np.max(results.moved[name]):.2g} ({SHOWN[name]})" for name in MODELS)
        + f". What training added to the Phase I ratio, on average over seeds: {'; '.join(gained)}. The plateau "
        "schedule compares negative costs by a relative threshold that lets slightly worse ones pass for better; the "
        f"rates {rates}. Training took {seconds / 60:.0f} minutes of processes in all."
    )


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


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3f}" for value in values)


def _sizes(sizes: Sequence[int]) -> str:
    if len(sizes) == len(SIZES):
        return "every n"
    return "no n" if not sizes else f"n = {', '.join(map(str, sizes))}"
