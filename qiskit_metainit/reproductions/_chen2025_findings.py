"""What the reproduction of Chen et al. 2025 found, in sentences, each from the numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from qiskit_metainit.reproduction import interval
from qiskit_metainit.reproductions._chen2025_results import (
    DENSE,
    ITERATIONS,
    OPTIMISERS,
    POINTS,
    Results,
    shown,
)
from qiskit_metainit.reproductions._outcomes import RATIOS


@dataclass(frozen=True)
class Published:
    """What the paper gives for iteration 2."""

    value: float
    """The least that the QLSTM has."""
    spread: float
    """What is printed after ±."""
    qlstm: str
    """Its figure as printed."""
    others: str
    """The comparators' figures."""


PUBLISHED = {"maxcut": Published(0.93, 0.03, "0.93 ± 0.03", "0.56-0.80"), "sk": Published(0.97, 0.0, "0.97-1.00", "")}
"""By family; MaxCut at P = 6/7."""
FAMILY_TITLES = {"maxcut": "MaxCut", "sk": "SK"}
"""How a family is called on the page."""


def findings(results: Results) -> list[str]:
    """Return the findings as Markdown."""
    return [
        _headline(results),
        _definition(results),
        _glasses(results),
        *_contest(results),
        _drift(results),
        _reacts(results),
        _rules(results),
        "**Ours, not the paper's:** the depths, T = 10, Adam for the models, the meta-loss's weights (the sum over the "
        "steps of the best cost so far), all learning rates, the random starts (those of qiskit-algorithms), the sizes "
        f"({_sizes(results)}) and normal SK couplings. The QLSTM's angles are expectation values, so they lie within "
        "(-1, 1) natural units, while at p = 1 the optimal gamma of isolated edges is pi/2.",
    ]


def difference(
    results: Results, family: str, reps: int, name: str, iteration: int, *, connectivity: int | None = None
) -> tuple[float, float, float]:
    """Return the mean paired difference of the QLSTM's expectation ratio and another's, and its 95% interval."""
    ours, others = (
        results.values(family, reps, own, RATIOS[0], iteration, connectivity=connectivity) for own in ("qlstm", name)
    )
    return interval(ours - others)


def _headline(results: Results) -> str:
    target = PUBLISHED["maxcut"]
    ours, optimum = _dense(results, "qlstm", RATIOS[0]), _dense(results, "optimum", RATIOS[0])
    verdict = (
        "which is within the published spread: it may be an expectation ratio"
        if max(optimum) >= target.value - target.spread
        else "below the published figure less its spread: it is no expectation ratio at these depths, whatever the "
        "optimiser"
    )
    return (
        f"**Headline.** Published: approximation ratio {target.qlstm} at iteration 2 for P = 6/7. Ours at "
        f"{_depths(results)}: expectation ratio {_listed(ours)}. The best angles found for each graph have "
        f"{_listed(optimum)}, {verdict}. {_first_depth(results)}"
    )


def _definition(results: Results) -> str:
    target, shots = PUBLISHED["maxcut"], results.settings["shots"]
    ours, optimum = _dense(results, "qlstm", RATIOS[0]), _dense(results, "optimum", RATIOS[0])
    best, uniform = _dense(results, "qlstm", RATIOS[1]), _dense(results, "uniform", RATIOS[1])
    others = {what: [value for name in OPTIMISERS[2:] for value in _dense(results, name, what)] for what in RATIOS}
    return (
        f"**Which definition could it be?** The QLSTM's expectation over that of the optimum is "
        f"{_listed(np.divide(ours, optimum))}; its best of {shots} bitstrings is worth {_listed(best)}. But the best "
        f"of {shots} *uniform* bitstrings is worth {_listed(uniform)}, that of the comparators "
        f"{_range(others[RATIOS[1]])}: at these sizes a best-sample ratio near one is no merit, and the published "
        f"{target.others} of the comparators cannot be one. Their expectation ratios are {_range(others[RATIOS[0]])} "
        f"here, beside {_listed(_dense(results, 'uniform', RATIOS[0]))} of uniform bitstrings. None of these three "
        "definitions gives both published figures."
    )


def _glasses(results: Results) -> str:
    ours, optimum, best, uniform = (
        [float(results.values("sk", reps, name, what, 2).mean()) for reps in results.depths]
        for name, what in (
            ("qlstm", RATIOS[0]),
            ("optimum", RATIOS[0]),
            ("qlstm", RATIOS[1]),
            ("uniform", RATIOS[1]),
        )
    )
    return (
        f"**Spin glasses.** Published {PUBLISHED['sk'].qlstm}. The QLSTM's expectation ratio is {_listed(ours)} at "
        f"{_depths(results)}, the optimum's {_listed(optimum)}, so that the published one is of another kind: to the "
        f"optimum of the depth ours is {_listed(np.divide(ours, optimum))}, as a best-sample ratio {_listed(best)} "
        f"(uniform bitstrings: {_listed(uniform)})."
    )


def _first_depth(results: Results) -> str:
    found, target = results.optimum_by_depth["maxcut"], PUBLISHED["maxcut"].value
    told = []
    for size, row in zip((8, 12), found, strict=False):
        depth = next((p for p, value in enumerate(row, 1) if value >= target), None)
        told.append(f"p = {depth} at N = {size}" if depth else f"no p <= {len(row)} at N = {size}")
    return f"The optimum's mean gets to {target} at {', '.join(told)}, as the table by depth shows."


def _contest(results: Results) -> list[str]:
    """Return who is better than whom, at the paper's headline and overall."""
    lines = [
        "**The QLSTM beside the others**, by expectation ratio, where the 95% interval of the paired difference says "
        "so; after t iterations it has spent t circuit evaluations, a gradient descent hundreds (tables)."
    ]
    for reps in results.depths:
        lines.append(f"MaxCut at P = 6/7, p = {reps}: {_ranking(results, 'maxcut', reps, 2, connectivity=DENSE)}.")
    for family, title in FAMILY_TITLES.items():
        for reps in results.depths:
            known = [iteration for iteration in ITERATIONS if results.has(reps, "qlstm", iteration)]
            told = "; ".join(_ranking(results, family, reps, iteration) for iteration in known)
            lines.append(f"{title}, all instances, p = {reps}: {told}.")
    return lines


def _ranking(results: Results, family: str, reps: int, iteration: int, *, connectivity: int | None = None) -> str:
    ahead, behind = [], []
    for name in (*OPTIMISERS[1:], *POINTS[:3]):
        _, low, high = difference(results, family, reps, name, iteration, connectivity=connectivity)
        if low > 0:
            ahead.append(shown(name))
        elif high < 0:
            behind.append(shown(name))
    return f"after {iteration} iterations ahead of {_names(ahead)}; behind {_names(behind)}"


def _drift(results: Results) -> str:
    """Return what the best point so far hides: where the models' later proposals go."""
    cells = results.record("maxcut", 1)["cells"]
    told = []
    for name in OPTIMISERS[:2]:
        path = np.mean([cell["optimisers"][name]["course"][str(DENSE)] for cell in cells], axis=0)
        told.append(
            f"{shown(name)} " + ", ".join(f"{path[t]:.3f} ({t})" for t in (1, 2, *ITERATIONS[1:]) if t < len(path))
        )
    return (
        "**Where the proposals go.** Expectation ratio of single proposals (which one in brackets), P = 6/7, p = 1: "
        f"{'; '.join(told)}. The loss rewards the best point so far, not the last, so a model may try one point for "
        "dense graphs and another for sparse ones: all ratios here are of the best point up to an iteration."
    )


def _reacts(results: Results) -> str:
    parts = []
    for record in results.records:
        seen = record["reactions"]["qlstm"]
        told = f"{seen['spread']:.4f} beside {seen['spread_of_optima']:.4f}"
        parts.append(f"{FAMILY_TITLES[record['family']]} p = {record['reps']}: {told}")
    return (
        "**Does the QLSTM react to the instance?** Standard deviation of its tenth proposals over 12-qubit problems "
        f"beside that of the optima, natural units: {'; '.join(parts)}."
    )


def _rules(results: Results) -> str:
    shots = results.settings["shots"]
    return (
        "**Rules.** Iteration t of a model is its t-th proposal (its start is theta = 0) and costs one circuit "
        "evaluation; of a gradient descent it is the point after t updates, each a gradient of 2 evaluations a "
        "rotation gate, 2p (edges + N), and one more for the value; Nelder-Mead counts its calls. Held, and rated, is "
        f"the best point measured so far. Best-sample ratio: the exact expectation of the best of {shots} bitstrings, "
        "from the state's probabilities, without sampling. Models: "
        f"{_training(results)}; their numbers are means over the training seeds. Comparators: torch's settings, with "
        f"the learning rate of least mean cost over all iterations on training problems ({_rates(results)})."
    )


def _dense(results: Results, name: str, what: str) -> list[float]:
    """Return the mean after 2 iterations at P = 6/7 for each depth."""
    return [float(results.values("maxcut", p, name, what, 2, connectivity=DENSE).mean()) for p in results.depths]


def _depths(results: Results) -> str:
    return " and ".join(f"p = {reps}" for reps in results.depths)


def _sizes(results: Results) -> str:
    told = []
    for record in results.records:
        sizes = ", ".join(map(str, results.sizes(record["family"], record["reps"])))
        told.append(f"{FAMILY_TITLES[record['family']]} p = {record['reps']}: {sizes}")
    return "; ".join(told)


def _rates(results: Results) -> str:
    return "; ".join(
        f"{FAMILY_TITLES[record['family']]} p = {record['reps']}: "
        + ", ".join(f"{name} {rate:g}" for name, rate in record["rates"].items())
        for record in results.records
    )


def _training(results: Results) -> str:
    told = []
    for reps in results.depths:
        record = results.record("maxcut", reps)
        plan, seeds = record["training"], len(record["losses"]["qlstm"])
        told.append(
            f"p = {reps}: {seeds} seeds, {plan['steps']} steps of {plan['batch']} problems, learning rate "
            f"{plan['learning_rate']:g}"
        )
    return "; ".join(told)


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "none"


def _listed(values: Iterable[float]) -> str:
    return " and ".join(f"{value:.3f}" for value in values)


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.3f}-{max(values):.3f}"
