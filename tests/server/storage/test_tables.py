"""What goes into a column comes out of it."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import Column, Connection, MetaData, Table, insert, select

from runwire.server.storage.tables import PlainData, UtcTime, metadata

TABLE = Table("kept", MetaData(), Column("time", UtcTime), Column("data", PlainData))


def kept(connection: Connection, **columns: Any) -> Any:
    TABLE.create(connection, checkfirst=True)
    connection.execute(TABLE.delete())
    connection.execute(insert(TABLE), columns)
    return connection.execute(select(TABLE)).one()


@pytest.mark.parametrize(
    "time",
    [
        datetime(2026, 1, 1, 12, 30, 15, 123456, tzinfo=UTC),
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        None,
    ],
)
def test_a_moment_comes_back_in_utc(connection: Connection, time: datetime | None) -> None:
    found = kept(connection, time=time).time
    assert found == time
    assert found is None or found.tzinfo is UTC


def test_moments_of_all_zones_are_compared_as_moments(connection: Connection) -> None:
    early = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=5)))
    kept(connection, time=early)
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert connection.scalar(select(TABLE.c.time < noon))


@pytest.mark.parametrize(
    "data", [None, {}, [], 0, "", {"b": 1, "a": [None, 2**63, -1.5]}, "ü\u0000", True]
)
def test_data_comes_back_as_it_was(connection: Connection, data: Any) -> None:
    found = kept(connection, data=data).data
    assert found == data
    assert list(found) == list(data) if isinstance(data, dict) else True


def test_no_name_is_longer_than_postgresql_takes() -> None:
    for table in metadata.sorted_tables:
        names = [table.name, *(column.name for column in table.columns)]
        names += [str(index.name) for index in table.indexes]
        names += [str(constraint.name) for constraint in table.constraints]
        assert all(len(name) <= 63 for name in names), table.name
