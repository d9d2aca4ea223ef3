"""Each validator finds what it is there for, and nothing in a history in which all is well."""

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.history import History, Line, keep, keeping, of_kind, read_history
from tests.chaos.validators import VALIDATORS, executions_of, validate

ROOT = Path(__file__).parents[2]
SUCCEEDED = "run_ended:SUCCEEDED"


def right() -> list[Line]:
    """Return a history of three runs: two on a thread, of which the first was in two attempts
    because its server was killed, and one that was cancelled."""
    ops = itertools.count(1)
    lines: list[Line] = []

    def add(kind: str, **said: Any) -> None:
        lines.append({"kind": kind, "time": float(len(lines)), **said})

    def call(name: str, *, kind: str = "ok", asked: Line, **answer: Any) -> None:
        op = next(ops)
        add("invoke", op=op, call=name, **asked)
        add(kind, op=op, **answer)

    def create(label: str, run: str, thread: str, **answer: Any) -> None:
        request = {"label": label, "thread": thread, "request": label, "steps": 2}
        call("create", asked={**request, "expects": "SUCCEEDED"}, run=run, **answer)

    def note(what: str, run: str, step: int, at: float, attempt: int = 1, pid: int = 1) -> None:
        place = {"run": run, "step": step, "attempt": attempt, "pid": pid, "thread": "t"}
        add("note", what=what, at=at, label=run, **place)

    def row(table: str, run: str, by: str, owner: str | None, **more: Any) -> None:
        add("row", table=table, run=run, by=by, owner=owner, **{"xact": 1, **more})

    create("a", "A", "t")
    create("a", "A", "t", replayed=True)
    create("b", "B", "t")
    create("c", "C", "")
    call("cancel", asked={"run": "C"}, run="C", state="CANCELLING")
    call("cancel", asked={"run": "C"}, kind="fail", code="FAILED", reason="RUN_FINISHED")
    add("fault", do="kill", server="x", pid=1)
    lines[-1]["time"] = 2.5
    for moment, (run, step, attempt, pid) in enumerate(
        [("A", 0, 1, 1), ("A", 1, 1, 1), ("A", 1, 2, 2), ("B", 0, 1, 2), ("B", 1, 1, 2)]
    ):
        note("begin", run, step, moment + 1.0, attempt, pid)
        if (step, attempt) != (1, 1) or run != "A":
            note("end", run, step, moment + 1.9, attempt, pid)
    first = [["1-1", "attempt_started", "1"], ["1-2", "custom", "2"]]
    second = [["2-1", "attempt_started", "3"], ["2-2", SUCCEEDED, "4"]]
    tail = [["1-3", "custom", "lost with its server"]]
    add("read", op=90, reader="r", run="A", events=[*first, *tail])
    add("read", op=91, reader="r", run="A", events=second)
    states = {"A": ("SUCCEEDED", 2), "B": ("SUCCEEDED", 1), "C": ("CANCELLED", 1)}
    for run, (state, attempt) in states.items():
        kept = {"thread": "" if run == "C" else "t", "label": run.lower(), "attempt": attempt}
        cause = "CLIENT" if run == "C" else ""
        add("run", run=run, state=state, error="", output=None, cause=cause, **kept)
    add("log", run="A", events=[*first, *second])
    add("log", run="B", events=[["1-1", "attempt_started", "5"], ["1-2", SUCCEEDED, "6"]])
    add("log", run="C", events=[["0-1", "run_ended:CANCELLED", "7"]])
    add("thread", thread="t", runs=["A", "B"], done=["a.0", "a.1", "b.0", "b.1"])
    row("runs", "A", by="x", owner=None, state="running", expired=False)
    row("checkpoints", "A", by="x", owner="x")
    row("runs", "A", by="y", owner="x", state="cancelling", expired=False)
    row("runs", "A", by="y", owner="x", state="pending", expired=True)
    row("runs", "A", by="y", owner="y", state="succeeded", expired=False, xact=7)
    row("run_events", "A", by="y", owner=None, xact=7)
    return [json.loads(json.dumps(line)) for line in lines]  # lines share nothing


class Wrong:
    """A history made wrong, a line at a time."""

    def __init__(self) -> None:
        self.lines = right()

    def of(self, kind: str, **said: Any) -> Line:
        """Return the first line that says all that."""
        return next(line for line in of_kind(self.lines, kind) if said.items() <= line.items())

    def change(self, kind: str, changes: Line, **said: Any) -> "Wrong":
        self.of(kind, **said).update(changes)
        return self

    def drop(self, kind: str, **said: Any) -> "Wrong":
        self.lines.remove(self.of(kind, **said))
        return self

    def add(self, like: Line, **changes: Any) -> "Wrong":
        self.lines.append({**like, **changes})
        return self


def test_nothing_is_wrong_with_a_history_in_which_all_is_well() -> None:
    assert validate(right()) == {}
    assert list(VALIDATORS) == [f"V{number}" for number in range(1, 9)]


def test_an_accepted_run_that_is_gone_is_found() -> None:
    wrong = Wrong().drop("run", run="B").drop("log", run="B")
    wrong.change("thread", {"runs": ["A"]})
    assert validate(wrong.lines)["V1"] == ["run B was accepted and is not there"]


def test_an_accepted_run_that_does_not_end_is_found() -> None:
    wrong = Wrong().change("run", {"state": "PENDING"}, run="B")
    assert validate(wrong.lines)["V1"] == ["run B was accepted and is PENDING"]


@pytest.mark.parametrize(
    "events",
    [
        [["1-1", "attempt_started", "5"]],
        [["1-1", "run_ended:FAILED", "5"]],
        [["1-1", SUCCEEDED, "5"], ["1-2", SUCCEEDED, "6"]],
        [["1-1", SUCCEEDED, "5"], ["1-2", "custom", "6"]],
    ],
    ids=["none", "another", "two", "early"],
)
def test_a_run_whose_log_does_not_have_its_one_end_is_found(events: list[list[str]]) -> None:
    wrong = Wrong().change("log", {"events": events}, run="B")
    assert len(validate(wrong.lines)["V2"]) == 1


def test_a_reader_who_was_told_of_another_end_is_found() -> None:
    wrong = Wrong().change("read", {"events": [["2-1", "run_ended:FAILED", "9"]]}, op=91)
    assert "was told run_ended:FAILED" in validate(wrong.lines)["V2"][0]


@pytest.mark.parametrize(
    ("ids", "problem"),
    [
        (["1-2", "1-3"], "lacks what is between (0, 0) and (1, 2)"),
        (["1-1", "1-2", "1-2"], "has (1, 2) after (1, 2)"),
        (["1-2", "1-1"], "has (1, 1) after (1, 2)"),
        (["1-1", "2-1"], "event 1-2 was not seen"),
        (["1-1", "1-2", "2-1", "2-2", "2-3"], "event 2-3 was seen and is not in the log"),
    ],
    ids=["gap", "twice", "order", "lost", "invented"],
)
def test_a_stream_that_is_not_the_log_is_found(ids: list[str], problem: str) -> None:
    wrong = Wrong()
    known = {event[0]: event for event in wrong.of("log", run="A")["events"]}
    events = [known.get(event_id, [event_id, "custom", "0"]) for event_id in ids]
    wrong.drop("read", op=91).change("read", {"events": events}, op=90)
    assert any(problem in sentence for sentence in validate(wrong.lines)["V3"])


def test_an_event_that_changed_is_found() -> None:
    wrong = Wrong()
    wrong.of("read", op=91)["events"][0][2] = "changed"
    assert "event 2-1 is" in validate(wrong.lines)["V3"][0]


def test_a_log_with_a_gap_is_found() -> None:
    wrong = Wrong()
    del wrong.of("log", run="B")["events"][0]
    assert "a log lacks what is between" in validate(wrong.lines)["V3"][0]


def test_runs_of_a_thread_that_overlap_are_found() -> None:
    wrong = Wrong().change("note", {"at": 3.5}, what="begin", run="B", step=0)
    assert "began before superstep 1 of run A" in validate(wrong.lines)["V4"][0]


def test_a_superstep_without_an_end_lasts_until_its_process_is_killed() -> None:
    wrong = Wrong().change("fault", {"time": 3.5}, do="kill")
    assert "in attempt 2 began before superstep 1" in validate(wrong.lines)["V4"][0]


def test_runs_of_a_thread_that_do_not_follow_their_order_are_found() -> None:
    wrong = Wrong()
    for note in of_kind(wrong.lines, "note"):
        note["at"] -= 10 if note["run"] == "B" else 0
    said = validate(wrong.lines)["V4"]
    assert said == ["run B executed before run A, which had been created before"]


def test_runs_that_were_created_at_the_same_time_may_come_in_either_order() -> None:
    wrong = Wrong()
    for note in of_kind(wrong.lines, "note"):
        note["at"] -= 10 if note["run"] == "B" else 0
    wrong.change("invoke", {"time": 0.5}, label="b")
    assert "V4" not in validate(wrong.lines)


def test_runs_of_a_thread_that_alternate_are_found() -> None:
    wrong = Wrong()
    late = wrong.of("note", what="begin", run="A", step=1)
    wrong.add(late, at=9.0, attempt=3, pid=2)
    assert "went from run to run and back: ['A', 'B', 'A']" in validate(wrong.lines)["V4"][0]


def test_what_a_halted_process_does_too_late_is_nobody_s_fault() -> None:
    wrong = Wrong().change("fault", {"do": "stop"}, do="kill")
    assert validate(wrong.lines) == {}
    late = wrong.of("note", what="begin", run="A", step=1, attempt=1)
    wrong.add(late, what="end", at=3.5)
    assert validate(wrong.lines) == {}
    assert len(executions_of(wrong.lines)) == 4


def test_a_request_that_made_two_runs_is_found() -> None:
    wrong = Wrong().change("ok", {"run": "B"}, op=2)
    assert validate(wrong.lines)["V5"] == ["request a was answered with ['A', 'B']"]


def test_a_run_that_was_made_twice_is_found() -> None:
    wrong = Wrong()
    wrong.add(wrong.of("run", run="B"), run="B2")
    assert validate(wrong.lines)["V5"] == ["b was made 2 times"]


def test_an_accepted_cancel_that_did_not_stand_is_found() -> None:
    wrong = Wrong().change("run", {"state": "FAILED"}, run="C")
    assert validate(wrong.lines)["V6"] == ["run C was cancelled, and is FAILED"]


def test_a_refused_cancel_that_cancelled_is_found() -> None:
    wrong = Wrong().change("ok", {"kind": "fail", "reason": "RUN_FINISHED"}, state="CANCELLING")
    assert validate(wrong.lines)["V6"] == ["run C is cancelled, and every cancel was refused"]


def test_a_cancel_that_nobody_wanted_is_found() -> None:
    wrong = Wrong().change("run", {"state": "CANCELLED"}, run="B")
    assert validate(wrong.lines)["V6"] == ["run B is cancelled, and nobody wanted that"]
    wrong.change("run", {"cause": "MULTITASK"}, run="B")
    assert "V6" not in validate(wrong.lines)


def test_a_run_that_ended_otherwise_is_found() -> None:
    wrong = Wrong().change("run", {"state": "FAILED", "error": "ValueError"}, run="B")
    assert validate(wrong.lines)["V7"][0] == "run B is FAILED (ValueError), not SUCCEEDED"


@pytest.mark.parametrize(
    "done",
    [
        ["a.0", "a.1", "b.0"],
        ["a.0", "a.1", "a.1", "b.0", "b.1"],
        ["b.0", "b.1", "a.0", "a.1"],
        ["a.0", "a.1", "b.0", "b.1", "c.0"],
    ],
    ids=["less", "twice", "order", "more"],
)
def test_a_thread_that_came_to_something_else_is_found(done: list[str]) -> None:
    assert "V7" in validate(Wrong().change("thread", {"done": done}).lines)


def test_a_cancelled_run_may_leave_its_first_supersteps() -> None:
    wrong = Wrong().change("run", {"state": "CANCELLED", "cause": "MULTITASK"}, run="A")
    for left in ([], ["a.0"], ["a.0", "a.1"]):
        wrong.change("thread", {"done": [*left, "b.0", "b.1"]})
        assert "V7" not in validate(wrong.lines)
    wrong.change("thread", {"done": ["a.1", "b.0", "b.1"]})
    assert "V7" in validate(wrong.lines)


def test_a_stateless_run_that_returned_something_else_is_found() -> None:
    wrong = Wrong().change("run", {"state": "SUCCEEDED", "output": ["c.0"]}, run="C")
    wrong.drop("ok", state="CANCELLING")
    assert "run C returned ['c.0']" in validate(wrong.lines)["V7"][0]


def test_a_superstep_that_need_not_have_been_executed_again_is_found() -> None:
    wrong = Wrong()
    first = wrong.of("note", what="begin", run="A", step=0)
    wrong.add(first, attempt=2, at=2.6, pid=2)
    assert "came after superstep 1" in validate(wrong.lines)["V7"][0]


@pytest.mark.parametrize(
    ("line", "changes"),
    [
        ({"table": "checkpoints"}, {"by": "z"}),
        ({"table": "checkpoints"}, {"owner": None}),
        ({"table": "run_events"}, {"xact": 8}),
        ({"table": "run_events"}, {"owner": "x"}),
        ({"state": "pending"}, {"expired": False}),
        ({"state": "succeeded"}, {"owner": "x"}),
    ],
    ids=["another", "nobody's", "after the end", "former", "early sweep", "late end"],
)
def test_a_row_of_somebody_who_does_not_own_the_run_is_found(line: Line, changes: Line) -> None:
    wrong = Wrong().change("row", changes, **line)
    assert len(validate(wrong.lines)["V8"]) == 1


def fail_with(history: History) -> None:
    with keeping(history, "name"):
        history.add("run", run="A", state="CANCELLED", label="a", thread="t", cause="", output=None)
        raise AssertionError("as intended")


def test_a_failing_history_is_kept_and_can_be_checked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNWIRE_CHAOS_HISTORIES", str(tmp_path / "kept"))
    history = History(tmp_path / "history.jsonl")
    with pytest.raises(AssertionError) as caught:
        fail_with(history)
    [file] = (tmp_path / "kept").iterdir()
    assert str(file) in caught.value.__notes__[0]
    assert read_history(file) == history.lines

    checked = subprocess.run(
        [sys.executable, "-m", "tests.chaos.validate", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 1
    assert "V6: run A is cancelled, and nobody wanted that" in checked.stdout


def test_a_history_without_fault_is_found_right(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("RUNWIRE_CHAOS_HISTORIES", str(tmp_path / "kept"))
    history = History(tmp_path / "history.jsonl")
    for line in right():
        history.add(**line)
    history.close()
    file = keep(history, "right")
    checked = subprocess.run(
        [sys.executable, "-m", "tests.chaos.validate", str(file)], cwd=ROOT, capture_output=True
    )
    assert checked.returncode == 0
