"""`runwire threads`, through a real server."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import MagicMock
from uuid import uuid4

import pytest
from tests.commands.conftest import Commands
from tests.support.environments import clean_environment
from tests.support.scripted import RUN_ID, THREAD_ID

from runwire.client import SyncRunwireClient, UnavailableError
from runwire.client.schema import ThreadStreamPart
from runwire.commands import threads


@pytest.fixture
def asked(client: SyncRunwireClient, thread_id: str) -> str:
    """A thread whose run waits for an answer."""
    client.runs.wait(thread_id, "asks", input={})
    return thread_id


def test_a_thread_is_created_shown_and_found(runwire: Commands) -> None:
    label = str(uuid4())
    metadata = json.dumps({"label": label})
    thread_id = runwire("threads", "create", "--metadata", metadata, "--ttl=5").output.strip()
    shown = runwire("threads", "get", thread_id)
    found = runwire("threads", "list", "--metadata", metadata, "--json")

    assert shown.output.startswith("ttl ")
    assert label in shown.output
    assert [thread["thread_id"] for thread in found.document] == [thread_id]
    assert (
        runwire("threads", "list", "--metadata", metadata)
        .output.splitlines()[1]
        .startswith(f"{thread_id}  idle  ")
    )
    made = runwire("threads", "create", "--id", thread_id, "--if-exists=do_nothing", "--json")
    assert made.document["thread_id"] == thread_id
    taken = runwire("threads", "create", "--id", thread_id)
    assert (taken.exit_code, taken.output, len(taken.errors.splitlines())) == (2, "", 1)


def test_a_thread_s_state_and_history(runwire: Commands, asked: str) -> None:
    state = runwire("threads", "state", asked, "--json").document
    history = runwire("threads", "history", asked, "--json").document
    oldest = history[-1]["checkpoint"]["checkpoint_id"]

    assert state["next"] == ["ask"]
    assert "next " in runwire("threads", "state", asked).output
    assert history[0]["checkpoint"] == state["checkpoint"]
    table = runwire("threads", "history", asked, "--limit=1").output.splitlines()
    assert [line.split()[0] for line in table] == [
        "checkpoint",
        state["checkpoint"]["checkpoint_id"],
    ]
    then = runwire("threads", "state", asked, "--checkpoint", oldest, "--json").document
    assert then["checkpoint"]["checkpoint_id"] == oldest
    assert runwire("threads", "history", asked, "--before", oldest, "--json").document == []


def test_a_thread_or_its_state_is_changed(runwire: Commands, asked: str) -> None:
    runwire("threads", "update", asked, '--metadata={"who": "me"}', "--ttl=3")
    thread = runwire("threads", "get", asked, "--json").document
    values = ('--values={"answers": ["mine"]}', "--as-node=ask")
    checkpoint = runwire("threads", "update", asked, *values, "--json").document["checkpoint"]
    state = runwire("threads", "state", asked, "--json").document

    assert (thread["metadata"]["who"], thread["ttl"]["ttl_minutes"]) == ("me", 3)
    assert state["checkpoint"] == checkpoint
    assert state["values"]["answers"][-1] == "mine"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "give either --values, for the state, or --metadata and --ttl, for the thread"),
        (["--values={}", "--ttl=1"], "give either --values, for the state, or --metadata"),
        (["--ttl=1", "--as-node=x"], "--as-node, --checkpoint and --assistant need --values"),
    ],
)
def test_a_thread_is_changed_in_one_way_at_a_time(
    runwire: Commands, options: list[str], words: str
) -> None:
    said = runwire("threads", "update", str(uuid4()), *options)

    assert (said.exit_code, said.output) == (2, "")
    assert said.errors.startswith(words)


def test_a_copy_can_be_answered_as_the_thread_could(runwire: Commands, asked: str) -> None:
    copy = runwire("threads", "copy", asked).output.strip()

    answered = runwire("runs", "wait", "asks", "--thread", copy, "--resume=1")
    assert answered.document["answers"] == ["prepared", 1]


def test_threads_are_pruned_and_deleted(runwire: Commands, asked: str) -> None:
    unknown = str(uuid4())
    pruned = runwire("threads", "prune", asked, unknown, "--strategy=keep_latest", "--json")
    deleted = runwire("threads", "delete", asked)

    assert pruned.exit_code == 1
    assert pruned.document["pruned_count"] == 1
    assert pruned.errors.startswith(f"thread {unknown}: ")
    assert (deleted.exit_code, deleted.output) == (0, f"thread {asked} deleted\n")
    gone = runwire("threads", "get", asked)
    assert gone.errors == f"no thread has the id '{asked}' (see: runwire threads list)\n"


def test_what_happens_on_a_thread_is_followed_until_ctrl_c(
    client: SyncRunwireClient, address: str, thread_id: str
) -> None:
    following = subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "runwire.server", "threads", "stream", thread_id),
            *("--after=-", "--json", "--mode=run_modes", "--mode=lifecycle"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment({"RUNWIRE_ADDRESS": address}),
        text=True,
    )
    try:
        client.runs.wait(thread_id, "echo", input={"text": "a"})
        assert following.stdout is not None
        parts = []
        while not parts or parts[-1]["event"] != "end":
            parts.append(json.loads(following.stdout.readline()))
        os.kill(following.pid, signal.SIGINT)
        _, errors = following.communicate(timeout=60)
    finally:
        following.kill()

    assert {part["graph_id"] for part in parts if part["run_id"]} == {"echo"}
    assert (following.returncode, "Traceback" in errors) == (130, False)


@pytest.fixture
def cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream of a thread in the middle of a run, with a server that goes away and is back."""

    @contextmanager
    def connected(_: str, on_lost: Any) -> Iterator[Any]:
        def join_stream(*_: Any, **__: Any) -> Iterator[ThreadStreamPart]:
            yield ThreadStreamPart("custom", 1, None, RUN_ID, "a", "g")
            yield ThreadStreamPart("custom", 2, None, RUN_ID, "a", "g")
            on_lost(UnavailableError("gone"))
            yield ThreadStreamPart("end", {"state": "succeeded"}, None, RUN_ID, "a", "g")

        client = MagicMock()
        client.threads.join_stream = join_stream
        yield client

    monkeypatch.setattr(threads, "connected", connected)


@pytest.mark.usefixtures("cut_off")
def test_a_run_that_is_joined_in_its_middle_is_named_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    threads.stream(THREAD_ID)
    said = capsys.readouterr()
    assert said.out.splitlines()[:2] == ["1", "2"]
    assert said.err.splitlines() == [
        f"run {RUN_ID} of a",
        "the server is gone; trying to reach it again …",
        "the server is back, and the stream goes on",
        f"run {RUN_ID} succeeded",
    ]


@pytest.mark.usefixtures("cut_off")
def test_a_thread_s_stream_as_json_says_too_that_the_server_is_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    threads.stream(THREAD_ID, as_json=True)
    said = capsys.readouterr()
    assert [json.loads(line)["event"] for line in said.out.splitlines()] == [
        "custom",
        "custom",
        "end",
    ]
    assert said.err.splitlines()[1:] == ["the server is back, and the stream goes on"]
