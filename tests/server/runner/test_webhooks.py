"""Webhooks are sent, again and again if need be, and what came of it is stored."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from standardwebhooks import WebhookVerificationError
from tests.support.engine import Engine, until
from tests.support.receivers import (
    OTHER_SECRET,
    SECRET,
    addresses,
    answering,
    hanging,
    receiving,
)

from runwire.server.core.delivering import JITTER, LONGEST_WAIT, Answer, wait_after
from runwire.server.core.webhooks import Webhooks
from runwire.server.model.faults import armed, parse_faults
from runwire.server.model.webhook_urls import UrlPolicy
from runwire.server.model.webhooks import Delivery, DeliveryFilter, DeliveryState
from runwire.server.runner import webhooks
from runwire.server.runner.posting import Poster
from runwire.server.runner.webhooks import SenderOptions, WebhookSender
from runwire.server.storage.database import Database

LOCAL = UrlPolicy(require_https=False, allow_loopback=True)
QUICK = SenderOptions(
    policy=LOCAL,
    secrets=[SECRET],
    timeout=timedelta(seconds=5),
    retry_wait=timedelta(milliseconds=10),
    max_attempts=3,
)


@pytest.fixture(autouse=True)
def polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sender looks often by itself: nobody wakes it here."""
    monkeypatch.setattr(webhooks, "POLL_SECONDS", 0.02)


@asynccontextmanager
async def sending(database: Database, **changes: Any) -> AsyncIterator[WebhookSender]:
    async with WebhookSender(database, replace(QUICK, **changes)) as sender:
        yield sender


async def deliveries(database: Database, **wanted: Any) -> list[Delivery]:
    page = await Webhooks(database).list(DeliveryFilter(**wanted), limit=500, cursor=None)
    return page.items


async def the_delivery(database: Database) -> Delivery:
    (delivery,) = await deliveries(database)
    return delivery


async def ended(database: Database, count: int = 1) -> list[Delivery]:
    """Return all deliveries when as many have ended."""

    async def have_ended() -> bool:
        found = await deliveries(database)
        return len([each for each in found if each.end_time is not None]) >= count

    await until(have_ended)
    return await deliveries(database)


async def test_an_end_is_told_with_a_signature(engine: Engine) -> None:
    async with receiving() as receiver, sending(engine.database):
        run = await engine.run("echo", {"text": "a"}, webhook=receiver.url)
        (request,) = await receiver.until(1)
        (delivery,) = await ended(engine.database)
    content = request.verified()
    assert content["type"] == "run.succeeded"
    assert content["data"]["run"]["run_id"] == run.run_id
    assert content["data"]["output"] == {"text": "a", "answer": "a"}
    assert request.headers["content-type"] == "application/json"
    assert request.delivery_id == delivery.delivery_id
    assert (delivery.state, delivery.attempts, delivery.status) == (
        DeliveryState.DELIVERED,
        1,
        200,
    )
    assert (delivery.due_time, delivery.sender, delivery.error) == (None, None, "")


async def test_while_a_secret_is_replaced_requests_are_signed_with_both(engine: Engine) -> None:
    async with receiving() as receiver, sending(engine.database, secrets=[SECRET, OTHER_SECRET]):
        await engine.run("echo", webhook=receiver.url)
        (request,) = await receiver.until(1)
        await ended(engine.database)
    assert request.verified(SECRET) == request.verified(OTHER_SECRET)
    tampered = replace(request, body=request.body.replace(b"succeeded", b"failed"))
    with pytest.raises(WebhookVerificationError):
        tampered.verified()


async def test_headers_of_the_configuration_are_sent_and_replace_none_of_ours(
    engine: Engine,
) -> None:
    headers = {"Authorization": "Bearer x", "Webhook-Id": "mine", "Content-Type": "text/plain"}
    async with receiving() as receiver, sending(engine.database, headers=headers, secrets=[]):
        await engine.run("echo", webhook=receiver.url)
        (request,) = await receiver.until(1)
        (delivery,) = await ended(engine.database)
    assert request.headers["authorization"] == "Bearer x"
    assert request.delivery_id == delivery.delivery_id
    assert request.headers["content-type"] == "application/json"
    assert "webhook-signature" not in request.headers


async def test_who_fails_is_told_again_with_the_same_id_and_the_same_words(engine: Engine) -> None:
    replies = (answering(500), answering(503), answering(200))
    async with receiving(*replies) as receiver, sending(engine.database):
        await engine.run("echo", webhook=receiver.url)
        requests = await receiver.until(3)
        (delivery,) = await ended(engine.database)
    assert len({(request.delivery_id, request.body) for request in requests}) == 1
    assert [request.verified()["type"] for request in requests] == ["run.succeeded"] * 3
    assert (delivery.state, delivery.attempts, delivery.status) == (
        DeliveryState.DELIVERED,
        3,
        200,
    )


async def test_after_the_last_attempt_it_is_given_up_and_a_replay_revives_it(
    engine: Engine,
) -> None:
    replies = [answering(500)] * 3 + [answering(200)]
    service = Webhooks(engine.database)
    async with receiving(*replies) as receiver, sending(engine.database):
        await engine.run("echo", webhook=receiver.url)
        (dead,) = await ended(engine.database)
        assert (dead.state, dead.attempts, dead.status) == (DeliveryState.DEAD, 3, 500)
        assert dead.error == "the receiver answered 500"
        replayed = await service.replay(dead.delivery_id)
        assert (replayed.state, replayed.tries) == (DeliveryState.PENDING, 0)
        (revived,) = await ended(engine.database)
    assert (revived.state, revived.attempts) == (DeliveryState.DELIVERED, 4)
    assert len(set(receiver.ids)) == 1


async def test_what_nobody_expected_counts_as_an_attempt_too(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def break_down(*request: Any) -> Answer:
        raise ZeroDivisionError

    monkeypatch.setattr(Poster, "post", break_down)
    async with sending(engine.database):
        await engine.run("echo", webhook="http://127.0.0.1:1/hook")
        (dead,) = await ended(engine.database)
    assert (dead.state, dead.attempts, dead.status) == (DeliveryState.DEAD, 3, None)
    assert dead.error == "internal error; the log has it under the delivery's id"
    assert [each.message for each in caplog.records].count("a webhook could not be sent") == 3


async def test_who_says_gone_is_told_no_more(engine: Engine) -> None:
    async with receiving(answering(410)) as receiver, sending(engine.database):
        await engine.run("echo", webhook=receiver.url)
        (dead,) = await ended(engine.database)
    assert (dead.state, dead.attempts, dead.status) == (DeliveryState.DEAD, 1, 410)


async def test_what_is_not_allowed_any_more_is_not_called(engine: Engine) -> None:
    async with receiving() as receiver, sending(engine.database, policy=UrlPolicy()):
        await engine.run("echo", webhook=receiver.url)
        (dead,) = await ended(engine.database)
    assert (dead.state, receiver.received) == (DeliveryState.DEAD, [])
    assert dead.error == "the URL must begin with https://"


async def test_a_name_that_leads_here_is_not_called(engine: Engine) -> None:
    options = replace(QUICK, policy=UrlPolicy(require_https=False))
    resolve = addresses("127.0.0.1")
    async with (
        receiving() as receiver,
        WebhookSender(engine.database, options, resolve=resolve),
    ):
        await engine.run("echo", webhook=f"http://innocent.example:{receiver.port}/")
        (dead,) = await ended(engine.database)
    assert (dead.state, receiver.received) == (DeliveryState.DEAD, [])


async def test_a_receiver_s_wait_is_waited(engine: Engine) -> None:
    busy = answering(429, retry_after="3600")
    async with receiving(busy) as receiver, sending(engine.database):
        run = await engine.run("echo", webhook=receiver.url)
        await receiver.until(1)

        async def is_told() -> bool:
            return (await the_delivery(engine.database)).status == 429

        await until(is_told)
        waiting = await the_delivery(engine.database)
    assert waiting.state is DeliveryState.PENDING
    assert waiting.due_time is not None
    assert run.end_time is not None
    assert waiting.due_time - run.end_time > timedelta(minutes=59)


async def test_one_receiver_that_hangs_does_not_hold_up_the_others(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "STOP_SECONDS", 0.05)
    async with (
        receiving(hanging) as stuck,
        receiving() as well,
        sending(engine.database, concurrency=8),
    ):
        url = stuck.url.replace("127.0.0.1", "localhost")
        for _ in range(20):
            await engine.run("echo", webhook=url)
        await stuck.until(2)
        for _ in range(5):
            await engine.run("echo", webhook=well.url)
        await well.until(5)
        assert 2 <= len(stuck.received) < 8


async def test_without_webhooks_nothing_is_sent(engine: Engine) -> None:
    async with receiving() as receiver:
        async with sending(engine.database, policy=UrlPolicy(disabled="no")) as sender:
            await engine.run("echo", webhook=receiver.url)
            assert sender._task is None
        assert (await the_delivery(engine.database)).attempts == 0
        async with sending(engine.database):
            await ended(engine.database)
    assert len(receiver.received) == 1


async def test_a_sender_that_stops_waits_for_what_is_under_way(engine: Engine) -> None:
    go_on = asyncio.Event()

    async def slow(request: Any, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        await answering(200)(request, writer)

    async with receiving(slow) as receiver:
        async with sending(engine.database):
            await engine.run("echo", webhook=receiver.url)
            await receiver.until(1)
            asyncio.get_running_loop().call_later(0.05, go_on.set)
        delivery = await the_delivery(engine.database)
        assert (delivery.state, delivery.attempts) == (DeliveryState.DELIVERED, 1)


async def test_what_does_not_end_then_is_left_to_others_at_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "STOP_SECONDS", 0.05)
    async with receiving(hanging, answering(200)) as receiver:
        async with sending(engine.database, timeout=timedelta(hours=1)):
            await engine.run("echo", webhook=receiver.url)
            await receiver.until(1)
        left = await the_delivery(engine.database)
        assert (left.state, left.sender) == (DeliveryState.PENDING, None)
        async with sending(engine.database):
            (delivery,) = await ended(engine.database)
    assert (delivery.state, delivery.attempts) == (DeliveryState.DELIVERED, 2)
    assert len(set(receiver.ids)) == 1


async def test_an_attempt_that_nobody_speaks_of_is_taken_for_lost_and_made_again(
    engine: Engine,
) -> None:
    lost = SenderOptions(policy=LOCAL, secrets=[SECRET], timeout=timedelta(milliseconds=50))
    async with receiving(answering(200)) as receiver:
        with armed(parse_faults("deliver.before_commit:raise")):
            async with WebhookSender(engine.database, lost):
                await engine.run("echo", webhook=receiver.url)
                await receiver.until(1)
        async with WebhookSender(engine.database, lost):
            (delivery,) = await ended(engine.database)
    assert delivery.state is DeliveryState.DELIVERED
    assert len(receiver.received) == delivery.attempts >= 2
    assert len(set(receiver.ids)) == 1


async def test_a_sender_that_wakes_up_late_changes_nothing(engine: Engine) -> None:
    go_on = asyncio.Event()

    async def slow(request: Any, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        await answering(500)(request, writer)

    async with receiving(slow, answering(200)) as receiver, sending(engine.database):
        await engine.run("echo", webhook=receiver.url)
        await receiver.until(1)
        await engine.execute(
            lambda connection: connection.exec_driver_sql(
                "UPDATE webhook_deliveries SET due_time = create_time"
            )
        )
        (delivery,) = await ended(engine.database)
        go_on.set()
        assert delivery.state is DeliveryState.DELIVERED
    assert await the_delivery(engine.database) == delivery


async def test_sending_goes_on_after_the_database_was_away(engine: Engine) -> None:
    async with receiving() as receiver, sending(engine.database):
        with armed(parse_faults("send.before_commit:raise")):
            await engine.run("echo", webhook=receiver.url)
        await receiver.until(1)
        await ended(engine.database)


async def test_no_url_and_no_secret_is_logged(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with receiving(answering(500), answering(200)) as receiver, sending(engine.database):
        await engine.run("echo", webhook=f"{receiver.url}?token=hunter2")
        await ended(engine.database)
    said = " ".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)
    assert "a webhook was delivered" in said
    assert "a webhook was not delivered yet" in said
    assert "hunter2" not in said
    assert SECRET not in said
    assert SECRET not in repr(QUICK)


def test_waits_grow_up_to_a_limit_and_ten_attempts_take_about_a_day() -> None:
    first = timedelta(seconds=5)
    waits = [wait_after(tries, first) for tries in range(1, 10)]
    for tries, wait in enumerate(waits, 1):
        least = min(LONGEST_WAIT, first * 4 ** (tries - 1))
        assert least <= wait <= least * (1 + JITTER)
    assert timedelta(hours=20) < sum(waits, timedelta()) < timedelta(hours=30)
    assert len({wait_after(3, first) for _ in range(20)}) > 10
    assert wait_after(10_000, timedelta(hours=1)) <= LONGEST_WAIT * (1 + JITTER)
