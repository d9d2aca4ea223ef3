"""Reading requests: what is the same for all services."""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

from google.protobuf.message import Message

from runwire.server.model.requests import RequestKey
from runwire.server.rpc.fields import Fields
from runwire.server.rpc.principals import current_principal
from runwire.v1 import payload_pb2

REQUEST_ID_CHARACTERS = 128

_LARGE_BYTES = 256 * 1024

T = TypeVar("T")


def read_key(method: str, request: Any, fields: Fields) -> RequestKey | None:
    """Read the `request_id` of a request; None if it has none."""
    if not request.request_id:
        return None
    fields.short("request_id", request.request_id, REQUEST_ID_CHARACTERS)
    body = type(request)()
    body.CopyFrom(request)
    body.ClearField("request_id")
    serialized = body.SerializeToString(deterministic=True)
    digest = hashlib.sha256(serialized).digest()
    return RequestKey(method, request.request_id, digest, current_principal())


async def read_request(request: Any, read: Callable[[Any, Fields], T]) -> T:
    """Return what `read` makes of a request; raises `InvalidFields` if anything is wrong with it.

    A large request is read on a thread: parsing tens of megabytes would hold up all other calls.
    """

    def read_and_check() -> T:
        fields = Fields()
        if b"\0" in request.SerializeToString():
            _refuse_zeros("", request, fields)
        result = read(request, fields)
        fields.check()
        return result

    if request.ByteSize() < _LARGE_BYTES:
        return read_and_check()
    return await asyncio.to_thread(read_and_check)


def _refuse_zeros(path: str, message: Any, fields: Fields) -> None:
    """Refuse texts with the character U+0000, which PostgreSQL has none of. Not in payloads: their
    data may say anything."""
    for field, content in message.ListFields():
        if field.message_type is payload_pb2.Payload.DESCRIPTOR:
            continue
        name = f"{path}.{field.name}" if path else field.name
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            # Of a map's entry the name is what shows where something is wrong.
            items = [*content, *content.values()]
        else:
            items = list(content) if field.is_repeated else [content]
        for index, item in enumerate(items):
            place = f"{name}[{index}]" if field.is_repeated else name
            if isinstance(item, str) and "\0" in item:
                fields.refuse(place, "holds the character U+0000")
            elif isinstance(item, Message):
                _refuse_zeros(place, item, fields)
