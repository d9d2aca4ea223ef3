"""Queries on servers: who there is, and until when each may act."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    bindparam,
    delete,
    exists,
    insert,
    not_,
    or_,
    select,
    update,
)

from runwire.server.model.servers import Server
from runwire.server.storage import locks
from runwire.server.storage.tables import runs, servers

_now = bindparam("now", type_=servers.c.start_time.type)
_this = servers.c.server_id == bindparam("this_server")

LIVE = or_(servers.c.lease_until.is_(None), servers.c.lease_until > _now)
"""The condition of a server that may act; `now` is the database's time."""


def add_server(connection: Connection, server: Server) -> None:
    """Store a server that has just started."""
    connection.execute(_insert, asdict(server))


_insert = insert(servers)


def renew(connection: Connection, server: Server) -> bool | None:
    """Store what a server says of itself at its `update_time`, with its new lease. Return whether
    it had held the former one until then; None when there is no such server any more."""
    values = {
        "this_server": server.server_id,
        "new_address": server.address,
        "new_executing": server.executing,
        "is_draining": server.draining,
        "now": server.update_time,
        "new_lease": server.lease_until,
    }
    if connection.execute(_renew_held, values).rowcount == 1:
        return True
    return False if connection.execute(_renew, values).rowcount == 1 else None


_renew = (
    update(servers)
    .where(_this)
    .values(
        address=bindparam("new_address"),
        executing=bindparam("new_executing"),
        draining=bindparam("is_draining"),
        update_time=_now,
        lease_until=bindparam("new_lease", type_=servers.c.lease_until.type),
    )
)
_renew_held = _renew.where(LIVE)


def lock_dead(connection: Connection, server_id: str, now: datetime) -> Server | None:
    """Return a server that holds no lease at `now`, and that comes to nothing else before this
    transaction ends; None when it does, or when somebody else has locked it."""
    values = {"this_server": server_id, "now": now}
    row = connection.execute(_lock_dead, values).one_or_none()
    return None if row is None else _server(row)


_lock_dead = select(servers).where(_this, not_(LIVE)).with_for_update(skip_locked=True)


def may_act(connection: Connection, server_id: str, now: datetime) -> bool:
    """Return whether a server holds its lease at `now`. On SQLite the database is its alone."""
    if not locks.needed(connection):
        return True
    return bool(connection.scalar(_may_act, {"this_server": server_id, "now": now}))


_may_act = select(exists().where(_this, LIVE))


def end_lease(connection: Connection, server_id: str, now: datetime) -> None:
    """Let others take what a server has, at once: it stops."""
    connection.execute(_end_lease, {"this_server": server_id, "now": now})


_end_lease = update(servers).where(_this).values(draining=True, update_time=_now, lease_until=_now)


def get_server(connection: Connection, server_id: str) -> Server | None:
    """Return a server, or None."""
    row = connection.execute(_get, {"this_server": server_id}).one_or_none()
    return None if row is None else _server(row)


_get = select(servers).where(_this)


def list_servers(connection: Connection) -> list[Server]:
    """Return every server that is known, those too that are gone, in the order of their starts."""
    return [_server(row) for row in connection.execute(_list)]


_list = select(servers).order_by(servers.c.start_time, servers.c.server_id)


def forget_servers(connection: Connection, *, before: datetime) -> int:
    """Delete servers whose lease ended before `before` and that no run belongs to any more; return
    how many there were."""
    return connection.execute(_forget, {"before": before}).rowcount


_forget = delete(servers).where(
    servers.c.lease_until < bindparam("before", type_=servers.c.lease_until.type),
    ~exists().where(runs.c.owner == servers.c.server_id, runs.c.owner.is_not(None)),
)


def forget_others(connection: Connection, server_id: str) -> None:
    """Delete every server but one: the database is its alone."""
    connection.execute(_forget_others, {"this_server": server_id})


_forget_others = delete(servers).where(servers.c.server_id != bindparam("this_server"))


def _server(row: Row[Any]) -> Server:
    return Server(**{**row._mapping, "graph_ids": tuple(row.graph_ids)})
