"""Ten thousand runs that wait: what is done all the time takes no longer for that."""

import random
import time
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from runwire.server.core.servers import enter
from runwire.server.core.sweeping import claim
from runwire.server.storage.database import Connection, Database
from runwire.v1 import core_pb2, runs_pb2
from runwire.v1.runs_pb2_grpc import RunServiceStub
from tests.chaos.cluster import Cluster, cluster
from tests.chaos.conftest import Figure
from tests.chaos.numbers import quantile
from tests.support.callers import of_json
from tests.support.records import a_run, a_server, add_run

PENDING = 10_000
CLAIMS = 500
LISTS = 50
MEGABYTE = 1024 * 1024

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]


async def test_claims(database: Database, figure: Figure) -> None:
    where, limit = ("PostgreSQL", 0.050) if database.shared else ("SQLite", 0.015)
    await fill(database)
    seconds = await time_claims(database)
    figure(f"{PENDING} pending: claim p99 ({where})", seconds, f"≤ {limit} s")
    assert seconds <= limit


async def fill(database: Database) -> None:
    """Store runs that wait, a tenth of them behind others on their threads."""

    def add(connection: Connection, start: int) -> None:
        for number in range(start, start + 500):
            queued = number % 10 == 0
            thread_id = f"00000000-0000-4000-8000-{number // 100:012}" if queued else None
            first = number % 100 == 0 or not queued
            add_run(connection, a_run(number * 0.001, thread_id=thread_id), runnable=first)

    for start in range(0, PENDING, 500):
        await database.write(lambda connection, start=start: add(connection, start))


async def time_claims(database: Database) -> float:
    """Return how long 99 of 100 claims take at most."""
    server = a_server()
    await database.write(lambda connection: enter(connection, server, None))
    seconds = []
    for _ in range(CLAIMS):
        limit = random.choice([1, 1, 4, 16])
        wanted: Any = {"owner": server.server_id, "graph_ids": ["graph"], "limit": limit}
        begun = time.perf_counter()
        claimed = await database.write(
            lambda connection, wanted=wanted: claim(connection, **wanted)
        )
        seconds.append(time.perf_counter() - begun)
        assert len(claimed) == limit
    return quantile(seconds, 0.99)


async def test_a_server_on_sqlite(tmp_path: Path, figure: Figure) -> None:
    async with cluster("backlog-sqlite", tmp_path, "--max-concurrent-runs=1") as servers:
        await pile_up(servers, figure, "SQLite")


async def test_a_server_on_postgresql(tmp_path: Path, postgres_url: str, figure: Figure) -> None:
    async with cluster(
        "backlog-postgresql", tmp_path, "--max-concurrent-runs=1", database_url=postgres_url
    ) as servers:
        await pile_up(servers, figure, "PostgreSQL")


async def pile_up(servers: Cluster, figure: Figure, where: str) -> None:
    """Make runs behind one that does not end; look at the server's memory and at the lists."""
    process = psutil.Process(servers.replicas[0].pid)
    async with grpc.aio.insecure_channel(servers.replicas[0].address) as channel:
        stub: Any = RunServiceStub(channel)
        await make(stub, servers, 500)
        before = process.memory_info().rss
        begun = time.perf_counter()
        for _ in range(PENDING // 500):
            await make(stub, servers, 500)
        each = (time.perf_counter() - begun) / PENDING
        grown = (process.memory_info().rss - before) / MEGABYTE
        seconds = []
        for _ in range(LISTS):
            begun = time.perf_counter()
            pending = [core_pb2.RUN_STATE_PENDING]
            await stub.ListRuns(runs_pb2.ListRunsRequest(states=pending))
            seconds.append(time.perf_counter() - begun)
    figure(f"{PENDING} pending: creates a second ({where})", 1 / each, "-")
    figure(f"{PENDING} pending: first page of ListRuns ({where})", max(seconds), "≤ 0.050 s")
    figure(f"{PENDING} pending: memory grew by ({where})", f"{grown:.1f} MB", "≤ 10 MB")
    assert quantile(seconds, 0.9) <= 0.050
    assert grown <= 10


async def make(stub: Any, servers: Cluster, count: int) -> None:
    run_input = {"label": "waits", "ledger": str(servers.ledger), "seconds": 3600, "events": 0}
    spec = core_pb2.RunSpec(
        assistant_id="steps", input=of_json({**run_input, "steps": 1, "left": 1})
    )
    for _ in range(count // 100):
        await stub.BatchCreateRuns(runs_pb2.BatchCreateRunsRequest(specs=[spec] * 100))
