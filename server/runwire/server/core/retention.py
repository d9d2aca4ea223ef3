"""What is kept for a while only, and how it goes when its time has passed.

A sweep consists of many short transactions with pauses between them: whoever else has to write
waits for one of them at most. Several servers can sweep the same database at the same time.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import TypeVar

from runwire.server.core.expiry import expire_threads
from runwire.server.storage import gone, items, requests, servers, webhooks
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Connection, Database
from runwire.server.storage.retention import Leftover, delete_leftovers

REQUESTS = 500
"""Request ids that one transaction forgets, at most."""

ITEMS = 10
"""Items of the store that one transaction deletes, at most: each may have 3 MiB."""

DELIVERIES = 25
"""Deliveries that one transaction deletes, at most: each may have half a MiB."""

NOTES = 25
"""Notes for readers of changes that one transaction forgets, at most: each may have a MiB."""

NOTES_KEPT = timedelta(minutes=10)
"""How long such notes are kept at least, so that a reader who was cut off can go on."""

SHARE = 0.5
"""The part of the time for which a sweep keeps the writer busy, at most."""

_DAY = timedelta(hours=24)

T = TypeVar("T")

Step = Callable[[Connection], int]
"""A transaction that takes some of what is too old, and returns how much it found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long what is over is kept; see the settings of the same names."""

    event_retention: timedelta = _DAY
    stateless_run_retention: timedelta = _DAY
    rolled_back_run_retention: timedelta = _DAY
    request_retention: timedelta = _DAY
    server_retention: timedelta = timedelta(hours=1)
    webhook_retention: timedelta = timedelta(days=7)


def steps(retention: Retention) -> Sequence[Step]:
    """Return what a sweep consists of: each is to be repeated until it finds nothing."""
    return (
        _leftovers(Leftover.EVENTS, retention.event_retention),
        _leftovers(Leftover.STATELESS_RUN, retention.stateless_run_retention),
        _leftovers(Leftover.ROLLED_BACK_RUN, retention.rolled_back_run_retention),
        _request_ids(retention.request_retention),
        _lost_servers(retention.server_retention),
        _expired_items,
        _deliveries(retention.webhook_retention),
        _notes(notes_kept(retention.event_retention)),
    )


def _leftovers(kind: Leftover, kept: timedelta) -> Step:
    return lambda connection: delete_leftovers(
        connection, kind, before=current_time(connection) - kept
    )


def _request_ids(kept: timedelta) -> Step:
    return lambda connection: requests.delete_expired(
        connection, before=current_time(connection) - kept, limit=REQUESTS
    )


def notes_kept(event_retention: timedelta) -> timedelta:
    """Return how long it is noted for readers of changes what is gone."""
    return max(event_retention, NOTES_KEPT)


def _notes(kept: timedelta) -> Step:
    return lambda connection: gone.forget(
        connection, before=current_time(connection) - kept, limit=NOTES
    )


def _lost_servers(kept: timedelta) -> Step:
    return lambda connection: servers.forget_servers(
        connection, before=current_time(connection) - kept
    )


def _expired_items(connection: Connection) -> int:
    return items.delete_expired(connection, before=current_time(connection), limit=ITEMS)


def _deliveries(kept: timedelta) -> Step:
    return lambda connection: webhooks.delete_ended(
        connection, before=current_time(connection) - kept, limit=DELIVERIES
    )


async def sweep(database: Database, retention: Retention) -> None:
    """Take everything that is too old."""
    for step in steps(retention):
        while await _write(database, step):
            pass
    await expire_threads(database, partial(_write, database))


async def _write(database: Database, function: Callable[[Connection], T]) -> T:
    """Make one transaction, and leave the writer to others for a while."""
    begin = monotonic()
    result = await database.write(function)
    await asyncio.sleep((monotonic() - begin) * (1 - SHARE) / SHARE)
    return result
