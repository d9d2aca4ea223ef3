"""A server that is told to stop while it is at work: another one goes on, and nobody notices."""

import asyncio
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from runwire.client import get_client
from tests.chaos.callers import Caller
from tests.chaos.cluster import Cluster, cluster
from tests.chaos.conftest import Figure
from tests.chaos.ends import read_ledger
from tests.chaos.numbers import executed_again
from tests.support.watching import until

RUNS = 20
STEPS = 25
GRACE_SECONDS = 5.0
MARGIN_SECONDS = 1.0


@pytest.mark.timeout(120)
async def test_a_server_that_stops_hands_its_runs_over(
    tmp_path: Path, postgres_url: str, figure: Figure
) -> None:
    async with cluster(
        "deploys",
        tmp_path,
        f"--drain-grace={GRACE_SECONDS}s",
        replicas=2,
        database_url=postgres_url,
    ) as servers:
        stopping, other = servers.replicas
        run_ids = await begin(servers)
        async with get_client(servers.address) as client:
            reading = [asyncio.create_task(read(client, run_id)) for run_id in run_ids]
            await asyncio.sleep(0.2)
            told = time.monotonic()
            servers.tell_to_stop(stopping)
            code = await asyncio.to_thread(stopping.wait)
            seconds = time.monotonic() - told
            streams = await asyncio.wait_for(asyncio.gather(*reading), 60)
        await servers.judge()
        await tell(servers, figure, seconds, stopping.pid, other.pid)
        charged = charged_attempts(postgres_url)
        figure("SIGTERM: attempts charged", charged, f"{RUNS}, the first of each")
    assert code == 0
    assert seconds <= GRACE_SECONDS + MARGIN_SECONDS
    assert charged == RUNS
    for parts in streams:
        ids = [part.id for part in parts if part.id]
        assert len(ids) == len(set(ids))
        assert (parts[-1].event, parts[-1].data["status"]) == ("end", "success")


async def begin(servers: Cluster) -> list[str]:
    """Have the first server execute runs, and return their ids."""
    first = servers.replicas[0]
    async with Caller(servers.history, "first", first.address) as caller:
        made = [
            await caller.create(
                f"run {number}",
                str(servers.ledger),
                thread=f"00000000-0000-4000-8000-{number:012}",
                graph=["steps", "steps_sync"][number % 2],
                steps=STEPS,
                seconds=0.1,
            )
            for number in range(RUNS)
        ]

    def have_begun() -> bool:
        notes = read_ledger(servers.ledger)
        return len({note["run"] for note in notes if note["pid"] == first.pid}) == RUNS

    await until(have_begun, "all runs have begun")
    return [run.run_id for run in made]


async def read(client: Any, run_id: str) -> list[Any]:
    """Follow a run as a user of the client does, who knows nothing of any stop."""
    return [part async for part in client.runs.join_stream(None, run_id)]


async def tell(servers: Cluster, figure: Figure, seconds: float, stopped: int, other: int) -> None:
    lines = servers.history.lines
    notes = read_ledger(servers.ledger)
    gaps = []
    for run in {note["run"] for note in notes}:
        before = [note["at"] for note in notes if note["run"] == run and note["pid"] == stopped]
        after = [note["at"] for note in notes if note["run"] == run and note["pid"] == other]
        gaps += [after[0] - before[-1]] if after else []
    again = executed_again(lines)
    aim = f"≤ grace + {MARGIN_SECONDS:g} = {GRACE_SECONDS + MARGIN_SECONDS:g} s"
    figure(f"SIGTERM with {RUNS} runs: exit", seconds, aim)
    figure("SIGTERM: supersteps executed again", again, "0")
    figure("SIGTERM: longest pause of a run", max(gaps), "≤ 1 s")
    assert len(gaps) == RUNS
    assert again == 0
    assert max(gaps) <= 1.0


def charged_attempts(database_url: str) -> int:
    """Return how many attempts count, of all runs."""
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT sum(attempt - attempts_given_back) FROM runs").fetchall()
    return int(rows[0][0])
