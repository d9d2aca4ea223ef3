"""The loop that takes what retention has passed."""

from datetime import timedelta

import pytest
from tests.support.engine import Engine, until

from runwire.server.core.retention import Retention
from runwire.server.model.errors import RunNotFound
from runwire.server.runner import retention as loop
from runwire.server.runner.retention import RetentionSweeper

SOON = timedelta(milliseconds=10)
NOTHING_IS_KEPT = Retention(stateless_run_retention=timedelta(0))


async def test_retention_is_looked_at_by_itself(engine: Engine) -> None:
    run = await engine.run("echo")

    async def is_gone() -> bool:
        try:
            await engine.runs.get(run.run_id)
        except RunNotFound:
            return True
        return False

    async with RetentionSweeper(engine.database, NOTHING_IS_KEPT, interval=SOON):
        await until(is_gone)


async def test_sweeps_go_on_after_one_that_failed(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seen = []

    async def fail(*what: object) -> None:
        seen.append(what)
        raise LookupError("as intended")

    monkeypatch.setattr(loop, "sweep", fail)
    async with RetentionSweeper(engine.database, NOTHING_IS_KEPT, interval=SOON):
        await until(lambda: len(seen) > 2)
    assert seen[0] == (engine.database, NOTHING_IS_KEPT)
    assert "a sweep of what is too old failed" in caplog.text


async def test_servers_that_start_together_do_not_sweep_together(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        raise LookupError("enough")

    monkeypatch.setattr(loop.asyncio, "sleep", sleep)
    for _ in range(20):
        sweeper = RetentionSweeper(engine.database, Retention(), interval=timedelta(seconds=10))
        with pytest.raises(LookupError, match="enough"):
            await sweeper._sweep_for_ever()
    assert min(waits) >= 8
    assert max(waits) <= 12
    assert len(set(waits)) > 10
