"""Who a call is from: taken from its metadata, if the server is told to, and from nowhere else."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.support.serving import serve_in_process
from tests.support.statuses import failure_of

from runwire.server.rpc.principals import PRINCIPAL_CHARACTERS
from runwire.v1 import runs_pb2 as wire
from runwire.v1 import runs_pb2_grpc, threads_pb2, threads_pb2_grpc

ECHO: dict[str, Any] = {"assistant_id": "echo", "input": {"json": "{}"}}
ADA = (("x-user", "ada"),)
BOB = (("x-user", "bob"),)


async def test_a_run_belongs_to_who_created_it_however_that_was(tmp_path: Path) -> None:
    async with (
        serve_in_process(tmp_path, principal_header="x-user") as app,
        grpc.aio.insecure_channel(app.address) as channel,
    ):
        runs = runs_pb2_grpc.RunServiceStub(channel)
        created = await runs.CreateRun(wire.CreateRunRequest(spec=ECHO), metadata=ADA)
        waited = await runs.RunWait(wire.RunWaitRequest(spec=ECHO), metadata=ADA)
        batch = await runs.BatchCreateRuns(wire.BatchCreateRunsRequest(specs=[ECHO]), metadata=ADA)
        stream = runs.RunStream(wire.RunStreamRequest(spec=ECHO), metadata=ADA)
        streamed = [event async for message in stream for event in message.events]
        found = [created.run, waited.run, batch.runs[0], streamed[0].run]
        assert [run.principal for run in found] == ["ada"] * 4
        nobody = await runs.RunWait(wire.RunWaitRequest(spec=ECHO))
        assert nobody.run.principal == ""
        again = await runs.GetRun(wire.GetRunRequest(run_id=created.run.run_id), metadata=BOB)
        assert again.run.principal == "ada"


async def test_a_request_id_counts_for_one_principal(tmp_path: Path) -> None:
    async with (
        serve_in_process(tmp_path, principal_header="x-user") as app,
        grpc.aio.insecure_channel(app.address) as channel,
    ):
        runs = runs_pb2_grpc.RunServiceStub(channel)
        threads = threads_pb2_grpc.ThreadServiceStub(channel)
        request = wire.CreateRunRequest(spec=ECHO, request_id="order-1")
        ada = await runs.CreateRun(request, metadata=ADA)
        bob = await runs.CreateRun(request, metadata=BOB)
        again = await runs.CreateRun(request, metadata=ADA)
        assert (bob.replayed, again.replayed) == (False, True)
        assert again.run.run_id == ada.run.run_id != bob.run.run_id
        thread = threads_pb2.CreateThreadRequest(request_id="order-1")
        made = [await threads.CreateThread(thread, metadata=who) for who in (ADA, BOB, ADA)]
        ids = [each.thread.thread_id for each in made]
        assert ids[0] == ids[2] != ids[1]


async def test_nobody_is_believed_unless_the_server_is_told_to(tmp_path: Path) -> None:
    async with (
        serve_in_process(tmp_path) as app,
        grpc.aio.insecure_channel(app.address) as channel,
    ):
        runs = runs_pb2_grpc.RunServiceStub(channel)
        created = await runs.CreateRun(wire.CreateRunRequest(spec=ECHO), metadata=ADA)
        assert created.run.principal == ""


@pytest.mark.parametrize(
    "metadata",
    [ADA + BOB, (("x-user", "a" * (PRINCIPAL_CHARACTERS + 1)),)],
    ids=["two", "too long"],
)
async def test_what_names_nobody_is_refused(
    tmp_path: Path, metadata: Sequence[tuple[str, str]]
) -> None:
    async with (
        serve_in_process(tmp_path, principal_header="x-user") as app,
        grpc.aio.insecure_channel(app.address) as channel,
    ):
        runs = runs_pb2_grpc.RunServiceStub(channel)
        refused = runs.CreateRun(wire.CreateRunRequest(spec=ECHO), metadata=tuple(metadata))
        failure = await failure_of(refused)
        assert (failure.code, failure.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")
        assert failure.variables["field"] == "x-user"


async def test_the_runs_of_one_principal_are_limited_over_the_wire(tmp_path: Path) -> None:
    limits = {"principal_header": "x-user", "max_runs_per_principal": 1}
    slow = {"assistant_id": "slow_async", "input": {"json": '{"seconds": 30}'}}
    async with (
        serve_in_process(tmp_path, drain_grace="100ms", **limits) as app,
        grpc.aio.insecure_channel(app.address) as channel,
    ):
        runs = runs_pb2_grpc.RunServiceStub(channel)
        await runs.CreateRun(wire.CreateRunRequest(spec=slow), metadata=ADA)
        await runs.CreateRun(wire.CreateRunRequest(spec=slow), metadata=BOB)
        for refused in (
            runs.CreateRun(wire.CreateRunRequest(spec=ECHO), metadata=ADA),
            runs.RunWait(wire.RunWaitRequest(spec=ECHO), metadata=ADA),
            runs.RunStream(wire.RunStreamRequest(spec=ECHO), metadata=ADA).read(),
            runs.BatchCreateRuns(wire.BatchCreateRunsRequest(specs=[ECHO]), metadata=ADA),
        ):
            failure = await failure_of(refused)
            assert (failure.code, failure.reason) == ("RESOURCE_EXHAUSTED", "RUN_LIMIT_REACHED")
            assert failure.retries, "with a time to wait"
            assert failure.variables == {
                "limit": "max_runs_per_principal",
                "maximum": "1",
                "principal": "ada",
            }
