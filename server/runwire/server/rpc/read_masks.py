"""Read masks: which fields of a resource an answer holds."""

from typing import Any, TypeVar

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from runwire.server.rpc.fields import Fields

M = TypeVar("M", bound=Message)


def read_mask(mask: FieldMask, kind: type[Message], fields: Fields) -> FieldMask | None:
    """Read the field `read_mask` of a request for messages of a `kind`; None if it is for all of
    their fields."""
    if not fields.fits("read_mask.paths", mask.paths) or "*" in mask.paths:
        return None
    descriptor: Any = kind.DESCRIPTOR
    for index, path in enumerate(mask.paths):
        if not FieldMask(paths=[path]).IsValidForDescriptor(descriptor):
            fields.refuse(f"read_mask.paths[{index}]", f"{descriptor.name} has no {path!r}")
    return mask if mask.paths else None


def shows(mask: FieldMask | None, field: str) -> bool:
    """Return whether a mask has anything of a field."""
    return mask is None or any(path.partition(".")[0] == field for path in mask.paths)


def masked(message: M, mask: FieldMask | None) -> M:
    """Return a message with those of its fields that a mask names; all of them if it is None."""
    if mask is None:
        return message
    result = type(message)()
    mask.MergeMessage(message, result)
    return result
