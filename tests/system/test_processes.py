"""Two server processes on one port: one is killed, both are told to stop, and no caller loses
anything by it."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from tests.support.serving import QUICK_LEASES, ServerProcess, start_server_process
from tests.support.supervised import wait_gone
from tests.support.watching import (
    SYSTEM_GRAPHS,
    chain_input,
    chain_result,
    check_run,
    done_on,
    ledger,
    say,
    times_begun,
    until,
    until_begun,
)

from runwire.client import RunwireClient, get_client
from runwire.v1 import core_pb2, server_pb2, server_pb2_grpc

RUNS = 20
STEPS = 30


@pytest.fixture
def server(tmp_path: Path, postgres_url: str) -> Iterator[ServerProcess]:
    """A supervisor whose two servers are up."""
    flags = ("--processes=2", f"--database-url={postgres_url}", "--drain-grace=20s", *QUICK_LEASES)
    with start_server_process(tmp_path, *flags, graphs=SYSTEM_GRAPHS) as server:
        yield server


def processes(server: ServerProcess) -> dict[int, int]:
    """Return the newest process of each server, by its number."""
    up = [line for line in server.log_lines() if line["event"] == "a server process is up"]
    return {line["server_process"]: line["pid"] for line in up}


async def alive(server: ServerProcess) -> list[server_pb2.Server]:
    """Return the servers that are alive by their own account."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = server_pb2_grpc.ServerServiceStub(channel)
        return list((await stub.GetServerInfo(server_pb2.GetServerInfoRequest())).servers)


async def start_runs(client: RunwireClient, directory: Path) -> dict[str, str]:
    """Start runs on threads of their own; return the runs, and their threads, once each is at
    work."""
    started = {}
    for number in range(RUNS):
        thread_id = (await client.threads.create())["thread_id"]
        run_input = chain_input(directory, f"run {number}", STEPS, seconds=0.05)
        run = await client.runs.create(thread_id, "chain", input=run_input)
        started[run["run_id"]] = thread_id
    for number in range(RUNS):
        await until_begun(directory, f"run {number}", 1)
    return started


async def check_ended(server: ServerProcess, client: RunwireClient, runs: dict[str, str]) -> None:
    """Check that runs end with the result of a world without faults, and that their logs say so."""
    for number, (run_id, thread_id) in enumerate(runs.items()):
        run = await check_run(server.address, run_id)
        assert run.state == core_pb2.RUN_STATE_SUCCEEDED
        assert await done_on(client, thread_id) == chain_result(f"run {number}", steps=STEPS)


async def test_a_process_that_is_killed_costs_no_run(server: ServerProcess) -> None:
    before = processes(server)
    assert len({each.server_id for each in await alive(server)}) == 2
    async with get_client(server.address) as client:
        runs = await start_runs(client, server.directory)
        busiest = max(before, key=lambda number: load_of(server, before[number]))
        killed = time.monotonic()
        os.kill(before[busiest], signal.SIGKILL)
        await until(lambda: len(ups(server)) == 3, "the process is replaced")
        say(f"a process was replaced after {time.monotonic() - killed:.1f} s")
        await check_ended(server, client, runs)

    after = processes(server)
    assert after[3 - busiest] == before[3 - busiest], "the other one went on"
    assert after[busiest] != before[busiest]
    assert len(await alive(server)) == 2
    assert await asyncio.to_thread(server.terminate) == 0


def ups(server: ServerProcess) -> list[int]:
    return [line["pid"] for line in server.log_lines() if "process is up" in line["event"]]


def load_of(server: ServerProcess, pid: int) -> int:
    """Return how many supersteps a process has begun."""
    return sum(note.pid == pid for note in ledger(server.directory))


async def test_processes_that_are_told_to_stop_leave_runs_to_the_next_ones(
    server: ServerProcess,
) -> None:
    async with get_client(server.address) as client:
        runs = await start_runs(client, server.directory)
        told = time.monotonic()
        assert await asyncio.to_thread(server.terminate) == 0
        say(f"gone after {time.monotonic() - told:.1f} s")
        assert [line["event"] for line in server.log_lines()].count("stopped") == 3
        await asyncio.to_thread(server.start)
        await check_ended(server, client, runs)

    for run_id in runs:
        begun = times_begun(server.directory, run_id)
        assert begun == dict.fromkeys(range(STEPS), 1), "no superstep was executed twice"


async def test_processes_whose_supervisor_is_killed_stop_in_order(server: ServerProcess) -> None:
    async with get_client(server.address) as client:
        runs = await start_runs(client, server.directory)
        await asyncio.to_thread(server.kill)
        for pid in processes(server).values():
            await asyncio.to_thread(wait_gone, pid)
        await asyncio.to_thread(server.start)
        await check_ended(server, client, runs)

    for run_id in runs:
        begun = times_begun(server.directory, run_id)
        assert begun == dict.fromkeys(range(STEPS), 1), "no superstep was executed twice"


async def test_the_lines_of_a_run_say_which_process_wrote_them(server: ServerProcess) -> None:
    async with get_client(server.address) as client:
        run_input = chain_input(server.directory, "run", 1)
        await client.runs.wait(None, "chain", input=run_input)
    assert await asyncio.to_thread(server.terminate) == 0

    moves = [line for line in server.log_lines() if "state" in line]
    assert {line["server_process"] for line in moves} <= {1, 2}
    assert [line["state"] for line in moves] == ["running", "succeeded"]
