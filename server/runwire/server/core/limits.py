"""How many runs there may be that have not ended: of one assistant, and of one principal.

A creation counts in its own transaction, and nobody else counts the same meanwhile: so the limits
hold however many servers create runs at the same moment.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from runwire.server.model.errors import RunLimitReached
from runwire.server.storage import claims, locks
from runwire.server.storage.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLimits:
    """Limits of runs that have not ended; 0 is none. They count the runs that wait, also for a
    time, and those that execute. Runs of which nobody says who created them count for no
    principal."""

    per_assistant: int = 0
    per_principal: int = 0


NO_LIMITS = RunLimits()


def hold_limits(
    connection: Connection, assistant_ids: Iterable[str], principal: str, limits: RunLimits
) -> None:
    """Let nobody else create runs that the same limits count before this transaction ends. To be
    called before any thread is locked."""
    if limits.per_assistant:
        for assistant_id in sorted(set(assistant_ids)):
            locks.hold_name(connection, "runs of assistant", assistant_id)
    if limits.per_principal and principal:
        locks.hold_name(connection, "runs of principal", principal)


def check_limits(
    connection: Connection, assistant_id: str, principal: str, limits: RunLimits
) -> None:
    """Return if there may be one run more of an assistant and of a principal. Raises
    `RunLimitReached`."""
    limit = limits.per_assistant
    if limit and claims.count_of_assistant(connection, assistant_id, up_to=limit) >= limit:
        raise RunLimitReached("max_runs_per_assistant", limit, assistant_id=assistant_id)
    limit = limits.per_principal if principal else 0
    if limit and claims.count_of_principal(connection, principal, up_to=limit) >= limit:
        raise RunLimitReached("max_runs_per_principal", limit, principal=principal)
