"""Following a run: its output, from memory or from the database, and its end."""

from collections.abc import AsyncGenerator

from runwire.server.core.logs import RunLog, RunLogs
from runwire.server.model.errors import (
    Draining,
    EventsExpired,
    InvalidField,
    RunNotFound,
    RunRolledBack,
)
from runwire.server.model.events import START, EventId, LogEntry
from runwire.server.model.runs import Run
from runwire.server.storage import events, runs
from runwire.server.storage.database import Connection, Database

POLL_SECONDS = 1.0
"""How often a reader looks by itself, should a wake be lost or the run be executed elsewhere."""


class Follower:
    """Answers readers of runs, wherever the run is in its life."""

    def __init__(self, database: Database, logs: RunLogs) -> None:
        self._database = database
        self._logs = logs
        self._draining = False

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
                    raise Draining
                await log.changed(seen, POLL_SECONDS)
        if run.rolled_back and not rolled_back:
            raise RunRolledBack(run_id)
        return run

    async def _ended(self, log: RunLog) -> Run | None:
        if log.ended.done():
            return log.ended.result()
        if log.live:
            return None
        run = await self._database.read(lambda connection: _get(connection, log.run_id))
        return run if run.state.is_final else None

    async def _start(self, log: RunLog, after: EventId | None, live_only: bool) -> EventId:
        """Return the place to read from, after checking that it makes sense."""
        if log.live and not live_only and (after is None or after <= log.last):
            return after or START
        run, stored = await self._database.read(
            lambda connection: (
                _get(connection, log.run_id),
                events.last_event(connection, log.run_id),
            )
        )
        last = max(stored or START, log.last)
        if run.state.is_final and stored is None:
            raise EventsExpired(log.run_id, "")
        if live_only:
            # The last event says how the run ended: a late joiner is still told, also if it has
            # ended since it was looked up.
            has_ended = run.state.is_final or log.complete
            return EventId(last.attempt, last.index - 1) if has_ended else last
        if after is not None and after > last and not _may_be_lost(after, run):
            raise InvalidField("after_event_id", f"run {run.run_id} has no event {after}")
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
            raise Draining
        if entries is None:
            entries, ended = await self._stored(log, cursor)
            if entries or ended:
                return entries, ended
        elif log.complete:
            return [], True
        await log.changed(seen, POLL_SECONDS)
        return [], False

    async def _stored(self, log: RunLog, cursor: EventId) -> tuple[list[LogEntry], bool]:
        base = log.base if log.holds_newest else None
        segments, run, last = await self._database.read(
            lambda connection: (
                events.read_segments(connection, log.run_id, cursor),
                runs.get_run(connection, log.run_id),
                events.last_event(connection, log.run_id),
            )
        )
        entries = [entry for segment in segments for entry in segment.entries(cursor)]
        if not entries and base is not None and cursor < base:
            # Nothing stored between the cursor and what memory holds: an earlier attempt's tail
            # was lost with its server. The next attempt goes on from memory.
            return log.after(base) or [], False
        if run is None:
            raise RunNotFound(log.run_id)
        if run.state.is_final and last is None:
            raise EventsExpired(log.run_id, "")
        return entries, not entries and run.state.is_final


def _may_be_lost(after: EventId, run: Run) -> bool:
    """Return whether a reader may have seen an event that was never stored, because its attempt
    was lost with its server. A run that has ended has a later event than that."""
    over = run.attempt if run.owner is None else run.attempt - 1
    return not run.state.is_final and 0 < after.attempt <= over


def _get(connection: Connection, run_id: str) -> Run:
    run = runs.get_run(connection, run_id)
    if run is None:
        raise RunNotFound(run_id)
    return run
