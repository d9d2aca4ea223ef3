"""Writing a run's events to one subscriber, and heartbeats while there are none."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Self

import grpc

from runwire.server.rpc.calls import Context, send

HEARTBEAT = timedelta(seconds=15)
"""A stream without events for this long gets a heartbeat."""


class EventStream:
    """The stream of one call, for the duration of an `async with`.

    Heartbeats come from a timer that looks once per silence, so that they cost nothing while
    there are events.
    """

    def __init__(self, context: Context, heartbeat: Callable[[], bytes], silence: float) -> None:
        """`heartbeat` gives the message that says that the stream lives; it is sent after
        `silence`, in seconds."""
        self._context = context
        self._encode_heartbeat = heartbeat
        self._silence = silence
        self._loop = asyncio.get_running_loop()
        self._last_write = self._loop.time()
        self._writing = False
        self._heartbeat: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(silence, self._look)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if self._heartbeat is not None:
            self._heartbeat.cancel()
            await asyncio.wait([self._heartbeat])

    async def write(self, message: bytes) -> None:
        """Write a serialized response; waits while the subscriber does not read."""
        self._writing = True
        try:
            if self._heartbeat is not None:
                # gRPC takes one message of a call at a time.
                await asyncio.wait([self._heartbeat])
                self._heartbeat = None
            await send(self._context, message)
        finally:
            self._writing = False
        self._last_write = self._loop.time()

    def _look(self) -> None:
        now = self._loop.time()
        due = self._last_write + self._silence
        if now >= due:
            due = now + self._silence
            self._beat_if_idle()
        self._timer = self._loop.call_at(due, self._look)

    def _beat_if_idle(self) -> None:
        beating = self._heartbeat is not None and not self._heartbeat.done()
        if not (self._writing or beating):
            self._heartbeat = self._loop.create_task(self._beat(), name="heartbeat")

    async def _beat(self) -> None:
        # A call that has ended meanwhile is about to be cancelled: its handler sees to that.
        with contextlib.suppress(grpc.aio.BaseError):
            await self._context.write(self._encode_heartbeat())
