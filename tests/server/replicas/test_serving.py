"""Clients of several servers: whichever they reach answers, and one that stops is no loss."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.support.callers import collect, data_in
from tests.support.engine import until
from tests.support.scripted import QUICK
from tests.support.serving import serve_in_process

from runwire.client import Reconnect, RunwireClient, get_client
from runwire.server.app import App


class Servers:
    """Servers on one database, of which each can be stopped, and a client of them all."""

    def __init__(self) -> None:
        self.stacks: list[AsyncExitStack] = []
        self.apps: list[App] = []

    async def start(self, directory: Path, url: str, **settings: Any) -> App:
        stack = AsyncExitStack()
        app = await stack.enter_async_context(
            serve_in_process(directory, database_url=url, cancel_grace="300ms", **settings)
        )
        self.stacks.append(stack)
        self.apps.append(app)
        return app

    async def stop(self, number: int) -> None:
        """Stop a server as SIGTERM does."""
        await self.stacks[number].aclose()

    @property
    def addresses(self) -> str:
        return ",".join(app.address for app in self.apps)

    def executing(self, run_id: str) -> list[int]:
        """Return the numbers of the servers that execute a run."""
        return [number for number, app in enumerate(self.apps) if run_id in app.runner._slots]


@pytest.fixture
async def servers(tmp_path: Path, postgres_url: str) -> AsyncIterator[Servers]:
    servers = Servers()
    for _ in range(2):
        await servers.start(tmp_path, postgres_url)
    yield servers
    for stack in servers.stacks:
        await stack.aclose()


@pytest.fixture
async def client(servers: Servers) -> AsyncIterator[RunwireClient]:
    async with get_client(servers.addresses, reconnect=QUICK) as client:
        yield client


async def test_streams_of_a_server_that_stops_go_on_with_another_one(
    servers: Servers, client: RunwireClient
) -> None:
    steps = {"steps": 8, "seconds": 0.08}
    threads = [(await client.threads.create())["thread_id"] for _ in range(6)]
    begun: list[str] = []

    async def stream(thread_id: str) -> list[Any]:
        parts = client.runs.stream(
            thread_id,
            "steps",
            input=steps,
            stream_mode="updates",
            on_run_created=lambda run: begun.append(run["run_id"]),
        )
        return await collect(parts)

    streams = [asyncio.create_task(stream(thread_id)) for thread_id in threads]
    await until(lambda: len(begun) == len(threads))
    await until(lambda: all(servers.executing(run_id) for run_id in begun))
    assert {number for run_id in begun for number in servers.executing(run_id)} == {0, 1}
    await servers.stop(0)
    for parts in await asyncio.gather(*streams):
        assert (parts[-1].event, parts[-1].data["status"]) == ("end", "success")
        ids = [part.id for part in parts if part.id]
        assert len(ids) == len(set(ids)), "nothing twice"
        assert len(data_in(parts, "updates")) == steps["steps"], "nothing lost"


async def test_who_waits_at_a_server_that_stops_is_answered_by_another_one(
    servers: Servers, client: RunwireClient
) -> None:
    graph_input = {"steps": 6, "seconds": 0.1}
    threads = [(await client.threads.create())["thread_id"] for _ in range(4)]
    waiting = [
        asyncio.create_task(client.runs.wait(thread_id, "steps", input=graph_input))
        for thread_id in threads
    ]
    await until(lambda: sum(len(app.runner._slots) for app in servers.apps) == len(waiting))
    await servers.stop(1)
    for output in await asyncio.gather(*waiting):
        assert output["done_steps"] == list(range(6))


async def test_live_readers_of_a_run_elsewhere_miss_nothing_when_their_server_stops(
    servers: Servers,
) -> None:
    graph_input = {"count": 60, "delay": 0.03}
    slow = Reconnect(first_pause=0.4)  # much happens meanwhile
    async with (
        get_client(servers.apps[1].address) as beside,
        # gRPC's default: to stay with the first that answers.
        get_client(
            servers.addresses, reconnect=slow, options=[("grpc.service_config", "{}")]
        ) as both,
    ):
        run_id = (
            await beside.runs.create(None, "custom_events", input=graph_input, stream_mode="custom")
        )["run_id"]
        live = [
            asyncio.create_task(collect(both.runs.join_stream(None, run_id, live_only=True)))
            for _ in range(4)
        ]
        logs = servers.apps[0].logs._logs
        await until(lambda: run_id in logs and logs[run_id][0].waiting == len(live))
        await servers.stop(0)
        told = await asyncio.gather(*live)
    for parts in told:
        # The id of the first part, the snapshot, is the place after which everything is new.
        indexes = [int(part.id.partition("-")[2]) for part in parts[1:] if part.id]
        assert indexes == list(range(indexes[0], 60 + 3))
        assert parts[-1].event == "end"


async def test_a_create_that_is_repeated_at_another_server_is_the_same_run(
    servers: Servers,
) -> None:
    made = []
    for app in servers.apps:
        async with get_client(app.address) as client:
            made.append(await client.runs.create(None, "echo", input={}, request_id="the same"))
    assert made[0]["run_id"] == made[1]["run_id"]
