import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
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

class PruneStrategy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRUNE_STRATEGY_UNSPECIFIED: _ClassVar[PruneStrategy]
    PRUNE_STRATEGY_DELETE: _ClassVar[PruneStrategy]
    PRUNE_STRATEGY_KEEP_LATEST: _ClassVar[PruneStrategy]

class ThreadState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    THREAD_STATE_UNSPECIFIED: _ClassVar[ThreadState]
    THREAD_STATE_IDLE: _ClassVar[ThreadState]
    THREAD_STATE_BUSY: _ClassVar[ThreadState]
    THREAD_STATE_INTERRUPTED: _ClassVar[ThreadState]
    THREAD_STATE_FAILED: _ClassVar[ThreadState]

class ThreadOrder(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    THREAD_ORDER_UNSPECIFIED: _ClassVar[ThreadOrder]
    THREAD_ORDER_CREATE_TIME_DESC: _ClassVar[ThreadOrder]
    THREAD_ORDER_CREATE_TIME_ASC: _ClassVar[ThreadOrder]
    THREAD_ORDER_UPDATE_TIME_DESC: _ClassVar[ThreadOrder]
    THREAD_ORDER_UPDATE_TIME_ASC: _ClassVar[ThreadOrder]
    THREAD_ORDER_STATE_UPDATE_TIME_DESC: _ClassVar[ThreadOrder]
    THREAD_ORDER_STATE_UPDATE_TIME_ASC: _ClassVar[ThreadOrder]
    THREAD_ORDER_THREAD_ID_DESC: _ClassVar[ThreadOrder]
    THREAD_ORDER_THREAD_ID_ASC: _ClassVar[ThreadOrder]
    THREAD_ORDER_STATE_DESC: _ClassVar[ThreadOrder]
    THREAD_ORDER_STATE_ASC: _ClassVar[ThreadOrder]

class ThreadStreamMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    THREAD_STREAM_MODE_UNSPECIFIED: _ClassVar[ThreadStreamMode]
    THREAD_STREAM_MODE_RUNS: _ClassVar[ThreadStreamMode]
    THREAD_STREAM_MODE_LIFECYCLE: _ClassVar[ThreadStreamMode]
    THREAD_STREAM_MODE_STATE_UPDATES: _ClassVar[ThreadStreamMode]
PRUNE_STRATEGY_UNSPECIFIED: PruneStrategy
PRUNE_STRATEGY_DELETE: PruneStrategy
PRUNE_STRATEGY_KEEP_LATEST: PruneStrategy
THREAD_STATE_UNSPECIFIED: ThreadState
THREAD_STATE_IDLE: ThreadState
THREAD_STATE_BUSY: ThreadState
THREAD_STATE_INTERRUPTED: ThreadState
THREAD_STATE_FAILED: ThreadState
THREAD_ORDER_UNSPECIFIED: ThreadOrder
THREAD_ORDER_CREATE_TIME_DESC: ThreadOrder
THREAD_ORDER_CREATE_TIME_ASC: ThreadOrder
THREAD_ORDER_UPDATE_TIME_DESC: ThreadOrder
THREAD_ORDER_UPDATE_TIME_ASC: ThreadOrder
THREAD_ORDER_STATE_UPDATE_TIME_DESC: ThreadOrder
THREAD_ORDER_STATE_UPDATE_TIME_ASC: ThreadOrder
THREAD_ORDER_THREAD_ID_DESC: ThreadOrder
THREAD_ORDER_THREAD_ID_ASC: ThreadOrder
THREAD_ORDER_STATE_DESC: ThreadOrder
THREAD_ORDER_STATE_ASC: ThreadOrder
THREAD_STREAM_MODE_UNSPECIFIED: ThreadStreamMode
THREAD_STREAM_MODE_RUNS: ThreadStreamMode
THREAD_STREAM_MODE_LIFECYCLE: ThreadStreamMode
THREAD_STREAM_MODE_STATE_UPDATES: ThreadStreamMode

class Thread(_message.Message):
    __slots__ = ("thread_id", "state", "metadata", "values", "interrupts", "error", "create_time", "update_time", "state_update_time", "ttl", "extracted")
    class ExtractedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _payload_pb2.Payload
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ...) -> None: ...
    THREAD_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    INTERRUPTS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    STATE_UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    EXTRACTED_FIELD_NUMBER: _ClassVar[int]
    thread_id: str
    state: ThreadState
    metadata: _payload_pb2.Payload
    values: _payload_pb2.Payload
    interrupts: _containers.RepeatedCompositeFieldContainer[_core_pb2.Interrupt]
    error: _core_pb2.RunError
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    state_update_time: _timestamp_pb2.Timestamp
    ttl: ThreadTtl
    extracted: _containers.MessageMap[str, _payload_pb2.Payload]
    def __init__(self, thread_id: _Optional[str] = ..., state: _Optional[_Union[ThreadState, str]] = ..., metadata: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., values: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., interrupts: _Optional[_Iterable[_Union[_core_pb2.Interrupt, _Mapping]]] = ..., error: _Optional[_Union[_core_pb2.RunError, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., state_update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ttl: _Optional[_Union[ThreadTtl, _Mapping]] = ..., extracted: _Optional[_Mapping[str, _payload_pb2.Payload]] = ...) -> None: ...

class ThreadTtl(_message.Message):
    __slots__ = ("duration", "strategy", "expire_time")
    DURATION_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    duration: _duration_pb2.Duration
    strategy: PruneStrategy
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., strategy: _Optional[_Union[PruneStrategy, str]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ThreadStorage(_message.Message):
    __slots__ = ("thread_id", "checkpoints", "pending_writes", "runs", "event_segments", "oldest_checkpoint_time", "newest_checkpoint_time", "total_bytes")
    THREAD_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    PENDING_WRITES_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    EVENT_SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    OLDEST_CHECKPOINT_TIME_FIELD_NUMBER: _ClassVar[int]
    NEWEST_CHECKPOINT_TIME_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    thread_id: str
    checkpoints: StorageUse
    pending_writes: StorageUse
    runs: StorageUse
    event_segments: StorageUse
    oldest_checkpoint_time: _timestamp_pb2.Timestamp
    newest_checkpoint_time: _timestamp_pb2.Timestamp
    total_bytes: int
    def __init__(self, thread_id: _Optional[str] = ..., checkpoints: _Optional[_Union[StorageUse, _Mapping]] = ..., pending_writes: _Optional[_Union[StorageUse, _Mapping]] = ..., runs: _Optional[_Union[StorageUse, _Mapping]] = ..., event_segments: _Optional[_Union[StorageUse, _Mapping]] = ..., oldest_checkpoint_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., newest_checkpoint_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., total_bytes: _Optional[int] = ...) -> None: ...

class StorageUse(_message.Message):
    __slots__ = ("count", "bytes", "at_least")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    AT_LEAST_FIELD_NUMBER: _ClassVar[int]
    count: int
    bytes: int
    at_least: bool
    def __init__(self, count: _Optional[int] = ..., bytes: _Optional[int] = ..., at_least: _Optional[bool] = ...) -> None: ...

class StateSnapshot(_message.Message):
    __slots__ = ("values", "next", "tasks", "metadata", "create_time", "checkpoint", "parent_checkpoint", "interrupts", "not_shown")
    VALUES_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    PARENT_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    INTERRUPTS_FIELD_NUMBER: _ClassVar[int]
    NOT_SHOWN_FIELD_NUMBER: _ClassVar[int]
    values: _payload_pb2.Payload
    next: _containers.RepeatedScalarFieldContainer[str]
    tasks: _containers.RepeatedCompositeFieldContainer[StateTask]
    metadata: _payload_pb2.Payload
    create_time: _timestamp_pb2.Timestamp
    checkpoint: _core_pb2.CheckpointRef
    parent_checkpoint: _core_pb2.CheckpointRef
    interrupts: _containers.RepeatedCompositeFieldContainer[_core_pb2.Interrupt]
    not_shown: str
    def __init__(self, values: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., next: _Optional[_Iterable[str]] = ..., tasks: _Optional[_Iterable[_Union[StateTask, _Mapping]]] = ..., metadata: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., checkpoint: _Optional[_Union[_core_pb2.CheckpointRef, _Mapping]] = ..., parent_checkpoint: _Optional[_Union[_core_pb2.CheckpointRef, _Mapping]] = ..., interrupts: _Optional[_Iterable[_Union[_core_pb2.Interrupt, _Mapping]]] = ..., not_shown: _Optional[str] = ...) -> None: ...

class StateTask(_message.Message):
    __slots__ = ("task_id", "name", "path", "error", "interrupts", "checkpoint", "state", "result")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    INTERRUPTS_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    name: str
    path: _payload_pb2.Payload
    error: str
    interrupts: _containers.RepeatedCompositeFieldContainer[_core_pb2.Interrupt]
    checkpoint: _core_pb2.CheckpointRef
    state: StateSnapshot
    result: _payload_pb2.Payload
    def __init__(self, task_id: _Optional[str] = ..., name: _Optional[str] = ..., path: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., error: _Optional[str] = ..., interrupts: _Optional[_Iterable[_Union[_core_pb2.Interrupt, _Mapping]]] = ..., checkpoint: _Optional[_Union[_core_pb2.CheckpointRef, _Mapping]] = ..., state: _Optional[_Union[StateSnapshot, _Mapping]] = ..., result: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ...) -> None: ...

class CreateThreadRequest(_message.Message):
    __slots__ = ("thread_id", "metadata", "if_exists", "request_id", "ttl", "supersteps", "assistant_id")
    THREAD_ID_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    IF_EXISTS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    SUPERSTEPS_FIELD_NUMBER: _ClassVar[int]
    ASSISTANT_ID_FIELD_NUMBER: _ClassVar[int]
    thread_id: str
    metadata: _payload_pb2.Payload
    if_exists: _core_pb2.IfExists
    request_id: str
    ttl: ThreadTtl
    supersteps: _containers.RepeatedCompositeFieldContainer[Superstep]
    assistant_id: str
    def __init__(self, thread_id: _Optional[str] = ..., metadata: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., if_exists: _Optional[_Union[_core_pb2.IfExists, str]] = ..., request_id: _Optional[str] = ..., ttl: _Optional[_Union[ThreadTtl, _Mapping]] = ..., supersteps: _Optional[_Iterable[_Union[Superstep, _Mapping]]] = ..., assistant_id: _Optional[str] = ...) -> None: ...

class Superstep(_message.Message):
    __slots__ = ("updates",)
    UPDATES_FIELD_NUMBER: _ClassVar[int]
    updates: _containers.RepeatedCompositeFieldContainer[NodeUpdate]
    def __init__(self, updates: _Optional[_Iterable[_Union[NodeUpdate, _Mapping]]] = ...) -> None: ...

class NodeUpdate(_message.Message):
    __slots__ = ("values", "command", "as_node")
    VALUES_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    AS_NODE_FIELD_NUMBER: _ClassVar[int]
    values: _payload_pb2.Payload
    command: _core_pb2.Command
    as_node: str
    def __init__(self, values: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., command: _Optional[_Union[_core_pb2.Command, _Mapping]] = ..., as_node: _Optional[str] = ...) -> None: ...

class CreateThreadResponse(_message.Message):
    __slots__ = ("thread",)
    THREAD_FIELD_NUMBER: _ClassVar[int]
    thread: Thread
    def __init__(self, thread: _Optional[_Union[Thread, _Mapping]] = ...) -> None: ...

class GetThreadRequest(_message.Message):
    __slots__ = ("thread_id",)
    THREAD_ID_FIELD_NUMBER: _ClassVar[int]
    thread_id: str
    def __init__(self, thread_id: _Optional[str] = ...) -> None: ...

class GetThreadResponse(_message.Message):
    __slots__ = ("thread",)
    THREAD_FIELD_NUMBER: _ClassVar[int]
    thread: Thread
    def __init__(self, thread: _Optional[_Union[Thread, _Mapping]] = ...) -> None: ...

class ListThreadsRequest(_message.Message):
    __slots__ = ("thread_ids", "states", "metadata", "page_size", "page_token", "order", "read_mask", "values", "create_time", "update_time", "state_update_time", "extract", "count_total")
    class ExtractEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    THREAD_IDS_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    READ_MASK_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    STATE_UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    EXTRACT_FIELD_NUMBER: _ClassVar[int]
    COUNT_TOTAL_FIELD_NUMBER: _ClassVar[int]
    thread_ids: _containers.RepeatedScalarFieldContainer[str]
    states: _containers.RepeatedScalarFieldContainer[ThreadState]
    metadata: _payload_pb2.Payload
    page_size: int
    page_token: str
    order: ThreadOrder
    read_mask: _field_mask_pb2.FieldMask
    values: _payload_pb2.Payload
    create_time: _core_pb2.TimeRange
    update_time: _core_pb2.TimeRange
    state_update_time: _core_pb2.TimeRange
    extract: _containers.ScalarMap[str, str]
    count_total: bool
    def __init__(self, thread_ids: _Optional[_Iterable[str]] = ..., states: _Optional[_Iterable[_Union[ThreadState, str]]] = ..., metadata: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., order: _Optional[_Union[ThreadOrder, str]] = ..., read_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., values: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., create_time: _Optional[_Union[_core_pb2.TimeRange, _Mapping]] = ..., update_time: _Optional[_Union[_core_pb2.TimeRange, _Mapping]] = ..., state_update_time: _Optional[_Union[_core_pb2.TimeRange, _Mapping]] = ..., extract: _Optional[_Mapping[str, str]] = ..., count_total: _Optional[bool] = ...) -> None: ...

class ListThreadsResponse(_message.Message):
    __slots__ = ("threads", "next_page_token", "total_size")
    THREADS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    threads: _containers.RepeatedCompositeFieldContainer[Thread]
    next_page_token: str
    total_size: int
    def __init__(self, threads: _Optional[_Iterable[_Union[Thread, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total_size: _Optional[int] = ...) -> None: ...

class UpdateThreadRequest(_message.Message):
    __slots__ = ("thread_id", "metadata", "ttl")
    THREAD_ID_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    thread_id: str
    metadata: _payload_pb2.Payload
    ttl: ThreadTtl
    def __init__(self, thread_id: _Optional[str] = ..., metadata: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., ttl: _Optional[_Union[ThreadTtl, _Mapping]] = ...) -> None: ...

class UpdateThreadResponse(_message.Message):
    __slots__ = ("thread",)
    THREAD_FIELD_NUMBER: _ClassVar[int]
    thread: Thread
    def __init__(self, thread: _Optional[_Union[Thread, _Mapping]] = ...) -> None: ...

class DeleteThreadRequest(_message.Message):
    __slots__ = ("thread_id", "cancel_runs")
    THREAD_ID_FIELD_NUMBER: _ClassVar[int]
    CANCEL_RUNS_FIELD_NUMBER: _ClassVar[int]
    thread_id: str
    cancel_runs: bool
    def __init__(self, thread_id: _Optional[str] = ..., cancel_runs: _Optional[bool] = ...) -> None: ...

class DeleteThreadResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CopyThreadRequest(_message.Message):
    __slots__ = ("thread_id", "new_thread_id", "request_id")
    THREAD_ID_FIELD_NUMBER: _ClassVar[int]
    NEW_THREAD_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    thread_id: str
    new_thread_id: str
    request_id: str
    def __init__(self, thread_id: _Optional[str] = ..., new_thread_id: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class CopyThreadResponse(_message.Message):
    __slots__ = ("thread",)
    THREAD_FIELD_NUMBER: _ClassVar[int]
    thread: Thread
    def __init__(self, thread: _Optional[_Union[Thread, _Mapping]] = ...) -> None: ...

class PruneThreadsRequest(_message.Message):
    __slots__ = ("thread_ids", "strategy")
    THREAD_IDS_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    thread_ids: _containers.RepeatedScalarFieldContainer[str]
    strategy: PruneStrategy
    def __init__(self, thread_ids: _Optional[_Iterable[str]] = ..., strategy: _Optional[_Union[PruneStrategy, str]] = ...) -> None: ...

class PruneThreadsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[PruneThreadResult]
    def __init__(self, results: _Optional[_Iterable[_Union[PruneThreadResult, _Mapping]]] = ...) -> None: ...

class PruneThreadResult(_message.Message):
    __slots__ = ("thread_id", "reason", "message")
    THREAD_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    thread_id: str
    reason: _errors_pb2.ErrorReason
    message: str
    def __init__(self, thread_id: _Optional[str] = ..., reason: _Optional[_Union[_errors_pb2.ErrorReason, str]] = ..., message: _Optional[str] = ...) -> None: ...

class GetThreadStateRequest(_message.Message):
    __slots__ = ("thread_id", "checkpoint", "include_subgraphs", "read_mask")
    THREAD_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_SUBGRAPHS_FIELD_NUMBER: _ClassVar[int]
    READ_MASK_FIELD_NUMBER: _ClassVar[int]
    thread_id: str
    checkpoint: _core_pb2.CheckpointRef
    include_subgraphs: bool
    read_mask: _field_mask_pb2.FieldMask
    def __init__(self, thread_id: _Optional[str] = ..., checkpoint: _Optional[_Union[_core_pb2.CheckpointRef, _Mapping]] = ..., include_subgraphs: _Optional[bool] = ..., read_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class GetThreadStateResponse(_message.Message):
    __slots__ = ("state",)
    STATE_FIELD_NUMBER: _ClassVar[int]
    state: StateSnapshot
    def __init__(self, state: _Optional[_Union[StateSnapshot, _Mapping]] = ...) -> None: ...

class UpdateThreadStateRequest(_message.Message):
    __slots__ = ("thread_id", "values", "as_node", "checkpoint", "assistant_id")
    THREAD_ID_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    AS_NODE_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    ASSISTANT_ID_FIELD_NUMBER: _ClassVar[int]
    thread_id: str
    values: _payload_pb2.Payload
    as_node: str
    checkpoint: _core_pb2.CheckpointRef
    assistant_id: str
    def __init__(self, thread_id: _Optional[str] = ..., values: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., as_node: _Optional[str] = ..., checkpoint: _Optional[_Union[_core_pb2.CheckpointRef, _Mapping]] = ..., assistant_id: _Optional[str] = ...) -> None: ...

class UpdateThreadStateResponse(_message.Message):
    __slots__ = ("checkpoint",)
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    checkpoint: _core_pb2.CheckpointRef
    def __init__(self, checkpoint: _Optional[_Union[_core_pb2.CheckpointRef, _Mapping]] = ...) -> None: ...

class ListThreadStatesRequest(_message.Message):
    __slots__ = ("thread_id", "checkpoint", "before", "metadata", "page_size", "page_token", "read_mask")
    THREAD_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    READ_MASK_FIELD_NUMBER: _ClassVar[int]
    thread_id: str
    checkpoint: _core_pb2.CheckpointRef
    before: _core_pb2.CheckpointRef
    metadata: _payload_pb2.Payload
    page_size: int
    page_token: str
    read_mask: _field_mask_pb2.FieldMask
    def __init__(self, thread_id: _Optional[str] = ..., checkpoint: _Optional[_Union[_core_pb2.CheckpointRef, _Mapping]] = ..., before: _Optional[_Union[_core_pb2.CheckpointRef, _Mapping]] = ..., metadata: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., read_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class ListThreadStatesResponse(_message.Message):
    __slots__ = ("states", "next_page_token")
    STATES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    states: _containers.RepeatedCompositeFieldContainer[StateSnapshot]
    next_page_token: str
    def __init__(self, states: _Optional[_Iterable[_Union[StateSnapshot, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetThreadStorageRequest(_message.Message):
    __slots__ = ("thread_id",)
    THREAD_ID_FIELD_NUMBER: _ClassVar[int]
    thread_id: str
    def __init__(self, thread_id: _Optional[str] = ...) -> None: ...

class GetThreadStorageResponse(_message.Message):
    __slots__ = ("storage",)
    STORAGE_FIELD_NUMBER: _ClassVar[int]
    storage: ThreadStorage
    def __init__(self, storage: _Optional[_Union[ThreadStorage, _Mapping]] = ...) -> None: ...

class ThreadStreamRequest(_message.Message):
    __slots__ = ("thread_id", "modes", "stream_modes", "resume_token", "live_only")
    THREAD_ID_FIELD_NUMBER: _ClassVar[int]
    MODES_FIELD_NUMBER: _ClassVar[int]
    STREAM_MODES_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LIVE_ONLY_FIELD_NUMBER: _ClassVar[int]
    thread_id: str
    modes: _containers.RepeatedScalarFieldContainer[ThreadStreamMode]
    stream_modes: _containers.RepeatedScalarFieldContainer[_core_pb2.StreamMode]
    resume_token: str
    live_only: bool
    def __init__(self, thread_id: _Optional[str] = ..., modes: _Optional[_Iterable[_Union[ThreadStreamMode, str]]] = ..., stream_modes: _Optional[_Iterable[_Union[_core_pb2.StreamMode, str]]] = ..., resume_token: _Optional[str] = ..., live_only: _Optional[bool] = ...) -> None: ...

class ThreadStreamResponse(_message.Message):
    __slots__ = ("events", "run_id", "assistant_id", "graph_id", "events_missing", "state_update", "resume_token")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ASSISTANT_ID_FIELD_NUMBER: _ClassVar[int]
    GRAPH_ID_FIELD_NUMBER: _ClassVar[int]
    EVENTS_MISSING_FIELD_NUMBER: _ClassVar[int]
    STATE_UPDATE_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[_events_pb2.RunEvent]
    run_id: str
    assistant_id: str
    graph_id: str
    events_missing: bool
    state_update: ThreadStateUpdate
    resume_token: str
    def __init__(self, events: _Optional[_Iterable[_Union[_events_pb2.RunEvent, _Mapping]]] = ..., run_id: _Optional[str] = ..., assistant_id: _Optional[str] = ..., graph_id: _Optional[str] = ..., events_missing: _Optional[bool] = ..., state_update: _Optional[_Union[ThreadStateUpdate, _Mapping]] = ..., resume_token: _Optional[str] = ...) -> None: ...

class ThreadStateUpdate(_message.Message):
    __slots__ = ("checkpoint", "state")
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    checkpoint: _core_pb2.CheckpointRef
    state: StateSnapshot
    def __init__(self, checkpoint: _Optional[_Union[_core_pb2.CheckpointRef, _Mapping]] = ..., state: _Optional[_Union[StateSnapshot, _Mapping]] = ...) -> None: ...
