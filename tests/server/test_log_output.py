"""Log lines: one form for everybody's, and nothing that cannot be written."""

import io
import json
import subprocess
import sys
from typing import Any

import pytest
from tests.support.environments import clean_environment

from runwire.server.log_output import is_pretty


def logged(code: str, log_format: str = "json", process: int | None = None) -> str:
    """Return what code says that logs, in a process of its own."""
    start = (
        "import logging, warnings\n"
        "from runwire.server.log_output import configure_logs\n"
        f"configure_logs('info', '{log_format}', {process})\n"
        "logger = logging.getLogger('agent')\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", start + code],
        capture_output=True,
        text=True,
        check=True,
        env=clean_environment(),
    )
    assert result.stdout == ""
    return result.stderr


def line(code: str) -> Any:
    """Return the one line, as data, that code logs."""
    (only,) = logged(code).splitlines()
    return json.loads(only)


def test_a_line_says_when_how_bad_what_and_who() -> None:
    told = line("logger.warning('%s left', 2, extra={'disk': 'a'})")

    assert list(told)[:3] == ["time", "level", "event"]
    assert told["time"].endswith("Z")
    assert told["level"] == "warning"
    assert told["event"] == "2 left"
    assert told["logger"] == "agent"
    assert told["disk"] == "a"


def test_an_answer_that_is_not_taken_is_a_line_without_a_traceback() -> None:
    code = """
for name, text in (("grpc._cython.cygrpc", "ExecuteBatchError raised in core by servicer method"),
                   ("grpc._cython.cygrpc", "Unexpected")):
    try:
        1 / 0
    except ZeroDivisionError:
        logging.getLogger(name).exception(text)
"""
    cut, other = map(json.loads, logged(code).splitlines())

    assert (cut["level"], "exception" in cut) == ("warning", False)
    assert (other["level"], "exception" in other) == ("error", True)


def test_a_line_of_one_of_several_processes_says_of_which() -> None:
    told = json.loads(logged("logger.info('here')", process=3))

    assert told["server_process"] == 3
    assert "server_process" not in line("logger.info('here')")


def test_what_json_has_no_words_for_is_written_all_the_same() -> None:
    told = line(r"logger.info('\ud800', extra={'thing': {1, 2}, 'huge': 2**80, 'text': '\udfff'})")

    assert told["event"] == "\ud800"
    assert told["thing"] == "{1, 2}"
    assert told["huge"] == 2**80


def test_a_traceback_is_text_without_the_values_of_variables() -> None:
    told = line(
        "password = 'secret-in-a-variable'\n"
        "try:\n    len(1)\nexcept TypeError:\n    logger.exception('oh')"
    )

    assert "TypeError: object of type 'int' has no len()" in told["exception"]
    assert "secret-in-a-variable" not in json.dumps(told)


def test_a_line_of_a_run_names_the_run() -> None:
    told = line(
        "from runwire.server.model.attempts import Attempt, current_writer\n"
        "current_writer.set(Attempt('r1', None, 'chat', 2, 'server'))\n"
        "logger.info('here')"
    )

    assert (told["run_id"], told["attempt"], told["graph_id"]) == ("r1", 2, "chat")


def test_structlog_and_warnings_come_out_the_same_way() -> None:
    said = logged(
        "import structlog\n"
        "structlog.get_logger('agent').info('bound', left=2)\n"
        "structlog.get_logger('agent').debug('too little')\n"
        "warnings.warn('old')"
    )

    bound, warning = map(json.loads, said.splitlines())
    assert (bound["event"], bound["left"], bound["logger"]) == ("bound", 2, "agent")
    assert "UserWarning: old" in warning["event"]


def test_pretty_lines_have_no_colours_where_there_is_no_terminal() -> None:
    said = logged("logger.warning('careful', extra={'left': 2, 'none': None})", "pretty")

    assert "careful" in said
    assert "left=2" in said
    assert "none" not in said
    assert "\x1b" not in said


@pytest.mark.parametrize(
    ("log_format", "terminal", "pretty"),
    [
        ("auto", True, True),
        ("auto", False, False),
        ("json", True, False),
        ("pretty", False, True),
    ],
)
def test_lines_are_for_people_on_a_terminal_unless_said_otherwise(
    log_format: Any, terminal: bool, pretty: bool
) -> None:
    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    assert is_pretty(log_format, Stream()) is pretty
