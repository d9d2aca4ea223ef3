"""Payloads in both of their forms, in and out."""

import json
import math
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Value

from runwire.server.rpc import payloads
from runwire.server.rpc.json_limits import Offence
from runwire.v1 import core_pb2, payload_pb2, runs_pb2, threads_pb2


def by_hand(text: str) -> payload_pb2.Payload:
    """Return JSON text as a person would send it: as a value."""
    payload = payload_pb2.Payload()
    json_format.Parse(text, payload.value)
    return payload


SHAPES = ["null", "true", "0", "1.5", '"a"', "[]", "{}", '{"a": [1, {"b": null}], "c": "é"}']


@pytest.mark.parametrize("text", SHAPES)
def test_both_forms_mean_the_same(text: str) -> None:
    as_json = payloads.read(payload_pb2.Payload(json=text))
    as_value = payloads.read(by_hand(text))
    assert as_json == as_value == json.loads(text)
    assert json.dumps(as_json, sort_keys=True) == json.dumps(as_value, sort_keys=True)


@pytest.mark.parametrize(
    ("number", "read"), [(3.0, 3), (-0.0, 0), (0.5, 0.5), (1e300, 1e300), (-(2.0**63), -(2**63))]
)
def test_a_double_without_a_fraction_is_an_integer(number: float, read: float) -> None:
    taken = payloads.read(payload_pb2.Payload(value=Value(number_value=number)))
    assert taken == read
    assert type(taken) is type(read)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_value_that_json_does_not_have_is_named_by_its_path(number: float) -> None:
    payload = by_hand('{"a": [0]}')
    payload.value.struct_value.fields["a"].list_value.values[0].number_value = number
    with pytest.raises(Offence) as caught:
        payloads.read(payload)
    assert caught.value.path == ".a[0]"


def test_a_value_without_a_kind_is_refused() -> None:
    with pytest.raises(Offence, match="without a kind"):
        payloads.read(payload_pb2.Payload(value=Value()))


def test_a_payload_without_content_is_no_value_and_null_is_one() -> None:
    assert not payloads.is_set(payload_pb2.Payload())
    assert payloads.is_set(payload_pb2.Payload(json="null"))
    assert payloads.is_set(by_hand("null"))
    assert payloads.read(payload_pb2.Payload()) is None


def test_empty_text_is_no_json() -> None:
    with pytest.raises(Offence):
        payloads.read(payload_pb2.Payload(json=""))


@pytest.mark.parametrize("text", SHAPES)
def test_values_are_shown_as_they_were_sent(text: str) -> None:
    payload = payload_pb2.Payload(json=text)
    payloads.show_values(payload)
    assert payload.WhichOneof("content") == "value"
    assert json_format.MessageToDict(payload.value) == json.loads(text)


def test_values_are_shown_wherever_they_are_in_a_message() -> None:
    task = threads_pb2.StateTask(result=payloads.of_data([1]))
    run = core_pb2.Run(metadata=payloads.of_data({"a": 1}))
    run.spec.command.resume_by_interrupt["i"].json = '"yes"'
    state = threads_pb2.StateSnapshot(values=payloads.of_data({}), tasks=[task])
    for message in (run, state):
        payloads.show_values(message)
        assert "json" not in str(message)
    assert run.spec.command.resume_by_interrupt["i"].value.string_value == "yes"
    assert state.tasks[0].result.value.list_value.values[0].number_value == 1


def test_a_value_too_deep_for_clients_to_parse_stays_json() -> None:
    for levels, form in ((30, "value"), (31, "json")):
        text = '{"a":' * levels + "1" + "}" * levels
        state = threads_pb2.StateSnapshot(
            tasks=[threads_pb2.StateTask(state=threads_pb2.StateSnapshot(values={"json": text}))]
        )
        response = threads_pb2.ListThreadStatesResponse(states=[state])
        payloads.show_values(response)
        read = threads_pb2.ListThreadStatesResponse.FromString(response.SerializeToString())
        shown = read.states[0].tasks[0].state.values
        assert shown.WhichOneof("content") == form


@pytest.mark.parametrize("digits", [20, 400])
def test_an_integer_that_is_larger_than_a_double_holds_does_not_fail(digits: int) -> None:
    response = runs_pb2.RunWaitResponse(output={"json": "9" * digits})
    payloads.show_values(response)
    assert response.output.WhichOneof("content") in ("json", "value")


def test_data_goes_out_as_exact_json() -> None:
    data: dict[str, Any] = {"big": 2**64 - 1, "text": "é😀"}
    assert json.loads(payloads.of_data(data).json) == data
    assert payloads.of_optional(None) is None
    assert payloads.of_optional("null") == payload_pb2.Payload(json="null")
