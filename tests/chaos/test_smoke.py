"""Everything at once: servers killed, halted and cut off, a database that crashes, callers whose
network breaks, notifications that are lost, and every transaction failing now and then."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.chaos.cluster import LEASE_SECONDS, Cluster, cluster
from tests.chaos.conftest import Figure
from tests.chaos.history import of_kind
from tests.chaos.load import Load, Plan
from tests.chaos.network import Toxics
from tests.chaos.own_postgres import own_postgres
from tests.chaos.test_restarts import restart
from tests.support.postgres import PostgresServer

FAULTS = "--faults=*:raise:0.003, notifications.send:raise:0.3"


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(15, id="short"),
        pytest.param(120, id="long", marks=[pytest.mark.chaos, pytest.mark.timeout(500)]),
    ],
)
async def test_whatever_goes_wrong_nothing_is_lost(
    tmp_path: Path, seconds: float, figure: Figure
) -> None:
    with own_postgres() as (postgres, url):
        async with cluster(
            "smoke",
            tmp_path,
            "--max-attempts=100",
            FAULTS,
            replicas=3,
            database_url=url,
            wires=True,
        ) as servers:
            load = Load(servers, Plan(callers=6, pause=0.3, seconds=0.1, threads=20))
            loading = asyncio.create_task(load.run())
            end = time.monotonic() + seconds
            nemesis = Nemesis(servers, postgres)
            while time.monotonic() < end:
                await asyncio.sleep(servers.chance.uniform(0.5, 2))
                await nemesis.strike()
            load.end()
            await loading
            await servers.judge()
            states = [run["state"] for run in of_kind(servers.history.lines, "run")]
            figure(f"everything at once, {seconds} s: strikes", nemesis.strikes, "-")
            figure("everything at once: runs ended and right", len(states), f"{len(states)}")


class Nemesis:
    """Hurts a cluster in one way after the other."""

    def __init__(self, servers: Cluster, postgres: PostgresServer) -> None:
        self._servers = servers
        self._postgres = postgres
        self.strikes = 0

    async def strike(self) -> None:
        """Hurt something, and heal it."""
        self.strikes += 1
        ways: list[Callable[[], Awaitable[None]]] = [
            self._kill,
            self._halt,
            self._cut_off,
            self._slow_down,
            self._cut_callers,
            self._restart_database,
        ]
        await self._servers.chance.choice(ways)()

    async def _kill(self) -> None:
        replica = self._servers.chance.choice(self._servers.replicas)
        self._servers.kill(replica)
        await self._servers.start(replica)

    async def _halt(self) -> None:
        replica = self._servers.chance.choice(self._servers.replicas)
        self._servers.halt(replica)
        await asyncio.sleep(LEASE_SECONDS * self._servers.chance.uniform(0.5, 2))
        self._servers.wake(replica)

    async def _cut_off(self) -> None:
        """Take the database away from one server, beyond its lease or not."""
        replica = self._servers.chance.choice(self._servers.replicas)
        down = self._servers.chance.random() < 0.5
        toxics = Toxics(down=True) if down else Toxics(blackhole=True)
        self._note("cut off", replica.directory.name)
        with self._servers.wire_of(replica).hurting(toxics):
            await asyncio.sleep(LEASE_SECONDS * self._servers.chance.uniform(0.5, 2))
        self._note("healed", replica.directory.name)

    async def _slow_down(self) -> None:
        replica = self._servers.chance.choice(self._servers.replicas)
        with self._servers.wire_of(replica).hurting(Toxics(latency=0.05, jitter=0.05)):
            await asyncio.sleep(2)

    async def _cut_callers(self) -> None:
        chance = self._servers.chance
        toxics = Toxics(limit=lambda: chance.randint(1, 20_000), latency=0.01, piece=100)
        with self._servers.network.hurting(toxics):
            self._servers.network.cut()
            await asyncio.sleep(2)

    async def _restart_database(self) -> None:
        await restart(self._servers, self._postgres)

    def _note(self, what: str, name: str) -> None:
        self._servers.history.add("fault", do=what, server=name, pid=0)
