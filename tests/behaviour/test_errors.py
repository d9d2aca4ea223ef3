"""Every reason for which a call can fail, provoked once and caught by the client."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import pytest
from tests.support.callers import MISSING_ID, Client, at_work, collect, start
from tests.support.serving import SUPPORT_GRAPHS, serve_in_process

from runwire.client import (
    AlreadyExistsError,
    ConflictError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    Reconnect,
    ResourceExhaustedError,
    RunwireError,
    ServerError,
    UnavailableError,
    get_client,
)
from runwire.client.failures import from_call
from runwire.server.app import App
from runwire.server.core.retention import Retention, sweep
from runwire.server.model.changes import Place
from runwire.server.rpc.resume import place_token
from runwire.v1 import store_pb2
from runwire.v1.errors_pb2 import ErrorReason
from runwire.v1.runs_pb2 import WatchRunsRequest
from runwire.v1.runs_pb2_grpc import RunServiceStub

Provocation: TypeAlias = Callable[[Client, App], Awaitable[object]]

DAY = timedelta(days=1)


# ------------------------------------------------------------------- provocations


async def send_junk(client: Client, server: App) -> None:
    async with grpc.aio.insecure_channel(server.address) as channel:
        call: Any = channel.unary_unary("/runwire.v1.RunService/CreateRun")
        try:
            await call(b"\xff\xff")
        except grpc.aio.AioRpcError as error:
            raise from_call(error, server.address, secure=False, limited=False) from None


async def leave_out_the_assistant(client: Client, server: App) -> None:
    await client.runs.create(None, "", input={})


async def name_no_graph(client: Client, server: App) -> None:
    await client.assistants.create("nothing")


async def name_no_assistant(client: Client, server: App) -> None:
    await client.runs.wait(None, "nothing", input={})


async def name_no_version(client: Client, server: App) -> None:
    await client.runs.create(None, "echo", input={}, assistant_version=7)


async def name_no_thread(client: Client, server: App) -> None:
    await client.runs.create(MISSING_ID, "echo", input={})


async def name_no_run(client: Client, server: App) -> None:
    await collect(client.runs.join_stream(None, MISSING_ID))


async def ask_for_a_run_that_was_taken_back(client: Client, server: App) -> None:
    run = await start(client, None, "slow_async", input={"seconds": 60})
    await client.runs.cancel(None, run["run_id"], action="rollback", wait=True)
    await client.runs.join(None, run["run_id"])


async def name_no_checkpoint(client: Client, server: App) -> None:
    thread = await client.threads.create()
    await client.threads.get_state(thread["thread_id"], checkpoint_id=MISSING_ID)


async def name_no_item(client: Client, server: App) -> None:
    request = store_pb2.GetItemRequest(namespace=["users", "ann"], key="diet")
    await client._connection.call(client._connection.services.store.GetItem, request, None)


async def search_without_an_index(client: Client, server: App) -> None:
    await client.store.search_items([], query="who is vegan?")


async def meet_an_embedding_that_breaks(client: Client, server: App) -> None:
    await client.store.put_item(["users", "ann"], "diet", {"text": "vegan"})


async def name_no_cron(client: Client, server: App) -> None:
    await client.crons.delete(MISSING_ID)


async def name_no_delivery(client: Client, server: App) -> None:
    await client.webhooks.get(MISSING_ID)


async def replay_what_is_about_to_be_sent_again(client: Client, server: App) -> None:
    # Nobody listens there, and the second try is some seconds away.
    await client.runs.wait(None, "echo", input={}, webhook="http://127.0.0.1:9/")
    (delivery,) = await client.webhooks.list()
    await client.webhooks.replay(delivery["delivery_id"])


async def create_an_assistant_twice(client: Client, server: App) -> None:
    for _ in range(2):
        await client.assistants.create("echo", assistant_id=MISSING_ID)


async def create_a_thread_twice(client: Client, server: App) -> None:
    for _ in range(2):
        await client.threads.create(thread_id=MISSING_ID)


async def use_a_request_id_twice(client: Client, server: App) -> None:
    for text in ("one", "two"):
        await client.runs.wait(None, "echo", input={"text": text}, request_id="order-4711")


async def meet_another_run(client: Client, server: App) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    await start(client, thread_id, "slow_async", input={"seconds": 60})
    await client.runs.create(thread_id, "echo", input={}, multitask_strategy="reject")


async def cancel_a_finished_run(client: Client, server: App) -> None:
    run = await client.runs.create(None, "echo", input={})
    await client.runs.join(None, run["run_id"])
    await client.runs.cancel(None, run["run_id"])


async def delete_a_running_run(client: Client, server: App) -> None:
    run = await start(client, None, "slow_async", input={"seconds": 60})
    await client.runs.delete(None, run["run_id"])


async def delete_an_assistant_at_work(client: Client, server: App) -> None:
    assistant = await client.assistants.create("slow_async")
    await client.runs.create(None, assistant["assistant_id"], input={"seconds": 60})
    await client.assistants.delete(assistant["assistant_id"], cancel_runs=False)


async def delete_a_default_assistant(client: Client, server: App) -> None:
    await client.assistants.delete((await client.assistants.get("echo"))["assistant_id"])


async def follow_events_that_are_gone(client: Client, server: App) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    run = await client.runs.create(thread_id, "echo", input={})
    await client.runs.join(thread_id, run["run_id"])
    await sweep(server.database, Retention(event_retention=timedelta(0)))
    await collect(client.runs.join_stream(thread_id, run["run_id"]))


async def update_as_no_node(client: Client, server: App) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    await client.threads.update_state(thread_id, {}, as_node="nobody", assistant_id="echo")


async def look_at_what_a_factory_cannot_make(client: Client, server: App) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    nothing = await client.assistants.create("chain", config={"configurable": {"nodes": []}})
    await client.threads.update_state(thread_id, {}, assistant_id=nothing["assistant_id"])


async def fill_the_queue(client: Client, server: App) -> None:
    for _ in range(3):  # one at work, one that may wait, one too many
        await client.runs.create(None, "slow_async", input={"seconds": 60})


async def have_too_many_runs(client: Client, server: App) -> None:
    for _ in range(2):
        await client.runs.create(None, "slow_async", input={"seconds": 60})


async def send_large_labels(client: Client, server: App) -> None:
    await client.threads.create(metadata={"label": "x" * 70_000})


async def wait_while_the_server_stops(client: Client, server: App) -> None:
    run = await client.runs.create(None, "slow_async", input={"seconds": 60}, stream_mode="custom")
    await at_work(client, run["run_id"])
    joining = asyncio.create_task(client.runs.join(None, run["run_id"]))
    await client.runs.get(None, run["run_id"])  # came after it, so the server has that as well
    server.follower.drain()
    await joining


async def write_while_the_database_is_locked(client: Client, server: App) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    await server.database.write(lambda c: c.exec_driver_sql("PRAGMA busy_timeout = 0").close())
    other = sqlite3.connect(server.database.path, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        await client.threads.delete(thread_id)
    finally:
        other.close()


async def fill_the_database(client: Client, server: App) -> None:
    await server.database.write(lambda c: c.exec_driver_sql("PRAGMA max_page_count = 1").close())
    for _ in range(100):
        await client.threads.create(metadata={"label": "x" * 60_000})


async def ask_a_factory_that_breaks(client: Client, server: App) -> None:
    await client.assistants.get_schemas("fails_in_factory")


async def go_on_after_years(client: Client, server: App) -> None:
    token = place_token(Place(time=datetime(2020, 1, 1, tzinfo=UTC)))
    async with grpc.aio.insecure_channel(server.address) as channel:
        call = RunServiceStub(channel).WatchRuns(WatchRunsRequest(resume_token=token))
        try:
            await call.read()
        except grpc.aio.AioRpcError as error:
            raise from_call(error, server.address, secure=False, limited=False) from None


PROVOCATIONS: dict[str, tuple[Provocation, type[RunwireError], str]] = {
    "INVALID_REQUEST": (send_junk, InvalidArgumentError, "INVALID_ARGUMENT"),
    "INVALID_FIELD": (leave_out_the_assistant, InvalidArgumentError, "INVALID_ARGUMENT"),
    "GRAPH_NOT_FOUND": (name_no_graph, NotFoundError, "NOT_FOUND"),
    "ASSISTANT_NOT_FOUND": (name_no_assistant, NotFoundError, "NOT_FOUND"),
    "ASSISTANT_VERSION_NOT_FOUND": (name_no_version, NotFoundError, "NOT_FOUND"),
    "THREAD_NOT_FOUND": (name_no_thread, NotFoundError, "NOT_FOUND"),
    "RUN_NOT_FOUND": (name_no_run, NotFoundError, "NOT_FOUND"),
    "RUN_ROLLED_BACK": (ask_for_a_run_that_was_taken_back, NotFoundError, "NOT_FOUND"),
    "CHECKPOINT_NOT_FOUND": (name_no_checkpoint, NotFoundError, "NOT_FOUND"),
    "ITEM_NOT_FOUND": (name_no_item, NotFoundError, "NOT_FOUND"),
    "SEARCH_NOT_CONFIGURED": (search_without_an_index, ConflictError, "FAILED_PRECONDITION"),
    "EMBEDDING_FAILED": (meet_an_embedding_that_breaks, UnavailableError, "UNAVAILABLE"),
    "CRON_NOT_FOUND": (name_no_cron, NotFoundError, "NOT_FOUND"),
    "WEBHOOK_DELIVERY_NOT_FOUND": (name_no_delivery, NotFoundError, "NOT_FOUND"),
    "WEBHOOK_DELIVERY_PENDING": (
        replay_what_is_about_to_be_sent_again,
        ConflictError,
        "FAILED_PRECONDITION",
    ),
    "ASSISTANT_EXISTS": (create_an_assistant_twice, AlreadyExistsError, "ALREADY_EXISTS"),
    "THREAD_EXISTS": (create_a_thread_twice, AlreadyExistsError, "ALREADY_EXISTS"),
    "REQUEST_ID_REUSED": (use_a_request_id_twice, AlreadyExistsError, "ALREADY_EXISTS"),
    "THREAD_BUSY": (meet_another_run, ConflictError, "ABORTED"),
    "RUN_FINISHED": (cancel_a_finished_run, ConflictError, "FAILED_PRECONDITION"),
    "RUN_IN_FLIGHT": (delete_a_running_run, ConflictError, "FAILED_PRECONDITION"),
    "ASSISTANT_IN_USE": (delete_an_assistant_at_work, ConflictError, "FAILED_PRECONDITION"),
    "DEFAULT_ASSISTANT": (delete_a_default_assistant, ConflictError, "FAILED_PRECONDITION"),
    "EVENTS_EXPIRED": (follow_events_that_are_gone, OutOfRangeError, "OUT_OF_RANGE"),
    "RESUME_TOKEN_EXPIRED": (go_on_after_years, OutOfRangeError, "OUT_OF_RANGE"),
    "STATE_UPDATE_REFUSED": (update_as_no_node, ConflictError, "FAILED_PRECONDITION"),
    "STATE_NOT_SHOWN": (
        look_at_what_a_factory_cannot_make,
        ConflictError,
        "FAILED_PRECONDITION",
    ),
    "QUEUE_FULL": (fill_the_queue, ResourceExhaustedError, "RESOURCE_EXHAUSTED"),
    "RUN_LIMIT_REACHED": (have_too_many_runs, ResourceExhaustedError, "RESOURCE_EXHAUSTED"),
    "PAYLOAD_TOO_LARGE": (send_large_labels, ResourceExhaustedError, "RESOURCE_EXHAUSTED"),
    "DRAINING": (wait_while_the_server_stops, UnavailableError, "UNAVAILABLE"),
    "DATABASE_UNAVAILABLE": (write_while_the_database_is_locked, UnavailableError, "UNAVAILABLE"),
    "STORAGE_FULL": (fill_the_database, ResourceExhaustedError, "RESOURCE_EXHAUSTED"),
    "INTERNAL": (ask_a_factory_that_breaks, ServerError, "INTERNAL"),
}

METADATA = {
    "INVALID_REQUEST": {"method"},
    "INVALID_FIELD": {"field"},
    "GRAPH_NOT_FOUND": {"graph_id"},
    "ASSISTANT_NOT_FOUND": {"assistant_id"},
    "ASSISTANT_VERSION_NOT_FOUND": {"assistant_id", "version"},
    "THREAD_NOT_FOUND": {"thread_id"},
    "RUN_NOT_FOUND": {"run_id"},
    "RUN_ROLLED_BACK": {"run_id"},
    "CHECKPOINT_NOT_FOUND": {"thread_id", "checkpoint_id"},
    "ITEM_NOT_FOUND": {"namespace", "key"},
    "SEARCH_NOT_CONFIGURED": set(),
    "EMBEDDING_FAILED": {"error_id"},
    "CRON_NOT_FOUND": {"cron_id"},
    "WEBHOOK_DELIVERY_NOT_FOUND": {"delivery_id"},
    "WEBHOOK_DELIVERY_PENDING": {"delivery_id"},
    "ASSISTANT_EXISTS": {"assistant_id"},
    "THREAD_EXISTS": {"thread_id"},
    "REQUEST_ID_REUSED": {"request_id"},
    "THREAD_BUSY": {"thread_id"},
    "RUN_FINISHED": {"run_id", "state"},
    "RUN_IN_FLIGHT": {"run_id"},
    "ASSISTANT_IN_USE": {"assistant_id"},
    "DEFAULT_ASSISTANT": {"assistant_id", "graph_id"},
    "EVENTS_EXPIRED": {"run_id", "oldest_event_id"},
    "RESUME_TOKEN_EXPIRED": set(),
    "STATE_UPDATE_REFUSED": {"thread_id"},
    "STATE_NOT_SHOWN": {"graph_id"},
    "QUEUE_FULL": {"limit"},
    "RUN_LIMIT_REACHED": {"limit", "maximum", "assistant_id"},
    "PAYLOAD_TOO_LARGE": {"field", "size", "limit"},
    "DRAINING": {"run_id"},
    "DATABASE_UNAVAILABLE": set(),
    "STORAGE_FULL": set(),
    "INTERNAL": {"error_id"},
}
"""What the examples in errors.proto show."""

SETTINGS: dict[str, dict[str, Any]] = {
    "EMBEDDING_FAILED": {"graphs": SUPPORT_GRAPHS.with_name("breaking.json")},
    "QUEUE_FULL": {"max_concurrent_runs": 1, "max_pending_runs": 1},
    "WEBHOOK_DELIVERY_PENDING": {
        "webhook_unsigned": True,
        "webhook_require_https": False,
        "webhook_loopback": True,
    },
    "RUN_LIMIT_REACHED": {"max_runs_per_assistant": 1},
}


def test_every_reason_has_a_provocation() -> None:
    names = ErrorReason.DESCRIPTOR.values_by_name
    reasons = {name.removeprefix("ERROR_REASON_") for name in names}

    assert reasons - {"UNSPECIFIED"} == PROVOCATIONS.keys() == METADATA.keys()


@pytest.mark.parametrize("reason", PROVOCATIONS)
async def test_a_reason_reaches_the_client_with_its_code_and_its_variables(
    tmp_path: Path, reason: str
) -> None:
    provoke, kind, code = PROVOCATIONS[reason]
    at_once = Reconnect(give_up_after=0)
    async with (
        serve_in_process(tmp_path, drain_grace="100ms", **SETTINGS.get(reason, {})) as server,
        get_client(server.address, reconnect=at_once) as client,
    ):
        with pytest.raises(RunwireError) as caught:
            await provoke(client, server)

    error = caught.value
    assert isinstance(error, kind)
    assert (error.code, error.reason) == (code, reason)
    assert error.metadata.keys() == METADATA[reason]
    assert error.message
    waits = getattr(error, "retry_after", None)
    assert (waits is not None) == (reason in ("QUEUE_FULL", "RUN_LIMIT_REACHED", "STORAGE_FULL"))


async def test_a_server_goes_on_when_its_database_is_there_again(tmp_path: Path) -> None:
    async with (
        serve_in_process(tmp_path) as server,
        get_client(server.address, reconnect=Reconnect(give_up_after=0)) as client,
    ):
        with pytest.raises(UnavailableError):
            await write_while_the_database_is_locked(client, server)

        assert (await client.runs.wait(None, "echo", input={"text": "back"}))["answer"] == "back"


async def test_a_full_database_still_answers_who_reads(tmp_path: Path) -> None:
    async with serve_in_process(tmp_path) as server, get_client(server.address) as connected:
        client: Client = connected
        thread_id = (await client.threads.create())["thread_id"]
        run = await client.runs.create(thread_id, "echo", input={"text": "kept"})
        await client.runs.join(thread_id, run["run_id"])
        with pytest.raises(ResourceExhaustedError) as caught:
            await fill_the_database(client, server)

        assert caught.value.retry_after == 30
        assert (await client.threads.get_state(thread_id))["values"]["answer"] == "kept"
        parts = await collect(client.runs.join_stream(thread_id, run["run_id"]))
        assert parts[-1].data["state"] == "succeeded"
        assert await client.runs.join(thread_id, run["run_id"]) == {
            "text": "kept",
            "answer": "kept",
        }
        await server.database.write(
            lambda c: c.exec_driver_sql("PRAGMA max_page_count = 1000000").close()
        )
        assert (await client.runs.wait(thread_id, "echo", input={}))["answer"] == "kept"
