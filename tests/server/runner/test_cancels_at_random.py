"""A thousand cancels at any moment of a run's life: each run ends once, and its row, its events
and what the cancel answered agree."""

import asyncio
import random
from collections import Counter
from datetime import timedelta
from typing import Any

from tests.support.engine import Engine, kinds, open_engine

from runwire.server.model.errors import RunFinished, RunRolledBack
from runwire.server.model.runs import CancelAction, MultitaskStrategy, Run, RunState
from runwire.server.model.threads import ThreadState
from runwire.v1 import core_pb2

COUNT = 1000
AT_ONCE = 40
LONGEST = 0.012
"""Seconds until a cancel: about as long as most of these runs take."""

GRAPHS: list[tuple[str, dict[str, Any]]] = [
    ("echo", {"text": "x"}),
    ("steps", {"steps": 3, "seconds": 0.001}),
    ("slow_async", {"seconds": 0.005}),
    ("slow_sync", {"seconds": 0.005}),
    ("slow_nested", {"seconds": 0.005}),
    ("custom_events", {"count": 20}),
    ("fails", {"kind": "value"}),
    ("asks", {"question": "?"}),
]


async def cancel_once(engine: Engine, chance: random.Random, threads: list[str]) -> Run:
    """Start a run, cancel it after a while, check what came of it, and return it."""
    graph_id, graph_input = chance.choice(GRAPHS)
    action = chance.choice(list(CancelAction))
    on = {"thread_id": chance.choice(threads)} if chance.random() < 0.6 else {}
    run = await engine.start(graph_id, graph_input, **on)
    await asyncio.sleep(chance.uniform(0, LONGEST))
    answered: Run | None = None
    refused = ""
    try:
        answered = await engine.runs.cancel(run.run_id, action, wait=chance.random() < 0.5)
    except RunFinished as error:
        refused = error.variables["state"]
    ended = await engine.ended(run)
    await check(engine, ended, answered, refused)
    return ended


async def check(engine: Engine, ended: Run, answered: Run | None, refused: str) -> None:
    if answered is None:
        assert ended.state == refused
        assert ended.state is not RunState.CANCELLED
        assert ended.cancel is None
    else:
        assert ended.state is RunState.CANCELLED
        assert ended.cancel is not None
        assert answered.cancel is not None
        assert ended.cancel.action is answered.cancel.action
        assert ended.rolled_back == (ended.cancel.action is CancelAction.ROLLBACK)
        assert not ended.cancel.abandoned
    events = await engine.events(ended)
    assert kinds(events).count("run_ended") == 1
    told = events[-1].run_ended
    assert told.state == core_pb2.RunState.Value(f"RUN_STATE_{ended.state.name}")
    assert told.HasField("cancel") == (ended.cancel is not None)
    if ended.rolled_back:
        try:
            await engine.runs.get(ended.run_id)
        except RunRolledBack:
            return
        raise AssertionError("it is still there")
    assert await engine.row(ended) == ended


async def test_each_run_ends_once_and_everything_agrees(database_url: str) -> None:
    seed = random.randrange(10**9)
    print(f"seed {seed}")  # noqa: T201 - shown if this fails
    chance = random.Random(seed)
    grace = timedelta(seconds=20)
    async with open_engine(database_url, cancel_grace=grace) as engine:
        threads = [await engine.thread() for _ in range(15)]
        left = iter(range(COUNT))
        ended: list[Run] = []

        async def work() -> None:
            ended.extend([await cancel_once(engine, chance, threads) for _ in left])

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        states = Counter(run.state for run in ended)
        assert sum(states.values()) == COUNT
        assert states[RunState.CANCELLED] > COUNT / 10
        assert states[RunState.CANCELLED] < COUNT
        await check_threads(engine, threads)


async def check_threads(engine: Engine, threads: list[str]) -> None:
    """Check that each thread is at rest and goes on."""
    for thread_id in threads:
        thread = await engine.threads.get(thread_id)
        assert thread.state is not ThreadState.BUSY
        run = await engine.run(
            "counter", thread_id=thread_id, multitask_strategy=MultitaskStrategy.REJECT
        )
        assert run.state is RunState.SUCCEEDED
