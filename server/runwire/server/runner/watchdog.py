"""Noticing runner loops that stop turning: an async node that blocks holds up all runs there."""

import asyncio
import logging
import sys
import time
import traceback

from runwire.server.model.attempts import Attempt
from runwire.server.runner.loops import WRITER, RunnerLoop, RunnerLoops

_logger = logging.getLogger(__name__)

BEAT_SECONDS = 0.5
"""How often each loop is asked to turn."""

BLOCKED_SECONDS = 1.0
"""A loop that has not turned for this long is reported, once for each time it stops."""


class Watchdog:
    """Watches the runner loops from the gRPC loop."""

    def __init__(self, loops: RunnerLoops) -> None:
        self._loops = loops
        self._turned = {id(loop): time.monotonic() for loop in loops.loops}
        self._reported: set[int] = set()

    @property
    def lag(self) -> float:
        """Seconds since the loop that is furthest behind last turned, beyond a beat."""
        now = time.monotonic()
        return max(0.0, max(now - turned for turned in self._turned.values()) - BEAT_SECONDS)

    async def run(self) -> None:
        """Watch for ever."""
        while True:
            for loop in self._loops.loops:
                loop.loop.call_soon_threadsafe(self._turn, loop)
            await asyncio.sleep(BEAT_SECONDS)
            for loop in self._loops.loops:
                self._check(loop)

    def _turn(self, loop: RunnerLoop) -> None:
        self._turned[id(loop)] = time.monotonic()

    def _check(self, loop: RunnerLoop) -> None:
        behind = time.monotonic() - self._turned[id(loop)]
        if behind < BLOCKED_SECONDS:
            self._reported.discard(id(loop))
        elif id(loop) not in self._reported and asyncio.current_task(loop.loop) is not None:
            # Without a task, nobody's code holds the loop up: the machine is busy.
            self._reported.add(id(loop))
            _logger.warning(
                "a runner loop is blocked: an async node calls something that does not await",
                extra={
                    "run_id": _run_on(loop),
                    "seconds": round(behind, 1),
                    "stack": _stack_of(loop),
                },
            )


def _run_on(loop: RunnerLoop) -> str:
    """Return the run whose task the loop is in, empty when it is in none."""
    task = asyncio.current_task(loop.loop)
    writer = getattr(task, WRITER, None)
    return writer.run_id if isinstance(writer, Attempt) else ""


def _stack_of(loop: RunnerLoop) -> list[str]:
    """Return where the loop's thread is: file, line and function, innermost last."""
    frame = sys._current_frames().get(loop.thread_id or 0)
    frames = traceback.extract_stack(frame)[-8:] if frame is not None else []
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
