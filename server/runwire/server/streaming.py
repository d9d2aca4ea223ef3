"""`runwire runs stream`: starting a run on a server and printing what it says."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any, TextIO

from runwire.client import get_client
from runwire.client.errors import RunwireError

SUCCEEDED = 0
FAILED = 1
CALL_FAILED = 2

GOOD_ENDS = ("succeeded", "interrupted")
"""The states of runs that went as they should."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to run. `thread_id` "new" makes a thread, an empty one runs without any."""

    assistant_id: str
    input: Any = None
    resume: Any = None
    context: Any = None
    thread_id: str = ""


class Printer:
    """Prints the parts of a run's stream: its words to `out`, what became of it to `err`."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out = out
        self._err = err
        self._message_id: str | None = None
        self._values: Any = None
        self._run_id = ""
        self.said_something = False
        self.exit_code = SUCCEEDED

    def part(self, kind: str, data: Any) -> None:
        """Print one part."""
        match kind.partition("|")[0]:
            case "metadata":
                self._run_id = data["run_id"]
            case "messages":
                self._piece(*data)
            case "custom":
                self._line(json.dumps(data, ensure_ascii=False))
            case "values" if "|" not in kind:
                self._values = data
            case "error":
                self.exit_code = FAILED
                self.note(f"run {self._run_id} failed: {_words(data)}")
            case "end":
                self._end(data["state"])

    def note(self, text: str) -> None:
        """Print a line about the run, which is none of its own words."""
        self._end_text()
        print(text, file=self._err)

    def _piece(self, message: dict[str, Any], _metadata: Any) -> None:
        text = text_of(message)
        if not text:
            return
        if message.get("id") != self._message_id:
            self._end_text()
            self._message_id = message.get("id")
        self._out.write(text)
        self._out.flush()
        self.said_something = True

    def _line(self, text: str) -> None:
        self._end_text()
        print(text, file=self._out, flush=True)
        self.said_something = True

    def _end_text(self) -> None:
        if self._message_id is not None:
            print(file=self._out)
        self._message_id = None

    def _end(self, state: str) -> None:
        self._end_text()
        questions = self._values.get("__interrupt__") if isinstance(self._values, dict) else None
        for question in questions or ():
            print(json.dumps(question["value"], ensure_ascii=False), file=self._out)
        if not self.said_something and not questions:
            print(json.dumps(self._values, ensure_ascii=False, indent=2), file=self._out)
        if state not in GOOD_ENDS:
            self.exit_code = FAILED
        self.note(f"run {self._run_id} {state}")


def text_of(message: dict[str, Any]) -> str:
    """Return what a model has written in a message, or a piece of one; nothing of others'."""
    if message.get("type") not in ("ai", "AIMessageChunk"):
        return ""
    content = message.get("content")
    if isinstance(content, str):
        return content
    blocks = [block for block in content or () if isinstance(block, dict)]
    return "".join(block.get("text", "") for block in blocks if block.get("type") == "text")


def stream_run(address: str, request: Request, printer: Printer) -> int:
    """Run `request` on the server at `address`, print its stream, and return the exit code."""
    try:
        asyncio.run(_stream_run(address, request, printer))
    except RunwireError as error:
        printer.note(str(error))
        return CALL_FAILED
    return printer.exit_code


async def _stream_run(address: str, request: Request, printer: Printer) -> None:
    async with get_client(address) as client:
        thread_id = request.thread_id or None
        if thread_id == "new":
            thread_id = (await client.threads.create())["thread_id"]
            printer.note(f"thread {thread_id}")
        parts = client.runs.stream(
            thread_id,
            request.assistant_id,
            input=request.input,
            command=None if request.resume is None else {"resume": request.resume},
            context=request.context,
            stream_mode=["messages-tuple", "custom", "values"],
            stream_subgraphs=True,
            if_not_exists="create",
            on_disconnect="cancel",
        )
        async for part in parts:
            printer.part(part.event, part.data)


def _words(failure: dict[str, Any]) -> str:
    words = f"{failure['error']}: {failure['message']}"
    words += f" (in node {failure['node']})" if failure.get("node") else ""
    return words + (f" [{failure['error_id']}]" if failure.get("error_id") else "")
