from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from torch import Tensor

from qiskit_metainit import artifact, cli, plugins
from qiskit_metainit.deployment import OPTIMIZERS
from qiskit_metainit.engine import Engine
from qiskit_metainit.engines.spsa import Spsa
from qiskit_metainit.engines.statevector import Statevector
from qiskit_metainit.initializer import MetaInitializer
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.task import Task

pytestmark = [
    # Of qiskit-algorithms 0.4 and Qiskit, as the program's user does not see them.
    pytest.mark.filterwarnings(r"ignore:The class ``qiskit\.circuit\.library\..*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning"),
    pytest.mark.filterwarnings("ignore:scipy.optimize. The `disp` and `iprint` options:DeprecationWarning"),
]

Answer = tuple[int, str, str]
Program = Callable[..., Answer]
COMMANDS = [command.name or command.callback.__name__ for command in cli.app.registered_commands if command.callback]


def flat(text: str) -> str:
    """Without line breaks and boxes, wherever the terminal's width put them."""
    return " ".join("".join(" " if c in "│╭╮╰╯─━┃|" else c for c in text).split())


QUICK = ("--reps", 1, "--evaluations", 6, "--shots-per-eval", 64)

# The program itself


def test_help_of_every_command_imports_neither_torch_nor_qiskit() -> None:
    assert len(COMMANDS) >= 6
    code = (
        "import sys\n"
        "from qiskit_metainit.cli import app\n"
        f"for command in {[*COMMANDS, '']!r}:\n"
        "    try:\n"
        "        app([command, '--help'] if command else ['--help'])\n"
        "    except SystemExit as end:\n"
        "        assert not end.code, command\n"
        "heavy = {'torch', 'qiskit', 'scipy', 'numpy', 'matplotlib', 'networkx', 'qiskit_aer', 'qiskit_algorithms'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    for command in COMMANDS:
        assert f"{command} " in done.stdout


def test_the_installed_program_ends_a_mistake_with_its_message_and_no_traceback(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("metainit")
    done = subprocess.run([program, "solve", tmp_path / "no.gml"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "no.gml" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_command_the_program_shows_its_help(metainit: Program) -> None:
    _, out, err = metainit()
    for command in COMMANDS:
        assert command in out + err


def test_list_shows_what_is_shipped_and_every_plugin(metainit: Program) -> None:
    code, out, _ = metainit("list")
    assert code == 0
    for name in artifact.shipped():
        assert f"{name} " in out
    for kind in ("models", "engines", "problems"):
        for name in plugins.names(kind):  # type: ignore[arg-type]
            assert name in flat(out)


# Training


TRAIN = ("--reps", "1,2", "--sizes", "4-5", "--steps", 8, "--batch", 2, "--instances", 6, "--learning-rate", 0.03)
SMALL = ("--setting", "width=4", "--setting", "layers=1")


@pytest.fixture
def small(metainit: Program, tmp_path: Path) -> Path:
    folder = tmp_path / "small"
    code, _, err = metainit("train", "sk_correction", "--output", folder, *TRAIN, *SMALL)
    assert code == 0, err
    return folder


def test_train_saves_an_artifact_with_its_command_and_loss_curve(small: Path, metainit: Program) -> None:
    meta = MetaInitializer.load(small)
    assert sorted(file.name for file in small.iterdir()) == ["loss.png", "manifest.json", "weights.safetensors"]
    assert (small / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert meta.coverage is not None
    assert (meta.coverage.reps, meta.coverage.qubits) == ((1, 2), (4, 5))
    assert meta.provenance["command"].startswith("metainit train sk_correction --output")
    assert meta.provenance["steps"] == 8
    assert {"width": 4, "layers": 1}.items() <= dict(meta.model.settings).items()


def interrupt(patch: pytest.MonkeyPatch, engine: type[Engine], call: int) -> None:
    """Make one of an engine's calls, counted from 0, end as by Ctrl-C."""
    expectation, calls = engine.expectation, iter(range(100))

    def unplugged(self: Engine, tasks: Sequence[Task], points: Tensor) -> Tensor:
        if next(calls) == call:
            raise KeyboardInterrupt
        return expectation(self, tasks, points)

    patch.setattr(engine, "expectation", unplugged)


def test_an_interrupted_training_goes_on_where_it_was(
    small: Path, metainit: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "interrupted"
    arguments = ("train", "sk_correction", "--output", folder, *TRAIN, *SMALL)
    with monkeypatch.context() as patch:
        interrupt(patch, Statevector, 5)
        code, _, err = metainit(*arguments)
    assert code == 130
    assert "Traceback" not in err
    assert (folder / "checkpoint.pt").exists()
    code, out, _ = metainit(*arguments)
    assert code == 0
    assert "resumed at step 5" in flat(out)
    assert not (folder / "checkpoint.pt").exists()
    assert (folder / "weights.safetensors").read_bytes() == (small / "weights.safetensors").read_bytes()


def test_train_on_any_family(metainit: Program, tmp_path: Path) -> None:
    parts = json.dumps([{"family": "ising", "settings": {"sizes": [4], "fields": "normal"}}, {"family": "labs"}])
    few = ("--reps", 1, "--steps", 2, "--batch", 2, "--instances", 8, "--setting", "width=8", "--setting", "channels=2")
    arguments = ("train", "graph_correction", "--output", tmp_path / "all", "--problem", "mixture", *few)
    code, _, err = metainit(*arguments, "--problem-setting", f"parts={parts}")
    assert code == 0, err
    meta = MetaInitializer.load(tmp_path / "all")
    assert meta.coverage is not None
    assert (meta.coverage.family, meta.coverage.fields, meta.coverage.order) == ("mixture", True, 4)
    assert meta.provenance["family"]["parts"][1]["family"] == "labs"


def test_train_under_shots_and_the_noise_of_a_device(metainit: Program, tmp_path: Path) -> None:
    folder, size = tmp_path / "noisy", ("--reps", 1, "--sizes", 4, "--steps", 3, "--batch", 2, "--instances", 4)
    arguments = ("train", "sk_correction", "--output", folder, *size, *SMALL, "--engine", "spsa")
    code, out, err = metainit(*arguments, "--shots-per-eval", 50, "--noise", "fake_fez")
    assert code == 0, err
    assert "; 900 shots. Saved in" in flat(out)  # three steps, two instances, three circuits, fifty shots
    assert "900 shots" in flat(err)  # in the progress
    meta = MetaInitializer.load(folder)
    assert meta.provenance["command"].endswith("--engine spsa --shots-per-eval 50 --noise fake_fez")
    known = meta.provenance["engine"]
    assert (known["name"], known["shots"], known["noise"], known["shots_spent"]) == ("spsa", 50, "fake_fez", 900)
    other = tmp_path / "again"
    metainit(*(other if item == folder else item for item in arguments), "--shots-per-eval", 50, "--noise", "fake_fez")
    assert (folder / "weights.safetensors").read_bytes() == (other / "weights.safetensors").read_bytes()


def test_an_interrupted_noisy_training_does_not_go_on_under_other_noise(
    metainit: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("train", "sk_correction", "--output", tmp_path / "noisy", *TRAIN, *SMALL, "--engine", "spsa")
    with monkeypatch.context() as patch:
        interrupt(patch, Spsa, 2)
        assert metainit(*arguments, "--shots-per-eval", 20)[0] == 130
    for other in (("--shots-per-eval", 21), (), ("--shots-per-eval", 20, "--noise", "fake_fez")):
        code, _, err = metainit(*arguments, *other)
        assert code == 2
        assert "is of another training: engine was" in flat(err)
    code, out, _ = metainit(*arguments, "--shots-per-eval", 20)
    assert code == 0
    assert "resumed at step 2" in flat(out)


def test_the_verdict_says_what_noise_the_start_was_learned_under(
    small: Path, graph: Path, metainit: Program, tmp_path: Path
) -> None:
    stored = artifact.read(small)
    record = {**stored.training, "engine": {"name": "spsa", "shots": 100, "noise": "fake_fez"}}
    artifact.write(replace(stored, training=record), tmp_path / "noisy")
    verdict = solved(metainit, graph, *QUICK, "--initializer", tmp_path / "noisy")["verdict"]
    assert verdict[-1].startswith("The start was learned on 100 shots a circuit under the noise of fake_fez;")
    assert solved(metainit, graph, *QUICK)["verdict"][-1].startswith(
        "The start was learned on exact expectation values;"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nonsense",), "There is no plugin 'nonsense' among the models: choose one of"),
        (("sk_infinity",), "SkInfinity has no weights to train"),
        (("sk_correction", "--reps", "one"), "integers such as 3, 1,2,5 or 1-8 are needed, but 'one' came"),
        (("sk_correction", "--reps", "1-"), "integers such as"),
        (("sk_correction", "--reps", "0"), "positive integer"),
        (
            ("sk_correction", "--shots-per-eval", "9"),
            "asks an estimator, but 'statevector' came with shots=9, noise=None",
        ),
        (
            ("sk_correction", "--noise", "fake_fez"),
            "asks an estimator, but 'statevector' came with shots=None, noise='fake_fez'",
        ),
        (("sk_correction", "--engine", "spsa", "--noise", "fake_fez"), "Noise needs a number of shots"),
        (("sk_correction", "--engine", "sampling"), "An engine that trains is needed, but 'sampling' came"),
        (("sk_correction", "--engine", "nonsense"), "There is no plugin 'nonsense' among the engines"),
        (("sk_correction", "--reps", "3-1"), "At least one depth"),
        (("sk_correction", "--sizes", "2"), "sizes must be an integer >= 4"),
        (("sk_correction", "--graphs", "small_world"), "graphs must be one of erdos_renyi"),
        (("sk_correction", "--weights", "heavy"), "weights must be one of unit"),
        (("sk_correction", "--loss", "regret"), "loss must be one of final"),
        (("sk_correction", "--setting", "width"), "A setting needs KEY=JSON such as hidden=32, but 'width' came"),
        (("sk_correction", "--setting", "depth=3"), "does not take these settings"),
        (("lstm", "--reps", "3"), "cannot be trained at reps=3"),
        (("sk_correction", "--steps", "0"), "Invalid value for '--steps'"),
    ],
)
def test_a_bad_training_ends_with_what_was_needed(
    arguments: tuple[str, ...], message: str, metainit: Program, tmp_path: Path
) -> None:
    code, out, err = metainit("train", arguments[0], "--output", tmp_path / "new", "--steps", 3, *arguments[1:])
    assert code == 2
    assert out == ""
    assert message in flat(err)
    assert "Traceback" not in err


def test_a_loss_that_is_not_finite_ends_with_advice_and_a_checkpoint(
    metainit: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expectation, calls = Statevector.expectation, iter(range(100))

    def overflowing(self: Statevector, tasks: Sequence[Task], points: Tensor) -> Tensor:
        return expectation(self, tasks, points) * (np.inf if next(calls) == 5 else 1.0)

    monkeypatch.setattr(Statevector, "expectation", overflowing)
    code, _, err = metainit("train", "sk_correction", "--output", tmp_path, *TRAIN, *SMALL)
    assert code == 2
    assert "Lower the learning rate; the checkpoint, if any, keeps the weights before this step" in flat(err)
    assert "Traceback" not in err
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


# Evaluation and card


def test_evaluate_and_card_tell_what_an_artifact_is_worth(small: Path, metainit: Program, tmp_path: Path) -> None:
    stored = tmp_path / "results" / "held_out.json"
    held_out = ("--instances", 3, "--sizes", "5", "--reps", 2, "--random-starts", 2, "--points-only")
    code, out, err = metainit("evaluate", small, *held_out, "--json", stored)
    assert code == 0, err
    names = {"small", "random", "linear_ramp", "tqa", "sk_infinity"}
    for name in names:
        assert name in out
    content = json.loads(stored.read_text())
    assert names <= content["results"].keys()
    assert content["instances"] == 3
    assert content["command"].startswith("metainit evaluate")
    code, out, err = metainit("card", small, stored)
    assert code == 0, err
    card = (small / "card.md").read_text()
    assert f"| small | {np.mean(content['results']['small']['ratio']):.4f} |" in card
    for heading in ("## Training", "## Held-out results", "## Limits"):
        assert heading in card
    assert content["command"] in card
    assert str(MetaInitializer.load(small).provenance["command"]) in card


def test_evaluate_counts_evaluations_and_queries(metainit: Program, tmp_path: Path) -> None:
    stored = tmp_path / "held_out.json"
    held_out = ("--instances", 2, "--sizes", "4", "--reps", 2, "--random-starts", 2)
    code, _, err = metainit("evaluate", "lstm", *held_out, "--json", stored)
    assert code == 0, err
    results = json.loads(stored.read_text())["results"]
    assert results["lstm"]["queries"] == 9
    assert min(results["lstm"]["arrivals"]["cobyla"]["evaluations"]) > 9
    assert min(results["sk_infinity"]["arrivals"]["cobyla"]["evaluations"]) >= 1


TINY = ("--instances", 2, "--random-starts", 1, "--random-searches", 0)


def test_several_depths_are_a_table_each_in_one_file(small: Path, metainit: Program, tmp_path: Path) -> None:
    stored, picture = tmp_path / "cells.json", tmp_path / "deep" / "cells.png"
    arguments = (small, "lstm", "--reps", "1-2", "--sizes", "4-5", "--points-only", *TINY)
    code, out, err = metainit("evaluate", *arguments, "--json", stored, "--picture", picture)
    assert code == 0, err
    for depth in (1, 2):
        assert f"erdos_renyi graphs, unit weights, 4-5 nodes, reps {depth}, seed 1000003" in flat(out)
    assert "lstm is left out at reps 1: it was trained" in flat(out)
    assert "analytic_p1 optimises on the instance itself" in flat(out)
    content = json.loads(stored.read_text())
    assert [cell["protocol"]["reps"] for cell in content["cells"]] == [1, 2]
    assert ["lstm" in cell["results"] for cell in content["cells"]] == [False, True]
    assert content["cells"][0]["qubits"] == content["cells"][1]["qubits"]
    assert content["seconds"].keys() == {"analytic_p1"}
    assert picture.read_bytes().startswith(b"\x89PNG")
    code, _, err = metainit("card", small, stored)
    assert code == 0, err
    card = (small / "card.md").read_text()
    for cell in content["cells"]:
        assert f"### {cell['title']}" in card
        assert f"| small | {np.mean(cell['results']['small']['ratio']):.4f} |" in card
    assert "instance by instance" in card


def test_any_family_is_evaluated_with_its_settings(metainit: Program, tmp_path: Path) -> None:
    stored = tmp_path / "stored.json"
    arguments = ("--problem", "ising", "--sizes", 4, "--problem-setting", 'couplings="signs"', "--points-only", *TINY)
    code, out, err = metainit("evaluate", "sk_infinity", *arguments, "--json", stored)
    assert code == 0, err
    content = json.loads(stored.read_text())
    assert (content["problem"], content["family"]["couplings"], content["qubits"]) == ("ising", "signs", [4, 4])
    assert content["title"].startswith("ising: sizes 4, couplings signs")
    assert content["title"] in flat(out)


def test_the_users_own_graphs_are_compared_by_name(metainit: Program, tmp_path: Path) -> None:
    folder, stored = tmp_path / "mine", tmp_path / "stored.json"
    folder.mkdir()
    (folder / "b.txt").write_text("0 1\n1 2\n2 0\n2 3\n")
    (folder / "a.edgelist").write_text("x y 2.0\ny z\nz x\n")
    code, out, err = metainit("evaluate", "qaoa", "--on", folder, "--points-only", *TINY[2:], "--json", stored)
    assert code == 0, err
    assert "mine: 2 graphs, reps 2" in flat(out)
    assert "worst on" in flat(out)
    content = json.loads(stored.read_text())
    assert content["names"] == ["a.edgelist", "b.txt"]
    assert content["folder"] == str(folder)
    for row, name in enumerate(content["names"]):
        assert content["per_instance"][name]["qaoa"] == content["results"]["qaoa"]["ratio"][row]
        assert content["per_instance"][name]["best found"] == content["optimum"][row]


def test_optimisers_and_shots_have_their_columns(metainit: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    small = ("--sizes", 4, "--reps", 1, "--instances", 2, "--random-starts", 1)
    code, out, err = metainit("evaluate", "qaoa", *small, "--optimizers", "cobyla,l_bfgs_b")
    assert code == 0, err
    assert "To 99%: circuit evaluations" in flat(out)
    assert "start cobyla 95% reach l_bfgs_b 95% reach" in flat(out)
    assert "with COBYLA, L-BFGS-B (gradients by the shift rule)." in flat(out)
    assert max(map(len, out.splitlines()[:8])) <= 80
    code, out, err = metainit("evaluate", "sk_infinity", *small, "--shots", 64, "--points-only")
    assert code == 0, err


def test_searches_have_their_rows(small: Path, metainit: Program, tmp_path: Path) -> None:
    stored, picture = tmp_path / "stored.json", tmp_path / "picture.png"
    arguments = ("--sizes", 4, "--reps", "1-2", *TINY, "--searches", "interp,fourier", "--json", stored)
    code, out, err = metainit("evaluate", small, *arguments, "--picture", picture)
    assert code == 0, err
    assert "interp, fourier: searches, not formulas." in flat(out)
    content = json.loads(stored.read_text())
    for cell in content["cells"]:
        for name in ("interp", "fourier"):
            row = cell["results"][name]
            assert row["queries"] == round(np.median(row["asked"])) > 5
            assert row["arrivals"].keys() == {"search"}
            assert "reaction" not in row
    assert picture.read_bytes().startswith(b"\x89PNG")
    code, _, err = metainit("card", small, stored)
    assert code == 0, err
    assert "interp, fourier: searches, not formulas." in (small / "card.md").read_text()


def test_instances_that_come_again_are_told(metainit: Program, tmp_path: Path) -> None:
    stored = tmp_path / "stored.json"
    tiny = ("--sizes", 4, "--reps", 1, "--instances", 3, *TINY[2:], "--points-only", "--json", stored)
    code, out, err = metainit("evaluate", "sk_infinity", "--graphs", "complete", *tiny)
    assert code == 0, err
    assert "2 of the 3 instances are isomorphic to an earlier one" in flat(out)
    assert json.loads(stored.read_text())["twins"] == 2
    code, out, err = metainit("evaluate", "sk_infinity", "--weights", "normal", *tiny)
    assert code == 0, err
    assert "isomorphic" not in out
    assert json.loads(stored.read_text())["twins"] == 0


def test_every_look_at_the_same_instances_is_kept(metainit: Program, tmp_path: Path) -> None:
    stored = tmp_path / "stored.json"

    def looked(*arguments: object) -> list[str]:
        code, _, err = metainit("evaluate", *arguments, "--sizes", 4, *TINY, "--points-only", "--json", stored)
        assert code == 0, err
        return [look["command"] for look in json.loads(stored.read_text())["looks"]]

    [first] = looked("sk_infinity", "--reps", "1-2")
    assert first.startswith("metainit evaluate sk_infinity --reps 1-2")
    again = looked("tqa", "--reps", 1)
    assert [command.split()[2] for command in again] == ["sk_infinity", "tqa"]
    [other] = looked("tqa", "--seed", 5)
    assert "--seed 5" in other


def test_folders_of_the_same_name_are_both_evaluated(small: Path, metainit: Program, tmp_path: Path) -> None:
    twin = tmp_path / "twin" / "small"
    code, _, err = metainit("train", "sk_correction", "--output", twin, *TRAIN, *SMALL, "--seed", 1)
    assert code == 0, err
    stored = tmp_path / "held_out.json"
    held_out = ("--instances", 2, "--sizes", "4", "--reps", 1, "--random-starts", 1, "--points-only")
    metainit("evaluate", small, twin, *held_out, "--json", stored)
    results = json.loads(stored.read_text())["results"]
    assert results["small"]["ratio"] != results[str(twin)]["ratio"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "nonsense"), "'nonsense' is neither"),
        (("evaluate", "sk_correction"), "needs trained weights: name an artifact instead"),
        (("evaluate", "qaoa", "--sizes", "ten"), "integers such as"),
        (("evaluate", "qaoa", "--instances", "1"), "Invalid value for '--instances'"),
        (("evaluate", "qaoa", "--reps", "2-1"), "--reps needs at least one depth, but '2-1' came"),
        (("evaluate", "qaoa", "--reps", "0"), "reps must be a positive integer"),
        (("evaluate", "qaoa", "--reps", "30-31"), "'qaoa' does not cover these instances: it was trained"),
        (("evaluate", "qaoa", "--problem", "travel"), "no plugin 'travel' among the problems: choose one of"),
        (("evaluate", "qaoa", "--problem", "ising", "--problem-setting", "hue=3"), "takes the settings sizes"),
        (("evaluate", "qaoa", "--problem", "ising", "--problem-setting", "couplings=x"), "A setting needs KEY=JSON"),
        (("evaluate", "qaoa", "--optimizers", "adam"), "must be one of cobyla, l_bfgs_b, spsa, but 'adam' came"),
        (("evaluate", "qaoa", "--optimizers", "l_bfgs_b", "--shots", "9"), "l_bfgs_b needs exact energies"),
        (("evaluate", "qaoa", "--searches", "grid"), "Each of searches must be one of interp, fourier, but 'grid'"),
        (("evaluate", "qaoa", "--on", "nowhere"), "nowhere"),
        (("train", "lstm", "--output", "x", "--problem", "labs", "--graphs", "regular"), "takes the settings sizes"),
        (("evaluate", "qaoa", "--on", ".", "--sizes", "4"), "--on brings its own instances"),
        (("card", "nonsense", "x.json"), "'nonsense' is neither"),
        (("card", "qaoa", "x.json"), "x.json"),
        (("demo", "--initializer", "nonsense"), "'nonsense' is neither"),
    ],
)
def test_a_bad_request_ends_with_what_was_needed(
    arguments: tuple[str, ...], message: str, metainit: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = metainit(*arguments)
    assert (code, out) == (2, "")
    assert message in flat(err)
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_a_card_needs_comparisons(small: Path, metainit: Program, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"title": "mine"}')
    code, _, err = metainit("card", small, tmp_path / "other.json")
    assert code == 2
    assert "A file of metainit evaluate --json is needed" in flat(err)
    assert not (small / "card.md").exists()


# Solving


def solved(metainit: Program, *arguments: object) -> dict[str, Any]:
    code, out, err = metainit("solve", *arguments, "--json")
    assert code == 0, err
    content: dict[str, Any] = json.loads(out)  # nothing but JSON on standard output
    return content


@pytest.mark.parametrize("kind", ["edgelist", "gml", "json"])
def test_solve_reads_every_kind_of_file(kind: str, metainit: Program, tmp_path: Path) -> None:
    whole, path = nx.Graph(), tmp_path / f"graph.{kind}"
    whole.add_weighted_edges_from([("a", "b", 1.0), ("b", "c", 2.0), ("c", "a", 1.0), ("c", "d", 0.5)])
    if kind == "edgelist":
        nx.write_weighted_edgelist(whole, path)
    elif kind == "gml":
        nx.write_gml(whole, path)
    else:
        path.write_text(json.dumps(nx.node_link_data(whole, edges="links")))
    content = solved(metainit, path, *QUICK)
    assert content["value"] == 3.5
    assert sorted(map(sorted, content["partition"])) in ([["a", "b", "d"], ["c"]], [["a", "c", "d"], ["b"]])
    own = MaxCut.from_file(path)
    assert own.value(content["bitstring"]) == 3.5
    expected = MetaInitializer.load("qaoa").initial_point(own.operator, reps=1)
    np.testing.assert_allclose(content["start"]["point"], expected)


def test_solve_prints_the_cut_and_a_verdict(graph: Path, metainit: Program) -> None:
    code, out, err = metainit("solve", graph, *QUICK)
    assert code == 0, err
    text = flat(out)
    assert "graph.edgelist: 4 nodes, p = 1" in text
    assert "best cut sampled 3.5" in text
    assert "evaluations 6" in text
    assert "shots spent 448" in text  # six evaluations and the final sampling
    for sentence in (
        "Start: qaoa, 0 queries.",
        "Extrapolated: qaoa was trained on 6-10 nodes at p = 1-8, this graph has 4 at p = 1.",
        "Evaluations to 99% of the way to the best known energy",
        "no proof of the optimum",
    ):
        assert sentence in text


def test_the_verdict_says_what_the_start_was(metainit: Program, tmp_path: Path) -> None:
    ring = tmp_path / "ring.txt"
    ring.write_text("\n".join(f"{i} {(i + 1) % 6}" for i in range(6)))
    assert solved(metainit, ring, *QUICK)["verdict"][1].startswith("Covered")
    ring.write_text("\n".join(f"{i} {i + 1}" for i in range(2)))
    content = solved(metainit, ring, "--reps", 17, "--evaluations", 40, "--shots-per-eval", 16)
    assert content["start"]["model"] == "sk_infinity"
    assert "reps=17 came; the formula stood in" in content["verdict"][1]
    assert "formula" in solved(metainit, ring, *QUICK, "--initializer", "sk_infinity")["verdict"][1]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("budget", [128, 191, 1000])
def test_no_more_shots_are_spent_than_the_budget_allows(
    optimizer: str, budget: int, graph: Path, metainit: Program
) -> None:
    arguments = ("--reps", 1, "--shots-per-eval", 64, "--shots", budget, "--evaluations", 200)
    content = solved(metainit, graph, *arguments, "--optimizer", optimizer)
    assert content["shots_spent"] <= budget
    assert content["shots_by_stage"]["final"] == 64
    assert content["shots_spent"] <= 64 * (content["evaluations"] + 1)  # the last job may have had fewer
    if content["stopped"] is not None:
        assert budget - content["shots_spent"] < 64 // 4 * 3  # what is left is no fourth of a job of three points
        assert content["stopped"] == f"the budget of {budget} shots"
        assert any("Stopped by the budget" in sentence for sentence in content["verdict"])
        assert content["evaluations"] >= 1
    else:
        assert optimizer == "l_bfgs_b" or budget == 1000


def test_a_stopped_run_ends_at_the_best_point_it_measured(graph: Path, metainit: Program) -> None:
    content = solved(metainit, graph, "--reps", 1, "--shots-per-eval", 256, "--shots", 2000, "--evaluations", 100)
    assert content["stopped"] == "the budget of 2000 shots"
    assert content["shots_spent"] == 2000
    assert content["evaluations"] == 7  # the last with the 208 shots that are left beside the final sampling
    assert content["expected_value_best"] >= content["expected_value_first"]


def test_queries_come_out_of_the_budget(graph: Path, metainit: Program) -> None:
    arguments = ("--reps", 2, "--initializer", "lstm", "--shots-per-eval", 64)
    content = solved(metainit, graph, *arguments, "--shots", 20 * 64)
    assert content["start"]["queries"] == 9
    assert content["shots_spent"] == 20 * 64 == 64 * (9 + content["evaluations"] + 1)
    code, _, err = metainit("solve", graph, *arguments, "--shots", 10 * 64)
    assert code == 2
    assert "At least 704 shots are needed (9 queries, one evaluation and the final sampling" in flat(err)


def test_the_same_seed_gives_the_same_run_and_another_seed_another(graph: Path, metainit: Program) -> None:
    runs = [solved(metainit, graph, *QUICK, "--seed", seed) for seed in (3, 3, 4)]
    first = [run["expected_value_first"] for run in runs]
    assert first[0] == first[1] != first[2]
    assert runs[0]["point"] == runs[1]["point"]


def test_solve_under_the_noise_of_a_device(graph: Path, metainit: Program) -> None:
    content = solved(metainit, graph, "--reps", 1, "--evaluations", 6, "--shots-per-eval", 512, "--noise", "fake_fez")
    assert content["value"] == 3.5
    assert "the run had the noise of fake_fez" in content["verdict"][-1]
    quiet = solved(metainit, graph, "--reps", 1, "--evaluations", 6, "--shots-per-eval", 512)
    assert content["expected_value_first"] != quiet["expected_value_first"]
    assert content["expected_value_first"] == pytest.approx(quiet["expected_value_first"], abs=0.4)


def test_units_of_the_weights_change_neither_the_run_nor_the_verdict(metainit: Program, tmp_path: Path) -> None:
    contents = []
    for factor in (1, 2**20):
        path = tmp_path / f"graph{factor}.txt"
        path.write_text(f"a b {factor}\nb c {2 * factor}\nc a {factor}\nc d {0.5 * factor}\n")
        contents.append(solved(metainit, path, *QUICK))
    plain, huge = contents
    assert huge["value"] == plain["value"] * 2**20
    assert huge["bitstring"] == plain["bitstring"]
    assert huge["expected_value_best"] == pytest.approx(plain["expected_value_best"] * 2**20)
    assert huge["verdict"] == plain["verdict"]


def test_labels_may_look_like_markup(metainit: Program, tmp_path: Path) -> None:
    path = tmp_path / "[bold]graph.txt"
    path.write_text("[red] [/]\n[/] c\n")
    code, out, err = metainit("solve", path, *QUICK)
    assert code == 0, err
    assert "[red]" in flat(out)
    assert "[/]" in flat(out)
    assert "[bold]graph.txt" in flat(out)
    code, _, err = metainit("solve", tmp_path / "no[such].txt")
    assert code == 2
    assert "no[such].txt" in flat(err)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "edge"),
        ("a a\n", "self-loop"),
        ("a b nan\n", "finite"),
        ("a b heavy\n", "heavy"),
        ("a b 1 2 3\n", "line 1"),
    ],
)
def test_a_bad_graph_ends_with_what_was_needed(content: str, message: str, metainit: Program, tmp_path: Path) -> None:
    path = tmp_path / "graph.txt"
    path.write_text(content)
    code, out, err = metainit("solve", path)
    assert (code, out) == (2, "")
    assert message in flat(err)
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--initializer", "nonsense"),
            "a shipped one (auto, distribution, heisenberg, hubbard, lstm, qaoa, qaoa-noisy, qaoa-refined, uccsd) or a "
            "folder",
        ),
        (("--reps", "two"), "Invalid value for '--reps'"),
        (("--reps", "0"), "Invalid value for '--reps'"),
        (("--shots", "100"), "At least 2048 shots are needed (0 queries, one evaluation and the final sampling"),
        (("--noise", "fake_nowhere"), "'fake_nowhere' came"),
        (("--optimizer", "adam"), "'adam' is not one of"),
        (("--nonsense",), "No such option"),
    ],
)
def test_a_bad_option_ends_with_what_was_needed(
    arguments: tuple[str, ...], message: str, graph: Path, metainit: Program
) -> None:
    code, out, err = metainit("solve", graph, *arguments)
    assert (code, out) == (2, "")
    assert message in flat(err)
    assert "Traceback" not in err


# The demonstration


@pytest.mark.timeout(300)
def test_the_demonstration_runs_and_writes_its_picture_and_numbers(metainit: Program, tmp_path: Path) -> None:
    code, out, err = metainit("demo", "--quick", "--output", tmp_path / "deep" / "demo")
    assert code == 0, err
    picture, numbers = (tmp_path / "deep" / "demo" / name for name in ("demo.png", "demo.json"))
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 10_000
    content = json.loads(numbers.read_text())
    assert content["command"].startswith("metainit demo")
    assert (content["reps"], content["initializer"]) == (2, "qaoa")
    assert len(content["races"]) == 2
    text = flat(out)
    for (title, heat), size in zip(content["races"].items(), (15, 7), strict=True):
        assert title in text
        assert len(heat["nodes"]) == size
        starts = [run["start"] for run in heat["runs"]]
        assert starts == ["random", "random", "sk_infinity", "qaoa"]
        ours, random = heat["runs"][-1], heat["runs"][0]
        assert ours["ratios"][0] > random["ratios"][0]
        assert 0.5 < ours["final_ratio"] <= heat["r_best"] + 1e-9
        assert ours["shots_spent"] == 1024 * (len(ours["measured_energies"]) + 1)
    assert "Best cut 17 (the optimum)" in text
    assert "Best cut 6 (the optimum)" in text
    assert "Medici" in text
    assert str(picture) in out
