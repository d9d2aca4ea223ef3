"""JSON schemas of what a graph takes, keeps and gives."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from langgraph.channels.base import BaseChannel
from langgraph.graph.state import CompiledStateGraph
from pydantic import TypeAdapter, create_model

from runwire.server.graphs.failures import is_shown, shown_message
from runwire.server.graphs.registry import Graph
from runwire.server.graphs.serialize import to_json
from runwire.server.graphs.subgraphs import SEPARATOR, find_subgraphs
from runwire.server.model.runs import JsonText


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSchemas:
    """JSON schemas (draft 2020-12) as JSON text; None where there is nothing to describe.

    `config` describes `config.configurable`. `problems` says, by the field's name, why a schema
    could not be made.
    """

    input: JsonText | None
    output: JsonText | None
    state: JsonText | None
    config: JsonText | None
    context: JsonText | None
    problems: dict[str, str]


def describe_schemas(graph: Graph) -> GraphSchemas:
    """Return the schemas of `graph`. One that cannot be made does not keep back the others."""
    problems: dict[str, str] = {}

    def made(name: str, make: Callable[[], dict[str, Any] | None]) -> JsonText | None:
        try:
            schema = make()
        except Exception as error:  # noqa: BLE001 - pydantic runs the hooks of the user's types
            problems[name] = _problem(name, error)
            return None
        return None if schema is None else to_json(schema)

    return GraphSchemas(
        input=made("input", graph.get_input_jsonschema),
        output=made("output", graph.get_output_jsonschema),
        state=made("state", lambda: _state_schema(graph)),
        # What LangGraph calls context today was configurable before, and still is taken as such.
        config=made("config", graph.get_context_jsonschema),
        context=made("context", graph.get_context_jsonschema),
        problems=problems,
    )


def describe_subgraphs(graph: Graph, namespace: str, *, recurse: bool) -> dict[str, GraphSchemas]:
    """Return the schemas of the graphs within a graph by their namespaces: of those that nodes of
    it are or call, or of the one of a `namespace`; `recurse`: also of those within these."""
    return {
        place: describe_schemas(subgraph)
        for place, subgraph in find_subgraphs(graph)
        if _is_wanted(place, namespace, recurse=recurse)
    }


def _is_wanted(place: str, namespace: str, *, recurse: bool) -> bool:
    if not namespace:
        return recurse or SEPARATOR not in place
    return place == namespace or (recurse and place.startswith(namespace + SEPARATOR))


def _problem(name: str, error: Exception) -> str:
    kind = type(error).__name__
    said = shown_message(error).strip().partition("\n")[0] if is_shown(error) else ""
    return f"{name} has no JSON schema: {kind}" + (f": {said}" if said else "")


def _state_schema(graph: Graph) -> dict[str, Any]:
    if isinstance(graph, CompiledStateGraph):
        return TypeAdapter[Any](graph.builder.state_schema).json_schema()
    if isinstance(graph.stream_channels_asis, str):
        return graph.get_output_jsonschema()
    fields: dict[str, Any] = {
        name: (channel.ValueType, None)
        for name in graph.stream_channels_list
        if isinstance(channel := graph.channels[name], BaseChannel)
    }
    name = graph.get_name("State")
    return TypeAdapter[Any](create_model(name, **fields)).json_schema()
