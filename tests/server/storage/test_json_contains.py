import json
from typing import Any

import pytest
from sqlalchemy import JSON, column, literal, select
from sqlalchemy.dialects import postgresql

from runwire.server.storage.database import Database
from runwire.server.storage.json_contains import contains

HELD = [
    ({"a": 1, "b": 2}, {}),
    ({"a": 1, "b": 2}, {"a": 1}),
    ({"a": {"b": [1, {"c": None}], "d": 1}}, {"a": {"b": [{"c": None}]}}),
    ({"a": [1, 2, 3]}, {"a": [3, 1, 1]}),
    ({"a": [1]}, {"a": []}),
    ({"a": 1}, {"a": 1.0}),
    ({"a": True}, {"a": True}),
    ({"a": "ü\u0000'"}, {"a": "ü\u0000'"}),
    ({"x') OR 1=1--": 1}, {"x') OR 1=1--": 1}),
]
NOT_HELD = [
    ({"a": 1}, {"a": 2}),
    ({"a": 1}, {"a": None}),
    ({}, {"a": None}),
    ({"a": 1}, {"a": True}),
    ({"a": False}, {"a": 0}),
    ({"a": [1]}, {"a": [1, 2]}),
    ({"a": [[1]]}, {"a": [1]}),
    ({"a": {"b": 1}}, {"a": [1]}),
    ({"a": "1"}, {"a": 1}),
    ({"a": {"b": 1}}, {"b": 1}),
    ({"a.b": 1}, {"a": {"b": 1}}),
]


@pytest.mark.parametrize(
    ("document", "wanted", "held"),
    [(*pair, True) for pair in HELD] + [(*pair, False) for pair in NOT_HELD],
)
async def test_a_document_contains_what_postgresql_says_it_does(
    database: Database, document: Any, wanted: Any, held: bool
) -> None:
    query = select(contains(literal(document, JSON()), json.dumps(wanted)))
    assert bool(await database.read(lambda c: c.scalar(query))) is held


async def test_no_document_contains_nothing(database: Database) -> None:
    assert not await database.read(
        lambda c: c.scalar(select(contains(literal(None, JSON()), "{}")))
    )


def test_on_postgresql_it_is_the_operator() -> None:
    query = select(contains(column("metadata"), "{}"))
    assert "(CAST(metadata AS JSONB) @> CAST(" in str(query.compile(dialect=postgresql.dialect()))
