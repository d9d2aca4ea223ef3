"""The Python client of a Runwire server.

    async with get_client("localhost:50051") as client:
        thread = await client.threads.create()
        async for part in client.runs.stream(thread["thread_id"], "chat", input={…}):
            print(part.event, part.data)

Its methods, their parameters and results are those of langgraph_sdk; what Runwire tells beyond
them stands in further keys.
"""

from runwire.client.client import RunwireClient, get_client
from runwire.client.errors import (
    AlreadyExistsError,
    ConflictError,
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    PermissionDeniedError,
    ResourceExhaustedError,
    RunCancelledError,
    RunFailedError,
    RunwireError,
    ServerError,
    UnavailableError,
)
from runwire.client.reconnect import Reconnect
from runwire.client.schema import StreamPart

__all__ = [
    "AlreadyExistsError",
    "ConflictError",
    "DeadlineExceededError",
    "InvalidArgumentError",
    "NotFoundError",
    "OutOfRangeError",
    "PermissionDeniedError",
    "Reconnect",
    "ResourceExhaustedError",
    "RunCancelledError",
    "RunFailedError",
    "RunwireClient",
    "RunwireError",
    "ServerError",
    "StreamPart",
    "UnavailableError",
    "get_client",
]
