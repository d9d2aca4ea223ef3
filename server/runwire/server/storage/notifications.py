"""What the servers of one database tell each other: that there is news, and of which runs.

A notification only wakes somebody up who then looks for himself. Nothing relies on its arrival:
whoever waits for news also looks without having been told, once a second or so. How they travel:
see `listener`.
"""

from collections.abc import Callable, Iterable
from enum import StrEnum

from sqlalchemy import Connection

_NOTED = "runwire_noted"


class Kind(StrEnum):
    """What there is to say."""

    RUNS = "runs"
    """Events of these runs were stored, or they have ended."""
    CANCELS = "cancels"
    """These runs are to stop, whoever executes them."""
    WORK = "work"
    """There are runs to claim. Names none."""
    CRONS = "crons"
    """Crons fire at other times than they did. Names none."""
    MOVES = "moves"
    """On these threads runs were created, moved to another state or were deleted, or a caller
    changed the state, or the thread is gone. Without a name: that happened to runs without a
    thread, of which the other servers are not told apart."""


Notices = dict[Kind, set[str]]
"""What there is to say, with the ids of runs, or of threads."""

Hear = Callable[[Notices | None], None]
"""Is told what other servers say; None: whatever they may have said lately was not heard."""


def notify(connection: Connection, kind: Kind, run_ids: Iterable[str] = ()) -> None:
    """Tell the other servers, if there can be any, once this transaction is committed."""
    if connection.dialect.name != "sqlite":
        add_notice(connection.info.setdefault(_NOTED, {}), kind, run_ids)


def note_moves(connection: Connection, thread_ids: Iterable[str | None]) -> None:
    """Tell this server, too, once this transaction is committed, that runs of these threads have
    moved; None: that runs without a thread have."""
    named = (thread_id for thread_id in thread_ids if thread_id is not None)
    add_notice(connection.info.setdefault(_NOTED, {}), Kind.MOVES, named)


def for_others(notices: Notices) -> Notices:
    """Return what of notices the other servers are told."""
    if notices.get(Kind.MOVES) == set():
        return {kind: ids for kind, ids in notices.items() if kind is not Kind.MOVES}
    return notices


def take_noted(connection: Connection) -> Notices:
    """Return what a transaction that is about to commit has to say."""
    noted: Notices = connection.info.pop(_NOTED, {})
    return noted


def add_notice(notices: Notices, kind: Kind, run_ids: Iterable[str]) -> None:
    """Add to what there is to say."""
    notices.setdefault(kind, set()).update(run_ids)
