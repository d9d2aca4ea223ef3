"""Reflection over a real socket, as the usual tools ask for it."""

import asyncio
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2
from tests.server.rpc.conftest import Served

from runwire.server.rpc.reflection import ALPHA, STABLE
from runwire.server.rpc.server import SERVICES

VERSIONS = [ALPHA, STABLE]
Request = reflection_pb2.ServerReflectionRequest
LISTED = {*SERVICES, ALPHA, STABLE, "grpc.health.v1.Health"}


async def ask(channel: grpc.aio.Channel, version: str, **question: Any) -> Any:
    call = channel.stream_stream(
        f"/{version}/ServerReflectionInfo",
        request_serializer=Request.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )()
    await call.write(Request(**question))
    await call.done_writing()
    return await call.read()


def files(answer: Any) -> dict[str, FileDescriptorProto]:
    parsed = map(
        FileDescriptorProto.FromString, answer.file_descriptor_response.file_descriptor_proto
    )
    return {file.name: file for file in parsed}


@pytest.mark.parametrize("version", VERSIONS)
async def test_both_versions_list_all_services(served: Served, version: str) -> None:
    answer = await ask(served.channel, version, list_services="")
    assert {service.name for service in answer.list_services_response.service} == LISTED


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("symbol", sorted(LISTED))
async def test_every_listed_service_can_be_described(
    served: Served, version: str, symbol: str
) -> None:
    found = files(await ask(served.channel, version, file_containing_symbol=symbol))
    defined = {
        f"{file.package}.{service.name}" for file in found.values() for service in file.service
    }
    assert symbol in defined
    imports = {name for file in found.values() for name in file.dependency}
    assert imports <= set(found), "a description is complete"


@pytest.mark.parametrize(
    "symbol",
    [
        "runwire.v1.RunService",
        "runwire.v1.RunService.CreateRun",
        "runwire.v1.RunSpec",
        "runwire.v1.RunSpec.input",
        "runwire.v1.Command.ResumeByInterruptEntry",
        "runwire.v1.RunState",
        "runwire.v1.RUN_STATE_PENDING",
    ],
)
async def test_descriptions_come_with_their_comments(served: Served, symbol: str) -> None:
    found = files(await ask(served.channel, STABLE, file_containing_symbol=symbol))
    ours = [file for name, file in found.items() if name.startswith("runwire/")]
    assert ours
    for file in ours:
        assert any(location.leading_comments for location in file.source_code_info.location)


@pytest.mark.parametrize("name", ["runwire/v1/core.proto", "google/protobuf/struct.proto"])
async def test_files_are_found_by_name(served: Served, name: str) -> None:
    assert name in files(await ask(served.channel, STABLE, file_by_filename=name))


@pytest.mark.parametrize(
    "question", [{"file_by_filename": "nope.proto"}, {"file_containing_symbol": "runwire.v1.No"}]
)
async def test_what_is_not_there_is_not_found(served: Served, question: dict[str, str]) -> None:
    answer = await ask(served.channel, STABLE, **question)
    assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


async def buf_curl(served: Served, *arguments: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    program = shutil.which("buf", path=path)
    assert program, "buf is not installed: set up the development environment first"
    process = await asyncio.create_subprocess_exec(
        *(program, "curl", "--protocol=grpc", "--http2-prior-knowledge", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


@pytest.mark.parametrize("version", ["grpc-v1", "grpc-v1alpha"])
async def test_buf_curl_lists_and_calls(served: Served, version: str) -> None:
    base, reflect = f"http://{served.app.address}", f"--reflect-protocol={version}"
    listed = await buf_curl(served, reflect, "--list-services", base)
    assert set(SERVICES) <= set(listed.split())
    answer = await buf_curl(
        served,
        reflect,
        "--header=runwire-payload: value",
        '--data={"spec": {"assistant_id": "echo", "input": {"value": {"text": "hi"}}}}',
        f"{base}/runwire.v1.RunService/RunWait",
    )
    assert '"answer":"hi"' in answer.replace(" ", "")
