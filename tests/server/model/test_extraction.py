"""Paths to parts of threads."""

from datetime import UTC, datetime
from typing import Any

import pytest

from runwire.server.model.extraction import ValuePath, extract, parse_path
from runwire.server.model.runs import Interrupt
from runwire.server.model.threads import Thread, ThreadState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LARGE = 2**80
VALUES = (
    '{"messages":[{"content":"hi"},{"content":null}],"a b":{"é":[[1,2],[3]]},'
    f'"large":{LARGE},"half":"\\ud800","0":"name"}}'
)


def thread(values: str | None = VALUES) -> Thread:
    return Thread(
        thread_id="t",
        state=ThreadState.INTERRUPTED,
        metadata={"user": {"id": 7}},
        create_time=NOW,
        update_time=NOW,
        state_update_time=NOW,
        values=values,
        interrupts=(Interrupt(interrupt_id="i", value='{"question":"why?"}'),),
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("values.messages[0].content", '"hi"'),
        ("values.messages[-1]", '{"content":null}'),
        ("values.messages[-1].content", "null"),
        ("values.messages[-2].content", '"hi"'),
        ("values.a b.é[0][-1]", "2"),
        ("values.large", str(LARGE)),
        ("values.half", '"\\ud800"'),
        ("values.0", '"name"'),
        ("metadata", '{"user":{"id":7}}'),
        ("metadata.user.id", "7"),
        ("interrupts[0].value.question", '"why?"'),
        ("interrupts[-1].interrupt_id", '"i"'),
    ],
)
def test_a_path_leads_to_a_part(text: str, found: str) -> None:
    assert extract(thread(), {"part": parse_path(text)}) == {"part": found}


@pytest.mark.parametrize(
    "text",
    [
        "values.missing",
        "values.messages[2]",
        "values.messages[-3]",
        "values.messages.content",
        "values[0]",
        "values.messages[0].content[0]",
        "values.large.more",
        "interrupts[1]",
    ],
)
def test_a_path_that_leads_nowhere_finds_nothing(text: str) -> None:
    paths = {"part": parse_path(text), "other": parse_path("metadata.user.id")}
    assert extract(thread(), paths) == {"other": "7"}


def test_a_thread_without_values_has_no_part_of_them() -> None:
    assert extract(thread(None), {"all": ValuePath("values")}) == {}
    assert extract(thread("null"), {"all": ValuePath("values")}) == {"all": "null"}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "must begin with one of values, metadata, interrupts"),
        ("config.a", "must begin with one of"),
        ("valuesx.a", "must begin with one of"),
        (".values", "must begin with one of"),
        ("values.", "at '.'"),
        ("values..a", "at '..a'"),
        ("values[a]", r"at '\[a\]'"),
        ("values[1", r"at '\[1'"),
        ("values[1]x", "at 'x'"),
        ("values[--1]", "neither"),
        ("values[1.5]", "neither"),
        ("values.a]", r"at '\]'"),
    ],
)
def test_a_text_that_is_no_path_is_refused(text: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        parse_path(text)


def test_a_path_is_its_steps() -> None:
    wanted: Any = ValuePath("values", ("a", 0, -12, "b c"))
    assert parse_path("values.a[0][-12].b c") == wanted
