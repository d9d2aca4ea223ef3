"""A server is killed while it starts for the first time: the next one makes up for it."""

import asyncio
import os
import random
import time
from pathlib import Path

import pytest
from tests.support.serving import ServerProcess
from tests.support.watching import SYSTEM_GRAPHS, chain_input, chain_result, say

from runwire.client import get_client


@pytest.mark.chaos
@pytest.mark.timeout(300)
async def test_a_first_start_may_be_cut_short_anywhere(tmp_path: Path) -> None:
    seed = int(os.environ.get("START_SEED", random.randrange(10**6)))
    say(f"START_SEED={seed}")
    chance = random.Random(seed)
    longest = time_of_a_start(tmp_path / "whole")
    for number in range(20):
        directory = tmp_path / str(number)
        directory.mkdir()
        server = ServerProcess(directory, graphs=SYSTEM_GRAPHS)
        try:
            server.launch()
            # Most of a start is imports: what can be cut comes in its second half.
            await asyncio.sleep(chance.uniform(longest / 2, longest))
            server.kill()
            await asyncio.to_thread(server.start)
            async with get_client(server.address) as client:
                output = await client.runs.wait(None, "chain", input=chain_input(directory, "a"))
        finally:
            if server.is_running:
                server.kill()
        assert output["done"] == chain_result("a")


def time_of_a_start(directory: Path) -> float:
    directory.mkdir()
    server = ServerProcess(directory, graphs=SYSTEM_GRAPHS)
    begun = time.monotonic()
    server.start()
    seconds = time.monotonic() - begun
    server.kill()
    return seconds
