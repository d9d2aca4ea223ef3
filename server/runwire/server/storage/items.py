"""Queries on the store's items: what graphs keep across threads."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    delete,
    insert,
    or_,
    select,
    true,
    update,
)

from runwire.server.storage.json_compare import compare
from runwire.server.storage.tables import store_items

Namespace = tuple[str, ...]

MAX_NAME_BYTES = 2_000
"""What a namespace, its labels joined by one byte, and a key take up at most: PostgreSQL has room
for 2704 in a row of an index."""

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")

_SEPARATOR, _AFTER_SEPARATOR = "\x1f", "\x20"


class Item(NamedTuple):
    """What is stored under a key of a namespace."""

    namespace: Namespace
    key: str
    value: dict[str, Any]
    create_time: datetime
    update_time: datetime


class Condition(NamedTuple):
    """An entry of an item's value has to compare with `operand`, which is JSON text."""

    key: str
    operator: str
    operand: str


def get_item(connection: Connection, namespace: Namespace, key: str) -> Item | None:
    """Return an item, or None."""
    row = connection.execute(_get, {"name": joined(namespace), "at": key}).one_or_none()
    return None if row is None else _item(row)


def put_item(
    connection: Connection, namespace: Namespace, key: str, value: dict[str, Any], now: datetime
) -> None:
    """Store an item; one that is there gets the new value."""
    values = {"name": joined(namespace), "at": key, "new_value": value, "now": now}
    if not connection.execute(_update, values).rowcount:
        connection.execute(_insert, values)


def delete_item(connection: Connection, namespace: Namespace, key: str) -> None:
    """Delete an item, if it is there."""
    connection.execute(_delete, {"name": joined(namespace), "at": key})


def search_items(
    connection: Connection,
    prefix: Namespace,
    conditions: Sequence[Condition],
    *,
    limit: int,
    offset: int,
) -> list[Item]:
    """Return items of the namespaces that begin with `prefix`, last updated first."""
    query = select(store_items).where(
        _below(prefix),
        *(
            compare(store_items.c.value, key, operator, operand)
            for key, operator, operand in conditions
        ),
    )
    query = query.order_by(
        store_items.c.update_time.desc(), store_items.c.namespace, store_items.c.key
    )
    return [_item(row) for row in connection.execute(query.limit(limit).offset(offset))]


def list_namespaces(connection: Connection, prefix: Namespace) -> Iterable[Namespace]:
    """Return the namespaces that have items and begin with `prefix`, in no order."""
    query = select(store_items.c.namespace).where(_below(prefix)).distinct()
    return [tuple(name.split(_SEPARATOR)) for name in connection.scalars(query)]


def joined(namespace: Namespace) -> str:
    """Return a namespace as it is stored. Raises `ValueError` for a label that cannot be."""
    for label in namespace:
        if not label or _SEPARATOR in label or not _is_storable(label):
            raise ValueError(f"{label!r} of {namespace} is no label of a namespace")
    return _SEPARATOR.join(namespace)


def check_place(namespace: Namespace, key: str) -> None:
    """Raise `ValueError` for a namespace and a key that no item can have, on any database."""
    name = joined(namespace)
    if not namespace:
        raise ValueError("a namespace has at least one label")
    if not _is_storable(key):
        raise ValueError(f"{key!r} is no key: it has characters that are no text")
    if (size := len(name.encode()) + len(key.encode())) > MAX_NAME_BYTES:
        raise ValueError(
            f"namespace and key are {size} bytes together, at most {MAX_NAME_BYTES} are taken"
        )


def _is_storable(text: str) -> bool:
    """Return whether every database takes a text: no NUL, and no half character."""
    return _UNSTORABLE.search(text) is None


def _below(prefix: Namespace) -> ColumnElement[bool]:
    if not prefix:
        return true()
    # Whole labels only, and by the primary key: not a LIKE that every label would have to be
    # escaped for.
    name, column = joined(prefix), store_items.c.namespace
    return or_(column == name, and_(column > name + _SEPARATOR, column < name + _AFTER_SEPARATOR))


def _item(row: Any) -> Item:
    return Item(
        tuple(row.namespace.split(_SEPARATOR)),
        row.key,
        row.value,
        row.create_time,
        row.update_time,
    )


_here = (store_items.c.namespace == bindparam("name"), store_items.c.key == bindparam("at"))
_now = bindparam("now", type_=store_items.c.create_time.type)
_value = bindparam("new_value", type_=store_items.c.value.type)

_get = select(store_items).where(*_here)
_update = update(store_items).where(*_here).values(value=_value, update_time=_now)
_insert = insert(store_items).values(
    namespace=bindparam("name"),
    key=bindparam("at"),
    value=_value,
    create_time=_now,
    update_time=_now,
)
_delete = delete(store_items).where(*_here)
