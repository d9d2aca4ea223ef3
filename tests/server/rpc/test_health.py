"""Health as probes and balancers ask for it."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.server.rpc.conftest import Served
from tests.support.engine import PATIENCE_SECONDS
from tests.support.serving import serve_in_process
from tests.support.statuses import failure_of

from runwire.server.rpc.health import LIVENESS, HealthServicer
from runwire.server.rpc.server import SERVICES

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


def stub_of(channel: grpc.aio.Channel) -> Any:
    return health_pb2_grpc.HealthStub(channel)


def request(service: str = "") -> health_pb2.HealthCheckRequest:
    return health_pb2.HealthCheckRequest(service=service)


async def check(served: Served, service: str) -> int:
    return int((await stub_of(served.channel).Check(request(service))).status)


@pytest.mark.parametrize(
    "service",
    [
        "",
        LIVENESS,
        "runwire.v1.AssistantService",
        "runwire.v1.CronService",
        "runwire.v1.RunService",
        "runwire.v1.ServerService",
        "runwire.v1.ThreadService",
    ],
)
async def test_a_server_that_is_ready_serves(served: Served, service: str) -> None:
    assert await check(served, service) == SERVING


async def test_an_unknown_service_is_not_found(served: Served) -> None:
    failure = await failure_of(stub_of(served.channel).Check(request("nope")))
    assert failure.code == "NOT_FOUND"


async def test_only_liveness_stays_while_the_server_takes_no_calls(served: Served) -> None:
    served.app.rpc_server.set_serving(False)
    assert {await check(served, service) for service in ("", *SERVICES)} == {NOT_SERVING}
    assert await check(served, LIVENESS) == SERVING
    served.app.rpc_server.set_live(False)
    assert await check(served, LIVENESS) == NOT_SERVING


async def test_a_watch_tells_each_change(served: Served) -> None:
    watch = stub_of(served.channel).Watch(request())
    seen = [(await watch.read()).status]
    for serving in (False, True):
        served.app.rpc_server.set_serving(serving)
        seen.append((await watch.read()).status)
    assert seen == [SERVING, NOT_SERVING, SERVING]
    unknown = stub_of(served.channel).Watch(request("nope"))
    assert (await unknown.read()).status == UNKNOWN
    watch.cancel()
    unknown.cancel()


async def test_watches_do_not_hold_up_the_end(tmp_path: Path) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        async with serve_in_process(tmp_path, drain_grace="10m") as app:
            channel = grpc.aio.insecure_channel(app.address)
            watches = [stub_of(channel).Watch(request(name)) for name in ("", "nope", LIVENESS)]
            for watch in watches:
                await watch.read()
    assert (await watches[0].read()).status == NOT_SERVING
    for watch in watches:
        assert await watch.read() is grpc.aio.EOF
    await channel.close()


async def test_nothing_serves_before_it_is_said_to_or_after_the_end() -> None:
    health = HealthServicer(SERVICES)
    context: Any = None
    assert (await health.Check(request(), context)).status == NOT_SERVING
    assert (await health.Check(request(LIVENESS), context)).status == SERVING
    health.end_watches()
    health.set_serving(True)
    assert (await health.Check(request(), context)).status == NOT_SERVING


@pytest.mark.skipif(
    not hasattr(health_pb2, "HealthListResponse"), reason="this grpcio-health-checking is too old"
)
async def test_all_services_can_be_listed(served: Served) -> None:
    listed = await stub_of(served.channel).List(vars(health_pb2)["HealthListRequest"]())
    assert set(listed.statuses) == {"", LIVENESS, *SERVICES}
