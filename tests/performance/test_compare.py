from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import compare
import numpy as np
import pytest
import rounds
from epoch import Protocol, aer, exact, ours
from floor import copy_bandwidth, layers, state_bytes, traffic
from rounds import DisagreementError, Effort
from session import HERE, Machine, Session, SimulatorError
from simulator import PEERS
from simulator import ours as our_entries
from worker import Worker
from workloads import Workload, heisenberg, molecule, qaoa

ROOT = HERE.parents[1]
_spec = importlib.util.spec_from_file_location("readme_tables", ROOT / "tutorials" / "tables" / "readme.py")
assert _spec is not None
assert _spec.loader is not None
readme = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(readme)

SMALL = {"W1": qaoa(4, 3), "W2": heisenberg(3, 2), "W3": molecule("H2 4 qubits")}
HERE_TOO = ("reverse gradient", "aer parameter shift")  # the peers that this package's own environment has


@pytest.fixture(params=sorted(SMALL))
def workload(request: pytest.FixtureRequest) -> Workload:
    return SMALL[request.param]


def answers(name: str, path: Path) -> tuple[Any, Any]:
    built = Worker((PEERS | our_entries("cpu"))[name]).build(str(path))
    return np.array(built["values"]), np.array(built["gradients"])


def test_our_side_of_every_workload_is_right(workload: Workload, tmp_path: Path) -> None:
    path = tmp_path / "workload.json"
    workload.write(path)
    values, gradients = answers("reverse gradient", path)
    assert np.abs(gradients).max() > 1e-3
    for name, tolerance in (("statevector double", 1e-10), ("statevector single", 1e-5), ("aer parameter shift", 1e-9)):
        if name in PEERS and workload.kind not in PEERS[name].sizes:
            continue
        ours_values, ours_gradients = answers(name, path)
        np.testing.assert_allclose(ours_values, values, atol=10 * tolerance)
        np.testing.assert_allclose(ours_gradients, gradients, atol=10 * tolerance)


def test_a_workload_survives_its_file(workload: Workload, tmp_path: Path) -> None:
    workload.write(tmp_path / "workload.json")
    again = Workload.read(tmp_path / "workload.json")
    assert [vars(instance) for instance in again.instances] == [vars(instance) for instance in workload.instances]
    assert len(Workload.read(tmp_path / "workload.json", count=1).instances) == 1


class InProcess(Session):
    """A session without the process, which takes seconds to start."""

    def __enter__(self) -> InProcess:
        self.worker = Worker((PEERS | our_entries("cpu"))[self.name])
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ask(self, do: str, *, timeout: float = 600.0, **arguments: Any) -> Any:
        return getattr(self.worker, do)(**arguments)


def test_a_comparison_is_complete_and_storable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "Session", InProcess)
    entries = our_entries("cpu") | {"reverse gradient": PEERS["reverse gradient"]}
    effort = Effort(turn=0.0, share=0.001, rounds=(2, 2), budget=0.0)
    result = rounds.compare(SMALL["W1"], entries, Machine.of(1), effort, tmp_path, gradient=True)
    assert list(result["results"]) == ["statevector single", "statevector double", "reverse gradient"]
    assert not result["missing"]
    peer = result["results"]["reverse gradient"]
    assert peer["instances"] == 1  # of three: its time an instance is measured on a part
    assert set(peer["ratio"]) == {"single", "double"}
    assert peer["agreement"]["gradients"] < 1e-9
    for own in ("statevector single", "statevector double"):
        assert result["results"][own]["instances"] == 3
        assert result["results"][own]["times_floor"] > 1
    found = {"workloads": [result], "memory": []}
    assert json.loads(json.dumps(compare.merged({}, found))) == found
    assert "reverse gradient" in compare.line(result)
    origin = {"command": "the command", "machine": {"cpu": "a processor", "threads": 1}}
    table = readme.speed({"workloads": [result | origin], "memory": []})
    assert "a processor, threads: 1: `the command`." in table
    row = table.splitlines()[-1]
    assert row.startswith("| W1 n=4 p=2, batch 3 | ")
    assert f"| reverse gradient | {readme._ratio(peer['ratio']['double'])} |" in row
    assert f"| {result['results']['statevector single']['times_floor']:.1f} |" in row


def test_wrong_numbers_are_not_stored(tmp_path: Path) -> None:
    path = tmp_path / "workload.json"
    SMALL["W1"].write(path)
    entry = PEERS["reverse gradient"]
    built = Worker(our_entries("cpu")["statevector double"]).build(str(path))
    scales = np.ones(3)
    assert rounds._checked("it", entry, built, built, scales) == {"values": 0.0, "gradients": 0.0}
    for key in ("values", "gradients"):
        wrong = built | {key: (1.0001 * np.array(built[key])).tolist()}
        with pytest.raises(DisagreementError, match=f"it's {key} differ"):
            rounds._checked("it", entry, wrong, built, scales)
    with pytest.raises(DisagreementError):
        rounds._checked("it", entry, built | {"values": [np.nan] * 3}, built, scales)


def test_a_session_answers_and_tells_what_is_not_installed(tmp_path: Path) -> None:
    path = tmp_path / "workload.json"
    SMALL["W1"].write(path)
    with Session("qulacs", Machine.of(1), ours=False, log=tmp_path / "log") as session:
        with pytest.raises(SimulatorError, match="No module named 'qulacs'"):
            session.ask("build", path=str(path))
        assert "qiskit" in session.ask("versions")
    with Session("reverse gradient", Machine.of(1), ours=False, log=tmp_path / "log") as session:
        assert len(session.ask("build", path=str(path), count=2)["values"]) == 2
        assert session.ask("measure", seconds=0.0)["calls"] == 1


def test_an_epoch_on_aer_has_the_exact_losses() -> None:
    protocol = Protocol(sizes=(4,), instances=4, batch=2, outputs=2)
    peer = aer(1, protocol, part=2)
    np.testing.assert_allclose(peer["losses"], exact(1, protocol, part=2), atol=1e-9)
    mine = ours(1, "double", "cpu", protocol, epochs=2)
    assert min(mine["first"], mine["last"]) > 0
    assert len(mine["losses"]) == protocol.steps == 2


def test_the_floor_counts_passes_over_the_states() -> None:
    assert [layers(SMALL[kind]) for kind in ("W1", "W2", "W3")] == [2, 4, 3]
    assert state_bytes(SMALL["W1"], "double") == 3 * 16 * 16
    assert traffic(SMALL["W1"], "single", gradient=True) == 3 * 16 * 8 * (4 + 2 + 8)
    assert copy_bandwidth(1 << 10, seconds=0.01) > 1e6


def test_memory_is_resident_memory(tmp_path: Path) -> None:
    rows = compare.memory(12, 2, [], Machine.of(1), tmp_path)  # in processes of their own: this one's shrinks at times
    assert [row["name"] for row in rows] == ["statevector single", "statevector double"]
    for row in rows:
        assert row["statevectors"]["call"] >= 0
        assert row["bytes"]["call"] < 1 << 30


def test_entries_measured_again_replace_the_old_ones() -> None:
    old = {"workloads": [{"name": "a", "kind": "W1"}, {"name": "b", "kind": "W2"}], "memory": []}
    new = {"workloads": [{"name": "a", "kind": "W1", "new": True}], "memory": []}
    assert compare.merged(old, new)["workloads"] == [{"name": "a", "kind": "W1", "new": True}, old["workloads"][1]]


def test_peers_are_pinned_where_both_sides_must_agree() -> None:
    pins = dict(re.findall(r"^([\w-]+)==(\S+)", (HERE / "peers" / "requirements.txt").read_text("utf-8"), re.M))
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    for package in ("qiskit", "qiskit-aer", "qiskit-algorithms", "numpy"):
        assert f"{package}=={pins[package]}\n" in constraints
    for entry in PEERS.values():
        module, name = entry.maker.split(":")
        source = (HERE / module.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8")
        assert re.search(rf"^(def|class) {name}\b", source, re.M)
        assert entry.package in pins or f"{entry.package}==" in (HERE / "peers" / "make.sh").read_text(encoding="utf-8")
