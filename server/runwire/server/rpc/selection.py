"""What one subscriber wants of a run's events, if that is not simply all of them as they are.

Such a subscriber costs what the others do not: its events are read and written again.
"""

from collections.abc import Iterable

from runwire.server.model.runs import StreamMode
from runwire.server.rpc.events import encode_wire
from runwire.server.rpc.payloads import show_values
from runwire.v1 import events_pb2, runs_pb2

MODES: dict[str, StreamMode] = {
    "values": StreamMode.VALUES,
    "updates": StreamMode.UPDATES,
    "message": StreamMode.MESSAGES,
    "custom": StreamMode.CUSTOM,
    "task": StreamMode.TASKS,
    "checkpoint": StreamMode.CHECKPOINTS,
    "debug": StreamMode.DEBUG,
    "langchain_event": StreamMode.EVENTS,
}
"""The modes of events by the name of their field. Other events have none, and are for all."""


class Selection:
    """Events of some `modes`, all if empty; payloads as values if `as_values`."""

    def __init__(self, modes: Iterable[StreamMode] = (), *, as_values: bool = False) -> None:
        self._modes = frozenset(modes)
        self._as_values = as_values

    def apply(self, entries: list[bytes]) -> list[bytes]:
        """Return those of the serialized events that are wanted, in the form that is wanted."""
        if not self._modes and not self._as_values:
            return entries
        return [chosen for entry in entries if (chosen := self._choose(entry))]

    def encode(self, event: events_pb2.RunEvent) -> bytes:
        """Return an event that is for this subscriber alone, in the form that is wanted."""
        if self._as_values:
            show_values(event)
        return encode_wire(event)

    def _choose(self, entry: bytes) -> bytes | None:
        event = joined(runs_pb2.RunStreamResponse.FromString(entry).events)
        mode = MODES.get(event.WhichOneof("event") or "")
        if self._modes and mode is not None and mode not in self._modes:
            return None
        return self.encode(event) if self._as_values else entry


def joined(events: Iterable[events_pb2.RunEvent]) -> events_pb2.RunEvent:
    """Return the one event that is there, whole or in parts."""
    parts = list(events)
    if not parts[0].HasField("part"):
        return parts[0]
    return events_pb2.RunEvent.FromString(b"".join(part.part.data for part in parts))
