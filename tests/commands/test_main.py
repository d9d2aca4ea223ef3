"""The script as a whole: what it consists of, what it costs, and what it says of itself."""

import asyncio
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from tests.commands.conftest import Commands
from tests.support.environments import clean_environment
from tests.support.serving import serve_in_process
from typer.main import get_command

from runwire.commands.main import SERVER_COMMANDS, app, server_commands

EXAMPLES = Path(__file__).parents[2] / "examples"
HEAVY = "{'grpc', 'langgraph', 'pydantic_settings', 'rich', 'runwire.client', 'runwire.server'}"
WITHOUT_SERVER = "import sys; sys.modules['pydantic_settings'] = None\n"


def leaves(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Give the commands that call a server, each with its path."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(leaves(get_command(app)))


def python(program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program that starts the script, by `main`."""
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        env=clean_environment(environment),
        check=False,
    )


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_json_and_an_example_that_it_would_take(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    example = example_of(path)

    assert command.epilog.startswith("Example: runwire ")
    assert example[: len(path)] == [*path]
    command.make_context("runwire", example[len(path) :])
    assert command.help
    options = {name for parameter in command.params for name in parameter.opts}
    assert {"--json", "--address"} <= options
    assert all(getattr(parameter, "help", None) for parameter in command.params)


def example_of(path: tuple[str, ...]) -> list[str]:
    """Return the words of a command's example, up to a pipe or a file for its output."""
    words = shlex.split(COMMANDS[path].epilog.partition("Example: ")[2])
    return words[1 : next((i for i, word in enumerate(words) if word in "|>"), len(words))]


async def test_every_example_that_names_nothing_of_one_s_own_works_on_the_example_agents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = [example_of(path) for path in COMMANDS]
    own_id = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-")
    able = [
        words
        for words in examples
        if not own_id.search(" ".join(words)) and "--watch" not in words  # which never ends
    ]
    (tmp_path / "question.json").write_text('{"question": "Why?"}')
    monkeypatch.chdir(tmp_path)
    graphs = EXAMPLES / "langgraph.json"
    async with serve_in_process(tmp_path, graphs=graphs) as server:
        runwire = Commands(server.address)
        said = {" ".join(words): await asyncio.to_thread(runwire, *words) for words in able}

    assert {words: each.errors for words, each in said.items() if each.exit_code != 0} == {}
    assert len(said) >= 10


def test_the_commands_are_those_of_the_contract_s_nouns() -> None:
    verbs: dict[str, list[str]] = {}
    for noun, *verb in COMMANDS:
        verbs.setdefault(noun, []).extend(verb)
    assert {noun: " ".join(sorted(found)) for noun, found in verbs.items()} == {
        "runs": "cancel create delete get join list stream wait",
        "threads": "copy create delete get history list prune state stream update",
        "assistants": "create delete get graph list schemas update versions",
        "crons": "create delete get list update",
        "queue": "",
    }


def test_the_server_s_commands_are_all_there() -> None:
    assert sorted(server_commands().commands) == sorted(SERVER_COMMANDS)


def test_a_command_that_calls_a_server_is_found_without_loading_anything_heavy() -> None:
    program = (
        "import sys; from runwire.commands.main import app\n"
        "try: app(['runs', 'list', '--help'])\n"
        f"except SystemExit: sys.exit(', '.join({HEAVY} & set(sys.modules)) or 0)"
    )
    result = python(program)

    assert (result.returncode, result.stderr) == (0, "")


def test_with_the_base_package_alone_the_script_says_what_to_install() -> None:
    result = python("import sys; sys.modules['typer'] = None; import runwire.commands.main")

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "The command line is not installed. Install it with: pip install 'runwire[cli]', "
        "or 'runwire[server]' to serve graphs as well\n"
    )


def test_without_the_server_s_packages_its_commands_say_what_to_install() -> None:
    program = f"{WITHOUT_SERVER}from runwire.commands.main import main; main()"
    serve = python(program, "serve")
    listing = python(program, "--help")

    assert (serve.returncode, serve.stderr) == (
        2,
        "The server is not installed. Install it with: pip install 'runwire[server]'\n",
    )
    assert listing.returncode == 0
    assert "assistants" in listing.stdout
    assert "\n  serve " not in listing.stdout


def test_the_version_is_the_package_s(runwire: Commands) -> None:
    assert runwire("--version").output == f"runwire {version('runwire')}\n"


def test_a_command_that_there_is_not_is_wrong_use(runwire: Commands) -> None:
    said = runwire("rnus")

    assert (said.exit_code, said.output) == (2, "")
    assert "No such command 'rnus'" in said.errors


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_completion_for_every_usual_shell(shell: str) -> None:
    main = "from runwire.commands.main import main; main()"
    result = python(main, _RUNWIRE_COMPLETE=f"source_{shell}")

    assert result.returncode == 0
    assert "_RUNWIRE_COMPLETE" in result.stdout
    assert "runwire" in result.stdout


def test_words_are_completed_without_a_server() -> None:
    main = "from runwire.commands.main import main; main()"
    bash = {"_RUNWIRE_COMPLETE": "complete_bash"}
    nouns = python(main, **bash, COMP_WORDS="runwire th", COMP_CWORD="1")
    choices = python(main, **bash, COMP_WORDS="runwire runs list --status su", COMP_CWORD="4")

    assert nouns.stdout.split() == ["threads"]
    assert choices.stdout.split() == ["success"]
