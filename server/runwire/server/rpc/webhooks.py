"""The service of webhooks: converts, calls, converts back."""

from dataclasses import dataclass

from runwire.server.core.webhooks import Webhooks
from runwire.server.model.webhook_urls import shown_url
from runwire.server.model.webhooks import Delivery, DeliveryFilter, DeliveryState
from runwire.server.rpc import enums
from runwire.server.rpc.calls import Context
from runwire.server.rpc.fields import Fields
from runwire.server.rpc.paging import PageRequest, read_page
from runwire.server.rpc.requests import read_request
from runwire.v1 import webhooks_pb2 as wire
from runwire.v1 import webhooks_pb2_grpc


class WebhookServicer(webhooks_pb2_grpc.WebhookServiceServicer):
    """Answers for `runwire.v1.WebhookService`."""

    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks

    async def ListWebhookDeliveries(
        self, request: wire.ListWebhookDeliveriesRequest, context: Context
    ) -> wire.ListWebhookDeliveriesResponse:
        """Return a page of deliveries."""
        query = await read_request(request, _read_query)
        page = await self._webhooks.list(
            query.wanted, limit=query.page.limit, cursor=query.page.cursor
        )
        return wire.ListWebhookDeliveriesResponse(
            deliveries=[_delivery_message(delivery) for delivery in page.items],
            next_page_token=query.page.next_token(page.next),
        )

    async def GetWebhookDelivery(
        self, request: wire.GetWebhookDeliveryRequest, context: Context
    ) -> wire.GetWebhookDeliveryResponse:
        """Return a delivery."""
        delivery = await self._webhooks.get(await read_request(request, _read_id))
        return wire.GetWebhookDeliveryResponse(
            delivery=_delivery_message(delivery), body=delivery.body
        )

    async def ReplayWebhookDelivery(
        self, request: wire.ReplayWebhookDeliveryRequest, context: Context
    ) -> wire.ReplayWebhookDeliveryResponse:
        """Send a delivery again."""
        delivery = await self._webhooks.replay(await read_request(request, _read_id))
        return wire.ReplayWebhookDeliveryResponse(delivery=_delivery_message(delivery))

    async def ReplayWebhookDeliveries(
        self, request: wire.ReplayWebhookDeliveriesRequest, context: Context
    ) -> wire.ReplayWebhookDeliveriesResponse:
        """Send many deliveries again."""
        wanted = await read_request(request, _read_replay)
        replayed = await self._webhooks.replay_many(wanted)
        return wire.ReplayWebhookDeliveriesResponse(replayed=replayed)


@dataclass(frozen=True, slots=True)
class _Query:
    wanted: DeliveryFilter
    page: PageRequest


def _read_id(
    request: wire.GetWebhookDeliveryRequest | wire.ReplayWebhookDeliveryRequest, fields: Fields
) -> str:
    return fields.required_id("delivery_id", request.delivery_id)


def _read_query(request: wire.ListWebhookDeliveriesRequest, fields: Fields) -> _Query:
    states = fields.words("states", request.states, enums.DELIVERY_STATES)
    return _Query(_read_filter(request, states, fields), read_page(request, fields))


def _read_replay(request: wire.ReplayWebhookDeliveriesRequest, fields: Fields) -> DeliveryFilter:
    states = fields.words("states", request.states, enums.DELIVERY_STATES)
    if DeliveryState.PENDING in states:
        fields.refuse("states", "must not name deliveries that are pending")
    return _read_filter(request, states or (DeliveryState.DEAD,), fields)


def _read_filter(
    request: wire.ListWebhookDeliveriesRequest | wire.ReplayWebhookDeliveriesRequest,
    states: tuple[DeliveryState, ...],
    fields: Fields,
) -> DeliveryFilter:
    return DeliveryFilter(
        run_id=fields.optional_id("run_id", request.run_id) or "",
        states=states,
        created=fields.span("create_time", request.create_time),
    )


def _delivery_message(delivery: Delivery) -> wire.WebhookDelivery:
    return wire.WebhookDelivery(
        delivery_id=delivery.delivery_id,
        run_id=delivery.run_id,
        url=shown_url(delivery.url),
        event_type=delivery.event_type,
        state=enums.DELIVERY_STATES.number(delivery.state),
        attempts=delivery.attempts,
        attempt_time=delivery.attempt_time,
        last_status=delivery.status or 0,
        last_error=delivery.error,
        next_attempt_time=delivery.due_time,
        create_time=delivery.create_time,
        end_time=delivery.end_time,
    )
