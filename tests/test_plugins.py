"""Tests of how models, engines and families are found."""

import subprocess
import sys
from importlib.resources import files

import pytest

from qiskit_metainit import plugins
from qiskit_metainit.engines.parameter_shift import ParameterShift
from qiskit_metainit.engines.sampling import Sampling
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.model import Model
from qiskit_metainit.models.constant import Constant
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.problem import Family
from qiskit_metainit.problems.maxcut import MaxCut

KINDS = ["models", "engines", "problems", "reproductions"]
EVERYTHING = [(kind, name) for kind in KINDS for name in plugins.names(kind)]


@pytest.fixture
def forgetful():
    """What was found is looked for again, in this test and after it."""
    plugins._own.cache_clear()
    plugins._foreign.cache_clear()
    yield
    plugins._own.cache_clear()
    plugins._foreign.cache_clear()


@pytest.fixture
def outsider(tmp_path, monkeypatch, forgetful):
    """An installed package with a model, an engine and a family of its own."""

    def install(entries, code=OUTSIDE):
        (tmp_path / "metainit_outside.py").write_text(code)
        folder = tmp_path / "metainit_outside-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: metainit-outside\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(entries)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "metainit_outside", raising=False)
        plugins._foreign.cache_clear()

    yield install
    sys.modules.pop("metainit_outside", None)


OUTSIDE = """
from qiskit_metainit.model import Model

class Zero(Model):
    def begin(self, features):
        return features.unit * 0, None

class Oracle:
    pass

class Outer:
    class Inner(Zero):
        pass
"""

ENTRIES = """
[qiskit_metainit.models]
zero_point = metainit_outside:Zero
inner = metainit_outside:Outer.Inner

[qiskit_metainit.engines]
oracle = metainit_outside:Oracle
"""


# what lies in the package


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_those_of_the_files_sorted(kind):
    folder = files("qiskit_metainit") / kind
    stems = [entry.name.removesuffix(".py") for entry in folder.iterdir() if entry.name.endswith(".py")]
    own = sorted(stem for stem in stems if not stem.startswith("_"))
    assert plugins.names(kind) == own
    assert own


def test_some_names_that_must_be_there():
    assert {"constant", "linear_ramp", "lstm", "random_point", "sk_correction", "sk_infinity", "tqa"} <= set(
        plugins.names("models")
    )
    assert {"parameter_shift", "sampling", "statevector"} <= set(plugins.names("engines"))
    assert "maxcut" in plugins.names("problems")


def test_names_load_their_classes():
    assert plugins.load("models", "sk_infinity") is SkInfinity
    assert plugins.load("engines", "statevector") is Statevector
    assert plugins.load("engines", "parameter_shift") is ParameterShift
    assert plugins.load("engines", "sampling") is Sampling
    assert plugins.load("problems", "maxcut") is MaxCut


@pytest.mark.parametrize(("kind", "name"), EVERYTHING)
def test_the_name_of_a_loaded_class_is_the_name_it_was_loaded_by(kind, name):
    cls = plugins.load(kind, name)
    assert isinstance(cls, type)
    assert plugins.name_of(kind, cls) == name
    assert plugins.load(kind, plugins.name_of(kind, cls)) is cls


@pytest.mark.parametrize("name", plugins.names("models"))
def test_models_are_models(name):
    assert issubclass(plugins.load("models", name), Model)


@pytest.mark.parametrize("name", plugins.names("problems"))
def test_families_are_families(name):
    assert isinstance(plugins.load("problems", name)(), Family)


@pytest.mark.parametrize("kind", KINDS)
def test_looking_for_names_imports_no_plugin(kind):
    code = (
        "import sys; from qiskit_metainit import plugins; assert plugins.names(sys.argv[1]); "
        "prefix = f'qiskit_metainit.{sys.argv[1]}.'; "
        "sys.exit(any(name.startswith(prefix) for name in sys.modules) or 'torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, kind], check=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["sk_infinite", "", "__init__", "sk_infinity.json", "../cli", "SkInfinity"])
def test_unknown_names_are_refused_with_those_there_are(kind, name):
    with pytest.raises(ValueError, match=rf"among the {kind}: choose one of .*{plugins.names(kind)[0]}.*entry-point"):
        plugins.load(kind, name)


def test_a_name_of_another_kind_is_unknown():
    with pytest.raises(ValueError, match="among the engines"):
        plugins.load("engines", "sk_infinity")


def test_classes_that_are_no_plugins_have_no_name():
    class Local(Model):
        def begin(self, features):
            return features.unit, None

    for cls in (Local, Model, dict):
        with pytest.raises(ValueError, match=rf"{cls.__name__} is not a plugin.*entry-point group"):
            plugins.name_of("models", cls)
    with pytest.raises(ValueError, match="not a plugin of the engines"):
        plugins.name_of("engines", SkInfinity)


# what lies outside


def test_an_installed_entry_point_is_found_loaded_and_named(outsider):
    outsider(ENTRIES)
    assert {"zero_point", "inner", "sk_infinity"} <= set(plugins.names("models"))
    assert plugins.names("models") == sorted(plugins.names("models"))
    zero = plugins.load("models", "zero_point")
    assert (zero.__module__, zero.__name__) == ("metainit_outside", "Zero")
    assert issubclass(zero, Model)
    assert plugins.name_of("models", zero) == "zero_point"
    inner = plugins.load("models", "inner")
    assert inner.__qualname__ == "Outer.Inner"
    assert plugins.name_of("models", inner) == "inner"
    assert "oracle" in plugins.names("engines")
    assert "oracle" not in plugins.names("models")
    assert plugins.name_of("engines", plugins.load("engines", "oracle")) == "oracle"


def test_an_entry_point_leaves_with_its_package():
    assert "zero_point" not in plugins.names("models")


def test_an_outsider_is_not_imported_before_it_is_loaded(outsider):
    outsider(ENTRIES, code="raise RuntimeError('imported too early')")
    assert "zero_point" in plugins.names("models")
    assert plugins.load("models", "constant") is Constant
    with pytest.raises(RuntimeError, match="too early"):
        plugins.load("models", "zero_point")


def test_an_outsider_cannot_take_the_name_of_a_plugin_of_the_package(outsider):
    outsider("[qiskit_metainit.models]\nsk_infinity = metainit_outside:Zero\n")
    assert plugins.names("models").count("sk_infinity") == 1
    assert plugins.load("models", "sk_infinity") is SkInfinity


def test_a_class_that_an_outsider_offers_but_does_not_define_under_that_group_has_no_name(outsider):
    outsider(ENTRIES)
    zero = plugins.load("models", "zero_point")
    with pytest.raises(ValueError, match="not a plugin of the engines"):
        plugins.name_of("engines", zero)


# one public class a file


@pytest.mark.parametrize(
    ("code", "count"),
    [("", 0), ("class A:\n    pass\nclass B:\n    pass\n", 2), ("from collections import OrderedDict\n", 0)],
    ids=["none", "two", "imported only"],
)
def test_a_file_must_hold_exactly_one_public_class(code, count, tmp_path, monkeypatch):
    (tmp_path / "metainit_file.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "metainit_file", raising=False)
    with pytest.raises(TypeError, match=f"exactly one public class, but metainit_file has {count}"):
        plugins._only_class("metainit_file")
    sys.modules.pop("metainit_file")


def test_private_and_imported_classes_do_not_count(tmp_path, monkeypatch):
    code = "from collections import OrderedDict\nclass _Helper:\n    pass\nclass Public:\n    pass\n"
    (tmp_path / "metainit_file.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "metainit_file", raising=False)
    assert plugins._only_class("metainit_file").__name__ == "Public"
    sys.modules.pop("metainit_file")
