"""A run that takes its server down each time it executes, among others that do not."""

import asyncio
from contextlib import suppress
from typing import Any

from tests.support.serving import ServerExited, ServerProcess
from tests.support.watching import (
    chain_input,
    chain_result,
    check_run,
    done_on,
    ledger,
    runs_at,
    until_begun,
)

from runwire.client import get_client
from runwire.v1 import core_pb2, runs_pb2

CRASHES = 3


async def survive(server: ServerProcess, run_id: str) -> int:
    """Start the server as often as it dies before the run has ended; return how often it died."""
    crashes = 0
    while not await has_ended(server, run_id):
        await asyncio.to_thread(server.wait)
        crashes += 1
        assert crashes <= 2 * CRASHES
        with suppress(ServerExited):  # the run may begin, and kill, before the server is up
            await asyncio.to_thread(server.start)
    return crashes


async def has_ended(server: ServerProcess, run_id: str) -> bool:
    """Return whether a run has ended; False when its server is gone."""
    request = runs_pb2.GetRunRequest(run_id=run_id)
    while server.is_running:
        async with runs_at(server.address) as runs:
            with suppress(Exception):
                run = (await runs.GetRun(request, timeout=5)).run
                if run.HasField("end_time"):
                    return True
        await asyncio.sleep(0.05)
    return False


async def test_it_fails_after_three_attempts_and_takes_no_other_with_it(
    server: ServerProcess,
) -> None:
    directory = server.directory
    async with get_client(server.address) as client:

        async def create(thread_id: str | None, graph_id: str, label: str, **more: Any) -> str:
            run_input = chain_input(directory, label, **more)
            return (await client.runs.create(thread_id, graph_id, input=run_input))["run_id"]

        thread_ids = [(await client.threads.create())["thread_id"] for _ in range(3)]
        await client.runs.wait(thread_ids[0], "chain", input=chain_input(directory, "earlier"))
        others = [await create(thread_id, "chain", "other", wait_at=3) for thread_id in thread_ids]
        others.append(await create(None, "chain", "stateless", wait_at=3))
        await until_begun(directory, "stateless", 3)
        poisoned = (await client.threads.create())["thread_id"]
        poison = await create(poisoned, "kills", "poison")
        crashes = await survive(server, poison)

        failed = await check_run(server.address, poison)
        assert crashes == CRASHES
        assert failed.state == core_pb2.RUN_STATE_FAILED
        assert (failed.attempt, failed.error.type) == (CRASHES, "AttemptsExhausted")
        assert [note.what for note in ledger(directory)].count("kill") == CRASHES
        assert (await client.threads.get(poisoned))["status"] == "error"

        (directory / "open").touch()
        others.append(await create(poisoned, "chain", "later"))
        for run_id in others:
            assert (await check_run(server.address, run_id)).state == core_pb2.RUN_STATE_SUCCEEDED
        assert await done_on(client, thread_ids[0]) == chain_result("earlier", "other")
