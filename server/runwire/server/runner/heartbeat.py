"""A server's lease: renewed by a thread of its own, and given up when it cannot be.

The thread, and a connection that waits for no other write, because the lease must not depend on
what runs do: neither on the gRPC loop, nor on the database's writer. What cannot be renewed in time
ends here a beat earlier than in the database, by a clock that nobody sets: a server has then
stopped its runs before another one may take them.
"""

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import NamedTuple, Protocol

from runwire.server.core.servers import Beat, enter, leave, renew_lease
from runwire.server.model.faults import fault
from runwire.server.model.servers import Server
from runwire.server.storage.database import Database

_logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.25
"""How long to wait after a failed renewal, unless a beat is shorter."""

END_SECONDS = 2.0
"""How long a server that stops waits for the database to note that."""

BEATS_AT_FIRST = 2
"""How many beats a server that has just started leaves to others, before it takes their runs: if
the database was away meanwhile, they are only just back themselves."""


class _Options(Protocol):
    @property
    def max_concurrent_runs(self) -> int: ...
    @property
    def takes_calls(self) -> bool: ...
    @property
    def lease(self) -> timedelta: ...
    @property
    def beat(self) -> timedelta: ...


class Doing(NamedTuple):
    """What a server does now."""

    executing: int
    draining: bool


class Heartbeat:
    """Keeps one server's row, and its lease if the database is shared. `async with` it."""

    def __init__(
        self,
        database: Database,
        server_id: str,
        options: _Options,
        graph_ids: Sequence[str],
        *,
        doing: Callable[[], Doing],
        on_beat: Callable[[Beat], None],
    ) -> None:
        """`doing` is asked on another thread; `on_beat` is called on the loop that enters."""
        self._database = database
        self._lease = options.lease if database.shared else None
        self._beat_seconds = options.beat.total_seconds()
        self._doing = doing
        self._on_beat = on_beat
        epoch = datetime.fromtimestamp(0, UTC)  # the database says when
        self._server = Server(
            server_id=server_id,
            name=socket.gethostname(),
            version=version("runwire"),
            takes_calls=options.takes_calls,
            executes_runs=options.max_concurrent_runs > 0,
            max_concurrent_runs=options.max_concurrent_runs,
            graph_ids=graph_ids,
            start_time=epoch,
            update_time=epoch,
            lease_until=None,
        )
        self._noted: Server | None = None
        self._sent = 0.0
        self._held_since = 0.0
        self._patience = 0.0
        self._failing = False
        self._ended = False
        self._hurried = threading.Event()
        self._thread: threading.Thread | None = None

    async def __aenter__(self) -> "Heartbeat":
        self._sent = self._held_since = time.monotonic()
        self._patience = BEATS_AT_FIRST * self._beat_seconds
        server = self._as_it_is()
        await self._database.write(lambda connection: enter(connection, server, self._lease))
        self._noted = server
        if self._lease is not None:
            loop = asyncio.get_running_loop()
            self._thread = threading.Thread(
                target=self._beat_until_ended, args=(loop,), name="heartbeat", daemon=True
            )
            self._thread.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.end()

    # ------------------------------------------------------------------ what the lease says

    @property
    def seconds_left(self) -> float:
        """For how long this server may go on without another renewal; negative once it may not."""
        if self._lease is None:
            return float("inf")
        return self._sent + self._lease.total_seconds() - self._beat_seconds - time.monotonic()

    @property
    def is_held(self) -> bool:
        """Whether this server may claim, start and execute runs."""
        return self.seconds_left > 0

    @property
    def is_settled(self) -> bool:
        """Whether this server may take the runs of others whose leases have ended. After a time
        without the database it may not: everybody has to have had the chance to come back."""
        if self._lease is None:
            return True
        return self.is_held and time.monotonic() - self._held_since >= self._patience

    # ------------------------------------------------------------------ what the server says

    def announce(self, address: str) -> None:
        """Say where callers reach this server, from the next beat on."""
        self._server = replace(self._server, address=address)
        self.hurry()

    def hurry(self) -> None:
        """Beat soon, because something has changed."""
        self._hurried.set()

    async def note(self) -> None:
        """Store what has changed, where nothing beats because no lease has to be renewed."""
        server = self._as_it_is()
        if self._lease is None and server != self._noted and not self._ended:
            await self._database.write(lambda connection: renew_lease(connection, server, None))
            fault("renew.after_commit")
            self._noted = server

    def _as_it_is(self) -> Server:
        doing = self._doing()
        return replace(self._server, executing=doing.executing, draining=doing.draining)

    # ------------------------------------------------------------------ the thread

    def _beat_until_ended(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._ended:
            began = time.monotonic()
            beat = self._beat()
            if beat is not None:
                with contextlib.suppress(RuntimeError):  # the loop has closed: nobody is left
                    loop.call_soon_threadsafe(self._on_beat, beat)
            pause = min(RETRY_SECONDS, self._beat_seconds) if beat is None else self._beat_seconds
            self._hurried.wait(max(0.0, pause - (time.monotonic() - began)))
            self._hurried.clear()
        self._leave()

    def _beat(self) -> Beat | None:
        """Renew the lease; None when that failed."""
        server, was_held = self._as_it_is(), self.is_held
        # Before anything is sent: in the database the lease begins later than here.
        sent = time.monotonic()
        try:
            beat = self._database.write_apart(
                lambda connection: renew_lease(connection, server, self._lease)
            )
            fault("renew.after_commit")
        except Exception as error:  # noqa: BLE001 - whatever it is, the next try may succeed
            if not self._failing:
                _logger.warning("the lease cannot be renewed", extra={"reason": str(error)})
            self._failing = True
            return None
        self._failing = False
        if not (beat.held and was_held):
            assert self._lease is not None
            self._held_since, self._patience = sent, self._lease.total_seconds()
            _logger.warning("the lease had ended and is renewed")
        self._sent = sent
        return beat._replace(held=beat.held and was_held)

    def _leave(self) -> None:
        try:
            self._database.write_apart(lambda connection: leave(connection, self._server.server_id))
        except Exception as error:  # noqa: BLE001 - it ends by itself, only later
            _logger.warning("the lease could not be ended", extra={"reason": str(error)})

    # ------------------------------------------------------------------ the end

    async def end(self) -> None:
        """End the lease: from now on others may take what this server has. It executes nothing
        any more, or is about to exit."""
        await asyncio.to_thread(self.end_blocking, END_SECONDS)

    def end_blocking(self, seconds: float) -> None:
        """Do as `end` does, on the calling thread, and wait `seconds` at most."""
        self._ended = True
        self.hurry()
        if self._thread is not None:
            self._thread.join(seconds)
