"""A server that is halted past its lease, and goes on as if nothing had been: nothing that it does
for runs which others have taken counts any more."""

import asyncio
from pathlib import Path

import pytest

from tests.chaos.callers import Caller
from tests.chaos.cluster import Cluster, cluster
from tests.chaos.conftest import Figure
from tests.chaos.ends import read_ledger
from tests.chaos.history import of_kind
from tests.chaos.validators import only_owners_write
from tests.support.serving import ServerProcess
from tests.support.watching import until

RUNS = 4
STEPS = 3


@pytest.mark.parametrize(
    "rounds",
    [
        pytest.param(3, id="short"),
        pytest.param(50, id="long", marks=[pytest.mark.chaos, pytest.mark.timeout(600)]),
    ],
)
async def test_a_halted_server_writes_nothing_for_runs_it_has_lost(
    tmp_path: Path, postgres_url: str, rounds: int, figure: Figure
) -> None:
    async with cluster(
        "zombies",
        tmp_path,
        "--max-attempts=100",
        replicas=2,
        database_url=postgres_url,
    ) as servers:
        for number in range(rounds):
            await halt_and_wake(servers, number)
        await servers.judge()
        lines = servers.history.lines
        rows = [line for line in of_kind(lines, "row") if line["table"] != "runs"]
        wrong = len(only_owners_write(lines))
        figure(f"zombies: rows by the old attempt, {rounds} rounds", wrong, "0")
        figure("zombies: rows that were looked at", len(rows), "-")


async def halt_and_wake(servers: Cluster, number: int) -> None:
    """Halt a server in the middle of runs, let the other one end them, and wake it."""
    zombie, other = servers.chance.sample(servers.replicas, 2)
    async with (
        Caller(servers.history, f"to-zombie-{number}", zombie.address) as caller,
        Caller(servers.history, f"to-other-{number}", other.address) as waiting,
    ):
        made = [
            await caller.create(
                f"{number}-{each}",
                str(servers.ledger),
                thread=f"00000000-0000-4000-8000-{number:06}{each:06}",
                graph=servers.chance.choice(["steps", "steps_sync"]),
                steps=STEPS,
                seconds=0.3,
                events=20,
            )
            for each in range(RUNS)
        ]
        await asyncio.sleep(servers.chance.uniform(0, 0.6))
        servers.halt(zombie)
        for run in made:
            await waiting.join(run.run_id)
        servers.wake(zombie)
        await notices(servers, zombie, [run.run_id for run in made])


async def notices(servers: Cluster, zombie: ServerProcess, run_ids: list[str]) -> None:
    """Return when a server that was halted has stopped what it was at."""

    def is_done() -> bool:
        """Every superstep that it began is over, or will never be."""
        mine = [note for note in read_ledger(servers.ledger) if note["pid"] == zombie.pid]
        open_steps = {
            (note["run"], note["step"], note["attempt"])
            for note in mine
            if note["what"] == "begin" and note["run"] in run_ids
        }
        return open_steps <= {
            (note["run"], note["step"], note["attempt"]) for note in mine if note["what"] != "begin"
        }

    await until(is_done, "a server that was halted has stopped")
    # What it might still write it writes soon.
    await asyncio.sleep(0.3)
