"""JSON schemas of graphs."""

import json
import sys

import pytest
from tests.server.graphs.conftest import WriteConfig
from tests.server.graphs.test_registry import load

from runwire.server.graphs.registry import Registry
from runwire.server.graphs.schemas import GraphSchemas, describe_schemas, describe_subgraphs

KINDS = {"input", "output", "state", "config", "context"}


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
@dataclass
class OddContext:
    socket: Socket
class Secret(Exception): ...
class Raises:
    @classmethod
    def __get_pydantic_core_schema__(cls, source, handler):
        raise Secret("secret")
class Hostile(TypedDict):
    raises: Raises
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


@pytest.mark.parametrize(
    ("graph", "problems"),
    [
        ("build(State, input_schema=Odd)", {"input"}),
        ("build(State, output_schema=Odd)", {"output"}),
        ("build(Odd, input_schema=Input, output_schema=Input)", {"state"}),
        ("build(State, context_schema=OddContext)", {"context", "config"}),
        ("build(State, input_schema=Hostile)", {"input"}),
        ("build(Odd, context_schema=OddContext)", {*KINDS}),
    ],
)
async def test_each_schema_that_cannot_be_made_leaves_the_others(
    write_config: WriteConfig, graph: str, problems: set[str]
) -> None:
    code = HEAD + f"graph = {graph}"
    registry = await load(write_config({"graphs": {"g": "./g.py:graph"}}, g=code))

    schemas = await described(registry, "g")

    assert set(schemas.problems) == problems
    for kind in KINDS - {"context", "config"}:
        assert (getattr(schemas, kind) is None) == (kind in problems), kind
    for name, problem in schemas.problems.items():
        assert problem.startswith(f"{name} has no JSON schema: ")
        assert "secret" not in problem


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="pydantic takes typing.TypedDict there")
async def test_a_typed_dict_that_pydantic_does_not_take_hides_nothing_else(
    write_config: WriteConfig,
) -> None:
    code = HEAD + (
        "import typing\nclass Own(typing.TypedDict):\n    model: str\n"
        "graph = build(State, context_schema=Own)"
    )
    registry = await load(write_config({"graphs": {"g": "./g.py:graph"}}, g=code))

    schemas = await described(registry, "g")

    assert set(schemas.problems) == {"context", "config"}
    assert "typing_extensions.TypedDict" in schemas.problems["context"]
    assert names(schemas.input) == names(schemas.state) == {"question", "answer", "notes"}


async def test_subgraphs_are_described_by_where_they_are(write_config: WriteConfig) -> None:
    code = HEAD + (
        "deep = build(Input).compile()\n"
        "middle = StateGraph(State).add_node('n', deep).add_edge(START, 'n').compile()\n"
        "graph = (StateGraph(State).add_node('n', middle).add_node('no', deep)"
        ".add_node('odd', build(Odd).compile()).add_edge(START, 'n'))"
    )
    registry = await load(write_config({"graphs": {"g": "./g.py:graph"}}, g=code))

    async def found(namespace: str, *, recurse: bool) -> dict[str, GraphSchemas]:
        opened = registry.open("g", "assistants.read", config={}, checkpointed=False)
        async with opened as graph:
            return describe_subgraphs(graph, namespace, recurse=recurse)

    all_of_them = await found("", recurse=True)
    assert list(all_of_them) == ["n", "n|n", "no", "odd"]
    assert names(all_of_them["n"].state) == {"question", "answer", "notes"}
    assert names(all_of_them["n|n"].state) == names(all_of_them["no"].state) == {"question"}
    assert set(all_of_them["odd"].problems) == {"input", "output", "state"}
    assert list(await found("", recurse=False)) == ["n", "no", "odd"]
    assert list(await found("n", recurse=False)) == ["n"]
    assert list(await found("n", recurse=True)) == ["n", "n|n"]
    assert list(await found("n|n", recurse=False)) == ["n|n"]
    assert await found("n|", recurse=True) == await found("nothing", recurse=True) == {}


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
