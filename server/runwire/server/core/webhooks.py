"""What callers can ask about webhooks: what became of deliveries, and to send some again."""

import asyncio
import builtins

from runwire.server.model.errors import WebhookDeliveryNotFound, WebhookDeliveryPending
from runwire.server.model.requests import Page
from runwire.server.model.webhooks import Delivery, DeliveryFilter
from runwire.server.storage import webhooks
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Connection, Database

CHUNK = 500
"""Deliveries that one transaction of a bulk replay takes, so that other writers get their turn."""


class Webhooks:
    """What can be done with deliveries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, delivery_id: str) -> Delivery:
        """Return a delivery. Raises `WebhookDeliveryNotFound`."""
        return await self._database.read(lambda connection: _get(connection, delivery_id))

    async def list(
        self, wanted: DeliveryFilter, *, limit: int, cursor: str | None
    ) -> Page[Delivery]:
        """Return the deliveries that are `wanted`, newest first, a page at a time."""
        return await self._database.read(
            lambda connection: webhooks.list_deliveries(
                connection, wanted, limit=limit, cursor=cursor
            )
        )

    async def replay(self, delivery_id: str) -> Delivery:
        """Let a delivery that has ended be sent again, and return it. Raises
        `WebhookDeliveryNotFound`, `WebhookDeliveryPending`."""

        def replay(connection: Connection) -> Delivery:
            _get(connection, delivery_id)
            if not webhooks.revive(connection, [delivery_id], current_time(connection)):
                raise WebhookDeliveryPending(delivery_id)
            return _get(connection, delivery_id)

        return await self._database.write(replay)

    async def replay_many(self, wanted: DeliveryFilter) -> int:
        """Let every delivery that is `wanted` and has ended before this call be sent again; return
        how many there are."""
        task = asyncio.create_task(self._replay_many(wanted), name="replay webhooks")
        return await asyncio.shield(task)

    async def _replay_many(self, wanted: DeliveryFilter) -> int:
        before = await self._database.read(current_time)

        def replay(connection: Connection) -> builtins.list[str]:
            found = webhooks.lock_ended(connection, wanted, before=before, limit=CHUNK)
            webhooks.revive(connection, found, current_time(connection))
            return found

        replayed: set[str] = set()
        while found := await self._database.write(replay):
            replayed.update(found)
        return len(replayed)


def _get(connection: Connection, delivery_id: str) -> Delivery:
    delivery = webhooks.get_delivery(connection, delivery_id)
    if delivery is None:
        raise WebhookDeliveryNotFound(delivery_id)
    return delivery
