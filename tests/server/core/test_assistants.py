"""What can be done with assistants: graphs with configuration, versioned."""

import asyncio
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.engine import Engine, open_engine, until

from runwire.server.core.assistants import AssistantChange, AssistantDraft, merged, resolve
from runwire.server.graphs.drawing import Drawing, draw
from runwire.server.model.errors import (
    AssistantExists,
    AssistantInUse,
    AssistantNotFound,
    AssistantVersionNotFound,
    DefaultAssistant,
    GraphNotFound,
    PayloadTooLarge,
    RequestIdReused,
)
from runwire.server.model.ids import default_assistant_id, new_id
from runwire.server.model.requests import Order, RequestKey
from runwire.server.model.runs import RunConfig, RunState
from runwire.server.storage.assistants import AssistantFilter

DRAFT = AssistantDraft(graph_id="counter")


async def versions(engine: Engine, assistant_id: str) -> int:
    return (await engine.assistants.get(assistant_id)).version


async def test_an_assistant_is_created_once_under_its_id(engine: Engine) -> None:
    assistant_id = new_id()
    draft = AssistantDraft(
        graph_id="counter",
        assistant_id=assistant_id,
        name="n",
        description="d",
        config=RunConfig(tags=("t",)),
        context={"step": 2},
        metadata={"m": 1},
    )
    assistant, existed = await engine.assistants.create(draft, None)
    assert not existed
    assert await engine.assistants.get(assistant_id) == assistant
    with pytest.raises(AssistantExists):
        await engine.assistants.create(draft, None)
    other = AssistantDraft(graph_id="echo", assistant_id=assistant_id, return_existing=True)
    assert await engine.assistants.create(other, None) == (assistant, True)


async def test_an_assistant_without_a_name_has_its_graph_s(engine: Engine) -> None:
    assistant, _ = await engine.assistants.create(DRAFT, None)
    assert (assistant.name, assistant.version) == ("counter", 1)


async def test_an_assistant_of_no_graph_is_refused(engine: Engine) -> None:
    with pytest.raises(GraphNotFound):
        await engine.assistants.create(AssistantDraft(graph_id="nonsense"), None)
    assistant, _ = await engine.assistants.create(DRAFT, None)
    change = AssistantChange(graph_id="nonsense")
    with pytest.raises(GraphNotFound):
        await engine.assistants.update(assistant.assistant_id, change)


async def test_a_repeated_request_gives_the_same_assistant(engine: Engine) -> None:
    key = RequestKey("CreateAssistant", "id", b"hash")
    answers = await asyncio.gather(*(engine.assistants.create(DRAFT, key) for _ in range(5)))
    assert len({assistant.assistant_id for assistant, _ in answers}) == 1
    assert [existed for _, existed in answers].count(False) == 1
    with pytest.raises(RequestIdReused):
        await engine.assistants.create(DRAFT, RequestKey("CreateAssistant", "id", b"x"))


async def test_metadata_do_not_grow_beyond_what_can_be_given_at_once(engine: Engine) -> None:
    large = {"a": "x" * 40_000}
    draft = AssistantDraft(graph_id="echo", metadata=large)
    assistant, _ = await engine.assistants.create(draft, None)
    change = AssistantChange(metadata={"b": large})
    with pytest.raises(PayloadTooLarge):
        await engine.assistants.update(assistant.assistant_id, change)
    assert await engine.assistants.get(assistant.assistant_id) == assistant


async def test_a_change_makes_a_version_and_none_makes_none(engine: Engine) -> None:
    assistant, _ = await engine.assistants.create(
        AssistantDraft(graph_id="counter", metadata={"a": 1, "b": 1}, context={"step": 1}), None
    )
    change = AssistantChange(
        graph_id="echo",
        name="new",
        description="",
        config=RunConfig(recursion_limit=3),
        context={},
        metadata={"a": None, "c": 2},
    )
    changed = await engine.assistants.update(assistant.assistant_id, change)
    assert changed == await engine.assistants.get(assistant.assistant_id)
    assert (changed.version, changed.graph_id, changed.name) == (2, "echo", "new")
    assert (changed.context, changed.metadata) == ({}, {"b": 1, "c": 2})
    assert changed.create_time == assistant.create_time < changed.update_time
    for nothing in (change, AssistantChange()):
        assert await engine.assistants.update(assistant.assistant_id, nothing) == changed


@pytest.mark.parametrize(
    "change",
    [
        AssistantChange(graph_id="counter"),
        AssistantChange(name="n"),
        AssistantChange(description="d"),
        AssistantChange(config=RunConfig(tags=("t",), recursion_limit=7, configurable={"k": 1})),
        AssistantChange(context={"b": {"y": 2, "x": 1}, "a": [1.5, None]}),
        AssistantChange(metadata={"m": {"x": 1}}),
        AssistantChange(metadata={"gone": None}),
        AssistantChange(metadata={}),
    ],
)
async def test_what_says_what_is_so_already_makes_no_version(
    engine: Engine, change: AssistantChange
) -> None:
    draft = AssistantDraft(
        graph_id="counter",
        name="n",
        description="d",
        config=RunConfig(tags=("t",), recursion_limit=7, configurable={"k": 1}),
        context={"a": [1.5, None], "b": {"x": 1, "y": 2}},
        metadata={"m": {"x": 1}},
    )
    assistant, _ = await engine.assistants.create(draft, None)
    assert await engine.assistants.update(assistant.assistant_id, change) == assistant


@pytest.mark.parametrize(
    "change",
    [
        AssistantChange(config=RunConfig(configurable={"k": True})),
        AssistantChange(context={"k": True}),
        AssistantChange(metadata={"k": True}),
    ],
)
async def test_true_is_not_1_when_a_change_is_looked_at(
    engine: Engine, change: AssistantChange
) -> None:
    draft = AssistantDraft(
        graph_id="counter",
        config=RunConfig(configurable={"k": 1}),
        context={"k": 1},
        metadata={"k": 1},
    )
    assistant, _ = await engine.assistants.create(draft, None)
    assert (await engine.assistants.update(assistant.assistant_id, change)).version == 2


async def test_a_version_comes_back_in_every_part_and_what_follows_builds_on_it(
    engine: Engine,
) -> None:
    draft = AssistantDraft(
        graph_id="counter",
        name="first",
        description="one",
        config=RunConfig(tags=("t",)),
        context={"step": 3},
        metadata={"m": 1},
    )
    first, _ = await engine.assistants.create(draft, None)
    assistant_id = first.assistant_id
    change = AssistantChange(
        graph_id="echo",
        name="second",
        description="two",
        config=RunConfig(recursion_limit=9),
        context={},
        metadata={"m": None, "n": 2},
    )
    second = await engine.assistants.update(assistant_id, change)

    restored = await engine.assistants.set_latest(assistant_id, 1)

    assert restored == replace(first, update_time=restored.update_time)
    assert first.update_time < second.update_time < restored.update_time
    assert await engine.assistants.get(assistant_id) == restored
    assert (await engine.run(assistant_id)).output == '{"count":3,"log":["?"]}'
    same = await engine.assistants.update(assistant_id, AssistantChange(name="first"))
    assert same == restored
    third = await engine.assistants.update(assistant_id, AssistantChange(name="third"))
    assert (third.version, third.graph_id, third.context) == (3, "counter", {"step": 3})
    page = await engine.assistants.list_versions(assistant_id, {}, limit=9, cursor=None)
    assert [item.version for item in page.items] == [3, 2, 1]
    pinned = await engine.run(assistant_id, {"text": "x"}, assistant_version=2)
    assert (pinned.graph_id, pinned.assistant_version) == ("echo", 2)


async def test_a_run_can_ask_for_a_version_that_is_newer_than_the_latest(engine: Engine) -> None:
    assistant, _ = await engine.assistants.create(
        AssistantDraft(graph_id="counter", context={"step": 1}), None
    )
    assistant_id = assistant.assistant_id
    await engine.assistants.update(assistant_id, AssistantChange(context={"step": 2}))
    await engine.assistants.set_latest(assistant_id, 1)
    for version, count in ((None, 1), (1, 1), (2, 2)):
        run = await engine.run(assistant_id, assistant_version=version)
        assert run.output == f'{{"count":{count},"log":["?"]}}'


async def test_a_version_that_cannot_be_the_latest_is_refused(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assistant, _ = await engine.assistants.create(DRAFT, None)
    await engine.assistants.update(assistant.assistant_id, AssistantChange(graph_id="echo"))
    with pytest.raises(AssistantVersionNotFound):
        await engine.assistants.set_latest(assistant.assistant_id, 3)
    left = [graph_id for graph_id in engine.registry.graph_ids if graph_id != "counter"]
    monkeypatch.setattr(type(engine.registry), "graph_ids", property(lambda registry: left))
    with pytest.raises(GraphNotFound):
        await engine.assistants.set_latest(assistant.assistant_id, 1)
    assert (await engine.assistants.set_latest(assistant.assistant_id, 2)).version == 2


async def test_changes_at_once_make_a_version_each(engine: Engine) -> None:
    assistant, _ = await engine.assistants.create(DRAFT, None)
    assistant_id = assistant.assistant_id
    changed = await asyncio.gather(
        *(
            engine.assistants.update(assistant_id, AssistantChange(metadata={f"k{number}": number}))
            for number in range(8)
        )
    )
    assert sorted(item.version for item in changed) == list(range(2, 10))
    newest = await engine.assistants.get(assistant_id)
    assert newest.metadata == {f"k{number}": number for number in range(8)}


async def test_a_default_assistant_is_changed_by_its_graph_s_id_but_stays_where_it_is(
    engine: Engine,
) -> None:
    changed = await engine.assistants.update("counter", AssistantChange(context={"step": 5}))
    assert (changed.version, changed.context) == (2, {"step": 5})
    assert (await engine.run("counter")).output == '{"count":5,"log":["?"]}'
    for name in ("counter", default_assistant_id("counter")):
        with pytest.raises(DefaultAssistant):
            await engine.assistants.update(name, AssistantChange(graph_id="echo"))
        with pytest.raises(DefaultAssistant):
            await engine.assistants.delete(name)


async def test_what_is_not_there_is_not_found(engine: Engine) -> None:
    for name in ("nonsense", new_id()):
        for call in (
            engine.assistants.get(name),
            engine.assistants.update(name, AssistantChange()),
            engine.assistants.delete(name),
            engine.assistants.schemas(name),
            engine.assistants.drawing(name, 1),
            engine.assistants.subgraphs(name, "", recurse=True),
            engine.assistants.list_versions(name, {}, limit=1, cursor=None),
            engine.assistants.set_latest(name, 1),
        ):
            with pytest.raises(AssistantNotFound):
                await call


async def test_an_assistant_is_deleted_once_its_runs_have_ended(
    engine: Engine, tmp_path: Path
) -> None:
    draft = AssistantDraft(graph_id="gate")
    assistant_id = (await engine.assistants.create(draft, None))[0].assistant_id
    run = await engine.start(assistant_id, {"directory": str(tmp_path)})
    await until((tmp_path / "started").exists)
    with pytest.raises(AssistantInUse):
        await engine.assistants.delete(assistant_id)
    (tmp_path / "open").touch()
    await engine.ended(run)
    await engine.assistants.delete(assistant_id)
    with pytest.raises(AssistantNotFound):
        await engine.assistants.get(assistant_id)
    assert (await engine.row(run)).assistant_id == assistant_id


async def test_assistants_are_listed_in_pages_that_join(engine: Engine) -> None:
    listed, cursor = [], None
    while True:
        page = await engine.assistants.list(AssistantFilter(), Order(), limit=7, cursor=cursor)
        listed, cursor = listed + page.items, page.next
        if cursor is None:
            break
    assert sorted(assistant.graph_id for assistant in listed) == sorted(engine.registry.graph_ids)


async def test_schemas_are_the_graph_s(engine: Engine) -> None:
    graph_id, schemas = await engine.assistants.schemas("counter")
    assert graph_id == "counter"
    assert set(json.loads(schemas.state or "")["properties"]) == {"count", "log"}
    assert set(json.loads(schemas.context or "")["properties"]) == {"step", "name"}


async def test_a_graph_is_made_with_what_its_assistant_says_to_be_described(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[dict[str, Any]] = []
    real = engine.registry.open

    def note(graph_id: str, access: Any, **options: Any) -> Any:
        opened.append({"graph_id": graph_id, "access": access, **options})
        return real(graph_id, access, **options)

    monkeypatch.setattr(engine.registry, "open", note)
    draft = AssistantDraft(
        graph_id="factory_of_config",
        config=RunConfig(tags=("t",), configurable={"name": "Ada"}),
        context={"c": 1},
    )
    assistant, _ = await engine.assistants.create(draft, None)
    await engine.assistants.schemas(assistant.assistant_id)
    await engine.assistants.drawing(assistant.assistant_id, None)
    await engine.assistants.subgraphs(assistant.assistant_id, "", recurse=True)
    assert opened == 3 * [
        {
            "graph_id": "factory_of_config",
            "access": "assistants.read",
            "config": {"configurable": {"name": "Ada"}, "tags": ["t"]},
            "context": {"c": 1},
            "checkpointed": False,
        }
    ]


async def test_a_graph_that_is_slow_to_describe_holds_up_no_run(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slowly(graph: Any, depth: int | None) -> Drawing:
        begun.set()
        assert go_on.wait(20)
        return draw(graph, depth)

    monkeypatch.setattr("runwire.server.core.assistants.draw", slowly)
    drawing = asyncio.create_task(engine.assistants.drawing("nested", None))
    await until(begun.is_set)
    assert (await engine.run("counter")).state is RunState.SUCCEEDED
    assert not drawing.done()
    go_on.set()
    graph_id, drawn = await drawing
    assert (graph_id, len(drawn.nodes)) == ("nested", 4)


async def test_subgraphs_are_those_of_the_assistant_s_graph(engine: Engine) -> None:
    found = await engine.assistants.subgraphs("nested", "", recurse=False)
    assert set(json.loads(found["inner"].state or "")["properties"]) == {"seen"}
    assert await engine.assistants.subgraphs("nested", "outer", recurse=True) == {}
    assert await engine.assistants.subgraphs("echo", "", recurse=True) == {}


async def test_an_assistant_whose_graph_is_gone_can_be_read_but_not_run(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assistant, _ = await engine.assistants.create(DRAFT, None)
    left = [graph_id for graph_id in engine.registry.graph_ids if graph_id != "counter"]
    monkeypatch.setattr(type(engine.registry), "graph_ids", property(lambda registry: left))
    assert await engine.assistants.get(assistant.assistant_id) == assistant
    assert (await engine.assistants.get("counter")).graph_id == "counter"
    for name in (assistant.assistant_id, "counter"):
        for call in (
            engine.assistants.schemas(name),
            engine.assistants.drawing(name, None),
            engine.assistants.subgraphs(name, "", recurse=False),
        ):
            with pytest.raises(GraphNotFound):
                await call
        with pytest.raises(GraphNotFound):
            await engine.database.read(lambda c, name=name: resolve(c, name, None, left))


async def test_assistants_outlive_their_server(database_url: str) -> None:
    async with open_engine(database_url) as engine:
        assistant, _ = await engine.assistants.create(DRAFT, None)
        await engine.assistants.update(assistant.assistant_id, AssistantChange(name="x"))
    async with open_engine(database_url) as engine:
        assert await versions(engine, assistant.assistant_id) == 2


def test_metadata_are_merged_key_by_key() -> None:
    assert merged({"a": 1, "b": {"x": 1}}, {"a": None, "b": {"y": 1}}) == {"b": {"y": 1}}
    assert merged({}, {}) == {}
