"""The process: how it starts, what it refuses, how it stops, and what it says meanwhile."""

import asyncio
import json
import os
import shlex
import signal
import socket
import sqlite3
import time
from asyncio.subprocess import PIPE
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.commands import run_command
from tests.support.serving import (
    SUPPORT_GRAPHS,
    ServerExited,
    ServerProcess,
    database_url,
    serve_in_process,
    start_server_process,
)

from runwire.client import get_client
from runwire.server import app as app_module
from runwire.server.model.errors import DatabaseUnavailable
from runwire.server.signals import ONE_SIGNAL_SECONDS
from runwire.server.storage.files import DatabaseInUse

SUPPORT_GRAPH_COUNT = len(json.loads(SUPPORT_GRAPHS.read_text())["graphs"])
PATIENCE_SECONDS = 60.0


def write_graphs(directory: Path, code: str, **graphs: str) -> Path:
    """Write a configuration beside a file `agent.py` with `code`; return its path."""
    (directory / "agent.py").write_text(code)
    config = directory / "langgraph.json"
    config.write_text(json.dumps({"graphs": graphs or {"agent": "./agent.py:graph"}}))
    return config


def refusal(directory: Path, *flags: str, graphs: Path | None = None) -> str:
    """Return the reason that a server which does not start gives."""
    server = ServerProcess(directory, flags=list(flags), **({"graphs": graphs} if graphs else {}))
    with pytest.raises(ServerExited):
        server.start()
    assert server.wait() == 1
    assert "Traceback" not in server.said()
    line = server.logged("cannot start")
    assert line is not None, server.said()
    return str(line["reason"])


def ledger(directory: Path) -> list[dict[str, Any]]:
    """Return what the waiting graphs wrote down."""
    file = directory / "ledger"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def wait_until(is_so: Callable[[], bool]) -> None:
    """Return when something that another process does has happened."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


async def start_waiting_run(server: ServerProcess, graph_id: str, **more: Any) -> tuple[str, str]:
    """Start a run of a waiting graph; return thread and run id when it is at work."""
    async with get_client(server.address) as client:
        thread_id = (await client.threads.create())["thread_id"]
        run_input = {"directory": str(server.directory), **more}
        run = await client.runs.create(thread_id, graph_id, input=run_input)
    wait_until((server.directory / "started").exists)
    return thread_id, run["run_id"]


# ----------------------------------------------------------------------------------------- start


async def test_a_server_starts_is_healthy_and_stops_when_asked(tmp_path: Path) -> None:
    with start_server_process(tmp_path) as server:
        health = await run_command("health", "--address", server.address)
        exit_code = server.terminate()

        assert (health.exit_code, exit_code) == (0, 0)
        serving = server.logged("serving")
        assert serving is not None
        assert serving["address"] == server.address
        assert len(serving["graphs"]) == SUPPORT_GRAPH_COUNT
        assert serving["reflection"] is True
        assert [line["event"] for line in server.log_lines()][-2:] == ["stopping", "stopped"]
        # Every line is JSON, whoever logged it.
        assert len(server.log_lines()) == len(server.said().splitlines())


async def test_ctrl_c_stops_a_server_too(tmp_path: Path) -> None:
    with start_server_process(tmp_path) as server:
        server.send(signal.SIGINT)

        assert server.wait() == 0


def test_a_signal_before_the_server_is_up_ends_it(tmp_path: Path) -> None:
    code = "import pathlib, time\npathlib.Path('importing').touch()\ntime.sleep(1)\ngraph = None"
    server = ServerProcess(tmp_path, graphs=write_graphs(tmp_path, code))
    server.launch()
    wait_until((tmp_path / "importing").exists)

    assert server.terminate() == 0
    assert server.logged("serving") is None
    assert "Traceback" not in server.said()


def test_a_second_server_on_the_same_file_refuses_and_says_who_has_it(tmp_path: Path) -> None:
    with start_server_process(tmp_path) as server:
        reason = refusal(tmp_path)

        assert f"belongs to a running server (process {server.pid})" in reason
        assert server.is_running
        assert server.terminate() == 0


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        assert refusal(tmp_path, f"--bind={address}") == (
            f"cannot listen on {address}: the address is in use"
        )


def test_a_broken_graph_is_named_with_file_line_and_cause(tmp_path: Path) -> None:
    config = write_graphs(tmp_path, "value = 1\ngraph = 1 / 0\n")

    assert refusal(tmp_path, graphs=config) == (
        "graph 'agent': agent.py, line 2: ZeroDivisionError: division by zero\n    graph = 1 / 0"
    )


def test_a_missing_configuration_is_said(tmp_path: Path) -> None:
    missing = tmp_path / "elsewhere.json"

    assert refusal(tmp_path, graphs=missing) == f"{missing}: there is no such file"


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    with start_server_process(tmp_path) as server:
        server.terminate()
    with sqlite3.connect(tmp_path / "runwire" / "runwire.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()

    assert "schema 9999" in refusal(tmp_path)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "runwire"
    directory.mkdir()
    (directory / "runwire.db").write_text("a shopping list\n" * 100)

    assert refusal(tmp_path).endswith("runwire.db cannot be used: file is not a database")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    directory = tmp_path / "runwire"
    directory.mkdir(mode=0o500)

    assert "Permission denied" in refusal(tmp_path)


def test_a_misspelt_variable_is_warned_of(tmp_path: Path) -> None:
    with start_server_process(tmp_path, environment={"RUNWIRE_SINK_NODES": "1"}) as server:
        warnings = [line["event"] for line in server.log_lines() if line["level"] == "warning"]

    assert "RUNWIRE_SINK_NODES is not a setting: see runwire serve --help" in warnings


async def test_the_banner_s_lines_can_be_pasted(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, flags=["--log-format=pretty"])
    server.launch()
    try:
        wait_until(lambda: "gRPC tool:" in server.said() and server.said().endswith("\n\n"))
        said = server.said().splitlines()
        own = shlex.split(said[said.index("Stream a run, from another terminal:") + 1])
        tool = shlex.split(said[said.index("or with any gRPC tool:") + 1])
        streamed = await run_command(*own[own.index("runs") :])
        called = await asyncio.create_subprocess_exec(*tool, stdout=PIPE)
        answer, _ = await called.communicate()
    finally:
        server.terminate()

    assert any("listens on" in line and "this machine only" in line for line in said)
    assert own[1:3] == ["-m", "runwire.server"]
    assert (streamed.exit_code, called.returncode) == (0, 0)
    assert json.loads(streamed.output)["answer"] == "hello"
    assert b'"answer": "hello"' in answer


# ------------------------------------------------------------------------------------------ logs


async def test_each_move_of_a_run_is_one_line_without_user_data(tmp_path: Path) -> None:
    with start_server_process(tmp_path) as server:
        async with get_client(server.address) as client:
            thread_id = (await client.threads.create())["thread_id"]
            await client.runs.wait(thread_id, "echo", input={"text": "a secret"})
        server.terminate()

        moves = [line for line in server.log_lines() if "state" in line]
        assert [move["state"] for move in moves] == ["running", "succeeded"]
        assert {move["thread_id"] for move in moves} == {thread_id}
        assert {move["graph_id"] for move in moves} == {"echo"}
        assert all(move["run_id"] and move["attempt"] == 1 for move in moves)
        assert "a secret" not in server.said()


async def test_what_a_graph_logs_comes_out_as_json_and_names_its_run(tmp_path: Path) -> None:
    code = """
import logging
from langgraph.graph import START, StateGraph
def speak(state):
    logging.getLogger("agent").warning("half of %s", state["what"], extra={"left": 2})
    return {}
graph = StateGraph(dict).add_node("speak", speak).add_edge(START, "speak").compile()
"""
    config = write_graphs(tmp_path, code)
    with start_server_process(tmp_path, graphs=config) as server:
        async with get_client(server.address) as client:
            await client.runs.wait(None, "agent", input={"what": "it"})
        server.terminate()

        line = server.logged("half of it")
        assert line is not None
        assert (line["logger"], line["level"], line["left"]) == ("agent", "warning", 2)
        assert (line["graph_id"], line["attempt"]) == ("agent", 1)
        assert line["run_id"]


# ------------------------------------------------------------------------------------------ stop


async def test_a_run_that_is_drained_goes_on_where_it_was(tmp_path: Path) -> None:
    with start_server_process(tmp_path) as server:
        _, run_id = await start_waiting_run(server, "steps", steps=6, seconds=0.2)
        assert server.terminate() == 0
        done_before = len(ledger(tmp_path))
        server.start()
        async with get_client(server.address) as client:
            thread_id = None
            await client.runs.join(thread_id, run_id)
            run = await client.runs.get(thread_id, run_id)

    steps = [line["step"] for line in ledger(tmp_path) if line["what"] == "step"]
    assert steps == [0, 1, 2, 3, 4, 5], "no step is executed twice"
    assert 0 < done_before < len(ledger(tmp_path))
    assert run["status"] == "success"


async def test_code_that_does_not_stop_is_left_behind_when_the_grace_has_passed(
    tmp_path: Path,
) -> None:
    with start_server_process(tmp_path, "--drain-grace=200ms", "--cancel-grace=100ms") as server:
        thread_id, run_id = await start_waiting_run(server, "gate_sync")

        assert server.terminate() == 1

        (tmp_path / "open").touch()
        server.start()
        async with get_client(server.address) as client:
            values = await client.runs.join(thread_id, run_id)

    assert values["done"] == ["wait_for_gate_sync"]


async def test_a_second_signal_ends_the_server_at_once(tmp_path: Path) -> None:
    with start_server_process(tmp_path, "--drain-grace=10m") as server:
        await start_waiting_run(server, "gate")
        server.send(signal.SIGTERM)
        wait_until(lambda: server.logged("stopping") is not None)
        server.send(signal.SIGTERM)
        await asyncio.sleep(ONE_SIGNAL_SECONDS)
        assert server.is_running, "that may have been one Ctrl-C, told twice"
        server.send(signal.SIGTERM)

        assert server.wait() == 1
        assert "told to stop twice" in server.said()


async def test_a_stream_is_told_that_the_server_stops(tmp_path: Path) -> None:
    with start_server_process(tmp_path) as server:
        thread_id, run_id = await start_waiting_run(server, "steps", steps=100, seconds=0.1)
        async with get_client(server.address) as client:
            stream = client.runs.join_stream(thread_id, run_id)
            await anext(stream)
            assert server.terminate() == 0
            server.start()
            # The client joins again at the next server, which still has the run.
            kinds = [part.event async for part in _until(stream, "values")]
            await client.runs.cancel(thread_id, run_id, wait=True)

    assert kinds[-1] == "values"


async def _until(stream: Any, kind: str) -> Any:
    async for part in stream:
        yield part
        if part.event == kind:
            await stream.aclose()
            return


# ------------------------------------------------------------------------------------ in process


async def test_servers_in_one_process_follow_each_other_on_one_file(tmp_path: Path) -> None:
    async with serve_in_process(tmp_path) as first:
        with pytest.raises(DatabaseInUse):
            async with serve_in_process(tmp_path):
                pass
        async with get_client(first.address) as client:
            thread_id = (await client.threads.create())["thread_id"]

    async with serve_in_process(tmp_path) as second, get_client(second.address) as client:
        assert (await client.threads.get(thread_id))["thread_id"] == thread_id


async def test_every_graph_has_its_default_assistant_from_the_start(tmp_path: Path) -> None:
    async with serve_in_process(tmp_path) as app:
        assistant = await app.assistants.get("echo")

    assert assistant.graph_id == "echo"
    assert assistant.description == "Answers with what it was told."


async def test_graphs_keep_things_across_threads_and_servers(tmp_path: Path) -> None:
    async with serve_in_process(tmp_path) as app, get_client(app.address) as client:
        first = await client.runs.wait(None, "remembers", input={"remember": "a"})
    async with serve_in_process(tmp_path) as app, get_client(app.address) as client:
        second = await client.runs.wait(None, "remembers", input={"remember": "b"})

    assert (first["found"], second["found"]) == (["a"], ["a", "b"])


async def test_readiness_follows_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "HEALTH_SECONDS", 0.01)
    async with serve_in_process(tmp_path) as app:
        told: list[bool] = []
        set_serving = app.rpc_server.set_serving

        def note(serving: bool) -> None:
            told.append(serving)
            set_serving(serving)

        async def fail(assistant_id: str) -> None:
            raise DatabaseUnavailable

        monkeypatch.setattr(app.rpc_server, "set_serving", note)
        monkeypatch.setattr(app.assistants, "get", fail)
        result = await run_command("health", "--address", app.address)

    assert result.exit_code == 1
    assert told[0] is False


def test_the_database_s_url_is_the_one_that_the_server_uses(tmp_path: Path) -> None:
    with start_server_process(tmp_path) as server:
        serving = server.logged("serving")
        server.terminate()

    assert serving is not None
    assert database_url(tmp_path) == f"sqlite:///{serving['database']}"
    files = sorted((tmp_path / "runwire").iterdir())
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in files)
