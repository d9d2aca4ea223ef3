"""How a process ends: its exit codes, its last words, and what becomes of it if it cannot end."""

import logging
import os
import sys
import threading
from collections.abc import Callable

from runwire.server.log_output import Format, is_pretty

_logger = logging.getLogger(__name__)

STOPPED = 0
FAILED = 1

CLOSE_SECONDS = 15.0
"""How long everything but the runs may take to stop."""


def exit_after(seconds: float, reason: str, before: Callable[[], object] = lambda: None) -> None:
    """End the process by force unless it has ended by itself until then. `before` is the last that
    it does.

    What is left behind is in the database, and the next server on it goes on from there.
    """

    def exit_now() -> None:
        _logger.warning(reason)
        before()
        logging.shutdown()
        os._exit(FAILED)

    timer = threading.Timer(seconds, exit_now)
    timer.daemon = True
    timer.start()


def say_why(log_format: Format, error: Exception) -> None:
    """Say why the process cannot start."""
    if is_pretty(log_format, sys.stderr):
        sys.stderr.write(f"runwire cannot start: {error}\n")
    else:
        _logger.critical("cannot start", extra={"reason": str(error)})
