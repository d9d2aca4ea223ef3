"""How failures leave the server."""

from datetime import timedelta

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from runwire.server.model import errors
from runwire.server.rpc.errors import Defect, clipped, code_of, status_of
from runwire.v1 import errors_pb2

Code = grpc.StatusCode

EXAMPLES: list[tuple[errors.RunwireError, grpc.StatusCode]] = [
    (errors.InvalidRequest("CreateRun"), Code.INVALID_ARGUMENT),
    (errors.InvalidField("spec.input", "is wrong"), Code.INVALID_ARGUMENT),
    (errors.GraphNotFound("a", ["b"]), Code.NOT_FOUND),
    (errors.AssistantNotFound("a"), Code.NOT_FOUND),
    (errors.AssistantVersionNotFound("a", 7), Code.NOT_FOUND),
    (errors.ThreadNotFound("t"), Code.NOT_FOUND),
    (errors.RunNotFound("r"), Code.NOT_FOUND),
    (errors.RunRolledBack("r"), Code.NOT_FOUND),
    (errors.CheckpointNotFound("t", "c"), Code.NOT_FOUND),
    (errors.CronNotFound("c"), Code.NOT_FOUND),
    (errors.AssistantExists("a"), Code.ALREADY_EXISTS),
    (errors.ThreadExists("t"), Code.ALREADY_EXISTS),
    (errors.RequestIdReused("q"), Code.ALREADY_EXISTS),
    (errors.ThreadBusy("t"), Code.ABORTED),
    (errors.WaitsForItself("t", "r"), Code.FAILED_PRECONDITION),
    (errors.ThreadContended("t"), Code.ABORTED),
    (errors.ThreadInUse("t"), Code.FAILED_PRECONDITION),
    (errors.RunFinished("r", "succeeded"), Code.FAILED_PRECONDITION),
    (errors.RunInFlight("r"), Code.FAILED_PRECONDITION),
    (errors.AssistantInUse("a"), Code.FAILED_PRECONDITION),
    (errors.DefaultAssistant("a", "g"), Code.FAILED_PRECONDITION),
    (errors.ItemNotFound(("n",), "k"), Code.NOT_FOUND),
    (errors.StateNotShown("g", "failed"), Code.FAILED_PRECONDITION),
    (errors.SearchNotConfigured(), Code.FAILED_PRECONDITION),
    (errors.ResumeTokenExpired(), Code.OUT_OF_RANGE),
    (errors.WebhookDeliveryNotFound("d"), Code.NOT_FOUND),
    (errors.WebhookDeliveryPending("d"), Code.FAILED_PRECONDITION),
    (errors.EventsExpired("r", "1-1"), Code.OUT_OF_RANGE),
    (errors.StateUpdateRefused("no", thread_id="t"), Code.FAILED_PRECONDITION),
    (errors.QueueFull(10), Code.RESOURCE_EXHAUSTED),
    (errors.RunLimitReached("limit", 1, principal="p"), Code.RESOURCE_EXHAUSTED),
    (errors.PayloadTooLarge("metadata", 2, 1), Code.RESOURCE_EXHAUSTED),
    (errors.Draining(), Code.UNAVAILABLE),
    (errors.DatabaseUnavailable(), Code.UNAVAILABLE),
    (errors.EmbeddingFailed("3f9c2a7be1d04c58"), Code.UNAVAILABLE),
    (errors.StorageFull(), Code.RESOURCE_EXHAUSTED),
    (Defect("3f9c2a7be1d04c58"), Code.INTERNAL),
]


def details(status: Status, kind: type) -> list[object]:
    found = []
    for packed in status.details:
        detail = kind()
        if packed.Unpack(detail):
            found.append(detail)
    return found


def test_every_reason_of_the_contract_is_some_error() -> None:
    promised = {
        name.removeprefix("ERROR_REASON_")
        for name in errors_pb2.ErrorReason.keys()  # noqa: SIM118 - not a dict
    }
    assert {error.reason for error, _ in EXAMPLES} == promised - {"UNSPECIFIED"}


@pytest.mark.parametrize(("error", "code"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_an_error_has_its_kind_of_code_and_exactly_one_error_info(
    error: errors.RunwireError, code: grpc.StatusCode
) -> None:
    assert code_of(error) is code
    status = status_of(error)
    assert status.code == code.value[0]
    assert status.message == error.message
    (info,) = details(status, ErrorInfo)
    assert isinstance(info, ErrorInfo)
    assert (info.reason, info.domain) == (error.reason, "runwire.dev")
    assert dict(info.metadata) == dict(error.variables)


def test_all_wrong_fields_are_listed() -> None:
    status = status_of(errors.InvalidFields([("a", "is wrong"), ("b[1].c", "is required")]))
    assert status.message == "a: is wrong (and 1 more)"
    (bad,) = details(status, BadRequest)
    assert isinstance(bad, BadRequest)
    shown = [(violation.field, violation.description) for violation in bad.field_violations]
    assert shown == [("a", "is wrong"), ("b[1].c", "is required")]


def test_only_what_waiting_helps_says_how_long_to_wait() -> None:
    (retry,) = details(status_of(errors.QueueFull(1)), RetryInfo)
    assert isinstance(retry, RetryInfo)
    assert retry.retry_delay.ToTimedelta() == timedelta(seconds=1)
    assert details(status_of(errors.PayloadTooLarge("x", 2, 1)), RetryInfo) == []
    assert details(status_of(errors.Draining()), RetryInfo) == []


def test_a_status_stays_within_what_clients_take_as_trailers() -> None:
    long = "é" * 100_000
    many = errors.InvalidFields([(f"{long}{index}", long) for index in range(1_000)])
    for error in (many, errors.GraphNotFound(long, [long] * 100), errors.RequestIdReused(long)):
        status = status_of(error)
        percent_encoded, base64_encoded = (
            len(status.message.encode()) * 3,
            status.ByteSize() * 4 / 3,
        )
        assert percent_encoded + base64_encoded < 7_500


def test_clipping_never_breaks_a_character() -> None:
    assert clipped("abc", 3) == "abc"
    assert clipped("ééé", 5) == "é…"
    assert clipped("a\ud800b", 10) == "a?b"
