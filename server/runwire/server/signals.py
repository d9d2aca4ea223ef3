"""Being told to stop: SIGTERM and Ctrl-C."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ONE_SIGNAL_SECONDS = 1.0
"""Signals closer together than this count as one: a terminal's Ctrl-C reaches every process in the
foreground, and a wrapper such as `uv run` passes it on once more."""


class StopSignals:
    """SIGTERM and SIGINT. The first one asks, and each further one does not wait for an answer:
    `on_first` and `on_further` are called for them."""

    def __init__(self, on_first: Callable[[], None], on_further: Callable[[], None]) -> None:
        self._on_first = on_first
        self._on_further = on_further
        self._last: float | None = None
        self._stop = asyncio.Event()
        self._starting = asyncio.current_task()

    @contextmanager
    def received(self) -> Iterator[None]:
        """Receive signals in this block. One that comes before `requested` is waited for ends the
        block at once: what has not begun needs no grace."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._receive)
        try:
            yield
        except asyncio.CancelledError:
            if self._last is None:
                raise

    async def requested(self) -> None:
        """Return when the process is asked to stop."""
        self._starting = None
        await self._stop.wait()

    def _receive(self) -> None:
        now = time.monotonic()
        if self._last is None:
            self._stop.set()
            self._on_first()
            if self._starting is not None:
                self._starting.cancel()
        elif now - self._last > ONE_SIGNAL_SECONDS:
            self._on_further()
        else:
            return
        self._last = now
