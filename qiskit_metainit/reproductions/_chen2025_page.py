"""What the reproduction of Chen et al. 2025 says: its tables."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from functools import partial

import numpy as np

from qiskit_metainit.reproduction import Reproduction, interval
from qiskit_metainit.reproductions._chen2025_findings import PUBLISHED, findings
from qiskit_metainit.reproductions._chen2025_picture import draw
from qiskit_metainit.reproductions._chen2025_results import (
    COMPARATORS,
    DENSE,
    FAMILY_TITLES,
    ITERATIONS,
    MODELS,
    OPTIMISERS,
    POINTS,
    Results,
    shown,
    summary,
)
from qiskit_metainit.reproductions._outcomes import RATIOS

Table = tuple[str, list[list[str]]]


def reproduction(results: Results) -> Reproduction:
    """Return the page of the results."""
    titles = {"maxcut": "MaxCut at P = 6/7, all N", "sk": "Spin glasses (SK), all N"}
    tables = [_after_two(results, family, title) for family, title in titles.items()]
    tables += [_by_connectivity(results), _by_size(results), _by_depth(results)]
    tables += [_by_iteration(results), _differences(results), _training(results)]
    return Reproduction(
        title="Chen et al. 2025: a QLSTM that optimises QAOA",
        record={
            "seed": results.settings["seed"],
            "settings": results.settings,
            "optimum_by_depth": results.optimum_by_depth,
            "families": [summary(record) for record in results.records],
        },
        tables=tables,
        findings=findings(results),
        draw=partial(draw, results),
    )


def _after_two(results: Results, family: str, title: str) -> Table:
    published, where = PUBLISHED[family], {"connectivity": DENSE} if family == "maxcut" else {}
    rows = [["", "published"]]
    for reps in results.depths:
        rows[0] += [f"p = {reps}", "95%", "of the optimum", "best sample", "evaluations"]
    for name in (*OPTIMISERS, *POINTS):
        row = [shown(name), published.qlstm if name == "qlstm" else published.compared * (name in COMPARATORS)]
        for reps in results.depths:
            mean, low, high = interval(results.values(family, reps, name, RATIOS[0], 2, **where))
            optimum = results.mean(family, reps, "optimum", RATIOS[0], **where)
            row += [f"{mean:.3f}", f"{low:.3f} {high:.3f}", f"{mean / optimum:.3f}"]
            row.append(f"{results.mean(family, reps, name, RATIOS[1], **where):.3f}")
            row.append(_evaluations(results, family, reps, name, 2, **where))
        rows.append(row)
    return f"{title}, after 2 iterations: expectation ratio, best-sample ratio, circuit evaluations", rows


def _by_connectivity(results: Results) -> Table:
    rows = [["", "p", *(f"P = {k}/7" for k in range(1, 7))]]
    told = {shown(name): (name,) for name in (*MODELS, "sk_infinity", "optimum")}
    for reps in results.depths:
        for label, names in {**told, _BEST: COMPARATORS}.items():
            cells = [_largest(results, "maxcut", reps, names, RATIOS[0], connectivity=k) for k in range(1, 7)]
            rows.append([label, str(reps), *cells])
    return "MaxCut, all N, after 2 iterations: expectation ratio by edge probability", rows


def _by_size(results: Results) -> Table:
    every = sorted({size for record in results.records for size in results.sizes(record["family"], record["reps"])})
    rows = [["", "problems", "p", *(f"N = {size}" for size in every)]]
    told: list[tuple[str, Sequence[str], str]] = [
        ("QLSTM", ("qlstm",), RATIOS[0]),
        (_BEST, COMPARATORS, RATIOS[0]),
        ("optimum", ("optimum",), RATIOS[0]),
        ("best sample: QLSTM", ("qlstm",), RATIOS[1]),
        ("best sample: uniform", ("uniform",), RATIOS[1]),
    ]
    for family, title in FAMILY_TITLES.items():
        label = DENSE if family == "maxcut" else 0
        for reps, (name, names, what) in itertools.product(results.depths, told):
            known = results.sizes(family, reps)
            cells = [
                _largest(results, family, reps, names, what, size=size, connectivity=label) if size in known else ""
                for size in every
            ]
            rows.append([name, title, str(reps), *cells])
    return "Expectation and best-sample ratio after 2 iterations by size: MaxCut at P = 6/7, and spin glasses", rows


def _largest(results: Results, family: str, reps: int, names: Sequence[str], what: str, **where: int) -> str:
    """Return the largest mean after 2 iterations among some methods."""
    return f"{max(results.mean(family, reps, name, what, **where) for name in names):.3f}"


def _by_iteration(results: Results) -> Table:
    rows = [["", *_groups(results)]]
    for name in OPTIMISERS:
        row = [shown(name)]
        for family in FAMILY_TITLES:
            for reps in results.depths:
                known = [iteration for iteration in ITERATIONS if results.has(reps, name, iteration)]
                ratios = [f"{results.mean(family, reps, name, RATIOS[0], at):.3f}" for at in known]
                spent = [_evaluations(results, family, reps, name, at) for at in known]
                row.append(f"{' '.join(ratios)} ({' '.join(spent)})")
        rows.append(row)
    iterations = ", ".join(str(iteration) for iteration in ITERATIONS if results.has(1, "Adam", iteration))
    return f"Expectation ratio after {iterations} iterations (circuit evaluations spent), all instances", rows


def _differences(results: Results) -> Table:
    rows = [["QLSTM minus", "after", *_groups(results)]]
    ends = {reps: results.last(reps) for reps in results.depths}
    for after in (dict.fromkeys(ends, ITERATIONS[0]), ends):
        for name in (*OPTIMISERS[1:], *POINTS[1:]):
            cells = [
                _signed(results.difference(family, reps, name, after[reps]))
                for family in FAMILY_TITLES
                for reps in results.depths
            ]
            rows.append([shown(name), "the end" if after is ends else str(ITERATIONS[0]), *cells])
    told = ", ".join(f"{end} iterations at p = {reps}" for reps, end in ends.items())
    return (
        "Expectation ratio of the QLSTM minus others', paired by instance, all instances: mean and 95% bootstrap "
        f"interval. The end: {told}",
        rows,
    )


def _by_depth(results: Results) -> Table:
    depths = len(next(iter(results.optimum_by_depth.values()))[0])
    rows = [["problems", "N", *(f"p = {reps}" for reps in range(1, depths + 1))]]
    for family, found in results.optimum_by_depth.items():
        for size, row in zip((8, 12), found, strict=False):
            rows.append([FAMILY_TITLES[family], str(size), *(f"{value:.3f}" for value in row)])
    return "Expectation ratio of the local optimum below SK-infinity, by depth (MaxCut at P = 6/7)", rows


def _training(results: Results) -> Table:
    rows = [["problems", "p", "model", "weights", "meta-loss", "ratio by seed", "spread / of optima", "follows"]]
    for record in results.records:
        for name in MODELS:
            first, last = (np.mean([own[part] for own in record["losses"][name]]) for part in _ENDS)
            seen = record["reactions"][name]
            by_seed = np.mean([cell["optimisers"][name]["at"]["2"]["by_seed"][0] for cell in record["cells"]], axis=0)
            row = [FAMILY_TITLES[record["family"]], str(record["reps"]), shown(name), str(record["weights"][name])]
            row += [f"{first:.2f} to {last:.2f}", " ".join(f"{value:.3f}" for value in by_seed)]
            row.append(f"{seen['spread']:.4f} / {seen['spread_of_optima']:.4f}")
            rows.append([*row, "" if seen["follows"] is None else f"{seen['follows'][0]:+.2f}"])
    return (
        "Training: meta-loss of the first and last 5 steps, mean over seeds; mean expectation ratio after 2 "
        "iterations; and whether the first seed's tenth proposal reacts to 12-qubit problems (follows: the share of "
        "the optima's variance explained, 0 for the best constant)",
        rows,
    )


_BEST = "best comparator"
_ENDS = (slice(None, 5), slice(-5, None))


def _groups(results: Results) -> list[str]:
    return [f"{title} p = {reps}" for title in FAMILY_TITLES.values() for reps in results.depths]


def _evaluations(results: Results, family: str, reps: int, name: str, iteration: int, **where: int) -> str:
    if name in POINTS:
        return "" if name == "optimum" else "0"
    return f"{results.mean(family, reps, name, 'evaluations', iteration, **where):.0f}"


def _signed(values: tuple[float, float, float]) -> str:
    """Return "mean (low high)" without the zeros before the points."""
    mean, low, high = (re.sub(r"^([+-])0\.", r"\1.", f"{value:+z.3f}") for value in values)
    return f"{mean} ({low} {high})"
