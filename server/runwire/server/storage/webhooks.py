"""Queries on the outbox: what is to be told of runs' ends, and what became of it."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BindParameter,
    Connection,
    Row,
    Select,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from runwire.server.model.requests import Order, Page
from runwire.server.model.webhooks import Delivery, DeliveryFilter, DeliveryState
from runwire.server.storage.pages import read_page
from runwire.server.storage.tables import webhook_deliveries as deliveries
from runwire.server.storage.time_ranges import within

_time = deliveries.c.create_time.type
_now = bindparam("now", type_=_time)
_this = deliveries.c.delivery_id == bindparam("this_delivery")


def add_delivery(connection: Connection, delivery: Delivery) -> None:
    """Store what is to be told."""
    connection.execute(_insert, {**asdict(delivery), "state": delivery.state.value})


_insert = insert(deliveries)


def next_due(connection: Connection) -> datetime | None:
    """Return when the next attempt may begin; None if nothing is to be sent."""
    due: datetime | None = connection.scalar(_next_due)
    return due


_next_due = select(func.min(deliveries.c.due_time)).where(deliveries.c.due_time.is_not(None))


def claim_deliveries(
    connection: Connection,
    *,
    sender: str,
    busy_hosts: Sequence[str],
    limit: int,
    now: datetime,
    lease_until: datetime,
) -> list[Delivery]:
    """Begin an attempt for up to `limit` deliveries that are due and whose host is none of
    `busy_hosts`, the first due first; return them. Nobody else begins one before `lease_until`."""
    values = {
        "new_sender": sender,
        "busy_hosts": list(busy_hosts),
        "limit": limit,
        "now": now,
        "new_due_time": lease_until,
    }
    return [_delivery(row) for row in connection.execute(_claim, values).all()]


_busy_hosts: BindParameter[list[str]] = bindparam("busy_hosts", expanding=True)
# The candidates come from a CTE: a planner may run a LIMIT subquery more than once.
_candidates = (
    select(deliveries.c.delivery_id)
    .where(
        deliveries.c.due_time.is_not(None),
        deliveries.c.due_time <= _now,
        deliveries.c.host.not_in(_busy_hosts),
    )
    .order_by(deliveries.c.due_time)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
    .cte("candidates")
)
_claim = (
    update(deliveries)
    .where(
        deliveries.c.delivery_id.in_(select(_candidates.c.delivery_id)),
        # Of two who chose it at once, the one who comes second finds it moved.
        deliveries.c.due_time <= _now,
    )
    .values(
        sender=bindparam("new_sender"),
        attempts=deliveries.c.attempts + 1,
        attempt_time=_now,
        due_time=bindparam("new_due_time", type_=_time),
    )
    .returning(*deliveries.c)
)


def end_attempt(
    connection: Connection,
    delivery: Delivery,
    *,
    state: DeliveryState,
    due_time: datetime | None,
    status: int | None,
    error: str,
    now: datetime,
) -> bool:
    """Store what came of an attempt. Return whether that was still the delivery's last one."""
    values = {
        "this_delivery": delivery.delivery_id,
        "this_sender": delivery.sender,
        "this_attempt": delivery.attempts,
        "new_state": state.value,
        "new_due_time": due_time,
        "new_status": status,
        "new_error": error,
        "new_end_time": None if state is DeliveryState.PENDING else now,
    }
    return connection.execute(_end_attempt, values).rowcount == 1


_end_attempt = (
    update(deliveries)
    .where(
        _this,
        deliveries.c.sender == bindparam("this_sender"),
        deliveries.c.attempts == bindparam("this_attempt"),
    )
    .values(
        state=bindparam("new_state"),
        sender=None,
        due_time=bindparam("new_due_time", type_=_time),
        status=bindparam("new_status"),
        error=bindparam("new_error"),
        end_time=bindparam("new_end_time", type_=_time),
    )
)


def free_all(connection: Connection, now: datetime) -> None:
    """Let every attempt that is under way be followed by another one at once: whoever made it is
    gone."""
    connection.execute(_free_all, {"now": now})


_free_all = (
    update(deliveries)
    # The first condition is that of the partial index.
    .where(deliveries.c.due_time.is_not(None), deliveries.c.sender.is_not(None))
    .values(sender=None, due_time=_now)
)


def get_delivery(connection: Connection, delivery_id: str) -> Delivery | None:
    """Return a delivery, or None."""
    row = connection.execute(_get, {"this_delivery": delivery_id}).one_or_none()
    return None if row is None else _delivery(row)


_get = select(deliveries).where(_this)


def list_deliveries(
    connection: Connection, wanted: DeliveryFilter, *, limit: int, cursor: str | None
) -> Page[Delivery]:
    """Return up to `limit` deliveries, newest first, from `cursor` on."""
    key = (deliveries.c.create_time, deliveries.c.delivery_id)
    query = _filtered(select(deliveries), wanted)
    rows, following = read_page(connection, query, key, Order(), limit, cursor)
    return Page([_delivery(row) for row in rows], following)


def _filtered(query: Select[Any], wanted: DeliveryFilter) -> Select[Any]:
    if wanted.run_id:
        query = query.where(deliveries.c.run_id == wanted.run_id)
    if wanted.states:
        query = query.where(deliveries.c.state.in_(sorted(wanted.states)))
    return query.where(*within(deliveries.c.create_time, wanted.created))


def lock_ended(
    connection: Connection, wanted: DeliveryFilter, *, before: datetime, limit: int
) -> list[str]:
    """Return up to `limit` deliveries that ended before `before`, the first first, which nobody
    else changes before this transaction ends."""
    query = _filtered(select(deliveries.c.delivery_id), wanted)
    query = query.where(deliveries.c.end_time < before).order_by(deliveries.c.end_time)
    return list(connection.scalars(query.limit(limit).with_for_update(skip_locked=True)))


def revive(connection: Connection, delivery_ids: Sequence[str], now: datetime) -> int:
    """Let deliveries that are not pending be sent again, from now on; return how many there
    were."""
    values = {"these_deliveries": list(delivery_ids), "now": now}
    return connection.execute(_revive, values).rowcount


_these: BindParameter[list[str]] = bindparam("these_deliveries", expanding=True)
_revive = (
    update(deliveries)
    .where(deliveries.c.delivery_id.in_(_these), deliveries.c.end_time.is_not(None))
    .values(
        state=DeliveryState.PENDING.value,
        due_time=_now,
        attempts_before=deliveries.c.attempts,
        end_time=None,
    )
)


def delete_ended(connection: Connection, *, before: datetime, limit: int) -> int:
    """Delete up to `limit` deliveries that ended before `before`; return how many there were."""
    return len(connection.execute(_delete_ended, {"before": before, "limit": limit}).all())


_ended = (
    select(deliveries.c.delivery_id)
    .where(deliveries.c.end_time < bindparam("before", type_=_time))
    .order_by(deliveries.c.end_time)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
    .cte("ended")
)
_delete_ended = (
    delete(deliveries)
    .where(deliveries.c.delivery_id.in_(select(_ended.c.delivery_id)))
    # SQLite's driver counts no rows of a statement that begins with a CTE.
    .returning(deliveries.c.delivery_id)
)


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(**{**row._mapping, "state": DeliveryState(row.state)})
