"""The database: who may write when, and on which thread.

A transaction is a plain function that takes a `Connection`. `Database.write` and `Database.read`
run it on database threads and can be awaited from any event loop; a caller that is cancelled
while it waits never interrupts a transaction half way. One thread writes: what has queued up while
it was busy shares one transaction, in such a way that one caller's error is nobody else's. Reads
that have queued up share a snapshot. How that is done is each database's own: see `sqlite` and
`postgres`.

A function returns plain values, never a result with rows still to fetch: cursors end on the thread
that opened them.
"""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from types import TracebackType
from typing import Self, TypeAlias, TypeVar

from sqlalchemy import Connection

from runwire.server.storage.calls import Call, CallQueue
from runwire.server.storage.notifications import Hear, Notices

__all__ = ["Connection", "Database", "DatabaseUnusable"]

T = TypeVar("T")

RunBatch: TypeAlias = Callable[[list[Call]], None]
"""Runs calls that have queued up, and hands each back as soon as its transaction has ended: who
waits for one that is committed must not wait for others as well. Raises nothing."""


class DatabaseUnusable(Exception):
    """The database cannot be used as it is. The message says what is wrong."""


class Database(ABC):
    """A database, opened by this process.

    `async with` it: entering migrates the schema and starts the threads; leaving finishes what was
    queued.
    """

    def __init__(self) -> None:
        self._writes = CallQueue()
        self._reads = CallQueue()
        self._threads: list[threading.Thread] = []
        self.on_commit: Callable[[Notices], None] | None = None
        """Called with what a transaction has to say, on the thread that has committed it. Not for
        work: others wait for that thread."""

    @property
    @abstractmethod
    def shared(self) -> bool:
        """Whether other servers may be at work on it at the same time."""

    @abstractmethod
    def _open(self) -> None:
        """Make it ready, and start its threads. Blocks. Gives back what it has when it raises."""

    @abstractmethod
    def _release(self) -> None:
        """Give back what `_open` took. No thread is left."""

    def _committed(self, notices: Notices) -> None:
        if notices and self.on_commit is not None:
            self.on_commit(notices)

    def _start(
        self,
        name: str,
        calls: CallQueue,
        limit: int,
        running: Callable[[], AbstractContextManager[RunBatch]],
    ) -> None:
        """Start a thread that takes up to `limit` calls at a time. What runs them is had on that
        thread, and for as long as it lives."""

        def serve() -> None:
            with running() as run_batch:
                while batch := calls.take(limit):
                    run_batch(batch)
                    del batch  # an idle thread keeps nothing alive

        thread = threading.Thread(target=serve, name=name)
        thread.start()
        self._threads.append(thread)

    async def __aenter__(self) -> Self:
        opening = asyncio.create_task(asyncio.to_thread(self._open), name="open database")
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            # The thread cannot be stopped, and what it opens must not outlive this call.
            await asyncio.wait([opening])
            if not opening.exception():
                await asyncio.to_thread(self._close)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._writes.close()
        self._reads.close()
        for thread in self._threads:
            thread.join()
        self._release()

    def hearing(self, hear: Hear) -> AbstractAsyncContextManager[None]:
        """Have `hear` called on this event loop, for the length of a block, with what other servers
        say. On a database that is not shared nobody says anything."""
        return nullcontext()

    async def write(self, function: Callable[[Connection], T]) -> T:
        """Run `function` in a writing transaction and return what it returns.

        It is committed when this returns, and not at all when this raises. Runs to its end even
        if the caller is cancelled meanwhile. When the transaction that it shares fails, it is run
        again in one of its own, so it must change nothing but the database. Raises `StorageFull`
        and `DatabaseUnavailable`, and whatever `function` raises.
        """
        return await self._writes.call(function)

    def write_blocking(self, function: Callable[[Connection], T]) -> T:
        """Do as `write` does, for callers that are threads."""
        self._refuse_own_threads()
        return self._writes.call_blocking(function)

    def write_apart(self, function: Callable[[Connection], T]) -> T:
        """Do as `write_blocking` does, but behind no other write if that can be."""
        return self.write_blocking(function)

    async def read(self, function: Callable[[Connection], T]) -> T:
        """Run `function` in a reading transaction: one consistent snapshot of what is committed.

        Raises `DatabaseUnavailable`, and whatever `function` raises.
        """
        return await self._reads.call(function)

    def read_blocking(self, function: Callable[[Connection], T]) -> T:
        """Do as `read` does, for callers that are threads."""
        self._refuse_own_threads()
        return self._reads.call_blocking(function)

    def _refuse_own_threads(self) -> None:
        if threading.current_thread() in self._threads:
            raise RuntimeError("a transaction cannot wait for another one")
