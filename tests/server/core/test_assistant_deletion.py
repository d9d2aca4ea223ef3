"""Deleting assistants with what they run, and with their threads."""

import asyncio
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text
from tests.server.core.test_default_assistants import configuration
from tests.server.core.test_lock_order import deadlocks
from tests.support.engine import Engine, open_engine, until
from tests.support.replicas import open_replicas

from runwire.server.core import assistant_deletion
from runwire.server.core.assistants import AssistantDraft
from runwire.server.core.creation import create_runs
from runwire.server.model.crons import Cron
from runwire.server.model.errors import (
    AssistantInUse,
    AssistantNotFound,
    DefaultAssistant,
    ThreadNotFound,
)
from runwire.server.model.ids import new_id
from runwire.server.model.runs import CancelAction, Run, RunSpec, RunState
from runwire.server.model.threads import ThreadState
from runwire.server.storage import crons, pruning, retention

LONG = {"seconds": 60}


async def make(engine: Engine, graph_id: str = "counter") -> str:
    assistant, _ = await engine.assistants.create(AssistantDraft(graph_id=graph_id), None)
    return assistant.assistant_id


async def used_thread(engine: Engine, *assistant_ids: str) -> str:
    """Return a new thread on which assistants have run."""
    thread_id = await engine.thread()
    for assistant_id in assistant_ids:
        await engine.run(assistant_id, thread_id=thread_id)
    return thread_id


async def there(engine: Engine, thread_ids: Sequence[str]) -> list[str]:
    """Return which of the threads are there."""
    found = []
    for thread_id in thread_ids:
        try:
            found.append((await engine.threads.get(thread_id)).thread_id)
        except ThreadNotFound:
            continue
    return found


async def rows_of(engine: Engine, thread_id: str) -> int:
    """Return how many rows there are of a thread, of its runs and of its checkpoints."""

    def count(connection: Connection) -> int:
        return sum(
            connection.scalar(
                text(f"SELECT count(*) FROM {table} WHERE thread_id = :thread"),
                {"thread": thread_id},
            )
            for table in ("threads", "runs", "checkpoints", "checkpoint_writes")
        )

    found: int = await engine.database.read(count)
    return found


async def test_what_runs_is_cancelled_first_and_threads_stay(engine: Engine) -> None:
    assistant_id = await make(engine, "slow_async")
    thread_id = await engine.thread()
    runs = [
        await engine.start(assistant_id, LONG, thread_id=thread_id),
        await engine.start(assistant_id, LONG, thread_id=thread_id),
        await engine.start(assistant_id, LONG),
        await engine.start(assistant_id, LONG, start_delay=timedelta(hours=1)),
    ]
    others = await engine.start("slow_async", LONG)

    with pytest.raises(AssistantInUse):
        await engine.assistants.delete(assistant_id)
    await engine.assistants.delete(assistant_id, cancel_runs=True)

    assert [(await engine.row(run)).state for run in runs] == [RunState.CANCELLED] * 4
    assert (await engine.threads.get(thread_id)).state is ThreadState.IDLE
    assert not (await engine.row(others)).state.is_final
    with pytest.raises(AssistantNotFound):
        await engine.assistants.get(assistant_id)
    await engine.runs.cancel(others.run_id, CancelAction.INTERRUPT, wait=True)


async def test_its_threads_are_those_on_which_nobody_else_has_run(engine: Engine) -> None:
    assistant_id, other_id = await make(engine), await make(engine)
    own = [await used_thread(engine, assistant_id, assistant_id) for _ in range(3)]
    shared = [
        await used_thread(engine, assistant_id, other_id),
        await used_thread(engine, other_id, assistant_id),
    ]
    foreign, unused = await used_thread(engine, other_id), await engine.thread()
    stateless = await engine.run(assistant_id)
    kept = [*shared, foreign, unused]

    await engine.assistants.delete(assistant_id, delete_threads=True)

    assert await there(engine, [*own, *kept]) == kept
    assert [await rows_of(engine, thread_id) for thread_id in own] == [0, 0, 0]
    states = [await engine.threads.get(thread_id) for thread_id in shared]
    assert {thread.values for thread in states} == {'{"count":2,"log":["?","?"]}'}
    assert (await engine.row(stateless)).state is RunState.SUCCEEDED


async def test_runs_that_were_taken_back_make_no_thread_anybody_s(engine: Engine) -> None:
    assistant_id, other_id = await make(engine, "slow_async"), await make(engine, "slow_async")
    quick = await make(engine)

    async def take_back(assistant_id: str, thread_id: str) -> None:
        run = await engine.start(assistant_id, LONG, thread_id=thread_id)
        await engine.runs.cancel(run.run_id, CancelAction.ROLLBACK, wait=True)

    nobody_s, own = await engine.thread(), await used_thread(engine, quick)
    await take_back(quick, nobody_s)
    await take_back(assistant_id, nobody_s)
    await take_back(other_id, own)

    await engine.assistants.delete(assistant_id, delete_threads=True)
    assert await there(engine, [nobody_s, own]) == [nobody_s, own]
    await engine.assistants.delete(quick, delete_threads=True)
    assert await there(engine, [nobody_s, own]) == [nobody_s]


async def test_a_thread_goes_with_the_run_that_executes_on_it(engine: Engine) -> None:
    assistant_id = await make(engine, "slow_async")
    thread_id = await engine.thread()
    for _ in range(3):
        await engine.start(assistant_id, LONG, thread_id=thread_id)

    await engine.assistants.delete(assistant_id, delete_threads=True)

    assert await rows_of(engine, thread_id) == 0


async def test_many_threads_and_long_ones_go_in_small_transactions(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assistant_deletion, "RUNS", 3)
    monkeypatch.setattr(retention, "RUNS", 1)
    monkeypatch.setattr(pruning, "CHECKPOINTS", 2)
    assistant_id = await make(engine)
    threads = [await used_thread(engine, *[assistant_id] * 3) for _ in range(4)]
    steps: list[Any] = []
    real = assistant_deletion._delete_some

    def count(connection: Connection, **options: Any) -> Any:
        before = rows(connection)
        following = real(connection, **options)
        steps.append(before - rows(connection))
        return following

    def rows(connection: Connection) -> int:
        tables = ("runs", "checkpoints")
        return sum(connection.scalar(text(f"SELECT count(*) FROM {name}")) for name in tables)

    monkeypatch.setattr(assistant_deletion, "_delete_some", count)
    await engine.assistants.delete(assistant_id, delete_threads=True)

    assert await there(engine, threads) == []
    assert len(steps) > 4 * 5
    assert max(steps) <= 3


async def test_what_is_created_meanwhile_goes_too(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assistant_id = await make(engine)
    real, made = assistant_deletion._delete_threads, list[str]()

    async def come_between(*arguments: Any) -> Any:
        begin = await real(*arguments)
        if len(made) < 3:
            made.append(await used_thread(engine, assistant_id))
            await engine.start(assistant_id, start_delay=timedelta(hours=1))
        return begin

    monkeypatch.setattr(assistant_deletion, "_delete_threads", come_between)
    await engine.assistants.delete(assistant_id, delete_threads=True)

    assert len(made) == 3
    assert await there(engine, made) == []


async def test_who_starts_ever_more_runs_keeps_the_assistant(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assistant_id = await make(engine)
    real = engine.runs.cancel_many

    async def start_another(*arguments: Any, **options: Any) -> Any:
        result = await real(*arguments, **options)
        await engine.start(assistant_id, start_delay=timedelta(hours=1))
        return result

    with monkeypatch.context() as patch:
        patch.setattr(engine.runs, "cancel_many", start_another)
        with pytest.raises(AssistantInUse):
            await engine.assistants.delete(assistant_id, cancel_runs=True)
    assert (await engine.assistants.get(assistant_id)).version == 1
    await engine.assistants.delete(assistant_id, cancel_runs=True)


async def test_a_deletion_that_ends_half_way_can_be_done_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assistant_id = await make(engine)
    threads = [await used_thread(engine, assistant_id) for _ in range(3)]
    real, done = assistant_deletion._delete_thread, list[str]()

    async def break_off(database: Any, assistant_id: str, thread_id: str) -> None:
        if done:
            raise asyncio.CancelledError
        done.append(thread_id)
        await real(database, assistant_id, thread_id)

    with monkeypatch.context() as patch:
        patch.setattr(assistant_deletion, "_delete_thread", break_off)
        with pytest.raises(asyncio.CancelledError):
            await engine.assistants.delete(assistant_id, delete_threads=True)
    assert await there(engine, threads) == threads[1:]
    assert (await engine.assistants.get(assistant_id)).version == 1

    await engine.assistants.delete(assistant_id, delete_threads=True)
    assert await there(engine, threads) == []


async def test_a_thread_on_which_another_assistant_runs_meanwhile_stays(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "CHECKPOINTS", 2)
    assistant_id = await make(engine)
    thread_id = await used_thread(engine, *[assistant_id] * 3)
    runs: list[Run] = []
    write = engine.database.write

    async def run_another(function: Any) -> Any:
        result = await write(function)
        if getattr(function, "func", None) is assistant_deletion._delete_some and not runs:
            monkeypatch.setattr(engine.database, "write", write)
            runs.append(await engine.run("counter", thread_id=thread_id))
        return result

    monkeypatch.setattr(engine.database, "write", run_another)
    await engine.assistants.delete(assistant_id, delete_threads=True)

    assert (await engine.row(runs[0])).output == '{"count":4,"log":["?","?","?","?"]}'
    assert await there(engine, [thread_id]) == [thread_id]


async def test_the_default_assistant_of_a_graph_that_is_gone_can_be_deleted(
    database_url: str, tmp_path: Path
) -> None:
    both, one = configuration(tmp_path, "cat", "dog"), configuration(tmp_path, "cat")
    async with open_engine(database_url, graphs=both) as engine:
        thread_id = await used_thread(engine, "dog")
        for flags in ({}, {"cancel_runs": True}, {"delete_threads": True}):
            with pytest.raises(DefaultAssistant):
                await engine.assistants.delete("dog", **flags)
    async with open_engine(database_url, graphs=one) as engine:
        await engine.assistants.delete("dog", delete_threads=True)
        with pytest.raises(AssistantNotFound):
            await engine.assistants.get("dog")
        assert await there(engine, [thread_id]) == []
    async with open_engine(database_url, graphs=both) as engine:
        assert (await engine.assistants.get("dog")).version == 1


async def test_runs_of_another_server_are_cancelled_and_their_threads_deleted(
    postgres_url: str,
) -> None:
    async with open_replicas(postgres_url, 2) as (one, other):
        assistant_id = await make(one, "slow_async")
        thread_id = await one.thread()
        run = await one.start(assistant_id, LONG, thread_id=thread_id)
        assert run.owner == one.runner.server_id

        await other.assistants.delete(assistant_id, delete_threads=True)

        assert await rows_of(one, thread_id) == 0
        with pytest.raises(AssistantNotFound):
            await one.start(assistant_id)


async def waits_for_a_lock(engine: Engine) -> bool:
    query = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    return bool(await engine.database.read(lambda connection: connection.scalar(query)))


def create_delayed(connection: Connection, engine: Engine, assistant_id: str) -> None:
    spec = RunSpec(assistant_id=assistant_id, start_delay=timedelta(hours=1))
    create_runs(connection, [spec], None, engine.rules, slots=0)


async def test_who_creates_a_run_keeps_the_assistant_until_the_run_is_there_to_be_seen(
    postgres_url: str,
) -> None:
    async with open_replicas(postgres_url, 2) as (one, other):
        assistant_id = await make(one)
        created, go_on = threading.Event(), threading.Event()

        def create(connection: Connection) -> None:
            create_delayed(connection, one, assistant_id)
            created.set()
            assert go_on.wait(20)

        creating = asyncio.create_task(asyncio.to_thread(one.database.write_apart, create))
        await until(created.is_set)
        deleting = asyncio.create_task(other.assistants.delete(assistant_id))
        await until(partial(waits_for_a_lock, one))
        go_on.set()
        await creating
        with pytest.raises(AssistantInUse):
            await deleting


async def test_a_cron_that_fires_and_the_deletion_of_its_assistant_make_no_ring(
    postgres_url: str,
) -> None:
    async with open_replicas(postgres_url, 2) as (one, other):
        assistant_id = await make(one)
        cron = a_cron(assistant_id)
        await one.execute(lambda connection: crons.add_cron(connection, cron))
        held, go_on = threading.Event(), threading.Event()

        def fire(connection: Connection) -> None:
            crons.lock_cron(connection, cron.cron_id)
            held.set()
            assert go_on.wait(20)
            create_delayed(connection, one, assistant_id)

        firing = asyncio.create_task(asyncio.to_thread(one.database.write_apart, fire))
        await until(held.is_set)
        deleting = asyncio.create_task(other.assistants.delete(assistant_id))
        await until(partial(waits_for_a_lock, one))
        go_on.set()
        await firing
        with pytest.raises(AssistantInUse):
            await deleting
        await other.assistants.delete(assistant_id, cancel_runs=True)
        kept = await one.database.read(lambda connection: crons.get_cron(connection, cron.cron_id))
        assert kept is None, "it goes with its assistant"
    assert await deadlocks(postgres_url) == 0


def a_cron(assistant_id: str) -> Cron:
    return Cron(
        cron_id=new_id(),
        assistant_id=assistant_id,
        thread_id=None,
        spec=RunSpec(assistant_id=assistant_id),
        schedule="0 0 1 1 *",
        time_zone="UTC",
        enabled=True,
        end_time=None,
        metadata={},
        create_time=datetime.now(UTC),
        update_time=datetime.now(UTC),
    )
