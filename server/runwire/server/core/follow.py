"""Following a run: its output, from memory or from the database, and its end."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from runwire.server.core.logs import RunLog, RunLogs
from runwire.server.core.watch import Watch
from runwire.server.model.errors import (
    Draining,
    EventsExpired,
    InvalidField,
    RunNotFound,
    RunRolledBack,
)
from runwire.server.model.events import START, EventId, LogEntry, Segment
from runwire.server.model.runs import Run
from runwire.server.storage import events, runs
from runwire.server.storage.database import Connection, Database
from runwire.server.storage.events import Progress

T = TypeVar("T")


class _Stored(NamedTuple):
    """What the database has of a run after some place; `progress` is None when there is no such
    run, and not looked for when there is something."""

    segments: list[Segment]
    progress: Progress | None


class Follower:
    """Answers readers of runs, wherever the run is in its life and whoever executes it. Inside an
    `async with`, nobody has to be told of news: it is looked for once a second."""

    def __init__(self, database: Database, logs: RunLogs) -> None:
        self._database = database
        self._logs = logs
        self._draining = False
        self._watch = Watch(database, logs)
        self._watching: asyncio.Task[None] | None = None
        self._reads: dict[tuple[RunLog, int, object], asyncio.Task[Any]] = {}

    async def __aenter__(self) -> Self:
        self._watching = asyncio.create_task(self._watch.run(), name="watch")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._watching is not None
        self._watching.cancel()
        await asyncio.wait([self._watching, *self._reads.values()])

    def told(self, run_ids: Iterable[str] | None) -> None:
        """Look for news of runs, because another server says that there are some; None: of any."""
        if run_ids is None:
            self._watch.hurry()
        else:
            self._logs.told(run_ids)

    def drain(self) -> None:
        """End all readers with `Draining`, now and from now on."""
        self._draining = True
        self._logs.wake_all()

    async def follow(
        self, run_id: str, *, after: EventId | None = None, live_only: bool = False
    ) -> AsyncGenerator[list[LogEntry], None]:
        """Yield the run's entries as they come, in order, several at a time when several are
        ready; end after the last one.

        `after` is exclusive; without it, from the beginning; `live_only`: from now on. Raises
        `RunNotFound`, `EventsExpired` when entries after `after` are gone, `InvalidField` when
        the run never had an event `after`, `Draining`.
        """
        with self._logs.using(run_id) as log:
            cursor = await self._start(log, after, live_only)
            while True:
                entries, ended = await self._next(log, cursor)
                if entries:
                    yield entries
                    cursor = entries[-1].id
                    ended = entries[-1].final
                if ended:
                    return

    async def place(self, run_id: str) -> EventId:
        """Return the place after which everything is new: `follow` goes on there even if it begins
        later. Raises `RunNotFound`, `EventsExpired`."""
        with self._logs.using(run_id) as log:
            return await self._start(log, None, live_only=True)

    async def wait(self, run_id: str, *, rolled_back: bool = False) -> Run:
        """Return the run once it has ended. Raises `RunNotFound`, `Draining`, and, unless
        `rolled_back` ones are wanted too, `RunRolledBack`."""
        with self._logs.using(run_id) as log:
            while True:
                seen = log.wakes
                if run := await self._ended(log):
                    break
                if self._draining:
                    raise Draining(run_id)
                await log.changed(seen, entries=False)
        if run.rolled_back and not rolled_back:
            raise RunRolledBack(run_id)
        return run

    async def _ended(self, log: RunLog) -> Run | None:
        if log.ended.done():
            return log.ended.result()
        if log.live:
            return None
        return await self._read_once(log, "end", lambda connection: _end_of(connection, log.run_id))

    async def _read_once(self, log: RunLog, what: object, function: Callable[[Connection], T]) -> T:
        """Read once for all readers of a log that ask for the same since they were last woken:
        they are woken together, and most of them are at the same place."""
        key = (log, log.wakes, what)
        reading = self._reads.get(key)
        if reading is None:
            reading = asyncio.create_task(self._database.read(function))
            self._reads[key] = reading
            reading.add_done_callback(lambda _: self._reads.pop(key))
        result: T = await asyncio.shield(reading)
        return result

    async def _start(self, log: RunLog, after: EventId | None, live_only: bool) -> EventId:
        """Return the place to read from, after checking that it makes sense."""
        if log.live and not live_only and (after is None or after <= log.last):
            return after or START
        run, stored, has_end = await self._database.read(
            lambda connection: (
                _get(connection, log.run_id),
                events.last_event(connection, log.run_id),
                events.has_end(connection, log.run_id),
            )
        )
        last = max(stored or START, log.last)
        if run.state.is_final and not has_end:
            raise EventsExpired(log.run_id, "")
        if live_only:
            # The last event says how the run ended: a late joiner is still told, also if it has
            # ended since it was looked up.
            has_ended = run.state.is_final or log.complete
            return EventId(last.attempt, last.index - 1) if has_ended else last
        if after is not None and after > last and not _may_be_unstored(after, run, log):
            raise _never_had(log, after)
        return after or START

    async def _next(self, log: RunLog, cursor: EventId) -> tuple[list[LogEntry], bool]:
        """Return what comes after `cursor`, waiting for it a while; and whether nothing will.

        Raises `Draining`, but not before what is in memory has been given.
        """
        seen = log.wakes
        entries = log.after(cursor) if log.holds_newest else None
        if entries:
            return entries, False
        if self._draining:
            raise Draining(log.run_id, after_event_id=str(cursor))
        if entries is None:
            entries, ended = await self._stored(log, cursor)
            if entries or ended:
                return entries, ended
        elif log.complete:
            return [], True
        await log.changed(seen)
        return [], False

    async def _stored(self, log: RunLog, cursor: EventId) -> tuple[list[LogEntry], bool]:
        base = log.base if log.holds_newest else None
        stored = await self._read_once(
            log, cursor, lambda connection: _stored_after(connection, log.run_id, cursor)
        )
        entries = [entry for segment in stored.segments for entry in segment.entries(cursor)]
        if entries:
            return entries, False
        if base is not None and cursor < base:
            # Nothing stored between the cursor and what memory holds: an earlier attempt's tail
            # was lost with its server. The next attempt goes on from memory.
            return log.after(base) or [], False
        if stored.progress is None:
            raise RunNotFound(log.run_id)
        last, ended = stored.progress
        if ended and last is None:
            raise EventsExpired(log.run_id, "")
        if ended and last is not None and cursor > last:
            raise _never_had(log, cursor)
        return [], ended


def _stored_after(connection: Connection, run_id: str, cursor: EventId) -> _Stored:
    segments = events.read_segments(connection, run_id, cursor)
    if segments:
        return _Stored(segments, None)
    progress = events.progress(connection, [run_id]).get(run_id)
    if progress is not None and progress.ended and not events.has_end(connection, run_id):
        progress = progress._replace(last=None)  # retention is about to take the others, too
    return _Stored([], progress)


def _may_be_unstored(after: EventId, run: Run, log: RunLog) -> bool:
    """Return whether a reader may have seen an event that is not stored: its attempt was lost with
    its server, or another server executes it and stores it later. A run that has ended has a later
    event than that."""
    known_to_be_over = run.attempt - 1 if log.live else run.attempt
    return not run.state.is_final and 0 < after.attempt <= known_to_be_over


def _never_had(log: RunLog, event_id: EventId) -> InvalidField:
    return InvalidField("after_event_id", f"run {log.run_id} has no event {event_id}")


def _end_of(connection: Connection, run_id: str) -> Run | None:
    progress = events.progress(connection, [run_id]).get(run_id)
    if progress is None:
        raise RunNotFound(run_id)
    return _get(connection, run_id) if progress.ended else None


def _get(connection: Connection, run_id: str) -> Run:
    run = runs.get_run(connection, run_id)
    if run is None:
        raise RunNotFound(run_id)
    return run
