"""How the client goes on when it loses its server."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from runwire.client.errors import RunwireError, UnavailableError
from runwire.client.failures import is_break

if TYPE_CHECKING:
    from runwire.client.channel import Connection

Answer = TypeVar("Answer")

_FIRST_CONTACT = 1.0
"""Seconds for which a server is looked for that has never answered: the address may be wrong."""

_LIVED = 10.0
"""A call that fails after this many seconds had reached the server: a channel that cannot connect
says so sooner."""

_CONNECTED = 1.0
"""A connection that breaks after this many seconds was one to a server: even if that said nothing,
as there was nothing to say yet. Sooner, it may be to something that takes calls and drops them."""

_LOOK = 1.0
"""Seconds between looks for a connection. The channel makes one in its own time, however often it
is asked, and the next one may not last either."""


class Outage:
    """The tries of one stream or call: how long its server has been away, when to try again.

    A call that `waits` is not answered before its run ends: the server is taken to have been there
    if the connection held for a while and then broke. A stream is answered at once, by `heard`.
    """

    def __init__(self, connection: Connection, *, waits: bool = False) -> None:
        self._connection = connection
        self._waits = waits
        self._heard = False
        self._since: float | None = None
        self._pauses = 0
        self._tried = time.monotonic()

    def heard(self) -> None:
        """Note that the server has said something, which it also does if it then hangs up."""
        self._heard = True

    def over(self) -> None:
        """Note that there is a server, and that it goes on."""
        self._since, self._pauses = None, 0

    async def pause(self, error: RunwireError) -> None:
        """Wait until another try is due. Raises `error` if none is: it is of another kind, the
        client is closed, or the server has been away for too long."""
        if not isinstance(error, UnavailableError) or self._connection.closed:
            raise error
        now = time.monotonic()
        # Something between here and a server answers for it when it is away, late or soon.
        had_server = self._heard or (self._waits and is_break(error))
        if had_server and now - self._tried > (_CONNECTED if error.connected else _LIVED):
            self.over()
        if self._since is None:
            self._since = now
            self._tell(error)
        left = self._since + self._patience() - now
        if left <= 0:
            raise error
        policy = self._connection.reconnect
        longest = policy.longest_pause if error.connected else min(policy.longest_pause, _LOOK)
        pause = min(longest, policy.first_pause * 2**self._pauses)
        self._pauses = min(self._pauses + 1, 20)
        # Jitter, so that the clients of a server that comes back do not all come at once.
        await self._connection.rest(min(left, pause * random.uniform(0.75, 1.25)))
        self._tried, self._heard = time.monotonic(), False

    def _tell(self, error: UnavailableError) -> None:
        on_lost = self._connection.reconnect.on_lost
        if on_lost is not None and self._connection.reached:
            on_lost(error)

    def _patience(self) -> float:
        patience = self._connection.reconnect.give_up_after
        return patience if self._connection.reached else min(patience, _FIRST_CONTACT)


async def persist(connection: Connection, call: Callable[[], Awaitable[Answer]]) -> Answer:
    """Return what `call` answers, making it again when the server was lost.

    Only for calls that may be made twice. Raises what `call` raises, `UnavailableError` when the
    server stays away.
    """
    outage = Outage(connection, waits=True)
    while True:
        try:
            return await call()
        except UnavailableError as error:
            await outage.pause(error)
