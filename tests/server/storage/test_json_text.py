"""JSON in PostgreSQL: all of it comes back, and is found by what it was."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, insert, select
from tests.support.records import at

from runwire.server.storage.json_compare import compare, json_compare
from runwire.server.storage.json_contains import contains, json_contains
from runwire.server.storage.json_text import dump_json, load_json
from runwire.server.storage.tables import store_items

TEXTS = st.text(st.sampled_from("a01\\u\0\1\2é\U0001f600"))
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
DATA = st.recursive(
    st.none() | st.booleans() | TEXTS | NUMBERS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=8,
)


@given(TEXTS, TEXTS)
def test_texts_keep_their_order(one: str, other: str) -> None:
    kept = [orjson.loads(dump_json(text)) for text in (one, other)]
    assert (one < other) == (kept[0] < kept[1])


@given(DATA)
def test_everything_comes_back(data: Any) -> None:
    text = dump_json(data)
    assert load_json(text.encode()) == data
    assert "\\u0000" not in text.replace("\\\\", "")


def keep(connection: Connection, value: dict[str, Any]) -> None:
    row = {"namespace": "n", "key": "k", "value": value, "create_time": at(0), "update_time": at(0)}
    connection.execute(insert(store_items), row)


EXACT = [
    {"b": 1, "a": [None, True, {}], "": "\0 \1 \1\0\2"},
    {"large": 1e22, "whole": 1.0, "negative": -0.0, "most": 2**64 - 1, "least": 5e-324},
    {"\0": {"\1\0": "\0"}},
]


@pytest.mark.parametrize("value", EXACT, ids=["order", "numbers", "names"])
def test_data_is_kept_as_it_came(connection: Connection, value: dict[str, Any]) -> None:
    keep(connection, value)
    found = connection.scalars(select(store_items.c.value)).one()
    assert json.dumps(found) == json.dumps(value)


@pytest.mark.parametrize("value", EXACT, ids=["order", "numbers", "names"])
def test_data_is_found_by_what_it_holds(connection: Connection, value: dict[str, Any]) -> None:
    keep(connection, value)
    for key, entry in value.items():
        wanted = json.dumps({key: entry})
        query = select(store_items.c.key).where(contains(store_items.c.value, wanted))
        assert list(connection.scalars(query)) == ["k"]
        same = compare(store_items.c.value, [key], "$eq", json.dumps(entry))
        assert list(connection.scalars(select(store_items.c.key).where(same))) == ["k"]


VALUES = [
    None, True, False, 0, 1, 1.0, -1.5, 2**53 + 1, float(2**53), 1e300, "", "1", "a", "B", "b", "é",
    "z", "\U0001f600", "\ufffd", "\0", "\1", "\0\1", "\0a", "\1a", "\2",
    [], [1], [1, 2], {}, {"a": 1}, {"a": 1, "b": [True]},
]  # fmt: skip


def test_both_databases_compare_alike(connection: Connection) -> None:
    """Every value with every other, by every operator, as the function says that SQLite calls."""
    keep(connection, {str(place): value for place, value in enumerate(VALUES)})
    document = json.dumps({str(place): value for place, value in enumerate(VALUES)})
    asked = [
        ([str(place)], operator, json.dumps(other))
        for place in range(len(VALUES) + 1)  # the last one is missing
        for operator in ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte")
        for other in VALUES
    ]
    for some in (asked[start : start + 200] for start in range(0, len(asked), 200)):
        query = select(*(compare(store_items.c.value, *each) for each in some))
        found = [bool(answer) for answer in connection.execute(query).one()]
        assert found == [
            json_compare(document, operator, other, *path) for path, operator, other in some
        ]


def test_both_databases_look_into_data_alike(connection: Connection) -> None:
    for number, value in enumerate(VALUES):
        held = {"namespace": "n", "key": f"{number:03}", "value": {"a": value}}
        connection.execute(
            insert(store_items), {**held, "create_time": at(0), "update_time": at(0)}
        )
    for wanted in VALUES:
        text = json.dumps({"a": wanted})
        query = select(contains(store_items.c.value, text)).order_by(store_items.c.key)
        found = [bool(answer) for answer in connection.scalars(query)]
        assert found == [json_contains(json.dumps({"a": value}), text) for value in VALUES], wanted
