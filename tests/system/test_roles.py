"""Servers that take calls, and workers that execute runs, on one database."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from tests.support.commands import run_command
from tests.support.serving import QUICK_LEASES, ServerProcess, start_server_process
from tests.support.watching import (
    SYSTEM_GRAPHS,
    chain_input,
    chain_result,
    done_on,
    ledger,
    times_begun,
    until,
    until_begun,
)

from runwire.client import get_client
from runwire.v1 import server_pb2, server_pb2_grpc

STEPS = 30


@dataclass
class Apart:
    """A server that executes nothing, and two workers."""

    server: ServerProcess
    workers: list[ServerProcess]


@pytest.fixture
def apart(tmp_path: Path, postgres_url: str) -> Iterator[Apart]:
    flags = (f"--database-url={postgres_url}", "--drain-grace=20s", *QUICK_LEASES)
    with ExitStack() as stack:

        def start(name: str, *more: str, command: str = "serve") -> ServerProcess:
            directory = tmp_path / name
            directory.mkdir()
            return stack.enter_context(
                start_server_process(
                    directory, *flags, *more, graphs=SYSTEM_GRAPHS, command=command
                )
            )

        server = start("server", "--no-runner")
        yield Apart(server, [start(name, command="worker") for name in ("worker-1", "worker-2")])


async def test_what_a_server_accepts_is_executed_by_workers(apart: Apart, tmp_path: Path) -> None:
    async with get_client(apart.server.address) as client:
        thread_id = (await client.threads.create())["thread_id"]
        run_input = chain_input(tmp_path, "run", 3)
        parts = [
            part
            async for part in client.runs.stream(
                thread_id, "chain", input=run_input, stream_mode="custom"
            )
        ]
        # Both are read, and written, by the graph, which the server has loaded too.
        state = await client.threads.get_state(thread_id)
        await client.threads.update_state(thread_id, {"done": ["by hand"]}, as_node="link")

        assert [part.data["step"] for part in parts if part.event == "custom"] == [0, 1, 2]
        assert state["values"]["done"] == chain_result("run", steps=3)
        assert await done_on(client, thread_id) == [*chain_result("run", steps=3), "by hand"]
    workers = {worker.pid for worker in apart.workers}
    assert {note.pid for note in ledger(tmp_path)} <= workers


async def test_a_worker_answers_health_and_nothing_else(apart: Apart) -> None:
    worker = apart.workers[0]
    ready = await run_command("health", "--address", worker.address)
    live = await run_command("health", "--service=liveness", "--address", worker.address)
    service = await run_command(
        "health", "--service=runwire.v1.RunService", "--address", worker.address
    )
    call = await run_command("runs", "stream", "chain", "--address", worker.address)

    assert (ready.exit_code, live.exit_code, service.exit_code) == (0, 0, 2)
    assert call.exit_code == 2
    assert "does not know this call" in call.errors


async def test_everybody_is_in_the_list_of_servers_with_what_it_does(apart: Apart) -> None:
    async with grpc.aio.insecure_channel(apart.server.address) as channel:
        stub = server_pb2_grpc.ServerServiceStub(channel)
        info = await stub.GetServerInfo(server_pb2.GetServerInfoRequest())
        stats = await stub.GetQueueStats(server_pb2.GetQueueStatsRequest())

    does = [(each.takes_calls, each.executes_runs) for each in info.servers]
    assert does == [(True, False), (False, True), (False, True)]
    assert info.server == info.servers[0]
    assert stats.free_slots == sum(each.max_concurrent_runs for each in info.servers)
    assert info.server.max_concurrent_runs == 0


async def test_a_worker_that_is_told_to_stop_hands_its_runs_over(
    apart: Apart, tmp_path: Path
) -> None:
    async with get_client(apart.server.address) as client:
        thread_id = (await client.threads.create())["thread_id"]
        run_input = chain_input(tmp_path, "run", STEPS, seconds=0.05)
        run = await client.runs.create(thread_id, "chain", input=run_input)
        await until_begun(tmp_path, "run", 1)
        first = ledger(tmp_path)[0].pid
        (busy,) = [worker for worker in apart.workers if worker.pid == first]
        assert await asyncio.to_thread(busy.terminate) == 0
        await client.runs.join(thread_id, run["run_id"])

        assert await done_on(client, thread_id) == chain_result("run", steps=STEPS)
    assert times_begun(tmp_path, run["run_id"]) == dict.fromkeys(range(STEPS), 1)
    (other,) = [worker for worker in apart.workers if worker is not busy]
    assert {note.pid for note in ledger(tmp_path)} == {first, other.pid}


async def test_without_a_worker_runs_wait_and_say_so(apart: Apart, tmp_path: Path) -> None:
    for worker in apart.workers:
        assert await asyncio.to_thread(worker.terminate) == 0
    async with (
        get_client(apart.server.address) as client,
        grpc.aio.insecure_channel(apart.server.address) as channel,
    ):
        stub = server_pb2_grpc.ServerServiceStub(channel)
        run_input = chain_input(tmp_path, "run", 1)
        run = await client.runs.create(None, "chain", input=run_input)
        stats = await stub.GetQueueStats(server_pb2.GetQueueStatsRequest())

        assert (stats.pending_runs, stats.claimable_runs, stats.free_slots) == (1, 0, 0)
        await asyncio.to_thread(apart.workers[0].start)
        await client.runs.join(None, run["run_id"])
        await until(lambda: ledger(tmp_path), "the run has executed")
