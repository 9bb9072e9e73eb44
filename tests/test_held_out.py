from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qiskit_metainit import plugins
from qiskit_metainit.held_out import drawn, graphs_in, make_family
from qiskit_metainit.problems.maxcut import MaxCut


@pytest.mark.parametrize("name", plugins.names("problems"))
def test_every_family_can_be_drawn_from(name: str) -> None:
    own = make_family(name, {}, sizes=None).settings  # spins that form pairs are even in number
    sizes = {"sizes": [4, 6]} if "sizes" in own else {}
    found, again = drawn(name, sizes, 3, 7), drawn(name, sizes, 3, 7)
    assert len(found.problems) == 3
    assert [each.operator for each in found.problems] == [each.operator for each in again.problems]
    assert found.names == ()
    assert found.origin["problem"] == name
    assert found.origin["family"] == dict(make_family(name, sizes).settings)
    assert "4,6" in found.title or not sizes


def test_without_sizes_instances_have_ten_to_twelve_qubits() -> None:
    assert {problem.num_qubits for problem in drawn("ising", {}, 20, 0).problems} == {10, 11, 12}


def test_titles_of_cuts_are_those_of_stored_files() -> None:
    settings = {"sizes": [4, 5, 7], "graphs": ["regular"], "weights": ["unit", "normal"]}
    assert drawn("maxcut", settings, 2, 0).title == "regular graphs, unit,normal weights, 4-5,7 nodes"
    assert drawn("maxcut", {"sizes": [4], "probability": 0.5}, 2, 0).title.endswith("4 nodes, probability 0.5")


def test_a_family_or_setting_that_there_is_not_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match=r"no plugin 'travel' among the problems: choose one of .*ising.*maxcut"):
        drawn("travel", {}, 2, 0)
    with pytest.raises(ValueError, match=r"'ising' takes the settings sizes, couplings.*, but hue, shade came"):
        drawn("ising", {"hue": 3, "shade": 4}, 2, 0)
    with pytest.raises(ValueError, match="sizes must be"):
        drawn("ising", {"sizes": [0]}, 2, 0)


def test_a_folder_gives_its_graphs_by_name(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("0 1\n1 2\n")
    (tmp_path / "a.edgelist").write_text("x y 2.0\ny z\nz x\n")
    (tmp_path / "notes.md").write_text("no graph")
    found = graphs_in(tmp_path)
    assert found.names == ("a.edgelist", "b.txt")
    assert found.title == f"{tmp_path.name}: 2 graphs"
    np.testing.assert_array_equal(
        found.problems[0].operator.to_matrix(), MaxCut.from_file(tmp_path / "a.edgelist").operator.to_matrix()
    )


def test_graphs_too_large_to_simulate_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "small.txt").write_text("0 1\n")
    (tmp_path / "wide.txt").write_text("\n".join(f"{node} {node + 1}" for node in range(30)))
    with pytest.raises(ValueError, match=r"there are more in wide\.txt \(31\)\. Move these out of") as error:
        graphs_in(tmp_path)
    assert "small.txt" not in str(error.value)


def test_a_folder_without_graphs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="graph"):
        graphs_in(tmp_path)
