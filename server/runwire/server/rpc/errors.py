"""How failures leave the server: model errors as google.rpc statuses with their details."""

from collections.abc import Sequence

import grpc
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import (  # type: ignore[import-untyped]  # has no stubs
    BadRequest,
    ErrorInfo,
    RetryInfo,
)
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # has no stubs

from runwire.server.model.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    InvalidFields,
    NotFound,
    OutOfRange,
    ResourceExhausted,
    RunwireError,
    Unavailable,
)

DOMAIN = "runwire.dev"

CODES: dict[type[RunwireError], grpc.StatusCode] = {
    NotFound: grpc.StatusCode.NOT_FOUND,
    AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    Aborted: grpc.StatusCode.ABORTED,
    OutOfRange: grpc.StatusCode.OUT_OF_RANGE,
    ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
}
"""The code of each kind of error. An error has the code of the first kind among its ancestors."""

# A status travels in trailers, of which clients take 8 KiB by default and then fail the call in
# their own way: the message, percent-encoded, and the details, base64-encoded, must stay below.
_MESSAGE_BYTES = 600
_VALUE_BYTES = 200
_VIOLATIONS = 8


class Defect(RunwireError):
    """What a caller is told of an unexpected exception: nothing but where the log has it."""

    def __init__(self, error_id: str) -> None:
        super().__init__(
            f"internal error; the server's log has it under {error_id}", error_id=error_id
        )


def code_of(error: RunwireError) -> grpc.StatusCode:
    """Return the code of an error by its kind; INTERNAL if it has none."""
    kinds = (CODES[kind] for kind in type(error).__mro__ if kind in CODES)
    return next(kinds, grpc.StatusCode.INTERNAL)


def status_of(error: RunwireError) -> Status:
    """Return an error as the status that the contract promises, cut to what trailers can hold."""
    variables = {name: clipped(value, _VALUE_BYTES) for name, value in error.variables.items()}
    details: list[Message] = [ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=variables)]
    if isinstance(error, InvalidFields):
        details.append(_bad_request(error.violations))
    if isinstance(error, ResourceExhausted) and error.retry_after is not None:
        details.append(RetryInfo(retry_delay=error.retry_after))
    code: tuple[int, str] = code_of(error).value
    status = Status(code=code[0], message=clipped(error.message, _MESSAGE_BYTES))
    for detail in details:
        status.details.add().Pack(detail)
    return status


def _bad_request(violations: Sequence[tuple[str, str]]) -> BadRequest:
    shown = [
        BadRequest.FieldViolation(
            field=clipped(field, _VALUE_BYTES), description=clipped(description, _VALUE_BYTES)
        )
        for field, description in violations[:_VIOLATIONS]
    ]
    return BadRequest(field_violations=shown)


def clipped(text: str, limit: int) -> str:
    """Return `text`, cut if it has more than `limit` bytes in UTF-8."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return encoded.decode()
    return encoded[: limit - 3].decode(errors="ignore") + "…"


async def end_call(context: grpc.aio.ServicerContext[object, object], error: RunwireError) -> None:
    """End a call with an error's status. Raises what gRPC raises to leave a handler."""
    status = status_of(error)
    details = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(code_of(error), status.message, details)
