"""The command line, run as a person runs it."""

import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path

import pytest
from tests.support.commands import run_command
from tests.support.environments import clean_environment
from tests.support.serving import serve_in_process

from runwire.server import app as app_module
from runwire.server.app import App
from runwire.server.settings import Settings, WorkerSettings, flag_of, variables_of

NOBODY = "127.0.0.1:9"


@pytest.fixture
async def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[App]:
    """A server with the support graphs, whose health is what a test says."""
    monkeypatch.setattr(app_module, "HEALTH_SECONDS", 3600)
    async with serve_in_process(tmp_path) as app:
        yield app


async def test_the_version_is_the_package_s() -> None:
    result = await run_command("--version")

    assert (result.exit_code, result.output) == (0, f"runwire {version('runwire')}\n")


@pytest.mark.parametrize("command", ["serve", "dev"])
async def test_help_lists_every_setting_with_flag_variable_and_default(command: str) -> None:
    result = await run_command(command, "--help", environment={"COLUMNS": "200"})

    assert result.exit_code == 0
    words = " ".join(result.output.split())
    for name, field in Settings.model_fields.items():
        assert (flag_of(name) in words) == (name not in Settings.no_options)
        assert all(variable in words for variable in variables_of(name, field))
    assert "[env: RUNWIRE_CANCEL_GRACE] [default: 10s]" in words
    assert "[env: RUNWIRE_MAX_REQUEST_BYTES] [default: 32MiB]" in words
    assert "[env: RUNWIRE_DATABASE_URL or DATABASE_URL]" in words


async def test_a_worker_has_no_options_for_calls() -> None:
    result = await run_command("worker", "--help", environment={"COLUMNS": "200"})

    assert result.exit_code == 0
    flags = set(re.findall(r"--[a-z-]+", result.output))
    names = WorkerSettings.model_fields.keys() - WorkerSettings.no_options
    assert {flag_of(name) for name in names} <= flags
    assert {flag_of(name) for name in WorkerSettings.no_options} & flags == set()


@pytest.mark.parametrize("command", [["serve", "--no-runner"], ["worker"]])
async def test_one_process_for_each_role_needs_a_database_for_both(command: list[str]) -> None:
    result = await run_command(*command)

    assert (result.exit_code, result.output) == (2, "")
    assert "a SQLite file belongs to one process" in result.errors
    assert "Traceback" not in result.errors


def test_asking_for_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, runwire.commands.main; runwire.commands.main.server_commands();"
        "heavy = {'langgraph', 'langchain_core', 'sqlalchemy', 'grpc', 'runwire.client'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=clean_environment()
    )

    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("command", ["serve", "dev"])
async def test_wrong_settings_are_said_in_one_message(command: str) -> None:
    result = await run_command(
        command, "--max-attempts=0", environment={"RUNWIRE_LOG_LEVEL": "loud"}
    )

    assert (result.exit_code, result.output) == (2, "")
    assert result.errors.splitlines() == [
        "runwire cannot start:",
        "--max-attempts (RUNWIRE_MAX_ATTEMPTS): must be at least 1",
        "--log-level (RUNWIRE_LOG_LEVEL): must be one of 'debug', 'info', 'warning' or 'error'",
    ]


async def test_a_bind_beyond_this_machine_is_refused() -> None:
    result = await run_command("serve", "--bind=0.0.0.0:0")

    assert result.exit_code == 2
    assert "TLS and authentication come in a later version" in result.errors
    assert "Traceback" not in result.errors


async def test_health_is_the_exit_code(app: App) -> None:
    serving = await run_command("health", "--address", app.address)
    one = await run_command("health", "--service=runwire.v1.RunService", "--address", app.address)
    unknown = await run_command("health", "--service=nonsense", "--address", app.address)
    app.rpc_server.set_serving(False)
    not_serving = await run_command("health", environment={"RUNWIRE_ADDRESS": app.address})
    live = await run_command("health", "--service=liveness", "--address", app.address)
    as_json = await run_command("health", "--json", "--address", app.address)

    assert (serving.exit_code, serving.output) == (0, f"the server at {app.address} is serving\n")
    assert one.exit_code == 0
    assert unknown.exit_code == 2
    assert unknown.errors == f"{app.address} has no service 'nonsense'\n"
    assert not_serving.exit_code == 1
    assert not_serving.errors == f"the server at {app.address} is not serving\n"
    assert live.exit_code == 0
    assert json.loads(as_json.output) == {
        "address": app.address,
        "service": "",
        "health": "not_serving",
    }
    assert as_json.exit_code == 1


async def test_health_of_nobody_is_unknown() -> None:
    result = await run_command("health", environment={"RUNWIRE_BIND": "0.0.0.0:9"})

    assert (result.exit_code, result.errors) == (2, f"nothing answers at {NOBODY}\n")
