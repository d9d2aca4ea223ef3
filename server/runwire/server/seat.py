"""One of several server processes, as it sees itself: its number, and its line to the supervisor.

The line is a socket. A server says on it, once, that it is up; and when it ends at the other side
the supervisor is gone, however it died, and its servers stop too.
"""

import json
import os
import signal
import socket
import threading
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Seat:
    """A server process's place among those that share a port."""

    number: int
    line: socket.socket

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the seat that `describe` wrote down."""
        number, descriptor = text.split(":")
        line = socket.socket(fileno=int(descriptor))
        line.set_inheritable(False)  # what this process starts has no business with it
        return cls(int(number), line)

    def describe(self) -> str:
        """Return what `parse` reads in a process that has inherited the line."""
        return f"{self.number}:{self.line.fileno()}"

    def hold(self) -> None:
        """Stop this process, as SIGTERM would, when its supervisor is gone."""
        thread = threading.Thread(target=self._wait, name="supervisor", daemon=True)
        thread.start()

    def _wait(self) -> None:
        while self.line.recv(1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    def report(self, facts: dict[str, Any]) -> None:
        """Tell the supervisor that this server is up. One that is gone needs to know nothing."""
        try:
            self.line.sendall(json.dumps(facts).encode() + b"\n")
        except OSError:
            return
