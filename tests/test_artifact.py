from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from qiskit.quantum_info import SparsePauliOp
from safetensors.torch import load_file, save_file

from qiskit_metainit import artifact, features
from qiskit_metainit.ansatz import CONVENTIONS
from qiskit_metainit.artifact import ArtifactError, Coverage
from qiskit_metainit.initializer import MetaInitializer
from qiskit_metainit.model import Model, State
from qiskit_metainit.models.linear_ramp import LinearRamp
from qiskit_metainit.models.lstm import Lstm
from qiskit_metainit.models.sk_correction import SkCorrection
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.models.tqa import Tqa
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.training import Schedule

GOLDEN = Path(__file__).parent / "golden"
OPERATOR = SparsePauliOp(["IIIZZ", "IZIIZ", "ZIZII", "IZZII", "IIIII"], [0.5, -0.7, 1.3, 0.2, 4.0])


def trained(build: Callable[[], Model], seed: int = 0, reps: int | list[int] = 2) -> MetaInitializer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        meta = MetaInitializer(build())
    # A large rate, so that the few steps lead away from the start.
    schedule = Schedule(instances=10, learning_rate=3e-2)
    meta.train(MaxCut(sizes=[4, 5]), reps=reps, steps=3, batch=2, rng=seed, schedule=schedule)
    return meta


def small_correction() -> Model:
    return SkCorrection(width=4, layers=1)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artifact") / "mine"
    trained(small_correction, reps=[1, 2]).save(folder, command="metainit train ...")
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "mine"))


def manifest_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return content


def rewrite(folder: Path, manifest: dict[str, Any]) -> None:
    (folder / "manifest.json").write_text(json.dumps(manifest))


def resign(folder: Path, manifest: dict[str, Any]) -> None:
    """Write a manifest with a digest that fits, as an older or newer version of the package would have."""
    weights = (folder / "weights.safetensors").read_bytes()
    signed = {key: value for key, value in manifest.items() if key != "digest"}
    signed["weights"] = hashlib.sha256(weights).hexdigest()
    signed["digest"] = hashlib.sha256(json.dumps(signed, sort_keys=True).encode()).hexdigest()
    rewrite(folder, signed)


@pytest.mark.parametrize(
    ("build", "reps"),
    [
        (small_correction, [1, 2, 11]),
        (lambda: Lstm(num_parameters=4, queries=3, hidden=6), 2),
        (lambda: Lstm(num_parameters=2, queries=1), 1),
    ],
)
def test_a_loaded_model_gives_the_same_points_to_the_bit(
    build: Callable[[], Model], reps: int | list[int], tmp_path: Path
) -> None:
    meta = trained(build, reps=reps)
    meta.save(tmp_path / "deep" / "mine")
    loaded = MetaInitializer.load(tmp_path / "deep" / "mine")
    assert loaded.coverage == meta.coverage
    assert loaded.name == "mine"
    for depth in [reps] if isinstance(reps, int) else reps:
        np.testing.assert_array_equal(
            loaded.initial_point(OPERATOR, reps=depth), meta.initial_point(OPERATOR, reps=depth)
        )


@pytest.mark.parametrize("model", [SkInfinity(), Tqa(), LinearRamp()], ids=lambda model: type(model).__name__)
def test_a_formula_can_be_saved_and_serves_every_depth(model: Model, tmp_path: Path) -> None:
    meta = MetaInitializer(model)
    meta.save(tmp_path)
    loaded = MetaInitializer.load(tmp_path)
    assert loaded.coverage is None
    for reps in (1, 3, 14):
        np.testing.assert_array_equal(
            loaded.initial_point(OPERATOR, reps=reps), meta.initial_point(OPERATOR, reps=reps)
        )


def test_settings_survive(tmp_path: Path) -> None:
    trained(lambda: Lstm(num_parameters=2, queries=3, hidden=7), reps=1).save(tmp_path)
    model = MetaInitializer.load(tmp_path).model
    assert {"num_parameters": 2, "queries": 3, "hidden": 7}.items() <= dict(model.settings).items()
    assert not model.training


def test_the_record_says_how_it_was_made(folder: Path) -> None:
    record = MetaInitializer.load(folder).provenance
    assert record["command"] == "metainit train ..."
    assert record["seed"] == 0
    assert record["versions"]["torch"] == torch.__version__
    assert record["family"]["sizes"] == [4, 5]
    assert manifest_of(folder)["coverage"] == {
        "reps": [1, 2],
        "qubits": [4, 5],
        "family": "maxcut",
        "order": 2,
        "fields": False,
        "ansatz": "qaoa",
    }


def test_saving_a_loaded_artifact_keeps_everything(folder: Path, tmp_path: Path) -> None:
    MetaInitializer.load(folder).save(tmp_path / "copy")
    first, second = manifest_of(folder), manifest_of(tmp_path / "copy")
    assert first == second
    assert (folder / "weights.safetensors").read_bytes() == (tmp_path / "copy" / "weights.safetensors").read_bytes()


def test_a_model_that_nobody_could_load_again_is_not_saved(tmp_path: Path) -> None:
    class Private(Model):
        def begin(self, features: features.FeatureBatch) -> tuple[torch.Tensor, State]:
            return torch.zeros_like(features.unit), None

    with pytest.raises(ValueError, match="is not a plugin of the models"):
        MetaInitializer(Private()).save(tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("name", artifact.shipped())
def test_shipped_artifacts_hold_no_code(name: str) -> None:
    files = {file.name for file in artifact.find(name).iterdir()}
    assert {"manifest.json", "weights.safetensors"} <= files
    assert files <= {"manifest.json", "weights.safetensors", "card.md", "loss.png", "checkpoint.pt"}
    assert '"import' not in (artifact.find(name) / "manifest.json").read_text()


def test_a_saved_folder_holds_a_manifest_and_weights_and_no_code(folder: Path) -> None:
    assert sorted(file.name for file in folder.iterdir()) == ["manifest.json", "weights.safetensors"]
    manifest = manifest_of(folder)
    assert manifest["model"] == "sk_correction"  # a plugin's name, never an import path
    content = (folder / "weights.safetensors").read_bytes()
    header = int.from_bytes(content[:8], "little")
    assert json.loads(content[8 : 8 + header]).keys() == MetaInitializer.load(folder).model.state_dict().keys()


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_truncated_weights_are_refused(folder: Path, keep: int) -> None:
    content = (folder / "weights.safetensors").read_bytes()
    (folder / "weights.safetensors").write_bytes(content[:keep])
    with pytest.raises(ArtifactError, match=r"weights that .*manifest\.json names .*truncated.*Copy the whole folder"):
        MetaInitializer.load(folder)


def test_a_single_flipped_bit_in_the_weights_is_refused(folder: Path) -> None:
    content = bytearray((folder / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(content)
    with pytest.raises(ArtifactError, match="holds others"):
        MetaInitializer.load(folder)


def test_the_weights_of_another_training_are_refused(folder: Path, tmp_path: Path) -> None:
    trained(small_correction, seed=1).save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "weights.safetensors", folder)
    with pytest.raises(ArtifactError, match="holds others"):
        MetaInitializer.load(folder)
    resign(folder, manifest_of(folder))  # even under a hash and a digest that fit, the probes tell
    with pytest.raises(ArtifactError, match=r"must give the points recorded in it.*radians.*Train it again"):
        MetaInitializer.load(folder)


EDITS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "coverage": lambda m: m["coverage"].update(reps=[1, 2, 3]),
    "fields": lambda m: m["coverage"].update(fields=True),
    "settings": lambda m: m["settings"].update(width=5),
    "probe point": lambda m: m["probes"][0]["point"].__setitem__(0, 0.123),
    "probes": lambda m: m.update(probes=[]),
    "training": lambda m: m["training"].update(seed=5),
    "model": lambda m: m.update(model="sk_infinity"),
    "extra": lambda m: m.update(note="hello"),
    "digest": lambda m: m.pop("digest"),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_an_edited_manifest_is_refused(folder: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    manifest = manifest_of(folder)
    edit(manifest)
    rewrite(folder, manifest)
    with pytest.raises(ArtifactError, match=r"was changed after it was written.*Copy the folder again"):
        MetaInitializer.load(folder)


RESIGNED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "probe point": (EDITS["probe point"], "must give the points recorded in it"),
    "settings": (EDITS["settings"], "needs the model 'sk_correction' with its weights, but building it failed"),
    "unknown setting": (lambda m: m["settings"].update(depth=5), "building it failed: .*depth"),
    "another model": (EDITS["model"], "needs the model 'sk_infinity' with its weights"),
    "unknown model": (lambda m: m.update(model="os.system"), "There is no plugin 'os.system'"),
    "not a number": (lambda m: m["probes"][0]["point"].__setitem__(0, float("nan")), "must give the points"),
    "conventions": (lambda m: m.update(conventions="maximise"), "trained with conventions 'maximise', but.*train it"),
    "features": (lambda m: m.update(features=features.SCHEMA + 1), r"trained with features \d+, but this version has"),
}


@pytest.mark.parametrize(("edit", "message"), RESIGNED.values(), ids=RESIGNED.keys())
def test_a_manifest_that_fits_its_digest_but_not_this_version_is_refused(
    folder: Path, edit: Callable[[dict[str, Any]], Any], message: str
) -> None:
    manifest = manifest_of(folder)
    edit(manifest)
    resign(folder, manifest)
    with pytest.raises(ArtifactError, match=message):
        MetaInitializer.load(folder)


def test_signing_again_is_what_the_package_does(folder: Path) -> None:
    manifest = manifest_of(folder)
    resign(folder, manifest)
    assert manifest_of(folder) == manifest
    MetaInitializer.load(folder)


def test_a_newer_format_is_refused_with_the_way_to_upgrade(folder: Path) -> None:
    manifest = manifest_of(folder)
    resign(folder, {**manifest, "format": artifact.FORMAT + 1, "conventions": "unknown yet"})
    with pytest.raises(
        ArtifactError, match=rf"format {artifact.FORMAT + 1}, but .*up to {artifact.FORMAT}.*pip install"
    ):
        MetaInitializer.load(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "null", '{"model": "lstm"}', '{"format": "one"}', "\x00\xff"])
def test_a_manifest_that_is_none_is_refused(folder: Path, content: str) -> None:
    (folder / "manifest.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(ArtifactError, match=r"manifest\.json must be|has artifact format"):
        MetaInitializer.load(folder)


def test_weights_of_other_names_or_shapes_are_refused(folder: Path) -> None:
    weights = load_file(folder / "weights.safetensors")
    name = next(iter(weights))
    for changed in ({**weights, name: weights[name][:-1]}, {**weights, "extra": weights[name].clone()}):
        save_file(changed, folder / "weights.safetensors")
        resign(folder, manifest_of(folder))
        with pytest.raises(ArtifactError, match="building it failed"):
            MetaInitializer.load(folder)


@pytest.mark.parametrize("missing", ["manifest.json", "weights.safetensors"])
def test_a_missing_file_is_named(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(ArtifactError, match=rf"has the files .*{missing} cannot be read .*Copy the whole folder"):
        MetaInitializer.load(folder)


def test_an_empty_folder_and_an_unknown_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"manifest\.json cannot be read"):
        MetaInitializer.load(tmp_path)
    with pytest.raises(ArtifactError, match=r"a shipped one \(.*qaoa.*\) or a folder .*'qoaa' is neither"):
        MetaInitializer.load("qoaa")
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match="is neither"):
        MetaInitializer.load(tmp_path / "file")


def test_a_folder_knows_its_own_name_however_it_is_spelt(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert MetaInitializer.load(".").name == "mine"
    assert MetaInitializer.load(f"{folder}/").name == "mine"


@pytest.mark.parametrize("place", range(len(features.SUMMARY)), ids=features.SUMMARY)
def test_probes_catch_a_feature_that_changed_silently(
    folder: Path, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = features._summary

    def changed(*arguments: Any) -> np.ndarray:
        values = summary(*arguments)
        values[place] += 0.01
        return values

    monkeypatch.setattr(features, "_summary", changed)
    with pytest.raises(ArtifactError, match="this version's features or conventions changed"):
        MetaInitializer.load(folder)


def test_probes_catch_a_unit_that_changed_silently(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = features.natural_unit
    monkeypatch.setattr(features, "natural_unit", lambda operator, reps: unit(operator, reps) * 1.001)
    with pytest.raises(ArtifactError, match="this version's features or conventions changed"):
        MetaInitializer.load(folder)


def test_the_golden_artifact_of_format_1_loads_and_gives_its_points() -> None:
    meta = MetaInitializer.load(GOLDEN / "artifact_v1")
    manifest = manifest_of(GOLDEN / "artifact_v1")
    assert manifest["format"] == 1
    assert manifest["conventions"] == CONVENTIONS
    assert meta.coverage == Coverage(reps=(1, 2), qubits=(4, 5), family="maxcut")
    stored = json.loads((GOLDEN / "artifact_v1_points.json").read_text())
    assert len(stored) == 4
    for row in stored:
        operator = SparsePauliOp.from_list([tuple(term) for term in row["operator"]])
        point = meta.initial_point(operator, reps=row["reps"])
        np.testing.assert_allclose(point, row["point"], rtol=0, atol=1e-9)
        # So that it is the weights that are kept, not the formula beneath them.
        formula = MetaInitializer(SkInfinity()).initial_point(operator, reps=row["reps"])
        assert np.abs(point - formula).max() > 1e-3


def test_several_depths_cover_up_to_twice_the_deepest() -> None:
    several, one = (Coverage(reps=reps, qubits=(2, 4), family="maxcut") for reps in ((1, 2, 3), (3,)))
    for reps, covered in ((3, True), (4, True), (6, True), (7, False)):
        task = features.of_qaoa(SparsePauliOp("ZZ"), reps)
        assert (several.outside(task) is None) == covered
        assert several.extrapolates(task) == (reps > 3)
        assert (one.outside(task) is None) == (reps == 3)
    gap = Coverage(reps=(1, 3), qubits=(2, 4), family="maxcut")
    assert gap.outside(features.of_qaoa(SparsePauliOp("ZZ"), 2)) is not None
