"""The service of servers, over a real socket."""

from dataclasses import replace
from datetime import timedelta
from importlib.metadata import version

import pytest
from tests.server.rpc.conftest import Served

from runwire.server.core import overview
from runwire.server.model.ids import new_id
from runwire.server.model.servers import Server
from runwire.server.storage import servers
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Connection
from runwire.v1 import runs_pb2
from runwire.v1 import server_pb2 as wire


async def info(served: Served) -> wire.GetServerInfoResponse:
    return await served.servers.GetServerInfo(wire.GetServerInfoRequest())


async def stats(served: Served) -> wire.GetQueueStatsResponse:
    return await served.servers.GetQueueStats(wire.GetQueueStatsRequest())


async def add_server(served: Served, lease: timedelta, **changes: object) -> Server:
    """Store another server, whose lease ends `lease` from now."""

    def add(connection: Connection) -> Server:
        now = current_time(connection)
        server = Server(
            server_id=new_id(),
            name="elsewhere",
            version="9.9",
            max_concurrent_runs=8,
            executing=3,
            start_time=now,
            update_time=now,
            lease_until=now + lease,
        )
        server = replace(server, **changes)  # type: ignore[arg-type]  # what a server has
        servers.add_server(connection, server)
        return server

    return await served.app.database.write(add)


async def test_a_server_tells_what_it_is_and_allows(served: Served) -> None:
    answer = await info(served)

    assert answer.server.server_id == served.app.runner.server_id
    assert answer.server.version == version("runwire")
    assert (answer.server.takes_calls, answer.server.executes_runs) == (True, True)
    assert list(answer.server.graph_ids) == served.app.registry.graph_ids
    assert answer.server.max_concurrent_runs == served.app.settings.max_concurrent_runs
    assert list(answer.servers) == [answer.server]
    assert list(answer.graph_ids) == served.app.registry.graph_ids
    assert answer.limits.max_request_bytes == 32 * 1024 * 1024
    assert answer.limits.max_attempts == 3
    assert answer.limits.heartbeat_interval.ToTimedelta() == timedelta(seconds=0.1)
    unlimited = ["max_runs_per_assistant", "max_runs_per_principal"]
    known = [field.name for field in answer.limits.DESCRIPTOR.fields]
    assert [field.name for field, _ in answer.limits.ListFields()] + unlimited == known


async def test_the_servers_that_are_alive_are_told_and_no_others(served: Served) -> None:
    before = [server.server_id for server in (await info(served)).servers]
    alive = await add_server(served, timedelta(minutes=1), address="host:1", executes_runs=False)
    await add_server(served, timedelta(minutes=-1))

    told = [each for each in (await info(served)).servers if each.server_id not in before]
    assert [each.server_id for each in told] == [alive.server_id]
    assert (told[0].host_name, told[0].version, told[0].address) == ("elsewhere", "9.9", "host:1")
    assert (told[0].takes_calls, told[0].executes_runs) == (True, False)
    assert (told[0].max_concurrent_runs, told[0].executing_runs) == (8, 3)
    assert told[0].start_time.ToDatetime() < told[0].lease_expire_time.ToDatetime()


async def test_what_waits_and_executes_is_counted(served: Served) -> None:
    gate = {"assistant_id": "slow_async", "input": {"json": '{"seconds": 30}'}}
    thread = {"thread_id": new_id(), "if_thread_missing": "IF_THREAD_MISSING_CREATE"}
    for spec in (gate, {**gate, **thread}, {**gate, **thread}):
        await served.runs.CreateRun(runs_pb2.CreateRunRequest(spec=spec))
    late = {"assistant_id": "echo", "start_delay": {"seconds": 60}}
    await served.runs.CreateRun(runs_pb2.CreateRunRequest(spec=late))

    answer = await stats(served)
    assert (answer.pending_runs, answer.delayed_runs) == (1, 1)
    assert (answer.running_runs, answer.cancelling_runs) == (2, 0)
    assert answer.claimable_runs == 0, "what is pending waits for its thread"
    assert answer.HasField("oldest_pending_age")
    assert not answer.HasField("oldest_claimable_age")
    assert [(graph.graph_id, graph.running_runs) for graph in answer.graphs] == [
        ("echo", 0),
        ("slow_async", 2),
    ]
    assert not answer.capped


async def test_free_slots_are_those_of_servers_that_go_on(served: Served) -> None:
    before = (await stats(served)).free_slots
    await add_server(served, timedelta(minutes=1))
    await add_server(served, timedelta(minutes=1), executing=9)
    await add_server(served, timedelta(minutes=1), draining=True)
    await add_server(served, timedelta(minutes=-1))

    assert (await stats(served)).free_slots == before + 5


async def test_more_than_is_counted_is_said(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "MAX_COUNTED", 1)
    late = {"assistant_id": "echo", "start_delay": {"seconds": 60}}
    for _ in range(2):
        await served.runs.CreateRun(runs_pb2.CreateRunRequest(spec=late))

    answer = await stats(served)
    assert (answer.delayed_runs, answer.capped) == (1, True)
