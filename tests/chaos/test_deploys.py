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
MARGIN_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 1.0
PATIENCE_SECONDS = 120.0


@pytest.mark.parametrize(
    ("grace", "flags"),
    [
        # Nothing has an end here that a slow machine could come to.
        pytest.param(3600.0, ("--lease=10m",), id="at all"),
        pytest.param(5.0, (), id="at once", marks=pytest.mark.chaos),
    ],
)
async def test_a_server_that_stops_hands_its_runs_over(
    tmp_path: Path, postgres_url: str, figure: Figure, grace: float, flags: tuple[str, ...]
) -> None:
    is_timed = grace < PATIENCE_SECONDS
    async with cluster(
        "deploys",
        tmp_path,
        f"--drain-grace={grace}s",
        *flags,
        replicas=2,
        database_url=postgres_url,
    ) as servers:
        stopping, other = servers.replicas
        gate = tmp_path / "open"
        run_ids = await begin(servers, gate)
        async with get_client(servers.address) as client:
            streams: list[list[Any]] = [[] for _ in run_ids]
            reading = [
                asyncio.create_task(read(client, run_id, parts))
                for run_id, parts in zip(run_ids, streams, strict=True)
            ]
            await until(lambda: all(streams), "all runs are read")
            gate.touch()
            await until(lambda: has_come_to(servers, 2), "runs go on")
            told = time.monotonic()
            servers.tell_to_stop(stopping)
            code = await asyncio.to_thread(stopping.wait, PATIENCE_SECONDS)
            seconds = time.monotonic() - told
            await asyncio.wait_for(asyncio.gather(*reading), PATIENCE_SECONDS)
        await servers.judge()
        pauses = pauses_between(servers, stopping.pid, other.pid)
        again = executed_again(servers.history.lines)
        charged = charged_attempts(postgres_url)
        exit_aim = f"≤ grace + {MARGIN_SECONDS:g} s" if is_timed else "-"
        pause_aim = f"≤ {LONGEST_PAUSE_SECONDS:g} s" if is_timed else "-"
        figure(f"SIGTERM with {RUNS} runs: exit", seconds, exit_aim)
        figure("SIGTERM: supersteps executed again", again, "0")
        figure("SIGTERM: longest pause of a run", max(pauses), pause_aim)
        figure("SIGTERM: attempts charged", charged, f"{RUNS}, the first of each")
    assert code == 0
    assert (len(pauses), again, charged) == (RUNS, 0, RUNS)
    if is_timed:
        assert seconds <= grace + MARGIN_SECONDS
        assert max(pauses) <= LONGEST_PAUSE_SECONDS
    for parts in streams:
        ids = [part.id for part in parts if part.id]
        assert len(ids) == len(set(ids))
        assert (parts[-1].event, parts[-1].data["status"]) == ("end", "success")


async def begin(servers: Cluster, gate: Path) -> list[str]:
    """Have the first server execute runs, none of which gets on before there is a gate; return
    their ids."""
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
                gate=str(gate),
            )
            for number in range(RUNS)
        ]

    def have_begun() -> bool:
        notes = read_ledger(servers.ledger)
        return len({note["run"] for note in notes if note["pid"] == first.pid}) == RUNS

    await until(have_begun, "all runs have begun")
    return [run.run_id for run in made]


def has_come_to(servers: Cluster, step: int) -> bool:
    return any(note["step"] == step for note in read_ledger(servers.ledger))


async def read(client: Any, run_id: str, parts: list[Any]) -> None:
    """Follow a run as a user of the client does, who knows nothing of any stop."""
    async for part in client.runs.join_stream(None, run_id):
        parts.append(part)  # noqa: PERF401 - they are looked at meanwhile


def pauses_between(servers: Cluster, stopped: int, other: int) -> list[float]:
    """Return how long each run stood still that one process left to another, in seconds."""
    notes = read_ledger(servers.ledger)
    pauses = []
    for run in {note["run"] for note in notes}:
        before = [note["at"] for note in notes if note["run"] == run and note["pid"] == stopped]
        after = [note["at"] for note in notes if note["run"] == run and note["pid"] == other]
        pauses += [after[0] - before[-1]] if after else []
    return pauses


def charged_attempts(database_url: str) -> int:
    """Return how many attempts count, of all runs."""
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT sum(attempt - attempts_given_back) FROM runs").fetchall()
    return int(rows[0][0])
