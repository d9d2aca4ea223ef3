"""The doctor: what it looks at, what it calls wrong, and that it touches nothing."""

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.commands import run_command
from tests.support.records import a_run, add_run
from tests.support.serving import SUPPORT_GRAPHS, serve_in_process

from runwire.server.doctor import Check, Verdict, examine
from runwire.server.model.ids import new_id
from runwire.server.model.runs import RunState
from runwire.server.model.servers import Server
from runwire.server.settings import Settings, read_settings
from runwire.server.storage import inspecting, servers
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Connection
from runwire.server.storage.inspecting import Clock, holder_of
from runwire.server.storage.opening import database_at

NAMES = ["settings", "graphs", "database", "schema", "clock", "servers", "orphans", "queue"]


def settings_for(url: str, **given: object) -> Settings:
    return read_settings(Settings, {"config": SUPPORT_GRAPHS, "database_url": url, **given})


async def examined(url: str, **given: object) -> dict[str, Check]:
    """Return the checks by their names."""
    checks = await asyncio.to_thread(lambda: list(examine(settings_for(url, **given))))
    assert len({check.name for check in checks}) == len(checks)
    return {check.name: check for check in checks}


async def do(url: str, function: Callable[[Connection], Any]) -> None:
    """Write into a database that no server has."""
    async with database_at(url) as database:
        await database.write(function)


def a_server(connection: Connection, **changes: Any) -> Server:
    """Store a server that is alive."""
    now = current_time(connection)
    server = Server(
        server_id=new_id(),
        name="machine",
        version="1.0",
        max_concurrent_runs=8,
        start_time=now,
        update_time=now,
        lease_until=now + timedelta(minutes=1),
    )
    server = replace(server, **changes)
    servers.add_server(connection, server)
    return server


async def test_all_is_well_where_a_server_runs(tmp_path: Path, database_url: str) -> None:
    async with serve_in_process(tmp_path, database_url=database_url) as app:
        found = await examined(database_url)

    is_file = database_url.startswith("sqlite")
    assert list(found) == [name for name in NAMES if name != "clock" or not is_file]
    wrong = [check for check in found.values() if check.verdict is not Verdict.OK]
    assert wrong == []
    assert found["servers"].facts["servers"][0]["server_id"] == app.runner.server_id
    assert found["servers"].sentence.startswith("1 alive: ")
    assert "answers in" in found["database"].sentence
    assert found["graphs"].facts["graphs"] == app.registry.graph_ids


async def test_where_nothing_runs_yet_nothing_is_wrong(database_url: str) -> None:
    async with database_at(database_url):
        pass
    found = await examined(database_url)

    assert found["servers"].sentence == "none is alive"
    verdicts = {check.verdict for check in found.values()}
    assert verdicts == {Verdict.OK, Verdict.WARNING}


async def test_a_file_that_is_not_there_is_not_made(database_path: Path) -> None:
    found = await examined(f"sqlite:///{database_path}")

    assert list(found) == ["settings", "graphs", "database"]
    assert "the first server that starts makes it" in found["database"].sentence
    assert not database_path.parent.exists()


async def test_an_empty_database_is_left_empty(postgres: Any) -> None:
    with postgres.create(empty=True) as url:
        found = await examined(url)
        again = await examined(url)

    assert found["schema"].verdict is Verdict.WARNING
    assert found["schema"].facts == {"schema": None, "needed": "0001"}
    assert again["schema"] == found["schema"]
    assert "servers" not in found


async def test_a_schema_of_a_newer_version_is_wrong(database_url: str) -> None:
    await do(
        database_url,
        lambda connection: connection.exec_driver_sql(
            "UPDATE alembic_version SET version_num = '9999'"
        ),
    )
    found = await examined(database_url)

    assert found["schema"].verdict is Verdict.FAILED
    assert list(found)[-1] in ("schema", "clock"), "what it holds means nothing here"


async def test_a_database_that_cannot_be_had_is_wrong_and_its_password_is_not_told() -> None:
    found = await examined("postgresql://user:secret@127.0.0.1:9/agents")

    assert list(found)[-1] == "database"
    assert found["database"].verdict is Verdict.FAILED
    assert "secret" not in repr(found)


def test_a_file_that_is_no_database_is_wrong(database_path: Path) -> None:
    database_path.parent.mkdir()
    database_path.write_text("a shopping list\n" * 100)
    found = asyncio.run(examined(f"sqlite:///{database_path}"))

    assert list(found) == ["settings", "graphs", "database"]
    assert found["database"].sentence.endswith("file is not a database")


async def test_a_graph_that_cannot_be_loaded_is_wrong_and_the_rest_is_looked_at(
    tmp_path: Path, database_url: str
) -> None:
    async with database_at(database_url):
        pass
    (tmp_path / "agent.py").write_text("print('hello')\ngraph = 1 / 0")
    config = tmp_path / "langgraph.json"
    config.write_text('{"graphs": {"agent": "./agent.py:graph"}}')
    found = await examined(database_url, config=config)

    assert found["graphs"].verdict is Verdict.FAILED
    assert "ZeroDivisionError" in found["graphs"].sentence
    assert "queue" in found


async def test_clocks_that_differ_are_worth_a_look(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = Clock(timedelta(seconds=-90), timedelta(milliseconds=1))
    monkeypatch.setattr(inspecting.Inspection, "clock", lambda inspection: ahead)
    found = await examined(postgres_url)

    assert found["clock"].verdict is Verdict.WARNING
    assert found["clock"].sentence == "the database's is 90.000 s behind this machine's"


async def test_runs_without_their_server_are_counted(database_url: str) -> None:
    def leave(connection: Connection) -> None:
        dead = a_server(connection, lease_until=current_time(connection) - timedelta(seconds=1))
        for owner in (dead.server_id, new_id()):
            add_run(connection, a_run(state=RunState.RUNNING, attempt=1, owner=owner))

    await do(database_url, leave)
    found = await examined(database_url)

    assert found["orphans"].verdict is Verdict.WARNING
    assert found["orphans"].sentence == "2 runs whose server is gone: the next server takes them"


async def test_runs_that_nobody_will_execute_are_wrong(postgres_url: str) -> None:
    def leave(connection: Connection) -> None:
        a_server(connection, executes_runs=False, max_concurrent_runs=0)
        add_run(connection, a_run(), runnable=True)

    await do(postgres_url, leave)
    found = await examined(postgres_url)
    assert found["queue"].verdict is Verdict.FAILED
    assert found["queue"].facts["pending_runs"] == 1

    await do(postgres_url, lambda connection: a_server(connection, takes_calls=False))
    found = await examined(postgres_url)
    assert found["queue"].verdict is Verdict.WARNING
    assert "has the graphs graph" in found["queue"].sentence
    assert found["queue"].facts["claimable_runs"] == 0

    await do(postgres_url, lambda connection: a_server(connection, graph_ids=["graph"]))
    found = await examined(postgres_url)
    assert found["queue"].verdict is Verdict.OK
    assert found["queue"].facts["claimable_runs"] == 1
    assert "takes calls only; machine executes 0 of at most 8 runs only" in (
        found["servers"].sentence
    )


async def test_servers_of_different_versions_are_told(postgres_url: str) -> None:
    def start(connection: Connection) -> None:
        a_server(connection, version="1.0")
        a_server(connection, version="1.1", draining=True)

    await do(postgres_url, start)
    servers_check = (await examined(postgres_url))["servers"]

    assert servers_check.verdict is Verdict.WARNING
    assert "different versions: 1.0, 1.1" in servers_check.sentence
    assert "draining" in servers_check.sentence


def test_whoever_has_a_file_is_known_by_what_it_wrote(tmp_path: Path) -> None:
    lock = tmp_path / "x.db.lock"
    assert holder_of(tmp_path / "x.db") is None
    lock.write_text(str(os.getpid()))
    assert holder_of(tmp_path / "x.db") == os.getpid()
    for nobody in ("", "4194304"):
        lock.write_text(nobody)
        assert holder_of(tmp_path / "x.db") is None


# ---------------------------------------------------------------------------------- the command


async def test_the_command_says_a_line_for_each_check(tmp_path: Path) -> None:
    result = await run_command("doctor", f"--config={SUPPORT_GRAPHS}", cwd=tmp_path)

    assert (result.exit_code, result.errors) == (0, "")
    lines = result.output.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["ok", name] for name in ("settings", "graphs", "database")
    ]


async def test_the_command_s_exit_code_says_that_something_is_wrong(tmp_path: Path) -> None:
    result = await run_command("doctor", "--json", "--config=nowhere.json", cwd=tmp_path)

    assert result.exit_code == 1
    told = json.loads(result.output)
    assert told["ok"] is False
    assert [check["verdict"] for check in told["checks"]] == ["ok", "failed", "ok"]


async def test_wrong_settings_are_the_only_check(tmp_path: Path) -> None:
    environment = {"RUNWIRE_LOG_LEVEL": "loud"}
    result = await run_command("doctor", "--max-attempts=0", environment=environment, cwd=tmp_path)

    assert result.exit_code == 1
    (line,) = result.output.splitlines()
    assert line.startswith("failed   settings  --max-attempts")
    assert "--log-level" in line


async def test_a_misspelt_variable_is_worth_a_look(tmp_path: Path) -> None:
    environment = {"RUNWIRE_SINK_NODES": "1"}
    result = await run_command(
        "doctor", f"--config={SUPPORT_GRAPHS}", environment=environment, cwd=tmp_path
    )

    assert result.exit_code == 0
    assert result.output.startswith("warning  settings  RUNWIRE_SINK_NODES: not a setting")
