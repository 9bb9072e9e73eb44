"""What came of runs under noise: each start's standing by device, depth and budget, and what can be said of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from qiskit_metainit.provenance import command, versions
from qiskit_metainit.reproduction import interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRICS = ("noisy", "ideal", "optimal", "best")
"""What a point is judged by: r of its energy under the noise, readout errors included, and without any noise, both
exact; the chance that one shot under the noise is an optimal cut; and the best cut sampled in the run over the maximum.
"""
BEST, OPTIMISING = "best", "optimising"
"""How a start spends its shots: the policy of the largest mean noisy r on the tuning graphs, optimising or not, and the
best of those that optimise."""

_COLORS = {"random": "#94a3b8", "sk_infinity": "#d97706"}
_LEARNED = ("#1d4ed8", "#be123c", "#7e22ce", "#15803d", "#0e7490")


@dataclass(frozen=True, eq=False)
class NoiseStandings:
    """Runs of several starts on the same graphs, devices and seeds, within the same totals of shots."""

    settings: Mapping[str, Any]
    """Of the study: its starts, devices, budgets and reps among them."""
    policies: Sequence[Mapping[str, Any]]
    """For every reps, start and budget what ``BEST`` and ``OPTIMISING`` are, in words, and what each policy's mean
    noisy r was on the tuning graphs."""
    pieces: Sequence[Mapping[str, Any]]
    """One depth on one graph on one device each: its facts, its ``starts`` and its ``runs`` with their metrics."""

    @property
    def learned(self) -> list[str]:
        """The starts in question: all but the random one and the formula."""
        return [name for name in self.settings["starts"] if name not in _COLORS] or ["sk_infinity"]

    def cells(self) -> Iterator[tuple[str, int, int]]:
        """Yield (device, reps, budget)."""
        for device in self.settings["devices"]:
            for reps in self.settings["reps"]:
                for budget in self.settings["budgets"]:
                    yield device, reps, budget

    def final(
        self, start: str, reps: int, budget: int, metric: str, *, device: str | None = None, way: str = BEST
    ) -> NDArray[np.float64]:
        """Return the (G,) metric of where the runs ended, by graph; without a device the mean over the devices."""
        told = self.policy(start, reps, budget, way)
        return self._by_graph(
            "runs",
            metric,
            reps,
            device,
            lambda row: (row["start"], row["budget"], row["policy"]) == (start, budget, told),
        )

    def started(self, start: str, reps: int, metric: str, *, device: str | None = None) -> NDArray[np.float64]:
        """Return the (G,) metric of the start itself, by graph; without a device the mean over the devices."""
        return self._by_graph("starts", metric, reps, device, lambda row: row["start"] == start)

    def optimum(self, reps: int, device: str) -> NDArray[np.float64]:
        """Return the (G,) r under noise of the best point found, searched with exact noisy energies."""
        rows = [piece for piece in self.pieces if (piece["reps"], piece["device"]) == (reps, device)]
        return np.array([piece["optimum"] for piece in sorted(rows, key=lambda piece: int(piece["graph"]))])

    def policy(self, start: str, reps: int, budget: int, way: str = BEST) -> str:
        """Return how a start spends its shots."""
        wanted = {"start": start, "reps": reps, "budget": budget}
        return str(next(row[way] for row in self.policies if {key: row[key] for key in wanted} == wanted))

    def _by_graph(self, kind: str, metric: str, reps: int, device: str | None, own: Any) -> NDArray[np.float64]:
        found: dict[int, list[float]] = {}
        for piece in self.pieces:
            if piece["reps"] == reps and device in (None, piece["device"]):
                found.setdefault(piece["graph"], []).extend(row[metric] for row in piece[kind] if own(row))
        return np.array([np.mean(found[graph]) for graph in sorted(found)])

    def table(self, metric: str = "noisy") -> list[list[str]]:
        """Return header and rows: a metric of where runs from the learned starts end, and how far ahead it is."""
        shown = {"noisy": "r under noise", "ideal": "r without noise", "optimal": "optimal shots", "best": "best cut"}
        rows = [["device", "p", "shots", "start", shown[metric], *(f"- {other}" for other in reversed(_COLORS))]]
        for device, reps, budget in self.cells():
            for name in self.learned:
                own = self.final(name, reps, budget, metric, device=device)
                others = [self.final(other, reps, budget, metric, device=device) for other in reversed(_COLORS)]
                rows.append([device, str(reps), f"{budget:,}", name, f"{own.mean():.4f}"])
                rows[-1] += [_difference(own - other) for other in others]
        return rows

    def optimising(self) -> list[list[str]]:
        """Return header and rows: the starts' own r under noise, and what the best optimisation makes of them there."""
        rows = [["start", "p", "shots", "its r", "optimised", "95%", "best way to optimise", "best way"]]
        for name in self.settings["starts"]:
            for reps in self.settings["reps"]:
                first = self.started(name, reps, "noisy")
                for budget in self.settings["budgets"]:
                    last = self.final(name, reps, budget, "noisy", way=OPTIMISING)
                    ways = [self.policy(name, reps, budget, way) for way in (OPTIMISING, BEST)]
                    rows.append([name, str(reps), f"{budget:,}", f"{first.mean():.4f}"])
                    rows[-1] += [
                        *_difference(last - first).split(" ", 1),
                        ways[0],
                        "the same" if ways[0] == ways[1] else ways[1],
                    ]
        return rows

    def findings(self) -> list[str]:
        """Return sentences: does the lead last, what does optimising do, and what cannot be told apart here."""
        said = []
        cells = list(self.cells())
        for name in self.learned:
            for other in _COLORS:
                if other == name:
                    continue
                gains = [
                    self.final(name, reps, budget, "noisy", device=device)
                    - self.final(other, reps, budget, "noisy", device=device)
                    for device, reps, budget in cells
                ]
                above = sum(interval(values)[1] > 0 for values in gains)
                below = sum(interval(values)[2] < 0 for values in gains)
                means = [values.mean() for values in gains]
                said.append(
                    f"{name} ends above {other} beyond the interval in {above} of {len(cells)} cells, below it in "
                    f"{below}; its mean lead in r under noise is {min(means):+.4f} to {max(means):+.4f}."
                )
            changes = []
            for reps in self.settings["reps"]:
                for budget in self.settings["budgets"]:
                    last = self.final(name, reps, budget, "noisy", way=OPTIMISING)
                    changes.append(interval(last - self.started(name, reps, "noisy")))
            better, worse = sum(low > 0 for _, low, _ in changes), sum(high < 0 for _, _, high in changes)
            said.append(
                f"Optimising under noise from {name}, in the best way found, makes its point better beyond the "
                f"interval at {better} of {len(changes)} depths and budgets and worse at {worse}: by "
                f"{min(change[0] for change in changes):+.4f} to {max(change[0] for change in changes):+.4f}."
            )
        for name in self.learned:
            left = [
                (self.optimum(reps, device) - self.started(name, reps, "noisy", device=device)).mean()
                for device in self.settings["devices"]
                for reps in self.settings["reps"]
            ]
            said.append(
                f"{name} itself, before any shot, is {min(left):.4f} to {max(left):.4f} of r under noise from the best "
                "point found with exact noisy energies: so little is left for an optimisation to gain."
            )
        best = [
            self.final(name, reps, budget, "best").mean()
            for name in self.settings["starts"]
            for _, reps, budget in cells
        ]
        said.append(
            f"The best cut sampled is {min(best):.4f} to {max(best):.4f} of the maximum whatever the start: at these "
            "sizes it tells nothing."
        )
        return said

    def picture(self, path: Path) -> None:
        """Write ``draw``'s figure into a PNG file."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(layout="constrained")
        FigureCanvasAgg(figure)  # the file format only, whatever screen there is
        self.draw(figure)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=130)

    def draw(self, figure: Figure) -> None:
        """Fill a figure: r under noise of where runs end, counted from the learned start's own, by device and depth."""
        devices, depths, budgets = (self.settings[key] for key in ("devices", "reps", "budgets"))
        figure.set_size_inches(3.6 * len(devices), 3.0 * len(depths) + 0.5)
        panels: Any = figure.subplots(len(depths), len(devices), sharex=True, sharey=True, squeeze=False)
        looks = {**_COLORS, **dict(zip(self.learned, _LEARNED, strict=False))}
        for line, reps in zip(panels, depths, strict=True):
            for axes, device in zip(line, devices, strict=True):
                zero = self.started(self.learned[0], reps, "noisy", device=device)
                for place, name in enumerate(self.settings["starts"]):
                    ends = [self.final(name, reps, budget, "noisy", device=device) - zero for budget in budgets]
                    mean, low, high = np.array([interval(values) for values in ends]).T
                    moved = np.array(budgets) * 1.1 ** (place - 1)  # beside each other
                    look = {"color": looks[name], "marker": "o", "markersize": 4, "capsize": 3}
                    axes.errorbar(moved, mean, [mean - low, high - mean], label=name, **look)
                axes.axhline(
                    0.0, color="#111827", linewidth=0.8, linestyle=":", label=f"{self.learned[0]}, not optimised"
                )
                optimum = (self.optimum(reps, device) - zero).mean()
                axes.axhline(optimum, color="#16a34a", linewidth=0.8, linestyle="--", label="best found under noise")
                axes.set_xscale("log")
                axes.set_yscale("symlog", linthresh=0.01)
                axes.set_title(f"{device}, p = {reps}", loc="left", fontsize=9)
            line[0].set_ylabel("r under noise, from the dotted line")
        for axes in panels[-1]:
            axes.set_xlabel("total shots")
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)

    def write(self, path: Path, **extra: Any) -> None:
        """Write everything with provenance as JSON, a line a piece, with further entries; ``read`` reads it."""
        head = {
            **extra,
            "command": command(),
            "versions": versions(),
            "settings": self.settings,
            "policies": self.policies,
        }
        text = json.dumps(head, indent=1)[:-2]
        lines = ",\n  ".join(json.dumps(_rounded(piece)) for piece in self.pieces)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'{text},\n "under_noise": [\n  {lines}\n ]\n}}\n', encoding="utf-8")

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Self:
        """Return what ``write`` wrote.

        Raises:
            KeyError: if it is something else.
        """
        return cls(content["settings"], content["policies"], content["under_noise"])


def _difference(values: NDArray[np.float64]) -> str:
    mean, low, high = interval(values)
    return f"{mean:+z.4f} [{low:+z.4f} {high:+z.4f}]"


def _rounded(value: Any) -> Any:
    """Return JSON values with six digits of every number."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, Mapping):
        return {key: _rounded(entry) for key, entry in value.items()}
    return [_rounded(entry) for entry in value] if isinstance(value, list) else value
