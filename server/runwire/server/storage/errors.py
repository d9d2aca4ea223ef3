"""What callers are told when the database driver fails."""

import traceback
from contextlib import suppress
from inspect import CO_COROUTINE
from typing import Any

from sqlalchemy.exc import DBAPIError

from runwire.server.model.errors import DatabaseUnavailable, StorageFull

_UNAVAILABLE_IN_SQLITE = ("SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_BUSY", "SQLITE_READONLY")

_UNAVAILABLE = (
    "08",  # the connection is lost
    "25006",  # it takes no writes: a standby
    "25P03",  # the transaction was idle for too long
    "40001",  # another transaction was first
    "40P01",  # deadlock
    "53",  # out of connections or memory
    "55P03",  # another transaction has held a lock for too long
    "57",  # it shuts down, has crashed, starts up, or somebody has cancelled the statement
    "58",  # its disk fails
)
"""How PostgreSQL's codes begin of errors that may be gone in a moment."""

_RUN_AGAIN = ("40001", "40P01", "23505")

_OUT_OF_DISK = "53100"


def told(error: BaseException) -> BaseException:
    """Return what the caller is told: a driver's error as a model error, others as they are.

    Call it on the thread where the error was raised: the variables of its frames are let go of,
    because a cursor among them must not end on the caller's thread.
    """
    _clear_frames(error)
    original = error.orig if isinstance(error, DBAPIError) else error
    told = _of_driver(original)
    if isinstance(error, StopIteration):
        # No future takes one, and whoever waits for it would wait for ever.
        told = RuntimeError("a transaction raised StopIteration")
    if told is None:
        return error
    told.__cause__ = error
    return told


def _of_driver(error: BaseException | None) -> Exception | None:
    if hasattr(error, "sqlstate"):
        return _of_postgres(error)
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_FULL"):
        return StorageFull()
    return DatabaseUnavailable() if name.startswith(_UNAVAILABLE_IN_SQLITE) else None


def _of_postgres(error: Any) -> Exception | None:
    # Not for everybody: a server on SQLite does without the driver's megabytes.
    from psycopg import InterfaceError, OperationalError

    if error.sqlstate == _OUT_OF_DISK:
        return StorageFull()
    # What never came from a server has no code: the driver could not reach one.
    is_away = error.sqlstate is None and isinstance(error, OperationalError | InterfaceError)
    is_away = is_away or (error.sqlstate or "").startswith(_UNAVAILABLE)
    return DatabaseUnavailable() if is_away else None


def may_succeed_again(error: BaseException) -> bool:
    """Return whether a transaction that PostgreSQL has refused may succeed if it is run again,
    seeing what another has done meanwhile: one that it conflicted with, or that was first to make
    the row it was to make."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return getattr(original, "sqlstate", None) in _RUN_AGAIN


def _clear_frames(error: BaseException | None) -> None:
    while error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            # An error that was raised before may have come by a coroutine that goes on.
            if not frame.f_code.co_flags & CO_COROUTINE:
                with suppress(RuntimeError):
                    frame.clear()
        error = error.__cause__ or error.__context__
