"""What the README tells a newcomer to paste, pasted against a server with the example agents."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.environments import clean_environment
from tests.support.serving import ServerProcess, start_server_process

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BIN = Path(sys.executable).parent
DEFAULT = "127.0.0.1:50051"
Ended = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with the example agents."""
    directory = tmp_path_factory.mktemp("readme")
    with start_server_process(directory, graphs=ROOT / "examples" / "langgraph.json") as server:
        yield server


def call_of(name: str) -> str:
    """Return the README's call of a method, or one by its flag, as a shell command."""
    block = next(
        block for block in re.findall(r"```sh\n(.*?)```", README, re.S) if "alias" in block
    )
    alias = re.search(r"alias call='(.*)'", block)
    assert alias is not None
    found = re.findall(r"^call .*?http://\S+$", block, re.S | re.M)
    (command,) = [command for command in found if f"/{name}" in command or f"--{name}" in command]
    return str(command).replace("call", alias[1], 1)


def paste(command: str, server: ServerProcess, run_id: str = "") -> Ended:
    """Run one of the README's commands in a shell, against `server` instead of the default."""
    command = command.replace(DEFAULT, server.address).replace(".venv/bin/", f"{BIN}/")
    return subprocess.run(
        ["bash", "-c", command.replace("…", run_id)],
        capture_output=True,
        text=True,
        timeout=30,
        env=clean_environment(),
        check=False,
    )


def messages(output: str) -> list[dict[str, object]]:
    """Return the JSON messages that buf printed one after the other."""
    decoder, found, rest = json.JSONDecoder(), [], output.strip()
    while rest:
        message, end = decoder.raw_decode(rest)
        found.append(message)
        rest = rest[end:].lstrip()
    return found


def test_reflection_lists_every_method(examples: ServerProcess) -> None:
    listing = paste(call_of("list-methods"), examples)
    assert "runwire.v1.RunService/RunStream" in listing.stdout
    assert "runwire.v1.RunService/CancelRun" in listing.stdout


def test_a_thread_is_created_from_hand_written_json(examples: ServerProcess) -> None:
    (answer,) = messages(paste(call_of("CreateThread"), examples).stdout)
    assert answer["thread"]["state"] == "THREAD_STATE_IDLE"  # type: ignore[index]


def test_a_run_is_streamed_as_json_that_people_can_read(examples: ServerProcess) -> None:
    streamed = messages(paste(call_of("RunStream"), examples).stdout)
    events = [event for message in streamed for event in message["events"]]  # type: ignore[attr-defined]
    assert "run" in events[0]
    assert events[-1]["runEnded"]["state"] == "RUN_STATE_SUCCEEDED"
    steps = [event["custom"]["data"]["value"]["step"] for event in events if "custom" in event]
    assert steps[0] == "planned"
    assert "read" in steps


def test_a_run_in_the_background_is_followed_from_its_beginning(examples: ServerProcess) -> None:
    (created,) = messages(paste(call_of("CreateRun"), examples).stdout)
    run_id = created["run"]["runId"]  # type: ignore[index]
    streamed = messages(paste(call_of("JoinRunStream"), examples, run_id).stdout)
    events = [event for message in streamed for event in message["events"]]  # type: ignore[attr-defined]
    assert events[-1]["runEnded"]["state"] == "RUN_STATE_SUCCEEDED"
    values = [event["values"]["data"]["value"] for event in events if "values" in event]
    assert "tides" in values[-1]["report"]


def test_a_run_is_cancelled_from_hand_written_json(examples: ServerProcess) -> None:
    slow = call_of("CreateRun").replace(
        '"input"', '"context": {"value": {"search_seconds": 30}}, "input"'
    )
    (created,) = messages(paste(slow, examples).stdout)
    run_id = created["run"]["runId"]  # type: ignore[index]
    (answer,) = messages(paste(call_of("CancelRun"), examples, run_id).stdout)
    assert answer["run"]["state"] == "RUN_STATE_CANCELLED"  # type: ignore[index]


def test_the_line_to_paste_streams_a_run(examples: ServerProcess) -> None:
    line = re.search(r"^\.venv/bin/runwire runs stream .*$", README, re.M)
    assert line is not None
    streamed = paste(f"{line[0]} --address {DEFAULT}", examples)
    assert "6 * 7 = 42" in streamed.stdout
    assert streamed.returncode == 0


def test_the_python_program_prints_a_reply(examples: ServerProcess) -> None:
    program = re.search(r"```python\n(.*?)```", README, re.S)
    assert program is not None
    code = program[1].replace("localhost:50051", examples.address)
    printed = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=30,
        env=clean_environment(),
        check=True,
    )
    assert "sunny" in printed.stdout
