"""Reading a list a page at a time: by key, so that a page costs the same wherever it begins."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Row, Select, literal, tuple_

from runwire.server.model.requests import Order
from runwire.server.storage.tables import UtcTime

PAGE_BYTES = 3 * 1024 * 1024
"""Before so many bytes a page ends whose rows say their size: its answer is to fit into one
message."""


def read_page(
    connection: Connection,
    query: Select[Any],
    key: tuple[ColumnElement[Any], ...],
    order: Order,
    limit: int,
    cursor: str | None,
    size: Callable[[Row[Any]], int] = lambda row: 0,
) -> tuple[list[Row[Any]], str | None]:
    """Return up to `limit` rows of `query` and the cursor of the page that follows, None at the
    end. `key` is what the list is sorted by: a column of the query, without gaps, and the id that
    breaks its ties, or the id alone. `size` says how much a row counts against `PAGE_BYTES`."""
    columns = [column.desc() if order.descending else column.asc() for column in key]
    query = query.order_by(*columns).limit(limit + 1)
    if cursor is not None:
        place, mark = tuple_(*key), tuple_(*_mark(key, cursor))
        query = query.where(place < mark if order.descending else place > mark)
    rows = list(connection.execute(query))
    shown = rows[: _fitting(rows[:limit], size)]
    return shown, _cursor(key, shown[-1]) if len(shown) < len(rows) else None


def _fitting(rows: list[Row[Any]], size: Callable[[Row[Any]], int]) -> int:
    """Return how many of the rows have room on a page: one at least, if there are any."""
    total = 0
    for index, row in enumerate(rows):
        total += size(row)
        if total > PAGE_BYTES and index:
            return index
    return len(rows)


def _cursor(key: tuple[ColumnElement[Any], ...], row: Row[Any]) -> str:
    values = [row._mapping[column] for column in key]
    return orjson.dumps(
        [value.isoformat() if isinstance(value, datetime) else value for value in values]
    ).decode()


def _mark(key: tuple[ColumnElement[Any], ...], cursor: str) -> list[Any]:
    values = orjson.loads(cursor)
    return [
        literal(
            datetime.fromisoformat(value) if isinstance(column.type, UtcTime) else value,
            column.type,
        )
        for column, value in zip(key, values, strict=True)
    ]
