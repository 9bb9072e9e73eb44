"""What the reproduction of Chen et al. 2025 found, in sentences, each from the numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

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
    others: tuple[float, float] | None
    """The comparators' least and largest."""

    @property
    def compared(self) -> str:
        """The comparators' figures as printed."""
        return "" if self.others is None else "{:.2f}-{:.2f}".format(*self.others)


PUBLISHED = {
    "maxcut": Published(0.93, 0.03, "0.93 ± 0.03", (0.56, 0.80)),
    "sk": Published(0.97, 0.0, "0.97-1.00", None),
}
"""By family; MaxCut at P = 6/7."""


def findings(results: Results) -> list[str]:
    """Return the findings as Markdown."""
    return [
        _what_was_run(results),
        _what_counts(results),
        _headline(results),
        _definition(results),
        _glasses(results),
        _contest(results),
        _drift(results),
        _reacts(results),
    ]


def definitions(results: Results, reps: int) -> Mapping[str, tuple[float, Sequence[float]]]:
    """Return by definition of a ratio the QLSTM's and the comparators', MaxCut at P = 6/7 after 2 iterations."""

    def values(what: str) -> tuple[float, list[float]]:
        own = [results.mean("maxcut", reps, name, what, connectivity=DENSE) for name in ("qlstm", *COMPARATORS)]
        return own[0], own[1:]

    ours, others = values(RATIOS[0])
    optimum = results.mean("maxcut", reps, "optimum", RATIOS[0], connectivity=DENSE)
    return {
        "expectation": (ours, others),
        "relative to the optimum": (ours / optimum, [value / optimum for value in others]),
        "best sample": values(RATIOS[1]),
    }


def definitions_met(results: Results) -> list[str]:
    """Return the definitions, and at which depth, by which ours meet both published figures of MaxCut at P = 6/7."""
    target = PUBLISHED["maxcut"]
    low, high = target.others or (0.0, 1.0)
    return [
        f"{name} at p = {reps}"
        for reps in results.depths
        for name, (ours, others) in definitions(results, reps).items()
        if abs(ours - target.value) <= target.spread and low <= min(others) and max(others) <= high
    ]


def _what_was_run(results: Results) -> str:
    trainings = []
    for reps in results.depths:
        record = results.record("maxcut", reps)
        plan, seeds = record["training"], len(record["losses"]["qlstm"])
        trainings.append(f"{seeds} seeds of {plan['steps']} steps at p = {reps}")
    cells = results.record("maxcut", 1)["cells"][0], results.record("sk", 1)["cells"][0]
    graphs, glasses = (cell["connectivity"].count(cell["connectivity"][0]) for cell in cells)
    return (
        f"**What was run.** The models were trained on 7 qubits, by T = 10 proposals on {plan['batch']} problems a "
        f"step, with Adam at {plan['learning_rate']:g}: {', '.join(trainings)}. Their numbers are means over the "
        f"seeds. Tested were {graphs} graphs of each N and edge probability and {glasses} spin glasses (normal "
        "couplings) of each N. The comparators start at random points, with the learning rates that did best on "
        "training problems. The paper fixes the problems, the cell and the comparators; depths, T, the meta-loss's "
        "weights, all learning rates, the starts and the counts are our choice."
    )


def _what_counts(results: Results) -> str:
    return (
        "**What counts.** All ratios are of the best point measured so far. A model's iteration is one proposal and "
        "one circuit evaluation; a gradient descent's is one for the value and, by parameter shift, two a rotation "
        "gate, 2p (edges + N); Nelder-Mead counts its calls. Expectation ratio: <H> / E_min. Best-sample ratio: the "
        f"exact mean of the best of {results.settings['shots']} bitstrings. Uniform: all bitstrings alike, which is "
        "theta = 0. Constant: the best single point of training problems. Optimum: the best local optimum found."
    )


def _headline(results: Results) -> str:
    target = PUBLISHED["maxcut"]
    ours, optimum = (_dense(results, name, RATIOS[0]) for name in ("qlstm", "optimum"))
    verdict = (
        "which is within the published spread: it may be an expectation ratio"
        if max(optimum) >= target.value - target.spread
        else "which is below the published figure less its spread: that is no expectation ratio at these depths, "
        "whatever the optimiser"
    )
    depths = []
    for size, row in zip((8, 12), results.optimum_by_depth["maxcut"], strict=False):
        depth = next((p for p, value in enumerate(row, 1) if value >= target.value), None)
        depths.append(f"p = {depth} at N = {size}" if depth else f"no p <= {len(row)} at N = {size}")
    return (
        f"**Headline.** Published for P = 6/7 after 2 iterations: {target.qlstm}. Our QLSTM's expectation ratio at "
        f"{_depths(results)} is {_listed(ours)}. The optimum's is {_listed(optimum)}, {verdict}. The optimum's mean "
        f"gets to {target.value} at {' and at '.join(depths)}."
    )


def _definition(results: Results) -> str:
    target = PUBLISHED["maxcut"]
    met, parts = definitions_met(results), []
    by_depth = [definitions(results, reps) for reps in results.depths]
    for name in by_depth[0]:
        found = [by[name] for by in by_depth]
        ours, others = [value for value, _ in found], [value for _, values in found for value in values]
        parts.append(f"{name} {_listed(ours)} beside {_range(others)}")
    return (
        f"**Which definition could it be?** Published: {target.qlstm} beside {target.compared} of the comparators. "
        f"Ours at {_depths(results)}: {'; '.join(parts)}. Both published figures are met by "
        f"{', '.join(met) if met else 'none of these definitions'}. Uniform bitstrings have a best-sample ratio of "
        f"{_listed(_dense(results, 'uniform', RATIOS[1]))} already: at these sizes one near 1 is no merit."
    )


def _glasses(results: Results) -> str:
    def values(name: str, what: str) -> list[float]:
        return [results.mean("sk", reps, name, what) for reps in results.depths]

    ours, optimum = values("qlstm", RATIOS[0]), values("optimum", RATIOS[0])
    return (
        f"**Spin glasses.** Published: {PUBLISHED['sk'].qlstm}. Our QLSTM's expectation ratio at {_depths(results)} is "
        f"{_listed(ours)}, the optimum's {_listed(optimum)}. Relative to the optimum ours is "
        f"{_listed(np.divide(ours, optimum))}. The QLSTM's best-sample ratio is "
        f"{_listed(values('qlstm', RATIOS[1]))}, that of uniform bitstrings {_listed(values('uniform', RATIOS[1]))}."
    )


def _contest(results: Results) -> str:
    """Return who is ahead after two iterations and at the end."""
    told = []
    for family, title in FAMILY_TITLES.items():
        for reps in results.depths:
            by_names: dict[str, list[str]] = {}
            for iteration in (ITERATIONS[0], results.last(reps)):
                by_names.setdefault(_behind(results, family, reps, iteration), []).append(str(iteration))
            parts = [f"{names} ({' and '.join(when)} iterations)" for names, when in by_names.items()]
            told.append(f"on {title} at p = {reps} {', '.join(parts)}")
    return (
        "**Who is ahead?** By the 95% intervals of paired differences over all instances the QLSTM is behind: "
        f"{'; '.join(told)}. It is ahead of the others, or level with them."
    )


def _behind(results: Results, family: str, reps: int, iteration: int) -> str:
    others = (*OPTIMISERS[1:], *POINTS[:3])
    names = [shown(name) for name in others if results.difference(family, reps, name, iteration)[2] < 0]
    return ", ".join(names) if names else "none"


def _drift(results: Results) -> str:
    """Return what the best point so far hides: where the models' later proposals go."""
    cells = results.record("maxcut", 1)["cells"]
    told = []
    for name in MODELS:
        path = np.mean([cell["optimisers"][name]["course"][str(DENSE)] for cell in cells], axis=0)
        known = [t for t in (1, 2, *ITERATIONS[1:]) if t < len(path)]
        told.append(f"{shown(name)} {', '.join(f'{path[t]:.3f}' for t in known)}")
    return (
        f"**Where the proposals go.** Proposals {', '.join(map(str, known))} by themselves have, at P = 6/7 and p = 1, "
        f"the expectation ratios {'; '.join(told)}. The loss rewards the best point so far and not the last, so that a "
        "model may try one point for dense graphs and another for sparse ones."
    )


def _reacts(results: Results) -> str:
    parts = []
    for record in results.records:
        seen = record["reactions"]["qlstm"]
        share = seen["spread"] / seen["spread_of_optima"]
        parts.append(f"{share:.2f} ({FAMILY_TITLES[record['family']]}, p = {record['reps']})")
    return (
        "**Does the QLSTM react to the instance?** The standard deviation of its tenth proposals over 12-qubit "
        f"problems is this share of that of the optima: {', '.join(parts)}. Its angles are expectation values, within "
        "(-1, 1) natural units; at p = 1 the best gamma of isolated edges is pi/2."
    )


def _dense(results: Results, name: str, what: str) -> list[float]:
    """Return the mean after 2 iterations at P = 6/7 for each depth."""
    return [results.mean("maxcut", reps, name, what, connectivity=DENSE) for reps in results.depths]


def _depths(results: Results) -> str:
    return " and ".join(f"p = {reps}" for reps in results.depths)


def _listed(values: Iterable[float]) -> str:
    return " and ".join(f"{value:.3f}" for value in values)


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.3f}-{max(values):.3f}"
