"""A receiver of webhooks on this machine, which answers as a test says."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks import Webhook

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
OTHER_SECRET = "whsec_" + base64.b64encode(b"o" * 32).decode()

Reply = Callable[["Received", asyncio.StreamWriter], Awaitable[None]]
"""Writes the answer to a request."""


@dataclass
class Received:
    """A request that arrived. `headers` have lower-case names."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def delivery_id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def content(self) -> Any:
        return json.loads(self.body)

    def verified(self, secret: str = SECRET) -> Any:
        """Return the content after the library has verified it. Raises its errors."""
        return Webhook(secret).verify(self.body, self.headers)


@dataclass
class Receiver:
    """What arrived, in order. Each request is answered by the next of `replies`, the last one again
    and again."""

    port: int = 0
    replies: list[Reply] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        return [request.delivery_id for request in self.received]

    @property
    def run_ids(self) -> list[str]:
        return [request.content["data"]["run"]["run_id"] for request in self.received]

    async def until(self, count: int) -> list[Received]:
        """Return what arrived once that is at least `count` requests. Raises TimeoutError."""
        async with asyncio.timeout(60), self.arrived:
            await self.arrived.wait_for(lambda: len(self.received) >= count)
        return self.received

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                request = await _read(reader)
                number = len(self.received)
                self.received.append(request)
                async with self.arrived:
                    self.arrived.notify_all()
                reply = self.replies[min(number, len(self.replies) - 1)] if self.replies else OK
                await reply(request, writer)
                await writer.drain()
        writer.close()


async def _read(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Received(first.split(" ")[1], headers, body)


def answering(status: int, body: bytes = b"", **headers: str) -> Reply:
    """Answer with a status; names of headers have underscores for hyphens."""

    async def reply(request: Received, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    return reply


OK = answering(200)


async def hanging(request: Received, writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.Event().wait()


async def dying(request: Received, writer: asyncio.StreamWriter) -> None:
    """Break off in the middle of the answer's head."""
    writer.write(b"HTTP/1.1 20")
    await writer.drain()
    writer.transport.abort()
    raise ConnectionResetError


def dripping(head: bytes) -> Reply:
    """Answer byte by byte, and never come to an end."""

    async def reply(request: Received, writer: asyncio.StreamWriter) -> None:
        while True:
            for number in range(len(head)):
                writer.write(head[number : number + 1])
                await writer.drain()
                await asyncio.sleep(0.01)

    return reply


@asynccontextmanager
async def receiving(*replies: Reply, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """Give a receiver that listens."""
    receiver = Receiver(replies=list(replies))
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await receiver.serve(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def addresses(*texts: str) -> Callable[[str, int], Awaitable[Sequence[str]]]:
    """Resolve every name to these addresses."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        return texts

    return resolve
