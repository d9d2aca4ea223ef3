"""What the server tells of graphs, as the dicts that langgraph_sdk's users know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from runwire.client.convert import value_of

if TYPE_CHECKING:
    from runwire.client.schema import GraphSchema
    from runwire.v1 import assistants_pb2

_SCHEMAS = ("input_schema", "output_schema", "state_schema", "config_schema", "context_schema")


def graph_of(graph: assistants_pb2.GetAssistantGraphResponse) -> dict[str, Any]:
    """Return a graph as nodes and edges."""
    return {
        "nodes": [_node_of(node) for node in graph.nodes],
        "edges": [_edge_of(edge) for edge in graph.edges],
        "mermaid": graph.mermaid,
    }


def _node_of(node: assistants_pb2.GraphNode) -> dict[str, Any]:
    result: dict[str, Any] = {"id": node.node_id}
    if node.type:
        result["type"] = node.type
    for field in ("data", "metadata"):
        if node.HasField(field):
            result[field] = value_of(getattr(node, field))
    return result


def _edge_of(edge: assistants_pb2.GraphEdge) -> dict[str, Any]:
    result: dict[str, Any] = {"source": edge.source, "target": edge.target}
    if edge.label:
        result["data"] = edge.label
    if edge.conditional:
        result["conditional"] = True
    return result


def schemas_of(schemas: assistants_pb2.GraphSchemas, graph_id: str) -> GraphSchema:
    """Return what a graph takes and gives."""
    found = {name: value_of(getattr(schemas, name)) for name in _SCHEMAS}
    return cast("GraphSchema", {"graph_id": graph_id, **found, "errors": dict(schemas.errors)})
