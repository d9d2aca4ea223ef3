"""Reading requests: what is the same for all services."""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

from runwire.server.model.requests import RequestKey
from runwire.server.rpc.fields import Fields

REQUEST_ID_CHARACTERS = 128

_LARGE_BYTES = 256 * 1024

T = TypeVar("T")


def read_key(method: str, request: Any, fields: Fields) -> RequestKey | None:
    """Read the `request_id` of a request; None if it has none."""
    if not request.request_id:
        return None
    if len(request.request_id) > REQUEST_ID_CHARACTERS:
        fields.refuse("request_id", f"has more than {REQUEST_ID_CHARACTERS} characters")
    body = type(request)()
    body.CopyFrom(request)
    body.ClearField("request_id")
    serialized = body.SerializeToString(deterministic=True)
    return RequestKey(method, request.request_id, hashlib.sha256(serialized).digest())


async def read_request(request: Any, read: Callable[[Any, Fields], T]) -> T:
    """Return what `read` makes of a request; raises `InvalidFields` if anything is wrong with it.

    A large request is read on a thread: parsing tens of megabytes would hold up all other calls.
    """

    def read_and_check() -> T:
        fields = Fields()
        result = read(request, fields)
        fields.check()
        return result

    if request.ByteSize() < _LARGE_BYTES:
        return read_and_check()
    return await asyncio.to_thread(read_and_check)
