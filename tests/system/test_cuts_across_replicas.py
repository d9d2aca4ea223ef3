"""Connections that are cut anywhere and go to another server each time: what comes is the log."""

import asyncio
import random
from pathlib import Path

import pytest
from tests.chaos.cluster import seed_of
from tests.chaos.network import Toxics, network_to
from tests.support.callers import whole
from tests.support.replicas import replica_processes
from tests.support.watching import check_log, get_run, read_log, say
from tests.system.test_cuts import Reader, request_of


@pytest.mark.timeout(150)
async def test_streams_that_are_cut_and_joined_at_another_server_give_the_log(
    tmp_path: Path, postgres_url: str
) -> None:
    await check_cuts(tmp_path, postgres_url, replicas=2, streams=12, events=300)


@pytest.mark.chaos
@pytest.mark.timeout(600)
async def test_a_hundred_streams_of_a_thousand_events_cut_at_random_give_the_log(
    tmp_path: Path, postgres_url: str
) -> None:
    await check_cuts(tmp_path, postgres_url, replicas=3, streams=100, events=1000)


async def check_cuts(
    directory: Path, url: str, *, replicas: int, streams: int, events: int
) -> None:
    """Read `streams` runs over a network that cuts connections, and leads each to another server;
    check that every reader has got its run's log."""
    seed = seed_of("cuts")
    chance = random.Random(seed)

    def bytes_of_a_life() -> int:
        # A message must get through before its reader gets on: now and then there is time for one
        # of the size that what is stored travels in.
        return chance.randint(1, 200_000 if chance.random() < 0.3 else 15_000)

    async with replica_processes(directory, url, *[()] * replicas) as servers:
        addresses = [server.address for server in servers]
        async with network_to(*addresses, toxics=Toxics(limit=bytes_of_a_life), seed=seed) as net:
            readers = [
                Reader(net.address, request_of(f"stream {number}", count=events, size=50, every=1))
                for number in range(streams)
            ]
            await asyncio.gather(*(reader.read() for reader in readers))
        lost, twice = 0, 0
        for number, reader in enumerate(readers):
            address = addresses[number % replicas]
            log = whole(await read_log(address, reader.run_id))
            check_log(log, await get_run(address, reader.run_id))
            seen = [event.id for event in reader.events]
            lost += len({event.id for event in log}.difference(seen))
            twice += len(seen) - len(set(seen))
            assert reader.events == log
            assert sum(event.HasField("custom") for event in log) == events
    connections = sum(reader.connections for reader in readers)
    say(
        f"{streams} streams of {events} events over {connections} connections to {replicas}"
        f" servers: {lost} lost, {twice} twice"
    )
    assert connections > 2 * streams
