"""User data as JSON text."""

import json
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    AnyMessage,
    ChatMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langgraph.types import Command, Interrupt, Send
from pydantic import BaseModel

from runwire.server.graphs.serialize import to_json


class Colour(Enum):
    RED = "red"


class Word(StrEnum):
    YES = "yes"


class Number(IntEnum):
    ONE = 1


class Pair(NamedTuple):
    left: int
    right: str


@dataclass(slots=True)
class Point:
    x: int
    _hidden: int = 2


class Model(BaseModel):
    when: datetime
    inner: Point


class Silent:
    def __repr__(self) -> str:
        raise ValueError("no words")


MOMENT = datetime(2026, 3, 4, 5, 6, 7, 89, UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, 2.5, True, None, "é"]}, {"a": [1, 2.5, True, None, "é"]}),
        ((1, (2,)), [1, [2]]),
        (Pair(1, "x"), {"left": 1, "right": "x"}),
        (Point(1), {"x": 1, "_hidden": 2}),
        (
            Model(when=MOMENT, inner=Point(1)),
            {"when": "2026-03-04T05:06:07.000089+00:00", "inner": {"x": 1, "_hidden": 2}},
        ),
        (Colour.RED, "red"),
        (Word.YES, "yes"),
        (Number.ONE, 1),
        ({3}, [3]),
        (frozenset({3}), [3]),
        (deque([1, 2]), [1, 2]),
        (b"\x00\xff", "AP8="),
        (bytearray(b"abc"), "YWJj"),
        (MOMENT, "2026-03-04T05:06:07.000089+00:00"),
        (date(2026, 3, 4), "2026-03-04"),
        (timedelta(seconds=90), 90.0),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Decimal("1.10"), "1.10"),
        (PurePosixPath("/a/b"), "/a/b"),
        (ValueError("bad"), "ValueError('bad')"),
        (Interrupt(value={"q": 1}, id="abc"), {"value": {"q": 1}, "id": "abc"}),
        (Send("node", {"a": 1}), {"node": "node", "arg": {"a": 1}}),
        (
            Command(goto=Send("node", 1)),
            {"graph": None, "update": None, "resume": None, "goto": {"node": "node", "arg": 1}},
        ),
        (OrderedDict(a=1), {"a": 1}),
        (Counter("aab"), {"a": 2, "b": 1}),
        ({1: 1, None: 2, False: 3, 1.5: 4}, {"1": 1, "null": 2, "false": 3, "1.5": 4}),
        ({(1, 2): 3, Word.YES: 4}, {"(1, 2)": 3, "yes": 4}),
        (float("nan"), None),
        ([float("inf"), float("-inf")], [None, None]),
        (Silent(), "<Silent>"),
        (int, "<class 'int'>"),
        (len, "<built-in function len>"),
    ],
)
def test_values_take_the_form_that_json_has_for_them(value: Any, expected: Any) -> None:
    assert json.loads(to_json(value)) == expected


def test_integers_of_any_size_stay_exact() -> None:
    numbers = [2**53 + 1, 2**64 - 1, -(2**63), 2**64, 2**80, -(2**80)]

    assert json.loads(to_json(numbers)) == numbers


def test_what_stands_beside_a_huge_integer_is_written_as_it_always_is() -> None:
    beside = {"set": {1}, "nan": float("nan"), "pair": Pair(1, "x"), "when": MOMENT, 5: b"abc"}

    assert json.loads(to_json({**beside, "huge": 2**80})) == {
        **json.loads(to_json(beside)),
        "huge": 2**80,
    }


def test_a_number_too_long_to_print_does_not_fail() -> None:
    assert json.loads(to_json({"n": 10**5000})) == "<dict>"


def test_lone_surrogates_are_escaped() -> None:
    text = to_json({"a": "\ud800"})

    assert text.isascii()
    assert json.loads(text) == {"a": "\ud800"}


def test_an_object_inside_itself_becomes_its_repr() -> None:
    cycle: dict[str, Any] = {"name": "cycle"}
    cycle["self"] = cycle

    assert json.loads(to_json(cycle)) == {
        "name": "cycle",
        "self": "{'name': 'cycle', 'self': {...}}",
    }


def test_the_same_object_twice_is_not_a_cycle() -> None:
    shared = {"a": 2**80}

    assert json.loads(to_json([shared, shared])) == [shared, shared]


def test_endless_nesting_does_not_fail() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]

    assert json.loads(to_json(deep)) == "<list>"


def test_an_offset_that_orjson_does_not_take_is_written_all_the_same() -> None:
    odd = datetime(2026, 1, 1, tzinfo=timezone(timedelta(seconds=1)))

    assert json.loads(to_json(odd)).startswith("2026-01-01T00:00:00")


@pytest.mark.parametrize(
    "message",
    [
        HumanMessage("hi", id="1", name="ann", special=3),
        AIMessage(
            "",
            tool_calls=[{"name": "add", "args": {"x": 1}, "id": "c1"}],
            usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
        ),
        AIMessageChunk(content="a", id="1"),
        SystemMessage("be kind"),
        ToolMessage("4", tool_call_id="c1", artifact={1: 2}),
        ChatMessage("x", role="critic"),
        RemoveMessage(id="1"),
    ],
    ids=lambda message: type(message).__name__,
)
def test_messages_are_written_as_pydantic_would(message: AnyMessage) -> None:
    text = to_json(message)

    assert text == to_json(message.model_dump())
