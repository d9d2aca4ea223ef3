"""Taking turns at what only one task at a time may do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class Turns:
    """A queue for each key, first come first served; gone when nobody waits. One loop only."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, key: str) -> AsyncIterator[None]:
        """Wait for the others that hold, or wait for, the same key; hold it for the block."""
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            yield
