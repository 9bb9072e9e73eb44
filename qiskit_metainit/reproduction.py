"""A published experiment run again: its pieces kept while it runs, its figures printed beside ours when it is done."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from qiskit_metainit import comparison, plugins
from qiskit_metainit.card import markdown
from qiskit_metainit.model import Model
from qiskit_metainit.parallel import Job, run_jobs
from qiskit_metainit.provenance import command, versions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, of)."""


@dataclass(frozen=True, eq=False)
class Reproduction:
    """What came out, ready to be shown and published."""

    title: str
    """Heading of the page."""
    record: Mapping[str, Any]
    """Everything measured, as JSON values; the page tells its "seed" and "seconds" if there are any."""
    tables: Sequence[tuple[str, Sequence[Sequence[str]]]]
    """(caption, header and rows)."""
    findings: Sequence[str]
    """Sentences in Markdown: what was met, what was not and why."""
    draw: Callable[[Figure], None]
    """Fills a figure of constrained layout; it may change its size."""


class Experiment(Protocol):
    """What a file of ``reproductions`` holds: a frozen dataclass of settings, ``quick`` and ``seed`` among them."""

    def run(self, stages: Stages, progress: Progress) -> Reproduction:
        """Run the experiment, or what is left of it: every long piece through ``stages``."""
        ...


class Stages:
    """The finished pieces of a long computation, each a JSON file, so that an interruption loses one piece at most.

    Args:
        folder: of this computation alone; made if need be.
        settings: JSON values that every piece depends on.

    Raises:
        ValueError: if the folder holds something else, or pieces that were made with other settings.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> stages = Stages(Path(folder.name), {"seed": 0})
    >>> stages.get("sum", lambda: 1 + 1)
    2
    >>> stages.get("sum", lambda: print("is not made again"))
    2
    >>> folder.cleanup()
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self.seconds = 0.0  # what the pieces asked for took to make, in whatever call that was
        self._making = 0
        path, wanted = folder / "settings.json", json.loads(_dumps(dict(settings), "settings"))
        if path.exists():
            known = _read(path)
            if known != wanted:
                keys = [key for key in sorted({*known, *wanted}) if known.get(key) != wanted.get(key)]
                differing = "; ".join(f"{key} was {known.get(key)} and is {wanted.get(key)}" for key in keys)
                raise ValueError(
                    f"The unfinished work in {folder} is of other settings: {differing}. Repeat the command that began "
                    "it, choose another output, or remove that folder."
                )
        elif folder.exists() and any(entry.suffix != ".partial" for entry in folder.iterdir()):
            raise ValueError(
                f"A folder for unfinished work is needed, but {folder} holds something else. Choose another output, or "
                "move the folder away."
            )
        else:
            folder.mkdir(parents=True, exist_ok=True)
            _write(path, _dumps(wanted, "settings"))

    def get(self, name: str, make: Callable[[], Any]) -> Any:
        """Return the stored piece of that name, or make and store it: a JSON value, the same fresh and stored.

        Raises:
            ValueError: if the name is no plain file name, the stored piece is damaged, or the made one is no JSON.
        """
        path = self.folder / f"{_plain(name)}.json"
        if not path.exists():
            start = time.perf_counter()
            self._making += 1
            try:
                value = make()
            finally:
                self._making -= 1
            _write(path, _dumps({"seconds": time.perf_counter() - start, "value": value}, f"piece {name!r}"))
        piece = _read(path)
        if not isinstance(piece, dict) or set(piece) != {"seconds", "value"}:
            raise ValueError(f"A finished piece is needed, but {path} is none. Remove it to have it made again.")
        if not self._making:  # a piece within a piece is part of that one's time
            self.seconds += piece["seconds"]
        return piece["value"]

    def get_all(self, jobs: Mapping[str, Job], workers: int, progress: Progress) -> dict[str, Any]:
        """Return the piece of each job, those that are not stored made side by side.

        Args:
            jobs: by name; what a file's name cannot hold is replaced by "-" there.
            workers: processes.
            progress: called with (name, done, of).
        """
        files = {name: re.sub(r"[^\w.]+", "-", name) for name in jobs}
        missing = {name: job for name, job in jobs.items() if not (self.folder / f"{files[name]}.json").exists()}
        for name, value in run_jobs(missing, workers, progress):
            self.get(files[name], partial(_itself, value))
        return {name: self.get(file, dict) for name, file in files.items()}  # all are there

    def checkpoint(self, name: str) -> Path:
        """Return a file for a training's own checkpoint, which outlives an interruption of the piece."""
        return self.folder / f"{_plain(name)}.pt"


def reproduce(
    name: str, folder: Path, *, quick: bool, seed: int, progress: Progress, full: bool = False
) -> tuple[Reproduction, list[Path]]:
    """Run an experiment, or what an interruption left of it, and publish it.

    Args:
        name: of a file of ``reproductions``.
        folder: for the result; unfinished work lies in ``NAME-work`` there and is removed at the end.
        quick: a smaller run, published as ``NAME-quick``, so that it never replaces a whole one.
        seed: of everything.
        progress: called with (stage, done, of).
        full: a larger run, published as ``NAME-full``, of an experiment that has one.

    Returns:
        The reproduction and the files written.

    Raises:
        ValueError: if there is no such reproduction, or no full run of it.
    """
    kind = plugins.load("reproductions", name)
    if full and "full" not in {each.name for each in dataclasses.fields(kind)}:
        raise ValueError(f"{name} has no full run: its plain one is already whole. Leave --full out.")
    experiment: Any = kind(quick=quick, seed=seed, **({"full": True} if full else {}))
    label = f"{name}{'-quick' if quick else ''}{'-full' if full else ''}"
    settings = {"reproduction": name, **dataclasses.asdict(experiment), "version": metadata.version("qiskit-metainit")}
    stages = Stages(folder / f"{label}-work", settings)
    result: Reproduction = experiment.run(stages, progress)
    result = dataclasses.replace(result, record={**result.record, "seconds": round(stages.seconds, 1)})
    files = publish(result, label, folder)
    shutil.rmtree(stages.folder)
    return result, files


def interval(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return mean and 95% bootstrap interval over (I,) instances."""
    return comparison.Comparison(comparison.Protocol(reps=1, resamples=2000), {}, values).mean_interval(values)


def publish(reproduction: Reproduction, name: str, folder: Path) -> list[Path]:
    """Write ``NAME.json``, ``NAME.png`` and ``NAME.md`` into a folder, made if need be, and return their paths."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    record = {"title": reproduction.title, "command": command(), "versions": versions(), **reproduction.record}
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    FigureCanvasAgg(figure)  # the file format only, whatever screen there is
    reproduction.draw(figure)
    files = [folder / f"{name}.{ending}" for ending in ("json", "png", "md")]
    _write(files[0], _dumps(record, "record", indent=1) + "\n")
    figure.savefig(files[1], dpi=130)
    _write(files[2], _page(reproduction, name))
    return files


def _page(reproduction: Reproduction, name: str) -> str:
    facts = [f"Made by `{command()}`"]
    if "seed" in reproduction.record:
        facts.append(f"seed {reproduction.record['seed']}")
    if "seconds" in reproduction.record:
        facts.append(f"{_duration(reproduction.record['seconds'])} of computation")
    lines = [
        f"# {reproduction.title}",
        "",
        f"{', '.join(facts)}. Every number, with versions: [{name}.json]({name}.json).",
    ]
    if name.endswith("-quick"):
        lines += [
            "",
            "**A quick run: few seeds, steps and problems. It shows that the experiment runs, and says nothing ",
        ]
        lines[-1] += "about the paper.**"
    lines += ["", *(f"- {finding}" for finding in reproduction.findings)]
    lines += ["", f"![{reproduction.title}]({name}.png)", ""]
    for caption, rows in reproduction.tables:
        lines += [f"**{caption}**", "", markdown(rows), ""]
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def _itself(value: Any) -> Any:
    return value


def weights_of(model: Model) -> dict[str, Any]:
    """Return a model's state as JSON values."""
    return {name: value.tolist() for name, value in model.state_dict().items()}


def with_weights(model: Model, weights: Mapping[str, Any]) -> Model:
    """Return the model with what ``weights_of`` gave, ready to answer."""
    model.load_state_dict({name: torch.tensor(value, dtype=torch.float64) for name, value in weights.items()})
    return model.eval()


def _plain(name: str) -> str:
    if not re.fullmatch(r"\w[\w.-]*", name) or name == "settings":
        raise ValueError(
            f"A piece's name must be of letters, digits, '_', '.' and '-', and not 'settings', but {name!r} came."
        )
    return name


def _dumps(value: Any, what: str, indent: int | None = None) -> str:
    try:
        return json.dumps(value, indent=indent, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The {what} must be JSON values, but that fails: {error}. Make arrays lists (tolist) and nan None."
        ) from error


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged ({error}). Remove it to have it made again, or the folder to start afresh."
        ) from error


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")  # a crash while writing leaves no half file behind
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
