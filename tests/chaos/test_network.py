"""The network that hurts: it does what it says, or nothing that is tested with it means much."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.chaos.network import Toxics, network_to


@asynccontextmanager
async def echo(name: bytes = b"") -> AsyncIterator[str]:
    """Give the address of a server that says its name, then whatever it is told."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(name)
        while data := await reader.read(1000):
            writer.write(data)
        writer.close()

    async def quietly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await answer(reader, writer)

    server = await asyncio.start_server(quietly, "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


async def connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def ask(address: str, text: bytes) -> tuple[bytes, float]:
    """Return what comes back of a text over a connection of its own, and after how long."""
    begun = time.monotonic()
    reader, writer = await connect(address)
    writer.write(text)
    try:
        answer = await reader.readexactly(len(text))
    except asyncio.IncompleteReadError as error:
        answer = error.partial
    except ConnectionError:
        answer = b"reset"
    writer.close()
    return answer, time.monotonic() - begun


async def test_a_healthy_network_changes_nothing() -> None:
    text = bytes(range(256)) * 4000
    async with echo() as server, network_to(server) as network:
        assert (await ask(network.address, text))[0] == text
    assert network.connections == 1


async def test_connections_go_to_each_target_in_turn_and_past_those_that_are_gone() -> None:
    async with echo(b"a") as a, echo(b"b") as b, network_to(a, b, "127.0.0.1:9") as network:
        names = [(await ask(network.address, b"x"))[0] for _ in range(6)]
    assert set(names) == {b"a", b"b"}


async def test_latency_delays_and_does_not_narrow() -> None:
    """One piece after the other would take five seconds."""
    text = b"x" * 200_000
    slow = Toxics(latency=0.1, jitter=0.02, piece=4000)
    async with echo() as server, network_to(server, toxics=slow) as network:
        answer, seconds = await ask(network.address, text)
    assert answer == text
    assert 0.16 <= seconds < 4.5


async def test_a_rate_is_kept() -> None:
    text = b"x" * 20_000
    async with echo() as server, network_to(server, toxics=Toxics(rate=100_000)) as network:
        answer, seconds = await ask(network.address, text)
    assert answer == text
    assert seconds >= 0.2


async def test_small_pieces_arrive_whole() -> None:
    text = bytes(range(256))
    async with echo() as server, network_to(server, toxics=Toxics(piece=3)) as network:
        assert (await ask(network.address, text))[0] == text


async def test_a_connection_is_cut_after_its_limit() -> None:
    limits = iter((2, 1000))
    cutting = Toxics(limit=lambda: next(limits))
    async with echo() as server, network_to(server, toxics=cutting) as network:
        answers = [(await ask(network.address, b"12345"))[0] for _ in range(2)]
    assert answers[0] in (b"12", b"reset")  # a reset overtakes what was not read yet
    assert answers[1] == b"12345"


async def test_a_connection_is_reset_after_its_time() -> None:
    toxics = Toxics(reset_after=lambda: 0.05, blackhole=True)
    async with echo() as server, network_to(server, toxics=toxics) as network:
        answer, seconds = await ask(network.address, b"x")
    assert answer == b"reset"
    assert seconds >= 0.05


async def test_a_network_that_is_down_cuts_and_refuses_until_it_is_up() -> None:
    async with echo(b"!") as server, network_to(server) as network:
        reader, writer = await connect(network.address)
        assert await reader.readexactly(1) == b"!"
        with network.hurting(Toxics(down=True)):
            with suppress(ConnectionError):
                assert await reader.read(1) == b""
            assert (await ask(network.address, b"x"))[0] in (b"", b"reset")
        assert (await ask(network.address, b"x"))[0] == b"!"
        writer.close()


async def test_what_a_black_hole_took_comes_through_when_it_is_gone() -> None:
    async with echo() as server, network_to(server) as network:
        reader, writer = await connect(network.address)
        with network.hurting(Toxics(blackhole=True)):
            writer.write(b"x")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await reader.read(1)
        assert await reader.read(1) == b"x"
        writer.close()
