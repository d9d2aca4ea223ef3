"""Runs for readers to follow."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from runwire.server.core.retention import Retention
from runwire.server.model.runs import Run, StreamMode
from tests.support.engine import Engine
from tests.support.meeting import Meeting

CUSTOM: dict[str, Any] = {"stream_modes": (StreamMode.CUSTOM,)}
NO_EVENTS = Retention(event_retention=timedelta(seconds=-1))


def events_of(count: int) -> list[str]:
    """Return the ids of a run that produces `count` events of its own."""
    return [f"1-{index}" for index in range(1, count + 3)]


async def gate(engine: Engine, directory: Path, **spec: Any) -> Run:
    """Return a run that waits until `open` is there."""
    return await Meeting(directory).start(engine, "gate", spec={**CUSTOM, **spec})
