"""The same statements for SQLite and for PostgreSQL: what one of them cannot say is not said."""

import importlib
import pkgutil
from typing import Any

import pytest
from sqlalchemy import Dialect, Executable
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from runwire.server import storage
from runwire.server.storage.tables import metadata, runs

DIALECTS: list[Dialect] = [postgresql.dialect(), sqlite.dialect()]


def statements() -> dict[str, Any]:
    """Return every statement that is built at import, by where it stands."""
    found = {}
    for module_info in pkgutil.iter_modules(storage.__path__):
        if module_info.name == "migrations":
            continue
        module = importlib.import_module(f"{storage.__name__}.{module_info.name}")
        for name, value in vars(module).items():
            if isinstance(value, Executable) and name.startswith("_"):
                found[f"{module_info.name}.{name}"] = value
    return found


STATEMENTS = statements()


def test_there_are_statements() -> None:
    assert len(STATEMENTS) > 50


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_each_statement_can_be_said(statement: Any, dialect: Dialect) -> None:
    assert str(statement.compile(dialect=dialect))


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_tables_and_indexes_can_be_made(dialect: Dialect) -> None:
    for table in metadata.sorted_tables:
        assert str(CreateTable(table).compile(dialect=dialect))
        for index in table.indexes:
            assert str(CreateIndex(index).compile(dialect=dialect))


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_a_claim_says_the_condition_of_its_index_in_the_same_words(dialect: Dialect) -> None:
    index = next(index for index in runs.indexes if index.name == "ix_runs_claimable")
    made = str(CreateIndex(index).compile(dialect=dialect))
    condition = made.partition(" WHERE ")[2]
    claim = str(STATEMENTS["claims._claim"].compile(dialect=dialect))
    assert condition in ("runnable", "runnable = 1")
    assert f"WHERE runs.{condition} AND runs.graph_id IN" in " ".join(claim.split())
