"""What the client makes of being called from a node, and what it leaves alone otherwise."""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest
from langchain_core.runnables.config import var_child_runnable_config

from runwire.client import get_client
from runwire.client.nodes import calling_node
from runwire.client.specs import AttendedRunOptions, build_spec
from runwire.v1 import core_pb2

RUN_ID = "0192f0c3-2b3c-7d4e-8f5a-6b7c8d9e0f1a"
THREAD_ID = "0192f0c2-11aa-7e3b-9c4d-5e6f7a8b9c0d"
ABOVE = "0192f0c1-11aa-7e3b-9c4d-5e6f7a8b9c0d"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@contextmanager
def in_node(**configurable: Any) -> Iterator[dict[str, Any]]:
    """Be in a node for the length of a block; give its `configurable`."""
    own = {"__pregel_task_id": "t", "thread_id": THREAD_ID, "run_id": RUN_ID, **configurable}
    token = var_child_runnable_config.set({"configurable": own})
    try:
        yield own
    finally:
        var_child_runnable_config.reset(token)


def attended(**options: Any) -> core_pb2.RunSpec:
    return build_spec(THREAD_ID, "chat", options, AttendedRunOptions)


def starting(
    headers: dict[str, str] | None = None, own: dict[str, str] | None = None
) -> dict[str, str]:
    """Return the headers of a call that starts a run."""
    client = get_client("nowhere:1", headers=own)
    return client._connection.starting(headers, awaited=True)


def test_outside_of_graphs_nothing_is_added() -> None:
    assert attended() == core_pb2.RunSpec(assistant_id="chat", thread_id=THREAD_ID)
    assert starting() == {}


def test_a_chain_that_is_no_graph_is_no_node() -> None:
    token = var_child_runnable_config.set({"configurable": {"thread_id": THREAD_ID}})
    try:
        assert calling_node() is None
    finally:
        var_child_runnable_config.reset(token)


class TestSpecs:
    def test_a_run_ends_with_its_node_unless_it_is_told_otherwise(self) -> None:
        with in_node():
            assert attended().on_disconnect == core_pb2.ON_DISCONNECT_CANCEL
            own = attended(on_disconnect="continue")
            assert own.on_disconnect == core_pb2.ON_DISCONNECT_CONTINUE
            assert not build_spec(THREAD_ID, "chat", {}).on_disconnect

    def test_a_run_has_the_time_that_the_node_s_run_has_left_and_a_second(self) -> None:
        ends_at = time.monotonic() + 10
        with in_node(__runwire_run={"ends_at": ends_at}):
            seconds = attended().timeout.ToTimedelta().total_seconds()
            assert ends_at - time.monotonic() < seconds - 0.99 <= 10.01
            assert attended(timeout=3).timeout.seconds == 3
            assert not build_spec(THREAD_ID, "chat", {}).HasField("timeout")
        with in_node(__runwire_run={"ends_at": time.monotonic() - 10}):
            assert attended().timeout.seconds == 1
        with in_node(__runwire_run={"ends_at": None}):
            assert not attended().HasField("timeout")

    def test_a_run_is_not_given_what_the_node_s_own_run_is(self) -> None:
        own = {"checkpoint_kind": "red", "langgraph_auth_user_id": "", "checkpoint_ns": "x"}
        with in_node(**own) as configurable:
            spec = attended(config={"configurable": configurable})
        assert spec.config.configurable.json == '{"checkpoint_kind":"red"}'

    def test_what_is_not_the_node_s_own_is_left_for_the_server_to_judge(self) -> None:
        with in_node():
            spec = attended(config={"configurable": {"run_id": "mine"}})
        assert spec.config.configurable.json == '{"run_id":"mine"}'

    def test_a_stateless_run_s_node_starts_stateless_runs(self) -> None:
        with in_node(thread_id=RUN_ID):
            assert build_spec(RUN_ID, "chat", {}, AttendedRunOptions).thread_id == ""
            assert attended().thread_id == THREAD_ID


class TestHeaders:
    def test_the_trace_of_the_node_s_run_goes_on(self) -> None:
        trace = {
            "traceparent": PARENT,
            "tracestate": "a=1",
            "baggage": "b=2",
            "langsmith-trace": "x",
        }
        with in_node(**trace):
            assert trace.items() <= starting().items()

    @pytest.mark.parametrize("value", ["", "a\nb", "é", "x" * 4097, 7])
    def test_what_cannot_be_sent_is_left_out(self, value: Any) -> None:
        with in_node(baggage=value):
            assert "baggage" not in starting()

    def test_a_trace_takes_no_more_than_half_of_the_room_that_headers_have(self) -> None:
        with in_node(**{"traceparent": PARENT, "baggage": "b" * 3900, "langsmith-trace": "x" * 99}):
            assert {"traceparent", "langsmith-trace"} == starting().keys() - {AWAITED}
        with in_node(**{"traceparent": PARENT, "baggage": "b" * 3500, "langsmith-trace": "x" * 99}):
            sent = {key: value for key, value in starting().items() if key != AWAITED}
        assert {"traceparent", "langsmith-trace", "baggage"} == sent.keys()
        assert sum(len(key) + len(value) + 32 for key, value in sent.items()) <= 4096

    def test_a_trace_s_state_that_is_longer_than_it_may_be_is_left_out(self) -> None:
        with in_node(traceparent=PARENT, tracestate="a" * 513):
            assert "tracestate" not in starting()
        with in_node(traceparent=PARENT, tracestate="a" * 512):
            assert "tracestate" in starting()

    @pytest.mark.parametrize("whose", ["call", "client"])
    def test_headers_that_are_given_win(self, whose: str) -> None:
        given = {"Traceparent": OTHER}
        with in_node(traceparent=PARENT, tracestate="a=1", baggage="b=2"):
            sent = starting(given) if whose == "call" else starting(own=given)
        assert {key.lower(): value for key, value in sent.items() if key != AWAITED} == {
            "baggage": "b=2",
            **({"traceparent": OTHER} if whose == "call" else {}),
        }

    def test_the_current_span_of_a_program_that_traces_wins_over_the_run_s(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def inject(carrier: dict[str, str]) -> None:
            carrier["traceparent"] = OTHER
            carrier["x-vendor"] = "1"

        propagate: Any = ModuleType("opentelemetry.propagate")
        propagate.inject = inject
        monkeypatch.setitem(sys.modules, "opentelemetry", ModuleType("opentelemetry"))
        monkeypatch.setitem(sys.modules, "opentelemetry.propagate", propagate)
        with in_node(traceparent=PARENT):
            assert starting()["traceparent"] == PARENT
        monkeypatch.setitem(sys.modules, "opentelemetry.trace", ModuleType("trace"))
        assert starting() == {"traceparent": OTHER}
        with in_node(traceparent=PARENT, tracestate="a=1", baggage="b=2"):
            sent = starting()
        assert sent["traceparent"] == OTHER
        assert sent["baggage"] == "b=2"
        assert "tracestate" not in sent

    def test_those_who_wait_are_named_the_outermost_first(self) -> None:
        with in_node(__runwire_run={"awaited_by": [ABOVE]}):
            assert starting()[AWAITED] == f"{ABOVE},{RUN_ID}"
            client = get_client("nowhere:1")
            assert AWAITED not in client._connection.starting(None)
        with in_node(run_id=None):
            assert AWAITED not in starting()


class Waiting:
    """A call that somebody waits for."""

    cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


def test_a_call_ends_when_the_node_s_run_is_told_to_stop() -> None:
    stopped: Future[None] = Future()
    before: Any = Waiting()
    after: Any = Waiting()
    with in_node(__runwire_run={"stopped": stopped}):
        node = calling_node()
    assert node is not None
    node.stops_with(before)
    gone: Any = Waiting()
    node.stops_with(gone)
    del gone
    assert not before.cancelled
    assert not node.is_stopped
    stopped.set_result(None)
    node.stops_with(after)
    assert before.cancelled
    assert after.cancelled
    assert node.is_stopped


AWAITED = "runwire-awaited-by"
