"""Whoever executes the runs of a thread, any server tells what happens on it."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from tests.support.engine import Engine, until
from tests.support.following import CUSTOM, events_of, gate
from tests.support.replicas import no_notifications
from tests.support.thread_reading import (
    LIFECYCLE,
    RUNS,
    STATE_UPDATES,
    ThreadReader,
    reading,
)

from runwire.server.model.runs import CancelAction


@pytest.mark.usefixtures("no_polls")
async def test_another_server_s_runs_are_told_at_once(two: list[Engine], tmp_path: Path) -> None:
    here, there = two
    thread_id = await here.thread()
    async with reading(there, thread_id, RUNS, LIFECYCLE, STATE_UPDATES) as reader:
        run = await gate(here, tmp_path, thread_id=thread_id)
        await until(lambda: any(event.HasField("custom") for event in reader.events))
        waiting = await here.start("echo", thread_id=thread_id)
        await until(lambda: any(m.run_id == waiting.run_id for m in reader.messages))
        await here.runs.cancel(waiting.run_id, CancelAction.INTERRUPT, wait=True)
        await reader.ends(1)
        (tmp_path / "open").touch()
        await reader.ends(2)
        await here.states.update(thread_id, None, as_node="", checkpoint=None, assistant_id="gate")
        await until(lambda: reader.messages[-1].HasField("state_update"))
    told = [event for event in reader.events if event.run_id == run.run_id and event.id]
    assert told == await here.events(run)


async def test_what_happens_elsewhere_is_found_when_every_notification_is_lost(
    two: list[Engine],
) -> None:
    here, there = two
    thread_id = await here.thread()
    async with reading(there, thread_id) as reader:
        with no_notifications():
            await here.run("custom_events", {"count": 2}, thread_id=thread_id, **CUSTOM)
            await reader.ends(1)
    assert [event.id for event in reader.events if event.id] == events_of(2)


async def test_readers_that_go_from_server_to_server_miss_nothing_and_get_nothing_twice(
    three: list[Engine],
) -> None:
    seed = random.randrange(10**9)
    print(f"seed {seed}")  # noqa: T201 - shown if this fails
    chance = random.Random(seed)
    thread_id = await three[0].thread()
    modes = (RUNS, STATE_UPDATES)

    async def hop(count: int) -> list[str]:
        seen: list[str] = []
        token, ends = "", 0
        while ends < count:
            reader = ThreadReader(thread_id, *modes, token=token)
            reader.most = chance.randint(1, 6)
            task = asyncio.create_task(reader.read(chance.choice(three)))
            await until(lambda: task.done() or ends + reader.count_ends() == count)  # noqa: B023
            task.cancel()
            await asyncio.wait([task])
            token, ends = reader.token, ends + reader.count_ends()
            seen += [what for message in reader.messages for what in _told(message)]
        return seen

    async def work() -> None:
        for number in range(6):
            graph_input = {"count": 30, "delay": 0.002}
            engine = chance.choice(three)
            run = await engine.start("custom_events", graph_input, thread_id=thread_id, **CUSTOM)
            if number == 3:
                dropped = await engine.start("echo", thread_id=thread_id)
                await engine.runs.cancel(dropped.run_id, CancelAction.INTERRUPT, wait=True)
            await engine.ended(run)
            await chance.choice(three).states.update(
                thread_id, None, as_node="", checkpoint=None, assistant_id=""
            )

    hoppers = [asyncio.create_task(hop(7)) for _ in range(4)]
    await work()
    seen = await asyncio.gather(*hoppers)
    async with reading(three[0], thread_id, *modes) as whole:
        await whole.ends(7)
    complete = [what for message in whole.messages for what in _told(message)]
    events = [what for what in complete if not what.startswith("update")]
    for one in seen:
        assert len(one) == len(set(one)), "nothing comes twice"
        assert sorted(what for what in one if not what.startswith("update")) == sorted(events)
        for run_id in {what.split()[0] for what in events}:
            assert [what for what in one if what.startswith(run_id)] == [
                what for what in events if what.startswith(run_id)
            ]


def _told(message: Any) -> list[str]:
    if message.HasField("state_update"):
        return [f"update {message.state_update.checkpoint.checkpoint_id}"]
    return [f"{event.run_id} {event.id}" for event in message.events if event.id]
