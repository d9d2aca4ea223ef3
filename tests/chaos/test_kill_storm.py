"""Replicas that are killed again and again: what was accepted ends once, as it should, and soon."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.cluster import Cluster, cluster
from tests.chaos.conftest import Figure
from tests.chaos.history import Line, of_kind
from tests.chaos.load import Load, Plan
from tests.chaos.numbers import executed_again, quantile
from tests.support.serving import ServerProcess

STEPS = 6
RECOVERY_SECONDS = 3.5


@dataclass(frozen=True)
class Size:
    replicas: int
    runs: int
    seconds: float


pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]

ON_SQLITE = Size(1, 200, 60)
ON_POSTGRESQL = Size(3, 200, 60)


async def test_a_storm_of_kills_on_sqlite(tmp_path: Path, figure: Figure) -> None:
    async with cluster("kill-storm-sqlite", tmp_path, "--max-attempts=100") as servers:
        await rage(servers, ON_SQLITE)
        tell(servers, ON_SQLITE, figure, "SQLite, 1 server")


async def test_a_storm_of_kills_on_postgresql(
    tmp_path: Path, postgres_url: str, figure: Figure
) -> None:
    async with cluster(
        "kill-storm-postgresql",
        tmp_path,
        "--max-attempts=100",
        replicas=ON_POSTGRESQL.replicas,
        database_url=postgres_url,
    ) as servers:
        await rage(servers, ON_POSTGRESQL)
        tell(servers, ON_POSTGRESQL, figure, f"PostgreSQL, {ON_POSTGRESQL.replicas} servers")
        late = quantile(recoveries(servers.history.lines), 0.99)
        figure("kill storm: recovery p99 (PostgreSQL)", late, f"≤ {RECOVERY_SECONDS} s")
        assert late <= RECOVERY_SECONDS


async def rage(servers: Cluster, size: Size) -> None:
    """Let runs be made while replicas are killed; judge what came of it."""
    plan = Plan(
        callers=8, total=size.runs, pause=size.seconds * 8 / size.runs, steps=STEPS, seconds=0.15
    )
    load = Load(servers, plan)
    loading = asyncio.create_task(load.run())
    end = time.monotonic() + size.seconds
    while time.monotonic() < end:
        await asyncio.sleep(servers.chance.uniform(1, 3))
        replica = servers.chance.choice(servers.replicas)
        await kill_and_start(servers, replica)
    await loading
    assert len(load.run_ids) == size.runs
    await servers.judge()


async def kill_and_start(servers: Cluster, replica: ServerProcess) -> None:
    servers.kill(replica)
    await servers.start(replica)


def tell(servers: Cluster, size: Size, figure: Figure, where: str) -> None:
    runs = of_kind(servers.history.lines, "run")
    right = sum(run["state"] in ("SUCCEEDED", "CANCELLED") for run in runs)
    aim = f"{size.runs} of {size.runs}"
    figure(f"kill storm: ended and right ({where})", f"{right} of {len(runs)}", aim)
    figure(f"kill storm: kills ({where})", servers.kills, "-")
    again = executed_again(servers.history.lines)
    figure(f"kill storm: supersteps again ({where})", again, "those in flight only")


def recoveries(lines: list[Line]) -> list[float]:
    """Return, for each run that was in a superstep when its server was killed, how long it took
    until it executed again."""
    notes = sorted(of_kind(lines, "note"), key=lambda note: note["at"])
    found = []
    for fault in of_kind(lines, "fault"):
        if fault["do"] != "kill":
            continue
        last: dict[str, Line] = {}
        for note in notes:
            if note["at"] <= fault["time"] and note["pid"] == fault["pid"]:
                last[note["run"]] = note
        for run, note in last.items():
            if note["what"] == "begin":
                later = [each["at"] for each in notes if _follows(each, run, note["attempt"])]
                found += [later[0] - fault["time"]] if later else []
    return found


def _follows(note: Line, run: str, attempt: int) -> bool:
    return bool(note["run"] == run and note["attempt"] > attempt and note["what"] == "begin")
