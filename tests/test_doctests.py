from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import qiskit_metainit

MODULES = ["qiskit_metainit", *(m.name for m in pkgutil.walk_packages(qiskit_metainit.__path__, "qiskit_metainit."))]
README = Path(__file__).parent.parent / "README.md"


def test_every_module_is_visited() -> None:
    files = Path(qiskit_metainit.__file__).parent.rglob("*.py")
    assert len(MODULES) == sum("pretrained" not in file.parts for file in files)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_give_what_they_show(name: str) -> None:
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


def test_there_are_examples_at_the_front_door() -> None:
    finder = doctest.DocTestFinder()
    for name in ("initializer", "problems.maxcut", "task", "engines.statevector"):
        tests = finder.find(importlib.import_module(f"qiskit_metainit.{name}"))
        assert any(test.examples for test in tests)


# qiskit-algorithms 0.4 builds QAOA from classes that Qiskit 2.1 deprecates.
@pytest.mark.filterwarnings(r"ignore:The class ``qiskit\.circuit\.library\..*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning")
def test_the_readmes_python_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    if not blocks:
        pytest.skip("README.md has no Python yet")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "readme"}
    for number, block in enumerate(blocks):
        exec(compile(block, f"README.md, block {number}", "exec"), namespace)
    assert "meta" in namespace
