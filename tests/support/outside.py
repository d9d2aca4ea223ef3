"""Looking into a database as a stranger does who is no server, and changing what is there."""

from typing import Any

from sqlalchemy import create_engine, text

from runwire.server.storage.addresses import is_postgresql


def ask(url: str, query: str, **values: Any) -> list[Any]:
    """Return the rows of a query."""
    rows: list[Any] = _execute(url, query, values, lambda result: list(result.all()))
    return rows


def change(url: str, statement: str, **values: Any) -> int:
    """Carry out a statement; return how many rows it changed."""
    return int(_execute(url, statement, values, lambda result: result.rowcount))


def _execute(url: str, statement: str, values: dict[str, Any], read: Any) -> Any:
    if is_postgresql(url):
        engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:", 1))
    else:
        engine = create_engine(url, connect_args={"timeout": 30})
    with engine.begin() as connection:
        found = read(connection.execute(text(statement), values))
    engine.dispose()
    return found
