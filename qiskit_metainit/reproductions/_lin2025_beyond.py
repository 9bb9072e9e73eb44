"""What the reproduction of Lin et al. 2025 says of models that are not bound to the published form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from qiskit_metainit.comparison import Comparison
from qiskit_metainit.reproduction import interval
from qiskit_metainit.reproductions._lin2025_jobs import LATER
from qiskit_metainit.reproductions._lin2025_results import (
    SHOWN,
    SIZES,
    Array,
    Results,
    Table,
    listed,
    signed,
    spanned,
)

GAP = 0.004
"""The models beyond the published form shall come this near to each graph's own optimum."""


def tables(results: Results) -> list[Table]:
    """Return the tables, none if nothing was trained beyond the published form."""
    return [_by_size(results), _by_model(results), _deeper(results)] if results.beyond else []


def findings(results: Results) -> list[str]:
    """Return what was reached, as Markdown."""
    names = named(results)
    gaps = {name: _gaps(results, name) for name in names}
    met = [name for name in names if _mean_gap(results, name) <= GAP]
    counts = {SHOWN[name]: spanned(_iterations(results, name)) for name in names}
    seconds = sum(_seconds(results, name) for name in names)
    found = [
        f"**Beyond the published form**, trained in batches with what lets them react, {len(met)} of {len(names)} "
        f"models come within {GAP} of each graph's own optimum at every n. The largest gap at any n, "
        f"{_over_seeds(results)}, is "
        f"{listed({SHOWN[name]: f'{_mean_gap(results, name):z.4f}' for name in names})}."
        + _of_seeds({SHOWN[name]: gap for name, gap in gaps.items()}),
        "**What it costs.** Circuit evaluations until they are that near, the last proposal's own included: "
        f"{listed({SHOWN[name]: _needed(results, name) for name in names})}. Iterations to convergence by the paper's "
        f"criterion, which counts the ten proposals: {listed(counts)}. Training one seed of each of the {len(names)} "
        f"takes {seconds / 60:.1f} minutes of one process.",
    ]
    closed = []
    for depth, sizes in results.deeper.items():
        for size, content in sizes.items():
            share, each = _closed(content)[1:]
            if share is not None:
                seeds = f" (seeds {min(each):.2f} to {max(each):.2f})" if len(each) > 1 else ""
                closed.append(f"{share[0]:.2f} at {depth}, n = {size}{seeds}")
    if closed:
        found.append(
            "**Deeper circuits.** Of the headroom that SK-infinity leaves below the best local optimum found, the LSTM "
            f"closes {'; '.join(closed)}."
        )
    return found


def named(results: Results) -> list[str]:
    """Return the models that were trained beyond the published form at p = 1."""
    return [name for name in results.beyond if name in SHOWN]


def _by_size(results: Results) -> Table:
    names = named(results)
    rows = [["n", *(SHOWN[name] for name in names), "constant", "p = 1 optimum"]]
    for size in SIZES:
        optimum = results.ratios(size, "optimum")[0]
        row = [str(size)]
        for name in (*(f"beyond {name}" for name in names), "constant"):
            row.append(signed(interval(results.ratios(size, name).mean(axis=0) - optimum), 4))
        rows.append([*row, f"{optimum.mean():.4f}"])
    return (
        "Beyond the published form: Phase I ratio minus that of each graph's own optimum, which the last column has; "
        f"{_over_seeds(results)}, with 95% bootstrap intervals over graphs",
        rows,
    )


def _by_model(results: Results) -> Table:
    header = ["model", "largest gap, mean", "least-most seed", "evaluations", "iterations"]
    rows = [[*header, *(f"ratio at {step}" for step in LATER), "seconds a seed"]]
    for name in named(results):
        gaps = _gaps(results, name)
        row = [SHOWN[name], f"{_mean_gap(results, name):z.4f}", f"{gaps.min():z.4f}-{gaps.max():z.4f}"]
        row += [_needed(results, name), spanned(_iterations(results, name))]
        later = np.mean([results.sizes[size]["later"][name] for size in SIZES], axis=0)
        rows.append([*row, *(f"{ratio:.4f}" for ratio in later), f"{_seconds(results, name):.0f}"])
    return (
        "The same models: the largest gap to the optimum at any n; the circuit evaluations, the last proposal's own "
        f"included, after which the mean gap stays within {GAP} at every n; iterations by the paper's criterion, which "
        f"counts the ten proposals; the ratio over all n after {LATER[0]} proposals and when a model goes on to "
        f"{' and '.join(map(str, LATER[1:]))}; seconds of training",
        rows,
    )


def _deeper(results: Results) -> Table:
    rows = [["p", "n", "SK-infinity", "LSTM", "best found", "closed", "95%", "least-most seed"]]
    for depth, sizes in results.deeper.items():
        for size, content in sizes.items():
            comparison, closed, each = _closed(content)
            row = [depth.removeprefix("p = "), size]
            row += [f"{comparison.results[name].ratio.mean():.4f}" for name in ("sk_infinity", "mean")]
            row.append(f"{comparison.optimum.mean():.4f}")
            row += ["", ""] if closed is None else [f"{closed[0]:+.2f}", f"{closed[1]:+.2f} {closed[2]:+.2f}"]
            rows.append([*row, f"{min(each):+.2f} to {max(each):+.2f}" if each else ""])
    return (
        "Deeper circuits: r = (E_max - E) / (E_max - E_min) of the LSTM's answer after 9 queries, mean over its seeds, "
        "on graphs larger than any trained on, and the share it closes of the headroom between SK-infinity and the "
        "best local optimum found, with its 95% bootstrap interval over graphs",
        rows,
    )


def _closed(content: Mapping[str, Any]) -> tuple[Comparison, tuple[float, float, float] | None, list[float]]:
    """Return a comparison with its seeds' mean as a further result, the headroom that closes, and each seed's."""
    comparison = Comparison.from_json(content)
    seeds = [name for name in comparison.results if name.startswith("seed")]
    own = [comparison.results[name] for name in seeds]
    mean = replace(own[0], ratio=np.mean([result.ratio for result in own], axis=0), reaction=None)
    comparison = Comparison(comparison.protocol, {**comparison.results, "mean": mean}, comparison.optimum)
    each = [value[0] for name in seeds if (value := comparison.headroom(name, "sk_infinity")) is not None]
    return comparison, comparison.headroom("mean", "sk_infinity"), each


def _over_seeds(results: Results) -> str:
    count = len(results.beyond[named(results)[0]])
    return "of one seed" if count == 1 else f"mean over {count} seeds"


def _of_seeds(gaps: Mapping[str, Array]) -> str:
    """Return the seeds' least and largest gaps in words, if there are several."""
    if all(len(gap) < 2 for gap in gaps.values()):
        return ""
    return f" Single seeds lie {listed({name: f'{gap.min():z.4f} to {gap.max():z.4f}' for name, gap in gaps.items()})}."


def _gaps(results: Results, name: str) -> Array:
    """Return (S,) largest gaps to the optimum at any n, mean over graphs, by seed."""
    gaps = [results.mean(size, "optimum") - results.ratios(size, f"beyond {name}").mean(axis=1) for size in SIZES]
    return np.asarray(np.max(gaps, axis=0))


def _mean_gap(results: Results, name: str) -> float:
    """Return the largest gap to the optimum at any n, mean over graphs and seeds."""
    return max(results.mean(size, "optimum") - results.mean(size, f"beyond {name}") for size in SIZES)


def _iterations(results: Results, name: str) -> list[int]:
    return [count for size in SIZES for count in results.start(size, f"beyond {name}")["iterations"]]


def _needed(results: Results, name: str) -> str:
    """Return after how many proposals the mean gap stays within the limit at every n."""
    errors = np.array([results.start(size, f"beyond {name}")["error in phase one"] for size in SIZES])
    best = np.array([[1 - results.mean(size, "optimum")] for size in SIZES])
    late = np.flatnonzero((errors - best > GAP).any(axis=0))
    first = late.max() + 2 if late.size else 1
    return str(first) if first <= errors.shape[1] else f"over {errors.shape[1]}"


def _seconds(results: Results, name: str) -> float:
    return float(np.mean([own["seconds"] for own in results.beyond[name]]))
