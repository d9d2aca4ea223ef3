"""A whole server on a real socket, and its stubs."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from tests.support.serving import serve_in_process

from runwire.server.app import App
from runwire.v1 import (
    assistants_pb2_grpc,
    crons_pb2_grpc,
    runs_pb2_grpc,
    server_pb2_grpc,
    threads_pb2_grpc,
)


@dataclass
class Served:
    """A server and a caller of it."""

    app: App
    channel: grpc.aio.Channel
    assistants: assistants_pb2_grpc.AssistantServiceStub
    threads: threads_pb2_grpc.ThreadServiceStub
    runs: runs_pb2_grpc.RunServiceStub
    crons: crons_pb2_grpc.CronServiceStub
    servers: server_pb2_grpc.ServerServiceStub


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """A server with the support graphs, quick to send heartbeats."""
    async with (
        serve_in_process(tmp_path, heartbeat_interval="0.1s", webhook_unsigned=True) as app,
        grpc.aio.insecure_channel(app.address) as channel,
    ):
        yield Served(
            app,
            channel,
            assistants_pb2_grpc.AssistantServiceStub(channel),
            threads_pb2_grpc.ThreadServiceStub(channel),
            runs_pb2_grpc.RunServiceStub(channel),
            crons_pb2_grpc.CronServiceStub(channel),
            server_pb2_grpc.ServerServiceStub(channel),
        )
