"""A database that crashes and comes back, again and again, under load."""

import asyncio
import time
from pathlib import Path

import pytest

from tests.chaos.cluster import Cluster, cluster
from tests.chaos.conftest import Figure
from tests.chaos.load import Load, Plan
from tests.chaos.own_postgres import own_postgres
from tests.support.postgres import PostgresServer
from tests.support.watching import get_run

BACK_SECONDS = 1.0
RESTARTS = 12
PAUSE_SECONDS = 4.0
"""With the crash and the start: every five seconds."""


@pytest.mark.chaos
@pytest.mark.timeout(400)
async def test_a_database_that_restarts_loses_nothing(tmp_path: Path, figure: Figure) -> None:
    with own_postgres() as (postgres, url):
        async with cluster(
            "restarts", tmp_path, "--max-attempts=100", replicas=2, database_url=url
        ) as servers:
            load = Load(servers, Plan(callers=6, pause=0.3, steps=4, seconds=0.1))
            loading = asyncio.create_task(load.run())
            waits: list[float] = []
            for _ in range(RESTARTS):
                await asyncio.sleep(PAUSE_SECONDS)
                await restart(servers, postgres)
                waits += await asyncio.gather(
                    *(until_answered(each.address, load.run_ids[0]) for each in servers.replicas)
                )
            await asyncio.sleep(2)
            load.end()
            await loading
            await servers.judge()
            made = len(load.run_ids)
            figure(f"{RESTARTS} database restarts: runs right", f"{made} of {made}", "all")
            figure("database restarts: servers answer again after", max(waits), "≤ 1 s")
            assert max(waits) <= BACK_SECONDS


async def restart(servers: Cluster, postgres: PostgresServer) -> None:
    """Crash the database, and start it again."""
    servers.history.add("fault", do="crash database", pid=0)
    await asyncio.to_thread(postgres.stop, "QUIT")
    await asyncio.to_thread(postgres.start)
    servers.history.add("fault", do="start database", pid=0)


async def until_answered(address: str, run_id: str) -> float:
    """Return how long it takes until a server answers a question again."""
    begun = time.monotonic()
    while True:
        try:
            await asyncio.wait_for(get_run(address, run_id), 5)
        except Exception:
            if time.monotonic() - begun > 30:
                raise
            await asyncio.sleep(0.02)
        else:
            return time.monotonic() - begun
