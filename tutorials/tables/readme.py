"""README's tables from the stored comparisons: `python tutorials/tables/readme.py` rewrites them in place."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qiskit_metainit import standings
from qiskit_metainit.card import arrivals, markdown, table
from qiskit_metainit.comparison import Comparison, read_cells
from qiskit_metainit.jobs import BASELINES
from qiskit_metainit.noise_standings import NoiseStandings
from qiskit_metainit.reproductions._lin2025_paper import PHASE_ONE

ROOT = Path(__file__).resolve().parents[2]
CELLS = (
    *("er", "er_uniform", "er_exponential", "er_normal", "regular", "regular_sparse"),
    *("regular_exponential", "complete_uniform", "sk"),
    *("fields", "qubo", "p_spin"),
    *("barabasi_albert", "watts_strogatz", "grid", "heavy_hex", "er_signs", "er_power_law"),
)
"""Endings of the files of ``tutorials/results`` that README's tables of the headroom are made of, in its order."""
BEYOND = (
    *("deep_er", "deep_er_exponential", "deep_regular", "deep_sk", "deep_fields"),
    *("large_er", "large_er_exponential", "large_sk", "labs"),
)
"""Endings of the files that README's table of depths and sizes far from those trained on is made of."""
CHOICES = ("qaoa", "auto", "auto:7", "qaoa-refined")
SEEDS = ("qaoa", "seed_2027", "seed_2028")
"""Rows of those files: what is shipped, and the trainings that differ in their seed only."""
VQE = ("heisenberg", "hubbard", "uccsd")
"""Shipped initializers for VQE: the files ``vqe_NAME*.json`` have them beside every baseline."""


def rendered(text: str) -> str:
    """Return a text with every block between `<!-- table NAME -->` and `<!-- end -->` made anew."""

    made = {"headroom": headroom, "choices": choices, "beyond": beyond, "vqe": vqe}  # of many files

    def block(match: re.Match[str]) -> str:
        if match[1] in made:
            return f"<!-- table {match[1]} -->\n{made[match[1]]()}\n<!-- end -->"
        folder = "reproductions" if match[1] == "lin2025" else "results"
        path = ROOT / "tutorials" / folder / f"{match[1]}.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        if "published training" in content:
            return f"<!-- table {match[1]} -->\n{sequence_models(content)}\n<!-- end -->"
        if "under_noise" in content:
            found = NoiseStandings.read(content)
            note = f"{found.settings['graphs']} graphs, {content['seconds'] / 60:.0f} minutes: `{content['command']}`."
            return f"<!-- table {match[1]} -->\n{note}\n\n{markdown(found.table())}\n<!-- end -->"
        if "workloads" in content:
            return f"<!-- table {match[1]} -->\n{speed(content)}\n<!-- end -->"
        cell = Comparison.from_json(content)
        rows = arrivals(cell) if len(cell.optimizers) > 1 else table(cell, BASELINES)
        note = f"{content['instances']} instances, {content['title']}: `{content['command']}`."
        return f"<!-- table {match[1]} -->\n{note}\n\n{markdown(rows)}\n<!-- end -->"

    return re.sub(r"<!-- table (\w+) -->.*?<!-- end -->", block, text, flags=re.DOTALL)


def headroom() -> str:
    """Return the share of the headroom that `qaoa` closes with no query, by instances and depth."""
    rows: list[list[str]] = []
    for title, cells in measured():
        if not rows:
            rows.append(["instances", *(f"p = {cell.protocol.reps}" for cell in cells), "worst tenth"])
        rows.append([title, *(closed(cell, "qaoa") for cell in cells), f"{worst(cells, 'qaoa'):+z.4f}"])
    return markdown(rows)


def choices() -> str:
    """Return what the shipped initializers and seeds close, the mean over the depths where there is a headroom."""
    rows = [["instances", *CHOICES, "seeds", *(f"worst tenth: {name}" for name in CHOICES)]]
    for title, cells in measured():
        means = {}
        for name in (*CHOICES, *SEEDS):
            shares = [cell.headroom(name, cell.strongest(BASELINES)) for cell in cells]
            means[name] = np.mean([share[0] for share in shares if share is not None])
        seeds = sorted(means[name] for name in SEEDS)
        rows.append([title, *(f"{means[name]:.2f}" for name in CHOICES), f"{seeds[0]:.2f} to {seeds[-1]:.2f}"])
        rows[-1] += [f"{worst(cells, name):+z.4f}" for name in CHOICES]
    return markdown(rows)


def beyond() -> str:
    """Return what is closed at depths and sizes far from those trained on."""
    names = ("qaoa", "auto", "qaoa-refined")
    rows = [["instances", "p", *names]]
    for title, cells in measured(BEYOND):
        rows += [[title, str(cell.protocol.reps), *(closed(cell, name) for name in names)] for cell in cells]
    return markdown(rows)


def vqe() -> str:
    """Return how far above the lowest energy the starting points for VQE lie, beside the strongest baseline."""
    rows = [
        ["initializer", "instances", "excess", "95%", "largest", "strongest baseline", "times as far", "best found"]
    ]
    for name in VQE:
        paths = (ROOT / "tutorials" / "results").glob(f"vqe_{name}*.json")
        files = [standings.read(json.loads(path.read_text(encoding="utf-8"))) for path in paths]
        for title, _, found in sorted(files, key=lambda file: (min(file[2].qubits), file[0])):
            own, others = found.results[name], [other for other in found.results if other not in known_seeds(found)]
            strongest = found.strongest(other for other in others if other != name)
            assert strongest is not None
            mean, low, high = found.interval(own.excess)
            ratio = found.factor(name, strongest)
            theirs = found.results[strongest].excess.mean()
            rows.append([f"`{name}`", title.partition(", seed")[0], f"{mean:.2g}", f"{low:.2g} {high:.2g}"])
            rows[-1] += [f"{own.excess.max():.2g}", f"{strongest} {theirs:.2g}"]
            rows[-1] += [f"{ratio[0]:.3g} [{ratio[1]:.3g} {ratio[2]:.3g}]", f"{found.optimum.mean():.2g}"]
    return markdown(rows)


def known_seeds(found: standings.Standings) -> list[str]:
    """Return the names of further trainings, which are no baselines."""
    return [name for name in found.results if "seed" in name]


def measured(places: Sequence[str] = CELLS) -> Iterator[tuple[str, list[Comparison]]]:
    """Yield a line that says which instances, and their comparisons by depth."""
    for place in places:
        content = json.loads((ROOT / "tutorials" / "results" / f"qaoa_{place}.json").read_text(encoding="utf-8"))
        yield content["cells"][0]["title"].partition(", reps")[0], [cell for _, cell in read_cells(content).values()]


def worst(cells: Sequence[Comparison], name: str) -> float:
    """Return the mean gain over the strongest formula on the tenth where it is least, at the worst depth."""
    return min(cell.worst_decile(name, cell.strongest(BASELINES)) for cell in cells)


def closed(cell: Comparison, name: str) -> str:
    """Return the share of the headroom closed over the strongest formula, or what is left where there is none."""
    found = cell.headroom(name, cell.strongest(BASELINES))
    if found is None:
        return f"({(cell.optimum - cell.results[name].ratio).mean():.4f} left)"
    share, low, high = (f"{value:.2f}" for value in found)
    return f"{share} [{low} {high}]"


def sequence_models(content: Mapping[str, Any]) -> str:
    """Return what the sequence models of Lin et al. reach: as they printed it, as published here, and with levers."""
    sizes = content["sizes"]

    def mean(name: str, key: str = "phase one") -> Any:
        """Return the mean over sizes and graphs, by seed."""
        return np.mean(
            [np.array(size["starts"][name][key]).reshape(-1, size["graphs"]).mean(1) for size in sizes.values()], axis=0
        )

    def moves(name: str) -> float:
        starts = [size["starts"][name] for size in sizes.values()]
        return float(np.mean([np.mean(start["spread"]) / start["spread of optima"] for start in starts]))

    rows = [["", "printed", "as published", "seeds", "moves", "with levers", "to the optimum", "moves"]]
    optimum = float(mean("optimum")[0])
    for name, shown in (("lstm", "LSTM"), ("qlstm", "QLSTM"), ("qk_lstm", "QK-LSTM"), ("qfwp", "QFWP")):
        ours, beyond = mean(name), mean(f"beyond {name}")
        printed = np.mean([row[name][0] for row in PHASE_ONE.values()])
        rows.append([shown, f"{printed:.3f}", f"{ours.mean():.3f}", f"{ours.min():.3f} to {ours.max():.3f}"])
        rows[-1] += [f"{moves(name):.2f}", f"{beyond.mean():.4f}", f"{beyond.mean() - optimum:+z.4f}"]
        rows[-1].append(f"{moves(f'beyond {name}'):.2f}")
    rows.append(
        ["constant", "", f"{mean('constant')[0]:.3f}", "", "0.00", "", f"{mean('constant')[0] - optimum:+z.4f}", ""]
    )
    rows.append(["p = 1 optimum of each graph", "", f"{optimum:.3f}", "", "1.00", "", "", ""])
    counts = ", ".join(f"{size['graphs']} of {n} nodes" for n, size in sizes.items())
    note = f"`{content['command']}`: approximation ratio after ten proposals (Phase I), test graphs: {counts}."
    return f"{note}\n\n{markdown(rows)}"


def speed(content: Mapping[str, Any]) -> str:
    """Return the speed comparison: a note, a table, and the memory."""
    entries = content["workloads"]
    machines = {json.dumps(entry["machine"], sort_keys=True): entry["machine"] for entry in entries}
    notes = [f"{machine['cpu']}, threads: {machine['threads']}" for machine in machines.values()]
    commands = dict.fromkeys(entry["command"] for entry in entries)
    note = f"{'; '.join(notes)}: {', '.join(f'`{command}`' for command in commands)}."
    header = ["", "single", "double", "lightning", "fastest other", "", "Aer + shifts", "floor"]
    text = f"{note}\n\n{markdown([header, *map(_speed_row, entries)])}"
    return "\n\n".join([text, *_memory(content["memory"])])


def _speed_row(entry: Mapping[str, Any]) -> list[str]:
    results = entry["results"]
    own = {name.split()[1]: result for name, result in results.items() if "ratio" not in result}
    others = {name: _like_with_like(result) for name, result in results.items() if "ratio" in result}
    lightning, aer = others.pop("lightning", None), others.pop("aer parameter shift", None)
    others.pop("lightning single", None)
    fastest = min(others, key=lambda name: others[name]["median"], default="")
    batch = f", batch {entry['batch']}" if entry.get("batch", 1) > 1 else ""
    return [
        entry["name"] + batch,
        *(_time(own[precision]) for precision in ("single", "double")),
        _ratio(lightning),
        fastest,
        _ratio(others.get(fastest)),
        _ratio(aer),
        f"{own['single']['times_floor']:.1f}" if "times_floor" in own["single"] else "",
    ]


def _like_with_like(result: Mapping[str, Any]) -> Mapping[str, float]:
    """Return a peer's ratio to this package's engine in the peer's own precision."""
    ratios: Mapping[str, Mapping[str, float]] = result["ratio"]
    return ratios[result.get("precision", "double")]


def _memory(rows: list[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for the largest size of this package's engine."""
    own = [row for row in rows if row["name"].startswith("statevector") and "statevectors" in row]
    if not own:
        return []
    largest = max(row["qubits"] for row in own)
    parts = [
        f"{row['statevectors']['call']:.1f} ({row['name'].removeprefix('statevector ')}, p = {row['reps']})"
        for row in own
        if row["qubits"] == largest
    ]
    return [f"Peak memory of value and gradient at n = {largest}, in statevectors: {', '.join(parts)}."]


def _ratio(ratio: Mapping[str, float] | None) -> str:
    if ratio is None:
        return ""
    median, low, high = (
        f"{ratio[key]:,.0f}" if ratio[key] >= 100 else f"{ratio[key]:.2g}" for key in ("median", "low", "high")
    )
    return f"{median}x ({low} to {high})"


def _time(result: Mapping[str, Any]) -> str:
    text = _duration(result["seconds"]["median"])
    first = result.get("first_epoch_seconds")
    return text if first is None else f"{text} (the first {_duration(first['median'])})"


def _duration(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(rendered(readme.read_text(encoding="utf-8")), encoding="utf-8")
