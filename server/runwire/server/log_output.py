"""How log lines look and where they go: standard error, as JSON or for people.

Code logs through the standard library, with facts in `extra`; what graphs log with structlog takes
the same way. A line written while a run executes names the run.
"""

import json
import logging
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

import orjson
import structlog

from runwire.server.model.attempts import Attempt, current_writer

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "json", "pretty"]

_CHATTY = ("alembic", "httpcore", "httpx", "watchfiles")
"""Libraries that tell at level info what belongs to debug."""

_OURS = "runwire.server"

_GRPC, _NOT_SENT = "grpc._cython.cygrpc", "ExecuteBatchError raised in core"
"""What of gRPC tells of an answer that its caller did not take, and how that begins."""

_OF_ANY_RECORD = {*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName"}
"""What the standard library says of a record; the rest is its `extra`."""


def is_pretty(log_format: Format, stream: TextIO) -> bool:
    """Whether lines on `stream` are for people rather than programs."""
    return log_format == "pretty" or (log_format == "auto" and stream.isatty())


def configure_logs(level: Level, log_format: Format, process: int | None = None) -> None:
    """Send everything that this process logs to standard error, in one form. `process`: each line
    says by this number which of several processes wrote it."""
    pretty = is_pretty(log_format, sys.stderr)
    # No line shows these, and finding them out is a good part of what a line costs.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.logAsyncioTasks = False  # type: ignore[attr-defined]  # from Python 3.12 on
    logging._srcfile = None  # as the logging HOWTO says
    handler = logging.StreamHandler(sys.stderr)
    render = _for_people(sys.stderr) if pretty else _to_json
    handler.setFormatter(_Lines(render, {} if process is None else {"server_process": process}))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
    logging.captureWarnings(True)
    logging.getLogger(_GRPC).addFilter(_shorten)
    _configure_structlog()


def _shorten(record: logging.LogRecord) -> bool:
    """Make one line of an answer that could not be sent, which gRPC tells with a traceback of its
    own: it was larger than its caller receives, or the connection is gone. Keep all records."""
    if record.getMessage().startswith(_NOT_SENT):
        record.exc_info, record.levelno, record.levelname = None, logging.WARNING, "WARNING"
    return True


def _configure_structlog() -> None:
    """Let graphs that log with structlog come out the same way."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.render_to_log_kwargs,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


class _Lines(logging.Formatter):
    """Makes a line of a record: what it says, its `extra`, and the run that it was written in."""

    def __init__(self, render: Callable[[dict[str, Any]], str], of_all: dict[str, Any]) -> None:
        """`of_all` is what every line tells."""
        super().__init__()
        self._render = render
        self._of_all = of_all

    def format(self, record: logging.LogRecord) -> str:
        """Return the line. A traceback is text: as data it would carry the users' variables."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
            **self._of_all,
        }
        own = record.__dict__.items()
        line.update((name, value) for name, value in own if name not in _OF_ANY_RECORD)
        writer = current_writer.get()
        if isinstance(writer, Attempt):
            line.setdefault("run_id", writer.run_id)
            line.setdefault("attempt", writer.number)
            line.setdefault("graph_id", writer.graph_id)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return self._render(line)


def _to_json(line: dict[str, Any]) -> str:
    try:
        return orjson.dumps(line, default=repr, option=orjson.OPT_UTC_Z).decode()
    except TypeError:
        # The standard library has an escape for every string that Python can hold.
        line["time"] = line["time"].isoformat().replace("+00:00", "Z")
        return json.dumps(line, default=repr)


def _for_people(stream: TextIO) -> Callable[[dict[str, Any]], str]:
    render = structlog.dev.ConsoleRenderer(
        colors=stream.isatty() and not os.environ.get("NO_COLOR"),
        sort_keys=False,
        timestamp_key="time",
        exception_formatter=structlog.dev.plain_traceback,
    )

    def render_for_people(line: dict[str, Any]) -> str:
        line["time"] = line["time"].astimezone().strftime("%H:%M:%S")
        if line["logger"].startswith(_OURS):
            del line["logger"]
        told = {name: value for name, value in line.items() if value is not None}
        return str(render(None, "", told))

    return render_for_people
