"""Storing output while runs go on: in one transaction, once, whatever the database does."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Connection, text
from tests.support.engine import until
from tests.support.records import a_run, add_run

from runwire.server.core import flushing
from runwire.server.core.flushing import Flusher, make_room
from runwire.server.core.logs import RunLog
from runwire.server.model.attempts import Attempt
from runwire.server.model.errors import AttemptLost, DatabaseUnavailable, StorageFull
from runwire.server.model.events import START, Data, Event, EventId
from runwire.server.model.runs import Run, RunState, StreamMode
from runwire.server.storage import events
from runwire.server.storage.database import Database


def encode(run_id: str, event_id: EventId, time: datetime, event: Event) -> bytes:
    return str(event_id).encode()


class Writer:
    """An attempt that produces events."""

    def __init__(self, run: Run, log: RunLog) -> None:
        self.run, self.log = run, log
        self.attempt = Attempt(run.run_id, None, "graph", 1, "server")
        self.lost: list[BaseException] = []
        log.begin(1)

    def write(self, count: int) -> None:
        for _ in range(count):
            self.log.append(1, Event(Data(StreamMode.CUSTOM, "1")))


@asynccontextmanager
async def flushing_to(database: Database) -> AsyncIterator[Flusher]:
    flusher = Flusher(database)
    running = asyncio.create_task(flusher.run())
    try:
        yield flusher
    finally:
        running.cancel()
        await asyncio.wait([running])


@pytest.fixture
async def flusher(database: Database) -> AsyncIterator[Flusher]:
    async with flushing_to(database) as flusher:
        yield flusher


async def new_writer(database: Database, flusher: Flusher) -> Writer:
    run = a_run(state=RunState.RUNNING, attempt=1, owner="server")
    await database.write(lambda c: add_run(c, run) and None)
    writer = Writer(run, RunLog(run.run_id, encode, asyncio.get_running_loop()))
    flusher.add(writer.attempt, writer.log)
    writer.log.on_lost = writer.lost.append
    return writer


async def stored(database: Database, writer: Writer) -> list[int]:
    """Return the indexes of the events that the database has of an attempt."""
    segments = await database.read(lambda c: events.read_segments(c, writer.run.run_id, START))
    entries = [entry for segment in segments for entry in segment.entries(START)]
    assert all(entry.data == str(entry.id).encode() for entry in entries)
    return [entry.id.index for entry in entries]


class Breaker:
    """Lets writes of a database fail as long as `error` is set."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error: Exception | None = None
        self.failures = self.transactions = 0
        self._write = database.write
        monkeypatch.setattr(database, "write", self.write)

    async def write(self, function: Callable[[Connection], Any]) -> Any:
        self.transactions += 1
        if self.error is None:
            return await self._write(function)
        self.failures += 1
        error = self.error

        def fail(connection: Connection) -> None:
            function(connection)  # what it does in memory is not undone
            raise error

        return await self._write(fail)


@pytest.fixture
def breaker(database: Database, monkeypatch: pytest.MonkeyPatch) -> Breaker:
    monkeypatch.setattr(flushing, "RETRY_SECONDS", 0.01)
    return Breaker(database, monkeypatch)


@contextmanager
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.CRITICAL, logger=flushing.__name__):
        yield


async def test_output_is_stored_soon_without_an_end(database: Database, flusher: Flusher) -> None:
    writer = await new_writer(database, flusher)
    for total in (1, 4):
        writer.write(total)
        count = writer.log.last.index
        await until(lambda count=count: writer.log._stored.index == count)
        assert await stored(database, writer) == list(range(1, count + 1))


async def test_the_output_of_many_runs_shares_a_transaction(
    database: Database, breaker: Breaker, flusher: Flusher
) -> None:
    writers = [await new_writer(database, flusher) for _ in range(20)]
    before = breaker.transactions
    for writer in writers:
        writer.write(10)
    await until(lambda: all(writer.log._stored.index == 10 for writer in writers))
    assert breaker.transactions - before <= 3
    for writer in writers:
        assert await stored(database, writer) == list(range(1, 11))


@pytest.mark.parametrize("error", [StorageFull(), DatabaseUnavailable()])
async def test_what_cannot_be_stored_is_stored_later_and_once(
    database: Database, breaker: Breaker, flusher: Flusher, error: Exception
) -> None:
    writers = [await new_writer(database, flusher) for _ in range(3)]
    breaker.error = error
    for failures in (1, 2, 4):
        for writer in writers:
            writer.write(5)
        await until(lambda failures=failures: breaker.failures >= failures)
    assert [await stored(database, writer) for writer in writers] == [[], [], []]
    breaker.error = None
    await until(lambda: all(writer.log._stored.index == 15 for writer in writers))
    for writer in writers:
        assert await stored(database, writer) == list(range(1, 16))
        assert writer.lost == []
        assert writer.log.unstored_bytes == 0


async def test_bytes_that_could_not_be_stored_still_count(
    database: Database, breaker: Breaker, flusher: Flusher
) -> None:
    writer = await new_writer(database, flusher)
    breaker.error = StorageFull()
    writer.write(10)
    before = writer.log.unstored_bytes
    await until(lambda: breaker.failures >= 3)
    assert writer.log.unstored_bytes == before > 0


async def test_an_attempt_that_has_lost_its_run_is_told_and_stores_nothing(
    database: Database, flusher: Flusher
) -> None:
    lost, other = await new_writer(database, flusher), await new_writer(database, flusher)
    statement = text("UPDATE runs SET owner = 'another' WHERE run_id = :lost")
    await database.write(lambda c: c.execute(statement, {"lost": lost.run.run_id}).rowcount)
    lost.write(3)
    other.write(3)
    await until(lambda: lost.lost and other.log._stored.index == 3)
    assert isinstance(lost.lost[0], AttemptLost)
    assert await stored(database, lost) == []
    assert other.lost == []


async def test_a_run_whose_output_can_never_be_stored_is_lost_alone(
    database: Database, flusher: Flusher, caplog: pytest.LogCaptureFixture
) -> None:
    writers = [await new_writer(database, flusher) for _ in range(3)]
    taken, *others = writers
    if database.shared:
        refuse = f"ALTER TABLE run_events ADD CHECK (run_id <> '{taken.run.run_id}')"
    else:
        refuse = (
            "CREATE TRIGGER refuse BEFORE INSERT ON run_events"
            f" WHEN NEW.run_id = '{taken.run.run_id}' BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    await database.write(lambda c: c.exec_driver_sql(refuse) and None)
    with quiet(caplog):
        for writer in writers:
            writer.write(2)
        await until(lambda: taken.lost)
        await until(lambda: all(writer.log._stored.index == 2 for writer in others))
    assert [writer.lost for writer in others] == [[], []]


async def test_news_of_an_attempt_that_is_over_do_not_stop_the_next(
    database: Database, flusher: Flusher
) -> None:
    writer = await new_writer(database, flusher)
    flusher._lose(writer.attempt, writer.log, AttemptLost(writer.run.run_id, 1))
    assert len(writer.lost) == 1
    next_attempt = Attempt(writer.run.run_id, None, "graph", 2, "server")
    flusher.add(next_attempt, writer.log)
    flusher._lose(writer.attempt, writer.log, AttemptLost(writer.run.run_id, 1))
    assert len(writer.lost) == 1


async def test_the_output_of_a_run_that_has_ended_is_left_to_its_end(
    database: Database, flusher: Flusher
) -> None:
    ended, other = await new_writer(database, flusher), await new_writer(database, flusher)
    ended.write(1)
    flusher.remove(ended.run.run_id)
    ended.write(1)
    other.write(1)
    await until(lambda: other.log._stored.index == 1)
    assert await stored(database, ended) == []


async def test_where_all_runs_have_ended_nothing_is_asked_of_the_database(
    database: Database, breaker: Breaker, flusher: Flusher
) -> None:
    ended = await new_writer(database, flusher)
    before = breaker.transactions
    ended.write(1)
    await until(flusher._is_dirty.is_set)
    flusher.remove(ended.run.run_id)
    await until(lambda: not flusher._is_dirty.is_set())
    assert breaker.transactions == before


# Room.


async def test_room_is_made_by_storing_at_once(database: Database) -> None:
    flusher = Flusher(database)
    writer = await new_writer(database, flusher)
    writer.write(7)
    await make_room(database, writer.attempt, writer.log)
    assert writer.log.unstored_bytes == 0
    assert await stored(database, writer) == list(range(1, 8))


async def test_room_is_not_made_for_who_has_lost_the_run(database: Database) -> None:
    writer = await new_writer(database, Flusher(database))
    writer.write(1)
    await database.write(lambda c: c.exec_driver_sql("UPDATE runs SET attempt = 2") and None)
    with pytest.raises(AttemptLost):
        await make_room(database, writer.attempt, writer.log)


async def test_making_room_and_flushing_store_everything_once(
    database: Database, flusher: Flusher
) -> None:
    writer = await new_writer(database, flusher)
    for _ in range(30):
        writer.write(3)
        await make_room(database, writer.attempt, writer.log)
        await asyncio.sleep(0)
    await until(lambda: writer.log._stored.index == 90)
    assert await stored(database, writer) == list(range(1, 91))
