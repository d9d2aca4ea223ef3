"""Where commands find the server, and what they show it."""

import asyncio
import io
from pathlib import Path

import pytest
import typer
from tests.commands.conftest import Commands
from tests.support.scripted import RUN_ID, ScriptedRuns, ended, serve, started
from tests.support.tls import Identity, serve_by_tls

from runwire.commands.calling import DEFAULT_ADDRESS, default_address, json_of
from runwire.server.settings import DEFAULT_BIND


@pytest.mark.parametrize(
    ("environment", "address"),
    [
        ({}, "127.0.0.1:50051"),
        ({"RUNWIRE_BIND": "0.0.0.0:1234"}, "127.0.0.1:1234"),
        ({"RUNWIRE_BIND": "[::]:1234"}, "[::1]:1234"),
        ({"RUNWIRE_BIND": "10.0.0.1:1234"}, "10.0.0.1:1234"),
        ({"RUNWIRE_ADDRESS": "agents:1", "RUNWIRE_BIND": "0.0.0.0:1234"}, "agents:1"),
    ],
)
def test_commands_find_the_server_that_this_environment_starts(
    environment: dict[str, str], address: str
) -> None:
    assert default_address(environment) == address


def test_the_default_is_where_a_server_listens() -> None:
    assert DEFAULT_ADDRESS == DEFAULT_BIND


async def test_a_server_behind_mutual_tls_is_called_with_a_token(tmp_path: Path) -> None:
    server, caller = Identity("localhost"), Identity("caller")
    files = {"CA": server.ca, "CERT": caller.cert, "KEY": caller.key}
    environment = {"RUNWIRE_TOKEN": "a secret"}
    for name, pem in files.items():
        (tmp_path / name).write_bytes(pem)
        environment[f"RUNWIRE_CLIENT_{name}"] = str(tmp_path / name)
    servicer = ScriptedRuns([started(1), ended("1-2")])
    async with serve_by_tls(servicer, server, callers=caller.ca) as address:
        runwire = Commands(f"https://{address}")
        shown = await asyncio.to_thread(
            runwire, "runs", "join", RUN_ID, "--json", environment=environment
        )
        stranger = await asyncio.to_thread(runwire, "runs", "join", RUN_ID)

    assert (shown.exit_code, shown.lines[-1]["event"]) == (0, "end")
    assert (stranger.exit_code, len(stranger.errors.splitlines())) == (2, 1)


async def test_a_token_is_not_told_to_everybody_on_the_way() -> None:
    said = Commands("10.0.0.1:50051")("runs", "list", environment={"RUNWIRE_TOKEN": "a secret"})

    assert (said.exit_code, said.output) == (2, "")
    assert said.errors.startswith("token: ")


async def test_a_certificate_that_is_not_there_is_named() -> None:
    nowhere = {"RUNWIRE_CLIENT_CA": "/nowhere/ca.pem"}
    async with serve(ScriptedRuns()) as address:
        said = Commands(address)("runs", "list", environment=nowhere)

    assert (said.exit_code, said.output) == (2, "")
    assert said.errors == "/nowhere/ca.pem cannot be read: No such file or directory\n"


def test_an_input_that_is_not_utf8_is_told_of_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "input.json"
    file.write_bytes(b"\xff\xfe")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff"), encoding="utf-8"))
    for given, place in ((f"@{file}", str(file)), ("-", "standard input")):
        with pytest.raises(typer.Exit):
            json_of("--input", given)
        assert capsys.readouterr().err == f"--input: {place} is not UTF-8\n"
