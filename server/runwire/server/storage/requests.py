"""Queries on request ids: what makes a repeated create give the same answer."""

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, insert, select, tuple_

from runwire.server.model.requests import RequestKey
from runwire.server.storage.tables import requests


class Answered(NamedTuple):
    """A request that was answered: the hash of its body, and the ids it created."""

    body_hash: bytes
    answer: list[str]


def find_request(
    connection: Connection, request: RequestKey, *, since: datetime
) -> Answered | None:
    """Return what the request was answered after `since`, or None."""
    values = {**_key(request), "since": since}
    row = connection.execute(_find, values).one_or_none()
    return None if row is None else Answered(row.body_hash, row.answer)


def _key(request: RequestKey) -> dict[str, str]:
    return {
        "method": request.method,
        "principal": request.principal,
        "request_id": request.request_id,
    }


_this = (
    requests.c.method == bindparam("method"),
    requests.c.principal == bindparam("principal"),
    requests.c.request_id == bindparam("request_id"),
)
_find = select(requests).where(
    *_this, requests.c.create_time > bindparam("since", type_=requests.c.create_time.type)
)


def add_request(
    connection: Connection, request: RequestKey, answer: list[str], now: datetime
) -> None:
    """Store a request's answer, in place of one that is too old to count."""
    connection.execute(_forget, _key(request))
    row: dict[str, Any] = {
        **_key(request),
        "body_hash": request.body_hash,
        "answer": answer,
        "create_time": now,
    }
    connection.execute(_insert, row)


_forget = delete(requests).where(*_this)
_insert = insert(requests)


def delete_expired(connection: Connection, *, before: datetime, limit: int) -> int:
    """Delete up to `limit` answers that are older than `before`; return how many there were."""
    return len(connection.execute(_delete_expired, {"before": before, "limit": limit}).all())


# The candidates come from a CTE: a planner may run a LIMIT subquery more than once.
_expired = (
    select(requests.c.method, requests.c.principal, requests.c.request_id)
    .where(
        requests.c.create_time < bindparam("before", type_=requests.c.create_time.type),
    )
    .order_by(requests.c.create_time)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
    .cte("expired")
)
_delete_expired = (
    delete(requests)
    .where(
        tuple_(requests.c.method, requests.c.principal, requests.c.request_id).in_(
            select(_expired.c.method, _expired.c.principal, _expired.c.request_id)
        )
    )
    # SQLite's driver counts no rows of a statement that begins with a CTE.
    .returning(requests.c.request_id)
)
