"""What JSON is taken, and how what is not is named."""

import json
from typing import Any

import pytest

from runwire.server.rpc.json_limits import MAX_DEPTH, Offence, parse


def offence(text: str) -> tuple[str, str]:
    with pytest.raises(Offence) as caught:
        parse(text)
    return caught.value.path, caught.value.description


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -(2**63),
        2**64 - 1,
        1.5,
        1e300,
        -1e19,
        "",
        "😀 \0 é",
        [],
        {},
        {"a": [1, {"b": None}], "": "empty key"},
        [1e300, {"deep": [[[2**63]]]}],
    ],
)
def test_json_within_the_limits_is_taken_as_it_is(value: Any) -> None:
    taken = parse(json.dumps(value))
    assert taken == value
    assert json.dumps(taken) == json.dumps(value), "integers stay integers"


def test_of_members_with_one_name_the_last_counts() -> None:
    assert parse('{"a": 1, "a": 2}') == {"a": 2}


@pytest.mark.parametrize("levels", [1, MAX_DEPTH])
def test_nesting_is_taken_up_to_the_limit(levels: int) -> None:
    assert parse(nested(levels)) is not None


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, MAX_DEPTH + 2, 1024, 5_000, 200_000])
def test_nesting_beyond_the_limit_is_refused(levels: int) -> None:
    path, description = offence(nested(levels))
    assert description == "is nested more than 64 levels deep"
    assert path in ("", "[0]" * MAX_DEPTH)


def test_nesting_is_refused_where_it_goes_too_deep() -> None:
    text = '{"fine": [1], "messages": ' + '{"a":' * 63 + "[]" + "}" * 63 + "}"
    assert parse(text.replace("[]", "1"))
    path, description = offence(text)
    assert path == ".messages" + ".a" * 63
    assert "64 levels" in description


@pytest.mark.parametrize(
    ("text", "path", "says"),
    [
        ('{"messages": [{}, {}, {"id": 18446744073709551616}]}', ".messages[2].id", "64-bit"),
        ("[1e300, -9223372036854775809]", "[1]", "64-bit"),
        ("9" * 10_000, "", "64-bit"),
        ('{"a b": [NaN]}', '["a b"][0]', "NaN"),
        ("[Infinity]", "[0]", "Infinity"),
        ('{"x": -Infinity}', ".x", "-Infinity"),
        ('{"x": 1e400}', ".x", "too large for a double"),
        ('{"x": {"y": "\\ud800"}}', ".x.y", "lone surrogate"),
        ('[{"\\udfff": 1}]', "[0]", "key with a lone surrogate"),
    ],
)
def test_what_is_refused_is_named_by_its_path(text: str, path: str, says: str) -> None:
    found, description = offence(text)
    assert found == path
    assert says in description


@pytest.mark.parametrize(
    "text", ["", " ", "{", "{'a': 1}", "[1,]", "1 2", "nope", '"\n"', "\ufeff1"]
)
def test_what_is_no_json_is_refused_as_a_whole(text: str) -> None:
    path, description = offence(text)
    assert path == ""
    assert description.startswith("is not JSON: ")


def test_the_first_of_several_offences_is_named() -> None:
    assert offence('{"a": [1, NaN], "b": 1e999}')[0] == ".a[1]"
