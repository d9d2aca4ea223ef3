"""What a run says, as it says it."""

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runwire.commands.calling import DONE, NOT_ALL
from runwire.commands.output import as_json, print_json_line, safe
from runwire.commands.status import StatusLine

GOOD_ENDS = ("succeeded", "interrupted")
"""The states of runs that went as they should."""

OnRun = Callable[[str, str | None, str], None]
"""Is told of a run, once: its id, its thread's, and its state at that time."""


class Printer:
    """Prints the parts of a run's stream: its words to standard output, or each part as a line of
    JSON, and what becomes of it to standard error.

    `shown` are kinds of part that are printed as JSON among the words, `quiet` leaves out all words
    and the state in the end. `begun` is set as soon as the run says anything: nobody but the
    printer shows a status from then on.
    """

    def __init__(
        self,
        status: StatusLine,
        *,
        to_json: bool = False,
        quiet: bool = False,
        shown: frozenset[str] = frozenset(),
        on_run: OnRun | None = None,
    ) -> None:
        self.exit_code = DONE
        self.run_id = ""
        self.thread_id: str | None = None
        self.state = ""
        self.begun = threading.Event()
        self._status = status
        self._to_json = to_json
        self._quiet = quiet
        self._shown = shown
        self._on_run = on_run
        self._message_id: str | None = None
        self._values: Any = None
        self._said_something = False
        self._is_lost = False
        self._nodes: dict[str, str] = {}

    def part(self, event: str, data: Any, part_id: str | None = None) -> None:
        """Print one part."""
        kind = event.partition("|")[0]
        self.heard()
        if kind == "metadata":
            self._metadata(data)
        else:
            self.begun.set()
        if kind == "tasks":
            self._task(data)
        if self._to_json:
            self._json_line(event, data, part_id)
        elif not self._quiet:
            self._words(kind, event, data)
        match kind:
            case "values" if "|" not in event:
                self._values = data
            case "error":
                self._end(data.get("state", "failed"), f": {_failure(data)}")
            case "end":
                self._end(data["state"])

    @property
    def questions(self) -> Sequence[Mapping[str, Any]]:
        """The questions at which the run has paused, as far as its values were streamed."""
        return questions_of(self._values)

    def lost(self, _error: Exception) -> None:
        """Say that the connection is gone, and that the stream is being taken up again."""
        self._is_lost = True
        self.note("the server is gone; trying to reach it again …")
        self._status.show("waiting for the server")

    def heard(self) -> None:
        """Say that the server is back, if it was lost."""
        if self._is_lost:
            self._is_lost = False
            self.note("the server is back, and the stream goes on")

    def note(self, text: str) -> None:
        """Print a line about the run, which is none of its own words."""
        self._end_text()
        self._status.hide()
        print(safe(text, sys.stderr), file=sys.stderr, flush=True)

    def _metadata(self, data: Mapping[str, Any]) -> None:
        if not self.run_id:
            self.run_id, self.thread_id = data["run_id"], data.get("thread_id")
            self.state = data.get("state", "")
            if self._on_run is not None:
                self._on_run(self.run_id, self.thread_id, self.state)
            self._status.show(f"{self.state or 'running'} …")
        elif data.get("attempt", 0) > 1:
            self.note(f"attempt {data['attempt']}: its server was lost, and another goes on")

    def _task(self, task: Mapping[str, Any]) -> None:
        if "input" in task:
            self._nodes[task["id"]] = task["name"]
        else:
            self._nodes.pop(task["id"], None)
        if self._message_id is None:
            names = ", ".join(dict.fromkeys(self._nodes.values()))
            self._status.show(f"running {names} …" if names else "running …")

    def _json_line(self, event: str, data: Any, part_id: str | None) -> None:
        kind = event.partition("|")[0]
        if kind != "tasks" or "tasks" in self._shown:
            self._status.hide()
            print_json_line({"event": event, "data": data, "id": part_id})

    def _words(self, kind: str, event: str, data: Any) -> None:
        if kind == "messages":
            self._piece(data[0])
        elif kind == "custom":
            self._line(as_json(data))
        elif kind in self._shown:
            self._line(f"{event} {as_json(data)}")

    def _piece(self, message: Mapping[str, Any]) -> None:
        text = text_of(message)
        if not text:
            return
        if message.get("id") != self._message_id:
            self._end_text()
            self._message_id = message.get("id")
        self._status.hide()
        sys.stdout.write(safe(text, sys.stdout))
        sys.stdout.flush()
        self._said_something = True

    def _line(self, text: str) -> None:
        self._end_text()
        self._status.hide()
        print(safe(text, sys.stdout), flush=True)
        self._said_something = True

    def _end_text(self) -> None:
        if self._message_id is not None:
            print(flush=True)
        self._message_id = None

    def _end(self, state: str, more: str = "") -> None:
        self._end_text()
        self.state = state
        if not (self._to_json or self._quiet or more):
            self._last_words()
        if state not in GOOD_ENDS:
            self.exit_code = NOT_ALL
        self.note(f"run {self.run_id} {state}{more}")

    def _last_words(self) -> None:
        """Print what the run asks, or the state that it leaves if it has said nothing."""
        questions = self.questions
        for question in questions:
            # Whoever answers several has to say to which.
            told = {"id": question["id"], "value": question["value"]}
            self._line(as_json(question["value"] if len(questions) == 1 else told))
        if not self._said_something and not questions:
            self._line(as_json(self._values, indent=2))


def questions_of(values: Any) -> Sequence[Mapping[str, Any]]:
    """Return the questions in the values of a run that has paused."""
    return (values.get("__interrupt__") if isinstance(values, dict) else None) or ()


def text_of(message: Mapping[str, Any]) -> str:
    """Return what a model has written in a message, or a piece of one; nothing of others'."""
    if message.get("type") not in ("ai", "AIMessageChunk"):
        return ""
    content = message.get("content")
    if isinstance(content, str):
        return content
    blocks = [block for block in content or () if isinstance(block, dict)]
    return "".join(block.get("text", "") for block in blocks if block.get("type") == "text")


def _failure(failure: Mapping[str, Any]) -> str:
    words = f"{failure['error']}: {failure['message']}"
    words += f" (in node {failure['node']})" if failure.get("node") else ""
    return words + (f" [{failure['error_id']}]" if failure.get("error_id") else "")
