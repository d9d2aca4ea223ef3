"""A server that is restarted over and over, in order and not, under clients that know nothing of
it: none of them sees an error, and none loses a part or has one twice."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runwire.client import Reconnect, RunwireClient, StreamPart, get_client, get_sync_client
from tests.chaos.conftest import Figure
from tests.chaos.network import free_port
from tests.support.serving import ServerProcess
from tests.support.watching import SYSTEM_GRAPHS, chain_input, chain_result, done_on

STEPS = 12
STEP_SECONDS = 0.15
UP_SECONDS = 2.0
"""How long the server is left alone. A run takes about as long: no run is killed three times, which
it would fail of."""
PATIENTLY = Reconnect(give_up_after=200)
"""A slow machine takes its time to start a server."""

MODES: Any = ["custom", "updates"]


@dataclass
class Read:
    """What somebody was told of a run, to its end."""

    label: str
    thread_id: str
    run_id: str = ""
    parts: list[StreamPart] = field(default_factory=list)

    def take(self, part: StreamPart) -> None:
        """Note a part."""
        self.run_id = self.run_id or part.data["run_id"]
        self.parts.append(part)


@dataclass
class Soak:
    """A server and those who call it, until it has been restarted so many times."""

    server: ServerProcess
    wanted: int
    reads: list[Read] = field(default_factory=list)
    waits: list[tuple[str, list[str]]] = field(default_factory=list)
    restarts: int = 0

    def input_of(self, label: str) -> dict[str, Any]:
        """Return the input of a run."""
        return chain_input(self.server.directory, label, STEPS, seconds=STEP_SECONDS)

    def labels(self, name: str) -> Any:
        """Give labels of runs, one after the other, until it is over."""
        for number in itertools.count():
            if self.restarts == self.wanted:
                return
            yield f"{name} {number}"

    async def stream(self, name: str, client: RunwireClient) -> None:
        """Start runs and read them."""
        for label in self.labels(name):
            thread_id = (await client.threads.create())["thread_id"]
            read = Read(label, thread_id)
            async for part in client.runs.stream(
                thread_id, "chain", input=self.input_of(label), stream_mode=MODES
            ):
                read.take(part)
            self.reads.append(read)

    async def join(self, name: str, client: RunwireClient) -> None:
        """Create runs, and read them from their beginning."""
        for label in self.labels(name):
            thread_id = (await client.threads.create())["thread_id"]
            read = Read(label, thread_id)
            run = await client.runs.create(
                thread_id, "chain_sync", input=self.input_of(label), stream_mode=MODES
            )
            async for part in client.runs.join_stream(thread_id, run["run_id"], stream_mode=MODES):
                read.take(part)
            self.reads.append(read)

    async def wait(self, name: str, client: RunwireClient) -> None:
        """Start runs and wait for them."""
        for label in self.labels(name):
            thread_id = (await client.threads.create())["thread_id"]
            values = await client.runs.wait(thread_id, "chain", input=self.input_of(label))
            self.waits.append((label, values["done"]))

    def stream_in_thread(self, name: str) -> None:
        """Start runs and read them, without an event loop."""
        with get_sync_client(self.server.address, reconnect=PATIENTLY) as client:
            for label in self.labels(name):
                thread_id = client.threads.create()["thread_id"]
                read = Read(label, thread_id)
                for part in client.runs.stream(
                    thread_id, "chain", input=self.input_of(label), stream_mode=MODES
                ):
                    read.take(part)
                self.reads.append(read)

    async def restart(self) -> None:
        """Tell the server to stop, or kill it, in turn, and start it again."""
        stops: Any = itertools.cycle([self.server.terminate, self.server.kill])
        while self.restarts < self.wanted:
            await asyncio.sleep(UP_SECONDS)
            await asyncio.to_thread(next(stops))
            await asyncio.to_thread(self.server.start)
            self.restarts += 1


@pytest.mark.parametrize(
    ("restarts", "streams"),
    [
        pytest.param(2, 10, id="short"),
        pytest.param(16, 50, id="long", marks=[pytest.mark.chaos, pytest.mark.timeout(600)]),
    ],
)
async def test_no_caller_notices_that_the_server_is_restarted(
    tmp_path: Path, restarts: int, streams: int, figure: Figure
) -> None:
    in_threads = joining = streams // 10
    server = ServerProcess(tmp_path, SYSTEM_GRAPHS, port=free_port())
    try:
        await asyncio.to_thread(server.start)
        soak = Soak(server, restarts)
        begun = time.monotonic()
        async with (
            get_client(server.address, reconnect=PATIENTLY) as client,
            asyncio.TaskGroup() as tasks,
        ):
            threads = ThreadPoolExecutor(in_threads)
            run_in_thread: Callable[..., Any] = partial(
                asyncio.get_running_loop().run_in_executor, threads
            )
            for number in range(streams - in_threads - joining):
                tasks.create_task(soak.stream(f"stream {number}", client))
            for number in range(joining):
                tasks.create_task(soak.join(f"join {number}", client))
                tasks.create_task(soak.wait(f"wait {number}", client))
            gathered = [
                run_in_thread(soak.stream_in_thread, f"thread {number}")
                for number in range(in_threads)
            ]
            tasks.create_task(soak.restart())
            await asyncio.gather(*gathered)
        figure("soak: seconds", time.monotonic() - begun, "")
        await check(soak, figure)
    finally:
        if server.is_running:
            server.kill()


async def check(soak: Soak, figure: Figure) -> None:
    """Compare what everybody was told with what there is."""
    lost = repeated = 0
    async with get_client(soak.server.address) as client:
        for read in soak.reads:
            kept = [part async for part in log_of(client, read)]
            seen = [part for part in read.parts if part.id]
            lost += len([part for part in kept if part not in seen])
            repeated += len(seen) - len({part.id for part in seen})
            check_order(seen, kept)
            assert seen[-1].event == "end"
            assert seen[-1].data["status"] == "success"
            assert await done_on(client, read.thread_id) == chain_result(read.label, steps=STEPS)
    for label, done in soak.waits:
        assert done == chain_result(label, steps=STEPS)
    attempts = sum(part.event == "metadata" for read in soak.reads for part in read.parts)
    figure("soak: restarts, by SIGTERM and SIGKILL in turn", soak.restarts, "")
    figure("soak: runs that were read", len(soak.reads), "all end well")
    figure("soak: runs that were waited for", len(soak.waits), "all end well")
    figure("soak: attempts that readers were told of", attempts, "")
    figure("soak: parts that were read", sum(len(read.parts) for read in soak.reads), "")
    figure("soak: parts lost", lost, "0")
    figure("soak: parts repeated", repeated, "0")
    assert (lost, repeated) == (0, 0)


async def log_of(client: RunwireClient, read: Read) -> AsyncIterator[StreamPart]:
    """Give the parts of a run that are kept."""
    async for part in client.runs.join_stream(None, read.run_id, stream_mode=MODES):
        if part.id:
            yield part


def check_order(seen: list[StreamPart], kept: list[StreamPart]) -> None:
    """Check that what was seen is what is kept, in order, and besides only what an attempt said
    last whose server died before it was stored."""
    places = [place_of(part) for part in seen]
    assert places == sorted(places)
    kept_places = {place_of(part) for part in kept}
    last_attempt = max(attempt for attempt, _ in kept_places)
    for place in {*places} - kept_places:
        assert place[0] < last_attempt
        assert place > max(known for known in {(place[0], 0), *kept_places} if known[0] == place[0])


def place_of(part: StreamPart) -> tuple[int, int]:
    """Return a part's attempt and index."""
    attempt, _, index = (part.id or "").partition("-")
    return int(attempt), int(index)
