"""What is printed of a run, and where; with a server whose connections break."""

import asyncio
import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
from tests.commands.conftest import Commands, Said
from tests.support.environments import clean_environment
from tests.support.scripted import RUN_ID, ScriptedRuns, custom, ended, serve, started

from runwire.commands.output import safe


async def streamed(servicer: ScriptedRuns, *options: str) -> Said:
    """Return what `runs stream` says of a scripted run."""
    async with serve(servicer) as address:
        return await asyncio.to_thread(Commands(address), "runs", "stream", "any", *options)


async def test_a_server_that_goes_away_and_comes_back_is_told_of() -> None:
    log = [started(1), custom("1-2", "1"), custom("1-3", "2"), ended("1-4")]
    said = await streamed(ScriptedRuns(log, cuts=[2]))

    assert said.output == "1\n2\n"
    assert said.errors.splitlines()[1:] == [
        "the server is gone; trying to reach it again …",
        "the server is back, and the stream goes on",
        f"run {RUN_ID} succeeded",
    ]


async def test_a_stream_as_json_is_json_whatever_happens() -> None:
    log = [started(1), custom("1-2", "1"), ended("1-3")]
    said = await streamed(ScriptedRuns(log, cuts=[2]), "--json")

    assert [line["event"] for line in said.lines] == ["metadata", "custom", "end"]
    assert "the server is gone" in said.errors


async def test_another_attempt_is_told_of() -> None:
    log = [started(1), custom("1-2", "1"), started(2), custom("2-2", "2"), ended("2-3")]
    said = await streamed(ScriptedRuns(log))

    assert said.output == "1\n2\n"
    assert "attempt 2: its server was lost, and another goes on" in said.errors


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_no_commands_from_what_a_run_says() -> None:
    text = "a\x1b[2Jb\x9b31m\tc\n\x07"

    assert safe(text, Terminal()) == "a[2Jb31m\tc\n"
    assert safe(text, io.StringIO()) == text


class OnTerminal:
    """A command on a terminal of its own."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self._terminal, inner = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "runwire.server", *arguments],
            stdin=inner,
            stdout=inner,
            stderr=inner,
            env=clean_environment({"TERM": "xterm", "COLUMNS": "200", **environment}),
            start_new_session=True,
        )
        os.close(inner)
        self.said = ""

    def read_until(self, words: str) -> None:
        """Read until words have been said. Raises TimeoutError."""
        deadline = time.monotonic() + 30
        while words not in self.said:
            if time.monotonic() > deadline:
                raise TimeoutError(self.said)
            if select.select([self._terminal], [], [], 1)[0]:
                self.said += os.read(self._terminal, 65536).decode(errors="replace")

    def end(self) -> int:
        """Return the exit code, after what is left has been read."""
        code = self.process.wait(30)
        while select.select([self._terminal], [], [], 0)[0]:
            try:
                self.said += os.read(self._terminal, 65536).decode(errors="replace")
            except OSError:  # nobody has the other side any more
                break
        os.close(self._terminal)
        return code


def test_ctrl_c_cancels_what_was_started_and_says_so(address: str, client: Any) -> None:
    seconds = json.dumps({"seconds": 30})
    command = OnTerminal(
        "runs", "stream", "slow_async", "--input", seconds, RUNWIRE_ADDRESS=address
    )
    command.read_until("running sleep")
    command.process.send_signal(signal.SIGINT)
    code = command.end()

    run_id = command.said.split()[1].rstrip(";")
    assert code == 130
    assert f"cancelling run {run_id} …" in command.said
    assert f"run {run_id} cancelled" in command.said
    assert client.runs.get(None, run_id)["state"] == "cancelled"


def test_ctrl_c_on_a_join_leaves_the_run_alone(address: str, client: Any) -> None:
    run_id = client.runs.create(None, "slow_async", input={"seconds": 30}, stream_mode="tasks")[
        "run_id"
    ]
    command = OnTerminal("runs", "join", run_id, RUNWIRE_ADDRESS=address)
    command.read_until("running sleep")
    command.process.send_signal(signal.SIGINT)
    code = command.end()

    assert code == 130
    assert f"left; run {run_id} goes on" in command.said
    assert client.runs.get(None, run_id)["state"] == "running"
    client.runs.cancel(None, run_id)


def test_a_run_that_waits_shows_its_place_in_the_queue(
    address: str, client: Any, thread_id: str
) -> None:
    first = client.runs.create(thread_id, "slow_async", input={"seconds": 30})["run_id"]
    arguments = ("runs", "wait", "echo", "--thread", thread_id, "--input={}")
    command = OnTerminal(*arguments, RUNWIRE_ADDRESS=address, NO_COLOR="1")
    command.read_until("pending: 1 before it on its thread")
    client.runs.cancel(None, first)
    command.read_until(" succeeded")

    assert command.end() == 0
    assert "\x1b[31m" not in command.said


@pytest.mark.parametrize("colours", [True, False])
def test_a_table_on_a_terminal_has_colours_unless_they_are_not_wanted(
    address: str, client: Any, thread_id: str, colours: bool
) -> None:
    run_id = client.runs.create(thread_id, "fails", input={"message": "x"})["run_id"]
    client.runs.join(None, run_id)
    wish = {} if colours else {"NO_COLOR": "1"}
    command = OnTerminal("runs", "list", "--thread", thread_id, RUNWIRE_ADDRESS=address, **wish)
    command.read_until("ValueError")

    assert command.end() == 0
    assert run_id in command.said
    assert ("\x1b[31mfailed" in command.said) == colours
