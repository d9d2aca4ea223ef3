"""A database clock that a test moves on, under servers that are at work."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from unittest import mock

from sqlalchemy import Connection

from runwire.server.storage import clock
from tests.support.records import START_TIME

_SHOWN = "tests_shown_time"
"""Where a connection's `info` has what the clock showed its transaction, and which that is."""


class SteppedClock:
    """What the databases that this process has open take for the time. However long a transaction
    takes, it sees one time, as in PostgreSQL without this."""

    def __init__(self) -> None:
        self._time = START_TIME

    def pass_by(self, duration: timedelta) -> None:
        """Let time pass, for all transactions that have not asked for it yet."""
        self._time += duration

    def ask(self, connection: Connection) -> datetime:
        """Return what it shows."""
        begun = connection.info.get(clock.BEGIN_TIME)
        if begun is None:
            return self._time
        shown: datetime
        asked_in, shown = connection.info.get(_SHOWN, (None, self._time))
        if asked_in != begun:
            shown = self._time
            connection.info[_SHOWN] = (begun, shown)
        return shown


@contextmanager
def stepped_clock() -> Iterator[SteppedClock]:
    """Let the time of databases go on only where a test says so, however slow the machine is.
    Servers must be given leases that are longer than what passes."""
    stepped = SteppedClock()
    with mock.patch.object(clock, "_ask", stepped.ask):
        yield stepped
