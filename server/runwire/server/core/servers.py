"""Servers' leases: transactions on an open connection.

A server's runs are its own as long as it holds its lease. Only the database's clock says whether
it does.
"""

from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

from runwire.server.model.faults import fault
from runwire.server.model.servers import Server
from runwire.server.storage import ownership, servers
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Connection


class Beat(NamedTuple):
    """What a server is told when it renews its lease: whether it had held the former one until
    then, and which of its runs are being cancelled."""

    held: bool
    cancelling: list[str]


def enter(connection: Connection, server: Server, lease: timedelta | None) -> None:
    """Make a server known that has just started. Without a `lease` the database is its alone."""
    if lease is None:
        servers.forget_others(connection, server.server_id)
    beating = _beating(server, lease, connection)
    servers.add_server(connection, replace(beating, start_time=beating.update_time))


def renew_lease(connection: Connection, server: Server, lease: timedelta | None) -> Beat:
    """Store what a server says of itself, and renew its lease."""
    beating = _beating(server, lease, connection)
    held = servers.renew(connection, beating)
    if held is None:
        servers.add_server(connection, replace(beating, start_time=beating.update_time))
    cancelling = ownership.cancelling_of(connection, server.server_id)
    fault("renew.before_commit")
    return Beat(bool(held), cancelling)


def _beating(server: Server, lease: timedelta | None, connection: Connection) -> Server:
    now = current_time(connection)
    return replace(server, update_time=now, lease_until=None if lease is None else now + lease)


def leave(connection: Connection, server_id: str) -> None:
    """Let others take what a server has, at once: it stops."""
    servers.end_lease(connection, server_id, current_time(connection))
