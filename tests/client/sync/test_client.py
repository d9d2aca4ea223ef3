"""The synchronous client against a real server, from threads as its callers have them."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.support.serving import serve_in_process, start_server_process

from runwire.client import (
    ConflictError,
    RunFailedError,
    SyncRunwireClient,
    UnavailableError,
    get_sync_client,
)


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[SyncRunwireClient]:
    """A client of a server in this process: its calls belong into other threads."""
    async with serve_in_process(tmp_path) as app:
        with get_sync_client(app.address) as client:
            yield client


async def test_a_conversation_with_a_question_in_it(client: SyncRunwireClient) -> None:
    def talk() -> tuple[Any, Any, list[Any]]:
        thread_id = client.threads.create()["thread_id"]
        paused = client.runs.wait(thread_id, "asks", input={"question": "why?"})
        done = client.runs.wait(thread_id, "asks", command={"resume": "because"})
        return paused, done, client.threads.get_history(thread_id)

    paused, done, history = await asyncio.to_thread(talk)
    assert paused["__interrupt__"][0]["value"] == {"question": "why?"}
    assert done["answers"] == ["prepared", "because"]
    assert history[0]["values"]["answers"] == ["prepared", "because"]


async def test_a_stream_ends_with_its_run(client: SyncRunwireClient) -> None:
    def read() -> list[Any]:
        return list(client.runs.stream(None, "messages", input={"say": "hi"}, stream_mode="values"))

    parts = await asyncio.to_thread(read)
    assert (parts[0].event, parts[-1].event) == ("metadata", "end")


async def test_a_run_that_fails_raises_what_it_failed_of(client: SyncRunwireClient) -> None:
    def fail() -> None:
        client.runs.wait(None, "fails", input={"message": "boom"})

    with pytest.raises(RunFailedError, match="boom"):
        await asyncio.to_thread(fail)


async def test_many_threads_share_a_client(client: SyncRunwireClient) -> None:
    def run(number: int) -> Any:
        return client.runs.wait(None, "echo", input={"text": str(number)})

    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(8) as pool:
        outputs = await asyncio.gather(*(loop.run_in_executor(pool, run, n) for n in range(40)))
    assert [output["answer"] for output in outputs] == [str(number) for number in range(40)]


async def test_a_reader_that_leaves_early_leaves_the_run_alone(client: SyncRunwireClient) -> None:
    def leave() -> Any:
        thread_id = client.threads.create()["thread_id"]
        stream = client.runs.stream(thread_id, "echo", input={"text": "a"})
        run_id = next(stream).data["run_id"]
        stream.close()  # type: ignore[attr-defined]  # a generator
        return client.runs.join(thread_id, run_id)

    assert (await asyncio.to_thread(leave))["answer"] == "a"


async def test_a_client_that_is_closed_ends_its_calls(client: SyncRunwireClient) -> None:
    started = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang() -> None:
        for _ in client.runs.stream(None, "slow_async", input={"seconds": 60}):
            loop.call_soon_threadsafe(started.set)

    hanging = asyncio.create_task(asyncio.to_thread(hang))
    await started.wait()
    await asyncio.to_thread(client.close)
    with pytest.raises(UnavailableError, match="closed"):
        await hanging


def test_a_stream_outlives_its_server(tmp_path: Path) -> None:
    directory = tmp_path / "meeting"
    directory.mkdir()
    run_input = {"directory": str(directory)}
    with start_server_process(tmp_path) as server, get_sync_client(server.address) as client:
        thread_id = client.threads.create()["thread_id"]
        stream = client.runs.stream(thread_id, "gate", input=run_input, stream_mode="values")
        parts = [next(stream)]
        server.kill()
        server.start()
        (directory / "open").touch()
        parts += stream
    ids = [part.id for part in parts if part.id]
    assert parts[-1].event == "end"
    assert parts[-1].data["status"] == "success"
    assert ids == sorted(set(ids))


async def test_a_busy_thread_is_told_by_its_error(client: SyncRunwireClient) -> None:
    def collide() -> None:
        thread_id = client.threads.create()["thread_id"]
        client.runs.create(thread_id, "slow_async", input={"seconds": 60})
        client.runs.create(thread_id, "echo", input={}, multitask_strategy="reject")

    with pytest.raises(ConflictError) as raised:
        await asyncio.to_thread(collide)
    assert raised.value.reason == "THREAD_BUSY"
