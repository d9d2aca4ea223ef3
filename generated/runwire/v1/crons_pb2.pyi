import datetime

from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from runwire.v1 import core_pb2 as _core_pb2
from runwire.v1 import errors_pb2 as _errors_pb2
from runwire.v1 import payload_pb2 as _payload_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CronOrder(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CRON_ORDER_UNSPECIFIED: _ClassVar[CronOrder]
    CRON_ORDER_CREATE_TIME_DESC: _ClassVar[CronOrder]
    CRON_ORDER_CREATE_TIME_ASC: _ClassVar[CronOrder]
    CRON_ORDER_UPDATE_TIME_DESC: _ClassVar[CronOrder]
    CRON_ORDER_UPDATE_TIME_ASC: _ClassVar[CronOrder]
    CRON_ORDER_NEXT_FIRE_TIME_DESC: _ClassVar[CronOrder]
    CRON_ORDER_NEXT_FIRE_TIME_ASC: _ClassVar[CronOrder]
    CRON_ORDER_END_TIME_DESC: _ClassVar[CronOrder]
    CRON_ORDER_END_TIME_ASC: _ClassVar[CronOrder]
    CRON_ORDER_ASSISTANT_ID_DESC: _ClassVar[CronOrder]
    CRON_ORDER_ASSISTANT_ID_ASC: _ClassVar[CronOrder]
    CRON_ORDER_THREAD_ID_DESC: _ClassVar[CronOrder]
    CRON_ORDER_THREAD_ID_ASC: _ClassVar[CronOrder]
CRON_ORDER_UNSPECIFIED: CronOrder
CRON_ORDER_CREATE_TIME_DESC: CronOrder
CRON_ORDER_CREATE_TIME_ASC: CronOrder
CRON_ORDER_UPDATE_TIME_DESC: CronOrder
CRON_ORDER_UPDATE_TIME_ASC: CronOrder
CRON_ORDER_NEXT_FIRE_TIME_DESC: CronOrder
CRON_ORDER_NEXT_FIRE_TIME_ASC: CronOrder
CRON_ORDER_END_TIME_DESC: CronOrder
CRON_ORDER_END_TIME_ASC: CronOrder
CRON_ORDER_ASSISTANT_ID_DESC: CronOrder
CRON_ORDER_ASSISTANT_ID_ASC: CronOrder
CRON_ORDER_THREAD_ID_DESC: CronOrder
CRON_ORDER_THREAD_ID_ASC: CronOrder

class Cron(_message.Message):
    __slots__ = ("cron_id", "assistant_id", "thread_id", "schedule", "time_zone", "spec", "enabled", "end_time", "metadata", "next_fire_time", "last_fire_time", "last_run_id", "last_error", "missed_fires", "create_time", "update_time", "principal")
    CRON_ID_FIELD_NUMBER: _ClassVar[int]
    ASSISTANT_ID_FIELD_NUMBER: _ClassVar[int]
    THREAD_ID_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_FIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FIELD_NUMBER: _ClassVar[int]
    MISSED_FIRES_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    cron_id: str
    assistant_id: str
    thread_id: str
    schedule: str
    time_zone: str
    spec: _core_pb2.RunSpec
    enabled: bool
    end_time: _timestamp_pb2.Timestamp
    metadata: _payload_pb2.Payload
    next_fire_time: _timestamp_pb2.Timestamp
    last_fire_time: _timestamp_pb2.Timestamp
    last_run_id: str
    last_error: CronError
    missed_fires: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    principal: str
    def __init__(self, cron_id: _Optional[str] = ..., assistant_id: _Optional[str] = ..., thread_id: _Optional[str] = ..., schedule: _Optional[str] = ..., time_zone: _Optional[str] = ..., spec: _Optional[_Union[_core_pb2.RunSpec, _Mapping]] = ..., enabled: _Optional[bool] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., metadata: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., next_fire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_fire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_run_id: _Optional[str] = ..., last_error: _Optional[_Union[CronError, _Mapping]] = ..., missed_fires: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., principal: _Optional[str] = ...) -> None: ...

class CronError(_message.Message):
    __slots__ = ("reason", "message")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: _errors_pb2.ErrorReason
    message: str
    def __init__(self, reason: _Optional[_Union[_errors_pb2.ErrorReason, str]] = ..., message: _Optional[str] = ...) -> None: ...

class CreateCronRequest(_message.Message):
    __slots__ = ("spec", "schedule", "time_zone", "enabled", "end_time", "metadata", "request_id")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    spec: _core_pb2.RunSpec
    schedule: str
    time_zone: str
    enabled: bool
    end_time: _timestamp_pb2.Timestamp
    metadata: _payload_pb2.Payload
    request_id: str
    def __init__(self, spec: _Optional[_Union[_core_pb2.RunSpec, _Mapping]] = ..., schedule: _Optional[str] = ..., time_zone: _Optional[str] = ..., enabled: _Optional[bool] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., metadata: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateCronResponse(_message.Message):
    __slots__ = ("cron",)
    CRON_FIELD_NUMBER: _ClassVar[int]
    cron: Cron
    def __init__(self, cron: _Optional[_Union[Cron, _Mapping]] = ...) -> None: ...

class GetCronRequest(_message.Message):
    __slots__ = ("cron_id",)
    CRON_ID_FIELD_NUMBER: _ClassVar[int]
    cron_id: str
    def __init__(self, cron_id: _Optional[str] = ...) -> None: ...

class GetCronResponse(_message.Message):
    __slots__ = ("cron",)
    CRON_FIELD_NUMBER: _ClassVar[int]
    cron: Cron
    def __init__(self, cron: _Optional[_Union[Cron, _Mapping]] = ...) -> None: ...

class ListCronsRequest(_message.Message):
    __slots__ = ("assistant_id", "thread_id", "enabled", "metadata", "page_size", "page_token", "order", "count_total", "read_mask")
    ASSISTANT_ID_FIELD_NUMBER: _ClassVar[int]
    THREAD_ID_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    COUNT_TOTAL_FIELD_NUMBER: _ClassVar[int]
    READ_MASK_FIELD_NUMBER: _ClassVar[int]
    assistant_id: str
    thread_id: str
    enabled: bool
    metadata: _payload_pb2.Payload
    page_size: int
    page_token: str
    order: CronOrder
    count_total: bool
    read_mask: _field_mask_pb2.FieldMask
    def __init__(self, assistant_id: _Optional[str] = ..., thread_id: _Optional[str] = ..., enabled: _Optional[bool] = ..., metadata: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., order: _Optional[_Union[CronOrder, str]] = ..., count_total: _Optional[bool] = ..., read_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class ListCronsResponse(_message.Message):
    __slots__ = ("crons", "next_page_token", "total_size")
    CRONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    crons: _containers.RepeatedCompositeFieldContainer[Cron]
    next_page_token: str
    total_size: int
    def __init__(self, crons: _Optional[_Iterable[_Union[Cron, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total_size: _Optional[int] = ...) -> None: ...

class UpdateCronRequest(_message.Message):
    __slots__ = ("cron_id", "spec", "schedule", "time_zone", "enabled", "end_time", "metadata", "update_mask")
    CRON_ID_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    cron_id: str
    spec: _core_pb2.RunSpec
    schedule: str
    time_zone: str
    enabled: bool
    end_time: _timestamp_pb2.Timestamp
    metadata: _payload_pb2.Payload
    update_mask: _field_mask_pb2.FieldMask
    def __init__(self, cron_id: _Optional[str] = ..., spec: _Optional[_Union[_core_pb2.RunSpec, _Mapping]] = ..., schedule: _Optional[str] = ..., time_zone: _Optional[str] = ..., enabled: _Optional[bool] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., metadata: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class UpdateCronResponse(_message.Message):
    __slots__ = ("cron",)
    CRON_FIELD_NUMBER: _ClassVar[int]
    cron: Cron
    def __init__(self, cron: _Optional[_Union[Cron, _Mapping]] = ...) -> None: ...

class DeleteCronRequest(_message.Message):
    __slots__ = ("cron_id",)
    CRON_ID_FIELD_NUMBER: _ClassVar[int]
    cron_id: str
    def __init__(self, cron_id: _Optional[str] = ...) -> None: ...

class DeleteCronResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
