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
        "import sys, runwire.server.cli;"
        "heavy = {'langgraph', 'langchain_core', 'sqlalchemy', 'grpc', 'runwire.client'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=clean_environment()
    )

    assert (result.returncode, result.stderr) == (0, "")


def test_without_the_server_s_packages_the_command_says_what_to_install() -> None:
    code = "import sys; sys.modules['typer'] = None; import runwire.server.cli"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=clean_environment()
    )

    assert result.returncode == 1
    assert result.stderr == (
        "The server is not installed. Install it with: pip install 'runwire[server]'\n"
    )


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

    assert (serving.exit_code, serving.output) == (0, f"the server at {app.address} is serving\n")
    assert one.exit_code == 0
    assert unknown.exit_code == 2
    assert unknown.errors == f"{app.address} has no service 'nonsense'\n"
    assert not_serving.exit_code == 1
    assert not_serving.errors == f"the server at {app.address} is not serving\n"
    assert live.exit_code == 0


async def test_health_of_nobody_is_unknown() -> None:
    result = await run_command("health", environment={"RUNWIRE_BIND": "0.0.0.0:9"})

    assert (result.exit_code, result.errors) == (2, f"nothing answers at {NOBODY}\n")


async def test_a_run_s_words_are_printed_as_text(app: App) -> None:
    result = await run_command(
        "runs", "stream", "messages", '--input={"say": "Hello there."}', "--address", app.address
    )

    assert (result.exit_code, result.output) == (0, "Hello there.\n")
    assert result.errors.endswith(" succeeded\n")


async def test_a_run_s_own_events_are_printed_a_line_each(app: App) -> None:
    result = await run_command(
        "runs", "stream", "custom_events", '--input={"count": 2}', "--address", app.address
    )

    events = [json.loads(line) for line in result.output.splitlines()]
    assert events == [{"index": 0, "text": ""}, {"index": 1, "text": ""}]


async def test_a_run_that_says_nothing_shows_the_state_it_left(app: App) -> None:
    result = await run_command(
        "runs", "stream", "echo", '--input={"text": "ü"}', environment=address_of(app)
    )

    assert json.loads(result.output) == {"text": "ü", "answer": "ü"}


async def test_a_question_is_printed_and_can_be_answered(app: App) -> None:
    asked = await run_command(
        "runs", "stream", "asks", "--thread=new", "--input={}", environment=address_of(app)
    )
    thread_id = asked.errors.split()[1]
    answered = await run_command(
        *("runs", "stream", "asks", f"--thread={thread_id}", '--resume="yes"'),
        environment=address_of(app),
    )

    assert asked.exit_code == 0
    assert json.loads(asked.output) == {"question": "go on?"}
    assert asked.errors.endswith(" interrupted\n")
    assert json.loads(answered.output)["answers"] == ["prepared", "yes"]


async def test_a_run_that_fails_says_why(app: App) -> None:
    result = await run_command(
        "runs", "stream", "fails", '--input={"message": "no luck"}', environment=address_of(app)
    )

    assert result.exit_code == 1
    assert "failed: ValueError: no luck (in node fail)" in result.errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense", "--input={}"], "no assistant and no graph has the id 'nonsense'; graphs: "),
        (["echo", "--input={"], "--input is not JSON: "),
        (["echo", "--input={}", "--address", NOBODY], "no answer from a Runwire server"),
    ],
)
async def test_a_call_that_cannot_be_made_says_why(
    app: App, arguments: list[str], words: str
) -> None:
    result = await run_command("runs", "stream", *arguments, environment=address_of(app))

    assert result.exit_code == 2
    assert result.errors.startswith(words)
    assert "Traceback" not in result.errors


def address_of(app: App) -> dict[str, str]:
    """Return an environment in which commands find a server."""
    return {"RUNWIRE_ADDRESS": app.address}
