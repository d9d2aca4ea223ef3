"""PostgreSQL restarts, or goes away for a while, under a server that is at work."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.postgres import PostgresServer, start_postgres
from tests.support.serving import ServerProcess, start_server_process
from tests.support.watching import (
    SYSTEM_GRAPHS,
    chain_input,
    chain_result,
    check_run,
    done_on,
    until,
    until_begun,
)

from runwire.client import get_client
from runwire.server.health import Health, ask_health
from runwire.v1 import core_pb2

STEPS = 40


@pytest.fixture
def postgres_server() -> Iterator[PostgresServer]:
    with start_postgres() as server:
        yield server


@pytest.fixture
def server(tmp_path: Path, postgres_server: PostgresServer) -> Iterator[ServerProcess]:
    with start_server_process(tmp_path, graphs=SYSTEM_GRAPHS, on=postgres_server.url) as server:
        yield server


async def test_restarts_cost_no_run_and_no_superstep_its_result(
    server: ServerProcess, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    async with get_client(server.address) as client:
        threads, runs = [], []
        for label in "abc":
            thread_id = (await client.threads.create())["thread_id"]
            run_input = chain_input(tmp_path, label, STEPS, seconds=0.05)
            runs.append(await client.runs.create(thread_id, "chain", input=run_input))
            threads.append(thread_id)
        for restart in range(3):
            await until_begun(tmp_path, "c", 10 * restart + 3)
            await asyncio.to_thread(postgres_server.stop, "QUIT")
            await asyncio.to_thread(postgres_server.start)
        for label, thread_id, run in zip("abc", threads, runs, strict=True):
            ended = await check_run(server.address, run["run_id"])
            assert ended.state == core_pb2.RUN_STATE_SUCCEEDED
            assert await done_on(client, thread_id) == chain_result(label, steps=STEPS)


async def test_readiness_follows_the_database(
    server: ServerProcess, postgres_server: PostgresServer
) -> None:
    def health(service: str = "") -> Health:
        return ask_health(server.address, service, 5)[0]

    assert health() is Health.SERVING
    await asyncio.to_thread(postgres_server.stop, "INT")
    await until(lambda: health() is Health.NOT_SERVING, "the server says that it is not ready")
    assert health("liveness") is Health.SERVING
    await asyncio.to_thread(postgres_server.start)
    await until(lambda: health() is Health.SERVING, "the server is ready again")
