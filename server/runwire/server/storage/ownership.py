"""Queries on which server a run belongs to, and whether an attempt may still write for it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    Connection,
    Select,
    bindparam,
    exists,
    literal,
    select,
)

from runwire.server.model.attempts import Attempt
from runwire.server.model.runs import (
    Run,
    RunState,
)
from runwire.server.storage.runs import read_run
from runwire.server.storage.servers import LIVE
from runwire.server.storage.tables import runs, servers

_these: BindParameter[list[str]] = bindparam("these_runs", expanding=True)


def owns_run(connection: Connection, attempt: Attempt) -> bool:
    """Return whether the attempt still has the right to write for its run."""
    return connection.execute(_owns, own_run(attempt)).one_or_none() is not None


def own_run(attempt: Attempt) -> dict[str, Any]:
    """Return the parameters of `while_owned` for an attempt."""
    return {
        "own_run": attempt.run_id,
        "own_server": attempt.owner,
        "own_attempt": attempt.number,
    }


def while_owned(query: Select[Any]) -> Select[Any]:
    """Return a query from `runs`, and from what is joined to it, that has rows only if the attempt
    in its parameters still has the right to write for its run; it keeps that right until the
    transaction ends."""
    return query.where(
        runs.c.run_id == bindparam("own_run"),
        # Says as well that the run is active: no other has an owner.
        runs.c.owner == bindparam("own_server"),
        runs.c.attempt == bindparam("own_attempt"),
        # Not FOR KEY SHARE: whoever takes the run away changes no key, and would not have to wait
        # for the end of a transaction that was still let in.
    ).with_for_update(read=True, of=runs)


_owns = while_owned(select(literal(1)).select_from(runs))


def owned_of(connection: Connection, attempts: Sequence[Attempt]) -> list[bool | None]:
    """Return of each attempt whether it still has the right to write for its run; None: somebody
    else has locked that, ask again."""
    values = {"these_runs": [attempt.run_id for attempt in attempts]}
    found = {row.run_id: (row.owner, row.attempt) for row in connection.execute(_owners, values)}
    answers = [found.get(attempt.run_id) == (attempt.owner, attempt.number) for attempt in attempts]
    if len(found) == len(attempts):
        return list(answers)
    unlocked = {row.run_id for row in connection.execute(_runs_there, values)} - found.keys()
    return [
        None if attempt.run_id in unlocked else answer
        for attempt, answer in zip(attempts, answers, strict=True)
    ]


_runs_there = select(runs.c.run_id).where(runs.c.run_id.in_(_these))
_owners = (
    select(runs.c.run_id, runs.c.owner, runs.c.attempt)
    .where(runs.c.run_id.in_(_these))
    .with_for_update(read=True, skip_locked=True)
)


class Owned(NamedTuple):
    """What there is to know of a run that executes, without its spec and other user data."""

    run_id: str
    thread_id: str | None
    attempt: int
    attempts_used: int
    is_cancelled: bool


def owned_by(connection: Connection, owner: str) -> list[Owned]:
    """Return the runs that a server executes, by its own account, in the order in which their
    attempts began."""
    rows = connection.execute(_owned_by, {"owner": owner}).all()
    return [Owned._make(row[1:]) for row in sorted(rows)]


_is_owned = (runs.c.owner.is_not(None), runs.c.owner == bindparam("owner"))
_owned_by = select(
    runs.c.update_time,
    runs.c.run_id,
    runs.c.thread_id,
    runs.c.attempt,
    runs.c.attempt - runs.c.attempts_given_back,
    runs.c.cancel.is_not(None),
).where(*_is_owned)


def cancelling_of(connection: Connection, owner: str) -> list[str]:
    """Return the runs of a server that are being cancelled."""
    return list(connection.scalars(_cancelling_of, {"owner": owner}))


_cancelling_of = select(runs.c.run_id).where(*_is_owned, runs.c.state == RunState.CANCELLING.value)


def list_lost_owners(connection: Connection, now: datetime) -> list[str]:
    """Return the servers that own runs and hold no lease at `now`."""
    return list(connection.scalars(_lost_owners, {"now": now}))


_lost_owners = (
    select(runs.c.owner)
    .distinct()
    .where(
        runs.c.owner.is_not(None),
        ~exists().where(servers.c.server_id == runs.c.owner, LIVE),
    )
)


def lock_owned(connection: Connection, run_ids: Sequence[str], owner: str) -> list[Run]:
    """Return those of the runs that `owner` executes and that nobody else has locked, in the order
    in which their attempts began; nobody else changes them before this transaction ends."""
    values = {"these_runs": run_ids, "owner": owner}
    return [read_run(row) for row in connection.execute(_lock_owned, values)]


_lock_owned = (
    select(runs)
    .where(runs.c.run_id.in_(_these), *_is_owned)
    .order_by(runs.c.update_time, runs.c.run_id)
    .with_for_update(skip_locked=True)
)
