"""What every command prints with: tables, texts and bars on a terminal, and how it reads lists and settings."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from rich.box import ROUNDED
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

console = Console()
"""Standard output."""
if not console.is_terminal and "COLUMNS" not in os.environ:
    console.width = 160  # of a table that goes into a file or a pipe, where nobody can widen the window
messages = Console(stderr=True)
"""Standard error."""


def numbers(text: str) -> list[int]:
    """Return the integers of "3", "1,2,5" or "1-8".

    >>> numbers("1-3,6")
    [1, 2, 3, 6]
    """
    result: list[int] = []
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        try:
            result += range(int(low), int(high if dash else low) + 1)
        except ValueError:
            raise typer.BadParameter(f"integers such as 3, 1,2,5 or 1-8 are needed, but {text!r} came") from None
    return result


def spans(values: Sequence[int]) -> str:
    """Return the text that ``numbers`` reads as these integers.

    >>> spans([1, 2, 3, 6])
    '1-3,6'
    """
    parts: list[list[int]] = []
    for value in values:
        if parts and value == parts[-1][-1] + 1:
            parts[-1].append(value)
        else:
            parts.append([value])
    return ",".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)


def words(text: str) -> list[str]:
    """Return the words of "a,b"."""
    return [word.strip() for word in text.split(",") if word.strip()]


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function (stage, done, of) that draws one bar a stage on standard error."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=messages) as bars:
        stages: dict[str, Any] = {}

        def update(stage: str, done: int, total: int, note: str = "") -> None:
            if stage not in stages:
                stages[stage] = bars.add_task(stage, total=total, note=note)
            bars.update(stages[stage], completed=done, total=total, note=note)

        yield update


def show(rows: Sequence[Sequence[str]], title: str, *, header: bool = True, wrap: bool = True) -> None:
    """Print a table of a header, which may be left out of sight, and rows, whose cells may be wrapped."""
    view = Table(
        show_header=header,
        box=None if header else ROUNDED,  # without lines ten columns fit a terminal of 80
        pad_edge=not header,
    )
    for place, heading in enumerate(rows[0]):
        view.add_column(
            heading, justify="left" if place == 0 else "right", overflow="fold", no_wrap=place == 0 or not wrap
        )
    for row in rows[1:]:
        view.add_row(*map(escape, row))  # names of nodes and files may have brackets
    unbounded = console.options.update(max_width=10**6)
    view.collapse_padding = Measurement.get(console, unbounded, view).maximum > console.width
    # Not as the table's own title, which would be broken at the table's width.
    console.print(title, style="italic", markup=False, highlight=False, soft_wrap=not console.is_terminal)
    console.print(view)


def say(text: str) -> None:
    """Print a text as it is: wrapped between words on a terminal, line by line into a file or a pipe."""
    console.print(text, markup=False, highlight=False, soft_wrap=not console.is_terminal)


def settings(items: Sequence[str] | None) -> dict[str, Any]:
    """Return the settings of "KEY=JSON" items.

    >>> settings(["hidden=32", 'start="tqa"'])
    {'hidden': 32, 'start': 'tqa'}
    """
    return dict(_setting(item) for item in items or [])


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        hint = f"A setting needs KEY=JSON such as hidden=32, but {text!r} came"
        raise typer.BadParameter(hint if equals else hint + " without '='") from None
