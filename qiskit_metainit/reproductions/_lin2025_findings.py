"""What the reproduction of Lin et al. 2025 found, in sentences, each from the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qiskit_metainit.reproductions import _lin2025_beyond as beyond
from qiskit_metainit.reproductions._lin2025_jobs import MODELS
from qiskit_metainit.reproductions._lin2025_paper import ITERATIONS, PHASE_ONE
from qiskit_metainit.reproductions._lin2025_results import (
    SHOWN,
    SIZES,
    Array,
    Results,
    joined,
    listed,
    plural,
    spanned,
)

RATIO_WITHIN = 0.02
"""A published ratio counts as met within this."""
ITERATIONS_WITHIN = 0.15
"""A published number of iterations counts as met within this share of it."""


@dataclass(frozen=True)
class Match:
    """Where one figure of one model meets the published one."""

    met: list[int]
    """Sizes at which the mean over seeds does."""
    between: list[int]
    """Sizes at which the published one lies between those of the seeds."""
    seeds: int
    """Seeds that meet it at every size."""
    of: int
    """Seeds."""


def findings(results: Results) -> list[str]:
    """Return the findings as Markdown."""
    found = [_what_was_run(results), _are_they_met(results), _react(results), _sensitive(results), _how_far(results)]
    found += [_second_phase(results), _on_spreads(results), _constant(results)]
    return found + (beyond.findings(results) if results.beyond else [])


def matches(results: Results) -> dict[tuple[str, str], Match]:
    """Return by (model, figure) what our training meets of the published figures."""
    found = {}
    for name in MODELS:
        ratios = {size: results.ratios(size, name).mean(axis=1) for size in SIZES}
        counts = {size: np.array(results.start(size, name)["iterations"]) for size in SIZES}
        published = {size: PHASE_ONE[size][name][0] for size in SIZES}
        found[name, "Phase I ratio"] = _match(ratios, published, RATIO_WITHIN, 0.0)
        published = {size: float(ITERATIONS[size][name]) for size in SIZES}
        found[name, "iterations"] = _match(counts, published, 0.0, ITERATIONS_WITHIN)
    return found


def _match(ours: Mapping[int, Array], published: Mapping[int, float], within: float, share: float) -> Match:
    """Compare (S,) values of ours by size with published ones: near is within a distance, or a share of them."""

    def near(value: float, size: int) -> bool:
        return bool(abs(value - published[size]) <= within + share * published[size])

    count = len(ours[SIZES[0]])
    return Match(
        met=[size for size in SIZES if near(float(ours[size].mean()), size)],
        between=[size for size in SIZES if ours[size].min() <= published[size] <= ours[size].max()],
        seeds=sum(all(near(ours[size][seed], size) for size in SIZES) for seed in range(count)),
        of=count,
    )


def _what_was_run(results: Results) -> str:
    settings, seeds = results.settings, plural(results.settings["seeds"], "seed")
    graphs = [str(results.sizes[size]["graphs"]) for size in SIZES]
    names = beyond.named(results)
    told = (
        f"**What was run.** As published, each of the four models was trained from {seeds}: "
        f"graph by graph on {settings['training graphs']} graphs of 6 to 9 nodes, for at most "
        f"{settings['schedule']['epochs']} epochs. "
    )
    if names:
        count = len(results.beyond[names[0]])
        depths = f", the LSTM at {joined(list(results.deeper))} too" if results.deeper else ""
        told += f"Beyond the published form each was trained in batches, from {plural(count, 'seed')}{depths}. "
    return told + (
        f"All were tested on {joined(graphs)} graphs of {joined([str(size) for size in SIZES])} nodes, as many for "
        "each edge probability. The paper trains each model once and tests on 14 to 20 graphs of a size. Its graphs "
        "carry no licence, so all are drawn anew from the seed; which edge probabilities the five validation graphs "
        "have is our choice. Beside the models stand random points, the best constant and each graph's own optimum."
    )


def _are_they_met(results: Results) -> str:
    found = matches(results)
    told = [
        f"{SHOWN[name]} {len(found[name, 'Phase I ratio'].met)} and {len(found[name, 'iterations'].met)}"
        for name in MODELS
    ]
    between = sum(len(match.between) for match in found.values())
    return (
        f"**Are the published figures met?** Each model has {len(SIZES)} Phase I ratios and {len(SIZES)} numbers of "
        f"iterations. A ratio counts as met within {RATIO_WITHIN}, a number of iterations within "
        f"{ITERATIONS_WITHIN:.0%}. On average over the seeds our training meets, in this order: {'; '.join(told)}. Of "
        f"all {len(found) * len(SIZES)} published figures, {between} lie between those of our seeds. The table on what "
        "is met says where."
    )


def _react(results: Results) -> str:
    moves = {SHOWN[name]: f"{np.mean([results.moves(size, name) for size in SIZES]):.2f}" for name in MODELS}
    explains = {name: results.explained(name) for name in MODELS}
    best = max(explains, key=lambda name: explains[name])
    return (
        "**Do the answers react to the graph?** Their standard deviation over graphs, relative to that of the optima, "
        f"is {listed(moves)}. The published QK-LSTM is a constant, because its circuit undoes its own encoding. To "
        "move is not to follow: the best constant explains 0 of the optima's variance and the optima themselves 1. "
        f"The most that a published model explains is {explains[best]:z.1f} (the {SHOWN[best]}, median over seeds and "
        "n)."
    )


def _sensitive(results: Results) -> str:
    times = {SHOWN[name]: _times(results.amplifies(name)) for name in MODELS}
    return (
        "**How sensitive are they?** All normalised costs were shifted by 1e-9. In units of that shift the answers "
        f"moved by {listed(times)}, the median over graphs. Raw costs of tens drive the QFWP's angles round and "
        "round, so that its figures can be met statistically only."
    )


def _how_far(results: Results) -> str:
    seconds = sum(max(report["seconds"] for report in reports) for reports in results.published.values())
    fallen = [
        SHOWN[name]
        for name, reports in results.published.items()
        if any(report["rates"][-1] < report["rates"][0] for report in reports)
    ]
    moved = {SHOWN[name]: f"{np.max(results.moved[name]):.2g}" for name in MODELS}
    gained = {
        SHOWN[name]: f"{(results.by_seed(name) - results.by_seed(name, trained=False)).mean():+z.3f}" for name in MODELS
    }
    return (
        "**How far does training go?** The sequence models learn at a rate of 6e-6: no weight of theirs moved by more "
        f"than {listed(moved)}. Where a model ends therefore depends on where it starts, as the table of seeds shows. "
        f"Training added to the Phase I ratio, on average over seeds, {listed(gained)}. The plateau schedule compares "
        "negative costs by a relative threshold, which lets slightly worse ones pass for better; the rates "
        f"{f'fell for {joined(fallen)} only' if fallen else 'never fell'}. Training as published took "
        f"{seconds / 60:.0f} minutes of processes in all."
    )


def _second_phase(results: Results) -> str:
    ends = {
        SHOWN[name]: f"{np.mean([results.start(size, name)['end'] for size in SIZES]):.3f}"
        for name in ("qk_lstm", "lstm", "qlstm")
    }
    optimum = np.mean([results.mean(size, "optimum") for size in SIZES])
    return (
        '**Phase II.** The paper\'s "Phase II" ratios are a snapshot after about ten steps of descent. After 300 steps '
        f"the average ratio is {listed(ends)}; that of the optimum is {optimum:.3f}."
    )


def _on_spreads(results: Results) -> str:
    return (
        "**Two oddities of the paper's Table III.** Its ± is about half of the standard deviation over the graphs "
        "whose costs its authors published: 0.03 against 0.06 for the QK-LSTM at n = 10, where ours is "
        f"{results.ratios(10, 'qk_lstm').std(axis=1).mean():.2f}. And its row n = 13 differs from these published "
        "costs, by up to 0.014 and by one or two iterations; the other rows agree with them."
    )


def _constant(results: Results) -> str:
    beta, gamma = results.constant["point"]
    counts = [results.start(size, "constant")["iterations"][0] for size in SIZES]
    ratios = [f"{results.mean(size, 'constant'):.3f}" for size in SIZES]
    return (
        f"**A constant.** The best single point of the training graphs, (beta, gamma) = ({beta:.3f}, {gamma:.3f}), "
        f"asks for nothing. Its ratios at n = {joined([str(size) for size in SIZES])} are {joined(ratios)}, and it "
        f"converges in {spanned(counts)} iterations."
    )


def _times(value: float) -> str:
    """Return a factor to one digit.

    >>> [_times(value) for value in (6e-8, 0.23, 31.0)]
    ['less than 0.001', '0.2', '30']
    """
    return "less than 0.001" if value < 1e-3 else f"{float(f'{value:.1g}'):g}"


def sizes(found: list[int]) -> str:
    """Return sizes in words."""
    if len(found) == len(SIZES):
        return "every n"
    return "none" if not found else f"n = {joined([str(size) for size in found])}"
