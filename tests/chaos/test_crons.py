"""Crons fire once for each of their times, although the servers that fire them are killed."""

import asyncio
from collections import Counter
from pathlib import Path

import psycopg
import pytest

from runwire.client import get_client
from tests.chaos.cluster import FAST
from tests.chaos.conftest import Figure
from tests.support.replicas import replica_processes
from tests.support.serving import ServerProcess
from tests.support.watching import chain_input

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]

CRONS, ROUNDS = 100, 3
KILLS = "--faults=create.before_commit:kill:0.006,create.after_commit:kill:0.006"


async def test_no_time_is_lost_or_fired_for_twice_when_servers_die_firing(
    tmp_path: Path, postgres_url: str, figure: Figure
) -> None:
    kills = 0
    async with replica_processes(tmp_path, postgres_url, *[(*FAST, KILLS)] * 3) as servers:
        await create(servers)
        for _ in range(ROUNDS):
            make_due(postgres_url)
            while waiting(postgres_url):
                dead = [server for server in servers if not server.is_running]
                kills += len(dead)
                await asyncio.gather(*(asyncio.to_thread(server.start) for server in dead))
                await asyncio.sleep(0.05)
        counts = Counter(cron_id for (cron_id,) in rows(postgres_url, "SELECT cron_id FROM runs"))
        missed = rows(postgres_url, "SELECT sum(missed_fires), count(last_error) FROM crons")
    assert set(counts.values()) == {ROUNDS}
    assert len(counts) == CRONS
    assert missed == [(0, 0)]
    assert kills > 0
    figure("times that crons fired for, once each", counts.total(), f"{CRONS * ROUNDS}")
    figure("servers killed while they fired", kills, "> 0")


async def create(servers: list[ServerProcess]) -> None:
    """Create crons that would not fire by themselves."""
    living = ",".join(server.address for server in servers)
    graph_input = chain_input(servers[0].directory, "cron", steps=1)
    async with get_client(living) as client:
        for _ in range(CRONS):
            await client.crons.create("chain", schedule="@yearly", input=graph_input)


def make_due(url: str) -> None:
    """Have all crons fire now, all of them for the same moment."""
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE crons SET next_fire_time = now()")


def waiting(url: str) -> bool:
    """Whether crons have not fired yet."""
    return bool(rows(url, "SELECT 1 FROM crons WHERE next_fire_time <= now() LIMIT 1"))


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchall()
