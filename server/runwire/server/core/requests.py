"""Idempotency: a create that is repeated under its request id gives the same answer."""

from datetime import datetime

from runwire.server.model.errors import RequestIdReused
from runwire.server.model.requests import RequestKey
from runwire.server.storage import locks, requests
from runwire.server.storage.database import Connection


def replay(connection: Connection, request: RequestKey, *, since: datetime) -> list[str] | None:
    """Return the ids that this request created after `since`, or None if it is new; then nobody
    else treats it before this transaction ends.

    Raises `RequestIdReused` when the id came with another body.
    """
    locks.hold_name(connection, "request", request.method, request.principal, request.request_id)
    known = requests.find_request(connection, request, since=since)
    if known is None:
        return None
    if known.body_hash != request.body_hash:
        raise RequestIdReused(request.request_id)
    return known.answer


def remember(connection: Connection, request: RequestKey, answer: list[str], now: datetime) -> None:
    """Store the ids that a request created."""
    requests.add_request(connection, request, answer, now)
