"""The saver: whose writes land, what is found, and its use from any loop and thread."""

import asyncio
import operator
import random
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import psycopg
import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.graph import START, StateGraph
from sqlalchemy import func, select, text
from tests.conftest import BOTH
from tests.support.attempts import Attempts, writing_as
from tests.support.postgres import Databases
from typing_extensions import TypedDict

from runwire.server.graphs.saver import RunwireSaver
from runwire.server.model.attempts import Attempt, StateUpdate
from runwire.server.model.errors import AttemptLost, ThreadInUse
from runwire.server.model.ids import new_id
from runwire.server.storage import checkpoints as queries
from runwire.server.storage.addresses import is_postgresql, path_of
from runwire.server.storage.checkpoints import CheckpointOutOfOrder
from runwire.server.storage.database import Connection, Database
from runwire.server.storage.opening import database_at
from runwire.server.storage.tables import checkpoint_writes, checkpoints


def at(thread_id: str, checkpoint_ns: str = "", **more: Any) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns, **more}}


async def count_rows(database: Database) -> tuple[int, int]:
    def count(connection: Connection) -> tuple[int, int]:
        found = [
            connection.scalar(select(func.count()).select_from(table)) or 0
            for table in (checkpoints, checkpoint_writes)
        ]
        return found[0], found[1]

    return await database.read(count)


@pytest.mark.parametrize("where", BOTH)
async def test_the_conformance_suite_of_langgraph_passes(
    tmp_path: Path, postgres: Databases, where: str
) -> None:
    names = iter(range(100))

    @contextmanager
    def address() -> Iterator[str]:
        if where == "sqlite":
            yield f"sqlite:///{tmp_path / f'{next(names)}.db'}"
        else:
            with postgres.create() as url:
                yield url

    @checkpointer_test(name="RunwireSaver")
    async def saver() -> AsyncIterator[RunwireSaver]:
        with address() as url:
            async with database_at(url) as database:
                yield RunwireSaver(database, fenced=False)

    report = await validate(saver)
    passed = {name: result.tests_passed for name, result in report.results.items()}
    failures = [failure for result in report.results.values() for failure in result.failures]
    assert failures == []
    assert passed == {
        "put": 17,
        "put_writes": 10,
        "get_tuple": 10,
        "list": 16,
        "delete_thread": 5,
        "delete_for_runs": 7,
        "copy_thread": 8,
        "prune": 8,
    }


# Fences.


@pytest.mark.parametrize(
    "row",
    [
        {"owner": "another server"},
        {"attempt": 2},
        {"state": "pending", "owner": None},
        {
            "state": "succeeded",
            "owner": None,
            "end_time": func.now(),
            "update_time": func.now(),
        },
    ],
    ids=["owner", "attempt", "released", "ended"],
)
async def test_an_attempt_that_lost_its_run_writes_nothing(
    saver: RunwireSaver, attempts: Attempts, database: Database, row: dict[str, object]
) -> None:
    thread_id = await attempts.thread()
    attempt = await attempts.start(thread_id)
    with writing_as(attempt):
        config = await saver.aput(at(thread_id), empty_checkpoint(), {}, {})
        before = await count_rows(database)
        await attempts.set(attempt, **row)
        with pytest.raises(AttemptLost):
            await saver.aput(config, empty_checkpoint(), {}, {})
        with pytest.raises(AttemptLost):
            await saver.aput_writes(config, [("a", 1)], "task")
        with pytest.raises(AttemptLost):
            saver.put(config, empty_checkpoint(), {}, {})
    assert await count_rows(database) == before


async def test_an_attempt_that_is_being_cancelled_still_writes(
    saver: RunwireSaver, attempts: Attempts, database: Database
) -> None:
    thread_id = await attempts.thread()
    attempt = await attempts.start(thread_id)
    await attempts.set(attempt, state="cancelling", cancel={})
    with writing_as(attempt):
        await saver.aput(at(thread_id), empty_checkpoint(), {}, {})
    assert await count_rows(database) == (1, 0)


async def test_an_attempt_writes_to_no_thread_but_its_own(
    saver: RunwireSaver, attempts: Attempts, database: Database
) -> None:
    attempt = await attempts.start(await attempts.thread())
    other = await attempts.thread()
    with writing_as(attempt), pytest.raises(RuntimeError, match=other):
        await saver.aput(at(other), empty_checkpoint(), {}, {})
    assert await count_rows(database) == (0, 0)


async def test_nobody_in_particular_writes_nothing(saver: RunwireSaver, attempts: Attempts) -> None:
    config = at(await attempts.thread(), checkpoint_id="x")
    with pytest.raises(RuntimeError, match="outside"):
        await saver.aput(config, empty_checkpoint(), {}, {})
    with pytest.raises(RuntimeError, match="outside"):
        saver.put_writes(config, [("a", 1)], "task")


async def test_a_caller_updates_a_thread_only_while_no_run_is_in_flight(
    saver: RunwireSaver, attempts: Attempts, database: Database
) -> None:
    thread_id = await attempts.thread()
    with writing_as(StateUpdate(thread_id, "graph")):
        await saver.aput(at(thread_id), empty_checkpoint(), {}, {})
        attempt = await attempts.start(thread_id)
        with pytest.raises(ThreadInUse):
            await saver.aput(at(thread_id), empty_checkpoint(), {}, {})
        await attempts.set(attempt, state="pending", owner=None)
        with pytest.raises(ThreadInUse):
            await saver.aput_writes(at(thread_id, checkpoint_id="x"), [("a", 1)], "task")
        await attempts.set(attempt, state="running", owner=attempt.owner)
        await attempts.end(attempt)
        await saver.aput(at(thread_id), empty_checkpoint(), {}, {})
    assert await count_rows(database) == (2, 0)


async def test_threads_are_not_deleted_through_a_graph(saver: RunwireSaver) -> None:
    for call in (
        saver.adelete_thread("thread"),
        saver.adelete_for_runs(["run"]),
        saver.acopy_thread("thread", "other"),
        saver.aprune(["thread"]),
    ):
        with pytest.raises(RuntimeError, match="by the server alone"):
            await call


async def test_a_checkpoint_that_would_stay_hidden_is_refused(
    saver: RunwireSaver, attempts: Attempts, database: Database
) -> None:
    thread_id = await attempts.thread()
    early, late = empty_checkpoint(), empty_checkpoint()
    first = await attempts.start(thread_id)
    with writing_as(first):
        await saver.aput(at(thread_id), late, {}, {})
        # Of one run, loops that share a namespace may store theirs in any order.
        await saver.aput(at(thread_id), early, {}, {})
    await attempts.end(first)
    with writing_as(await attempts.start(thread_id)):
        for hidden in (early, late):
            with pytest.raises(CheckpointOutOfOrder):
                await saver.aput(at(thread_id), hidden, {}, {})
        await saver.aput(at(thread_id, "another namespace"), early, {}, {})
    assert await count_rows(database) == (3, 0)


# What core asks about checkpoints.


async def test_heads_and_graphs_and_runs_are_found(
    saver: RunwireSaver, attempts: Attempts, database: Database
) -> None:
    thread_id = await attempts.thread()
    first = await attempts.start(thread_id, "one")
    with writing_as(first):
        root = await saver.aput(at(thread_id), empty_checkpoint(), {}, {})
        nested = await saver.aput(at(thread_id, "node:1"), empty_checkpoint(), {}, {})
    await attempts.end(first)
    second = await attempts.start(thread_id, "two")
    with writing_as(second):
        await saver.aput_writes(root, [("a", 1)], "task")
    root_id, nested_id = (c["configurable"]["checkpoint_id"] for c in (root, nested))

    def ask(connection: Connection) -> None:
        assert queries.head(connection, thread_id) == (root_id, "one", first.run_id)
        assert queries.head(connection, thread_id, "node:1") == (nested_id, "one", first.run_id)
        assert queries.head(connection, thread_id, "node:2") is None
        assert queries.head(connection, "no thread") is None
        assert queries.newest_id(connection, thread_id) == nested_id
        assert queries.exists(connection, thread_id, root_id)
        assert queries.exists(connection, thread_id, nested_id, "node:1")
        assert not queries.exists(connection, thread_id, nested_id)
        assert not queries.exists(connection, thread_id, "x")
        assert queries.has_run(connection, thread_id, first.run_id)
        assert queries.has_run(connection, thread_id, second.run_id), "a pending write is enough"
        assert not queries.has_run(connection, "no thread", first.run_id)
        assert not queries.has_run(connection, thread_id, new_id())

    await database.read(ask)


async def test_a_copied_thread_outlives_the_rollback_of_its_source(
    saver: RunwireSaver, attempts: Attempts, database: Database
) -> None:
    source, target = await attempts.thread(), await attempts.thread()
    first = await attempts.start(source)
    with writing_as(first):
        config = await saver.aput(at(source), empty_checkpoint(), {}, {})
        await saver.aput_writes(config, [("__interrupt__", "old"), ("a", "first")], "task")
    await attempts.end(first)
    second = await attempts.start(source)
    with writing_as(second):
        await saver.aput_writes(config, [("__interrupt__", "new"), ("a", "second")], "task")
    await attempts.end(second)
    before = await saver.aget_tuple(at(source))
    assert before is not None
    await database.write(lambda c: queries.copy_thread(c, source, target))
    for run_id in (first.run_id, second.run_id):
        await database.write(partial(queries.delete_run, run_id=run_id))
    after = await saver.aget_tuple(at(target))
    assert after is not None
    assert await saver.aget_tuple(at(source)) is None
    assert after.checkpoint == before.checkpoint
    assert after.pending_writes == before.pending_writes
    assert before.pending_writes == [
        ("task", "__interrupt__", "new"),
        ("task", "a", "first"),
    ]


async def test_a_special_write_of_the_same_run_replaces_and_an_ordinary_one_stays(
    saver: RunwireSaver, attempts: Attempts
) -> None:
    thread_id = await attempts.thread()
    with writing_as(await attempts.start(thread_id)):
        config = await saver.aput(at(thread_id), empty_checkpoint(), {}, {})
        for value in (1, 2):
            await saver.aput_writes(
                config,
                [("b", value), ("__interrupt__", value), ("__interrupt__", value * 10)],
                "task",
                "~p",
            )
        await saver.aput_writes(config, [("c", 3)], "another task", "~a")
        await saver.aput_writes(config, [], "nothing")
    found = await saver.aget_tuple(config)
    assert found is not None
    assert found.pending_writes == [
        ("another task", "c", 3),
        ("task", "__interrupt__", 20),
        ("task", "b", 1),
    ]


async def test_taking_a_run_back_leaves_no_write_without_its_checkpoint(
    saver: RunwireSaver, attempts: Attempts, database: Database
) -> None:
    thread_id = await attempts.thread()
    first = await attempts.start(thread_id)
    with writing_as(first):
        config = await saver.aput(at(thread_id), empty_checkpoint(), {}, {})
    await attempts.end(first)
    with writing_as(StateUpdate(thread_id, "graph")):
        await saver.aput_writes(config, [("a", 1)], "task")
    await database.write(partial(queries.delete_run, run_id=first.run_id))
    assert await count_rows(database) == (0, 0)


# Listing.


async def test_filters_are_values_whatever_they_hold(
    saver: RunwireSaver, attempts: Attempts
) -> None:
    thread_id = await attempts.thread()
    with writing_as(await attempts.start(thread_id)):
        for step in range(3):
            await saver.aput(at(thread_id), empty_checkpoint(), {"step": step}, {})
    keys = ["x') OR 1=1--", "a.b", "$", '"', "\0", "k" * 10_000, "$.step", "'", "%", "step' --"]
    for key in keys:
        assert [found async for found in saver.alist(at(thread_id), filter={key: 1})] == []
        assert [found async for found in saver.alist(at(thread_id), filter={"step": key})] == []
    steps = [found.metadata["step"] for found in saver.list(at(thread_id), limit=2)]
    assert steps == [2, 1]
    assert [found.metadata["step"] for found in saver.list(None, filter={"step": 1})] == [1]


async def test_a_list_holds_nothing_while_it_is_read(
    saver: RunwireSaver, attempts: Attempts, database: Database
) -> None:
    thread_id = await attempts.thread()
    with writing_as(await attempts.start(thread_id)):
        for _ in range(3):
            await saver.aput(at(thread_id), empty_checkpoint(), {}, {})
        async for found in saver.alist(at(thread_id)):
            assert await saver.aget_tuple(found.config) is not None
            await saver.aput_writes(found.config, [("a", 1)], "task")
    assert await count_rows(database) == (3, 3)


# Loops, threads and cancels.


class Numbers(TypedDict, total=False):
    numbers: Annotated[list[int], operator.add]


async def test_a_task_that_failed_half_way_executes_again_as_a_whole(
    saver: RunwireSaver, attempts: Attempts
) -> None:
    """A node's result is written before its edge is followed; the edge fails the first time."""
    followed: list[str] = []

    def lead_on(state: dict[str, Any]) -> str:
        followed.append("edge")
        if len(followed) == 1:
            raise LookupError("as intended")
        return "last"

    builder = StateGraph(Numbers)
    builder.add_node("first", lambda state: {"numbers": [1]})
    builder.add_node("last", lambda state: {"numbers": [2]})
    builder.add_edge(START, "first").add_conditional_edges("first", lead_on, ["last"])
    graph = builder.compile(checkpointer=saver)
    thread_id = await attempts.thread()
    with writing_as(await attempts.start(thread_id)):
        with pytest.raises(LookupError):
            await graph.ainvoke({"numbers": []}, at(thread_id))
        values = await graph.ainvoke(None, at(thread_id))

    assert values == {"numbers": [1, 2]}


def numbers_graph(saver: RunwireSaver) -> Any:
    return (
        StateGraph(Numbers)
        .add_node("add", lambda state: {"numbers": [1]})
        .add_node("add_more", lambda state: {"numbers": [2]})
        .add_edge(START, "add")
        .add_edge("add", "add_more")
        .compile(checkpointer=saver)
    )


async def test_four_loops_in_four_threads_use_one_saver(
    saver: RunwireSaver, attempts: Attempts
) -> None:
    graph = numbers_graph(saver)
    prepared = [(await attempts.start(await attempts.thread())) for _ in range(40)]

    async def run(attempt: Attempt) -> list[int]:
        assert attempt.thread_id is not None
        with writing_as(attempt):
            result = await graph.ainvoke({"numbers": [0]}, at(attempt.thread_id))
        numbers: list[int] = result["numbers"]
        return numbers

    async def run_all(mine: list[Attempt]) -> list[list[int]]:
        return await asyncio.gather(*(asyncio.create_task(run(attempt)) for attempt in mine))

    barrier = threading.Barrier(4)

    def own_loop(mine: list[Attempt]) -> list[list[int]]:
        barrier.wait()
        return asyncio.run(run_all(mine))

    with ThreadPoolExecutor(4) as pool:
        loop = asyncio.get_running_loop()
        results = await asyncio.gather(
            *(loop.run_in_executor(pool, own_loop, prepared[i::4]) for i in range(4))
        )
    assert [numbers for mine in results for numbers in mine] == [[0, 1, 2]] * 40


async def test_a_sync_graph_in_a_thread_uses_the_same_saver(
    saver: RunwireSaver, attempts: Attempts
) -> None:
    graph = numbers_graph(saver)
    thread_id = await attempts.thread()
    attempt = await attempts.start(thread_id)

    def run() -> Any:
        with writing_as(attempt):
            return graph.invoke({"numbers": [0]}, at(thread_id))

    result = await asyncio.to_thread(run)
    state = await graph.aget_state(at(thread_id))
    assert state.values == result


def others_may_write(url: str) -> None:
    """See that no transaction is open, so that strangers can write at once."""
    if not is_postgresql(url):
        stranger = sqlite3.connect(path_of(url), timeout=60)
        stranger.execute("BEGIN IMMEDIATE")
        stranger.execute("ROLLBACK")
        stranger.close()
        return
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET lock_timeout = '500ms'")
        for table in (checkpoints, checkpoint_writes):
            connection.execute(f"BEGIN; LOCK TABLE {table.name}; ROLLBACK".encode())


async def test_cancels_at_any_moment_leave_no_open_transaction(
    saver: RunwireSaver, attempts: Attempts, database: Database, database_url: str
) -> None:
    class Steps(TypedDict, total=False):
        count: int

    builder = StateGraph(Steps)

    async def step(state: Steps) -> Steps:
        await asyncio.sleep(0)
        return {"count": state.get("count", 0) + 1}

    builder.add_node("step", step).add_edge(START, "step")
    builder.add_conditional_edges(
        "step", lambda state: "step" if state["count"] < 20 else "__end__"
    )
    graph = builder.compile(checkpointer=saver)
    thread_id = await attempts.thread()
    attempt = await attempts.start(thread_id)
    chance = random.Random(7)
    cancelled = 0
    for _ in range(300):
        with writing_as(attempt):
            task = asyncio.create_task(
                graph.ainvoke({"count": 0}, at(thread_id), durability="sync")
            )
        await asyncio.sleep(chance.random() * 0.012)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            cancelled += 1
        async with asyncio.timeout(60):
            await database.write(lambda c: c.execute(text("SELECT 1")).scalar())
        if cancelled % 50 == 0:
            others_may_write(database_url)
    assert cancelled > 50
    state = await graph.aget_state(at(thread_id))
    assert state is not None
