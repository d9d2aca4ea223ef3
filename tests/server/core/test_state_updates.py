"""State updates of one thread at the same time."""

import asyncio
import json
from pathlib import Path

from tests.support.engine import Engine, open_engine

UPDATES = 20


async def add(engine: Engine, thread_id: str, name: str) -> None:
    await engine.threads.update_state(
        thread_id,
        {"count": 1, "log": [name]},
        as_node="",
        checkpoint=None,
        assistant_id="",
    )


async def test_each_of_many_updates_at_once_builds_on_the_one_before(database_path: Path) -> None:
    async with open_engine(database_path) as engine:
        thread_id = await engine.thread()
        await engine.run("counter", thread_id=thread_id)
        names = [str(number) for number in range(UPDATES)]
        await asyncio.gather(*(add(engine, thread_id, name) for name in names))

        state = await engine.threads.get_state(thread_id, None, include_subgraphs=False)
        values = json.loads(state.values)
        assert values["count"] == UPDATES + 1
        assert sorted(values["log"]) == sorted(["?", *names])
        assert (await engine.threads.get(thread_id)).values == state.values
