"""A network that breaks: a proxy between a client and a server that cuts its connections."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class BreakingNetwork:
    """Passes bytes on, and cuts each connection after as many of the server's as `lives_for` says
    at its beginning. `connections` counts them."""

    def __init__(self, target: str, lives_for: Callable[[], int]) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._lives_for = lives_for
        self.connections = 0

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection of a client until either side, or its time, ends it."""
        self.connections += 1
        server_reader, server_writer = await asyncio.open_connection(self._host, self._port)
        directions = [
            asyncio.create_task(_carry(reader, server_writer, None), name="to the server"),
            asyncio.create_task(_carry(server_reader, writer, self._lives_for()), name="back"),
        ]
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
            for end in (writer, server_writer):
                end.transport.abort()  # as a cable does that is pulled: no goodbye


async def _carry(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, left: int | None
) -> None:
    while data := await source.read(4096):
        target.write(data if left is None else data[:left])
        await target.drain()
        if left is not None:
            left -= len(data)
            if left <= 0:
                return


@asynccontextmanager
async def break_network(
    target: str, lives_for: Callable[[], int]
) -> AsyncIterator[tuple[str, BreakingNetwork]]:
    """Give an address that leads to `target` by a network that breaks."""
    network = BreakingNetwork(target, lives_for)
    server = await asyncio.start_server(network.connect, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield f"127.0.0.1:{port}", network
