# Made from ../client.py by client/make_sync.py: change that one.
"""The client: where everything starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import grpc

from runwire.client.connecting import DEFAULT_ADDRESS, Reconnect, Timeout, keyed, seconds_of
from runwire.client.securing import Tls
from runwire.client.sync.assistants import SyncAssistantsClient
from runwire.client.sync.channel import Connection, Token
from runwire.client.sync.crons import SyncCronsClient
from runwire.client.sync.runs import SyncRunsClient
from runwire.client.sync.servers import SyncServersClient
from runwire.client.sync.store import SyncStoreClient
from runwire.client.sync.threads import SyncThreadsClient
from runwire.client.sync.webhooks import SyncWebhooksClient

_DEFAULT_RECONNECT = Reconnect()


class SyncRunwireClient:
    """A client of one server, or of several that share a database: `assistants`, `threads`, `runs`,
    `crons`, `store`, `webhooks`, `servers`.

    Used as it is, and closed with `close`, or as `with`. Any number of threads may
    use it at once.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.assistants = SyncAssistantsClient(connection)
        self.threads = SyncThreadsClient(connection)
        self.runs = SyncRunsClient(connection)
        self.store = SyncStoreClient(connection)
        self.webhooks = SyncWebhooksClient(connection)
        self.crons = SyncCronsClient(connection)
        self.servers = SyncServersClient(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. Calls that are under way end with `UnavailableError`."""
        self._connection.close()


def get_sync_client(
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
) -> SyncRunwireClient:
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
    return SyncRunwireClient(connection)
