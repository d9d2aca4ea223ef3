"""The registry of graphs."""

import asyncio

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore
from tests.server.graphs.conftest import WriteConfig
from tests.support.execution import execute, make_run

from runwire.server.graphs.config import GraphsConfig
from runwire.server.graphs.loading import GraphLoadError
from runwire.server.graphs.registry import Registry
from runwire.server.graphs.state import get_state
from runwire.server.model.errors import GraphNotFound
from runwire.server.model.ids import new_id

GRAPH = """
from dataclasses import dataclass
from typing import Any
from typing_extensions import TypedDict
from pydantic import BaseModel
from langgraph.graph import StateGraph, START
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore

class Point(BaseModel):
    x: int

class State(TypedDict, total=False):
    seen: Any
    point: Point

def node(state):
    return {"seen": type(state.get("point")).__name__, "point": Point(x=1)}

builder = StateGraph(State).add_node("node", node).add_edge(START, "node")
"""


async def test_a_graph_is_called_what_it_calls_itself(write_config: WriteConfig) -> None:
    code = GRAPH + (
        "named = builder.compile(name='Weather forecast')\nnameless = builder.compile()\n"
        "def made():\n    return named\n"
    )
    names = ("named", "nameless", "builder", "made")
    graphs = {f"g_{name}": f"./g.py:{name}" for name in names}
    registry = await load(write_config({"graphs": graphs}, g=code))
    found = [registry.name(graph_id) for graph_id in registry.graph_ids]
    assert found == ["Weather forecast", "g_nameless", "g_builder", "g_made"]


async def load(config: GraphsConfig) -> Registry:
    registry = Registry(config, saver=InMemorySaver(), store=InMemoryStore())
    await registry.load()
    return registry


async def refusal(write_config: WriteConfig, line: str) -> str:
    config = write_config({"graphs": {"chat": "./chat.py:graph"}}, chat=GRAPH + line)
    with pytest.raises(GraphLoadError) as caught:
        await load(config)
    return str(caught.value)


async def test_every_kind_of_graph_is_opened_and_runs(registry: Registry) -> None:
    made = {
        "uncompiled": '"builder"',
        "factory": '"factory"',
        "factory_of_config": '"factory for nobody"',
        "factory_of_runtime": '"factory for threads.create_run"',
        "factory_async": '"async factory"',
        "factory_context": '"context manager"',
        "factory_async_context": '"async context manager"',
    }
    for graph_id, name in made.items():
        executed = await execute(registry, make_run(graph_id, new_id(), input={}))
        assert f'"made_by":{name}' in (executed.outcome.values_json() or ""), graph_id

    for graph_id in ("functional", "functional_sync"):
        executed = await execute(registry, make_run(graph_id, new_id(), input=[1, 2]))
        assert executed.outcome.values_json() == "[2,4]", graph_id


async def test_ids_and_descriptions_are_those_of_the_configuration(registry: Registry) -> None:
    assert registry.graph_ids[:2] == ["echo", "counter"]
    assert registry.description("echo") == "Answers with what it was told."
    assert registry.description("counter") == ""


async def test_an_unknown_graph_is_told_with_those_there_are(registry: Registry) -> None:
    with pytest.raises(GraphNotFound, match=r"'nope'.*echo, counter"):
        registry.description("nope")
    with pytest.raises(GraphNotFound):
        async with registry.open("nope", "threads.read", config={}, checkpointed=False):
            pass


async def test_a_graph_without_a_checkpointer_keeps_nothing(registry: Registry) -> None:
    async with registry.open("echo", "threads.create_run", config={}, checkpointed=False) as graph:
        assert graph.checkpointer is None
        assert graph.store is not None
    async with registry.open("echo", "threads.create_run", config={}, checkpointed=True) as graph:
        assert isinstance(graph.checkpointer, InMemorySaver)


async def test_a_graph_without_a_name_of_its_own_is_called_by_its_id(registry: Registry) -> None:
    for graph_id in ("echo", "uncompiled", "functional", "factory"):
        opened = registry.open(graph_id, "assistants.read", config={}, checkpointed=False)
        async with opened as graph:
            assert graph.name == graph_id


async def test_opening_a_graph_makes_nothing_of_it_again(registry: Registry) -> None:
    for checkpointed in (True, False):
        opened = []
        for _ in range(2):
            async with registry.open(
                "echo", "threads.create_run", config={}, checkpointed=checkpointed
            ) as graph:
                opened.append(graph)
        assert opened[0] is opened[1]


@pytest.mark.parametrize("checkpointer", ["None", "True", "False"])
async def test_any_flag_as_checkpointer_means_the_servers(
    write_config: WriteConfig, checkpointer: str
) -> None:
    code = GRAPH + f"graph = builder.compile(checkpointer={checkpointer})"
    registry = await load(write_config({"graphs": {"chat": "./chat.py:graph"}}, chat=code))
    thread_id = new_id()

    await execute(registry, make_run("chat", thread_id, input={}))

    async with registry.open("chat", "threads.read", config={}, checkpointed=True) as graph:
        assert '"x":1' in (await get_state(graph, thread_id)).values


@pytest.mark.parametrize(
    "line",
    [
        "graph = builder.compile()",
        "graph = builder.compile().with_config({'recursion_limit': 50})",
        "graph = builder",
        "def graph(): return builder.compile().with_config({'recursion_limit': 50})",
    ],
    ids=["compiled", "configured", "builder", "factory"],
)
async def test_the_types_of_a_graphs_state_come_back_from_its_checkpoints(
    write_config: WriteConfig, line: str
) -> None:
    config = write_config({"graphs": {"chat": "./chat.py:graph"}}, chat=GRAPH + line)
    registry = await load(config)
    thread_id = new_id()
    await execute(registry, make_run("chat", thread_id, input={}))

    executed = await execute(registry, make_run("chat", thread_id, input={}))

    assert executed.outcome.values_json() == '{"seen":"Point","point":{"x":1}}'


async def test_a_graph_with_its_own_checkpointer_is_refused(write_config: WriteConfig) -> None:
    line = "graph = builder.compile(checkpointer=InMemorySaver())"

    assert (await refusal(write_config, line)).startswith(
        "graph 'chat': brings its own checkpointer (InMemorySaver)"
    )


async def test_a_graph_with_its_own_store_is_refused(write_config: WriteConfig) -> None:
    line = "graph = builder.compile(store=InMemoryStore())"

    assert (await refusal(write_config, line)).startswith(
        "graph 'chat': brings its own store (InMemoryStore)"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("graph = 5", "./chat.py:graph is an int, and neither a graph nor a function"),
        ("graph = None", "./chat.py:graph is a NoneType, and neither a graph nor a function"),
        ("graph = StateGraph(State)", "cannot be compiled: Graph must have an entrypoint"),
        ("def graph(a, b): ...", "the factory graph wants 'a'"),
    ],
)
async def test_what_is_not_a_graph_is_refused_at_start(
    write_config: WriteConfig, line: str, message: str
) -> None:
    assert message in await refusal(write_config, line)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("def graph(): return 5", "its factory made an int and not a graph"),
        (
            "def graph(): return builder.compile(checkpointer=InMemorySaver())",
            "brings its own checkpointer",
        ),
    ],
)
async def test_what_a_factory_makes_is_checked_when_it_is_made(
    write_config: WriteConfig, line: str, message: str
) -> None:
    config = write_config({"graphs": {"chat": "./chat.py:graph"}}, chat=GRAPH + line)
    registry = await load(config)

    with pytest.raises(GraphLoadError, match=message):
        async with registry.open("chat", "threads.create_run", config={}, checkpointed=True):
            pass


async def test_a_file_may_run_a_loop_of_its_own_while_it_is_imported(
    write_config: WriteConfig,
) -> None:
    code = "import asyncio\nasync def make(): return builder\ngraph = asyncio.run(make())"
    config = write_config({"graphs": {"chat": "./chat.py:graph"}}, chat=GRAPH + code)

    assert (await load(config)).graph_ids == ["chat"]


async def test_graphs_are_opened_from_any_loop(registry: Registry) -> None:
    def elsewhere() -> str | None:
        run = make_run("nested", new_id(), input={})
        return asyncio.run(execute(registry, run)).outcome.values_json()

    both = await asyncio.gather(asyncio.to_thread(elsewhere), asyncio.to_thread(elsewhere))

    assert both == ['{"seen":["before","before","inner"]}'] * 2


async def test_a_registry_that_is_not_loaded_says_so(write_config: WriteConfig) -> None:
    config = write_config({"graphs": {"chat": "./chat.py:graph"}})
    registry = Registry(config, saver=None, store=None)

    with pytest.raises(GraphLoadError, match="is not loaded yet"):
        async with registry.open("chat", "threads.read", config={}, checkpointed=False):
            pass
