"""Readers that do not read: they cost the server little, hold up nobody, and miss nothing."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from tests.support.serving import ServerProcess, start_server_process
from tests.support.slow_reader import SMALL_WINDOW
from tests.support.watching import SYSTEM_GRAPHS, chain_input, chain_result, say

from runwire.client import RunwireClient, get_client
from runwire.v1 import runs_pb2
from runwire.v1.runs_pb2_grpc import RunServiceStub

MEGABYTE = 10**6
ROOM = 60 * MEGABYTE
"""How much a server may grow while readers stand still. It grows by a third of that."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    directory = tmp_path_factory.mktemp("readers")
    with start_server_process(directory, graphs=SYSTEM_GRAPHS) as server:
        asyncio.run(warm_up(server))
        yield server


async def warm_up(server: ServerProcess) -> None:
    """Let the server do all that follows once, so that what it keeps is not taken for growth."""
    async with get_client(server.address) as client:
        run = await talk(client, count=2000, size=1000)
        async for _ in client.runs.join_stream(None, run):
            pass


class Memory:
    """What a process takes, sampled while a block lasts."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._before = self._process.memory_info().rss
        self.growth = 0

    @asynccontextmanager
    async def watched(self) -> AsyncIterator["Memory"]:
        watching = asyncio.create_task(self._watch())
        try:
            yield self
        finally:
            watching.cancel()
            self._look()

    async def _watch(self) -> None:
        while True:
            self._look()
            await asyncio.sleep(0.02)

    def _look(self) -> None:
        growth = self._process.memory_info().rss - self._before
        self.growth = max(self.growth, growth)


async def talk(client: RunwireClient, *, count: int, size: int) -> str:
    """Start a run that says `count` times `size` characters; return its id."""
    run_input = {"count": count, "size": size, "every": 10}
    run = await client.runs.create(None, "talks", input=run_input, stream_mode="custom")
    return run["run_id"]


@pytest.mark.parametrize(
    ("count", "size"),
    [
        pytest.param(50_000, 1000, id="50 MB"),
        pytest.param(200_000, 250, id="200 000 events", marks=pytest.mark.chaos),
        pytest.param(200_000, 1000, id="200 MB", marks=pytest.mark.chaos),
    ],
)
@pytest.mark.timeout(120)
async def test_a_reader_that_is_stopped_costs_little_and_gets_everything_later(
    server: ServerProcess, count: int, size: int
) -> None:
    slowest = 0.0
    async with get_client(server.address) as client, Memory(server.pid).watched() as memory:
        run_id = await talk(client, count=count, size=size)
        with stopped_reader(server.address, run_id) as reader:
            running = asyncio.create_task(client.runs.join(None, run_id))
            while not running.done():
                slowest = max(slowest, await latency_of_a_run(client, server.directory))
            stalled = memory.growth
            reader.send_signal(signal.SIGCONT)
            said, _ = await asyncio.to_thread(reader.communicate, timeout=60)

    say(
        f"{count} events of {size} bytes: grown by {stalled / MEGABYTE:.0f} MB while the reader"
        f" stood still, by {memory.growth / MEGABYTE:.0f} MB in all; slowest run beside it"
        f" {slowest:.2f} s"
    )
    assert said.split() == [str(count)]
    assert memory.growth < ROOM
    assert slowest < 10


class stopped_reader:  # noqa: N801 - used as a function
    """A process that has begun to read a run's stream and was stopped then."""

    def __init__(self, address: str, run_id: str) -> None:
        root = Path(__file__).parents[2]
        module = [sys.executable, "-m", "tests.support.slow_reader", address, run_id]
        self._process = subprocess.Popen(
            module, cwd=root, stdout=subprocess.PIPE, text=True, env={**os.environ}
        )

    def __enter__(self) -> "subprocess.Popen[str]":
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "reading\n"
        self._process.send_signal(signal.SIGSTOP)
        return self._process

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()


async def latency_of_a_run(client: RunwireClient, directory: Path) -> float:
    """Return how long a run of six supersteps takes from the call to its output."""
    begun = time.monotonic()
    run_input = chain_input(directory, "beside", seconds=0)
    output = await client.runs.wait(None, "chain", input=run_input)
    assert output["done"] == chain_result("beside")
    return time.monotonic() - begun


@pytest.mark.parametrize(
    "readers",
    [
        pytest.param(50, id="50 readers"),
        pytest.param(200, id="200 readers", marks=pytest.mark.chaos),
    ],
)
@pytest.mark.timeout(180)
async def test_many_readers_that_stand_still_cost_little_and_get_everything_later(
    server: ServerProcess, readers: int
) -> None:
    count, beside = 5_000, 20
    async with (
        get_client(server.address) as client,
        grpc.aio.insecure_channel(server.address, options=SMALL_WINDOW) as channel,
    ):
        alone = await runs_per_second(client, server.directory, beside)
        async with Memory(server.pid).watched() as memory:
            run_id = await talk(client, count=count, size=1000)
            request = runs_pb2.JoinRunStreamRequest(run_id=run_id)
            calls = [RunServiceStub(channel).JoinRunStream(request) for _ in range(readers)]
            for call in calls:
                await call.read()
            crowded = await runs_per_second(client, server.directory, beside)
            await client.runs.join(None, run_id)
            stalled = memory.growth
            counts = [await read_rest(call) for call in calls]

    say(
        f"{readers} readers: grown by {stalled / MEGABYTE:.0f} MB while they stood still, by"
        f" {memory.growth / MEGABYTE:.0f} MB in all; runs beside them: {crowded:.0f}/s, before:"
        f" {alone:.0f}/s"
    )
    assert counts == [count] * readers
    assert memory.growth < ROOM * readers / 50


async def runs_per_second(client: RunwireClient, directory: Path, count: int) -> float:
    begun = time.monotonic()
    await asyncio.gather(*(latency_of_a_run(client, directory) for _ in range(count)))
    return count / (time.monotonic() - begun)


async def read_rest(call: Any) -> int:
    """Return how many custom events a stream still has; each must be the one that is due."""
    count = 0
    while (response := await call.read()) is not grpc.aio.EOF:
        for event in response.events:
            if event.HasField("custom"):
                assert json.loads(event.custom.data.json)["index"] == count
                count += 1
    return count
