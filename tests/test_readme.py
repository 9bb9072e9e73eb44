from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_readme_tables_are_those_of_the_stored_comparisons() -> None:
    spec = importlib.util.spec_from_file_location("readme_tables", ROOT / "tutorials" / "tables" / "readme.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "<!-- table held_out_er_p2 -->" in text
    assert module.rendered(text) == text
    assert module.rendered(text.replace("| qaoa |", "| nobody |", 1)) == text
