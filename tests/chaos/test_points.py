"""Every fault point is a place that a real server comes by."""

import asyncio
import signal
from pathlib import Path

from runwire.client import get_client
from runwire.server.model.faults import POINTS, SHARED_POINTS
from tests.support.serving import ServerProcess, start_server_process
from tests.support.watching import SYSTEM_GRAPHS, chain_input, check_run, until_begun


async def test_a_server_s_life_leads_past_every_point(tmp_path: Path) -> None:
    with start_server_process(tmp_path, "--faults=*:sleep=0", graphs=SYSTEM_GRAPHS) as server:
        async with get_client(server.address) as client:
            thread_id = (await client.threads.create())["thread_id"]
            held = chain_input(tmp_path, "held", wait_at=1)
            await client.runs.create(thread_id, "chain", input=held)
            await until_begun(tmp_path, "held", 1)
            waiting = chain_input(tmp_path, "waiting")
            run = await client.runs.create(thread_id, "chain", input=waiting)
            await client.runs.cancel(thread_id, run["run_id"])
            await client.runs.create(thread_id, "chain_sync", input=waiting)
        server.send(signal.SIGTERM)
        (tmp_path / "open").touch()
        await asyncio.to_thread(server.wait)
        passed = points_passed(server)
        (tmp_path / "open").unlink()
        await asyncio.to_thread(server.start)
        async with get_client(server.address) as client:
            lost = chain_input(tmp_path, "lost", wait_at=0)
            run = await client.runs.create(None, "chain", input=lost)
            await until_begun(tmp_path, "lost", 0)
        await asyncio.to_thread(server.restart)
        (tmp_path / "open").touch()
        await check_run(server.address, run["run_id"])
        passed |= points_passed(server)

    assert sorted(POINTS - SHARED_POINTS - passed) == []


def points_passed(server: ServerProcess) -> set[str]:
    """Return the points at which faults struck the server that was started last."""
    return {str(line["point"]) for line in server.log_lines() if line["event"] == "a fault strikes"}
