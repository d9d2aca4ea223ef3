# Made from ../crons.py by client/make_sync.py: change that one.
"""Crons: runs that start by themselves, at the times that a schedule says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from runwire.client.arguments import new_request_id, payload, payload_or_none, refuse
from runwire.client.convert import cron_of
from runwire.client.specs import build_spec
from runwire.client.sync.paging import chosen, collect, order_of
from runwire.v1 import crons_pb2

if TYPE_CHECKING:
    from langgraph_sdk import schema as sdk

    from runwire.client.schema import Cron
    from runwire.client.sync.channel import Connection

_PAGE_LIMIT = 500

_FIELDS = {
    "created_at": "CREATE_TIME",
    "updated_at": "UPDATE_TIME",
    "next_run_date": "NEXT_FIRE_TIME",
    "end_time": "END_TIME",
    "assistant_id": "ASSISTANT_ID",
    "thread_id": "THREAD_ID",
    # Ids begin with the time at which they were made.
    "cron_id": "CREATE_TIME",
}
_ORDERS = {
    (name, direction): crons_pb2.CronOrder.Value(f"CRON_ORDER_{field}_{direction.upper()}")
    for name, field in _FIELDS.items()
    for direction in ("asc", "desc")
}

_OPTION_FIELDS = {
    "input": "input",
    "metadata": "metadata",
    "config": "config",
    "context": "context",
    "webhook": "webhook",
    "interrupt_before": "interrupt_before",
    "interrupt_after": "interrupt_after",
    "on_completion": "on_completion",
    "stream_mode": "stream_modes",
    "stream_subgraphs": "stream_subgraphs",
    "durability": "durability",
}
"""The fields of a specification that `update` changes, by the names of their arguments."""

_KEPT: Any = object()


class SyncCronsClient:
    """What can be done with crons.

    A schedule is five fields (minute, hour, day of the month, month, day of the week), read in
    `timezone`: the name of a zone or a tzinfo that has one, UTC by default. `metadata` is the
    cron's, to search for, and that of its runs. `headers` are sent as metadata with the call.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create_for_thread(
        self,
        thread_id: str,
        assistant_id: str,
        *,
        schedule: str,
        input: sdk.Input | None = None,
        metadata: Mapping[str, Any] | None = None,
        config: sdk.Config | None = None,
        context: sdk.Context | None = None,
        checkpoint_during: bool | None = None,
        interrupt_before: sdk.All | list[str] | None = None,
        interrupt_after: sdk.All | list[str] | None = None,
        webhook: str | None = None,
        multitask_strategy: str | None = None,
        end_time: datetime | None = None,
        enabled: bool | None = None,
        timezone: str | tzinfo | None = None,
        stream_mode: sdk.StreamMode | Sequence[sdk.StreamMode] | None = None,
        stream_subgraphs: bool | None = None,
        stream_resumable: bool | None = None,
        durability: sdk.Durability | None = None,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
        request_id: str | None = None,
    ) -> Cron:
        """Create a cron whose runs work on a thread, with which it goes. See `create`."""
        return self._create(
            thread_id,
            assistant_id,
            {
                "input": input,
                "metadata": metadata,
                "config": config,
                "context": context,
                "checkpoint_during": checkpoint_during,
                "interrupt_before": interrupt_before,
                "interrupt_after": interrupt_after,
                "webhook": webhook,
                "multitask_strategy": multitask_strategy or None,
                "stream_mode": stream_mode,
                "stream_subgraphs": stream_subgraphs,
                "stream_resumable": stream_resumable,
                "durability": durability,
            },
            _request(schedule, timezone, end_time, enabled, metadata, request_id),
            headers,
            params,
        )

    def create(
        self,
        assistant_id: str,
        *,
        schedule: str,
        input: sdk.Input | None = None,
        metadata: Mapping[str, Any] | None = None,
        config: sdk.Config | None = None,
        context: sdk.Context | None = None,
        checkpoint_during: bool | None = None,
        interrupt_before: sdk.All | list[str] | None = None,
        interrupt_after: sdk.All | list[str] | None = None,
        webhook: str | None = None,
        on_run_completed: sdk.OnCompletionBehavior | None = None,
        multitask_strategy: str | None = None,
        end_time: datetime | None = None,
        enabled: bool | None = None,
        timezone: str | tzinfo | None = None,
        stream_mode: sdk.StreamMode | Sequence[sdk.StreamMode] | None = None,
        stream_subgraphs: bool | None = None,
        stream_resumable: bool | None = None,
        durability: sdk.Durability | None = None,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
        request_id: str | None = None,
    ) -> Cron:
        """Create a cron whose runs are stateless; with `on_run_completed` "keep" each leaves a
        thread of its own.

        It fires until `end_time`, which without a zone is in UTC. `request_id` makes the call
        repeatable: with the same id and the same arguments it answers with the same cron; the
        client makes one for its own retries. Raises `NotFoundError` for an unknown assistant or
        thread, `InvalidArgumentError` for a schedule or a zone that is none.
        """
        return self._create(
            None,
            assistant_id,
            {
                "input": input,
                "metadata": metadata,
                "config": config,
                "context": context,
                "checkpoint_during": checkpoint_during,
                "interrupt_before": interrupt_before,
                "interrupt_after": interrupt_after,
                "webhook": webhook,
                "on_completion": on_run_completed,
                "multitask_strategy": multitask_strategy or None,
                "stream_mode": stream_mode,
                "stream_subgraphs": stream_subgraphs,
                "stream_resumable": stream_resumable,
                "durability": durability,
            },
            _request(schedule, timezone, end_time, enabled, metadata, request_id),
            headers,
            params,
        )

    def _create(
        self,
        thread_id: str | None,
        assistant_id: str,
        options: Mapping[str, Any],
        request: crons_pb2.CreateCronRequest,
        headers: Mapping[str, str] | None,
        params: sdk.QueryParamTypes | None,
    ) -> Cron:
        refuse(params=params)
        request.spec.CopyFrom(build_spec(thread_id, assistant_id, options))
        response = self._connection.call(
            self._connection.services.crons.CreateCron, request, headers
        )
        return cron_of(response.cron)

    def get(
        self,
        cron_id: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> Cron:
        """Return a cron. Raises `NotFoundError`."""
        refuse(params=params)
        response = self._connection.call(
            self._connection.services.crons.GetCron,
            crons_pb2.GetCronRequest(cron_id=cron_id),
            headers,
        )
        return cron_of(response.cron)

    def delete(
        self,
        cron_id: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> None:
        """Delete a cron; its runs stay. Raises `NotFoundError`."""
        refuse(params=params)
        self._connection.call(
            self._connection.services.crons.DeleteCron,
            crons_pb2.DeleteCronRequest(cron_id=cron_id),
            headers,
        )

    def update(
        self,
        cron_id: str,
        *,
        schedule: str | None = None,
        end_time: datetime | None = _KEPT,
        input: sdk.Input | None = None,
        metadata: Mapping[str, Any] | None = None,
        config: sdk.Config | None = None,
        context: sdk.Context | None = None,
        webhook: str | None = None,
        interrupt_before: sdk.All | list[str] | None = None,
        interrupt_after: sdk.All | list[str] | None = None,
        on_run_completed: sdk.OnCompletionBehavior | None = None,
        enabled: bool | None = None,
        timezone: str | tzinfo | None = None,
        stream_mode: sdk.StreamMode | Sequence[sdk.StreamMode] | None = None,
        stream_subgraphs: bool | None = None,
        stream_resumable: bool | None = None,
        durability: sdk.Durability | None = None,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> Cron:
        """Change a cron; what is not given stays as it is. An `end_time` of None takes the end
        away. The cron's metadata is merged key by key (None removes a key); what is given of the
        run's arguments replaces what there was, `metadata` too. Raises `NotFoundError`,
        `InvalidArgumentError`."""
        refuse(params=params)
        options = {
            "input": input,
            "metadata": metadata,
            "config": config,
            "context": context,
            "webhook": webhook,
            "interrupt_before": interrupt_before,
            "interrupt_after": interrupt_after,
            "on_completion": on_run_completed,
            "stream_mode": stream_mode,
            "stream_subgraphs": stream_subgraphs,
            "stream_resumable": stream_resumable,
            "durability": durability,
        }
        ends = end_time is not _KEPT
        zone = _zone_name(timezone)
        named = {
            "schedule": schedule is not None,
            "time_zone": zone is not None,
            "enabled": enabled is not None,
            "end_time": ends,
            "metadata": metadata is not None,
            **{
                f"spec.{field}": options[option] is not None
                for option, field in _OPTION_FIELDS.items()
            },
        }
        request = crons_pb2.UpdateCronRequest(
            cron_id=cron_id,
            spec=build_spec(None, "", options),
            schedule=schedule,
            time_zone=zone,
            enabled=enabled,
            end_time=_moment(end_time) if ends else None,
            metadata=payload_or_none(metadata, "metadata"),
            update_mask=FieldMask(paths=[name for name, given in named.items() if given]),
        )
        response = self._connection.call(
            self._connection.services.crons.UpdateCron, request, headers
        )
        return cron_of(response.cron)

    def search(
        self,
        *,
        assistant_id: str | None = None,
        thread_id: str | None = None,
        enabled: bool | None = None,
        metadata: sdk.Json = None,
        limit: int = 10,
        offset: int = 0,
        sort_by: sdk.CronSortBy | None = None,
        sort_order: sdk.SortOrder | None = None,
        select: list[sdk.CronSelectField] | None = None,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> list[Cron]:
        """Return the crons that pass all filters, newest first unless said otherwise."""
        refuse(params=params)
        order = order_of(sort_by, sort_order, _ORDERS)
        request = _wanted(assistant_id, thread_id, metadata, enabled, order)

        def fetch(size: int, token: str) -> tuple[Sequence[crons_pb2.Cron], str]:
            request.page_size, request.page_token = size, token
            response = self._connection.call(
                self._connection.services.crons.ListCrons, request, headers
            )
            return response.crons, response.next_page_token

        found, _ = collect(fetch, limit, offset, page_limit=_PAGE_LIMIT)
        return [chosen(cron_of(cron), select) for cron in found]

    def count(
        self,
        *,
        assistant_id: str | None = None,
        thread_id: str | None = None,
        metadata: sdk.Json = None,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> int:
        """Return how many crons pass all filters."""
        refuse(params=params)
        request = _wanted(assistant_id, thread_id, metadata)
        request.page_size, request.count_total = 1, True
        response = self._connection.call(
            self._connection.services.crons.ListCrons, request, headers
        )
        return response.total_size


def _request(
    schedule: str,
    timezone: str | tzinfo | None,
    end_time: datetime | None,
    enabled: bool | None,
    metadata: Mapping[str, Any] | None,
    request_id: str | None,
) -> crons_pb2.CreateCronRequest:
    return crons_pb2.CreateCronRequest(
        schedule=schedule,
        time_zone=_zone_name(timezone),
        enabled=enabled,
        end_time=_moment(end_time),
        metadata=payload(metadata, "metadata") if metadata else None,
        request_id=request_id or new_request_id(),
    )


def _wanted(
    assistant_id: str | None,
    thread_id: str | None,
    metadata: sdk.Json,
    enabled: bool | None = None,
    order: Any = None,
) -> crons_pb2.ListCronsRequest:
    return crons_pb2.ListCronsRequest(
        assistant_id=assistant_id,
        thread_id=thread_id,
        metadata=payload_or_none(metadata or None, "metadata"),
        enabled=enabled,
        order=order,
    )


def _zone_name(zone: str | tzinfo | None) -> str | None:
    """Return the name of a time zone. Raises ValueError for one that has none."""
    if zone is None or isinstance(zone, str):
        return zone
    name = "UTC" if zone is UTC else getattr(zone, "key", None)
    if not isinstance(name, str):
        raise ValueError(f"timezone: {zone!r} has no name: give one, such as 'Europe/Berlin'")
    return name


def _moment(time: datetime | None) -> Timestamp | None:
    if time is None:
        return None
    moment = Timestamp()
    moment.FromDatetime(time if time.tzinfo else time.replace(tzinfo=UTC))
    return moment
