"""`runwire runs`, through a real server."""

import json
import re
from pathlib import Path
from uuid import uuid4

import pytest
from tests.commands.conftest import Commands

from runwire.client import SyncRunwireClient

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
