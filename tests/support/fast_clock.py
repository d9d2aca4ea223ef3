"""A database clock on which hours pass in seconds."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from unittest import mock

from sqlalchemy import Connection

from runwire.server.storage import clock


@contextmanager
def fast_clock(times: int) -> Iterator[None]:
    """Let the clock of every database that this process has open go so many times as fast, for the
    length of a block. Servers must be given leases that are as much longer."""
    ask, begin = clock._ask, list[datetime]()

    def hurry(connection: Connection) -> datetime:
        now = ask(connection)
        begin.append(now)
        return begin[0] + (now - begin[0]) * times

    with mock.patch.object(clock, "_ask", hurry):
        yield
