import json
import math

import networkx as nx
import numpy as np
import pytest
from qiskit.circuit.library import qaoa_ansatz
from qiskit.quantum_info import Statevector
from typer.testing import CliRunner

from qiskit_metainit import under_noise
from qiskit_metainit.backends import fake_backend
from qiskit_metainit.budget import ShotBudget
from qiskit_metainit.cli import app
from qiskit_metainit.deployment import Deployment
from qiskit_metainit.deployment.channels.exact import ExactChannel
from qiskit_metainit.initializer import MetaInitializer
from qiskit_metainit.models.sk_infinity import SkInfinity
from qiskit_metainit.noise_standings import NoiseStandings
from qiskit_metainit.problems.maxcut import MaxCut
from qiskit_metainit.reproduction import Stages
from qiskit_metainit.under_noise import Policy, Study, instances

QUICK = Study(
    devices=("fake_fez",),
    budgets=(2000,),
    reps=(1,),
    sizes=(4, 5),
    graphs=2,
    tuning=1,
    policies=(Policy(), Policy("cobyla", 8)),
    of_random=(Policy("cobyla", 10, 0.5, draws=4),),
)


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return QUICK.run(Stages(folder / "work", QUICK.settings), 1, lambda *_: None)


def test_every_start_runs_on_every_graph_and_spends_no_more_than_the_budget(quick):
    assert [(piece["graph"], piece["device"], piece["reps"]) for piece in quick.pieces] == [
        (0, "fake_fez", 1),
        (1, "fake_fez", 1),
    ]
    for piece in quick.pieces:
        assert [row["start"] for row in piece["starts"]] == ["random", "sk_infinity", "qaoa"]
        seen = {(row["start"], row["budget"]) for row in piece["runs"]}
        assert seen == {(start, budget) for start in QUICK.starts for budget in QUICK.budgets}
        for row in piece["runs"]:
            assert row["stopped"] is None
            assert 0.8 * row["budget"] < row["shots"] <= row["budget"]
            assert 0.0 <= row["optimal"] <= 1.0
            assert row["best"] <= 1.0
            assert row["noisy"] <= piece["optimum"] + 1e-9


def test_who_does_not_optimise_ends_where_it_starts(quick):
    unmoved = 0
    for piece in quick.pieces:
        starts = {row["start"]: row for row in piece["starts"]}
        for row in piece["runs"]:
            if row["evaluations"] == 0:
                assert row["policy"] == "no optimisation"
                assert {key: row[key] for key in starts[row["start"]]} == starts[row["start"]]
                unmoved += 1
    assert unmoved


def test_an_interrupted_study_goes_on(quick, tmp_path, monkeypatch):
    made = []
    piece = under_noise._Piece.__call__

    def counted(self, report):
        if len(made) == 2:
            raise InterruptedError
        made.append((self.graph, self.device))
        return piece(self, report)

    monkeypatch.setattr(under_noise._Piece, "__call__", counted)
    with pytest.raises(InterruptedError):
        QUICK.run(Stages(tmp_path / "work", QUICK.settings), 1, lambda *_: None)
    assert len(made) == 2
    made[:] = [None]
    again = QUICK.run(Stages(tmp_path / "work", QUICK.settings), 1, lambda *_: None)
    assert made == [None, (1, "fake_fez")]
    assert again.pieces == quick.pieces
    assert again.policies == quick.policies


def test_points_are_judged_as_aer_and_a_statevector_do():
    backend = fake_backend("fake_cusco")
    problem = MaxCut.from_edges([(0, 1, 0.7), (1, 2, 0.2), (2, 3, 0.9), (3, 0, 0.4), (0, 2, 0.5)])
    judge = under_noise.Judge.of(problem, 1, backend, ExactChannel(backend))
    meta = MetaInitializer(SkInfinity())
    deployment = Deployment(backend, ShotBudget(shots=200_001), seed=5)
    run = deployment.run(problem, reps=1, initializer=meta, **Policy().workload(problem, 200_001, 0))
    found = judge.point(run.point)
    values = problem.operator.to_matrix().diagonal().real
    spread = values.max() - values.min()
    deviation = abs((values.max() - run.energy) / spread - found["noisy"]) / (values.std() / spread)
    assert deviation < 5 / math.sqrt(200_000)
    state = Statevector(qaoa_ansatz(problem.operator, reps=1).assign_parameters(run.point))
    ideal = state.expectation_value(problem.operator).real
    assert found["ideal"] == pytest.approx((values.max() - ideal) / spread, abs=1e-9)
    assert found["ideal"] > found["noisy"] > judge.facts["mixed"]
    assert judge.facts["mixed"] == pytest.approx((values.max() - values.mean()) / spread)
    assert judge.optimum([run.point]) >= found["noisy"]


@pytest.mark.parametrize(
    "policy", [Policy(), Policy("cobyla", 7), Policy("spsa", 6), Policy("cobyla", 9, 0.5, draws=3)], ids=str
)
def test_a_policy_spends_what_it_may(policy):
    backend = fake_backend("fake_fez")
    problem = MaxCut.from_edges([(0, 1), (1, 2), (2, 0)])
    budget = 1003
    deployment = Deployment(backend, ShotBudget(shots=budget), channel=ExactChannel(backend))
    run = deployment.run(problem, reps=1, initializer="sk_infinity", **policy.workload(problem, budget, 1))
    assert run.stopped is None
    assert policy.evaluations <= len(run.energies) + 1 <= policy.evaluations + 2
    assert 0.85 * budget <= run.shots_spent <= budget
    if policy.draws:
        best = int(np.argmin(run.energies[:3]))
        np.testing.assert_array_equal(run.points[3], run.points[best])


def test_the_chosen_policy_has_the_largest_mean_under_noise():
    none, short, long = Policy(), Policy("cobyla", 8), Policy("cobyla", 20)
    cell = (2, "qaoa", 1000)
    worth = {none: (0.8, 0.8), short: (0.9, 0.6), long: (0.7, 0.78)}
    rows = [
        {"reps": 2, "start": "qaoa", "budget": 1000, "policy": str(policy), "noisy": value}
        for policy, values in worth.items()
        for value in values
    ]
    means = {"no optimisation": 0.8, "cobyla 8 from 0.2": 0.75, "cobyla 20 from 0.2": 0.74}
    assert under_noise._chosen(rows, {cell: (none, short, long)}) == {cell: (none, short, means)}
    rows[2]["noisy"] = 1.2
    means["cobyla 8 from 0.2"] = 0.9
    assert under_noise._chosen(rows, {cell: (none, short, long)}) == {cell: (short, short, means)}


def test_instances_differ_from_each_other_and_from_others():
    test = instances(8, (6, 7, 8), 3)
    other = instances(4, (6, 7, 8), 4, apart_from=test)
    graphs = []
    for place, problem in enumerate([*test, *other]):
        terms = problem.operator.sort()
        pairs = [np.flatnonzero(row).tolist() for row in terms.paulis.z]
        graph = nx.Graph()
        graph.add_nodes_from(range(problem.num_qubits))
        graph.add_weighted_edges_from(
            (*pair, round(2 * weight, 9)) for pair, weight in zip(pairs, terms.coeffs.real, strict=True) if pair
        )
        kind, weights = under_noise.KINDS[place % 8 % 4]
        if kind == "regular":
            assert {degree for _, degree in graph.degree} == {3}
        assert ({weight for *_, weight in graph.edges.data("weight")} == {1.0}) == (weights == "unit")
        graphs.append(graph)
    match = nx.isomorphism.numerical_edge_match("weight", 1.0)
    for place, graph in enumerate(graphs):
        assert not any(nx.is_isomorphic(graph, earlier, edge_match=match) for earlier in graphs[:place])
    with pytest.raises(ValueError, match="Ask for fewer"):
        instances(12, (6,), 3)  # there are two 3-regular graphs of 6 nodes


def test_a_budget_too_small_and_unknown_names(tmp_path):
    for study, message in (
        (Study(budgets=(100,)), "at least 248 shots"),
        (Study(devices=("fake_fes",)), "fake_fez"),
        (Study(initializers=("qaao",)), "qaao"),
    ):
        with pytest.raises(ValueError, match=message):
            study.run(Stages(tmp_path / message, {}), 1, lambda *_: None)


@pytest.fixture
def made_up():
    """Two devices, two graphs; qaoa ahead of sk_infinity by .02 and .04 on one device and .01 on the other."""
    lead = {("a", 0): 0.02, ("a", 1): 0.04, ("b", 0): 0.01, ("b", 1): 0.01}
    pieces = []
    for (device, graph), gain in lead.items():
        worth = {"random": 0.5, "sk_infinity": 0.7, "qaoa": 0.7 + gain}
        rows = [{"start": name, "noisy": r, "ideal": r + 0.1, "optimal": 0.1} for name, r in worth.items()]
        runs = [{**row, "reps": 1, "budget": 1000, "policy": "no optimisation", "best": 1.0} for row in rows]
        runs += [{**row, "policy": "cobyla 8 from 0.2", "noisy": row["noisy"] - 0.003} for row in runs]
        pieces.append({"graph": graph, "device": device, "reps": 1, "optimum": 0.75, "starts": rows, "runs": runs})
    settings = {"starts": ["random", "sk_infinity", "qaoa"], "devices": ["a", "b"], "budgets": [1000], "reps": [1]}
    policies = [
        {"reps": 1, "start": name, "budget": 1000, "best": "no optimisation", "optimising": "cobyla 8 from 0.2"}
        for name in settings["starts"]
    ]
    return NoiseStandings(settings, policies, pieces[::-1])


def test_the_tables_by_hand(made_up):
    header, first, second = made_up.table()
    assert header == ["device", "p", "shots", "start", "r under noise", "- sk_infinity", "- random"]
    assert first == ["a", "1", "1,000", "qaoa", "0.7300", "+0.0300 [+0.0200 +0.0400]", "+0.2300 [+0.2200 +0.2400]"]
    assert second == ["b", "1", "1,000", "qaoa", "0.7100", "+0.0100 [+0.0100 +0.0100]", "+0.2100 [+0.2100 +0.2100]"]
    assert made_up.table("ideal")[1][4] == "0.8300"
    np.testing.assert_allclose(made_up.final("qaoa", 1, 1000, "noisy"), [0.715, 0.725])
    *_, last = made_up.optimising()
    assert last[:4] == ["qaoa", "1", "1,000", "0.7200"]
    assert last[4:] == ["-0.0030", "[-0.0030 -0.0030]", "cobyla 8 from 0.2", "no optimisation"]


def test_the_findings_by_hand(made_up):
    over_random, over_formula, optimising, left, best = made_up.findings()
    assert "above random beyond the interval in 2 of 2 cells, below it in 0" in over_random
    assert "above sk_infinity beyond the interval in 2 of 2 cells" in over_formula
    assert "+0.0100 to +0.0300" in over_formula
    assert "better beyond the interval at 0 of 1 depths and budgets and worse at 1" in optimising
    assert "0.0200 to 0.0400 of r under noise from the best point" in left
    assert "1.0000 to 1.0000" in best


def test_what_was_written_is_read_again(made_up, tmp_path):
    made_up.write(tmp_path / "new" / "standings.json", seconds=3)
    content = json.loads((tmp_path / "new" / "standings.json").read_text(encoding="utf-8"))
    again = NoiseStandings.read(content)
    assert again.table() == made_up.table()
    assert again.findings() == made_up.findings()
    assert content["seconds"] == 3
    assert {"command", "versions"} <= set(content)
    again.picture(tmp_path / "pictures" / "standings.png")
    assert (tmp_path / "pictures" / "standings.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(KeyError):
        NoiseStandings.read({"cells": []})


def test_the_command(made_up, tmp_path, monkeypatch):
    asked = []

    def run(self, stages, workers, progress):
        asked.append((self, stages.folder))
        return made_up

    monkeypatch.setattr(Study, "run", run)
    target = tmp_path / "out" / "standings.json"
    told = ["evaluate", "qaoa", "--devices", "fake_fez,fake_cusco", "--budgets", "1000,5000", "--reps", "1-2"]
    told += ["--instances", "6", "--sizes", "6,8", "--json", str(target), "--picture", str(tmp_path / "p.png")]
    result = CliRunner().invoke(app, told)
    assert result.exit_code == 0, result.output
    ((study, folder),) = asked
    assert study == Study(devices=("fake_fez", "fake_cusco"), budgets=(1000, 5000), reps=(1, 2), graphs=6, sizes=(6, 8))
    assert folder == tmp_path / "out" / "standings-work"
    assert not folder.exists()
    assert NoiseStandings.read(json.loads(target.read_text(encoding="utf-8"))).table() == made_up.table()
    assert (tmp_path / "p.png").exists()
    assert "beyond the interval in 2 of 2 cells" in " ".join(result.output.split())


def test_the_command_brings_its_own_graphs():
    result = CliRunner().invoke(app, ["evaluate", "qaoa", "--devices", "fake_fez", "--problem", "ising"])
    assert result.exit_code != 0
    assert "brings its own graphs" in " ".join(result.output.split())
