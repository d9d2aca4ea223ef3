"""Runs for readers to follow."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

from runwire.server.core.retention import Retention
from runwire.server.model.runs import Run, StreamMode
from runwire.v1.events_pb2 import RunEvent
from tests.support.engine import PATIENCE_SECONDS, Engine, decode, ids, kinds
from tests.support.meeting import Meeting

CUSTOM: dict[str, Any] = {"stream_modes": (StreamMode.CUSTOM,)}
NO_EVENTS = Retention(event_retention=timedelta(seconds=-1))


def events_of(count: int) -> list[str]:
    """Return the ids of a run that produces `count` events of its own."""
    return [f"1-{index}" for index in range(1, count + 3)]


async def read_one_by_one(engine: Engine, run: Run, directory: Path) -> list[str]:
    """Follow a run of `custom_events` to its end, and let it make each event only when the one
    before it was read. Return the events' ids."""
    told: list[RunEvent] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for batch in engine.runs.follow(run.run_id, after=None):
            told += decode(batch)
            (directory / str(kinds(told).count("custom"))).touch()
    return ids(told)


async def gate(engine: Engine, directory: Path, **spec: Any) -> Run:
    """Return a run that waits until `open` is there."""
    return await Meeting(directory).start(engine, "gate", spec={**CUSTOM, **spec})
