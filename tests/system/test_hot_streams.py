"""A server dies under streams in full flow: what their readers saw last was never stored."""

import asyncio
import itertools
from typing import Any

import pytest
from tests.support.serving import ServerProcess
from tests.support.watching import check_run, say, until

from runwire.client import RunwireClient, get_client
from runwire.v1 import core_pb2

STREAMS = 6
EVENTS = 1500
KILLS = 2


async def collect(client: RunwireClient, run_id: str, parts: list[Any]) -> None:
    async for part in client.runs.join_stream(None, run_id):
        parts.append(part)  # noqa: PERF401 - others look at what there is so far


def places(parts: list[Any]) -> list[tuple[int, int]]:
    """Return attempt and index of the parts that have an id."""
    ids = [part.id.partition("-") for part in parts if part.id]
    return [(int(attempt), int(index)) for attempt, _, index in ids]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "server", ["sqlite", pytest.param("postgresql", marks=pytest.mark.chaos)], indirect=True
)
async def test_readers_see_no_gap_and_nothing_twice(server: ServerProcess) -> None:
    read: dict[str, list[Any]] = {}
    async with get_client(server.address) as client:
        for number in range(STREAMS):
            run_input = {"count": EVENTS, "size": 100 * number, "every": 1, "seconds": 0.001}
            run = await client.runs.create(None, "talks", input=run_input, stream_mode="custom")
            read[run["run_id"]] = []
        reading = [
            asyncio.create_task(collect(client, run_id, parts)) for run_id, parts in read.items()
        ]
        for kill in range(KILLS):
            for parts in read.values():
                await until_far(parts, kill + 1)
            server.kill()
            await asyncio.to_thread(server.start)
        await asyncio.wait_for(asyncio.gather(*reading), 60)

    for run_id, parts in read.items():
        ended = await check_run(server.address, run_id)
        # A run may be through while another is still to get far.
        assert ended.state == core_pb2.RUN_STATE_SUCCEEDED
        assert 1 < ended.attempt <= KILLS + 1
        assert (parts[-1].event, parts[-1].data["status"]) == ("end", "success")
        check_places(places(parts))
        check_words(parts, ended.attempt)
    lengths = [len(parts) for parts in read.values()]
    say(f"{STREAMS} readers of {EVENTS} events, {KILLS} kills: {lengths} parts")


async def until_far(parts: list[Any], attempt: int) -> None:
    """Return when a reader is in the middle of an attempt, or through."""
    far = (attempt, EVENTS // 5)

    def is_far() -> bool:
        through = bool(parts) and parts[-1].event == "end"
        return through or any(place >= far for place in places(parts[-1:]))

    await until(is_far, "a reader gets far")


def check_places(seen: list[tuple[int, int]]) -> None:
    """Each event follows the one before it, or begins the next attempt."""
    for (attempt, index), following in itertools.pairwise(seen):
        assert following in ((attempt, index + 1), (attempt + 1, 1))


def check_words(parts: list[Any], last_attempt: int) -> None:
    """Each attempt says what it says from the beginning, and the last one all of it."""
    by_attempt: dict[int, list[int]] = {}
    for part in parts:
        if part.event == "custom":
            attempt = int(part.id.partition("-")[0])
            by_attempt.setdefault(attempt, []).append(part.data["index"])
    for said in by_attempt.values():
        assert said == list(range(len(said)))
    assert len(by_attempt[last_attempt]) == EVENTS
