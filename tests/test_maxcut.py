"""MaxCut: cut values, readers, errors and the random family."""

from __future__ import annotations

import collections
import itertools
import json
import subprocess
import sys
import zlib

import networkx as nx
import numpy as np
import pytest
import rustworkx as rx
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit.quantum_info import SparsePauliOp

from qiskit_metainit.problem import Family, as_pauli_sum, diagonal_values, offset
from qiskit_metainit.problems.maxcut import MaxCut

ASYMMETRIC = [("a", "b", 2.0), ("b", "c", 1.0), ("a", "c", -0.5)]


def cut_slow(graph, bits):
    """Weight of the cut plus the biases of the nodes with bit 1, straight from the definition."""
    total = sum(data.get("bias", 0.0) for node, data in graph.nodes(data=True) if bits[node])
    return total + sum(data.get("weight", 1.0) for u, v, data in graph.edges(data=True) if bits[u] != bits[v])


def assert_all_cuts(problem, graph, tolerance=1e-9):
    assert problem.nodes == tuple(graph.nodes)
    values = diagonal_values(problem.operator)
    for index in range(1 << len(graph)):
        bitstring = format(index, f"0{len(graph)}b")
        expected = cut_slow(graph, problem.decode(bitstring))
        assert problem.value(bitstring) == pytest.approx(expected, rel=tolerance, abs=tolerance)
        assert problem.value(values[index]) == pytest.approx(expected, rel=tolerance, abs=tolerance)


def same(problem, other):
    assert problem.nodes == other.nodes
    assert [type(node) for node in problem.nodes] == [type(node) for node in other.nodes]
    assert as_pauli_sum(problem.operator) == as_pauli_sum(other.operator)


numbers = st.floats(-10, 10).map(lambda x: round(x, 3))


@st.composite
def weighted_graphs(draw):
    n = draw(st.integers(2, 6))
    graph = draw(st.sampled_from([nx.Graph, nx.MultiGraph]))()
    graph.add_nodes_from(draw(st.permutations(range(n))))
    pairs = list(itertools.combinations(range(n), 2))
    for u, v in draw(st.lists(st.sampled_from(pairs), max_size=10)):
        graph.add_edge(*draw(st.permutations([u, v])), **draw(st.fixed_dictionaries({}, optional={"weight": numbers})))
    for node in draw(st.sets(st.integers(0, n - 1))):
        graph.nodes[node]["bias"] = draw(numbers)
    graph.add_edge(0, 1, weight=100.0)  # so that there is something to cut
    return graph


@given(weighted_graphs())
@settings(max_examples=80, deadline=None)
def test_every_cut_agrees_with_brute_force(graph):
    assert_all_cuts(MaxCut.from_graph(graph), graph)


@given(weighted_graphs(), st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_the_order_of_nodes_and_edges_does_not_change_a_cut(graph, random):
    order, edges = list(graph.nodes(data=True)), list(graph.edges(data=True))
    random.shuffle(order)
    random.shuffle(edges)
    shuffled = nx.MultiGraph()
    shuffled.add_nodes_from(order)
    shuffled.add_edges_from(edges)
    problem, other = MaxCut.from_graph(graph), MaxCut.from_graph(shuffled)
    for bits in itertools.product("01", repeat=len(graph)):
        label = dict(zip(graph.nodes, bits, strict=True))
        first, second = ("".join(label[node] for node in reversed(p.nodes)) for p in (problem, other))
        assert problem.value(first) == pytest.approx(other.value(second), abs=1e-9)


def test_bits_read_from_the_right_and_in_the_users_sense():
    problem = MaxCut.from_edges(ASYMMETRIC)
    assert problem.nodes == ("a", "b", "c")
    assert problem.family == "maxcut"
    assert problem.maximise
    assert problem.num_qubits == 3
    assert problem.decode("001") == {"a": 1, "b": 0, "c": 0}
    assert problem.partition("001") == (("b", "c"), ("a",))
    assert problem.value("001") == pytest.approx(1.5)  # a alone: 2.0 - 0.5
    assert problem.value("100") == pytest.approx(0.5)  # c alone: 1.0 - 0.5
    assert problem.value("000") == pytest.approx(0.0)
    assert problem.value(-3.0) == 3.0


def test_the_hamiltonian_follows_the_convention():
    graph = nx.Graph()
    graph.add_node("x", bias=3.0)
    graph.add_node("y")
    graph.add_edge("x", "y", weight=4.0)
    operator = MaxCut.from_graph(graph).operator
    assert as_pauli_sum(operator) == as_pauli_sum(SparsePauliOp(["ZZ", "IZ", "II"], [2.0, 1.5, -3.5]))
    assert offset(operator) == -3.5


def test_the_identity_term_is_there_even_when_the_weights_cancel():
    operator = MaxCut.from_edges([(0, 1, 1.0), (1, 2, -1.0)]).operator
    assert "III" in operator.paulis.to_labels()
    assert offset(operator) == 0.0


@pytest.mark.parametrize("weights", [(1e6, -3e6), (1e-9, 2e-9), (-1.0, -2.0), (1e6, 1e-9), (0.0, 1.0)])
def test_weights_of_any_size_and_sign(weights):
    graph = nx.path_graph(3)
    for edge, weight in zip(list(graph.edges), weights, strict=True):
        graph.edges[edge]["weight"] = weight
    problem = MaxCut.from_graph(graph)
    assert_all_cuts(problem, graph, tolerance=1e-15 * max(map(abs, weights)) + 1e-18)


@pytest.mark.parametrize("weight", [2, np.float32(2), np.int64(2), True])
def test_any_real_number_is_a_weight(weight):
    assert MaxCut.from_edges([(0, 1, weight)]).value("01") == float(weight)


def test_zero_weight_edges_are_dropped_but_their_nodes_stay():
    problem = MaxCut.from_edges([(0, 1, 0.0), (1, 2, 1.0)])
    assert problem.nodes == (0, 1, 2)
    assert sorted(problem.operator.paulis.to_labels()) == ["III", "ZZI"]


def test_parallel_edges_that_cancel_are_dropped():
    problem = MaxCut.from_edges([(0, 1, 1.0), (1, 0, -1.0), (1, 2)])
    assert sorted(problem.operator.paulis.to_labels()) == ["III", "ZZI"]


@pytest.mark.parametrize(
    "graph",
    [
        nx.path_graph(2),
        nx.disjoint_union(nx.cycle_graph(3), nx.cycle_graph(4)),
        nx.union(nx.path_graph(3), nx.empty_graph([7, 8])),
        nx.grid_2d_graph(2, 3),
        nx.relabel_nodes(nx.path_graph(3), {0: "z", 1: "a", 2: "m"}),
    ],
    ids=["one edge", "disconnected", "isolated nodes", "tuple labels", "string labels"],
)
def test_graphs_that_must_work(graph):
    assert_all_cuts(MaxCut.from_graph(graph), graph)


def test_biases_alone_are_enough():
    graph = nx.empty_graph(2)
    graph.nodes[0]["bias"] = 1.5
    assert_all_cuts(MaxCut.from_graph(graph), graph)


def test_attributes_of_other_names():
    graph = nx.Graph()
    graph.add_node(0, field=0.5)
    graph.add_edge(0, 1, cost=3.0, weight=7.0)
    assert MaxCut.from_graph(graph, weight="cost", bias="field").value("01") == pytest.approx(3.5)


@pytest.mark.parametrize("misspelt", [{"weight": "wieght"}, {"bias": "baos"}])
def test_a_misspelt_attribute_is_not_taken_for_an_unweighted_graph(misspelt):
    with pytest.raises(ValueError, match=rf"attribute '{next(iter(misspelt.values()))}' is needed.*Check its name"):
        MaxCut.from_graph(nx.path_graph(3), **misspelt)


# rustworkx


def test_rustworkx_edge_payloads():
    graph = rx.PyGraph()
    graph.add_nodes_from(["a", "b", "c", "d"])
    graph.add_edges_from([(0, 1, 2.5), (1, 2, {"weight": -1.0}), (2, 3, None), (0, 3, {"colour": "red"}), (0, 1, 1)])
    twin = nx.MultiGraph()
    twin.add_weighted_edges_from([("a", "b", 2.5), ("b", "c", -1.0), ("c", "d", 1.0), ("a", "d", 1.0), ("a", "b", 1.0)])
    problem = MaxCut.from_graph(graph)
    assert problem.nodes == ("a", "b", "c", "d")
    assert_all_cuts(problem, twin)


@pytest.mark.parametrize(
    ("payloads", "labels"),
    [
        (["x", "y", "z"], ("x", "y", "z")),
        ([(0, 0), (0, 1), (1, 0)], ((0, 0), (0, 1), (1, 0))),
        ([None, None, None], (0, 1, 2)),
        (["x", "x", "y"], (0, 1, 2)),
        (["x", None, "y"], (0, 1, 2)),
        ([[1], [2], [3]], (0, 1, 2)),
        ([{"label": "x"}, {"name": "y"}, {"id": 9}], ("x", "y", 9)),
        ([{"label": "x"}, {"bias": 1.0}, {"id": 9}], (0, 1, 2)),
    ],
)
def test_rustworkx_labels(payloads, labels):
    graph = rx.PyGraph()
    graph.add_nodes_from(payloads)
    graph.add_edge(0, 1, None)
    assert MaxCut.from_graph(graph).nodes == labels


def test_rustworkx_biases():
    graph = rx.PyGraph()
    graph.add_nodes_from([{"name": "x", "bias": 2.0}, {"name": "y"}])
    graph.add_edge(0, 1, 1.0)
    problem = MaxCut.from_graph(graph)
    assert problem.partition("01") == (("y",), ("x",))
    assert problem.value("01") == pytest.approx(3.0)
    assert problem.value("10") == pytest.approx(1.0)


def test_rustworkx_indices_may_have_holes():
    graph = rx.PyGraph()
    graph.add_nodes_from([None] * 4)
    graph.add_edges_from([(0, 2, 2.0), (2, 3, 5.0)])
    graph.remove_node(1)
    problem = MaxCut.from_graph(graph)
    assert problem.nodes == (0, 2, 3)
    assert problem.value("100") == pytest.approx(5.0)


def test_rustworkx_and_networkx_agree():
    graph = nx.gnp_random_graph(7, 0.6, seed=3)
    for edge in graph.edges:
        graph.edges[edge]["weight"] = 1.0 + edge[0] - 0.3 * edge[1]
    same(MaxCut.from_graph(graph), MaxCut.from_graph(rx.networkx_converter(graph)))


# edges and files


def test_edges_may_be_a_generator_and_lists():
    same(MaxCut.from_edges([u, v] for u, v in [(5, 3), (3, 1)]), MaxCut.from_edges(((5, 3, 1), (3, 1, 1.0))))


@pytest.fixture
def graph():
    graph = nx.Graph()
    graph.add_node("s", bias=0.25)
    graph.add_nodes_from(["lone", "t"])
    graph.add_edge("s", "t", weight=-1.5)
    graph.add_edge("t", "ü", weight=0.1 + 0.2)
    return graph


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize("suffix", ["txt", "edgelist", "edges", "csv", "el", "TXT"])
@pytest.mark.parametrize("delimiter", [" ", "\t", ",", ", ", "   "])
def test_edge_list_round_trip(tmp_path, suffix, delimiter):
    graph = nx.Graph()
    graph.add_weighted_edges_from(ASYMMETRIC)
    path = tmp_path / f"graph.{suffix}"
    nx.write_weighted_edgelist(graph, path, delimiter=delimiter)
    same(MaxCut.from_file(path), MaxCut.from_graph(graph))
    same(MaxCut.from_file(str(path)), MaxCut.from_graph(graph))


def test_edge_list_comments_blank_lines_and_isolated_nodes(write):
    path = write("graph.txt", "\ufeff# a comment\r\n\r\n1 2 # another\r\n 7\r\n2,3 , -0.5\r\n2 1 1e-1\r\n")
    expected = nx.MultiGraph()
    expected.add_nodes_from([1, 2, 7, 3])
    expected.add_weighted_edges_from([(1, 2, 1.0), (2, 3, -0.5), (1, 2, 0.1)])
    same(MaxCut.from_file(path), MaxCut.from_graph(expected))


@pytest.mark.parametrize(
    ("text", "nodes"),
    [("1 2\n2 -3", (1, 2, -3)), ("1 2\n2 b", ("1", "2", "b")), ("1 01", ("1", "01")), ("1 2.0", ("1", "2.0"))],
)
def test_edge_list_labels_stay_strings_unless_all_are_integers(write, text, nodes):
    assert MaxCut.from_file(write("graph.el", text)).nodes == nodes


@pytest.mark.parametrize("edges", ["links", "edges"])
@pytest.mark.parametrize("kind", [nx.Graph, nx.MultiGraph])
def test_json_round_trip(write, graph, edges, kind):
    graph = kind(graph)
    if graph.is_multigraph():
        graph.add_edge("s", "t", weight=4.0)
    path = write("graph.json", json.dumps(nx.node_link_data(graph, edges=edges)))
    same(MaxCut.from_file(path), MaxCut.from_graph(graph))


def test_json_keeps_integer_and_tuple_labels(write):
    for graph in (nx.cycle_graph(4), nx.grid_2d_graph(2, 2)):
        path = write("graph.json", json.dumps(nx.node_link_data(graph, edges="edges")))
        same(MaxCut.from_file(path), MaxCut.from_graph(graph))


@pytest.mark.parametrize("kind", [nx.Graph, nx.MultiGraph])
def test_gml_round_trip(tmp_path, graph, kind):
    graph = kind(graph)
    if graph.is_multigraph():
        graph.add_edge("s", "t", weight=4.0)
    nx.write_gml(graph, tmp_path / "graph.gml")
    same(MaxCut.from_file(tmp_path / "graph.gml"), MaxCut.from_graph(graph))


def test_gml_without_labels_has_its_ids(write):
    path = write("graph.gml", "graph [ node [ id 4 ] node [ id 2 ] edge [ source 2 target 4 weight 3 ] ]")
    problem = MaxCut.from_file(path)
    assert problem.nodes == (4, 2)
    assert problem.value("01") == pytest.approx(3.0)


# errors


@pytest.mark.parametrize("graph", [nx.Graph(), nx.MultiGraph(), rx.PyGraph()])
def test_empty_graphs(graph):
    with pytest.raises(ValueError, match="empty: it has no nodes"):
        MaxCut.from_graph(graph)


def test_no_edges_at_all():
    with pytest.raises(ValueError, match="no nodes"):
        MaxCut.from_edges([])


@pytest.mark.parametrize(
    "graph", [nx.empty_graph(3), nx.from_edgelist([(0, 1, {"weight": 0.0})]), nx.from_edgelist([(0, 1, {"weight": 0})])]
)
def test_nothing_to_cut(graph):
    with pytest.raises(ValueError, match=r"nothing to cut.*Add edges"):
        MaxCut.from_graph(graph)


def rustworkx_loop():
    graph = rx.PyGraph()
    graph.add_nodes_from(["b", "a"])
    graph.add_edges_from([(0, 1, 1.0), (1, 1, 1.0)])
    return graph


@pytest.mark.parametrize(
    "read",
    [
        lambda: MaxCut.from_graph(nx.from_edgelist([("b", "a"), ("a", "a")])),
        lambda: MaxCut.from_graph(rustworkx_loop()),
        lambda: MaxCut.from_edges([("b", "a"), ("a", "a", 0.0)]),
    ],
)
def test_self_loops_are_named(read):
    with pytest.raises(ValueError, match=r"self-loops.*'a'.*Remove it"):
        read()


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -np.inf, pytest.param(10**400, id="huge")])
def test_weights_that_are_not_finite(weight):
    with pytest.raises(ValueError, match=r"weight of edge \('a', 'b'\) must be a finite real number"):
        MaxCut.from_edges([("a", "b", weight)])


@pytest.mark.parametrize("weight", [1j, 1 + 0j, "1.0", None, [1.0], {"weight": 1.0}, np.complex128(1)])
def test_weights_that_are_no_numbers(weight):
    with pytest.raises(TypeError, match=r"weight of edge \('a', 'b'\) must be a finite real number.*Convert"):
        MaxCut.from_edges([("a", "b", weight)])


def test_rustworkx_payload_that_is_no_number():
    graph = rx.PyGraph()
    graph.add_nodes_from(["a", "b"])
    graph.add_edge(0, 1, "heavy")
    with pytest.raises(TypeError, match=r"edge \('a', 'b'\).*'heavy'"):
        MaxCut.from_graph(graph)


@pytest.mark.parametrize(
    ("bias", "error"), [(np.nan, ValueError), (np.inf, ValueError), (2j, TypeError), ("x", TypeError)]
)
def test_bad_biases_are_named(bias, error):
    graph = nx.path_graph(2)
    graph.nodes[1]["bias"] = bias
    with pytest.raises(error, match=r"bias of node 1 must be a finite real number"):
        MaxCut.from_graph(graph)


def test_weights_whose_sum_overflows():
    with pytest.raises(ValueError, match=r"sum of the weights.*overflows"):
        MaxCut.from_edges([(0, 1, 1.7e308), (1, 2, 1.7e308), (0, 2, 1.7e308)])


@pytest.mark.parametrize("graph", [nx.DiGraph([(0, 1)]), nx.MultiDiGraph([(0, 1)]), rx.PyDiGraph()])
def test_directed_graphs(graph):
    with pytest.raises(ValueError, match=r"undirected.*to_undirected\(\)"):
        MaxCut.from_graph(graph)


@pytest.mark.parametrize("graph", [[(0, 1)], "graph.gml", np.eye(2), None])
def test_things_that_are_no_graph(graph):
    with pytest.raises(TypeError, match=r"networkx Graph or MultiGraph or a rustworkx PyGraph is needed.*from_edges"):
        MaxCut.from_graph(graph)


@pytest.mark.parametrize("edge", [(0,), (0, 1, 2, 3), "ab", 7, np.array([0, 1])])
def test_edges_of_another_shape(edge):
    with pytest.raises(TypeError, match=r"\(node, node, weight\) tuple, but edge number 1 is"):
        MaxCut.from_edges([(0, 1), edge])


@pytest.mark.parametrize("edges", [{(0, 1): 2.0}, "0 1", 7])
def test_edges_that_are_no_edges(edges):
    with pytest.raises(TypeError, match=r"iterable of .* is needed, but"):
        MaxCut.from_edges(edges)


def test_labels_that_cannot_be_hashed():
    with pytest.raises(TypeError, match="must be hashable"):
        MaxCut.from_edges([([0], [1])])


@pytest.mark.parametrize("name", ["graph.png", "graph", "graph.json.gz"])
def test_unknown_suffixes(write, name):
    with pytest.raises(ValueError, match=r"\.txt, \.edgelist, \.edges, \.csv, \.el, \.json, \.gml.*Rename"):
        MaxCut.from_file(write(name, "0 1"))


@pytest.mark.parametrize("suffix", ["txt", "json", "gml"])
class TestBadFiles:
    def test_missing(self, tmp_path, suffix):
        with pytest.raises(ValueError, match=rf"missing.{suffix}.*No such file.*Check the path"):
            MaxCut.from_file(tmp_path / f"missing.{suffix}")

    def test_folder(self, tmp_path, suffix):
        (tmp_path / f"folder.{suffix}").mkdir()
        with pytest.raises(ValueError, match=r"directory.*Check the path"):
            MaxCut.from_file(tmp_path / f"folder.{suffix}")

    @pytest.mark.parametrize("content", [b"\x89PNG\r\n\xff\xfe", b"ab\0cd"])
    def test_binary(self, write, suffix, content):
        with pytest.raises(ValueError, match=rf"graph.{suffix}.*binary.*Export"):
            MaxCut.from_file(write(f"graph.{suffix}", content))

    def test_empty(self, write, suffix):
        with pytest.raises(ValueError, match=rf"graph.{suffix}.*(no nodes|gives)"):
            MaxCut.from_file(write(f"graph.{suffix}", ""))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("0 1\n1 2 3 4", 2),
        ("0 1\n\n# x\n1 2 heavy", 4),
        ("0,1\n1,,2", 2),
        ("0 1 {'weight': 1}", 1),
        ("source,target,weight\n0,1,2", 1),
    ],
)
def test_edge_list_lines_of_another_shape(write, text, line):
    with pytest.raises(ValueError, match=rf"graph.csv.*line {line} must be 'u v', 'u v weight' or one node 'u'"):
        MaxCut.from_file(write("graph.csv", text))


@pytest.mark.parametrize("text", ["# x\nsource,target\n0,1\n1,2", "3 2\n1 2 1\n2 3 -1\n"])
def test_edge_list_headers_are_not_taken_for_edges(write, text):
    with pytest.raises(ValueError, match=r"line \d must be an edge.*header"):
        MaxCut.from_file(write("graph.txt", text))


@pytest.mark.parametrize("text", ["a b\nb c", "3 1\n1 2", "a b", "5 2\n1 2 1\n1 9 1"])
def test_first_edges_are_not_taken_for_headers(write, text):
    assert MaxCut.from_file(write("graph.txt", text)).num_qubits > 1


def test_edge_list_weight_that_is_not_finite(write):
    with pytest.raises(ValueError, match=r"graph.txt.*edge \(0, 1\).*finite"):
        MaxCut.from_file(write("graph.txt", "0 1 nan"))


@pytest.mark.parametrize(
    "text",
    ["{", "[[0, 1]]", "7", "{}", '{"nodes": [], "links": 3}', '{"nodes": [{"id": 0}], "links": [{"source": 0}]}'],
)
def test_json_that_is_no_graph(write, text):
    with pytest.raises(ValueError, match=r"graph.json.*node-link graph is needed.*node_link_data"):
        MaxCut.from_file(write("graph.json", text))


def test_json_nested_too_deep_is_no_crash(write):
    with pytest.raises(ValueError, match="node-link graph is needed"):
        MaxCut.from_file(write("graph.json", "[" * 100_000))


@pytest.mark.parametrize(
    ("nodes", "links"), [(["a", "b"], [(0, 1)]), (["a", "a", "b"], [("a", "b")])], ids=["indices", "repeated"]
)
def test_json_links_to_unknown_nodes(write, nodes, links):
    data = {"nodes": [{"id": node} for node in nodes], "links": [{"source": u, "target": v} for u, v in links]}
    with pytest.raises(ValueError, match=r"repeated or missing.*'source' and 'target'"):
        MaxCut.from_file(write("graph.json", json.dumps(data)))


@pytest.mark.parametrize("text", ["hello", "graph [ node [ id 0 ] edge [ source 0 target 1 ] ]", "graph [", "3 4"])
def test_gml_that_is_no_graph(write, text):
    with pytest.raises(ValueError, match=r"(?s)graph.gml.*GML graph is needed.*write_gml"):
        MaxCut.from_file(write("graph.gml", text))


@pytest.mark.parametrize("suffix", ["json", "gml"])
def test_directed_graphs_in_files(write, suffix):
    graph = nx.DiGraph([("a", "b")])
    text = "\n".join(nx.generate_gml(graph)) if suffix == "gml" else json.dumps(nx.node_link_data(graph, edges="links"))
    with pytest.raises(ValueError, match=rf"graph.{suffix}.*undirected"):
        MaxCut.from_file(write(f"graph.{suffix}", text))


@pytest.mark.parametrize(("name", "text"), [("graph.txt", "0 1 0"), ("graph.csv", "7"), ("graph.el", "0 1\n1 0 -1")])
def test_a_file_with_nothing_to_cut_is_named(write, name, text):
    with pytest.raises(ValueError, match=rf"In '.*{name}': .*nothing to cut"):
        MaxCut.from_file(write(name, text))


# folders


def test_a_folder_gives_every_graph_file_sorted_by_name(tmp_path, write, graph):
    nx.write_gml(graph, tmp_path / "b.gml")
    write("c.json", json.dumps(nx.node_link_data(graph, edges="edges")))
    write("a.EDGES", "s t -1.5")
    for name in ("notes.md", ".hidden.txt", "results"):
        write(name, "not a graph")
    (tmp_path / "folder.txt").mkdir()
    for path in (tmp_path, str(tmp_path)):
        found = MaxCut.from_folder(path)
        assert [name for name, _ in found] == ["a.EDGES", "b.gml", "c.json"]
        same(found[0][1], MaxCut.from_edges([("s", "t", -1.5)]))
        same(found[1][1], MaxCut.from_graph(graph))
        same(found[2][1], MaxCut.from_graph(graph))


def test_folders_without_graph_files(tmp_path, write):
    with pytest.raises(ValueError, match=r"folder with graph files is needed.*none of the 0 entries.*Check the path"):
        MaxCut.from_folder(tmp_path)
    write("notes.md", "")
    with pytest.raises(ValueError, match=r"\.gml, but none of the 1 entries"):
        MaxCut.from_folder(tmp_path)


def test_folders_that_are_none(tmp_path, write):
    with pytest.raises(ValueError, match=r"missing.*No such file or directory.*Check the path"):
        MaxCut.from_folder(tmp_path / "missing")
    with pytest.raises(ValueError, match=r"graph\.txt.*Not a directory"):
        MaxCut.from_folder(write("graph.txt", "0 1"))


@pytest.mark.parametrize("text", ["0 1\n1 2 heavy", "0 1 0", ""])
def test_a_damaged_file_in_a_folder_is_named(write, text):
    write("a.txt", "0 1")
    with pytest.raises(ValueError, match=r"In '.*b\.csv': "):
        MaxCut.from_folder(write("b.csv", text).parent)


# the family


def interaction_graph(problem):
    graph = nx.empty_graph(problem.num_qubits)
    for pauli, coefficient in zip(problem.operator.paulis, problem.operator.coeffs.real, strict=True):
        ends = np.flatnonzero(pauli.z)
        if len(ends):
            graph.add_edge(*ends.tolist(), weight=2 * coefficient)
    return graph


def draw(count=300, seed=5, **settings):
    family, rng = MaxCut(**settings), np.random.default_rng(seed)
    return [interaction_graph(family.sample(rng)) for _ in range(count)]


def weights_of(graphs):
    return np.array([weight for graph in graphs for *_, weight in graph.edges(data="weight")])


def test_samples_are_problems_of_this_family():
    family = MaxCut(weights=["normal"])
    assert isinstance(family, Family)
    problem = family.sample(np.random.default_rng(0))
    assert problem.family == "maxcut"
    assert problem.maximise
    assert problem.nodes == tuple(range(problem.num_qubits))
    assert_all_cuts(problem, interaction_graph(problem))


def test_sizes_are_drawn_uniformly():
    counts = collections.Counter(len(graph) for graph in draw(1200))
    assert set(counts) == {6, 7, 8, 9}
    assert all(abs(count - 300) < 60 for count in counts.values())  # 4 standard deviations


def test_erdos_renyi_draws_the_probability_as_in_the_paper():
    graphs = draw(1500, sizes=[8])
    pairs = 28
    expected = np.mean([pairs * k / 8 for k in range(3, 8)])
    spread = np.var([pairs * k / 8 for k in range(3, 8)]) + np.mean([pairs * k / 8 * (1 - k / 8) for k in range(3, 8)])
    edges = [graph.number_of_edges() for graph in graphs]
    assert np.mean(edges) == pytest.approx(expected, abs=4 * np.sqrt(spread / 1500))
    assert np.var(edges) == pytest.approx(spread, rel=0.15)
    every = collections.Counter(edge for graph in graphs for edge in graph.edges)
    assert len(every) == pairs
    assert all(abs(count - 1500 * 0.625) < 90 for count in every.values())


def test_a_fixed_probability_keeps_disconnected_but_no_edgeless_graphs():
    graphs = draw(600, sizes=[5], probability=0.1)
    assert all(graph.number_of_edges() > 0 for graph in graphs)
    assert any(not nx.is_connected(graph) for graph in graphs)
    expected = 10 * 0.1 / (1 - 0.9**10)  # given that there is an edge
    assert np.mean([graph.number_of_edges() for graph in graphs]) == pytest.approx(expected, abs=0.15)
    assert all(graph.number_of_edges() == 10 for graph in draw(5, sizes=[5], probability=1))


@pytest.mark.parametrize("size", [4, 5, 8, 9])
def test_regular_graphs_have_every_degree_that_exists(size):
    degrees = []
    for graph in draw(200, sizes=[size], graphs=["regular"]):
        (degree,) = {degree for _, degree in graph.degree}
        degrees.append(degree)
    assert set(degrees) == {degree for degree in range(3, size) if size * degree % 2 == 0}


def test_regular_graphs_of_chosen_degrees():
    graphs = draw(60, sizes=[6, 7], graphs=["regular"], degrees=[1, 2, 3])
    assert {(len(graph), degree) for graph in graphs for _, degree in graph.degree} == {(6, 1), (6, 2), (6, 3), (7, 2)}
    family = MaxCut(sizes=[8], graphs=["regular"], degrees=(3, 4))
    assert family.settings["degrees"] == [3, 4]
    assert MaxCut(**family.settings) == family


def test_dense_regular_graphs_are_as_varied_as_their_complements():
    # 4-regular graphs of 6 nodes are complements of perfect matchings: 15 of them, alike in probability.
    graphs = [graph for graph in draw(1500, sizes=[6], graphs=["regular"]) if graph.degree(0) == 4]
    counts = collections.Counter(frozenset(nx.complement(graph).edges) for graph in graphs)
    assert len(counts) == 15
    assert max(counts.values()) < 2 * min(counts.values())


def test_complete_graphs():
    assert all(graph.number_of_edges() == 6 for graph in draw(10, sizes=[4], graphs=["complete"]))


def test_kinds_are_drawn_uniformly():
    graphs = draw(900, sizes=[9], graphs=["erdos_renyi", "complete"], weights=["unit", "normal"], probability=0.3)
    complete = [graph for graph in graphs if graph.number_of_edges() == 36]
    unit = [graph for graph in graphs if set(weights_of([graph])) == {1.0}]
    assert abs(len(complete) - 450) < 60
    assert abs(len(unit) - 450) < 60
    assert abs(len({*map(id, complete)} & {*map(id, unit)}) - 225) < 55


@pytest.mark.parametrize(
    ("kind", "mean", "variance", "low"),
    [("uniform", 0.5, 1 / 12, 0.0), ("exponential", 1.0, 1.0, 0.0), ("normal", 0.0, 1.0, -np.inf)],
)
def test_weights(kind, mean, variance, low):
    weights = weights_of(draw(200, graphs=["complete"], weights=[kind]))
    assert weights.size > 4000
    assert weights.mean() == pytest.approx(mean, abs=0.07)
    assert weights.var() == pytest.approx(variance, rel=0.1)
    assert weights.min() > low
    assert kind != "uniform" or weights.max() < 1
    assert kind != "normal" or weights.min() < -2


def test_unit_weights():
    assert set(weights_of(draw(20))) == {1.0}


def digest(family, count=40):
    """A number that changes with any draw, or with how many random numbers they take."""
    rng = np.random.default_rng(20260)
    drawn = [[[label, round(c.real, 9)] for label, c in family.sample(rng).operator.to_list()] for _ in range(count)]
    return zlib.crc32(json.dumps([*drawn, round(rng.random(), 9)]).encode())


KINDS = ["erdos_renyi", "regular", "complete", "sparse"]
WEIGHTS = ["unit", "uniform", "exponential", "normal"]


# Published numbers were measured on these draws. They may change in a new release of numpy or networkx only.
@pytest.mark.parametrize(
    ("keywords", "pinned"),
    [
        ({}, 2147527716),
        ({"sizes": [5, 8], "probability": 0.4}, 4290662688),
        ({"sizes": [8, 9, 10], "graphs": ["regular"]}, 2153576821),
        ({"sizes": [5, 6], "graphs": ["complete"], "weights": ["normal"]}, 919210357),
        ({"sizes": [7, 10], "graphs": ["sparse"], "weights": ["uniform"]}, 1175565190),
        ({"sizes": range(6, 11), "graphs": KINDS, "weights": WEIGHTS}, 2495943354),
    ],
)
def test_further_kinds_leave_published_draws_as_they_were(keywords, pinned):
    assert digest(MaxCut(**keywords)) == pinned


def test_one_published_draw():
    sparse = interaction_graph(MaxCut(sizes=[7], graphs=["sparse"]).sample(np.random.default_rng(3)))
    assert sorted(sparse.edges) == [(0, 1), (0, 2), (0, 3), (0, 4), (1, 5), (1, 6), (2, 4), (4, 6)]
    weighted = interaction_graph(MaxCut(sizes=[5], weights=["uniform"]).sample(np.random.default_rng(3)))
    assert weighted.edges[0, 1]["weight"] == pytest.approx(2 * 0.25837009131068184)
    assert weighted.edges[3, 4]["weight"] == pytest.approx(2 * 0.14636037450624356)


def test_barabasi_albert_graphs_are_connected_and_have_m_edges_a_new_node():
    graphs = draw(300, sizes=[4, 9], graphs=["barabasi_albert"])
    assert all(nx.is_connected(graph) for graph in graphs)
    counts = collections.Counter(graph.number_of_edges() for graph in graphs if len(graph) == 9)
    assert set(counts) == {
        m + m * (9 - m - 1) for m in (1, 2, 3)
    }  # a star of m + 1 nodes, and m for each of the others
    assert all(abs(count - 50) < 27 for count in counts.values())
    hubs = [max(dict(graph.degree).values()) for graph in graphs if len(graph) == 9]
    assert np.mean(hubs) > 4.5


def test_watts_strogatz_graphs_are_rings_rewired_more_or_less():
    graphs = draw(300, sizes=[6, 7, 8, 11], graphs=["watts_strogatz"])
    assert {(len(g), g.number_of_edges() // len(g)) for g in graphs} == {
        (6, 2),
        (7, 2),
        (8, 2),
        (8, 3),
        (11, 2),
        (11, 3),
    }
    assert all(g.number_of_edges() % len(g) == 0 for g in graphs)
    ring = [
        np.mean([min((u - v) % len(g), (v - u) % len(g)) <= g.number_of_edges() / len(g) for u, v in g.edges])
        for g in graphs
        if len(g) == 11
    ]
    assert min(ring) < 0.7
    assert max(ring) > 0.95


@pytest.mark.parametrize(("rows", "columns"), [(1, 2), (2, 2), (3, 2), (3, 3), (4, 3), (5, 4)])
def test_grids(rows, columns):
    (graph,) = draw(1, sizes=[rows * columns], graphs=["grid"])
    assert nx.is_isomorphic(graph, nx.grid_2d_graph(rows, columns))


@pytest.mark.parametrize("size", range(2, 24))
def test_grids_that_are_no_rectangles_have_a_partial_row(size):
    (graph,) = draw(1, sizes=[size], graphs=["grid"])
    width = int(np.sqrt(size))
    whole = nx.grid_2d_graph(-(-size // width), width)
    assert nx.is_isomorphic(graph, whole.subgraph(sorted(whole)[:size]))
    assert nx.is_connected(graph)


@pytest.mark.parametrize("size", [2, 5, 12, 16, 19, 40, 130])
def test_heavy_hex_pieces_are_connected_pieces_of_the_lattice(size):
    graphs = draw(40, sizes=[size], graphs=["heavy_hex"])
    for graph in graphs:
        assert nx.is_connected(graph)
        assert max(dict(graph.degree).values()) <= 3
        assert size > 40 or {len(cycle) for cycle in nx.minimum_cycle_basis(graph)} <= {10, 12}
        # The lattice is the hexagons' with a node on every edge: nodes of three neighbours are never adjacent.
        assert not any(graph.degree(u) == graph.degree(v) == 3 for u, v in graph.edges)
    assert len({frozenset(graph.edges) for graph in graphs}) > (size > 2)
    assert size < 16 or any(nx.cycle_basis(graph) for graph in graphs)


@pytest.mark.parametrize("kind", ["barabasi_albert", "watts_strogatz", "grid", "heavy_hex"])
def test_further_graphs_follow_their_seed_and_carry_weights(kind):
    settings = {"sizes": [9, 12], "graphs": [kind], "weights": ["normal"]}
    first, second, other = (draw(10, seed=seed, **settings) for seed in (1, 1, 2))
    assert all(nx.utils.graphs_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not all(nx.utils.graphs_equal(a, b) for a, b in zip(first, other, strict=True))
    assert len(set(weights_of(first))) == sum(graph.number_of_edges() for graph in first)


def test_signs():
    weights = weights_of(draw(100, graphs=["complete"], weights=["signs"]))
    assert set(weights) == {-1.0, 1.0}
    assert abs(weights.mean()) < 4 / np.sqrt(weights.size)


def test_lognormal_weights_have_a_normal_logarithm():
    logarithms = np.log(weights_of(draw(200, graphs=["complete"], weights=["lognormal"])))
    error = 1 / np.sqrt(logarithms.size)
    for power, (moment, variance) in enumerate([(0, 1), (1, 2), (0, 15)], start=1):
        assert np.mean(logarithms**power) == pytest.approx(moment, abs=4 * error * np.sqrt(variance))


def test_bimodal_weights():
    weights = weights_of(draw(100, graphs=["complete"], weights=["bimodal"]))
    assert set(weights) == {1.0, 10.0}
    assert np.mean(weights == 10.0) == pytest.approx(0.5, abs=2 / np.sqrt(weights.size))


def test_power_law_weights_have_the_stated_tail():
    weights = weights_of(draw(300, graphs=["complete"], weights=["power_law"]))
    assert weights.min() >= 1.0
    for threshold in (1.5, 3.0, 10.0):
        share = threshold**-2.0
        assert np.mean(weights > threshold) == pytest.approx(share, abs=4 * np.sqrt(share / weights.size))


everything = {
    "sizes": [6, 7],
    "graphs": [*KINDS, "barabasi_albert", "watts_strogatz", "grid", "heavy_hex"],
    "weights": [*WEIGHTS, "lognormal", "signs", "power_law", "bimodal"],
    "probability": 0.5,
}


def test_a_seed_fixes_the_samples():
    first, second, other = (draw(20, seed=seed, **everything) for seed in (1, 1, 2))
    assert all(nx.utils.graphs_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not all(nx.utils.graphs_equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("keywords", [{}, everything, {"sizes": np.arange(4, 6), "probability": np.float32(0.5)}])
def test_settings_rebuild_the_family(keywords):
    family = MaxCut(**keywords)
    copy = MaxCut(**json.loads(json.dumps(family.settings)))
    assert copy == family
    assert hash(copy) == hash(family)
    assert copy.settings == family.settings
    samples = [family.sample(np.random.default_rng(3)), copy.sample(np.random.default_rng(3))]
    same(*samples)


def test_settings_are_frozen():
    with pytest.raises(AttributeError):
        MaxCut().sizes = (4,)


@pytest.mark.parametrize(
    ("keywords", "error", "words"),
    [
        ({"sizes": []}, ValueError, "sizes must have at least one entry"),
        ({"sizes": 7}, TypeError, "sizes must be a sequence"),
        ({"sizes": [3]}, ValueError, "sizes must be an integer >= 4"),
        ({"sizes": [4.0]}, ValueError, "sizes must be an integer"),
        ({"sizes": [True], "graphs": ["complete"]}, ValueError, "sizes must be an integer"),
        ({"sizes": [1], "graphs": ["complete"]}, ValueError, "integer >= 2"),
        ({"sizes": [3], "graphs": ["complete", "regular"], "probability": 0.5}, ValueError, "integer >= 4"),
        ({"sizes": [6, 7], "degrees": [3]}, ValueError, r"degrees=\[3\] is needed, but none has 7 nodes"),
        ({"degrees": [0]}, ValueError, r"degrees must be a sequence of integers >= 1, such as \(3, 4\)"),
        ({"graphs": "regular"}, TypeError, r"graphs must be a sequence.*Put it into a list"),
        ({"graphs": ["petersen"]}, ValueError, r"graphs must be one of erdos_renyi, regular, complete.*'petersen'"),
        ({"weights": ["gaussian"]}, ValueError, r"weights must be one of unit, uniform, exponential, normal"),
        ({"weights": [None]}, ValueError, "weights must be one of"),
        ({"weights": ()}, ValueError, "weights must have at least one entry"),
        ({"sizes": [3], "graphs": ["barabasi_albert"]}, ValueError, r"integer >= 4 for graphs=\['barabasi_albert'\]"),
        ({"sizes": [5], "graphs": ["watts_strogatz"]}, ValueError, "integer >= 6"),
        ({"sizes": [1], "graphs": ["grid", "heavy_hex"]}, ValueError, "integer >= 2"),
        ({"probability": 0.0}, ValueError, r"probability must be None.* or a number in \(0, 1\]"),
        ({"probability": 1.5}, ValueError, r"in \(0, 1\]"),
        ({"probability": float("nan")}, ValueError, r"in \(0, 1\]"),
        ({"probability": "half"}, ValueError, r"in \(0, 1\].*'half'"),
        ({"probability": 1e-9}, ValueError, "less than one edge in a hundred"),
    ],
)
def test_bad_settings(keywords, error, words):
    with pytest.raises(error, match=words):
        MaxCut(**keywords)


def test_smallest_sizes():
    assert [len(graph) for graph in draw(2, sizes=[2], graphs=["complete", "erdos_renyi"], probability=0.5)] == [2, 2]


def test_importing_the_module_does_not_import_networkx():
    code = "import sys, qiskit_metainit.problems.maxcut; sys.exit('networkx' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
