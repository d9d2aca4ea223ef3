"""Requests that are refused, and how tests look at that."""

from typing import Any

import grpc

from runwire.v1 import core_pb2, runs_pb2
from tests.support.callers import Stubs, collect
from tests.support.statuses import Failure, failure_of

STARTS = ("CreateRun", "RunStream", "RunWait", "BatchCreateRuns")


def starting(method: str, spec: core_pb2.RunSpec) -> tuple[Any, str]:
    """Return a request that starts a run, and the path of its specification."""
    if method == "BatchCreateRuns":
        return runs_pb2.BatchCreateRunsRequest(specs=[spec]), "specs[0]"
    return getattr(runs_pb2, f"{method}Request")(spec=spec), "spec"


async def refusal(stubs: Stubs, method: str, request: Any) -> Failure:
    """Return how a call fails."""
    call = stubs.method(method)(request)
    if isinstance(call, grpc.aio.UnaryStreamCall):
        return await failure_of(collect(call))
    return await failure_of(call)


def assert_refused(failed: Failure, *fields: str) -> None:
    """Check that these fields, and no others, were found wrong."""
    assert (failed.code, failed.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert list(failed.fields) == list(fields)
    assert failed.variables == {"field": fields[0]}
    assert failed.message.startswith(f"{fields[0]}: ")
    assert all(failed.fields.values())
