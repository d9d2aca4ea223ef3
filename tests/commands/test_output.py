"""What a terminal gets of texts that a model, a stranger or a server has written."""

import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from unittest.mock import MagicMock

import pytest
import typer
from tests.support.scripted import RUN_ID, THREAD_ID

from runwire.client.schema import ThreadStreamPart
from runwire.commands import assistants, runs, threads
from runwire.commands.calling import refuse
from runwire.commands.output import as_json

EVIL = "\x1b[31mevil\x9b31m\x7f"


class Terminal(io.StringIO):
    """Is taken for a terminal by whoever writes to it."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def to_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Return what standard output and standard error lead to from here on."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal


def refuse_a_call() -> None:
    refuse(EVIL)


def cancel_runs() -> None:
    runs.cancel([RUN_ID])


def prune_threads() -> None:
    threads.prune([THREAD_ID])


def draw_a_graph() -> None:
    assistants.graph("chat", mermaid=True, xray=0)


def follow_a_thread() -> None:
    threads.stream(THREAD_ID)


@pytest.mark.parametrize(
    "command", [refuse_a_call, cancel_runs, prune_threads, draw_a_graph, follow_a_thread]
)
def test_a_terminal_gets_no_commands_from_what_a_server_says(
    command: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    client: Any = MagicMock()
    client.runs.cancel_many.return_value = [
        {"run_id": RUN_ID, "reason": "RUN_FINISHED", "message": EVIL, "run": None}
    ]
    client.threads.prune.return_value = {
        "results": [{"thread_id": THREAD_ID, "reason": "THREAD_BUSY", "message": EVIL}],
        "pruned_count": 0,
    }
    client.assistants.get_graph.return_value = {"mermaid": EVIL}
    client.threads.join_stream.return_value = [ThreadStreamPart(EVIL, {})]

    @contextmanager
    def connected(*_: Any) -> Iterator[Any]:
        yield client

    for module in (assistants, runs, threads):
        monkeypatch.setattr(module, "connected", connected)
    terminal = to_terminal(monkeypatch)
    with suppress(typer.Exit):
        command()
    said = terminal.getvalue()
    assert "evil" in said
    assert all(character.isprintable() or character == "\n" for character in said)


def test_json_has_no_control_characters_and_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    to_terminal(monkeypatch)
    assert as_json(f"é{EVIL}") == '"é\\u001b[31mevil\\u009b31m\\u007f"'
    assert json.loads(as_json(EVIL)) == EVIL
