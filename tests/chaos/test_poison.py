"""A run that kills whichever server executes it: three of them, and no other run."""

import asyncio
from pathlib import Path

import pytest

from tests.chaos.callers import Caller
from tests.chaos.cluster import Cluster, cluster
from tests.chaos.conftest import Figure
from tests.chaos.history import of_kind

OTHERS = 6
ATTEMPTS = 3


@pytest.mark.chaos
@pytest.mark.timeout(120)
async def test_a_run_that_kills_servers_is_stopped_and_no_other_is_harmed(
    tmp_path: Path, postgres_url: str, figure: Figure
) -> None:
    async with cluster("poison", tmp_path, replicas=2, database_url=postgres_url) as servers:
        reviving = asyncio.create_task(revive(servers))
        async with Caller(servers.history, "caller", servers.address) as caller:
            others = [
                await caller.create(
                    f"other {number}",
                    str(servers.ledger),
                    thread=f"00000000-0000-4000-8000-{number:012}",
                    steps=10,
                    seconds=0.5,
                )
                for number in range(OTHERS)
            ]
            poison = await caller.create(
                "poison", str(servers.ledger), graph="kills", steps=1, expects="FAILED"
            )
            for run in (*others, poison):
                await caller.join(run.run_id)
        reviving.cancel()
        await asyncio.gather(reviving, return_exceptions=True)
        await servers.judge()
        lines = servers.history.lines
        [failed] = [run for run in of_kind(lines, "run") if run["label"] == "poison"]
        done = sum(run["state"] == "SUCCEEDED" for run in of_kind(lines, "run"))
        figure("poison: servers it took", servers.kills, f"{ATTEMPTS}")
        figure("poison: other runs that came to their result", done, f"{OTHERS}")
        assert (failed["state"], failed["error"]) == ("FAILED", "AttemptsExhausted")
        assert servers.kills == ATTEMPTS


async def revive(servers: Cluster) -> None:
    """Start servers again that have died."""
    while True:
        for replica in servers.replicas:
            if not replica.is_running:
                await servers.died(replica, 1)
                await servers.start(replica)
        await asyncio.sleep(0.05)
