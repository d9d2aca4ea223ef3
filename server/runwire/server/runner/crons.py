"""The loop that fires crons when they are due."""

import asyncio
import logging
import random
from contextlib import suppress
from types import TracebackType
from typing import Self

from runwire.server.core.crons import Crons
from runwire.server.model.errors import DatabaseUnavailable, StorageFull

_logger = logging.getLogger(__name__)

POLL_SECONDS = 5.0
"""How often the loop looks by itself, should a change not be heard of; jittered by a fifth."""

RETRY_SECONDS = 1.0
"""How soon to look again after a failure."""

BUSY_SECONDS = 0.2
"""How soon to look again at what others are at work on."""


class CronLoop:
    """Fires crons as long as it is entered. `async with` it.

    Every server of a database has one, those too that execute no runs: whoever comes first fires.
    """

    def __init__(self, crons: Crons) -> None:
        self._crons = crons
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._fire_for_ever(), name="crons")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._task is not None
        # Not cancelled: a run that is created half way would be claimed and not started.
        self._stopping = True
        self._crons.wake()
        await asyncio.wait([self._task])

    async def _fire_for_ever(self) -> None:
        is_away = False
        while not self._stopping:
            self._crons.woken.clear()
            try:
                wait = await self._fire()
                if is_away:
                    _logger.warning("crons can fire again")
                is_away = False
            except (DatabaseUnavailable, StorageFull) as error:
                if not is_away:
                    _logger.warning("crons cannot fire: %s", error.message)
                is_away = True
                wait = RETRY_SECONDS
            except Exception:
                _logger.exception("crons could not be fired")
                wait = RETRY_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._crons.woken.wait()

    async def _fire(self) -> float:
        """Fire what is due; return in how many seconds to look again."""
        found = await self._crons.look()
        if found.due:
            fired = await self._crons.fire(found.due)
            return 0.0 if fired else BUSY_SECONDS
        wait = POLL_SECONDS * random.uniform(0.8, 1.2)
        return wait if found.next is None else min(wait, max(0.0, found.next.total_seconds()))
