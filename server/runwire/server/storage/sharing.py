"""How functions share a transaction: what one raises is nobody else's, as long as it has changed
nothing.

Savepoints would do without that distinction, for two more statements each. What has changed nothing
is known by its statements, not by the rows that the database counts: it counts them only when a
statement has ended, and one whose rows are not all fetched has not.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine, ExecutionContext, event

from runwire.server.storage.calls import Call
from runwire.server.storage.errors import told

_CHANGES = "runwire_changes"
"""Where a connection's `info` counts the statements of its transaction that may change rows."""


def note_changes(engine: Engine) -> None:
    """Count, on an engine's connections, the statements that may change rows."""
    event.listen(engine, "before_cursor_execute", _note_change)


def _note_change(
    connection: Connection,
    cursor: Any,
    statement: str,
    parameters: Any,
    context: ExecutionContext | None,
    many: bool,
) -> None:
    # Every one that is not a SELECT.
    if not statement.startswith("SELECT"):
        connection.info[_CHANGES] = _changes(connection) + 1


def _changes(connection: Connection) -> int:
    count: int = connection.info.get(_CHANGES, 0)
    return count


def run_beside_others(
    connection: Connection, call: Call, is_whole: Callable[[Connection], bool]
) -> None:
    """Run a function; what it raises is its caller's, unless it may have changed something before,
    or the transaction is not whole any more: that ends it for all. Most that fail have only
    looked."""
    before = _changes(connection)
    try:
        call.result = call.function(connection)
    except BaseException as error:
        if _changes(connection) != before or not is_whole(connection):
            raise
        call.error = told(error)
