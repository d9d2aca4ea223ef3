"""Events: the items of a run's output."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from runwire.server.model.runs import Cancel, Interrupt, JsonText, RunError, RunState, StreamMode

_NUMBER = re.compile("[0-9]{1,18}")
"""What a database can hold as an integer."""


@dataclass(frozen=True, slots=True, order=True)
class EventId:
    """An event's place in its run. Ordered; `"<attempt>-<index>"` on the wire."""

    attempt: int
    index: int

    def __str__(self) -> str:
        return f"{self.attempt}-{self.index}"

    @classmethod
    def parse(cls, text: str) -> "EventId | None":
        """Return the id that `text` spells, or None when it spells none."""
        attempt, _, index = text.partition("-")
        if not (_NUMBER.fullmatch(attempt) and _NUMBER.fullmatch(index)):
            return None
        return cls(int(attempt), int(index))


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """First event of an attempt; `resumed`: it goes on from a checkpoint of an earlier one."""

    attempt: int
    resumed: bool


@dataclass(frozen=True, slots=True)
class Data:
    """LangGraph's output in one of the modes whose shape is user data.

    `mode` is VALUES, UPDATES, CUSTOM, CHECKPOINTS, DEBUG or EVENTS; `json` its data as JSON text.
    `interrupts` are those open at a VALUES event.
    """

    mode: StreamMode
    json: JsonText
    interrupts: tuple[Interrupt, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolCallChunk:
    """A piece of a tool call; `args` is a fragment of JSON text."""

    name: str
    args: str
    id: str
    index: int | None


@dataclass(frozen=True, slots=True)
class Message:
    """A chat message, or a piece of one.

    `delta`: the text and chunks are to be appended to what came before under `message_id`.
    `extra` (JSON text) holds whatever else the message carries, `metadata` (JSON text) where it
    came from; both are empty when there is nothing to say.
    """

    message_id: str
    type: str
    delta: bool
    text: str
    tool_call_chunks: tuple[ToolCallChunk, ...] = ()
    usage: tuple[int, int, int] | None = None
    extra: JsonText = ""
    metadata: JsonText = ""


@dataclass(frozen=True, slots=True)
class TaskStarted:
    """A node begins; `input` is JSON text."""

    task_id: str
    name: str
    input: JsonText
    triggers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TaskEnded:
    """A node has ended; `result` is JSON text, `error` empty when it did not fail."""

    task_id: str
    name: str
    error: str
    result: JsonText
    interrupts: tuple[Interrupt, ...] = ()


@dataclass(frozen=True, slots=True)
class RunEnded:
    """Last event of a run."""

    state: RunState
    end_time: datetime
    error: RunError | None = None
    cancel: Cancel | None = None


EventBody = AttemptStarted | Data | Message | TaskStarted | TaskEnded | RunEnded


@dataclass(frozen=True, slots=True)
class Event:
    """An event as the graph's stream makes it, before it has a place in the run's log."""

    body: EventBody
    namespace: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LogEntry:
    """An event in a run's log: its place, its serialized form, whether it is the run's last."""

    id: EventId
    data: bytes = field(repr=False)
    final: bool = False


class Segment(NamedTuple):
    """Consecutive entries of one attempt as the event log stores them.

    `lengths` are the byte lengths of the entries within `data`.
    """

    run_id: str
    attempt: int
    first_index: int
    lengths: tuple[int, ...]
    data: bytes
    final: bool = False

    @property
    def last_index(self) -> int:
        """Index of the last entry."""
        return self.first_index + len(self.lengths) - 1

    def entries(self, after: "EventId") -> list[LogEntry]:
        """Return the entries whose id comes after `after`, in order."""
        found, offset = [], 0
        for position, length in enumerate(self.lengths):
            event_id = EventId(self.attempt, self.first_index + position)
            if event_id > after:
                final = self.final and event_id.index == self.last_index
                found.append(LogEntry(event_id, self.data[offset : offset + length], final))
            offset += length
        return found


SEGMENT_BYTES = 64 * 1024
"""A segment is not larger than this, unless a single entry is: readers hold whole segments."""


def segments_of(run_id: str, entries: Iterable[LogEntry]) -> list[Segment]:
    """Return entries, which must be consecutive and of one attempt, as segments."""
    segments: list[Segment] = []
    batch: list[LogEntry] = []
    size = 0
    for entry in entries:
        if batch and size + len(entry.data) > SEGMENT_BYTES:
            segments.append(segment_of(run_id, batch))
            batch, size = [], 0
        batch.append(entry)
        size += len(entry.data)
    return [*segments, segment_of(run_id, batch)] if batch else segments


def segment_of(run_id: str, entries: list[LogEntry]) -> Segment:
    """Return `entries`, which must be consecutive and of one attempt, as one segment."""
    first = entries[0].id
    return Segment(
        run_id,
        first.attempt,
        first.index,
        tuple(len(entry.data) for entry in entries),
        b"".join(entry.data for entry in entries),
        entries[-1].final,
    )


START = EventId(0, 0)
"""Comes before every event: reading after it reads from the beginning."""
