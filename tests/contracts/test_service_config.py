"""The service configurations that come with the contract: what they retry, and that channels take
them."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet, MethodDescriptorProto, MethodOptions

from runwire.v1 import runs_pb2, runs_pb2_grpc

GENERATED = Path(__file__).resolve().parents[2] / "generated/runwire/v1"
PLAIN = GENERATED / "service_config.json"
WITH_REQUEST_IDS = GENERATED / "service_config_request_ids.json"
READS = ("Get", "List", "Search", "Join", "Watch", "ThreadStream")
PROLONGING = {"StoreService.GetItem", "StoreService.SearchItems"}
"""What reads items lets their time to live begin anew."""
LEAVING = {"RunService.JoinRunStream"}
"""Who leaves such a stream may have its run cancelled."""
TRIES = 3


def methods() -> dict[str, MethodDescriptorProto]:
    image = (GENERATED / "descriptors.binpb").read_bytes()
    return {
        f"{service.name}.{method.name}": method
        for file in FileDescriptorSet.FromString(image).file
        for service in file.service
        for method in service.method
    }


def retried(config: Path) -> set[str]:
    entries = json.loads(config.read_text())["methodConfig"]
    names = [name for entry in entries for name in entry["name"]]
    return {f"{name['service'].rpartition('.')[2]}.{name['method']}" for name in names}


@pytest.mark.parametrize("name", sorted(methods()))
def test_what_only_reads_says_so_and_nothing_else_does(name: str) -> None:
    level = methods()[name].options.idempotency_level
    reads = name.partition(".")[2].startswith(READS)
    assert (level == MethodOptions.NO_SIDE_EFFECTS) == (reads and name not in PROLONGING | LEAVING)


@pytest.mark.parametrize("name", sorted(PROLONGING))
def test_reading_items_can_be_repeated_but_changes_when_they_go(name: str) -> None:
    assert methods()[name].options.idempotency_level == MethodOptions.IDEMPOTENT
    assert name in retried(PLAIN)


def test_what_makes_something_is_retried_only_for_those_who_give_it_a_request_id() -> None:
    creations = {name for name in methods() if "Create" in name} | {
        "RunService.RunStream",
        "RunService.RunWait",
    }
    assert not creations & retried(PLAIN)
    assert creations <= retried(WITH_REQUEST_IDS)
    assert retried(PLAIN) < retried(WITH_REQUEST_IDS)


def test_nothing_is_retried_that_a_second_time_would_do_more_or_find_undone() -> None:
    for name in retried(WITH_REQUEST_IDS):
        assert (
            "Delete" not in name or name == "StoreService.DeleteItem"
        )  # finds nothing, and is content
        assert "Cancel" not in name
    assert "ThreadService.UpdateThreadState" not in retried(WITH_REQUEST_IDS)


class Shaky(runs_pb2_grpc.RunServiceServicer):
    """Answers the third call: it is away when the first one comes, and stops with the second."""

    def __init__(self) -> None:
        self.calls = 0

    async def _answer(self, context: Any, answer: Any) -> Any:
        self.calls += 1
        if self.calls < TRIES:
            is_first = self.calls == 1
            code = grpc.StatusCode.UNAVAILABLE if is_first else grpc.StatusCode.CANCELLED
            await context.abort(code, "not yet")
        return answer

    async def GetRun(self, request: runs_pb2.GetRunRequest, context: Any) -> Any:
        return await self._answer(context, runs_pb2.GetRunResponse())

    async def CreateRun(self, request: runs_pb2.CreateRunRequest, context: Any) -> Any:
        return await self._answer(context, runs_pb2.CreateRunResponse())


def channel_options(config: Path) -> list[tuple[str, str]]:
    return [("grpc.service_config", config.read_text())]


@asynccontextmanager
async def shaky(config: Path) -> AsyncIterator[tuple[Shaky, Any]]:
    """Give a server that is unavailable at first, and a stub whose channel has a configuration."""
    server, servicer = grpc.aio.server(), Shaky()
    runs_pb2_grpc.add_RunServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    options = channel_options(config)
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options) as channel:
            yield servicer, runs_pb2_grpc.RunServiceStub(channel)
    finally:
        await server.stop(None)


@pytest.mark.parametrize("config", [PLAIN, WITH_REQUEST_IDS], ids=lambda path: path.stem)
async def test_a_channel_asks_again_by_itself(config: Path) -> None:
    async with shaky(config) as (servicer, stub):
        await stub.GetRun(runs_pb2.GetRunRequest())
        assert servicer.calls == TRIES


async def test_a_channel_creates_again_only_when_told_that_it_may() -> None:
    async with shaky(PLAIN) as (servicer, stub):
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.CreateRun(runs_pb2.CreateRunRequest())
        assert servicer.calls == 1
    async with shaky(WITH_REQUEST_IDS) as (servicer, stub):
        await stub.CreateRun(runs_pb2.CreateRunRequest())
        assert servicer.calls == TRIES
