"""Reading a list a page at a time, over rows that are equal in what the list is sorted by."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select
from tests.support.memory import open_memory
from tests.support.records import a_run, add_run, at

from runwire.server.model.requests import Order, SortKey
from runwire.server.storage.pages import read_page
from runwire.server.storage.tables import runs

KEY = (runs.c.create_time, runs.c.run_id)


def read_all(
    connection: Connection, order: Order, limit: int
) -> tuple[list[tuple[object, str]], list[int]]:
    """Return what a reader gets page by page, and how long the pages were."""
    found: list[tuple[object, str]] = []
    lengths: list[int] = []
    cursor = None
    while True:
        rows, cursor = read_page(connection, select(runs), KEY, order, limit, cursor)
        found += [(row.create_time, row.run_id) for row in rows]
        lengths.append(len(rows))
        if cursor is None:
            return found, lengths


@settings(max_examples=25)
@given(
    seconds=st.lists(st.sampled_from([0, 1, 1.000001, 2]), max_size=9),
    limit=st.integers(1, 10),
    descending=st.booleans(),
)
def test_pages_hold_everything_once_and_in_order(
    seconds: list[float], limit: int, descending: bool
) -> None:
    engine = open_memory()
    with engine.begin() as connection:
        made = [add_run(connection, a_run(second)) for second in seconds]
        found, lengths = read_all(connection, Order(SortKey.CREATE_TIME, descending), limit)
    engine.dispose()
    wanted = sorted(((run.create_time, run.run_id) for run in made), reverse=descending)
    assert found == wanted
    assert all(length == limit for length in lengths[:-1])
    assert lengths[-1] > 0 or not made


def test_a_cursor_holds_its_place_though_its_row_is_gone(connection: Connection) -> None:
    made = [add_run(connection, a_run(second)) for second in (0, 1, 1, 2)]
    order = Order(descending=False)
    first, cursor = read_page(connection, select(runs), KEY, order, 2, None)
    connection.execute(runs.delete().where(runs.c.run_id == first[-1].run_id))
    rest, _ = read_page(connection, select(runs), KEY, order, 9, cursor)
    assert [row.run_id for row in rest] == [run.run_id for run in made[2:]]


def test_what_comes_before_the_place_of_a_reader_is_not_shown(connection: Connection) -> None:
    made = [add_run(connection, a_run(second)) for second in (1, 2, 3)]
    order = Order(descending=False)
    _, cursor = read_page(connection, select(runs), KEY, order, 2, None)
    add_run(connection, a_run(0))
    rest, _ = read_page(connection, select(runs), KEY, order, 9, cursor)
    assert [row.run_id for row in rest] == [made[2].run_id]


@pytest.mark.parametrize("cursor", ["", "[]", "{}", "nonsense", '["x"]', '["x","y","z"]'])
def test_what_is_no_cursor_is_not_read_as_one(connection: Connection, cursor: str) -> None:
    add_run(connection, a_run(random.random(), create_time=at(1)))
    with pytest.raises((ValueError, TypeError)):
        read_page(connection, select(runs), KEY, Order(), 9, cursor)
