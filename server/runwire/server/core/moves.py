"""One log line for each move of a run from state to state."""

import logging

from runwire.server.model.runs import Run


def log_move(logger: logging.Logger, run: Run) -> None:
    """Log the state that a run has reached. Ids and states only: no user data."""
    details: dict[str, object] = {
        "run_id": run.run_id,
        "thread_id": run.thread_id,
        "assistant_id": run.assistant_id,
        "graph_id": run.graph_id,
        "attempt": run.attempt,
        "state": run.state.value,
    }
    if run.start_time and run.end_time:
        details["seconds"] = round((run.end_time - run.start_time).total_seconds(), 3)
    if run.error is not None:
        details["error"] = run.error.type
        details["error_id"] = run.error.error_id
    abandoned = run.cancel is not None and run.cancel.abandoned
    if abandoned:
        details["abandoned"] = True  # its code is still at work
    level = logging.WARNING if abandoned else logging.INFO
    logger.log(level, "run %s", run.state.value, extra=details)
