"""The stream of a thread: what happens on it, run after run, wherever the runs execute.

Two things are read. What changes (runs are created, move, end; callers update the state) comes from
the database, after a `Place` there. What a run puts out is followed as any reader follows it. A run
that has ended is told of to its end when its end comes up among the changes; one that executes, as
it goes along. So whoever goes on elsewhere needs to know which changes the reader was told of, and
how much it has of the runs whose end was not among them: that is a `ThreadPlace`.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from runwire.server.core.follow import Follower
from runwire.server.core.news import News, Waiting
from runwire.server.core.places import FRESH_SECONDS, Places
from runwire.server.model.changes import (
    Begun,
    Change,
    ChangeKey,
    ChangeKind,
    DeletedRun,
    Place,
    ThreadPlace,
    ThreadStreamMode,
)
from runwire.server.model.errors import (
    Draining,
    EventsExpired,
    InvalidField,
    RunNotFound,
    ThreadNotFound,
)
from runwire.server.model.events import START, LogEntry
from runwire.server.model.runs import Run
from runwire.server.storage import changes, runs, threads
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Connection, Database

PAGE = 10
"""Changes that are looked up at once: what a slow reader holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Something that is told of a thread, and the place after it.

    Of one run: a `snapshot` of it, then `entries` of its log; `missing`: others are no longer kept.
    Or of the thread: `data` is what is told of an updated state, serialized. Or nothing.
    """

    place: ThreadPlace
    run: Run | DeletedRun | None = None
    snapshot: bool = False
    entries: Sequence[LogEntry] = ()
    missing: bool = False
    data: bytes = b""


Tell = Callable[[Told], Awaitable[None]]
"""Tells a reader; returns when it can be told more."""


class ThreadStreams:
    """Tells readers what happens on threads."""

    def __init__(self, database: Database, follower: Follower, news: News, places: Places) -> None:
        self._database = database
        self._follower = follower
        self._news = news
        self._places = places

    async def follow(
        self,
        thread_id: str,
        modes: Collection[ThreadStreamMode],
        place: ThreadPlace | None,
        tell: Tell,
        *,
        live_only: bool = False,
    ) -> None:
        """Tell what happens on a thread, from a place on; without one from the beginning of what is
        kept, with `live_only` from now on. First the place alone is told.

        Does not return. Raises `ThreadNotFound`, also when the thread is deleted meanwhile,
        `ResumeTokenExpired`, `InvalidField` when `place` has an event that a run never had,
        `Draining`, and what `tell` raises.
        """
        with self._news.of_thread(thread_id) as waiting:
            reader = _Reader(self._database, self._follower, self._news, thread_id, modes, tell)
            try:
                await reader.begin(self._places, place, live_only=live_only)
                while True:
                    seen = waiting.wakes
                    await reader.catch_up(seen)
                    if self._news.draining:
                        raise Draining
                    await reader.go_along(waiting, seen)
            finally:
                await reader.leave()


class _Look(NamedTuple):
    """Changes up to a place, whether that is the newest, and the run that executes."""

    changes: list[Change]
    heading: Place
    caught_up: bool
    active: Run | None


class _Reader:
    """One reader of a thread, and how far it has come."""

    def __init__(
        self,
        database: Database,
        follower: Follower,
        news: News,
        thread_id: str,
        modes: Collection[ThreadStreamMode],
        tell: Tell,
    ) -> None:
        self._database = database
        self._follower = follower
        self._news = news
        self._thread_id = thread_id
        self._wants_events = ThreadStreamMode.RUNS in modes
        self._wants_moves = ThreadStreamMode.LIFECYCLE in modes
        self._wants_updates = ThreadStreamMode.STATE_UPDATES in modes
        self._tell = tell
        self._place: ThreadPlace
        self._current: _Following | None = None

    async def begin(self, places: Places, place: ThreadPlace | None, *, live_only: bool) -> None:
        """Find out where to begin, and tell that."""

        def find(connection: Connection) -> tuple[Place, Run | None]:
            if not threads.is_there(connection, self._thread_id):
                raise ThreadNotFound(self._thread_id)
            if place is not None:
                places.check(connection, place.changes)
                return place.changes, None
            if live_only:
                return places.newest(connection), self._active(connection)
            return places.first(connection), None

        found, active = await self._database.read(find)
        self._place = place or ThreadPlace(changes=found)
        if active is None:
            await self._tell(Told(place=self._place))
            return
        # Of the run that executes, its events from now on.
        with suppress(RunNotFound, EventsExpired):
            last = await self._follower.place(active.run_id)
            self._place = self._place.having(active.run_id, Begun(last))
        await self._tell(Told(place=self._place))
        await self._tell(Told(place=self._place, run=active, snapshot=True))

    def _active(self, connection: Connection) -> Run | None:
        if not self._wants_events:
            return None
        run_id = changes.active_of_thread(connection, self._thread_id)
        return None if run_id is None else runs.get_run(connection, run_id)

    async def catch_up(self, seen: int) -> None:
        """Tell of all changes, and turn to the run that executes. `seen`: how often there were news
        before."""
        while True:
            look = await self._look(seen)
            self._place = ThreadPlace(changes=look.heading, begun=self._place.begun)
            for change in look.changes:
                await self._tell_change(change)
            if len(look.changes) < PAGE:
                arrived = self._place.changes.arrived()
                self._place = ThreadPlace(changes=arrived, begun=self._place.begun)
                await self._tell(Told(place=self._place))
                if look.caught_up:
                    break
        await self._turn_to(look.active)

    async def _look(self, seen: int) -> _Look:
        place, thread_id = self._place.changes, self._thread_id

        def look(connection: Connection) -> _Look:
            if not threads.is_there(connection, thread_id):
                raise ThreadNotFound(thread_id)
            now, newest = current_time(connection), changes.horizon(connection)
            heading = place.heading(newest, now)
            found = changes.list_changes_of_thread(connection, thread_id, heading, limit=PAGE)
            return _Look(found, heading, heading.until == newest, self._active(connection))

        key = (thread_id, self._wants_events, place, seen)
        return await self._news.read_once(key, look)

    async def _tell_change(self, change: Change) -> None:
        """Tell of a change what is wanted of it; the reader is at the place after it then."""
        after = self._place.passing(change.key)
        match change:
            case Change(kind=ChangeKind.THREAD_DELETED):
                # Another one of the same name may have come after it.
                raise ThreadNotFound(self._thread_id)
            case Change(kind=ChangeKind.STATE_UPDATED):
                if self._wants_updates:
                    await self._tell(Told(place=after, data=change.data))
            case Change(deleted=DeletedRun() as deleted):
                after = self._place.passing_end(change.key, deleted.run_id)
                begun = self._place.begun.get(deleted.run_id)
                if begun is not None and not begun.complete:
                    await self._tell(Told(place=after, run=deleted, missing=True))
            case Change(run=Run() as run) if run.state.is_final:
                await self._tell_end(run, change.key)
                after = self._place.passing_end(change.key, run.run_id)
            case Change(run=Run() as run) if self._wants_moves:
                await self._tell(Told(place=after, run=run, snapshot=True))
        self._place = after

    async def _tell_end(self, run: Run, key: ChangeKey) -> None:
        """Tell the rest of a run that has ended."""
        begun = self._place.begun.get(run.run_id)
        if not (self._wants_events or self._wants_moves) or (begun and begun.complete):
            return
        following = await self._follow(run)
        try:
            async for entries in following:
                await self._tell_entries(run, entries)
        except (EventsExpired, RunNotFound):
            is_new = self._wants_moves or begun is None
            after = self._place.passing_end(key, run.run_id)
            await self._tell(Told(place=after, run=run, snapshot=is_new, missing=True))
        finally:
            await self.leave()

    async def _follow(self, run: Run) -> "_Following":
        """Return what the reader does not have of a run, being followed."""
        if self._current is None or self._current.run.run_id != run.run_id:
            await self.leave()
            begun = self._place.begun.get(run.run_id)
            after = None if begun is None or begun.last == START else begun.last
            # Who only wants to know what became of it is told the last event.
            events = self._follower.follow(
                run.run_id, after=after, live_only=not self._wants_events
            )
            self._current = _Following(run, events)
        return self._current

    async def _tell_entries(self, run: Run, entries: Sequence[LogEntry]) -> None:
        """Tell entries of a run, `run` as it is if the last of them are among these."""
        if not self._wants_events:
            entries = entries[-1:]
        *others, last = entries
        is_new = run.run_id not in self._place.begun
        if last.final and self._wants_moves:
            if others:
                await self._tell_part(run, others, snapshot=False)
            await self._tell_part(run, [last], snapshot=True)
        else:
            await self._tell_part(run, entries, snapshot=is_new and not self._wants_moves)

    async def _tell_part(self, run: Run, entries: Sequence[LogEntry], *, snapshot: bool) -> None:
        has = Begun(entries[-1].id, entries[-1].final)
        self._place = self._place.having(run.run_id, has)
        await self._tell(Told(place=self._place, run=run, snapshot=snapshot, entries=entries))

    async def _turn_to(self, active: Run | None) -> None:
        """Follow the run that executes, and no other."""
        begun = None if active is None else self._place.begun.get(active.run_id)
        if active is None or (begun and begun.complete):
            await self.leave()
            return
        if begun is None:
            self._place = self._place.having(active.run_id, Begun(START))
            if not self._wants_moves:
                await self._tell(Told(place=self._place, run=active, snapshot=True))
        await self._follow(active)

    async def go_along(self, waiting: Waiting, seen: int) -> None:
        """Tell what the run that executes puts out, until there are news since `seen`."""
        while waiting.wakes == seen:
            news = waiting.news(seen)
            more = None if self._current is None else self._current.more()
            waits: list[asyncio.Future[Any]] = [news] if more is None else [news, more]
            try:
                done, _ = await asyncio.wait(
                    waits, timeout=FRESH_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                news.cancel()
            if not done:
                return
            if more in done:
                await self._tell_next()

    async def _tell_next(self) -> None:
        assert self._current is not None
        run = self._current.run
        try:
            entries = await anext(self._current)
            if entries[-1].final and self._wants_moves:
                run = await self._as_it_is(run)
            await self._tell_entries(run, entries)
        except StopAsyncIteration:
            await self.leave()
        except (EventsExpired, RunNotFound):
            # Its end is among the changes, or its deletion is.
            await self.leave()

    async def _as_it_is(self, run: Run) -> Run:
        found = await self._database.read(lambda connection: runs.get_run(connection, run.run_id))
        return found or run

    async def leave(self) -> None:
        """Follow no run."""
        current, self._current = self._current, None
        if current is not None:
            await current.close()


class _Following:
    """A run that is followed: entries that are waited for are not lost when something else comes
    first."""

    def __init__(self, run: Run, entries: AsyncGenerator[list[LogEntry], None]) -> None:
        self.run = run
        self._entries = entries
        self._next: asyncio.Task[list[LogEntry]] | None = None

    def more(self) -> "asyncio.Task[list[LogEntry]]":
        """Return what is done when there is more, or an end."""
        if self._next is None:
            self._next = asyncio.create_task(self._read(), name=f"follow-{self.run.run_id}")
        return self._next

    async def _read(self) -> list[LogEntry]:
        # Not StopAsyncIteration, which a task does not take.
        return await anext(self._entries, [])

    def __aiter__(self) -> "_Following":
        return self

    async def __anext__(self) -> list[LogEntry]:
        try:
            entries = await self.more()
        except Draining:
            raise Draining from None
        except InvalidField as error:
            raise InvalidField("resume_token", error.violations[0][1]) from None
        self._next = None
        if not entries:
            raise StopAsyncIteration
        return entries

    async def close(self) -> None:
        """End it."""
        if self._next is not None:
            self._next.cancel()
            await asyncio.wait([self._next])
        await self._entries.aclose()
