"""A name server for tests, whose answers change."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

_HEADER = struct.Struct("!6H")
_ANSWER = struct.Struct("!3HIH4s")
_HOST_ADDRESS = 1


class Names(asyncio.DatagramProtocol):
    """Has `hosts`, addresses of this machine, for every name that it is asked for. `asked` counts
    how often that was."""

    def __init__(self, *hosts: str) -> None:
        self.hosts = hosts
        self.asked = 0
        self.address = ""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.address = "{}:{}".format(*transport.get_extra_info("sockname"))

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        number = _HEADER.unpack_from(data)[0]
        end = data.index(b"\0", _HEADER.size) + 5
        question = data[_HEADER.size : end]
        (kind,) = struct.unpack("!H", question[-4:-2])
        hosts = self.hosts if kind == _HOST_ADDRESS else ()
        self.asked += bool(hosts)
        # Of no authority and no use later: it is asked again each time.
        answer = _HEADER.pack(number, 0x8580, 1, len(hosts), 0, 0) + question
        for host in hosts:
            answer += _ANSWER.pack(0xC00C, _HOST_ADDRESS, 1, 0, 4, socket.inet_aton(host))
        self._transport.sendto(answer, addr)


@asynccontextmanager
async def serve_names(*hosts: str) -> AsyncIterator[Names]:
    """Give a name server that has `hosts`."""
    loop = asyncio.get_running_loop()
    transport, names = await loop.create_datagram_endpoint(
        lambda: Names(*hosts), local_addr=("127.0.0.1", 0)
    )
    try:
        yield names
    finally:
        transport.close()
