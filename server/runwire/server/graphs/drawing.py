"""Graphs as nodes and edges, to be shown to people."""

from dataclasses import dataclass
from typing import Any

from runwire.server.graphs.registry import Graph
from runwire.server.graphs.serialize import to_json
from runwire.server.graphs.subgraphs import depth_of
from runwire.server.model.runs import JsonText


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnNode:
    """A node; `kind` is what LangChain calls its type, and `data` what it says of the code."""

    node_id: str
    name: str
    kind: str
    data: JsonText | None
    metadata: JsonText | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnEdge:
    """A way from one node to another, that need not be taken if it is `conditional`."""

    source: str
    target: str
    conditional: bool
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A graph's nodes and edges, and the same as Mermaid text."""

    nodes: list[DrawnNode]
    edges: list[DrawnEdge]
    mermaid: str


def draw(graph: Graph, depth: int | None) -> Drawing:
    """Return a graph with the nodes of its subgraphs in their places, `depth` levels deep; None:
    all levels. May take a while, and runs code of the nodes' authors."""
    deepest = depth_of(graph)
    levels = deepest if depth is None else min(depth, deepest)
    drawn = graph.get_graph(xray=levels or False)
    data = drawn.to_json()
    return Drawing(
        nodes=[
            _node(node, shown.name)
            for node, shown in zip(data["nodes"], drawn.nodes.values(), strict=True)
        ],
        edges=[_edge(edge) for edge in data["edges"]],
        mermaid=drawn.draw_mermaid(),
    )


def _node(node: dict[str, Any], name: str) -> DrawnNode:
    return DrawnNode(
        node_id=str(node["id"]),
        name=name,
        kind=node.get("type", ""),
        data=to_json(node["data"]) if "data" in node else None,
        metadata=to_json(node["metadata"]) if "metadata" in node else None,
    )


def _edge(edge: dict[str, Any]) -> DrawnEdge:
    return DrawnEdge(
        source=str(edge["source"]),
        target=str(edge["target"]),
        conditional=bool(edge.get("conditional")),
        label=str(edge.get("data", "")),
    )
