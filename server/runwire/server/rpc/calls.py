"""Calls as handlers see them: what came with one, and how to answer it bit by bit."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import grpc

Context = grpc.aio.ServicerContext[Any, Any]

FORM_KEY = "runwire-payload"
"""The request metadata that asks for payloads as values, for people to read."""


def wants_values(context: Context) -> bool:
    """Return whether a call asks for payloads as values."""
    return any(
        key == FORM_KEY and value == "value" for key, value in context.invocation_metadata() or ()
    )


async def send(context: Context, message: Any) -> None:
    """Send one message; waits while the caller does not read. Raises CancelledError if the call
    is over."""
    with _cancelled_if_over():
        await context.write(message)


async def send_metadata(context: Context, metadata: Sequence[tuple[str, str]]) -> None:
    """Send a call's initial metadata. Raises CancelledError if the call is over."""
    with _cancelled_if_over():
        await context.send_initial_metadata(tuple(metadata))


@contextmanager
def _cancelled_if_over() -> Iterator[None]:
    try:
        yield
    except grpc.aio.InternalError as error:
        # When a caller leaves, a write that is under way may fail before gRPC cancels the handler.
        raise asyncio.CancelledError("the call is over") from error
