"""What calls raise: never gRPC's own errors.

| gRPC status                                  | raised                    |
|----------------------------------------------|---------------------------|
| INVALID_ARGUMENT                             | `InvalidArgumentError`    |
| NOT_FOUND                                    | `NotFoundError`           |
| ALREADY_EXISTS                               | `AlreadyExistsError`      |
| FAILED_PRECONDITION, ABORTED                 | `ConflictError`           |
| OUT_OF_RANGE                                 | `OutOfRangeError`         |
| RESOURCE_EXHAUSTED                           | `ResourceExhaustedError`  |
| PERMISSION_DENIED, UNAUTHENTICATED           | `PermissionDeniedError`   |
| DEADLINE_EXCEEDED                            | `DeadlineExceededError`   |
| UNAVAILABLE, CANCELLED by the other side     | `UnavailableError`        |
| INTERNAL, UNKNOWN, UNIMPLEMENTED, DATA_LOSS  | `ServerError`             |

Those reasons that callers act upon have a class of their own below the one of their status: see
`BY_REASON`. `RunFailedError` and `RunCancelledError` tell how a run ended that somebody waited for.
Arguments that cannot be sent at all raise what Python raises: TypeError, ValueError,
NotImplementedError.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import grpc

from runwire.client.reasons import ErrorReason

if TYPE_CHECKING:
    from runwire.client.schema import Run


class RunwireError(Exception):
    """Root of what this client raises about a call or a run.

    `code` is the gRPC status by name, such as "NOT_FOUND", and empty if no call failed. `reason`
    is the server's word for the cause, one of `ErrorReason` such as "THREAD_NOT_FOUND", and empty
    if the server did not give one. `metadata` holds what the message speaks of, such as the
    thread's id.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.metadata = dict(metadata or {})


class InvalidArgumentError(RunwireError):
    """The request is wrong. `violations` says of each wrong field why: (field, description)."""

    violations: tuple[tuple[str, str], ...] = ()


class NotFoundError(RunwireError):
    """What was named is not there, or is not the caller's."""


class AlreadyExistsError(RunwireError):
    """What was to be created is there already."""


class ConflictError(RunwireError):
    """The request does not fit the present state: a busy thread, a run that has ended."""


class OutOfRangeError(RunwireError):
    """What is to be gone on after is no longer known."""


class ResourceExhaustedError(RunwireError):
    """A limit was reached. `retry_after`: seconds to wait before another try, if that helps."""

    retry_after: float | None = None


class PermissionDeniedError(RunwireError):
    """The server does not let this caller do this."""


class DeadlineExceededError(RunwireError, TimeoutError):
    """The client's `timeout` passed before the answer came; the call may still take effect."""


class UnavailableError(RunwireError):
    """No server answers, or the connection broke and did not come back in time. `connected` is
    whether there had been a connection when the call failed."""

    connected: bool = True


class ServerError(RunwireError):
    """The server is at fault, or does not know the call. `metadata["error_id"]` is in its log."""


class AssistantNotFoundError(NotFoundError):
    """There is no such assistant, nor a graph of this id."""


class ThreadNotFoundError(NotFoundError):
    """There is no such thread."""


class RunNotFoundError(NotFoundError):
    """There is no such run."""


class RunRolledBackError(RunNotFoundError):
    """The run was taken back, and is gone together with what it did."""


class ThreadBusyError(ConflictError):
    """The thread has a run that has not ended."""


class RunFinishedError(ConflictError):
    """The run has ended and cannot be cancelled any more; `metadata["state"]` says how."""


class RequestIdReusedError(AlreadyExistsError):
    """The `request_id` came before, with another request."""


class EventsExpiredError(OutOfRangeError):
    """The events asked for are no longer kept; `metadata["oldest_event_id"]` is the first left."""


class QueueFullError(ResourceExhaustedError):
    """Too many runs wait. Nothing was created."""


class RunLimitReachedError(ResourceExhaustedError):
    """The assistant, or the caller, has as many runs as it may have. Nothing was created."""


class PayloadTooLargeError(ResourceExhaustedError):
    """The request is larger than the server takes; another try does not help."""


class RunFailedError(RunwireError):
    """A run that was waited for failed or timed out. `run` is the run as it ended."""

    def __init__(self, message: str, run: Run) -> None:
        super().__init__(message)
        self.run = run

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, self.run), self.__dict__


class RunCancelledError(RunwireError):
    """A run that was waited for was cancelled. `run` is the run as it ended."""

    def __init__(self, run: Run) -> None:
        super().__init__(f"run {run['run_id']} was cancelled")
        self.run = run

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.run,), self.__dict__


BY_STATUS: dict[grpc.StatusCode, type[RunwireError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgumentError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExistsError,
    grpc.StatusCode.FAILED_PRECONDITION: ConflictError,
    grpc.StatusCode.ABORTED: ConflictError,
    grpc.StatusCode.OUT_OF_RANGE: OutOfRangeError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhaustedError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.UNAUTHENTICATED: PermissionDeniedError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.CANCELLED: UnavailableError,
}
"""What is raised for a status without a reason, or with one of a newer server."""

BY_REASON: dict[ErrorReason, type[RunwireError]] = {
    ErrorReason.INVALID_REQUEST: InvalidArgumentError,
    ErrorReason.INVALID_FIELD: InvalidArgumentError,
    ErrorReason.GRAPH_NOT_FOUND: NotFoundError,
    ErrorReason.ASSISTANT_NOT_FOUND: AssistantNotFoundError,
    ErrorReason.ASSISTANT_VERSION_NOT_FOUND: NotFoundError,
    ErrorReason.THREAD_NOT_FOUND: ThreadNotFoundError,
    ErrorReason.RUN_NOT_FOUND: RunNotFoundError,
    ErrorReason.RUN_ROLLED_BACK: RunRolledBackError,
    ErrorReason.CHECKPOINT_NOT_FOUND: NotFoundError,
    ErrorReason.ASSISTANT_EXISTS: AlreadyExistsError,
    ErrorReason.THREAD_EXISTS: AlreadyExistsError,
    ErrorReason.REQUEST_ID_REUSED: RequestIdReusedError,
    ErrorReason.THREAD_BUSY: ThreadBusyError,
    ErrorReason.RUN_FINISHED: RunFinishedError,
    ErrorReason.RUN_IN_FLIGHT: ConflictError,
    ErrorReason.ASSISTANT_IN_USE: ConflictError,
    ErrorReason.DEFAULT_ASSISTANT: ConflictError,
    ErrorReason.EVENTS_EXPIRED: EventsExpiredError,
    ErrorReason.STATE_UPDATE_REFUSED: ConflictError,
    ErrorReason.QUEUE_FULL: QueueFullError,
    ErrorReason.PAYLOAD_TOO_LARGE: PayloadTooLargeError,
    ErrorReason.DRAINING: UnavailableError,
    ErrorReason.DATABASE_UNAVAILABLE: UnavailableError,
    ErrorReason.STORAGE_FULL: ResourceExhaustedError,
    ErrorReason.INTERNAL: ServerError,
    ErrorReason.STATE_NOT_SHOWN: ConflictError,
    ErrorReason.RESUME_TOKEN_EXPIRED: OutOfRangeError,
    ErrorReason.RUN_LIMIT_REACHED: RunLimitReachedError,
    ErrorReason.CRON_NOT_FOUND: NotFoundError,
    ErrorReason.ITEM_NOT_FOUND: NotFoundError,
    ErrorReason.SEARCH_NOT_CONFIGURED: ConflictError,
    ErrorReason.WEBHOOK_DELIVERY_NOT_FOUND: NotFoundError,
    ErrorReason.WEBHOOK_DELIVERY_PENDING: ConflictError,
    ErrorReason.EMBEDDING_FAILED: UnavailableError,
}
"""What is raised for each reason."""
