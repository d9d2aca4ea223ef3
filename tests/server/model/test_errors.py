import inspect

import pytest

from runwire.server.model import errors
from runwire.server.model.errors import (
    EventsExpired,
    GraphNotFound,
    InvalidField,
    InvalidFields,
    RunFinished,
    RunwireError,
)

KINDS = (
    errors.NotFound,
    errors.AlreadyExists,
    errors.InvalidArgument,
    errors.FailedPrecondition,
    errors.Aborted,
    errors.OutOfRange,
    errors.ResourceExhausted,
    errors.Unavailable,
)

EXPECTED = [
    found
    for _, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, RunwireError) and found is not RunwireError and found not in KINDS
]


@pytest.mark.parametrize("kind", EXPECTED, ids=lambda kind: kind.__name__)
def test_every_failure_has_one_kind_and_a_reason_of_its_own(kind: type[RunwireError]) -> None:
    assert sum(issubclass(kind, base) for base in KINDS) == 1
    assert kind.reason != RunwireError.reason
    assert kind.reason == kind.reason.upper()


def test_a_failure_carries_its_message_and_its_variables() -> None:
    error = RunFinished("some-run", "failed")
    assert str(error) == error.message == "run some-run has ended: failed"
    assert error.variables == {"run_id": "some-run", "state": "failed"}


def test_wrong_fields_are_told_all_together_and_the_first_in_words() -> None:
    error = InvalidFields([("a", "is wrong"), ("b", "is wrong too")])
    assert error.message == "a: is wrong (and 1 more)"
    assert error.violations == (("a", "is wrong"), ("b", "is wrong too"))
    assert error.variables == {"field": "a"}
    assert InvalidField("a", "is wrong").message == "a: is wrong"


def test_a_missing_graph_is_told_with_those_that_are_there() -> None:
    assert GraphNotFound("x", ["a", "b"]).message == "no graph is called 'x'; known: a, b"
    assert GraphNotFound("x", []).message.endswith("known: none")


def test_expired_events_are_told_with_the_oldest_that_is_kept() -> None:
    assert EventsExpired("r", "1-5").message.endswith("the oldest kept is 1-5")
    assert EventsExpired("r", "").message.endswith("none is kept")
    assert EventsExpired("r", "1-5").variables["oldest_event_id"] == "1-5"
