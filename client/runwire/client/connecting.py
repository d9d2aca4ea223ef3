"""How a server is reached: what the asynchronous and the synchronous connection share."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc

from runwire.client.errors import RunwireError, UnavailableError
from runwire.client.failures import from_call
from runwire.client.nodes import calling_node
from runwire.client.securing import Tls, bearer, check_header, check_value, stays_here
from runwire.client.tracing import trace_headers
from runwire.v1.assistants_pb2_grpc import AssistantServiceStub
from runwire.v1.crons_pb2_grpc import CronServiceStub
from runwire.v1.runs_pb2_grpc import RunServiceStub
from runwire.v1.server_pb2_grpc import ServerServiceStub
from runwire.v1.store_pb2_grpc import StoreServiceStub
from runwire.v1.threads_pb2_grpc import ThreadServiceStub
from runwire.v1.webhooks_pb2_grpc import WebhookServiceStub

if TYPE_CHECKING:
    import grpc.aio

_AWAITED_BY = "runwire-awaited-by"
_MOST_AWAITING = 64

MEBIBYTE = 1024 * 1024

DEFAULT_ADDRESS = "localhost:50051"

Timeout = (
    float
    | tuple[float | None, float | None]
    | tuple[float | None, float | None, float | None, float | None]
    | None
)
"""A limit of calls in seconds, or httpx's limits of their parts."""

# What the contract says can be repeated, and what starts something: that always has a request_id
# here. Calls that wait, and streams, have `reconnect` instead: a channel tries five times at most.
_CONFIG_FILE = "service_config_request_ids.json"
_RECONNECTED = ("RunWait", "RunStream", "JoinRun", "JoinRunStream", "ThreadStream", "WatchRuns")


def _service_config() -> dict[str, Any]:
    config: dict[str, Any] = json.loads(
        resources.files("runwire.v1").joinpath(_CONFIG_FILE).read_bytes()
    )
    for retried in config["methodConfig"]:
        retried["name"] = [one for one in retried["name"] if one["method"] not in _RECONNECTED]
    return config


_SERVICE_CONFIG = _service_config()
_REPEATABLE = {
    one["method"] for retried in _SERVICE_CONFIG["methodConfig"] for one in retried["name"]
}
_TRIES = 5

# Several servers share one database, and each answers for every run: calls go to all that answer.
# With one address it is gRPC's default, to stay with the first that answers.
_BALANCED_CONFIG = {**_SERVICE_CONFIG, "loadBalancingConfig": [{"round_robin": {}}]}

_OPTIONS: dict[str, Any] = {
    # Thread states and lists of them are one message each; gRPC's own limit is 4 MiB.
    "grpc.max_receive_message_length": 64 * MEBIBYTE,
    "grpc.max_send_message_length": -1,
    # A silent network is noticed while a stream waits; the server takes a ping every 10 s.
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
    "grpc.http2.max_pings_without_data": 0,
    # gRPC would wait for up to two minutes before it looks for a server that is back.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 5_000,
    "grpc.max_reconnect_backoff_ms": 2_000,
    # Nor would it ask for a name's addresses again for half a minute.
    "grpc.dns_min_time_between_resolutions_ms": 1_000,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconnect:
    """How streams and waiting calls outlive a lost server. All times in seconds.

    Between tries they pause for `first_pause`, then for twice as long each time, at most
    `longest_pause`, or a second while there is no connection at all. When there has been no server
    for `give_up_after`, they raise `UnavailableError`; with 0, at once. `on_lost` is told once of
    each loss of a server that was there, before the first pause: it must not take long.
    """

    first_pause: float = 0.1
    longest_pause: float = 5.0
    give_up_after: float = 60.0
    on_lost: Callable[[UnavailableError], None] | None = None


def keyed(headers: Mapping[str, str] | None, api_key: str | None) -> dict[str, str]:
    """Return headers, with the key among them if there is one. Raises ValueError for two keys."""
    given = {name.lower(): value for name, value in (headers or {}).items()}
    if api_key is None:
        return given
    if _API_KEY in given:
        raise ValueError(f"api_key, headers[{_API_KEY!r}]: only one of the two can be given")
    return {**given, _API_KEY: api_key}


_API_KEY = "x-api-key"


def seconds_of(timeout: Timeout) -> float | None:
    """Return the limit of a whole call: no limit if a part of it has none. Raises TypeError."""
    parts = timeout if isinstance(timeout, tuple) else (timeout,)
    seconds = [part for part in parts if isinstance(part, int | float)]
    if len(seconds) + parts.count(None) < len(parts):
        raise TypeError(f"timeout: {timeout!r} is neither seconds, nor a tuple of such")
    return None if len(seconds) < len(parts) else sum(seconds)


class Services(NamedTuple):
    """The calls of each service on one channel."""

    assistants: AssistantServiceStub
    threads: ThreadServiceStub
    runs: RunServiceStub
    store: StoreServiceStub
    webhooks: WebhookServiceStub
    crons: CronServiceStub
    servers: ServerServiceStub


def services_on(channel: grpc.aio.Channel | grpc.Channel) -> Services:
    """Return the calls on a channel. They are typed for the asynchronous kind: those of the other
    kind take the same, and give at once what these give when they are awaited."""
    on: Any = channel
    return Services(
        assistants=AssistantServiceStub(on),
        threads=ThreadServiceStub(on),
        runs=RunServiceStub(on),
        store=StoreServiceStub(on),
        webhooks=WebhookServiceStub(on),
        crons=CronServiceStub(on),
        servers=ServerServiceStub(on),
    )


class Endpoint:
    """What a connection knows of its server, whichever way it calls.

    `reached` tells whether a server has ever answered, or taken a call that waits.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None,
        has_token: bool,
        tls: Tls | None,
        credentials: grpc.ChannelCredentials | None,
        timeout: float | None,
        reconnect: Reconnect,
        options: Sequence[tuple[str, Any]],
    ) -> None:
        self.target, self._credentials = _place(url, tls, credentials)
        if has_token:
            _check_token(url, self.target, headers, secure=self._credentials is not None)
        config = _BALANCED_CONFIG if _names_several(self.target) else _SERVICE_CONFIG
        defaults = {**_OPTIONS, "grpc.service_config": json.dumps(config)}
        defaults |= tls.options() if tls else {}
        if stays_here(self.target):
            # A proxy of the environment would be sent it, and reach another machine's loopback.
            defaults["grpc.enable_http_proxy"] = 0
        self.reconnect = reconnect
        self.reached = False
        self.closed = False
        self._headers = dict(headers or {})
        self._timeout = timeout
        self._options = [*{**defaults, **dict(options)}.items()]

    def _metadata(
        self, headers: Mapping[str, str] | None, token: str | None
    ) -> tuple[tuple[str, str], ...]:
        told = bearer(token) if token is not None else {}
        for value in told.values():
            check_value("token", value)
        given = {**self._headers, **keyed(headers, None)}
        for name, value in given.items():
            check_header(name, value)
        return tuple({**self._headers, **told, **keyed(headers, None)}.items())

    def starting(
        self, headers: Mapping[str, str] | None, *, awaited: bool = False
    ) -> dict[str, str]:
        """Return the headers of a call that starts runs: those given, and what goes on from where
        the call is made, unless they or the client's own say otherwise. `awaited` says that the
        call lasts until its run ends."""
        node = calling_node()
        carried = trace_headers(node.configurable if node else {})
        if awaited and node is not None and node.awaiting:
            carried[_AWAITED_BY] = ",".join(node.awaiting[-_MOST_AWAITING:])
        given = {key.lower() for key in (*self._headers, *(headers or {}))}
        if "traceparent" in given:
            given.add("tracestate")
        own = {key: value for key, value in carried.items() if key not in given}
        return {**own, **(headers or {})}

    def _limits(self, limit: float | None, *, waits: bool) -> dict[str, Any]:
        """Return for how long a call may take, `limit` seconds if there is one: then a server that
        has been there is waited for when it is away."""
        if waits:
            return {"timeout": None}
        limits: dict[str, Any] = {"timeout": limit}
        if self.reached and limit is not None and self.reconnect.give_up_after > 0:
            limits["wait_for_ready"] = True
        return limits

    def _failure(
        self, error: grpc.aio.AioRpcError | grpc.Call, *, limited: bool = False
    ) -> RunwireError:
        secure = self._credentials is not None
        failure = from_call(error, self.target, secure=secure, limited=limited)
        if failure.reason:
            self.reached = True
        return failure

    def check_open(self) -> None:
        """Raise `UnavailableError` if the client was closed during a call."""
        if self.closed:
            raise self._closed_during_call()

    def _stopped_during_call(self) -> RunwireError:
        return RunwireError("the run that this call was made from was stopped", code="CANCELLED")

    def _closed_during_call(self) -> RunwireError:
        return UnavailableError("the client was closed during the call", code="CANCELLED")


class Tries:
    """The tries of a call whose answer breaks off: a channel makes none again of which it has seen
    the beginning. `limit` is for how many seconds they may take together."""

    def __init__(self, endpoint: Endpoint, request: Any, limit: float | None) -> None:
        self._endpoint = endpoint
        self._is_repeatable = request.DESCRIPTOR.name.removesuffix("Request") in _REPEATABLE
        self._end = None if limit is None else time.monotonic() + limit
        self._made = 0

    def left(self) -> float | None:
        """Return for how many seconds the next try may take."""
        return None if self._end is None else max(0.001, self._end - time.monotonic())

    def count(self, error: UnavailableError) -> None:
        """Raise `error` if there is no other try."""
        self._made += 1
        has_broken_off = error.connected and not error.reason and not self._endpoint.closed
        again = has_broken_off and self._is_repeatable and self._made < _TRIES
        if not again or self._endpoint.reconnect.give_up_after <= 0:
            raise error


def _target(url: str) -> tuple[str, bool]:
    """Return gRPC's name for an address, and whether it is to be reached by TLS. Raises ValueError
    for a path."""
    scheme, separator, rest = url.partition("://")
    if separator and scheme in ("http", "https"):
        place, _, path = rest.partition("/")
        if path:
            raise ValueError(f"url: {url} has a path, and gRPC none: give the host and port alone")
        return place, scheme == "https"
    if "," in url and not url.startswith(_LISTS):
        # gRPC takes lists of addresses, under these names, and none of host names.
        family = "ipv6:" if url.startswith("[") else "ipv4:"
        return family + url, False
    return url, False


_LISTS = ("ipv4:", "ipv6:", "unix:", "dns:")


def _names_several(target: str) -> bool:
    return "," in target or target.startswith("dns:")


def _place(
    url: str, tls: Tls | None, credentials: grpc.ChannelCredentials | None
) -> tuple[str, grpc.ChannelCredentials | None]:
    """Return gRPC's name for an address and how it is reached by TLS, if it is. Raises ValueError
    for what contradicts itself."""
    target, secure = _target(url)
    if tls is not None and credentials is not None:
        raise ValueError("tls, credentials: only one of the two can be given")
    if tls is not None and url.startswith("http://"):
        raise ValueError(f"tls: {url} says http://, which is without")
    if credentials is None and (tls is not None or secure):
        credentials = (tls or Tls()).credentials()
    return target, credentials


def _check_token(url: str, target: str, headers: Mapping[str, str] | None, *, secure: bool) -> None:
    """Raise ValueError if a token cannot be sent, or could be read on its way."""
    if "authorization" in keyed(headers, None):
        raise ValueError("token, headers['authorization']: only one of the two can be given")
    if not secure and not stays_here(target):
        raise ValueError(
            f"token: anybody on the way to {url} could read it. Use https:// or tls=…; where the"
            " network itself encrypts, give headers={'authorization': …} instead"
        )
