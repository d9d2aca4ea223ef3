"""What must hold whatever was done to the servers, judged by the history alone.

Each validator takes the lines of a history and returns what it finds wrong, a sentence each.
"""

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from tests.chaos.history import Line, of_kind

FINAL = frozenset({"SUCCEEDED", "FAILED", "INTERRUPTED", "TIMED_OUT", "CANCELLED"})

Validator = Callable[[Sequence[Line]], list[str]]


class Call(NamedTuple):
    """A call as its caller made it, and how it ended; None if nobody was told."""

    asked: Line
    answer: Line | None

    @property
    def is_ok(self) -> bool:
        return self.answer is not None and self.answer["kind"] == "ok"


def calls_of(lines: Sequence[Line], name: str) -> list[Call]:
    """Return the calls of one kind, in the order in which they were made."""
    answers = {line["op"]: line for line in lines if line["kind"] in ("ok", "fail")}
    asked = [line for line in of_kind(lines, "invoke") if line["call"] == name]
    return [Call(line, answers.get(line["op"])) for line in asked]


def runs_of(lines: Sequence[Line]) -> dict[str, Line]:
    """Return the runs that were there at the end, by id."""
    return {line["run"]: line for line in of_kind(lines, "run")}


# ------------------------------------------------------------------------------------- V1 and V2


def accepted_runs_end(lines: Sequence[Line]) -> list[str]:
    """V1: a run whose creation was acknowledged is there, and has ended."""
    runs = runs_of(lines)
    wrong = []
    for call in calls_of(lines, "create"):
        if call.is_ok and call.answer is not None:
            run = runs.get(call.answer["run"])
            if run is None:
                wrong.append(f"run {call.answer['run']} was accepted and is not there")
            elif run["state"] not in FINAL:
                wrong.append(f"run {run['run']} was accepted and is {run['state']}")
    return wrong


def runs_end_once(lines: Sequence[Line]) -> list[str]:
    """V2: a run has one end, which its row, its log and every reader agree on."""
    runs = runs_of(lines)
    wrong = []
    for log in of_kind(lines, "log"):
        run, kinds = runs[log["run"]], [kind for _, kind, _ in log["events"]]
        ends = [kind for kind in kinds if kind.startswith("run_ended")]
        if ends != kinds[-1:] or ends != [f"run_ended:{run['state']}"]:
            wrong.append(f"run {run['run']} is {run['state']}, and its log ends {ends}")
    for read in of_kind(lines, "read"):
        for _, kind, _ in read["events"]:
            state = runs[read["run"]]["state"] if read["run"] in runs else "not there"
            if kind.startswith("run_ended") and kind != f"run_ended:{state}":
                wrong.append(f"a reader of run {read['run']} was told {kind}, and it is {state}")
    return wrong


# ------------------------------------------------------------------------------------------- V3


def place_of(event_id: str) -> tuple[int, int]:
    """Return an event's attempt and index."""
    attempt, _, index = event_id.partition("-")
    return int(attempt), int(index)


def streams_are_whole(lines: Sequence[Line]) -> list[str]:
    """V3: what a reader got, over all its connections, is in order, has nothing twice, and leaves
    out nothing that the log has. The log has all of it, but for the tail of an attempt that was
    lost with its server."""
    logs = {line["run"]: line["events"] for line in of_kind(lines, "log")}
    read: dict[tuple[str, str], list[list[str]]] = defaultdict(list)
    for line in of_kind(lines, "read"):
        read[line["reader"], line["run"]] += line["events"]
    wrong = [problem for log in of_kind(lines, "log") for problem in _gaps(log["events"], "a log")]
    for (reader, run), events in read.items():
        found = _gaps(events, f"reader {reader}") + _differences(events, logs.get(run, []))
        wrong += [f"{problem} (run {run}, reader {reader})" for problem in found]
    return wrong


def _gaps(events: list[list[str]], whose: str) -> list[str]:
    wrong = []
    places = [(0, 0), *(place_of(event[0]) for event in events)]
    for before, after in itertools.pairwise(places):
        if after <= before:
            wrong.append(f"{whose} has {after} after {before}")
        elif after[1] != (before[1] + 1 if after[0] == before[0] else 1):
            wrong.append(f"{whose} lacks what is between {before} and {after}")
    return wrong


def _differences(seen: list[list[str]], log: list[list[str]]) -> list[str]:
    stored = {event[0]: event for event in log}
    last_stored: dict[int, int] = {}
    for event_id in stored:
        attempt, index = place_of(event_id)
        last_stored[attempt] = max(index, last_stored.get(attempt, 0))
    last_attempt = max(last_stored, default=0)
    wrong = []
    for event in seen:
        attempt, index = place_of(event[0])
        if event[0] in stored:
            if stored[event[0]] != event:
                wrong.append(f"event {event[0]} is {stored[event[0]]}, and was {event}")
        elif attempt >= last_attempt or index <= last_stored.get(attempt, 0):
            wrong.append(f"event {event[0]} was seen and is not in the log")
    ids = {event[0] for event in seen}
    until = max((place_of(event_id) for event_id in ids), default=(0, 0))
    lost = [event_id for event_id in stored if event_id not in ids and place_of(event_id) <= until]
    return wrong + [f"event {event_id} was not seen" for event_id in lost]


# ------------------------------------------------------------------------------------------- V4


class Execution(NamedTuple):
    """A superstep that was executed, from its begin to its end, as far as is known."""

    begin: float
    end: float
    note: Line


NOTICE_SECONDS = 3.0
"""How long after it was halted a server may take to notice that its runs are no longer its own."""


def executions_of(lines: Sequence[Line]) -> list[Execution]:
    """Return the supersteps that were executed, in the order of their begins. One without an end
    lasted until its process was killed. What a process was at while it was halted, in an attempt
    that another one followed, is left out: nobody can take that from it, only its effect."""
    faults = of_kind(lines, "fault")
    killed = {fault["pid"]: fault["time"] for fault in faults if fault["do"] == "kill"}
    notes = sorted(of_kind(lines, "note"), key=lambda note: note["at"])
    last: dict[str, int] = defaultdict(int)
    for note in notes:
        last[note["run"]] = max(last[note["run"]], note["attempt"])
    ends = {_key(note): note["at"] for note in notes if note["what"] != "begin"}
    halts = _halts(faults)
    found = []
    for note in notes:
        if note["what"] == "begin":
            end = ends.get(_key(note), killed.get(note["pid"], note["at"]))
            was_halted = any(
                halt < end and note["at"] < noticed for halt, noticed in halts[note["pid"]]
            )
            if not was_halted or note["attempt"] == last[note["run"]]:
                found.append(Execution(note["at"], end, note))
    return found


def _halts(faults: Iterable[Line]) -> dict[int, list[tuple[float, float]]]:
    """Return when each process was halted, and by when it has noticed that it was."""
    halts: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for fault in faults:
        if fault["do"] == "stop":
            halts[fault["pid"]].append((fault["time"], math.inf))
        elif fault["do"] == "cont":
            halts[fault["pid"]][-1] = (halts[fault["pid"]][-1][0], fault["time"] + NOTICE_SECONDS)
    return halts


def _key(note: Line) -> tuple[str, int, int, int]:
    return note["run"], note["attempt"], note["step"], note["pid"]


def threads_take_turns(lines: Sequence[Line]) -> list[str]:
    """V4: runs of one thread never overlap, and follow each other in the order of creation. Those
    whose creation overlapped, too, may come in either order."""
    by_thread: dict[str, list[Execution]] = defaultdict(list)
    for execution in executions_of(lines):
        by_thread[execution.note["thread"]].append(execution)
    created = _creations(lines)
    wrong = []
    for thread in of_kind(lines, "thread"):
        executions = by_thread[thread["thread"]]
        wrong += [f"{problem} (thread {thread['thread']})" for problem in _overlaps(executions)]
        turns = [run for run, _ in itertools.groupby(each.note["run"] for each in executions)]
        if len(turns) > len(set(turns)):
            wrong.append(f"thread {thread['thread']} went from run to run and back: {turns}")
        wrong += [
            f"run {first} executed before run {second}, which had been created before"
            for first, second in itertools.combinations(turns, 2)
            if {first, second} <= created.keys() and created[second].answered < created[first].asked
        ]
    return wrong


class Creation(NamedTuple):
    """When a run was first asked for, and when it was first acknowledged."""

    asked: float
    answered: float


def _creations(lines: Sequence[Line]) -> dict[str, Creation]:
    asked: dict[str, float] = {}
    answered: dict[str, float] = {}
    for call in calls_of(lines, "create"):
        asked.setdefault(call.asked["label"], call.asked["time"])
        if call.is_ok and call.answer is not None:
            answered.setdefault(call.asked["label"], call.answer["time"])
    return {
        run["run"]: Creation(
            asked.get(run["label"], -math.inf), answered.get(run["label"], math.inf)
        )
        for run in of_kind(lines, "run")
    }


def _overlaps(executions: Iterable[Execution]) -> list[str]:
    wrong = []
    latest: Execution | None = None
    for each in executions:
        if latest is not None and each.begin < latest.end:
            wrong.append(f"{_said(each)} began before {_said(latest)} was over")
        if latest is None or each.end > latest.end:
            latest = each
    return wrong


def _said(execution: Execution) -> str:
    note = execution.note
    return f"superstep {note['step']} of run {note['run']} in attempt {note['attempt']}"


# ------------------------------------------------------------------------------------- V5 and V6


def requests_make_one_run(lines: Sequence[Line]) -> list[str]:
    """V5: however often a request is sent, and to whomever, it makes one run."""
    answered: dict[str, set[str]] = defaultdict(set)
    for call in calls_of(lines, "create"):
        if call.is_ok and call.answer is not None and call.asked["request"]:
            answered[call.asked["request"]].add(call.answer["run"])
    made: dict[str, set[str]] = defaultdict(set)
    for run in of_kind(lines, "run"):
        made[run["label"]].add(run["run"])
    wrong = [
        f"request {request} was answered with {sorted(runs)}"
        for request, runs in answered.items()
        if len(runs) > 1
    ]
    return wrong + [
        f"{label} was made {len(runs)} times" for label, runs in made.items() if len(runs) > 1
    ]


def cancels_count(lines: Sequence[Line]) -> list[str]:
    """V6: a cancel that was accepted stands; one that was refused found the run ended, unless an
    earlier try had been accepted; and nothing is cancelled that nobody wanted to cancel."""
    runs = runs_of(lines)
    tries: dict[str, list[Call]] = defaultdict(list)
    for call in calls_of(lines, "cancel"):
        tries[call.asked["run"]].append(call)
    wrong = []
    for run in runs.values():
        mine = tries[run["run"]]
        is_cancelled = run["state"] == "CANCELLED"
        if any(call.is_ok for call in mine) and not is_cancelled:
            wrong.append(f"run {run['run']} was cancelled, and is {run['state']}")
        if is_cancelled and not mine and run["cause"] != "MULTITASK":
            wrong.append(f"run {run['run']} is cancelled, and nobody wanted that")
        refused = [call for call in mine if _is_refused(call)]
        if is_cancelled and refused and not any(_may_count(call) for call in mine):
            wrong.append(f"run {run['run']} is cancelled, and every cancel was refused")
    return wrong


def _is_refused(call: Call) -> bool:
    return call.answer is not None and call.answer.get("reason") == "RUN_FINISHED"


def _may_count(call: Call) -> bool:
    return not _is_refused(call)


# ------------------------------------------------------------------------------------------- V7


def results_are_right(lines: Sequence[Line]) -> list[str]:
    """V7: every run comes to what it would without a fault, its thread too, and a new attempt
    executes again at most the superstep that the former one was in."""
    asked = {call.asked["label"]: call.asked for call in calls_of(lines, "create")}
    runs = runs_of(lines)
    wrong = []
    for run in runs.values():
        wanted = asked.get(run["label"], {}).get("expects", "SUCCEEDED")
        if run["state"] not in (wanted, "CANCELLED"):
            wrong.append(f"run {run['run']} is {run['state']} ({run['error']}), not {wanted}")
        elif run["state"] == "SUCCEEDED" and not run["thread"]:
            right = _done(run, asked)
            if run["output"] != right:
                wrong.append(f"run {run['run']} returned {run['output']}, not {right}")
    begun = list(dict.fromkeys(note["run"] for note in _begins(lines)))
    for thread in of_kind(lines, "thread"):
        left = list(thread["done"])
        for run_id in sorted(set(thread["runs"]) & set(begun), key=begun.index):
            left = _without(left, runs[run_id], asked)
        if left:
            wrong.append(f"thread {thread['thread']} has {thread['done']}: {left} is not right")
    return wrong + _executed_again(lines, runs)


def _done(run: Line, asked: dict[str, Line]) -> list[str]:
    return [f"{run['label']}.{step}" for step in range(asked[run["label"]]["steps"])]


def _without(done: list[str], run: Line, asked: dict[str, Line]) -> list[str]:
    """Return what is left of a thread's values without a run's part of them, which comes first. A
    cancelled run has done as much as it came to."""
    right = _done(run, asked)
    if run["state"] == "CANCELLED":
        came = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(done, right, strict=False))
        return done[len(list(came)) :]
    if run["state"] != "SUCCEEDED":
        return done
    return done[len(right) :] if done[: len(right)] == right else [f"not {right[0]}", *done]


def _begins(lines: Sequence[Line]) -> list[Line]:
    notes = [note for note in of_kind(lines, "note") if note["what"] == "begin"]
    return sorted(notes, key=lambda note: note["at"])


def _executed_again(lines: Sequence[Line], runs: dict[str, Line]) -> list[str]:
    """A run goes on where the attempt before was, or one superstep further."""
    executions = executions_of(lines)
    begun = Counter(note["run"] for note in _begins(lines))
    known = Counter(execution.note["run"] for execution in executions)
    wrong = []
    reached: dict[str, tuple[int, int]] = {}
    for execution in executions:
        note = execution.note
        run = runs.get(note["run"])
        if run is None or not run["thread"] or begun[note["run"]] > known[note["run"]]:
            continue  # one without checkpoints begins again; of one that was halted less is known
        attempt, step = reached.get(note["run"], (note["attempt"], -1))
        wanted = (step + 1,) if note["attempt"] == attempt else (step, step + 1)
        if note["step"] not in wanted:
            wrong.append(f"{_said(execution)} came after superstep {step} in attempt {attempt}")
        reached[note["run"]] = (note["attempt"], note["step"])
    return wrong


# ------------------------------------------------------------------------------------------- V8


def only_owners_write(lines: Sequence[Line]) -> list[str]:
    """V8: no row is written for an attempt but by the server that owns it.

    A `row` line says which server wrote (`by`), which one owned the run in that transaction
    (`owner`, None for nobody), and whether that one's lease had run out (`expired`).
    """
    moved = {(row["xact"], row["run"]) for row in of_kind(lines, "row") if row["table"] == "runs"}
    wrong = []
    for row in of_kind(lines, "row"):
        said = f"{row['by']} wrote to {row['table']} for run {row['run']}, owned by {row['owner']}"
        if row["table"] == "runs":
            is_theirs = row["owner"] in (None, row["by"]) or row["expired"]
            if not is_theirs and row["state"] != "cancelling":
                wrong.append(f"{said}, and made it {row['state']}")
        elif row["owner"] is None:
            # A run's end stores its last events in the transaction that takes its owner away.
            if (row["xact"], row["run"]) not in moved or row["table"] != "run_events":
                wrong.append(said)
        elif row["owner"] != row["by"]:
            wrong.append(said)
    return wrong


VALIDATORS: dict[str, Validator] = {
    "V1": accepted_runs_end,
    "V2": runs_end_once,
    "V3": streams_are_whole,
    "V4": threads_take_turns,
    "V5": requests_make_one_run,
    "V6": cancels_count,
    "V7": results_are_right,
    "V8": only_owners_write,
}


def validate(lines: Sequence[Line]) -> dict[str, list[str]]:
    """Return what each validator finds wrong; nothing for those that are content."""
    found = {name: validator(lines) for name, validator in VALIDATORS.items()}
    return {name: wrong for name, wrong in found.items() if wrong}


SENTENCES = 10
"""Sentences of one validator that are shown."""


def sentences_of(found: dict[str, list[str]]) -> list[str]:
    """Return what was found as lines, not too many of a kind."""
    shown = []
    for name, wrong in found.items():
        shown += [f"{name}: {sentence}" for sentence in wrong[:SENTENCES]]
        if len(wrong) > SENTENCES:
            shown.append(f"{name}: and {len(wrong) - SENTENCES} more")
    return shown
