"""Arguments: what langgraph_sdk's users write, and what the server is asked."""

import json
import math
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.types import Command, Send
from pydantic import BaseModel

from runwire.client.arguments import payload
from runwire.client.specs import StreamedRunOptions, build_spec
from runwire.v1 import core_pb2


def spec(**options: Any) -> core_pb2.RunSpec:
    return build_spec("thread", "chat", options, StreamedRunOptions)


def test_what_is_not_given_is_not_asked() -> None:
    assert spec() == core_pb2.RunSpec(thread_id="thread", assistant_id="chat")
    everything = core_pb2.RunSpec.DESCRIPTOR.fields_by_name.keys()
    nothing: dict[str, Any] = dict.fromkeys(["input", "command", "config", "webhook", "checkpoint"])
    assert spec(**nothing, durability=None, stream_mode=None) == spec()
    assert "input" in everything


def test_a_stateless_run_has_no_thread() -> None:
    assert build_spec(None, "chat", {}).thread_id == ""


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"multitask_strategy": "reject"}, {"multitask_strategy": 2}),
        ({"multitask_strategy": "rollback"}, {"multitask_strategy": 4}),
        ({"if_not_exists": "create"}, {"if_thread_missing": 2}),
        ({"if_not_exists": "reject"}, {"if_thread_missing": 1}),
        ({"on_completion": "keep"}, {"on_completion": 2}),
        ({"on_disconnect": "cancel"}, {"on_disconnect": 2}),
        ({"durability": "exit"}, {"durability": 3}),
        ({"stream_subgraphs": True}, {"stream_subgraphs": True}),
        ({"stream_resumable": True}, {}),
        ({"interrupt_before": "*"}, {"interrupt_before": ["*"]}),
        ({"interrupt_after": ["a", "b"]}, {"interrupt_after": ["a", "b"]}),
        ({"assistant_version": 3}, {"assistant_version": 3}),
        ({"after_seconds": 1.5}, {"start_delay": timedelta(seconds=1.5)}),
        ({"timeout": 30}, {"timeout": timedelta(seconds=30)}),
        ({"timeout": timedelta(minutes=1)}, {"timeout": timedelta(minutes=1)}),
        ({"checkpoint_id": "c"}, {"checkpoint": {"checkpoint_id": "c"}}),
        (
            {"checkpoint": {"thread_id": "t", "checkpoint_ns": "", "checkpoint_map": None}},
            {"checkpoint": {"thread_id": "t"}},
        ),
        (
            {"config": {"tags": ["a"], "recursion_limit": 5}},
            {"config": {"tags": ["a"], "recursion_limit": 5}},
        ),
        ({"config": {}}, {}),
        ({"webhook": "https://x.test/"}, {"webhook": "https://x.test/"}),
        ({"webhook": None, "feedback_keys": [], "strict_resume": None}, {}),
    ],
)
def test_arguments_have_their_fields(options: dict[str, Any], expected: dict[str, Any]) -> None:
    assert spec(**options) == core_pb2.RunSpec(thread_id="thread", assistant_id="chat", **expected)


def test_both_forms_of_messages_are_one_mode() -> None:
    asked = spec(stream_mode=["messages-tuple", "values", "messages"]).stream_modes
    assert asked == [core_pb2.STREAM_MODE_MESSAGES, core_pb2.STREAM_MODE_VALUES]
    assert spec(stream_mode="debug").stream_modes == [core_pb2.STREAM_MODE_DEBUG]


def test_metadata_of_a_config_is_metadata_of_the_run() -> None:
    built = spec(config={"metadata": {"a": 1, "b": 1}, "tags": []}, metadata={"b": 2})
    assert json.loads(built.metadata.json) == {"a": 1, "b": 2}


def test_falsy_values_are_values() -> None:
    values: list[Any] = [{}, [], "", 0, False]
    assert [spec(input=value).input.json for value in values] == [*("{}", "[]", '""', "0", "false")]
    assert spec(context={}).context.json == "{}"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ({"resume": "yes"}, {"resume": {"json": '"yes"'}}),
        ({"resume": False}, {"resume": {"json": "false"}}),
        ({"resume": None}, {"resume": {"json": "null"}}),
        ({"resume": {}}, {"resume": {"json": "{}"}}),
        ({"resume": None, "goto": "a"}, {"goto": [{"node": "a"}]}),
        ({"resume": {"yes": 1}}, {"resume": {"json": '{"yes":1}'}}),
        ({"resume": {"0" * 32: 1}}, {"resume_by_interrupt": {"0" * 32: {"json": "1"}}}),
        ({"update": {"a": 1}}, {"update": {"json": '{"a":1}'}}),
        ({"update": [("a", 1)]}, {"update": {"json": '[["a",1]]'}}),
        ({"goto": ["a", "b"]}, {"goto": [{"node": "a"}, {"node": "b"}]}),
        (
            {"goto": {"node": "a", "input": {"x": 1}}},
            {"goto": [{"node": "a", "input": {"json": '{"x":1}'}}]},
        ),
        (
            {"goto": [{"node": "a", "input": None}]},
            {"goto": [{"node": "a", "input": {"json": "null"}}]},
        ),
        (
            {"graph": None, "update": None, "resume": 1, "goto": ()},
            {"resume": {"json": "1"}},
        ),
        (Command(resume={"yes": 1}), {"resume": {"json": '{"yes":1}'}}),
        (
            Command(update={"a": 1}, goto=[Send("b", {"x": 1}), "c"]),
            {
                "update": {"json": '{"a":1}'},
                "goto": [{"node": "b", "input": {"json": '{"x":1}'}}, {"node": "c"}],
            },
        ),
        (Command(goto=Send("b", None)), {"goto": [{"node": "b", "input": {"json": "null"}}]}),
    ],
)
def test_commands(command: Any, expected: dict[str, Any]) -> None:
    assert spec(command=command).command == core_pb2.Command(**expected)


class Spot(BaseModel):
    y: float


@dataclass(slots=True)
class Place:
    x: float
    name: str | None


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"feedback_keys": ["a"]}, NotImplementedError, "feedback_keys"),
        ({"langsmith_tracing": {"project_name": "p"}}, NotImplementedError, "langsmith_tracing"),
        ({"strict_resume": False}, NotImplementedError, "strict_resume"),
        ({"stream_mode": "tools"}, NotImplementedError, "tools"),
        ({"stream_mode": ["values", "lifecycle"]}, NotImplementedError, "lifecycle"),
        ({"command": {"graph": Command.PARENT}}, NotImplementedError, "command.graph"),
        ({"stream_mode": "everything"}, ValueError, "stream_mode: 'everything' is not one of"),
        ({"stream_mode": []}, ValueError, "stream_mode"),
        ({"multitask_strategy": "queue"}, ValueError, "multitask_strategy: 'queue'"),
        ({"durability": "never"}, ValueError, "durability"),
        ({"if_not_exists": "raise"}, ValueError, "if_not_exists"),
        ({"inputs": {}}, TypeError, "unexpected keyword argument 'inputs'"),
        ({"config": {"callbacks": []}}, TypeError, "config: 'callbacks'"),
        ({"command": {"resumed": 1}}, TypeError, "command: 'resumed'"),
        ({"command": "yes"}, TypeError, "command: must be a dict, not str"),
        ({"command": []}, TypeError, "command: must be a dict, not list"),
        ({"command": 0}, TypeError, "command: must be a dict, not int"),
        ({"command": Command}, TypeError, "command: must be a dict, not type"),
        ({"command": {"goto": 1}}, TypeError, r"command\.goto: must be a dict, not int"),
        ({"config": ["x"]}, TypeError, "config: must be a dict, not list"),
        ({"checkpoint": {"id": "c"}}, TypeError, "checkpoint: 'id'"),
        ({"checkpoint": {"checkpoint_id": "c"}, "checkpoint_id": "c"}, TypeError, "only one"),
        ({"input": object()}, TypeError, "input: <object object"),
        ({"input": {"a": 2**64}}, TypeError, "input: Integer exceeds 64-bit range"),
        ({"input": "\ud800"}, TypeError, "input: .*surrogates"),
        ({"input": HumanMessage}, TypeError, "input: .*HumanMessage"),
        ({"input": b"x"}, TypeError, "input: b'x'"),
        ({"input": {"a": [None, 1.0, math.inf]}}, ValueError, r"input\.a\[2\]: NaN and infinities"),
        ({"context": {"point": Place(math.nan, None)}}, ValueError, r"context\.point\.x: NaN"),
        ({"metadata": {"b": Spot(y=-math.inf)}}, ValueError, r"metadata\.b\.y: NaN"),
        ({"config": {"configurable": {"a": {1j}}}}, TypeError, r"config\.configurable"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        spec(**options)


def test_nobody_disconnects_from_a_run_in_the_background() -> None:
    with pytest.raises(TypeError, match="on_disconnect"):
        build_spec(None, "chat", {"on_disconnect": "cancel"})


@pytest.mark.parametrize(("during", "durability"), [(True, "async"), (False, "exit")])
def test_checkpoint_during_still_works_and_warns(during: bool, durability: str) -> None:
    with pytest.warns(DeprecationWarning, match="durability"):
        built = spec(checkpoint_during=during)
    assert built == spec(durability=durability)


class Model(BaseModel):
    when: datetime


@dataclass
class Point:
    x: int
    tags: frozenset[str]


def test_python_objects_are_written_as_json() -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    value = {
        "message": HumanMessage("hi", id="1"),
        "model": Model(when=now),
        "point": Point(1, frozenset({"a"})),
        "uuid": uuid.UUID(int=0),
        "range": range(2),
        3: (1, None),
    }
    assert json.loads(payload(value, "input").json) == {
        "message": HumanMessage("hi", id="1").model_dump(),
        "model": {"when": "2026-01-02T00:00:00+00:00"},
        "point": {"x": 1, "tags": ["a"]},
        "uuid": "00000000-0000-0000-0000-000000000000",
        "range": [0, 1],
        "3": [1, None],
    }
