"""What callers are told when the database driver fails."""

import traceback
from contextlib import suppress
from inspect import CO_COROUTINE

from sqlalchemy.exc import DBAPIError

from runwire.server.model.errors import DatabaseUnavailable, StorageFull

_UNAVAILABLE = ("SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_BUSY", "SQLITE_READONLY")


def told(error: BaseException) -> BaseException:
    """Return what the caller is told: a driver's error as a model error, others as they are.

    Call it on the thread where the error was raised: the variables of its frames are let go of,
    because a cursor among them must not end on the caller's thread.
    """
    _clear_frames(error)
    original = error.orig if isinstance(error, DBAPIError) else error
    name = getattr(original, "sqlite_errorname", "")
    told: BaseException = error
    if name.startswith("SQLITE_FULL"):
        told = StorageFull()
    elif name.startswith(_UNAVAILABLE):
        told = DatabaseUnavailable()
    elif isinstance(error, StopIteration):
        # No future takes one, and whoever waits for it would wait for ever.
        told = RuntimeError("a transaction raised StopIteration")
    if told is not error:
        told.__cause__ = error
    return told


def _clear_frames(error: BaseException | None) -> None:
    while error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            # An error that was raised before may have come by a coroutine that goes on.
            if not frame.f_code.co_flags & CO_COROUTINE:
                with suppress(RuntimeError):
                    frame.clear()
        error = error.__cause__ or error.__context__
