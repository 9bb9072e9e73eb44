"""Weighted graphs, read from networkx, rustworkx, edges or files."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import Any

import rustworkx as rx


@dataclass(frozen=True, eq=False)
class WeightedGraph:
    """An undirected graph without self-loops, its edges merged and its numbers checked."""

    nodes: tuple[Hashable, ...]
    """Node labels in the order of the source."""
    edges: Mapping[tuple[int, int], float]
    """Weight of each pair of node positions, the smaller one first."""
    biases: tuple[float, ...]
    """Bias of each node."""


def read_graph(graph: Any, *, weight: str = "weight", bias: str = "bias") -> WeightedGraph:
    """Return a networkx ``Graph``/``MultiGraph`` or a rustworkx ``PyGraph`` as a weighted graph.

    Args:
        graph: the graph; the weights of parallel edges add up. In rustworkx an edge payload is a number, a mapping
            or None (1.0), and the node payloads (or their "label", "name" or "id") are the labels if they are unique
            and hashable, else the node indices are.
        weight: the edge attribute that holds the weight; 1.0 where it is missing.
        bias: the node attribute that holds the bias; 0.0 where it is missing.

    Raises:
        TypeError: if it is no graph, or a weight or bias is not a real number.
        ValueError: if the graph is directed or empty, has a self-loop or a non-finite number, or has nowhere the
            attribute asked for.
    """
    import networkx as nx  # here, because it takes 0.1 s that most programs can save

    if isinstance(graph, rx.PyDiGraph) or (isinstance(graph, nx.Graph) and graph.is_directed()):
        raise ValueError(
            f"An undirected graph is needed, because a cut has no direction, but a {type(graph).__name__} came. "
            "Give graph.to_undirected()."
        )
    if isinstance(graph, nx.Graph):
        return _from_networkx(graph, list(graph), weight, bias)
    if not isinstance(graph, rx.PyGraph):
        raise TypeError(
            f"A networkx Graph or MultiGraph or a rustworkx PyGraph is needed, but a {type(graph).__name__} came. "
            "Pairs of nodes go into from_edges, a path into from_file."
        )
    payloads, indices = graph.nodes(), list(graph.node_indices())
    position = {index: i for i, index in enumerate(indices)}  # indices have holes once a node was removed
    edges = [(position[u], position[v], payload) for u, v, payload in graph.weighted_edge_list()]
    return _from_payloads(_labels(payloads, indices), payloads, edges, weight, bias)


def read_edges(edges: Iterable[Any]) -> WeightedGraph:
    """Return ``(node, node)`` and ``(node, node, weight)`` tuples as a weighted graph.

    Args:
        edges: the edges; the weights of repeated ones add up, and nodes are ordered by first appearance.

    Raises:
        TypeError: if an edge is no such tuple, a label cannot be hashed or a weight is not a real number.
        ValueError: if there is no edge, a self-loop or a non-finite weight.
    """
    if isinstance(edges, (Mapping, str, bytes)) or not isinstance(edges, Iterable):
        raise TypeError(
            f"An iterable of (node, node) or (node, node, weight) tuples is needed, but a {type(edges).__name__} came. "
            "Write a dict of weights as [(u, v, w) for (u, v), w in weights.items()]."
        )
    return _from_rows(_checked_row(number, edge) for number, edge in enumerate(edges))


def read_file(path: str | PathLike[str]) -> WeightedGraph:
    """Return the graph in an edge list, a JSON node-link file or a GML file, as its suffix says.

    An edge list (.txt, .edgelist, .edges, .csv, .el) has one edge ``u v`` or ``u v weight`` or one node ``u`` a line,
    split by blanks or a comma, and ``#`` comments; its labels are strings unless all are integers.

    Raises:
        ValueError: if the file cannot be read, is of no known kind, or holds no valid undirected graph.
    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(
            f"A file ending in one of {', '.join(_READERS)} is needed, because the suffix says how to read it, "
            f"but {str(path)!r} came. Rename it to what it holds."
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(
            f"A readable graph file is needed, but {str(path)!r} gives: {error.strerror}. Check the path."
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(
            f"A UTF-8 text file is needed, but {str(path)!r} is binary. Export the graph as text."
        ) from error
    try:
        if "\0" in text:
            raise ValueError("A text file is needed, but it is binary. Export the graph as text.")
        return reader(text)
    except (TypeError, ValueError) as error:
        raise ValueError(f"In {str(path)!r}: {error}") from error


def graph_files(folder: str | PathLike[str]) -> list[Path]:
    """Return the files of a folder whose suffix ``read_file`` knows, sorted by name; hidden ones are passed over.

    Raises:
        ValueError: if the folder cannot be read or has no such file.
    """
    folder = Path(folder)
    try:
        files = sorted(folder.iterdir(), key=lambda file: file.name)
    except OSError as error:
        raise ValueError(
            f"A folder of graph files is needed, but {str(folder)!r} gives: {error.strerror}. Check the path."
        ) from error
    known = [file for file in files if file.suffix.lower() in _READERS and file.name[0] != "." and file.is_file()]
    if not known:
        raise ValueError(
            f"A folder with graph files is needed, ending in one of {', '.join(_READERS)}, but none of the "
            f"{len(files)} entries of {str(folder)!r} is one. Check the path, or rename the files to what they hold."
        )
    return known


def _collect(
    nodes: Sequence[Hashable], edges: Iterable[tuple[int, int, object]], biases: Iterable[object]
) -> WeightedGraph:
    """Merge and check edges given by node positions."""
    if not nodes:
        raise ValueError("A graph with an edge or a bias is needed, but it is empty: it has no nodes. Add some.")
    merged: dict[tuple[int, int], float] = {}
    for i, j, value in edges:
        if i == j:
            raise ValueError(
                f"A graph without self-loops is needed, but node {nodes[i]!r} has one. Remove it, it can never be cut "
                "(networkx: graph.remove_edges_from(list(networkx.selfloop_edges(graph))))."
            )
        pair = (i, j) if i < j else (j, i)
        merged[pair] = merged.get(pair, 0.0) + _number(value, f"The weight of edge ({nodes[i]!r}, {nodes[j]!r})")
    checked = (_number(value, f"The bias of node {node!r}") for node, value in zip(nodes, biases, strict=True))
    return WeightedGraph(tuple(nodes), merged, tuple(checked))


def _number(value: object, what: str) -> float:
    came = f"{what} must be a finite real number, but {value!r} ({type(value).__name__}) came."
    if not isinstance(value, Real):
        raise TypeError(f"{came} Convert it with float(...), or remove it if it is unknown.")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{came} Replace it, or remove it if it is unknown.")
    return number


def _from_networkx(graph: Any, labels: Sequence[Hashable], weight: str, bias: str) -> WeightedGraph:
    position = {node: i for i, node in enumerate(graph)}
    edges = [(position[u], position[v], data) for u, v, data in graph.edges(data=True)]
    return _from_payloads(labels, [data for _, data in graph.nodes(data=True)], edges, weight, bias)


def _from_payloads(
    labels: Sequence[Hashable], payloads: Sequence[Any], edges: Sequence[tuple[int, int, Any]], weight: str, bias: str
) -> WeightedGraph:
    # A misspelt attribute would silently make every weight 1 and every bias 0; the usual names may well be absent.
    for name, usual, what, values in (
        (weight, "weight", "edge", [payload for _, _, payload in edges]),
        (bias, "bias", "node", payloads),
    ):
        mappings = [value for value in values if isinstance(value, Mapping)]
        if name != usual and mappings and not any(name in value for value in mappings):
            known = sorted({str(key) for value in mappings for key in value})
            raise ValueError(
                f"The {what} attribute {name!r} is needed, but no {what} has it; they have {known or 'none'}. "
                f"Check its name, or leave out {usual}={name!r}."
            )
    weighted = [(i, j, _entry(payload, weight, 1.0)) for i, j, payload in edges]
    return _collect(labels, weighted, [p.get(bias, 0.0) if isinstance(p, Mapping) else 0.0 for p in payloads])


def _entry(payload: Any, name: str, default: float) -> object:
    if isinstance(payload, Mapping):
        return payload.get(name, default)
    return default if payload is None else payload


def _labels(payloads: Iterable[Any], indices: Sequence[Hashable]) -> Sequence[Hashable]:
    """Return the labels that node payloads carry if those tell the nodes apart, else the indices."""
    labels = [
        next((payload[key] for key in ("label", "name", "id") if key in payload), None)
        if isinstance(payload, Mapping)
        else payload
        for payload in payloads
    ]
    try:
        return labels if len(set(labels)) == len(labels) and None not in labels else indices
    except TypeError:  # unhashable
        return indices


def _checked_row(number: int, edge: Any) -> tuple[Any, ...]:
    if not isinstance(edge, (tuple, list)) or len(edge) not in (2, 3):
        raise TypeError(
            f"Each edge must be a (node, node) or (node, node, weight) tuple, but edge number {number} is {edge!r}. "
            "Rows of an array become tuples with array.tolist(); a graph object goes into from_graph."
        )
    try:
        hash((edge[0], edge[1]))
    except TypeError as error:
        raise TypeError(
            f"Node labels must be hashable, but edge number {number} is {edge!r}. Use strings, numbers or tuples."
        ) from error
    return tuple(edge)


def _from_rows(rows: Iterable[tuple[Any, ...]]) -> WeightedGraph:
    """Build from rows (u,), (u, v) and (u, v, weight)."""
    position: dict[Hashable, int] = {}
    edges: list[tuple[int, int, object]] = []
    for row in rows:
        ends = [position.setdefault(node, len(position)) for node in row[:2]]
        if len(ends) == 2:
            edges.append((ends[0], ends[1], row[2] if len(row) == 3 else 1.0))
    return _collect(list(position), edges, [0.0] * len(position))


def _from_edge_list(text: str) -> WeightedGraph:
    rows: list[tuple[int, list[str], list[float]]] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.split("#", 1)[0].strip()
        if not line:
            continue
        tokens = re.split(r"\s*,\s*|\s+", line)
        try:
            if len(tokens) > 3 or "" in tokens:
                raise ValueError
            rows.append((number, tokens[:2], [float(token) for token in tokens[2:]]))
        except ValueError as error:
            raise ValueError(
                f"line {number} must be 'u v', 'u v weight' or one node 'u', but is {line!r}. "
                "Start headers and comments with #; networkx.write_weighted_edgelist writes this form."
            ) from error
    _refuse_header(rows)
    integers = all(_is_integer(label) for _, ends, _ in rows for label in ends)
    return _from_rows((*(int(label) if integers else label for label in ends), *weight) for _, ends, weight in rows)


def _refuse_header(rows: Sequence[tuple[int, list[str], list[float]]]) -> None:
    """Refuse 'source target' above integer edges and the 'nodes edges' of G-set files: both would pass as an edge."""
    if len(rows) < 2:
        return
    (number, head, weight), body = rows[0], rows[1:]
    if len(head) < 2 or weight or not all(_is_integer(label) for _, ends, _ in body for label in ends):
        return
    words = not any(_is_integer(label) for label in head)
    counts = all(_is_integer(label) for label in head) and int(head[1]) == len(body) and all(w for _, _, w in body)
    if words or (counts and all(0 < int(label) <= int(head[0]) for _, ends, _ in body for label in ends)):
        raise ValueError(
            f"line {number} must be an edge, but {' '.join(head)!r} looks like a header. Start it with # to skip it."
        )


def _is_integer(token: str) -> bool:
    # "01" and "1" are two labels, so only the canonical form counts.
    return re.fullmatch(r"0|-?[1-9][0-9]*", token) is not None


def _from_json(text: str) -> WeightedGraph:
    import networkx as nx

    try:
        data = json.loads(text)
        edges = "links" if "links" in data else "edges"
        graph = nx.node_link_graph(data, edges=edges)
        complete = len(graph) == len(data["nodes"])
    except Exception as error:  # whatever a foreign parser trips over, the reader of the message needs the same advice
        raise ValueError(
            "A JSON node-link graph is needed, {'nodes': [{'id': ...}], 'links' or 'edges': [{'source': ..., "
            f"'target': ...}}]}}, but reading it gives {type(error).__name__}: {error}. "
            "Write it with json.dumps(networkx.node_link_data(graph))."
        ) from error
    if not complete:  # networkx would add the ends of a link as new nodes
        raise ValueError(
            "A node-link graph whose links join the ids in 'nodes', each listed once, is needed, but some id is "
            "repeated or missing there. Check 'source' and 'target' against the ids."
        )
    return read_graph(graph)


def _from_gml(text: str) -> WeightedGraph:
    import networkx as nx

    try:
        graph = nx.parse_gml(text, label=None)
    except Exception as error:  # as above
        raise ValueError(
            f"A GML graph is needed, but reading it gives {type(error).__name__}: {error}. "
            "Write it with networkx.write_gml(graph, path)."
        ) from error
    if graph.is_directed():
        return read_graph(graph)  # for its error
    # GML ids are mere numbers: the label is what the user calls a node.
    labels = _labels([data.get("label") for _, data in graph.nodes(data=True)], list(graph))
    return _from_networkx(graph, labels, "weight", "bias")


_READERS: dict[str, Callable[[str], WeightedGraph]] = {
    **dict.fromkeys((".txt", ".edgelist", ".edges", ".csv", ".el"), _from_edge_list),
    ".json": _from_json,
    ".gml": _from_gml,
}
