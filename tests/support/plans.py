"""How the databases carry out statements."""

from collections.abc import Callable
from typing import Any

import orjson
from sqlalchemy import Connection, event, text

from runwire.server.model.runs import RunConfig, RunSpec
from runwire.server.storage.values import config_to_data, spec_to_data

Query = Callable[[Connection], Any]


def sqlite_plans(connection: Connection, query: Query) -> list[str]:
    """Return how SQLite carries out the statements of `query`, a function of a connection.

    It is asked with the statements' parameters as such: what it does for values that stand in the
    text of a statement says nothing.
    """
    driver: Any = connection.connection.driver_connection
    return [
        row[3]
        for statement, parameters in _statements(connection, query)
        for row in driver.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
    ]


def postgres_plans(connection: Connection, query: Query) -> list[str]:
    """Return how PostgreSQL carries out the statements of `query`."""
    driver: Any = connection.connection.driver_connection
    return [
        row[0]
        for statement, parameters in _statements(connection, query)
        for row in driver.execute(f"EXPLAIN {statement}", parameters)
    ]


def _statements(connection: Connection, query: Query) -> list[tuple[str, Any]]:
    asked: list[tuple[str, Any]] = []

    def note(_: Any, cursor: Any, statement: str, parameters: Any, *more: Any) -> None:
        asked.append((statement, parameters[0] if isinstance(parameters, list) else parameters))

    event.listen(connection, "before_cursor_execute", note)
    try:
        query(connection)
    finally:
        event.remove(connection, "before_cursor_execute", note)
    assert asked
    return asked


def fill_postgres(connection: Connection) -> None:
    """Put as many rows into the tables as make it worth while to look for an index."""
    spec = orjson.dumps(spec_to_data(RunSpec(assistant_id="graph"))).decode()
    config = orjson.dumps(config_to_data(RunConfig())).decode()
    for statement in _FILL.split(";"):
        given = {"spec": spec, "config": config}
        values = {name: value for name, value in given.items() if f":{name}" in statement}
        connection.execute(text(statement), values)


_FILL = """
INSERT INTO threads (thread_id, state, rest_state, metadata, interrupts, create_time, update_time,
        state_update_time, ttl_seconds, ttl_strategy, ttl_check_time)
    SELECT 'thread' || n, 'idle', 'idle', '{}', '[]', now() - n * interval '1 s', now(), now(),
        CASE WHEN n % 2 = 0 THEN 60 END, CASE WHEN n % 2 = 0 THEN 'delete' END,
        CASE WHEN n % 2 = 0 THEN now() - n * interval '1 s' END
    FROM generate_series(1, 3000) n;
INSERT INTO assistants (assistant_id, graph_id, name, description, config, metadata, version,
        create_time, update_time)
    SELECT 'assistant' || n, 'graph' || n % 50, 'name', '', CAST(:config AS TEXT), '{}', 1, now(),
        now()
    FROM generate_series(1, 3000) n;
INSERT INTO assistant_versions (assistant_id, version, graph_id, name, description, config,
        metadata, create_time)
    SELECT 'assistant' || n % 3000 + 1, n / 3000 + 1, 'graph', 'name', '', CAST(:config AS TEXT),
        '{}', now()
    FROM generate_series(0, 8999) n;
INSERT INTO runs (run_id, thread_id, assistant_id, assistant_version, graph_id, state, spec, config,
        metadata, attempt, attempts_given_back, owner, principal, rank, runnable, wake_time,
        due_time, create_time, update_time, end_time, cancel, interrupts, rolled_back, events_kept,
        change)
    SELECT 'run' || n, CASE WHEN n <= 200 OR n % 4 <> 0 THEN 'thread' || n % 3000 + 1 END,
        'assistant' || n % 3000 + 1, 1, 'graph',
        CASE WHEN n <= 50 THEN 'running' WHEN n <= 200 THEN 'pending'
            WHEN n % 20 = 1 THEN 'cancelled' ELSE 'succeeded' END,
        CAST(:spec AS TEXT), CAST(:config AS TEXT), '{}', 1, 0,
        CASE WHEN n <= 50 THEN 'server' || n % 20 END, 'somebody' || n % 500, n % 5,
        n > 50 AND n <= 150, CASE WHEN n > 150 AND n <= 200 THEN now() + n * interval '1 s' END,
        now() - n * interval '1 s', now() - n * interval '1 s', now() - n * interval '1 s',
        CASE WHEN n > 200 THEN now() - n * interval '1 s' END,
        CASE WHEN n > 200 AND n % 20 = 1 THEN '{}' END, '[]', n > 200 AND n % 20 = 1, n > 15000,
        n
    FROM generate_series(1, 20000) n;
INSERT INTO run_events (run_id, attempt, first_index, last_index, final, lengths, data)
    SELECT 'run' || n / 5 + 1, 1, n % 5 * 10 + 1, n % 5 * 10 + 10, false, '',
        repeat('x', 200)::bytea
    FROM generate_series(0, 29999) n;
INSERT INTO changes (change_id, change, kind, thread_id, run_id, state, metadata, create_time)
    SELECT 'change' || n, n, 'run_deleted', 'thread' || n % 3000, 'change' || n, 'succeeded', '{}',
        now() - n * interval '1 s'
    FROM generate_series(1, 10000) n;
INSERT INTO requests (method, principal, request_id, body_hash, answer, create_time)
    SELECT 'create', '', 'request' || n, '', '[]', now() - n * interval '1 s'
    FROM generate_series(1, 10000) n;
INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, run_id, graph_id,
        configured_by, type, checkpoint, metadata)
    SELECT 'thread' || n / 5, '', 'checkpoint' || n % 5, 'run' || n / 5, 'graph', '',
        'msgpack', '', '{}'
    FROM generate_series(0, 9999) n;
INSERT INTO checkpoint_writes (thread_id, checkpoint_ns, checkpoint_id, task_id, index, run_id,
        channel, type, value, task_path)
    SELECT 'thread' || n / 10, '', 'checkpoint' || n % 5, 'task' || n % 2, 0, 'run' || n / 10, 'c',
        'msgpack', '', ''
    FROM generate_series(0, 19999) n;
INSERT INTO store_items (namespace, key, value, create_time, update_time, ttl_seconds, expire_time)
    SELECT 'a' || n % 1000, 'key' || n, '{}', now(), now(), CASE WHEN n % 2 = 0 THEN 60 END,
        CASE WHEN n % 2 = 0 THEN now() + n * interval '1 s' END
    FROM generate_series(1, 10000) n;
ANALYZE
"""
