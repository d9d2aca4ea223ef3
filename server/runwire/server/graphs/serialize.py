"""User data as JSON text: whatever a graph puts into its state or its stream, once and for good."""

import base64
import dataclasses
import json
import math
from collections import deque
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import singledispatch
from pathlib import PurePath
from typing import Any
from uuid import UUID

import orjson
from langchain_core.messages import BaseMessage
from langgraph.types import Interrupt, Send
from pydantic import BaseModel

from runwire.server.model.runs import JsonText

# Dataclasses pass through to `plain`, because some of LangGraph's have a shape of their own.
_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_SERIALIZE_NUMPY


def to_json(value: object) -> JsonText:
    """Return `value` as JSON text. Never raises.

    Messages, pydantic models, dataclasses and named tuples become objects, sets lists, bytes
    base64, enums their value, decimals and paths strings, NaN and infinities null; what has no
    form of its own becomes its `repr`, and so does an object met inside itself. Integers of any
    size stay exact.
    """
    try:
        return orjson.dumps(value, default=plain, option=_OPTIONS).decode()
    except TypeError:
        # Integers over 64 bits, lone surrogates, odd keys, cycles, more than 254 levels.
        return _to_json_slowly(value)


def _to_json_slowly(value: object) -> JsonText:
    try:
        return json.dumps(_tree(value, set()), allow_nan=False, separators=(",", ":"))
    except (RecursionError, ValueError, TypeError):
        # Thousands of levels, or an integer with more digits than Python will print.
        return json.dumps(printable(value))


def printable(value: object) -> str:
    """Return `repr(value)`, or the type's name if that fails."""
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - `repr` runs user code, which may raise anything
        return f"<{type(value).__name__}>"


def plain(value: object) -> Any:
    """Return `value`, which is not JSON data, as something closer to it. Never raises.

    One level only: what the answer holds may have to be converted in turn.
    """
    try:
        return _convert(value)
    except Exception:  # noqa: BLE001 - attributes and serializers are user code
        return printable(value)


@singledispatch
def _convert(value: Any) -> Any:
    if isinstance(value, type):
        return printable(value)
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    for method in ("_asdict", "model_dump", "tolist"):  # named tuples, look-alikes, arrays
        if callable(convert := getattr(value, method, None)):
            return convert()
    if hasattr(value, "__fields__") and callable(getattr(value, "dict", None)):  # pydantic v1
        return value.dict()
    return list(value) if isinstance(value, tuple) else printable(value)


@_convert.register
def _(value: BaseMessage) -> Any:
    # Twice as fast as model_dump, which would convert a whole conversation deeply.
    more = value.__pydantic_extra__
    return {**value.__dict__, **more} if more else value.__dict__


@_convert.register
def _(value: BaseModel) -> Any:
    return value.model_dump(warnings=False)


@_convert.register
def _(value: Interrupt) -> Any:
    shown = {"value": value.value, "id": value.id}
    if value.response_schema is not None:
        shown["response_schema"] = value.response_schema
    return shown


@_convert.register
def _(value: Send) -> Any:
    return {"node": value.node, "arg": value.arg}


@_convert.register(set)
@_convert.register(frozenset)
@_convert.register(deque)
def _(value: Any) -> Any:
    return list(value)


@_convert.register(bytes)
@_convert.register(bytearray)
@_convert.register(memoryview)
def _(value: Any) -> Any:
    return base64.b64encode(value).decode()


@_convert.register
def _(value: Mapping) -> Any:  # type: ignore[type-arg]  # a registered type takes no argument
    return dict(value)


@_convert.register(Decimal)
@_convert.register(PurePath)
def _(value: Any) -> Any:
    return str(value)


@_convert.register
def _(value: timedelta) -> Any:
    return value.total_seconds()


@_convert.register
def _(value: BaseException) -> Any:
    return printable(value)


def _tree(value: Any, inside: set[int]) -> Any:
    """Return `value` as what the standard library's encoder takes.

    `inside` holds the ids of the objects that enclose it.
    """
    if isinstance(value, Enum):
        return _tree(value.value, inside)
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if id(value) in inside:
        return printable(value)
    inside.add(id(value))
    try:
        return _branch(value, inside)
    finally:
        inside.discard(id(value))


def _branch(value: Any, inside: set[int]) -> Any:
    if isinstance(value, dict):
        return {_key(key): _tree(item, inside) for key, item in value.items()}
    if type(value) in (list, tuple) or isinstance(value, list):
        return [_tree(item, inside) for item in value]
    return _tree(plain(value), inside)


def _key(key: Any) -> str:
    if isinstance(key, str) and not isinstance(key, Enum):
        return key
    simple = _tree(key, set())
    if isinstance(simple, str):
        return simple
    if simple is None or isinstance(simple, bool | int | float):
        return json.dumps(simple)
    return printable(key)
