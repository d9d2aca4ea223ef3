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

`RunFailedError` and `RunCancelledError` tell how a run ended that somebody waited for. Arguments
that cannot be sent at all raise what Python raises: TypeError, ValueError, NotImplementedError.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import grpc
from google.protobuf.message import DecodeError
from google.rpc import (  # type: ignore[import-untyped]  # has no stubs
    error_details_pb2,
    status_pb2,
)

if TYPE_CHECKING:
    from runwire.client.schema import Run

_DOMAIN = "runwire.dev"
_DETAILS_KEY = "grpc-status-details-bin"


class RunwireError(Exception):
    """Root of what this client raises about a call or a run.

    `code` is the gRPC status by name, such as "NOT_FOUND", and empty if no call failed. `reason`
    is the server's word for the cause, such as "THREAD_NOT_FOUND" (see `ErrorReason` in
    runwire/v1/errors.proto), and empty if the server did not give one. `metadata` holds what the
    message speaks of, such as the thread's id.
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
    """The events asked for are no longer kept; `metadata["oldest_event_id"]` is the first left."""


class ResourceExhaustedError(RunwireError):
    """A limit was reached. `retry_after`: seconds to wait before another try, if that helps."""

    retry_after: float | None = None


class PermissionDeniedError(RunwireError):
    """The server does not let this caller do this."""


class DeadlineExceededError(RunwireError, TimeoutError):
    """The client's `timeout` passed before the answer came; the call may still take effect."""


class UnavailableError(RunwireError):
    """No server answers, or the connection broke and did not come back in time."""


class ServerError(RunwireError):
    """The server is at fault, or does not know the call. `metadata["error_id"]` is in its log."""


class RunFailedError(RunwireError):
    """A run that was waited for failed or timed out. `run` is the run as it ended."""

    def __init__(self, message: str, run: Run) -> None:
        super().__init__(message)
        self.run = run


class RunCancelledError(RunwireError):
    """A run that was waited for was cancelled. `run` is the run as it ended."""

    def __init__(self, run: Run) -> None:
        super().__init__(f"run {run['run_id']} was cancelled")
        self.run = run


_KINDS: dict[grpc.StatusCode, type[RunwireError]] = {
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


def from_call(error: grpc.aio.AioRpcError | grpc.Call, target: str) -> RunwireError:
    """Return a failed call's error as one of ours; `target` is the address that was called."""
    details = _details(error)
    info = error_details_pb2.ErrorInfo()
    told = _find(details, info) and info.domain == _DOMAIN
    message = error.details() or ""
    if not told:
        message = _transport_message(error.code(), message, target)
    raised = _KINDS.get(error.code(), ServerError)(
        message,
        code=error.code().name,
        reason=info.reason if told else "",
        metadata=info.metadata if told else None,
    )
    _add_details(raised, details)
    return raised


def _details(error: grpc.aio.AioRpcError | grpc.Call) -> status_pb2.Status:
    """Return the google.rpc.Status of a failed call; an empty one if it has none."""
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:  # some proxy's own
                break
    return status_pb2.Status()


def _find(
    status: status_pb2.Status,
    wanted: error_details_pb2.ErrorInfo
    | error_details_pb2.BadRequest
    | error_details_pb2.RetryInfo,
) -> bool:
    """Read the detail of this type into `wanted`; return whether there is one."""
    return any(detail.Unpack(wanted) for detail in status.details)


def _add_details(raised: RunwireError, details: status_pb2.Status) -> None:
    if isinstance(raised, InvalidArgumentError):
        bad_request = error_details_pb2.BadRequest()
        _find(details, bad_request)
        raised.violations = tuple(
            (violation.field, violation.description) for violation in bad_request.field_violations
        )
    if isinstance(raised, ResourceExhaustedError):
        retry_info = error_details_pb2.RetryInfo()
        if _find(details, retry_info):
            raised.retry_after = retry_info.retry_delay.ToTimedelta().total_seconds()


def _transport_message(code: grpc.StatusCode, message: str, target: str) -> str:
    """Return words for a failure that no Runwire server has described."""
    if code is grpc.StatusCode.UNAVAILABLE:
        return f"no answer from a Runwire server at {target}; is it running there? ({message})"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"no answer from {target} within the client's timeout"
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return f"{target} does not know this call: an older Runwire, a worker, or none ({message})"
    told = f"{code.name} from {target}: {message}"
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return (
            f"{told} (larger answers need a larger grpc.max_receive_message_length in get_client)"
        )
    return told
