"""Firing crons: transactions on an open connection.

A cron fires in the transaction that moves it to its next time, so that of several servers one
creates the run, and of a server that dies half way nothing is left. It is locked after its thread,
as runs are, and nobody waits for it: who finds it locked leaves it to whoever has it.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from runwire.server.core.creation import Creation, Rules, create_runs
from runwire.server.core.limits import hold_limits
from runwire.server.model.crons import Cron, CronError
from runwire.server.model.schedules import Schedule
from runwire.server.storage import crons, locks
from runwire.server.storage.clock import current_time
from runwire.server.storage.crons import DueCron
from runwire.server.storage.database import Connection

BATCH = 100
"""Crons that are looked up at once."""

COUNTED = 1000
"""Times that are counted at most of those that passed while nobody fired."""


class Look(NamedTuple):
    """Which crons have to fire now, and in how long the next one has to if none does."""

    due: list[DueCron]
    next: timedelta | None


def look(connection: Connection, graph_ids: Sequence[str]) -> Look:
    """Return what there is to fire for a server that knows these graphs: by the database's clock,
    which need not be this machine's."""
    now = current_time(connection)
    due = crons.list_due(connection, graph_ids, now, limit=BATCH)
    following = None if due else crons.next_fire_time(connection, graph_ids)
    return Look(due, None if following is None else following - now)


def fire(connection: Connection, due: DueCron, rules: Rules, *, slots: int) -> Creation:
    """Fire a cron: create its run and move it on. Nothing is created if it does not have to fire
    any more. Raises what `create_runs` does; then nothing is stored."""
    hold_limits(connection, [due.assistant_id], due.principal, rules.limits)
    locks.hold_threads(connection, [due.thread_id])
    cron = crons.lock_due(connection, due)
    if cron is None:
        return Creation()
    now = current_time(connection)
    if cron.end_time is not None and cron.end_time <= now:
        missed = _missed(cron, due.fire_time, now) + 1
        crons.set_cron(connection, replace(cron, next_fire_time=None, missed_fires=missed))
        return Creation()
    spec = replace(cron.spec, assistant_id=cron.assistant_id)
    creation = create_runs(
        connection,
        [spec],
        None,
        rules,
        slots=slots,
        principal=cron.principal,
        cron_id=cron.cron_id,
    )
    fired = replace(cron, last_run_id=creation.runs[0].run_id, last_error=None)
    _move_on(connection, fired, due.fire_time, now)
    return creation


def give_up(connection: Connection, due: DueCron, error: CronError) -> bool:
    """Move a cron on that could not fire, and note why. Return whether it had to fire still."""
    cron = crons.lock_due(connection, due)
    if cron is None:
        return False
    now = current_time(connection)
    _move_on(connection, replace(cron, last_error=error), due.fire_time, now)
    return True


def _move_on(connection: Connection, cron: Cron, fire_time: datetime, now: datetime) -> None:
    moved = replace(
        cron,
        last_fire_time=fire_time,
        next_fire_time=next_fire_time(cron, now),
        missed_fires=_missed(cron, fire_time, now),
    )
    crons.set_cron(connection, moved)


def next_fire_time(cron: Cron, now: datetime) -> datetime | None:
    """Return when a cron fires next after `now`; None if it does not fire any more."""
    if not cron.enabled:
        return None
    following = Schedule(cron.schedule, cron.time_zone).after(now)
    if following is None or (cron.end_time is not None and following >= cron.end_time):
        return None
    return following


def _missed(cron: Cron, fire_time: datetime, now: datetime) -> int:
    """Return how many times a cron has missed when it fires `now` for the time at which it had
    to."""
    until = now if cron.end_time is None else min(now, cron.end_time - timedelta.resolution)
    schedule = Schedule(cron.schedule, cron.time_zone)
    return cron.missed_fires + schedule.passed(fire_time, until, at_most=COUNTED)
