"""Events that are too large for one message, and come in parts."""

from __future__ import annotations

from collections.abc import Iterable

from runwire.v1.events_pb2 import RunEvent


class Pieces:
    """The parts that one stream has had so far of an event."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def forget(self) -> None:
        """Take what comes next for a beginning: a server that is joined starts over with the event
        that was cut off."""
        self._pieces.clear()

    def whole(self, events: Iterable[RunEvent]) -> Iterable[RunEvent]:
        """Return events, those that came in parts put together."""
        for event in events:
            if not event.HasField("part"):
                yield event
                continue
            self._pieces.append(event.part.data)
            if event.part.last:
                yield RunEvent.FromString(b"".join(self._pieces))
                self._pieces.clear()
