"""The events of a run, read to the end of the run whatever happens to the connection."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

from runwire.client.errors import RunwireError, UnavailableError
from runwire.client.pieces import Pieces
from runwire.client.reconnect import Outage
from runwire.v1 import core_pb2, runs_pb2
from runwire.v1.events_pb2 import RunEvent

if TYPE_CHECKING:
    from runwire.client.channel import Connection

Messages = (
    AsyncGenerator[runs_pb2.RunStreamResponse, None]
    | AsyncGenerator[runs_pb2.JoinRunStreamResponse, None]
)

_LAST_WORD = 1.0
"""Seconds for which a reader that leaves tries to have its run cancelled."""


class RunEvents:
    """The events of one run: of a new one, or of one that exists.

    When the connection breaks, or the server shuts down, the stream is joined again after the last
    event that arrived. `request` must carry a request_id if it starts a run: until the run's own id
    is known, it is sent again. Where the request says that the run is to be cancelled if its reader
    leaves, it is, also after the stream was joined again.
    """

    def __init__(
        self,
        connection: Connection,
        request: runs_pb2.RunStreamRequest | runs_pb2.JoinRunStreamRequest,
        headers: Mapping[str, str] | None,
    ) -> None:
        self._connection = connection
        self._request = request
        self._headers = headers
        self._joined = False
        self._ended = False
        self._pieces = Pieces()

    async def read(self) -> AsyncGenerator[RunEvent, None]:
        """Give each event once, in order, from the snapshot of the run to its end.

        Raises what the call raises; `UnavailableError` if the server stays away.
        """
        outage = Outage(self._connection)
        while True:
            self._pieces.forget()
            is_known = False  # to the server, which hears of the call's end then
            try:
                async with aclosing(self._open()) as messages:
                    async for message in messages:
                        is_known = True
                        outage.heard()
                        for event in self._pieces.whole(message.events):
                            if event.id or event.HasField("heartbeat"):
                                outage.over()
                            if self._is_new(event):
                                yield event
                            if self._ended:
                                return  # whatever becomes of the connection now
                raise UnavailableError("the stream ended before the run did")
            except RunwireError as error:
                try:
                    await outage.pause(error)
                except BaseException:
                    await self._leave()
                    raise
            except BaseException:
                if not is_known:
                    await self._leave()
                raise

    async def _leave(self) -> None:
        """Cancel the run, if it is not to go on without its reader: there is no call whose end
        would tell the server. It may be away, and is not waited for."""
        request, connection = self._request, self._connection
        if isinstance(request, runs_pb2.RunStreamRequest) or connection.closed:
            return
        if request.on_disconnect == core_pb2.ON_DISCONNECT_CANCEL:
            cancel = runs_pb2.CancelRunRequest(run_id=request.run_id)
            with suppress(RunwireError):
                await connection.call(
                    connection.services.runs.CancelRun, cancel, self._headers, timeout=_LAST_WORD
                )

    def _open(self) -> Messages:
        runs = self._connection.services.runs
        if isinstance(self._request, runs_pb2.RunStreamRequest):
            return self._connection.stream(runs.RunStream, self._request, self._headers)
        return self._connection.stream(runs.JoinRunStream, self._request, self._headers)

    def _is_new(self, event: RunEvent) -> bool:
        """Note how far the stream has come; return whether the reader does not have the event."""
        if isinstance(self._request, runs_pb2.RunStreamRequest):
            run_id = event.run.run_id or event.run_id
            self._request = runs_pb2.JoinRunStreamRequest(
                run_id=run_id, on_disconnect=self._request.spec.on_disconnect
            )
        if event.id:  # that of a snapshot is the place from which on everything is new
            self._request.after_event_id = event.id
            self._request.live_only = False
        if event.HasField("run"):
            is_first, self._joined = not self._joined, True
            return is_first
        self._ended = event.HasField("run_ended")
        return True
