"""How log lines look and where they go: standard error, as JSON or for people.

Code logs through the standard library, with facts in `extra`; structlog only gives the lines their
form, those of graphs and libraries too. A line written while a run executes names the run.
"""

import json
import logging
import os
import sys
from typing import Literal, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from runwire.server.model.attempts import Attempt, current_writer

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "json", "pretty"]

_CHATTY = ("alembic", "httpcore", "httpx", "watchfiles")
"""Libraries that tell at level info what belongs to debug."""

_OURS = "runwire.server"


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
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_facts(pretty),
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *([] if process is None else [_name_the_process(process)]),
                *(_for_people(sys.stderr) if pretty else _for_programs()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
    logging.captureWarnings(True)
    _configure_structlog(pretty)


def _configure_structlog(pretty: bool) -> None:
    """Let graphs that log with structlog come out the same way."""
    structlog.configure(
        processors=[*_facts(pretty), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _facts(pretty: bool) -> list[Processor]:
    time_format = "%H:%M:%S" if pretty else "iso"
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt=time_format, utc=not pretty, key="time"),
        _name_the_run,
    ]


def _name_the_run(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    writer = current_writer.get()
    if isinstance(writer, Attempt):
        line.setdefault("run_id", writer.run_id)
        line.setdefault("attempt", writer.number)
        line.setdefault("graph_id", writer.graph_id)
    return line


def _name_the_process(number: int) -> Processor:
    def name(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
        line.setdefault("server_process", number)
        return line

    return name


def _for_programs() -> list[Processor]:
    return [
        # Not structlog's tracebacks as data: those carry local variables, which are the users'.
        structlog.processors.format_exc_info,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.JSONRenderer(serializer=_to_json),
    ]


def _to_json(line: EventDict, **_options: object) -> str:
    first = {key: line.pop(key) for key in ("time", "level", "event") if key in line}
    try:
        return orjson.dumps({**first, **line}, default=repr).decode()
    except TypeError:
        # The standard library has an escape for every string that Python can hold.
        return json.dumps({**first, **line}, default=repr)


def _for_people(stream: TextIO) -> list[Processor]:
    renderer = structlog.dev.ConsoleRenderer(
        colors=stream.isatty() and not os.environ.get("NO_COLOR"),
        sort_keys=False,
        timestamp_key="time",
        exception_formatter=structlog.dev.plain_traceback,
    )
    return [_leave_out_the_obvious, renderer]


def _leave_out_the_obvious(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    if str(line.get("logger", "")).startswith(_OURS):
        del line["logger"]
    return {key: value for key, value in line.items() if value is not None}
