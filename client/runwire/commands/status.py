"""The line at the bottom of a terminal that says what a run is doing just now."""

import sys
import threading
from types import TracebackType
from typing import Any, Self

from runwire.commands.output import console, safe


class StatusLine:
    """A line on standard error that comes and goes; where that is no terminal, nothing. Any thread
    may use it."""

    def __init__(self) -> None:
        self.is_possible = sys.stderr.isatty()
        self._lock = threading.Lock()
        self._status: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self.hide()

    def show(self, text: str, unless: threading.Event | None = None) -> None:
        """Show a text, in the place of one that is there; nothing if `unless` has happened."""
        if not self.is_possible:
            return
        from rich.text import Text

        shown = Text(safe(text, sys.stderr), "dim")
        with self._lock:
            if unless is not None and unless.is_set():
                return
            if self._status is None:
                self._status = console(sys.stderr).status(shown)
                self._status.start()
            else:
                self._status.update(shown)

    def hide(self) -> None:
        """Take the line away, so that something else can be written."""
        with self._lock:
            if self._status is not None:
                self._status.stop()
                self._status = None
