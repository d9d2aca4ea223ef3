"""Writing what happens on a thread to one reader. Events are the bytes that the log has; what says
of which run they are, and where to go on, is put behind them."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from runwire.server.core.thread_streams import Told
from runwire.server.model.changes import Begun, ThreadPlace, ThreadStreamMode
from runwire.server.model.events import LogEntry
from runwire.server.model.runs import Run, StreamMode
from runwire.server.model.threads import CheckpointRef, StateSnapshot
from runwire.server.rpc import enums
from runwire.server.rpc.events import snapshot_event
from runwire.server.rpc.fields import Fields
from runwire.server.rpc.frames import MESSAGE_BYTES, pack
from runwire.server.rpc.payloads import show_values
from runwire.server.rpc.resources import checkpoint_message, state_message
from runwire.server.rpc.resume import read_thread_place, thread_token
from runwire.server.rpc.selection import Selection
from runwire.v1 import threads_pb2 as wire

ROOM = 64 * 1024
"""What a message has room for behind its events: a token may name many runs."""


@dataclass(frozen=True, slots=True)
class StreamQuery:
    """What of a thread to stream, from a place on or from the beginning; of the runs' events those
    of some modes, or all."""

    thread_id: str
    modes: tuple[ThreadStreamMode, ...]
    stream_modes: tuple[StreamMode, ...]
    place: ThreadPlace | None


def read_stream(request: wire.ThreadStreamRequest, fields: Fields) -> StreamQuery:
    """Read a request to stream a thread."""
    thread_id = fields.required_id("thread_id", request.thread_id)
    place = None
    if request.resume_token:
        place = read_thread_place(thread_id, request.resume_token)
        if place is None:
            fields.refuse(
                "resume_token", "is not the resume_token of a message of this thread's stream"
            )
        if request.live_only:
            fields.refuse("live_only", "must not be set if resume_token is")
    modes = fields.words("modes", request.modes, enums.THREAD_STREAM_MODES)
    if len(set(modes)) < len(modes):
        fields.refuse("modes", "has a mode twice")
    return StreamQuery(
        thread_id=thread_id,
        modes=modes or (ThreadStreamMode.RUNS,),
        stream_modes=fields.words("stream_modes", request.stream_modes, enums.STREAM_MODES),
        place=place,
    )


def encode_state_update(thread_id: str, made: CheckpointRef, state: StateSnapshot | None) -> bytes:
    """Return an update of a thread's state as a serialized ThreadStreamResponse. What is too large
    for a message is left out, or cannot be encoded."""
    update = wire.ThreadStateUpdate(checkpoint=checkpoint_message(thread_id, made))
    if state is not None:
        with suppress(UnicodeEncodeError):
            update.state.CopyFrom(state_message(thread_id, state))
    if update.ByteSize() > MESSAGE_BYTES - ROOM:
        update.ClearField("state")
    return wire.ThreadStreamResponse(state_update=update).SerializeToString()


class ThreadMessages:
    """Makes the messages of one reader."""

    def __init__(self, query: StreamQuery, *, as_values: bool) -> None:
        self._thread_id = query.thread_id
        self._selection = Selection(query.stream_modes, as_values=as_values)
        self._as_values = as_values
        self._token = ""

    def heartbeat(self) -> bytes:
        """Return the message that says how far the reader has come, and nothing else."""
        return _goes_on(self._token)

    def of(self, told: Told) -> Iterator[bytes]:
        """Give the messages that tell something; none if nothing of it is wanted. The first message
        of all is given in any case."""
        if told.run is not None:
            yield from self._of_run(told)
        elif told.data:
            self._token = self._name(told.place)
            yield self._shown(told.data) + _goes_on(self._token)
        is_first, self._token = not self._token, self._name(told.place)
        if is_first:
            yield self.heartbeat()

    def _shown(self, data: bytes) -> bytes:
        if not self._as_values:
            return data
        message = wire.ThreadStreamResponse.FromString(data)
        show_values(message)
        return message.SerializeToString()

    def _of_run(self, told: Told) -> Iterator[bytes]:
        run = told.run
        assert run is not None
        tags = wire.ThreadStreamResponse(
            run_id=run.run_id,
            assistant_id=run.assistant_id,
            graph_id=run.graph_id,
            events_missing=told.missing,
        ).SerializeToString()
        batch: list[bytes] = []
        last: LogEntry | None = None
        if told.snapshot and isinstance(run, Run):
            batch.append(self._selection.encode(snapshot_event(run)))
        size = sum(map(len, batch))
        for entry in told.entries:
            for data in self._selection.apply([entry.data]):
                if batch and size + len(data) >= MESSAGE_BYTES - ROOM:
                    yield from self._packed(batch, tags, _up_to(told.place, run.run_id, last))
                    batch, size = [], 0
                batch.append(data)
                size += len(data)
            last = entry
        if batch or told.missing:
            yield from self._packed(batch, tags, told.place)

    def _packed(
        self, batch: list[bytes], tags: bytes, place: ThreadPlace | None
    ) -> Iterator[bytes]:
        """Give events as messages. Before the last of them the reader is where it was, as it is
        after it without a place."""
        before, self._token = self._token, self._name(place) if place else self._token
        *others, last = list(pack(batch)) or [b""]
        for message in others:
            yield message + tags + _goes_on(before)
        yield last + tags + _goes_on(self._token)

    def _name(self, place: ThreadPlace) -> str:
        return thread_token(self._thread_id, place)


def _up_to(place: ThreadPlace, run_id: str, last: LogEntry | None) -> ThreadPlace | None:
    return None if last is None else place.having(run_id, Begun(last.id, last.final))


def _goes_on(token: str) -> bytes:
    return wire.ThreadStreamResponse(resume_token=token).SerializeToString()
