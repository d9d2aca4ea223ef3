"""Webhooks, as callers and receivers see them."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from tests.support.callers import MISSING_ID, Client, Stubs, stubs_on
from tests.support.engine import until
from tests.support.receivers import SECRET, answering, receiving
from tests.support.serving import serve_in_process
from tests.support.statuses import failure_of

from runwire.client import get_client
from runwire.server.app import App
from runwire.server.runner import webhooks
from runwire.v1 import core_pb2, runs_pb2, webhooks_pb2

QUICK: dict[str, Any] = {
    "webhook_secret": SECRET,
    "webhook_require_https": False,
    "webhook_loopback": True,
    "webhook_max_attempts": 2,
    "webhook_retry_wait": "10ms",
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def calling(
    tmp_path_factory: pytest.TempPathFactory, server_database: dict[str, str]
) -> AsyncIterator[App]:
    """A server that calls receivers of this machine, and looks often what is due."""
    poll, webhooks.POLL_SECONDS = webhooks.POLL_SECONDS, 0.02
    directory = tmp_path_factory.mktemp("calling")
    async with serve_in_process(directory, **server_database, **QUICK) as app:
        yield app
    webhooks.POLL_SECONDS = poll


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def caller(calling: App) -> AsyncIterator[Client]:
    async with get_client(calling.address) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def calls(calling: App) -> AsyncIterator[Stubs]:
    async with grpc.aio.insecure_channel(calling.address) as channel:
        yield stubs_on(channel)


async def settled(caller: Client, run_id: str) -> dict[str, Any]:
    """Return the delivery of a run when it has ended."""

    async def found() -> Any:
        return [
            delivery
            for delivery in await caller.webhooks.list(run_id=run_id)
            if delivery["status"] != "pending"
        ]

    await until(found)
    return dict((await found())[0])


async def test_a_run_that_succeeded_is_told_with_its_output(caller: Client) -> None:
    async with receiving() as receiver:
        thread_id = (await caller.threads.create())["thread_id"]
        output = await caller.runs.wait(
            thread_id, "echo", input={"text": "hi"}, webhook=receiver.url, metadata={"order": 7}
        )
        (request,) = await receiver.until(1)
    content = request.verified()
    assert content["type"] == "run.succeeded"
    assert content["data"]["output"] == output
    run = content["data"]["run"]
    assert (run["thread_id"], run["metadata"], run["state"]) == (
        thread_id,
        {"order": 7},
        "succeeded",
    )


async def test_a_stateless_run_is_told_with_its_output(caller: Client) -> None:
    async with receiving() as receiver:
        await caller.runs.wait(None, "echo", input={"text": "hi"}, webhook=receiver.url)
        (request,) = await receiver.until(1)
    assert request.content["data"]["output"]["answer"] == "hi"


async def test_a_run_that_failed_is_told_with_its_error(caller: Client) -> None:
    async with receiving() as receiver:
        await caller.runs.create(None, "fails", input={"message": "boom"}, webhook=receiver.url)
        (request,) = await receiver.until(1)
    content = request.content
    assert content["type"] == "run.failed"
    assert "boom" in content["data"]["run"]["error"]["message"]


async def test_a_run_that_paused_is_told_as_that_with_its_questions(caller: Client) -> None:
    async with receiving() as receiver:
        thread_id = (await caller.threads.create())["thread_id"]
        await caller.runs.wait(thread_id, "asks", input={"question": "why?"}, webhook=receiver.url)
        (request,) = await receiver.until(1)
    content = request.content
    assert content["type"] == "run.interrupted"
    (question,) = content["data"]["interrupts"]
    assert question["value"] == {"question": "why?"}
    assert question["interrupt_id"]


async def test_a_run_that_timed_out_is_told(caller: Client, tmp_path: Path) -> None:
    async with receiving() as receiver:
        await caller.runs.create(
            None, "gate", input={"directory": str(tmp_path)}, webhook=receiver.url, timeout=0.05
        )
        (request,) = await receiver.until(1)
    assert request.content["type"] == "run.timed_out"


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
async def test_a_cancelled_run_is_told_with_what_became_of_its_work(
    caller: Client, tmp_path: Path, action: str
) -> None:
    async with receiving() as receiver:
        thread_id = (await caller.threads.create())["thread_id"]
        run = await caller.runs.create(
            thread_id,
            "gate",
            input={"directory": str(tmp_path)},
            webhook=receiver.url,
            stream_mode="custom",
        )
        await until((tmp_path / "started").exists)
        await caller.runs.cancel(thread_id, run["run_id"], action=action, wait=True)
        (request,) = await receiver.until(1)
    content = request.content
    assert content["type"] == "run.cancelled"
    assert content["data"]["run"]["cancel"]["action"] == action


async def test_a_run_that_is_cancelled_before_it_begins_is_told_too(caller: Client) -> None:
    async with receiving() as receiver:
        run = await caller.runs.create(
            None, "echo", input={}, webhook=receiver.url, after_seconds=3600
        )
        await caller.runs.cancel(None, run["run_id"])
        (request,) = await receiver.until(1)
    assert request.content["type"] == "run.cancelled"
    assert request.content["data"]["run"]["attempt"] == 0


async def test_each_run_of_a_batch_and_of_a_stream_is_told(caller: Client) -> None:
    async with receiving() as receiver:
        payload = {"assistant_id": "echo", "input": {"text": "a"}, "webhook": receiver.url}
        made = await caller.runs.create_batch([payload] * 3)
        async for _ in caller.runs.stream(None, "echo", input={}, webhook=receiver.url):
            pass
        await receiver.until(4)
    assert {run["run_id"] for run in made} < set(receiver.run_ids)
    assert len(set(receiver.ids)) == 4


async def test_a_run_says_which_webhook_it_has(caller: Client, calls: Stubs) -> None:
    async with receiving() as receiver:
        run = await caller.runs.create(None, "echo", input={}, webhook=receiver.url)
        await receiver.until(1)
        answer = await calls.runs.GetRun(runs_pb2.GetRunRequest(run_id=run["run_id"]))
    assert answer.run.spec.webhook == receiver.url


async def test_what_was_given_up_is_listed_shown_and_sent_again(caller: Client) -> None:
    async with receiving(answering(500), answering(500), answering(200)) as receiver:
        url = f"{receiver.url}?token=secret"
        run = await caller.runs.create(None, "echo", input={}, webhook=url)
        dead = await settled(caller, run["run_id"])
        assert dead == {
            "delivery_id": receiver.ids[0],
            "run_id": run["run_id"],
            "url": f"{receiver.url}?…",
            "type": "run.succeeded",
            "status": "dead",
            "attempts": 2,
            "last_attempt_at": dead["last_attempt_at"],
            "last_http_status": 500,
            "last_error": "the receiver answered 500",
            "next_attempt_at": None,
            "created_at": dead["created_at"],
            "ended_at": dead["ended_at"],
        }
        shown = await caller.webhooks.get(dead["delivery_id"])
        assert shown["body"].encode() == receiver.received[0].body
        replayed = await caller.webhooks.replay(dead["delivery_id"])
        assert (replayed["status"], replayed["ended_at"]) == ("pending", None)
        delivered = await settled(caller, run["run_id"])
    assert (delivered["status"], delivered["attempts"]) == ("delivered", 3)
    assert (delivered["last_http_status"], delivered["last_error"]) == (200, None)
    assert len(set(receiver.ids)) == 1


async def test_all_that_was_given_up_can_be_sent_again_in_one_call(caller: Client) -> None:
    replies = [answering(410)] * 3 + [answering(200)]
    began = datetime.now(UTC) - timedelta(seconds=1)
    async with receiving(*replies) as receiver:
        runs = [
            await caller.runs.create(None, "echo", input={}, webhook=receiver.url) for _ in range(3)
        ]
        for run in runs:
            assert (await settled(caller, run["run_id"]))["status"] == "dead"
        assert await caller.webhooks.replay_all(run_id=runs[0]["run_id"]) == 1
        await receiver.until(4)
        assert (await settled(caller, runs[0]["run_id"]))["status"] == "delivered"
        assert await caller.webhooks.replay_all(created=(None, began)) == 0
        assert await caller.webhooks.replay_all(created=(began, None)) == 2
        for run in runs:
            assert (await settled(caller, run["run_id"]))["status"] == "delivered"
    assert len(receiver.received) == 6


async def test_deliveries_are_listed_by_state_and_time_page_by_page(
    caller: Client, calls: Stubs
) -> None:
    began = datetime.now(UTC)
    async with receiving(answering(410), answering(200)) as receiver:
        runs = []
        for _ in range(5):
            runs.append(await caller.runs.create(None, "echo", input={}, webhook=receiver.url))
            await settled(caller, runs[-1]["run_id"])
    ids = [run["run_id"] for run in runs]
    listed = await caller.webhooks.list(created=(began, None), limit=3)
    rest = await caller.webhooks.list(created=(began, None), limit=3, offset=3)
    assert [delivery["run_id"] for delivery in (*listed, *rest)] == ids[::-1]
    dead = await caller.webhooks.list(created=(began, None), state="dead")
    assert [delivery["run_id"] for delivery in dead] == ids[:1]
    both = await caller.webhooks.list(created=(began, None), state=["dead", "delivered"])
    assert len(both) == 5
    assert await caller.webhooks.list(created=(datetime.now(UTC) + timedelta(hours=1), None)) == []
    request = webhooks_pb2.ListWebhookDeliveriesRequest(
        page_size=2, create_time=core_pb2.TimeRange(start_time=began)
    )
    seen = []
    while True:
        page = await calls.webhooks.ListWebhookDeliveries(request)
        seen += [delivery.run_id for delivery in page.deliveries]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert seen == ids[::-1]


async def test_what_is_not_there_is_not_found(calls: Stubs) -> None:
    for call in (
        calls.webhooks.GetWebhookDelivery(
            webhooks_pb2.GetWebhookDeliveryRequest(delivery_id=MISSING_ID)
        ),
        calls.webhooks.ReplayWebhookDelivery(
            webhooks_pb2.ReplayWebhookDeliveryRequest(delivery_id=MISSING_ID)
        ),
    ):
        failure = await failure_of(call)
        assert (failure.code, failure.reason) == ("NOT_FOUND", "WEBHOOK_DELIVERY_NOT_FOUND")


async def test_what_is_to_be_sent_anyway_is_not_replayed(caller: Client, calls: Stubs) -> None:
    async with receiving(answering(503, retry_after="3600")) as receiver:
        run = await caller.runs.create(None, "echo", input={}, webhook=receiver.url)
        await receiver.until(1)
        (delivery,) = await caller.webhooks.list(run_id=run["run_id"])
        failure = await failure_of(
            calls.webhooks.ReplayWebhookDelivery(
                webhooks_pb2.ReplayWebhookDeliveryRequest(delivery_id=delivery["delivery_id"])
            )
        )
    assert (failure.code, failure.reason) == ("FAILED_PRECONDITION", "WEBHOOK_DELIVERY_PENDING")


@pytest.mark.parametrize(
    ("request_of", "field"),
    [
        (webhooks_pb2.GetWebhookDeliveryRequest(), "delivery_id"),
        (webhooks_pb2.ReplayWebhookDeliveryRequest(delivery_id="x"), "delivery_id"),
        (webhooks_pb2.ListWebhookDeliveriesRequest(run_id="x"), "run_id"),
        (webhooks_pb2.ListWebhookDeliveriesRequest(states=[0]), "states[0]"),
        (webhooks_pb2.ListWebhookDeliveriesRequest(page_token="x"), "page_token"),
        (webhooks_pb2.ReplayWebhookDeliveriesRequest(states=[1]), "states"),
        (webhooks_pb2.ReplayWebhookDeliveriesRequest(states=[9]), "states[0]"),
    ],
)
async def test_a_wrong_field_is_named(calls: Stubs, request_of: Any, field: str) -> None:
    method = calls.method(type(request_of).__name__.removesuffix("Request"))
    failure = await failure_of(method(request_of))
    assert (failure.code, list(failure.fields)) == ("INVALID_ARGUMENT", [field])


async def test_a_time_beyond_all_calendars_is_refused(calls: Stubs) -> None:
    request = webhooks_pb2.ListWebhookDeliveriesRequest()
    request.create_time.start_time.seconds = 2**62
    failure = await failure_of(calls.webhooks.ListWebhookDeliveries(request))
    assert list(failure.fields) == ["create_time.start_time"]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/",
        "http://user@127.0.0.1/",
        "http://10.0.0.1/",
        "/hook",
        "http://2130706433/",
    ],
)
async def test_a_url_that_is_not_called_is_refused_by_its_field(calls: Stubs, url: str) -> None:
    spec = core_pb2.RunSpec(assistant_id="echo", input={}, webhook=url)
    single = await failure_of(calls.runs.CreateRun(runs_pb2.CreateRunRequest(spec=spec)))
    request = runs_pb2.BatchCreateRunsRequest(specs=[core_pb2.RunSpec(assistant_id="echo"), spec])
    batch = await failure_of(calls.runs.BatchCreateRuns(request))
    assert (single.code, list(single.fields)) == ("INVALID_ARGUMENT", ["spec.webhook"])
    assert list(batch.fields) == ["specs[1].webhook"]


async def test_a_server_without_a_secret_takes_no_webhook(stubs: Stubs) -> None:
    spec = core_pb2.RunSpec(assistant_id="echo", input={}, webhook="https://example.com/")
    failure = await failure_of(stubs.runs.CreateRun(runs_pb2.CreateRunRequest(spec=spec)))
    assert list(failure.fields) == ["spec.webhook"]
    assert "no secret" in failure.message
