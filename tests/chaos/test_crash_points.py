"""A server that dies at every fault point, one after the other, with callers at it all the time."""

import asyncio
import signal
from pathlib import Path

import pytest

from runwire.server.model.faults import POINTS, SHARED_POINTS
from tests.chaos.cluster import Cluster, cluster
from tests.chaos.load import Load, Plan
from tests.support.serving import ServerProcess
from tests.support.watching import say

DEATH_SECONDS = 20.0
"""How long it may take until a server comes by its point."""

AT_ITS_END = ("drain.", "release.")
"""Points that a server comes by when it is told to stop."""

OFTEN = ("put", "flush.")
"""Points that a server comes by all the time: it lives on for a while, so that others find more
than beginnings."""


@pytest.mark.timeout(240)
async def test_a_crash_at_any_point_loses_nothing(tmp_path: Path) -> None:
    async with cluster("crash-points", tmp_path, "--max-attempts=100") as servers:
        load = Load(servers, Plan(callers=6, pause=0.2))
        loading = asyncio.create_task(load.run())
        points = sorted(POINTS - SHARED_POINTS)
        servers.chance.shuffle(points)
        [replica] = servers.replicas
        servers.kill(replica)
        for point in points:
            code = await die_at(point, servers, replica)
            assert code == -signal.SIGKILL, f"{point}: {replica.said()}"
        replica.flags[:] = servers.flags
        await servers.start(replica)
        load.end()
        await loading
        await servers.judge()
    say(f"{servers.kills} crashes at {len(points)} points, {len(load.run_ids)} runs")


async def die_at(point: str, servers: Cluster, replica: ServerProcess) -> int:
    """Start a server that is to die at a point; return its exit code."""
    once = point.startswith((*AT_ITS_END, "sweep."))
    chance = 1 if once else 0.03 if point.startswith(OFTEN) else 0.2
    replica.flags[:] = [*servers.flags, f"--faults={point}:kill:{chance}, seed=1"]
    replica.launch()
    if point.startswith(AT_ITS_END):
        await is_at_work(replica)
        replica.send(signal.SIGTERM)
    return await servers.died(replica, DEATH_SECONDS)


async def is_at_work(replica: ServerProcess) -> None:
    """Return when a server executes runs."""
    while replica.logged("run running") is None:  # noqa: ASYNC110 - a file
        await asyncio.sleep(0.01)
