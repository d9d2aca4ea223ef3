"""The distance of vectors in SQLite."""

import ctypes
import importlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
import sqlalchemy

from runwire.server.storage.vector_distance import NAME, add_distance, distance, packed
from runwire.server.storage.vectors import compares_slowly

PAIRS = [
    ([1.0, 0.0], [1.0, 0.0], 0.0),
    ([1.0, 0.0], [0.0, 3.0], 1.0),
    ([1.0, 1.0], [-2.0, -2.0], 2.0),
    ([1.0, 2.0, 3.0], [3.0, 2.0, 1.0], 2 / 7),
    ([0.1] * 1536, [float(number) for number in range(1536)], 0.134116),
]


@contextmanager
def with_sqlite_vec() -> Iterator[sqlite3.Connection]:
    """Give a connection that has sqlite-vec, also where Python cannot load extensions: there SQLite
    itself is told to begin each connection with it."""
    path = importlib.import_module("sqlite_vec").loadable_path()
    if hasattr(sqlite3.Connection, "enable_load_extension"):
        connection = sqlite3.connect(":memory:")
        add_distance(connection)
        yield connection
        connection.close()
        return
    sqlite = ctypes.CDLL(importlib.import_module("_sqlite3").__file__)
    begin = ctypes.CDLL(f"{path}.so").sqlite3_vec_init
    sqlite.sqlite3_auto_extension(begin)
    try:
        connection = sqlite3.connect(":memory:")
    finally:
        sqlite.sqlite3_cancel_auto_extension(begin)
    yield connection
    connection.close()


def test_sqlite_vec_and_our_own_function_say_the_same() -> None:
    with with_sqlite_vec() as connection:
        assert connection.execute("SELECT vec_version()").fetchone()[0].startswith("v")
        for left, right, expected in PAIRS:
            vectors = (packed(left), packed(right))
            (theirs,) = connection.execute(f"SELECT {NAME}(?, ?)", vectors).fetchone()
            assert distance(*vectors) == pytest.approx(expected, abs=1e-4)
            assert theirs == pytest.approx(distance(*vectors), abs=1e-5)


def test_every_connection_has_a_distance() -> None:
    connection = sqlite3.connect(":memory:")
    add_distance(connection)
    vectors = (packed([1.0, 0.0]), packed([0.0, 1.0]))
    assert connection.execute(f"SELECT {NAME}(?, ?)", vectors).fetchone() == (1.0,)
    connection.close()


@pytest.mark.parametrize("loadable", [True, False])
def test_it_is_known_whether_python_has_to_compare(loadable: bool) -> None:
    with with_sqlite_vec() if loadable else closing(sqlite3.connect(":memory:")) as driver:
        engine = sqlalchemy.create_engine(
            "sqlite://", creator=lambda: driver, poolclass=sqlalchemy.StaticPool
        )
        with engine.connect() as connection:
            assert compares_slowly(connection) is not loadable
