"""The client: where everything starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import grpc

from runwire.client.assistants import AssistantsClient
from runwire.client.channel import Connection, Token
from runwire.client.connecting import DEFAULT_ADDRESS, Reconnect, Timeout, keyed, seconds_of
from runwire.client.crons import CronsClient
from runwire.client.runs import RunsClient
from runwire.client.securing import Tls
from runwire.client.servers import ServersClient
from runwire.client.store import StoreClient
from runwire.client.threads import ThreadsClient
from runwire.client.webhooks import WebhooksClient

_DEFAULT_RECONNECT = Reconnect()


class RunwireClient:
    """A client of one server, or of several that share a database: `assistants`, `threads`, `runs`,
    `crons`, `store`, `webhooks`, `servers`.

    Used as it is, and closed with `aclose`, or as `async with`. It belongs to the event loop on
    which it is first used.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.assistants = AssistantsClient(connection)
        self.threads = ThreadsClient(connection)
        self.runs = RunsClient(connection)
        self.store = StoreClient(connection)
        self.webhooks = WebhooksClient(connection)
        self.crons = CronsClient(connection)
        self.servers = ServersClient(connection)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection. Calls that are under way end with `UnavailableError`."""
        await self._connection.close()


def get_client(
    url: str | None = None,
    *,
    api_key: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: Timeout = 60.0,
    token: Token | None = None,
    tls: Tls | None = None,
    credentials: grpc.ChannelCredentials | None = None,
    reconnect: Reconnect = _DEFAULT_RECONNECT,
    options: Sequence[tuple[str, Any]] = (),
) -> RunwireClient:
    """Return a client of the server at `url`. Nothing is sent before its first call.

    Args:
        url: The server's address, such as "localhost:50051", "https://agents.example:443" (TLS)
            or any other name that gRPC knows ("unix:/run/runwire.sock"). For servers that share
            a database: a balancer's address, a list ("10.0.0.1:50051,10.0.0.2:50051"), or a name
            that stands for all of them ("dns:///agents.internal:50051"). Calls go to those of a
            list or such a name in turn, and streams go on with another one when theirs is lost.
            "localhost:50051" if it is None.
        api_key: Sent with every call, as `x-api-key`: what stands in front of the server may ask
            for it. It is not looked for in the environment. Unlike `token` it is sent to any
            address, in plaintext where there is no TLS.
        headers: Sent as metadata with every call.
        timeout: Seconds until a call fails with `DeadlineExceededError`; None for no limit, which
            streams and calls that wait for a run have anyway. Or what httpx has, a tuple with the
            limits of a call's parts: their sum is that of the call.
        token: Sent with every call, as `authorization: Bearer …`. A function is asked before each
            call, and each time that a stream or a wait goes on: it gives one that has not expired.
            Only over TLS, or within this machine.
        tls: Certificates of one's own; the address then needs no https://.
        credentials: What gRPC has for whatever `tls` does not express.
        reconnect: How streams and waiting calls outlive a lost server.
        options: Settings of the gRPC channel, which replace the client's own. For example,
            `("grpc.max_receive_message_length", …)` takes answers of more than 64 MiB.

    Raises ValueError for what contradicts itself, OSError for a certificate that is not there.
    """
    connection = Connection(
        url or DEFAULT_ADDRESS,
        headers=keyed(headers, api_key),
        token=token,
        tls=tls,
        credentials=credentials,
        timeout=seconds_of(timeout),
        reconnect=reconnect,
        options=options,
    )
    return RunwireClient(connection)
