"""The edge of every call, the outermost thing around a handler: bytes that are no request are
refused, errors become statuses, and whatever is not expected stays inside."""

import asyncio
import inspect
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message

from runwire.server.model.errors import InvalidRequest, PayloadTooLarge, RunwireError
from runwire.server.rpc.calls import Context, send, wants_values
from runwire.server.rpc.errors import Defect, end_call
from runwire.server.rpc.payloads import show_values
from runwire.server.rpc.principals import note_principal

logger = logging.getLogger(__name__)

# What grpc hands in and takes back is typed as for synchronous servers, or not at all.
Handler = Any
Serialize = Callable[[Any], bytes]


class OpenCalls:
    """The calls whose handlers have not returned. gRPC's `stop` returns before cancelled handlers
    have cleaned up."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Count a call for as long as the block lasts."""
        self._count += 1
        self._none.clear()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._none.set()

    async def wait_ended(self) -> None:
        """Return when there is none."""
        await self._none.wait()


class Boundary(grpc.aio.ServerInterceptor):
    """Wraps the handlers of all services. `request_bytes` is the largest request,
    `principal_header` the metadata that says who a call is from, if there is any."""

    def __init__(self, calls: OpenCalls, request_bytes: int, principal_header: str = "") -> None:
        self._calls = calls
        self._request_bytes = request_bytes
        self._principal_header = principal_header
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Return the wrapped handler of a call; None if there is no such method."""
        method = handler_call_details.method
        if method not in self._wrapped:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            self._wrapped[method] = self._wrap(method, handler)
        return self._wrapped[method]

    def _wrap(self, method: str, handler: Handler) -> Handler:
        name = method.rpartition("/")[2]
        serialize = _or_bytes(handler.response_serializer)
        read = _or_error(name, handler.request_deserializer, self._request_bytes)
        if handler.response_streaming:
            stream = self._streaming(method, handler, serialize)
            if handler.request_streaming:
                return grpc.stream_stream_rpc_method_handler(stream, read, serialize)
            return grpc.unary_stream_rpc_method_handler(stream, read, serialize)
        if handler.request_streaming:
            raise NotImplementedError(f"{name}: no service of ours has such a method")
        return grpc.unary_unary_rpc_method_handler(self._unary(method, handler, serialize), read)

    def _unary(self, method: str, handler: Handler, serialize: Serialize) -> Handler:
        behave = handler.unary_unary

        async def call(request: Any, context: Context) -> bytes:
            # Serialized in here, so that a failure to do so is a defect like any other.
            if isinstance(request, RunwireError):
                raise request
            if self._principal_header:
                note_principal(context, self._principal_header)
            response = await behave(request, context)
            if isinstance(response, Message) and wants_values(context):
                show_values(response)
            return serialize(response)

        async def guarded(request: Any, context: Context) -> Any:
            return await self._guard(method, context, call(request, context))

        return guarded

    def _streaming(self, method: str, handler: Handler, serialize: Serialize) -> Handler:
        behave = handler.stream_stream or handler.unary_stream
        writes_itself = inspect.iscoroutinefunction(behave)

        async def call(request: Any, context: Context) -> None:
            if isinstance(request, RunwireError):
                raise request
            if self._principal_header:
                note_principal(context, self._principal_header)
            if handler.request_streaming:
                request = _without_errors(request)
            if writes_itself:
                await behave(request, context)
                return
            # Closed here: a generator that a cancelled call leaves behind would clean up late.
            async with aclosing(behave(request, context)) as responses:
                async for response in responses:
                    await send(context, response)

        async def guarded(request: Any, context: Context) -> None:
            await self._guard(method, context, call(request, context))

        return guarded

    async def _guard(self, method: str, context: Context, call: Awaitable[Any]) -> Any:
        """Await a call's handler; end the call with a status if it fails."""
        began = time.perf_counter()
        outcome = "CANCELLED"
        with self._calls.one_more():
            try:
                answer = await call
                outcome = "OK"
                return answer
            except RunwireError as error:
                outcome = error.reason
                await end_call(context, error)
            except grpc.aio.AbortError:
                outcome = "ABORTED"
                raise
            except Exception:
                # gRPC would send the text of the exception.
                defect = Defect(uuid.uuid4().hex[:16])
                outcome = defect.reason
                details = {"method": method, "error_id": defect.variables["error_id"]}
                logger.exception("a call failed unexpectedly", extra=details)
                await end_call(context, defect)
            finally:
                seconds = round(time.perf_counter() - began, 6)
                told = {"method": method, "outcome": outcome, "seconds": seconds}
                logger.debug("call", extra=told)


def _or_error(
    name: str, parse: Callable[[bytes], Any], limit: int
) -> Callable[[bytes], Any | RunwireError]:
    """Return a function that gives a request, or what is wrong with its bytes. An exception would
    be logged by gRPC, with a traceback for each piece of junk."""

    def read(data: bytes) -> Any | RunwireError:
        if len(data) > limit:
            return PayloadTooLarge("", len(data), limit)
        try:
            return parse(data)
        except DecodeError:
            return InvalidRequest(name)

    return read


def _or_bytes(serialize: Serialize) -> Serialize:
    def write(response: Any) -> bytes:
        return response if isinstance(response, bytes) else serialize(response)

    return write


async def _without_errors(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        if isinstance(request, RunwireError):
            raise request
        yield request
