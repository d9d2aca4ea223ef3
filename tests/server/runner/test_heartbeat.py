"""A server's lease: held while it can be renewed, and given up in time when it cannot be."""

import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection
from tests.support.engine import until

from runwire.server.core.servers import Beat
from runwire.server.model.errors import DatabaseUnavailable
from runwire.server.model.ids import new_id
from runwire.server.model.servers import Server
from runwire.server.runner import heartbeat
from runwire.server.runner.heartbeat import Doing, Heartbeat
from runwire.server.runner.runner import RunnerOptions
from runwire.server.storage import servers
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Database
from runwire.server.storage.sqlite import SqliteDatabase

T = TypeVar("T")

LEASE, BEAT = 60, 0.05
"""Seconds. A test that needs a lease to end moves the clock: none ends because the machine is
busy."""


class MovableClock:
    """Stands in for `time` where it is told when a lease ends here."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> MovableClock:
    clock = MovableClock()
    monkeypatch.setattr(heartbeat, "time", clock)
    return clock


class SharedFile(SqliteDatabase):
    """A database that says of itself that others share it, and that can be away."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.is_away = threading.Event()
        self.beats = 0

    @property
    def shared(self) -> bool:
        return True

    def write_apart(self, function: Callable[[Connection], T]) -> T:
        assert threading.current_thread().name == "heartbeat", "whatever runs do, it beats"
        if self.is_away.is_set():
            raise DatabaseUnavailable
        self.beats += 1
        return super().write_apart(function)


@dataclass
class Beating:
    """A heartbeat, and what it told."""

    heart: Heartbeat
    server_id: str
    database: Database
    doing: Doing = field(default_factory=lambda: Doing(0, False))
    beats: list[Beat] = field(default_factory=list)

    @property
    def beats_still(self) -> bool:
        """Whether it has a thread that has not ended."""
        thread = self.heart._thread
        return thread is not None and thread.is_alive()

    async def row(self) -> Server:
        """Return the server as the others see it."""
        row = await self.database.read(
            lambda connection: servers.get_server(connection, self.server_id)
        )
        assert row is not None
        return row

    async def is_known(self) -> bool:
        """Return whether the others see the server at all."""
        listed = await self.database.read(servers.list_servers)
        return self.server_id in [server.server_id for server in listed]

    async def is_alive(self) -> bool:
        row = await self.row()
        return row.is_alive(await self.database.read(current_time))


@asynccontextmanager
async def beating(database: Database, **options: Any) -> AsyncIterator[Beating]:
    given = {"lease": timedelta(seconds=LEASE), "beat": timedelta(seconds=BEAT), **options}
    server_id = new_id()
    heart = Heartbeat(
        database,
        server_id,
        RunnerOptions(**given),
        ["graph"],
        doing=lambda: beating.doing,
        on_beat=lambda beat: beating.beats.append(beat),
    )
    beating = Beating(heart, server_id, database)
    async with heart:
        yield beating


@pytest.fixture
async def shared(database_path: Path) -> AsyncIterator[SharedFile]:
    async with SharedFile(database_path) as database:
        yield database


async def test_a_lease_is_renewed_before_it_ends(shared: SharedFile) -> None:
    async with beating(shared) as server:
        first = await server.row()
        await until(lambda: len(server.beats) > 3)
        assert all(beat == Beat(held=True, cancelling=[]) for beat in server.beats)
        later = await server.row()
        assert later.lease_until is not None
        assert first.lease_until is not None
        assert later.lease_until > first.lease_until
        assert later.start_time == first.start_time
        assert server.heart.is_held
        assert 0 < server.heart.seconds_left <= LEASE - BEAT


async def test_a_beat_says_what_the_server_does(shared: SharedFile) -> None:
    async with beating(shared, max_concurrent_runs=7, takes_calls=False) as server:
        assert (await server.row()).executing == 0
        server.doing = Doing(3, True)
        server.heart.announce("127.0.0.1:1")
        await until(lambda: any_said(server))
        row = await server.row()
        assert (row.address, row.draining, row.max_concurrent_runs) == ("127.0.0.1:1", True, 7)
        assert (row.takes_calls, row.executes_runs) == (False, True)
        assert row.name
        assert row.version


async def any_said(server: Beating) -> bool:
    return (await server.row()).executing == 3


async def test_a_lease_ends_here_a_beat_before_others_may_take_what_it_covers(
    shared: SharedFile,
) -> None:
    beat = timedelta(seconds=10)
    async with beating(shared, beat=beat) as server:
        ends_here = time.monotonic() + server.heart.seconds_left
        row, now = await server.row(), await shared.read(current_time)
        assert row.lease_until is not None
        ends_there = time.monotonic() + (row.lease_until - now).total_seconds()
        assert ends_there >= ends_here + beat.total_seconds()


async def test_what_cannot_be_renewed_is_given_up(
    shared: SharedFile, caplog: pytest.LogCaptureFixture
) -> None:
    async with beating(shared, lease=timedelta(seconds=0.6)) as server:
        shared.is_away.set()
        await until(lambda: not server.heart.is_held)
        await until(lambda: not_alive(server))
        assert not server.heart.is_held
        assert caplog.text.count("the lease cannot be renewed") == 1


async def not_alive(server: Beating) -> bool:
    return not await server.is_alive()


async def pass_time(server: Beating, clock: MovableClock, seconds: float) -> None:
    """Let time pass, with a beat after it."""
    clock.ahead += seconds
    now = clock.monotonic()
    server.heart.hurry()
    await until(lambda: server.heart._sent >= now)


async def test_it_is_had_again_when_the_database_is_back_and_the_gap_is_told(
    shared: SharedFile, clock: MovableClock
) -> None:
    async with beating(shared) as server:
        await until(lambda: server.beats)
        await lose(server, shared, clock)
        server.beats.clear()
        shared.is_away.clear()
        await until(lambda: len(server.beats) > 2)
        assert server.heart.is_held
        held = [beat.held for beat in server.beats]
        assert held == [False] + [True] * (len(held) - 1)


async def lose(server: Beating, database: SharedFile, clock: MovableClock) -> None:
    """Let a server's lease end."""
    database.is_away.set()
    server.heart.hurry()
    await until(lambda: server.heart._failing)
    clock.ahead += LEASE
    assert not server.heart.is_held


async def test_who_was_away_lets_everybody_come_back_before_it_takes_their_runs(
    shared: SharedFile, clock: MovableClock
) -> None:
    beat = timedelta(seconds=10)
    async with beating(shared, beat=beat) as server:
        assert not server.heart.is_settled, "whoever has just started does not know either"
        clock.ahead += 2 * beat.total_seconds()
        assert server.heart.is_settled
        await lose(server, shared, clock)
        assert not server.heart.is_settled
        shared.is_away.clear()
        await until(lambda: server.heart.is_held)
        assert not server.heart.is_settled
        for _ in range(2):
            await pass_time(server, clock, 0.4 * LEASE)
            assert not server.heart.is_settled
        await pass_time(server, clock, 0.4 * LEASE)
        assert server.heart.is_settled


async def test_one_beat_that_fails_costs_nothing(shared: SharedFile, clock: MovableClock) -> None:
    async with beating(shared) as server:
        await until(lambda: server.heart.is_settled)
        shared.is_away.set()
        await until(lambda: server.heart._failing)
        clock.ahead += 0.4 * LEASE
        shared.is_away.clear()
        beats = len(server.beats)
        await until(lambda: len(server.beats) > beats)
        assert all(beat.held for beat in server.beats)
        assert server.heart.is_settled


async def test_a_server_that_was_forgotten_makes_itself_known_again(shared: SharedFile) -> None:
    async with beating(shared) as server:
        await shared.write(lambda connection: servers.forget_others(connection, new_id()))
        await until(server.is_known)
        assert await server.is_alive()
        await until(lambda: any(not beat.held for beat in server.beats))


async def test_the_lease_ends_with_the_server(shared: SharedFile) -> None:
    async with beating(shared) as server:
        await until(lambda: server.beats)
    assert not await server.is_alive()
    assert (await server.row()).draining
    assert not server.beats_still


async def test_an_exit_in_a_hurry_ends_the_lease_as_far_as_it_can(
    shared: SharedFile, caplog: pytest.LogCaptureFixture
) -> None:
    async with beating(shared) as server:
        shared.is_away.set()
        server.heart.end_blocking(heartbeat.END_SECONDS)
    assert await server.is_alive()
    assert "the lease could not be ended" in caplog.text


async def test_a_database_of_its_own_needs_no_lease(sqlite_database: Database) -> None:
    database = sqlite_database
    stale = new_id()
    async with beating(database) as former:
        stale = former.server_id
    async with beating(database) as server:
        row = await server.row()
        assert row.lease_until is None
        assert server.heart.is_held
        assert server.heart.is_settled
        server.doing = Doing(2, False)
        await server.heart.note()
        assert (await server.row()).executing == 2
        listed = await database.read(servers.list_servers)
        assert [each.server_id for each in listed] == [server.server_id]
        assert stale != server.server_id
        assert not server.beats_still
