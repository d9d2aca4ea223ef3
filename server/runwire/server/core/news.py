"""News of threads and runs, for whoever waits for them in this process.

What this server commits it hears at once, what others commit when they say so, and once a second
the database is asked: one question for all who wait, however many they are.
"""

import asyncio
import logging
import random
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

from runwire.server.model.changes import Horizon
from runwire.server.model.errors import DatabaseUnavailable
from runwire.server.storage import changes
from runwire.server.storage.database import Connection, Database
from runwire.server.storage.notifications import Kind, Notices

_logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""How often the database is asked at least, should a wake be lost; sometimes sooner, so that
servers do not ask all at once. Never, if it belongs to this server alone."""

T = TypeVar("T")


class Waiting:
    """Those who wait for news of one thread, or of any run."""

    def __init__(self) -> None:
        self.users = 0
        self.wakes = 0
        """How often there were news: tells a reader what it missed while it looked elsewhere."""
        self._waiters: set[asyncio.Future[None]] = set()

    def wake(self) -> None:
        """Say that there are news."""
        self.wakes += 1
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def news(self, seen: int) -> "asyncio.Future[None]":
        """Return what is done when there are news since `wakes` was `seen`. Whoever waits no more
        cancels it."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.wakes != seen:
            waiter.set_result(None)
        else:
            self._waiters.add(waiter)
            waiter.add_done_callback(self._waiters.discard)
        return waiter


class News:
    """Wakes whoever waits, inside an `async with`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._threads: dict[str, Waiting] = {}
        self._runs = Waiting()
        self._seen: Horizon | None = None
        self._polling: asyncio.Task[None] | None = None
        self._lock = threading.Lock()
        self._untold: Notices = {}
        self._reads: dict[Hashable, asyncio.Task[Any]] = {}
        self.draining = False
        """Whether everybody is to stop waiting."""

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()

        def committed(notices: Notices) -> None:
            if not self._is_used or Kind.MOVES not in notices:
                return
            with self._lock:
                is_first = not self._untold
                self._untold.setdefault(Kind.MOVES, set()).update(notices[Kind.MOVES])
            if is_first:
                loop.call_soon_threadsafe(self._hear)

        self._database.on_commit = committed
        if self._database.shared:
            await self._database.write(changes.forget_foreign_numbers)
            self._polling = asyncio.create_task(self._poll(), name="news")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._database.on_commit = None
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.wait([self._polling])
        if self._reads:
            await asyncio.wait(self._reads.values())

    @property
    def _is_used(self) -> bool:
        return bool(self._threads or self._runs.users)

    @property
    def watchers(self) -> int:
        """How many wait for news of any run."""
        return self._runs.users

    @contextmanager
    def of_thread(self, thread_id: str) -> Iterator[Waiting]:
        """Give what news of a thread are waited for at, for the length of a block."""
        waiting = self._threads.setdefault(thread_id, Waiting())
        waiting.users += 1
        try:
            yield waiting
        finally:
            waiting.users -= 1
            if not waiting.users:
                del self._threads[thread_id]

    @contextmanager
    def of_runs(self) -> Iterator[Waiting]:
        """Give what news of any run are waited for at, for the length of a block."""
        self._runs.users += 1
        try:
            yield self._runs
        finally:
            self._runs.users -= 1

    def drain(self) -> None:
        """Let everybody stop waiting, now and from now on."""
        self.draining = True
        self.told(None)

    def told(self, thread_ids: Iterable[str | None] | None) -> None:
        """Wake whoever waits for news of these threads, or of any run; None: of whatever it is."""
        for thread_id in self._threads if thread_ids is None else thread_ids:
            if thread_id is not None and thread_id in self._threads:
                self._threads[thread_id].wake()
        self._runs.wake()

    def _hear(self) -> None:
        with self._lock:
            untold, self._untold = self._untold, {}
        self.told(untold.get(Kind.MOVES, ()))

    async def read_once(self, key: Hashable, function: Callable[[Connection], T]) -> T:
        """Read once for all who ask for the same at the same time: they are woken together, and
        most of them have seen the same. `key` says how often they were woken: who was woken later
        wants to know more than what is being read."""
        reading = self._reads.get(key)
        if reading is None:
            reading = asyncio.create_task(self._database.read(function))
            self._reads[key] = reading
            reading.add_done_callback(lambda _: self._reads.pop(key))
        result: T = await asyncio.shield(reading)
        return result

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS * random.uniform(0.6, 1.0))
            try:
                await self._look()
            except DatabaseUnavailable:
                # Readers wait on: there is nothing that they could be told.
                _logger.warning("changes could not be watched: the database does not answer")
            except Exception:
                _logger.exception("changes could not be watched")

    async def _look(self) -> None:
        if not self._is_used:
            self._seen = None
            return
        seen = self._seen
        self._seen, changed = await self._database.read(
            lambda connection: (
                changes.horizon(connection),
                None if seen is None else changes.list_changed_threads(connection, seen),
            )
        )
        # Whoever began to read before it was known what can be seen may have missed something.
        if changed is None or changed:
            self.told(changed)
