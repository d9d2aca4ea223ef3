# Made from ../endless.py by client/make_sync.py: change that one.
"""Streams that do not end by themselves, read on whatever happens to the connection: what happens
on a thread, and what becomes of runs."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar, cast

from runwire.client.convert import checkpoint_of, run_of, state_of, word
from runwire.client.errors import RunwireError, UnavailableError
from runwire.client.parts import Parts
from runwire.client.pieces import Pieces
from runwire.client.schema import ThreadStreamPart
from runwire.client.sync.reconnect import Outage
from runwire.v1 import runs_pb2, threads_pb2
from runwire.v1.events_pb2 import RunEvent

if TYPE_CHECKING:
    from runwire.client.schema import RunChange
    from runwire.client.sync.channel import Connection

Request = TypeVar("Request", threads_pb2.ThreadStreamRequest, runs_pb2.WatchRunsRequest)

THREAD_MODES = {
    "run_modes": threads_pb2.THREAD_STREAM_MODE_RUNS,
    "lifecycle": threads_pb2.THREAD_STREAM_MODE_LIFECYCLE,
    "state_update": threads_pb2.THREAD_STREAM_MODE_STATE_UPDATES,
}

FROM_THE_BEGINNING = "-"
"""The id that comes before all others."""


def follow(
    connection: Connection,
    method: Any,
    request: Request,
    headers: Mapping[str, str] | None,
) -> Generator[Any, None]:
    """Give the messages of a call of `method`; None whenever it is cut and goes on, after the last
    of them.

    Raises what the call raises; `UnavailableError` if the server stays away.
    """
    outage = Outage(connection)
    while True:
        try:
            with closing(connection.stream(method, request, headers)) as messages:
                for message in messages:
                    outage.over()
                    request.resume_token = message.resume_token
                    # What these say is in the token from now on.
                    if isinstance(request, threads_pb2.ThreadStreamRequest):
                        request.live_only = False
                    else:
                        request.include_unfinished = False
                    yield message
            raise UnavailableError("the stream ended, which it should not do")
        except RunwireError as error:
            outage.pause(error)
        yield None


def thread_parts(
    connection: Connection,
    request: threads_pb2.ThreadStreamRequest,
    modes: str | Sequence[str] | None,
    headers: Mapping[str, str] | None,
) -> Generator[ThreadStreamPart, None]:
    """Give what happens on a thread as parts; `modes` says in which of two forms messages come."""
    shown = _Shown(request, modes)
    stream = follow(connection, connection.services.threads.ThreadStream, request, headers)
    with closing(stream) as messages:
        for message in messages:
            if message is None:
                shown.cut()
                continue
            for part in shown.parts(message):
                yield part


class _Shown:
    """Makes parts of the messages of one stream. Their ids are what another stream can go on after:
    a token, and behind it, in the middle of a message, an event."""

    def __init__(
        self, request: threads_pb2.ThreadStreamRequest, modes: str | Sequence[str] | None
    ) -> None:
        self._thread_id = request.thread_id
        self._modes = modes
        self._token = request.resume_token
        self._runs: dict[str, Parts] = {}
        self._pieces = Pieces()

    def cut(self) -> None:
        """Note that the stream begins again, with the event that was cut off."""
        self._pieces.forget()

    def parts(self, message: threads_pb2.ThreadStreamResponse) -> Iterable[ThreadStreamPart]:
        """Give the parts that a message makes."""
        before, self._token = self._token, message.resume_token
        last_id = before or None
        if message.HasField("state_update"):
            yield ThreadStreamPart("state_update", self._update_of(message), message.resume_token)
        events = list(self._pieces.whole(message.events))
        for event in events:
            after = message.resume_token if event is events[-1] else _after(before, event)
            told = [*self._told(event, message)]
            for place, (kind, data) in enumerate(told, start=1):
                last_id = (after or last_id) if place == len(told) else last_id
                yield _part(message, kind, data, last_id)
        if message.events_missing:
            data = {"run_id": message.run_id, "events_missing": True}
            self._runs.pop(message.run_id, None)
            yield _part(message, "metadata", data, message.resume_token)

    def _told(
        self, event: RunEvent, message: threads_pb2.ThreadStreamResponse
    ) -> Iterable[tuple[str, Any]]:
        run = self._runs.setdefault(event.run_id, Parts(self._modes))
        for part in run.of(event):
            if event.HasField("run"):
                tags = {"assistant_id": message.assistant_id, "graph_id": message.graph_id}
                part.data.update(tags)
            yield part.event, part.data
        if event.HasField("run_ended"):
            del self._runs[event.run_id]
            yield "metadata", {"status": "run_done", "run_id": event.run_id}

    def _update_of(self, message: threads_pb2.ThreadStreamResponse) -> dict[str, Any]:
        update = message.state_update
        known = update.HasField("state")
        return {
            "state": state_of(update.state, self._thread_id) if known else None,
            "thread_id": self._thread_id,
            "checkpoint": checkpoint_of(update.checkpoint),
        }


def _after(token: str, event: RunEvent) -> str:
    return f"{token}/{event.run_id}/{event.id}" if token and event.id else ""


def _part(
    message: threads_pb2.ThreadStreamResponse, kind: str, data: Any, last_id: str | None
) -> ThreadStreamPart:
    return ThreadStreamPart(
        kind, data, last_id, message.run_id, message.assistant_id, message.graph_id
    )


def run_changes(
    connection: Connection,
    request: runs_pb2.WatchRunsRequest,
    headers: Mapping[str, str] | None,
) -> Iterator[RunChange]:
    """Give what becomes of runs."""
    token = request.resume_token
    stream = follow(connection, connection.services.runs.WatchRuns, request, headers)
    with closing(stream) as messages:
        for message in messages:
            if message is None:
                continue
            for number, change in enumerate(message.changes, start=1):
                is_last = number == len(message.changes)
                told = {
                    "change": word(runs_pb2.RunChangeKind, change.kind),
                    "run": run_of(change.run),
                    "resume_token": message.resume_token if is_last else token,
                }
                yield cast("RunChange", told)
            token = message.resume_token
