"""Specifications of runs: what is taken, with which defaults, and what is refused by which name."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from runwire.server.model.errors import InvalidFields, PayloadTooLarge
from runwire.server.model.ids import new_id
from runwire.server.model.requests import METADATA_BYTES
from runwire.server.model.runs import (
    Command,
    Durability,
    Goto,
    IfThreadMissing,
    MultitaskStrategy,
    OnCompletion,
    OnDisconnect,
    RunCheckpoint,
    RunConfig,
    RunSpec,
    StreamMode,
)
from runwire.server.model.webhook_urls import UrlPolicy
from runwire.server.rpc.fields import MAX_VIOLATIONS, Fields
from runwire.server.rpc.resources import spec_message
from runwire.server.rpc.specs import read_spec
from runwire.v1 import core_pb2
from runwire.v1.core_pb2 import RunSpec as Wire
from runwire.v1.payload_pb2 import Payload

THREAD = new_id()


def read(wire: Wire) -> RunSpec:
    fields = Fields()
    spec = read_spec(wire, fields, "spec", webhooks=UrlPolicy())
    fields.check()
    return spec


def refused(wire: Wire) -> dict[str, str]:
    with pytest.raises(InvalidFields) as caught:
        read(wire)
    return dict(caught.value.violations)


def json(text: str) -> Payload:
    return Payload(json=text)


def test_an_assistant_alone_gives_all_defaults() -> None:
    assert read(Wire(assistant_id="chat")) == RunSpec(assistant_id="chat")


def full() -> Wire:
    return Wire(
        assistant_id="chat",
        assistant_version=3,
        thread_id=THREAD.upper(),
        command=core_pb2.Command(
            resume_by_interrupt={"i": json("null")},
            update=json('[["a", 1], ["a", 2]]'),
            goto=[core_pb2.Goto(node="n", input=json("null")), core_pb2.Goto(node="m")],
        ),
        checkpoint=core_pb2.CheckpointRef(
            thread_id=THREAD, checkpoint_id="c", checkpoint_ns="ns", checkpoint_map={"": "c"}
        ),
        config=core_pb2.RunConfig(
            tags=["t"], recursion_limit=5, configurable=json('{"model": "small"}')
        ),
        context=json('{"user": 1}'),
        metadata=json('{"label": [1.5]}'),
        stream_modes=[core_pb2.STREAM_MODE_EVENTS, core_pb2.STREAM_MODE_VALUES],
        stream_subgraphs=True,
        interrupt_before=["*"],
        interrupt_after=["a", "b"],
        multitask_strategy=core_pb2.MULTITASK_STRATEGY_ROLLBACK,
        if_thread_missing=core_pb2.IF_THREAD_MISSING_CREATE,
        on_completion=core_pb2.ON_COMPLETION_KEEP,
        on_disconnect=core_pb2.ON_DISCONNECT_CANCEL,
        start_delay=timedelta(days=365),
        timeout=timedelta(seconds=1, microseconds=5),
        durability=core_pb2.DURABILITY_EXIT,
        priority=-100,
        webhook="https://example.com/hook?token=1",
    )


def test_everything_is_taken_as_it_was_meant() -> None:
    assert read(full()) == RunSpec(
        assistant_id="chat",
        assistant_version=3,
        thread_id=THREAD,
        command=Command(
            resume_by_interrupt={"i": None},
            update=[["a", 1], ["a", 2]],
            has_update=True,
            goto=(Goto(node="n", has_input=True), Goto(node="m")),
        ),
        checkpoint=RunCheckpoint(checkpoint_id="c", checkpoint_ns="ns", checkpoint_map={"": "c"}),
        config=RunConfig(tags=("t",), recursion_limit=5, configurable={"model": "small"}),
        context={"user": 1},
        metadata={"label": [1.5]},
        stream_modes=(StreamMode.EVENTS, StreamMode.VALUES),
        stream_subgraphs=True,
        interrupt_before=("*",),
        interrupt_after=("a", "b"),
        multitask_strategy=MultitaskStrategy.ROLLBACK,
        if_thread_missing=IfThreadMissing.CREATE,
        on_completion=OnCompletion.KEEP,
        on_disconnect=OnDisconnect.CANCEL,
        start_delay=timedelta(days=365),
        timeout=timedelta(seconds=1, microseconds=5),
        durability=Durability.EXIT,
        priority=-100,
        webhook="https://example.com/hook?token=1",
    )


def test_a_specification_is_answered_as_it_was_asked() -> None:
    spec = read(full())
    assert read(spec_message(spec)) == spec
    plain = RunSpec(assistant_id="chat", input={"a": 2**64 - 1})
    assert read(spec_message(plain)) == plain


def test_an_answer_of_null_is_an_answer() -> None:
    command = read(
        Wire(assistant_id="a", thread_id=THREAD, command=core_pb2.Command(resume=json("null")))
    ).command
    assert command == Command(resume=None, has_resume=True)


def test_an_empty_checkpoint_is_the_newest() -> None:
    spec = read(Wire(assistant_id="a", thread_id=THREAD, checkpoint=core_pb2.CheckpointRef()))
    assert spec.checkpoint is None


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"assistant_id": ""}, "spec.assistant_id"),
        ({"assistant_version": 0}, "spec.assistant_version"),
        ({"thread_id": "mine"}, "spec.thread_id"),
        ({"thread_id": "{" + THREAD + "}"}, "spec.thread_id"),
        ({"thread_id": "../" + THREAD[3:]}, "spec.thread_id"),
        ({"input": json('{"messages": [{}, {"id": NaN}]}')}, "spec.input.messages[1].id"),
        ({"context": json("[]")}, "spec.context"),
        ({"context": json("null")}, "spec.context"),
        ({"metadata": json('"label"')}, "spec.metadata"),
        ({"config": {"recursion_limit": 0}}, "spec.config.recursion_limit"),
        ({"config": {"tags": ["a", ""]}}, "spec.config.tags[1]"),
        ({"config": {"configurable": json("1")}}, "spec.config.configurable"),
        ({"stream_modes": [1, 0]}, "spec.stream_modes[1]"),
        ({"stream_modes": [99]}, "spec.stream_modes[0]"),
        ({"stream_modes": [1, 2, 1]}, "spec.stream_modes"),
        ({"interrupt_before": ["*", "a"]}, "spec.interrupt_before"),
        ({"interrupt_after": [""]}, "spec.interrupt_after[0]"),
        ({"stream_modes": [1] * 1001}, "spec.stream_modes"),
        ({"interrupt_before": ["a"] * 1001}, "spec.interrupt_before"),
        ({"config": {"tags": ["t"] * 1001}}, "spec.config.tags"),
        ({"command": {"goto": [{"node": "a"}] * 1001}}, "spec.command.goto"),
        (
            {"command": {"resume_by_interrupt": {str(n): json("1") for n in range(1001)}}},
            "spec.command.resume_by_interrupt",
        ),
        (
            {"checkpoint": {"checkpoint_map": {str(n): "c" for n in range(65)}}},
            "spec.checkpoint.checkpoint_map",
        ),
        ({"multitask_strategy": 99}, "spec.multitask_strategy"),
        ({"if_thread_missing": -1}, "spec.if_thread_missing"),
        ({"on_completion": 7}, "spec.on_completion"),
        ({"on_disconnect": 3}, "spec.on_disconnect"),
        ({"durability": 4}, "spec.durability"),
        ({"start_delay": Duration(seconds=-1)}, "spec.start_delay"),
        ({"start_delay": Duration(seconds=365 * 86_400, nanos=1)}, "spec.start_delay"),
        ({"start_delay": Duration(seconds=2**62)}, "spec.start_delay"),
        ({"start_delay": Duration(nanos=2_000_000_000)}, "spec.start_delay"),
        ({"timeout": Duration()}, "spec.timeout"),
        ({"timeout": Duration(nanos=-1)}, "spec.timeout"),
        ({"command": {"resume": json("1")}, "thread_id": ""}, "spec.command"),
        ({"command": {}}, "spec.command"),
        ({"command": {"resume": Payload()}}, "spec.command"),
        ({"command": {"resume": json("1")}, "input": json("null")}, "spec.input"),
        ({"command": {"update": json('["a"]')}}, "spec.command.update"),
        ({"command": {"update": json('[["a", 1, 2]]')}}, "spec.command.update"),
        ({"command": {"update": json('{"a": 1e999}')}}, "spec.command.update.a"),
        ({"command": {"goto": [{"node": ""}]}}, "spec.command.goto[0].node"),
        (
            {"command": {"goto": [{"node": "a", "input": json("[")}]}},
            "spec.command.goto[0].input",
        ),
        (
            {"command": {"resume": json("1"), "resume_by_interrupt": {"i": json("1")}}},
            "spec.command.resume",
        ),
        (
            {"command": {"resume_by_interrupt": {"i": Payload()}}},
            "spec.command.resume_by_interrupt.i",
        ),
        (
            {"command": {"resume_by_interrupt": {"i-1": json("[NaN]")}}},
            'spec.command.resume_by_interrupt["i-1"][0]',
        ),
        ({"checkpoint": {"checkpoint_id": "c"}, "thread_id": ""}, "spec.checkpoint"),
        ({"checkpoint": {"thread_id": new_id()}}, "spec.checkpoint.thread_id"),
        ({"checkpoint": {"thread_id": "t"}}, "spec.checkpoint.thread_id"),
    ],
)
def test_what_is_wrong_is_refused_by_its_name(changes: dict[str, Any], field: str) -> None:
    assert field in refused(Wire(**{"assistant_id": "a", "thread_id": THREAD, **changes}))


@pytest.mark.parametrize(
    "key",
    [
        "thread_id",
        "run_id",
        "assistant_id",
        "graph_id",
        "checkpoint_id",
        "checkpoint_ns",
        "checkpoint_map",
        "langgraph_auth_user",
        "__pregel_resuming",
    ],
)
def test_keys_that_the_server_fills_in_are_refused(key: str) -> None:
    configurable = json(f'{{"fine": 1, "{key}": 1}}')
    config = core_pb2.RunConfig(configurable=configurable)
    assert refused(Wire(assistant_id="a", config=config)) == {
        f"spec.config.configurable.{key}": "is filled in by the server"
    }


def test_all_mistakes_are_answered_at_once() -> None:
    found = refused(Wire(thread_id="t", timeout=Duration(), input=json("[NaN]"), durability=9))
    assert set(found) == {
        "spec.assistant_id",
        "spec.thread_id",
        "spec.timeout",
        "spec.input[0]",
        "spec.durability",
    }


def test_a_request_full_of_mistakes_is_not_read_to_its_end() -> None:
    configurable = "{" + ",".join(f'"__{n}": 1' for n in range(100_000)) + "}"
    config = core_pb2.RunConfig(configurable=json(configurable))
    assert len(refused(Wire(assistant_id="a", config=config))) == MAX_VIOLATIONS


def test_the_shortest_timeout_is_not_none() -> None:
    spec = read(Wire(assistant_id="a", timeout=Duration(nanos=1)))
    assert spec.timeout == timedelta(microseconds=1)


def metadata_of(size: int) -> str:
    text = '{"a":""}'
    return text.replace('""', '"' + "x" * (size - len(text)) + '"')


def as_json(text: str) -> Payload:
    return Payload(json=text)


def as_value(text: str) -> Payload:
    payload = Payload()
    payload.value.struct_value.fields["a"].string_value = text[6:-2]
    return payload


@pytest.mark.parametrize("form", [as_json, as_value])
def test_metadata_has_a_limit(form: Callable[[str], Payload]) -> None:
    fitting, larger = metadata_of(METADATA_BYTES), metadata_of(METADATA_BYTES + 1)
    assert read(Wire(assistant_id="a", metadata=form(fitting))).metadata
    with pytest.raises(PayloadTooLarge) as caught:
        read(Wire(assistant_id="a", metadata=form(larger)))
    assert caught.value.variables == {"field": "spec.metadata", "size": "65537", "limit": "65536"}
