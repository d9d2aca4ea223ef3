from google.protobuf import field_mask_pb2 as _field_mask_pb2
from runwire.v1 import core_pb2 as _core_pb2
from runwire.v1 import errors_pb2 as _errors_pb2
from runwire.v1 import events_pb2 as _events_pb2
from runwire.v1 import payload_pb2 as _payload_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RunOrder(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUN_ORDER_UNSPECIFIED: _ClassVar[RunOrder]
    RUN_ORDER_CREATE_TIME_DESC: _ClassVar[RunOrder]
    RUN_ORDER_CREATE_TIME_ASC: _ClassVar[RunOrder]
    RUN_ORDER_UPDATE_TIME_DESC: _ClassVar[RunOrder]
    RUN_ORDER_UPDATE_TIME_ASC: _ClassVar[RunOrder]
    RUN_ORDER_END_TIME_DESC: _ClassVar[RunOrder]
    RUN_ORDER_END_TIME_ASC: _ClassVar[RunOrder]

class RunChangeKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUN_CHANGE_KIND_UNSPECIFIED: _ClassVar[RunChangeKind]
    RUN_CHANGE_KIND_MOVED: _ClassVar[RunChangeKind]
    RUN_CHANGE_KIND_ROLLED_BACK: _ClassVar[RunChangeKind]
    RUN_CHANGE_KIND_DELETED: _ClassVar[RunChangeKind]
RUN_ORDER_UNSPECIFIED: RunOrder
RUN_ORDER_CREATE_TIME_DESC: RunOrder
RUN_ORDER_CREATE_TIME_ASC: RunOrder
RUN_ORDER_UPDATE_TIME_DESC: RunOrder
RUN_ORDER_UPDATE_TIME_ASC: RunOrder
RUN_ORDER_END_TIME_DESC: RunOrder
RUN_ORDER_END_TIME_ASC: RunOrder
RUN_CHANGE_KIND_UNSPECIFIED: RunChangeKind
RUN_CHANGE_KIND_MOVED: RunChangeKind
RUN_CHANGE_KIND_ROLLED_BACK: RunChangeKind
RUN_CHANGE_KIND_DELETED: RunChangeKind

class RunChange(_message.Message):
    __slots__ = ("kind", "run")
    KIND_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    kind: RunChangeKind
    run: _core_pb2.Run
    def __init__(self, kind: _Optional[_Union[RunChangeKind, str]] = ..., run: _Optional[_Union[_core_pb2.Run, _Mapping]] = ...) -> None: ...

class CancelRunResult(_message.Message):
    __slots__ = ("run_id", "run", "reason", "message")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    run: _core_pb2.Run
    reason: _errors_pb2.ErrorReason
    message: str
    def __init__(self, run_id: _Optional[str] = ..., run: _Optional[_Union[_core_pb2.Run, _Mapping]] = ..., reason: _Optional[_Union[_errors_pb2.ErrorReason, str]] = ..., message: _Optional[str] = ...) -> None: ...

class CreateRunRequest(_message.Message):
    __slots__ = ("spec", "request_id")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    spec: _core_pb2.RunSpec
    request_id: str
    def __init__(self, spec: _Optional[_Union[_core_pb2.RunSpec, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateRunResponse(_message.Message):
    __slots__ = ("run", "replayed")
    RUN_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    run: _core_pb2.Run
    replayed: bool
    def __init__(self, run: _Optional[_Union[_core_pb2.Run, _Mapping]] = ..., replayed: _Optional[bool] = ...) -> None: ...

class BatchCreateRunsRequest(_message.Message):
    __slots__ = ("specs", "request_id")
    SPECS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    specs: _containers.RepeatedCompositeFieldContainer[_core_pb2.RunSpec]
    request_id: str
    def __init__(self, specs: _Optional[_Iterable[_Union[_core_pb2.RunSpec, _Mapping]]] = ..., request_id: _Optional[str] = ...) -> None: ...

class BatchCreateRunsResponse(_message.Message):
    __slots__ = ("runs", "replayed")
    RUNS_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[_core_pb2.Run]
    replayed: bool
    def __init__(self, runs: _Optional[_Iterable[_Union[_core_pb2.Run, _Mapping]]] = ..., replayed: _Optional[bool] = ...) -> None: ...

class RunStreamRequest(_message.Message):
    __slots__ = ("spec", "request_id")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    spec: _core_pb2.RunSpec
    request_id: str
    def __init__(self, spec: _Optional[_Union[_core_pb2.RunSpec, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class RunStreamResponse(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[_events_pb2.RunEvent]
    def __init__(self, events: _Optional[_Iterable[_Union[_events_pb2.RunEvent, _Mapping]]] = ...) -> None: ...

class RunWaitRequest(_message.Message):
    __slots__ = ("spec", "request_id")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    spec: _core_pb2.RunSpec
    request_id: str
    def __init__(self, spec: _Optional[_Union[_core_pb2.RunSpec, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class RunWaitResponse(_message.Message):
    __slots__ = ("run", "output", "interrupts", "replayed")
    RUN_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    INTERRUPTS_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    run: _core_pb2.Run
    output: _payload_pb2.Payload
    interrupts: _containers.RepeatedCompositeFieldContainer[_core_pb2.Interrupt]
    replayed: bool
    def __init__(self, run: _Optional[_Union[_core_pb2.Run, _Mapping]] = ..., output: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., interrupts: _Optional[_Iterable[_Union[_core_pb2.Interrupt, _Mapping]]] = ..., replayed: _Optional[bool] = ...) -> None: ...

class JoinRunStreamRequest(_message.Message):
    __slots__ = ("run_id", "after_event_id", "live_only", "stream_modes", "on_disconnect")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    LIVE_ONLY_FIELD_NUMBER: _ClassVar[int]
    STREAM_MODES_FIELD_NUMBER: _ClassVar[int]
    ON_DISCONNECT_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    after_event_id: str
    live_only: bool
    stream_modes: _containers.RepeatedScalarFieldContainer[_core_pb2.StreamMode]
    on_disconnect: _core_pb2.OnDisconnect
    def __init__(self, run_id: _Optional[str] = ..., after_event_id: _Optional[str] = ..., live_only: _Optional[bool] = ..., stream_modes: _Optional[_Iterable[_Union[_core_pb2.StreamMode, str]]] = ..., on_disconnect: _Optional[_Union[_core_pb2.OnDisconnect, str]] = ...) -> None: ...

class JoinRunStreamResponse(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[_events_pb2.RunEvent]
    def __init__(self, events: _Optional[_Iterable[_Union[_events_pb2.RunEvent, _Mapping]]] = ...) -> None: ...

class JoinRunRequest(_message.Message):
    __slots__ = ("run_id",)
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    def __init__(self, run_id: _Optional[str] = ...) -> None: ...

class JoinRunResponse(_message.Message):
    __slots__ = ("run", "output", "interrupts")
    RUN_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    INTERRUPTS_FIELD_NUMBER: _ClassVar[int]
    run: _core_pb2.Run
    output: _payload_pb2.Payload
    interrupts: _containers.RepeatedCompositeFieldContainer[_core_pb2.Interrupt]
    def __init__(self, run: _Optional[_Union[_core_pb2.Run, _Mapping]] = ..., output: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., interrupts: _Optional[_Iterable[_Union[_core_pb2.Interrupt, _Mapping]]] = ...) -> None: ...

class GetRunRequest(_message.Message):
    __slots__ = ("run_id",)
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    def __init__(self, run_id: _Optional[str] = ...) -> None: ...

class GetRunResponse(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: _core_pb2.Run
    def __init__(self, run: _Optional[_Union[_core_pb2.Run, _Mapping]] = ...) -> None: ...

class ListRunsRequest(_message.Message):
    __slots__ = ("thread_id", "assistant_id", "states", "metadata", "page_size", "page_token", "run_ids", "graph_id", "principal", "create_time", "start_time", "end_time", "order", "read_mask", "count_total", "cron_id")
    THREAD_ID_FIELD_NUMBER: _ClassVar[int]
    ASSISTANT_ID_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    RUN_IDS_FIELD_NUMBER: _ClassVar[int]
    GRAPH_ID_FIELD_NUMBER: _ClassVar[int]
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    READ_MASK_FIELD_NUMBER: _ClassVar[int]
    COUNT_TOTAL_FIELD_NUMBER: _ClassVar[int]
    CRON_ID_FIELD_NUMBER: _ClassVar[int]
    thread_id: str
    assistant_id: str
    states: _containers.RepeatedScalarFieldContainer[_core_pb2.RunState]
    metadata: _payload_pb2.Payload
    page_size: int
    page_token: str
    run_ids: _containers.RepeatedScalarFieldContainer[str]
    graph_id: str
    principal: str
    create_time: _core_pb2.TimeRange
    start_time: _core_pb2.TimeRange
    end_time: _core_pb2.TimeRange
    order: RunOrder
    read_mask: _field_mask_pb2.FieldMask
    count_total: bool
    cron_id: str
    def __init__(self, thread_id: _Optional[str] = ..., assistant_id: _Optional[str] = ..., states: _Optional[_Iterable[_Union[_core_pb2.RunState, str]]] = ..., metadata: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., run_ids: _Optional[_Iterable[str]] = ..., graph_id: _Optional[str] = ..., principal: _Optional[str] = ..., create_time: _Optional[_Union[_core_pb2.TimeRange, _Mapping]] = ..., start_time: _Optional[_Union[_core_pb2.TimeRange, _Mapping]] = ..., end_time: _Optional[_Union[_core_pb2.TimeRange, _Mapping]] = ..., order: _Optional[_Union[RunOrder, str]] = ..., read_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., count_total: _Optional[bool] = ..., cron_id: _Optional[str] = ...) -> None: ...

class ListRunsResponse(_message.Message):
    __slots__ = ("runs", "next_page_token", "total_size")
    RUNS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[_core_pb2.Run]
    next_page_token: str
    total_size: int
    def __init__(self, runs: _Optional[_Iterable[_Union[_core_pb2.Run, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total_size: _Optional[int] = ...) -> None: ...

class DeleteRunRequest(_message.Message):
    __slots__ = ("run_id",)
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    def __init__(self, run_id: _Optional[str] = ...) -> None: ...

class DeleteRunResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CancelRunRequest(_message.Message):
    __slots__ = ("run_id", "action", "wait")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    action: _core_pb2.CancelAction
    wait: bool
    def __init__(self, run_id: _Optional[str] = ..., action: _Optional[_Union[_core_pb2.CancelAction, str]] = ..., wait: _Optional[bool] = ...) -> None: ...

class CancelRunResponse(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: _core_pb2.Run
    def __init__(self, run: _Optional[_Union[_core_pb2.Run, _Mapping]] = ...) -> None: ...

class CancelRunsRequest(_message.Message):
    __slots__ = ("run_ids", "thread_id", "assistant_id", "metadata", "states", "action", "wait", "page_size", "page_token", "cron_id")
    RUN_IDS_FIELD_NUMBER: _ClassVar[int]
    THREAD_ID_FIELD_NUMBER: _ClassVar[int]
    ASSISTANT_ID_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    CRON_ID_FIELD_NUMBER: _ClassVar[int]
    run_ids: _containers.RepeatedScalarFieldContainer[str]
    thread_id: str
    assistant_id: str
    metadata: _payload_pb2.Payload
    states: _containers.RepeatedScalarFieldContainer[_core_pb2.RunState]
    action: _core_pb2.CancelAction
    wait: bool
    page_size: int
    page_token: str
    cron_id: str
    def __init__(self, run_ids: _Optional[_Iterable[str]] = ..., thread_id: _Optional[str] = ..., assistant_id: _Optional[str] = ..., metadata: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., states: _Optional[_Iterable[_Union[_core_pb2.RunState, str]]] = ..., action: _Optional[_Union[_core_pb2.CancelAction, str]] = ..., wait: _Optional[bool] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., cron_id: _Optional[str] = ...) -> None: ...

class CancelRunsResponse(_message.Message):
    __slots__ = ("results", "next_page_token")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[CancelRunResult]
    next_page_token: str
    def __init__(self, results: _Optional[_Iterable[_Union[CancelRunResult, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchRunsRequest(_message.Message):
    __slots__ = ("thread_id", "assistant_id", "states", "metadata", "resume_token", "include_unfinished")
    THREAD_ID_FIELD_NUMBER: _ClassVar[int]
    ASSISTANT_ID_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_UNFINISHED_FIELD_NUMBER: _ClassVar[int]
    thread_id: str
    assistant_id: str
    states: _containers.RepeatedScalarFieldContainer[_core_pb2.RunState]
    metadata: _payload_pb2.Payload
    resume_token: str
    include_unfinished: bool
    def __init__(self, thread_id: _Optional[str] = ..., assistant_id: _Optional[str] = ..., states: _Optional[_Iterable[_Union[_core_pb2.RunState, str]]] = ..., metadata: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., resume_token: _Optional[str] = ..., include_unfinished: _Optional[bool] = ...) -> None: ...

class WatchRunsResponse(_message.Message):
    __slots__ = ("changes", "resume_token", "caught_up")
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    CAUGHT_UP_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[RunChange]
    resume_token: str
    caught_up: bool
    def __init__(self, changes: _Optional[_Iterable[_Union[RunChange, _Mapping]]] = ..., resume_token: _Optional[str] = ..., caught_up: _Optional[bool] = ...) -> None: ...
