"""Queries on the store's items: what graphs and callers keep across threads.

What has expired is not there: no query here finds it, and the sweep deletes it later.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    case,
    delete,
    or_,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from runwire.server.model.items import Condition, Item, ItemPlace, Namespace
from runwire.server.storage.json_compare import compare
from runwire.server.storage.tables import store_items

SEPARATOR, AFTER_SEPARATOR = "\x1f", "\x20"
"""What joins a namespace's labels, and what comes next: no label holds a character before it."""


class Mark(NamedTuple):
    """The place of an item in what a search finds."""

    update_time: datetime
    namespace: Namespace
    key: str


def get_item(connection: Connection, place: ItemPlace, now: datetime) -> Item | None:
    """Return an item, or None."""
    row = connection.execute(_get, {**_named(place), "now": now}).one_or_none()
    return None if row is None else item_of(row)


def put_item(
    connection: Connection,
    place: ItemPlace,
    value: dict[str, Any],
    now: datetime,
    ttl: timedelta | None = None,
) -> Item:
    """Store an item, for good or until `ttl` has passed; one that is there gets the new value."""
    row: dict[str, Any] = {
        "namespace": joined(place.namespace),
        "key": place.key,
        "value": value,
        "create_time": now,
        "update_time": now,
        "ttl_seconds": None if ttl is None else ttl.total_seconds(),
        "expire_time": None if ttl is None else now + ttl,
    }
    return item_of(connection.execute(_put[connection.dialect.name], row).one())


def delete_item(connection: Connection, place: ItemPlace) -> None:
    """Delete an item, if it is there."""
    connection.execute(_delete, _named(place))


def refresh_items(
    connection: Connection, places: Iterable[ItemPlace], now: datetime
) -> dict[ItemPlace, datetime]:
    """Let the time of items that expire begin anew; return when each of them expires now."""
    times = {}
    for place in sorted(places):
        row = connection.execute(_expiring, {**_named(place), "now": now}).one_or_none()
        if row is not None:
            times[place] = now + timedelta(seconds=row.ttl_seconds)
            connection.execute(_refresh, {**_named(place), "later": times[place]})
    return times


def search_items(
    connection: Connection,
    prefix: Namespace,
    conditions: Sequence[Condition],
    now: datetime,
    *,
    limit: int,
    offset: int = 0,
    after: Mark | None = None,
) -> list[Item]:
    """Return items of the namespaces that begin with `prefix`, last updated first, behind `after`
    or from the beginning."""
    query = matching(select(store_items), prefix, conditions, now).order_by(
        *(column.desc() for column in _order)
    )
    if after is not None:
        place = bindparam("after_time", after.update_time, store_items.c.update_time.type)
        query = query.where(tuple_(*_order) < tuple_(place, joined(after.namespace), after.key))
    return [item_of(row) for row in connection.execute(query.limit(limit).offset(offset))]


def matching(
    query: Select[Any], prefix: Namespace, conditions: Sequence[Condition], now: datetime
) -> Select[Any]:
    """Return a query of the items that are there below `prefix` and meet the conditions."""
    return query.where(
        below(prefix),
        is_there(now),
        *(
            compare(store_items.c.value, path, operator, operand)
            for path, operator, operand in conditions
        ),
    )


def delete_expired(connection: Connection, *, before: datetime, limit: int) -> int:
    """Delete up to `limit` items that have expired; return how many there were."""
    return len(connection.execute(_delete_expired, {"before": before, "limit": limit}).all())


def joined(namespace: Namespace) -> str:
    """Return a namespace as it is stored."""
    return SEPARATOR.join(namespace)


def split(name: str) -> Namespace:
    """Return the namespace that is stored as `name`."""
    return tuple(name.split(SEPARATOR))


def below(prefix: Namespace) -> ColumnElement[bool]:
    """Return whether an item's namespace begins with the labels of `prefix`."""
    if not prefix:
        return true()
    # Whole labels only, and by the primary key: not a LIKE that every label would have to be
    # escaped for.
    name, column = joined(prefix), store_items.c.namespace
    return or_(column == name, and_(column > name + SEPARATOR, column < name + AFTER_SEPARATOR))


def is_there(now: datetime | None = None) -> ColumnElement[bool]:
    """Return whether an item has not expired, at `now` or at the parameter of that name."""
    column = store_items.c.expire_time
    return or_(column.is_(None), column > bindparam("now", now, column.type, required=now is None))


def item_of(row: Any, *, score: float | None = None) -> Item:
    """Return a row as an item."""
    return Item(
        namespace=split(row.namespace),
        key=row.key,
        value=row.value,
        create_time=row.create_time,
        update_time=row.update_time,
        expire_time=row.expire_time,
        score=score,
    )


def _named(place: ItemPlace) -> dict[str, str]:
    return {"name": joined(place.namespace), "at": place.key}


def _upsert(dialect: Any) -> Any:
    # One statement: of two servers that put an item for the first time, the second one updates.
    statement = dialect.insert(store_items)
    new = statement.excluded
    gone = store_items.c.expire_time <= new.update_time
    return statement.on_conflict_do_update(
        index_elements=[store_items.c.namespace, store_items.c.key],
        set_={
            "value": new.value,
            "create_time": case((gone, new.create_time), else_=store_items.c.create_time),
            "update_time": new.update_time,
            "ttl_seconds": new.ttl_seconds,
            "expire_time": new.expire_time,
        },
    ).returning(store_items)


_order = (store_items.c.update_time, store_items.c.namespace, store_items.c.key)
_here = (store_items.c.namespace == bindparam("name"), store_items.c.key == bindparam("at"))

_get = select(store_items).where(*_here, is_there())
_put = {"sqlite": _upsert(sqlite), "postgresql": _upsert(postgresql)}
_delete = delete(store_items).where(*_here)
_expiring = (
    select(store_items.c.ttl_seconds)
    .where(*_here, is_there(), store_items.c.ttl_seconds.is_not(None))
    .with_for_update()
)
_refresh = (
    update(store_items)
    .where(*_here)
    .values(expire_time=bindparam("later", type_=store_items.c.expire_time.type))
)

# The candidates come from a CTE: a planner may run a LIMIT subquery more than once.
_expired = (
    select(store_items.c.namespace, store_items.c.key)
    .where(store_items.c.expire_time <= bindparam("before", type_=store_items.c.expire_time.type))
    .order_by(store_items.c.expire_time)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
    .cte("expired")
)
_delete_expired = (
    delete(store_items)
    .where(
        tuple_(store_items.c.namespace, store_items.c.key).in_(
            select(_expired.c.namespace, _expired.c.key)
        )
    )
    # SQLite's driver counts no rows of a statement that begins with a CTE.
    .returning(store_items.c.key)
)
