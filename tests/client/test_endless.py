"""What happens on a thread, and what becomes of runs, for as long as somebody wants to know."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.breaking import break_network
from tests.support.engine import PATIENCE_SECONDS, until
from tests.support.serving import serve_in_process

from runwire.client import (
    NotFoundError,
    Reconnect,
    RunwireClient,
    ThreadStreamPart,
    get_client,
)

CUSTOM: dict[str, Any] = {"stream_mode": "custom"}


@asynccontextmanager
async def taking(stream: Any) -> AsyncIterator[list[Any]]:
    """Give what a stream has given so far, for the length of a block."""
    taken: list[Any] = []

    async def take() -> None:
        async with aclosing(stream):
            async for part in stream:
                taken.append(part)  # noqa: PERF401 - they are looked at while they come

    task = asyncio.create_task(take())
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            yield taken
    finally:
        task.cancel()
        await asyncio.wait([task])


def ends(parts: list[ThreadStreamPart]) -> int:
    return sum(part.event == "end" for part in parts)


async def run(client: RunwireClient, thread_id: str, count: int = 3) -> str:
    made = await client.runs.create(thread_id, "custom_events", input={"count": count}, **CUSTOM)
    await client.runs.join(thread_id, made["run_id"])
    return made["run_id"]


async def new_thread(client: RunwireClient) -> str:
    return (await client.threads.create())["thread_id"]


async def test_every_part_of_every_run_on_a_thread_comes_with_its_run(
    client: RunwireClient,
) -> None:
    thread_id = await new_thread(client)
    first = await run(client, thread_id)
    async with taking(await client.threads.join_stream(thread_id, last_event_id="-")) as parts:
        await until(lambda: ends(parts) == 1)
        second = await run(client, thread_id)
        await until(lambda: ends(parts) == 2)
    graph = (await client.assistants.get("custom_events"))["assistant_id"]
    assert {part[3:] for part in parts} == {
        (run_id, graph, "custom_events") for run_id in (first, second)
    }
    assert [part.event for part in parts if part.run_id == first] == [
        *("metadata", "custom", "custom", "custom", "end", "metadata")
    ]
    assert parts[0].data["assistant_id"] == graph
    done = [part for part in parts if part.data == {"status": "run_done", "run_id": first}]
    assert len(done) == 1


async def test_a_reader_goes_on_after_the_id_of_any_part(client: RunwireClient) -> None:
    thread_id = await new_thread(client)
    await run(client, thread_id, count=8)
    async with taking(await client.threads.join_stream(thread_id, last_event_id="-")) as parts:
        await until(lambda: ends(parts) == 1)
    customs = [part for part in parts if part.event == "custom"]
    for number, part in enumerate(customs):
        again = await client.threads.join_stream(thread_id, last_event_id=part.id)
        async with taking(again) as rest:
            await until(lambda: ends(rest) == 1)
        assert [p.data for p in rest if p.event == "custom"] == [
            p.data for p in customs[number + 1 :]
        ]


async def test_without_an_id_only_what_is_new_comes(client: RunwireClient) -> None:
    thread_id = await new_thread(client)
    await run(client, thread_id)
    async with taking(await client.threads.join_stream(thread_id)) as parts:
        later: list[str] = []
        while not ends(parts):  # the first ones may come before the stream is there
            later.append(await run(client, thread_id))
    assert {part.run_id for part in parts} <= set(later)


async def test_lives_and_updates_come_in_the_sdk_s_words(client: RunwireClient) -> None:
    thread_id = await new_thread(client)
    stream = await client.threads.join_stream(
        thread_id, last_event_id="-", stream_mode=["lifecycle", "state_update"]
    )
    async with taking(stream) as parts:
        made = await client.runs.create(thread_id, "echo", input={"text": "a"})
        await until(lambda: ends(parts) == 1)
        updated = await client.threads.update_state(thread_id, {"text": "b"})
        await until(lambda: any(part.event == "state_update" for part in parts))
    assert {part.data["run_id"] for part in parts[:-1]} == {made["run_id"]}
    assert [part.data.get("status") for part in parts[-4:-1]] == ["success", "success", "run_done"]
    told = parts[-1].data
    assert (told["thread_id"], told["checkpoint"]) == (thread_id, updated["checkpoint"])
    assert told["state"]["values"] == {"text": "b", "answer": "a"}
    assert parts[-1].run_id == ""


async def test_a_thread_that_is_not_there_is_an_error(client: RunwireClient) -> None:
    missing = "0192f0c3-2b3c-7d4e-8f5a-6b7c8d9e0f1a"
    with pytest.raises(NotFoundError):
        async for _ in await client.threads.join_stream(missing):
            pass


async def test_the_deletion_of_a_thread_ends_its_stream(client: RunwireClient) -> None:
    thread_id = await new_thread(client)
    stream = await client.threads.join_stream(thread_id, last_event_id="-")
    await run(client, thread_id)

    async def delete_at_the_end() -> None:
        async for part in stream:
            if part.event == "end":
                await client.threads.delete(thread_id)

    with pytest.raises(NotFoundError):
        await delete_at_the_end()


async def test_streams_go_on_when_the_server_is_another_one(tmp_path: Path) -> None:
    async with serve_in_process(tmp_path) as server:
        port = server.port
        client = get_client(server.address)
        thread_id = await new_thread(client)
        stream = await client.threads.join_stream(thread_id, last_event_id="-")
        watch = client.runs.watch(include_unfinished=True)
        leaving = server
        reading, watching = taking(stream), taking(watch)
        parts, changes = await reading.__aenter__(), await watching.__aenter__()
        first = await run(client, thread_id)
        await until(lambda: ends(parts) == 1 and changes)
        del leaving
    async with serve_in_process(tmp_path, bind=f"127.0.0.1:{port}"):
        second = await run(client, thread_id)
        await until(lambda: ends(parts) == 2 and changes[-1]["run"]["run_id"] == second)
        await until(lambda: changes[-1]["run"]["state"] == "succeeded")
        await reading.__aexit__(None, None, None)
        await watching.__aexit__(None, None, None)
        await client.aclose()
    customs = [(part.run_id, part.data["index"]) for part in parts if part.event == "custom"]
    assert customs == [(run_id, index) for run_id in (first, second) for index in range(3)]


async def test_streams_go_on_over_a_network_that_breaks(tmp_path: Path) -> None:
    places = random.Random(1)
    async with (
        serve_in_process(tmp_path) as server,
        break_network(server.address, lambda: places.randrange(20_000)) as (address, network),
        get_client(address, reconnect=Reconnect(first_pause=0.01, longest_pause=0.05)) as client,
        get_client(server.address) as sound,
    ):
        thread_id = await new_thread(sound)
        stream = await client.threads.join_stream(thread_id, last_event_id="-")
        async with taking(stream) as parts, taking(client.runs.watch()) as changes:
            run_ids = [await run(sound, thread_id, count=200) for _ in range(4)]
            await until(lambda: ends(parts) == len(run_ids))
            await until(
                lambda: (
                    {
                        told["run"]["run_id"]
                        for told in changes
                        if told["run"]["state"] == "succeeded"
                    }
                    == {*run_ids}
                )
            )
    assert network.connections > 4
    customs = [(part.run_id, part.data["index"]) for part in parts if part.event == "custom"]
    assert customs == [(run_id, index) for run_id in run_ids for index in range(200)]


async def test_runs_are_watched(client: RunwireClient) -> None:
    delay = {"after_seconds": 3600, "metadata": {"team": "blue"}}
    waiting = await client.runs.create(None, "echo", input={}, **delay)
    watch = client.runs.watch(metadata={"team": "blue"}, include_unfinished=True)
    async with taking(watch) as changes:
        await until(lambda: changes)
        await client.runs.create(None, "echo", input={})
        await client.runs.cancel(None, waiting["run_id"], wait=True)
        await until(lambda: len(changes) == 2)
        await client.runs.delete(None, waiting["run_id"])
        await until(lambda: len(changes) == 3)
    assert [(told["change"], told["run"]["state"]) for told in changes] == [
        ("moved", "pending"),
        ("moved", "cancelled"),
        ("deleted", "cancelled"),
    ]
    assert {told["run"]["run_id"] for told in changes} == {waiting["run_id"]}
    again = client.runs.watch(
        metadata={"team": "blue"}, resume_token=changes[1]["resume_token"], states=["cancelled"]
    )
    async with taking(again) as rest:
        await until(lambda: rest)
    assert rest[0]["change"] == "deleted"
