"""Failed calls as errors of ours, with words for those that no Runwire server has described."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from google.protobuf.message import DecodeError
from google.rpc import (  # type: ignore[import-untyped]  # has no stubs
    error_details_pb2,
    status_pb2,
)

from runwire.client.errors import (
    BY_REASON,
    BY_STATUS,
    InvalidArgumentError,
    ResourceExhaustedError,
    RunwireError,
    ServerError,
    UnavailableError,
)
from runwire.client.reasons import ErrorReason

if TYPE_CHECKING:
    import grpc.aio

_DOMAIN = "runwire.dev"
_DETAILS_KEY = "grpc-status-details-bin"

# Words of gRPC's, and what they mean to whoever called; the first that is found counts.
_NO_CONNECTION = (
    ("WRONG_VERSION_NUMBER", "{0} does not speak TLS: another port, or http:// for https://?"),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "the certificate of {0} is not trusted: see Tls(ca=…)",
    ),
    ("Hostname Verification", "the certificate of {0} is for another name: see Tls(server_name=…)"),
    ("http1.x", "what answers at {0} is a web server and does not speak gRPC: another port?"),
    ("before receiving SETTINGS", "what listens at {0} does not speak gRPC: another port?"),
    ("lookup", "the name of {0} cannot be resolved"),
    ("DNS resolution failed", "the name of {0} cannot be resolved"),
)
_HUNG_UP = ("Socket closed", "reset by peer", "Broken pipe", "Endpoint")
_PLAIN_HUNG_UP = "{0} hangs up: if it wants TLS, call it with https://; otherwise, another port?"
_TLS_HUNG_UP = (
    "{0} hangs up: does it want a certificate of its callers, Tls(cert=…, key=…), or another one?"
)

_NEVER_CONNECTED = ("failed to connect", "errors resolving", "DNS resolution failed")

# How gRPC tells of a stream that something between here and the server has broken off: a server's
# own INTERNAL has a reason.
_BROKEN_OFF = ("RST_STREAM", "Stream removed", "GOAWAY")

# How gRPC tells of a connection that is no more; what a proxy says of the one behind it names that.
_BROKEN = (
    *_HUNG_UP,
    *_BROKEN_OFF,
    "keepalive",
    "ping timeout",
    "Connection timed out",
    "Cancelling all calls",
)
_BEHIND = ("upstream", "Received http2 header")


def from_call(
    error: grpc.aio.AioRpcError | grpc.Call, target: str, *, secure: bool, limited: bool
) -> RunwireError:
    """Return a failed call's error as one of ours. `target` is the address that was called, by TLS
    if it was `secure`; a call that was not `limited` had no deadline."""
    details = _details(error)
    info = error_details_pb2.ErrorInfo()
    if _find(details, info) and info.domain == _DOMAIN:
        message, kind = error.details() or "", _kind_of(error.code(), info.reason)
    else:
        info = error_details_pb2.ErrorInfo()
        message, kind = _untold(error, target, secure=secure, limited=limited)
    reason = info.reason
    raised = kind(
        message,
        code=error.code().name,
        reason=ErrorReason(reason) if reason in ErrorReason.__members__ else reason,
        metadata=info.metadata,
    )
    _add_details(raised, details)
    return raised


def is_break(error: RunwireError) -> bool:
    """Return whether a call failed because its connection broke, or there was none, or its server
    leaves: and not by another status that something at the other end has sent."""
    if error.reason or any(words in error.message for words in _BEHIND):
        return error.reason == ErrorReason.DRAINING
    return any(words in error.message for words in (*_BROKEN, *_NEVER_CONNECTED))


def _kind_of(code: grpc.StatusCode, reason: str) -> type[RunwireError]:
    by_status = BY_STATUS.get(code, ServerError)
    if reason not in ErrorReason.__members__:
        return by_status
    by_reason = BY_REASON[ErrorReason(reason)]
    # Who handles a status must not miss it, whatever a newer server gives as its reason.
    return by_reason if issubclass(by_reason, by_status) else by_status


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
    if isinstance(raised, UnavailableError):
        raised.connected = not any(words in raised.message for words in _NEVER_CONNECTED)
    if isinstance(raised, ResourceExhaustedError):
        retry_info = error_details_pb2.RetryInfo()
        if _find(details, retry_info):
            raised.retry_after = retry_info.retry_delay.ToTimedelta().total_seconds()


def _untold(
    error: grpc.aio.AioRpcError | grpc.Call, target: str, *, secure: bool, limited: bool
) -> tuple[str, type[RunwireError]]:
    """Return words and a kind for a failure that no Runwire server has described."""
    code, message = error.code(), error.details() or ""
    kind = BY_STATUS.get(code, ServerError)
    told = f"{code.name} from {target}: {message}"
    if code is grpc.StatusCode.UNAVAILABLE:
        return f"{_no_answer(message, target, secure=secure)} ({message})", kind
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        if limited:
            return f"no answer from {target} within the client's timeout ({message})", kind
        return f"something on the way to {target} has ended the call ({message})", UnavailableError
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return (
            f"{target} does not know this call: an older Runwire, a worker, or none ({message})"
        ), kind
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _is_too_large_here(message):
        return (
            f"{told} (larger answers need a larger grpc.max_receive_message_length in get_client)"
        ), kind
    if kind is ServerError and any(words in message for words in _BROKEN_OFF):
        return told, UnavailableError
    return told, kind


def _is_too_large_here(message: str) -> bool:
    # A server that refuses a request so says that it is the server.
    return "Received message larger" in message and not message.startswith("SERVER")


def _no_answer(message: str, target: str, *, secure: bool) -> str:
    for words, sentence in _NO_CONNECTION:
        if words in message:
            return sentence.format(target)
    # A connection that was open, and breaks, is told in fewer words.
    if _NEVER_CONNECTED[0] in message and any(words in message for words in _HUNG_UP):
        return (_TLS_HUNG_UP if secure else _PLAIN_HUNG_UP).format(target)
    return f"no answer from a Runwire server at {target}; is it running there?"
