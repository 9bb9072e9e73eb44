from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qiskit_metainit import cli

Answer = tuple[int, str, str]
Program = Callable[..., Answer]


@pytest.fixture(autouse=True)
def _own_ledger(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Runs of the tests are not kept among the user's."""
    monkeypatch.setenv("METAINIT_LEDGER", str(tmp_path / "kept" / "ledger.sqlite"))


@pytest.fixture
def metainit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    """The program in this process: exit code, standard output, standard error."""

    def run(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["metainit", *map(str, arguments)])
        code: Any = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code or 0
        captured = capsys.readouterr()
        return int(code), captured.out, captured.err

    return run


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "graph.edgelist"
    path.write_text("a b\nb c 2.0\nc a\nc d 0.5\n")
    return path
