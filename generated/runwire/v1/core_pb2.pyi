import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from runwire.v1 import payload_pb2 as _payload_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RunState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUN_STATE_UNSPECIFIED: _ClassVar[RunState]
    RUN_STATE_PENDING: _ClassVar[RunState]
    RUN_STATE_RUNNING: _ClassVar[RunState]
    RUN_STATE_CANCELLING: _ClassVar[RunState]
    RUN_STATE_SUCCEEDED: _ClassVar[RunState]
    RUN_STATE_FAILED: _ClassVar[RunState]
    RUN_STATE_INTERRUPTED: _ClassVar[RunState]
    RUN_STATE_TIMED_OUT: _ClassVar[RunState]
    RUN_STATE_CANCELLED: _ClassVar[RunState]

class StreamMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STREAM_MODE_UNSPECIFIED: _ClassVar[StreamMode]
    STREAM_MODE_VALUES: _ClassVar[StreamMode]
    STREAM_MODE_UPDATES: _ClassVar[StreamMode]
    STREAM_MODE_MESSAGES: _ClassVar[StreamMode]
    STREAM_MODE_CUSTOM: _ClassVar[StreamMode]
    STREAM_MODE_TASKS: _ClassVar[StreamMode]
    STREAM_MODE_CHECKPOINTS: _ClassVar[StreamMode]
    STREAM_MODE_DEBUG: _ClassVar[StreamMode]
    STREAM_MODE_EVENTS: _ClassVar[StreamMode]

class MultitaskStrategy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MULTITASK_STRATEGY_UNSPECIFIED: _ClassVar[MultitaskStrategy]
    MULTITASK_STRATEGY_ENQUEUE: _ClassVar[MultitaskStrategy]
    MULTITASK_STRATEGY_REJECT: _ClassVar[MultitaskStrategy]
    MULTITASK_STRATEGY_INTERRUPT: _ClassVar[MultitaskStrategy]
    MULTITASK_STRATEGY_ROLLBACK: _ClassVar[MultitaskStrategy]

class IfThreadMissing(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    IF_THREAD_MISSING_UNSPECIFIED: _ClassVar[IfThreadMissing]
    IF_THREAD_MISSING_FAIL: _ClassVar[IfThreadMissing]
    IF_THREAD_MISSING_CREATE: _ClassVar[IfThreadMissing]

class OnCompletion(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ON_COMPLETION_UNSPECIFIED: _ClassVar[OnCompletion]
    ON_COMPLETION_DELETE: _ClassVar[OnCompletion]
    ON_COMPLETION_KEEP: _ClassVar[OnCompletion]

class OnDisconnect(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ON_DISCONNECT_UNSPECIFIED: _ClassVar[OnDisconnect]
    ON_DISCONNECT_CONTINUE: _ClassVar[OnDisconnect]
    ON_DISCONNECT_CANCEL: _ClassVar[OnDisconnect]

class Durability(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DURABILITY_UNSPECIFIED: _ClassVar[Durability]
    DURABILITY_SYNC: _ClassVar[Durability]
    DURABILITY_ASYNC: _ClassVar[Durability]
    DURABILITY_EXIT: _ClassVar[Durability]

class CancelAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CANCEL_ACTION_UNSPECIFIED: _ClassVar[CancelAction]
    CANCEL_ACTION_INTERRUPT: _ClassVar[CancelAction]
    CANCEL_ACTION_ROLLBACK: _ClassVar[CancelAction]

class CancelCause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CANCEL_CAUSE_UNSPECIFIED: _ClassVar[CancelCause]
    CANCEL_CAUSE_CLIENT: _ClassVar[CancelCause]
    CANCEL_CAUSE_MULTITASK: _ClassVar[CancelCause]
    CANCEL_CAUSE_DISCONNECT: _ClassVar[CancelCause]

class IfExists(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    IF_EXISTS_UNSPECIFIED: _ClassVar[IfExists]
    IF_EXISTS_FAIL: _ClassVar[IfExists]
    IF_EXISTS_RETURN_EXISTING: _ClassVar[IfExists]
RUN_STATE_UNSPECIFIED: RunState
RUN_STATE_PENDING: RunState
RUN_STATE_RUNNING: RunState
RUN_STATE_CANCELLING: RunState
RUN_STATE_SUCCEEDED: RunState
RUN_STATE_FAILED: RunState
RUN_STATE_INTERRUPTED: RunState
RUN_STATE_TIMED_OUT: RunState
RUN_STATE_CANCELLED: RunState
STREAM_MODE_UNSPECIFIED: StreamMode
STREAM_MODE_VALUES: StreamMode
STREAM_MODE_UPDATES: StreamMode
STREAM_MODE_MESSAGES: StreamMode
STREAM_MODE_CUSTOM: StreamMode
STREAM_MODE_TASKS: StreamMode
STREAM_MODE_CHECKPOINTS: StreamMode
STREAM_MODE_DEBUG: StreamMode
STREAM_MODE_EVENTS: StreamMode
MULTITASK_STRATEGY_UNSPECIFIED: MultitaskStrategy
MULTITASK_STRATEGY_ENQUEUE: MultitaskStrategy
MULTITASK_STRATEGY_REJECT: MultitaskStrategy
MULTITASK_STRATEGY_INTERRUPT: MultitaskStrategy
MULTITASK_STRATEGY_ROLLBACK: MultitaskStrategy
IF_THREAD_MISSING_UNSPECIFIED: IfThreadMissing
IF_THREAD_MISSING_FAIL: IfThreadMissing
IF_THREAD_MISSING_CREATE: IfThreadMissing
ON_COMPLETION_UNSPECIFIED: OnCompletion
ON_COMPLETION_DELETE: OnCompletion
ON_COMPLETION_KEEP: OnCompletion
ON_DISCONNECT_UNSPECIFIED: OnDisconnect
ON_DISCONNECT_CONTINUE: OnDisconnect
ON_DISCONNECT_CANCEL: OnDisconnect
DURABILITY_UNSPECIFIED: Durability
DURABILITY_SYNC: Durability
DURABILITY_ASYNC: Durability
DURABILITY_EXIT: Durability
CANCEL_ACTION_UNSPECIFIED: CancelAction
CANCEL_ACTION_INTERRUPT: CancelAction
CANCEL_ACTION_ROLLBACK: CancelAction
CANCEL_CAUSE_UNSPECIFIED: CancelCause
CANCEL_CAUSE_CLIENT: CancelCause
CANCEL_CAUSE_MULTITASK: CancelCause
CANCEL_CAUSE_DISCONNECT: CancelCause
IF_EXISTS_UNSPECIFIED: IfExists
IF_EXISTS_FAIL: IfExists
IF_EXISTS_RETURN_EXISTING: IfExists

class Run(_message.Message):
    __slots__ = ("run_id", "thread_id", "assistant_id", "assistant_version", "graph_id", "state", "metadata", "multitask_strategy", "spec", "attempt", "error", "cancel", "create_time", "start_time", "end_time", "update_time", "priority", "principal", "queue_position", "cron_id")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    THREAD_ID_FIELD_NUMBER: _ClassVar[int]
    ASSISTANT_ID_FIELD_NUMBER: _ClassVar[int]
    ASSISTANT_VERSION_FIELD_NUMBER: _ClassVar[int]
    GRAPH_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    MULTITASK_STRATEGY_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    QUEUE_POSITION_FIELD_NUMBER: _ClassVar[int]
    CRON_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    thread_id: str
    assistant_id: str
    assistant_version: int
    graph_id: str
    state: RunState
    metadata: _payload_pb2.Payload
    multitask_strategy: MultitaskStrategy
    spec: RunSpec
    attempt: int
    error: RunError
    cancel: RunCancel
    create_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    priority: int
    principal: str
    queue_position: QueuePosition
    cron_id: str
    def __init__(self, run_id: _Optional[str] = ..., thread_id: _Optional[str] = ..., assistant_id: _Optional[str] = ..., assistant_version: _Optional[int] = ..., graph_id: _Optional[str] = ..., state: _Optional[_Union[RunState, str]] = ..., metadata: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., multitask_strategy: _Optional[_Union[MultitaskStrategy, str]] = ..., spec: _Optional[_Union[RunSpec, _Mapping]] = ..., attempt: _Optional[int] = ..., error: _Optional[_Union[RunError, _Mapping]] = ..., cancel: _Optional[_Union[RunCancel, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., priority: _Optional[int] = ..., principal: _Optional[str] = ..., queue_position: _Optional[_Union[QueuePosition, _Mapping]] = ..., cron_id: _Optional[str] = ...) -> None: ...

class RunSpec(_message.Message):
    __slots__ = ("assistant_id", "assistant_version", "thread_id", "input", "command", "checkpoint", "config", "context", "metadata", "stream_modes", "stream_subgraphs", "interrupt_before", "interrupt_after", "multitask_strategy", "if_thread_missing", "on_completion", "on_disconnect", "start_delay", "timeout", "durability", "webhook", "priority")
    ASSISTANT_ID_FIELD_NUMBER: _ClassVar[int]
    ASSISTANT_VERSION_FIELD_NUMBER: _ClassVar[int]
    THREAD_ID_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    STREAM_MODES_FIELD_NUMBER: _ClassVar[int]
    STREAM_SUBGRAPHS_FIELD_NUMBER: _ClassVar[int]
    INTERRUPT_BEFORE_FIELD_NUMBER: _ClassVar[int]
    INTERRUPT_AFTER_FIELD_NUMBER: _ClassVar[int]
    MULTITASK_STRATEGY_FIELD_NUMBER: _ClassVar[int]
    IF_THREAD_MISSING_FIELD_NUMBER: _ClassVar[int]
    ON_COMPLETION_FIELD_NUMBER: _ClassVar[int]
    ON_DISCONNECT_FIELD_NUMBER: _ClassVar[int]
    START_DELAY_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    DURABILITY_FIELD_NUMBER: _ClassVar[int]
    WEBHOOK_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    assistant_id: str
    assistant_version: int
    thread_id: str
    input: _payload_pb2.Payload
    command: Command
    checkpoint: CheckpointRef
    config: RunConfig
    context: _payload_pb2.Payload
    metadata: _payload_pb2.Payload
    stream_modes: _containers.RepeatedScalarFieldContainer[StreamMode]
    stream_subgraphs: bool
    interrupt_before: _containers.RepeatedScalarFieldContainer[str]
    interrupt_after: _containers.RepeatedScalarFieldContainer[str]
    multitask_strategy: MultitaskStrategy
    if_thread_missing: IfThreadMissing
    on_completion: OnCompletion
    on_disconnect: OnDisconnect
    start_delay: _duration_pb2.Duration
    timeout: _duration_pb2.Duration
    durability: Durability
    webhook: str
    priority: int
    def __init__(self, assistant_id: _Optional[str] = ..., assistant_version: _Optional[int] = ..., thread_id: _Optional[str] = ..., input: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., command: _Optional[_Union[Command, _Mapping]] = ..., checkpoint: _Optional[_Union[CheckpointRef, _Mapping]] = ..., config: _Optional[_Union[RunConfig, _Mapping]] = ..., context: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., metadata: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., stream_modes: _Optional[_Iterable[_Union[StreamMode, str]]] = ..., stream_subgraphs: _Optional[bool] = ..., interrupt_before: _Optional[_Iterable[str]] = ..., interrupt_after: _Optional[_Iterable[str]] = ..., multitask_strategy: _Optional[_Union[MultitaskStrategy, str]] = ..., if_thread_missing: _Optional[_Union[IfThreadMissing, str]] = ..., on_completion: _Optional[_Union[OnCompletion, str]] = ..., on_disconnect: _Optional[_Union[OnDisconnect, str]] = ..., start_delay: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., durability: _Optional[_Union[Durability, str]] = ..., webhook: _Optional[str] = ..., priority: _Optional[int] = ...) -> None: ...

class RunConfig(_message.Message):
    __slots__ = ("tags", "recursion_limit", "configurable")
    TAGS_FIELD_NUMBER: _ClassVar[int]
    RECURSION_LIMIT_FIELD_NUMBER: _ClassVar[int]
    CONFIGURABLE_FIELD_NUMBER: _ClassVar[int]
    tags: _containers.RepeatedScalarFieldContainer[str]
    recursion_limit: int
    configurable: _payload_pb2.Payload
    def __init__(self, tags: _Optional[_Iterable[str]] = ..., recursion_limit: _Optional[int] = ..., configurable: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ...) -> None: ...

class Command(_message.Message):
    __slots__ = ("resume", "resume_by_interrupt", "update", "goto")
    class ResumeByInterruptEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _payload_pb2.Payload
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ...) -> None: ...
    RESUME_FIELD_NUMBER: _ClassVar[int]
    RESUME_BY_INTERRUPT_FIELD_NUMBER: _ClassVar[int]
    UPDATE_FIELD_NUMBER: _ClassVar[int]
    GOTO_FIELD_NUMBER: _ClassVar[int]
    resume: _payload_pb2.Payload
    resume_by_interrupt: _containers.MessageMap[str, _payload_pb2.Payload]
    update: _payload_pb2.Payload
    goto: _containers.RepeatedCompositeFieldContainer[Goto]
    def __init__(self, resume: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., resume_by_interrupt: _Optional[_Mapping[str, _payload_pb2.Payload]] = ..., update: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., goto: _Optional[_Iterable[_Union[Goto, _Mapping]]] = ...) -> None: ...

class Goto(_message.Message):
    __slots__ = ("node", "input")
    NODE_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    node: str
    input: _payload_pb2.Payload
    def __init__(self, node: _Optional[str] = ..., input: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ...) -> None: ...

class CheckpointRef(_message.Message):
    __slots__ = ("thread_id", "checkpoint_ns", "checkpoint_id", "checkpoint_map")
    class CheckpointMapEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    THREAD_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_NS_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_MAP_FIELD_NUMBER: _ClassVar[int]
    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    checkpoint_map: _containers.ScalarMap[str, str]
    def __init__(self, thread_id: _Optional[str] = ..., checkpoint_ns: _Optional[str] = ..., checkpoint_id: _Optional[str] = ..., checkpoint_map: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Interrupt(_message.Message):
    __slots__ = ("interrupt_id", "value", "response_schema")
    INTERRUPT_ID_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    interrupt_id: str
    value: _payload_pb2.Payload
    response_schema: _payload_pb2.Payload
    def __init__(self, interrupt_id: _Optional[str] = ..., value: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., response_schema: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ...) -> None: ...

class QueuePosition(_message.Message):
    __slots__ = ("runs_before_on_thread", "claimable_runs_before", "capped")
    RUNS_BEFORE_ON_THREAD_FIELD_NUMBER: _ClassVar[int]
    CLAIMABLE_RUNS_BEFORE_FIELD_NUMBER: _ClassVar[int]
    CAPPED_FIELD_NUMBER: _ClassVar[int]
    runs_before_on_thread: int
    claimable_runs_before: int
    capped: bool
    def __init__(self, runs_before_on_thread: _Optional[int] = ..., claimable_runs_before: _Optional[int] = ..., capped: _Optional[bool] = ...) -> None: ...

class TimeRange(_message.Message):
    __slots__ = ("start_time", "end_time")
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RunError(_message.Message):
    __slots__ = ("type", "message", "node", "attempt", "error_id")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    ERROR_ID_FIELD_NUMBER: _ClassVar[int]
    type: str
    message: str
    node: str
    attempt: int
    error_id: str
    def __init__(self, type: _Optional[str] = ..., message: _Optional[str] = ..., node: _Optional[str] = ..., attempt: _Optional[int] = ..., error_id: _Optional[str] = ...) -> None: ...

class RunCancel(_message.Message):
    __slots__ = ("action", "cause", "abandoned", "request_time")
    ACTION_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    ABANDONED_FIELD_NUMBER: _ClassVar[int]
    REQUEST_TIME_FIELD_NUMBER: _ClassVar[int]
    action: CancelAction
    cause: CancelCause
    abandoned: bool
    request_time: _timestamp_pb2.Timestamp
    def __init__(self, action: _Optional[_Union[CancelAction, str]] = ..., cause: _Optional[_Union[CancelCause, str]] = ..., abandoned: _Optional[bool] = ..., request_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
