"""A client that calls nobody: what it would have sent is written down, and answers are made up."""

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from google.protobuf.message import Message

from runwire.client import Reconnect, RunwireError
from runwire.client.connecting import services_on
from runwire.v1 import core_pb2, events_pb2, payload_pb2
from tests.support.sdk_surface import our_client

Answer = Callable[[bytes], Message]

THREAD_ID = "thread"


class Sent(NamedTuple):
    """One call: its method, its request without the id of the request, what went with it."""

    rpc: str
    request: bytes
    metadata: tuple[tuple[str, str], ...]
    has_limit: bool


@dataclass
class Calls:
    """A channel on which nothing goes anywhere."""

    is_async: bool
    sent: list[Sent] = field(default_factory=list)
    request_ids: dict[str, str] = field(default_factory=dict)
    """The last request's id, by method; empty for a request that has none."""

    def unary_unary(self, path: str, response_deserializer: Answer, **_: Any) -> Any:
        """Return a call that is answered at once."""

        def call(request: Message, **kwargs: Any) -> Any:
            self._note(path, request, kwargs)
            made = made_up(response_deserializer(b""))
            return _later(made) if self.is_async else made

        return call

    def unary_stream(self, path: str, response_deserializer: Answer, **_: Any) -> Any:
        """Return a call that is answered by one message."""

        def call(request: Message, **kwargs: Any) -> Any:
            self._note(path, request, kwargs)
            return _Stream(made_up(response_deserializer(b"")))

        return call

    def _note(self, path: str, request: Message, kwargs: dict[str, Any]) -> None:
        rpc = path.rpartition(".")[2].replace("/", ".")
        copy: Any = type(request)()
        copy.CopyFrom(request)
        if "request_id" in request.DESCRIPTOR.fields_by_name:
            self.request_ids[rpc] = copy.request_id
            copy.request_id = ""
        data = copy.SerializeToString(deterministic=True)
        limited = kwargs.get("timeout") is not None
        self.sent.append(Sent(rpc, data, tuple(sorted(kwargs["metadata"])), limited))


async def _later(answer: Message) -> Message:
    return answer


@dataclass
class _Stream:
    message: Message

    def __iter__(self) -> Iterator[Message]:
        yield self.message

    async def __aiter__(self) -> AsyncIterator[Message]:
        yield self.message

    def cancel(self) -> None:
        """Do nothing: there is nothing to end."""


def made_up(answer: Any) -> Any:
    """Return an answer with one of everything in it: one item in each list, each part there."""
    for one in answer.DESCRIPTOR.fields:
        if one.message_type is None or one.message_type.GetOptions().map_entry:
            continue
        if one.name == "events":
            answer.events.extend(_events())
        elif one.name == "runs":
            answer.runs.append(_run())
        elif one.is_repeated:
            getattr(answer, one.name).add()
        elif one.message_type.full_name == core_pb2.Run.DESCRIPTOR.full_name:
            getattr(answer, one.name).CopyFrom(_run())
        elif one.containing_oneof is None:
            getattr(answer, one.name).SetInParent()
    return answer


def _run() -> core_pb2.Run:
    error = core_pb2.RunError(type="ValueError", message="no")
    return core_pb2.Run(run_id="run", thread_id=THREAD_ID, error=error, spec=core_pb2.RunSpec())


def _events() -> list[events_pb2.RunEvent]:
    values = events_pb2.ValuesEvent(data=payload_pb2.Payload(json='{"a": 1}'))
    ended = events_pb2.RunEnded(state=core_pb2.RUN_STATE_SUCCEEDED)
    return [
        events_pb2.RunEvent(run_id="run", run=_run()),
        events_pb2.RunEvent(run_id="run", id="1-1", values=values),
        events_pb2.RunEvent(run_id="run", id="1-2", run_ended=ended),
    ]


def recorded_client(face: str) -> tuple[Any, Calls]:
    """Return a client, and where what it sends is written down."""
    client, calls = our_client(face), Calls(face == "async")
    connection = client._connection
    connection.reconnect = Reconnect(give_up_after=0)
    connection._open = lambda: services_on(calls)  # type: ignore[arg-type]
    return client, calls


async def observe(face: str, noun: str, method: str, given: dict[str, Any]) -> tuple[Any, Calls]:
    """Return all that can be seen of one call, from both sides, and where it was written down."""
    client, calls = recorded_client(face)
    told: list[Any] = []
    if given.get("on_run_created"):
        given = {**given, "on_run_created": told.append}
    call = getattr(getattr(client, noun), method)
    parameters = inspect.signature(call).parameters.values()
    first = [one.name for one in parameters if one.kind is one.POSITIONAL_ONLY]
    rest = {name: value for name, value in given.items() if name not in first}
    try:
        outcome = await gathered(call(*(given[name] for name in first), **rest))
    except RunwireError as error:
        outcome = repr(error)
    return (calls.sent, repr(outcome), told), calls


async def gathered(result: Any) -> Any:
    """Return what a method of either face gives; of a stream, all of it."""
    if inspect.isawaitable(result):
        result = await result
    if hasattr(result, "__aiter__"):
        return [part async for part in result]
    return list(result) if isinstance(result, Iterator) else result
