"""Watching runs: telling of each that passes a filter whenever it has changed."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import NamedTuple

from runwire.server.core.news import News, Waiting
from runwire.server.core.places import FRESH_SECONDS, Places
from runwire.server.model.changes import Change, Place
from runwire.server.model.errors import Draining
from runwire.server.storage import changes
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Connection, Database
from runwire.server.storage.runs import RunFilter

PAGE = 50
"""Changes that are told at once: what a slow reader holds."""

LOOKS_PER_SECOND = 100
"""How often all watchers together ask for changes, where there are changes all the time: of a run
that changes faster than its watchers look, they see less."""


class Told(NamedTuple):
    """Some changes, the place after them, and whether they are all that there was."""

    changes: list[Change]
    place: Place
    caught_up: bool


class RunChanges:
    """Tells of changes of runs."""

    def __init__(self, database: Database, news: News, places: Places) -> None:
        self._database = database
        self._news = news
        self._places = places

    async def watch(
        self, wanted: RunFilter, place: Place | None, *, unfinished: bool = False
    ) -> AsyncGenerator[Told, None]:
        """Yield what has changed with the runs that are `wanted` since a place; without one, from
        now on, and with `unfinished` all that are in flight before that. First comes the place
        alone; without changes, a place says only that there were none that are wanted.

        Does not end. Raises `ResumeTokenExpired`, `Draining`.
        """
        with self._news.of_runs() as waiting:
            place = await self._database.read(
                lambda connection: self._begin(connection, place, unfinished=unfinished)
            )
            yield Told([], place, caught_up=False)
            while True:
                seen, began = waiting.wakes, asyncio.get_running_loop().time()
                told = await self._look(wanted, place, seen)
                place = told.place
                yield told
                if told.caught_up:
                    if self._news.draining:
                        raise Draining
                    await self._wait(waiting, seen, began)

    def _begin(self, connection: Connection, place: Place | None, *, unfinished: bool) -> Place:
        if place is not None:
            self._places.check(connection, place)
            return place
        if unfinished:
            return self._places.first(connection, unfinished=True)
        return self._places.newest(connection)

    async def _look(self, wanted: RunFilter, place: Place, seen: int) -> Told:
        def look(connection: Connection) -> Told:
            now, newest = current_time(connection), changes.horizon(connection)
            heading = place.heading(newest, now)
            found = changes.list_changes(connection, wanted, heading, limit=PAGE)
            if len(found) == PAGE:
                return Told(found, heading.passing(found[-1].key), caught_up=False)
            return Told(found, heading.arrived(), caught_up=heading.until == newest)

        return await self._news.read_once((repr(wanted), place, seen), look)

    async def _wait(self, waiting: Waiting, seen: int, began: float) -> None:
        """Return when there may be more, and when it is this watcher's turn to look."""
        news = waiting.news(seen)
        with suppress(TimeoutError):
            async with asyncio.timeout(FRESH_SECONDS):
                await news
        if not self._news.draining:
            turn = began + self._news.watchers / LOOKS_PER_SECOND
            await asyncio.sleep(turn - asyncio.get_running_loop().time())
