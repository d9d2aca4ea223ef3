import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Server(_message.Message):
    __slots__ = ("server_id", "host_name", "version", "address", "takes_calls", "executes_runs", "max_concurrent_runs", "executing_runs", "draining", "start_time", "update_time", "lease_expire_time", "graph_ids")
    SERVER_ID_FIELD_NUMBER: _ClassVar[int]
    HOST_NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    TAKES_CALLS_FIELD_NUMBER: _ClassVar[int]
    EXECUTES_RUNS_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENT_RUNS_FIELD_NUMBER: _ClassVar[int]
    EXECUTING_RUNS_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    LEASE_EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    GRAPH_IDS_FIELD_NUMBER: _ClassVar[int]
    server_id: str
    host_name: str
    version: str
    address: str
    takes_calls: bool
    executes_runs: bool
    max_concurrent_runs: int
    executing_runs: int
    draining: bool
    start_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    lease_expire_time: _timestamp_pb2.Timestamp
    graph_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, server_id: _Optional[str] = ..., host_name: _Optional[str] = ..., version: _Optional[str] = ..., address: _Optional[str] = ..., takes_calls: _Optional[bool] = ..., executes_runs: _Optional[bool] = ..., max_concurrent_runs: _Optional[int] = ..., executing_runs: _Optional[int] = ..., draining: _Optional[bool] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., lease_expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., graph_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ServerLimits(_message.Message):
    __slots__ = ("max_request_bytes", "max_concurrent_calls", "max_pending_runs", "max_attempts", "recursion_limit", "cancel_grace", "drain_grace", "heartbeat_interval", "event_retention", "stateless_run_retention", "request_retention", "max_runs_per_assistant", "max_runs_per_principal")
    MAX_REQUEST_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENT_CALLS_FIELD_NUMBER: _ClassVar[int]
    MAX_PENDING_RUNS_FIELD_NUMBER: _ClassVar[int]
    MAX_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    RECURSION_LIMIT_FIELD_NUMBER: _ClassVar[int]
    CANCEL_GRACE_FIELD_NUMBER: _ClassVar[int]
    DRAIN_GRACE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    EVENT_RETENTION_FIELD_NUMBER: _ClassVar[int]
    STATELESS_RUN_RETENTION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_RETENTION_FIELD_NUMBER: _ClassVar[int]
    MAX_RUNS_PER_ASSISTANT_FIELD_NUMBER: _ClassVar[int]
    MAX_RUNS_PER_PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    max_request_bytes: int
    max_concurrent_calls: int
    max_pending_runs: int
    max_attempts: int
    recursion_limit: int
    cancel_grace: _duration_pb2.Duration
    drain_grace: _duration_pb2.Duration
    heartbeat_interval: _duration_pb2.Duration
    event_retention: _duration_pb2.Duration
    stateless_run_retention: _duration_pb2.Duration
    request_retention: _duration_pb2.Duration
    max_runs_per_assistant: int
    max_runs_per_principal: int
    def __init__(self, max_request_bytes: _Optional[int] = ..., max_concurrent_calls: _Optional[int] = ..., max_pending_runs: _Optional[int] = ..., max_attempts: _Optional[int] = ..., recursion_limit: _Optional[int] = ..., cancel_grace: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., drain_grace: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., heartbeat_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., event_retention: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., stateless_run_retention: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., request_retention: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_runs_per_assistant: _Optional[int] = ..., max_runs_per_principal: _Optional[int] = ...) -> None: ...

class GraphQueue(_message.Message):
    __slots__ = ("graph_id", "pending_runs", "delayed_runs", "running_runs", "cancelling_runs")
    GRAPH_ID_FIELD_NUMBER: _ClassVar[int]
    PENDING_RUNS_FIELD_NUMBER: _ClassVar[int]
    DELAYED_RUNS_FIELD_NUMBER: _ClassVar[int]
    RUNNING_RUNS_FIELD_NUMBER: _ClassVar[int]
    CANCELLING_RUNS_FIELD_NUMBER: _ClassVar[int]
    graph_id: str
    pending_runs: int
    delayed_runs: int
    running_runs: int
    cancelling_runs: int
    def __init__(self, graph_id: _Optional[str] = ..., pending_runs: _Optional[int] = ..., delayed_runs: _Optional[int] = ..., running_runs: _Optional[int] = ..., cancelling_runs: _Optional[int] = ...) -> None: ...

class GetServerInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetServerInfoResponse(_message.Message):
    __slots__ = ("server", "graph_ids", "limits", "servers")
    SERVER_FIELD_NUMBER: _ClassVar[int]
    GRAPH_IDS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    SERVERS_FIELD_NUMBER: _ClassVar[int]
    server: Server
    graph_ids: _containers.RepeatedScalarFieldContainer[str]
    limits: ServerLimits
    servers: _containers.RepeatedCompositeFieldContainer[Server]
    def __init__(self, server: _Optional[_Union[Server, _Mapping]] = ..., graph_ids: _Optional[_Iterable[str]] = ..., limits: _Optional[_Union[ServerLimits, _Mapping]] = ..., servers: _Optional[_Iterable[_Union[Server, _Mapping]]] = ...) -> None: ...

class GetQueueStatsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetQueueStatsResponse(_message.Message):
    __slots__ = ("pending_runs", "delayed_runs", "running_runs", "cancelling_runs", "claimable_runs", "oldest_pending_age", "oldest_claimable_age", "free_slots", "graphs", "capped")
    PENDING_RUNS_FIELD_NUMBER: _ClassVar[int]
    DELAYED_RUNS_FIELD_NUMBER: _ClassVar[int]
    RUNNING_RUNS_FIELD_NUMBER: _ClassVar[int]
    CANCELLING_RUNS_FIELD_NUMBER: _ClassVar[int]
    CLAIMABLE_RUNS_FIELD_NUMBER: _ClassVar[int]
    OLDEST_PENDING_AGE_FIELD_NUMBER: _ClassVar[int]
    OLDEST_CLAIMABLE_AGE_FIELD_NUMBER: _ClassVar[int]
    FREE_SLOTS_FIELD_NUMBER: _ClassVar[int]
    GRAPHS_FIELD_NUMBER: _ClassVar[int]
    CAPPED_FIELD_NUMBER: _ClassVar[int]
    pending_runs: int
    delayed_runs: int
    running_runs: int
    cancelling_runs: int
    claimable_runs: int
    oldest_pending_age: _duration_pb2.Duration
    oldest_claimable_age: _duration_pb2.Duration
    free_slots: int
    graphs: _containers.RepeatedCompositeFieldContainer[GraphQueue]
    capped: bool
    def __init__(self, pending_runs: _Optional[int] = ..., delayed_runs: _Optional[int] = ..., running_runs: _Optional[int] = ..., cancelling_runs: _Optional[int] = ..., claimable_runs: _Optional[int] = ..., oldest_pending_age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., oldest_claimable_age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., free_slots: _Optional[int] = ..., graphs: _Optional[_Iterable[_Union[GraphQueue, _Mapping]]] = ..., capped: _Optional[bool] = ...) -> None: ...
