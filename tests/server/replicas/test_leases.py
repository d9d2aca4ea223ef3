"""A server that is gone, halted or cut off loses its runs to the others, and nothing else."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import pytest
from langgraph.checkpoint.base import id as checkpoint_ids
from sqlalchemy import Connection, update
from tests.chaos.network import Toxics, network_to
from tests.support.engine import Engine, kinds, open_engine, until
from tests.support.meeting import Meeting
from tests.support.postgres import start_postgres
from tests.support.replicas import open_replicas

from runwire.server.model.runs import CancelAction, Run, RunState
from runwire.server.storage import events, servers, tables
from runwire.server.storage.clock import current_time

LEASE = {
    "lease": timedelta(minutes=10),
    "beat": timedelta(seconds=0.2),
    "sweep_interval": timedelta(seconds=0.2),
}
"""Of servers that lose their leases when a test says so, and not because the machine is slow."""

ENDING = {**LEASE, "lease": timedelta(seconds=3)}
"""Of servers whose leases are to end by themselves."""


@pytest.fixture
def meeting(tmp_path: Path) -> Meeting:
    """Where a test and the graphs that it runs meet."""
    directory = tmp_path / "meeting"
    directory.mkdir()
    return Meeting(directory)


async def fall_silent(engine: Engine) -> None:
    """Let a server do nothing any more but execute what it has begun, as if it were cut off and
    did not notice until its lease had ended."""
    heartbeat: Any = engine.runner.heartbeat
    heartbeat._leave = lambda: None
    await asyncio.to_thread(heartbeat.end_blocking, 60.0)
    tasks = list(engine.runner._tasks)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)

    def end_lease(connection: Connection) -> None:
        this = tables.servers.c.server_id == engine.runner.server_id
        ended = current_time(connection)
        connection.execute(update(tables.servers).where(this).values(lease_until=ended))

    await engine.execute(end_lease)


async def settled(*engines: Engine) -> None:
    """Return when servers may take the runs of others."""
    await until(lambda: all(engine.runner.may_sweep for engine in engines))


async def test_a_lost_server_s_run_goes_on_elsewhere_and_nothing_of_its_old_attempt_lands(
    postgres_url: str, meeting: Meeting
) -> None:
    async with open_replicas(postgres_url, 2, **LEASE) as (lost, other):
        thread_id = await lost.thread()
        run = await meeting.start(lost, "gate", spec={"thread_id": thread_id})
        queued = await lost.start("echo", {"text": "later"}, thread_id=thread_id)
        await until(lambda: other.database.read(lambda c: events.last_event(c, run.run_id)))
        await fall_silent(lost)
        await until(lambda: run.run_id in other.runner._slots)
        meeting.open()
        ended = await other.ended(run)
        assert (ended.state, ended.attempt) == (RunState.SUCCEEDED, 2)
        assert (await other.ended(queued)).state is RunState.SUCCEEDED
        await until(lambda: not lost.runner._slots)
        assert await other.row(run) == ended
        told = kinds(await other.events(run))
        assert told.count("attempt_started") == 2
        assert told[-1] == "run_ended"
        assert told.count("run_ended") == 1


async def test_a_server_that_lives_keeps_its_runs_however_long_they_take(
    postgres_url: str, meeting: Meeting
) -> None:
    async with open_replicas(postgres_url, 2, **LEASE) as engines:
        run = await meeting.start(engines[0], "gate")
        leases = [await lease_of(engines[0])]

        async def renewed_often() -> bool:
            lease = await lease_of(engines[0])
            assert lease >= leases[-1]
            leases.extend([lease] if lease != leases[-1] else [])
            return len(leases) > 8

        await until(renewed_often)
        meeting.open()
        assert (await engines[0].ended(run)).attempt == 1


async def lease_of(engine: Engine) -> Any:
    row = await engine.database.read(
        lambda connection: servers.get_server(connection, engine.runner.server_id)
    )
    return row and row.lease_until


async def test_what_a_lost_server_was_to_stop_is_cancelled_by_another(
    postgres_url: str, meeting: Meeting
) -> None:
    async with open_replicas(postgres_url, 2, **LEASE) as (lost, other):
        thread_id = await lost.thread()
        await lost.run("echo", {"text": "kept"}, thread_id=thread_id)
        before = await other.states.get(thread_id, None, include_subgraphs=False)
        run = await meeting.start(lost, "gate", spec={"thread_id": thread_id})
        await fall_silent(lost)
        await other.runs.cancel(run.run_id, CancelAction.ROLLBACK, wait=False)
        ended = await other.ended(run)
        assert (ended.state, ended.rolled_back) == (RunState.CANCELLED, True)
        after = await other.states.get(thread_id, None, include_subgraphs=False)
        assert after == before


async def test_a_server_that_stops_leaves_its_runs_to_others_at_once(
    postgres_url: str, meeting: Meeting
) -> None:
    grace = timedelta(seconds=0.05)
    patient = {**LEASE, "lease": timedelta(seconds=600), "beat": timedelta(seconds=0.1)}
    async with open_replicas(postgres_url, 2, drain_grace=grace, **patient) as (stopping, other):
        blocking = await meeting.start(stopping, "slow_sync", seconds=1)
        await stopping.runner.drain()
        row = await other.database.read(
            lambda connection: servers.get_server(connection, stopping.runner.server_id)
        )
        now = await other.database.read(current_time)
        assert row is not None
        assert (row.draining, row.is_alive(now)) == (True, False)
        ended = await other.ended(blocking)
        assert (ended.state, ended.attempts_used) == (RunState.SUCCEEDED, 1)


async def test_a_server_that_is_cut_off_stops_by_itself_and_what_it_had_sent_comes_too_late(
    postgres_url: str, meeting: Meeting
) -> None:
    user, _, direct = urlsplit(postgres_url).netloc.rpartition("@")
    async with network_to(direct) as network:
        by_network = postgres_url.replace(f"{user}@{direct}", f"{user}@{network.address}")
        async with (
            open_engine(postgres_url, **LEASE) as other,
            open_engine(by_network, **ENDING) as cut_off,
        ):
            await settled(other)
            thread_id = await other.thread()
            run = await meeting.start(cut_off, "gate", spec={"thread_id": thread_id})
            with network.hurting(Toxics(blackhole=True)):
                await until(lambda: not cut_off.runner._slots)
                await until(lambda: run.run_id in other.runner._slots)
                meeting.open()
                ended = await other.ended(run)
                assert (ended.state, ended.attempt) == (RunState.SUCCEEDED, 2)
            await until(lambda: cut_off.runner.heartbeat.is_held)
            assert await cut_off.row(run) == ended
            assert kinds(await cut_off.events(run))[-1] == "run_ended"
            assert (await cut_off.run("echo", {"text": "back"})).state is RunState.SUCCEEDED


async def test_nothing_is_charged_and_nothing_is_lost_when_the_database_is_away_for_long(
    meeting: Meeting,
) -> None:
    with start_postgres() as postgres:
        async with open_replicas(postgres.url, 2, cancel_grace=timedelta(0), **ENDING) as engines:
            await settled(*engines)
            executing = [
                await meeting.start(engine, "gate", spec={"thread_id": await engine.thread()})
                for engine in engines
            ]
            await asyncio.to_thread(postgres.stop, "QUIT")
            await until(lambda: not any(engine.runner.heartbeat.is_held for engine in engines))
            await until(lambda: not any(engine.runner._slots for engine in engines))
            # A beat later they would have ended in the database.
            await asyncio.sleep(2 * ENDING["beat"].total_seconds())
            await asyncio.to_thread(postgres.start)
            meeting.open()
            for engine, run in zip(engines, executing, strict=True):
                ended = await ended_in_time(engine, run)
                assert (ended.state, ended.attempts_used) == (RunState.SUCCEEDED, 1)
            await until(lambda: all(engine.runner.heartbeat.is_held for engine in engines))
            await settled(*engines)


async def ended_in_time(engine: Engine, run: Run) -> Run:
    """Return a run when it has ended, though the database may be away."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await engine.ended(run)
            except Exception:  # noqa: BLE001 - whatever it is, the next try may succeed
                await asyncio.sleep(0.1)


@contextmanager
def clock_off_by(seconds: float) -> Iterator[None]:
    """Set the clock that checkpoints are named by, and forget what it showed before, as if this
    were another machine."""
    clock = SimpleNamespace(time_ns=lambda: time.time_ns() + int(seconds * 1e9))
    with (
        mock.patch.object(checkpoint_ids, "_last_v6_timestamp", None),
        mock.patch.object(checkpoint_ids, "time", clock),
    ):
        yield


async def test_a_server_whose_clock_is_ahead_hides_nothing_that_others_do_later(
    postgres_url: str,
) -> None:
    async with open_replicas(postgres_url, 2, **LEASE) as (ahead, right):
        thread_id = await right.thread()
        for engine, seconds, text in (
            (right, 0, "one"),
            (ahead, 60, "two"),
            (right, 0, "three"),
            (ahead, -60, "four"),
        ):
            with clock_off_by(seconds):
                run = await engine.run("counter", {"log": [text]}, thread_id=thread_id)
            assert run.state is RunState.SUCCEEDED
        state = await right.states.get(thread_id, None, include_subgraphs=False)
        assert all(text in state.values for text in ("one", "two", "three", "four"))
