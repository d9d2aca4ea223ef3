"""A network that can be hurt: between callers and servers, or between a server and its database.

A `Network` is an address that leads to one of its targets, in turn, as a load balancer without any
stickiness does. What is wrong with it can change at any time, also under connections that are open.
"""

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

PIECE = 65536
"""Bytes that are read at once."""

IN_FLIGHT = 16
"""Pieces that may be on their way in one direction: more would hide that nobody takes them."""

_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Toxics:
    """What is wrong with a network. The default is nothing.

    Times are seconds, amounts bytes. `limit` and `reset_after` are asked for each connection as it
    begins: after how many bytes of the far side it is cut, after how long it is reset.
    """

    latency: float = 0.0
    jitter: float = 0.0
    down: bool = False
    """Nobody answers: connections are cut, and new ones refused."""
    blackhole: bool = False
    """Nothing comes through, and nobody is told. What was sent meanwhile comes through later."""
    piece: int = PIECE
    rate: float = 0.0
    """Bytes a second, in each direction of each connection; 0 is as fast as it goes."""
    limit: Callable[[], int] | None = None
    reset_after: Callable[[], float] | None = None


HEALTHY = Toxics()


class Network:
    """See above. `connections` counts those that were made."""

    def __init__(self, targets: Sequence[str], toxics: Toxics = HEALTHY, *, seed: int = 0) -> None:
        self.targets = list(targets)
        self.address = ""
        self.connections = 0
        self._toxics = toxics
        self._changed = asyncio.Event()
        self._chance = random.Random(seed)
        self._carrying: set[asyncio.Task[None]] = set()

    @property
    def toxics(self) -> Toxics:
        """What is wrong now."""
        return self._toxics

    def hurt(self, toxics: Toxics) -> None:
        """Replace what is wrong, at once and for open connections too."""
        self._toxics = toxics
        self._changed.set()
        self._changed = asyncio.Event()
        if toxics.down:
            self.cut()

    def heal(self) -> None:
        """Let nothing be wrong any more."""
        self.hurt(HEALTHY)

    @contextmanager
    def hurting(self, toxics: Toxics) -> Iterator[None]:
        """Hurt for the length of a block."""
        self.hurt(toxics)
        try:
            yield
        finally:
            self.heal()

    def cut(self) -> None:
        """Cut every connection, as a cable that is pulled does: no goodbye."""
        for task in self._carrying:
            task.cancel()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either side, or what is wrong here, ends it."""
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        ends = [writer]
        try:
            if not self._toxics.down:
                far = await self._reach()
                if far is not None:
                    ends.append(far[1])
                    self.connections += 1
                    await self._carry_both((reader, writer), far)
        except asyncio.CancelledError:
            pass  # cut
        finally:
            self._carrying.discard(task)
            for end in ends:
                _reset(end)

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """Return a connection to whichever target takes one, beginning with the next in turn."""
        self.targets.append(self.targets.pop(0))
        for target in list(self.targets):
            host, _, port = target.rpartition(":")
            with contextlib.suppress(OSError):
                return await asyncio.open_connection(host, int(port))
        return None

    async def _carry_both(
        self,
        near: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        far: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        limit = self._toxics.limit
        work = [
            self._carry(near[0], far[1], None),
            self._carry(far[0], near[1], limit() if limit else None),
        ]
        if self._toxics.reset_after is not None:
            work.append(asyncio.sleep(self._toxics.reset_after()))
        tasks = [asyncio.create_task(each) for each in work]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _carry(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, left: int | None
    ) -> None:
        """Carry one direction to its end, or until `left` bytes have come through."""
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(IN_FLIGHT)
        reading = asyncio.create_task(self._read(source, pieces))
        try:
            while True:
                due, data = await pieces.get()
                if not data:
                    return
                await self._wait(due)
                if left is not None:
                    data = data[:left]
                    left -= len(data)
                target.write(data)
                await target.drain()
                if left == 0:
                    return
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(
        self, source: asyncio.StreamReader, pieces: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        loop = asyncio.get_running_loop()
        data = b"first"
        free_at = 0.0
        while data:
            try:
                data = await source.read(self._toxics.piece)
            except ConnectionError:
                data = b""
            toxics = self._toxics
            late = toxics.latency + self._chance.uniform(-toxics.jitter, toxics.jitter)
            due = max(loop.time(), free_at)
            if toxics.rate:
                due = free_at = due + len(data) / toxics.rate
            await pieces.put((due + max(0.0, late), data))

    async def _wait(self, due: float) -> None:
        loop = asyncio.get_running_loop()
        if due > loop.time():
            await asyncio.sleep(due - loop.time())
        while self._toxics.blackhole:
            await self._changed.wait()


def free_port() -> int:
    """Return a port for a server that may be away for a while.

    It is none of those that the system gives to connections on their way out: one of these would
    find itself at the port while the server is away, and keep it from it.
    """
    while True:
        port = random.SystemRandom().randrange(10_000, 30_000)
        with socket.socket() as listening, contextlib.suppress(OSError):
            listening.bind(("127.0.0.1", port))
            return port


def _reset(end: asyncio.StreamWriter) -> None:
    """End a connection with a reset: whoever is at its other end is told nothing else."""
    ended: socket.socket | None = end.get_extra_info("socket")
    if ended is not None:
        with contextlib.suppress(OSError):
            ended.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    end.transport.abort()


@asynccontextmanager
async def network_to(
    *targets: str, toxics: Toxics = HEALTHY, seed: int = 0
) -> AsyncIterator[Network]:
    """Give a network that leads to `targets`, each a host and port."""
    network = Network(targets, toxics, seed=seed)
    server = await asyncio.start_server(network.take, "127.0.0.1", 0)
    network.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield network
    finally:
        server.close()
        network.cut()
        await asyncio.sleep(0)
        while network._carrying:
            await asyncio.wait(network._carrying)
