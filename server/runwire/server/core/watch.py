"""Watching, for all readers in this process, the runs that it does not execute."""

import asyncio
import logging
import random
from contextlib import suppress
from weakref import WeakKeyDictionary

from runwire.server.core.logs import RunLog, RunLogs
from runwire.server.model.errors import DatabaseUnavailable
from runwire.server.storage import events
from runwire.server.storage.database import Database
from runwire.server.storage.events import Progress

_logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""How often the database is asked for news of runs that somebody waits for here, should a wake be
lost; sometimes sooner, so that servers do not ask all at once. One question for all of them,
however many readers there are."""

ASKED_AT_ONCE = 500
"""Runs that one question is about, so that other reads get their turn."""


class Watch:
    """Wakes readers of runs that are executed elsewhere, or not yet, when there is news of them.

    Whenever what is known of a log changes, its readers are woken, and who was woken reads again
    before it waits. So whoever waits has seen at least what is known, however long ago that was
    found out: while all of a log's readers read, nothing is asked and nothing forgotten. Only this
    log's readers have seen it, though. When they have left, the run's next log begins anew.
    """

    def __init__(self, database: Database, logs: RunLogs) -> None:
        self._database = database
        self._logs = logs
        self._known: WeakKeyDictionary[RunLog, Progress | None] = WeakKeyDictionary()
        self._hurried = asyncio.Event()

    def hurry(self) -> None:
        """Look soon: news may not have been told of."""
        self._hurried.set()

    async def run(self) -> None:
        """Watch for ever."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS * random.uniform(0.6, 1.0)):
                    await self._hurried.wait()
            self._hurried.clear()
            try:
                await self._look()
            except DatabaseUnavailable:
                # Readers wait on: there is nothing that they could be told.
                _logger.warning("runs could not be watched: the database does not answer")
            except Exception:
                _logger.exception("runs could not be watched")

    async def _look(self) -> None:
        waiting = self._logs.waiting_for_others()
        for start in range(0, len(waiting), ASKED_AT_ONCE):
            await self._ask(waiting[start : start + ASKED_AT_ONCE])

    async def _ask(self, logs: list[RunLog]) -> None:
        run_ids = [log.run_id for log in logs]
        found = await self._database.read(lambda connection: events.progress(connection, run_ids))
        for log in logs:
            progress = found.get(log.run_id)
            if log not in self._known or self._known[log] != progress:
                self._known[log] = progress
                log.wake()
