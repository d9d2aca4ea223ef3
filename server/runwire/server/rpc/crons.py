"""The service of crons: converts, calls, converts back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from runwire.server.core.crons import CronChange, CronDraft, Crons
from runwire.server.model.requests import Order, RequestKey
from runwire.server.model.runs import OnDisconnect, RunSpec
from runwire.server.model.schedules import InvalidSchedule, Schedule, is_time_zone
from runwire.server.model.webhook_urls import UrlPolicy
from runwire.server.rpc import enums, payloads
from runwire.server.rpc.calls import Context
from runwire.server.rpc.fields import Fields, assistant_filter
from runwire.server.rpc.paging import PageRequest, read_page
from runwire.server.rpc.principals import current_principal
from runwire.server.rpc.read_masks import masked, read_mask
from runwire.server.rpc.requests import read_key, read_request
from runwire.server.rpc.resources import cron_message
from runwire.server.rpc.specs import read_spec
from runwire.server.storage.crons import CronFilter
from runwire.v1 import core_pb2, crons_pb2_grpc
from runwire.v1 import crons_pb2 as wire

UTC_NAME = "UTC"

_NOT_FOR_CRONS = {
    "command": "must be unset: a cron gives input, or none",
    "checkpoint": "must be unset: a cron goes on from the newest",
    "start_delay": "must be unset: the schedule says when",
}
_CHANGING = ("schedule", "time_zone", "enabled", "end_time", "metadata")
_FIXED = ("assistant_id", "thread_id")


class CronServicer(crons_pb2_grpc.CronServiceServicer):
    """Answers for `runwire.v1.CronService`."""

    def __init__(self, crons: Crons, *, webhooks: UrlPolicy) -> None:
        """`webhooks` says which of them runs may name."""
        self._crons = crons
        self._read_draft = partial(_read_draft, webhooks=webhooks)
        self._read_change = partial(_read_change, webhooks=webhooks)

    async def CreateCron(
        self, request: wire.CreateCronRequest, context: Context
    ) -> wire.CreateCronResponse:
        """Create a cron."""
        draft, key = await read_request(request, self._read_draft)
        cron = await self._crons.create(draft, key, current_principal())
        return wire.CreateCronResponse(cron=cron_message(cron))

    async def GetCron(self, request: wire.GetCronRequest, context: Context) -> wire.GetCronResponse:
        """Return a cron."""
        cron_id = await read_request(request, _read_id)
        return wire.GetCronResponse(cron=cron_message(await self._crons.get(cron_id)))

    async def ListCrons(
        self, request: wire.ListCronsRequest, context: Context
    ) -> wire.ListCronsResponse:
        """Return a page of crons."""
        query = await read_request(request, _read_query)
        page = await self._crons.list(
            query.wanted,
            query.order,
            limit=query.page.limit,
            cursor=query.page.cursor,
            count_total=request.count_total,
        )
        return wire.ListCronsResponse(
            crons=[masked(cron_message(cron), query.mask) for cron in page.items],
            next_page_token=query.page.next_token(page.next),
            total_size=page.total,
        )

    async def UpdateCron(
        self, request: wire.UpdateCronRequest, context: Context
    ) -> wire.UpdateCronResponse:
        """Change a cron."""
        cron_id, change = await read_request(request, self._read_change)
        cron = await self._crons.update(cron_id, change)
        return wire.UpdateCronResponse(cron=cron_message(cron))

    async def DeleteCron(
        self, request: wire.DeleteCronRequest, context: Context
    ) -> wire.DeleteCronResponse:
        """Delete a cron."""
        cron_id = await read_request(request, _read_id)
        await self._crons.delete(cron_id)
        return wire.DeleteCronResponse()


@dataclass(frozen=True, slots=True)
class _Query:
    wanted: CronFilter
    order: Order
    page: PageRequest
    mask: FieldMask | None


def _read_draft(
    request: wire.CreateCronRequest, fields: Fields, *, webhooks: UrlPolicy
) -> tuple[CronDraft, RequestKey | None]:
    time_zone = _read_zone(request.time_zone, fields)
    schedule = fields.required("schedule", request.schedule)
    if schedule:
        _check_schedule(schedule, fields)
    draft = CronDraft(
        spec=_read_spec(request.spec, fields, webhooks),
        schedule=schedule,
        time_zone=time_zone,
        enabled=request.enabled if request.HasField("enabled") else True,
        end_time=_read_time("end_time", request, fields),
        metadata=fields.metadata("metadata", request.metadata),
    )
    return draft, read_key("CronService/CreateCron", request, fields)


def _read_id(request: wire.GetCronRequest | wire.DeleteCronRequest, fields: Fields) -> str:
    return fields.required_id("cron_id", request.cron_id)


def _read_query(request: wire.ListCronsRequest, fields: Fields) -> _Query:
    wanted = CronFilter(
        assistant_id=assistant_filter(request.assistant_id),
        thread_id=fields.optional_id("thread_id", request.thread_id) or "",
        enabled=request.enabled if request.HasField("enabled") else None,
        metadata=fields.metadata("metadata", request.metadata),
    )
    order = fields.order(request.order, enums.CRON_ORDERS)
    mask = read_mask(request.read_mask, wire.Cron, fields)
    return _Query(wanted, order, read_page(request, fields), mask)


def _read_change(
    request: wire.UpdateCronRequest, fields: Fields, *, webhooks: UrlPolicy
) -> tuple[str, CronChange]:
    cron_id = fields.required_id("cron_id", request.cron_id)
    named = _read_mask(request, fields)
    schedule = zone = None
    if "schedule" in named:
        schedule = fields.required("schedule", request.schedule)
        if schedule:
            _check_schedule(schedule, fields)
    if "time_zone" in named:
        zone = _read_zone(request.time_zone, fields)
    change = CronChange(
        spec=_read_spec_change(request.spec, named, fields, webhooks),
        schedule=schedule,
        time_zone=zone,
        enabled=_enabled(request) if "enabled" in named else None,
        ends="end_time" in named,
        end_time=_read_time("end_time", request, fields),
        metadata=fields.metadata("metadata", request.metadata) if "metadata" in named else None,
        unlabels="metadata" in request.update_mask.paths and not payloads.is_set(request.metadata),
    )
    return cron_id, change


def _enabled(request: wire.UpdateCronRequest) -> bool:
    return request.enabled if request.HasField("enabled") else True


def _read_mask(request: wire.UpdateCronRequest, fields: Fields) -> Sequence[str]:
    """Return the names of the fields that a request changes."""
    given = [name for name in _CHANGING if request.HasField(name)]
    given += [f"spec.{field.name}" for field, _ in request.spec.ListFields()]
    named = list(request.update_mask.paths) or given
    of_spec = [name for name in core_pb2.RunSpec.DESCRIPTOR.fields_by_name if name not in _FIXED]
    known = {*_CHANGING, *(f"spec.{name}" for name in of_spec)}
    for name in _FIXED:
        if f"spec.{name}" in {*named, *given}:
            fields.refuse(f"spec.{name}", "of a cron cannot be changed")
    fixed = {f"spec.{name}" for name in _FIXED}
    for index, name in enumerate(request.update_mask.paths):
        if name not in known | fixed:
            fields.refuse(f"update_mask.paths[{index}]", "is not a field that can be changed")
    for name in given:
        if name not in {*named, *fixed}:
            fields.refuse(name, "is set, but not named in update_mask")
    return named


def _read_spec_change(
    spec: core_pb2.RunSpec, named: Sequence[str], fields: Fields, webhooks: UrlPolicy
) -> dict[str, Any]:
    """Return the fields of a specification that are named, as the model has them."""
    names = {name.removeprefix("spec.") for name in named if name.startswith("spec.")}
    whole = core_pb2.RunSpec()
    whole.CopyFrom(spec)
    # Not changed, and nothing here depends on which it is.
    whole.assistant_id, whole.thread_id = "any", ""
    read = _read_spec(whole, fields, webhooks)
    return {name: getattr(read, name) for name in names if hasattr(read, name)}


def _read_spec(spec: core_pb2.RunSpec, fields: Fields, webhooks: UrlPolicy) -> RunSpec:
    """Read what the runs of a cron are asked to do."""
    rest = core_pb2.RunSpec()
    rest.CopyFrom(spec)
    for name, why in _NOT_FOR_CRONS.items():
        if spec.HasField(name):
            fields.refuse(f"spec.{name}", why)
            rest.ClearField(name)
    read = read_spec(rest, fields, "spec", webhooks=webhooks)
    if read.on_disconnect is OnDisconnect.CANCEL:
        fields.refuse("spec.on_disconnect", "must be unset: no call stays with the runs of a cron")
    return read


def _check_schedule(text: str, fields: Fields) -> None:
    try:
        Schedule(text, UTC_NAME)
    except InvalidSchedule as error:
        fields.refuse("schedule", str(error))


def _read_zone(name: str, fields: Fields) -> str:
    if name and not is_time_zone(name):
        fields.refuse("time_zone", f"is no time zone of the IANA database: {name[:64]!r}")
        return UTC_NAME
    return name or UTC_NAME


def _read_time(name: str, request: Any, fields: Fields) -> datetime | None:
    if not request.HasField(name):
        return None
    time: Timestamp = getattr(request, name)
    try:
        return time.ToDatetime(UTC)
    except (OverflowError, ValueError):
        fields.refuse(name, "is not a time of the years 1 to 9999")
        return None
