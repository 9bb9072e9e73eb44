from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from qiskit_metainit import cli, plugins
from qiskit_metainit.reproduction import Progress, Reproduction, Stages, publish, reproduce


def refuse() -> Any:
    raise AssertionError("a finished piece is not made again")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def stages(tmp_path: Path) -> Stages:
    return Stages(tmp_path / "work", {"seed": 0, "sizes": (1, 2)})


# the pieces of a long computation


def test_a_finished_piece_is_kept_in_this_process_and_the_next(stages: Stages) -> None:
    piece = {"a": [1, 2.5, None], "b": "text"}
    assert stages.get("piece", lambda: piece) == piece
    assert stages.get("piece", refuse) == piece
    assert Stages(stages.folder, {"seed": 0, "sizes": [1, 2]}).get("piece", refuse) == piece


def test_a_fresh_piece_is_what_the_stored_one_will_be(stages: Stages) -> None:
    fresh = stages.get("piece", lambda: {1: (2, 3)})
    assert fresh == {"1": [2, 3]}
    assert fresh == stages.get("piece", refuse)


def test_a_failure_in_the_middle_keeps_what_is_finished_and_nothing_else(stages: Stages) -> None:
    made: list[int] = []

    def piece(number: int, fail: bool) -> int:
        if fail:
            raise RuntimeError("planted")
        made.append(number)
        return number**2

    def run(stages: Stages, failing: int | None) -> list[int]:
        return [stages.get(f"square-{n}", lambda n=n: piece(n, n == failing)) for n in range(4)]  # type: ignore[misc]

    with pytest.raises(RuntimeError, match="planted"):
        run(stages, failing=2)
    assert made == [0, 1]
    assert names(stages.folder) == ["settings.json", "square-0.json", "square-1.json"]
    assert run(Stages(stages.folder, {"seed": 0, "sizes": [1, 2]}), failing=None) == [0, 1, 4, 9]
    assert made == [0, 1, 2, 3]


def test_a_crash_while_writing_leaves_no_half_piece(stages: Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_text

    def crash(path: Path, text: str, **options: Any) -> int:
        write(path, text[: len(text) // 2], **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", crash)
        with pytest.raises(KeyboardInterrupt):
            stages.get("piece", lambda: list(range(100)))
        with pytest.raises(KeyboardInterrupt):
            Stages(stages.folder.with_name("other"), {"seed": 0})
    assert stages.get("piece", lambda: [1]) == [1]
    assert Stages(stages.folder.with_name("other"), {"seed": 1}).get("piece", lambda: [2]) == [2]


def test_the_time_of_every_piece_counts_once(stages: Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 4.0, 10.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    stages.get("outer", lambda: stages.get("inner", lambda: 1))
    assert stages.seconds == 10.0
    again = Stages(stages.folder, {"seed": 0, "sizes": [1, 2]})
    again.get("outer", refuse)
    assert again.seconds == 10.0


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"seed": 1, "sizes": [1, 2]}, "seed was 0 and is 1"),
        ({"seed": 0}, r"sizes was \[1, 2\] and is None"),
        ({"seed": 0, "sizes": [1, 2], "p": 2}, "p was None and is 2"),
    ],
)
def test_work_of_other_settings_is_refused(stages: Stages, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=rf"other settings: {told}\. Repeat the command"):
        Stages(stages.folder, settings)


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match="holds something else"):
        Stages(tmp_path, {})
    assert names(tmp_path) == ["thesis.tex"]


@pytest.mark.parametrize("content", ['{"seconds": 1, "val', "[1, 2]", '{"value": 1}'])
def test_a_damaged_piece_is_refused_with_what_to_do(stages: Stages, content: str) -> None:
    stages.get("piece", lambda: 1)
    (stages.folder / "piece.json").write_text(content)
    with pytest.raises(ValueError, match=r"piece\.json.*Remove it"):
        stages.get("piece", lambda: 2)


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, {"a": object()}])
def test_a_piece_must_be_json(stages: Stages, value: Any) -> None:
    with pytest.raises(ValueError, match="piece 'odd' must be JSON values"):
        stages.get("odd", lambda: value)
    assert names(stages.folder) == ["settings.json"]


@pytest.mark.parametrize("name", ["", "../piece", "a/b", "settings", ".hidden", "a b"])
def test_names_of_pieces_are_plain(stages: Stages, name: str) -> None:
    with pytest.raises(ValueError, match="piece's name"):
        stages.get(name, refuse)
    with pytest.raises(ValueError, match="piece's name"):
        stages.checkpoint(name)


# a whole reproduction


@dataclass(frozen=True, kw_only=True)
class Planted:
    """Three pieces; `broken` stands for what a user interrupts."""

    quick: bool = False
    seed: int = 0
    broken = False

    def run(self, stages: Stages, progress: Progress) -> Reproduction:
        for number in range(3):
            if self.broken and number == 2:
                raise KeyboardInterrupt
            stages.get(f"piece-{number}", lambda: self.seed)
            progress("pieces", number + 1, 3)

        def draw(figure: Figure) -> None:
            figure.add_subplot().plot([0, 1], [0, 1])

        return Reproduction(
            title="Planted et al. 2000",
            record={"seed": self.seed, "answer": 42},
            tables=[("Table I", [["n", "ratio"], ["10", "0.99"]])],
            findings=["All **met**.", "But for [one] thing."],
            draw=draw,
        )


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> type[Planted]:
    load = plugins.load
    monkeypatch.setattr(plugins, "load", lambda kind, name: Planted if name == "planted" else load(kind, name))
    monkeypatch.setattr(Planted, "broken", False)
    return Planted


def test_publishing_writes_numbers_picture_and_page(tmp_path: Path) -> None:
    stages = Stages(tmp_path / "work", {})
    files = publish(Planted(seed=3).run(stages, lambda *_: None), "planted", tmp_path / "new" / "folder")
    record, picture, page = files
    assert [file.name for file in files] == ["planted.json", "planted.png", "planted.md"]
    content = json.loads(record.read_text())
    assert (content["title"], content["seed"], content["answer"]) == ("Planted et al. 2000", 3, 42)
    assert "qiskit" in content["versions"]
    assert content["command"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    text = page.read_text()
    for part in ("# Planted et al. 2000\n", "seed 3", "- All **met**.\n", "![Planted et al. 2000](planted.png)"):
        assert part in text
    assert "**Table I**\n\n| n | ratio |\n|---|---|\n| 10 | 0.99 |\n" in text
    assert names(files[0].parent) == ["planted.json", "planted.md", "planted.png"]


def test_a_record_that_is_no_json_is_refused(tmp_path: Path) -> None:
    bad = Reproduction("Title", {"ratio": float("nan")}, [], [], lambda figure: None)
    with pytest.raises(ValueError, match="record must be JSON"):
        publish(bad, "bad", tmp_path)


def test_a_quick_run_never_replaces_a_whole_one(tmp_path: Path, planted: type[Planted]) -> None:
    whole = reproduce("planted", tmp_path, quick=False, seed=1, progress=lambda *_: None)[1]
    quick = reproduce("planted", tmp_path, quick=True, seed=1, progress=lambda *_: None)[1]
    assert not {*whole} & {*quick}
    assert json.loads(whole[0].read_text())["seconds"] >= 0
    assert len(names(tmp_path)) == 6  # no unfinished work is left


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["metainit", "reproduce", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def test_the_program_goes_on_where_it_was_interrupted(
    tmp_path: Path, planted: type[Planted], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(planted, "broken", True)
    assert run(monkeypatch, "planted", "--output", tmp_path) == 130
    assert "repeat the command" in " ".join(capsys.readouterr().err.split())
    assert names(tmp_path) == ["planted-work"]
    assert names(tmp_path / "planted-work") == ["piece-0.json", "piece-1.json", "settings.json"]
    before = (tmp_path / "planted-work" / "piece-0.json").stat().st_mtime_ns

    monkeypatch.setattr(planted, "broken", False)
    assert run(monkeypatch, "planted", "--output", tmp_path, "--seed", 1) == 2
    assert "seed was 0 and is 1" in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / "planted-work" / "piece-0.json").stat().st_mtime_ns == before
    assert run(monkeypatch, "planted", "--output", tmp_path) == 0
    out = capsys.readouterr().out
    for part in ("Table I", "0.99", "- All met.", "- But for [one] thing.", "planted.json"):
        assert part in out
    assert names(tmp_path) == ["planted.json", "planted.md", "planted.png"]


def test_the_program_lists_what_there_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(monkeypatch) == 0
    assert "verdon2019" in capsys.readouterr().out
    assert run(monkeypatch, "nobody1900", "--output", tmp_path) == 2
    assert "verdon2019" in capsys.readouterr().err
    assert not names(tmp_path)


@pytest.mark.parametrize("name", plugins.names("reproductions"))
def test_every_reproduction_takes_quick_and_seed(name: str) -> None:
    cls = plugins.load("reproductions", name)
    assert cls(quick=True, seed=5).seed == 5
    with pytest.raises(TypeError):
        cls(True)
    with pytest.raises(AttributeError):
        cls().seed = 1
