"""What the reproduction of Chen et al. 2025 says: its tables."""

from __future__ import annotations

from functools import partial

import numpy as np

from qiskit_metainit.reproduction import Reproduction, interval
from qiskit_metainit.reproductions._chen2025_findings import FAMILY_TITLES, PUBLISHED, difference, findings
from qiskit_metainit.reproductions._chen2025_picture import draw
from qiskit_metainit.reproductions._chen2025_results import (
    DENSE,
    ITERATIONS,
    MODELS,
    OPTIMISERS,
    POINTS,
    Array,
    Results,
    shown,
    summary,
)
from qiskit_metainit.reproductions._outcomes import RATIOS

Table = tuple[str, list[list[str]]]


def reproduction(results: Results) -> Reproduction:
    """Return the page of the results."""
    tables = [_headline(results), *_by_connectivity(results)]
    tables += [*_by_size(results, "maxcut", "MaxCut at P = 6/7", DENSE), _by_iteration(results)]
    tables += [_glasses(results), *_by_size(results, "sk", "Spin glasses (SK)", 0)]
    tables += [_differences(results), _by_depth(results), _training(results)]
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


def _headline(results: Results) -> Table:
    published = PUBLISHED["maxcut"]
    header = ["start or optimiser", "published, iteration 2"]
    for reps in results.depths:
        header += [f"p = {reps}: expectation ratio", "95%", "best-sample ratio", "of the optimum", "evaluations"]
    rows = [header]
    for name in (*OPTIMISERS, *POINTS):
        row = [shown(name), published.qlstm if name == "qlstm" else published.others if name in OPTIMISERS[2:] else ""]
        for reps in results.depths:
            mean, low, high = interval(results.values("maxcut", reps, name, RATIOS[0], 2, connectivity=DENSE))
            best = results.values("maxcut", reps, name, RATIOS[1], 2, connectivity=DENSE).mean()
            optimum = results.values("maxcut", reps, "optimum", RATIOS[0], 2, connectivity=DENSE).mean()
            row += [f"{mean:.3f}", f"{low:.3f} {high:.3f}", f"{best:.3f}", f"{mean / optimum:.3f}"]
            row.append(_evaluations(results, "maxcut", reps, name, 2, connectivity=DENSE))
        rows.append(row)
    return f"MaxCut at P = 6/7 after 2 iterations, all N ({_sizes(results)})", rows


def _by_connectivity(results: Results) -> list[Table]:
    tables = []
    for what in RATIOS:
        rows = [["start or optimiser", "p", *(f"P = {k}/7" for k in range(1, 7))]]
        for reps in results.depths:
            for name in (*OPTIMISERS, *POINTS):
                cells = [_mean(results.values("maxcut", reps, name, what, 2, connectivity=k)) for k in range(1, 7)]
                rows.append([shown(name), str(reps), *cells])
        tables.append((f"MaxCut, {_told(what, results)}, after 2 iterations, by edge probability", rows))
    return tables


def _by_size(results: Results, family: str, title: str, connectivity: int) -> list[Table]:
    sizes, tables = results.sizes(family, 1), []
    for what in RATIOS:
        rows = [["start or optimiser", "p", *(f"N = {size}" for size in sizes)]]
        for reps in results.depths:
            known = results.sizes(family, reps)
            for name in (*OPTIMISERS, *POINTS):
                row = [shown(name), str(reps)]
                for size in sizes:
                    where = {"size": size, "connectivity": connectivity}
                    row.append(_mean(results.values(family, reps, name, what, 2, **where)) if size in known else "")
                rows.append(row)
        tables.append((f"{title}, {_told(what, results)}, after 2 iterations, by size", rows))
    return tables


def _by_iteration(results: Results) -> Table:
    header = ["optimiser", "p"]
    for iteration in ITERATIONS:
        header += [f"{iteration} iterations: expectation ratio", "best-sample ratio", "evaluations"]
    rows = [header]
    for reps in results.depths:
        for name in OPTIMISERS:
            row = [shown(name), str(reps)]
            for iteration in ITERATIONS:
                row += _at(results, "maxcut", reps, name, iteration)
            rows.append(row)
    return "MaxCut, all N and P: mean ratios and mean circuit evaluations spent to hold the point", rows


def _glasses(results: Results) -> Table:
    header = ["start or optimiser", "p", "published, iteration 2"]
    for iteration in ITERATIONS:
        header += [f"{iteration} iterations: expectation ratio", "best-sample ratio", "evaluations"]
    rows = [header]
    for reps in results.depths:
        for name in (*OPTIMISERS, *POINTS):
            row = [shown(name), str(reps), PUBLISHED["sk"].qlstm if name == "qlstm" else ""]
            for iteration in ITERATIONS:
                row += _at(results, "sk", reps, name, iteration)
            rows.append(row)
    return "Spin glasses (SK), all N: mean ratios to the ground energy and mean circuit evaluations", rows


def _differences(results: Results) -> Table:
    rows = [["QLSTM minus", "problems", "p", *(f"{iteration} iterations" for iteration in ITERATIONS)]]
    for family in FAMILY_TITLES:
        for reps in results.depths:
            for name in (*OPTIMISERS[1:], *POINTS[1:]):
                row = [shown(name), FAMILY_TITLES[family], str(reps)]
                for iteration in ITERATIONS:
                    if not results.has(reps, "qlstm", iteration):
                        row.append("")
                        continue
                    mean, low, high = difference(results, family, reps, name, iteration)
                    row.append(f"{mean:+.3f} ({low:+.3f} {high:+.3f})")
                rows.append(row)
    return "Expectation ratio of the QLSTM minus others', paired by instance, mean and 95% bootstrap interval", rows


def _by_depth(results: Results) -> Table:
    depths = len(next(iter(results.optimum_by_depth.values()))[0])
    rows = [["problems", "N", *(f"p = {reps}" for reps in range(1, depths + 1))]]
    for family, found in results.optimum_by_depth.items():
        for size, row in zip((8, 12), found, strict=False):
            rows.append([FAMILY_TITLES[family], str(size), *(f"{value:.3f}" for value in row)])
    return "Expectation ratio of the local optimum below SK-infinity, by depth (MaxCut at P = 6/7)", rows


def _training(results: Results) -> Table:
    rows = [["problems", "p", "model", "weights", "meta-loss, first and last 5 steps, by seed", "ratio by seed"]]
    rows[0] += ["spread of answers / of optima", "follows"]
    for record in results.records:
        for name in MODELS:
            losses = [f"{np.mean(own[:5]):.2f} to {np.mean(own[-5:]):.2f}" for own in record["losses"][name]]
            seen = record["reactions"][name]
            by_seed = np.mean([cell["optimisers"][name]["at"]["2"]["by_seed"][0] for cell in record["cells"]], axis=0)
            rows.append(
                [
                    FAMILY_TITLES[record["family"]],
                    str(record["reps"]),
                    shown(name),
                    str(record["weights"][name]),
                    ", ".join(losses),
                    ", ".join(f"{value:.3f}" for value in by_seed),
                    f"{seen['spread']:.4f} / {seen['spread_of_optima']:.4f}",
                    "" if seen["follows"] is None else f"{seen['follows'][0]:+.2f}",
                ]
            )
    return (
        "Training: cumulative best cost of 10 proposals; mean expectation ratio after 2 iterations; and whether the "
        "first seed's tenth proposal reacts to 12-qubit problems (follows: the share of the optima's variance "
        "explained, 0 for the best constant)",
        rows,
    )


def _at(results: Results, family: str, reps: int, name: str, iteration: int) -> list[str]:
    if not results.has(reps, name, iteration):
        return ["", "", ""]
    means = [_mean(results.values(family, reps, name, what, iteration)) for what in RATIOS]
    return [*means, _evaluations(results, family, reps, name, iteration)]


def _evaluations(results: Results, family: str, reps: int, name: str, iteration: int, **where: int) -> str:
    if name == "optimum":
        return ""
    return (
        "0" if name in POINTS else f"{results.values(family, reps, name, 'evaluations', iteration, **where).mean():.0f}"
    )


def _mean(values: Array) -> str:
    return f"{values.mean():.3f}"


def _told(what: str, results: Results) -> str:
    return "expectation ratio" if what == RATIOS[0] else f"best-sample ratio ({results.settings['shots']} bitstrings)"


def _sizes(results: Results) -> str:
    known = {reps: ", ".join(map(str, results.sizes("maxcut", reps))) for reps in results.depths}
    return "; ".join(f"p = {reps}: {sizes}" for reps, sizes in known.items())
