"""Threads with long queues, on several servers that are killed: one run of a thread at a time, in
the order of creation."""

import asyncio
import random
import time
import uuid
from pathlib import Path

import pytest

from tests.chaos.callers import Caller
from tests.chaos.cluster import Cluster, cluster
from tests.chaos.conftest import Figure
from tests.chaos.validators import executions_of, threads_take_turns

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(500)]

THREADS = 50
RUNS = 40
REPLICAS = 4


async def test_runs_of_a_thread_take_turns(
    tmp_path: Path, postgres_url: str, figure: Figure
) -> None:
    async with cluster(
        "turns",
        tmp_path,
        "--max-attempts=100",
        replicas=REPLICAS,
        database_url=postgres_url,
    ) as servers:
        filling = asyncio.create_task(fill_threads(servers))
        begun = time.monotonic()
        while not filling.done():
            await asyncio.sleep(servers.chance.uniform(1, 3))
            if time.monotonic() - begun < 60:
                replica = servers.chance.choice(servers.replicas)
                servers.kill(replica)
                await servers.start(replica)
        await filling
        await servers.judge()
        lines = servers.history.lines
        what = f"turns: {THREADS} threads x {RUNS} runs x {REPLICAS} servers"
        figure(f"{what}: overlaps, or out of order", len(threads_take_turns(lines)), "0")
        figure("turns: supersteps that were looked at", len(executions_of(lines)), "-")
        figure("turns: kills", servers.kills, "-")


async def fill_threads(servers: Cluster) -> None:
    """Fill every thread's queue, cancel some, and return when all runs have ended."""
    async with asyncio.TaskGroup() as tasks:
        for number in range(THREADS):
            seed = servers.chance.getrandbits(64)
            tasks.create_task(fill_thread(servers, number, RUNS, random.Random(seed)))


async def fill_thread(servers: Cluster, number: int, runs: int, chance: random.Random) -> None:
    thread = str(uuid.UUID(int=chance.getrandbits(128), version=4))
    made = []
    async with Caller(servers.history, f"filler-{number}", servers.address) as caller:
        for each in range(runs):
            run = await caller.create(
                f"{number}.{each}",
                str(servers.ledger),
                thread=thread,
                graph=chance.choice(["steps", "steps", "steps_sync"]),
                steps=2,
                seconds=0.01,
            )
            made.append(run.run_id)
            if chance.random() < 0.1:
                await caller.cancel(chance.choice(made))
        for run_id in made:
            await caller.join(run_id)
