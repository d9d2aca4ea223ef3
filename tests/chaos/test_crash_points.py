"""A server that dies at every fault point, one after the other, with callers at it all the time."""

import asyncio
import signal
from pathlib import Path

import pytest

from runwire.server.model.faults import POINTS, SHARED_POINTS, WEBHOOK_POINTS
from tests.chaos.cluster import Cluster, cluster
from tests.chaos.load import Load, Plan
from tests.chaos.network import Toxics
from tests.support.serving import ServerProcess
from tests.support.watching import say, until

DEATH_SECONDS = 180.0
"""How long it may take until a server is up and comes by its point."""

AT_ITS_END = ("drain.", "release.")
"""Points that a server comes by when it is told to stop."""

ALWAYS = (*AT_ITS_END, "sweep.", "renew.")

OFTEN = ("put", "flush.", "notifications.")
"""Points that a server comes by all the time: it lives on for a while, so that others find more
than beginnings."""


ON_SQLITE = POINTS - SHARED_POINTS - WEBHOOK_POINTS
WORST = frozenset(
    {
        "create.after_commit",
        "claim.after_commit",
        "put.after_commit",
        "flush.before_commit",
        "cancel.after_commit",
        "finish.before_commit",
        "finish.after_commit",
    }
)
"""Points at which somebody has just been promised something, or is just about to be."""


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "where", [WORST, pytest.param(ON_SQLITE, marks=pytest.mark.chaos)], ids=["worst", "all"]
)
async def test_a_crash_at_any_point_loses_nothing_on_sqlite(
    tmp_path: Path, where: frozenset[str]
) -> None:
    async with cluster("crash-points-sqlite", tmp_path, "--max-attempts=100") as servers:
        await crash_everywhere(servers, where)


@pytest.mark.chaos
@pytest.mark.timeout(400)
async def test_a_crash_at_any_point_loses_nothing_on_postgresql(
    tmp_path: Path, postgres_url: str
) -> None:
    async with cluster(
        "crash-points-postgresql",
        tmp_path,
        "--max-attempts=100",
        replicas=2,
        database_url=postgres_url,
    ) as servers:
        await crash_everywhere(servers, POINTS - WEBHOOK_POINTS)


async def crash_everywhere(servers: Cluster, where: frozenset[str]) -> None:
    """Let the first server die at each of the points, and judge what came of it."""
    # A caller that never has to connect again would never come back to a server that died.
    servers.network.hurt(Toxics(reset_after=lambda: servers.chance.uniform(1, 3)))
    load = Load(servers, Plan(callers=6, pause=0.2))
    loading = asyncio.create_task(load.run())
    points = sorted(where)
    servers.chance.shuffle(points)
    replica = servers.replicas[0]
    servers.kill(replica)
    flags = list(replica.flags)
    for point in points:
        if point.startswith("sweep."):
            await leave_runs(servers, flags)
        code = await die_at(point, servers, replica, flags)
        assert code == -signal.SIGKILL, f"{point}: {replica.said()}"
        for other in servers.replicas[1:]:
            if not other.is_running:
                await servers.start(other)
    replica.flags[:] = flags
    await servers.start(replica)
    load.end()
    await loading
    await servers.judge()
    say(f"{servers.kills} crashes at {len(points)} points, {len(load.run_ids)} runs")


async def leave_runs(servers: Cluster, flags: list[str]) -> None:
    """Kill a server while it executes runs, so that the next one to start has something to take."""
    dying = servers.replicas[-1]
    if not dying.is_running:
        dying.flags[:] = flags
        await servers.start(dying)
    await until(lambda: servers.is_executing(dying), "a server executes runs")
    servers.kill(dying)


async def die_at(point: str, servers: Cluster, replica: ServerProcess, flags: list[str]) -> int:
    """Start a server that is to die at a point; return its exit code."""
    chance = 1 if point.startswith(ALWAYS) else 0.03 if point.startswith(OFTEN) else 0.2
    replica.flags[:] = [*flags, f"--faults={point}:kill:{chance}, seed=1"]
    replica.launch()
    if point.startswith(AT_ITS_END):
        await until(lambda: replica.logged("run running"), "a server executes runs")
        replica.send(signal.SIGTERM)
    return await servers.died(replica, DEATH_SECONDS)
