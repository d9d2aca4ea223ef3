"""Every fault point is a place that a real server comes by."""

import asyncio
import signal
from pathlib import Path

from runwire.client import get_client
from runwire.server.model.faults import POINTS, SHARED_POINTS
from tests.chaos.cluster import FAST
from tests.support.serving import ServerProcess, start_server_process
from tests.support.watching import SYSTEM_GRAPHS, chain_input, until, until_begun

WEBHOOKS = ("--webhook-unsigned", "--no-webhook-require-https", "--webhook-loopback")
NOBODY = "http://127.0.0.1:1/"
"""A receiver that is not there."""


async def test_a_server_on_sqlite_comes_by_every_point(tmp_path: Path) -> None:
    passed = await live("--faults=*:sleep=0", directory=tmp_path)

    assert sorted(POINTS - SHARED_POINTS - passed) == []


async def test_a_server_on_postgresql_comes_by_every_point(
    tmp_path: Path, postgres_url: str
) -> None:
    flags = ("--faults=*:sleep=0", f"--database-url={postgres_url}", *FAST)
    passed = await live(*flags, directory=tmp_path)

    assert sorted(POINTS - passed) == []


async def live(*flags: str, directory: Path) -> set[str]:
    """Live a server's life, with a death in the middle; return the points that it came by."""
    given = (*flags, *WEBHOOKS)
    with start_server_process(directory, *given, graphs=SYSTEM_GRAPHS) as server:
        async with get_client(server.address) as client:
            thread_id = (await client.threads.create())["thread_id"]
            held = chain_input(directory, "held", wait_at=1)
            await client.runs.create(thread_id, "chain", input=held)
            await until_begun(directory, "held", 1)
            waiting = chain_input(directory, "waiting")
            run = await client.runs.create(thread_id, "chain", input=waiting)
            await client.runs.cancel(thread_id, run["run_id"])
            await client.runs.create(thread_id, "chain_sync", input=waiting)
        server.kill()
        passed = points_passed(server)
        await asyncio.to_thread(server.start)
        await until(lambda: "sweep.after_commit" in points_passed(server), "runs are taken back")
        await until(lambda: "claim.after_commit" in points_passed(server), "runs are claimed")
        server.send(signal.SIGTERM)
        (directory / "open").touch()
        await asyncio.to_thread(server.wait)
        passed |= points_passed(server)
        await asyncio.to_thread(server.start)
        async with get_client(server.address) as client:
            await client.runs.wait(thread_id, "chain", input=waiting, webhook=NOBODY)
        await until(lambda: "deliver.after_commit" in points_passed(server), "a webhook is sent")
        return passed | points_passed(server)


def points_passed(server: ServerProcess) -> set[str]:
    """Return the points at which faults struck the server that was started last."""
    return {str(line["point"]) for line in server.log_lines() if line["event"] == "a fault strikes"}
