"""How long it takes until one server knows what another was told."""

import asyncio
import time
from pathlib import Path

import pytest

from tests.chaos.callers import Caller
from tests.chaos.cluster import Cluster, cluster
from tests.chaos.conftest import Figure
from tests.chaos.ends import read_ledger
from tests.chaos.numbers import quantile
from tests.support.watching import until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

STARTS = 200
CANCELS = 60
LOST = "--faults=notifications.send:raise"


async def test_a_run_starts_elsewhere_soon(
    tmp_path: Path, postgres_url: str, figure: Figure
) -> None:
    async with cluster("starts", tmp_path, replicas=0, database_url=postgres_url) as servers:
        await start_apart(servers)
        async with Caller(servers.history, "caller", servers.replicas[0].address) as caller:
            seconds = [await start_of(servers, caller, number) for number in range(STARTS)]
        half, most = quantile(seconds, 0.5), quantile(seconds, 0.99)
        figure(f"create → start across servers, p50 of {STARTS}", half, "≤ 0.030 s")
        figure(f"create → start across servers, p99 of {STARTS}", most, "≤ 0.150 s")
        await servers.judge()
        assert half <= 0.030
        assert most <= 0.150


@pytest.mark.parametrize(("lost", "limit"), [(False, 0.1), (True, 1.0)], ids=["told", "not told"])
async def test_a_cancel_reaches_the_server_that_executes(
    tmp_path: Path, postgres_url: str, lost: bool, limit: float, figure: Figure
) -> None:
    flags = [LOST] if lost else []
    async with cluster(
        "cancels", tmp_path, *flags, replicas=0, database_url=postgres_url
    ) as servers:
        await start_apart(servers)
        seconds = [await cancel_of(servers, number) for number in range(CANCELS)]
        most = quantile(seconds, 0.99)
        how = "lost" if lost else "heard"
        figure(
            f"cancel across servers, notifications {how}, p99 of {CANCELS}", most, f"≤ {limit} s"
        )
        await servers.judge()
        assert most <= limit


async def start_apart(servers: Cluster) -> None:
    """Start a server that takes calls and one that executes runs."""
    taking = await servers.add("--no-runner")
    executing = await servers.add()
    await asyncio.gather(servers.start(taking), servers.start(executing))


async def start_of(servers: Cluster, caller: Caller, number: int) -> float:
    """Return how long after its creation was asked for a run begins."""
    label = f"run {number}"
    asked = time.monotonic()
    await caller.create(label, str(servers.ledger), steps=1, seconds=0)
    return await noted(servers, label, "begin") - asked


async def cancel_of(servers: Cluster, number: int) -> float:
    """Return how long after its cancel was asked for a run's code stops."""
    label = f"run {number}"
    taking, executing = servers.replicas
    async with (
        Caller(servers.history, f"creator {number}", executing.address) as creator,
        Caller(servers.history, f"canceller {number}", taking.address) as canceller,
    ):
        run = await creator.create(label, str(servers.ledger), steps=1, seconds=60)
        await noted(servers, label, "begin")
        await asyncio.sleep(servers.chance.uniform(0, 0.5))
        asked = time.monotonic()
        await canceller.cancel(run.run_id)
        return await noted(servers, label, "stopped") - asked


async def noted(servers: Cluster, label: str, what: str) -> float:
    """Return when something was written into the ledger of a run."""

    def found() -> list[float]:
        notes = read_ledger(servers.ledger)[-20:]
        return [each["at"] for each in notes if (each["label"], each["what"]) == (label, what)]

    await until(found, f"{what} of {label}")
    return found()[0]
