"""Many runs, and a server that is killed again and again: what was accepted ends once, as it
should."""

import asyncio
import itertools
import json
import os
import random
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import grpc
import pytest
from tests.support.serving import ServerProcess, start_server_process
from tests.support.statuses import Failure
from tests.support.watching import (
    SYSTEM_GRAPHS,
    chain_input,
    chain_result,
    check_run,
    done_on,
    ledger,
    runs_at,
    say,
)

from runwire.client import RunwireClient, get_client
from runwire.v1 import core_pb2, runs_pb2
from runwire.v1.payload_pb2 import Payload
from runwire.v1.runs_pb2_grpc import RunServiceStub

T = TypeVar("T")

STEPS = 6
PATIENCE_SECONDS = 60.0
"""How long a call is repeated while its server is dead."""


@dataclass(frozen=True)
class Size:
    """How much of everything: seconds of storm, threads, runs on each, runs without a thread, and
    runs that are cancelled, readers."""

    seconds: float
    threads: int
    runs_per_thread: int
    stateless: int
    cancelled: int
    readers: int


SMALL = Size(15, threads=10, runs_per_thread=3, stateless=5, cancelled=5, readers=5)
LARGE = Size(60, threads=40, runs_per_thread=4, stateless=20, cancelled=20, readers=20)


@dataclass
class Storm:
    """A storm. Everything it made is in here, by the labels of the runs."""

    server: ServerProcess
    size: Size
    random: random.Random
    threads: dict[str, list[str]] = field(default_factory=dict)
    """The labels of each thread's runs, in the order in which they were accepted."""
    runs: dict[str, str] = field(default_factory=dict)
    cancels: dict[str, bool] = field(default_factory=dict)
    """Whether the cancel of a run was accepted."""
    read: dict[str, list[Any]] = field(default_factory=dict)
    """The parts that readers got."""
    kills: int = 0
    lost_calls: int = 0

    async def rage(self) -> None:
        """Make runs while the server is killed again and again; return when all have ended."""
        async with get_client(self.server.address) as client, asyncio.TaskGroup() as tasks:
            await client.threads.create()  # a client is patient with a server that it has reached
            tasks.create_task(self._kill())
            for number in range(self.size.threads):
                tasks.create_task(self._fill_thread(f"thread {number}", client))
            for number in range(self.size.stateless):
                tasks.create_task(self._create(f"stateless {number}", ""))
            for number in range(self.size.cancelled):
                tasks.create_task(self._create_and_cancel(f"cancelled {number}"))
        for run_id in self.runs.values():
            await self._join(run_id)

    async def _join(self, run_id: str) -> None:
        request = runs_pb2.JoinRunRequest(run_id=run_id)
        await self._persist(lambda stub: stub.JoinRun(request))

    async def _kill(self) -> None:
        end = time.monotonic() + self.size.seconds
        while time.monotonic() < end:
            await asyncio.sleep(self.random.uniform(0.5, 1.5))
            self.server.kill()
            self.kills += 1
            if self.random.random() < 0.25:
                await self._kill_while_starting()
            await asyncio.to_thread(self.server.start)

    async def _kill_while_starting(self) -> None:
        self.server.launch()
        await asyncio.sleep(self.random.uniform(0.5, 3))
        self.server.kill()
        self.kills += 1

    async def _fill_thread(self, name: str, client: RunwireClient) -> None:
        thread_id = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
        labels = self.threads.setdefault(thread_id, [])
        for number in range(self.size.runs_per_thread):
            label = f"{name} run {number}"
            await self._create(label, thread_id)
            labels.append(label)
        if len(self.read) < self.size.readers:
            await self._read(labels[-1], client)

    async def _create(self, label: str, thread_id: str) -> str:
        """Create a run with a request id, as often as it takes, and sometimes once more."""
        await asyncio.sleep(self.random.uniform(0, self.size.seconds / self.size.runs_per_thread))
        run_input = chain_input(self.server.directory, label, STEPS, seconds=0.05)
        request = runs_pb2.CreateRunRequest(
            spec=core_pb2.RunSpec(
                assistant_id=self.random.choice(["chain", "chain_sync"]),
                thread_id=thread_id,
                if_thread_missing=core_pb2.IF_THREAD_MISSING_CREATE,
                input=Payload(json=json.dumps(run_input)),
            ),
            request_id=label,
        )
        response = await self._persist(lambda stub: stub.CreateRun(request))
        self.runs[label] = response.run.run_id
        if self.random.random() < 0.3:
            again = await self._persist(lambda stub: stub.CreateRun(request))
            assert (again.run.run_id, again.replayed) == (response.run.run_id, True)
        return response.run.run_id

    async def _create_and_cancel(self, label: str) -> None:
        run_id = await self._create(label, "")
        await asyncio.sleep(self.random.uniform(0, 0.4))
        request = runs_pb2.CancelRunRequest(run_id=run_id)
        try:
            await self._persist(lambda stub: stub.CancelRun(request))
            self.cancels[label] = True
        except grpc.aio.AioRpcError as error:
            if Failure(error).reason != "RUN_FINISHED":
                raise
            self.cancels[label] = False

    async def _read(self, label: str, client: RunwireClient) -> None:
        """Follow a run as a user of the client does, who knows nothing of any kill."""
        parts = self.read.setdefault(label, [])
        async for part in client.runs.join_stream(None, self.runs[label]):
            parts.append(part)

    async def _persist(self, call: Callable[[RunServiceStub], Awaitable[T]]) -> T:
        """Make a call again until a server answers it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                async with self._stub() as stub:
                    return await call(stub)
            except grpc.aio.AioRpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE or time.monotonic() > deadline:
                    raise
            self.lost_calls += 1
            await asyncio.sleep(0.1)

    @asynccontextmanager
    async def _stub(self) -> AsyncIterator[RunServiceStub]:
        async with grpc.aio.insecure_channel(self.server.address) as channel:
            yield RunServiceStub(channel)


@pytest.mark.parametrize(
    "size",
    [
        pytest.param(SMALL, id="small", marks=pytest.mark.timeout(150)),
        pytest.param(LARGE, id="large", marks=[pytest.mark.chaos, pytest.mark.timeout(600)]),
    ],
)
async def test_every_accepted_run_ends_once_and_right(tmp_path: Path, size: Size) -> None:
    seed = int(os.environ.get("STORM_SEED", random.randrange(10**6)))
    say(f"STORM_SEED={seed}")
    # The storm is no run's fault.
    with start_server_process(tmp_path, "--max-attempts=100", graphs=SYSTEM_GRAPHS) as server:
        storm = Storm(server, size, random.Random(seed))
        await storm.rage()

        states = await check_runs(storm)
        await check_threads(storm)
        check_cancels(storm, states)
        check_readers(storm)
        again = check_ledger(storm, states)
    say(
        f"{storm.kills} kills, {len(storm.runs)} runs, {storm.lost_calls} lost calls,"
        f" {again} supersteps executed again"
    )


async def check_runs(storm: Storm) -> dict[str, core_pb2.Run]:
    """Each run has one end, which its log and its row agree on."""
    checked = {
        label: await check_run(storm.server.address, run_id) for label, run_id in storm.runs.items()
    }
    assert len({run.run_id for run in checked.values()}) == len(storm.runs)
    for label, run in checked.items():
        if label not in storm.cancels:
            assert run.state == core_pb2.RUN_STATE_SUCCEEDED, label
    return checked


async def check_threads(storm: Storm) -> None:
    """Each thread has what its runs would have left without a storm, and no other run."""
    async with get_client(storm.server.address) as client:
        for thread_id, labels in storm.threads.items():
            assert await done_on(client, thread_id) == chain_result(*labels, steps=STEPS)
            runs = await client.runs.list(thread_id, limit=100)
            wanted = [storm.runs[label] for label in labels]
            assert [run["run_id"] for run in reversed(runs)] == wanted


def check_cancels(storm: Storm, states: dict[str, core_pb2.Run]) -> None:
    """A cancel that was accepted stands. One that was refused came too late, or is the second try
    of one that was accepted while the server died."""
    late = (core_pb2.RUN_STATE_SUCCEEDED, core_pb2.RUN_STATE_CANCELLED)
    for label, accepted in storm.cancels.items():
        assert states[label].state in (late[1:] if accepted else late), label


def check_readers(storm: Storm) -> None:
    """Readers got everything once, to the end."""
    for label, parts in storm.read.items():
        ids = [part.id for part in parts if part.id]
        assert len(ids) == len(set(ids)), label
        assert (parts[-1].event, parts[-1].data["status"]) == ("end", "success")
        states = [part.data["done"] for part in parts if part.event == "values"]
        assert states[-1][-STEPS:] == chain_result(label, steps=STEPS)


def check_ledger(storm: Storm, states: dict[str, core_pb2.Run]) -> int:
    """Runs of a thread followed each other, and only what was in flight executed again. Return how
    many supersteps did."""
    notes = ledger(storm.server.directory)
    begun = Counter(note.label for note in notes if note.what == "begin")
    executed_again = 0
    for thread_id, labels in storm.threads.items():
        assert in_sequence(note.label for note in notes if note.thread_id == thread_id) == labels
        for label in labels:
            assert STEPS <= begun[label] <= STEPS + states[label].attempt - 1, label
            executed_again += begun[label] - STEPS
    return executed_again


def in_sequence(items: Iterable[str]) -> list[str]:
    """Return items without those that follow their like."""
    return [item for item, _ in itertools.groupby(items)]


@pytest.mark.chaos
@pytest.mark.timeout(300)
async def test_what_was_acknowledged_is_there_after_a_kill_at_once(tmp_path: Path) -> None:
    seed = int(os.environ.get("ACKNOWLEDGED_SEED", random.randrange(10**6)))
    say(f"ACKNOWLEDGED_SEED={seed}")
    chance = random.Random(seed)
    acknowledged: dict[str, str] = {}
    with start_server_process(tmp_path, "--max-attempts=100", graphs=SYSTEM_GRAPHS) as server:
        for kill in range(25):
            await create_until_killed(server, chance.uniform(0.05, 0.4), kill, acknowledged)
            await asyncio.to_thread(server.start)
        for label, run_id in acknowledged.items():
            run = await check_run(server.address, run_id)
            assert run.state == core_pb2.RUN_STATE_SUCCEEDED, label
    say(f"{len(acknowledged)} creates were acknowledged")


async def create_until_killed(
    server: ServerProcess, seconds: float, kill: int, acknowledged: dict[str, str]
) -> None:
    """Create runs as fast as the server takes them, and kill it meanwhile."""

    async def create(stub: RunServiceStub, caller: int) -> None:
        for number in itertools.count():
            label = f"{kill}.{caller}.{number}"
            run_input = chain_input(server.directory, label, steps=1, seconds=0)
            spec = core_pb2.RunSpec(assistant_id="chain", input=Payload(json=json.dumps(run_input)))
            try:
                response = await stub.CreateRun(runs_pb2.CreateRunRequest(spec=spec))
            except grpc.aio.AioRpcError:
                return
            acknowledged[label] = response.run.run_id

    async with runs_at(server.address) as stub:
        creating = [asyncio.create_task(create(stub, caller)) for caller in range(8)]
        await asyncio.sleep(seconds)
        server.kill()
        await asyncio.gather(*creating)
