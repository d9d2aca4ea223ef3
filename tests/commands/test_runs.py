"""`runwire runs`, through a real server."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from tests.commands.conftest import Commands
from tests.support.environments import clean_environment

from runwire.client import SyncRunwireClient
from runwire.client.sync.runs import SyncRunsClient
from runwire.commands import runs
from runwire.commands.printer import Printer
from runwire.commands.status import StatusLine

NOBODY = "127.0.0.1:9"


def test_a_run_s_words_are_printed_as_text(runwire: Commands) -> None:
    said = runwire("runs", "stream", "messages", '--input={"say": "Hello there."}')

    assert (said.exit_code, said.output) == (0, "Hello there.\n")
    assert said.errors.endswith(" succeeded\n")


def test_who_starts_a_run_is_told_at_once_how_to_follow_it(runwire: Commands) -> None:
    said = runwire("runs", "stream", "echo", '--input={"text": "a"}')
    run_id = said.errors.split()[1].rstrip(";")

    assert said.errors.splitlines() == [
        f"run {run_id}; to follow it elsewhere: runwire runs join {run_id}",
        f"run {run_id} succeeded",
    ]
    joined = runwire("runs", "join", run_id)
    assert joined.output == said.output
    assert joined.exit_code == 0


def test_the_command_to_follow_a_run_has_the_address_that_was_given(runwire: Commands) -> None:
    nowhere = {"RUNWIRE_ADDRESS": NOBODY}
    here = ("--address", runwire.address)
    said = runwire("runs", "stream", "echo", '--input={"text": "a"}', *here, environment=nowhere)

    assert said.errors.splitlines()[0].endswith(f" --address {runwire.address}")


def test_a_run_s_own_events_are_printed_a_line_each(runwire: Commands) -> None:
    said = runwire("runs", "stream", "custom_events", '--input={"count": 2}')

    assert said.lines == [{"index": 0, "text": ""}, {"index": 1, "text": ""}]


def test_a_run_that_says_nothing_shows_the_state_it_left(runwire: Commands) -> None:
    said = runwire("runs", "stream", "echo", '--input={"text": "ü"}')

    assert said.document == {"text": "ü", "answer": "ü"}


def test_a_stream_as_json_has_a_line_for_each_part_and_nothing_else(runwire: Commands) -> None:
    said = runwire("runs", "stream", "custom_events", '--input={"count": 2}', "--json")

    kinds = [line["event"] for line in said.lines]
    assert kinds[0] == "metadata"
    assert kinds[-1] == "end"
    assert kinds.count("custom") == 2
    assert all(line.keys() == {"event", "data", "id"} for line in said.lines)


def test_modes_are_chosen_one_by_one(runwire: Commands) -> None:
    said = runwire("runs", "stream", "echo", '--input={"text": "a"}', "--mode", "updates")

    assert said.output.startswith("updates ")
    parts = runwire("runs", "stream", "echo", '--input={"text": "a"}', "--mode=tasks", "--json")
    assert {line["event"] for line in parts.lines} == {"metadata", "tasks", "end"}


def test_a_question_is_printed_and_can_be_answered(runwire: Commands) -> None:
    asked = runwire("runs", "stream", "asks", "--thread=new", "--input={}")
    thread_id = asked.errors.split()[1]
    answered = runwire("runs", "stream", "asks", f"--thread={thread_id}", '--resume="yes"')

    assert asked.exit_code == 0
    assert asked.document == {"question": "go on?"}
    assert asked.errors.splitlines()[-2].endswith(" interrupted")
    assert asked.errors.splitlines()[-1] == (
        f"to answer: runwire runs stream asks --thread {thread_id} --resume JSON"
    )
    assert answered.document["answers"] == ["prepared", "yes"]


def test_questions_asked_together_are_answered_by_their_ids(
    runwire: Commands, thread_id: str
) -> None:
    runwire("runs", "stream", "asks", f"--thread={thread_id}", "--input={}")
    (question,) = runwire("threads", "get", thread_id, "--json").document["interrupts"]
    answer = json.dumps({question: "by id"})
    answered = runwire("runs", "wait", "asks", f"--thread={thread_id}", f"--resume={answer}")

    assert answered.document["answers"] == ["prepared", "by id"]


@pytest.mark.parametrize("command", ["stream", "wait"])
def test_several_questions_are_told_with_the_ids_that_their_answers_need(
    runwire: Commands, thread_id: str, command: str
) -> None:
    asked = runwire("runs", command, "asks_twice", f"--thread={thread_id}", "--input={}")
    questions = asked.lines if command == "stream" else asked.document["__interrupt__"]
    ids = [question["id"] for question in questions]
    hint = asked.errors.splitlines()[-1].partition(" runwire ")[2]
    answered = runwire(*shlex.split(hint.replace("JSON", '"yes"')))

    assert {question["value"]["question"] for question in questions} == {"go on?", "and you?"}
    assert len(set(ids)) == 2
    assert all(interrupt_id in hint for interrupt_id in ids)
    assert answered.document["answers"] == ["yes", "yes"]


@pytest.mark.parametrize("command", ["stream", "wait"])
@pytest.mark.parametrize(("options", "wish"), [([], "cancel"), (["--keep"], "continue")])
def test_a_run_ends_with_its_command_unless_it_is_kept(
    runwire: Commands, monkeypatch: pytest.MonkeyPatch, command: str, options: list[str], wish: str
) -> None:
    asked: list[Any] = []
    stream = SyncRunsClient.stream

    def listening(*given: Any, **named: Any) -> Any:
        asked.append(named["on_disconnect"])
        return stream(*given, **named)

    monkeypatch.setattr(SyncRunsClient, "stream", listening)

    assert runwire("runs", command, "echo", "--input={}", *options).exit_code == 0
    assert asked == [wish]


@pytest.mark.parametrize(
    ("options", "state", "words"),
    [([], "cancelled", "is cancelled (--keep lets it go on)"), (["--keep"], "running", "goes on")],
)
def test_a_reader_that_leaves_is_told_in_a_sentence_what_becomes_of_the_run(
    address: str, client: SyncRunwireClient, options: list[str], state: str, words: str
) -> None:
    command = subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "runwire.server", "runs", "stream", "custom_events"),
            *("--input", '{"count": 1000, "delay": 0.1}', *options),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment({"RUNWIRE_ADDRESS": address}),
    )
    assert command.stdout is not None
    assert command.stderr is not None
    command.stdout.readline()
    command.stdout.close()
    errors = command.stderr.read()
    code = command.wait(30)
    command.stderr.close()
    run_id = errors.split()[1].rstrip(";")
    if not options:
        client.runs.join(None, run_id)

    assert code == 1
    assert errors.splitlines()[1:] == [f"nobody reads the output any more; run {run_id} {words}"]
    assert client.runs.get(None, run_id)["state"] == state
    if options:
        client.runs.cancel(None, run_id)


class Abandoning:
    """A client whose server has given a run's code up."""

    runs: "Abandoning"

    def __init__(self, *, hangs: bool = False) -> None:
        self.runs = self
        self._hangs = hangs

    def get(self, _thread_id: None, run_id: str) -> dict[str, Any]:
        return {"run_id": run_id, "state": "cancelled", "cancel": {"abandoned": True}}

    def cancel(self, _thread_id: None, _run_id: str, *, wait: bool) -> None:
        if self._hangs:
            raise KeyboardInterrupt

    def cancel_many(self, *, run_ids: list[str], **_given: Any) -> list[dict[str, Any]]:
        return [{"run_id": each, "reason": "", "run": self.get(None, each)} for each in run_ids]


NOT_STOPPED = (
    "run r: its code did not stop in time and may still be running; what it does from now on does "
    "not count"
)


def test_a_cancel_that_left_code_behind_says_so(
    runwire: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "connected", lambda _address: nullcontext(Abandoning()))
    said = runwire("runs", "cancel", "r", "--wait")

    assert (said.exit_code, said.output) == (0, "run r cancelled\n")
    assert said.errors == f"{NOT_STOPPED}\n"


@pytest.mark.parametrize(
    ("hangs", "last"),
    [
        (False, ["run r cancelled", NOT_STOPPED]),
        (True, ["left before run r was known to be cancelled: it may go on"]),
    ],
)
def test_ctrl_c_says_what_became_of_the_run_as_far_as_it_is_known(
    capsys: pytest.CaptureFixture[str], hangs: bool, last: list[str]
) -> None:
    def parts() -> Iterator[Any]:
        yield SimpleNamespace(event="metadata", data={"run_id": "r", "state": "running"}, id="1")
        raise KeyboardInterrupt

    client: Any = Abandoning(hangs=hangs)
    status = StatusLine()
    with pytest.raises(KeyboardInterrupt):
        runs._attend(client, parts(), Printer(status), status, keep=False)

    said = capsys.readouterr().err.splitlines()
    assert said == ["cancelling run r …; Ctrl-C again to leave", *last]


def test_an_answer_needs_the_thread_that_has_asked(runwire: Commands) -> None:
    for thread in ([], ["--thread=new"]):
        said = runwire("runs", "stream", "asks", "--resume=1", *thread)
        assert (said.exit_code, said.output) == (2, "")
        assert said.errors == "--resume needs --thread: give the thread whose run has asked\n"


def test_an_answer_to_a_thread_that_is_not_there_makes_none(runwire: Commands) -> None:
    thread_id = str(uuid4())
    said = runwire("runs", "stream", "asks", f"--thread={thread_id}", "--resume=1")

    assert said.exit_code == 2
    assert said.errors == f"no thread has the id '{thread_id}' (see: runwire threads list)\n"


def test_a_run_that_fails_says_why(runwire: Commands) -> None:
    said = runwire("runs", "stream", "fails", '--input={"message": "no luck"}')

    assert (said.exit_code, said.output) == (1, "")
    assert said.errors.endswith(" failed: ValueError: no luck (in node fail)\n")


def test_waiting_prints_the_output_alone(runwire: Commands) -> None:
    said = runwire("runs", "wait", "messages", '--input={"say": "Hello."}')

    assert said.exit_code == 0
    assert said.document["messages"][-1]["content"] == "Hello."


def test_waiting_for_a_run_that_fails_prints_why(runwire: Commands) -> None:
    said = runwire("runs", "wait", "fails", '--input={"message": "no luck"}')

    assert said.exit_code == 1
    assert said.document["__error__"]["message"] == "no luck"


def test_a_run_in_the_background_prints_its_id(runwire: Commands) -> None:
    created = runwire("runs", "create", "echo", '--input={"text": "a"}')
    run_id = created.output.strip()
    output = runwire("runs", "join", run_id, "--output")

    assert re.fullmatch(r"[0-9a-f-]{36}", run_id)
    assert f"runwire runs join {run_id}" in created.errors
    assert output.document == {"text": "a", "answer": "a"}
    assert runwire("runs", "create", "echo", "--input={}", "--json").document["state"]


def test_a_run_is_shown_as_lines_and_as_json(runwire: Commands) -> None:
    run_id = runwire("runs", "create", "echo", '--input={"text": "a"}').output.strip()
    runwire("runs", "join", run_id)
    shown = runwire("runs", "get", run_id)

    assert re.search(r"^state +succeeded$", shown.output, re.M)
    assert runwire("runs", "get", run_id, "--json").document["run_id"] == run_id


def test_runs_are_listed_with_filters(runwire: Commands, thread_id: str) -> None:
    for text in ("a", "b"):
        runwire("runs", "wait", "echo", f'--input={{"text": "{text}"}}', "--thread", thread_id)
    table = runwire("runs", "list", "--thread", thread_id)
    found = runwire("runs", "list", "--thread", thread_id, "--limit=1", "--order=asc", "--json")
    none = runwire("runs", "list", "--thread", thread_id, "--status=error")

    header, newest, oldest = (line.split()[:3] for line in table.output.splitlines())
    assert header == ["run", "state", "graph"]
    assert newest[1:] == ["succeeded", "echo"]
    assert [run["run_id"] for run in found.document] == oldest[:1]
    assert (none.exit_code, none.output, none.errors) == (0, "", "no runs\n")
    assert runwire("runs", "list", "--since=2999-01-01", "--json").document == []


def test_runs_are_cancelled_by_id_and_by_thread(runwire: Commands, thread_id: str) -> None:
    on_thread = ("--thread", thread_id, '--input={"seconds": 30}')
    run_id = runwire("runs", "create", "slow_async", *on_thread).output.strip()
    cancelled = runwire("runs", "cancel", run_id, "--wait")
    again = runwire("runs", "cancel", run_id)
    none = runwire("runs", "cancel", "--thread", thread_id, "--json")

    assert (cancelled.exit_code, cancelled.output) == (0, f"run {run_id} cancelled\n")
    assert again.exit_code == 1
    assert again.errors.startswith(f"run {run_id}: ")
    assert (none.exit_code, none.document) == (0, [])


def test_cancelling_nothing_in_particular_is_refused(runwire: Commands) -> None:
    said = runwire("runs", "cancel")

    assert (said.exit_code, said.output) == (2, "")
    assert said.errors == "name runs, or say which with --thread, --assistant or --status\n"


def test_runs_that_have_ended_are_deleted(runwire: Commands, thread_id: str) -> None:
    run = runwire("runs", "create", "echo", "--input={}", "--thread", thread_id).output.strip()
    runwire("runs", "join", run)
    deleted = runwire("runs", "delete", run, "--json")

    assert deleted.document == {"deleted": [run]}
    gone = runwire("runs", "get", run)
    assert (gone.exit_code, gone.output) == (2, "")
    assert "(see: runwire runs list)" in gone.errors


def test_an_input_is_read_from_a_file_or_from_standard_input(
    runwire: Commands, tmp_path: Path
) -> None:
    file = tmp_path / "input.json"
    file.write_text('{"text": "from a file"}')

    assert runwire("runs", "wait", "echo", f"--input=@{file}").document["text"] == "from a file"
    piped = runwire("runs", "wait", "echo", "--input=-", given='{"text": "piped"}')
    assert piped.document["text"] == "piped"


def test_what_a_run_takes_reaches_it(runwire: Commands, client: SyncRunwireClient) -> None:
    run_id = runwire(
        *("runs", "create", "slow_async", "--delay=3600", "--priority=5", "--timeout=9"),
        *('--metadata={"who": "me"}', '--config={"tags": ["t"]}', "--interrupt-before=wait"),
        *("--multitask=reject", "--durability=exit", "--on-completion=keep"),
    ).output.strip()
    run = client.runs.get(None, run_id)
    client.runs.cancel(None, run_id)

    assert (run["state"], run["priority"], run["metadata"]["who"]) == ("pending", 5, "me")
    assert run["multitask_strategy"] == "reject"
    arguments = run["kwargs"]  # type: ignore[typeddict-item]
    assert arguments["interrupt_before"] == ["wait"]
    assert arguments["config"]["tags"] == ["t"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense", "--input={}"], "no assistant and no graph has the id 'nonsense'; graphs: "),
        (["echo", "--input={"], "--input is not JSON: "),
        (
            ["echo", "--input=yes"],
            "--input is not JSON: Expecting value: line 1 column 1 (char 0); a text is written as "
            "'\"yes\"'",
        ),
        (["echo", "--input=@nowhere.json"], "--input: nowhere.json cannot be read: No such file"),
        (["echo", "--context=[]"], "--context must be a JSON object"),
        (["echo", "--input={}", "--goto=x"], "--input and --resume, --update or --goto: "),
        (["echo", "--thread=mine"], "spec.thread_id: is not a UUID"),
        (["echo", "--address", NOBODY], f"no answer from a Runwire server at {NOBODY}; "),
        (["echo", "--config", '{"x": 1}'], "config: 'x' is not among tags, "),
    ],
)
@pytest.mark.parametrize("command", ["stream", "wait", "create"])
def test_a_call_that_cannot_be_made_says_why_in_a_sentence(
    runwire: Commands, command: str, arguments: list[str], words: str
) -> None:
    said = runwire("runs", command, *arguments)

    assert (said.exit_code, said.output) == (2, "")
    assert said.errors.startswith(words)
    assert len(said.errors.splitlines()) == 1
