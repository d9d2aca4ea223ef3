"""Watching, for all readers in this process, the runs that it does not execute."""

import asyncio
import logging
import random
from contextlib import suppress

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

    What it has found out before is compared with what it finds now. A reader that has begun to
    read since then has seen at least as much, so that nothing is left out.
    """

    def __init__(self, database: Database, logs: RunLogs) -> None:
        self._database = database
        self._logs = logs
        self._known: dict[str, Progress | None] = {}
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
        known: dict[str, Progress | None] = {}
        for start in range(0, len(waiting), ASKED_AT_ONCE):
            known |= await self._ask(waiting[start : start + ASKED_AT_ONCE])
        self._known = known

    async def _ask(self, logs: list[RunLog]) -> dict[str, Progress | None]:
        run_ids = [log.run_id for log in logs]
        found = await self._database.read(lambda connection: events.progress(connection, run_ids))
        for log in logs:
            if log.run_id not in self._known or self._known[log.run_id] != found.get(log.run_id):
                log.wake()
        return {run_id: found.get(run_id) for run_id in run_ids}
