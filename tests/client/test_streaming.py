"""Streams of real runs: what each mode gives, in langgraph_sdk's words."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk._shared.utilities import _sse_to_v2_dict
from tests.support.breaking import break_network
from tests.support.serving import serve_in_process, start_server_process

from runwire.client import (
    InvalidArgumentError,
    NotFoundError,
    Reconnect,
    RunwireClient,
    StreamPart,
    get_client,
)


async def collect(stream: AsyncIterator[Any]) -> list[Any]:
    return [part async for part in stream]


def data(parts: list[StreamPart], event: str) -> list[Any]:
    return [part.data for part in parts if part.event == event]


async def new_thread(client: RunwireClient) -> str:
    return (await client.threads.create())["thread_id"]


async def test_values(client: RunwireClient) -> None:
    thread_id = await new_thread(client)
    parts = await collect(client.runs.stream(thread_id, "counter", input={"count": 1}))
    assert [part.event for part in parts] == ["metadata", "values", "values", "end"]
    assert data(parts, "values") == [{"count": 1, "log": []}, {"count": 2, "log": ["?"]}]
    (run,) = await client.runs.list(thread_id)
    assert parts[0].data["run_id"] == run["run_id"]
    assert parts[-1].data["status"] == "success"
    ids = [part.id for part in parts]
    assert ids[0] is None
    assert ids[1:] == ["1-2", "1-3", "1-4"]


async def test_updates_custom_tasks_and_checkpoints(client: RunwireClient) -> None:
    thread_id = await new_thread(client)
    modes: Any = ["updates", "custom", "tasks", "checkpoints", "debug"]
    parts = await collect(
        client.runs.stream(thread_id, "custom_events", input={"count": 2}, stream_mode=modes)
    )
    assert data(parts, "updates") == [{"write_events": {"written": 2}}]
    assert [item["index"] for item in data(parts, "custom")] == [0, 1]
    start, result = data(parts, "tasks")
    assert (start["name"], start["input"]) == ("write_events", {"count": 2})
    assert result["id"] == start["id"]
    assert (result["error"], result["interrupts"]) == (None, [])
    checkpoints = data(parts, "checkpoints")
    assert checkpoints[-1]["values"] == {"count": 2, "written": 2}
    assert checkpoints[-1]["config"]["configurable"]["thread_id"] == thread_id
    kinds = [item["type"] for item in data(parts, "debug")]
    assert set(kinds) == {"checkpoint", "task", "task_result"}


async def test_langchain_s_events(client: RunwireClient) -> None:
    parts = await collect(
        client.runs.stream(None, "messages", input={"say": "hi"}, stream_mode="events")
    )
    names = {item["event"] for item in data(parts, "events")}
    assert {"on_chain_start", "on_chat_model_stream", "on_chain_end"} <= names


async def test_messages_as_far_as_they_have_come(client: RunwireClient) -> None:
    parts = await collect(
        client.runs.stream(None, "messages", input={"say": "hey"}, stream_mode="messages")
    )
    (told,) = data(parts, "messages/metadata")
    ((message_id, metadata),) = told.items()
    assert metadata["metadata"]["langgraph_node"] == "speak"
    partial = [message for (message,) in data(parts, "messages/partial")]
    contents = [message["content"] for message in partial if message["content"]]
    assert contents[:3] == ["h", "he", "hey"]
    assert {(message["id"], message["type"]) for message in partial} == {(message_id, "ai")}
    assert data(parts, "messages") == []


async def test_messages_piece_by_piece(client: RunwireClient) -> None:
    parts = await collect(
        client.runs.stream(None, "messages", input={"say": "hey"}, stream_mode="messages-tuple")
    )
    pieces = data(parts, "messages")
    assert "".join(message["content"] for message, _ in pieces) == "hey"
    assert {message["type"] for message, _ in pieces} == {"AIMessageChunk"}
    assert {metadata["langgraph_node"] for _, metadata in pieces} == {"speak"}


async def test_both_forms_of_messages_at_once(client: RunwireClient) -> None:
    parts = await collect(
        client.runs.stream(
            None, "messages", input={"say": "hey"}, stream_mode=["messages", "messages-tuple"]
        )
    )
    kinds = {part.event for part in parts}
    assert {"messages", "messages/metadata", "messages/partial"} <= kinds
    first = [part for part in parts if part.event.startswith("messages")][:3]
    assert [part.id for part in first[:2]] == [None, None]
    assert first[2].id == "1-2"


async def test_subgraphs_have_their_namespace(client: RunwireClient) -> None:
    thread_id = await new_thread(client)
    modes: Any = ["values", "updates"]
    parts = await collect(
        client.runs.stream(
            thread_id, "nested", input={"seen": []}, stream_mode=modes, stream_subgraphs=True
        )
    )
    inner = [part.event for part in parts if "|" in part.event]
    assert {event.partition("|")[0] for event in inner} == {"values", "updates"}
    assert all(event.partition("|")[2].startswith("inner:") for event in inner)
    assert data(parts, "updates")[0] == {"before": {"seen": ["before"]}}
    without = await collect(client.runs.stream(thread_id, "nested", input={"seen": []}))
    assert not any("|" in part.event for part in without)


async def test_questions_are_in_values_and_in_updates(client: RunwireClient) -> None:
    thread_id = await new_thread(client)
    modes: Any = ["values", "updates"]
    parts = await collect(
        client.runs.stream(thread_id, "asks", input={"question": "why?"}, stream_mode=modes)
    )
    (question,) = data(parts, "values")[-1]["__interrupt__"]
    assert question["value"] == {"question": "why?"}
    (asked,) = [update for update in data(parts, "updates") if "__interrupt__" in update]
    assert asked["__interrupt__"][0]["id"] == question["id"]
    assert (parts[-1].data["status"], parts[-1].data["state"]) == ("success", "interrupted")


async def test_a_failure_is_the_last_part(client: RunwireClient) -> None:
    parts = await collect(client.runs.stream(None, "fails", input={"message": "boom"}))
    assert parts[-1].event == "error"
    assert parts[-1].data["error"] == "ValueError"
    assert parts[-1].data["message"] == "boom"


async def test_a_large_part_arrives_whole(client: RunwireClient) -> None:
    size = 5 * 1024 * 1024
    parts = await collect(
        client.runs.stream(None, "big_events", input={"size": size}, stream_mode="custom")
    )
    (blob,) = data(parts, "custom")
    assert blob == "y" * size


async def test_the_second_form_of_parts_is_the_sdk_s(client: RunwireClient) -> None:
    thread_id = await new_thread(client)
    modes: Any = ["values", "updates"]
    first = await client.runs.create(
        thread_id, "asks_in_subgraph", input={}, stream_mode=modes, stream_subgraphs=True
    )
    parts = await collect(client.runs.join_stream(thread_id, first["run_id"]))
    again = await collect(
        client.runs.stream(
            await new_thread(client),
            "asks_in_subgraph",
            input={},
            stream_mode=modes,
            stream_subgraphs=True,
            version="v2",
        )
    )
    theirs = [_sse_to_v2_dict(part.event, part.data) for part in parts]
    kinds = [part["type"] for part in theirs if part]
    assert [part["type"] for part in again] == kinds
    assert [part["interrupts"] != [] for part in again] == [
        part["interrupts"] != [] for part in theirs if part
    ]
    assert all(set(part) == {"type", "ns", "data", "interrupts"} for part in again)
    with pytest.raises(ValueError, match="version"):
        client.runs.stream(None, "echo", version="v3")  # type: ignore[call-overload]


async def test_a_run_is_joined_from_anywhere(client: RunwireClient) -> None:
    thread_id = await new_thread(client)
    modes: Any = ["values", "custom"]
    run = await client.runs.create(
        thread_id, "custom_events", input={"count": 5}, stream_mode=modes
    )
    run_id = run["run_id"]
    whole = await collect(client.runs.join_stream(thread_id, run_id))
    assert [item["index"] for item in data(whole, "custom")] == [0, 1, 2, 3, 4]
    rest = await collect(client.runs.join_stream(thread_id, run_id, last_event_id=whole[4].id))
    assert rest[1:] == whole[5:]
    narrowed = await collect(client.runs.join_stream(thread_id, run_id, stream_mode="custom"))
    assert {part.event for part in narrowed} == {"metadata", "custom", "end"}
    late = await collect(client.runs.join_stream(thread_id, run_id, live_only=True))
    assert [part.event for part in late] == ["metadata", "end"]


async def test_a_stream_that_cannot_be_joined(client: RunwireClient) -> None:
    thread_id = await new_thread(client)
    run = await client.runs.create(thread_id, "echo", input={})
    with pytest.raises(NotFoundError):
        await collect(client.runs.join_stream(await new_thread(client), run["run_id"]))
    with pytest.raises(InvalidArgumentError, match="after_event_id"):
        await collect(client.runs.join_stream(thread_id, run["run_id"], last_event_id="x"))


async def test_going_away_leaves_the_run_or_cancels_it(
    client: RunwireClient, tmp_path: Path
) -> None:
    thread_id = await new_thread(client)
    runs = []
    modes: list[Any] = ["continue", "cancel"]
    for mode in modes:
        stream: Any = client.runs.stream(
            thread_id if mode == "continue" else await new_thread(client),
            "slow_async",
            input={"seconds": 0.5},
            on_disconnect=mode,
        )
        runs.append((await anext(stream)).data)
        await stream.aclose()
    followed = await client.runs.create(None, "slow_async", input={"seconds": 60})
    stream = client.runs.join_stream(None, followed["run_id"], cancel_on_disconnect=True)
    runs.append({**(await anext(stream)).data, "thread_id": None})
    await stream.aclose()
    states = []
    for run in runs:
        await client.runs.join(run["thread_id"], run["run_id"])
        states.append((await client.runs.get(run["thread_id"], run["run_id"]))["state"])
    assert states == ["succeeded", "cancelled", "cancelled"]


BLUE = {"team": "blue"}


def quick(address: str) -> RunwireClient:
    return get_client(address, reconnect=Reconnect(first_pause=0.05, longest_pause=0.2))


async def test_a_stream_outlives_a_restart_of_its_server(tmp_path: Path) -> None:
    """A server that shuts down gives its runs back; the next one goes on where they stopped."""
    with start_server_process(tmp_path) as server:
        async with quick(server.address) as client:
            thread_id = await new_thread(client)
            stream = client.runs.stream(thread_id, "steps", input={"steps": 20, "seconds": 0.1})
            got = [await anext(stream) for _ in range(5)]
            reading = asyncio.create_task(collect(stream), name="reading")
            await asyncio.to_thread(server.terminate)
            await asyncio.to_thread(server.start)
            got += await reading
    steps = [len(values["done_steps"]) for values in data(got, "values")]
    assert steps[-1] == 20
    assert sorted(set(steps)) == list(range(21))
    assert len([part.id for part in got if part.id]) == len({part.id for part in got if part.id})
    assert got[-1].data["status"] == "success"


async def test_a_stream_outlives_the_death_of_its_server(tmp_path: Path) -> None:
    with start_server_process(tmp_path) as server:
        async with quick(server.address) as client:
            thread_id = await new_thread(client)
            stream = client.runs.stream(thread_id, "steps", input={"steps": 20, "seconds": 0.1})
            got = [await anext(stream) for _ in range(5)]
            reading = asyncio.create_task(collect(stream), name="reading")
            waiting = asyncio.create_task(
                client.runs.wait(thread_id, "counter", input={}), name="waiting"
            )
            await asyncio.sleep(0.3)
            await asyncio.to_thread(server.restart)
            got += await reading
            assert (await waiting)["count"] == 1
    (boundary,) = data(got, "metadata")[1:]
    assert boundary["attempt"] == 2
    assert boundary["resumed_from_checkpoint"] is True
    ids = [tuple(map(int, part.id.split("-"))) for part in got if part.id]
    assert ids == sorted(set(ids))
    assert len(data(got, "values")[-1]["done_steps"]) == 20
    assert got[-1].data["status"] == "success"


def lives(seed: int, count: int, at_most: int) -> Callable[[], int]:
    """Return what lets `count` connections break somewhere, and those that follow live."""
    random_places = random.Random(seed)
    places = iter([random_places.randrange(at_most) for _ in range(count)])
    return lambda: next(places, 1_000_000_000)


@pytest.mark.parametrize("seed", range(3))
async def test_a_stream_outlives_a_network_that_breaks(tmp_path: Path, seed: int) -> None:
    async with (
        serve_in_process(tmp_path) as app,
        break_network(app.address, lives(seed, 12, 12_000)) as (address, network),
        quick(address) as client,
    ):
        parts = await collect(
            client.runs.stream(
                None,
                "custom_events",
                input={"count": 300, "size": 100, "delay": 0.001},
                stream_mode=["custom", "tasks"],
            )
        )
    assert network.connections > 12
    assert [item["index"] for item in data(parts, "custom")] == list(range(300))
    assert [part.event for part in parts if part.event != "custom"] == [
        *("metadata", "tasks", "tasks", "end")
    ]


async def test_a_call_that_starts_a_run_starts_one_whatever_breaks(tmp_path: Path) -> None:
    async with (
        serve_in_process(tmp_path) as app,
        break_network(app.address, lives(1, 20, 900)) as (address, network),
        quick(address) as client,
        get_client(app.address) as sound,
    ):
        thread_id = await new_thread(sound)
        for _ in range(10):
            await client.runs.wait(thread_id, "counter", input={})
        counted = (await sound.threads.get_state(thread_id))["values"]
    assert network.connections > 10
    assert counted == {"count": 10, "log": ["?"] * 10}


async def test_what_is_created_is_created_once_whatever_breaks(tmp_path: Path) -> None:
    """Two of three connections die in the middle of an answer: what was done is asked for again."""
    places = itertools.cycle([100, 250, 1500])
    async with (
        serve_in_process(tmp_path) as app,
        break_network(app.address, lambda: next(places)) as (address, network),
        quick(address) as client,
        get_client(app.address) as sound,
    ):
        for _ in range(5):
            await client.assistants.create("echo", metadata=BLUE)
            await client.threads.create(metadata=BLUE)
            await client.runs.create(None, "echo", after_seconds=3600, metadata=BLUE)
        later = {"assistant_id": "echo", "after_seconds": 3600, "metadata": BLUE}
        await client.runs.create_batch([later] * 5)
        assert await sound.assistants.count(metadata=BLUE) == 5
        assert await sound.threads.count(metadata=BLUE) == 5
        assert len(await sound.runs.list(None, metadata=BLUE, limit=100)) == 10
    assert network.connections > 6
