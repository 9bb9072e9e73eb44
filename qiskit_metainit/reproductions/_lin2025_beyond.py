"""What the reproduction of Lin et al. 2025 says of models that are not bound to the published form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from qiskit_metainit.evaluation import Comparison
from qiskit_metainit.reproduction import interval
from qiskit_metainit.reproductions._lin2025_jobs import LATER
from qiskit_metainit.reproductions._lin2025_results import SHOWN, SIZES, Results, Table, signed, spanned

GAP = 0.004
"""The models beyond the published form shall come this near to each graph's own optimum."""


def table(results: Results) -> Table:
    """Return what the models that may react reach at p = 1."""
    names = _named(results)
    rows = [["n", *(SHOWN[name] for name in names), "constant", "p = 1 optimum"]]
    for size in SIZES:
        optimum = results.ratios(size, "optimum")[0]
        row = [str(size)]
        for name in (*(f"beyond {name}" for name in names), "constant"):
            ratios = results.ratios(size, name).mean(axis=0)
            counts = results.start(size, name)["iterations"]
            row.append(f"{ratios.mean():.4f}, {signed(interval(ratios - optimum), 4)}, {spanned(counts)}")
        rows.append([*row, f"{optimum.mean():.4f}"])
    later = {name: np.mean([results.sizes[size]["later"][name] for size in SIZES], axis=0) for name in names}
    for place, step in enumerate(LATER):
        rows.append([f"{step} proposals", *(f"{later[name][place]:.4f}" for name in names), "", ""])
    rows.append(["largest gap of a seed", *(f"{_worst_gap(results, name):.4f}" for name in names), "", ""])
    rows.append(["evaluations needed", *(_needed(results, name) for name in names), "", ""])
    rows.append(["seconds a seed", *(f"{_seconds(results, name):.0f}" for name in names), "", ""])
    return (
        "Beyond the published form, trained in batches: Phase I ratio, mean over seeds; the same minus that of each "
        "graph's own optimum, with 95% bootstrap intervals over graphs; iterations by the paper's criterion. Below: "
        "the ratio over all n when a model goes on proposing; the largest gap to the optimum of any seed at any "
        f"n; the circuit evaluations, the last proposal's own included, after which the mean gap stays within {GAP} at "
        "every n; seconds of training",
        rows,
    )


def deeper_table(results: Results) -> Table:
    """Return what the LSTM reaches on deeper circuits."""
    rows = [["p", "n", "SK-infinity", "LSTM", "best found", "closed", "95%", "seeds"]]
    for depth, sizes in results.deeper.items():
        for size, content in sizes.items():
            comparison, closed = _closed(content)
            seeds = [name for name in comparison.results if name.startswith("seed")]
            each = [value[0] for name in seeds if (value := comparison.headroom(name, "sk_infinity")) is not None]
            rows.append(
                [
                    depth.removeprefix("p = "),
                    size,
                    f"{comparison.results['sk_infinity'].ratio.mean():.4f}",
                    f"{comparison.results['mean'].ratio.mean():.4f}",
                    f"{comparison.optimum.mean():.4f}",
                    "" if closed is None else f"{closed[0]:+.2f}",
                    "" if closed is None else f"{closed[1]:+.2f} {closed[2]:+.2f}",
                    f"{min(each):+.2f} to {max(each):+.2f}" if each else "",
                ]
            )
    return (
        "Deeper circuits: r = (E_max - E) / (E_max - E_min) of the LSTM's answer after 9 queries, mean over its seeds, "
        "on graphs larger than any trained on, and the share it closes of the headroom between SK-infinity and the "
        "best local optimum found, with its 95% bootstrap interval over graphs and the least and most of the seeds",
        rows,
    )


def _closed(content: Mapping[str, Any]) -> tuple[Comparison, tuple[float, float, float] | None]:
    """Return a comparison with the mean of its seeds as a further result, and the headroom that closes."""
    comparison = Comparison.from_json(content)
    own = [result for name, result in comparison.results.items() if name.startswith("seed")]
    mean = replace(own[0], ratio=np.mean([result.ratio for result in own], axis=0), reaction=None)
    comparison = Comparison(comparison.protocol, {**comparison.results, "mean": mean}, comparison.optimum)
    return comparison, comparison.headroom("mean", "sk_infinity")


def _named(results: Results) -> list[str]:
    """Return the models that were trained beyond the published form at p = 1."""
    return [name for name in results.beyond if name in SHOWN]


def _worst_gap(results: Results, name: str) -> float:
    """Return the largest gap to the optimum, mean over graphs, of any seed at any n."""
    gaps = [results.mean(size, "optimum") - results.ratios(size, f"beyond {name}").mean(axis=1).min() for size in SIZES]
    return float(max(gaps))


def _needed(results: Results, name: str) -> str:
    """Return after how many proposals the mean gap stays within the limit at every n."""
    errors = np.array([results.start(size, f"beyond {name}")["error in phase one"] for size in SIZES])
    best = np.array([[1 - results.mean(size, "optimum")] for size in SIZES])
    late = np.flatnonzero((errors - best > GAP).any(axis=0))
    first = late.max() + 2 if late.size else 1
    return str(first) if first <= errors.shape[1] else f"over {errors.shape[1]}"


def _seconds(results: Results, name: str) -> float:
    return float(np.mean([own["seconds"] for own in results.beyond[name]]))


def judged(results: Results) -> str:
    """Return what was met of it, in words."""
    names = _named(results)
    gaps = {
        name: max(results.mean(size, "optimum") - results.mean(size, f"beyond {name}") for size in SIZES)
        for name in names
    }
    met = [name for name in names if gaps[name] <= GAP]
    counts = {
        name: [count for size in SIZES for count in results.start(size, f"beyond {name}")["iterations"]]
        for name in names
    }
    seconds = sum(_seconds(results, name) for name in names)
    found = (
        f"Trained in batches with what lets them react, {len(met)} of {len(names)} come within {GAP} of each graph's "
        "own optimum at every n: largest gap "
        + ", ".join(f"{gaps[name]:.4f} ({SHOWN[name]})" for name in names)
        + "; circuit evaluations needed, "
        + ", ".join(f"{_needed(results, name)} ({SHOWN[name]})" for name in names)
        + ". By the paper's criterion, its ten included, they converge in "
        + ", ".join(f"{spanned(counts[name])} ({SHOWN[name]})" for name in names)
        + f" iterations. A seed of all {len(names)} takes {seconds / 60:.1f} minutes of one process to train."
    )
    closed = []
    for depth, sizes in results.deeper.items():
        for size, content in sizes.items():
            share = _closed(content)[1]
            if share is not None:
                closed.append(f"{share[0]:.2f} [{share[1]:.2f}, {share[2]:.2f}] at {depth}, n = {size}")
    return found + (f" The LSTM closes of the headroom over SK-infinity: {'; '.join(closed)}." if closed else "")
