"""Errors by the server's reasons: every reason of the contract has its kind."""

import pickle
import re
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.support.scripted import RUN_ID, ScriptedRuns, client_of, failure

from runwire.client import (
    ConflictError,
    ErrorReason,
    NotFoundError,
    RunCancelledError,
    RunFailedError,
    RunNotFoundError,
    RunwireError,
    ThreadBusyError,
)
from runwire.client.errors import BY_REASON, BY_STATUS, ServerError
from runwire.v1 import errors_pb2

GUIDE = Path(__file__).parents[2] / "docs/client-connections.md"
PROTO = Path(__file__).parents[2] / "protos/runwire/v1/errors.proto"
REASONS = {
    name.removeprefix("ERROR_REASON_")
    for name in errors_pb2.ErrorReason.DESCRIPTOR.values_by_name
    if name != "ERROR_REASON_UNSPECIFIED"
}


def statuses() -> dict[str, set[str]]:
    """Return the statuses that the contract's comments speak of, by reason."""
    found, comment = {}, ""
    for line in PROTO.read_text().splitlines():
        if declared := re.match(r"  ERROR_REASON_(\w+) = ", line):
            names = set(re.findall(r"\b[A-Z_]{5,}\b", comment.partition('{"reason"')[0]))
            found[declared[1]] = names & {code.name for code in grpc.StatusCode}
            comment = ""
        else:
            comment += line
    return found


def test_every_reason_of_the_contract_is_known_and_no_other() -> None:
    assert set(ErrorReason) == REASONS
    assert set(BY_REASON) == set(ErrorReason)


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_a_reason_is_caught_by_the_kind_of_its_status(reason: str) -> None:
    codes = statuses()[reason]
    assert codes
    for code in codes:
        status = BY_STATUS.get(grpc.StatusCode[code], ServerError)
        assert issubclass(BY_REASON[ErrorReason(reason)], status)


def test_the_guide_names_what_is_raised_for_each_reason() -> None:
    told = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*) \|$", GUIDE.read_text(), re.M))
    assert told == {reason: named(kind) for reason, kind in BY_REASON.items()}


def named(kind: type[RunwireError]) -> str:
    (base,) = kind.__bases__
    above = "" if base is RunwireError else f" (`{base.__name__}`)"
    return f"`{kind.__name__}`{above}"


async def raised_for(code: grpc.StatusCode, reason: str) -> RunwireError:
    servicer = ScriptedRuns()
    servicer.answers = [failure(code, reason, "what went wrong")]
    async with client_of(servicer) as client:
        with pytest.raises(RunwireError) as raised:
            await client.runs.get(None, RUN_ID)
    return raised.value


async def test_a_reason_that_callers_act_upon_has_a_kind_of_its_own() -> None:
    for code in (grpc.StatusCode.ABORTED, grpc.StatusCode.FAILED_PRECONDITION):
        error = await raised_for(code, "THREAD_BUSY")
        assert type(error) is ThreadBusyError
        assert error.reason is ErrorReason.THREAD_BUSY
    gone = await raised_for(grpc.StatusCode.NOT_FOUND, "RUN_ROLLED_BACK")
    assert isinstance(gone, RunNotFoundError)


async def test_a_reason_of_a_newer_server_is_told_and_goes_by_its_status() -> None:
    unknown = await raised_for(grpc.StatusCode.FAILED_PRECONDITION, "NEWER_THAN_THIS")
    assert type(unknown) is ConflictError
    assert unknown.reason == "NEWER_THAN_THIS"
    elsewhere = await raised_for(grpc.StatusCode.NOT_FOUND, "THREAD_BUSY")
    assert type(elsewhere) is NotFoundError


RUN: Any = {"run_id": RUN_ID}


@pytest.mark.parametrize(
    "error",
    [
        RunFailedError("ValueError: no", RUN),
        RunCancelledError(RUN),
        ThreadBusyError("busy", code="ABORTED", reason="THREAD_BUSY", metadata={"thread_id": "t"}),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_can_go_from_one_process_to_another(error: RunwireError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
