"""The order in which transactions lock rows, so that servers never wait for each other in a ring.

Names come first: of requests, and of what is created under a name that its caller chose. Then
threads, then runs: whoever moves a run of a thread locks the thread first. Of several threads
the one with the smaller id comes first, of several runs too. What only looks whether it may write
for a run (`ownership.owns_run`, `ownership.owned_of`) locks no thread, and of several runs those
alone that nobody else has locked.

Between threads and runs come crons, and after them the assistants that are kept from being deleted
by who creates a run (`assistants.keep_assistant`). Who deletes an assistant holds its crons first,
and their threads before.

SQLite has one writer, who needs no locks: there nothing here asks the database anything.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import BindParameter, Connection, bindparam, func, select

from runwire.server.storage.tables import runs, threads


def needed(connection: Connection) -> bool:
    """Return whether others may write while this transaction does."""
    return connection.dialect.name != "sqlite"


def hold_name(connection: Connection, *name: str) -> None:
    """Let nobody else hold a name before this transaction ends: what is looked for by that name and
    not found cannot be created by another one meanwhile."""
    if needed(connection):
        connection.execute(_hold_name, {"name": "\x1f".join(name)}).all()


# A lock of two names' sharing a hash costs a wait, and nothing else.
_hold_name = select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("name"), 0)))


def hold_threads(connection: Connection, thread_ids: Iterable[str | None]) -> None:
    """Keep the queues of threads from being changed by others before this transaction ends."""
    wanted = sorted({thread_id for thread_id in thread_ids if thread_id is not None})
    if wanted and needed(connection):
        connection.execute(_lock, {"these_threads": wanted}).all()


def hold_threads_of(connection: Connection, run_ids: Sequence[str]) -> None:
    """Do as `hold_threads` does for the threads of runs: a run never changes its thread."""
    if run_ids and needed(connection):
        hold_threads(connection, connection.scalars(_threads_of, {"these_runs": run_ids}))


def try_threads(connection: Connection, thread_ids: Iterable[str | None]) -> set[str]:
    """Hold those of the threads that nobody else holds now, and return them."""
    wanted = sorted({thread_id for thread_id in thread_ids if thread_id is not None})
    if not wanted or not needed(connection):
        return set(wanted)
    return set(connection.scalars(_try, {"these_threads": wanted}))


_these_threads: BindParameter[list[str]] = bindparam("these_threads", expanding=True)
_these_runs: BindParameter[list[str]] = bindparam("these_runs", expanding=True)

_ordered = (
    select(threads.c.thread_id)
    .where(threads.c.thread_id.in_(_these_threads))
    .order_by(threads.c.thread_id)
)
_lock = _ordered.with_for_update()
_try = _ordered.with_for_update(skip_locked=True)
_threads_of = select(runs.c.thread_id).where(
    runs.c.run_id.in_(_these_runs), runs.c.thread_id.is_not(None)
)
