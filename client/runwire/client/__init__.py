"""The Python client of a Runwire server.

    async with get_client("localhost:50051") as client:
        thread = await client.threads.create()
        async for part in client.runs.stream(thread["thread_id"], "chat", input={…}):
            print(part.event, part.data)

`get_sync_client` gives the same without an event loop. Methods, their parameters and results are
those of langgraph_sdk; what Runwire tells beyond them stands in further keys.
"""

from runwire.client.client import RunwireClient, get_client
from runwire.client.connecting import Reconnect
from runwire.client.errors import (
    AlreadyExistsError,
    AssistantNotFoundError,
    ConflictError,
    DeadlineExceededError,
    EventsExpiredError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    PayloadTooLargeError,
    PermissionDeniedError,
    QueueFullError,
    RequestIdReusedError,
    ResourceExhaustedError,
    RunCancelledError,
    RunFailedError,
    RunFinishedError,
    RunLimitReachedError,
    RunNotFoundError,
    RunRolledBackError,
    RunwireError,
    ServerError,
    ThreadBusyError,
    ThreadNotFoundError,
    UnavailableError,
)
from runwire.client.reasons import ErrorReason
from runwire.client.schema import StreamPart, ThreadStreamPart
from runwire.client.securing import Tls
from runwire.client.sync import SyncRunwireClient, get_sync_client

__all__ = [
    "AlreadyExistsError",
    "AssistantNotFoundError",
    "ConflictError",
    "DeadlineExceededError",
    "ErrorReason",
    "EventsExpiredError",
    "InvalidArgumentError",
    "NotFoundError",
    "OutOfRangeError",
    "PayloadTooLargeError",
    "PermissionDeniedError",
    "QueueFullError",
    "Reconnect",
    "RequestIdReusedError",
    "ResourceExhaustedError",
    "RunCancelledError",
    "RunFailedError",
    "RunFinishedError",
    "RunLimitReachedError",
    "RunNotFoundError",
    "RunRolledBackError",
    "RunwireClient",
    "RunwireError",
    "ServerError",
    "StreamPart",
    "SyncRunwireClient",
    "ThreadBusyError",
    "ThreadNotFoundError",
    "ThreadStreamPart",
    "Tls",
    "UnavailableError",
    "get_client",
    "get_sync_client",
]
