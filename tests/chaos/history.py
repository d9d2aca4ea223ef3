"""What callers asked and were told, what was done to the servers, and what was there at the end.

A history is lines of JSON, written as things happen, so that it is there whatever becomes of the
test. The validators read nothing else: a kept history can be checked again at any time.

| kind | a line says |
|---|---|
| `about` | how the test was set up: its name, its seed |
| `invoke` | a caller makes a call: `op`, `call`, and what it asks for |
| `ok`, `fail` | how the call with this `op` ended, if its caller was told |
| `read` | events that a stream delivered: its `op`, its `run`, and a list of [id, kind, checksum] |
| `fault` | what was done: kill, stop, cont, …, to which process |
| `note` | a line of the ledger that the graphs keep |
| `run`, `log`, `thread` | a run, its events, or a thread, as it was at the end |
| `row` | a row that was written in the database, by whom, and who owned its run then |
"""

import itertools
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Line = dict[str, Any]


class History:
    """A history that is being written. One event loop only."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.lines: list[Line] = []
        self._output = file.open("w", encoding="utf-8", buffering=1)
        self._ops = itertools.count(1)

    def add(self, kind: str, **said: Any) -> Line:
        """Write a line."""
        line = {"kind": kind, "time": time.monotonic(), **said}
        self.lines.append(line)
        self._output.write(json.dumps(line) + "\n")
        return line

    def invoke(self, call: str, **asked: Any) -> int:
        """Write that a call is made; return its number."""
        op = next(self._ops)
        self.add("invoke", op=op, call=call, **asked)
        return op

    def close(self) -> None:
        """Write no more."""
        self._output.close()


def read_history(file: Path) -> list[Line]:
    """Return the lines of a history that was kept."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def kept_histories() -> Path:
    """Return the directory where histories stay that something was wrong with."""
    directory = os.environ.get("RUNWIRE_CHAOS_HISTORIES", ".chaos")
    return Path(directory).absolute()


@contextmanager
def keeping(history: History, name: str) -> Iterator[None]:
    """Close the history after a block, and keep it if the block fails, saying where."""
    try:
        yield
    except BaseException as error:
        history.close()
        if isinstance(error, Exception):
            place = keep(history, name)
            error.add_note(
                f"The history is in {place}; check it again with:"
                f" python -m tests.chaos.validate {place}"
            )
        raise
    history.close()


def keep(history: History, name: str) -> Path:
    """Copy a history to where it stays; return that place."""
    directory = kept_histories()
    directory.mkdir(parents=True, exist_ok=True)
    place = directory / f"{name}-{time.time_ns()}.jsonl"
    place.write_bytes(history.file.read_bytes())
    return place


def of_kind(lines: Iterable[Line], kind: str) -> list[Line]:
    """Return the lines of one kind."""
    return [line for line in lines if line["kind"] == kind]
