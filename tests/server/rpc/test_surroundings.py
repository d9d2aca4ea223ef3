"""What comes along with the calls that start runs: their trace, and who waits for them."""

import json
from typing import Any

import pytest
from tests.server.rpc.conftest import Served
from tests.support.statuses import failure_of

from runwire.server.model.ids import new_id
from runwire.server.rpc.surroundings import AWAITED_BY, read_awaiting, read_trace
from runwire.v1 import core_pb2
from runwire.v1 import runs_pb2 as wire

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE = {
    "traceparent": PARENT,
    "tracestate": "vendor=1",
    "baggage": "user=ada,team=%20x",
    "langsmith-trace": "20260101T000000000000Z0192f0c3-2b3c-7d4e-8f5a-6b7c8d9e0f1a",
}


class Call:
    """A call with metadata."""

    def __init__(self, *metadata: tuple[str, str | bytes]) -> None:
        self._metadata = metadata

    def invocation_metadata(self) -> Any:
        return self._metadata


def trace_of(*metadata: tuple[str, str | bytes]) -> dict[str, str]:
    return read_trace(Call(*metadata))  # type: ignore[arg-type]


def test_a_trace_is_taken_as_it_comes() -> None:
    assert trace_of(*TRACE.items(), ("user-agent", "x")) == TRACE
    assert trace_of() == {}


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "00",
        PARENT.upper(),
        PARENT.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
        PARENT.replace("b7ad6b7169203331", "0" * 16),
        "ff" + PARENT[2:],
        PARENT + "-" + "x" * 201,
    ],
)
def test_a_parent_that_is_none_is_left_out_with_its_state(parent: str) -> None:
    assert trace_of(("traceparent", parent), ("tracestate", "a=1"), ("baggage", "b=1")) == {
        "baggage": "b=1"
    }


def test_a_parent_of_a_later_version_is_taken() -> None:
    later = "01" + PARENT[2:] + "-more"
    assert trace_of(("traceparent", later)) == {"traceparent": later}


def test_two_parents_are_none_and_two_lists_are_one() -> None:
    assert trace_of(("traceparent", PARENT), ("traceparent", PARENT)) == {}
    assert trace_of(("baggage", "a=1"), ("baggage", "b=2")) == {"baggage": "a=1,b=2"}


@pytest.mark.parametrize(
    ("key", "longest"), [("baggage", 4096), ("langsmith-trace", 4096), ("tracestate", 512)]
)
def test_what_is_too_long_is_left_out(key: str, longest: int) -> None:
    parent = ("traceparent", PARENT)
    assert key in trace_of(parent, (key, "x" * longest))
    assert key not in trace_of(parent, (key, "x" * (longest + 1)))


@pytest.mark.parametrize("value", ["a\tb", "é", b"bytes"])
def test_what_is_no_text_of_a_header_is_left_out(value: Any) -> None:
    assert trace_of(("baggage", value)) == {}


def test_those_who_wait_are_told_by_their_ids() -> None:
    one, two = new_id(), new_id()
    call: Any = Call((AWAITED_BY, f"{one}, {two.upper()},nonsense"))
    assert read_awaiting(call) == (one, two)
    many: Any = Call((AWAITED_BY, ",".join([one] * 1000)))
    assert len(read_awaiting(many)) == 64


class TestOverASocket:
    """On the calls that start runs."""

    @pytest.mark.parametrize("method", ["CreateRun", "BatchCreateRuns", "RunStream", "RunWait"])
    async def test_nodes_find_the_trace_in_their_configurable(
        self, served: Served, method: str
    ) -> None:
        own = {"json": json.dumps({"baggage": "mine", "colour": "red"})}
        spec: Any = {
            "assistant_id": "tells",
            "input": {"json": "{}"},
            "config": {"configurable": own},
        }
        metadata = tuple(TRACE.items())
        runs = served.runs
        if method == "CreateRun":
            made = await runs.CreateRun(wire.CreateRunRequest(spec=spec), metadata=metadata)
            run_id = made.run.run_id
        elif method == "BatchCreateRuns":
            many = wire.BatchCreateRunsRequest(specs=[spec])
            run_id = (await runs.BatchCreateRuns(many, metadata=metadata)).runs[0].run_id
        elif method == "RunStream":
            stream = runs.RunStream(wire.RunStreamRequest(spec=spec), metadata=metadata)
            events = [event async for part in stream for event in part.events]
            run_id = events[0].run_id
        else:
            waited = await runs.RunWait(wire.RunWaitRequest(spec=spec), metadata=metadata)
            run_id = waited.run.run_id
        output = (await runs.JoinRun(wire.JoinRunRequest(run_id=run_id))).output.json
        configurable = json.loads(output)["told"]["configurable"]
        assert {key: configurable[key] for key in TRACE} == TRACE
        assert configurable["colour"] == "red"
        asked = (await runs.GetRun(wire.GetRunRequest(run_id=run_id))).run.spec
        assert json.loads(asked.config.configurable.json) == {"baggage": "mine", "colour": "red"}

    @pytest.mark.parametrize("method", ["RunStream", "RunWait"])
    async def test_a_run_that_would_wait_for_itself_is_refused(
        self, served: Served, method: str
    ) -> None:
        thread_id = new_id()
        spec: Any = {
            "assistant_id": "slow_async",
            "thread_id": thread_id,
            "if_thread_missing": core_pb2.IF_THREAD_MISSING_CREATE,
            "input": {"json": '{"seconds": 60}'},
        }
        holder = (await served.runs.CreateRun(wire.CreateRunRequest(spec=spec))).run
        metadata = ((AWAITED_BY, f"{holder.run_id},{new_id()}"),)
        call: Any
        if method == "RunStream":
            call = served.runs.RunStream(wire.RunStreamRequest(spec=spec), metadata=metadata).read()
        else:
            call = served.runs.RunWait(wire.RunWaitRequest(spec=spec), metadata=metadata)
        failure = await failure_of(call)
        assert (failure.code, failure.reason) == ("FAILED_PRECONDITION", "THREAD_BUSY")
        assert failure.variables == {"thread_id": thread_id, "run_id": holder.run_id}
        # In the background it waits for its turn: nobody waits for it.
        request = wire.CreateRunRequest(spec=spec)
        later = await served.runs.CreateRun(request, metadata=metadata)
        assert later.run.state == core_pb2.RUN_STATE_PENDING
        await served.runs.CancelRuns(wire.CancelRunsRequest(thread_id=thread_id))
