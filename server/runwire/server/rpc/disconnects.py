"""Callers that leave before the run has ended that their call made, or that they stay with."""

import asyncio
import logging
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager

from runwire.server.core.runs import Created, Runs
from runwire.server.model.errors import RunwireError
from runwire.server.model.runs import OnDisconnect, Run

logger = logging.getLogger(__name__)


class Disconnects:
    """Cancels runs whose callers have left, if that is what they asked for."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    @contextmanager
    def watching(
        self, creation: "asyncio.Task[Created]", wish: OnDisconnect
    ) -> Iterator[Awaitable[Created]]:
        """Give the creation of a run to be awaited, and watch over the rest of the block: if it
        is cancelled, the caller has left, and the run is treated as `wish` says. The creation
        itself goes on to its end in any case."""
        try:
            yield asyncio.shield(creation)
        except asyncio.CancelledError:
            self._left(creation, wish)
            raise

    @contextmanager
    def watching_join(self, run: Run, wish: OnDisconnect) -> Iterator[None]:
        """Watch over the block: if it is cancelled, the caller has left, and the run, which exists,
        is treated as `wish` says."""
        try:
            yield
        except asyncio.CancelledError:
            self._left([run], wish)
            raise

    async def close(self) -> None:
        """Finish what is under way. From now on calls are cancelled by the server that stops, and
        not by callers that leave."""
        self._closed = True
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _left(self, runs: "asyncio.Task[Created] | Sequence[Run]", wish: OnDisconnect) -> None:
        if wish is not OnDisconnect.CANCEL or self._closed:
            return
        # A task of its own: the call's is cancelled, and must end without waiting.
        task = asyncio.create_task(self._cancel(runs), name="cancel-disconnected")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _cancel(self, runs: "asyncio.Task[Created] | Sequence[Run]") -> None:
        try:
            for run in (await runs).runs if isinstance(runs, asyncio.Task) else runs:
                await self._runs.cancel_disconnected(run.run_id)
        except RunwireError as error:
            logger.warning("a run whose caller left is not cancelled: %s", error)
        except Exception:
            logger.exception("a run whose caller left is not cancelled")
