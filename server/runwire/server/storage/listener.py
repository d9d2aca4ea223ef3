"""How notifications travel on PostgreSQL: NOTIFY and LISTEN, on one connection and its own thread.

They are sent right after a commit and not in it: PostgreSQL lets transactions that notify commit
one at a time, in the whole of a server, and each of them would pay for one more statement.
"""

import asyncio
import logging
import selectors
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, closing, suppress
from typing import Any

import psycopg

from runwire.server.model.errors import DatabaseUnavailable
from runwire.server.model.faults import fault
from runwire.server.storage.notifications import Hear, Kind, Notices, add_notice

_logger = logging.getLogger(__name__)

_CHANNEL = "runwire"

IDS_IN_ONE = 200
"""Run ids that one notification names: PostgreSQL takes 8000 bytes."""

UNTOLD_RUNS = 10_000
"""Runs that wait to be told of, while there is no connection: of more it is only told that there
are many."""

_EVERYTHING = "everything"
"""What is said of too many runs."""

RECONNECT_SECONDS = 0.2
"""How long to wait before the next attempt to connect."""


class Listener:
    """Tells the other servers, and hears them, for the length of `hearing`."""

    def __init__(self, connect: "Callable[[str], psycopg.Connection[Any]]") -> None:
        """`connect` opens a connection in autocommit mode for a purpose; it may raise what psycopg
        raises."""
        self._connect = connect
        self._stopping = threading.Event()
        self._stopping.set()
        self._lock = threading.Lock()
        self._untold: Notices | None = {}
        self._waker: socket.socket | None = None

    def tell(self, notices: Notices) -> None:
        """Tell the other servers soon. From any thread."""
        if not notices or self._stopping.is_set():
            return
        with self._lock:
            is_first = self._untold == {}
            self._untold = _more(self._untold, notices)
        if is_first:
            self._wake()

    def _wake(self) -> None:
        # Full or closed: then it is awake.
        with suppress(OSError):
            if self._waker is not None:
                self._waker.send(b"\0")

    @asynccontextmanager
    async def hearing(self, hear: Hear) -> AsyncIterator[None]:
        """Call `hear` on this event loop, for the length of a block, with what others say; with
        None whenever the connection is new."""
        loop = asyncio.get_running_loop()

        def hand_over(notices: Notices | None) -> None:
            with suppress(RuntimeError):  # the loop has closed: nobody is left to tell
                loop.call_soon_threadsafe(hear, notices)

        sleeper, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        sleeper.setblocking(False)
        self._stopping.clear()
        thread = threading.Thread(target=self._serve, args=(sleeper, hand_over), name="listener")
        thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            self._wake()
            await asyncio.to_thread(thread.join)
            sleeper.close()
            self._waker.close()

    def _serve(self, sleeper: socket.socket, hand_over: Hear) -> None:
        is_away = False
        while not self._stopping.is_set():
            try:
                with closing(self._connect("listener")) as connection:
                    # What is told counts for nothing when the database fails right after.
                    connection.execute("SET synchronous_commit = off")
                    connection.execute(f"LISTEN {_CHANNEL}")
                    if is_away:
                        _logger.warning("servers can tell each other of news again")
                    is_away = False
                    hand_over(None)
                    self._talk(connection, sleeper, hand_over)
            except psycopg.Error as error:
                if not is_away:
                    _logger.warning(
                        "servers cannot tell each other of news: they look for it once a second",
                        extra={"error": type(error).__name__},
                    )
                is_away = True
                self._stopping.wait(RECONNECT_SECONDS)

    def _talk(
        self, connection: "psycopg.Connection[Any]", sleeper: socket.socket, hand_over: Hear
    ) -> None:
        own = connection.info.backend_pid
        with selectors.DefaultSelector() as selector:
            selector.register(connection.fileno(), selectors.EVENT_READ)
            selector.register(sleeper, selectors.EVENT_READ)
            while not self._stopping.is_set():
                self._send(connection)
                said = [each for each in connection.notifies(timeout=0) if each.pid != own]
                if (heard := parse(each.payload for each in said)) != {}:
                    hand_over(heard)
                selector.select()
                with suppress(BlockingIOError):
                    sleeper.recv(4096)

    def _send(self, connection: "psycopg.Connection[Any]") -> None:
        with self._lock:
            untold, self._untold = self._untold, {}
        if untold == {}:
            return
        with suppress(DatabaseUnavailable):
            fault("notifications.send")
            connection.execute(_SEND, [list(spell(untold))])


_SEND = f"SELECT pg_notify('{_CHANNEL}', said) FROM unnest(%s::text[]) AS said"


def _more(untold: Notices | None, notices: Notices) -> Notices | None:
    """Return what there is to tell with what is added to it; None once that is too much."""
    if untold is None:
        return None
    for kind, run_ids in notices.items():
        add_notice(untold, kind, run_ids)
    return untold if sum(map(len, untold.values())) <= UNTOLD_RUNS else None


def spell(notices: Notices | None) -> Iterator[str]:
    """Give notices as texts that are short enough; None: that everything is to be looked at."""
    if notices is None:
        yield _EVERYTHING
        return
    for kind, run_ids in notices.items():
        named = sorted(run_ids)
        for start in range(0, max(1, len(named)), IDS_IN_ONE):
            yield " ".join([kind, *named[start : start + IDS_IN_ONE]])


def parse(texts: Iterable[str]) -> Notices | None:
    """Return what texts say, None if it is that everything is to be looked at; what makes no sense
    to this version is left out."""
    notices: Notices = {}
    for text in texts:
        if text == _EVERYTHING:
            return None
        with suppress(ValueError):
            word, *run_ids = text.split()
            add_notice(notices, Kind(word), run_ids)
    return notices
