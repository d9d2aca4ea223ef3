"""Calls: functions that wait for a database thread, and the way back to who waits for them."""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection

from runwire.server.model.errors import DatabaseUnavailable

T = TypeVar("T")


@dataclass(slots=True)
class Call:
    """A function to run in a transaction, and what came of it."""

    function: Callable[[Connection], Any]
    loop: asyncio.AbstractEventLoop | None
    future: Any
    result: Any = None
    error: BaseException | None = None


class CallQueue:
    """Calls in the order in which they were made, for one or more threads to take."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        # Held while a call is put, so that none follows the None which ends the threads.
        self._putting = threading.Lock()
        self._closed = False

    async def call(self, function: Callable[[Connection], T]) -> T:
        """Have `function` run and return what it returns, or raise what it raises.

        It runs to its end even if the caller is cancelled meanwhile. Raises `DatabaseUnavailable`
        after `close`.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._put(Call(function, loop, future))
        return await future

    def call_blocking(self, function: Callable[[Connection], T]) -> T:
        """Do as `call` does, for callers that are threads."""
        future: Future[T] = Future()
        self._put(Call(function, None, future))
        return future.result()

    def _put(self, call: Call) -> None:
        with self._putting:
            if self._closed:
                raise DatabaseUnavailable
            self._calls.put(call)

    def take(self, limit: int) -> list[Call]:
        """Wait for a call and return it with what else is there; nothing once all is done."""
        batch: list[Call] = []
        call = self._calls.get()
        while call is not None:
            batch.append(call)
            if len(batch) == limit:
                return batch
            try:
                call = self._calls.get_nowait()
            except queue.Empty:
                return batch
        self._calls.put(None)  # for the next take, on this thread or another
        return batch

    def close(self) -> None:
        """Take no more calls; those already made are still run."""
        with self._putting:
            self._closed = True
            self._calls.put(None)


def hand_back(batch: Iterable[Call]) -> None:
    """Give each caller its result: one wake of each waiting loop, not one per caller."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Call]] = {}
    for call in batch:
        if call.loop is None:
            _resolve(call)
        else:
            by_loop.setdefault(call.loop, []).append(call)
    for loop, calls in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody is left to tell
            loop.call_soon_threadsafe(_resolve_all, calls)


def _resolve_all(calls: list[Call]) -> None:
    for call in calls:
        _resolve(call)


def _resolve(call: Call) -> None:
    if call.future.done():
        return  # the caller was cancelled; the transaction stands
    if call.error is not None:
        call.future.set_exception(call.error)
    else:
        call.future.set_result(call.result)
