"""Queries on crons. A cron is fired by whoever moves it from one time to the next."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)

from runwire.server.model.crons import Cron, CronError
from runwire.server.model.requests import Order, Page, SortKey
from runwire.server.storage import locks
from runwire.server.storage.json_contains import contains
from runwire.server.storage.pages import read_page
from runwire.server.storage.tables import assistant_versions, assistants, crons
from runwire.server.storage.values import spec_from_data, spec_to_data

_time = crons.c.create_time.type
_LATEST = literal(datetime(9999, 1, 1, tzinfo=UTC), _time)

_SORTED: dict[SortKey, ColumnElement[Any]] = {
    SortKey.CREATE_TIME: crons.c.create_time,
    SortKey.UPDATE_TIME: crons.c.update_time,
    SortKey.NEXT_FIRE_TIME: func.coalesce(crons.c.next_fire_time, _LATEST),
    SortKey.END_TIME: func.coalesce(crons.c.end_time, _LATEST),
    SortKey.ASSISTANT_ID: crons.c.assistant_id,
    SortKey.THREAD_ID: func.coalesce(crons.c.thread_id, ""),
}
"""What crons can be sorted by, without gaps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CronFilter:
    """Which crons; what is empty does not narrow, nor does `enabled` if it is None."""

    assistant_id: str = ""
    thread_id: str = ""
    enabled: bool | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


def add_cron(connection: Connection, cron: Cron) -> None:
    """Store a new cron."""
    connection.execute(_insert, {"cron_id": cron.cron_id, **_row(cron)})


_insert = insert(crons)


def get_cron(connection: Connection, cron_id: str) -> Cron | None:
    """Return a cron, or None."""
    row = connection.execute(_get, {"this_cron": cron_id}).one_or_none()
    return None if row is None else _cron(row)


_this = crons.c.cron_id == bindparam("this_cron")
_get = select(crons).where(_this)


def lock_cron(connection: Connection, cron_id: str) -> Cron | None:
    """Return a cron that nobody else can change before this transaction ends, or None."""
    row = connection.execute(_lock, {"this_cron": cron_id}).one_or_none()
    return None if row is None else _cron(row)


_lock = _get.with_for_update()


def hold_crons_of(connection: Connection, assistant_id: str) -> None:
    """Keep the crons of an assistant, and the threads they fire on, from being changed by others
    before this transaction ends."""
    if locks.needed(connection):
        values = {"assistant_id": assistant_id}
        locks.hold_threads(connection, connection.scalars(_threads_of, values).all())
        connection.execute(_lock_of, values).all()


_of_assistant = crons.c.assistant_id == bindparam("assistant_id")
_threads_of = select(crons.c.thread_id).where(_of_assistant, crons.c.thread_id.is_not(None))
_lock_of = select(crons.c.cron_id).where(_of_assistant).order_by(crons.c.cron_id).with_for_update()


def list_crons(
    connection: Connection, wanted: CronFilter, order: Order, *, limit: int, cursor: str | None
) -> Page[Cron]:
    """Return up to `limit` crons in their order, from `cursor` on."""
    sorted_by = _SORTED[order.by]
    made = () if isinstance(sorted_by, Column) else (sorted_by,)
    query = _narrowed(select(crons, *made), wanted)
    rows, following = read_page(
        connection, query, (sorted_by, crons.c.cron_id), order, limit, cursor
    )
    return Page([_cron(row) for row in rows], following)


def count_crons(connection: Connection, wanted: CronFilter) -> int:
    """Return how many crons are wanted."""
    query = _narrowed(select(func.count()).select_from(crons), wanted)
    return connection.scalar(query) or 0


def _narrowed(query: Select[Any], wanted: CronFilter) -> Select[Any]:
    if wanted.assistant_id:
        query = query.where(crons.c.assistant_id == wanted.assistant_id)
    if wanted.thread_id:
        query = query.where(crons.c.thread_id == wanted.thread_id)
    if wanted.enabled is not None:
        query = query.where(crons.c.enabled == wanted.enabled)
    if wanted.metadata:
        text = orjson.dumps(wanted.metadata).decode()
        query = query.where(contains(crons.c.metadata, text))
    return query


def set_cron(connection: Connection, cron: Cron) -> None:
    """Store what a cron is now."""
    connection.execute(_set, {"this_cron": cron.cron_id, **_row(cron)})


_set = update(crons).where(_this)


def delete_cron(connection: Connection, cron_id: str) -> bool:
    """Delete a cron. Return whether there was one."""
    return connection.execute(_delete, {"this_cron": cron_id}).rowcount == 1


_delete = delete(crons).where(_this)


class DueCron(NamedTuple):
    """A cron that is to fire for one of its times."""

    cron_id: str
    assistant_id: str
    thread_id: str | None
    principal: str
    fire_time: datetime


def list_due(
    connection: Connection, graph_ids: Sequence[str], now: datetime, *, limit: int
) -> list[DueCron]:
    """Return up to `limit` crons of the graphs that have to fire, those that wait longest first."""
    values = {"known_graphs": graph_ids, "now": now, "limit": limit}
    return [DueCron._make(row) for row in connection.execute(_due, values)]


def next_fire_time(connection: Connection, graph_ids: Sequence[str]) -> datetime | None:
    """Return when the first cron of the graphs has to fire."""
    found: datetime | None = connection.scalar(_next, {"known_graphs": graph_ids})
    return found


# A version that is asked for may be of another graph than the newest one.
_with_graphs = crons.join(assistants).outerjoin(
    assistant_versions,
    and_(
        assistant_versions.c.assistant_id == crons.c.assistant_id,
        assistant_versions.c.version == crons.c.assistant_version,
    ),
)
_graph = func.coalesce(assistant_versions.c.graph_id, assistants.c.graph_id)
_known = (
    crons.c.next_fire_time.is_not(None),
    _graph.in_(bindparam("known_graphs", expanding=True)),
)
_due = (
    select(
        crons.c.cron_id,
        crons.c.assistant_id,
        crons.c.thread_id,
        crons.c.principal,
        crons.c.next_fire_time,
    )
    .select_from(_with_graphs)
    .where(*_known, crons.c.next_fire_time <= bindparam("now", type_=_time))
    .order_by(crons.c.next_fire_time)
    .limit(bindparam("limit"))
)
_next = (
    select(crons.c.next_fire_time)
    .select_from(_with_graphs)
    .where(*_known)
    .order_by(crons.c.next_fire_time)
    .limit(1)
)


def lock_due(connection: Connection, due: DueCron) -> Cron | None:
    """Return a cron if it still has to fire for that time; nobody else fires it before this
    transaction ends. None as well if somebody else is at work on it."""
    values = {"this_cron": due.cron_id, "fire_time": due.fire_time}
    row = connection.execute(_lock_due, values).one_or_none()
    return None if row is None else _cron(row)


_lock_due = _get.where(
    crons.c.next_fire_time == bindparam("fire_time", type_=_time)
).with_for_update(skip_locked=True)


def _row(cron: Cron) -> dict[str, Any]:
    return {
        "assistant_id": cron.assistant_id,
        "assistant_version": cron.spec.assistant_version,
        "thread_id": cron.thread_id,
        "spec": spec_to_data(cron.spec),
        "schedule": cron.schedule,
        "time_zone": cron.time_zone,
        "enabled": cron.enabled,
        "end_time": cron.end_time,
        "metadata": cron.metadata,
        "next_fire_time": cron.next_fire_time,
        "last_fire_time": cron.last_fire_time,
        "last_run_id": cron.last_run_id,
        "last_error": asdict(cron.last_error) if cron.last_error else None,
        "missed_fires": cron.missed_fires,
        "principal": cron.principal,
        "create_time": cron.create_time,
        "update_time": cron.update_time,
    }


def _cron(row: Row[Any]) -> Cron:
    return Cron(
        cron_id=row.cron_id,
        assistant_id=row.assistant_id,
        thread_id=row.thread_id,
        spec=spec_from_data(row.spec),
        schedule=row.schedule,
        time_zone=row.time_zone,
        enabled=row.enabled,
        end_time=row.end_time,
        metadata=row.metadata,
        create_time=row.create_time,
        update_time=row.update_time,
        next_fire_time=row.next_fire_time,
        last_fire_time=row.last_fire_time,
        last_run_id=row.last_run_id,
        last_error=CronError(**row.last_error) if row.last_error else None,
        missed_fires=row.missed_fires,
        principal=row.principal,
    )
