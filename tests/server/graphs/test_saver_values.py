"""What the saver keeps of what it is given, and what stored values turn into."""

import contextlib
import copy
import json
import operator
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import ormsgpack
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from pydantic import BaseModel
from sqlalchemy import Connection, func, select, update
from tests.support.attempts import Attempts, writing_as
from typing_extensions import TypedDict

from runwire.server.graphs.saver import RunwireSaver
from runwire.server.model.errors import CheckpointNotFound
from runwire.server.storage import pruning
from runwire.server.storage.checkpoints import delete_thread, list_checkpoints
from runwire.server.storage.database import Database
from runwire.server.storage.tables import checkpoint_writes, checkpoints, metadata


def at(thread_id: str, checkpoint_ns: str = "") -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns}}


class Numbers(TypedDict, total=False):
    numbers: Annotated[list[int], operator.add]


def nested_graph(saver: RunwireSaver) -> Any:
    inner = (
        StateGraph(Numbers)
        .add_node("add", lambda state: {"numbers": [1]})
        .add_edge(START, "add")
        .compile()
    )
    return (
        StateGraph(Numbers)
        # LangChain's own runnables copy configuration into metadata for what is below them.
        .add_node("through_langchain", RunnableLambda(lambda state: state) | inner)
        .add_node("add", lambda state: {"numbers": [2]})
        .add_edge(START, "through_langchain")
        .add_edge("through_langchain", "add")
        .compile(checkpointer=saver)
    )


def everything_stored(connection: Connection) -> bytes:
    """Return all that the database holds."""
    tables = (connection.execute(select(table)).all() for table in metadata.sorted_tables)
    cells = (cell for rows in tables for row in rows for cell in row)
    return b"".join(cell if isinstance(cell, bytes) else str(cell).encode() for cell in cells)


async def test_secrets_in_the_configuration_are_not_stored(
    saver: RunwireSaver, attempts: Attempts, database: Database, database_path: Path
) -> None:
    graph = nested_graph(saver)
    thread_id = await attempts.thread()
    attempt = await attempts.start(thread_id, "numbers")
    config: RunnableConfig = {
        "configurable": {
            "thread_id": thread_id,
            "run_id": "forged",
            "api_key": "sk-CANARY",
            "password": "pw-CANARY",
            "number": 8_273_645,
            "customer": "kept",
        },
        "metadata": {
            "customer": "kept",
            "purpose": "test\0",
            "run_id": "forged",
            "graph_id": "forged",
            "assistant_id": "assistant",
            "huge": 2**80,
            "half": "\ud800",
            "data": {"left": "out"},
        },
    }
    with writing_as(attempt):
        await graph.ainvoke({"numbers": [0]}, config, durability="sync")
    stored = [found async for found in saver.alist(at(thread_id))]
    nested = await database.read(lambda c: list_checkpoints(c, thread_id=thread_id))
    assert {found.place.checkpoint_ns.partition(":")[0] for found in nested} == {
        "",
        "through_langchain",
    }
    for found in stored:
        metadata = dict(found.metadata)
        assert {"source", "step", "parents"} <= metadata.keys()
        kept = {key: metadata[key] for key in metadata.keys() - {"source", "step", "parents"}}
        assert kept == {
            "run_id": attempt.run_id,
            "graph_id": "numbers",
            "assistant_id": "assistant",
            "customer": "kept",
            "purpose": "test",
            "huge": str(2**80),
            "half": "?",
        }
    for row in nested:
        assert row.metadata["run_id"] == attempt.run_id
        assert row.metadata["purpose"] == "test"
        assert "CANARY" not in str(row.metadata)
        assert "8273645" not in str(row.metadata)
    everything = await database.read(everything_stored)
    if not database.shared:
        everything += b"".join(path.read_bytes() for path in database_path.parent.iterdir())
    assert b"CANARY" not in everything
    assert b"test" in everything


async def test_copies_of_configuration_in_metadata_below_a_node_are_not_stored(
    saver: RunwireSaver, attempts: Attempts
) -> None:
    """Versions of LangChain differ in what they copy."""
    thread_id = await attempts.thread()
    config = at(thread_id, "node:1")
    config["configurable"].update(secret="sk-CANARY", customer="a", graph_id="of a caller")
    config["metadata"] = {"secret": "sk-CANARY", "customer": "b", "graph_id": "of a caller"}
    with writing_as(await attempts.start(thread_id, "graph")):
        await saver.aput(config, empty_checkpoint(), {"step": 1}, {})
    found = await saver.aget_tuple(at(thread_id, "node:1"))
    assert found is not None
    kept = {key: value for key, value in found.metadata.items() if key != "run_id"}
    assert kept == {"step": 1, "customer": "b", "graph_id": "graph"}


class Colour(BaseModel):
    name: str


@dataclass
class Point:
    x: int
    y: int


class Picture(TypedDict, total=False):
    points: list[Point]
    colour: Colour
    anything: Any
    messages: Annotated[list[Any], add_messages]


async def test_a_graphs_own_types_come_back_as_such_and_unnamed_ones_as_data(
    saver: RunwireSaver, attempts: Attempts
) -> None:
    class Hidden(BaseModel):
        name: str

    def draw(state: Picture) -> dict[str, Any]:
        return {
            "points": [Point(1, 2)],
            "colour": Colour(name="red"),
            "anything": Hidden(name="blue"),
            "messages": [HumanMessage("hello", id="1"), AIMessage("hi", id="2")],
        }

    graph = (
        StateGraph(Picture)
        .add_node("draw", draw)
        .add_edge(START, "draw")
        .compile(checkpointer=saver)
    )
    assert graph.checkpointer is not saver, "LangGraph works with a copy that knows the types"
    thread_id = await attempts.thread()
    with writing_as(await attempts.start(thread_id)):
        await graph.ainvoke({}, at(thread_id))
    values = (await graph.aget_state(at(thread_id))).values
    assert values["points"] == [Point(1, 2)]
    assert values["colour"] == Colour(name="red")
    assert values["anything"] == {"name": "blue"}
    assert [type(message) for message in values["messages"]] == [HumanMessage, AIMessage]


def test_a_shallow_copy_of_the_saver_works_on_the_same_database(saver: RunwireSaver) -> None:
    assert copy.copy(saver)._database is saver._database


def crafted_values(command: str) -> list[tuple[str, bytes]]:
    """Return stored values that run `command` when they are read by a gullible reader."""

    class Pickled:
        def __reduce__(self) -> Any:
            return os.system, (command,)

    packed = [
        (0, ("os", "system", command)),
        (1, ("os", "system", (command,))),
        (2, ("subprocess", "getoutput", {"cmd": command})),
        (3, ("os", "path", command, "system")),
        (3, ("builtins", "eval", f"__import__('os').system({command!r})", "__call__")),
        (4, ("subprocess", "getoutput", {"cmd": command})),
        (5, ("subprocess", "getoutput", {"cmd": command}, "model_validate_json")),
    ]
    values = [
        ("msgpack", ormsgpack.packb(ormsgpack.Ext(code, ormsgpack.packb(value))))
        for code, value in packed
    ]
    values += [
        ("msgpack", ormsgpack.packb({"channel_values": ormsgpack.Ext(0, ormsgpack.packb(value))}))
        for _, value in packed[:1]
    ]
    call = {"type": "constructor", "id": ["os", "system"], "kwargs": {"command": command}}
    values += [("json", json.dumps({"lc": version, **call}).encode()) for version in (1, 2)]
    secret = {"lc": 1, "type": "secret", "id": ["HOME"]}
    values.append(("json", json.dumps(secret).encode()))
    values.append(("pickle", pickle.dumps(Pickled())))
    return values


@pytest.mark.parametrize("number", range(12))
async def test_a_tampered_row_executes_nothing(
    saver: RunwireSaver, attempts: Attempts, database: Database, tmp_path: Path, number: int
) -> None:
    marker = tmp_path / "executed"
    kind, data = crafted_values(f"touch {marker}")[number]
    thread_id = await attempts.thread()
    with writing_as(await attempts.start(thread_id)):
        config = await saver.aput(at(thread_id), empty_checkpoint(), {}, {})
        await saver.aput_writes(config, [("a", 1)], "task")
    tampered = update(checkpoint_writes).values(type=kind, value=data)
    await database.write(lambda c: c.execute(tampered).rowcount)
    tampered = update(checkpoints).values(type=kind, checkpoint=data)

    async def read() -> None:
        if kind in ("json", "pickle"):
            with pytest.raises(ValueError, match=kind):
                await saver.aget_tuple(config)
        else:
            await saver.aget_tuple(config)

    await read()
    await database.write(lambda c: c.execute(tampered).rowcount)
    await read()
    assert not marker.exists()


def test_crafted_values_work_on_a_gullible_reader(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    values = crafted_values(f"touch {marker}")
    assert len(values) == 12
    gullible = JsonPlusSerializer(pickle_fallback=True, allowed_msgpack_modules=True)
    executed = 0
    for value in values:
        with contextlib.suppress(ValueError):
            gullible.loads_typed(value)
        executed += marker.exists()
        marker.unlink(missing_ok=True)
    assert executed >= 6


def test_a_langgraph_that_could_not_be_made_strict_is_refused() -> None:
    code = "import langgraph.checkpoint.base, runwire.server.graphs.saver"
    environment = {key: value for key, value in os.environ.items() if "STRICT" not in key}
    for strict in ({}, {"LANGGRAPH_STRICT_MSGPACK": "true"}, {"LANGGRAPH_STRICT_MSGPACK": "false"}):
        finished = subprocess.run(
            [sys.executable, "-c", code],
            env={**environment, **strict},
            capture_output=True,
            text=True,
            check=False,
        )
        refused = "LangGraph was imported before" in finished.stderr
        assert refused is (finished.returncode != 0) is (not strict), finished.stderr


def delta_graph(saver: RunwireSaver) -> Any:
    def extend(state: list[int], writes: Any) -> list[int]:
        return [*state, *(item for write in writes for item in write)]

    class Deltas(TypedDict, total=False):
        items: Annotated[list[int], DeltaChannel(extend, list, snapshot_frequency=7)]

    return (
        StateGraph(Deltas)
        .add_node("add", lambda state: {"items": [len(state.get("items", []))]})
        .add_node("more", lambda state: {"items": [-1, -2]})
        .add_edge(START, "add")
        .add_edge(START, "more")
        .compile(checkpointer=saver)
    )


async def test_delta_channels_are_rebuilt_also_after_pruning(
    saver: RunwireSaver, attempts: Attempts, database: Database
) -> None:
    graph = delta_graph(saver)
    thread_id = await attempts.thread()
    count = select(func.count()).select_from(checkpoints)
    expected: list[int] = []
    for number in range(40):
        attempt = await attempts.start(thread_id)
        with writing_as(attempt):
            result = await graph.ainvoke({"items": [100 + number]}, at(thread_id))
        await attempts.end(attempt)
        expected += [100 + number]
        expected += [len(expected), -1, -2]
        assert result["items"] == expected
        if number % 9 == 8:
            before = await database.read(lambda c: c.scalar(count))
            await database.write(lambda c: pruning.prune_thread(c, thread_id))
            assert (await database.read(lambda c: c.scalar(count)) or 0) < (before or 0)
            state = await graph.aget_state(at(thread_id))
            assert state.values["items"] == expected
            assert graph.get_state(at(thread_id)).values["items"] == expected


async def test_the_history_of_delta_channels_is_what_langgraph_itself_would_read(
    saver: RunwireSaver, attempts: Attempts
) -> None:
    graph = delta_graph(saver)
    thread_id = await attempts.thread()
    attempt = await attempts.start(thread_id)
    with writing_as(attempt):
        for number in range(25):
            await graph.ainvoke({"items": [number]}, at(thread_id))
    base = super(RunwireSaver, saver)
    async for found in saver.alist(at(thread_id)):
        ours = await saver.aget_delta_channel_history(config=found.config, channels=["items", "no"])
        theirs = await base.aget_delta_channel_history(
            config=found.config, channels=["items", "no"]
        )
        assert ours == theirs
    assert await saver.aget_delta_channel_history(config=at(thread_id), channels=[]) == {}
    unknown = saver.get_delta_channel_history(config=at("no thread"), channels=["items"])
    assert unknown == {"items": {"writes": []}}


async def test_an_older_state_is_rebuilt_rightly_or_not_at_all_while_it_is_pruned(
    saver: RunwireSaver, attempts: Attempts, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "CHECKPOINTS", 5)
    graph = delta_graph(saver)
    thread_id = await attempts.thread()
    attempt = await attempts.start(thread_id)
    with writing_as(attempt):
        for number in range(8):
            await graph.ainvoke({"items": [number]}, at(thread_id))
    await attempts.end(attempt)
    before = [state async for state in graph.aget_state_history(at(thread_id))]
    outcomes = set()
    cursor, more = pruning.Cursor(), True
    while more:
        cursor, more = await database.write(
            partial(pruning.prune_some, thread_id=thread_id, after=cursor)
        )
        for state in before:
            try:
                again = await graph.aget_state(state.config)
            except CheckpointNotFound:
                outcomes.add("told that it is gone")
            else:
                outcomes.add("gone" if again.metadata is None else "there")
                assert again.metadata is None or again.values == state.values
    assert outcomes == {"there", "gone", "told that it is gone"}
    assert (await graph.aget_state(at(thread_id))).values == before[0].values


async def test_a_state_that_goes_while_it_is_read_is_not_rebuilt_of_nothing(
    saver: RunwireSaver, attempts: Attempts, database: Database
) -> None:
    graph = delta_graph(saver)
    thread_id = await attempts.thread()
    attempt = await attempts.start(thread_id)
    with writing_as(attempt):
        await graph.ainvoke({"items": [1]}, at(thread_id))
    found = await saver.aget_tuple(at(thread_id))
    assert found is not None
    await database.write(lambda c: delete_thread(c, thread_id))
    with pytest.raises(CheckpointNotFound):
        await saver.aget_delta_channel_history(config=found.config, channels=["items"])
    with pytest.raises(CheckpointNotFound):
        saver.get_delta_channel_history(config=found.config, channels=["items"])
