"""Default assistants keep in step with the configuration."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.engine import Engine, open_engine

from runwire.server.core.assistants import AssistantChange, AssistantDraft
from runwire.server.core.default_assistants import ensure_defaults
from runwire.server.graphs.registry import Registry
from runwire.server.model.assistants import Assistant
from runwire.server.model.errors import AssistantNotFound, DefaultAssistant, GraphNotFound
from runwire.server.model.ids import default_assistant_id
from runwire.server.model.requests import Order
from runwire.server.storage.assistants import AssistantFilter

GRAPHS = """
from typing_extensions import TypedDict
from langgraph.graph import START, StateGraph

class State(TypedDict):
    text: str

builder = StateGraph(State).add_node("say", lambda state: state).add_edge(START, "say")
graph = builder.compile()
"""

Say = Callable[..., None]


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch) -> Say:
    """Let the configuration say something else of every graph from now on."""

    def say(**said: str) -> None:
        for kind, text in said.items():
            monkeypatch.setattr(Registry, kind, lambda self, graph_id, text=text: text)

    return say


async def started(engine: Engine) -> Assistant:
    """Let another server start; return a default assistant."""
    await ensure_defaults(engine.database, engine.registry)
    return await engine.assistants.get("echo")


async def test_every_graph_has_its_default_assistant(engine: Engine) -> None:
    for graph_id in engine.registry.graph_ids:
        assistant = await engine.assistants.get(graph_id)
        assert assistant.assistant_id == default_assistant_id(graph_id)
        assert (assistant.graph_id, assistant.version) == (graph_id, 1)
        assert assistant.metadata == {"created_by": "system"}
        assert await engine.assistants.get(assistant.assistant_id) == assistant
    echo = await engine.assistants.get("echo")
    assert (echo.name, echo.description) == ("echo", "Answers with what it was told.")


async def test_a_start_with_the_same_configuration_changes_nothing(engine: Engine) -> None:
    before = await engine.assistants.get("echo")
    assert await started(engine) == before


async def test_what_the_configuration_says_now_takes_the_place_of_what_it_said(
    engine: Engine, say: Say
) -> None:
    say(description="new words")
    after = await started(engine)
    assert (after.name, after.description, after.version) == ("echo", "new words", 2)
    say(name="Echo", description="newer words")
    after = await started(engine)
    assert (after.name, after.description, after.version) == ("Echo", "newer words", 3)
    assert await started(engine) == after


async def test_what_a_caller_has_changed_stays_whatever_the_configuration_says(
    engine: Engine, say: Say
) -> None:
    own = AssistantChange(description="my words", context={"mine": 1}, metadata={"mine": 2})
    changed = await engine.assistants.update("echo", own)
    assert await started(engine) == changed
    for number in (1, 2):
        say(name=f"name {number}", description=f"words {number}")
        after = await started(engine)
        assert (after.name, after.description) == (f"name {number}", "my words")
        assert (after.context, after.metadata["mine"]) == ({"mine": 1}, 2)


async def test_a_caller_can_go_back_to_what_the_configuration_says(
    engine: Engine, say: Say
) -> None:
    await engine.assistants.update("echo", AssistantChange(description="my words"))
    say(description="words 1")
    assert (await started(engine)).description == "my words"
    await engine.assistants.update("echo", AssistantChange(description="words 1"))
    say(description="words 2")
    assert (await started(engine)).description == "words 2"


async def test_servers_that_start_at_once_make_each_assistant_once(
    engine: Engine, say: Say
) -> None:
    say(description="new words")
    await engine.execute(lambda connection: connection.exec_driver_sql("DELETE FROM assistants"))
    found = await asyncio.gather(*(started(engine) for _ in range(5)))
    assert {assistant.version for assistant in found} == {1}
    say(description="newer words")
    found = await asyncio.gather(*(started(engine) for _ in range(5)))
    assert {assistant.version for assistant in found} == {2}


def configuration(directory: Path, *graph_ids: str) -> Path:
    """Write a configuration with these graphs, and return its path."""
    (directory / "shop.py").write_text(GRAPHS)
    graphs: dict[str, Any] = {
        graph_id: {"path": "./shop.py:graph", "description": f"is {graph_id}"}
        for graph_id in graph_ids
    }
    path = directory / f"{'-'.join(graph_ids)}.json"
    path.write_text(json.dumps({"graphs": graphs}))
    return path


async def test_a_graph_that_is_gone_leaves_its_assistant_as_it_is(
    database_url: str, tmp_path: Path
) -> None:
    both, one = configuration(tmp_path, "cat", "dog"), configuration(tmp_path, "cat")
    async with open_engine(database_url, graphs=both) as engine:
        changed = await engine.assistants.update("dog", AssistantChange(name="Rex"))
    async with open_engine(database_url, graphs=one) as engine:
        assert await engine.assistants.get("dog") == changed
        listed = await engine.assistants.list(
            AssistantFilter(graph_id="dog"), Order(), limit=9, cursor=None
        )
        assert listed.items == [changed]
        with pytest.raises(GraphNotFound):
            await engine.start("dog")
        with pytest.raises(AssistantNotFound):
            await engine.assistants.get("cow")
    async with open_engine(database_url, graphs=both) as engine:
        assert await engine.assistants.get("dog") == changed
        assert (await engine.run("dog", {"text": "woof"})).output == '{"text":"woof"}'


async def test_servers_with_different_graphs_know_each_other_s_assistants(
    postgres_url: str, tmp_path: Path
) -> None:
    cats, dogs = configuration(tmp_path, "cat"), configuration(tmp_path, "dog")
    async with (
        open_engine(postgres_url, graphs=cats) as one,
        open_engine(postgres_url, graphs=dogs) as other,
    ):
        for graph_id in ("cat", "dog"):
            found = await one.assistants.get(graph_id)
            assert found.description == f"is {graph_id}"
            assert await other.assistants.get(graph_id) == found
        changed = await one.assistants.update("dog", AssistantChange(name="Rex"))
        assert await other.assistants.get("dog") == changed


async def test_an_assistant_that_a_caller_made_under_a_default_one_s_id_becomes_that(
    database_url: str, tmp_path: Path
) -> None:
    both, one = configuration(tmp_path, "cat", "dog"), configuration(tmp_path, "cat")
    draft = AssistantDraft(
        graph_id="cat", assistant_id=default_assistant_id("dog"), name="mine", context={"c": 1}
    )
    async with open_engine(database_url, graphs=one) as engine:
        await engine.assistants.create(draft, None)
    async with open_engine(database_url, graphs=both) as engine:
        found = await engine.assistants.get("dog")
        assert (found.graph_id, found.name, found.version) == ("dog", "mine", 2)
        with pytest.raises(DefaultAssistant):
            await engine.assistants.update("dog", AssistantChange(graph_id="cat"))
