"""The loop that fires crons when they are due."""

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.support.engine import Engine, open_engine, until
from tests.support.transactions import MovableClock, stopped_clock

from runwire.server.core import crons as core
from runwire.server.core.crons import CronChange, CronDraft
from runwire.server.core.firing import Look
from runwire.server.model.crons import Cron
from runwire.server.model.errors import DatabaseUnavailable, RunwireError, StorageFull
from runwire.server.model.runs import MultitaskStrategy, RunSpec, RunState
from runwire.server.runner import crons as loop
from runwire.server.runner.crons import CronLoop
from runwire.server.storage.runs import RunFilter


@pytest.fixture
def moving_clock() -> Iterator[type[MovableClock]]:
    """The database's time, which stands still unless a test moves it."""
    with stopped_clock() as moving_clock:
        yield moving_clock


async def add(engine: Engine, schedule: str = "* * * * *", **spec: Any) -> Cron:
    draft = CronDraft(
        spec=RunSpec(**{"assistant_id": "echo", **spec}), schedule=schedule, time_zone="UTC"
    )
    return await engine.crons.create(draft, None)


async def fired(engine: Engine, cron: Cron) -> bool:
    return (await engine.crons.get(cron.cron_id)).last_fire_time is not None


def watched(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[Look]:
    """Return what an engine's loop has found so far each time that it looked."""
    looks: list[Look] = []
    look = engine.crons.look

    async def noted() -> Look:
        looks.append(await look())
        return looks[-1]

    monkeypatch.setattr(engine.crons, "look", noted)
    return looks


async def test_a_cron_fires_at_its_time_and_its_run_executes(
    engine: Engine, moving_clock: type[MovableClock], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "POLL_SECONDS", 0.01)
    looks = watched(engine, monkeypatch)
    cron = await add(engine, input={"text": "hi"})
    async with CronLoop(engine.crons):
        moving_clock.time += timedelta(seconds=59)
        seen = len(looks)
        await until(lambda: len(looks) > seen + 2)
        assert not await fired(engine, cron)
        moving_clock.time += timedelta(seconds=1)
        await until(lambda: fired(engine, cron))
        now = await engine.crons.get(cron.cron_id)
        run = await engine.ended(await engine.runs.get(now.last_run_id or ""))
    assert (run.state, run.cron_id) == (RunState.SUCCEEDED, cron.cron_id)
    assert cron.next_fire_time == now.last_fire_time == run.create_time


async def test_the_loop_sleeps_until_the_next_time_but_hears_of_an_earlier_one(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "POLL_SECONDS", 3600.0)
    cron = await add(engine, "0 0 1 1 *")
    looks = watched(engine, monkeypatch)
    async with CronLoop(engine.crons):
        await until(lambda: looks)
        assert looks[0].due == []
        assert looks[0].next is not None
        await engine.crons.update(cron.cron_id, CronChange(schedule="* * * * *"))
        await until(lambda: looks[-1].next is None or looks[-1].next <= timedelta(minutes=1))


async def test_what_was_missed_while_no_server_was_up_is_made_up_for_once(
    sqlite_url: str, moving_clock: type[MovableClock]
) -> None:
    lease = timedelta(days=9)
    async with open_engine(sqlite_url, lease=lease) as engine:
        cron = await add(engine)
    moving_clock.time += timedelta(hours=1, seconds=5)
    async with open_engine(sqlite_url, lease=lease) as engine, CronLoop(engine.crons):
        await until(lambda: fired(engine, cron))
        now = await engine.crons.get(cron.cron_id)
        assert now.missed_fires == 59
        assert now.next_fire_time == datetime.fromisoformat("2026-01-01T01:01Z")
        runs = await engine.runs.list(RunFilter(), limit=9, cursor=None)
        assert [run.run_id for run in runs.items] == [now.last_run_id]


async def test_a_run_that_cannot_be_created_is_noted_and_logged(
    engine: Engine, moving_clock: type[MovableClock], caplog: pytest.LogCaptureFixture
) -> None:
    thread_id = await engine.thread()
    await engine.start("echo", thread_id=thread_id, start_delay=timedelta(days=1))
    busy = await add(engine, thread_id=thread_id, multitask_strategy=MultitaskStrategy.REJECT)
    moving_clock.time += timedelta(minutes=1)
    async with CronLoop(engine.crons):
        await until(lambda: fired(engine, busy))
    now = await engine.crons.get(busy.cron_id)
    assert now.last_error is not None
    assert now.last_error.reason == "THREAD_BUSY"
    assert (now.last_run_id, now.missed_fires) == (None, 0)
    (line,) = [entry for entry in caplog.records if entry.message == "a cron made no run"]
    assert (line.cron_id, line.reason) == (busy.cron_id, "THREAD_BUSY")  # type: ignore[attr-defined]


async def test_a_defect_is_noted_and_does_not_keep_others_from_firing(
    engine: Engine, moving_clock: type[MovableClock], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong, right = await add(engine), await add(engine)
    fire = core.fire

    def fire_or_fail(connection: Any, due: Any, *rest: Any, **more: Any) -> Any:
        if due.cron_id == wrong.cron_id:
            raise LookupError("as intended")
        return fire(connection, due, *rest, **more)

    monkeypatch.setattr(core, "fire", fire_or_fail)
    moving_clock.time += timedelta(minutes=1)
    async with CronLoop(engine.crons):
        await until(lambda: fired(engine, wrong))
        await until(lambda: fired(engine, right))
    now = await engine.crons.get(wrong.cron_id)
    assert now.last_error is not None
    assert now.last_error.reason == "INTERNAL"
    assert "as intended" not in now.last_error.message
    assert (await engine.crons.get(right.cron_id)).last_error is None


@pytest.mark.parametrize("trouble", [DatabaseUnavailable, StorageFull])
async def test_a_cron_waits_for_a_database_that_is_away_or_full(
    trouble: type[RunwireError],
    engine: Engine,
    moving_clock: type[MovableClock],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(loop, "RETRY_SECONDS", 0.01)
    cron = await add(engine)
    fire, tries = core.fire, []

    def fire_later(*given: Any, **more: Any) -> Any:
        tries.append(given)
        if len(tries) < 4:
            raise trouble()
        return fire(*given, **more)

    monkeypatch.setattr(core, "fire", fire_later)
    moving_clock.time += timedelta(minutes=1)
    async with CronLoop(engine.crons):
        await until(lambda: fired(engine, cron))
    assert (await engine.crons.get(cron.cron_id)).last_error is None
    said = [entry.message for entry in caplog.records if "crons can" in entry.message]
    assert said == [f"crons cannot fire: {trouble().message}", "crons can fire again"]


async def test_the_loop_goes_on_after_a_failure(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(loop, "RETRY_SECONDS", 0.01)
    seen = []

    async def fail() -> Look:
        seen.append(1)
        raise LookupError("as intended")

    monkeypatch.setattr(engine.crons, "look", fail)
    async with CronLoop(engine.crons):
        await until(lambda: len(seen) > 2)
    assert "crons could not be fired" in caplog.text


async def test_a_stop_waits_for_what_is_being_fired(
    engine: Engine, moving_clock: type[MovableClock], monkeypatch: pytest.MonkeyPatch
) -> None:
    cron = await add(engine)
    moving_clock.time += timedelta(minutes=1)
    create, begun = engine.runs.create_by, asyncio.Event()

    async def create_slowly(*given: Any) -> Any:
        begun.set()
        await asyncio.sleep(0.05)
        return await create(*given)

    monkeypatch.setattr(engine.runs, "create_by", create_slowly)
    async with CronLoop(engine.crons):
        await begun.wait()
    assert await fired(engine, cron)
