"""A server for tests that block: in this process, on a loop and a thread of its own."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

from tests.support.serving import serve_in_process


@contextmanager
def serve_in_background(directory: Path) -> Iterator[str]:
    """Give the address of a server with the support graphs, and its database in `directory`."""
    up: SimpleQueue[tuple[str, asyncio.AbstractEventLoop, asyncio.Event] | BaseException]
    up = SimpleQueue()

    async def serve() -> None:
        stop = asyncio.Event()
        async with serve_in_process(directory) as app:
            up.put((app.address, asyncio.get_running_loop(), stop))
            await stop.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            up.put(error)
            raise

    thread = threading.Thread(target=run, name="background server")
    thread.start()
    started = up.get(timeout=30)
    if isinstance(started, BaseException):
        raise started
    address, loop, stop = started
    try:
        yield address
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
