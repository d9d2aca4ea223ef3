"""JSON schemas of graphs."""

import json

from tests.server.graphs.conftest import WriteConfig
from tests.server.graphs.test_registry import load

from runwire.server.graphs.registry import Registry
from runwire.server.graphs.schemas import GraphSchemas, describe_schemas


async def described(registry: Registry, graph_id: str) -> GraphSchemas:
    opened = registry.open(graph_id, "assistants.read", config={}, checkpointed=False)
    async with opened as graph:
        return describe_schemas(graph)


def names(schema: str | None) -> set[str]:
    assert schema is not None
    return set(json.loads(schema)["properties"])


HEAD = """
from typing import Any
from dataclasses import dataclass
from typing_extensions import TypedDict
from pydantic import BaseModel
from langgraph.graph import StateGraph, START
class Input(TypedDict):
    question: str
class Output(TypedDict):
    answer: str
class State(Input, Output):
    notes: list[str]
class Socket: ...
class Odd(Input):
    socket: Socket
@dataclass
class Context:
    model: str = "small"
def build(state, **more):
    return StateGraph(state, **more).add_node("n", lambda s: s).add_edge(START, "n")
"""


async def test_a_graph_is_described_by_its_schemas(write_config: WriteConfig) -> None:
    code = HEAD + (
        "graph = build(State, input_schema=Input, output_schema=Output, context_schema=Context)"
    )
    registry = await load(write_config({"graphs": {"g": "./g.py:graph"}}, g=code))

    schemas = await described(registry, "g")

    assert schemas.problems == {}
    assert names(schemas.input) == {"question"}
    assert names(schemas.output) == {"answer"}
    assert names(schemas.state) == {"question", "answer", "notes"}
    assert names(schemas.context) == {"model"}
    assert schemas.config == schemas.context


async def test_what_cannot_be_described_does_not_hide_the_rest(write_config: WriteConfig) -> None:
    code = HEAD + "graph = build(Odd, input_schema=Input)"
    registry = await load(write_config({"graphs": {"g": "./g.py:graph"}}, g=code))

    schemas = await described(registry, "g")

    assert names(schemas.input) == {"question"}
    assert schemas.state is None
    assert set(schemas.problems) == {"state", "output"}
    assert schemas.problems["state"].startswith("state has no JSON schema: Pydantic")
    assert "\n" not in schemas.problems["state"]


async def test_graphs_without_a_context_have_no_schema_of_one(registry: Registry) -> None:
    schemas = await described(registry, "echo")

    assert (schemas.context, schemas.config, schemas.problems) == (None, None, {})


async def test_functions_are_described_by_their_types(registry: Registry) -> None:
    schemas = await described(registry, "functional")

    assert schemas.problems == {}
    expected = {"items": {"type": "integer"}, "type": "array"}
    for schema in (schemas.input, schemas.output, schemas.state):
        assert schema is not None
        assert {key: json.loads(schema).get(key) for key in expected} == expected


async def test_every_graph_can_be_described(registry: Registry) -> None:
    for graph_id in {*registry.graph_ids} - {"fails_in_factory"}:
        schemas = await described(registry, graph_id)
        assert schemas.problems == {}, graph_id
        assert schemas.input is not None
