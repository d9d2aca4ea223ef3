import logging

import pytest
from tests.support.records import a_run, at

from runwire.server.core.moves import log_move
from runwire.server.model.runs import RunError, RunState

LOGGER = logging.getLogger("moves")


def logged(caplog: pytest.LogCaptureFixture, **changes: object) -> dict[str, object]:
    with caplog.at_level(logging.INFO):
        log_move(LOGGER, a_run(**changes))
    return vars(caplog.records[-1])


def test_a_move_is_one_line_of_ids_and_the_state(caplog: pytest.LogCaptureFixture) -> None:
    line = logged(caplog, thread_id="thread", metadata={"secret": 1})
    assert line["msg"] % line["args"] == "run pending"
    assert (line["thread_id"], line["graph_id"], line["attempt"]) == ("thread", "graph", 0)
    assert "secret" not in str(line)
    assert "seconds" not in line


def test_an_end_tells_how_long_the_run_took_and_why_it_failed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = RunError(type="ValueError", message="of the user", error_id="id")
    line = logged(caplog, state=RunState.FAILED, start_time=at(1), end_time=at(2.5), error=error)
    assert (line["state"], line["seconds"]) == ("failed", 1.5)
    assert (line["error"], line["error_id"]) == ("ValueError", "id")
    assert "of the user" not in str(line)
