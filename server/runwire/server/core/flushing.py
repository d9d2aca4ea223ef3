"""Storing the output of executing runs while they go on: all of them in one transaction."""

import asyncio
import logging
import time

from runwire.server.core.endings import store
from runwire.server.core.logs import RunLog
from runwire.server.model.attempts import Attempt
from runwire.server.model.errors import AttemptLost, DatabaseUnavailable, StorageFull
from runwire.server.model.events import EventId
from runwire.server.model.faults import fault
from runwire.server.storage import ownership
from runwire.server.storage.database import Connection, Database

_logger = logging.getLogger(__name__)

FLUSH_SECONDS = 0.015
"""How long new output waits for more before it is stored. A crash loses no more than this, or
than a few flushes take; the next attempt has a number of its own, so readers see the boundary."""

FLUSH_PAUSE = 4
"""A flush is followed by a pause at least this many times as long: when many runs stream at once,
storing their output in larger pieces leaves the machine to the runs."""

LATER = EventId(0, 0)
"""In the place of how far a log is stored: it was not this time, because another server is looking
at its run just now. Waiting for that, while the other logs' runs are locked, might be for ever."""

RETRY_SECONDS = 0.5
"""How long to wait after a failure to store."""

MAX_UNSTORED_BYTES = 4 * 1024 * 1024
"""Output that one run may have that is not stored before it must wait itself."""


class Flusher:
    """Stores what the logs of this process's attempts hold."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._attempts: dict[str, tuple[Attempt, RunLog]] = {}
        self._dirty: set[str] = set()
        self._is_dirty = asyncio.Event()

    def add(self, attempt: Attempt, log: RunLog) -> None:
        """Store an attempt's output from now on."""
        self._attempts[attempt.run_id] = (attempt, log)
        log.on_wake = self._mark

    def remove(self, run_id: str) -> None:
        """Stop storing a run's output: its end has stored the rest."""
        self._attempts.pop(run_id, None)
        self._dirty.discard(run_id)

    def _mark(self, log: RunLog) -> None:
        if log.run_id in self._attempts:
            self._dirty.add(log.run_id)
            self._is_dirty.set()

    async def run(self) -> None:
        """Flush for ever."""
        took = 0.0
        while True:
            await self._is_dirty.wait()
            await asyncio.sleep(max(FLUSH_SECONDS, FLUSH_PAUSE * took))
            self._is_dirty.clear()
            due = [self._attempts[run_id] for run_id in self._dirty]
            self._dirty.clear()
            if not due:
                continue  # the runs have ended meanwhile, and their ends have stored it all
            began = time.monotonic()
            await self._flush(due)
            took = time.monotonic() - began

    async def _flush(self, due: list[tuple[Attempt, RunLog]]) -> None:
        try:
            stored = await self._store(due)
        except (StorageFull, DatabaseUnavailable):
            # The runs go on and their logs keep what is not stored; only one that makes more
            # than it may hold has to stop.
            _logger.warning("output could not be stored yet", extra={"runs": len(due)})
            await asyncio.sleep(RETRY_SECONDS)
            for _, log in due:
                self._mark(log)
        except Exception as error:
            if len(due) > 1:
                # One of them is at fault, and the others are not.
                for one in due:
                    await self._flush([one])
                return
            attempt, log = due[0]
            _logger.exception("output cannot be stored", extra={"run_id": attempt.run_id})
            self._lose(attempt, log, error)
        else:
            for (attempt, log), up_to in zip(due, stored, strict=True):
                if up_to is None:
                    self._lose(attempt, log, AttemptLost(attempt.run_id, attempt.number))
                elif up_to is LATER:
                    self._mark(log)
                else:
                    log.stored(up_to)

    def _lose(self, attempt: Attempt, log: RunLog, error: BaseException) -> None:
        # The run's next attempt may have begun here meanwhile, with the same log.
        known = self._attempts.get(attempt.run_id)
        if known is not None and known[0] is attempt:
            log.on_lost(error)

    async def _store(self, due: list[tuple[Attempt, RunLog]]) -> list[EventId | None]:
        stored = await self._database.write(lambda connection: _store_all(connection, due))
        fault("flush.after_commit")
        return stored


async def make_room(database: Database, attempt: Attempt, log: RunLog) -> None:
    """Store a log's output now, because its run makes it faster than the flusher takes it.

    Raises `AttemptLost`.
    """
    log.stored(await database.write(lambda connection: _store_one(connection, attempt, log)))


def _store_all(connection: Connection, due: list[tuple[Attempt, RunLog]]) -> list[EventId | None]:
    """Store each log's rest; return how far each is stored, None for an attempt that is lost, or
    `LATER`."""
    owned = ownership.owned_of(connection, [attempt for attempt, _ in due])
    stored = [
        store(connection, log) if mine else LATER if mine is None else None
        for mine, (_, log) in zip(owned, due, strict=True)
    ]
    fault("flush.before_commit")
    return stored


def _store_one(connection: Connection, attempt: Attempt, log: RunLog) -> EventId:
    if not ownership.owns_run(connection, attempt):
        raise AttemptLost(attempt.run_id, attempt.number)
    stored = store(connection, log)
    fault("flush.before_commit")
    return stored
