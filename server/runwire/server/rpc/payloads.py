"""User data on its way in and out: `Payload` messages as plain data, JSON text as `Payload`."""

import math
from typing import Any

import orjson
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import NULL_VALUE, Value

from runwire.server.model.runs import JsonText
from runwire.server.rpc.json_limits import LARGEST, SMALLEST, Offence, Step, parse
from runwire.v1 import payload_pb2

# A level of a value costs three levels of messages, of which parsers take a hundred in all.
_VALUE_DEPTH = 30


def is_set(payload: payload_pb2.Payload) -> bool:
    """Return whether a payload holds a value; `null` is one."""
    return payload.WhichOneof("content") is not None


def read(payload: payload_pb2.Payload) -> Any:
    """Return a payload's value as plain data, None also if there is none; raises `Offence` if it
    is not taken."""
    match payload.WhichOneof("content"):
        case "json":
            return parse(payload.json)
        case "value":
            return _from_value(payload.value, ())
        case _:
            return None


def _from_value(value: Value, path: tuple[Step, ...]) -> Any:
    match value.WhichOneof("kind"):
        case "null_value":
            return None
        case "bool_value":
            return value.bool_value
        case "string_value":
            return value.string_value
        case "number_value":
            return _number(value.number_value, path)
        case "list_value":
            items = enumerate(value.list_value.values)
            return [_from_value(item, (*path, index)) for index, item in items]
        case "struct_value":
            fields = value.struct_value.fields.items()
            return {name: _from_value(item, (*path, name)) for name, item in fields}
        case _:
            raise Offence(path, "is a Value without a kind")


def _number(number: float, path: tuple[Step, ...]) -> int | float:
    if not math.isfinite(number):
        raise Offence(path, f"is {number}, which is not JSON")
    if number.is_integer() and SMALLEST <= number <= LARGEST:
        return int(number)
    return number


def of_text(text: JsonText) -> payload_pb2.Payload:
    """Return JSON text as a payload."""
    return payload_pb2.Payload(json=text)


def of_optional(text: JsonText | None) -> payload_pb2.Payload | None:
    """Return JSON text as a payload; None if there is none, or if it is empty."""
    return payload_pb2.Payload(json=text) if text else None


def of_data(data: Any) -> payload_pb2.Payload:
    """Return plain data that was taken in once as a payload."""
    return payload_pb2.Payload(json=orjson.dumps(data).decode())


def show_values(message: Message) -> None:
    """Turn all payloads within a message into values.

    Numbers become doubles, as they are in a value. A payload that is nested more deeply than
    clients would parse stays as it is.
    """
    if isinstance(message, payload_pb2.Payload):
        _show_value(message)
        return
    for field, content in message.ListFields():
        if field.message_type is None:
            continue
        if isinstance(content, Message):
            show_values(content)
        elif field.message_type.GetOptions().map_entry:
            for key in content:
                if isinstance(content[key], Message):
                    show_values(content[key])
        else:
            for item in content:
                show_values(item)


def _show_value(payload: payload_pb2.Payload) -> None:
    if payload.WhichOneof("content") != "json":
        return
    try:
        value = Value()
        _fill(value, orjson.loads(payload.json), _VALUE_DEPTH)
    except (orjson.JSONDecodeError, _TooDeep):
        return
    payload.value.CopyFrom(value)


class _TooDeep(Exception):
    """Data has more levels than a value may have."""


def _fill(value: Value, data: Any, levels: int) -> None:
    match data:
        case None:
            value.null_value = NULL_VALUE
        case bool():
            value.bool_value = data
        case int() | float():
            value.number_value = data
        case str():
            value.string_value = data
        case _:
            _fill_container(value, data, levels)


def _fill_container(value: Value, data: Any, levels: int) -> None:
    if not levels:
        raise _TooDeep
    if isinstance(data, list):
        value.list_value.SetInParent()
        for item in data:
            _fill(value.list_value.values.add(), item, levels - 1)
    else:
        value.struct_value.SetInParent()
        for name, item in data.items():
            _fill(value.struct_value.fields[name], item, levels - 1)
