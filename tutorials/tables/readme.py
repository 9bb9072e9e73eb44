"""README's tables from the stored comparisons: `python tutorials/tables/readme.py` rewrites them in place."""

from __future__ import annotations

import json
import re
from pathlib import Path

from qiskit_metainit.card import markdown, table
from qiskit_metainit.evaluation import Comparison
from qiskit_metainit.jobs import BASELINES

ROOT = Path(__file__).resolve().parents[2]


def rendered(text: str) -> str:
    """Return a text with every block between `<!-- table NAME -->` and `<!-- end -->` made anew."""

    def block(match: re.Match[str]) -> str:
        path = ROOT / "tutorials" / "results" / f"{match[1]}.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = table(Comparison.from_json(content), BASELINES)
        note = f"{content['instances']} instances, {content['title']}: `{content['command']}`."
        return f"<!-- table {match[1]} -->\n{note}\n\n{markdown(rows)}\n<!-- end -->"

    return re.sub(r"<!-- table (\w+) -->.*?<!-- end -->", block, text, flags=re.DOTALL)


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(rendered(readme.read_text(encoding="utf-8")), encoding="utf-8")
