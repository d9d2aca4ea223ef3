"""Exceptions as errors of runs."""

import pytest
from langgraph.errors import (
    EmptyInputError,
    GraphRecursionError,
    InvalidUpdateError,
    NodeCancelledError,
    NodeTimeoutError,
)
from tests.support.execution import execute, make_run

from runwire.server.graphs.failures import (
    describe_failure,
    describe_refusal,
    describe_task_error,
)
from runwire.server.graphs.registry import Registry
from runwire.server.model.ids import canonical_id, new_id


class OwnValueError(ValueError):
    """Says what its author wants to be read."""


class DatabaseError(Exception):
    """Quotes what nobody should read."""


class Unspeakable(ValueError):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    "exception",
    [
        ValueError("told"),
        OwnValueError("told"),
        TypeError("told"),
        IndexError("told"),
        ZeroDivisionError("told"),
        AssertionError("told"),
        NotImplementedError("told"),
        TimeoutError("told"),
        RecursionError("told"),
        GraphRecursionError("told"),
        InvalidUpdateError("told"),
        EmptyInputError("told"),
    ],
    ids=lambda exception: type(exception).__name__,
)
def test_messages_of_known_families_are_shown(exception: Exception) -> None:
    error, to_log = describe_failure(exception, 2)

    assert not to_log
    assert (error.type, error.message) == (type(exception).__name__, "told")
    assert (error.attempt, error.node, error.error_id) == (2, "", "")


@pytest.mark.parametrize(
    "exception",
    [DatabaseError("sk-secret"), OSError("/etc/secret"), Exception("secret"), SystemExit("secret")],
    ids=lambda exception: type(exception).__name__,
)
def test_messages_of_other_exceptions_stay_in_the_log(exception: BaseException) -> None:
    error, to_log = describe_failure(exception, 1)

    assert to_log
    assert error.type == type(exception).__name__
    assert "secret" not in error.message
    assert canonical_id(error.error_id)


def test_a_long_message_is_cut() -> None:
    error, _ = describe_failure(ValueError("x" * 5000), 1)

    assert len(error.message) == 1000
    assert error.message.endswith("x…")


def test_a_message_can_always_be_encoded() -> None:
    error, _ = describe_failure(ValueError("a\ud800b\0c"), 1)

    assert error.message == "a?bc"
    assert describe_failure(Unspeakable(), 1)[0].message == ""


def test_the_node_is_the_innermost_one() -> None:
    exception = ValueError("x")
    exception.add_note("a note of the user's")
    exception.add_note("During task with name 'inner' and id '1'")
    exception.add_note("During task with name 'outer' and id '2'")

    assert describe_failure(exception, 1)[0].node == "inner"


def test_a_node_that_was_cut_off_is_named() -> None:
    timeout = NodeTimeoutError("slow", 2.0, kind="run", run_timeout=1.0)

    assert describe_failure(timeout, 1)[0].node == "slow"
    assert describe_failure(NodeCancelledError("gone"), 1)[0].node == "gone"


def test_the_one_exception_of_a_group_is_the_cause() -> None:
    group = ExceptionGroup("unhandled errors in a TaskGroup", [ValueError("inside")])
    group.add_note("During task with name 'node' and id '1'")

    error, to_log = describe_failure(group, 1)

    assert (error.type, error.message, error.node, to_log) == (
        "ValueError",
        "inside",
        "node",
        False,
    )


def test_a_group_of_several_stays_one() -> None:
    error, to_log = describe_failure(ExceptionGroup("x", [ValueError("a"), ValueError("b")]), 1)

    assert (error.type, to_log) == ("ExceptionGroup", True)


async def test_a_graphs_failure_names_its_node(registry: Registry) -> None:
    for kind, shown in (("value", True), ("own", False)):
        run = make_run("fails", new_id(), input={"kind": kind, "message": "told"})
        with pytest.raises(Exception, match="told") as caught:
            await execute(registry, run)

        error, to_log = describe_failure(caught.value, 1)

        assert error.node == "fail"
        assert ("told" in error.message) is shown
        assert to_log is not shown


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, ""),
        (ValueError("told"), "ValueError: told"),
        (DatabaseError("secret"), "DatabaseError"),
        ("ValueError('told')", "ValueError('told')"),
        ("KeyError('told')", "KeyError('told')"),
        ("DatabaseError('secret')", "DatabaseError"),
        ("<DatabaseError secret>", "Exception"),
        ("secret: no such thing", "Exception"),
    ],
)
def test_a_tasks_error_is_told_as_a_runs(error: object, expected: str) -> None:
    assert describe_task_error(error) == expected


@pytest.mark.parametrize(
    ("exception", "told"),
    [
        (KeyError("n"), "KeyError: 'n'"),
        (ValueError(), "ValueError"),
        (InvalidUpdateError("Ambiguous update"), "Ambiguous update"),
        (InvalidUpdateError(), "InvalidUpdateError"),
    ],
)
def test_a_refusal_tells_more_than_a_key(exception: Exception, told: str) -> None:
    assert describe_refusal(exception) == told
