"""Who there is, and until when each may act."""

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection
from tests.support.records import a_run, a_server, add_run, at

from runwire.server.model.ids import new_id
from runwire.server.model.runs import RunState
from runwire.server.model.servers import Server
from runwire.server.storage import servers


def add_server(connection: Connection, seconds: float = 0, **changes: Any) -> Server:
    server = a_server(seconds, **changes)
    servers.add_server(connection, server)
    return server


def beat(connection: Connection, server: Server, seconds: float, **changes: Any) -> bool | None:
    later = replace(server, update_time=at(seconds), lease_until=at(seconds + 10), **changes)
    return servers.renew(connection, later)


def test_a_server_comes_back_as_it_was_stored(connection: Connection) -> None:
    later = add_server(connection, 5, address="127.0.0.1:1", lease_until=None)
    earlier = add_server(connection, takes_calls=False, executes_runs=False)
    assert servers.list_servers(connection) == [earlier, later]
    assert servers.get_server(connection, later.server_id) == later
    assert servers.get_server(connection, new_id()) is None


def test_a_beat_renews_the_lease_and_says_what_has_changed(connection: Connection) -> None:
    server = add_server(connection)
    other = add_server(connection)
    assert beat(connection, server, 4, executing=3, address="127.0.0.1:1", draining=True)
    assert servers.get_server(connection, server.server_id) == replace(
        server,
        executing=3,
        address="127.0.0.1:1",
        draining=True,
        update_time=at(4),
        lease_until=at(14),
    )
    assert servers.get_server(connection, other.server_id) == other


def test_a_beat_that_comes_too_late_is_told_so(connection: Connection) -> None:
    server = add_server(connection)
    assert beat(connection, server, 9.9) is True
    assert beat(connection, server, 19.9) is False
    assert beat(connection, server, 20) is True


def test_a_beat_of_a_server_that_was_forgotten_stores_nothing(connection: Connection) -> None:
    server = add_server(connection)
    servers.forget_others(connection, new_id())
    assert beat(connection, server, 1) is None
    assert servers.list_servers(connection) == []


def test_a_server_without_a_lease_is_always_alive(connection: Connection) -> None:
    server = add_server(connection, lease_until=None)
    assert server.is_alive(at(10**8))
    assert beat(connection, server, 10**6) is True


def test_a_lease_can_be_ended_at_once(connection: Connection) -> None:
    server = add_server(connection)
    assert server.is_alive(at(9.9))
    servers.end_lease(connection, server.server_id, at(3))
    ended = servers.get_server(connection, server.server_id)
    assert ended is not None
    assert (ended.draining, ended.is_alive(at(3))) == (True, False)


def test_a_server_is_forgotten_when_it_is_long_gone_and_owns_nothing(
    connection: Connection,
) -> None:
    gone, owning, alive = (add_server(connection) for _ in range(3))
    alone = add_server(connection, lease_until=None)
    beat(connection, alive, 100)
    add_run(connection, a_run(state=RunState.RUNNING, attempt=1, owner=owning.server_id))
    servers.forget_servers(connection, before=at(10))
    assert gone in servers.list_servers(connection)
    servers.forget_servers(connection, before=at(11))
    left = {server.server_id for server in servers.list_servers(connection)}
    assert left == {owning.server_id, alive.server_id, alone.server_id}


def test_only_a_server_that_holds_no_lease_is_taken_for_dead(connection: Connection) -> None:
    server = add_server(connection)
    alone = add_server(connection, lease_until=None)
    assert servers.lock_dead(connection, server.server_id, at(9.9)) is None
    assert servers.lock_dead(connection, server.server_id, at(10)) == server
    assert servers.lock_dead(connection, alone.server_id, at(10**8)) is None
    assert servers.lock_dead(connection, new_id(), at(10)) is None
