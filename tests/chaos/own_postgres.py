"""A PostgreSQL of a test's own, which it may hurt."""

from collections.abc import Iterator
from contextlib import contextmanager

from runwire.server.storage.connecting import engine_on
from runwire.server.storage.migrate import migrate
from tests.chaos.network import free_port
from tests.support.postgres import PostgresServer, start_postgres


@contextmanager
def own_postgres() -> Iterator[tuple[PostgresServer, str]]:
    """Give a server that nobody else uses, and the URL of a database on it that has our tables."""
    with start_postgres() as server:
        server.stop()
        server.port = free_port()
        server.start()
        engine = engine_on(server.url, connections=1)
        migrate(engine)
        engine.dispose()
        yield server, server.url
