"""Streams that are cut anywhere, and go on with another server: what arrives is the log."""

import asyncio
from pathlib import Path

import pytest

from tests.chaos.callers import Caller
from tests.chaos.cluster import Cluster, cluster
from tests.chaos.conftest import Figure
from tests.chaos.history import of_kind
from tests.chaos.network import Toxics
from tests.support.watching import say

STEPS = 4


@pytest.mark.parametrize(
    ("streams", "events"),
    [
        pytest.param(10, 400, id="short"),
        pytest.param(100, 1000, id="long", marks=[pytest.mark.chaos, pytest.mark.timeout(400)]),
    ],
)
async def test_streams_go_on_with_any_server(
    tmp_path: Path, postgres_url: str, streams: int, events: int, figure: Figure
) -> None:
    async with cluster("streams", tmp_path, replicas=3, database_url=postgres_url) as servers:
        chance = servers.chance

        def bytes_of_a_life() -> int:
            # A message must get through before its reader gets on.
            return chance.randint(1, 300_000 if chance.random() < 0.3 else 20_000)

        servers.network.hurt(Toxics(limit=bytes_of_a_life))
        async with asyncio.TaskGroup() as tasks:
            for number in range(streams):
                tasks.create_task(make_and_read(servers, number, events))
        servers.network.heal()
        await servers.judge()
        lines = servers.history.lines
        kept = sum(len(line["events"]) for line in of_kind(lines, "log"))
        seen = sum(len(line["events"]) for line in of_kind(lines, "read"))
        figure(f"streams: {streams} x {events} events over cut connections", seen, f"{kept}")
        say(f"{servers.network.connections} connections")
        assert seen == kept >= streams * events


async def make_and_read(servers: Cluster, number: int, events: int) -> None:
    async with Caller(servers.history, f"reader-{number}", servers.address) as caller:
        run = await caller.create(
            f"run {number}",
            str(servers.ledger),
            steps=STEPS,
            seconds=0.2,
            events=events // STEPS,
        )
        await caller.read(run.run_id)
