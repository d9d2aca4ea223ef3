# Made from ../webhooks.py by client/make_sync.py: change that one.
"""Webhooks: what became of the calls that tell of runs' ends. langgraph_sdk has nothing of this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from runwire.client.arguments import TimeSpan, choice, time_range
from runwire.client.convert import delivery_of
from runwire.client.sync.paging import collect
from runwire.v1 import webhooks_pb2

if TYPE_CHECKING:
    from runwire.client.schema import WebhookDelivery
    from runwire.client.sync.channel import Connection

    State = Literal["pending", "delivered", "dead"]

_PAGE_LIMIT = 500

_STATES = {
    "pending": webhooks_pb2.WEBHOOK_DELIVERY_STATE_PENDING,
    "delivered": webhooks_pb2.WEBHOOK_DELIVERY_STATE_DELIVERED,
    "dead": webhooks_pb2.WEBHOOK_DELIVERY_STATE_DEAD,
}


class SyncWebhooksClient:
    """What can be done with the deliveries of webhooks. `headers` are sent as metadata with the
    call."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(
        self,
        *,
        run_id: str | None = None,
        state: State | Sequence[State] | None = None,
        created: TimeSpan | None = None,
        limit: int = 10,
        offset: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> list[WebhookDelivery]:
        """Return the deliveries that pass all filters, newest first.

        `created` is a pair of moments, of which either may be None: the run ended from the first
        on, and before the second.
        """
        request = webhooks_pb2.ListWebhookDeliveriesRequest(
            run_id=run_id,
            states=_states(state),
            create_time=time_range(created),
        )

        def fetch(size: int, token: str) -> tuple[Sequence[Any], str]:
            request.page_size, request.page_token = size, token
            response = self._connection.call(
                self._connection.services.webhooks.ListWebhookDeliveries, request, headers
            )
            return response.deliveries, response.next_page_token

        found, _ = collect(fetch, limit, offset, page_limit=_PAGE_LIMIT)
        return [delivery_of(delivery) for delivery in found]

    def get(self, delivery_id: str, *, headers: Mapping[str, str] | None = None) -> WebhookDelivery:
        """Return a delivery with its body. Raises `NotFoundError`."""
        response = self._connection.call(
            self._connection.services.webhooks.GetWebhookDelivery,
            webhooks_pb2.GetWebhookDeliveryRequest(delivery_id=delivery_id),
            headers,
        )
        return cast("WebhookDelivery", {**delivery_of(response.delivery), "body": response.body})

    def replay(
        self, delivery_id: str, *, headers: Mapping[str, str] | None = None
    ) -> WebhookDelivery:
        """Send a delivery again that has ended, a delivered one too, and return it.

        Raises `NotFoundError`, `ConflictError` if it is pending.
        """
        response = self._connection.call(
            self._connection.services.webhooks.ReplayWebhookDelivery,
            webhooks_pb2.ReplayWebhookDeliveryRequest(delivery_id=delivery_id),
            headers,
        )
        return delivery_of(response.delivery)

    def replay_all(
        self,
        *,
        run_id: str | None = None,
        state: State | Sequence[State] | None = None,
        created: TimeSpan | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> int:
        """Send all deliveries again that have ended and pass all filters, by default those that
        were given up; return how many there are."""
        request = webhooks_pb2.ReplayWebhookDeliveriesRequest(
            run_id=run_id,
            states=_states(state),
            create_time=time_range(created),
        )
        response = self._connection.call(
            self._connection.services.webhooks.ReplayWebhookDeliveries, request, headers
        )
        return response.replayed


def _states(state: str | Sequence[str] | None) -> Any:
    names = [state] if isinstance(state, str) else state or ()
    return [choice("state", name, _STATES) for name in names]
