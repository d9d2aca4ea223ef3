"""Servers share the work of sending, and a receiver hears of each run once."""

from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.support.engine import Engine, until
from tests.support.receivers import SECRET, receiving

from runwire.server.core.webhooks import Webhooks
from runwire.server.model.runs import RunSpec
from runwire.server.model.webhook_urls import UrlPolicy
from runwire.server.model.webhooks import DeliveryFilter, DeliveryState
from runwire.server.runner import webhooks
from runwire.server.runner.webhooks import SenderOptions, WebhookSender

RUNS = 200
OPTIONS = SenderOptions(
    policy=UrlPolicy(require_https=False, allow_loopback=True),
    secrets=[SECRET],
    timeout=timedelta(minutes=1),
    concurrency=16,
)


async def test_three_servers_tell_of_two_hundred_runs_once_each(
    three: list[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "POLL_SECONDS", 0.02)
    service = Webhooks(three[0].database)
    async with receiving() as receiver, AsyncExitStack() as stack:
        spec = RunSpec(assistant_id="echo", input={}, webhook=receiver.url)
        created = []
        for engine in three:
            sender = WebhookSender(engine.database, replace(OPTIONS))
            await stack.enter_async_context(sender)
        for number in range(0, RUNS, 50):
            created += await three[number % 3].create(*[spec] * 50)
        await receiver.until(RUNS)

        async def is_all_stored() -> bool:
            wanted = DeliveryFilter(states=(DeliveryState.PENDING,))
            return not (await service.list(wanted, limit=1, cursor=None)).items

        await until(is_all_stored)
    told = Counter(receiver.run_ids)
    assert told == Counter({run.run_id: 1 for run in created})
    assert len(set(receiver.ids)) == RUNS
    page = await service.list(DeliveryFilter(), limit=500, cursor=None)
    assert {(each.state, each.attempts) for each in page.items} == {(DeliveryState.DELIVERED, 1)}
