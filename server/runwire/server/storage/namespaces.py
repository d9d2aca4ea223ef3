"""Queries on the namespaces that items of the store are in."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, select

from runwire.server.model.items import ANY_LABEL, Match, Namespace
from runwire.server.storage.items import (
    AFTER_SEPARATOR,
    SEPARATOR,
    below,
    is_there,
    joined,
    split,
)
from runwire.server.storage.tables import store_items

CHUNK = 500
"""Namespaces that are looked at in one step."""


def list_namespaces(
    connection: Connection,
    matches: Sequence[Match],
    now: datetime,
    *,
    max_depth: int | None,
    limit: int,
    after: Namespace | None = None,
) -> list[Namespace]:
    """Return the first namespaces, in the order of their labels, that have items and for which all
    of `matches` hold; cut to `max_depth` labels, each once. `after`: the last one of a former
    answer."""
    prefix = _common_prefix(matches)
    found: list[Namespace] = []
    begin = "" if after is None else _behind(after, whole=len(after) == max_depth)
    while len(found) < limit:
        query = select(store_items.c.namespace).distinct()
        query = query.where(below(prefix), is_there(now), store_items.c.namespace >= begin)
        names = connection.scalars(query.order_by(store_items.c.namespace).limit(CHUNK)).all()
        for namespace in map(split, names):
            shown = namespace[:max_depth]
            is_new = not found or found[-1] != shown
            if is_new and all(match.holds(namespace) for match in matches):
                found.append(shown)
        if len(names) < CHUNK:
            break
        last = split(names[-1])
        is_shown = len(last[:max_depth]) == max_depth and found[-1:] == [last[:max_depth]]
        begin = _behind(last[:max_depth] if is_shown else last, whole=is_shown)
    return found[:limit]


def _behind(namespace: Namespace, *, whole: bool) -> str:
    """Return what the names that follow are not less than: with those that begin like the
    namespace, or, if all of it is done with, without."""
    return joined(namespace) + (AFTER_SEPARATOR if whole else SEPARATOR)


def _common_prefix(matches: Sequence[Match]) -> Namespace:
    """Return labels that a namespace must begin with, for the database to look there only."""
    prefix: Namespace = ()
    for match in matches:
        if not match.at_end:
            path = match.path
            known = path[: path.index(ANY_LABEL)] if ANY_LABEL in path else path
            prefix = max(prefix, known, key=len)
    return prefix
