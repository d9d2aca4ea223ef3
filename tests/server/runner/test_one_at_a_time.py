"""Runs of one thread never overlap, whatever their strategies and whoever cancels them."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.support.engine import Engine, open_engine
from tests.support.meeting import Meeting
from tests.support.replicas import open_replicas

from runwire.server.model.errors import RunwireError
from runwire.server.model.runs import CancelAction, MultitaskStrategy, Run, RunState
from runwire.server.model.threads import ThreadState

THREADS = 8
RUNS_PER_THREAD = 25
OPTIONS: dict[str, Any] = {
    "graphs": Path(__file__).parent / "graphs" / "langgraph.json",
    "cancel_grace": timedelta(seconds=20),
    "max_concurrent_runs": 6,
}


async def use(
    engines: Sequence[Engine], meeting: Meeting, chance: random.Random, thread_id: str
) -> list[Run]:
    """Start runs on a thread, some of which cancel others, and cancel some, each on any of the
    servers; return them all."""
    created = []
    for _ in range(RUNS_PER_THREAD):
        graph_id = chance.choice(["works", "works_sync"])
        strategy = chance.choice(list(MultitaskStrategy))
        delay = chance.choice([0, 0, 0, 0.01])
        with suppress(RunwireError):
            run = await chance.choice(engines).start(
                graph_id,
                meeting.input(seconds=chance.choice([0, 0.002, 0.01])),
                thread_id=thread_id,
                multitask_strategy=strategy,
                start_delay=timedelta(seconds=delay),
            )
            created.append(run)
        await asyncio.sleep(chance.uniform(0, 0.02))
        if created and chance.random() < 0.3:
            with suppress(RunwireError):
                one = chance.choice(created)
                action = chance.choice(list(CancelAction))
                await chance.choice(engines).runs.cancel(one.run_id, action, wait=False)
    return created


async def test_runs_of_a_thread_never_overlap(database_url: str, meeting: Meeting) -> None:
    async with open_engine(database_url, **OPTIONS) as engine:
        ended = await check_threads([engine], meeting)
    check_order([run for run in ended if run.start_time is not None])


async def test_runs_of_a_thread_never_overlap_on_several_servers(
    postgres_url: str, meeting: Meeting
) -> None:
    async with open_replicas(postgres_url, 3, **OPTIONS) as engines:
        await check_threads(engines, meeting)


async def check_threads(engines: Sequence[Engine], meeting: Meeting) -> list[Run]:
    """Use threads on servers; check that no two runs of one overlap, and return them all."""
    seed = random.randrange(10**9)
    print(f"seed {seed}")  # noqa: T201 - shown if this fails
    chance = random.Random(seed)
    threads = [await engines[0].thread() for _ in range(THREADS)]
    created = await asyncio.gather(
        *(use(engines, meeting, chance, thread_id) for thread_id in threads)
    )
    ended = [await chance.choice(engines).ended(run) for runs in created for run in runs]
    states = Counter(run.state for run in ended)
    assert set(states) == {RunState.SUCCEEDED, RunState.CANCELLED}
    for thread_id in threads:
        assert (await engines[-1].threads.get(thread_id)).state is ThreadState.IDLE
    check_ledger(meeting, {run.run_id: run.thread_id for run in ended})
    return ended


def check_ledger(meeting: Meeting, thread_of: dict[str, str | None]) -> None:
    """Check that on each thread a run's code has ended before another's begins."""
    at_work: dict[str | None, str] = {}
    for note in meeting.ledger():
        thread_id = thread_of[note["run_id"]]
        if note["what"] == "started":
            assert thread_id not in at_work, "two at once"
            at_work[thread_id] = note["run_id"]
        else:
            assert at_work.pop(thread_id) == note["run_id"]
    assert not at_work


def check_order(begun: list[Run]) -> None:
    """Check that on each thread runs began in the order in which they were due."""
    by_thread = defaultdict(list)
    for run in begun:
        by_thread[run.thread_id].append(run)
    for runs in by_thread.values():
        by_start = sorted(runs, key=lambda run: (run.start_time, run.run_id))
        for earlier, later in pairwise(by_start):
            if later.due_time == later.create_time and earlier.due_time == earlier.create_time:
                assert earlier.run_id < later.run_id
