"""The loop that takes what retention has passed, again and again."""

import asyncio
import logging
import random
from datetime import timedelta
from types import TracebackType
from typing import Self

from runwire.server.core.retention import Retention, sweep
from runwire.server.storage.database import Database

_logger = logging.getLogger(__name__)


class RetentionSweeper:
    """Sweeps as long as it is entered. `async with` it."""

    def __init__(self, database: Database, retention: Retention, *, interval: timedelta) -> None:
        """`interval`: from one sweep to the next; jittered, so that servers do not keep step."""
        self._database = database
        self._retention = retention
        self._seconds = interval.total_seconds()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._sweep_for_ever(), name="retention")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _sweep_for_ever(self) -> None:
        while True:
            # Not first thing: servers that start together, or after a pause, have more to do.
            await asyncio.sleep(self._seconds * random.uniform(0.8, 1.2))
            try:
                await sweep(self._database, self._retention)
            except Exception:
                _logger.exception("a sweep of what is too old failed")
